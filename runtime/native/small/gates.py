"""Kernels of gated linear units (`compiler/ops/gate.py`): operands are `[rows, 2, columns]`, the gate second.

In flow arrays and the sizes of a step, rows and columns; out flows 0.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, chosen, native, put, take
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A


@chosen
def exp(x: VA) -> VA: ...


@native
def glu(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: result, operand."""
    columns = sizes[1]
    for row in range(sizes[0]):
        to, x = cast(Array[A], arrays[0]) + row * columns, cast(Array[A], arrays[1]) + 2 * row * columns
        for at in range(0, columns, LANES):
            left = columns - at
            gate = take(VA, x + (columns + at), left, 0.0)
            put(to + at, take(VA, x + at, left, 0.0) / (1.0 + exp(-gate)), left)
    return 0


@native
def glu_adjoint(arrays: Array[Memory], sizes: Array[int]) -> int:
    """Arrays: cotangent of the operand, cotangent, operand."""
    columns = sizes[1]
    for row in range(sizes[0]):
        to, x = cast(Array[A], arrays[0]) + 2 * row * columns, cast(Array[A], arrays[2]) + 2 * row * columns
        given = cast(Array[A], arrays[1]) + row * columns
        for at in range(0, columns, LANES):
            left = columns - at
            share = 1.0 / (1.0 + exp(-take(VA, x + (columns + at), left, 0.0)))
            found = take(VA, given + at, left, 0.0) * share
            put(to + at, found, left)
            put(to + (columns + at), found * (1.0 - share) * take(VA, x + at, left, 0.0), left)
    return 0
