"""`autograd.Function` against PyTorch's.

In flow small programs `program(t)` that run with either library, out flow equal outcomes (`side_by_side`).
A new behaviour is a function with `@program`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from side_by_side import Program, compare, leaf, ones

PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


@program
def a_function_and_its_second_derivative(t: Any) -> Any:
    class Exp(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (y,) = ctx.saved_tensors
            return g * y

    x, one = leaf(t), ones(t)
    y = Exp.apply(x)
    (g,) = t.autograd.grad(y, x, one, create_graph=True)
    (h,) = t.autograd.grad(g, x, one, create_graph=True)
    return y, g, h, t.autograd.grad(h, x, one), y.grad_fn.name()


@program
def a_function_of_several(t: Any) -> Any:
    class Both(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(x: Any, y: Any, n: int) -> Any:
            return x * y * n, x + y, "text"

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs[:2])
            ctx.n = inputs[2]

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any, c: Any) -> Any:
            x, y = ctx.saved_tensors
            return a * y * ctx.n + b, a * x * ctx.n + b, None

    x, y = leaf(t), leaf(t, 4, 5, 6)
    p, q, text = Both.apply(x, y, 5)
    p.sum().backward(retain_graph=True)
    (p * q).sum().backward()
    return p, q, text, x.grad, y.grad, q.output_nr


@program
def gradients_may_stay_none(t: Any) -> Any:
    class Split(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            seen.append((a is None, b is None))
            return b * 2

    seen: list[Any] = []
    x = leaf(t)
    _, b = Split.apply(x)
    b.sum().backward()
    return seen, x.grad


@program
def an_operand_may_be_changed_in_place(t: Any) -> Any:
    class Double(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = leaf(t)
    y = x * 1
    z = Double.apply(y)
    z.sum().backward()
    return z, z is y, x.grad, y.grad_fn.name()


@program
def an_output_may_have_no_derivative(t: Any) -> Any:
    class Top(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            largest, floor = x.max(), x * 0
            ctx.mark_non_differentiable(floor)
            ctx.save_for_backward(x)
            return largest, floor

        @staticmethod
        def backward(ctx: Any, g: Any, unused: Any) -> Any:
            assert ctx.needs_input_grad == (True,)
            (x,) = ctx.saved_tensors
            return g * (x == x.max())

    x = leaf(t)
    largest, floor = Top.apply(x)
    largest.backward()
    return largest, floor, x.grad


@program
def an_operand_returned_is_another_tensor(t: Any) -> Any:
    class Through(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return -g

    x = leaf(t)
    y = Through.apply(x)
    y.sum().backward()
    return y is x, x.is_leaf, x.grad


@program
def too_many_gradients(t: Any) -> Any:
    class Wrong(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, g

    Wrong.apply(leaf(t)).sum().backward()


@program
def saved_tensors_are_freed(t: Any) -> Any:
    class Kept(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            assert ctx.saved_tensors
            return g * 2

    y = Kept.apply(leaf(t))
    y.backward(ones(t))
    y.backward(ones(t))


@program
def saved_tensors_must_not_change(t: Any) -> Any:
    class Kept(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * x

    x = leaf(t) * 1
    y = Kept.apply(x)
    x.mul_(3)
    y.sum().backward()


@program
def once_means_once(t: Any) -> Any:
    class Once(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @t.autograd.function.once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * g

    x, seed = leaf(t), leaf(t)
    (g,) = t.autograd.grad(Once.apply(x), x, seed, create_graph=True)
    g.sum().backward()


@program
def what_was_saved_can_be_seen(t: Any) -> Any:
    class Kept(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, None)
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    return Kept.apply(leaf(t)).grad_fn.saved_tensors


def _said(mistake: Callable[[], Any]) -> str:
    with pytest.raises((TypeError, RuntimeError)) as caught:
        mistake()
    return str(caught.value)


@program
def what_a_function_cannot_do(t: Any) -> Any:
    """A saved number, a call of an instance, a leaf that is changed, an output that is changed later."""

    class Own(t.autograd.Function):  # type: ignore[misc]  # the library is an argument
        @staticmethod
        def forward(ctx: Any, x: Any, kept: Any, changed: bool) -> Any:
            if changed:
                ctx.mark_dirty(x.add_(1))
                return x
            y = x.exp()
            ctx.save_for_backward(kept or y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0], None, None

    def changed_later() -> None:
        y = Own.apply(leaf(t), None, False)
        y.add_(1)
        y.sum().backward()

    return (
        _said(lambda: Own.apply(leaf(t), 3, False)),
        _said(lambda: Own()(leaf(t))),
        _said(lambda: Own.apply(leaf(t), None, True)),
        Own.apply(leaf(t) * 1, None, True),
        _said(changed_later),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, torch: ModuleType) -> None:
    compare(program, torch)
