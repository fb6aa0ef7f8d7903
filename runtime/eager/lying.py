"""How results lie in memory, where that is not in order: the strides that PyTorch gives them.

In flow a function's results and its operands; out flow the same results, whose elements lie as a rule says of
the operands' strides. Nothing is asked where all operands lie in order. A function of the tables of names is
in `RULES`; rows of the elementwise table follow their operands (`strided.following`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler.ir.graph import Node
from retrograd.runtime.modes import STATE
from retrograd.runtime.strided import Layout, Strides, in_order, pointwise_strides
from retrograd.runtime.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
Shape = tuple[int, ...]
Rule = Callable[[Shape, Sequence[tuple[Shape, Strides]]], Strides]
"""The strides of a result of a shape, by the operands' shapes and strides."""


def ordered(shape: Shape, operands: Sequence[tuple[Shape, Strides]]) -> Strides:
    """One element after the other."""
    return in_order(shape, 1)


def as_input(shape: Shape, operands: Sequence[tuple[Shape, Strides]]) -> Strides:
    """The axes in the order of those of the first operand (`preserve_format`)."""
    strides = operands[0][1]
    return pointwise_strides(shape, [(shape, strides)]) if len(strides) == len(shape) else in_order(shape, 1)


def channels_last(rank: int, shape: Shape, operands: Sequence[tuple[Shape, Strides]]) -> Strides:
    """The channels, axis 1, last of all where the input's or the weight's are; `rank` is that of a batch, or
    0: any from 4 on, and there must be one."""
    if not rank and len(shape) < 4:
        return in_order(shape, 1)
    rank = rank or len(shape)
    whole = (1, *shape) if len(shape) == rank - 1 else shape
    if len(whole) != rank or not any(_has_channels_last(rank, *each) for each in operands[:2]):
        return in_order(shape, 1)
    outwards = (0, *range(2, rank), 1)
    steps = in_order(tuple(whole[k] for k in outwards), 1)
    return tuple(steps[outwards.index(k)] for k in range(rank - len(shape), rank))


def _has_channels_last(rank: int, shape: Shape, strides: Strides) -> bool:
    if len(shape) == rank - 1:
        shape, strides = (1, *shape), (0, *strides)
    if len(shape) != rank or 0 in shape or Layout(shape, strides).contiguous:
        return False
    outwards = (0, *range(2, rank), 1)
    return Layout(tuple(shape[k] for k in outwards), tuple(strides[k] for k in outwards)).contiguous


def as_made(shape: Shape, operands: Sequence[tuple[Shape, Strides]]) -> Strides:
    """As the function's own steps leave them, which plans may do otherwise: `planned` asks the function."""
    raise AssertionError("the function itself says it")


def by_fractions(shape: Shape, operands: Sequence[tuple[Shape, Strides]]) -> Strides:
    """The first axis nearest, if it is that of a second operand."""
    if len(operands) < 2:
        return in_order(shape, 1)
    steps = in_order((*shape[1:], shape[0]), 1)
    return (steps[-1], *steps[:-1])


ANYHOW = (as_made, by_fractions)
"""Rules that are asked even where all operands lie in order."""
RULES: dict[str, Rule] = {
    **dict.fromkeys((
        "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like",
        "sort", "argsort", "msort", "flip", "fliplr", "flipud", "diff", "glu", "dropout1d", "dropout2d",
        "dropout3d", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "index_fill", "index_put",
        "igamma", "igammac", "isreal", "diagonal_scatter", "select_scatter", "slice_scatter", "addr",
        "local_response_norm", "put", "prelu",
    ), as_input),
    **dict.fromkeys((
        "masked_fill", "logsigmoid", "renorm", "rrelu", "mvlgamma", "take_along_dim", "grid_sample",
    ), ordered),
    **dict.fromkeys(("rot90", "einsum"), as_made),
    **dict.fromkeys(("quantile", "nanquantile"), by_fractions),
    **dict.fromkeys(("where", "lerp", "addcmul", "addcdiv", "clamp"), pointwise_strides),
    **{f"{name}{k}d": partial(channels_last, k + 2) for k in (1, 2, 3) for name in (
        "conv", "conv_transpose", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool",
    )},
    **dict.fromkeys((
        "interpolate", "upsample", "upsample_nearest", "upsample_bilinear", "batch_norm", "group_norm", "pad",
        "channel_shuffle", "pixel_unshuffle", "max_pool2d", "max_pool3d", "max_unpool2d", "max_unpool3d",
    ), partial(channels_last, 0)),
}  # fmt: skip
"""Of functions whose results do not lie as their steps here leave them."""


def laid(name: str, f: F) -> F:
    """The function of this name, whose results lie as its rule says, if it has one."""
    rule = RULES.get(name)
    if rule is None:
        return f

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = f(*args, **kwargs)
        if rule is as_made or kwargs.get("memory_format") is not None:
            return result
        return lay(rule, result, [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)])

    call.lies = rule  # type: ignore[attr-defined]  # for those who plan it
    return call  # type: ignore[return-value]  # called as f is


def rule_of(f: Callable[..., Any]) -> Rule | None:
    """The rule of a function, or of what it has been wrapped in."""
    return getattr(f, "lies", None)


def scattered(operands: Sequence[Tensor]) -> list[tuple[int, Strides]]:
    """The operands whose elements do not lie in order, and their steps in bytes."""
    arrays: list[Any] = [x._value for x in operands]
    return [
        (k, array.strides) for k, array in enumerate(arrays)
        if type(array) is np.ndarray and not array.flags.c_contiguous
    ]  # fmt: skip


def lay(rule: Rule, result: Any, operands: Sequence[Tensor]) -> Any:
    """Have new results lie by the rule."""
    trace = STATE.trace
    ordered = not scattered(operands) if trace is None else all(map(trace.lies_in_order, operands))
    if ordered and rule not in ANYHOW:
        return result
    steps = Tensor.stride if trace is None else trace.strides
    axes: list[Any] = [(tuple(x.shape), steps(x)) for x in operands if x.ndim]
    for x in result if isinstance(result, tuple) else (result,):
        if not isinstance(x, Tensor) or x.ndim < 2 or not axes or any(x is operand for operand in operands):
            continue
        strides = rule(tuple(x.shape), axes)
        if trace is not None:
            if isinstance(x._value, Node):
                trace.lay(x, strides)
        elif type(x._value) is np.ndarray and _is_new(x, operands) and x.stride() != strides:
            x._value, x._view = relaid(x._value, [step * x.itemsize for step in strides]), None
    return result


def _is_new(result: Tensor, operands: Sequence[Tensor]) -> bool:
    """Whether a result shows no operand's memory; it may show that of a step before."""
    if result._view is None:
        return True
    base = result._view.base
    return not any(base is x or (x._view is not None and base is x._view.base) for x in operands)


def laid_like(model: Any, result: Any, operands: Sequence[Tensor]) -> Any:
    """New results with the strides of others of their shapes."""
    several = isinstance(result, tuple)
    for x, other in zip(result if several else (result,), model if several else (model,), strict=True):
        if type(x._value) is np.ndarray and x._view is None and x.stride() != other.stride():
            x._value = relaid(x._value, [step * x.itemsize for step in other.stride()])
    return result


def relaid(array: Any, steps: Sequence[int]) -> Any:
    """A copy with such strides, in bytes, that leave no gaps."""
    made = np.ndarray(array.shape, array.dtype, np.empty(array.size, array.dtype), 0, steps)
    made[...] = array
    return made
