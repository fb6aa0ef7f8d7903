"""Loops → Loops: kernels that write nothing but outputs come as soon as all that they read is there.

So a weight's gradient, and the update of the weight, is computed while the cotangent is in the cache, which
else waited, as all others, for the end of the backward pass; and its memory is free for others. Such a kernel
still comes after those that read inputs which it reads: it may be asked to write there (`passes.straight`).
"""

from __future__ import annotations

from collections import Counter

from retrograd.compiler.ir.expressions import Buffer, Space
from retrograd.compiler.ir.loops import Kernel, Program
from retrograd.compiler.passes.straight import touched
from retrograd.compiler.record import replace


def hasten(program: Program) -> Program:
    """The program with its kernels in such an order."""
    if len(program.kernels) == 1:
        return program
    accesses = [touched(kernel) for kernel in program.kernels]
    readers = Counter(buffer for _, read in accesses for buffer in read)
    after: list[list[Kernel]] = [[] for _ in range(len(program.kernels) + 1)]
    """What follows so many kernels."""
    written_by, read_by = dict[Buffer, int](), dict[Buffer, int]()
    """After how many kernels a buffer was last written, and read."""
    for k, (kernel, (written, read)) in enumerate(zip(program.kernels, accesses, strict=True)):
        place = k + 1
        own = {buffer for buffer in written if readers[buffer] <= (buffer in read)}
        if all(buffer.space is Space.OUTPUT for buffer in written - own):
            given = {buffer for buffer in read if buffer.space is Space.INPUT}
            earlier = [written_by.get(buffer, 0) for buffer in read | written]
            place = max([*earlier, *(read_by.get(buffer, 0) for buffer in given | written)], default=0)
        after[place].append(kernel)
        written_by |= {buffer: max(place, written_by.get(buffer, 0)) for buffer in written}
        read_by |= {buffer: max(place, read_by.get(buffer, 0)) for buffer in read}
    return replace(program, kernels=tuple(kernel for kernels in after for kernel in kernels))
