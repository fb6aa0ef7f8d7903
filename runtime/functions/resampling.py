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

from retrograd.compiler import dtypes
from retrograd.compiler.errors import (
    ArgumentError,
    DtypeError,
    NotWrittenError,
    ShapeError,
    mirrored,
    warn,
)
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops import index as places
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops import spans
from retrograd.compiler.ops.pairs import pair_distances, pairs
from retrograd.runtime import grad_functions
from retrograd.runtime.eager.copying import ordered
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import FUNCTIONAL, functional, public, unshared
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.functions.telling import wrong
from retrograd.runtime.names import bare_legacy_name
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


_WEIGHTS: dict[str, Callable[..., Array]] = {
    "linear": _linear, "bilinear": _linear, "trilinear": _linear, "bicubic": _cubic, "area": _area,
}  # fmt: skip
"""The weights of a mode."""


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
    given = _given(input, size, scale_factor, rank)
    _check_mode(mode, input)
    _check_operator(mode, input, size is not None, given, align_corners)
    scales: list[float | None] = [None] * rank if size is not None else [float(f) for f in given]
    sizes = given if size is not None else [math.floor(n * f) for n, f in zip(input.shape[2:], given)]
    _check_sizes(input, sizes)
    if recompute_scale_factor or mode == "area":
        scales = [None] * rank
    found = input
    for axis, out, scale in zip(range(2, input.ndim), sizes, scales):
        own = input.shape[axis]
        if not nearest and (out != own or scale not in (None, 1.0)):
            found = _along(found, axis, _WEIGHTS[mode](own, out, bool(align_corners), scale))
    if nearest:
        found = _picked(found, sizes, scales, mode == "nearest-exact")
    return unshared(found, input)


def _picked(x: Tensor, sizes: Sequence[int], scales: Sequence[float | None], exact: bool) -> Tensor:
    """The nearest elements; along the last axis first, so that along the others whole lines are copied."""
    for axis, out, scale in reversed([*zip(range(2, x.ndim), sizes, scales)]):
        index = _nearest(x.shape[axis], out, scale, exact)
        x = spans.span_sums(x, axis, index, index + 1)
    return x


def _given(input: Tensor, size: Any, scale_factor: Any, rank: int) -> Sequence[Any]:
    """The sizes, or the factors, of the axes in space."""
    if size is not None and scale_factor is not None:
        raise ArgumentError(mirrored("only one of size or scale_factor should be defined"))
    given = size if size is not None else scale_factor
    if given is None:
        raise ArgumentError(mirrored("either size or scale_factor should be defined"))
    if not isinstance(given, list | tuple):
        return [given] * rank
    space = list(input.shape[2:])
    if len(given) != rank:
        told = (
            f"Input and output must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {space} and output size of {given}. Please provide input tensor in (N, C, d1, "
            "d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
            if size is not None
            else "Input and scale_factor must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {space} and scale_factor of shape {given}. Please provide input tensor "
            "in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
        )
        raise ShapeError(mirrored(told))
    if size is not None and not all(isinstance(x, int) for x in given):
        raise ArgumentError(
            mirrored(
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], "
                f"but got size with types {[type(x) for x in given]}"
            )
        )
    return given


_RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
"""For how many axes a mode of weights is; the others are for one to three."""


def _check_mode(mode: Any, input: Tensor) -> None:
    known = isinstance(mode, str) and mode in (*_WEIGHTS, "nearest", "nearest-exact")
    rank = input.ndim - 2
    if known and rank in (1, 2, 3) and _RANKS.get(mode, rank) == rank:
        return
    if known and rank in (1, 2, 3) and mode != "bicubic":
        needed = _RANKS[mode] + 2
        raise NotWrittenError(mirrored(f"Got {input.ndim}D input, but {mode} mode needs {needed}D input"))
    raise NotWrittenError(
        mirrored(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: "
            "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact "
            f"(got {mode})"
        )
    )


def _check_operator(mode: str, input: Tensor, sized: bool, given: Any, align_corners: Any) -> None:
    """What the operator of PyTorch's for this mode says of these arguments, and its kernel of the dtype."""
    rank, kind = input.ndim - 2, input.dtype
    if mode != "area":
        corners = [] if mode.startswith("nearest") else [False if align_corners is None else align_corners]
        name = "_upsample_nearest_exact" if mode == "nearest-exact" else f"upsample_{mode}"
        chosen = (given, *corners, None) if sized else (None, *corners, given)
        error = wrong(f"_nn.{name}{rank}d", (input, *chosen), {})
        if error is not None:
            raise error
    whole = not kind.is_floating_point and not (kind is dtypes.uint8 and mode in _OF_BYTES)
    if whole:
        kernel = _KERNELS.get((mode, rank)) or _KERNELS[mode, 0]
        raise DtypeError(mirrored(f"\"{kernel}\" not implemented for '{bare_legacy_name(kind)}'"))


_OF_BYTES = {"nearest", "nearest-exact", "bilinear", "bicubic"}
_KERNELS = {
    ("nearest", 0): "compute_indices_weights_nearest", ("nearest", 2): "upsample_nearest2d_channels_last",
    ("nearest-exact", 0): "compute_indices_weights_nearest",
    ("nearest-exact", 2): "upsample_nearest2d_channels_last",
    ("linear", 1): "compute_indices_weights_linear", ("bilinear", 2): "upsample_bilinear2d_channels_last",
    ("trilinear", 3): "compute_indices_weights_linear", ("bicubic", 2): "compute_indices_weights_cubic",
    ("area", 0): "adaptive_avg_pool2d", ("area", 3): "adaptive_avg_pool3d_cpu",
}  # fmt: skip
"""The kernels of PyTorch's that have no whole numbers, by the mode and the number of axes; 0 stands for any
other."""


def _check_sizes(input: Tensor, sizes: Sequence[int]) -> None:
    if min(*input.shape[2:], *sizes) > 0:
        return
    letters = "DHW"[-len(sizes) :]
    told = (", ".join(f"{a}: {n}" for a, n in zip(letters, each)) for each in (input.shape[2:], sizes))
    raise ShapeError(
        mirrored(
            "Input and output sizes should be greater than 0, but got input ({}) output ({})".format(*told)
        )
    )


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
    if p == 2 and input.ndim == 2:
        found: Tensor = pair_distances(input)
        return found
    first, second = (new(index, input) for index in pairs(input.shape[0]))
    apart = places.take(input, first, 0) - places.take(input, second, 0)
    found = apart.norm(p, -1)
    return found


# ---- copies of views ---------------------------------------------------------------------------------------

_COPIED = (
    "alias", "detach", "diagonal", "expand", "narrow", "permute", "select", "split", "split_with_sizes",
    "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view",
)  # fmt: skip
"""Views that PyTorch also has as copies: `permute_copy`."""


def _copying(name: str) -> None:
    def copy(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = input[...] if name == "alias" else getattr(input, name)(*args, **kwargs)
        return tuple(map(ordered, found)) if isinstance(found, tuple) else ordered(found)

    def shown(*args: Any, **kwargs: Any) -> str:
        own = grad_functions.FUNCTIONS.get(name, f"{name.capitalize()}Backward0")
        return f"{grad_functions.name_of(own, args, kwargs)}_copy"

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"`{name}`, with memory of its own."
    public(f"{name}_copy", method=name == "narrow", replay=True, shown=shown)(copy)


for _name in _COPIED:
    _copying(_name)
