"""Every row of the elementwise table, proved where it can be proved and sampled where it cannot.

Each test loops over the table, so that a new row is tested by the tests that exist. The oracles are SymPy
(derivatives), mpmath (values and derivatives, at 150 digits) and PyTorch (values and gradients at zeros,
infinities, NaN, denormals and ties).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError
from retrograd.compiler.ir.graph import Builder, Graph, Type, apply, interpret
from retrograd.compiler.ops import derive, derived, orthogonal
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.reverse import backpropagate

inf, nan = np.inf, np.nan
ROWS = derive.rows()
SMOOTH = [r for r in ROWS if any(r.partials) and r.types is not Types.SELECT]


def differentiable(row: Elementwise) -> list[int]:
    """The operands by which the derivative is given; "nan" says that it is not known."""
    return [k for k, text in enumerate(row.partials) if text not in (None, "nan")]


def each(rows: Sequence[Elementwise]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=lambda r: r.name)


partial_of_row = pytest.mark.parametrize(
    ("row", "operand"),
    [pytest.param(r, k, id=f"{r.name}-{r.operands[k]}") for r in SMOOTH for k in differentiable(r)],
)


@pytest.fixture(autouse=True)
def _quiet_and_precise() -> Any:
    with np.errstate(all="ignore"), mp.workdps(150):
        yield


def row_named(name: str) -> Elementwise:
    return next(r for r in ROWS if r.name == name)


# ---- the derivatives are SymPy's ---------------------------------------------------------------------------


def test_derived_py_is_what_sympy_derives() -> None:
    assert Path(derived.__file__).read_text(encoding="utf-8") == derive.module(ROWS)


@partial_of_row
def test_partial_equals_sympys_derivative(row: Elementwise, operand: int) -> None:
    """Symbolically where SymPy closes the difference, else to 20 digits at random points of the domain."""
    symbols = [derive.OPERANDS[o] for o in row.operands]
    sympys = on_domain(sp.diff(derive.meaning(row), symbols[operand]))
    ours = derive.partial_meaning(row, operand)
    if sp.expand(sympys - ours) == 0:
        return
    difference = sp.lambdify(symbols, [sympys, ours], "mpmath")
    for point in sample(row, 25):
        theirs, mine = (mp.re(v) for v in difference(*map(mp.mpf, point)))
        assert abs(theirs - mine) <= mp.mpf(10) ** -20 * (1 + abs(theirs)), point


def on_domain(derivative: Any) -> Any:
    """Jumps lie off the domain: there a floor is constant, and Dirac's delta is 0."""
    flat = derivative.replace(sp.Derivative, lambda *_: sp.Integer(0)).replace(sp.Subs, lambda e, *_: e)
    return flat.replace(sp.DiracDelta, lambda *_: sp.Integer(0))


# ---- values and derivatives to the last digits -------------------------------------------------------------

NICE = (0.0, 1.0, 2.0, 3.0, 0.5, 0.25, -0.5, -1.0, -2.0, 100.0, -100.0)
"""Where a formula changes its form, or overflows within."""
EPS = 2.0**-52


def sample(row: Elementwise, count: int) -> list[list[float]]:
    """Points of the row's domain: small and large magnitudes of both signs, and nice numbers."""
    rng = np.random.default_rng(sum(map(ord, row.name)))
    points: list[list[float]] = []
    while len(points) < count:
        size = row.arity
        kinds = rng.choice(NICE, size), 10 ** rng.uniform(-3, 1.3, size), rng.uniform(-3, 3, size)
        point = kinds[rng.choice(3)] * rng.choice([-1, 1], size)
        if row.inside(*point):
            points.append(point.tolist())
    return points


@cache
def exact(row: Elementwise) -> Callable[..., Any]:
    """The row's meaning as a function of mpmath numbers."""
    function = sp.lambdify([derive.OPERANDS[o] for o in row.operands], derive.meaning(row), "mpmath")
    return lambda *point: mp.re(function(*point))


def exact_derivative(row: Elementwise, point: Sequence[float], *operands: int) -> float:
    """By differences at 150 digits, once by each of these operands."""
    times = tuple(operands.count(k) for k in range(row.arity))
    return float(mp.re(mp.diff(exact(row), tuple(map(mp.mpf, point)), times, h=mp.mpf(10) ** -40)))


@each(SMOOTH)
def test_value_and_partials_have_the_digits_of_mpmath(row: Elementwise) -> None:
    for point in sample(row, 40):
        arrays = [np.array(p) for p in point]
        value = row.evaluate(*arrays)
        partials = row.adjoint(np.array(1.0), value, arrays, [True] * row.arity)
        slopes = {k: exact_derivative(row, point, k) for k in differentiable(row)}
        true = float(exact(row)(*map(mp.mpf, point)))
        blur = abs(true) + sum(
            abs(point[k] * slope) for k, slope in slopes.items()
        )  # of a unit in an operand
        assert value == pytest.approx(true, abs=8 * EPS * blur, rel=0), point
        for k, slope in slopes.items():
            assert partials[k] == pytest.approx(slope, rel=128 * EPS, abs=8 * EPS), (point, k)


@each(SMOOTH)
def test_second_derivatives_agree_with_differences(row: Elementwise) -> None:
    builder = Builder()
    operands = [builder.input(o, Type((), dtypes.float64)) for o in row.operands]
    one = builder.constant(1.0, dtypes.float64)
    first = backpropagate({apply(row, *operands): one}, operands)
    entries = {}
    for j, slope in ((j, first[operands[j]]) for j in differentiable(row) if operands[j] in first):
        second = backpropagate({slope: one}, operands)
        entries |= {(j, k): second[operands[k]] for k in differentiable(row) if operands[k] in second}
    hessian = Graph("hessian", tuple(operands), tuple(entries.values()))
    for point in sample(row, 12):
        values = interpret(hessian, [np.array(p) for p in point])
        for pair, ours in zip(entries, values):
            theirs = exact_derivative(row, point, *pair)
            assert float(ours) == pytest.approx(theirs, rel=1e-11, abs=1e-12), (point, pair)


# ---- PyTorch at zeros, infinities, NaN, denormals and ties -------------------------------------------------


def torch_function(torch: ModuleType, name: str) -> Callable[..., Any] | None:
    """PyTorch's function of that name; it takes some operands as numbers only, one call for each."""
    functional = torch.nn.functional

    def with_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, *numbers: torch.stack([function(*e) for e in zip(x, *(n.tolist() for n in numbers))])

    special_cases: dict[str, Callable[..., Any]] = {
        "elu": with_numbers(functional.elu),
        "celu": with_numbers(lambda x, alpha: functional.celu(x, alpha if usual(alpha) else 1.0)),
        "leaky_relu": with_numbers(functional.leaky_relu),
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "trigamma": lambda x: torch.polygamma(1, x),
        "nan_to_num": with_numbers(torch.nan_to_num),
        "gamma_p": lambda a, x: torch.special.gammainc(a.detach(), x.detach()),
        "gamma_q": lambda a, x: torch.special.gammaincc(a.detach(), x.detach()),
    }
    homes = (torch, torch.special, functional)
    return special_cases.get(name) or next(
        (getattr(home, name) for home in homes if hasattr(home, name)), None
    )


NOT_IN_TORCH = {"cbrt"}
UNDIFFERENTIATED_BY_TORCH = {"floor_divide", "heaviside", "zeta"}


class Better(NamedTuple):
    """Where a row differs from PyTorch's function, and why."""

    names: str
    """Of rows."""
    operand: int | None
    """That of a derivative, or None for the value."""
    why: str
    where: Callable[..., Any]
    """Of the operands. Elsewhere we agree."""
    near: float = inf
    """How near we are all the same, in parts of PyTorch's."""


GAMMA, BESSEL = "gamma_p gamma_q", "bessel_j0 bessel_j1 bessel_y0 bessel_y1"
FAMILIES = " ".join(orthogonal.FAMILIES)
WIDENED = frozenset(f"{GAMMA} {BESSEL} {FAMILIES}".split())
"""What we compute in float64 whatever the operands, and PyTorch is asked for in float64, too."""
BETTER = [
    Better("fmod remainder", None, "the quotient overflows",
           lambda x, y: np.isfinite(x) & (y != 0) & np.isinf(x / y)),
    Better("atan2", 0, "the square vanishes", lambda y, x: vanishes(y, x)),
    Better("atan2", 1, "the square vanishes", lambda y, x: vanishes(y, x)),
    Better("copysign", 0, "inf/inf; at NaN ours is 0, as that of abs", lambda x, y: ~np.isfinite(x)),
    Better("elu", 0, "at NaN it gives 1 or NaN, by the vector's length", lambda x, alpha: np.isnan(x)),
    Better("celu", None, "it refuses some alphas", lambda x, alpha: ~usual(alpha)),
    Better("celu", 0, "it refuses some alphas; as elu", lambda x, alpha: ~usual(alpha) | np.isnan(x)),
    Better("celu", 0, "1/alpha is of float32", lambda x, alpha: is_double(x), 1e-5),
    Better("logaddexp2", None, "it cancels", lambda x, y: (x == -1) & (y == -1)),
    Better("sinc", 0, "it cancels", lambda x: (abs(x) > 1e-9) & (abs(x) < 1e-3)),
    Better("erfcx", 0, "inf * 0", lambda x: x == inf),
    Better("ndtr gelu gelu_tanh", None, "1 + erf, or tanh, cancels", lambda x: (x < -3) & (x > -40)),
    Better("gelu", None, "float32 makes NaN of inf", lambda x: ~is_double(x) & (x == inf)),
    Better("ndtri", 0, "of subnormal numbers it loses digits",
           lambda x: (x > 0) & (x < 2 * np.finfo(x.dtype).tiny), 1e-4),
    Better("log_ndtr", 0, "it divides by a rounded erfcx", lambda x: (x < -20) & (x > -200), 1e-3),
    Better("log_ndtr", 0, "it divides by an erfcx that vanishes", lambda x: x < -200),
    Better("digamma", 0, "poles that are large numbers", lambda x: is_pole(x)),
    Better("trigamma", None, "poles that are large numbers", lambda x: is_pole(x)),
    Better("digamma", 0, "nine digits in float64", lambda x: is_double(x), 1e-9),
    Better("trigamma", None, "nine digits in float64", lambda x: is_double(x), 1e-9),
    Better("trigamma", 0, "the limits at infinity", lambda x: np.isinf(x)),
    Better("zeta", None, "it makes numbers of NaN", lambda s, y: np.isnan(s + y)),
    Better("zeta", None, "it makes NaN of what vanishes", lambda s, y: (y > 1) & ((y > 1e30) | (s > 1e30))),
    Better("sigmoid silu mish", None, "it vanishes too early",
           lambda x: ~is_double(x) & (x < -80) & (x > -104)),
    Better("softplus", 0, "it is cut off at 20", lambda x: (x > 20) & (x < 40), 1e-9),
    Better("softsign", 0, "inf/inf", lambda x: np.isinf(x)),
    Better(GAMMA, None, "it makes numbers of NaN", lambda a, x: np.isnan(a) | np.isnan(x)),
    Better(GAMMA, None, "it cancels where a is tiny, or overflows", lambda a, x: is_extreme(a) & (x > 0)),
    Better("gamma_p", None, "it vanishes with x too early", lambda a, x: (a == 1) & (x < 1e-300)),
    Better(GAMMA, None, "nine digits", lambda a, x: a > 0, 1e-8),
    Better("airy_ai", None, "it makes NaN of inf", lambda x: x == inf),
    Better(f"airy_ai {BESSEL}", None, "a rounded phase", lambda x: np.isfinite(x) & (abs(x) > 1e6)),
    Better(BESSEL, None, "six digits", lambda x: abs(x) < 1e6, 1e-6),
    Better("airy_ai", None, "nine digits", lambda x: is_double(x) & (abs(x) < 1e6), 1e-8),
    Better("airy_ai", None, "a rounded phase", lambda x: (x < -90) & (x > -1e6), 1e-5),
    Better(FAMILIES, None, "it makes numbers of NaN", lambda x, n: np.isnan(x)),
    Better(FAMILIES, None, "it loses digits", lambda x, n: n > 3, 1e-11),
    Better(FAMILIES, None, "a zero is what it lost", lambda x, n: (abs(x) == 0.5) & (n >= 10)),
]  # fmt: skip


def is_double(x: Any) -> Any:
    return np.full(x.shape, x.itemsize == 8)


def is_pole(x: Any) -> Any:
    return (x < 0) & (np.rint(x) == x)


def is_extreme(a: Any) -> Any:
    return (a > 0) & ((a < 1e-7) | (a > 1e30))


def usual(alpha: Any) -> Any:
    return (np.abs(alpha) > 1e-37) & (np.abs(alpha) < 1e37)


def vanishes(y: Any, x: Any) -> Any:
    square = x * x + y * y
    return (square < np.finfo(x.dtype).tiny) & (np.maximum(abs(x), abs(y)) > 0)


def special_values(dtype: Any, arity: int) -> list[Any]:
    """All combinations of numbers where formulas go wrong, one array for each operand."""
    limits = np.finfo(dtype)
    edges = (0.0, -0.0, inf, -inf, nan, 1.0, -1.0, 0.5, 2.0, -3.2)
    more = (-0.5, 0.3, -0.7, -2.0, 3.7, 6.0, 10.0, -12.0, 30.0, -45.0, 100.0, -100.0, 1e-8, -1e-4, 1e8, -1e12)
    extremes = (limits.tiny / 8, -limits.tiny / 8, limits.tiny, limits.max, -limits.max, limits.max / 4)
    values = edges + more + extremes if arity < 3 else edges if arity == 3 else edges[:6]
    return [np.array(column, dtype) for column in zip(*product(values, repeat=arity))]


def assert_as_torch(
    arrays: Any, ours: Any, theirs: Any, better: list[Better], digits: float, floor: float
) -> None:
    """Equal, with NaN and infinities at the same places, apart from where we are better."""
    assert ours.dtype == theirs.dtype
    with np.errstate(all="ignore"):
        off = np.abs(ours - theirs)
        near = off <= digits * np.abs(theirs) + floor
        for entry in better:
            near = near | entry.where(*arrays) & ((off <= entry.near * np.abs(theirs)) | (entry.near == inf))
    agree = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)) | near
    at = np.flatnonzero(~agree)[:9]
    assert not at.size, [(*(float(a[k]) for a in arrays), "gives", ours[k], "not", theirs[k]) for k in at]


FLOATS = [r for r in ROWS if r.types in (Types.NUMERIC, Types.NUMBER, Types.FLOAT, Types.ROUND)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each(FLOATS)
def test_values_and_gradients_at_special_values_are_those_of_pytorch(
    row: Elementwise, dtype: Any, torch: ModuleType
) -> None:
    function = torch_function(torch, row.name)
    assert (function is None) == (row.name in NOT_IN_TORCH)
    arrays = special_values(dtype, row.arity)
    if row.name in orthogonal.FAMILIES:  # what takes as many steps as its degree is not soon done
        arrays = [a[np.abs(arrays[1]) < 1e4] for a in arrays]
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = row.evaluate(*arrays)
    assert value.dtype == dtype
    if function is None:
        return
    theirs = function(*(t.double() if row.name in WIDENED else t for t in tensors))
    eps = 64 * float(np.finfo(dtype).eps)
    better = [entry for entry in BETTER if row.name in entry.names.split()]
    own, least = [e for e in better if e.operand is None], 4 * np.finfo(dtype).smallest_subnormal
    assert_as_torch(arrays, value, theirs.detach().to(tensors[0].dtype).numpy(), own, eps, least)

    if not any(row.partials) and row.types is Types.FLOAT:
        assert not theirs.requires_grad
        return
    if row.name in UNDIFFERENTIATED_BY_TORCH:
        with pytest.raises(RuntimeError, match="not implemented"):
            torch.autograd.grad(theirs.sum(), tensors)
        return
    gradients = torch.autograd.grad(theirs.sum(), tensors, allow_unused=True)
    ours = row.adjoint(np.ones_like(value), value, arrays, [True] * row.arity)
    for k, (mine, gradient) in enumerate(zip(ours, gradients)):
        if gradient is not None:
            own = [entry for entry in better if entry.operand == k]
            mine = np.broadcast_to(mine, value.shape)
            assert_as_torch(arrays, mine, gradient.numpy(), own, eps, eps / 16)


WHOLE = [
    r for r in ROWS if r.types in (Types.NUMERIC, Types.NUMBER, Types.INTEGER, Types.WHOLE, Types.COMPARE)
]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
@each(WHOLE)
def test_values_of_whole_numbers_are_those_of_pytorch(
    row: Elementwise, dtype: str, torch: ModuleType
) -> None:
    if dtype == "bool" and row.types in (Types.NUMBER, Types.WHOLE):
        with pytest.raises(DtypeError, match=f"{row.name} takes integer"):
            row.infer(*[Type((), dtypes.bool_)] * row.arity)
        return
    limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    below = (-1, -2, -3, -8, -100) if dtype.startswith("i") else ()
    values = {0, 1, 2, 3, 7, 8, 31, 63, 64, 100, *limits, *below}
    arrays = [np.array(column, dtype) for column in zip(*product(sorted(values), repeat=row.arity))]
    if row.name in ("fmod", "remainder", "floor_divide"):  # by 0 PyTorch raises, and here the value is 0
        assert (row.evaluate(*(a[arrays[1] == 0] for a in arrays)) == 0).all()
        usual = (arrays[1] != 0) & ~((arrays[0] == limits[0]) & (arrays[1].astype("int64") == -1))
        arrays = [a[usual] for a in arrays]
    if row.name in ("gcd", "lcm"):  # of the least number PyTorch finds negative divisors; multiples overflow
        least = -limits[1]
        fits = [min(xy) >= least and math.lcm(*map(int, xy)) <= limits[1] for xy in zip(*arrays)]
        arrays = [a[fits] for a in arrays]
    function = torch_function(torch, row.name)
    assert function is not None
    value = row.evaluate(*arrays)
    theirs = function(*map(torch.tensor, arrays)).numpy()
    assert value.dtype == theirs.dtype
    np.testing.assert_array_equal(value, theirs)


@each([r for r in ROWS if r.types in (Types.LOGICAL, Types.CLASSIFY)])
def test_truth_and_kinds_are_those_of_pytorch(row: Elementwise, torch: ModuleType) -> None:
    arrays = special_values(np.float32, row.arity)
    if row.types is Types.LOGICAL:
        arrays = [a > 0 for a in arrays]
    function = torch_function(torch, row.name)
    assert function is not None
    np.testing.assert_array_equal(row.evaluate(*arrays), function(*map(torch.tensor, arrays)).numpy())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@each(FLOATS)
def test_formulas_and_partials_keep_the_dtype(row: Elementwise, dtype: Any) -> None:
    arrays = [np.array(0.5, dtype)] * row.arity
    value = row.evaluate(*arrays)
    partials = row.adjoint(np.array(1, dtype), value, arrays, [True] * row.arity)
    assert value.dtype == dtype
    known = [p.dtype for p in partials if p is not None]
    assert len(known) == sum(text is not None for text in row.partials)
    assert set(known) <= {np.dtype(dtype)}


# ---- what a row refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_formula_of_a_row_native_on_integers_only_is_its_value(dtype: Any) -> None:
    partly = [
        r for r in ROWS if r.native and not r.is_native(dtypes.dtype(dtype)) and r.types is Types.NUMBER
    ]
    assert [r.name for r in partly] == ["floor_divide"]
    arrays = special_values(dtype, 2)
    for row in partly:
        np.testing.assert_array_equal(row.expansion(*arrays), row.evaluate(*arrays))


def test_where_chooses_and_sends_the_cotangent_to_the_chosen() -> None:
    where = row_named("where")
    condition, x, y = np.array([True, False]), np.array([1.0, nan]), np.array([inf, 4.0])
    assert where.evaluate(condition, x, y).tolist() == [1.0, 4.0]
    first, *others = where.adjoint(np.array([5.0, 6.0]), x, [condition, x, y], [False, True, True])
    assert first is None
    assert [g.tolist() for g in others] == [[5.0, 0.0], [0.0, 6.0]]


def test_operands_of_two_dtypes_are_refused() -> None:
    with pytest.raises(DtypeError, match=r"add\(f32\[2\], f64\[2\]\); the operands' dtypes differ; cast"):
        row_named("add").infer(Type((2,), dtypes.float32), Type((2,), dtypes.float64))


def test_a_condition_that_is_no_bool_is_refused() -> None:
    with pytest.raises(DtypeError, match=r"where\(f32\[\], f32\[\], f32\[\]\); the condition is not bool"):
        row_named("where").infer(*[Type((), dtypes.float32)] * 3)


def test_a_wrong_number_of_operands_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"exp\(\) with 2 operands; it takes 1"):
        row_named("exp").infer(*[Type((), dtypes.float32)] * 2)


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"(?s) at non-singleton dimension 1.*mul of shapes \[2, 3\] and \[4\]; reshape"
    ):
        row_named("mul").infer(Type((2, 3), dtypes.float32), Type((4,), dtypes.float32))
