"""Index arithmetic: where in a tensor a loop iteration reads or writes.

    index ::= offset + coefficient * atom + …
    atom  ::= axis | index "//" int | index "%" int | loaded integer

`Index` is an affine form over atoms, kept in normal form, so that two equal indices compare equal and the
stride along an axis can be read off. Every axis knows its extent; `//` and `%` use it to split exactly
(`(i*C + j) // C` is `i`), which is what makes a reshape cost nothing. Movement ops are functions from the
output's indices to the input's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import gcd
from operator import mul

from retrograd.compiler.record import record


@record(slots=True, eq=False)
class Axis:
    """A loop variable running over 0 … extent-1. Identity is what counts, the name is for readers."""

    name: str
    extent: int

    def __repr__(self) -> str:
        return self.name


@record(slots=True)
class Divided:
    """`value // divisor`, for a value that does not split exactly."""

    value: Index
    divisor: int

    def __repr__(self) -> str:
        return f"({self.value})//{self.divisor}"


@record(slots=True)
class Remainder:
    """`value % divisor`, never negative."""

    value: Index
    divisor: int

    def __repr__(self) -> str:
        return f"({self.value})%{self.divisor}"


@record(slots=True, eq=False)
class Loaded:
    """An integer read at run time (the index operand of a gather), known to lie in 0 … extent-1."""

    expression: object
    """A loops expression of an integer dtype; typed loosely because loops are built on indices."""
    extent: int
    axes: frozenset[Axis]
    """The axes that the expression depends on."""

    def __repr__(self) -> str:
        return f"[{self.expression}]"


Atom = Axis | Divided | Remainder | Loaded


@record(slots=True)
class Index:
    """`offset + Σ coefficient·atom`; terms are sorted by first appearance and have no zero coefficient."""

    terms: tuple[tuple[Atom, int], ...] = ()
    offset: int = 0

    def __add__(self, other: Index | int) -> Index:
        other = as_index(other)
        if not other.terms:
            return Index(self.terms, self.offset + other.offset) if other.offset else self
        return combined((self, other), (1, 1))

    def __sub__(self, other: Index | int) -> Index:
        return self + as_index(other) * -1

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        if factor == 1:
            return self
        return Index(tuple([(a, c * factor) for a, c in self.terms]), self.offset * factor)

    def __floordiv__(self, divisor: int) -> Index:
        return self._split(divisor)[0]

    def __mod__(self, divisor: int) -> Index:
        return self._split(divisor)[1]

    def _split(self, divisor: int) -> tuple[Index, Index]:
        """Quotient and remainder: terms that the divisor divides leave the division if the rest stays
        within it, and so do those that only share a factor with it."""
        if divisor == 1:
            return self, Index()
        whole = Index(
            tuple((a, c // divisor) for a, c in self.terms if c % divisor == 0), self.offset // divisor
        )
        rest = Index(tuple((a, c) for a, c in self.terms if c % divisor), self.offset % divisor)
        low, high = rest.bounds()
        least = low // divisor  # taken out: what is divided must not be negative, as machines round to zero
        whole, rest = whole + least, rest - least * divisor
        if high - least * divisor < divisor:
            return whole, rest
        for g in sorted({gcd(c, divisor) for _, c in rest.terms} - {1}, reverse=True):
            high_digits = Index(tuple((a, c // g) for a, c in rest.terms if c % g == 0), rest.offset // g)
            low_digits = Index(tuple((a, c) for a, c in rest.terms if c % g), rest.offset % g)
            low, high = low_digits.bounds()
            if low >= 0 and high < g:
                quotient, remainder = high_digits._split(divisor // g)
                return whole + quotient, remainder * g + low_digits
        remainder = Index(((Remainder(rest, divisor), 1),))
        match rest:
            case Index(terms=((Divided(value, inner), 1),), offset=0):
                return whole + value // (inner * divisor), remainder
            case Index(terms=((Remainder(value, outer), 1),), offset=0) if outer % divisor == 0:
                return whole + value // divisor % (outer // divisor), value % divisor
        return whole + Index(((Divided(rest, divisor), 1),)), remainder

    def joined(self) -> Index:
        """The digits of a value put together again: `v//d * d + v%d` is `v`, `v//d%n * d + v%d` is
        `v % (d*n)`."""
        terms = dict(self.terms)
        for low, c in self.terms:
            if not isinstance(low, Remainder):
                continue
            d = low.divisor
            for high, factor in self.terms:
                if factor != c * d:
                    continue
                whole = low.value
                match high:
                    case Divided(value, divisor) if (value, divisor) == (low.value, d):
                        pass
                    case Remainder(value, divisor) if value == Index(((Divided(low.value, d), 1),)):
                        whole = Index(((Remainder(low.value, d * divisor), 1),))
                    case _:
                        continue
                rest = Index(tuple((a, k) for a, k in terms.items() if a not in (low, high)), self.offset)
                return (rest + whole * c).joined()
        return self

    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value."""
        low = high = self.offset
        for atom, coefficient in self.terms:
            least, most = _bounds(atom)
            low += coefficient * (least if coefficient > 0 else most)
            high += coefficient * (most if coefficient > 0 else least)
        return low, high

    def axes(self) -> frozenset[Axis]:
        """Every axis that the value depends on."""
        found: list[Axis] = []
        for atom, _ in self.terms:
            found += (atom,) if type(atom) is Axis else _axes(atom)
        return frozenset(found)

    def stride(self, axis: Axis) -> int | None:
        """How much the value grows when `axis` advances by one; None if that is not a constant."""
        stride = 0
        for atom, coefficient in self.terms:
            if atom is axis:
                stride = coefficient
            elif type(atom) is not Axis and axis in _axes(atom):
                return None
        return stride

    def substitute(self, values: dict[Axis, Index]) -> Index:
        """The index with axes replaced. `Loaded` atoms must not depend on a replaced axis."""
        terms: dict[Atom, int] = {}
        offset = self.offset
        for atom, coefficient in self.terms:
            new: Index | None = None
            match atom:
                case Axis():
                    new = values.get(atom)
                case Divided(value, divisor):
                    new = value.substitute(values) // divisor
                case Remainder(value, divisor):
                    new = value.substitute(values) % divisor
            if new is None:
                terms[atom] = terms.get(atom, 0) + coefficient
                continue
            for each, factor in new.terms:
                terms[each] = terms.get(each, 0) + factor * coefficient
            offset += new.offset * coefficient
        return Index(tuple([(atom, c) for atom, c in terms.items() if c]), offset)

    def map_loaded(self, change: Callable[[Loaded], Loaded]) -> Index:
        """The index with the values that it reads replaced."""
        for atom, _ in self.terms:
            if type(atom) is not Axis:
                return self._mapped(change)
        return self

    def _mapped(self, change: Callable[[Loaded], Loaded]) -> Index:
        result = Index((), self.offset)
        for atom, coefficient in self.terms:
            match atom:
                case Loaded():
                    atom = change(atom)
                case Divided(value, divisor):
                    atom = Divided(value.map_loaded(change), divisor)
                case Remainder(value, divisor):
                    atom = Remainder(value.map_loaded(change), divisor)
            result += Index(((atom, coefficient),))
        return result

    def __repr__(self) -> str:
        text = ""
        for atom, coefficient in self.terms:
            sign = "-" if coefficient < 0 else "+"
            factor = "" if abs(coefficient) == 1 else f"{abs(coefficient)}*"
            text += f" {sign} {factor}{atom!r}" if text else f"{'-' if sign == '-' else ''}{factor}{atom!r}"
        if self.offset or not text:
            text += f" {'-' if self.offset < 0 else '+'} {abs(self.offset)}" if text else str(self.offset)
        return text


@record(slots=True)
class Bound:
    """A condition `low <= index < high`, on which an element exists."""

    index: Index
    low: int
    high: int


def _bounds(atom: Atom) -> tuple[int, int]:
    match atom:
        case Axis() | Loaded():
            return 0, max(atom.extent - 1, 0)
        case Divided(value, divisor):
            low, high = value.bounds()
            return low // divisor, high // divisor
        case Remainder(_, divisor):
            return 0, divisor - 1


def _axes(atom: Atom) -> Iterator[Axis]:
    match atom:
        case Axis():
            yield atom
        case Divided(value, _) | Remainder(value, _):
            yield from value.axes()
        case Loaded():
            yield from atom.axes


def as_index(value: Index | Atom | int) -> Index:
    """An axis, an atom or an integer as an index."""
    if isinstance(value, Index):
        return value
    return Index((), value) if isinstance(value, int) else Index(((value, 1),))


def combined(indices: Sequence[Index], factors: Sequence[int], offset: int = 0) -> Index:
    """`offset + Σ factor · index`."""
    terms: dict[Atom, int] = {}
    for index, factor in zip(indices, factors, strict=True):
        if factor:
            offset += factor * index.offset
            for atom, coefficient in index.terms:
                terms[atom] = terms.get(atom, 0) + factor * coefficient
    return Index(tuple([(atom, c) for atom, c in terms.items() if c]), offset)


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    result = []
    step = 1
    for size in reversed(shape):
        result.append(step)
        step *= size
    return tuple(reversed(result))


def flatten(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The row-major position of a multi-index."""
    return combined(index, strides(shape))


def unflatten(position: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The multi-index of a row-major position; all zeros where there are no elements."""
    if 0 in shape:
        return (Index(),) * len(shape)
    index = []
    for size, step in zip(shape, strides(shape), strict=True):
        index.append(Index() if size == 1 else position // step % size)
    return tuple(index)


def matched(one: Sequence[int], other: Sequence[int]) -> list[tuple[slice, slice]]:
    """The axes of two shapes of one size, in runs of equally many elements, as short as can be."""
    if 0 in one:
        return [(slice(len(one)), slice(len(other)))]
    ends = [list(accumulate(shape, mul)) for shape in (one, other)]
    found, start, begin = list[tuple[slice, slice]](), 0, 0
    for size in sorted({1, *ends[0]} & {1, *ends[1]}):
        stop, end = (bisect_right(each, size) for each in ends)
        if (stop, end) != (start, begin):
            found.append((slice(start, stop), slice(begin, end)))
        start, begin = stop, end
    return found
