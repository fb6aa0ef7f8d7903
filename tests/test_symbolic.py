"""SymPy in and out: the graph of an expression computes it; the expression of a graph is what it computes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf
from native import build, graph_of

from retrograd.compiler import symbolic
from retrograd.compiler.adjoint import joint
from retrograd.compiler.dtypes import bool_, float32, float64
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import OPS, Type, Value, apply, interpret
from retrograd.compiler.ir.verify import verify_graph
from retrograd.compiler.ops import orthogonal
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.reduce import amax, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.softmax import softmax
from retrograd.compiler.ops.sort import argsort
from retrograd.compiler.symbolic import from_sympy, function, to_sympy

x, y, z = sp.symbols("x y z", real=True)
POINTS = (np.array([0.3, 1.7, -0.4, 2.5]), np.array([-0.7, 0.2, 1.1, -2.0]), np.array([1.5, 0.6, -0.8, 0.1]))


def assert_computes(expression: Any, *symbols: Any) -> None:
    """The graph, by NumPy and by machine code, against mpmath."""
    points = POINTS[: len(symbols)]
    graph = from_sympy(expression, symbols, [Type((4,), float64)] * len(symbols))
    verify_graph(graph)
    (value,) = interpret(graph, points)
    exact = sp.lambdify(symbols, expression, "mpmath")
    wanted = [float(exact(*map(mpf, map(float, point)))) for point in zip(*points, strict=True)]
    np.testing.assert_allclose(np.broadcast_to(value, 4), wanted, rtol=1e-12, atol=1e-13)
    if graph.outputs[0].shape:
        np.testing.assert_allclose(build(graph)(*points)[0], value, rtol=1e-12, atol=1e-13)


# ---- in ----------------------------------------------------------------------------------------------------

EXPRESSIONS = (
    x + y - z, x - y * 2, -x - y, x * y / z, x / (y * z**2), -x * y, 2 / x, sp.pi * x + sp.E, x**3,
    (1 + x**2) ** -2, sp.sqrt(1 + x**2), 1 / sp.sqrt(1 + y**2), (1 + x**2) ** sp.Rational(5, 3),
    sp.cbrt(2) - x,
    sp.exp(-(x**2)), sp.log(1 + y**2), sp.sin(x) * sp.cos(y) + sp.tan(z), sp.asin(x / 3), sp.acos(y / 3),
    sp.atan(z), sp.atan2(x, y), sp.sinh(x) - sp.cosh(y) * sp.tanh(z), sp.asinh(x), sp.acosh(x**2 + 1),
    sp.atanh(y / 3), sp.erf(x), sp.erfc(y), sp.erfinv(x / 3), sp.loggamma(x**2 + 1), sp.digamma(y**2 + 1),
    sp.polygamma(1, z**2 + 1), sp.polygamma(3, y), sp.zeta(x**2 + 2), sp.zeta(4, y),
    sp.Abs(x * y), sp.sign(y), sp.floor(3 * x), sp.ceiling(3 * y),
    sp.Max(x, y, z, 0), sp.Min(x, y, 1), sp.Mod(x, 2), sp.Heaviside(x), sp.Heaviside(y, 1), sp.sinc(x),
    sp.Piecewise((x, x > y), (y**2, sp.Or(y > 1, x < 0)), (0, True)), sp.Piecewise((1, x > 0), (-1, True)),
    sp.ITE(x > y, x > 0, y > 0) & (z < 2), sp.Ne(x, y) & ~(x >= z), x <= y, sp.Rational(1, 3) + x, x,
    (sp.sin(x + y) ** 2 + sp.cos(x + y)) / sp.sin(x + y),
)  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_expressions_are_computed(expression: Any) -> None:
    symbols = sorted(expression.free_symbols, key=str)
    assert_computes(expression, *symbols)


LEAVES = st.sampled_from((x, y, sp.Integer(2), sp.Rational(1, 3), sp.Float(0.7)))
UNARY = (
    sp.sin,
    sp.tanh,
    sp.atan,
    sp.Abs,
    lambda e: sp.exp(-(e**2)),
    lambda e: sp.sqrt(1 + e**2),
    lambda e: -e,
)
BINARY = (
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (1 + b**2), sp.Max,
    lambda a, b: sp.Piecewise((a, a > sp.Float(0.31)), (b, True)),
)  # fmt: skip


def grown(children: Any) -> Any:
    one = st.builds(lambda f, a: f(a), st.sampled_from(UNARY), children)
    return one | st.builds(lambda f, a, b: f(a, b), st.sampled_from(BINARY), children, children)


@given(st.recursive(LEAVES, grown, max_leaves=8))
@settings(max_examples=40)
def test_random_expressions_are_computed(expression: Any) -> None:
    assert_computes(expression + 0 * x, x, y)


def test_derivatives_by_sympy_and_by_the_adjoint_are_the_same() -> None:
    expression = sp.sin(x) * sp.exp(-x * y) / (1 + y**2) + sp.Max(x, y**2)
    graph = joint(from_sympy(expression, (x, y)), [0, 1])
    theirs = from_sympy([expression.diff(x), expression.diff(y)], (x, y))
    at = [np.array(0.3), np.array(1.7)]
    np.testing.assert_allclose(interpret(graph, at)[1:], interpret(theirs, at), rtol=1e-14)


def test_several_outputs_share_what_they_have_in_common() -> None:
    graph = from_sympy([sp.sin(x + y), sp.sin(x + y) ** 2, sp.cos(x + y)], (x, y))
    names = [node.op.name for node in graph.nodes]
    assert sorted(names) == ["add", "cos", "sin", "square"]


def test_a_matrix_is_stacked_before_the_axes_of_its_entries() -> None:
    polar = sp.Matrix([x * sp.cos(y), x * sp.sin(y)])
    jacobian = function(polar.jacobian([x, y]), (x, y))
    r, angle = np.array([1.0, 2.0]), np.array([0.5, -0.5])
    found = jacobian(r, angle)
    assert found.shape == (2, 2, 2)
    wanted = [[np.cos(angle), -r * np.sin(angle)], [np.sin(angle), r * np.cos(angle)]]
    np.testing.assert_allclose(found, wanted)
    assert function(sp.Matrix([[1, x]]), (x,))(r.astype(np.float32)).dtype == np.float32


def test_a_function_has_the_names_of_its_symbols() -> None:
    import inspect

    assert str(inspect.signature(function(x * y, (y, x)))) == "(y, x)"


def test_graphs_of_other_types() -> None:
    graph = from_sympy(x / 3 + 1, (x,), [Type((2, 3), float32)], name="third")
    assert str(graph).startswith("graph third(x: f32[2, 3]) -> f32[2, 3] {")


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        (x + y, "y is no argument; the arguments are x"),
        (sp.Si(x), "there is no function of that meaning here"),
        (sp.polygamma(x, 2), "its order is no whole number below 170"),
        (sp.I * x, "it is not real"),
        (sp.Integral(sp.exp(-(x**2)), (x, 0, x)), "there is no function of that meaning here"),
    ],
    ids=str,
)
def test_what_cannot_be_computed_is_told(expression: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        from_sympy(expression, (x,))


# ---- out ---------------------------------------------------------------------------------------------------

TABLE = [op for op in OPS.values() if isinstance(op, Elementwise)]
WITHOUT_EXPRESSION = {
    "cbrt", "round", "isnan", "copysign", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not",
    "bitwise_left_shift", "bitwise_right_shift", "gcd", "lcm", "gamma_p", "gamma_q", *orthogonal.FAMILIES,
}  # fmt: skip


def operand(row: Elementwise, k: int) -> np.ndarray[Any, Any]:
    if row.types is Types.LOGICAL or (row.types is Types.SELECT and k == 0):
        return np.array([True, False, True])
    return np.array([0.6, 0.3, 0.45]) + 0.2 * k + (1 if row.name in ("acosh", "zeta") else 0)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_has_an_expression_or_says_that_it_has_none(row: Elementwise) -> None:
    if row.types in (Types.INTEGER, Types.WHOLE):
        arrays = [np.array([3, 5, 6])] * row.arity
    else:
        arrays = [operand(row, k) for k in range(row.arity)]
    graph = graph_of(lambda *operands: apply(row, *operands), *(a[0] for a in map(np.asarray, arrays)))
    try:
        (expression,) = to_sympy(graph)
    except ArgumentError:
        assert row.name in WITHOUT_EXPRESSION or "round" in row.formula or "copysign" in row.formula
        return
    symbols = [sp.Symbol(f"x{k}", real=True) for k in range(row.arity)]
    for point in zip(*arrays, strict=True):
        wanted = row.evaluate(*(np.asarray(p) for p in point))
        values = [
            sp.true if p is np.True_ else sp.false if p is np.False_ else sp.Float(float(p), 30)
            for p in point
        ]
        found = expression.subs(dict(zip(symbols, values, strict=True)))
        assert complex(sp.N(found) if graph.outputs[0].dtype is not bool_ else bool(found)) == pytest.approx(
            complex(wanted), rel=1e-9
        )


def test_arrays_are_opened() -> None:
    def f(a: Value, b: Value) -> list[Value]:
        return [sum_(rows.mul(a, b), (0, 1)), amax(a, (1,)), rows.mul(a, 0.5)]

    total, greatest, half = to_sympy(graph_of(f, np.zeros((2, 2)), np.zeros(2)))
    a = sp.Array(sp.symbols("x0_0_0 x0_0_1 x0_1_0 x0_1_1", real=True), (2, 2))
    b = sp.symbols("x1_0 x1_1", real=True)
    assert sp.expand(total - sum(a[i, j] * b[j] for i in range(2) for j in range(2))) == 0
    assert greatest == sp.Array([sp.Max(a[0, 0], a[0, 1]), sp.Max(a[1, 0], a[1, 1])])
    assert half == a / 2


def test_composites_and_gradients_are_opened() -> None:
    (found,) = to_sympy(graph_of(lambda a: softmax(a, 0), np.zeros(2)))
    first, second = sp.symbols("x0_0 x0_1", real=True)
    at = {first: 0.3, second: 1.1}
    assert float(found[0].subs(at)) == pytest.approx(1 / (1 + np.exp(0.8)))
    graph = joint(from_sympy(sp.sin(x) * y, (x, y)), [0, 1])
    assert to_sympy(graph) == (sp.sin(x) * y, y * sp.cos(x), sp.sin(x))


def test_there_and_back_is_the_same() -> None:
    for expression in (x**2 + y / 3, sp.sqrt(x) - sp.log(y), sp.Max(x, y) * sp.pi, sp.exp(x - 2) / y):
        (again,) = to_sympy(from_sympy(expression, (x, y)))
        assert float((again - expression).subs({x: 0.7, y: 1.3})) == pytest.approx(0, abs=1e-14)


def test_ops_without_an_expression_say_so() -> None:
    with pytest.raises(ArgumentError, match="argsort as a SymPy expression"):
        to_sympy(graph_of(lambda a: argsort(a, 0), np.zeros(2)))


def test_importing_loads_no_sympy() -> None:
    program = f"import sys, {symbolic.__name__}; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
