"""Arrays in the memory of a GPU: made, copied there and back, read and written by strides.

`CudaArray` is what a Tensor on a GPU holds. Kernels take memory that lies in order and begins at a multiple
of 16 bytes; any other view enters a graph as flat memory and a `Strided` op (`operand_of`, `enter`), so it is
read where it lies, by the kernel that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Array, Builder, Graph, Node, Type, apply
from retrograd.compiler.ops import strided
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import expand, reshape
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.cuda import code
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.cuda.memory import Buffer
from retrograd.runtime.device import device
from retrograd.runtime.native.ports import Link
from retrograd.runtime.strided import DeviceArray, Layout, share_memory

ALIGNMENT = 16
"""Where memory begins that kernels take."""


class CudaArray(DeviceArray):
    """A strided array in the memory of a GPU."""

    __slots__ = ()

    @property
    def gpu(self) -> Device:
        found: Device = self.memory.gpu
        return found

    @property
    def device(self) -> device:
        return self.gpu.name

    def viewed(self, layout: Layout) -> CudaArray:
        """Other elements of the same memory."""
        return CudaArray(self.memory, layout, self.dtype)

    def host(self) -> Array:
        out = np.empty(self.shape, self.dtype.numpy)
        self.read_into(out)
        if out.nbytes:
            self.gpu.wait(self.gpu.stream)
        return out

    def read_into(self, out: Array) -> None:
        """Have the elements copied to an array of the host that lies in order; nobody waits for it."""
        source = self if self.layout.contiguous else self.copy()
        if out.nbytes:
            source.used().gpu.activate()
            self.gpu.driver.copy_to_host(out.ctypes.data, source.pointer, out.nbytes, self.gpu.stream)

    def copy(self) -> CudaArray:
        if not self.layout.contiguous:
            return _filled(self)
        fresh = empty(self.gpu, self.type)
        _copied(fresh, self)
        return fresh

    def ordered(self) -> CudaArray:
        """These elements as kernels take them: itself where it can be."""
        in_order = self.layout.contiguous and (self.pointer % ALIGNMENT == 0 or not self.size)
        return self if in_order else self.copy()

    def to(self, gpu: Device) -> CudaArray:
        """These elements on a GPU."""
        if gpu is self.gpu:
            return self
        source = self if self.layout.contiguous else self.copy()
        fresh = empty(gpu, self.type)
        if fresh.nbytes:
            _wait(gpu, self.gpu)
            _copied(fresh, source)
            _wait(self.gpu, gpu)
        return fresh

    def assign(self, value: Any) -> None:
        if 0 in self.shape:
            return
        if isinstance(value, np.ndarray) and value.size > 1 and not any(value.strides):
            self.fill(value.flat[0])
            return
        if isinstance(value, np.ndarray) and self.layout.contiguous:
            _upload(self, value)
            return
        new = value.to(self.gpu) if isinstance(value, CudaArray) else uploaded(self.gpu, value)
        if not self.layout.contiguous:
            rewrite(self, [new], "put", lambda old, new: new)
        elif new.layout.contiguous and not share_memory(self, new):
            _copied(self, new)
        elif new.memory is not self.memory or new.layout != self.layout:
            _copied(self, new.copy())

    def fill(self, value: Any) -> None:
        """Give every element one value of NumPy."""
        content = set(value.tobytes())
        if self.layout.contiguous and len(content) == 1:
            self.used().gpu.activate()
            self.gpu.driver.fill(self.pointer, content.pop(), self.nbytes, self.gpu.stream)
            return
        new = number(self.gpu, value.item(), self.dtype)
        rewrite(self, [new], "fill", lambda old, new: expand(reshape(new, [1] * len(old.shape)), old.shape))

    def beside(self, array: Array) -> CudaArray:
        return placed(self.gpu, array)

    def links(self) -> tuple[Link, ...] | None:
        memory, gpu = self.memory, self.gpu
        own = type(memory) is Buffer and memory.stream is gpu.stream and memory.nbytes
        if not own or self.layout is not Layout.of(self.shape):
            return None
        held = Link(Buffer, "pointer", {"gpu": gpu, "stream": memory.stream})
        return Link(CudaArray, "memory", {"layout": self.layout, "dtype": self.dtype}), held

    def used(self) -> CudaArray:
        """Note that the current stream has work with it."""
        self.memory.used_by(self.gpu.stream)
        return self


def made_links(gpu: Device, kind: Type) -> tuple[Link, ...]:
    """What native code makes for such an array, in memory for the current stream."""
    stream, source = gpu.stream, gpu.pool.source(kind.nbytes, gpu.stream)
    filled = {"pool": gpu.pool, "gpu": gpu, "nbytes": source.block, "stream": stream, "_others": None}
    filled |= {"home": source.free, "counted": source.statistics}
    layout = {"layout": Layout.of(kind.shape), "dtype": kind.dtype}
    return Link(CudaArray, "memory", layout), Link(Buffer, "pointer", filled)


def empty(gpu: Device, kind: Type) -> CudaArray:
    """New memory, in order, for the current stream."""
    return CudaArray(gpu.allocate(kind.nbytes), Layout.of(kind.shape), kind.dtype)


def uploaded(gpu: Device, array: Array) -> CudaArray:
    """A copy of the CPU's elements; one that stands for all of them is not written out first."""
    fresh = empty(gpu, Type(array.shape, dtypes.dtype(array.dtype)))
    if array.size > 1 and not any(array.strides):
        fresh.fill(array.flat[0])
    else:
        _upload(fresh, array)
    return fresh


def placed(gpu: Device, array: Array) -> CudaArray:
    """An array of the CPU for operations to read. A number that nobody changes is kept."""
    lasting = not array.ndim and not array.flags.writeable
    return number(gpu, array.item(), dtypes.dtype(array.dtype)) if lasting else uploaded(gpu, array)


def number(gpu: Device, value: Any, dtype: DType) -> CudaArray:
    """A number, in memory that is written once for all who ask for it while it is among the latest."""
    key = (repr(value), dtype)
    found: CudaArray = gpu.numbers(key, lambda: uploaded(gpu, np.asarray(value, dtype.numpy)))
    return found


def _upload(target: CudaArray, array: Array) -> None:
    source = np.ascontiguousarray(array)
    if source.nbytes:
        target.used().gpu.activate()
        target.gpu.driver.copy_to_device(target.pointer, source.ctypes.data, source.nbytes, target.gpu.stream)


def _copied(target: CudaArray, source: CudaArray) -> None:
    """Both lie in order."""
    if target.nbytes:
        source.used()
        target.used().gpu.activate()
        target.gpu.driver.copy_on_device(target.pointer, source.pointer, target.nbytes, target.gpu.stream)


def _wait(one: Device, other: Device) -> None:
    """What one GPU's stream is asked for from now on waits for what the other's has now."""
    other.activate()
    event = other.driver.event_create(timing=False)
    other.driver.event_record(event, other.stream)
    one.activate()
    one.driver.stream_wait_event(one.stream, event)
    one.driver.event_destroy(event)


# ---- views as operands of kernels --------------------------------------------------------------------------


class Operand(NamedTuple):
    """What of an array decides the code that reads it."""

    shape: tuple[int, ...]
    dtype: DType
    strides: tuple[int, ...] | None = None
    """None: in order."""
    offset: int = 0
    length: int = 0
    """Of the memory, from the address that the kernel is given on."""

    @property
    def type(self) -> Type:
        return Type(self.shape, self.dtype)


def operand_of(array: CudaArray) -> tuple[Operand, int]:
    """An array as kernels see it, and the address that they are given."""
    layout, item = array.layout, array.dtype.itemsize
    if layout.contiguous and (array.pointer % ALIGNMENT == 0 or not array.size):
        return Operand(layout.shape, array.dtype), array.pointer
    low, high = layout.span
    first = array.memory.pointer + low * item
    address = first // ALIGNMENT * ALIGNMENT
    before = (first - address) // item
    strides = tuple(step if size > 1 else 1 for size, step in zip(layout.shape, layout.strides, strict=True))
    found = Operand(layout.shape, array.dtype, strides, layout.offset - low + before, high - low + 1 + before)
    return found, address


def enter(builder: Builder, label: str, operand: Operand) -> Node:
    """An input of a graph, seen as the array is."""
    if operand.strides is None:
        return builder.input(label, operand.type)
    flat = builder.input(label, Type((operand.length,), operand.dtype))
    kept = [k for k, step in enumerate(operand.strides) if step]
    sizes = tuple(operand.shape[k] for k in kept)
    elements = apply(strided.layout(sizes, tuple(operand.strides[k] for k in kept), operand.offset), flat)
    ones = [size if step else 1 for size, step in zip(operand.shape, operand.strides, strict=True)]
    seen: Node = expand(reshape(elements, ones), operand.shape)
    return seen


def written(name: str, operands: Sequence[Operand], make: Callable[[list[Node]], Sequence[Node]]) -> Graph:
    """The graph of what `make` writes of the operands."""
    builder = Builder()
    with builder.at(None):
        seen = [enter(builder, f"x{k}", operand) for k, operand in enumerate(operands)]
        outputs = tuple(make(seen))
    return Graph(name, tuple(builder.inputs), outputs)


def _filled(array: CudaArray) -> CudaArray:
    """A copy in order, made by a kernel."""
    operand, address = operand_of(array)
    fresh = empty(array.gpu, array.type)
    if array.size:
        gpu = array.gpu
        found = gpu.once(
            ("copy", operand), lambda: code.load(written("copy", [operand], lambda seen: seen), gpu)
        )
        array.used()
        found.run([address], [fresh.pointer])
    return fresh


# ---- in place ----------------------------------------------------------------------------------------------


class _Rewriting(NamedTuple):
    """What writes new elements over old ones."""

    kernels: code.Kernels
    straight: bool
    """Whether it may write them where the old ones lie."""

    @staticmethod
    def of(
        gpu: Device,
        place: Operand,
        others: Sequence[Operand],
        same: Sequence[bool],
        make: Callable[..., Node],
    ) -> _Rewriting:
        """Written once, for a target at `place`. Operands that are the `same` as the target are not given."""
        flat = place if place.strides is None else Operand((place.length,), place.dtype)

        def whole(nodes: list[Node]) -> list[Node]:
            region, given = nodes[0], iter(nodes[1:])
            old = _seen(region, place)
            new = make(old, *[old if itself else next(given) for itself in same])
            return [_around(region, place, new)]

        entered = [flat, *(other for other, itself in zip(others, same, strict=True) if not itself)]
        kernels = code.load(written("update", entered, whole), gpu, {0: 0})
        return _Rewriting(kernels, 0 in kernels.code.straight)


def rewrite(
    target: CudaArray, operands: Sequence[CudaArray], key: object, make: Callable[..., Node]
) -> code.Kernels | None:
    """Give an array new elements: what `make`, which `key` names, makes of its old ones and of the operands.
    The kernels that did, if they take nothing but the target and all operands, and write into the target.

    One kernel writes them where they lie. An operand that overlaps the target has them written elsewhere
    first, and copied. Where the target is a view out of order, the memory around it is written as it was.
    """
    gpu = target.gpu
    place, address = operand_of(target)
    pairs = [operand_of(x) for x in operands]
    same = tuple(x.memory is target.memory and x.layout == target.layout for x in operands)
    others = [operand for operand, _ in pairs]
    found = gpu.once(
        ("rewrite", key, place, same, *others), lambda: _Rewriting.of(gpu, place, others, same, make)
    )
    for x in (target, *operands):
        x.used()
    inputs = [address, *(at for (_, at), itself in zip(pairs, same, strict=True) if not itself)]
    if found.straight and not any(share_memory(x, target) for x, itself in zip(operands, same) if not itself):
        found.kernels.run(inputs, [address])
        return None if any(same) else found.kernels
    low, high = target.layout.span
    item = target.dtype.itemsize
    first = target.memory.pointer + low * item
    length = place.length if place.strides is not None else target.size
    fresh = empty(gpu, Type((length,), place.dtype))
    found.kernels.run(inputs, [fresh.pointer])
    gpu.driver.copy_on_device(first, fresh.pointer + (first - address), (high - low + 1) * item, gpu.stream)
    return None


def _seen(region: Node, place: Operand) -> Node:
    """The elements of a view in the memory around it."""
    if place.strides is None:
        return region
    found: Node = apply(strided.Strided(place.shape, place.strides, place.offset), region)
    return found


def _around(region: Node, place: Operand, new: Node) -> Node:
    """The memory around a view, with new elements in it."""
    if place.strides is None:
        return new
    one = region.builder.constant(True, dtypes.bool_)
    there = expand(reshape(one, [1] * len(place.shape)), place.shape)
    layout = (place.shape, place.strides, place.offset)
    mask, spread = (apply(strided.Unstrided(*layout, place.length), x) for x in (there, new))
    found: Node = rows.where(mask, spread, region)
    return found
