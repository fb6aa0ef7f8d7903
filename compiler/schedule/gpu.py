"""Loops → Loops, arranged for a GPU: one launch after the other, each a grid of blocks of threads.

`schedule` reads each kernel as a list of tasks, and asks the file that knows the kind of task for its
launches:

    task                                        file            launches
    a nest that stores                          gpu_pointwise   1
    a nest that sums, and perhaps stores too    gpu_reduce      1, or 2 where few results are sums of much
    a nest that writes at places it reads       gpu_pointwise   1
    several nests over each of many rows        gpu_rows        1; with few rows, each nest is a task
    a loop that has an order, for many places   gpu_pointwise   1
    a product of matrices                       gpu_gemm        1, or 2 where few results are sums of much

Nests that store, one after the other over axes of the same extents, are one task where they can be
(`gpu_join`), and launches of one block that follow each other are one launch (`gpu_blocks`).

Everything a task leaves for the next is in global memory, and launches run in order: that is all the
synchronising there is between blocks. Launches depend on sizes alone, and so do results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from retrograd.compiler.ir.expressions import Buffer, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Loaded, as_index, flatten
from retrograd.compiler.ir.loops import Accumulate, For, Kernel, Program, Statement, Store, expressions, walk
from retrograd.compiler.passes.epilogues import is_straight, join_epilogues
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.cpu import collapse
from retrograd.compiler.schedule.gpu_blocks import joined
from retrograd.compiler.schedule.gpu_gemm import product
from retrograd.compiler.schedule.gpu_join import first_of_rows, together
from retrograd.compiler.schedule.gpu_pointwise import free_axes, lines, pointwise, scatter
from retrograd.compiler.schedule.gpu_reduce import kept_axes, reduction
from retrograd.compiler.schedule.gpu_rows import Rows, rows
from retrograd.compiler.schedule.machine import Gpu
from retrograd.compiler.schedule.threads import Nest, at, extents, moved, size

_MANY_ROWS, _SHORT = 64, 4096
"""Nests over rows stay one launch if there are so many rows, or if they are so short."""


@dataclass(frozen=True, eq=False)
class Lines:
    """A loop that has an order, for each place along the axes."""

    axes: tuple[Axis, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class Done:
    """Launches that are there already."""

    kernels: tuple[Kernel, ...]

    @property
    def body(self) -> tuple[Statement, ...]:
        return tuple(s for k in self.kernels for s in k.body)


Task = Nest | Rows | Lines | Done


def schedule(program: Program, gpu: Gpu) -> Program:
    """The program as launches: every kernel is one grid loop."""
    kernels: list[Kernel] = []
    tasks: list[tuple[str, Task, set[Buffer]]] = []
    for kernel in join_epilogues(program, is_straight).kernels:
        done = product(kernel.name, kernel.contraction, gpu) if kernel.contraction else None
        if done is not None:
            tasks.append((kernel.name, Done(tuple(done)), set()))
            continue
        body, fresh = _without_fills(kernel.body)
        tasks += [(kernel.name, task, fresh) for task in _read_all(body, fresh)]
    tasks = _joined(tasks)
    for k, (name, task, fresh) in enumerate(tasks):
        others = _touched(other for j, (_, other, _) in enumerate(tasks) if j != k)
        kernels += _launches(name, task, fresh, others)
    return replace(program, kernels=tuple(joined(kernels, _name)))


def _joined(tasks: list[tuple[str, Task, set[Buffer]]]) -> list[tuple[str, Task, set[Buffer]]]:
    """The tasks, with those that follow each other made one where they can be."""
    found: list[tuple[str, Task, set[Buffer]]] = []
    for k, (name, task, fresh) in enumerate(tasks):
        before = found[-1] if found else None
        if before is not None and isinstance(before[1], Nest):
            rest = (*(t for _, t, _ in found[:-1]), *(t for _, t, _ in tasks[k + 1 :]))
            both: Task | None = None
            if isinstance(task, Nest):
                both = together(before[1], task, _touched(rest))
            elif isinstance(task, Rows) and {s.buffer for s in _sums(before[1])} <= before[2]:
                both = first_of_rows(before[1], task)
            if both is not None:
                found[-1] = (_name(before[0], name), both, before[2] | fresh)
                continue
        found.append((name, task, fresh))
    return found


def _sums(nest: Nest) -> list[Accumulate]:
    return [s for s in nest.body if isinstance(s, Accumulate)]


def _name(first: str, second: str) -> str:
    """Of what two kernels were."""
    return first if first == second or first.endswith("_etc") else f"{first}_{second}"


def _touched(tasks: Iterable[Task]) -> set[Buffer]:
    """Every buffer that tasks read or write."""
    found: set[Buffer] = set()
    for task in tasks:
        for body in [s.body for s in task.stages] if isinstance(task, Rows) else [task.body]:
            found |= {s.buffer for s in walk(body) if isinstance(s, Store | Accumulate)}
            found |= {e.buffer for e in expressions(body) if isinstance(e, Load)}
    return found


# ---- reading -----------------------------------------------------------------------------------------------


def _without_fills(body: Sequence[Statement]) -> tuple[list[Statement], set[Buffer]]:
    """The statements without those that only set a sum to its first value, and the sums concerned."""
    sums = {s.buffer: s for s in walk(body) if isinstance(s, Accumulate) and not _is_scattered(s)}
    fresh: set[Buffer] = set()

    def keep(s: Statement) -> Statement | None:
        if isinstance(s, Store) and s.buffer in sums and _is_number(s, sums[s.buffer].identity):
            fresh.add(s.buffer)
            return None
        if isinstance(s, For):
            inner = tuple(k for x in s.body if (k := keep(x)) is not None)
            return replace(s, body=inner) if inner else None
        return s

    return [k for s in body if (k := keep(s)) is not None], fresh


def _is_scattered(s: Store | Accumulate) -> bool:
    return any(isinstance(atom, Loaded) for atom, _ in s.index.terms)


def _is_number(s: Store, number: bool | int | float) -> bool:
    return isinstance(s.value, Number) and s.value.value == number


def _read_all(body: Sequence[Statement], fresh: set[Buffer]) -> list[Task]:
    """The tasks of a kernel's statements; one if they are short nests, as of a single row."""
    nests = _nests(body)
    if len(nests) > 1 and all(isinstance(x, Store | Accumulate) for nest in nests for x in nest.body):
        whole = Rows((), tuple(nests))
        if _worth_rows(whole, fresh):
            return [whole]
    return [task for nest in nests for task in _read(nest, fresh)]


def _nests(body: Sequence[Statement]) -> list[Nest]:
    """A nest for each statement. Writes without a loop are one, where the later ones rest on what was read
    before the earlier ones wrote: two elements that change places."""
    groups: list[list[Statement]] = []
    read: set[int] = set()
    for s in body:
        loads = {id(e): e.buffer for e in expressions([s]) if isinstance(e, Load)}
        before = groups[-1] if groups else []
        written = {x.buffer for x in before if isinstance(x, Store | Accumulate)}
        joins = isinstance(s, Store) and any(n in read and b in written for n, b in loads.items())
        if not joins:
            groups.append([])
            read = set()
        groups[-1].append(s)
        read |= set(loads)
    return [Nest(*_chain(g[0])) if len(g) == 1 else Nest((), tuple(g)) for g in groups]


def _read(nest: Nest, fresh: set[Buffer]) -> list[Task]:
    """The tasks of one statement."""
    axes, body = nest.axes, nest.body
    if all(isinstance(x, Store | Accumulate) for x in body):
        sums = {x.buffer for x in body if isinstance(x, Accumulate)}
        if any(isinstance(e, Load) and e.buffer in sums for e in expressions(body)):
            return [Nest(axes, (x,)) for x in body]
        return list(_sorted_out(Nest(axes, body), fresh))
    stages = _nests(body)
    if not all(isinstance(x, Store | Accumulate) for stage in stages for x in stage.body):
        return [Lines(axes, body)]
    crossing = [
        Nest((*axes, *stage.axes), (x,))
        for stage in stages
        for x in stage.body
        if isinstance(x, Accumulate) and len(kept_axes(x, axes)) < len(axes)
    ]
    apart = {x for nest in crossing for x in nest.body}
    left = [Nest(stage.axes, tuple(x for x in stage.body if x not in apart)) for stage in stages]
    task = Rows(axes, tuple(stage for stage in left if stage.body))
    tasks: list[Task]
    if _worth_rows(task, fresh):
        task, totals = _sums_of_rows(Rows(axes, tuple(stages)), apart)
        own = {s.buffer for stage in task.stages for s in stage.body if isinstance(s, Accumulate)}
        fresh.update(own)  # for the rest of the kernel, too: whoever reads the tasks has the same set
        crossing = [*(nest for nest in crossing if nest.body[0] not in totals), *totals.values()]
        tasks = [task]
    else:
        tasks = [t for n in task.apart() for t in _sorted_out(n, fresh)]
    return [*tasks, *(t for nest in _merged(crossing) for t in _sorted_out(nest, fresh))]


def _sums_of_rows(task: Rows, crossing: set[Statement]) -> tuple[Rows, dict[Statement, Nest]]:
    """The rows with a sum of each row's own for what is summed over whole rows and over several of them, and
    the nests that sum those; without what is summed over rows place by place."""
    place, count = flatten([at(a) for a in task.axes], extents(task.axes)), size(task.axes)
    stages: list[Nest] = []
    nests: dict[Statement, Nest] = {}
    for stage in task.stages:
        body: list[Statement] = []
        for s in stage.body:
            if s not in crossing:
                body.append(s)
            elif isinstance(s, Accumulate) and s.index.axes().isdisjoint(stage.axes):
                own = Buffer(f"{s.buffer.name}_rows", s.buffer.dtype, count, Space.ARENA)
                body.append(replace(s, buffer=own, index=place))
                nests[s] = Nest(task.axes, (replace(s, value=Load(own, place)),))
        if body:
            stages.append(Nest(stage.axes, tuple(body)))
    return Rows(task.axes, tuple(stages)), nests


def _merged(nests: Sequence[Nest]) -> list[Nest]:
    """Those over axes of the same extents as one, so that what they read is read once."""
    found: dict[tuple[int, ...], Nest] = {}
    for nest in nests:
        first = found.setdefault(extents(nest.axes), nest)
        if first is not nest:
            change = moved(dict(zip(nest.axes, map(as_index, first.axes), strict=True)))
            body = (*first.body, *change.statements(nest.body))
            found[extents(nest.axes)] = Nest(first.axes, body)
    return [*found.values()]


def _chain(s: Statement) -> tuple[tuple[Axis, ...], tuple[Statement, ...]]:
    """The axes of a perfect nest, and what is within them."""
    axes: list[Axis] = []
    body: tuple[Statement, ...] = (s,)
    while len(body) == 1 and isinstance(body[0], For):
        axes.append(body[0].axis)
        body = body[0].body
    return tuple(axes), body


def _worth_rows(task: Rows, fresh: set[Buffer]) -> bool:
    whole = [stage for stage in task.stages if stage.axes]
    sums = [x for stage in task.stages for x in stage.body if isinstance(x, Accumulate)]
    writes = [x for stage in task.stages for x in stage.body if isinstance(x, Store | Accumulate)]
    if len(task.stages) < 2 or not whole or any(map(_is_scattered, writes)):
        return False
    if any(s.buffer not in fresh for s in sums):
        return False
    return size(task.axes) >= _MANY_ROWS or max(size(s.axes) for s in whole) <= _SHORT


def _sorted_out(nest: Nest, fresh: set[Buffer]) -> Iterable[Nest]:
    """A nest for each group of sums that keep the same axes; the first computes the stores too."""
    groups: dict[tuple[Axis, ...], list[Statement]] = {}
    stores = [s for s in nest.body if isinstance(s, Store)]
    for s in nest.body:
        if isinstance(s, Accumulate):
            groups.setdefault(kept_axes(s, nest.axes), []).append(s)
    if not groups:
        yield nest
        return
    first = True
    for group in groups.values():
        members = {*group, *(stores if first else ())}
        yield Nest(nest.axes, tuple(s for s in nest.body if s in members))
        first = False


# ---- launches ----------------------------------------------------------------------------------------------


def _launches(name: str, task: Task, fresh: set[Buffer], elsewhere: set[Buffer]) -> list[Kernel]:
    if isinstance(task, Done):
        return list(task.kernels)
    if isinstance(task, Rows):
        return [rows(name, task, elsewhere)]
    if isinstance(task, Lines):
        return [lines(name, task.axes, task.body)]
    writes = [s for s in task.body if isinstance(s, Store | Accumulate)]
    if any(_is_scattered(s) for s in writes):
        return [scatter(name, task)]
    nest = _collapsed(task)
    if any(isinstance(s, Accumulate) for s in nest.body):
        return reduction(name, nest, fresh)
    return [pointwise(name, nest) if free_axes(nest) == set(nest.axes) else scatter(name, nest)]


def _collapsed(nest: Nest) -> Nest:
    """The nest with adjoining axes made one."""
    loops: tuple[Statement, ...] = nest.body
    for axis in reversed(nest.axes):
        loops = (For(axis, loops),)
    if not nest.axes:
        return nest
    return Nest(*_chain(collapse(loops[0])))
