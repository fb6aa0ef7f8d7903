"""Images in another size, and what is computed from a channel's neighbours: `interpolate`, power-average
pooling, normalisation across channels, shuffled channels.

A tensor `[N, C, …]` in, a tensor with other sizes of the last axes out. Resampling is one axis after the
other: the nearest element is a `take`, everything else a product with a small matrix of weights, `[out, in]`,
so adjoints and machine code are those of products. A new mode is an entry of `_WEIGHTS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored, warn
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.eager.replay import name_history
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import FUNCTIONAL, functional, integer, public, unshared
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.tensor import Tensor, new

# ---- where an output element lies in the input -------------------------------------------------------------


def _scale(size: int, out: int, align: bool, given: float | None) -> float:
    """Input elements for each step of the output."""
    if align:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / given if given else size / out


def _nearest(size: int, out: int, given: float | None, exact: bool) -> Array:
    step = np.float32(_scale(size, out, False, given))
    place = (np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0.0)) * step
    return np.minimum(np.floor(place), size - 1).astype(np.int64)


def _centres(size: int, out: int, align: bool, given: float | None, clip: bool) -> Array:
    step, k = _scale(size, out, align, given), np.arange(out, dtype=np.float64)
    place = k * step if align else (k + 0.5) * step - 0.5
    return np.maximum(place, 0.0) if clip and not align else place


def _weighted(size: int, out: int, first: Array, taps: Sequence[Array]) -> Array:
    """The matrix with these weights at the places from `first` on; beyond an end, at the end."""
    found = np.zeros((out, size))
    for offset, weight in enumerate(taps):
        np.add.at(found, (np.arange(out), np.clip(first + offset, 0, size - 1)), weight)
    return found


def _linear(size: int, out: int, align: bool, given: float | None) -> Array:
    place = _centres(size, out, align, given, clip=True)
    first = np.minimum(np.floor(place), size - 1).astype(np.int64)
    share = place - first
    return _weighted(size, out, first, [1 - share, share])


def _cubic(size: int, out: int, align: bool, given: float | None) -> Array:
    """Cubic convolution with a = -0.75 (Keys, 1981)."""
    place = _centres(size, out, align, given, clip=False)
    first = np.floor(place).astype(np.int64)
    a, t = -0.75, place - first

    def near(x: Array) -> Array:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Array) -> Array:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return _weighted(size, out, first - 1, [far(t + 1), near(t), near(1 - t), far(2 - t)])


def _area(size: int, out: int, align: bool, given: float | None) -> Array:
    """The mean of the elements that an output element covers, as `adaptive_avg_pool` divides them."""
    found = np.zeros((out, size))
    for k in range(out):
        low, high = k * size // out, -(-(k + 1) * size // out)
        found[k, low:high] = 1 / (high - low)
    return found


_WEIGHTS: dict[str, tuple[Callable[..., Array], tuple[int, ...]]] = {
    "linear": (_linear, (1,)),
    "bilinear": (_linear, (2,)),
    "trilinear": (_linear, (3,)),
    "bicubic": (_cubic, (2,)),
    "area": (_area, (1, 2, 3)),
}
"""The weights of a mode, and for how many axes it is."""


def _along(x: Tensor, axis: int, weights: Array) -> Tensor:
    """The product with the weights along an axis."""
    last = x.ndim - 1
    order = [*(k for k in range(x.ndim) if k != axis), axis]
    matrix = new(np.ascontiguousarray(weights.T).astype(x.dtype.numpy), x)
    moved = matmul(moves.permute(x, order) if axis != last else x, matrix)
    return moves.permute(moved, [order.index(k) for k in range(x.ndim)]) if axis != last else moved


# ---- interpolate -------------------------------------------------------------------------------------------


@functional("interpolate", replay=True)
def interpolate(
    input: Tensor, size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """`[N, C, …]` with the last axes in another size, by the nearest element or by weights."""
    rank = input.ndim - 2
    nearest = mode in ("nearest", "nearest-exact")
    if align_corners is not None and (nearest or mode == "area"):
        raise ArgumentError(
            mirrored(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | "
                "bicubic | trilinear"
            )
        )
    if antialias:
        raise ArgumentError("interpolate(antialias=True)", "images are not smoothed before they shrink")
    if (not nearest and (mode not in _WEIGHTS or rank not in _WEIGHTS[mode][1])) or rank not in (1, 2, 3):
        raise ArgumentError(f"interpolate(mode={mode!r}) of a tensor of shape {list(input.shape)}", _MODES)
    sizes, scales = _sizes(input, size, scale_factor, rank)
    if recompute_scale_factor:
        scales = [None] * rank
    found = input
    for axis, out, scale in zip(range(2, input.ndim), sizes, scales):
        own = input.shape[axis]
        if nearest:
            index = _nearest(own, out, scale, mode == "nearest-exact")
            found = places.take(found, new(index, input), axis)
        elif out != own or scale not in (None, 1.0):
            found = _along(found, axis, _WEIGHTS[mode][0](own, out, bool(align_corners), scale))
    return unshared(found, input)


_MODES = (
    "nearest, nearest-exact and area are for 3-D, 4-D and 5-D input, linear for 3-D, bilinear and bicubic "
    "for 4-D, trilinear for 5-D"
)


def _sizes(input: Tensor, size: Any, scale_factor: Any, rank: int) -> tuple[list[int], list[float | None]]:
    if size is not None and scale_factor is not None:
        raise ArgumentError(mirrored("only one of size or scale_factor should be defined"))
    given = size if size is not None else scale_factor
    if given is None:
        raise ArgumentError(mirrored("either size or scale_factor should be defined"))
    each = list(given) if isinstance(given, Sequence) else [given] * rank
    if len(each) != rank:
        raise ShapeError(
            f"interpolate of a tensor of shape {list(input.shape)}",
            f"the {rank} axes in space need as many sizes, not {len(each)}",
        )
    if size is not None:
        return [integer(n, "interpolate", "size") for n in each], [None] * rank
    return [math.floor(n * f) for n, f in zip(input.shape[2:], each)], [float(f) for f in each]


def _old(name: str) -> None:
    warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.")


@functional("upsample")
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """`interpolate` by its older name."""
    _old("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@functional("upsample_nearest")
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` by the nearest element."""
    _old("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


@functional("upsample_bilinear")
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` by weights, corners on corners."""
    _old("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)


# ---- neighbours --------------------------------------------------------------------------------------------


def _power_pool(rank: int) -> None:
    name = f"lp_pool{rank}d"

    @functional(name, replay=True)
    def pool(
        input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        count = kernel_size**rank if isinstance(kernel_size, int) else math.prod(kernel_size)
        mean = FUNCTIONAL[f"avg_pool{rank}d"](input**norm_type, kernel_size, stride, 0, ceil_mode)
        total = APPLY["sign"](mean) * APPLY["relu"](APPLY["abs"](mean)) * float(count)
        return total ** (1.0 / norm_type)

    pool.__doc__ = "The `norm_type`-norm of each window."


for _rank in (1, 2, 3):
    _power_pool(_rank)


@functional("local_response_norm", replay=True)
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Each element over a power of its neighbours' squares in `size` channels (Krizhevsky et al., 2012)."""
    if input.ndim < 3:
        raise ArgumentError(
            mirrored(f"Expected 3D or higher dimensionality {'':25}input (got {input.ndim} dimensions)")
        )
    n, c, *rest = input.shape
    squares = moves.reshape(input * input, (n, 1, c, math.prod(rest)))
    padded = FUNCTIONAL["pad"](squares, (0, 0, size // 2, (size - 1) // 2))
    mean = FUNCTIONAL["avg_pool2d"](padded, (size, 1), 1)
    return input / (moves.reshape(mean, tuple(input.shape)) * alpha + k) ** beta


@functional("channel_shuffle", "native_channel_shuffle", top=True, replay=True)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels in groups, dealt out in turn: `[N, g · c, …]`, read by columns of `[g, c]`."""
    n, channels, *rest = input.shape
    if groups < 1 or channels % groups:
        raise ShapeError(
            mirrored(
                "Number of channels must be divisible by groups. "
                f"Got {channels} channels and {groups} groups."
            )
        )
    apart = moves.reshape(input, (n, groups, channels // groups, *rest))
    turned = moves.permute(apart, (0, 2, 1, *range(3, apart.ndim)))
    return unshared(moves.reshape(turned, tuple(input.shape)), input)


@functional("pdist", top=True, replay=True)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distance of each pair of rows, as in `cdist`'s upper triangle."""
    first, second = (new(index, input) for index in np.triu_indices(input.shape[0], 1))
    apart = places.take(input, first, 0) - places.take(input, second, 0)
    found: Tensor = apart.norm(p, -1)
    return found


# ---- copies of views ---------------------------------------------------------------------------------------

_COPIED = (
    "alias", "detach", "diagonal", "expand", "narrow", "permute", "select", "split", "split_with_sizes",
    "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view",
)  # fmt: skip
"""Views that PyTorch also has as copies: `permute_copy`."""


def _own(view: Tensor, input: Tensor) -> Tensor:
    """A copy of a view of the input, called after it."""
    copy: Tensor = view.clone() if view.is_contiguous() else view.contiguous()
    if view.grad_fn:
        name_history(copy, f"{view.grad_fn.name()}_copy", (input,))
    return copy


def _copying(name: str) -> None:
    def copy(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = input[...] if name == "alias" else getattr(input, name)(*args, **kwargs)
        return tuple(_own(x, input) for x in found) if isinstance(found, tuple) else _own(found, input)

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"`{name}`, with memory of its own."
    public(f"{name}_copy", method=name == "narrow")(copy)


for _name in _COPIED:
    _copying(_name)
