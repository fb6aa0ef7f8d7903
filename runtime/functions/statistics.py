"""Mean, variance, norms, softmax, distances: what is computed from all elements along axes.

Floating-point tensors in, and `dim` as for sums. The formulas and derivatives are those of the composite ops;
here are the arguments as PyTorch has them. To add a statistic, write it with `reduced` over a function of a
value and axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ops import pairs, statistics
from retrograd.compiler.ops import reduce as ops
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops import softmax as shares
from retrograd.compiler.ops.complexes import conj, from_parts, real
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions.arranging import diagonal
from retrograd.runtime.functions.joining import narrow, select
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import DimLike, axes_of, axis_of, functional, promoted, public
from retrograd.runtime.functions.reduction import reduced
from retrograd.runtime.tensor import Tensor, new


def _floating(input: Tensor, dtype: object, why: str) -> Tensor:
    """The operand in the dtype asked for; DtypeError unless that is a floating or a complex one."""
    x = input if dtype is None else moves.cast(input, dtypes.dtype(dtype))
    if not x.dtype.is_inexact:
        raise DtypeError(
            f"a statistic of {x.dtype}",
            mirrored(f"{why} Got: {_CAPITAL[x.dtype]}" if why.endswith(".") else why),
            "cast it with .float()",
        )
    return x


_CAPITAL = {
    dtypes.int64: "Long", dtypes.int32: "Int", dtypes.int16: "Short", dtypes.int8: "Char",
    dtypes.uint8: "Byte", dtypes.bool_: "Bool",
}  # fmt: skip


@public("mean", method=True, replay=True)
def mean(input: Tensor, dim: DimLike = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    """The arithmetic mean over axes; NaN of no elements."""
    why = (
        "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype."
    )
    return reduced(statistics.mean, _floating(input, dtype, why), axes_of(dim, input.ndim, "mean"), keepdim)


@public("nanmean", method=True, replay=True)
def nanmean(input: Tensor, dim: DimLike = None, keepdim: bool = False, *, dtype: object = None) -> Tensor:
    """The mean over axes of what is not NaN."""
    x = _floating(input, dtype, "nanmean(): expected input to have floating point or complex dtype.")
    axes = axes_of(dim, input.ndim, "nanmean")
    missing = rows.isnan(x)
    total = reduced(ops.sum_, rows.where(missing, 0.0, x), axes, keepdim)
    count = reduced(ops.sum_, moves.cast(rows.logical_not(missing), x.dtype), axes, keepdim)
    return total / count


def _spread_arguments(
    name: str, input: Tensor, dim: Any, unbiased: bool | None, correction: float | None
) -> tuple[Tensor, tuple[int, ...], float]:
    """Operand, axes and correction; `x.var(False)` means `unbiased=False`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise ArgumentError(f"{name}(unbiased={unbiased}, correction={correction})", "give one of the two")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    x = _floating(input, None, "std and var only support floating point and complex dtypes")
    axes = axes_of(dim, input.ndim, name)
    if math.prod(input.shape[axis] for axis in axes) <= correction:
        warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction "
            "factor (input numel divided by output numel)."
        )
    return x, axes, correction


@public("var", method=True, replay=True)
def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> Tensor:  # fmt: skip
    """The variance over axes, with `n - correction` in the denominator (1 unless given, 0 for
    `unbiased=False`).
    """
    x, axes, less = _spread_arguments("var", input, dim, unbiased, correction)
    return reduced(partial(statistics.var, correction=less), x, axes, keepdim)


@public("std", method=True, replay=True)
def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> Tensor:  # fmt: skip
    """The standard deviation over axes; arguments as for `var`. Its derivative is 0 where it is 0."""
    x, axes, less = _spread_arguments("std", input, dim, unbiased, correction)
    return reduced(partial(statistics.std, correction=less), x, axes, keepdim)


@public("var_mean", replay=True)
def var_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The variance and the mean."""
    axes = None if isinstance(dim, bool) else dim
    x, taken, less = _spread_arguments("var_mean", input, dim, unbiased, correction)
    return reduced(partial(statistics.var, correction=less), x, taken, keepdim), mean(input, axes, keepdim)


@public("std_mean", replay=True)
def std_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The standard deviation and the mean."""
    axes = None if isinstance(dim, bool) else dim
    x, taken, less = _spread_arguments("std_mean", input, dim, unbiased, correction)
    return reduced(partial(statistics.std, correction=less), x, taken, keepdim), mean(input, axes, keepdim)


@public("norm", method=True, replay=True)
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: DimLike = None,
    keepdim: bool = False,
    *,
    dtype: object = None,
) -> Tensor:
    """The p-norm of the elements along axes, of a matrix as of a vector; "fro" is 2.

    Where it is 0 its derivative is 0.
    """
    if isinstance(p, str) and p != "fro":
        why = f"linalg.matrix_norm: Order {p} not supported."
        raise ArgumentError(mirrored(why), "the norms here are numbers p and 'fro'")
    order = 2.0 if p is None or isinstance(p, str) else float(p)
    why = "linalg.vector_norm: Expected a floating point or complex tensor as input."
    x, axes = _floating(input, dtype, why), axes_of(dim, input.ndim, "norm")
    if order in (float("inf"), float("-inf")) and any(input.shape[a] == 0 for a in axes):
        raise ShapeError(
            f"norm(p={p}) of a tensor of shape {list(input.shape)}",
            f"linalg.vector_norm cannot compute the {order} norm on an empty tensor because the operation "
            "does not have "
            "an identity",
        )
    return reduced(lambda value, over: statistics.norm(value, order, over), x, axes, keepdim)


@public("renorm", method=True, replay=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """The slices along `dim`, made no longer than `maxnorm` in the p-norm."""
    axis = axis_of(dim, input.ndim, "renorm")
    others = [k for k in range(input.ndim) if k != axis]
    length = norm(input, p, others, True)
    shrunk = rows.where(rows.gt(length, maxnorm), maxnorm / (length + 1e-7), 1.0)
    return input * shrunk


@public("dist", method=True, replay=True)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return norm(input - other, p)


@public("logsumexp", method=True, replay=True)
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """The logarithm of the sum of exponentials over axes, without overflow."""
    axes = axes_of(dim, input.ndim, "logsumexp")
    if input.dtype.is_complex:
        most = reduced(ops.amax, input.detach().real, axes, True)
        whole = reduced(ops.sum_, (input - most).exp(), axes, keepdim).log()
        return whole + moves.reshape(most, whole.shape)
    x = input if input.dtype.is_floating_point else moves.cast(input, dtypes.default_dtype())
    return reduced(shares.logsumexp, x, axes, keepdim)


def _shared(name: str, op: Any, input: Tensor, dim: int, dtype: object) -> Tensor:
    x = input if dtype is None else moves.cast(input, dtypes.dtype(dtype))
    axis = axis_of(dim, x.ndim, name)
    line = x if x.ndim else moves.reshape(x, (1,))
    return moves.reshape(op(line, axis), x.shape)


@public("softmax", method=True, replay=True)
def softmax(input: Tensor, dim: int, dtype: object = None) -> Tensor:
    """Exponentials divided by their sum along `dim`."""
    return _shared("softmax", shares.softmax, input, dim, dtype)


@public("log_softmax", method=True, replay=True)
def log_softmax(input: Tensor, dim: int, dtype: object = None) -> Tensor:
    """The logarithm of `softmax`, without losing digits."""
    return _shared("log_softmax", shares.log_softmax, input, dim, dtype)


def _implicit(name: str, dim: int | None, ndim: int) -> int:
    """The axis, which `nn.functional` once chose itself."""
    if dim is not None:
        return dim
    warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
        "argument."
    )
    return 0 if ndim in (0, 1, 3) else 1


@functional("softmin", replay=True)
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None) -> Tensor:
    """`softmax` of the negative."""
    return _shared("softmin", shares.softmax, -input, _implicit("softmin", dim, input.ndim), dtype)


def _in_nn(name: str, op: Any) -> None:
    """The function of `nn.functional`, which finds an axis where it is given none."""

    @functional(name, replay=True)
    def share(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None) -> Tensor:
        return _shared(name, op, input, _implicit(name, dim, input.ndim), dtype)

    share.__doc__ = f"`{name}`; without `dim` along an axis that is chosen by the number of axes."


_in_nn("softmax", shares.softmax)
_in_nn("log_softmax", shares.log_softmax)


# ---- between two tensors -----------------------------------------------------------------------------------


@functional("cosine_similarity", top=True, replay=True)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between the vectors along `dim`; norms below `eps` count as `eps`.

    The two broadcast.
    """
    a, b = promoted(x1, x2)
    shape = broadcast_shapes("cosine_similarity", a.shape, b.shape)
    axis = axis_of(dim, len(shape), "cosine_similarity")
    if not shape:
        a, b = moves.unsqueeze(a, [0]), moves.unsqueeze(b, [0])
        shape = (1,)
    return statistics.cosine_similarity(moves.expand(a, shape), moves.expand(b, shape), axis, eps)


@functional("pairwise_distance", top=True, replay=True)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of `x1 - x2 + eps` along the last axis."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


_DISTANCES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
)  # fmt: skip


@public("cdist", replay=True)
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """The p-norm distance of every row of `x1` to every row of `x2`: `[…, m, k], […, n, k] -> […, m, n]`.

    Whatever PyTorch's `compute_mode`, differences are summed, which loses no digits between near rows.
    """
    if compute_mode not in _DISTANCES:
        raise ArgumentError(mirrored(f"{compute_mode} is not a valid value for compute_mode"))
    for x, label in ((x1, "X1"), (x2, "X2")):
        if x.ndim < 2:
            raise ShapeError(
                f"cdist of shapes {list(x1.shape)} and {list(x2.shape)}",
                mirrored(f"cdist only supports at least 2D tensors, {label} got: {x.ndim}D"),
            )
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(
            f"cdist of shapes {list(x1.shape)} and {list(x2.shape)}",
            mirrored(
                f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
            ),
        )
    if p == 2 and x1.dtype is x2.dtype:
        return _euclidean(x1, x2)
    apart = moves.unsqueeze(x1, [x1.ndim - 1]) - moves.unsqueeze(x2, [x2.ndim - 2])
    if p == 0:  # as many as differ, but NaN of what is not a number
        return apart.abs().ceil().clamp(max=1).sum(-1)
    return norm(apart, p, -1)


def _euclidean(x1: Tensor, x2: Tensor) -> Tensor:
    """Of batches, which are broadcast."""
    batch = broadcast_shapes("cdist", x1.shape[:-2], x2.shape[:-2])
    whole = [moves.expand(x, (*batch, *x.shape[-2:])) for x in (x1, x2)]
    sides = [moves.reshape(x, (prod(batch), *x.shape[-2:])) for x in whole]
    return moves.reshape(pairs.distances(*sides), (*batch, x1.shape[-2], x2.shape[-2]))


_ANY_AXIS = (
    "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly "
    "or simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of "
    "linalg.cross in a future release."
)


@public("cross", method=True, replay=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of the vectors of three along `dim`, or along the first axis of size 3."""
    shape = broadcast_shapes("cross", input.shape, other.shape)
    if dim is None:
        warn(_ANY_AXIS)
        if 3 not in shape:
            raise ShapeError(f"cross of shape {list(shape)}", "no dimension of size 3 in input")
        axis = shape.index(3)
    else:
        axis = axis_of(dim, len(shape), "cross")
    if shape[axis] != 3:
        raise ShapeError(
            f"cross of shape {list(shape)} along axis {axis}",
            f"linalg.cross: inputs dimension {axis} must have length 3. Got {shape[axis]} and {shape[axis]}",
        )
    a, b = (moves.expand(x, shape) for x in promoted(input, other))
    return moves.roll(a, -1, axis) * moves.roll(b, -2, axis) - moves.roll(a, -2, axis) * moves.roll(
        b, -1, axis
    )


@public("cov", method=True, replay=True)
def cov(
    input: Tensor, *, correction: float = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of the rows, over `n - correction` columns, which may be weighed."""
    if input.ndim > 2:
        raise ShapeError(
            f"cov of a tensor of shape {list(input.shape)}",
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} "
            "dimensions",
        )
    x = moves.reshape(input, (1,) * (2 - input.ndim) + tuple(input.shape))
    x = x if x.dtype.is_inexact else moves.cast(x, dtypes.default_dtype())
    weights = moves.expand(moves.cast(fweights, x.dtype), (x.shape[1],)) if fweights is not None else None
    if aweights is not None:
        weights = aweights if weights is None else weights * aweights
    if weights is None:
        far = x - mean(x, 1, True)
        found = matmul(far, conj(moves.swap_axes(far, 0, 1))) / max(x.shape[1] - correction, 0)
    else:
        total = weights.sum()
        far = x - moves.unsqueeze((x * weights).sum(1) / total, [1])
        less = total if aweights is None else (weights * aweights).sum() / total * correction
        degrees = total - correction if aweights is None else total - less
        found = matmul(far * weights, conj(moves.swap_axes(far, 0, 1))) / degrees
    return found if x.shape[0] > 1 else moves.reshape(found, ())


@public("corrcoef", method=True, replay=True)
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of the rows, between -1 and 1."""
    found = cov(input)
    if not found.ndim:
        return found / found
    root = rows.sqrt(real(diagonal(found)))
    scaled = found / moves.unsqueeze(root, [1]) / root
    if scaled.dtype.is_complex:
        clipped: Tensor = from_parts(*(_clipped(part) for part in (scaled.real, scaled.imag)))
        return clipped
    return _clipped(scaled)


def _clipped(scaled: Tensor) -> Tensor:
    return rows.minimum(rows.maximum(scaled, -1.0), 1.0)


# ---- differences and sums of neighbours --------------------------------------------------------------------


@public("diff", method=True, replay=True)
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Each element less the one before it along `dim`, `n` times over."""
    axis = axis_of(dim, input.ndim, "diff")
    if not input.ndim:
        raise ShapeError("diff of a 0-d tensor", "diff expects input to be at least one-dimensional")
    parts = [x for x in (prepend, input, append) if x is not None]
    x = moves.concat(promoted(*parts), axis) if len(parts) > 1 else input
    for _ in range(n):
        size = max(x.shape[axis] - 1, 0)
        later, earlier = narrow(x, axis, min(1, x.shape[axis]), size), narrow(x, axis, 0, size)
        x = rows.ne(later, earlier) if x.dtype is dtypes.bool_ else later - earlier
    return x


@public("trapezoid", "trapz", replay=True)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral along `dim` by the trapezoidal rule, at the points `x` or at distances `dx`."""
    axis = axis_of(dim, y.ndim, "trapezoid")
    if not y.shape[axis]:
        return new(np.zeros([n for k, n in enumerate(y.shape) if k != axis], y.dtype.numpy), y)
    if x is not None:
        return reduced(ops.sum_, _trapezoids(y, x, dx, axis), (axis,), False)
    ends = (select(y, axis, 0) + select(y, axis, y.shape[axis] - 1)) * 0.5
    return (reduced(ops.sum_, y, (axis,), False) - ends) * dx


@public("cumulative_trapezoid", replay=True)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The running integral along `dim`; one element shorter than `y`."""
    return _trapezoids(y, x, dx, dim).cumsum(dim)


def _trapezoids(y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    axis = axis_of(dim, y.ndim, "trapezoid")
    size = max(y.shape[axis] - 1, 0)
    height = (narrow(y, axis, min(1, y.shape[axis]), size) + narrow(y, axis, 0, size)) / 2.0
    if x is None:
        return height * dx
    wide = x if x.ndim > 1 else moves.reshape(x, [x.numel() if k == axis else 1 for k in range(y.ndim)])
    return height * diff(wide, 1, axis)
