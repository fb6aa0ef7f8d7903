"""Least squares: the x of least `‖a · x − b‖`, and of these the least.

In flow stacks of matrices `[…, m, n]` and right-hand sides `[…, m, k]`, all with elements, in float32 or
float64. LAPACK factors the matrix with exchanges of columns, or without where its rank is known to be full
(`routines.py`); where LAPACK is not found, and in the derivative, the pseudo-inverse stands for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import LinearAlgebraError, mirrored
from retrograd.compiler.ir.graph import Array, Value, apply, register
from retrograd.compiler.ops import routines
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.factor import Pinv, RankedPinv
from retrograd.compiler.ops.lapack import Cotangents, Lapack
from retrograd.compiler.ops.shape import cast, narrow, select
from retrograd.compiler.record import record


@register
@record
class LeastSquares(Lapack):
    """The solutions, and below them a row of ranks."""

    name = "least_squares"
    columns: int
    """Of the matrix."""
    rtol: float
    """Elements on the diagonal of its factor up to this, times the largest, count as zero."""
    full: bool
    """Whether a matrix whose rank is not full has no answer."""

    def shape(self, *shape: int) -> Sequence[int]:
        *batch, _, k = shape
        return (*batch, self.columns + 1, k)

    def evaluate(self, *arrays: Array) -> Array:
        a, b = arrays
        packed = np.empty(self.shape(*b.shape), b.dtype)
        if routines.LAPACK is None:
            inverse = RankedPinv(0.0, self.rtol).evaluate(a)
            packed[..., :-1, :], packed[..., -1, :] = inverse[..., :-1, :] @ b, inverse[..., -1, :1]
            return packed
        (m, n), fit = a.shape[-2:], self._routine(a, b)
        columns = np.array(a.swapaxes(-1, -2), order="C")
        sides = np.zeros((*b.shape[:-2], b.shape[-1], max(m, n)), b.dtype)
        sides[..., :m] = b.swapaxes(-1, -2)
        found = fit(columns, sides)
        if self.full and found.any():
            place = int(np.flatnonzero(found)[0])
            batch = f"(Batch element {place}): " if found.ndim else ""
            raise LinearAlgebraError(mirrored(_NOT_FULL.format(batch, found.flat[place])))
        packed[..., -1, :] = found[..., None]
        packed[..., :-1, :] = sides[..., :n].swapaxes(-1, -2)
        return packed

    def _routine(self, a: Array, b: Array) -> routines.Fitted:
        sizes = *a.shape[-2:], b.shape[-1]
        if self.full:
            return routines.fitting_full(a.dtype, *sizes)
        return routines.fitting(a.dtype, *sizes, self.rtol)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        a, b = inputs
        pinv = Pinv(0.0, self.rtol)
        inverse = apply(pinv, a)
        given = narrow(cotangent, len(b.shape) - 2, 0, self.columns)
        right = dot(transpose(inverse), given)
        if not needed[0]:
            return [None, right]
        return [*pinv.adjoint(dot(given, transpose(b)), inverse, [a], [True]), right]


_NOT_FULL = (
    "torch.linalg.lstsq: {}The least squares solution could not be computed because the input matrix does "
    "not have full rank (error code: {})."
)


def least_squares(a: Value, b: Value, rtol: float, full: bool) -> tuple[Value, Value]:
    """The solutions `[…, n, k]`, and the ranks `[…]`, as whole numbers."""
    n, row = a.shape[-1], len(b.shape) - 2
    packed = apply(LeastSquares(n, rtol, full), a, b)
    ranks = select(select(packed, row, n), row, 0)
    return narrow(packed, row, 0, n), cast(ranks, dtypes.int64)
