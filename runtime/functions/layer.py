"""Layers without state, as `nn.functional` has them: linear, dropout, normalisations, attention.

Inputs, weights and options in, a tensor out. What has statistics of its own (`batch_norm`) updates those it
is given, in place. Convolution and pooling are in `windowing`, embeddings in `embedding`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, wraps
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import float32
from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ops import channels as per_channel
from retrograd.compiler.ops import matrix, normal, softmax
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops import statistics as moments
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.functions.einsum import einsum
from retrograd.runtime.functions.gathering import as_index
from retrograd.runtime.functions.inspecting import _finfo
from retrograd.runtime.functions.linear import matmul
from retrograd.runtime.functions.public import FUNCTIONAL, axis_of, functional, public
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.functions.sampling import drawn, drawn_beside
from retrograd.runtime.functions.statistics import norm
from retrograd.runtime.functions.updating import write_out
from retrograd.runtime.modes import no_grad
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.random import laws
from retrograd.runtime.tensor import Tensor, new


@functional("linear", replay=True)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input · weightᵀ + bias`: `[…, k]`, `[n, k]` and `[n]` to `[…, n]`."""
    if bias is not None and not input.dtype is weight.dtype is bias.dtype:
        left = ("self", bias) if bias.dtype is not weight.dtype else ("mat1", input)
        raise DtypeError(
            mirrored(
                f"{left[0]} and mat2 must have the same dtype, but got {bare_legacy_name(left[1].dtype)} and "
                f"{bare_legacy_name(weight.dtype)}"
            ),
            "",
            "cast one of them with .to(dtype)",
        )
    if input.dtype is not weight.dtype or weight.ndim == 1 or not input.dtype.is_floating_point:
        product = matmul(input, moves.swap_axes(weight, 0, 1) if weight.ndim > 1 else weight)
        return product if bias is None else product + bias
    return matrix.linear(input, weight, bias)


@functional("bilinear", top=True, replay="values")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input1ᵀ · weight[o] · input2 + bias[o]` for each output `o`: `[…, i]`, `[…, j]` and `[o, i, j]` to
    `[…, o]`.
    """
    product = einsum("...i,oij,...j->...o", input1, weight, input2)
    return product if bias is None else product + bias


@functional("one_hot", replay=True)
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each index, 0 elsewhere along a new last axis; without `num_classes`, as long as the greatest
    index asks.

    Raises ShapeError, outside traces, for an index that is negative or too great.
    """
    index = as_index(tensor, "one_hot")
    if num_classes <= 0 and not index.numel():
        raise ShapeError("one_hot()", "Can not infer total number of classes from empty tensor.")
    if num_classes == -1:
        greatest = int(index.read("one_hot() without num_classes").max())
        known: Tensor = FUNCTIONAL["one_hot"](tensor, max(greatest + 1, 0))  # which may be planned
        return known
    return matrix.one_hot(index, max(num_classes, 0))


# ---- dropout -----------------------------------------------------------------------------------------------


def _dropped(
    name: str, input: Tensor, shape: Sequence[int], p: float, training: bool, inplace: bool
) -> Tensor:
    """The input, with noise of this shape: 0 with probability `p`, else 1 / (1 - p)."""
    if not 0 <= p <= 1:
        raise ArgumentError(
            f"{name}(p={p})", mirrored(f"dropout probability has to be between 0 and 1, but got {p}")
        )
    if not training or p == 0 or not input.numel():
        return input
    noise = noise_of(input, shape, p)
    result: Tensor = input.mul_(noise) if inplace else input * noise
    return result


def noise_of(input: Tensor, shape: Sequence[int], p: float) -> Tensor:
    """0 with probability `p`, else 1 / (1 - p)."""
    if p == 1:
        return new(np.zeros((), input.dtype.numpy), input)
    _scalable(input)
    return drawn_beside(input, shape, laws.dropout(p, input.dtype.numpy))


def _scalable(input: Tensor) -> None:
    """Noise is of fractions, and is written where the input is."""
    if not input.dtype.is_floating_point:
        kind = bare_legacy_name(input.dtype)
        raise DtypeError(mirrored(f"result type Float can't be cast to the desired output type {kind}"))


@functional("dropout", replay="draws")
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero with probability `p`, else scaled by `1 / (1 - p)`; while not training, the input."""
    return _dropped("dropout", input, input.shape, p, training, inplace)


def _in_alpha(
    name: str, input: Tensor, shape: Sequence[int], p: float, training: bool, inplace: bool
) -> Tensor:
    """The input with noise that keeps mean and variance under `selu` (Klambauer et al., arXiv 1706.02515)."""
    if not training or p in (0, 1) or not 0 <= p <= 1 or not input.numel():
        return _dropped(name, input, shape, p, training, inplace)
    _scalable(input)
    kind, alpha = input.dtype, 1.7580993408473766
    scale = 1 / math.sqrt((alpha * alpha * p + 1) * (1 - p))
    kept = drawn(shape, laws.bernoulli(1 - p, kind.numpy), like=input)
    result = input * (kept * scale) + ((kept - 1) * (alpha * scale) + alpha * scale * p)
    return assign(input, result) if inplace else result


@functional("alpha_dropout", replay="draws")
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for networks of `selu`: what is dropped becomes its lower limit, and all is scaled after."""
    return _in_alpha("alpha_dropout", input, input.shape, p, training, inplace)


def _channels(name: str, input: Tensor) -> tuple[int, ...]:
    if input.ndim < 2:
        raise ShapeError(
            f"{name} of a tensor of shape {list(input.shape)}",
            mirrored("Feature dropout requires at least 2 dimensions in the input"),
        )
    return (*input.shape[:2], *[1] * (input.ndim - 2))


@functional("feature_alpha_dropout", replay="draws")
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of `[N, C, …]`."""
    shape = _channels("feature_alpha_dropout", input)
    return _in_alpha("feature_alpha_dropout", input, shape, p, training, inplace)


@public("feature_dropout", replay="draws")
def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`dropout` of whole channels of `[N, C, …]`."""
    return _dropped("feature_dropout", input, _channels("feature_dropout", input), p, train, False)


@public("feature_dropout_", replay="draws")
def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`feature_dropout`, in place."""
    return _dropped("feature_dropout", input, _channels("feature_dropout", input), p, train, True)


def _at_top(name: str, function: Callable[..., Tensor]) -> None:
    """`torch.dropout(input, p, train)` and `torch.dropout_`, which works in place."""

    @public(name, replay="draws")
    def out_of_place(input: Tensor, p: float, train: bool) -> Tensor:
        return function(input, p, train)

    @public(f"{name}_", replay="draws")
    def in_place(input: Tensor, p: float, train: bool) -> Tensor:
        return function(input, p, train, True)

    out_of_place.__doc__ = function.__doc__
    in_place.__doc__ = f"`{name}`, in place."


_at_top("dropout", dropout)
_at_top("alpha_dropout", alpha_dropout)
_at_top("feature_alpha_dropout", feature_alpha_dropout)


def _warn_of_axes(ndim: int) -> None:
    """PyTorch takes three axes for those of a batch of signals."""
    warn(
        "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is "
        "desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will "
        "change in a future release to interpret the input as one without a batch dimension, i.e. shape "
        "(C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using dropout1d "
        "instead."
        if ndim == 3
        else f"dropout2d: Received a {ndim}-D input to dropout2d, which is deprecated and will result in an "
        "error in a future release. To retain the behavior and silence this warning, please use dropout "
        "instead. Note that dropout2d exists to provide channel-wise dropout on inputs with 2 spatial "
        "dimensions, a channel dimension, and an optional batch dimension (i.e. 3D or 4D inputs)."
    )


def _feature_dropout(rank: int) -> None:
    name = f"dropout{rank}d"

    @functional(name, replay="draws")
    def drop(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if rank == 2 and input.ndim != 4:
            _warn_of_axes(input.ndim)
        batched = rank == 2 or input.ndim == rank + 2
        x = input if batched else moves.unsqueeze(input, [0])
        noise = _channels(name, x) if training and p else ()
        return moves.reshape(_dropped(name, x, noise, p, training, inplace), input.shape)

    drop.__doc__ = "`dropout` of whole channels, `[N, C, …]` or, but for `dropout2d`, `[C, …]`."


for _rank in (1, 2, 3):
    _feature_dropout(_rank)


# ---- normalisation -----------------------------------------------------------------------------------------


def _of_mixed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, also of an input in half precision and parameters in float32: computed in that."""

    @wraps(function)
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        given = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        if not input.dtype.is_half or all(x.dtype is not float32 for x in given):
            return function(input, *args, **kwargs)
        return moves.cast(function(moves.cast(input, float32), *args, **kwargs), input.dtype)

    return call


def _check_trailing(name: str, input: Tensor, normalized_shape: Sequence[int]) -> int:
    wanted = list(normalized_shape)
    if not wanted or list(input.shape[-len(wanted) :]) != wanted:
        raise ShapeError(
            f"{name} of a tensor of shape {list(input.shape)}",
            mirrored(
                f"Given normalized_shape={wanted}, expected input with shape [*, "
                f"{', '.join(map(str, wanted))}], "
                "but got "
                f"input of size{list(input.shape)}"
            ),
        )
    return len(wanted)


@functional("layer_norm", top=True, replay=True)
@_of_mixed
def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Mean 0 and variance 1 over the last axes, then `weight` and `bias` for each of their elements."""
    return normal.layer_norm(input, _check_trailing("layer_norm", input, normalized_shape), weight, bias, eps)


@functional("rms_norm", top=True, replay=True)
@_of_mixed
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divided by the root of the mean of squares over the last axes."""
    small = _finfo(float32 if input.dtype.is_half else input.dtype).eps if eps is None else eps
    dims = _check_trailing("rms_norm", input, normalized_shape)
    if weight is None or weight.dtype is input.dtype:
        return normal.rms_norm(input, dims, weight, small)
    wide = moves.cast(input, float32) if input.dtype.is_half else input
    scaled = normal.rms_norm(wide, dims, None, small) * weight  # promoted, and then as the input is
    return moves.cast(scaled, input.dtype)


@functional("group_norm", top=True, replay=True)
@_of_mixed
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over each group of channels (axis 1), then `weight` and `bias` for each
    channel.
    """
    if input.ndim < 2:
        raise ShapeError(
            f"group_norm of a tensor of shape {list(input.shape)}",
            mirrored(f"Expected at least 2 dimensions for input tensor but received {input.ndim}"),
        )
    channels = input.shape[0] * input.shape[1]
    _check_several([channels // num_groups if num_groups else channels, num_groups, *input.shape[2:]])
    return normal.group_norm(input, num_groups, weight, bias, eps)


def _check_several(sizes: Sequence[int]) -> None:
    """Raise where each channel, along axis 1, has one value, so that its variance says nothing."""
    if prod((sizes[0], *sizes[2:])) == 1:
        raise ArgumentError(
            mirrored(f"Expected more than 1 value per channel when training, got input size {sizes}")
        )


@functional("batch_norm", replay="results and updates")
@_of_mixed
def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Mean 0 and variance 1 for each channel (axis 1): of this batch while training, else the running ones.

    Training moves `running_mean` and `running_var`, in place, by `momentum` towards those of the batch.
    """
    axis_of(1, input.ndim, "batch_norm")
    if training:
        _check_several(input.shape)
        if running_mean is not None and running_mean.numel() != input.shape[1]:
            raise ShapeError(
                mirrored(f"running_mean should contain {input.shape[1]} elements not {running_mean.numel()}")
            )
        _follow(running_mean, running_var, input, momentum)
        return _standardised(input, weight, bias, eps)
    if running_mean is None or running_var is None:
        raise ArgumentError(
            "batch_norm()", "Expected running_mean and running_var to be defined when training=False"
        )
    if running_mean.numel() != input.shape[1]:
        raise ShapeError(
            mirrored(f"running_mean should contain {input.shape[1]} elements not {running_mean.numel()}")
        )
    return _by_running(input, running_mean, running_var, weight, bias, eps)


@replayed
def _by_running(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Each channel less its running mean, over its running deviation."""
    scale = APPLY["rsqrt"](var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return per_channel.scale_shift(input, scale, shift)


def _follow(mean: Tensor | None, var: Tensor | None, input: Tensor, momentum: Tensor | float) -> None:
    with no_grad():
        _move_all(mean, var, input, momentum)


@partial(replayed, planner="updates")
def _move_all(mean: Tensor | None, var: Tensor | None, input: Tensor, momentum: Tensor | float) -> None:
    """The running statistics of each channel move towards those of this batch."""
    for running, statistic in ((mean, "mean"), (var, "var")):
        if running is not None:
            assign(running, normal.moved(running, input, momentum, statistic))


_standardised = replayed(normal.batch_norm)


@public("batch_norm")
def _batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """`nn.functional.batch_norm` with the arguments in another order."""
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@functional("instance_norm", top=True, replay="results and updates")
@_of_mixed
def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Mean 0 and variance 1 for each channel of each element of the batch, or the running ones."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if prod(input.shape[2:]) == 1:
        raise ArgumentError(
            mirrored(f"Expected more than 1 spatial element when training, got input size {input.shape}")
        )
    axes = list(range(2, input.ndim))
    with no_grad():
        for running, statistic in ((running_mean, moments.mean), (running_var, moments.var)):
            if running is not None:
                now = moments.mean(statistic(input, axes), [0])
                assign(running, running * (1 - momentum) + now * momentum)
    return normal.group_norm(input, input.shape[1], weight, bias, eps)


@functional("normalize", replay=True)
def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """Divided by the p-norm along `dim`, or by `eps` where that is less."""
    result: Tensor = input / APPLY["clamp_min"](norm(input, p, dim, True), eps)
    return result if out is None else write_out(out, result)


# ---- attention ---------------------------------------------------------------------------------------------


@functional("scaled_dot_product_attention", replay=True)
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """`softmax(query · keyᵀ · scale) · value`, the scale being `1 / sqrt(k)` unless given.

    `[…, m, k]`, `[…, n, k]` and `[…, n, v]` to `[…, m, v]`. A bool mask says which pairs take part, a
    floating one is added.
    """
    if attn_mask is not None and is_causal:
        raise ShapeError(
            mirrored(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )
        )
    for x in (key, value):
        if x.dtype is not query.dtype:
            raise DtypeError(
                f"scaled_dot_product_attention of {query.dtype}, {key.dtype} and {value.dtype}",
                "Expected query, key, and value to have the same dtype",
            )
    batch = broadcast_shapes("scaled_dot_product_attention", *(x.shape[:-2] for x in (query, key, value)))
    q, k, v = (moves.expand(x, (*batch, *x.shape[-2:])) for x in (query, key, value))
    weights = softmax.attention_weights(q, k, attn_mask, is_causal, scale)
    return dot(_dropped("dropout", weights, weights.shape, dropout_p, True, False), v)
