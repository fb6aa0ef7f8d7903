"""An operand of a product with windows, copied so that vectors of it lie side by side in memory.

Where a window reaches `p*a + u*b`, the copy has one axis for all those values: so a padded image is written
out once, and not once for each element of the window. Along the axis of the vectors a step a > 1 is undone:
the copy holds the places 0, a, 2a, … first, then 1, a + 1, …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod

from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space, axes_of, indices
from retrograd.compiler.ir.index import Axis, Bound, Index, as_index
from retrograd.compiler.ir.loops import For, Kind, Statement, Store, expressions
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.panels import at

_PARALLEL_COPY = 1 << 16
"""Elements from which on threads share the copying."""
_GROWTH = 4
"""A copy may have so many times the elements of what it copies."""


@dataclass(frozen=True)
class _Coordinate:
    """One axis of the copy: the values `Σ step · axis`."""

    axis: Axis
    steps: tuple[tuple[Axis, int], ...]


def is_ready(e: Expression, axes: Sequence[Axis], vector: Axis) -> bool:
    """Does an operand lie in memory, affine in all axes and side by side along the vectors?"""
    if not isinstance(e, Load) or e.bounds:
        return False
    return e.index.stride(vector) in (0, 1) and all(e.index.stride(axis) is not None for axis in axes)


def stage(d: Digits, operand: Expression, vector: Axis, lanes: int) -> tuple[Load, Statement] | None:
    """The operand as a load of its copy, and the loops that copy; None if it is not affine."""
    loads = [e for e in expressions([Store(d.c.out, d.c.place, operand)]) if isinstance(e, Load)]
    own = [axis for axis in d.order if axis in axes_of(operand)]
    places = [i for e in (operand, *loads) for i in indices(e)]
    if any(i.stride(axis) is None for i in places for axis in own):
        return None
    coordinates = _coordinates(d, own, vector, places)
    if coordinates is None:
        return None
    *others, last = coordinates
    step = dict(last.steps).get(vector, 1)
    along = Axis(last.axis.name, -(-last.axis.extent // step))
    phase = Axis("phase", step)
    extents = [*(c.axis.extent for c in others), step, along.extent]
    size = prod(extents)
    if size > _GROWTH * max((e.buffer.size for e in loads), default=size):
        return None
    copy = Buffer("image", operand.dtype, size + lanes - 1, Space.ARENA)  # the last vector is read whole

    def moved(index: Index) -> Index:
        for c in coordinates:
            factor = (index.stride(c.steps[0][0]) or 0) // c.steps[0][1]
            index = index.substitute({axis: Index() for axis, _ in c.steps}) + as_index(c.axis) * factor
        return index

    position = at(along) * step + at(phase)
    values = {last.axis: position, **{c.axis: at(c.axis) for c in others}}
    beyond = (Bound(position, 0, last.axis.extent),) if step > 1 else ()
    rewriter = Rewriter(
        lambda index: moved(index).substitute(values),
    )
    value = rewriter.expression(operand)
    if beyond:
        value = Rewriter(load=lambda e: replace(e, bounds=(*e.bounds, *beyond))).expression(value)
    place = _flat([*(at(c.axis) for c in others), at(phase), at(along)], extents)
    wide = min(4, -(-along.extent // lanes)) * lanes
    body: Statement = For(along, (Store(copy, place, value, d.c.where),), Kind.VECTOR, None, wide)
    nest = [c.axis for c in others] + [phase]
    for k, axis in reversed(list(enumerate(nest))):
        first = k == 0 and size >= _PARALLEL_COPY
        body = For(axis, (body,), Kind.PARALLEL if first else Kind.SERIAL)
    rest = Index()
    for axis, factor in last.steps:
        rest += Index() if axis is vector else at(axis) * factor
    where = [*(_sum(c) for c in others), rest % step, (as_index(vector) + rest // step)]
    return Load(copy, _flat(where, extents)), body


def _sum(c: _Coordinate) -> Index:
    total = Index()
    for axis, step in c.steps:
        total += at(axis) * step
    return total


def _flat(index: Sequence[Index], extents: Sequence[int]) -> Index:
    total = Index()
    for i, extent in zip(index, extents, strict=True):
        total = total * extent + i
    return total


def _coordinates(
    d: Digits, own: Sequence[Axis], vector: Axis, places: Sequence[Index]
) -> list[_Coordinate] | None:
    """The axes of the copy, that of the vectors last: an axis of the operand each, or two that meet."""
    free = list(own)
    found: list[_Coordinate] = []
    for a in own:
        for b in own:
            if a in d.inner or b not in d.inner or a not in free or b not in free or not meet(places, a, b):
                continue
            first = next(i for i in places if i.stride(a))
            x, y = abs(first.stride(a) or 0), abs(first.stride(b) or 0)  # both run the same way
            g = gcd(x, y)
            steps = (a, x // g), (b, y // g)
            extent = 1 + sum(step * (axis.extent - 1) for axis, step in steps)
            found.append(_Coordinate(Axis(f"{a.name}_{b.name}", extent), steps))
            free.remove(a)
            free.remove(b)
    found += [_Coordinate(Axis(axis.name, axis.extent), ((axis, 1),)) for axis in free]
    order = {axis: k for k, axis in enumerate(own)}
    found.sort(key=lambda c: (vector in dict(c.steps), min(order[axis] for axis, _ in c.steps)))
    return found if found and vector in dict(found[-1].steps) else None


def meet(places: Sequence[Index], a: Axis, b: Axis) -> bool:
    """Do two axes lead to the same elements, in every place in the same proportion?"""
    strides = {(i.stride(a) or 0, i.stride(b) or 0) for i in places} - {(0, 0)}
    if not strides:
        return False
    x, y = next(iter(strides))
    if x * y <= 0 or any(p * y != q * x or p % (x // gcd(x, y)) for p, q in strides):
        return False
    (small, inner), (large, _) = sorted(((abs(x), a), (abs(y), b)), key=lambda each: each[0])
    return large % small == 0 and (inner.extent - 1) * small >= large
