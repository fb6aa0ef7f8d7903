"""Loops → Loops: an intermediate buffer that lives within one iteration of a loop shrinks to that iteration.

    for i in N: { t[C*i + j] = …; … t[C*i + j] … }   →   for i in N: local t[C] { t[j] = …; … t[j] … }

So the rows of a softmax stay in the first-level cache and its sums in registers, whatever the number of rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from retrograd.compiler.ir.expressions import Buffer, Load, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    For,
    Kernel,
    Local,
    Program,
    Statement,
    Store,
    expressions,
    walk,
    with_body,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace

_MOST_BYTES = 1 << 15
"""A row longer than this stays in the arena: it would crowd the stack and the cache."""


def localise(program: Program) -> Program:
    """The program with row-wise intermediate buffers made local."""
    if all(kernel.contraction is not None for kernel in program.kernels):
        return program
    places = [touched(kernel.body) for kernel in program.kernels]
    if not any(buffer.space is Space.ARENA for each in places for buffer in each):
        return program
    times = Counter(buffer for each in places for buffer in each)
    shared = {b for b, kernels in times.items() if kernels > 1}
    return replace(program, kernels=tuple(_kernel(k, shared) for k in program.kernels))


def touched(statements: Sequence[Statement]) -> dict[Buffer, list[Index]]:
    """Where each buffer is read or written."""
    places: dict[Buffer, list[Index]] = defaultdict(list)
    for s in walk(statements):
        if isinstance(s, Store | Accumulate):
            places[s.buffer].append(s.index)
    for e in expressions(statements):
        if isinstance(e, Load):
            places[e.buffer].append(e.index)
    return places


def _kernel(kernel: Kernel, shared: set[Buffer]) -> Kernel:
    if kernel.contraction is not None:
        return kernel
    return replace(kernel, body=_loops(kernel.body, shared))


def _loops(body: Sequence[Statement], shared: set[Buffer]) -> tuple[Statement, ...]:
    """The statements, with what only one loop among them touches made local to its iterations."""
    if not any(isinstance(s, For) and _has_loops(s) for s in body):
        return tuple(body)
    several = shared
    if len(body) > 1:
        times = Counter(b for s in body for b in touched((s,)))
        several = shared.union(b for b, statements in times.items() if statements > 1)
    return tuple(_loop(s, several) if isinstance(s, For) else s for s in body)


def _has_loops(loop: For) -> bool:
    return any(isinstance(s, For) for s in loop.body)


def _loop(loop: For, shared: set[Buffer]) -> For:
    """The loop with what its iterations have for themselves made local, and the same within."""
    if not _has_loops(loop):
        return loop
    rows: dict[Buffer, int] = {}
    for buffer, places in touched(loop.body).items():
        row = _row(loop.axis, buffer, places)
        if row and buffer not in shared:
            rows[buffer] = row
    if not rows:
        return with_body(loop, _loops(loop.body, shared))
    locals_ = {b: Buffer(b.name, b.dtype, row, Space.LOCAL) for b, row in rows.items()}

    def place(buffer: Buffer, index: Index) -> tuple[Buffer, Index]:
        if buffer in rows:
            return locals_[buffer], index - as_index(loop.axis) * rows[buffer]
        return buffer, index

    body = _loops(Rewriter(place=place).statements(loop.body), shared)
    for local in locals_.values():
        body = (Local(local, body),)
    return replace(loop, body=body)


def _row(axis: Axis, buffer: Buffer, places: Sequence[Index]) -> int | None:
    """How many elements of the buffer belong to one iteration, if each touches only its own."""
    stride = places[0].stride(axis)
    if buffer.space is not Space.ARENA or not stride or stride * buffer.dtype.itemsize > _MOST_BYTES:
        return None
    for place in places:
        low, high = (place - as_index(axis) * stride).bounds()
        if place.stride(axis) != stride or low < 0 or high >= stride:
            return None
    return stride
