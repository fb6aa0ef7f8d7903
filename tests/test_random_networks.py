"""Random stacks of layers: eager mode, and value and gradients as one native function, against PyTorch.

In flow stacks drawn by Hypothesis, on inputs of one to three dimensions: convolutions of any stride, padding,
dilation and groups, pools, norms, and what moves elements between them. Out flow the mean of what comes out,
and its gradients by the input and all weights. How far PyTorch's own result is from that in double precision
tells what rounding may do.

`RETROGRAD_EXAMPLES=5000 pytest tests/test_random_networks.py` looks longer. A new layer goes into `LAYERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import retrograd

EXAMPLES = int(os.environ.get("RETROGRAD_EXAMPLES", "120"))
MOST_ELEMENTS = 50_000
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Relative to the greatest element, beside what PyTorch's own rounding does."""
UNDERFLOW = {"float32": 1e-7, "float64": 1e-14}

Draw = Callable[..., Any]
Shape = tuple[int, ...]


@dataclass
class Layer:
    """What is applied to an input and weights, `of(F, x, *weights)`, and how it reads."""

    text: str
    of: Callable[..., Any]
    weights: tuple[Shape, ...] = ()


def several(draw: Draw, count: int, *choices: int) -> tuple[int, ...]:
    return tuple(draw(st.sampled_from(choices)) for _ in range(count))


def called(name: str, **options: Any) -> Layer:
    """A function of `nn.functional` without weights."""
    return Layer(f"F.{name}(x, {options})", lambda F, x: getattr(F, name)(x, **options))


# ---- layers ------------------------------------------------------------------------------------------------


def convolution(draw: Draw, shape: Shape) -> Layer:
    dims, channels = len(shape) - 2, shape[1]
    groups = draw(st.sampled_from([g for g in (1, 2, 3, channels) if channels % g == 0]))
    kernel, out = several(draw, dims, 1, 2, 3, 3, 4, 5), groups * draw(st.sampled_from((1, 2, 3, 5)))
    options = {
        "stride": several(draw, dims, 1, 1, 2, 3),
        "padding": several(draw, dims, 0, 1, 2),
        "dilation": several(draw, dims, 1, 1, 2),
        "groups": groups,
    }
    weights: list[Shape] = [(out, channels // groups, *kernel)]
    weights += [(out,)] if draw(st.booleans()) else []
    name, scale = f"conv{dims}d", 1 / sqrt(channels // groups * prod(kernel))

    def of(F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        return getattr(F, name)(x, weight * scale, bias, **options)

    return Layer(f"F.{name}(x, w{weights}, {options})", of, tuple(weights))


def transposed(draw: Draw, shape: Shape) -> Layer:
    dims, channels = len(shape) - 2, shape[1]
    groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
    kernel, strides = several(draw, dims, 1, 2, 3, 4), several(draw, dims, 1, 2)
    options = {
        "stride": strides,
        "padding": tuple(draw(st.integers(0, k > 1)) for k in kernel),
        "output_padding": tuple(draw(st.integers(0, s > 1)) for s in strides),
        "groups": groups,
    }
    weight = (channels, draw(st.sampled_from((1, 2, 3))), *kernel)
    name, scale = f"conv_transpose{dims}d", 1 / sqrt(channels)
    return Layer(
        f"F.{name}(x, w{weight}, {options})",
        lambda F, x, w: getattr(F, name)(x, w * scale, **options),
        (weight,),
    )


def pool(draw: Draw, shape: Shape) -> Layer:
    dims, kind = len(shape) - 2, draw(st.sampled_from(("max", "avg")))
    kernel = several(draw, dims, 1, 2, 3)
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": several(draw, dims, 1, 2, 3),
        "padding": tuple(draw(st.sampled_from((0, k // 2))) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    if kind == "avg":
        options["count_include_pad"] = draw(st.booleans())
    return called(f"{kind}_pool{dims}d", **options)


def adaptive(draw: Draw, shape: Shape) -> Layer:
    dims, kind = len(shape) - 2, draw(st.sampled_from(("max", "avg")))
    return called(f"adaptive_{kind}_pool{dims}d", output_size=several(draw, dims, 1, 2, 3))


def activation(draw: Draw, shape: Shape) -> Layer:
    return called(
        draw(st.sampled_from(("relu", "gelu", "silu", "elu", "tanh", "mish", "hardswish", "relu6")))
    )


def norm(draw: Draw, shape: Shape) -> Layer:
    if draw(st.booleans()):
        return called("batch_norm", running_mean=None, running_var=None, training=True)
    return called("instance_norm")


def resized(draw: Draw, shape: Shape) -> Layer:
    modes = {3: ("nearest", "linear"), 4: ("nearest", "bilinear"), 5: ("nearest", "trilinear")}
    return called("interpolate", scale_factor=2, mode=draw(st.sampled_from(modes[len(shape)])))


def padded(draw: Draw, shape: Shape) -> Layer:
    mode = draw(st.sampled_from(("constant", "replicate", "circular")))
    return called("pad", pad=several(draw, 2 * len(shape) - 4, 0, 1, 2), mode=mode)


def moved(draw: Draw, shape: Shape) -> Layer:
    """Elsewhere in memory, or to other places."""
    axis = draw(st.integers(1, len(shape) - 1))
    return draw(
        st.sampled_from((
            Layer(f"x.flip([{axis}])", lambda F, x: x.flip([axis])),
            Layer(f"x.roll(1, {axis})", lambda F, x: x.roll(1, axis)),
            Layer(f"lies by axis {axis}", lambda F, x: x.transpose(0, axis).contiguous().transpose(0, axis)),
            Layer(f"x.narrow({axis}, 1, …)", lambda F, x: x.narrow(axis, 1, x.shape[axis] - 1)),
            Layer("x[..., ::2]", lambda F, x: x[..., ::2]),
            Layer("x.transpose(-1, -2)", lambda F, x: x.transpose(-1, -2) if x.ndim > 3 else x),
        ))
    )  # fmt: skip


def weighed(draw: Draw, shape: Shape) -> Layer:
    """A number for each channel."""
    view = (shape[1], *(1,) * (len(shape) - 2))
    return Layer("x * w", lambda F, x, w: x * w.reshape(view), ((shape[1],),))


LAYERS = (
    *(convolution,) * 3, *(moved,) * 3, transposed, pool, adaptive, activation, norm, resized, padded,
    weighed,
)  # fmt: skip


@st.composite
def stacks(draw: Draw) -> tuple[str, Shape, list[Layer]]:
    """A dtype, the shape of the input, and layers that fit."""
    dims = draw(st.sampled_from((1, 2, 2, 2, 3)))
    lengths = (4, 5, 6, 7) if dims == 3 else (5, 6, 7, 9, 12, 16, 17, 28)
    shape = (
        several(draw, 1, 1, 2, 3, 8) + several(draw, 1, 1, 2, 3, 4, 6, 8, 16) + several(draw, dims, *lengths)
    )
    first, layers = shape, list[Layer]()
    for _ in range(draw(st.integers(1, 4))):
        layer = draw(st.sampled_from(LAYERS))(draw, shape)
        try:
            F = retrograd.nn.functional
            after = layer.of(F, retrograd.zeros(shape), *map(retrograd.zeros, layer.weights)).shape
        except (RuntimeError, ValueError):  # it does not fit
            continue
        if 0 < prod(after) <= MOST_ELEMENTS:
            shape = tuple(after)
            layers.append(layer)
    return draw(st.sampled_from(("float32", "float64"))), first, layers


# ---- what comes out ----------------------------------------------------------------------------------------


def program(t: Any, layers: Sequence[Layer]) -> Callable[..., Any]:
    def loss(x: Any, *weights: Any) -> Any:
        rest = list(weights)
        for layer in layers:
            x = layer.of(t.nn.functional, x, *(rest.pop(0) for _ in layer.weights))
        return (x * 0.7).tanh().mean()

    return loss


def results(t: Any, layers: Sequence[Layer], arrays: Sequence[Any]) -> list[Any]:
    """Value and gradients, in eager mode."""
    leaves = [t.tensor(a, requires_grad=True) for a in arrays]
    value = program(t, layers)(*leaves)
    return [x.detach().numpy() for x in (value, *t.autograd.grad(value, leaves))]


@given(case=stacks())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
def test_stacks_of_layers(torch: ModuleType, case: tuple[str, Shape, list[Layer]]) -> None:
    dtype, shape, layers = case
    note("\n".join([f"x: {dtype}{list(shape)}", *(layer.text for layer in layers)]))
    random = np.random.default_rng(0)
    shapes = (shape, *(w for layer in layers for w in layer.weights))
    arrays = [random.standard_normal(s).astype(dtype) for s in shapes]
    rounded = results(torch, layers, arrays)
    exact = results(torch, layers, [a.astype("float64") for a in arrays])
    leaves = [retrograd.tensor(a, requires_grad=True) for a in arrays]
    value, grads = retrograd.compile_grad(program(retrograd, layers)).value_and_grad(*leaves)
    grads = grads if isinstance(grads, tuple) else (grads,)
    size = max(np.abs(x).max() for x in exact)
    rounding = max(np.abs(a - b).max() for a, b in zip(rounded, exact, strict=True))
    near = TOLERANCE[dtype] * size + 20 * rounding + UNDERFLOW[dtype]
    for ours in (results(retrograd, layers, arrays), [value.numpy(), *(g.numpy() for g in grads)]):
        for one, other, wanted in zip(ours, rounded, exact, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert np.abs(one - wanted).max() <= near
