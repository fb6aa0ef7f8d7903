"""Which kernels are alike: the same statements over buffers of the same kinds, from one element of each on.

    likeness(kernel)            its statements as plain data, buffers and axes numbered as they are met
    likenesses(kernels)         that of each which has a likely twin among them
    moved(kernel, name, moves)  the kernel over other buffers, or other parts of them

Two kernels with the same key do the same to the places that `parts` names. So what is arranged, or written as
machine code, for one serves the other: an unrolled loop costs one iteration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import assert_never

from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Space,
    Within,
    beyond,
)
from retrograd.compiler.ir.index import Atom, Axis, Bound, Divided, Index, Loaded, Remainder
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Contraction,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Local,
    Mma,
    Routine,
    Statement,
    Store,
    Windowed,
    expressions,
    walk,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import record


@record(slots=True)
class Likeness:
    """What a kernel does, and to what."""

    key: Hashable
    """The same for kernels that are alike."""
    parts: dict[Buffer, int]
    """The buffers from outside, in the order in which they are mentioned, and from which element on."""


def likeness(kernel: Kernel, *, located: bool) -> Likeness:
    """What a kernel's statements are; with the user's lines, if `located`."""
    writer = _Writer(
        located, {e.buffer for e in expressions(kernel.body) if isinstance(e, Load) and e.bounds}
    )
    writer.statements(kernel.body)
    if kernel.contraction is not None:
        writer.contraction(kernel.contraction)
    return Likeness(tuple(writer.tokens), {b: writer.parts.get(b, 0) for b in writer.buffers if _outside(b)})


def likenesses(kernels: Sequence[Kernel], *, located: bool) -> list[Likeness | None]:
    """Of each kernel; None for those that a glance tells from all others."""
    if len(kernels) < 2:
        return [None] * len(kernels)
    glances = [_glance(kernel) for kernel in kernels]
    times = Counter(glances)
    return [likeness(k, located=located) if times[g] > 1 else None for k, g in zip(kernels, glances)]


def _glance(kernel: Kernel) -> Hashable:
    """Something that is the same for kernels that are alike, and soon found."""
    glance: list[int | str] = []
    for s in walk(kernel.body):
        match s:
            case For(axis):
                glance.append(axis.extent)
            case Store(value=Call(row)) | Accumulate(value=Call(row)):
                glance.append(row)
            case _:
                glance.append(type(s).__name__)
    return tuple(glance)


def _outside(buffer: Buffer) -> bool:
    return buffer.space not in (Space.LOCAL, Space.SHARED)


def moved(kernel: Kernel, name: str, moves: Mapping[Buffer, tuple[Buffer, int]]) -> Kernel:
    """A scheduled kernel with each buffer replaced by another one, so many elements on. Intermediate buffers
    that no move names are its own, and made anew."""
    moves = dict(moves)

    def place(buffer: Buffer, index: Index) -> tuple[Buffer, Index]:
        if not _outside(buffer):
            return buffer, index
        if buffer not in moves:
            moves[buffer] = Buffer(buffer.name, buffer.dtype, buffer.size, buffer.space), 0
        other, on = moves[buffer]
        return other, index + on

    return Kernel(name, Rewriter(place=place).statements(kernel.body))


class _Writer:
    """Statements as a list of plain things, read left to right: each begins with what it is."""

    def __init__(self, located: bool, bounded: set[Buffer]) -> None:
        self._located = located
        self._bounded = bounded
        """What is read in part must stay whole: elements that are not read may lie before the part."""
        self.parts: dict[Buffer, int] = {}
        self.tokens: list[Hashable] = []
        self.buffers: dict[Buffer, int] = {}
        self._axes: dict[Axis, int] = {}
        self._known: dict[Expression, int] = {}

    def statements(self, statements: Sequence[Statement]) -> None:
        self.tokens.append(len(statements))
        for s in statements:
            self._statement(s)

    def _statement(self, s: Statement) -> None:
        match s:
            case For(axis, body, kind, limit, lanes):
                stop = None if limit is None else (self._index(limit[0]), limit[1])
                self.tokens += ["for", self._axis(axis), kind, stop, lanes]
                self.statements(body)
            case Local(buffer, body):
                self.tokens += ["local", self._buffer(buffer)]
                self.statements(body)
            case If(bounds, body):
                self.tokens += ["if", self._bounds(bounds)]
                self.statements(body)
            case Store(buffer, index, value, where):
                self.tokens += ["store", self._expression(value), *self._place(buffer, index)]
                self.tokens.append(where if self._located else None)
            case Accumulate(buffer, index, value, combine, identity, where):
                self.tokens += [combine, self._expression(value), *self._place(buffer, index)]
                self.tokens += [repr(identity), where if self._located else None]
            case Barrier():
                self.tokens.append("barrier")
            case Exchange(buffer, source, mask):
                self.tokens += ["exchange", self._buffer(buffer), self._buffer(source), mask]
            case Fragment(buffer, place, source, index, strides, pieces):
                self.tokens += ["fragment", *self._place(buffer, place), *self._place(source, index)]
                self.tokens += [strides, pieces]
            case Mma(buffer, place, left, left_place, right, right_place, depth, where):
                self.tokens += ["mma", *self._place(buffer, place), *self._place(left, left_place)]
                self.tokens += [*self._place(right, right_place), depth, where if self._located else None]
            case Routine():
                self._routine(s)
            case Windowed(body, left, right, plan=plan):
                self.tokens += ["windows", plan, self._expression(left), self._expression(right)]
                self.statements(body)
            case _:
                assert_never(s)

    def _routine(self, s: Routine) -> None:
        """A product and how it is gone through; from the latter the epilogue follows."""
        self.tokens += ["routine", s.plan, s.copied, s.panels and self._buffer(s.panels)]
        self.tokens += [self._axis(axis) for axis in (s.batch, s.row, s.column, s.inner)]
        e = s.epilogue
        self.tokens += [s.first, s.line, *((self._axis(e.row), self._axis(e.column)) if e else ())]
        self.tokens += [self._expression(s.left), self._expression(s.right)]
        self.statements(s.body)

    def contraction(self, c: Contraction) -> None:
        """A product as a schedule sees it."""
        self.tokens += ["contraction", *self._place(c.out, c.place)]
        self.tokens += [self._axis(a) for a in (*c.batch, c.row, c.column, c.inner)]
        self.tokens += [self._expression(c.left), self._expression(c.right)]
        self.statements(c.stores)

    def _buffer(self, buffer: Buffer) -> Hashable:
        number = self.buffers.setdefault(buffer, len(self.buffers))
        return number, buffer.dtype.name, buffer.size, buffer.space

    def _place(self, buffer: Buffer, index: Index) -> tuple[Hashable, Hashable]:
        """An element: in the part of the buffer that begins with the constant of its first mention."""
        if not _outside(buffer) or buffer in self._bounded:
            return self._buffer(buffer), self._index(index)
        return self._buffer(buffer), self._index(index - self.parts.setdefault(buffer, index.offset))

    def _axis(self, axis: Axis) -> Hashable:
        return self._axes.setdefault(axis, len(self._axes)), axis.extent

    def _index(self, index: Index) -> Hashable:
        return index.offset, tuple([(self._atom(a), c) for a, c in index.terms])

    def _atom(self, atom: Atom) -> Hashable:
        match atom:
            case Axis():
                return self._axis(atom)
            case Divided(value, divisor):
                return "//", self._index(value), divisor
            case Remainder(value, divisor):
                return "%", self._index(value), divisor
            case Loaded(expression, extent):
                return "loaded", self._expression(expression), extent  # type: ignore[arg-type]  # see ir.index

    def _bounds(self, bounds: Sequence[Bound]) -> Hashable:
        return tuple([(self._index(b.index), b.low, b.high) for b in bounds])

    def _expression(self, root: Expression) -> int:
        """The number of an expression, which is written at its first mention."""
        known = self._known
        if root not in known:
            for e in beyond((root,), known):
                written = self._written(e)
                known[e] = len(known)
                self.tokens.append(written)
        return known[root]

    def _written(self, e: Expression) -> Hashable:
        match e:
            case Number(value, dtype):
                return repr(value), dtype.name
            case Load(buffer, index, bounds):
                return "load", *self._place(buffer, index), self._bounds(bounds)
            case Call(row, arguments, dtype):
                return row, tuple([self._known[a] for a in arguments]), dtype.name
            case Convert(operand, dtype):
                return "convert", self._known[operand], dtype.name
            case Position(index, dtype):
                return "position", self._index(index), dtype.name
            case Within(bounds, dtype):
                return "within", self._bounds(bounds), dtype.name
            case _:
                assert_never(e)
