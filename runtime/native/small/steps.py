"""The steps of a small graph: for each of its nodes a kernel that is there, and where its operands lie.

In flow a graph's inputs and outputs; out flows a function of arrays that runs the steps. Values are laid out
as NumPy arrays over the memory that the steps will write, so an op that only moves is evaluated, and is done.
An op of a new kind is a case of `Steps._applied`, or an entry of `FURTHER`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Constant, Graph, Node, Op, Type, order
from retrograd.compiler.native.language import places
from retrograd.compiler.ops.composite import Composite, admission, expansion
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.copy import Clone
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.index import Put, PutAdd, PutAlongAdd, Take, TakeAlong
from retrograd.compiler.ops.iota import Iota, IotaLike
from retrograd.compiler.ops.scan import Scan
from retrograd.compiler.ops.shape import Cast, Concat, Movement
from retrograd.compiler.ops.sort import Argsort
from retrograd.compiler.record import contents
from retrograd.runtime.native import buffers, cpu
from retrograd.runtime.native.builtins import builtin
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.copies import MOST_AXES
from retrograd.runtime.native.small.cuts import Cut, indexed, joined, of_axes, of_elements, of_indices
from retrograd.runtime.native.small.elements import retrograd_elements
from retrograd.runtime.native.small.entry import (
    ANYHOW,
    HEAD_WORDS,
    IN_ORDER,
    PLACE_WORDS,
    STEP_WORDS,
    UNREAD,
    Head,
    retrograd_small,
)
from retrograd.runtime.native.small.lying import LAYING, followed, like
from retrograd.runtime.native.small.ordering import retrograd_ordered
from retrograd.runtime.native.small.passing import retrograd_passed
from retrograd.runtime.native.small.tallying import retrograd_tally
from retrograd.runtime.strided import following

Compute = Callable[..., Any]

FEW_ELEMENTS = 1 << 11
"""Of any value: up to which a list of kernels is done sooner than one loop over all elements is begun."""
MOST_ELEMENTS = 1 << 14
"""Of any value: beyond, values leave the nearest cache, and NumPy's passes cost little more."""
MOST_SORTED = 64
"""Elements of a line: beyond, NumPy's sorting is faster."""
MOST_PRODUCTS = 1 << 11
"""Of a matrix product: beyond, BLAS is faster."""
SCRATCH = np.zeros(1 << 21, np.uint8)
"""What lies between steps; shared, for no other call begins before the steps of one are done."""


def is_small(type_: Type) -> bool:
    """Whether it may be a value of a small graph: of few elements, but of some."""
    return type_.size <= MOST_ELEMENTS and has_kernels(type_)


def has_kernels(type_: Type) -> bool:
    """Whether there may be a kernel for such a value: of some elements."""
    return type_.size > 0 and type_.ndim <= MOST_AXES and type_.dtype in kernels.KINDS


FURTHER: dict[type[Op], Callable[..., None]] = {}
"""What writes the steps of ops of other files, given the steps, the op, its result and operands: those of
`solving.py`."""


OWN: dict[type[Op], Callable[..., None]] = {}
"""The same where kernels are for arrays of any size, and inspect elements: those of `own.py`."""


ASKED: dict[type[Op], Callable[..., None]] = {}
"""What writes the step that looks at what an op asks of its operands, by a kernel: those of `demands.py`."""


YIELDING: dict[type[Op], int] = {}
"""Those of them that machine code of much is sooner than, for theirs runs on one thread; and the elements
before which it is not."""


class Steps:
    """The steps of a graph, while they are written: of a small one, or of one of any size that is an op with
    a kernel of its own."""

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node], small: bool = True) -> None:
        self._fits = is_small if small else has_kernels
        self.words: list[int] = []
        self.kept: list[Array] = []
        """Arrays whose memory the steps read or write: constants, and what inputs are copied to."""
        self._bases: list[tuple[int, int, int]] = []
        """Of inputs and outputs: where they are laid out, how many bytes, and the number of their base."""
        self._used = 0
        self._shared = False  # whether a step is in parts
        self._known: dict[tuple[Any, ...], Array] = {}
        self._inputs, self._outputs = inputs, outputs
        self._followed = set(followed(outputs))
        self._values: dict[Node, Array] = {node: self._based(node.type) for node in inputs}
        self._copies = [
            self.scratch(x.type) if small and is_small(x.type) else self._values[x] for x in inputs
        ]
        self._large = {k + 1 for k, x in enumerate(inputs) if small and not is_small(x.type)}
        self._results = [self._based(node.type) for node in outputs]
        self._read: set[int] = set()
        self._ordered: set[int] = set()
        """Inputs that are read only where they lie in order."""
        self._waiting = dict(zip(outputs, self._results))
        for node in order(outputs):
            self._values[node] = self.apply(node, [self._values[i] for i in node.inputs], self._result(node))
        for node, result in zip(outputs, self._results):
            if (value := self._values[node]) is not result:
                self.copy(value, result)

    # ---- memory ----------------------------------------------------------------------------------------

    def _based(self, type_: Type) -> Array:
        """What stands for an input or output."""
        array = np.empty(type_.shape, type_.dtype.numpy)
        self._bases.append((array.ctypes.data, array.nbytes, len(self._bases) + 1))
        return array

    def scratch(self, type_: Type) -> Array:
        start, self._used = self._used, self._used + -(-type_.nbytes // 64) * 64
        if self._used > SCRATCH.nbytes:
            raise kernels.NoKernel
        return SCRATCH[start : start + type_.nbytes].view(type_.dtype.numpy).reshape(type_.shape)

    def constant(self, value: Array) -> Array:
        self.kept.append(value)
        return value

    def _result(self, node: Node) -> Array | None:
        """Where the node is to be written, if it is an output."""
        return self._waiting.pop(node, None)

    def _place(self, array: Array) -> tuple[int, int]:
        """The base and the offset of an array."""
        address = array.ctypes.data
        for start, size, number in self._bases:
            if start <= address < start + size:
                self._read.add(number - 1)
                return number, address - start
        return 0, address

    def read_in_order(self, x: Array) -> None:
        """If it is an input, and of many elements, `slow` is for what does not lie in order."""
        number, _ = self._place(x)
        if x.size > FEW_ELEMENTS:
            self._ordered.add(number - 1)

    # ---- steps -----------------------------------------------------------------------------------------

    def step(
        self,
        kernel: int | None,
        arrays: Sequence[Array],
        sizes: Sequence[int],
        reduces: bool = False,
        cut: Cut | None = None,
    ) -> None:
        """What the kernel does, by all threads where it may be `cut` and there is much to do."""
        if kernel is None:
            raise kernels.NoKernel
        part = 0 if cut is None else cut.part(sizes)
        advances = cut.advances if cut is not None else [0] * len(arrays)
        places = [w for x, advance in zip(arrays, advances, strict=True) for w in (*self._place(x), advance)]
        reads = reduces or kernel == kernels.gathering(arrays[0].itemsize)
        if not reads and self._large & {*places[::PLACE_WORDS]}:  # of what is large, little is made
            raise kernels.NoKernel
        self._shared |= part > 0
        words = STEP_WORDS + len(places) + len(sizes)
        self.words += [kernel, words, len(arrays), part, 0 if cut is None else cut.size, *places, *sizes]

    def apply(self, node: Node, operands: list[Array], result: Array | None) -> Array:
        """The node's value, laid out: its steps are written, or those of an equal one are there."""
        return self._valued(node.op, node.type, operands, result)

    def of(self, op: Op, *operands: Array) -> Array:
        """The value of a further op of values that are laid out."""
        return self._valued(op, op.infer(*[Type(x.shape, _dtype(x)) for x in operands]), [*operands], None)

    def _valued(self, op: Op, type_: Type, operands: list[Array], result: Array | None) -> Array:
        key = (op, *[(x.ctypes.data, x.shape, x.strides, x.dtype.str) for x in operands])
        known = self._known.get(key)
        if known is None or result is not None:
            known = self._known[key] = self._applied(op, type_, operands, result)
        return known

    def _applied(self, op: Op, type_: Type, operands: list[Array], result: Array | None) -> Array:
        if not self._fits(type_):
            raise kernels.NoKernel
        if type(op) in OWN:
            out = self.scratch(type_) if result is None else result
            OWN[type(op)](self, op, out, *operands)
            return out
        match op:
            case Constant() | Iota() | IotaLike():
                return self.constant(np.asarray(op.evaluate(*operands)))
            case Movement():
                return self._moved(op, operands[0])
            case Clone():  # results are new memory
                return operands[0]
            case Composite():
                return self.expanded(op, operands, result)
            case Scan():
                return self._scanned(op, type_, operands, result)
        out = self.scratch(type_) if result is None else result
        match op:
            case Elementwise():
                self.row(op, out, operands)
            case Cast():
                self.cast(operands[0], out)
            case Take() | TakeAlong():
                self._gather(op, out, *operands)
            case PutAdd() | PutAlongAdd():
                self._scatter_sums(op, out, *operands)
            case Put():
                self._scatter(out, *operands)
            case Concat():
                self._join(op, out, operands)
            case Argsort():
                self._sort(op, out, operands[0])
            case Dot() if type(op) is Dot:
                self._multiply(out, *operands)
            case _ if type(op) in FURTHER:
                FURTHER[type(op)](self, op, out, *operands)
            case _:
                raise kernels.NoKernel
        return out

    def _moved(self, op: Movement, x: Array) -> Array:
        """The operand's memory seen otherwise; where that cannot be, a copy of it."""
        moved = op.evaluate(x)
        if np.may_share_memory(moved, x):
            return moved
        moved = op.evaluate(self.in_order(x))
        return moved if np.may_share_memory(moved, self.in_order(x)) else self._placed(op, x)

    def _placed(self, op: Movement, x: Array) -> Array:
        """The operand's elements among others that the op fills in: what moves with numbers in its place."""
        numbers = np.arange(x.size).reshape(x.shape)
        with np.errstate(all="ignore"):  # what is filled in may be no integer
            here, apart = op.evaluate(numbers + 1), op.evaluate(numbers + 1 + x.size)
        places = self.constant(np.where(here == apart, -1, here - 1))
        others = self.constant(np.ascontiguousarray(op.evaluate(np.zeros(x.shape, x.dtype))))
        out = self.scratch(Type(others.shape, _dtype(x)))
        self.step(kernels.placing(x.itemsize), [out, self.in_order(x), places, others], [out.size])
        return out

    def expanded(self, op: Composite, operands: list[Array], result: Array | None) -> Array:
        types = tuple(Type(x.shape, _dtype(x)) for x in operands)
        if type(op) in ASKED:
            ASKED[type(op)](self, op, *operands)
        elif (asked := admission(op, types)) is not None:
            self._demand(self._written(asked, operands, None))
        return self._written(expansion(op, types), operands, result)

    def _written(self, graph: Graph, operands: Sequence[Array], result: Array | None) -> Array:
        """A graph's only output."""
        values = dict(zip(graph.inputs, operands))
        (out,) = graph.outputs
        for node in graph.nodes:
            into = result if node is out else None
            values[node] = self.apply(node, [values[i] for i in node.inputs], into)
        return values[out]

    def _demand(self, truths: Array) -> None:
        """That each of them is true; else the call is for `slow`."""
        self.step(kernels.demanding(), [self.in_order(truths)], [truths.size])

    def row(self, row: Elementwise, out: Array, operands: Sequence[Array]) -> None:
        kernel = kernels.of_row(row, tuple(_dtype(x) for x in operands), _dtype(out))
        self._elementwise(kernel, out, operands)

    def _elementwise(self, kernel: int | None, out: Array, operands: Sequence[Array]) -> None:
        seen = [np.broadcast_to(x, out.shape) for x in operands]
        single = [not any(x.strides[k] for k in range(x.ndim) if x.shape[k] > 1) for x in seen]
        arrays = [x if one else self.in_order(x) for x, one in zip(seen, single)]
        cut = of_elements([out.itemsize, *[0 if one else x.itemsize for x, one in zip(arrays, single)]])
        self.step(kernel, [out, *arrays], [out.size, *[int(not one) for one in single]], cut=cut)

    def cast(self, x: Array, out: Array) -> None:
        self._elementwise(kernels.of_cast(_dtype(x), _dtype(out)), out, [x])

    def _scanned(self, op: Scan, type_: Type, operands: list[Array], result: Array | None) -> Array:
        """The axis is the first while the steps run, from its start to its end."""
        seen = [_lengthwise(x, op) for x in operands]
        if result is None or not _lengthwise(result, op).flags.c_contiguous:
            scratch = self.scratch(Type(seen[0].shape, type_.dtype))
            result = np.moveaxis(np.flip(scratch, 0) if op.reverse else scratch, 0, op.axis)
        out = _lengthwise(result, op)
        arrays = [out, *[self.in_order(x) for x in seen]]
        kernel = kernels.of_scan(op.combine, op.identity(type_.dtype), type_.dtype)
        self.step(kernel, arrays, [len(out), out.size // len(out)])
        return result

    def _gather(self, op: Take | TakeAlong, out: Array, x: Array, index: Array) -> None:
        arrays = [out, self.in_order(x), self.wide(index)]
        sizes = indexed(x.shape, op.axis, index, isinstance(op, Take))
        self.step(kernels.gathering(x.itemsize), arrays, sizes, cut=of_indices(sizes, x.itemsize, True))

    def _scatter_sums(self, op: PutAdd | PutAlongAdd, out: Array, values: Array, index: Array) -> None:
        self.copy(np.broadcast_to(self.constant(np.zeros((), out.dtype)), out.shape), out)
        arrays = [out, self.in_order(values), self.wide(index)]
        sizes = indexed(out.shape, op.axis, index, isinstance(op, PutAdd))
        self.step(kernels.of_summing(_dtype(out)), arrays, sizes, cut=of_indices(sizes, out.itemsize, False))

    def _scatter(self, out: Array, x: Array, index: Array, values: Array) -> None:
        self.copy(x, out)
        chosen = np.broadcast_to(values, (*index.shape, *x.shape[1:]))
        arrays = [out, self.in_order(chosen), self.wide(index)]
        self.step(kernels.scattering(out.itemsize), arrays, indexed(x.shape, 0, index, True))

    def wide(self, index: Array) -> Array:
        """The index as the kernels take it."""
        if index.dtype == np.int64:
            return self.in_order(index)
        wide = self.scratch(Type(index.shape, kernels.INDEX))
        self.cast(index, wide)
        return wide

    def _join(self, op: Concat, out: Array, operands: Sequence[Array]) -> None:
        before, start = (slice(None),) * op.axis, 0
        for x in operands:
            self.read_in_order(x)
            stop = start + x.shape[op.axis]
            self.copy(x, out[(*before, slice(start, stop))])
            start = stop

    def _sort(self, op: Argsort, out: Array, x: Array) -> None:
        """The axis is the last while the step runs."""
        if x.shape[op.axis] > MOST_SORTED:
            raise kernels.NoKernel
        rows = self.in_order(np.moveaxis(x, op.axis, -1))
        last = op.axis == x.ndim - 1
        places = out if last else self.scratch(Type(rows.shape, kernels.INDEX))
        sizes = [x.size // x.shape[op.axis], x.shape[op.axis]]
        self.step(kernels.of_sorting(_dtype(x), op.descending), [places, rows], sizes)
        if not last:
            self.copy(np.moveaxis(places, -1, op.axis), out)

    def _multiply(self, out: Array, a: Array, b: Array) -> None:
        if out.size * a.shape[-1] > MOST_PRODUCTS:
            raise kernels.NoKernel
        arrays = [out, self.in_order(a), self.in_order(b)]
        m, n = out.shape[-2:]
        self.step(kernels.of_product(_dtype(out)), arrays, [out.size // (m * n), m, n, a.shape[-1]])

    def in_order(self, x: Array) -> Array:
        """The array, or its elements copied one after the other."""
        if x.flags.c_contiguous:
            return x
        key = ("in order", x.ctypes.data, x.shape, x.strides, x.dtype.str)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self.scratch(Type(x.shape, _dtype(x)))
            self.copy(x, known)
        return known

    def copy(self, x: Array, out: Array) -> None:
        axes = joined(x, out)
        if len(axes) > MOST_AXES:
            raise kernels.NoKernel
        lists = [[axis[k] for axis in axes] + [0] * (MOST_AXES - len(axes)) for k in range(3)]
        sizes = [len(axes), *lists[0], *lists[1], *lists[2]]
        self.step(kernels.copying(x.itemsize), [out, x], sizes, cut=of_axes(axes))

    # ---- the callable ----------------------------------------------------------------------------------

    def callable(self, listed: Sequence[int], slow: Compute) -> Compute:
        """The function; `listed` says which output stands where in a list, or nothing if it is the result."""
        into = [w for k, x in enumerate(self._inputs) for w in self._input(k, x)]
        out = [w for node in self._outputs for w in _output(node.type)]
        places_at = HEAD_WORDS + len(into) + len(out)
        steps_at = places_at + len(listed)
        head = {
            "inputs": len(self._inputs),
            "outputs": len(self._outputs),
            "places": len(listed),
            "outputs_at": HEAD_WORDS + len(into),
            "places_at": places_at,
            "steps_at": steps_at,
            "end_at": steps_at + len(self.words),
            "like": like(self._inputs, self._outputs, self._read),
            "parallel": cpu.parallel() if self._shared else 0,
        }
        words = [*[head[name] for name in places(Head)], *into, *out, *listed, *self.words]
        lays = head["like"] >= 0 and not listed
        made = native("retrograd_small", words, following(slow) if lays else slow, self.kept)
        if lays:
            LAYING.add(made)
        return made

    def _input(self, number: int, node: Node) -> list[int]:
        type_, copy = node.type, self._copies[number]
        rest = MOST_AXES - type_.ndim
        ordered = node in self._followed or number in self._ordered
        how = UNREAD if number not in self._read else IN_ORDER if ordered else ANYHOW
        if how == ANYHOW:
            self.kept.append(copy)
        words = [how, id(type_.dtype.numpy), type_.ndim]
        words += [kernels.copying(copy.itemsize), copy.ctypes.data]
        return [*words, *type_.shape, *[0] * rest, *copy.strides, *[0] * rest]


def _output(type_: Type) -> list[int]:
    """An output in the record."""
    return [id(type_.dtype.numpy), type_.ndim, *type_.shape, *[0] * (MOST_AXES - type_.ndim)]


def _dtype(array: Array) -> Any:
    return kernels.DTYPES[array.dtype]


def _lengthwise(x: Array, op: Scan) -> Array:
    first = np.moveaxis(x, op.axis, 0)
    return first[::-1] if op.reverse else first


# ---- the callable ------------------------------------------------------------------------------------------


def native(entry: str, words: Sequence[int], slow: Compute, kept: object) -> Compute:
    """The native callable of a record; `slow` does the same for any arguments."""
    record = struct.pack(f"<{len(words)}Q", *[w % (1 << 64) for w in words])
    return builtin(entry, None, _library().address(entry), (record, slow, kept))


@cache
def _library() -> cpu.Library:
    offsets = layout()
    assert offsets is not None
    return cpu.load_native(
        "small",
        lambda: [retrograd_small, retrograd_elements, retrograd_tally, retrograd_ordered, retrograd_passed],
        contents(offsets),
        buffers.symbols(),
    )
