"""LAPACK, through NumPy: what all its ops share, and inverse, solution, determinant.

In flow stacks of matrices `[…, n, n]`, in float32 or float64; the values come from LAPACK, the derivatives
are written with ops (Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008). No loops are written for these ops: in compiled programs, too, LAPACK does them, or
where matrices are small kernels of the runtime. `cholesky.py`, `lu.py`, `ldl.py`, `factor.py`,
`reflectors.py` and `least_squares.py` have the rest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from retrograd.compiler.errors import LinearAlgebraError, mirrored
from retrograd.compiler.ir.graph import Array, Fixed, Op, Type, Value, apply, register
from retrograd.compiler.ops import gufuncs
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import unsqueeze
from retrograd.compiler.record import record

Cotangents = Sequence[Value | None]


@record
class Lapack(Op):
    """An op that LAPACK computes."""

    hosted = True

    @property
    def title(self) -> str:
        return "Linalg" + super().title

    @abstractmethod
    def shape(self, *shape: int) -> Sequence[int]:
        """The shape of the output, of the (last) operand's."""

    def infer(self, *types: Type) -> Type:
        return types[-1].with_shape(self.shape(*types[-1].shape))


class SameShape(Lapack):
    """An op whose output is shaped like its (last) operand."""

    def shape(self, *shape: int) -> Sequence[int]:
        return shape


class Scalar(Lapack):
    """An op that gives a number for each matrix."""

    def shape(self, *shape: int) -> Sequence[int]:
        return shape[:-2]


def answer(what: str, compute: Callable[..., Any], *arrays: Array) -> Any:
    """NumPy's answer; where there is none, an error in PyTorch's words."""
    try:
        return compute(*arrays)
    except np.linalg.LinAlgError:
        name, reason = what.split(": ", 1)
        text = f"{name}: {_batch(compute, *arrays)}{reason}"
    raise LinearAlgebraError(mirrored(text))


def _one_by_one(compute: Callable[..., Any], instead: float, *arrays: Array) -> Array:
    """The answer for each matrix, or a number all over where there is none."""
    found = np.full_like(arrays[-1], instead)
    for place in np.ndindex(arrays[0].shape[:-2]):
        with suppress(np.linalg.LinAlgError):
            found[place] = compute(*(a[place] for a in arrays))
    return found


def _batch(compute: Callable[..., Any], *arrays: Array) -> str:
    """Which matrix of a stack has no answer."""
    for place in np.ndindex(arrays[0].shape[:-2]):
        try:
            compute(*(a[place] for a in arrays))
        except np.linalg.LinAlgError:
            return f"(Batch element {np.ravel_multi_index(place, arrays[0].shape[:-2])}): " if place else ""
    return ""


# ---- square matrices ---------------------------------------------------------------------------------------


@register
@record
class Inverse(SameShape):
    """`a⁻¹`."""

    name = "inv"
    endless: bool = False
    """Whether a singular matrix has an inverse full of infinities rather than none."""

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        x = np.empty(a.shape, gufuncs.working(a))
        gufuncs.inverse(gufuncs.wide(a), x)
        if gufuncs.are_numbers(x):
            return x.astype(a.dtype, copy=False)
        why = "linalg.inv: The diagonal element {} is zero, the inversion could not be completed because the "
        try:
            return np.asarray(np.linalg.inv(a))
        except np.linalg.LinAlgError:
            if self.endless:
                return _one_by_one(np.linalg.inv, np.inf, a)
            which = next(m for m in a.reshape(-1, *a.shape[-2:]) if np.linalg.matrix_rank(m) < len(m))
            place = next(k for k in range(1, len(which) + 1) if np.linalg.matrix_rank(which[:, :k]) < k)
            text = why.format(place) + "input matrix is singular."
        return np.asarray(answer(text, np.linalg.inv, a))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        turned = transpose(out)
        return [-1 * dot(dot(turned, cotangent), turned)]


@register
@record
class Solve(SameShape):
    """The `x` of `a · x = b`, for a `[…, n, n]` and b `[…, n, k]`."""

    name = "solve"
    endless: bool = False
    """Whether infinities stand for the solution where the matrix is singular."""

    def evaluate(self, *arrays: Array) -> Array:
        a, b = arrays
        x = np.empty(b.shape, gufuncs.working(a))
        gufuncs.solve(gufuncs.wide(a), b.astype(x.dtype, copy=False), x)
        if gufuncs.are_numbers(x):
            return x.astype(b.dtype, copy=False)
        if self.endless:
            return _one_by_one(np.linalg.solve, np.inf, *arrays)
        why = "torch.linalg.solve: The solver failed because the input matrix is singular."
        return np.asarray(answer(why, np.linalg.solve, *arrays))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        right = solve(transpose(inputs[0]), cotangent)
        return [-1 * dot(right, transpose(out)) if needed[0] else None, right]


@register
@record
class Det(Scalar):
    """The determinant."""

    name = "det"

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        return gufuncs.det(gufuncs.wide(a)).astype(a.dtype, copy=False)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        return [_column(cotangent) * apply(Cofactors(), inputs[0])]


@register
@record
class Cofactors(SameShape):
    """`det(a) · a⁻ᵀ`, the derivative of the determinant. Where `a` is singular it is, from a = u·s·vᵀ,
    `det(u)·det(v)` times u, times for each singular value the product of the others, times vᵀ."""

    name = "cofactors"

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        whole, x = gufuncs.wide(a), np.empty(a.shape, gufuncs.working(a))
        gufuncs.inverse(whole, x)
        if gufuncs.are_numbers(x):
            found = x.swapaxes(-1, -2) * gufuncs.det(whole)[..., None, None]
            return np.asarray(found, a.dtype, order="C")
        u, s, vt = np.empty(a.shape), np.empty(a.shape[:-1]), np.empty(a.shape)
        gufuncs.svd(a.astype(np.float64, copy=False), u, s, vt)
        sign, others = gufuncs.det(u @ vt)[..., None], s[..., None, :]
        scale = sign * np.multiply.reduce(np.where(gufuncs.diagonal(*a.shape[-2:]), 1.0, others), axis=-1)
        return np.asarray((u * scale[..., None, :]) @ vt, a.dtype)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        turned = transpose(apply(Inverse(), inputs[0]))
        inner = _column(sum_(cotangent * out, last_two(out)))
        return [inner * turned - dot(dot(out, transpose(cotangent)), turned)]


@register
@record
class LogAbsDet(Scalar):
    """The logarithm of the determinant's magnitude."""

    name = "logabsdet"

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        return gufuncs.slogdet(gufuncs.wide(a))[1].astype(a.dtype, copy=False)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Cotangents:
        return [_column(cotangent) * transpose(apply(Inverse(), inputs[0]))]


@register
@record
class SignOfDet(Fixed, Scalar):
    """-1, 0 or 1; its derivative is 0."""

    name = "sign_of_det"

    def evaluate(self, *arrays: Array) -> Array:
        (a,) = arrays
        return gufuncs.slogdet(gufuncs.wide(a))[0].astype(a.dtype, copy=False)


# ---- shared formulas, and solve as a function of values of any level ---------------------------------------


def on_diagonal(x: Value) -> Value:
    row, column = last_two(x)
    return rows.eq(iota_like(x, row), iota_like(x, column))


def last_two(x: Value) -> tuple[int, int]:
    return len(x.shape) - 2, len(x.shape) - 1


def _column(x: Value) -> Value:
    """A number for each matrix, so that it multiplies the matrix."""
    return unsqueeze(x, [len(x.shape), len(x.shape) + 1])


def solve(a: Value, b: Value, endless: bool = False) -> Value:
    return apply(Solve(endless), a, b)
