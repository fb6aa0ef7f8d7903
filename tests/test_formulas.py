"""Formulas at the front door: Tensors, arrays and numbers through SymPy, and graphs as formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

import retrograd as rg
from retrograd.compiler.errors import ArgumentError

x, y = sp.symbols("x y", real=True)
WAVE = sp.sin(x) * sp.exp(-(y**2)) + sp.log(1 + x**2)


def at(expression: Any, first: float, second: float) -> float:
    return float(expression.subs({x: first, y: second}))


def test_numbers_and_arrays_are_computed_in_double_precision() -> None:
    wave = rg.from_sympy(WAVE, (x, y))
    value = wave(0.5, 1.5)
    assert type(value) is float
    assert value == pytest.approx(at(WAVE, 0.5, 1.5), rel=1e-15)
    many = wave(np.array([0.5, 2.0]), 1)
    assert type(many) is np.ndarray
    np.testing.assert_allclose(many, [at(WAVE, 0.5, 1), at(WAVE, 2, 1)], rtol=1e-15)
    assert wave(np.float32([[1.0]]), 2).dtype == np.float32


@pytest.mark.parametrize("dtype", [rg.float32, rg.float64])
def test_tensors_have_a_history_and_broadcast(dtype: Any) -> None:
    a = rg.tensor([[0.5], [1.0]], dtype=dtype, requires_grad=True)
    b = rg.tensor([0.1, 0.2, 0.3], dtype=dtype, requires_grad=True)
    result = rg.from_sympy(WAVE, (x, y))(a, y=b)
    assert (result.dtype, result.shape) == (dtype, (2, 3))
    result.sum().backward()
    slope = sum(at(sp.diff(WAVE, x), 0.5, v) for v in (0.1, 0.2, 0.3))
    assert a.grad[0].item() == pytest.approx(slope, rel=1e-6)
    assert b.grad.shape == (3,)


def test_integers_become_the_default_dtype_and_dtypes_meet() -> None:
    wave = rg.from_sympy(WAVE, (x, y))
    assert wave(rg.tensor([1, 2]), 3).dtype == rg.float32
    assert wave(rg.ones(2), rg.ones(2, dtype=rg.float64)).dtype == rg.float64
    assert wave(rg.ones(2), 1.5).dtype == rg.float32


def test_several_results_matrices_texts_and_constants() -> None:
    assert rg.from_sympy([x + y, x * y], (x, y))(2, 3) == (5.0, 6.0)
    rotation = rg.from_sympy(sp.Matrix([[sp.cos(x), -sp.sin(x)], [sp.sin(x), sp.cos(x)]]), (x,))
    assert rotation(rg.linspace(0, 1, 5)).shape == (2, 2, 5)
    np.testing.assert_allclose(rotation(0.3) @ rotation(-0.3), np.eye(2), atol=1e-15)
    assert rg.from_sympy("x**2 + y", ("x", "y"))(3, 1) == 10.0
    assert rg.from_sympy("1/3", (x,))(rg.ones(2)).item() == pytest.approx(1 / 3)


def test_compiled_with_gradients_and_read_again() -> None:
    wave = rg.compile_grad(rg.from_sympy(WAVE, (x, y), name="wave"))
    value, (dx, dy) = wave.value_and_grad(0.5, 1.5)
    assert value == pytest.approx(at(WAVE, 0.5, 1.5), rel=1e-15)
    assert dx == pytest.approx(at(sp.diff(WAVE, x), 0.5, 1.5), rel=1e-14)
    assert dy == pytest.approx(at(sp.diff(WAVE, y), 0.5, 1.5), rel=1e-14)
    program = wave.trace(0.5, 1.5)
    assert repr(wave) == "<compiled wave(x, y)>"
    names = {s.name: s for s in (x, y)}
    again = rg.to_sympy(program.graph)
    assert sp.simplify(again.subs({s: names[s.name] for s in again.free_symbols}) - WAVE) == 0
    whole = rg.to_sympy(program.joint)
    assert len(whole) == 3
    symbols = {s: names[s.name] for s in whole[1].free_symbols}
    assert sp.simplify(whole[1].subs(symbols) - sp.diff(WAVE, x)) == 0


def test_what_cannot_be_says_why() -> None:
    with pytest.raises(ArgumentError, match="y is no argument; the arguments are x"):
        rg.from_sympy(x + y, (x,))
    with pytest.raises(ArgumentError, match=r"the formula '1\+'; SymPy cannot read it"):
        rg.from_sympy("1+", (x,))
    with pytest.raises(ArgumentError, match="besselj in the SymPy expression"):
        rg.from_sympy(sp.besselj(0, x), (x,))(1.0)
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        rg.from_sympy(WAVE, (x, y))(1.0)
    with pytest.raises(ArgumentError, match="must be Tensor, not str"):
        rg.from_sympy(WAVE, (x, y))("1", 2.0)
    with pytest.raises(ArgumentError, match=r"pass f\.trace\(…\)\.graph"):
        rg.to_sympy(rg.compile_grad(rg.from_sympy(WAVE, (x, y))))  # type: ignore[arg-type]  # what is tested
