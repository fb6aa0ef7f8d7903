"""Activations, as `nn.functional` has them: rows of the elementwise table with PyTorch's names of arguments.

A tensor in, a tensor of its shape out; `inplace=True` writes into the operand. To add one, write it with rows
and put `@activation` on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ops import channels as per_channel
from retrograd.compiler.ops import gate
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.iota import iota_like
from retrograd.runtime.functions.public import axis_of, functional, overwriting, public, written
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.functions.sampling import check_not_tracing, drawn
from retrograd.runtime.functions.statistics import softmax
from retrograd.runtime.random import laws, samplers
from retrograd.runtime.tensor import Tensor, new

F = TypeVar("F", bound=Callable[..., Any])

where = APPLY["where"]


def activation(name: str, top: bool = False) -> Callable[[F], F]:
    """A function of `nn.functional` that may be asked to work in place: `inplace` is its last argument.

    With `top`, of the top namespace too.
    """

    def enter(f: F) -> F:
        arguments = inspect.signature(f)
        last = inspect.Parameter("inplace", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
        full = len(arguments.parameters)

        update = written(f"{name}_", f)

        @wraps(f)
        def apply_to(input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
            if len(args) == full:
                *args, inplace = args  # type: ignore[assignment]  # a list will do
            result: Tensor = (update if inplace else f)(input, *args, **kwargs)
            return result

        shown = arguments.replace(parameters=[*arguments.parameters.values(), last])
        apply_to.__signature__ = shown  # type: ignore[attr-defined]  # Python's way to say it
        functional(name, top=top, replay="steps or updates")(apply_to)
        if name in IN_PLACE:
            public(f"{name}_", function=top, nn=True, around=partial(overwriting, f, name))(update)
        return f

    return enter


IN_PLACE = {"relu", "elu", "celu", "selu", "leaky_relu", "hardtanh", "rrelu", "threshold"}
"""Those with a second name for `inplace=True`: `relu_`."""


def _renamed(f: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    f.__name__ = f.__qualname__ = name
    return f


def _of_row(name: str) -> Callable[[Tensor], Tensor]:
    apply_row = APPLY[name]

    def of_row(input: Tensor) -> Tensor:
        result: Tensor = apply_row(input)
        return result

    return _renamed(of_row, name)


for _name in ("relu", "selu", "silu", "mish", "hardswish"):
    activation(_name)(_of_row(_name))
for _name in ("softsign", "logsigmoid", "sigmoid", "tanh"):
    functional(_name, replay=True)(_of_row(_name))


@activation("leaky_relu")
def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`x` where it is positive, else `negative_slope · x`."""
    return APPLY["leaky_relu"](input, negative_slope)


@activation("elu")
def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, else `alpha · (exp(x) - 1)`."""
    return APPLY["elu"](input, alpha)


@activation("celu", top=True)
def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, else `alpha · (exp(x / alpha) - 1)`."""
    return APPLY["celu"](input, alpha)


@functional("gelu", replay=True)
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """`x · Φ(x)`, with the normal distribution function, or with PyTorch's formula by tanh."""
    kinds = {"none": "gelu", "tanh": "gelu_tanh"}
    if approximate not in kinds:
        raise ArgumentError(
            f"gelu(approximate={approximate!r})",
            mirrored("approximate argument must be either none or tanh."),
        )
    return APPLY[kinds[approximate]](input)


@functional("softplus", replay=True)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """`log(1 + exp(beta · x)) / beta`; `x` itself where `beta · x` is above the threshold."""
    scaled = input if beta == 1 else input * beta
    soft = APPLY["softplus"](scaled)
    return where(APPLY["gt"](scaled, threshold), input, soft if beta == 1 else soft / beta)


@activation("hardtanh")
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`x`, but at least `min_val` and at most `max_val`, where the derivative is 0."""
    low, high = _alike(input, min_val), _alike(input, max_val)
    if low < 0 and not input.dtype.is_signed:
        raise DtypeError(mirrored("cannot do hardtanh on an unsigned type with negative limits"))
    return where(APPLY["le"](input, low), low, where(APPLY["ge"](input, high), high, input))


@activation("relu6")
def relu6(input: Tensor) -> Tensor:
    """`x` between 0 and 6."""
    return APPLY["relu6"](input) if input.dtype.is_floating_point else hardtanh(input, 0, 6)


def _alike(input: Tensor, bound: float) -> float:
    """The number as one of the input's kind, so that whole numbers stay so."""
    return bound if input.dtype.is_floating_point else int(bound)


@activation("hardsigmoid")
def hardsigmoid(input: Tensor) -> Tensor:
    """`(x + 3) / 6`, between 0 and 1."""
    return APPLY["relu6"](input + 3.0) / 6.0


@functional("hardshrink", top=True, method=True, replay=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 where `|x| <= lambd`, else `x`."""
    return where(APPLY["le"](APPLY["abs"](input), lambd), 0.0, input)


@functional("softshrink", replay=True)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`x` moved towards 0 by `lambd`, and 0 within it."""
    if lambd < 0:
        raise ShapeError(
            f"softshrink(lambd={lambd})", f"lambda must be greater or equal to 0, but found to be {lambd}."
        )
    low = where(APPLY["lt"](input, -lambd), input + lambd, input * 0.0)
    return where(APPLY["gt"](input, lambd), input - lambd, low)


@functional("tanhshrink", replay=True)
def tanhshrink(input: Tensor) -> Tensor:
    """`x - tanh(x)`"""
    return input - APPLY["tanh"](input)


@activation("threshold", top=True)
def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """`x` where it is above the threshold, else `value`."""
    return where(APPLY["le"](input, _alike(input, threshold)), _alike(input, value), input)


@functional("prelu", top=True, method=True, replay=True)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`x` where it is positive, else `weight · x`: one weight, or one for each channel (axis 1)."""
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.numel() not in (1, channels):
        raise ShapeError(
            f"prelu of shape {list(input.shape)} with {weight.numel()} weights",
            mirrored(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and "
                f"channel size = {channels}."
            ),
        )
    if weight.numel() == channels and input.ndim > 1:
        return per_channel.prelu(input, moves.reshape(weight, (channels,)))
    flat = moves.reshape(input, (1, 1, input.numel()))
    return moves.reshape(per_channel.prelu(flat, moves.reshape(weight, (1,))), tuple(input.shape))


@activation("rrelu", top=True)
def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`leaky_relu` whose slope is random between the bounds while training, else their mean."""
    if not training:
        return APPLY["leaky_relu"](input, (lower + upper) / 2)
    check_not_tracing("rrelu")
    array = input.read("rrelu()")
    slopes = np.ones(array.shape, array.dtype)
    below = array <= 0
    slopes[below] = samplers.uniform(int(below.sum()), lower, upper, np.float64)
    return input * new(slopes, input)


@functional("glu", replay=True)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second."""
    axis = axis_of(dim, input.ndim, "glu")
    if not input.ndim or input.shape[axis] % 2:
        size = input.shape[axis] if input.ndim else 0
        raise ShapeError(
            f"glu of a tensor of shape {list(input.shape)}",
            mirrored(f"Halving dimension must be even, but dimension {axis} is size {size}"),
        )
    return gate.glu(input, axis)


@functional("gumbel_softmax", replay="draws")
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """`softmax` of the logits with Gumbel noise, over `tau`. `eps` has no effect.

    With `hard` its one-hot, differentiated as the soft one.
    """
    if eps != 1e-10:
        warn("`eps` parameter is deprecated and has no effect.")
    noise = -APPLY["log"](drawn(tuple(logits.shape), laws.exponential(1.0, logits.dtype.numpy), like=logits))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    axis = axis_of(dim, logits.ndim, "gumbel_softmax")
    best = soft.detach().argmax(axis, True)
    chosen = APPLY["eq"](iota_like(soft, axis), best)
    return moves.cast(chosen, soft.dtype) - soft.detach() + soft
