"""Compiled functions misused, interrupted, forked, and called by several threads at once."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from compiling import Function, array, close, leaf, two_layers

import retrograd as rg
from retrograd.compiler.errors import ArgumentError, GradientError, RetrogradError, TraceError
from retrograd.compiler.ir.graph import Graph
from retrograd.runtime.native.program import NativeProgram

# ---- misuse ------------------------------------------------------------------------------------------------


def scaled(x: Any) -> Any:
    return 2.0 * x


MISUSE: dict[str, tuple[type[Exception], str, Function]] = {
    "float": (
        TraceError,
        r"test_compiled_misuse.py:\d+: float\(\) of a traced tensor .*where\(\)",
        lambda: grad_of(lambda x: x * float(x.sum())),
    ),
    "item": (TraceError, r"item\(\) of a traced tensor", lambda: grad_of(lambda x: x * x.sum().item())),
    "numpy": (TraceError, r"numpy\(\) of a traced tensor", lambda: grad_of(lambda x: x.detach().numpy())),
    "a function of NumPy": (
        TraceError,
        r"numpy\(\).*; compute with Tensors",
        lambda: grad_of(lambda x: np.sin(x.detach())),
    ),
    "elements under a mask, filled": (
        TraceError,
        r"elements that a traced mask bool\[3\] picks",
        lambda: rg.compile_grad(lambda x: x[x > 0].fill_(1.0).sum())(array(3)),
    ),
    "a list of tensors": (
        TraceError,
        r"tensor\(\) of a traced tensor .*; make one .* stack\(\)",
        lambda: grad_of(lambda x: rg.tensor([x.sum(), 1.0])),
    ),
    "float of a float": (
        TraceError,
        r"float\(\) of a Python float",
        lambda: rg.compile_grad(lambda x, t: x * float(t))(array(3), 1.0),
    ),
    "missing argument": (
        ArgumentError,
        r"two_layers\(\) missing a required argument: 'w2'; its signature is two_layers\(x",
        lambda: rg.compile_grad(two_layers)(array(3), array(3), array(3)),
    ),
    "unknown argument": (
        ArgumentError,
        r"scaled\(\) got an unexpected keyword argument 'y'",
        lambda: rg.compile_grad(scaled)(array(3), y=1),
    ),
    "unknown wrt": (
        ArgumentError,
        r"compile_grad of scaled; it has no parameter 'w'; its signature is \(x",
        lambda: rg.compile_grad(wrt="w")(scaled),
    ),
    "wrt that is not passed": (
        ArgumentError,
        r"the gradient of f by wrt='y'; the call passes only x",
        lambda: rg.compile_grad(wrt="y")(optional).grad(array(3)),
    ),
    "wrt of integers": (
        GradientError,
        r"the gradient of scaled by x; there is no floating-point value in it",
        lambda: rg.compile_grad(wrt="x")(scaled).grad(np.arange(3)),
    ),
    "not a scalar": (
        GradientError,
        r"value_and_grad of f, which returns f64\[3\];.*use vjp\(\)",
        lambda: rg.compile_grad(named("f", lambda x: x * 2)).value_and_grad(array(3)),
    ),
    "no influence": (
        GradientError,
        r"the gradient of f; its result does not depend on the inputs it is differentiated with respect to",
        lambda: rg.compile_grad(named("f", lambda x: x.detach().sum())).value_and_grad(array(3)),
    ),
    "backward inside": (
        TraceError,
        r"backward\(\) inside the compiled function f;.*autograd.grad\(\)",
        lambda: rg.compile_grad(named("f", without_grad(leaf(3))))(),
    ),
    "a generator": (ArgumentError, "coroutines and generators", lambda: rg.compile_grad(generator)),
    "no function": (ArgumentError, r"compile_grad\(3\); it takes a function", lambda: rg.compile_grad(3)),
    "cotangents": (
        ArgumentError,
        "2 cotangents for 1 results",
        lambda: rg.compile_grad(scaled).vjp(array(3))[1]((1.0, 2.0)),
    ),
    "shape of a cotangent": (
        RetrogradError,
        r"a cotangent of shape \[2\] for a result f64\[3\]",
        lambda: rg.compile_grad(lambda x: x * 2).vjp(array(3))[1](array(2)),
    ),
    "objects": (ArgumentError, "object", lambda: rg.compile_grad(scaled)(array(3).astype(object))),
}


def optional(x: Any, y: Any = 1.0) -> Any:
    return (x * y).sum()


optional.__name__ = "f"


def generator(x: Any) -> Iterator[Any]:
    yield x


def without_grad(w: rg.Tensor) -> Function:
    return lambda: w.sum().backward()


def named(name: str, function: Function) -> Function:
    function.__name__ = name
    return function


def grad_of(function: Function) -> Any:
    return rg.compile_grad(function)(leaf(3))


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_told(name: str) -> None:
    kind, text, use = MISUSE[name]
    with pytest.raises(kind, match=text):
        use()


def test_a_traced_value_that_leaks_out_is_told() -> None:
    leaked: list[Any] = []
    f = rg.compile_grad(lambda x: (leaked.append(x * 2), x.sum())[1])
    with pytest.warns(RuntimeWarning, match="changes the size of leaked"):
        f(array(3))
    for use in (lambda x: x + 1, lambda x: x.numpy(), f, lambda x: x.tolist()):
        with pytest.raises(TraceError):
            use(leaked[0])


def test_an_error_inside_leaves_no_trace() -> None:
    w = leaf(3)

    def f(x: Any, fail: bool) -> Any:
        w.requires_grad_(False)
        if fail:
            raise KeyError("mine")
        return x * w

    compiled = rg.compile_grad(f)
    with pytest.raises(KeyError, match="mine"):
        compiled(array(3), True)
    assert w.requires_grad
    close(compiled(array(3), False), array(3) * w.detach().numpy())


# ---- at once -----------------------------------------------------------------------------------------------


def test_threads_may_compile_and_call_at_once() -> None:
    f = rg.compile_grad(lambda x: (x.exp() * x).sum())
    failures: list[BaseException] = []

    def work(size: int) -> None:
        try:
            for _ in range(20):
                x = array(size)
                close(f.grad(x), np.exp(x) * (1 + x))
                y = rg.from_numpy(x).requires_grad_()
                f(y).backward()
                close(y.grad, np.exp(x) * (1 + x))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(3 + k % 3,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert f.specialisations == 6


def test_an_interrupt_while_tracing_leaves_everything_as_it_was() -> None:
    interrupt = True

    def f(x: Any) -> Any:
        if interrupt:
            raise KeyboardInterrupt
        return x * 2

    compiled = rg.compile_grad(f)
    with pytest.raises(KeyboardInterrupt):
        compiled(array(3))
    assert compiled.specialisations == 0
    interrupt = False
    close(compiled(array(3)), 2 * array(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_call_and_compile() -> None:
    f = rg.compile_grad(lambda x: (x * x).sum())
    f.grad(array(3))
    child = os.fork()
    if child == 0:
        right = np.allclose(f.grad(array(3)), 2 * array(3)) and np.allclose(f.grad(array(5)), 2 * array(5))
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_call_with_a_history_compiles_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    initialise = NativeProgram.__init__

    def note(self: NativeProgram, graph: Graph, *args: Any) -> None:
        made.append(graph.name)
        initialise(self, graph, *args)

    monkeypatch.setattr(NativeProgram, "__init__", note)

    @rg.compile_grad
    def f(x: Any) -> Any:
        return (x * x * x).sum()

    x = rg.tensor(array(3)).requires_grad_()
    f(x).backward()
    close(x.grad, 3 * array(3) ** 2)
    assert made == ["f_and_gradient"]


# ---- copies and pickles ------------------------------------------------------------------------------------


@rg.compile_grad
def doubled(x: Any) -> Any:
    return x * 2


class Scaled(rg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = rg.nn.Parameter(rg.tensor(3.0))
        self.function = doubled

    @rg.compile_grad
    def forward(self, x: Any) -> Any:
        return self.function(x) * self.scale


def test_a_compiled_function_is_copied_and_pickled_as_a_function_is() -> None:
    doubled(rg.ones(2, requires_grad=True))

    assert copy.copy(doubled) is copy.deepcopy(doubled) is doubled
    assert pickle.loads(pickle.dumps(doubled)) is doubled


def test_modules_with_compiled_functions_are_copied_and_pickled() -> None:
    module = Scaled()
    module(rg.ones(2))

    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with rg.no_grad():
            other.scale.fill_(5.0)
        assert other(rg.ones(2)).tolist() == [10.0, 10.0]
        assert pickle.loads(pickle.dumps(other.forward))(rg.ones(2)).tolist() == [10.0, 10.0]
    assert module(rg.ones(2)).tolist() == [6.0, 6.0]
