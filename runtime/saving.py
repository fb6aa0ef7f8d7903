"""`save` and `load`: Tensors in files of the safetensors format, which run no code when they are read.

In flow a Tensor, or dicts, lists and tuples of Tensors and plain values (as a module's or an optimiser's
`state_dict`); out flows one file. The Tensors lie in it under their paths (`layer.weight`), and what is not a
Tensor, with the structure, as JSON in the file's metadata. So other programs can read the Tensors, and files
of other programs, which have no such metadata, are read as a dict of Tensors. Tensors that share memory share
it again when they are read: it is written once, under the path of the Tensor that shows all of it or, if
there is none, of the first. A new kind of plain value is a member of `_PLAIN`, where JSON has it, or else a
line of `_TOLD`; a new kind of group is a line of `_GROUPS`.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import c_uint8
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple
from retrograd.runtime import safetensors
from retrograd.runtime.device import as_device, device
from retrograd.runtime.eager.lying import relaid
from retrograd.runtime.eager.memory import address, bounds, memory_of, outermost_first, sharing
from retrograd.runtime.eager.moving import moved
from retrograd.runtime.functions.from_data import from_numpy
from retrograd.runtime.names import Size
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.strided import Strides, in_order
from retrograd.runtime.tensor import Tensor

KEY = "retrograd"
"""The metadata's entry that holds the structure."""

_PLAIN = (type(None), bool, int, float, str)
_TOLD: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "complex": (complex, repr, complex),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "dtype": (DType, lambda x: x.torch_name, dtypes.dtype),
    "device": (device, str, device),
}
"""Values that are written in words: their type, the words, and the value of these."""
_GROUPS: dict[str, type[list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]]] = {
    "list": list, "Size": Size, "tuple": tuple, "set": set, "frozenset": frozenset,
}  # fmt: skip
"""What is made of several values; of two that an object belongs to the first."""

Path = str | os.PathLike[str] | IO[bytes]
"""A file's name, or an open file."""
Location = str | device | Mapping[str, str] | Callable[[Tensor, str], Tensor | None] | None
"""Where Tensors are to be."""


def save(obj: Any, f: Path) -> None:
    """Write a Tensor, or dicts, lists and tuples of Tensors and plain values, to `f`: a file's name, or a
    file that is open for writing bytes, as a BytesIO.
    """
    tensors = _Written()
    structure = _taken_apart(obj, "", tensors)
    memories, shown = tensors.laid()
    text = json.dumps({"value": structure, "tensors": shown}, separators=(",", ":"))
    with _opened(f, "save", "wb") as file:
        safetensors.write(file, memories, {KEY: text})


def load(
    f: Path, map_location: Location = None, pickle_module: None = None, *, weights_only: bool = True,
    mmap: bool | None = None,
) -> Any:  # fmt: skip
    """What `save` wrote to `f`, a name or an open file; of a file of another program a dict of its Tensors.
    There is never code in it: `weights_only`, PyTorch's refusal of it, holds either way, and there is nothing
    to do for a `pickle_module`, which is an error, or for `mmap`.

    The Tensors are on the CPU, or where `map_location` says: a device, or a dict or a function that tells
    it. A function is given a Tensor and the name of the device, and gives the Tensor to load or None for
    this one.
    """
    if pickle_module is not None:
        raise ArgumentError("load(pickle_module=...)", "nothing is unpickled here", "leave it away")
    with _opened(f, "load", "rb") as file:
        arrays, metadata = _contents(file, f)
    if KEY not in metadata:
        return {key: _placed(from_numpy(array), map_location) for key, array in arrays.items()}
    kept = json.loads(metadata[KEY])
    return _put_together(kept["value"], _read(kept["tensors"], arrays, map_location))


def _contents(file: IO[bytes], f: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        return safetensors.read(file)
    except safetensors.Malformed as error:
        raise ArgumentError(
            f"load({f!r})",
            f"the file is not in the safetensors format: {error}",
            "files written by torch.save hold pickled objects, which can run code: read one with PyTorch and "
            "write it anew with safetensors",
        ) from None


def _placed(tensor: Tensor, where: Location) -> Tensor:
    """The Tensor, which has been read to the CPU, where `map_location` says."""
    if where is None:
        return tensor
    if callable(where):
        found = where(tensor, "cpu")
        return tensor if found is None else found
    if isinstance(where, Mapping):
        where = where.get("cpu", "cpu")
    return moved(tensor, as_device(where))


@contextmanager
def _opened(f: Path, what: str, mode: Literal["rb", "wb"]) -> Iterator[IO[bytes]]:
    """The file, which is closed in the end if it is named."""
    if isinstance(f, str | os.PathLike):
        with open(f, mode) as file:
            yield file
    elif hasattr(f, "read" if mode == "rb" else "write"):
        yield f
    else:
        raise ArgumentError(
            f"{what}() with a file of type {type(f).__name__}",
            "a file is named by a string or a path, or is open in binary mode",
        )


# ---- Tensors and their memory ------------------------------------------------------------------------------


class _Shown(NamedTuple):
    """How a Tensor is found again."""

    kind: Literal["tensor", "Parameter"]
    requires_grad: bool
    memory: str
    """The name of the array in the file."""
    dtype: str
    shape: list[int]
    steps: list[int]
    """The bytes from element to element along each axis."""
    offset: int | None
    """The bytes before the first element; None where the array is these elements alone, in order."""


@dataclass(slots=True)
class _Written:
    """The Tensors of an object, each once, by the order in which they are met."""

    names: dict[str, Array] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def number(self, tensor: Tensor, path: str) -> int:
        """Which one it is. A new one is named by its path, or where two read the same by a longer one."""
        if id(tensor) not in self.numbers:
            self.numbers[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
            name = path or "tensor"
            while name in self.names:
                name += "'"
            self.names[name] = tensor.detach().cpu().numpy()
        return self.numbers[id(tensor)]

    def laid(self) -> tuple[dict[str, Array], list[_Shown]]:
        """The arrays of the file, and how the Tensors lie in them."""
        names, arrays = list(self.names), list(self.names.values())
        memories: dict[str, Array] = {}
        places: dict[int, tuple[str, int | None]] = {}
        for group in sharing(arrays):
            alone = len(group) == 1
            name, memory = (names[group[0]], arrays[group[0]]) if alone else _memory(group, names, arrays)
            memories[name] = np.ascontiguousarray(memory).reshape(memory.shape)
            for k in group:
                places[k] = name, None if alone else address(arrays[k]) - address(memory)
        return memories, [
            _Shown(
                "Parameter" if isinstance(tensor, Parameter) else "tensor", bool(tensor.requires_grad),
                places[k][0], tensor.dtype.torch_name, list(array.shape), list(array.strides), places[k][1],
            )
            for k, (tensor, array) in enumerate(zip(self.tensors, arrays))
        ]  # fmt: skip


def _memory(group: list[int], names: list[str], arrays: list[Array]) -> tuple[str, Array]:
    """What arrays that share memory show together, and its name: one of them that shows all of it in order,
    or else bytes."""
    low, high = bounds([arrays[k] for k in group])
    for k in group:
        if arrays[k].flags.c_contiguous and bounds([arrays[k]]) == (low, high):
            return names[k], arrays[k]
    return names[group[0]], np.ctypeslib.as_array((c_uint8 * (high - low)).from_address(low))


def _read(shown: list[list[Any]], memories: dict[str, Array], where: Location) -> list[Tensor]:
    """The Tensors that are shown in memories. Two that are shown alike share one on any device."""
    found: list[Tensor] = []
    alike: dict[str, Tensor] = {}
    for kind, requires_grad, *place in shown:
        key = str(place)
        if key not in alike:
            name, dtype, shape, steps, offset = place
            array = _seen(memories[name], dtypes.dtype(dtype).numpy, tuple(shape), tuple(steps), offset)
            tensor = alike[key] = _placed(from_numpy(array), where)
        else:
            tensor = alike[key].detach()
        parameter = kind == "Parameter"
        found.append(Parameter(tensor, requires_grad) if parameter else tensor.requires_grad_(requires_grad))
    return found


def _seen(memory: Array, dtype: Any, shape: Strides, steps: Strides, offset: int | None) -> Array:
    """A Tensor's elements in what was read; an array of their own lies as they did if that leaves no gaps."""
    if offset is not None:
        return np.ndarray(shape, dtype, memory_of(memory), offset, steps)
    memory = memory.reshape(shape)
    order = outermost_first(steps)
    dense = in_order(tuple(shape[k] for k in order), memory.itemsize)
    return relaid(memory, steps) if dense == tuple(steps[k] for k in order) else memory


# ---- the structure as JSON: ["tensor", which], ["plain", x], [kind, parts or words] ------------------------


def _taken_apart(obj: Any, path: str, tensors: _Written) -> list[Any]:
    if isinstance(obj, Tensor):
        return ["tensor", tensors.number(obj, path)]
    if isinstance(obj, _PLAIN):
        return ["plain", _plain(obj)]
    if isinstance(obj, dict):
        pairs = [[_key(k, path), _taken_apart(v, _joined(path, k), tensors)] for k, v in obj.items()]
        return ["OrderedDict" if isinstance(obj, OrderedDict) else "dict", pairs]
    for kind, group in _GROUPS.items():
        if isinstance(obj, group):
            return [kind, [_taken_apart(v, _joined(path, k), tensors) for k, v in enumerate(obj)]]
    for kind, (each, words, _) in _TOLD.items():
        if isinstance(obj, each):
            return [kind, words(obj)]
    raise ArgumentError(
        f"save() of {path or 'an object'}, which is a {type(obj).__name__}",
        "files hold Tensors, numbers, strings, None, and dicts, lists and tuples of these, but no objects",
        "save a module's state_dict() in place of the module",
    )


def _plain(x: Any) -> Any:
    """JSON knows no infinities and no NaN."""
    return {"float": repr(x)} if isinstance(x, float) and not np.isfinite(x) else x


def _key(key: Any, path: str) -> Any:
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise ArgumentError(
            f"save() of {path or 'a dict'} with a key of type {type(key).__name__}",
            "keys are strings or ints",
        )
    return key


def _joined(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _put_together(part: list[Any], tensors: list[Tensor]) -> Any:
    kind, *rest = part
    if kind == "tensor":
        (which,) = rest
        return tensors[which]
    if kind == "plain":
        (x,) = rest
        return float(x["float"]) if isinstance(x, dict) else x
    (parts,) = rest
    if kind in _TOLD:
        return _TOLD[kind][2](parts)
    if kind in ("dict", "OrderedDict"):
        pairs = [(key, _put_together(value, tensors)) for key, value in parts]
        return OrderedDict(pairs) if kind == "OrderedDict" else dict(pairs)
    return _GROUPS[kind](_put_together(value, tensors) for value in parts)
