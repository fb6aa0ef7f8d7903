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
def a_jacobian_by_columns(t: Any) -> Any:
    f, x, y = t.autograd.functional, ones(t) * 0.5, ones(t)

    def several(x: Any, y: Any) -> Any:
        return (x * y).tanh(), (x * x).sum(), x[:2] * 3

    forward = {"vectorize": True, "strategy": "forward-mode"}
    hessian = f.hessian(
        lambda x: (x * x * x).sum(), x, vectorize=True, outer_jacobian_strategy="forward-mode"
    )
    return f.jacobian(several, (x, y), **forward), f.jacobian(t.tanh, x, **forward), hessian.detach()


@program
def a_strategy_is_one_of_two(t: Any) -> Any:
    t.autograd.functional.jacobian(lambda x: x * 2, ones(t), strategy="sideways")


@program
def strict_is_not_vectorized(t: Any) -> Any:
    t.autograd.functional.jacobian(lambda x: x * 2, ones(t), strict=True, vectorize=True)


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


@program
def gradcheck_takes_all_that_it_may_be_asked(t: Any) -> Any:
    x = t.tensor([0.3, 0.7], dtype=t.float64).requires_grad_()
    y = t.tensor([[0.9], [0.2]], dtype=t.float64).requires_grad_()

    def f(x: Any, y: Any) -> Any:
        return (x * y).tanh() / y, y.sin().sum()

    every = {"check_undefined_grad": True, "check_grad_dtypes": True, "check_batched_grad": True}
    for fast_mode in (False, True):
        assert t.autograd.gradcheck(f, (x, y), check_forward_ad=True, fast_mode=fast_mode, **every)
        assert t.autograd.gradcheck(f, (x, y), check_forward_ad=True, check_backward_ad=False)
        assert t.autograd.gradgradcheck(
            f, (x, y), gen_non_contig_grad_outputs=True, fast_mode=fast_mode, **every
        )
    return t.autograd.gradcheck(lambda x: x.detach() * 0, x)


@program
def gradcheck_finds_what_is_wrong(t: Any) -> Any:
    class Twice(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            return g * 2 + h * 3

    class Restless(t.autograd.Function):  # type: ignore[misc]  # likewise
        calls = 0

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            Restless.calls += 1
            return g * (2 + 1e-7 * Restless.calls)

    x = t.tensor([0.3, 0.7], dtype=t.float64).requires_grad_()
    told = []
    for asked in (
        lambda: t.autograd.gradcheck(Twice.apply, (x,)),
        lambda: t.autograd.gradcheck(Restless.apply, (x,), check_undefined_grad=False),
        lambda: t.autograd.gradcheck(lambda x: x.detach() * 2, (x,)),
        lambda: t.autograd.gradcheck(lambda x: x, (x.detach(),)),
        lambda: t.autograd.gradcheck(lambda x: x, (x,), check_backward_ad=False),
        lambda: t.autograd.gradcheck(
            lambda x: x, (x,), check_backward_ad=False, check_batched_grad=True, check_forward_ad=True
        ),
        lambda: t.autograd.gradcheck(lambda x: x, (t.ones(1, dtype=t.float64).expand(2).requires_grad_(),)),
        lambda: t.autograd.gradgradcheck(
            lambda x: x, (x,), check_rev_over_rev=False, check_fwd_over_rev=True
        ),
    ):
        try:
            told.append(asked())
        except Exception as error:
            text = str(error).partition("Please look at")[0].partition("\n")[0].strip()
            told.append(text)
    return told


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, torch: ModuleType) -> None:
    compare(program, torch)
