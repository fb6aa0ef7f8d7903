"""Loops → Loops, arranged for a processor: adjoining axes become one, the best axis becomes vectors, long
loops become blocks that threads share.

The blocks depend on the sizes alone, never on how many threads there are, so results are the same bit for
bit on any number of them. Each function takes loops and gives loops of the same value; `schedule` lists
them in order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import partial

from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Number, Space, indices
from retrograd.compiler.ir.graph import OPS
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.likeness import Likeness, likenesses, moved
from retrograd.compiler.ir.loops import (
    Accumulate,
    For,
    Kernel,
    Kind,
    Local,
    Program,
    Statement,
    Store,
    expressions,
    walk,
    with_body,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.passes.epilogues import join_epilogues
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.columns import sum_columns
from retrograd.compiler.schedule.gemm import arrange_product, fits
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.narrow import join_rows
from retrograd.compiler.schedule.turns import turn

_PARALLEL_COST = 600_000
"""A nest is shared among threads from so many elementary operations on: some 6 µs of work."""
_BLOCK_COST = 200_000
"""What one block of a shared nest costs at least."""
_MOST_BLOCKS = 256
_FEW = 4
"""So few iterations that read unevenly are written one by one: each knows its conditions while compiling."""
_LONG_ROW = 16
"""Elements that fill a vector of any machine."""
_LONG = 48
"""Elementary operations of a body whose values fill the registers anyway."""
_MOST_REGISTERS = 4
"""A loop's vectors are at most so many registers long."""
_FUNCTION_COST = 10
_MOST_PARTIAL = 1 << 16
"""Blocks accumulate into partial results of their own up to this many elements in all."""


def schedule(program: Program, machine: Machine) -> Program:
    """The program for this machine."""
    joined = join_epilogues(program, partial(fits, machine=machine))
    known: dict[Hashable, tuple[Kernel, Likeness]] = {}
    kernels: list[Kernel] = []
    for kernel, own in zip(joined.kernels, likenesses(joined.kernels, located=True)):
        if own is None:
            kernels.append(_kernel(kernel, machine))
        elif own.key in known:
            twin, its = known[own.key]
            pairs = zip(its.parts.items(), own.parts.items(), strict=True)
            kernels.append(
                moved(twin, kernel.name, {a: (b, there - here) for (a, here), (b, there) in pairs})
            )
        else:
            kernels.append(_kernel(kernel, machine))
            known[own.key] = kernels[-1], own
    return replace(joined, kernels=tuple(kernels))


def _kernel(kernel: Kernel, machine: Machine) -> Kernel:
    if kernel.contraction is not None:
        body = arrange_product(kernel.contraction, machine)
        if body is not None:
            return Kernel(kernel.name, body)
    body = tuple(collapse(s) for s in kernel.body)
    body = tuple(t for s in body for t in join_rows(s, machine))
    body = tuple(t for s in body for r in sum_columns(s) for t in turn(r, machine))
    body = tuple(t for s in body for t in share(s, machine))
    return Kernel(kernel.name, tuple(vectorise(s, machine) for s in body))


# ---- collapse ----------------------------------------------------------------------------------------------


def collapse(statement: Statement) -> Statement:
    """for i in A: for j in B: … → for ij in A*B: …, where every index is a function of B*i + j"""
    if not isinstance(statement, For):
        return statement
    body = tuple(collapse(s) for s in statement.body)
    if len(body) == 1 and isinstance(body[0], For) and _adjoin(statement.axis, body[0].axis, body[0].body):
        outer, inner = statement.axis, body[0].axis
        joined = Axis(outer.name, outer.extent * inner.extent)
        values = {outer: Index(), inner: as_index(joined)}
        return For(joined, Rewriter(lambda index: index.substitute(values)).statements(body[0].body))
    return with_body(statement, body)


def _adjoin(outer: Axis, inner: Axis, body: Sequence[Statement]) -> bool:
    for index in all_indices(body):
        for atom, _ in index.terms:
            if not isinstance(atom, Axis) and ({outer, inner} & Index(((atom, 1),)).axes()):
                return False
        a, b = index.stride(outer), index.stride(inner)
        if a is None or b is None or a != b * inner.extent:
            return False
    return True


def all_indices(statements: Sequence[Statement]) -> Iterator[Index]:
    """Every index in the statements."""
    for s in walk(statements):
        if isinstance(s, Store | Accumulate):
            yield s.index
        elif isinstance(s, For) and s.limit:
            yield s.limit[0]
    for e in expressions(statements):
        yield from indices(e)


# ---- vectors -----------------------------------------------------------------------------------------------


def vectorise(statement: Statement, machine: Machine) -> Statement:
    """The innermost loops in vectors, over that axis of a perfect nest whose accesses lie side by side."""
    if not isinstance(statement, For | Local):
        return statement
    if isinstance(statement, Local):
        return with_body(statement, [vectorise(s, machine) for s in statement.body])
    chain = _perfect(statement)
    if any(isinstance(s, For | Local) for s in chain[-1].body):
        if _carries(chain[-1]):
            return _nested(chain[:-1], replace(chain[-1], kind=Kind.VECTOR, lanes=_lanes(chain[-1], machine)))
        return with_body(statement, [vectorise(s, machine) for s in statement.body])
    body = chain[-1].body
    movable = [loop for loop in chain if loop.kind is Kind.SERIAL and loop.axis.extent > 1]
    legal = [loop for loop in movable if can_be_vector(loop.axis, body)]
    if not legal:
        return statement
    best = legal[0] if len(legal) == 1 else min(reversed(legal), key=lambda loop: scattered(loop.axis, body))
    if best is not chain[-1] and chain[-1] in legal:
        best = best if scattered(best.axis, body) < scattered(chain[-1].axis, body) else chain[-1]
    inner = replace(best, kind=Kind.VECTOR, body=body, lanes=_lanes(with_body(best, body), machine))
    if best.axis.extent <= _FEW and best.limit is None and _is_uneven(best.axis, body):
        inner = replace(best, kind=Kind.UNROLL, body=body)
    return _nested([loop for loop in chain if loop is not best], inner)


def _is_uneven(axis: Axis, body: Sequence[Statement]) -> bool:
    """Are elements along the axis read here and there, or some of them not at all?"""
    loads = [e for e in expressions(body) if isinstance(e, Load)]
    return any(e.bounds for e in loads) or scattered(axis, body) > 0


def _nested(loops: Sequence[For], inner: Statement) -> Statement:
    """The statement within these loops, the first outermost."""
    for loop in reversed(loops):
        inner = with_body(loop, (inner,))
    return inner


def _carries(loop: For) -> bool:
    """Does each iteration carry a local value along an inner loop, apart from all other iterations?"""
    if len(loop.body) != 1 or not isinstance(loop.body[0], Local) or loop.kind is not Kind.SERIAL:
        return False
    local = loop.body[0]
    outside = [
        s for s in walk(local.body) if isinstance(s, Store | Accumulate) and s.buffer is not local.buffer
    ]
    inner = [s for s in walk(local.body) if isinstance(s, For)]
    return (
        bool(outside)
        and all(isinstance(s, Store) and s.index.stride(loop.axis) == 1 for s in outside)
        and all(s.kind is Kind.SERIAL and s.limit is None for s in inner)
        and not any(_lies_better(s, loop.axis) for s in inner)
    )


def _lies_better(inner: For, outer: Axis) -> bool:
    """Does an inner loop that is long sum up what lies side by side along it, and not along the outer one?"""
    long = inner.axis.extent >= _LONG_ROW and can_be_vector(inner.axis, inner.body)
    return long and scattered(inner.axis, inner.body) < scattered(outer, inner.body)


def _perfect(loop: For) -> list[For]:
    """The loops of a nest, down to the first that holds anything but one loop."""
    chain = [loop]
    while len(chain[-1].body) == 1 and isinstance(chain[-1].body[0], For):
        chain.append(chain[-1].body[0])
    return chain


def can_be_vector(axis: Axis, body: Sequence[Statement]) -> bool:
    """May iterations along the axis run side by side?"""
    touched: dict[Buffer, list[Index]] = {}
    accumulated = set()
    for s in body:
        if isinstance(s, Store):
            if axis not in s.index.axes():
                return False
        elif isinstance(s, Accumulate):
            if s.index.stride(axis) not in (0, 1):
                return False
            accumulated.add(s.buffer)
        if isinstance(s, Store | Accumulate):
            touched.setdefault(s.buffer, []).append(s.index)
    for e in expressions(body):
        if isinstance(e, Load) and e.buffer in touched:
            if e.buffer in accumulated:
                return False
            touched[e.buffer].append(e.index)
    return all(apart(axis, places[0], other) for places in touched.values() for other in places[1:])


def apart(axis: Axis, a: Index, b: Index) -> bool:
    """Do two places that are not the same never meet, whatever iterations along the axis they belong to?"""
    if a == b:
        return True
    stride, difference = a.stride(axis), a - b
    if difference.terms or not stride or b.stride(axis) != stride:
        return False
    return abs(difference.offset) >= axis.extent * abs(stride) or difference.offset % stride != 0


def scattered(axis: Axis, body: Sequence[Statement]) -> int:
    """How many accesses would not lie side by side in vectors along the axis."""
    places = [e.index for e in expressions(body) if isinstance(e, Load)]
    places += [s.index for s in body if isinstance(s, Store)]
    return sum(place.stride(axis) not in (0, 1) for place in places)


def _lanes(loop: For, machine: Machine) -> int:
    """So many lanes that several registers' worth of independent work is under way at any time. A long body
    of plain arithmetic has enough of it in one."""
    found = expressions(loop.body)
    itemsize = max((e.dtype.itemsize for e in found if e.dtype.is_floating_point), default=4)
    native = machine.lanes(max(itemsize, 4))
    work = [_weight(e) for e in found if isinstance(e, Call)]
    registers = _MOST_REGISTERS if len(work) < 12 else 2 if len(work) < _LONG or max(work) > 1 else 1
    while registers > 1 and native * registers > loop.axis.extent:
        registers //= 2
    return native * registers


# ---- threads -----------------------------------------------------------------------------------------------


def share(statement: Statement, machine: Machine) -> tuple[Statement, ...]:
    """for i in N: … → for b in blocks parallel: for i in N/blocks: …, with partial results where blocks
    accumulate"""
    if not isinstance(statement, For):
        return (statement,)
    total = cost((statement,))
    axis = statement.axis
    shared = _shared_sums(statement) if total >= _PARALLEL_COST else None
    if shared is None:
        return (statement,)
    blocks = min(total // _BLOCK_COST, _MOST_BLOCKS, axis.extent)
    blocks = min(blocks, _MOST_PARTIAL // max(1, sum(b.size for b in shared)))
    if blocks < 2:
        return (statement,)
    size = -(-axis.extent // blocks)
    if len(_perfect(statement)) == 1 and not any(isinstance(s, For | Local) for s in statement.body):
        whole = _MOST_REGISTERS * machine.lanes(4)
        size = -(-size // whole) * whole
    return _in_blocks(statement, size, -(-axis.extent // size), shared, machine)


def _shared_sums(statement: For) -> list[Buffer] | None:
    """What iterations of the loop accumulate into in common; None if they may meet in any other way."""
    statements = walk(statement.body)
    own = {s.buffer for s in statements if isinstance(s, Local)}
    found: dict[Buffer, None] = {}
    for s in statements:
        if isinstance(s, Store | Accumulate) and s.buffer not in own:
            stride = s.index.stride(statement.axis)
            if stride is None or (stride == 0 and isinstance(s, Store)):
                return None
            if stride == 0:
                found[s.buffer] = None
    return list(found)


def _in_blocks(
    statement: For, size: int, blocks: int, shared: list[Buffer], machine: Machine
) -> tuple[Statement, ...]:
    axis = statement.axis
    outer, inner = Axis("b", blocks), Axis(axis.name, size)
    place = as_index(outer) * size + as_index(inner)
    sums = [s for s in walk(statement.body) if isinstance(s, Accumulate)]
    partial = {b: Buffer(f"{b.name}_partial", b.dtype, b.size * blocks, Space.ARENA) for b in shared}
    rewritten = Rewriter(lambda index: index.substitute({axis: place})).statements(statement.body)
    body = tuple(_redirect(s, partial, outer) for s in rewritten)
    limit = None if size * blocks == axis.extent else (place, axis.extent)
    first, last = [], []
    for s in {s.buffer: s for s in sums if s.buffer in partial}.values():
        before, after = _partials(s, partial[s.buffer], outer, machine.lanes(s.buffer.dtype.itemsize))
        first.append(before)
        last.append(after)
    loop = For(inner, body, limit=limit)
    return (For(outer, (*first, loop), Kind.PARALLEL), *last)


def _redirect(statement: Statement, partial: dict[Buffer, Buffer], block: Axis) -> Statement:
    match statement:
        case Accumulate(buffer=buffer) if buffer in partial:
            place = as_index(block) * buffer.size + statement.index
            return replace(statement, buffer=partial[buffer], index=place)
        case For() | Local():
            return with_body(statement, [_redirect(s, partial, block) for s in statement.body])
        case _:
            return statement


def _partials(s: Accumulate, partial: Buffer, block: Axis, lanes: int) -> tuple[Statement, Statement]:
    """What a block does first (its partial results start at the identity), and what joins all blocks at
    the end."""
    i, j, k = Axis("i", s.buffer.size), Axis("i", s.buffer.size), Axis("b", block.extent)
    begin: Statement = Store(
        partial, as_index(block) * s.buffer.size + i_of(i), Number(s.identity, s.buffer.dtype)
    )
    value: Expression = Load(partial, as_index(k) * s.buffer.size + i_of(j))
    joined = replace(s, index=i_of(j), value=value)
    if i.extent == 1:
        return begin, For(k, (joined,), Kind.VECTOR, None, lanes)
    return For(i, (begin,)), For(j, (For(k, (joined,)),))


def i_of(axis: Axis) -> Index:
    """An axis as an index; an axis of one element is 0."""
    return Index() if axis.extent == 1 else as_index(axis)


def cost(statements: Sequence[Statement], most: int = _BLOCK_COST * _MOST_BLOCKS) -> int:
    """Elementary operations that the statements take, roughly, and not counted further where they are more
    than so many."""
    total = 0
    for s in statements:
        if total > most:
            break
        match s:
            case For():
                total += s.axis.extent * cost(s.body, most // max(1, s.axis.extent))
            case Local():
                total += cost(s.body, most)
            case Store() | Accumulate():
                total += 1 + sum(_weight(e) for e in expressions((s,)))
    return total


def _weight(e: Expression) -> int:
    if isinstance(e, Call):
        row = OPS[e.row]
        return _FUNCTION_COST if isinstance(row, Elementwise) and row.types is Types.FLOAT else 1
    return 1 if isinstance(e, Load) else 0
