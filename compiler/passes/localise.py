"""Loops → Loops: an intermediate buffer that lives within one iteration of a loop shrinks to that iteration.

    for i in N: { t[C*i + j] = …; … t[C*i + j] … }   →   for i in N: local t[C] { t[j] = …; … t[j] … }

So the rows of a softmax stay in the first-level cache and its sums in registers, whatever the number of rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Buffer,
    For,
    Kernel,
    Load,
    Local,
    Program,
    Rewriter,
    Space,
    Statement,
    Store,
    expressions,
    walk,
)

_MOST_BYTES = 1 << 15
"""A row longer than this stays in the arena: it would crowd the stack and the cache."""


def localise(program: Program) -> Program:
    """The program with row-wise intermediate buffers made local."""
    kernels = tuple(_kernel(k, _shared(program, k)) for k in program.kernels)
    return replace(program, kernels=kernels)


def _shared(program: Program, kernel: Kernel) -> set[Buffer]:
    """The buffers that other kernels touch."""
    return {b for other in program.kernels if other is not kernel for b in touched(other.body)}


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
    body: list[Statement] = []
    for k, s in enumerate(kernel.body):
        beside = set(touched([*kernel.body[:k], *kernel.body[k + 1 :]]))
        body.append(_loop(s, shared | beside) if isinstance(s, For) else s)
    return replace(kernel, body=tuple(body))


def _loop(loop: For, shared: set[Buffer]) -> For:
    """The loop with what its iterations have for themselves made local, and the same within."""
    if not any(isinstance(s, For) for s in loop.body):
        return loop
    rows: dict[Buffer, int] = {}
    for buffer, places in touched(loop.body).items():
        row = _row(loop.axis, buffer, places)
        if row and buffer not in shared:
            rows[buffer] = row
    locals_ = {b: Buffer(b.name, b.dtype, row, Space.LOCAL) for b, row in rows.items()}

    def place(buffer: Buffer, index: Index) -> tuple[Buffer, Index]:
        if buffer in rows:
            return locals_[buffer], index - as_index(loop.axis) * rows[buffer]
        return buffer, index

    body = Rewriter(place=place).statements(loop.body)
    beside = [shared.union(touched([*body[:k], *body[k + 1 :]])) for k in range(len(body))]
    body = tuple(_loop(s, b) if isinstance(s, For) else s for s, b in zip(body, beside, strict=True))
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
