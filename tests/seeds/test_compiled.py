"""The documents' computations inside `compile_grad`: the same losses and gradients as in eager mode.

In flow the documents' formulas as functions; out flows a comparison of one compiled run with one eager run.
The printing stays outside: it is the reader's, not the computation's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as torch
import retrograd.nn.functional as F
from retrograd import Tensor


class MyReLU(torch.autograd.Function):
    """Document 000's own Function."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        return input.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (input,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input < 0] = 0
        return grad_input


def weights(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(*shape) for shape in shapes]


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [x.clone().requires_grad_() for x in tensors]


def close(ours: Tensor, theirs: Tensor, rtol: float = 1e-5) -> None:
    scale = float(theirs.abs().max())
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=rtol, atol=rtol * scale)


RELU: dict[str, Callable[[Tensor], Tensor]] = {"clamp": lambda x: x.clamp(min=0), "MyReLU": MyReLU.apply}


@pytest.mark.parametrize("name", RELU)
def test_the_two_layer_networks_gradients(name: str) -> None:
    x, y, w1, w2 = weights((64, 1000), (64, 10), (1000, 100), (100, 10))

    def loss(w1: Tensor, w2: Tensor) -> Tensor:
        return (RELU[name](x.mm(w1)).mm(w2) - y).pow(2).sum()

    eager = leaves(w1, w2)
    value = loss(*eager)
    value.backward()

    compiled, gradients = torch.compile_grad(loss).value_and_grad(w1, w2)
    close(compiled, value)
    for ours, leaf in zip(gradients, eager):
        assert leaf.grad is not None
        close(ours, leaf.grad)


@pytest.mark.parametrize("name", RELU)
def test_a_whole_training_step_is_one_compiled_function(name: str) -> None:
    """With `autograd.grad` for `backward`, which is refused: compiled functions write to no `.grad`."""
    x, y, *start = weights((64, 1000), (64, 10), (1000, 100), (100, 10))
    learning_rate = 1e-6

    def step(w1: Tensor, w2: Tensor) -> Tensor:
        y_pred = RELU[name](x.mm(w1)).mm(w2)
        loss = (y_pred - y).pow(2).sum()
        g1, g2 = torch.autograd.grad(loss, [w1, w2])
        with torch.no_grad():
            w1 -= learning_rate * g1
            w2 -= learning_rate * g2
        return loss.detach()

    eager, ours = leaves(*start), leaves(*start)
    compiled = torch.compile_grad(step)
    for _ in range(20):
        close(compiled(*ours), step(*eager), 1e-4)
    for one, other in zip(ours, eager):
        close(one, other, 1e-4)


def test_the_mean_of_three_times_a_square() -> None:
    """Documents 001, 003 and 004: the gradient is 4.5."""

    @torch.compile_grad
    def out(x: Tensor) -> Tensor:
        y = x + 2
        z = y * y * 3
        return z.mean()

    value, gradient = out.value_and_grad(torch.ones(2, 2))
    assert str(value) == "tensor(27.)"
    assert str(gradient) == "tensor([[4.5000, 4.5000],\n        [4.5000, 4.5000]])"


def test_a_quotient_and_its_square() -> None:
    """Document 001."""
    (a,) = weights((2, 2))

    def b(a: Tensor) -> Tensor:
        a = (a * 3) / (a - 1)
        return (a * a).sum()

    (eager,) = leaves(a)
    value = b(eager)
    value.backward()
    ours, gradient = torch.compile_grad(b).value_and_grad(a)
    close(ours, value)
    assert eager.grad is not None
    close(gradient, eager.grad)


def test_a_vector_jacobian_product() -> None:
    """Documents 001 and 003: the doublings that the values asked for are a number by then."""
    v = torch.tensor([0.1, 1.0, 0.0001])

    @torch.compile_grad
    def y(x: Tensor, doublings: int) -> Tensor:
        y = x * 2
        for _ in range(doublings):
            y = y * 2
        return y

    (x,) = leaves(*weights((3,)))
    y(x, 10).backward(v)
    assert str(x.grad) == "tensor([2.0480e+02, 2.0480e+03, 2.0480e-01])"


def test_binary_cross_entropy_of_a_layer() -> None:
    """Document 002."""
    x, y = torch.ones(5), torch.zeros(3)
    w, b = weights((5, 3), (3,))

    def loss(w: Tensor, b: Tensor) -> Tensor:
        z = torch.matmul(x, w) + b
        return F.binary_cross_entropy_with_logits(z, y)

    eager = leaves(w, b)
    value = loss(*eager)
    value.backward()
    compiled, gradients = torch.compile_grad(loss).value_and_grad(w, b)
    close(compiled, value)
    for ours, leaf in zip(gradients, eager):
        assert leaf.grad is not None
        close(ours, leaf.grad)


@pytest.mark.parametrize("factor", [1, 3])
def test_gradients_for_a_given_cotangent(factor: int) -> None:
    """Document 004."""
    x = torch.ones(2, 2, requires_grad=True)
    y = torch.compile_grad(lambda x: 2 * x + 1)(x)
    y.backward(torch.ones(2, 2) * factor)
    assert x.grad is not None
    assert x.grad.tolist() == [[2 * factor] * 2] * 2


def test_a_compiled_result_is_differentiated_twice_only_if_it_is_retained() -> None:
    """Document 004."""

    @torch.compile_grad
    def z(x: Tensor) -> Tensor:
        y = 2 * x + 2
        return (y * y + 2).sum()

    (x,) = leaves(*weights((2, 2)))
    value = z(x)
    value.backward(retain_graph=True)
    once = x.grad.clone()
    value.backward()
    assert x.grad.equal(once * 2)
    with pytest.raises(RuntimeError) as caught:
        value.backward()
    assert str(caught.value).startswith("Trying to backward through the graph a second time")


def test_an_implicit_cotangent_of_a_compiled_result() -> None:
    """Document 004."""
    y = torch.compile_grad(lambda x: 2 * x + 1)(torch.ones(2, 2, requires_grad=True))
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert str(caught.value) == "grad can be implicitly created only for scalar outputs"


def test_the_loop_that_looks_at_values() -> None:
    """Document 001's: how often it doubles depends on the vector."""

    def doubled(x: Tensor) -> Tensor:
        y = x * 2
        while y.data.norm() < 1000:
            y = y * 2
        return y

    compiled = torch.compile_grad(doubled)
    v = torch.tensor([0.1, 1.0, 0.0001])
    for scale in (1.0, 30.0, 1.0, 0.001):
        x, other = leaves(*2 * weights((3,)))
        results = []
        for f, leaf in ((doubled, x), (compiled, other)):
            y = f(leaf * scale)
            y.backward(v)
            results.append((y, leaf.grad))
        (y, grad), (ours, our_grad) = results
        assert grad is not None
        assert our_grad is not None
        close(ours, y)
        close(our_grad, grad)
    assert compiled.specialisations == 3
