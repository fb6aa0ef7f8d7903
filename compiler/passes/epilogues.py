"""Loops → Loops: what is computed from each element of a product alone joins the product's loops.

    kernel dot { t[p] = Σ … }; kernel maximum { for i: u[i] = maximum(t[i], 0) }
        →  kernel dot_maximum, of which the contraction stores u[p] = maximum(t[p], 0) from its registers

and t[p] as well, if others read it. What is stored must lie straight along the product's rows and columns, or
along what a schedule makes of them (`Fits`): the images of a batch are such columns. The plain loops stay,
one after the other, for a schedule that has no use for this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrograd.compiler.ir.expressions import Buffer, Load, Space, indices
from retrograd.compiler.ir.index import Axis, Index
from retrograd.compiler.ir.loops import (
    Accumulate,
    Contraction,
    For,
    Kernel,
    Program,
    Statement,
    Store,
    expressions,
    walk,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace

Fits = Callable[[Contraction], bool]
"""Does the schedule arrange a product so that all that is stored lies straight along its axes?"""


class _Touched(dict[Kernel, set[Buffer]]):
    """Buffers that kernels touch in one way, each found when it is first asked for."""

    def __init__(self, find: Callable[[Kernel], set[Buffer]]) -> None:
        self._find = find

    def __missing__(self, kernel: Kernel) -> set[Buffer]:
        found = self[kernel] = self._find(kernel)
        return found


def join_epilogues(program: Program, fits: Fits) -> Program:
    """The program with each product's first consumer in it, where that is a pointwise nest of the same
    size, and the product with it fits."""
    kernels = list(program.kernels)
    read, written = _Touched(_read), _Touched(_written)
    for first in [k for k in kernels if k.contraction is not None]:
        a = kernels.index(first)
        assert first.contraction is not None
        out = first.contraction.out
        readers = [k for k in kernels[a + 1 :] if out in read[k]]
        stores = _matched(first.contraction, readers[0]) if readers else None
        place = _place(kernels, a, kernels.index(readers[0]), read, written) if stores else None
        if stores is None or place is None:
            continue
        keep = out.space is not Space.ARENA or len(readers) > 1
        joined = replace(first.contraction, stores=(first.contraction.stores if keep else ()) + stores)
        if not fits(joined):
            continue
        both = Kernel(f"{first.name}_{readers[0].name}", first.body + readers[0].body, joined)
        kernels[place] = both
        kernels.remove(readers[0] if place == a else first)
    return replace(program, kernels=tuple(kernels))


def _read(kernel: Kernel) -> set[Buffer]:
    return {e.buffer for e in expressions(kernel.body) if isinstance(e, Load)}


def _written(kernel: Kernel) -> set[Buffer]:
    return {s.buffer for s in walk(kernel.body) if isinstance(s, Store | Accumulate)}


def _place(kernels: Sequence[Kernel], a: int, b: int, read: _Touched, written: _Touched) -> int | None:
    """Where kernels a and b can run as one: where a is, or where b is."""
    between = kernels[a + 1 : b]
    made, used = (set().union(*(touched[k] for k in between)) for touched in (written, read))
    first, last = kernels[a], kernels[b]
    if not (read[last] | written[last]) & made and not written[last] & used:
        return a
    return None if (read[first] | written[first]) & made or written[first] & used else b


def _matched(c: Contraction, kernel: Kernel) -> tuple[Store, ...] | None:
    """The statements of a nest over the product's elements, in terms of the product's axes."""
    axes: list[Axis] = []
    body: tuple[Statement, ...] = kernel.body
    while len(body) == 1 and isinstance(body[0], For) and body[0].limit is None:
        axes.append(body[0].axis)
        body = body[0].body
    stores = [s for s in body if isinstance(s, Store)]
    if kernel.contraction is not None or len(stores) != len(body):
        return None
    loads = [e for e in expressions(stores) if isinstance(e, Load) and e.buffer is c.out]
    values = _positions(c, axes, loads[0].index) if loads else None
    if values is None or any(e.bounds or e.index != loads[0].index for e in loads):
        return None
    element = Load(c.out, c.place)
    moved = Rewriter(
        lambda index: index.substitute(values), lambda e: element if e.buffer is c.out else None
    ).statements(stores)
    return tuple(s for s in moved if isinstance(s, Store))


def lies_straight(c: Contraction, axes: Sequence[Axis]) -> bool:
    """Does all that is stored, and read for it, advance by even steps along these axes?"""
    places = [i for e in expressions(c.stores) for i in indices(e)] + [s.index for s in c.stores]
    return all(i.stride(axis) is not None for i in places for axis in axes)


def is_straight(c: Contraction) -> bool:
    """Is it so along the product's own rows and columns?"""
    return lies_straight(c, (c.row, c.column))


def _positions(c: Contraction, axes: Sequence[Axis], index: Index) -> dict[Axis, Index] | None:
    """Each axis of a nest as it follows from the product's place, if together they run over just its
    elements."""
    steps = {axis: index.stride(axis) or 0 for axis in axes}
    values: dict[Axis, Index] = {}
    reached = 1
    for axis in sorted(axes, key=lambda axis: steps[axis]):
        if steps[axis] != reached:
            return None
        reached *= axis.extent
        whole = c.place // steps[axis]
        values[axis] = whole if reached == c.out.size else whole % axis.extent
    return values if reached == c.out.size and not index.offset else None
