"""The Cholesky factor of a positive-definite matrix.

In flow stacks of matrices `[…, n, n]` in float32 or float64, of which the lower triangle is read; out flow
lower triangles. The derivative is that of Murray, "Differentiation of the Cholesky decomposition" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.ir.graph import Array, Value, register
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.arranged import tril
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.lapack import Cotangents, SameShape, answer, on_diagonal
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.substitution import solve_triangular
from retrograd.compiler.record import record


@register
@record
class Cholesky(SameShape):
    """The lower triangle `l` of `a = l · lᵀ`; only a's lower triangle is read."""

    name = "cholesky"
    endless: bool = False
    """Whether NaN stands for the factor where there is none."""

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        if self.endless:
            return root(a)
        try:
            return _definite_root(a)
        except np.linalg.LinAlgError:
            order = next(k for m in a.reshape(-1, *a.shape[-2:]) for k in _indefinite(m))
        text = (
            "linalg.cholesky: The factorization could not be completed because the input is not "
            f"positive-definite (the leading minor of order {order} is not positive-definite)."
        )
        return np.asarray(answer(text, _definite_root, a))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        inner = _half_diagonal(tril(dot(transpose(out), cotangent)))
        turned = transpose(out)
        left = solve_triangular(turned, inner, upper=True)
        whole = transpose(solve_triangular(turned, transpose(left), upper=True))
        return [(whole + transpose(whole)) * 0.5]


def root(a: Array) -> Array:
    """The factor of each matrix; NaN all over where there is none."""
    found = np.empty(a.shape, gufuncs.working(a))
    gufuncs.cholesky(gufuncs.wide(a), found)
    return found.astype(a.dtype, copy=False)


def _definite_root(a: Array) -> Array:
    """The factor, of which the last element on the diagonal tells whether there is one."""
    found = root(a)
    if not gufuncs.are_numbers(found[..., -1:, -1:]):
        raise np.linalg.LinAlgError
    return found


def _indefinite(a: Array) -> list[int]:
    """The order of the first leading minor that is not positive-definite, if there is one."""
    for k in range(1, len(a) + 1):
        try:
            _definite_root(a[:k, :k])
        except np.linalg.LinAlgError:
            return [k]
    return []


def _half_diagonal(x: Value) -> Value:
    return rows.where(on_diagonal(x), x * 0.5, x)
