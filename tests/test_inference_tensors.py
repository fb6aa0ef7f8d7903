"""Inference tensors where PyTorch's sessions (`sessions/inference_mode.txt`) do not go: in compiled
functions, and beside other threads.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

import retrograd
from retrograd.compiler.errors import GradientError
from retrograd.runtime import modes


@retrograd.compile_grad
def scaled(x: Any, y: Any) -> Any:
    return (x * y).sin()


def made(*elements: float) -> Any:
    with retrograd.inference_mode():
        return retrograd.tensor(elements, dtype=retrograd.float32)


def test_what_a_compiled_function_makes_in_inference_mode_is_inference_tensors() -> None:
    x, y = retrograd.ones(3), retrograd.ones(3)
    for _ in range(3):
        with retrograd.inference_mode():
            found = [scaled(x, y) for _ in range(3)]
        assert [z.is_inference() for z in found] == [True] * 3
        assert [scaled(x, y).is_inference() for _ in range(3)] == [False] * 3


def test_its_gradients_are_too() -> None:
    loss = retrograd.compile_grad(lambda x: (x * x).sum())
    x = retrograd.arange(3.0)
    for _ in range(3):
        with retrograd.inference_mode():
            value, gradient = loss.value_and_grad(x)
        assert (value.is_inference(), gradient.is_inference(), gradient.tolist()) == (True, True, [0, 2, 4])
        assert not loss.value_and_grad(x)[1].is_inference()


def test_a_compiled_function_does_not_record_an_inference_tensor() -> None:
    x, z = retrograd.ones(3, requires_grad=True), made(1, 2, 3)
    for _ in range(3):
        with pytest.raises(GradientError, match="Inference tensors cannot be saved for backward"):
            scaled(x, z)
    for _ in range(3):
        assert scaled(x, z.clone()).requires_grad
    with pytest.raises(GradientError, match="Inference tensors cannot be saved for backward"):
        scaled(x, z)
    with retrograd.no_grad():
        assert scaled(x, z).tolist() == z.sin().tolist()


def test_a_compiled_function_does_not_change_one_outside() -> None:
    @retrograd.compile_grad
    def doubled(x: Any) -> Any:
        x.mul_(2)
        return x.sum()

    z = made(1, 2)
    for x in (retrograd.ones(2), retrograd.ones(2), z):
        if x is z:
            with pytest.raises(GradientError, match="Inplace update to inference tensor outside"):
                doubled(x)
        else:
            assert doubled(x).item() == 4
    with retrograd.inference_mode():
        for k in range(3):
            assert doubled(z).item() == 6 * 2**k


def test_inside_a_trace_the_rules_are_the_same() -> None:
    @retrograd.compile_grad
    def f(x: Any) -> Any:
        with retrograd.inference_mode():
            y = x * 2
            y[0] = 5
        assert y.is_inference()
        assert not x.is_inference()
        return x + y

    x = retrograd.ones(2, requires_grad=True)
    f(x).sum().backward()
    assert (f(x).tolist(), x.grad.tolist()) == ([6, 3], [1, 1])

    @retrograd.compile_grad
    def kept(x: Any) -> Any:
        with retrograd.inference_mode():
            y = x * 2
        return x * y

    with pytest.raises(GradientError, match="Inference tensors cannot be saved for backward"):
        kept(x)


def test_inference_mode_is_of_its_thread() -> None:
    inside, done = threading.Event(), threading.Event()

    def infer() -> None:
        with retrograd.inference_mode():
            inside.set()
            done.wait()

    thread = threading.Thread(target=infer)
    thread.start()
    inside.wait()
    x, y = retrograd.ones(3), retrograd.ones(3)
    found = [(x + y), x[:2], scaled(x, y), scaled(x, y), retrograd.rand(2)]
    with retrograd.inference_mode():
        assert (x + y).is_inference()
        assert scaled(x, y).is_inference()
    done.set()
    thread.join()
    assert [z.is_inference() for z in found] == [False] * 5
    assert modes.inferring.cell_contents == 0


def test_a_view_that_is_made_natively_in_inference_mode_knows_it() -> None:
    x = retrograd.ones(2, 2, requires_grad=True)
    for _ in range(3):
        with retrograd.inference_mode():
            views = [x.t(), x.view(4), x[0]]
        for view in views:
            assert view._base is x
            with pytest.raises(GradientError, match="A view was created in inference mode"):
                view.add_(1)
