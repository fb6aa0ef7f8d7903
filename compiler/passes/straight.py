"""Loops → numbers of outputs: those that may be written straight into an input's memory.

A program may write an update of an input where the input lies, if it never reads an element after it has
written it. That is so if the input is read only in kernels before that, and in the very block of statements
that stores the output: at the same index, and not after the store. No other block touches that element if
each is stored once; and as all are stored, they are stored once if there are no more stores than elements.
And it comes after all flags, so that nothing has changed where one is raised.
It is a proof or nothing: what is not understood is taken to be unsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space, loaded, operands_first
from retrograd.compiler.ir.index import Axis, Index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Exchange,
    For,
    If,
    Kernel,
    Local,
    Program,
    Routine,
    Statement,
    Store,
    Windowed,
    expressions,
    walk,
)
from retrograd.compiler.record import record


def straight(program: Program, updates: Mapping[int, int]) -> frozenset[int]:
    """Of the outputs that are updates of inputs (by their numbers), those that are safe."""
    accesses = [touched(kernel) for kernel in program.kernels] if updates else []
    blocks = cache(lambda k: [*_blocks(program.kernels[k].body, ())])
    return frozenset(
        output
        for output, place in updates.items()
        if _is_safe(program, accesses, blocks, program.inputs[place], program.outputs[output])
    )


def straight_in_launches(program: Program, launches: Program, updates: Mapping[int, int]) -> frozenset[int]:
    """Of the outputs that are safe in plain loops, those that stay so in a GPU's launches: what reads the
    input is an earlier launch, or the thread that stores the same element."""
    return frozenset(
        output
        for output in straight(program, updates)
        if _stays_safe(launches, launches.inputs[updates[output]], launches.outputs[output])
    )


def _stays_safe(launches: Program, source: Buffer, target: Buffer) -> bool:
    accesses = [touched(kernel) for kernel in launches.kernels]
    stored = _touching(accesses, target)
    if len(stored) != 1 or any(source in read for _, read in accesses[stored[0] + 1 :]):
        return False
    body = launches.kernels[stored[0]].body
    places = {s.index for s in walk(body) if isinstance(s, Store) and s.buffer is target}
    loads = [e.index for e in expressions(body) if isinstance(e, Load) and e.buffer is source]
    return all(index in places for index in loads)


def _touching(accesses: Sequence[Touched], buffer: Buffer) -> list[int]:
    """The kernels that write or read it."""
    return [k for k, (written, read) in enumerate(accesses) if buffer in written or buffer in read]


def _is_safe(
    program: Program,
    accesses: Sequence[Touched],
    blocks: Callable[[int], Sequence[_Block]],
    source: Buffer,
    target: Buffer,
) -> bool:
    stored = _touching(accesses, target)
    if len(stored) != 1 or any(source in read for _, read in accesses[stored[0] + 1 :]):
        return False
    if stored[0] < program.gate:
        return False
    if target in accesses[stored[0]][1]:
        return False
    times = 0
    for block in blocks(stored[0]):
        if not _block_is_safe(block, source, target):
            return False
        stores = sum(step.buffer is target for step in block.steps)
        executions = _executions(block.around) if stores else 0
        if executions is None:
            return False
        times += stores * executions
    return times == target.size


@record(slots=True)
class _Step:
    """What a statement writes, and what it is the first in its block to load: an earlier statement's
    values are not computed, nor read, again."""

    buffer: Buffer
    index: Index | None
    """Where it stores; None if it accumulates or exchanges."""
    loads: list[Load]


@record(slots=True)
class _Block:
    """What stands in a pair of braces, but not in those inside."""

    steps: list[_Step]
    around: tuple[For, ...]
    """The loops around it."""


def _blocks(statements: Sequence[Statement], around: tuple[For, ...]) -> Iterator[_Block]:
    """Each pair of braces."""
    yield _Block(_steps(statements), around)
    for statement in statements:
        if isinstance(statement, For | Local | If | Routine | Windowed):
            inner = (*around, statement) if isinstance(statement, For) else around
            yield from _blocks(statement.body, inner)


def _executions(around: tuple[For, ...]) -> int | None:
    """How often what stands in these loops is executed; None if that cannot be told."""
    extents = {loop.axis: loop.axis.extent for loop in around}
    times = 1
    for loop in around:
        if loop.limit is None:
            continue
        index, bound = loop.limit
        steps = sorted((step, axis) for axis, step in index.terms if isinstance(axis, Axis))
        reach = 1
        for step, axis in steps:  # counts 0, 1, 2, … up to the bound, and no number twice
            if step != reach or axis not in extents:
                return None
            reach *= extents.pop(axis)
        if index.offset or len(steps) != len(index.terms) or reach < bound:
            return None
        times *= bound
    return times * prod(extents.values())


def _steps(statements: Sequence[Statement]) -> list[_Step]:
    """Those of the statements that write."""
    found: list[_Step] = []
    known: set[Expression] = set()
    for s in statements:
        if isinstance(s, Store | Accumulate | Exchange):
            roots = [] if isinstance(s, Exchange) else [*loaded(s.index), s.value]
            new = operands_first(roots).keys() - known
            known |= new
            loads = [e for e in new if isinstance(e, Load)]
            found.append(_Step(s.buffer, s.index if isinstance(s, Store) else None, loads))
    return found


def _block_is_safe(block: _Block, source: Buffer, target: Buffer) -> bool:
    """Whether an element of the source is only read before the same element of the target is stored."""
    stores: list[Index] = []
    loads: list[Index] = []
    for step in block.steps:
        if step.index is None and step.buffer is target:
            return False
        own = [e.index for e in step.loads if e.buffer is source]
        if own and stores:
            return False
        loads += own
        if step.index is not None and step.buffer is target:
            stores.append(step.index)
    return all(index in stores for index in loads) and len(set(stores)) <= 1


Touched = tuple[set[Buffer], set[Buffer]]
"""The buffers that a kernel writes, and those that it reads."""


def touched(kernel: Kernel) -> Touched:
    """What a kernel writes and reads, but for its local values, which kernels that are alike share."""
    statements = list(walk(kernel.body))
    panels = {s.panels for s in statements if isinstance(s, Routine) and s.panels}
    written = {s.buffer for s in statements if isinstance(s, Store | Accumulate | Exchange)} | panels
    read = {e.buffer for e in expressions(kernel.body) if isinstance(e, Load)} | panels
    local = {buffer for buffer in written if buffer.space is Space.LOCAL}
    return written - local, read - local
