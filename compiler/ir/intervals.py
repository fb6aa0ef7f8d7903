"""Between which values an index lies: interval arithmetic, sharpened by facts.

In flow an index and facts about indices (loop limits, a load's own bounds), out flows its least and greatest
value. The verifier proves with it that no access leaves its buffer. To understand another kind of atom, add
its case to `_Prover._atom`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import ceil, floor, gcd, inf, isfinite

from retrograd.compiler.ir.expressions import Call, Convert, Expression, Number, Position
from retrograd.compiler.ir.index import Atom, Axis, Bound, Divided, Index, Loaded, Remainder, as_index
from retrograd.compiler.record import record

Interval = tuple[float, float]
"""The least and the greatest value."""
EVERYTHING: Interval = (-inf, inf)


@record
class Fact:
    """`low <= index <= high`, in the iterations that are looked at."""

    index: Index
    low: float
    high: float

    @property
    def never(self) -> bool:
        """Can it hold in no iteration?"""
        low, high = self.index.bounds()
        return max(low, self.low) > min(high, self.high)


def facts_of(bounds: Sequence[Bound]) -> list[Fact]:
    return [Fact(b.index, b.low, b.high - 1) for b in bounds]


def bounds(index: Index, facts: Sequence[Fact]) -> Interval:
    """Between which values an index lies, if the facts hold."""
    return _Prover([*facts, *_of_digits(index, facts)]).bounds(index)


def _of_digits(index: Index, facts: Sequence[Fact]) -> Iterator[Fact]:
    """What facts tell about the digits in an index. A digit times its divisor d is less than a whole, by 0 to
    d - 1: v // d than v, v // (d·n) than what a fact calls v // n, and (v // d + k) % n, which is
    (v + k·d) // d % n, than (v + k·d) % (d·n)."""
    mentioned = [atom for fact in facts for atom, _ in fact.index.terms if isinstance(atom, Divided)]
    for atom, _ in index.terms:
        match atom:
            case Divided(value, d):
                wholes = [(value, d), *((as_index(a), d // a.divisor) for a in mentioned if _finer(a, atom))]
            case Remainder(Index(terms=((Divided(value, d), 1),), offset=k), n):
                wholes = [(as_index(Remainder(value + k * d, d * n)), d)]
            case _:
                continue
        for (whole, d), fact in product(wholes, facts):
            (first, unit), *_ = whole.terms
            factor = dict(fact.index.terms).get(first, 0) // unit
            if factor:
                digits = fact.index + (as_index(atom) * d - whole) * factor
                spare = factor * (d - 1)
                if digits.terms:
                    yield _reduced(digits, fact.low - max(spare, 0), fact.high - min(spare, 0))


def _reduced(index: Index, low: float, high: float) -> Fact:
    """The fact, divided by what all its terms have in common."""
    common = gcd(*(factor for _, factor in index.terms))
    terms = [as_index(atom) * (factor // common) for atom, factor in index.terms]
    least, most = _divided(low - index.offset, common, ceil), _divided(high - index.offset, common, floor)
    return Fact(sum(terms[1:], terms[0]), least, most)


class _Prover:
    """What follows from some facts.

    A fact about C tells about n·C + R: n times its interval, plus that of R. An index I of which a multiple
    is such a sum, m·I = n·C + R, lies within an m-th of that. Each fact is used once at most, in order.
    """

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts = list(dict.fromkeys(facts))
        self._simpler: dict[int, _Prover] = {}
        self._found: dict[Index, Interval] = {}
        self._partly: dict[tuple[Index, int], Interval] = {}

    def bounds(self, index: Index) -> Interval:
        """The least and the greatest value that an index may have."""
        if index not in self._found:
            low, high = EVERYTHING
            for m, other in _rewritten(index, frozenset()):
                least, most = self._within(other, 0)
                low, high = max(low, _divided(least, m, ceil)), min(high, _divided(most, m, floor))
            self._found[index] = low, high
        return self._found[index]

    def _within(self, index: Index, first: int) -> Interval:
        """By the facts from number `first` on."""
        if (index, first) not in self._partly:
            low, high = _sum([(self._atom(atom), factor) for atom, factor in index.terms], index.offset)
            for k, fact in enumerate(self._facts[first:], first):
                coefficients = dict(fact.index.terms)
                ratios = {Fraction(c, coefficients[atom]) for atom, c in index.terms if atom in coefficients}
                for n, m in ((r.numerator, r.denominator) for r in ratios):
                    rest = self._within(index * m - fact.index * n, k + 1)
                    least, most = _sum([((fact.low, fact.high), n), (rest, 1)], 0)
                    low, high = max(low, _divided(least, m, ceil)), min(high, _divided(most, m, floor))
            self._partly[index, first] = low, high
        return self._partly[index, first]

    def _atom(self, atom: Atom) -> Interval:
        """An atom's interval, told by facts about simpler atoms: so this comes to an end."""
        if isinstance(atom, Axis | Loaded):
            return 0, atom.extent - 1
        depth = _depth(atom.value)
        if depth not in self._simpler:
            self._simpler[depth] = _Prover([fact for fact in self._facts if _depth(fact.index) <= depth])
        low, high = self._simpler[depth].bounds(atom.value)
        if isinstance(atom, Divided):
            low, high = low // atom.divisor, high // atom.divisor
            for step in self._steps(atom):
                facts = [f for f in self._facts if not _divides_more(f.index, step)]
                least, most = _Prover(facts).bounds(as_index(step))
                times = atom.divisor // step.divisor
                low, high = max(low, least // times), min(high, most // times)
            return low, high
        if low >= 0 and high < atom.divisor:
            return low, high
        match atom.value:
            case Index(terms=((Divided(value, divisor), 1),), offset=k):
                # (v // d + k) % n is (v + k·d) % (d·n) // d
                digits = as_index(Remainder(value + k * divisor, divisor * atom.divisor))
                low, high = self._simpler[depth].bounds(digits)
                return low // divisor, high // divisor
        return 0, atom.divisor - 1

    def _steps(self, atom: Divided) -> set[Divided]:
        """What facts mention that need only be divided again: (v // 2) // 3 is v // 6."""
        mentioned = {a for fact in self._facts for a, _ in fact.index.terms if isinstance(a, Divided)}
        return {a for a in mentioned if _finer(a, atom)}


def _finer(a: Divided, b: Divided) -> bool:
    """Is `b` the same value as `a`, divided further?"""
    return a.value == b.value and a.divisor < b.divisor and b.divisor % a.divisor == 0


def _divides_more(index: Index, step: Divided) -> bool:
    """Does the index mention the same value divided by more?"""
    return any(
        isinstance(a, Divided) and a.value == step.value and a.divisor > step.divisor for a, _ in index.terms
    )


def _rewritten(index: Index, kept: frozenset[Divided]) -> Iterator[tuple[int, Index]]:
    """The index, and multiples of it without some of its divisions: d·(v // d) is v - v % d."""
    yield 1, index
    for atom, factor in index.terms:
        if isinstance(atom, Divided) and atom not in kept:
            m = atom.divisor // gcd(atom.divisor, factor)
            product = atom.value - as_index(Remainder(atom.value, atom.divisor))
            other = (index - as_index(atom) * factor) * m + product * (factor * m // atom.divisor)
            yield from ((m * n, further) for n, further in _rewritten(other, kept))
            kept |= {atom}


def _depth(index: Index) -> int:
    """How many divisions are within each other."""
    divided = [atom for atom, _ in index.terms if isinstance(atom, Divided | Remainder)]
    return max((1 + _depth(atom.value) for atom in divided), default=0)


def _divided(number: float, divisor: int, rounded: Callable[[Fraction], int]) -> float:
    return rounded(Fraction(int(number), divisor)) if isfinite(number) else number


def _sum(terms: Sequence[tuple[Interval, int]], offset: int) -> Interval:
    low = high = float(offset)
    for (least, most), factor in terms:
        low += factor * (least if factor > 0 else most) if factor else 0
        high += factor * (most if factor > 0 else least) if factor else 0
    return low, high


def value_bounds(e: Expression) -> Interval:
    """Between which values an integer expression lies, as far as its clamps say."""
    match e:
        case Number():
            return float(e.value), float(e.value)
        case Position(index=index):
            return index.bounds()
        case Convert(operand=operand, dtype=dtype) if not operand.dtype.is_floating_point:
            low, high = value_bounds(operand)
            least, most = float(dtype.least), float(dtype.greatest)
            return (low, high) if least <= low and high <= most else (least, most)
        case Call(row="minimum", arguments=(a, b)):
            (low, high), (least, most) = value_bounds(a), value_bounds(b)
            return min(low, least), min(high, most)
        case Call(row="maximum", arguments=(a, b)):
            (low, high), (least, most) = value_bounds(a), value_bounds(b)
            return max(low, least), max(high, most)
        case _:
            return EVERYTHING
