"""Statistics along axes: mean, variance, standard deviation, vector norms. The axes vanish, as in a
reduction."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops import complexes
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.reduce import amax, amin, spread, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import record


def count(x: Value, axes: Sequence[int]) -> int:
    """How many elements a reduction over the axes joins."""
    return prod(x.shape[a] for a in axes)


def ratio(above: float, below: float) -> float:
    """above / below, infinite or NaN where below is 0."""
    return above / below if below else above * inf


@register
@record
class Mean(Composite):
    """The arithmetic mean; NaN of no elements."""

    name = "mean"
    categories = (2, 3)
    axes: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        return sum_(values[0], self.axes) / count(values[0], self.axes)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        return [spread(cotangent * ratio(1.0, count(x, self.axes)), self.axes, x.shape)]


@register
@record
class Var(Composite):
    """The variance: squared distances from the mean, summed and divided by (their number - correction)."""

    name = "var"
    axes: tuple[int, ...]
    correction: float = 1

    def formula(self, *values: Value) -> Value:
        far = _centred(values[0], self.axes)
        return sum_(far * far, self.axes) / float(self._degrees(values[0]))

    def _degrees(self, x: Value) -> float:
        return max(count(x, self.axes) - self.correction, 0)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        each = spread(cotangent * ratio(2.0, self._degrees(x)), self.axes, x.shape)
        return [each * _centred(x, self.axes)]


@register
@record
class Std(Composite):
    """The standard deviation: the root of `var`. Its derivative is 0 where it is 0, as in PyTorch."""

    name = "std"
    axes: tuple[int, ...]
    correction: float = 1

    def formula(self, *values: Value) -> Value:
        return rows.sqrt(var(values[0], self.axes, self.correction))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        of_var = 0.5 * over(cotangent, out)
        return Var(self.axes, self.correction).adjoint(of_var, out, (x,), needed)


@register
@record
class Norm(Composite):
    """`(Σ |x|^p)^(1/p)`; for p = ±inf the greatest or least |x|, for p = 0 how many elements are not 0.

    Where the norm is 0 its derivative is 0, the subgradient of least length.
    """

    name = "norm"
    p: float
    axes: tuple[int, ...]

    @property
    def title(self) -> str:
        return "LinalgVectorNorm"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        if self.p == 2:
            return rows.sqrt(sum_(x * x, self.axes))
        size = rows.abs(x)
        if self.p in (inf, -inf):
            return (amax if self.p > 0 else amin)(size, self.axes)
        if self.p == 0:
            return sum_(cast(rows.ne(x, 0), dtypes.of(x)), self.axes)
        if self.p == 1:
            return sum_(size, self.axes)
        return rows.pow(sum_(rows.pow(size, float(self.p)), self.axes), 1 / self.p)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        if self.p in (0, 1, inf, -inf):
            return super().adjoint(cotangent, out, inputs, needed)
        if self.p == 2:
            return [x * spread(over(cotangent, out), self.axes, x.shape)]
        power = self.p - 1
        size = rows.where(rows.eq(x, 0), 1.0, rows.abs(x))
        whole = rows.where(rows.eq(out, 0), 1.0, out)
        share = rows.where(rows.eq(out, 0), 0.0, cotangent * rows.pow(whole, -power))
        return [rows.sign(x) * rows.pow(size, power) * spread(share, self.axes, x.shape)]


def _centred(x: Value, axes: Sequence[int]) -> Value:
    return x - spread(mean(x, axes), axes, x.shape)


def over(x: Value, divisor: Value) -> Value:
    """x / divisor, but 0 where the divisor is 0, to every order of derivative."""
    none = rows.eq(divisor, 0)
    return rows.where(none, 0.0, x / rows.where(none, 1.0, divisor))


# ---- as functions of values of any level -------------------------------------------------------------------


def mean(x: Value, axes: Sequence[int]) -> Value:
    return apply(Mean(tuple(axes)), x)


def var(x: Value, axes: Sequence[int], correction: float = 1) -> Value:
    """The variance; of complex values that of both parts."""
    if complexes.is_complex(x):
        return var(complexes.real(x), axes, correction) + var(complexes.imag(x), axes, correction)
    return apply(Var(tuple(axes), correction), x)


def std(x: Value, axes: Sequence[int], correction: float = 1) -> Value:
    if complexes.is_complex(x):
        spread_out = var(x, axes, correction)
        none = rows.eq(spread_out, 0)
        return rows.where(none, 0.0, rows.sqrt(rows.where(none, 1.0, spread_out)))
    return apply(Std(tuple(axes), correction), x)


def norm(x: Value, p: float, axes: Sequence[int]) -> Value:
    """The p-norm; of complex values that of their absolute values."""
    if complexes.is_complex(x) and p == 2:
        return norm(complexes.as_real(x), p, (*axes, len(x.shape)))
    if complexes.is_complex(x):
        return norm(complexes.modulus(x), p, axes)
    return apply(Norm(float(p), tuple(axes)), x)


def cosine_similarity(a: Value, b: Value, axis: int, eps: float = 1e-8) -> Value:
    """The cosine of the angle between lines along an axis; norms below `eps` count as `eps`."""
    sizes = [rows.maximum(norm(x, 2, [axis]), eps) for x in (a, b)]
    return sum_(a * b, [axis]) / (sizes[0] * sizes[1])
