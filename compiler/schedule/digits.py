"""The axes of a product taken apart, so that every place it touches is affine in what they are made of.

A convolution reaches the schedule as a product of matrices whose columns are the places of all images, and
whose inner axis is channels and window elements: `x[… col//676 … k//3%3 …]`. Divisions by 26, 676, 3, 9
tell that the columns are digits n, p, q, the inner axis c, u, v: there the place is `x[… n … p + u … q + v]`.
`split` finds the digits, and joins again what need not be apart. In flows a Contraction, out flows one that a
plain product's schedule can take, or `Digits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from retrograd.compiler.ir.index import Axis, Divided, Index, Remainder, as_index
from retrograd.compiler.ir.loops import Contraction, Store
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.panels import at


@dataclass(frozen=True)
class Digits:
    """A product whose sides and inner axis are several axes each, outer ones first."""

    c: Contraction
    """Its expressions, its place and its stores are written in the digits."""
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    inner: tuple[Axis, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.batch, *self.rows, *self.columns, *self.inner)

    @property
    def order(self) -> tuple[Axis, ...]:
        """The axes as copies of operands have them."""
        return self.axes

    def substituted(self, values: dict[Axis, Index]) -> Contraction:
        """The product with other indices for some of its axes."""
        return _substituted(self.c, values)


def split(c: Contraction) -> Contraction | Digits:
    """The product in digits, if one axis each for rows, columns and the inner side does not do."""
    digits: dict[Axis, tuple[Axis, ...]] = {}
    places = c.places
    if not any(isinstance(atom, Divided | Remainder) for index in places for atom, _ in index.terms):
        return c
    for axis in (c.row, c.column, c.inner):
        extents = _extents(places, axis)
        if extents is None:
            return c
        digits[axis] = tuple(Axis(f"{axis.name}{n}", extent) for n, extent in enumerate(extents))
    if all(len(each) == 1 for each in digits.values()):
        return c
    values = {axis: _value(each) for axis, each in digits.items()}
    found = Digits(
        _substituted(c, values),
        tuple(axis for axis in c.batch if axis.extent != 1),
        *(tuple(d for d in digits[axis] if d.extent != 1) for axis in (c.row, c.column, c.inner)),
    )
    return _as_product(_joined(found))


def _extents(places: Sequence[Index], axis: Axis) -> list[int] | None:
    """How many values each digit takes, outer ones first; None if the divisions do not make digits."""
    if not axis.extent:
        return None
    bounds = sorted({d for index in places for d in _divisors(index, axis)} | {1, axis.extent})
    if any(larger % smaller for smaller, larger in pairwise(bounds)):
        return None
    return [larger // smaller for smaller, larger in pairwise(bounds)][::-1] or [1]


def _divisors(index: Index, axis: Axis) -> Iterator[int]:
    """Where the divisions in an index part the axis."""
    for atom, _ in index.terms:
        if isinstance(atom, Divided | Remainder):
            step = _step(atom.value, axis)
            if step is None:
                yield from _divisors(atom.value, axis)
            else:
                yield from (step, step * atom.divisor)


def _step(index: Index, axis: Axis) -> int | None:
    """For `axis` and `axis // step`: the step."""
    match index:
        case Index(terms=((atom, 1),), offset=0):
            if atom is axis:
                return 1
            if isinstance(atom, Divided) and atom.value == as_index(axis):
                return atom.divisor
    return None


def _value(digits: Sequence[Axis]) -> Index:
    """The number that the digits make."""
    total = Index()
    for digit in digits:
        total = total * digit.extent + at(digit)
    return total


def _substituted(c: Contraction, values: dict[Axis, Index]) -> Contraction:
    moved = Rewriter(lambda index: index.substitute(values))
    stores = tuple(s for s in moved.statements(c.stores) if isinstance(s, Store))
    left, right = moved.expression(c.left), moved.expression(c.right)
    return replace(c, place=moved.index(c.place), left=left, right=right, stores=stores)


def _joined(d: Digits) -> Digits:
    """Neighbouring digits that make one affine axis as well, joined."""
    for side in ("rows", "columns", "inner"):
        axes: tuple[Axis, ...] = getattr(d, side)
        k = len(axes) - 2
        while k >= 0:
            outer, inner = axes[k : k + 2]
            if _adjoin(d.c, outer, inner):
                joined = Axis(inner.name, outer.extent * inner.extent)
                axes = (*axes[:k], joined, *axes[k + 2 :])
                c = _substituted(d.c, {outer: Index(), inner: as_index(joined)})
                d = replace(d, c=c, **{side: axes})
            k -= 1
    return d


def _adjoin(c: Contraction, outer: Axis, inner: Axis) -> bool:
    for index in (*c.places, c.place):
        a, b = index.stride(outer), index.stride(inner)
        if a is None or b is None or a != b * inner.extent:
            return False
    return True


def _as_product(d: Digits) -> Contraction | Digits:
    """A plain product again, if only the columns are still apart: their outer digits are a batch's axes."""
    if len(d.rows) > 1 or len(d.inner) > 1 or len(d.columns) < 1:
        return d
    *outer, column = d.columns
    row, inner = (axes[0] if axes else Axis("z", 1) for axes in (d.rows, d.inner))
    return replace(d.c, batch=(*d.batch, *outer), row=row, column=column, inner=inner)
