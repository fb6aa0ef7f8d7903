"""What PyTorch asks of the operands of layers, as `conditions.py` has it: a row for each function of
`nn.functional`, under the name that it was entered by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, RetrogradError, ShapeError, mirrored
from retrograd.runtime.functions.conditions import (
    EXPECTED,
    Condition,
    each,
    rank,
    same,
    stored_as,
)
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor


def _bounded(min_val: float = -1.0, max_val: float = 1.0, **_: Any) -> RetrogradError | None:
    if min_val > max_val:
        return ArgumentError(mirrored("min_val cannot be greater than max_val"))
    return None


def _rising(lower: Any = 1 / 8, upper: Any = 1 / 3, **given: Any) -> RetrogradError | None:
    """Bounds in order."""
    numbers = isinstance(lower, int | float) and isinstance(upper, int | float)
    if not numbers or lower <= upper:
        return None
    return ArgumentError(mirrored("Lower bound should be less than or equal to the upper bound"))


def _triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, **_: Any
) -> RetrogradError | None:
    if margin <= 0:
        return ArgumentError(mirrored(f"margin must be greater than 0, got {margin}"))
    ranks = anchor.ndim, positive.ndim, negative.ndim
    if len({*ranks}) > 1:
        words = (
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
            "but got: anchor {}D, positive {}D, and negative {}D inputs"
        )
        return ShapeError(mirrored(words.format(*ranks)))
    return None


def _cosine(input1: Tensor, input2: Tensor, target: Tensor, **_: Any) -> RetrogradError | None:
    if target.ndim > 1:
        return ShapeError(mirrored("0D or 1D target tensor expected, multi-target not supported"))
    wanted = target.ndim + 1
    if (input1.ndim, input2.ndim) != (wanted, wanted):
        return ShapeError(
            mirrored(
                f"{target.ndim}D target tensor expects {wanted}D input tensors, but found inputs with sizes "
                f"{list(input1.shape)} and {list(input2.shape)}."
            )
        )
    return None


def _convolved(rank: int) -> Condition:
    def condition(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, padding: Any = 0, **_: Any
    ) -> RetrogradError | None:
        if bias is not None and bias.dtype is not input.dtype:
            kinds = C_NAMES[input.dtype], C_NAMES[bias.dtype]
            words = "Input type ({}) and bias type ({}) should be the same".format(*kinds)
            return DtypeError(mirrored(words))
        if isinstance(padding, str):
            return same("input", "weight", EXPECTED)(input=input, weight=weight)
        if weight.ndim < 3 and input.ndim in (rank + 1, rank + 2):
            return ShapeError(mirrored("weight should have at least three dimensions"))
        return None

    return condition


def _steps(
    weight: Any = None, padding: Any = 0, output_padding: Any = 0, stride: Any = 1, dilation: Any = 1,
    **_: Any,
) -> RetrogradError | None:  # fmt: skip
    """How a convolution goes through its input: never backwards, and never staying; what a transposed one
    adds behind its output is less than a step."""
    options = (output_padding, 0), (stride, 1), (dilation, 1)
    plane = [_in_a_plane(given, usual, weight) for given, usual in options]
    for given, least, words in (
        (padding, 0, "negative padding is not supported"),
        (output_padding, 0, "negative output_padding is not supported"),
        (stride, 1, "non-positive stride is not supported"),
        (dilation, 1, f"dilation should be greater than zero, but got {plane[2]}"),
    ):
        if any(isinstance(n, int) and n < least for n in _each(given)):
            return ShapeError(mirrored(words))
    if any(isinstance(more, int) and more >= step and more >= gap for more, step, gap in zip(*plane)):
        axes = ("depth", "height", "width")[-len(plane[0]) :]
        shown = " ".join(
            f"{what}_{axis}: {n}"
            for what, sizes in zip(("output_padding", "stride", "dilation"), plane)
            for axis, n in zip(axes, sizes)
        )
        words = "output padding must be smaller than either stride or dilation, but got"
        return ShapeError(mirrored(f"{words} {shown}"))
    return None


def _in_a_plane(given: Any, usual: int, weight: Any) -> list[Any]:
    """A number for each axis of an image, as PyTorch has them: of a line, in a plane of height 1."""
    rank = weight.ndim - 2 if isinstance(weight, Tensor) else 2
    sizes = [*_each(given)] * (rank if len(_each(given)) == 1 else 1)
    return [usual, *sizes] if rank == 1 else sizes


def _each(given: Any) -> Sequence[Any]:
    return given if isinstance(given, tuple | list) else (given,)


def _windows(rank: int) -> Condition:
    """Windows of a pool have elements, which lie apart, and go on."""
    axes = "THW"[-rank:]

    def condition(kernel_size: Any, stride: Any = None, dilation: Any = 1, **_: Any) -> RetrogradError | None:
        steps = kernel_size if stride is None or stride == [] else stride
        if 0 in _each(steps):
            return ShapeError(mirrored("stride should not be zero"))
        for what, given, sign in (
            ("kernel size", kernel_size, "k"), ("stride", steps, "d"), ("dilation", dilation, "dilation")
        ):  # fmt: skip
            sizes = [*_each(given)] * (rank if len(_each(given)) == 1 else 1)
            if any(isinstance(n, int) and n < 1 for n in sizes):
                shown = " ".join(f"{sign}{axis}: {n}" for axis, n in zip(axes, sizes))
                return ShapeError(mirrored(f"{what} should be greater than zero, but got {shown}"))
        return None

    return condition


def _lines(kernel_size: Any, stride: Any = None, dilation: Any = 1, **_: Any) -> RetrogradError | None:
    """The same of `max_pool1d`."""
    steps = kernel_size if stride is None or stride == [] else stride
    for what, given in ("kernel_size", kernel_size), ("stride", steps), ("dilation", dilation):
        for n in _each(given):
            if isinstance(n, int) and n < 1:
                return ShapeError(mirrored(f"max_pool1d() {what} must be greater than zero, but got {n}"))
    return None


def _counted(input: Tensor, **given: Any) -> RetrogradError | None:
    """What is known of channels is known of each."""
    channels = input.shape[1] if input.ndim > 1 else 0
    for name in ("running_mean", "running_var", "weight", "bias"):
        x = given.get(name)
        if x is not None and x.numel() != channels:
            return ShapeError(mirrored(f"{name} should contain {channels} elements not {x.numel()}"))
    return None


def _shaped(
    normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, **_: Any
) -> RetrogradError | None:
    """A weight and a bias of the shape over which a layer is normalised."""
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and [*x.shape] != [*normalized_shape]:
            words = f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
            return ShapeError(
                mirrored(f"{words}{list(x.shape)} and normalized_shape = {list(normalized_shape)}")
            )
    return None


def _split_in_groups(input: Tensor, num_groups: Any, **_: Any) -> RetrogradError | None:
    """As many channels in one group as in another."""
    if not isinstance(num_groups, int) or num_groups <= 0 or input.ndim < 2:
        return None
    if input.shape[1] % num_groups == 0:
        return None
    words = "Expected number of channels in input to be divisible by num_groups, but got input of shape"
    return ShapeError(mirrored(f"{words} {list(input.shape)} and num_groups={num_groups}"))


def _grouped(
    input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, **_: Any
) -> RetrogradError | None:
    """A vector of weights and of biases, one for each channel."""
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and input.ndim > 1 and [*x.shape] != [input.shape[1]]:
            words = f"Expected {name} to be a vector of size equal to the number of channels in input, but"
            return ShapeError(
                mirrored(
                    f"{words} got {name} of shape {list(x.shape)} and input of shape {list(input.shape)}"
                )
            )
    return None


def _over_classes(name: str) -> Condition:
    """Shares of whole numbers have no kernel, unless another dtype is asked for."""

    def ask(input: Any, dim: Any = None, dtype: object = None, **_: Any) -> RetrogradError | None:
        if not isinstance(input, Tensor) or input.dtype.is_floating_point or dtype is not None:
            return None
        last = "lastdim_" if not input.ndim or dim in (-1, input.ndim - 1) else ""
        words = f"\"{name}_{last}kernel_impl\" not implemented for '{bare_legacy_name(input.dtype)}'"
        return DtypeError(mirrored(words), advice="cast the tensor with .to(dtype)")

    return ask


def _attended(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> RetrogradError | None:
    given = {"query": query, "key": key, "value": value}
    lead = "Expected query, key, and value to"
    if len({x.dtype for x in given.values()}) > 1:
        told = [f"{name}.dtype: {C_NAMES[x.dtype]}" for name, x in given.items()]
        return DtypeError(
            mirrored(f"{lead} have the same dtype, but got {told[0]} {told[1]} and {told[2]} instead.")
        )
    if min(x.ndim for x in given.values()) < 2:
        told = [f"{name}.dim: {x.ndim}" for name, x in given.items()]
        return ShapeError(
            mirrored(
                f"{lead} all be  at least 2 dimensional, but got {told[0]} {told[1]} and {told[2]} instead."
            )
        )
    return None


def of_channels(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, **_: Any,
) -> RetrogradError | None:  # fmt: skip
    """What is known of each channel is a vector, and of the input's dtype; or of float32 beside halves."""
    given = [x for x in (weight, bias, running_mean, running_var) if x is not None]
    if not given:
        return None
    if given[0].dtype is not input.dtype:
        if any(x.dtype is not dtypes.float32 for x in given):
            return DtypeError(mirrored("mixed dtype (CPU): expect parameter to have scalar type of Float"))
        if input.dtype not in (dtypes.float16, dtypes.bfloat16):
            return DtypeError(mirrored("mixed dtype (CPU): all inputs must share same datatype."))
        return None
    for x in given:
        if x.dtype is not input.dtype:
            kinds = bare_legacy_name(input.dtype), bare_legacy_name(x.dtype)
            return DtypeError(mirrored(EXPECTED.format(*kinds)))
    for running in (running_mean, running_var):
        if running is not None and running.ndim != 1:
            words = f"TensorAccessor expected 1 dims but tensor has {running.ndim}"
            return ShapeError(mirrored(words))
    return None


def _shuffled(input: Tensor, **_: Any) -> RetrogradError | None:
    if input.ndim > 2:
        return None
    words = f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
    return ShapeError(mirrored(words))


def _paired(input1: Tensor, input2: Tensor, **_: Any) -> RetrogradError | None:
    for k, (one, other) in enumerate(zip(input1.shape[:-1], input2.shape[:-1])):
        if one != other:
            words = f"input batch dimensions do not match at dim {k}: got {one} and {other}"
            return ShapeError(mirrored(f"bilinear(): {words}"))
    return None


LAYERS: dict[str, Condition] = {
    "prelu": each(
        rank("weight", (0, 1), "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {}"),
        same("input", "weight", "prelu: Type promoting not supported. Got {} and {}"),
    ),
    **{f"conv{rank}d": each(_convolved(rank), _steps) for rank in (1, 2, 3)},
    **{f"conv_transpose{k}d": _steps for k in (1, 2, 3)},
    **{f"{name}_pool{k}d": _windows(k) for name in ("max", "avg") for k in (2, 3)},
    "max_pool1d": _lines,
    "avg_pool1d": _windows(1),
    "batch_norm": each(of_channels, _counted),
    "layer_norm": each(of_channels, _shaped),
    "group_norm": each(of_channels, _split_in_groups, _grouped),
    "scaled_dot_product_attention": _attended,
    "softmax": _over_classes("softmax"),
    "log_softmax": _over_classes("log_softmax"),
    "grid_sample": same("input", "grid", EXPECTED),
    "hardtanh": _bounded,
    "triplet_margin_loss": _triplet,
    "triplet_margin_with_distance_loss": _triplet,
    "cosine_embedding_loss": _cosine,
    "huber_loss": stored_as("input", "target"),
    "soft_margin_loss": stored_as("input", "target"),
    **{name: rank("input", (*range(3, 65),), f"{name} expects input to have at least 3 dimensions, but got "
                  "input with {} dimension(s)") for name in ("pixel_shuffle", "pixel_unshuffle")},
    "dropout1d": rank("input", (2, 3), "dropout1d: Expected 2D or 3D input, but received a {}D input. Note "
                      "that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial "
                      "dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D "
                      "inputs)."),
    **dict.fromkeys(("rrelu", "rrelu_"), _rising),
    "channel_shuffle": _shuffled,
    "bilinear": _paired,
}  # fmt: skip
