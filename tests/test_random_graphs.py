"""Graphs that nobody thought of: Hypothesis grows some thirty ops, and machine code must agree with NumPy.

Each graph mixes shapes by broadcasting, reduces, moves, multiplies, chooses, counts and sorts; value and
gradient are one graph. What is ill-conditioned is set aside: where the least change of the inputs moves the
oracle by more than a tenth of the tolerance (a tie, a step, a cancellation), no two ways of rounding need
agree. Whole numbers and bools must be equal.

`RETROGRAD_EXAMPLES=5000 pytest tests/test_random_graphs.py` looks longer. A new op goes into `STEPS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from native import build

from retrograd.compiler.adjoint import joint
from retrograd.compiler.dtypes import DType, float32, float64, int64
from retrograd.compiler.ir.graph import Array, Builder, Graph, Node, Type, Value, apply, interpret
from retrograd.compiler.ops import shape
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.index import put_add, take, take_along
from retrograd.compiler.ops.reduce import Amax, Amin, Prod, amax, spread, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cummax, cumprod, cumsum
from retrograd.compiler.ops.sort import argsort
from retrograd.compiler.ops.window import diagonal, window

EXAMPLES = int(os.environ.get("RETROGRAD_EXAMPLES", "250"))
MOST_ELEMENTS = 30_000
TOLERANCE = {float32: 2e-3, float64: 1e-9}
"""Relative to the greatest element of an output, or to 1."""
NUDGE = {float32: 1e-6, float64: 1e-14}


@dataclass
class Growing:
    """A graph while it grows."""

    draw: Callable[..., Any]
    dtype: DType
    values: list[Node]

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def any(self, ndim: int = 0) -> Node:
        """One of the values, with `ndim` axes at least."""
        x = self.values[-1 - self.number(0, len(self.values) - 1)]
        return shape.reshape(x, (1,) * (ndim - x.ndim) + x.shape)

    def axis(self, x: Node) -> int:
        return self.number(0, x.ndim - 1)

    def fitting(self, x: Node) -> Node:
        """A value that broadcasts with `x`."""
        y = self.any()
        y = shape.permute(y, range(y.ndim)[::-1]) if self.number(0, 1) else y
        for k in range(1, min(x.ndim, y.ndim) + 1):
            if y.shape[-k] != 1 and x.shape[-k] not in (1, y.shape[-k]):
                axis = y.ndim - k
                y = shape.unsqueeze(rows.div(sum_(y, [axis]), float(y.shape[axis])), [axis])
        return y


Step = Callable[[Growing], Value]


def unary(name: str, scale: float = 1.0) -> Step:
    return lambda g: getattr(rows, name)(rows.mul(g.any(), scale))


def binary(g: Growing) -> Value:
    x = g.any()
    y = g.fitting(x)
    names = ("add", "sub", "mul", "maximum", "minimum", "atan2", "hypot")
    return rows.mul(rows.tanh(getattr(rows, names[g.number(0, 6)])(x, y)), 1.5)


def ratio(g: Growing) -> Value:
    x = g.any()
    y = g.fitting(x)
    return rows.div(x, rows.add(rows.mul(y, y), 1.5))


def choice(g: Growing) -> Value:
    x = g.any()
    y = g.fitting(x)
    return rows.where(rows.lt(y, 0.1234567), x, rows.mul(y, 0.5))


def whole(g: Growing) -> Value:
    """Through whole numbers and back."""
    n = shape.cast(rows.round(rows.mul(g.any(), 3.1)), int64)
    n = (rows.mul(n, n), rows.remainder(n, 5), rows.floor_divide(n, 3), rows.pow(n, 3))[g.number(0, 3)]
    return rows.mul(shape.cast(n, g.dtype), 0.25)


def truth(g: Growing) -> Value:
    """Through bools and back."""
    x = g.any()
    return shape.cast(rows.logical_xor(rows.gt(x, 0.2345), rows.lt(g.fitting(x), 0.5432)), g.dtype)


def reduction(g: Growing) -> Value:
    x = g.any(1)
    axes = tuple(k for k in range(x.ndim) if g.number(0, 1)) or (g.axis(x),)
    kind = g.number(0, 3)
    if kind == 0:
        out = rows.div(sum_(x, axes), float(prod(x.shape[k] for k in axes)))
    else:
        out = apply((Amax, Amin, Prod)[kind - 1](axes), rows.sin(x))
    return (out, shape.unsqueeze(out, axes), spread(out, axes, x.shape))[g.number(0, 2)]


def softmax(g: Growing) -> Value:
    x = g.any(1)
    axis = g.axis(x)
    e = rows.exp(rows.sub(x, spread(amax(x, [axis]), [axis], x.shape)))
    return rows.div(e, spread(sum_(e, [axis]), [axis], x.shape))


def permuted(g: Growing) -> Value:
    x = g.any(2)
    return shape.swap_axes(x, g.axis(x), g.axis(x))


def reshaped(g: Growing) -> Value:
    x = g.any()
    size = x.type.size
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    d = divisors[g.number(0, len(divisors) - 1)]
    return shape.reshape(x, ((d, size // d), (size,), (1, d, size // d, 1))[g.number(0, 2)])


def expanded(g: Growing) -> Value:
    x = g.any()
    return shape.expand(x, (g.number(1, 3), *(s if s > 1 else g.number(1, 4) for s in x.shape)))


def sliced(g: Growing) -> Value:
    x = g.any(1)
    starts = [g.number(0, s - 1) for s in x.shape]
    stops = [g.number(start + 1, s) for start, s in zip(starts, x.shape, strict=True)]
    return shape.slice_(x, starts, stops, [g.number(1, 3) for _ in starts])


def padded(g: Growing) -> Value:
    x = g.any(1)
    low, high, gap = ([g.number(0, 2) for _ in x.shape] for _ in range(3))
    return shape.pad(x, low, high, gap, fill=g.number(-1, 1) / 2)


def flipped(g: Growing) -> Value:
    x = g.any(1)
    return shape.flip(x, (g.axis(x),))


def rolled(g: Growing) -> Value:
    x = g.any(1)
    return shape.roll(x, g.number(-3, 3), g.axis(x))


def joined(g: Growing) -> Value:
    x = g.any(1)
    axis = g.axis(x)
    part = shape.narrow(rows.mul(x, 0.3), axis, 0, g.number(0, x.shape[axis]))
    return shape.concat([part, x, shape.flip(part, (axis,))][g.number(0, 1) :], axis)


def windows(g: Growing) -> Value:
    x = g.any(1)
    axis = g.axis(x)
    return window(x, [axis], [g.number(1, min(3, x.shape[axis]))], [g.number(1, 2)], [1])


def diagonals(g: Growing) -> Value:
    return diagonal(g.any(2), 0, 0, 1)


def product(g: Growing) -> Value:
    """Of a value with another, transposed, that has as many columns: with itself if there is no other."""
    x = g.any(2)
    mates = [v for v in g.values if v.ndim > 1 and (v.shape[:-2], v.shape[-1]) == (x.shape[:-2], x.shape[-1])]
    y = mates[g.number(0, len(mates) - 1)] if mates else x
    return rows.div(dot(x, transpose(y)), float(x.shape[-1]))


def scan(g: Growing) -> Value:
    x = rows.sin(g.any(1))
    run = (cumsum, cumprod, cummax)[g.number(0, 2)]
    return rows.mul(run(x, g.axis(x), bool(g.number(0, 1))), 0.5)


def taken(g: Growing) -> Value:
    """Rows by index, and perhaps put back, where they may meet."""
    x = g.any(1)
    axis = g.axis(x)
    size = x.shape[axis]
    index = np.array([g.number(-size, size - 1) for _ in range(g.number(1, 4))])
    chosen = take(x, index, axis)
    return chosen if g.number(0, 1) else put_add(chosen, index, axis, size)


def ordered(g: Growing) -> Value:
    x = g.any(1)
    axis = g.axis(x)
    return take_along(x, argsort(x, axis, bool(g.number(0, 1))), axis)


STEPS: tuple[Step, ...] = (
    unary("sin", 1.3), unary("tanh"), unary("sigmoid", 2.0), unary("erf"), unary("atan"), unary("neg"),
    unary("abs"),
    unary("relu"), unary("gelu"), unary("softplus"), unary("silu"), unary("square", 0.5), unary("cos", 0.7),
    binary, binary, binary, ratio, choice, whole, truth, reduction, reduction, softmax, permuted, reshaped,
    expanded,
    sliced, padded, flipped, rolled, joined, windows, diagonals, product, scan, taken, ordered,
)  # fmt: skip
SMALL, LARGE = (1, 2, 3, 5, 17, 40), (1, 3, 8, 16, 17, 32, 33, 64, 100, 128, 130, 300)
SIZES = st.lists(st.sampled_from(SMALL), max_size=3).filter(lambda sizes: prod(sizes) <= 400) | st.lists(
    st.sampled_from(LARGE), max_size=3
).filter(lambda sizes: prod(sizes) <= 20_000)


@st.composite
def programs(draw: Callable[..., Any]) -> tuple[Graph, list[Array]]:
    """The graph of a loss and of the values it is made of, and inputs for it."""
    builder = Builder()
    dtype = draw(st.sampled_from((float64, float32)))
    shapes = draw(st.lists(SIZES, min_size=1, max_size=4))
    with builder.at(None):
        inputs = [builder.input(f"x{k}", Type(tuple(sizes), dtype)) for k, sizes in enumerate(shapes)]
        growing = Growing(draw, dtype, list(inputs))
        for _ in range(draw(st.integers(1, 30))):
            value = draw(st.sampled_from(STEPS))(growing)
            if 0 < value.type.size <= MOST_ELEMENTS and value.ndim <= 5:
                growing.values.append(value)
        outputs = growing.values[-draw(st.integers(1, 3)) :]
        loss = builder.constant(0.0, dtype)
        for out in outputs:
            loss = loss + sum_(rows.tanh(out), range(out.ndim)) / float(out.type.size)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = [random.standard_normal(n.shape).astype(dtype.numpy) for n in inputs]
    return Graph("f", tuple(inputs), (loss, *outputs)), arrays


@given(programs())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_compiled_programs_and_their_gradients_equal_the_interpreted(case: tuple[Graph, list[Array]]) -> None:
    assert_agrees(*case)


def assert_agrees(
    graph: Graph, arrays: Sequence[Array], build: Callable[[Graph], Callable[..., list[Array]]] = build
) -> None:
    """Value and gradient of the program, by the code that `build` makes, and by NumPy."""
    whole = joint(graph, range(len(arrays)))
    note(str(graph))
    expected = [np.asarray(value) for value in interpret(whole, arrays)]
    dtype = graph.inputs[0].dtype
    assume(is_stable(whole, arrays, expected, dtype))
    for ours, theirs in zip(build(whole)(*arrays), expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert is_close(ours, theirs, TOLERANCE[dtype]), (ours, theirs)


def is_close(a: Array, b: Array, tolerance: float) -> bool:
    if a.dtype.kind != "f":
        return bool((a == b).all())
    return bool((np.abs(a - b) <= tolerance * max(1.0, float(np.abs(b).max(initial=0)))).all())


def is_stable(graph: Graph, arrays: Sequence[Array], expected: Sequence[Array], dtype: DType) -> bool:
    """Does the oracle stay where it is when its inputs change by no more than rounding?"""
    for seed in range(2):
        random = np.random.default_rng(seed)
        nudged = [a + (NUDGE[dtype] * random.standard_normal(a.shape)).astype(a.dtype) for a in arrays]
        if not all(is_close(a, b, TOLERANCE[dtype] / 10) for a, b in zip(interpret(graph, nudged), expected)):
            return False
    return True
