"""Tensors that compiled functions change in place."""

from __future__ import annotations

from typing import Any

import pytest
from compiling import array, close, leaf

import retrograd as rg
from retrograd.compiler.errors import ArgumentError


def test_updates_of_arguments_and_captured_tensors_are_written_back() -> None:
    total = rg.zeros(3, dtype=rg.float64)

    @rg.compile_grad
    def f(x: Any, y: Any) -> Any:
        total.add_(x)
        y[0] = 7.0
        y.mul_(2)
        return total.sum()

    x, y = array(3), array(3, seed=1)
    expected = y.copy()
    for count in (1, 2):
        expected[0] = 7.0
        expected *= 2
        assert f(x, y) == pytest.approx(count * x.sum())
        close(total, count * x)
        close(y, expected)


def test_an_update_takes_its_history_along() -> None:
    def f(buffer: Any, w: Any) -> None:
        buffer.mul_(w)

    buffer, w = rg.from_numpy(array(3)), leaf(3, seed=1)
    rg.compile_grad(f)(buffer, w)
    assert buffer.requires_grad
    close(buffer.detach(), array(3) * array(3, seed=1))
    buffer.sum().backward()
    close(w.grad, array(3))


def test_a_step_of_gradient_descent_updates_weights_in_place() -> None:
    w = leaf(3)

    @rg.compile_grad
    def step(x: Any, rate: float) -> Any:
        loss = (x * w).pow(2).sum()
        (g,) = rg.autograd.grad(loss, w)
        with rg.no_grad():
            w.sub_(rate * g)
        return loss

    x, before = rg.from_numpy(array(3, seed=1)), w.detach().clone()
    step(x, 0.1)
    close(w.detach(), before - 0.1 * 2 * x * x * before)
    assert w.is_leaf
    assert w.requires_grad


def test_an_existing_gradient_is_added_to_and_a_new_one_noticed() -> None:
    w = leaf(3)

    @rg.compile_grad
    def step(x: Any) -> Any:
        loss = (x * w).sum()
        loss.backward()
        return loss.detach()

    x = rg.from_numpy(array(3, seed=1))
    w.grad = rg.zeros(3, dtype=rg.float64)
    for count in (1, 2):
        step(x)
        close(w.grad, count * x)
    w.grad = rg.zeros(3, dtype=rg.float64)
    step(x)
    close(w.grad, x)


def test_memory_that_is_updated_must_not_be_passed_twice() -> None:
    f = rg.compile_grad(lambda x, y: (x.add_(1) * y).sum())
    x, y = array(3), array(3, seed=1)
    expected = ((x + 1) * y).sum()
    assert f(x, y) == pytest.approx(expected)
    with pytest.raises(
        ArgumentError, match=r"updates an input f64\[3\] in place; another input .* shares its"
    ):
        f(x, x)


def test_a_captured_tensor_of_another_shape_is_noticed() -> None:
    w = rg.from_numpy(array(3))
    f = rg.compile_grad(lambda x: x * w)
    close(f(2.0), 2 * array(3))
    w.data = rg.from_numpy(array(4))
    close(f(2.0), 2 * array(4))
