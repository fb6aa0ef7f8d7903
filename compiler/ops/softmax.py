"""Exponentials shared out along an axis: softmax, its logarithm, and the logarithm of a sum of exponentials.

The greatest element is subtracted first, so that no exponential overflows. Attention is softmax between two
products.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DimensionError
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import amax, spread, sum_, sum_to
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import slice_, unsqueeze
from retrograd.compiler.record import record


@record
class _Along(Composite):
    """Same type in and out, along one axis."""

    axis: int

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not 0 <= self.axis < x.ndim:
            raise DimensionError(
                f"{self.name} of {x} along axis {self.axis}", f"there is no axis {self.axis}"
            )
        return super().infer(x)


@register
@record
class Softmax(_Along):
    """`exp(x) / Σ exp(x)` along an axis."""

    name = "softmax"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        if 0 in x.shape:
            return x
        share = rows.exp(x - spread(amax(x, [self.axis]), [self.axis], x.shape))
        return share * spread(1.0 / sum_(share, [self.axis]), [self.axis], x.shape)

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.size == 0:
            return x
        share = x - np.maximum.reduce(x, self.axis, keepdims=True)
        np.exp(share, share)
        share /= np.add.reduce(share, self.axis, keepdims=True)
        return share

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        each = cotangent * out
        return [each - out * spread(sum_(each, [self.axis]), [self.axis], out.shape)]


@register
@record
class CausalSoftmax(Composite):
    """Softmax of `[…, queries, keys]` times a factor, along the keys, of which query i sees those up to i;
    the others have no share."""

    name = "causal_softmax"
    factor: float

    def formula(self, *values: Value) -> Value:
        scores = values[0] * self.factor
        rank = len(scores.shape)
        first = [*[min(n, 1) for n in scores.shape[:-2]], *scores.shape[-2:]]
        once = slice_(scores, [0] * rank, first, [1] * rank)  # of which all others are like
        row, column = (iota_like(once, rank - k) for k in (2, 1))
        return softmax(rows.where(rows.le(column, row), scores, -inf), rank - 1)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        last = len(out.shape) - 1
        each = cotangent * out
        return [(each - out * spread(sum_(each, [last]), [last], out.shape)) * self.factor]


@register
@record
class MaskedSoftmax(Composite):
    """Softmax of `[…, queries, keys]` times a factor, along the keys, with a mask that is repeated as it must
    be. A bool mask says which keys are seen, another is added; a query that sees none has no shares."""

    name = "masked_softmax"
    factor: float

    def formula(self, *values: Value) -> Value:
        scores, mask = values
        return _masked(scores * self.factor, mask)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        last = len(out.shape) - 1
        each = cotangent * out
        low = each - out * spread(sum_(each, [last]), [last], out.shape)
        return [low * self.factor if needed[0] else None, sum_to(low, inputs[1].shape) if needed[1] else None]


def _masked(scores: Value, mask: Value) -> Value:
    last = len(scores.shape) - 1
    scores = rows.where(mask, scores, -inf) if dtypes.of(mask) is dtypes.bool_ else scores + mask
    seen = unsqueeze(rows.ne(amax(scores, [last]), -inf), [last])
    return rows.where(seen, softmax(rows.where(seen, scores, 0.0), last), 0.0)


@register
@record
class LogSoftmax(_Along):
    """`x - log Σ exp(x)` along an axis."""

    name = "log_softmax"

    def formula(self, *values: Value) -> Value:
        (x,) = values
        if 0 in x.shape:
            return x
        low = x - spread(amax(x, [self.axis]), [self.axis], x.shape)
        return low - spread(rows.log(sum_(rows.exp(low), [self.axis])), [self.axis], x.shape)

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.size == 0:
            return x
        low = x - np.maximum.reduce(x, self.axis, keepdims=True)
        low -= np.log(np.add.reduce(np.exp(low), self.axis, keepdims=True))
        return low

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [cotangent - rows.exp(out) * spread(sum_(cotangent, [self.axis]), [self.axis], out.shape)]


@register
@record
class Logsumexp(Composite):
    """`log Σ exp(x)` over axes; -inf of no elements, or of -inf alone."""

    name = "logsumexp"
    axes: tuple[int, ...]

    def formula(self, *values: Value) -> Value:
        (x,) = values
        if any(x.shape[a] == 0 for a in self.axes):
            return rows.log(sum_(x, self.axes))
        most = amax(x, self.axes)
        most = rows.where(rows.eq(rows.abs(most), inf), 0.0, most)
        return rows.log(sum_(rows.exp(x - spread(most, self.axes, x.shape)), self.axes)) + most

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        (x,) = inputs
        total = rows.where(rows.eq(out, -inf), 0.0, out)
        share = rows.exp(x - spread(total, self.axes, x.shape))
        return [share * spread(cotangent, self.axes, x.shape)]


# ---- as functions of values of any level -------------------------------------------------------------------


def softmax(x: Value, axis: int) -> Value:
    return apply(Softmax(axis), x)


def log_softmax(x: Value, axis: int) -> Value:
    return apply(LogSoftmax(axis), x)


def logsumexp(x: Value, axes: Sequence[int]) -> Value:
    return apply(Logsumexp(tuple(axes)), x)


def attention_weights(
    query: Value, key: Value, mask: Value | None = None, causal: bool = False, scale: float | None = None
) -> Value:
    """softmax(query · keyᵀ · scale): `[…, queries, keys]`, from `[…, queries, k]` and `[…, keys, k]`.

    A bool mask says which pairs take part, a floating one is added; causal, which takes the place of a mask,
    lets query i see the keys up to i.
    A query that sees no key has weights of 0.
    """
    assert mask is None or not causal
    factor = 1 / sqrt(max(query.shape[-1], 1)) if scale is None else scale
    scores = dot(query, transpose(key))
    if causal:
        return apply(CausalSoftmax(factor), scores)
    if mask is not None and _is_repeated(mask, scores):
        return apply(MaskedSoftmax(factor), scores, mask)
    scores, last = scores * factor, len(scores.shape) - 1
    if mask is None:
        return softmax(scores, last)
    return _masked(scores, mask)


def _is_repeated(mask: Value, scores: Value) -> bool:
    """Whether the mask has no more axes or elements than the scores, nor another dtype of numbers."""
    pairs = zip(reversed(mask.shape), reversed(scores.shape), strict=False)
    fits = len(mask.shape) <= len(scores.shape) and all(size in (1, whole) for size, whole in pairs)
    return fits and dtypes.of(mask) in (dtypes.bool_, dtypes.of(scores))


def attention(
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Value:
    """Scaled dot-product attention; batch axes agree exactly."""
    return dot(attention_weights(query, key, mask, causal, scale), value)
