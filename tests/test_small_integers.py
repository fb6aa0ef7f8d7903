"""Whole numbers of 8 and 16 bits: eager mode, machine code and the code for GPUs give what PyTorch gives.

Hypothesis draws two dtypes, one of them small, shapes that broadcast (0-d, empty, odd sizes) and how the
arrays lie in memory. All functions of a table that PyTorch has for such operands are one compiled function;
a new function is a line in a table.

`RETROGRAD_EXAMPLES=500 pytest tests/test_small_integers.py` looks longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulated_driver import SimulatedDriver

import retrograd
from retrograd.runtime.cuda import driver

Array = NDArray[Any]
Table = dict[str, Callable[..., Any]]

EXAMPLES = int(os.environ.get("RETROGRAD_EXAMPLES", "20"))
SMALL = ("uint8", "int8", "int16")
DTYPES = (*SMALL, "int32", "int64", "bool", "float16", "float32", "float64")

# fmt: off
BINARY: Table = {
    "add": lambda t, x, y: x + y,
    # PyTorch rounds the product of halves in some places and not in others: it must not overflow
    "add one scaled": lambda t, x, y: t.add(x, y % 100, alpha=4),
    "subtract": lambda t, x, y: x - y,
    "multiply": lambda t, x, y: x * y,
    "divide": lambda t, x, y: x / y,
    "floor_divide": lambda t, x, y: x // divisor(t, y),
    "remainder": lambda t, x, y: x % divisor(t, y),
    "fmod": lambda t, x, y: t.fmod(x, divisor(t, y)),
    "power": lambda t, x, y: x ** (y % 5),
    "and": lambda t, x, y: x & y,
    "or": lambda t, x, y: x | y,
    "xor": lambda t, x, y: x ^ y,
    "left shift": lambda t, x, y: x << y,
    "right shift": lambda t, x, y: x >> y,
    "less": lambda t, x, y: x < y,
    "less or equal": lambda t, x, y: x <= y,
    "greater": lambda t, x, y: x > y,
    "greater or equal": lambda t, x, y: x >= y,
    "equal": lambda t, x, y: x == y,
    "not equal": lambda t, x, y: x != y,
    "maximum": lambda t, x, y: t.maximum(x, y),
    "minimum": lambda t, x, y: t.minimum(x, y),
    "where": lambda t, x, y: t.where(x > y, x, y),
    "logical_and": lambda t, x, y: t.logical_and(x, y),
    "logical_xor": lambda t, x, y: t.logical_xor(x, y),
    "clamp": lambda t, x, y: t.clamp(x, y, y + 7),
    "copysign": lambda t, x, y: t.copysign(x, y),
    "heaviside": lambda t, x, y: t.heaviside(x, y),
    "a sum of products": lambda t, x, y: (x * y).abs().sum(),
    "gcd": lambda t, x, y: t.gcd(x // 2, y // 2),
    "lcm": lambda t, x, y: t.lcm(x % 12, y % 12),
}

UNARY: Table = {
    "negative": lambda t, x: -x,
    "invert": lambda t, x: ~x,
    "abs": lambda t, x: x.abs(),
    "sign": lambda t, x: x.sign(),
    "square": lambda t, x: x * x,
    "relu": lambda t, x: x.relu(),
    "sqrt": lambda t, x: x.sqrt(),
    "sin": lambda t, x: x.sin(),
    "reciprocal": lambda t, x: x.reciprocal(),
    "floor": lambda t, x: x.floor(),
    "isnan": lambda t, x: x.isnan(),
    "signbit": lambda t, x: x.signbit(),
    "logical_not": lambda t, x: x.logical_not(),
    "plus a number": lambda t, x: x + 200,
    "plus a fraction": lambda t, x: x + 1.5,
    "a number minus": lambda t, x: 3 - x,
    "times -3": lambda t, x: x * -3,
    "over 7": lambda t, x: x / 7,
    "floor_divide by -3": lambda t, x: x // -3,
    "remainder of 5": lambda t, x: x % 5,
    "less than -1": lambda t, x: x < -1,
    "equal to 300": lambda t, x: x == 300,
    "clamp": lambda t, x: x.clamp(3, 100),
    "shifts": lambda t, x: (x << 3) ^ (x >> 2),
    "square by power": lambda t, x: x ** 2,
    "root by power": lambda t, x: x ** 0.5,
    "sum": lambda t, x: x.sum(),
    "sum over axes": lambda t, x: x.sum(-1, keepdim=True),
    "sum in its dtype": lambda t, x: x.sum(0, dtype=x.dtype),
    "prod": lambda t, x: x.prod(),
    "mean": lambda t, x: x.mean(),
    "mean as float": lambda t, x: x.mean(dtype=t.float64),
    "cumsum": lambda t, x: x.cumsum(-1),
    "cumprod": lambda t, x: x.cumprod(0),
    "cummax": lambda t, x: x.cummax(0)[0],
    "amax": lambda t, x: x.amax(),
    "amin of rows": lambda t, x: x.amin(-1),
    "max of rows": lambda t, x: x.max(-1)[0],
    "argmax": lambda t, x: x.argmax(),
    "argmin of rows": lambda t, x: x.argmin(-1),
    "all": lambda t, x: x.all(),
    "any of rows": lambda t, x: x.any(-1),
    "count_nonzero": lambda t, x: x.count_nonzero(),
    "sort": lambda t, x: x.sort(stable=True)[0],
    "argsort": lambda t, x: x.argsort(-1, descending=True, stable=True),
    "flip": lambda t, x: x.flip(0),
    "transpose": lambda t, x: x.transpose(0, -1) + 1,
    "pad": lambda t, x: t.nn.functional.pad(x, (1, 2), value=7),
    "concat": lambda t, x: t.cat([x, x + 1]),
    "stack with bools": lambda t, x: t.cat([x, x > 0]),
    "roll": lambda t, x: x.roll(1, 0),
    "tril": lambda t, x: x.tril(),
    "filled": lambda t, x: x.masked_fill(x > 3, 9),
    "picked": lambda t, x: t.gather(x, -1, x.argsort(-1, stable=True)),
    "scattered": lambda t, x: t.zeros_like(x).scatter(-1, x.argsort(-1, stable=True), x),
    "scatter_add": lambda t, x: t.ones_like(x).scatter_add(0, x.long() % x.shape[0], x),
    "taken": lambda t, x: t.index_select(x, 0, x.reshape(-1)[:3].long() % x.shape[0]),
    "assigned": lambda t, x: assigned(x),
    "as bool": lambda t, x: x.bool(),
    **{f"as {name}": lambda t, x, name=name: x.to(getattr(t, name)) for name in DTYPES},
    "as int8 and uint8 in turn": lambda t, x: x.to(t.int8).to(t.uint8).to(t.int32).to(t.int8),
}

MATRICES: Table = {
    "matmul": lambda t, x, y: x @ y,
    "matmul of turned": lambda t, x, y: y.T @ x.T,
    "matmul of vectors": lambda t, x, y: x[0] @ y[:, 0],
    "outer": lambda t, x, y: t.outer(x[0], y[0]),
    "matrix and vector": lambda t, x, y: x @ y[:, 0],
    "products of sums": lambda t, x, y: (x + 1) @ (y * 2) - 5,
}
# fmt: on

INEXACT = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-13}
"""How far functions of floats may be apart."""


def divisor(t: Any, y: Any) -> Any:
    """Numbers by which PyTorch divides: not 0, and not -1, by which it cannot divide the least number."""
    return t.where((y > -2) & (y < 2), t.ones_like(y), y)


def assigned(x: Any) -> Any:
    y = x.clone()
    y[0] = 100
    y[..., 0] += 5
    return y


# ---- what is drawn -----------------------------------------------------------------------------------------

sizes = st.sampled_from([0, 1, 2, 3, 7, 16, 33, 70])
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "in order": lambda a: a,
    "reversed": lambda a: np.ascontiguousarray(np.flip(a))[(slice(None, None, -1),) * a.ndim],
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "turned": lambda a: np.asfortranarray(a),
}


def numbers(dtype: str, shape: Sequence[int], seed: int) -> Array:
    """Numbers over all the dtype's range, its ends among them; of floats some that no small integer holds."""
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.random(shape) < 0.5
    if dtype.startswith("float"):
        return (random.standard_normal(shape) * 100).astype(dtype)
    limits = np.iinfo(dtype)
    few = random.integers(max(-9, limits.min), 10, shape).astype(dtype)
    many = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    ends = random.choice(np.array([limits.min, limits.min + 1, limits.max // 2, limits.max], dtype), shape)
    return np.asarray(np.choose(random.integers(0, 3, shape), [few, many, ends]))


@st.composite
def operands(draw: Callable[..., Any]) -> tuple[Array, Array]:
    """Two arrays that broadcast, one of them of small integers."""
    shape = draw(st.lists(sizes, max_size=3))
    shapes = [[n if draw(st.booleans()) else 1 for n in shape][draw(st.integers(0, len(shape))) :], shape]
    kinds = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SMALL))
    swapped, seed = draw(st.booleans()), draw(st.integers(0, 2**30))
    arrays = [numbers(d, s, seed + k) for k, (d, s) in enumerate(zip(kinds, shapes, strict=True))]
    arrays = [LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](a) for a in arrays]
    return (arrays[1], arrays[0]) if swapped else (arrays[0], arrays[1])


@st.composite
def one_operand(draw: Callable[..., Any]) -> Array:
    shape = draw(st.lists(sizes, max_size=3))
    array = numbers(draw(st.sampled_from(SMALL)), shape, draw(st.integers(0, 2**30)))
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](array)


# ---- what is compared --------------------------------------------------------------------------------------


def tensors(t: Any, arrays: Sequence[Array]) -> list[Any]:
    """PyTorch takes no negative strides."""
    return [t.from_numpy(a if t is retrograd else a.copy()) for a in arrays]


def outcome(function: Callable[..., Any], t: Any, arrays: Sequence[Array]) -> Any:
    """The value, or that there is none."""
    try:
        return function(t, *tensors(t, arrays))
    except (RuntimeError, IndexError, TypeError, ValueError) as refused:
        return refused


def alike(found: Any, expected: Any, what: str) -> None:
    assert str(found.dtype) == str(expected.dtype), what
    a, b = found.cpu().numpy(), expected.numpy()
    assert a.shape == b.shape, what
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(a, b, rtol=INEXACT.get(a.dtype.name, 0), atol=0, err_msg=what)


def check(table: Table, arrays: Sequence[Array], torch: ModuleType, device: str = "cpu") -> None:
    """Every function of the table that PyTorch has, eager and all of them in one compiled function."""
    expected = {name: outcome(f, torch, arrays) for name, f in table.items()}
    shown = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
    for name, value in expected.items():
        found = outcome(table[name], retrograd, arrays)
        if isinstance(value, Exception):
            continue
        assert not isinstance(found, Exception), f"{name} of {shown}: {found}"
        alike(found, value, f"{name} of {shown}")
    taken = [name for name, value in expected.items() if not isinstance(value, Exception)]

    @retrograd.compile_grad
    def compiled(*operands: Any) -> list[Any]:
        return [table[name](retrograd, *operands) for name in taken]

    values = compiled(*[x.to(device) for x in tensors(retrograd, arrays)]) if taken else []
    for name, value in zip(taken, values, strict=True):
        alike(value, expected[name], f"{name} of {shown}, compiled")


SETTINGS = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@SETTINGS
@given(arrays=operands())
def test_functions_of_two(arrays: tuple[Array, Array], torch: ModuleType) -> None:
    check(BINARY, arrays, torch)


@SETTINGS
@given(array=one_operand())
def test_functions_of_one(array: Array, torch: ModuleType) -> None:
    check(UNARY, [array], torch)


@SETTINGS
@given(
    dtype=st.sampled_from(SMALL),
    shape=st.tuples(sizes, sizes, sizes),
    seed=st.integers(0, 2**30),
)
def test_products(dtype: str, shape: tuple[int, int, int], seed: int, torch: ModuleType) -> None:
    m, k, n = shape
    check(MATRICES, [numbers(dtype, (m, k), seed), numbers(dtype, (k, n), seed + 1)], torch)


@settings(SETTINGS, max_examples=EXAMPLES // 5)
@given(arrays=operands(), other=one_operand())
def test_on_a_gpu(arrays: tuple[Array, Array], other: Array, torch: ModuleType) -> None:
    with driver.use(SimulatedDriver()):
        check(BINARY, arrays, torch, "cuda")
        check(UNARY, [other], torch, "cuda")


def test_powers_of_whole_numbers_by_a_number(torch: ModuleType) -> None:
    for name in ("uint8", "int8", "int16", "int32", "int64"):
        array = np.array([-5, -2, -1, 0, 1, 2, 3, 100]).astype(name)
        for exponent in (0, 1, 2, 3, 4, 5, 7, 40):
            ours, theirs = retrograd.from_numpy(array) ** exponent, torch.from_numpy(array) ** exponent
            np.testing.assert_array_equal(ours, theirs)
            assert str(ours.dtype) == str(theirs.dtype)
