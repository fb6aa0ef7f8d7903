"""Compiled functions that branch on elements: each path is a program, and each call finds its own."""

from __future__ import annotations

import math
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from compiling import Function, array, close, leaf

import retrograd as rg
from retrograd.compiler.errors import TraceError


def doubled(x: Any) -> Any:
    """Document 001's loop."""
    y = x * 2
    while y.data.norm() < 1000:
        y = y * 2
    return y


def newton(a: Any) -> Any:
    x = a * 0.5
    while ((x * x - a).abs() > 1e-10).any():
        x = 0.5 * (x + a / x)
    return x


def early(x: Any) -> Any:
    if x.sum() > 0:
        return x.sin().sum()
    if x.prod() > 0:
        return x.cos().sum()
    return (-x).exp().sum()


def counted(x: Any, n: Any) -> Any:
    for _ in range(int(n)):
        x = x * 1.5
    return x.sum()


def checked(x: Any) -> Any:
    assert (x > 0).all()
    return x.log().sum()


def chosen(x: Any, table: Any) -> Any:
    return (x * [1.0, 2.0, 3.0][table.argmax()]).sum()


CASES: dict[str, tuple[Function, list[tuple[Any, ...]]]] = {
    "while": (doubled, [(np.full(3, v),) for v in (1.0, 3.0, 200.0, 0.01, 1.0, 5000.0)]),
    "newton": (newton, [(np.array(v),) for v in (2.0, 9.0, 1e6, 2.1)]),
    "if": (early, [(np.array(v),) for v in ([1.0, 2.0], [-1.0, -2.0], [-3.0, 1.0], [1.0, -2.0])]),
    "int": (counted, [(array(4), np.array(n)) for n in (3, 0, 5, 3)]),
    "assert": (checked, [(np.array(v),) for v in ([1.0, 2.0], [0.5, 3.0])]),
    "index": (chosen, [(array(4), np.array(v)) for v in ([3.0, 1.0, 2.0], [1.0, 2.0, 5.0], [2.0, 1.0, 0.0])]),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_eager_mode(name: str) -> None:
    function, calls = CASES[name]
    compiled = rg.compile_grad(function)
    for operands in [*calls, *reversed(calls)]:
        results = []
        for f in (function, compiled):
            leaves = [rg.from_numpy(a.copy()) for a in operands]
            leaves[0].requires_grad_()
            y = f(*leaves)
            y.sum().backward()
            results.append((y.detach(), leaves[0].grad))
        (eager, eager_gradient), (ours, gradient) = results
        close(ours, eager)
        close(gradient, eager_gradient)


@pytest.mark.parametrize("name", ["if", "int", "index"])
def test_each_path_is_compiled_once(name: str) -> None:
    function, calls = CASES[name]
    compiled = rg.compile_grad(function)
    for _ in range(3):
        for operands in calls:
            compiled.value_and_grad(*operands)
    paths = {"if": 3, "int": 3, "index": 2}
    assert compiled.specialisations == paths[name]


def test_a_path_that_raises_is_an_error_at_each_call_and_leaves_the_others() -> None:
    compiled = rg.compile_grad(checked)
    for _ in range(2):
        with pytest.raises(AssertionError):
            compiled(np.array([1.0, -1.0]))
        assert compiled(np.ones(2)) == 0.0
    with pytest.raises(ValueError, match="cannot convert float NaN to integer"):
        rg.compile_grad(counted)(array(2), np.array(math.nan))


def test_a_program_shows_its_path() -> None:
    program = rg.compile_grad(early).trace(np.array([-1.0, -2.0]))
    first, second = program.path.splitlines()
    assert first.startswith("test_paths.py:")
    assert first.endswith("is False")
    assert second.endswith("is True")
    assert rg.compile_grad(newton).trace(np.array(0.0)).path.count("is False") == 1
    assert rg.compile_grad(lambda x: x.sum()).trace(array(2)).path == ""


def test_a_path_may_depend_on_captured_tensors_and_on_updates() -> None:
    level = rg.tensor(0.5)

    @rg.compile_grad
    def clipped(w: Any) -> Any:
        w.mul_(3)
        return w.sum() if w.norm() > level else -w.sum()

    w = leaf(3).detach()
    for value, sign in ((0.5, 1), (1e6, -1), (0.5, 1)):
        level.fill_(value)
        expected = sign * 3 * float(w.sum())
        assert float(clipped(w)) == pytest.approx(expected)
    assert clipped.specialisations == 2


def test_a_training_step_may_branch_on_its_loss() -> None:
    def run(compiled: bool) -> list[float]:
        w = rg.tensor([3.0, -2.0], requires_grad=True)
        optimizer = rg.optim.SGD([w], lr=0.3)

        def loss(x: Any) -> Any:
            error = ((w - x) ** 2).sum()
            return error if error > 1 else error.sqrt()

        if compiled:
            step = rg.compile_step(loss, optimizer)
            return [step(rg.ones(2)).item() for _ in range(8)]
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            value = loss(rg.ones(2))
            value.backward()
            optimizer.step()
            losses.append(value.item())
        return losses

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5)


def test_compiled_functions_with_paths_are_inlined_in_each_other() -> None:
    inner = rg.compile_grad(early)
    outer = rg.compile_grad(lambda x: inner(x * 2) * 3)
    for x in (np.array([1.0, 2.0]), np.array([-1.0, -2.0])):
        value, gradient = outer.value_and_grad(x)
        expected, slope = inner.value_and_grad(x * 2)
        close(value, 3 * expected)
        close(gradient, 6 * slope)


def test_second_derivatives_follow_the_path() -> None:
    compiled = rg.compile_grad(early)
    for x in ([1.0, 2.0], [-1.0, -2.0]):
        hessians = [
            rg.autograd.functional.hessian(f, rg.tensor(x, dtype=rg.float64)) for f in (early, compiled)
        ]
        close(hessians[0], hessians[1])


def test_drawn_numbers_decide_nothing() -> None:
    @rg.compile_grad
    def tossed(x: Any) -> Any:
        y = rg.nn.functional.dropout(x)
        return y.sum() if y.sum() > 1 else x.sum()

    with pytest.raises(TraceError, match=r"bool\(\) of a traced tensor"):
        tossed(rg.ones(3))


def test_a_python_float_decides_too() -> None:
    compiled = rg.compile_grad(lambda x, t: (x if t > 0 else -x).sum())
    assert [compiled(np.ones(3), t) for t in (1.0, -1.0, 2.0)] == [3.0, -3.0, 3.0]
    assert compiled.specialisations == 2


def test_floats_stay_what_a_program_takes() -> None:
    with pytest.raises(TraceError, match="branch on a comparison of tensors"):
        rg.compile_grad(lambda x: x * float(x.sum()))(array(3))


def test_very_many_paths_are_told() -> None:
    compiled = rg.compile_grad(counted)
    for n in range(31):
        compiled(array(2), np.array(n))
    with pytest.warns(RuntimeWarning, match="for different shapes, constants or paths"):
        compiled(array(2), np.array(31))


def test_threads_find_their_own_paths() -> None:
    compiled = rg.compile_grad(early)
    calls, errors = CASES["if"][1], []

    def work(k: int) -> None:
        for n in range(20):
            (x,) = calls[(k + n) % len(calls)]
            if abs(compiled(x) - float(early(rg.from_numpy(x)))) > 1e-12:
                errors.append(x)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


class Asking(rg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad * 2 if x.sum() > 0 else grad * 3


def test_a_derivative_may_not_ask() -> None:
    """It is written down once for all calls, and nothing would say which of them it is for."""
    compiled = rg.compile_grad(lambda x: Asking.apply(x).sum())
    with pytest.raises(TraceError, match=r"bool\(\) of a traced tensor"):
        compiled.value_and_grad(array(3))


def test_the_arguments_of_the_first_call_are_not_kept() -> None:
    compiled = rg.compile_grad(early)
    given = np.full(1000, 0.5)
    known = weakref.ref(given)
    held = rg.from_numpy(given).requires_grad_()
    compiled(held).backward()
    close(compiled.value_and_grad(given)[1], held.grad)
    del given, held
    assert known() is None
