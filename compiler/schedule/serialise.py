"""Loops for a GPU → Loops that a processor can run, with the same arithmetic in the same order for each
thread.

    for t in T block { A; barrier; B }   →   for t in T { A }; for t in T { B }

Block by block, and between two barriers thread by thread. What a thread has for itself becomes an array
with a part for each thread; shared memory becomes scratch of the block. So a GPU's schedules can be tested
where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import Buffer, Call, Convert, Expression, Load, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Kind,
    Local,
    Mma,
    Program,
    Statement,
    Store,
    walk,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.threads import WARP, at


def serialise(program: Program, backwards: bool = False) -> Program:
    """The launches of a GPU program as plain loops.

    `backwards` has the last block and the last thread run first: the results must be the same, or some thread
    does not wait for another.
    """
    kernels = []
    for kernel in program.kernels:
        body = tuple(map(_grid, kernel.body))
        if backwards:
            body = _turned(_threads_and_blocks(kernel)).statements(body)
        kernels.append(Kernel(kernel.name, body))
    return replace(program, kernels=tuple(kernels))


def _turned(axes: Sequence[Axis]) -> Rewriter:
    """Indices in which the axes run backwards."""
    values = {a: Index() - as_index(a) + (a.extent - 1) for a in axes}
    return Rewriter(lambda index: index.substitute(values))


def _threads_and_blocks(kernel: Kernel) -> list[Axis]:
    return [s.axis for s in walk(kernel.body) if isinstance(s, For) and s.kind in (Kind.GRID, Kind.BLOCK)]


def _grid(s: Statement) -> Statement:
    assert isinstance(s, For)
    assert s.kind is Kind.GRID
    return For(s.axis, tuple(t for x in s.body for t in _block(x)))


def _block(s: Statement) -> tuple[Statement, ...]:
    if isinstance(s, Local):
        shared = Buffer(s.buffer.name, s.buffer.dtype, s.buffer.size, Space.LOCAL)
        body = _renamed({s.buffer: (shared, Index())}).statements(s.body)
        return (Local(shared, tuple(t for x in body for t in _block(x))),)
    assert isinstance(s, For)
    assert s.kind is Kind.BLOCK
    return _Threads(s).run(s.body)


def _renamed(homes: dict[Buffer, tuple[Buffer, Index]]) -> Rewriter:
    """Buffers under another name, and further on in it."""

    def place(buffer: Buffer, index: Index) -> tuple[Buffer, Index]:
        home, start = homes.get(buffer, (buffer, Index()))
        return home, index + start

    return Rewriter(place=place)


class _Threads:
    """The threads of a block, one after the other."""

    def __init__(self, block: For) -> None:
        self._axis = block.axis
        self._own = {
            s.buffer: Buffer(s.buffer.name, s.buffer.dtype, s.buffer.size * block.axis.extent, Space.LOCAL)
            for s in walk(block.body)
            if isinstance(s, Local) and _synchronises(s)
        }

    def run(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        thread = as_index(self._axis)
        homes = {b: (own, thread * b.size) for b, own in self._own.items()}
        return self._split(_renamed(homes).statements(body))

    def _split(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        """A loop over the threads around each run of statements in which none waits for another."""
        result: list[Statement] = []
        run: list[Statement] = []
        for s in body:
            if not _synchronises(s):
                run += self._plain(s)
                continue
            result += self._loop(run)
            run = []
            result += self._meeting(s)
        return (*result, *self._loop(run))

    def _loop(self, run: Sequence[Statement]) -> list[Statement]:
        return [For(self._axis, tuple(run))] if run else []

    def _meeting(self, s: Statement) -> tuple[Statement, ...]:
        """A statement in which threads wait for each other."""
        match s:
            case Barrier():
                return ()
            case Exchange():
                return (For(self._axis, (self._exchange(s),)),)
            case Mma():
                return (For(self._axis, (self._product(s),)),)
            case For():
                if s.limit and self._axis in s.limit[0].axes():
                    raise CompilerError(
                        f"a barrier in a loop over {s.axis}", "threads go round it differently often"
                    )
                return (replace(s, body=self._split(s.body), kind=Kind.SERIAL),)
            case Local():
                return (Local(self._own[s.buffer], self._split(s.body)),)
            case _:
                raise CompilerError("a barrier under a condition", "not all threads come by")

    def _exchange(self, s: Exchange) -> Store:
        t, group = as_index(self._axis), 2 * s.mask
        flipped = (Index((), 1) - t // s.mask % 2) * s.mask
        other = t // group * group + flipped + t % s.mask
        return Store(self._own[s.buffer], t, Load(self._own[s.source], other))

    def _product(self, s: Mma) -> Statement:
        """Each thread's four elements of a product, of what its warp's threads hold."""
        thread, i, k = as_index(self._axis), Axis("i", 4), Axis("k", s.depth)
        word = 4 // s.left.dtype.itemsize
        half, column = as_index(i) // 2, thread % 4 * 2 + as_index(i) % 2
        piece, at_inner, e = as_index(k) // (4 * word), as_index(k) % (4 * word) // word, as_index(k) % word
        first = thread // WARP * WARP + at_inner

        def operand(buffer: Buffer, place: Index, side: Index, piece: Index) -> Expression:
            holder = place.substitute({self._axis: first + side * 4})
            return Convert(Load(buffer, holder + piece * word + e), s.buffer.dtype)

        left = operand(s.left, s.left_place, thread % WARP // 4, piece * 2 + half)
        right = operand(s.right, s.right_place, column, piece)
        value = Call("mul", (left, right), s.buffer.dtype)
        add = Accumulate(s.buffer, s.place + as_index(i), value, "add", 0, s.where)
        return For(i, (For(k, (add,)),))

    def _fragment(self, s: Fragment) -> tuple[Statement, ...]:
        """A thread's share, element by element."""
        lane, e = as_index(self._axis) % WARP, Axis("e", s.word)
        (along_side, along_inner), result = s.strides, []
        for q, (side, inner) in enumerate(s.pieces):
            place = (lane // 4 + side) * along_side + (lane % 4 * s.word + at(e) + inner) * along_inner
            value = Load(s.source, s.index + place)
            result.append(For(e, (Store(s.buffer, s.place + at(e) + q * s.word, value),)))
        return tuple(result)

    def _plain(self, s: Statement) -> tuple[Statement, ...]:
        """Loops one iteration at a time."""
        match s:
            case For():
                return (replace(s, body=self._all_plain(s.body), kind=Kind.SERIAL, lanes=1),)
            case Local() | If():
                return (replace(s, body=self._all_plain(s.body)),)
            case Fragment():
                return self._fragment(s)
            case _:
                return (s,)

    def _all_plain(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        return tuple(t for s in body for t in self._plain(s))


def _synchronises(s: Statement) -> bool:
    return any(isinstance(x, Barrier | Exchange | Mma) for x in walk((s,)))
