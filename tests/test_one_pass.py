"""Elementwise graphs of many elements as one pass: rows and derivatives beside NumPy and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler import dtypes
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import OPS, Builder, Graph, Node, Type, interpret
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Cast
from retrograd.runtime.native.small import one_pass

ROWS = [op for op in OPS.values() if isinstance(op, Elementwise) and op.takes(dtypes.float32)]
COUNT = 4099
NUMBERS = np.random.default_rng(0).uniform(0.2, 0.8, (4, COUNT))


def slow(*arrays: object) -> object:
    raise AssertionError("the native call has not taken its arguments")


def compared(inputs: Sequence[Node], outputs: Sequence[Node], arrays: Sequence[np.ndarray]) -> bool:
    """Check the graph against NumPy; False where it is not for one pass."""
    run = one_pass.function_of(inputs, outputs, list(range(len(outputs))), slow)
    if run is None:
        return False
    expected = quietly(interpret, Graph("row", tuple(inputs), tuple(outputs)), arrays)
    for found, wanted in zip(quietly(run, *arrays), expected, strict=True):
        assert found.dtype == wanted.dtype
        exact = 1e-12 if found.dtype == np.float64 else 2e-5
        np.testing.assert_allclose(found, wanted, rtol=exact, atol=exact)
    return True


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_and_their_derivatives(row: Elementwise, dtype: dtypes.DType) -> None:
    many, one = Type((COUNT,), dtype), Type((), dtype)
    truths = [Type((COUNT,), dtypes.bool_)] if row.name == "where" else []
    for rest in ([many] * row.arity, [many, *[one] * (row.arity - 1)]):
        types = [*truths, *rest][: row.arity]
        builder = Builder()
        with builder.at(None):
            ct, operands = builder.input("ct", many), [builder.input(f"x{k}", t) for k, t in enumerate(types)]
            out = builder.node(row, *operands)
            if out.dtype is not dtype:
                return
            needed = [t is many for t in types]
            found = [x for x in cotangents(row, ct, out, operands, needed) if x is not None]
        arrays = [(NUMBERS[k] - 0.5 * (t.dtype is dtypes.bool_)).clip(0) for k, t in enumerate(types)]
        arrays = [np.array(a if t.ndim else a[0], t.dtype.numpy) for a, t in zip(arrays, types)]
        compared(operands, [out], arrays)
        for each in found:
            compared([ct, *operands], [each], [NUMBERS[-1].astype(dtype.numpy), *arrays])


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "elu", "silu", "tanh", "sigmoid", "lerp", "mish", "softplus"]
)
def test_chief_ones_are_one_pass(name: str) -> None:
    row = OPS[name]
    assert isinstance(row, Elementwise)
    many = Type((COUNT,), dtypes.float32)
    builder = Builder()
    with builder.at(None):
        ct, operands = builder.input("ct", many), [builder.input(f"x{k}", many) for k in range(row.arity)]
        found = cotangents(row, ct, builder.input("out", many), operands, [True] + [False] * (row.arity - 1))
    assert found[0] is not None
    inputs = [ct, *[x for x in builder.inputs if x is not ct]]
    assert one_pass.function_of(inputs, [found[0]], [0], slow) is not None


@pytest.mark.parametrize("made", [
    "f.leaky_relu(x, 0.1)", "f.relu(x)", "f.silu(x)", "f.elu(x)", "x.clamp(min=0.3)", "x.tanh()",
    "x ** 2", "y / x", "t.lerp(x, y, 0.3)", "t.lerp(x, y, 0.7)", "f.softplus(x)", "t.where(x > 0, x, y)",
    "f.hardswish(x)", "x.abs()",
])  # fmt: skip
@pytest.mark.parametrize("shape", [(3000,), (5, 7, 90), (200, 100)], ids=str)
def test_values_and_gradients_are_pytorchs(torch: object, made: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    given = [rng.standard_normal(shape).astype(np.float32) for _ in range(3)]
    given[0].flat[:3] = np.nan, np.inf, 0.0
    found = []
    for t in (retrograd, torch):
        x, y, ct = map(t.from_numpy, map(np.copy, given))
        x.requires_grad_()
        for turned in (x, x.transpose(0, -1)):
            other = y if turned is x else y.transpose(0, -1)
            names = {"t": t, "f": t.nn.functional, "x": turned, "y": other}
            for _ in range(3):  # the rule is made when it has been asked for before
                x.grad = None
                out = eval(made, names)
                out.backward(ct if turned is x else ct.transpose(0, -1))
            found.append((out.detach().numpy(), x.grad.numpy()))
    for (value, gradient), (wanted, slope) in zip(found[:2], found[2:]):
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(gradient, slope, rtol=2e-5, atol=2e-6)


QUICK = [row for row in ROWS if row.name in one_pass.QUICK]
SHAPES = [(), (1,), (7,), (3, 17), (5, 33000), (33000, 5), (2, 3, 16411)]
"""The last three are of so many elements that threads share them."""


def special(shape: tuple[int, ...], dtype: type[np.floating], seed: int) -> np.ndarray:
    """Numbers of either sign, among them zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    odd = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40], shape)
    return np.where(rng.random(shape) < 0.1, odd, rng.normal(0, 2, shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.name)
def test_quick_rows_give_the_bits_of_numpy(
    row: Elementwise, shape: tuple[int, ...], dtype: type[np.floating]
) -> None:
    compute = getattr(retrograd, row.name)
    whole = special(shape, dtype, 0)
    others = [(whole,)]
    if row.arity == 2:
        repeated = [shape, (), shape[-1:], shape[1:], (1, *shape[1:]), (*shape[:-1], 1)]
        ys = [special(each, dtype, 1) for each in dict.fromkeys(repeated) if len(each) <= len(shape)]
        others = [pair for y in ys for pair in ((whole, y), (y, whole))]
    turned = [tuple(np.asfortranarray(x) for x in pair) for pair in others]
    backwards = [tuple(x[..., ::-1] if x.ndim else x for x in pair) for pair in others]
    before = retrograd.get_num_threads()
    try:
        for pair in others + turned + backwards:
            wanted = quietly(row.numpy, *pair)
            tensors = [retrograd.from_numpy(x.copy() if min(x.strides, default=0) < 0 else x) for x in pair]
            for threads in (1, 2):
                retrograd.set_num_threads(threads)
                for _ in range(2):  # the first call makes the kernel
                    found = compute(*tensors).numpy()
                    assert found.dtype == dtype
                    np.testing.assert_array_equal(found, wanted)
                    numbers = ~np.isnan(wanted)
                    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(wanted)[numbers])
    finally:
        retrograd.set_num_threads(before)


def test_hypot_is_a_kernel_for_operands_of_all_shapes() -> None:
    for shape in SHAPES:
        for dtype in (np.float32, np.float64):
            x, y = special(shape, dtype, 0), special(shape[-1:], dtype, 1)
            wanted = quietly(np.hypot, x.astype(np.longdouble), y.astype(np.longdouble)).astype(dtype)
            for _ in range(2):
                found = retrograd.hypot(retrograd.from_numpy(x), retrograd.from_numpy(y)).numpy()
                np.testing.assert_array_max_ulp(found[~np.isnan(wanted)], wanted[~np.isnan(wanted)], 2)
                np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))


BROADCAST = [
    ((5, 1, 7), (1, 6, 7)),
    ((300, 1), (1, 701)),
    ((64, 1, 32), (64, 32)),
    ((2, 1, 3, 1), (4, 1, 5)),
    ((3, 1), (4, 3, 5)),
    ((1, 1, 1), (5,)),
    ((2, 3, 1, 1), (2, 3, 40, 50)),
    ((7, 1, 1, 9), (1, 8, 1, 9)),
    ((2, 0, 3), (3,)),
    ((1,) * 9, (2, 3)),
    ((1,) * 8 + (2,), (3, 1)),
]


@pytest.mark.parametrize(("left", "right"), BROADCAST, ids=str)
def test_quick_rows_repeat_operands_along_any_axes(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = special(left, np.float32, 0), special(right, np.float32, 1)
    for a, b in ((x, y), (y, x)):
        for _ in range(2):
            found = retrograd.from_numpy(a) - retrograd.from_numpy(b)
            np.testing.assert_array_equal(found.numpy(), quietly(np.subtract, a, b))
            assert found.is_contiguous()


VIEWS = [
    lambda x: x[:, :1],
    lambda x: x[:1, :],
    lambda x: x[:, ::2][:1],
    lambda x: x[::3, :1].expand(-1, 5)[:20, :1],
    lambda x: x.t()[:1],
    lambda x: x[:, 0],
    lambda x: x[0, 1:2].expand(60, 1),
    lambda x: x[:, None, :7],
    lambda x: x.expand(2, 60, 60)[:, :1],
    lambda x: x[:20, :8],
]


@pytest.mark.parametrize("number", range(len(VIEWS)))
def test_quick_rows_repeat_views(number: int) -> None:
    x, y = special((60, 60), np.float32, 0), special((60, 60), np.float32, 1)
    torch = pytest.importorskip("torch")
    others = [
        lambda y: y,
        lambda y: y.t(),
        lambda y: y[:, :1],
        lambda y: y[None, :1, :7],
        lambda y: y[:, 0, None],
    ]
    for view in (VIEWS[number], lambda x: VIEWS[number](x).clone()):
        for other in others:
            for swapped in (False, True):
                results = []
                for library in (torch, torch, retrograd, retrograd):
                    a, b = view(library.from_numpy(x)), other(library.from_numpy(y))
                    try:
                        results.append(b * a if swapped else a * b)
                    except RuntimeError:
                        results.append(None)
                wanted, *_, found = results
                assert (wanted is None) == (found is None)
                if wanted is not None and found is not None:
                    np.testing.assert_array_equal(found.numpy(), wanted.numpy())
                    assert found.stride() == wanted.stride()


def test_shapes_that_do_not_fit_are_refused_by_quick_rows() -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="must match the size"):
            retrograd.ones(3, 4) + retrograd.ones(3, 5)


# ---- halves and casts --------------------------------------------------------------------------------------
HALVES = [dtypes.float16, dtypes.bfloat16]
_FAR = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-6, -6e-8, 65504.0, 65520.0, 3.4e38, 1e-45, 127.5, -3.7]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_of_halves_are_those_of_singles_rounded_once(row: Elementwise, dtype: dtypes.DType) -> None:
    if not row.takes(dtype):
        return
    arrays = [NUMBERS[k].astype("f4").astype(dtype.numpy) for k in range(row.arity)]
    if row.name == "where":
        arrays[0] = NUMBERS[0] > 0.5
    wide = [x.astype("f4") if x.dtype == dtype.numpy else x for x in arrays]
    found = quietly(one_pass.of_halves(row, dtype.numpy, slow), *arrays)
    wanted = quietly(row.evaluate, *wide)
    if wanted.dtype == np.float32:
        digits = 10 if dtype is dtypes.float16 else 7
        assert found.dtype == dtype.numpy
        np.testing.assert_allclose(found.astype("f4"), wanted, rtol=1.01 * 2.0 ** -(digits + 1), atol=1e-6)
    else:
        np.testing.assert_array_equal(found, wanted)


REAL = [*(d for d in dtypes.ALL if not d.is_complex), dtypes.bfloat16]


@pytest.mark.parametrize("shape", [(), (3,), (70, 50), (300, 217)], ids=str)
@pytest.mark.parametrize("target", REAL, ids=str)
@pytest.mark.parametrize("source", REAL, ids=str)
def test_casts_are_numpys(source: dtypes.DType, target: dtypes.DType, shape: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(0).uniform(-100, 100, shape)
    if shape and source.is_floating_point and target.is_floating_point:
        numbers.reshape(-1)[: len(_FAR)] = _FAR[: numbers.size]
    if not source.is_signed or not target.is_signed:
        numbers = np.abs(numbers)
    with np.errstate(all="ignore"):
        x = np.asarray(numbers).astype(source.numpy)
        wanted = x.astype(target.numpy)
    run = one_pass.of_cast(Cast(target), source)
    if run is None:
        assert (source, target) == (dtypes.float64, dtypes.bfloat16)
        return
    for array, result in (
        (x, wanted),
        (x.T, wanted.T),
        (x[..., 1:] if shape else x, wanted[..., 1:] if shape else wanted),
    ):
        found = quietly(run, array)
        assert found.dtype == target.numpy
        np.testing.assert_array_equal(np.asarray(found).astype("f8"), result.astype("f8"))


# ---- parts of memory ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "loss",
    [
        "a, b = x.chunk(2, 1); (a * b).sum().backward()",
        "a, b = x.chunk(2, 1); (f.silu(a) * b).backward(t.ones_like(a))",
        "a, b, c = x.split([100, 300, 112], 1); (a / b[:, :100] - c[:, :100]).pow(2).mean().backward()",
        "(x.t() * x[:512].t().t().t()[:, :1]).sum(0).prod(0).log().backward()",
        "(x.abs() ** x.detach().abs()[:, :1]).backward(t.ones(1).expand(600, 512))",
    ],
)
def test_gradients_of_parts_are_pytorchs(torch: ModuleType, loss: str) -> None:
    array, found = np.random.default_rng(0).uniform(0.5, 1, (600, 512)).astype(np.float32), []
    for t in (retrograd, torch):
        x = t.tensor(array, requires_grad=True)
        for _ in range(3):
            x.grad = None
            exec(loss, {"t": t, "f": t.nn.functional, "x": x})
        found.append(np.asarray(x.grad))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float16"])
@pytest.mark.parametrize("view", [
    "x.t().reshape(-1)", "x.reshape(10, 60, 512).transpose(0, 1).reshape(60, -1)", "x.t()[0].reshape(2, 300)",
    "x[:, ::3].t().reshape(9, -1)", "x.reshape(600, 2, 256).permute(1, 2, 0).flatten(1)",
    "x[:, :1].expand(600, 70).reshape(-1)", "x.repeat_interleave(2, 1)",
])  # fmt: skip
def test_shapes_of_what_does_not_lie_in_order(torch: ModuleType, view: str, dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 9, (600, 512))
    ours, theirs = (t.tensor(array).to(getattr(t, dtype)) for t in (retrograd, torch))
    for _ in range(4):
        found, wanted = eval(view, {"x": ours}), eval(view, {"x": theirs})
        assert (tuple(found.shape), found.stride()) == (tuple(wanted.shape), wanted.stride())
        np.testing.assert_array_equal(found.float().numpy(), wanted.float().numpy())


# ---- divisions of whole numbers ----------------------------------------------------------------------------
def _dividends(dtype: np.dtype[Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of all sizes, multiples and their neighbours, and around the last whole number that a float64 tells
    from the next; divisors small and great, no 0."""
    rng, info = np.random.default_rng(0), np.iinfo(dtype)
    x, y = (rng.integers(info.min, info.max, count, dtype, endpoint=True) for _ in range(2))
    y[::2] = rng.integers(1, 10, len(y[::2]))
    most = min(int(info.max), 2**52)
    factor, other = (rng.integers(1, int(most**0.5), count // 4) for _ in range(2))
    y[: len(factor)], x[: len(factor)] = factor, factor * other - rng.integers(0, 2, len(factor))
    if info.bits == 64 and count > 100:
        x[-40:] = 2**53 + np.arange(-20, 20)
        x[-90:-50] = -x[-40:]
    if info.min < 0:
        y[5::17], x[5::34] = -1, info.min
    y[y == 0] = 3
    return x, y


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_divisions_of_whole_numbers_are_numpys(name: str, dtype: str) -> None:
    numpys, call = getattr(np, name), getattr(retrograd, name)
    compiled = retrograd.compile_grad(lambda a, b: call(a, b))
    for count in (7, 1000, 70_001):
        x, y = _dividends(np.dtype(dtype), count)
        with np.errstate(all="ignore"):
            wanted, by_one = numpys(x, y), numpys(x, x.dtype.type(7))
        a, b = retrograd.tensor(x), retrograd.tensor(y)
        for _ in range(3):
            np.testing.assert_array_equal(call(a, b), wanted)
            np.testing.assert_array_equal(call(a, 7), by_one)
            np.testing.assert_array_equal(compiled(a, b), wanted)
        b[count - 1] = 0
        for _ in range(3):
            with pytest.raises(RetrogradError, match="ZeroDivisionError"):
                call(a, b)
