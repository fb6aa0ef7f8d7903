"""Files of the safetensors format: named arrays behind a header of JSON, in which nothing can be run.

Eight bytes say how long the header is, little-endian. It maps each name to the array's dtype, shape and place
among the bytes that follow, one array after the other without gaps, and `__metadata__` to a dict of texts
(https://github.com/huggingface/safetensors#format). In flow arrays and metadata, out flows a file that is
open for bytes, and the other way round. A dtype is a row of `_DTYPES`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import IO, Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError
from retrograd.compiler.ir.graph import Array

_METADATA = "__metadata__"
_LONGEST_HEADER = 100_000_000
_DTYPES = {
    "F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16,
    "I64": dtypes.int64, "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8, "U8": dtypes.uint8,
    "BOOL": dtypes.bool_, "C64": dtypes.complex64, "C128": dtypes.complex128,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class Malformed(Exception):
    """What is wrong with a file that is not of this format."""


def write(file: IO[bytes], arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Arrays of large elements come first, so that all are aligned, since the header fills whole words."""
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        dtype = _NAMES[dtypes.dtype(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, array in ordered:
        file.write(array.tobytes())


def read(file: IO[bytes]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays, each in memory of its own, and the metadata.

    Raises Malformed where the file is not of this format, DtypeError for a dtype that is not here.
    """
    header = _header(file)
    metadata = header.pop(_METADATA, {})
    arrays: dict[str, Array] = {}
    place = 0
    for name, (dtype, shape, begin, end) in sorted(_entries(header).items(), key=lambda item: item[1][2:]):
        if begin != place or end - begin != prod(shape) * dtype.numpy.itemsize:
            raise Malformed(f"{name!r} lies where it does not fit")
        data, place = file.read(end - begin), end
        if len(data) != end - begin:
            raise Malformed(f"it ends within {name!r}")
        arrays[name] = np.ndarray(shape, dtype.numpy, bytearray(data))
    if file.read(1):
        raise Malformed("more follows than the header names")
    return {name: arrays[name] for name in header}, metadata


def _header(file: IO[bytes]) -> dict[str, Any]:
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise Malformed("its header would be too long")
    text = file.read(length)
    try:
        header = json.loads(text)
    except ValueError:
        raise Malformed("it has no header of JSON") from None
    if len(text) != length or not isinstance(header, dict):
        raise Malformed("it has no header of JSON")
    return header


def _entries(header: Mapping[str, Any]) -> dict[str, tuple[DType, tuple[int, ...], int, int]]:
    """What the header says of each array, which must have the types that the format gives it."""
    found = {}
    for name, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if all(
                isinstance(size, int) and size >= 0 for size in shape
            ):
                if dtype not in _DTYPES:
                    raise DtypeError(
                        f"load of {name!r}, which is of dtype {dtype}", "there is none such here"
                    )
                found[name] = (_DTYPES[dtype], tuple(shape), begin, end)
            case _:
                raise Malformed(f"its header does not describe {name!r}")
    return found
