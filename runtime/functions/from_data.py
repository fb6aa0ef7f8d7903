"""Tensors from data: numbers, nested sequences of them, arrays, and whatever speaks DLPack.

In a trace such a Tensor is a constant, as the user wrote it down. `creation.finished` puts the last touches
on each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored, warn
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import shape as moves
from retrograd.runtime import device as devices
from retrograd.runtime.converted import converted
from retrograd.runtime.device import as_device
from retrograd.runtime.eager.conversion import to
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.moving import exchange, moved
from retrograd.runtime.functions.creation import finished
from retrograd.runtime.functions.public import public
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.native.buffers import copied
from retrograd.runtime.strided import share_memory
from retrograd.runtime.tensor import Tensor, new

_given = partial(calls.given, names=("dtype", "device", "requires_grad"))


@public("tensor", around=_given)
def tensor(
    data: Any, *, dtype: object = None, device: object = None, requires_grad: bool = False, **options: object
) -> Tensor:
    """A Tensor with a copy of the data: numbers, nested sequences of them, arrays, tensors.

    Python floats become the default dtype and ints int64; arrays keep theirs. Raises ArgumentError for
    anything else.
    """
    if isinstance(data, Tensor):
        warn(_COPIES.format("torch.tensor"))
    return _made(data, dtype, device, requires_grad, **options)


_COPIES = (
    "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
    "sourceTensor.detach().clone().requires_grad_(True), rather than {}(sourceTensor)."
)


def _made(
    data: Any, dtype: object, device: object = None, requires_grad: bool = False, **options: object
) -> Tensor:
    array = array_of(data, None if dtype is None else dtypes.dtype(dtype))
    if devices.chosen(device) is None and isinstance(data, Tensor):
        device = data.device
    return finished(new(array), device, requires_grad, **options)


def array_of(data: Any, dtype: DType | None) -> Array:
    """A fresh array of the data."""
    if isinstance(data, Tensor) and not data.dtype.is_complex:
        return copied(data.read("tensor()"), dtype.numpy if dtype else None)
    if isinstance(data, Tensor):
        return array_of(data.read("tensor()"), dtype)
    try:
        array = copied(data) if isinstance(data, np.ndarray) else np.array(_plain(data))
    except ValueError:
        raise ArgumentError(f"tensor() of a {type(data).__name__}", mirrored(_ragged(data))) from None
    if _is_wide(array) and not isinstance(data, _TYPED):
        array = _in_float64(array, data, dtype)
    if array.dtype.kind in "OUSMmV":
        raise ArgumentError(
            f"tensor() of a {type(data).__name__}", mirrored(_unusable(array, data)), "give numbers"
        )
    if dtype is None:
        dtype = _natural(data, array)
    elif array.dtype.kind == "c" and not isinstance(data, _TYPED) and dtype.category in (1, 2):
        raise ArgumentError(mirrored(_NO_REAL), f"tensor() of complex numbers in {dtype}", "take .real")
    elif dtype.category == 1 and array.size and not isinstance(data, np.ndarray | np.generic):
        _refuse_beyond(array, dtype)
    return (
        moves.Cast(dtype).evaluate(array)
        if array.dtype.kind == "c"
        else array.astype(dtype.numpy, copy=False)
    )


_NO_REAL = "must be real number, not complex"


def _is_wide(array: Array) -> bool:
    """Whether Python's whole numbers may be there that int64 does not hold: NumPy makes others of them."""
    kind = array.dtype.kind
    return kind in "uO" or (kind == "f" and array.size > 0 and bool(array.max() >= 2.0**63))


def _in_float64(array: Array, data: Any, dtype: DType | None) -> Array:
    """Such numbers where they are to be floating, or are beside numbers that are; else ArgumentError."""
    kinds = {type(leaf) for leaf in _leaves(_plain(data))}
    if not kinds <= {int, float, bool}:
        return array
    if float not in kinds and (dtype is None or dtype.category == 1):
        raise ArgumentError(
            f"tensor() of a {type(data).__name__}",
            mirrored("Overflow when unpacking long long"),
            "give numbers that int64 holds, or a dtype of floating point",
        )
    return array.astype(np.float64)


def _refuse_beyond(array: Array, dtype: DType) -> None:
    """Python numbers that a dtype of whole numbers cannot hold are refused, as in PyTorch."""
    for number in (array.min().item(), array.max().item()):
        if not dtype.holds(number):
            raise DtypeError(
                f"tensor() with {number} in {dtype}",
                mirrored(f"value cannot be converted to type {dtype.torch_name} without overflow"),
                "give one that fits, or another dtype",
            )


def _plain(data: Any) -> Any:
    """Nested sequences without Tensors in them."""
    if isinstance(data, Tensor):
        if data.requires_grad:
            converted()
        return data.read("tensor()")
    if isinstance(data, _NESTED):
        for x in data:
            if isinstance(x, _PARTS):
                return [_plain(each) for each in data]
    return data


_NESTED, _PARTS = (list, tuple), (list, tuple, Tensor)
_TYPED = (np.ndarray, np.generic, Tensor)


def _natural(data: Any, array: Array) -> DType:
    """The dtype for data that names none: arrays and NumPy's scalars have their own, Python numbers the
    usual ones.
    """
    first = data
    while isinstance(first, _NESTED) and first:
        first = first[0]
    if isinstance(first, _TYPED):
        return reduce(dtypes.promote_types, {dtypes.of(leaf) for leaf in _leaves(data)})
    if array.size == 0 or array.dtype.kind == "f":
        return dtypes.default_dtype()
    if array.dtype.kind == "c":
        return dtypes.default_complex()
    return dtypes.dtype(array.dtype)


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list | tuple):
        for each in data:
            yield from _leaves(each)
    else:
        yield data


def _unusable(array: Array, data: Any) -> str:
    if array.dtype.kind == "U":
        words = isinstance(data, list | tuple) and isinstance(next(_leaves(data)), str)
        return "too many dimensions 'str'" if words else "new(): invalid data type 'str'"
    return f"Could not infer dtype of {type(array.flat[0]).__name__}"


def _ragged(data: Any, depth: int = 0) -> str:
    """Where nested sequences stop being a box."""
    inner = [x for x in data if isinstance(x, Sequence)]
    if inner and len(inner) != len(data):
        return "not a sequence"
    for x in inner:
        if len(x) != len(inner[0]):
            return f"expected sequence of length {len(inner[0])} at dim {depth + 1} (got {len(x)})"
    return next((text for x in inner if (text := _ragged(x, depth + 1))), "")


@public("as_tensor", around=partial(_given, names=("dtype", "device"), shares=True, convert=to))
def as_tensor(data: Any, dtype: object = None, device: object = None) -> Tensor:
    """The data as a Tensor, shared where it can be: a Tensor or array of that dtype already, a GPU's too."""
    wanted = None if dtype is None else dtypes.dtype(dtype)
    if isinstance(data, Tensor):
        result: Tensor = data if wanted is None else moves.cast(data, wanted)
    elif hasattr(data, "__cuda_array_interface__"):
        shared = Tensor(exchange().from_interface(data))
        result = shared if wanted is None else moves.cast(shared, wanted)
    elif isinstance(data, np.ndarray):
        kind = dtypes.dtype(data.dtype) if wanted is None else wanted
        result = new(_whole(data.astype(kind.numpy, copy=False)))
    else:
        result = new(array_of(data, wanted))
    device = devices.chosen(device)
    return result if device is None else moved(result, as_device(device))


@public("asarray")
def asarray(
    obj: Any, *, dtype: object = None, device: object = None, copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:  # fmt: skip
    """`as_tensor`, which requires grad or not if that is said; with `copy` in memory of its own, or, where
    that is False, never."""
    given = obj.detach() if isinstance(obj, Tensor) and requires_grad is False else obj
    found = as_tensor(given, dtype, device)
    shown = given._value if isinstance(given, Tensor) else given
    shared = found is given or share_memory(found._value, shown)
    if copy is False and not shared:
        named = isinstance(given, Tensor | np.ndarray)
        kinds = (bare_legacy_name(x) for x in (dtypes.of(given), found.dtype)) if named else ()
        words = "tensor with dtype '{}' into dtype '{}'" if named else "arbitrary sequence into a tensor"
        raise ArgumentError(mirrored(f"can't alias {words.format(*kinds)}."))
    if copy and shared:
        found = clone(found)
    return found.requires_grad_() if requires_grad and not found.requires_grad else found


@public("from_numpy", around=partial(_given, names=(), shares=True, numbers=False))
def from_numpy(ndarray: object) -> Tensor:
    """A Tensor on the memory of an array: what changes one changes the other."""
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentError(
            mirrored(f"expected np.ndarray (got {type(ndarray).__name__})"), "", "make one with tensor()"
        )
    if ndarray.dtype not in dtypes.BY_NUMPY:
        dtypes.dtype(ndarray.dtype)  # says what is wrong with it
    return new(_whole(ndarray))


def _whole(array: Any) -> Array:
    """A part of an array as one whose memory begins there: it is all that the Tensor's storage shows."""
    base = array.base
    if not isinstance(base, np.ndarray) or min(array.strides, default=0) < 0:
        return array
    if array.flags.c_contiguous and array.nbytes == base.nbytes:
        return array
    try:
        return np.asarray(memoryview(array))
    except (ValueError, NotImplementedError):  # of a dtype that memoryviews do not know
        return array


_ON_A_GPU = (2, 13)
"""DLPack's numbers of the kinds of memory that a GPU has."""


@public("from_dlpack")
def from_dlpack(ext_tensor: Any, *, device: object = None, copy: bool | None = None) -> Tensor:
    """A Tensor on the memory of any object that speaks DLPack; a `copy` of it, if asked, or on another
    device."""
    kind = getattr(ext_tensor, "__dlpack_device__", lambda: (None, 0))()[0]
    if kind in _ON_A_GPU:
        found = Tensor(exchange().from_dlpack(ext_tensor))
    else:
        found = from_numpy(np.from_dlpack(ext_tensor))
    placed: Tensor = found.clone() if copy else found
    return placed if device is None else placed.to(device)


@public("new_tensor", method=True, function=False, around=partial(_given, arity=2))
def new_tensor(input: Tensor, data: Any, *, dtype: object = None, **options: Any) -> Tensor:
    """The data as a Tensor of this one's dtype."""
    if isinstance(data, Tensor):
        warn(_COPIES.format("tensor.new_tensor"))
    return _made(data, input.dtype if dtype is None else dtype, **{"device": input.device} | options)
