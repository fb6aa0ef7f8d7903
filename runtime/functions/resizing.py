"""Tensors of given memory: made with given strides, on a buffer or a file; given other sizes or other memory
in place; changed element by element by a Python function.

In flow sizes, strides, buffers, storages and Tensors on the CPU; out flow Tensors. What changes a Tensor in
place here is not recorded, and is a TraceError inside a trace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from operator import mul
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import (
    ArgumentError,
    DtypeError,
    GradientError,
    ShapeError,
    TraceError,
    mirrored,
)
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.eager.conversion import data_ptr
from retrograd.runtime.eager.detaching import leave
from retrograd.runtime.eager.formats import memory_format
from retrograd.runtime.eager.inplace import changed, changed_leaf, check_sealed, check_writable, relaid
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.axes import placed
from retrograd.runtime.eager.memory import buffer_of
from retrograd.runtime.eager.storage import TypedStorage, move
from retrograd.runtime.functions.creation import beside, finished
from retrograd.runtime.functions.from_data import array_of
from retrograd.runtime.functions.public import public, sizes_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import C_NAMES, legacy_name
from retrograd.runtime.strided import DeviceArray, in_order
from retrograd.runtime.tensor import Size, Tensor, method, new

# ---- new Tensors -------------------------------------------------------------------------------------------


@public("empty_strided", replay="copy")
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: object = None, **options: Any
) -> Tensor:
    """Zeros that lie in memory with these steps, in elements, between neighbours along each axis."""
    kind = dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)
    return finished(new(_laid(size, stride, kind)), **options)


@public("new_empty_strided", method=True, function=False, replay="copy")
def new_empty_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: object = None, **options: Any
) -> Tensor:
    """`empty_strided` of this Tensor's dtype, where it is."""
    kind = input.dtype if dtype is None else dtypes.dtype(dtype)
    return beside(input, new(_laid(size, stride, kind)), **options)


@public("empty_permuted", replay="copy")
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: object = None, **options: Any
) -> Tensor:
    """Zeros whose axes lie in memory in the order of `physical_layout`, the outermost first."""
    sizes, order = sizes_of((size,), "empty_permuted"), list(physical_layout)
    if len(sizes) != len(order):
        raise ShapeError(
            mirrored(
                "Number of dimensions in size does not match the length of the physical_layout; i.e. "
                f"len(size) = {len(sizes)} is not equal to len(physical_layout) = {len(order)}"
            )
        )
    if len(set(order)) != len(order):
        raise ShapeError(mirrored("Duplicate dim not allowed"))
    steps = [0] * len(sizes)
    for axis, step in zip(order, in_order(tuple(sizes[k] for k in order), 1)):
        steps[axis] = step
    return empty_strided(sizes, steps, dtype=dtype, **options)


def _laid(size: Sequence[int], stride: Sequence[int], dtype: DType) -> Array:
    sizes, steps = sizes_of((size,), "empty_strided"), sizes_of((stride,), "empty_strided", "stride")
    if len(sizes) != len(steps):
        raise ShapeError(
            mirrored(
                f"dimensionality of sizes ({len(sizes)}) must match dimensionality of strides ({len(steps)})"
            )
        )
    if min((*sizes, *steps), default=0) < 0:
        raise ShapeError(
            mirrored(
                f"Storage size calculation overflowed with sizes={list(sizes)} and strides={list(steps)}"
            )
        )
    return _strided(np.zeros(_span(sizes, steps), dtype.numpy), dtype.numpy, 0, sizes, steps)


def _span(sizes: Sequence[int], steps: Sequence[int]) -> int:
    """How many elements reach from the first to the last."""
    return 1 + sum(map(mul, sizes, steps)) - sum(steps) if prod(sizes) else 0


def _strided(
    memory: Array, dtype: np.dtype[Any], offset: int, sizes: Sequence[int], steps: Sequence[int]
) -> Array:
    """The elements in an array's bytes from `offset` on, seen with these steps; offset and steps count
    elements."""
    size = dtype.itemsize
    return np.ndarray(sizes, dtype, memory, offset * size, [step * size for step in steps])


@public("frombuffer")
def frombuffer(
    buffer: Any, *, dtype: object, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector on the memory of an object that has the buffer protocol; read-only if that is."""
    kind = dtypes.dtype(dtype)
    try:
        length = memoryview(buffer).nbytes
    except TypeError:
        raise ArgumentError(mirrored("object does not implement Python buffer protocol.")) from None
    size = kind.itemsize
    if not length or not count:
        text = f"both buffer length ({length}) and count ({count}) must not be 0"
        raise ArgumentError(mirrored(text))
    if not 0 <= offset < length:
        raise ArgumentError(
            mirrored(
                f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} "
                "bytes) minus 1"
            )
        )
    if count > 0 and offset + count * size > length:
        raise ArgumentError(
            mirrored(
                f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be "
                f"greater than actual buffer length ({length} bytes)"
            )
        )
    if count < 0 and (length - offset) % size:
        raise ArgumentError(
            mirrored(
                f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple "
                f"of element size ({size})"
            )
        )
    array = np.frombuffer(buffer, kind.numpy, max(count, -1), offset)
    return finished(new(array), None, requires_grad)


@public("from_file")
def from_file(
    filename: str, shared: bool | None = None, size: int = 0, *, dtype: object = None, **options: Any
) -> Tensor:
    """A vector of `size` elements on a file, mapped into memory. If `shared`, the file is made, or made long
    enough, and what is written goes to it; else it stays as it is."""
    kind = dtypes.default_dtype() if dtype is None else dtypes.dtype(dtype)
    nbytes = size * kind.itemsize
    if shared:
        with open(filename, "ab") as file:
            file.truncate(max(nbytes, file.tell()))
    elif os.path.getsize(filename) < nbytes:
        raise ShapeError(
            f"from_file of {size} elements of {kind} from a file of {os.path.getsize(filename)} bytes",
            "the file is too small",
            "ask for fewer elements, or for shared=True, which makes the file longer",
        )
    array = np.memmap(filename, kind.numpy, "r+" if shared else "c", 0, (size,))
    return finished(new(array.view(np.ndarray)), **options)


@method("new")
def new_(self: Tensor, *data: Any, device: object = None) -> Tensor:
    """The legacy constructor, of this Tensor's dtype: of sizes (then zeros), of data, or of a Tensor, whose
    memory is shared."""
    if len(data) == 1 and isinstance(data[0], Tensor):
        return data[0].detach()
    if len(data) == 1 and not isinstance(data[0], int | Size):
        return beside(self, new(array_of(data[0], self.dtype)), device)
    sizes = sizes_of(data, "new") if data else (0,)
    return beside(self, new(np.zeros(sizes, self.dtype.numpy)), device)


@method()
def as_subclass(self: Tensor, cls: Any) -> Any:
    """The Tensor as one of a subclass, sharing memory and history."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise ArgumentError(
            mirrored(
                "Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. "
                "Make sure your class inherits from Tensor."
            )
        )
    shown = self[...]
    found = cls.__new__(cls)
    Tensor.__init__(found, shown._value)
    for slot in ("_requires_grad", "_edge", "_grad", "_counter", "_view", "_leaf"):
        setattr(found, slot, getattr(shown, slot))
    return found


# ---- other sizes, other memory -----------------------------------------------------------------------------


def _plain(input: Tensor, name: str) -> Array:
    """The array of a Tensor on the CPU that nothing is recorded of."""
    value = input._value
    if type(value) is np.ndarray and input._view is None and STATE.trace is None:
        return value
    if STATE.trace is not None:
        raise TraceError(
            f"{name}() in a compiled function",
            "the memory of traced tensors is not known",
            "call it outside",
        )
    if isinstance(value, DeviceArray):
        raise ArgumentError(f"{name}() of a tensor on {input.device}", "it is for tensors on the CPU")
    return input.read(f"{name}()")


def _become(tensor: Tensor, array: Array) -> Tensor:
    """The Tensor on another array's memory."""
    check_sealed(tensor)
    leave(changed(tensor), array)
    return tensor


def _resize_(self: Tensor, *size: Any, memory_format: object = None) -> Tensor:
    """The Tensor with other sizes, its elements those that lie in its memory, in order. If that is too
    little, there is more of it, zeros, and views share it; a Tensor that was detached keeps what there was.
    """
    sizes = sizes_of(size, "resize_")
    if self.requires_grad:
        raise GradientError(mirrored("cannot resize variables that require grad"))
    array = _plain(self, "resize_")
    if sizes and min(sizes) < 0:
        raise ShapeError(mirrored("numel: integer multiplication overflow"))
    if sizes == array.shape:
        return self
    check_sealed(self)
    memory, itemsize = buffer_of(array), array.itemsize
    first = self.storage_offset() * itemsize
    wanted = first + prod(sizes) * itemsize
    if wanted > memory.nbytes:
        larger = np.zeros(wanted, np.uint8)
        larger[: memory.nbytes] = np.ndarray(memory.nbytes, np.uint8, memory)
        memory = larger
        move(self, memory)
    return relaid(self, np.ndarray(sizes, array.dtype, memory, first))


_resize_.__name__ = _resize_.__qualname__ = "resize_"
resize_: Callable[..., Tensor] = method("resize_")(placed("resized", _resize_))


@public("resize_as_", method=True, around=partial(placed, "resized_as"))
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: object = None) -> Tensor:
    """The Tensor with the sizes of another: see `resize_`."""
    return resize_(input, *the_template.shape)


@method()
@partial(placed, "set_to")
def set_(
    self: Tensor, source: Any = None, storage_offset: int = 0, size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """The Tensor on the memory of another Tensor or storage, with its sizes and strides or with those given,
    the offset counted from the Tensor's first element; without one, on none."""
    own = _plain(self, "set_")
    if isinstance(source, Tensor) and source.dtype is not self.dtype:
        kinds = C_NAMES[source.dtype], C_NAMES[self.dtype]
        raise DtypeError(mirrored("Could not set tensor of type {} to a tensor of type {}".format(*kinds)))
    if self.requires_grad and STATE.grad:
        raise changed_leaf()
    if isinstance(source, Tensor):
        array = _plain(source, "set_")
        if size is None:
            return _become(self, array)
        memory, storage_offset = buffer_of(array), source.storage_offset() + storage_offset
    elif source is None:
        return _become(self, np.zeros(0, own.dtype))
    else:
        memory = source.memory()
    length = memory.nbytes // own.itemsize
    sizes = (length - storage_offset,) if size is None else sizes_of((size,), "set_")
    steps = in_order(sizes, 1) if not stride else sizes_of((stride,), "set_", "stride")
    if min(sizes, default=0) < 0:
        raise ShapeError(mirrored("numel: integer multiplication overflow"))
    if storage_offset < 0:
        raise ArgumentError(mirrored(f"Tensor: invalid storage offset {storage_offset}"))
    reach = storage_offset + _span(sizes, steps)
    if reach > length:
        raise ShapeError(
            f"set_ to sizes {list(sizes)}, strides {list(steps)}, offset {storage_offset}",
            f"that takes {reach * own.itemsize} bytes, and the storage has {memory.nbytes}",
        )
    return _become(self, _strided(memory, own.dtype, storage_offset, sizes, steps))


@method()
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same elements in memory, with the same sizes and strides."""
    same = self.shape == tensor.shape and self.stride() == tensor.stride()
    return bool(same and self.data_ptr() == tensor.data_ptr() and self.dtype is tensor.dtype)


@method()
def storage(self: Tensor) -> TypedStorage:
    """The memory in which the Tensor's elements lie, as elements of its dtype."""
    return TypedStorage(self.untyped_storage(), self.dtype)


@method()
def dim_order(self: Tensor, *, ambiguity_check: bool | Sequence[memory_format] = False) -> tuple[int, ...]:
    """The axes in the order in which they lie in memory, the outermost first. If `ambiguity_check` says so,
    it must be the only one, or that of just one of the formats listed."""
    steps = self.stride()
    unsure = 1 in self.shape or any(a == b for a, b in pairwise(steps))
    if ambiguity_check is not False and unsure:
        formats = [] if ambiguity_check is True else ambiguity_check
        if sum(self.is_contiguous(memory_format=form) for form in formats) != 1:
            raise ShapeError(
                mirrored(
                    "The tensor does not have unique dim order, or cannot map to exact one of the given "
                    "memory formats."
                )
            )
    return tuple(sorted(range(self.ndim), key=lambda k: -steps[k]))


method("const_data_ptr")(calls.told("address", data_ptr))


# ---- by a Python function ----------------------------------------------------------------------------------


def _by(name: str, self: Tensor, function: Callable[..., Any], others: Sequence[Tensor]) -> Tensor:
    """Each element replaced by what a function of it, and of the others' elements there, gives."""
    for x in (self, *others):
        if x.requires_grad:
            text = f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
            raise GradientError(mirrored(text))
    for label, x in zip(("other",) if len(others) == 1 else ("x", "y"), others):
        if x.dtype is not self.dtype:
            own, given = legacy_name(self.dtype), legacy_name(x.dtype)
            raise DtypeError(mirrored(f"{name}: expected {own} for '{label}' (got {given})"))
    array = _plain(self, name)
    check_writable(self)
    operands = [np.broadcast_to(_plain(x, name), array.shape).ravel().tolist() for x in others]
    found = list(map(function, array.ravel().tolist(), *operands))
    array[...] = np.array(found, array.dtype).reshape(array.shape)
    return changed(self)


@method()
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Each element replaced by what a Python function of it gives. Slow; for tensors on the CPU."""
    return _by("apply_", self, callable, ())


@method()
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function of it and of another Tensor's gives."""
    return _by("map_", self, callable, (tensor,))


@method()
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function of it and of two other Tensors' gives."""
    return _by("map2_", self, callable, (x, y))
