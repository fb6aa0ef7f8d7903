"""Launches of one block each that follow each other, as one: a barrier does what the end of a launch did.

In flow a program's launches, out flow as many or fewer. What a launch costs, some microseconds, is more than
most single blocks take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrograd.compiler.ir.index import Axis, Bound, as_index
from retrograd.compiler.ir.loops import (
    Barrier,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Kind,
    Local,
    Mma,
    Statement,
    walk,
)
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.threads import moved

_TOGETHER = (Barrier, Exchange, Fragment, Mma)
"""What threads of a block do together."""


def joined(kernels: Sequence[Kernel], name: Callable[[str, str], str]) -> list[Kernel]:
    """The launches, with single blocks made one where they can be; `name` is of what two were."""
    found: list[Kernel] = []
    for kernel in kernels:
        both = _together(found[-1], kernel) if found else None
        if both is None:
            found.append(kernel)
        else:
            found[-1] = Kernel(name(found[-1].name, kernel.name), both)
    return found


def _together(first: Kernel, second: Kernel) -> tuple[Statement, ...] | None:
    """The block of the larger one does the work of both. What threads have no part in must not be done by
    all of them together."""
    grids = [_loop(kernel, Kind.GRID) for kernel in (first, second)]
    if any(grid.axis.extent > 1 for grid in grids):
        return None
    blocks = [_loop(kernel, Kind.BLOCK).axis for kernel in (first, second)]
    threads = max(blocks, key=lambda axis: axis.extent)
    for kernel, own in zip((first, second), blocks):
        if own.extent < threads.extent and any(isinstance(s, _TOGETHER) for s in walk(kernel.body)):
            return None
    parts = [_part(grid.body, own, threads) for grid, own in zip(grids, blocks)]
    shared = [s.buffer for grid in grids for s in _shared(grid.body)]
    inner: Statement = For(threads, (*parts[0], Barrier(), *parts[1]), Kind.BLOCK)
    for buffer in shared:
        inner = Local(buffer, (inner,))
    return (replace(grids[0], body=(inner,)),)


def _loop(kernel: Kernel, kind: Kind) -> For:
    return next(s for s in walk(kernel.body) if isinstance(s, For) and s.kind is kind)


def _shared(body: Sequence[Statement]) -> list[Local]:
    """The shared memory around the block's loop."""
    (s,) = body
    return [s, *_shared(s.body)] if isinstance(s, Local) else []


def _part(body: Sequence[Statement], own: Axis, threads: Axis) -> tuple[Statement, ...]:
    """What the threads of a block do, as the first threads of another do it."""
    (s,) = body
    while isinstance(s, Local):
        (s,) = s.body
    assert isinstance(s, For)
    inner = tuple(moved({own: as_index(threads)}).statements(s.body)) if own is not threads else s.body
    return (If((Bound(as_index(threads), 0, own.extent),), inner),) if own.extent < threads.extent else inner
