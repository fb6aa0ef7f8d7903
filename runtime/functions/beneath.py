"""PyTorch's functions beneath its layers: `native_layer_norm`, `max_pool2d_with_indices`, `convolution`,
`grid_sampler`, `embedding_bag` and their kin, whose arguments all have to be given, and which give more.

Tensors in, tensors out; each hands its arguments to the function of `nn.functional`. They are imported when
somebody asks for one. To add one, write it here, and name it in `retrograd/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops import bags, extremum
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.functions import embedding, layer
from retrograd.runtime.functions.creation import zeros
from retrograd.runtime.functions.public import FUNCTIONAL, functional, public
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.functions.statistics import var_mean
from retrograd.runtime.tensor import Tensor

Three = tuple[Tensor, Tensor, Tensor]

# ---- normalisation -----------------------------------------------------------------------------------------


def _moments(x: Tensor, axes: Sequence[int], eps: float, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The means, and one over the deviations."""
    var, mean = var_mean(x, list(axes), correction=0, keepdim=keepdim)
    return mean, APPLY["rsqrt"](var + eps)


@public("native_layer_norm", replay=True)
def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Three:
    """`layer_norm`, and the mean and one over the deviation of each row."""
    found = layer.layer_norm(input, normalized_shape, weight, bias, eps)
    axes = range(input.ndim - len(normalized_shape), input.ndim)
    return found, *_moments(input.detach(), axes, eps, True)


@public("native_group_norm", replay=True)
def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int,
    eps: float,
) -> Three:  # fmt: skip
    """`group_norm`, and the mean and one over the deviation of each group, `[N, group]`."""
    if input.numel() != N * C * HxW:
        text = f"Expected X.numel() == N * C * HxW to be true, but got {input.numel()} and {N * C * HxW}"
        raise ShapeError("native_group_norm()", text)
    found = layer.group_norm(input, group, weight, bias, eps)
    return found, *_moments(input.reshape(N, group, -1), (2,), eps, False)


@public("native_batch_norm")
def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> Three:  # fmt: skip
    """`batch_norm`, and while training the mean and one over the deviation of each channel."""
    found = layer.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return found, zeros(0, dtype=input.dtype), zeros(0, dtype=input.dtype)
    axes = [k for k in range(input.ndim) if k != 1]
    return found, *_moments(input.detach(), axes, eps, False)


@public("native_dropout", replay="draws")
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """`dropout`, and where it has kept the elements."""
    if train is False or p == 0:
        return input.clone(), rows.logical_or(rows.eq(input, input), True)
    noise = layer.noise_of(input, input.shape, p)
    return input * noise, rows.ne(noise, 0.0)


# ---- windows -----------------------------------------------------------------------------------------------


def _with_indices(rank: int) -> None:
    name = f"max_pool{rank}d"

    @functional(f"{name}_with_indices", top=rank == 1, replay=True)
    def pooled(
        input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        return FUNCTIONAL[name](input, kernel_size, stride, padding, dilation, ceil_mode, True)

    pooled.__doc__ = f"`{name}`, and where each greatest element stands."


for _rank in (1, 2, 3):
    _with_indices(_rank)

max_pool1d_with_indices = FUNCTIONAL["max_pool1d_with_indices"]


@public("convolution", replay=True)
def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor:  # fmt: skip
    """A convolution, or a transposed one, of as many axes as the weight has."""
    rank = weight.ndim - 2
    if not 1 <= rank <= 3:
        raise ShapeError(
            f"convolution by a weight of shape {list(weight.shape)}", "kernels have one axis to three"
        )

    def wide(sizes: Sequence[int]) -> list[int]:
        return list(sizes) * rank if len(sizes) == 1 else list(sizes)

    steps, margins, gaps = wide(stride), wide(padding), wide(dilation)
    if not transposed:
        found: Tensor = FUNCTIONAL[f"conv{rank}d"](input, weight, bias, steps, margins, gaps, groups)
        return found
    more = wide(output_padding)
    found = FUNCTIONAL[f"conv_transpose{rank}d"](input, weight, bias, steps, margins, more, groups, gaps)
    return found


@functional("conv_tbc", top=True, replay=True)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A convolution of sequences `[time, batch, channels]` by a weight `[width, channels, outputs]`."""
    for x, rank, what in ((input, 3, "Input"), (weight, 3, "Weight"), (bias, 1, "Bias")):
        if x.ndim != rank:
            shown = "Bias must be 1-D" if rank == 1 else f"{what} must have 3 dims: " + _AXES[what]
            raise ShapeError(mirrored(shown))
    signal, kernel = moves.permute(input, (1, 2, 0)), moves.permute(weight, (2, 1, 0))
    found = FUNCTIONAL["conv1d"](signal, kernel, bias, padding=pad)
    return moves.permute(found, (2, 0, 1)).contiguous()


_AXES = {"Input": "time, batch, in_channel", "Weight": "kernel_width, in_channels, out_channels."}

# ---- places between pixels ---------------------------------------------------------------------------------

_MODES = ("bilinear", "nearest", "bicubic")
_BORDERS = ("zeros", "border", "reflection")


@public("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sample`, its modes by number."""
    mode, border = _MODES[interpolation_mode], _BORDERS[padding_mode]
    found: Tensor = FUNCTIONAL["grid_sample"](input, grid, mode, border, align_corners)
    return found


grid_sampler_2d = grid_sampler_3d = grid_sampler


@public("affine_grid_generator", replay=True)
def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """`affine_grid`."""
    found: Tensor = FUNCTIONAL["affine_grid"](theta, list(size), align_corners)
    return found


# ---- rows by their number ----------------------------------------------------------------------------------


@public("embedding_renorm_", replay="updates")
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Those of the rows that are named scaled down, in place, whose norm is above `max_norm`."""
    embedding.hold(input, indices, max_norm, norm_type)
    return input


_BAGS = ("sum", "mean", "max")


@public("embedding_bag", replay=True)
def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """`nn.functional.embedding_bag`, its mode by number, and for the modes "mean" and "max" which bag each
    index is in, how many indices each bag has, and of "max" which index each element comes from."""
    if mode not in (0, 1, 2):
        raise ArgumentError(f"embedding_bag(mode={mode})", "the modes are 0 (sum), 1 (mean) and 2 (max)")
    found = embedding.embedding_bag(
        indices, weight, offsets, scale_grad_by_freq=scale_grad_by_freq, mode=_BAGS[mode], sparse=sparse,
        per_sample_weights=per_sample_weights, include_last_offset=include_last_offset,
        padding_idx=padding_idx,
    )  # fmt: skip
    count = found.shape[0]
    starts = embedding.starts_of(indices, offsets, include_last_offset)
    bag = bags.bag_of_each(indices, starts)
    if mode == 0:  # PyTorch works out the bags where it has no quick way
        none = zeros(count, dtype=indices.dtype)
        asked = padding_idx is not None or weight.dtype is dtypes.float64
        return found, bag if asked else zeros(0, dtype=indices.dtype), none, none.clone()
    kept = rows.ge(bag, 0) if padding_idx is None else rows.ne(indices, padding_idx % weight.shape[0])
    member = rows.logical_and(
        rows.eq(moves.unsqueeze(bag, [0]), moves.unsqueeze(_counting(count, indices), [1])),
        moves.unsqueeze(kept, [0]),
    )
    sizes = moves.cast(member, indices.dtype).sum(1)
    if mode == 1:
        return found, bag, sizes, sizes.clone()
    values = moves.unsqueeze(weight.detach()[indices], [0])
    inside = rows.where(moves.unsqueeze(member, [2]), values, float("-inf"))
    source = indices[extremum.argmax(inside, 1)]
    empty = moves.unsqueeze(rows.eq(sizes, 0), [1])
    return found, bag, sizes, rows.where(empty, 0, moves.cast(source, indices.dtype))


def _counting(count: int, like: Tensor) -> Tensor:
    return iota_like(like.new_zeros(count), 0)


# ---- a classifier's last layer -----------------------------------------------------------------------------


@functional("linear_cross_entropy")
def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
    weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: object = None,
) -> Tensor:  # fmt: skip
    """`cross_entropy` of `linear(input, linear_weight)`; the weight is `[classes, …, features]`.
    `options` (`LinearCrossEntropyOptions`) change nothing: the batch is one chunk.
    """
    shape, features = tuple(linear_weight.shape[:-1]), linear_weight.shape[-1]
    flat = moves.reshape(linear_weight, (prod(shape), features))
    bias = None if linear_bias is None else moves.reshape(linear_bias, (prod(shape),))
    logits = moves.reshape(layer.linear(input, flat, bias), (*input.shape[:-1], *shape))
    left_out = {} if ignore_index is None else {"ignore_index": ignore_index}
    found: Tensor = FUNCTIONAL["cross_entropy"](
        logits, target, weight, reduction=reduction, label_smoothing=label_smoothing, **left_out
    )
    return found
