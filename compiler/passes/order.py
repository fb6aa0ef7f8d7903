"""Loops → Loops: kernels that write nothing but outputs come as soon as all that they read is there.

So a weight's gradient, and the update of the weight, is computed while the cotangent is in the cache, which
else waited, as all others, for the end of the backward pass; and its memory is free for others. Such a kernel
still comes after those that read inputs which it reads, and after all flags (`Program.flags`): it may be
asked to write there (`passes.straight`).
"""

from __future__ import annotations

from collections import Counter

from retrograd.compiler.ir.expressions import Buffer, Space
from retrograd.compiler.ir.loops import Program
from retrograd.compiler.passes.straight import touched
from retrograd.compiler.record import replace


def hasten(program: Program) -> Program:
    """The program with its kernels in such an order."""
    if len(program.kernels) == 1:
        return program
    accesses = [touched(kernel) for kernel in program.kernels]
    readers = Counter(buffer for _, read in accesses for buffer in read)
    places = list[tuple[int, bool]]()
    """After how many kernels each is carried out, and whether it may change what is given."""
    flags, gate = set(program.flags), 0
    written_by, read_by = dict[Buffer, int](), dict[Buffer, int]()
    """After how many kernels a buffer was last written, and read."""
    for k, (written, read) in enumerate(accesses):
        place, changes = k + 1, False
        own = {buffer for buffer in written if readers[buffer] <= (buffer in read)}
        if all(buffer.space is Space.OUTPUT for buffer in written - own):
            only_flags = written <= flags
            given = {buffer for buffer in read if buffer.space is Space.INPUT and not only_flags}
            earlier = [written_by.get(buffer, 0) for buffer in read | written]
            place = max([*earlier, *(read_by.get(buffer, 0) for buffer in given | written)], default=0)
            changes = written == own and not only_flags
        places.append((place, changes))
        gate = max(gate, place if written & flags else 0)
        written_by |= {buffer: max(place, written_by.get(buffer, 0)) for buffer in written}
        read_by |= {buffer: max(place, read_by.get(buffer, 0)) for buffer in read}
    order = sorted(range(len(places)), key=lambda k: _turn(*places[k], gate))
    return replace(program, kernels=tuple(program.kernels[k] for k in order))


def _turn(place: int, changes: bool, gate: int) -> tuple[int, bool]:
    """When a kernel's turn is: of those that may change what is given, not before that of the last flag."""
    return (max(place, gate), place <= gate) if changes else (place, False)
