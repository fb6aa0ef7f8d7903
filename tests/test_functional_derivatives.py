"""Jacobians, Hessians, their products, and gradcheck, against PyTorch's.

In flow small programs `program(t)` that run with either library, out flow equal outcomes (`side_by_side`).
A new behaviour is a function with `@program`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from side_by_side import Program, compare, ones

PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


@program
def matrices_of_derivatives(t: Any) -> Any:
    x, y = t.tensor([1.0, 2.0]), t.tensor([0.5, 0.25])
    f = t.autograd.functional

    def both(x: Any, y: Any) -> Any:
        return (x * y).exp() * x, x + y

    def scalar(x: Any, y: Any) -> Any:
        return (x * x * y).sum()

    return f.jacobian(both, (x, y)), f.jacobian(lambda x: x * x, x), f.hessian(scalar, (x, y))


@program
def products_with_matrices(t: Any) -> Any:
    x, y, v = t.tensor([1.0, 2.0]), t.tensor([0.5, 0.25]), t.tensor([1.0, -1.0])
    f = t.autograd.functional

    def product(x: Any, y: Any) -> Any:
        return (x * y).exp() * x

    def cubes(x: Any) -> Any:
        return (x**3).sum()

    return (
        f.vjp(product, (x, y), v), f.jvp(product, (x, y), (v, x)), f.vhp(cubes, x, v), f.hvp(cubes, x, v),
        f.vjp(cubes, x),
    )  # fmt: skip


@program
def a_vector_is_needed(t: Any) -> Any:
    t.autograd.functional.vjp(lambda x: x * 2, ones(t))


@program
def difference_quotients_agree(t: Any) -> Any:
    x = t.tensor([0.3, 0.7], dtype=t.float64).requires_grad_()
    y = t.tensor([0.9, 0.2], dtype=t.float64).requires_grad_()

    def f(x: Any, y: Any) -> Any:
        return (x * y).tanh() / y

    return t.autograd.gradcheck(f, (x, y)), t.autograd.gradgradcheck(f, (x, y))


@program
def a_wrong_derivative_is_found(t: Any) -> Any:
    class Wrong(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3

    x = t.tensor([1.0], dtype=t.float64).requires_grad_()
    try:
        t.autograd.gradcheck(Wrong.apply, (x,))
    except RuntimeError as error:
        told = "Jacobian mismatch for output 0 with respect to input 0" in str(error)
        return told, t.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, torch: ModuleType) -> None:
    compare(program, torch)
