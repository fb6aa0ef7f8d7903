"""Loops → Loops: where each intermediate buffer lies in the arena.

Two buffers may share memory when no kernel needs both. First fit, largest first: the classic offset
assignment, as in Y. Pisarchyk and J. Lee, "Efficient Memory Management for Deep Neural Net Inference",
2020.
"""

from __future__ import annotations

from retrograd.compiler.ir.expressions import Buffer, Load, Space
from retrograd.compiler.ir.loops import Accumulate, Program, Routine, Store, expressions, walk
from retrograd.compiler.record import replace

_ALIGNMENT = 64


def plan(program: Program) -> Program:
    """The program with `arena` and `arena_bytes` filled in."""
    lives = lifetimes(program)
    placed: list[tuple[int, int, int, int]] = []
    arena: dict[Buffer, int] = {}
    for buffer in sorted(lives, key=lambda b: -b.size * b.dtype.itemsize):
        first, last = lives[buffer]
        size = -(-buffer.size * buffer.dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
        offset = 0
        for start, end, begins, ends in sorted(placed):
            if begins <= last and first <= ends and offset + size > start and end > offset:
                offset = end
        arena[buffer] = offset
        placed.append((offset, offset + size, first, last))
    return replace(program, arena=arena, arena_bytes=max((end for _, end, _, _ in placed), default=0))


def lifetimes(program: Program) -> dict[Buffer, tuple[int, int]]:
    """For each intermediate buffer, the first and the last kernel that touches it."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for k, kernel in enumerate(program.kernels):
        statements = walk(kernel.body)
        touched = [s.buffer for s in statements if isinstance(s, Store | Accumulate)]
        touched += [s.panels for s in statements if isinstance(s, Routine) and s.panels]
        touched += [e.buffer for e in expressions(kernel.body) if isinstance(e, Load)]
        for buffer in touched:
            if buffer.space is Space.ARENA:
                lives[buffer] = (lives.get(buffer, (k, k))[0], k)
    return lives
