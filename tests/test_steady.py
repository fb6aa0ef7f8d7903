"""The second call of a kind compiles nothing, whatever the function looks at outside; where a function
changes that itself, it is told at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import TraceError

Function = Callable[..., Any]


@dataclass
class Settings:
    rate: float = 0.5
    turns: int = 3


class Box:
    """Something with attributes, a property, and a name that it makes up."""

    def __init__(self) -> None:
        self.scale, self.count, self.training, self.last = 2.0, 0, True, 0.0

    @property
    def double(self) -> float:
        return self.scale * 2

    def __getattr__(self, name: str) -> Any:
        if name == "made_up":
            return 3.0
        raise AttributeError(name)


class Counting(rg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.steps = rg.nn.Linear(3, 3), 0

    def forward(self, x: Any) -> Any:
        self.steps += 1
        return self.linear(x)


BOX, SETTINGS, TABLE, LIST, SET = Box(), Settings(), {"a": 1.5}, [1.0, 2.0], {1, 2}
FACTOR, NOT_A_NUMBER, ARRAY = 1.5, float("nan"), np.ones(3, np.float32)
WEIGHT, PARAMETER = rg.ones(3), rg.nn.Parameter(rg.ones(3))
LINEAR, CACHE = rg.nn.Linear(3, 3), dict[str, float]()


def over_items(x: Any) -> Any:
    for key, value in TABLE.items():
        x = x * value + len(key)
    return x


def filling_a_cache(x: Any) -> Any:
    if "factor" not in CACHE:
        CACHE["factor"] = 3.0
    return x * CACHE["factor"]


def setting_the_same(x: Any) -> Any:
    BOX.last = float(x.shape[0])
    return x * 2


def with_an_error(x: Any) -> Any:
    try:
        return x.there_is_no_such_method()
    except AttributeError:
        return x * 2


STEADY: dict[str, Function] = {
    "hasattr of an argument": lambda x: x if hasattr(x, "unknown") else x * 2,
    "hasattr of a tensor": lambda x: x if hasattr(WEIGHT, "unknown") else x * WEIGHT,
    "hasattr of a parameter": lambda x: x if hasattr(PARAMETER, "unknown") else x * PARAMETER,
    "hasattr of a module's": lambda x: x if hasattr(LINEAR.weight, "unknown") else LINEAR(x),
    "hasattr of a module": lambda x: x if hasattr(LINEAR, "unknown") else LINEAR(x),
    "hasattr of an object": lambda x: x if hasattr(BOX, "unknown") else x * BOX.scale,
    "getattr with a default": lambda x: x * getattr(BOX, "unknown", 3.0),
    "an attribute made up": lambda x: x * BOX.made_up,
    "a property": lambda x: x * BOX.double,
    "a flag": lambda x: x * 2 if BOX.training else x,
    "a dataclass": lambda x: x * SETTINGS.rate * SETTINGS.turns,
    "a global": lambda x: x * FACTOR,
    "not a number": lambda x: x * NOT_A_NUMBER,
    "an array": lambda x: x * ARRAY,
    "len of a list": lambda x: x * len(LIST),
    "items of a list": lambda x: sum(x * each for each in LIST),
    "items of a dict": over_items,
    "an absent key": lambda x: x * TABLE.get("absent", 2.0),
    "a member of a set": lambda x: x * 2 if 2 in SET else x,
    "isinstance": lambda x: x * 2 if isinstance(FACTOR, float) else x,
    "an absent gradient": lambda x: x * PARAMETER if PARAMETER.grad is None else x,
    "a version": lambda x: x * 2 if x._version == 0 else x,
    "a caught error": with_an_error,
    "whether gradients are recorded": lambda x: x * 2 if rg.is_grad_enabled() else x,
    "the default dtype": lambda x: x.to(rg.get_default_dtype()),
    "filling a cache": filling_a_cache,
    "setting the same": setting_the_same,
}


@pytest.mark.parametrize("name", STEADY)
def test_the_second_call_of_a_kind_compiles_nothing(name: str) -> None:
    f, x = rg.compile_grad(STEADY[name]), rg.ones(3)
    expected = STEADY[name](x).detach().numpy()
    for _ in range(4):
        np.testing.assert_allclose(f(x).detach().numpy(), expected, rtol=1e-6)
        assert f.specialisations == 1


@pytest.mark.parametrize("name", STEADY)
def test_nor_does_the_second_step(name: str) -> None:
    weight = rg.nn.Parameter(rg.ones(3))
    function = STEADY[name]
    CACHE.clear()
    step = rg.compile_step(lambda x: (function(x) * weight).sum(), rg.optim.SGD([weight], lr=0.1))
    for _ in range(4):
        step(rg.ones(3))
        assert step.specialisations == 1


@pytest.mark.parametrize("module", [rg.nn.Linear(3, 3), rg.nn.Sequential(rg.nn.Linear(3, 3), rg.nn.Tanh())])
def test_a_module_by_itself_is_compiled_once(module: Any) -> None:
    f, x = rg.compile_grad(module), rg.ones(2, 3)
    for _ in range(4):
        np.testing.assert_allclose(f(x).detach().numpy(), module(x).detach().numpy(), rtol=1e-6)
        assert f.specialisations == 1


def test_modes_of_a_module_take_turns() -> None:
    module = rg.nn.Sequential(rg.nn.Linear(3, 3), rg.nn.Dropout(0.5))
    f, x = rg.compile_grad(module), rg.ones(2, 3)
    for turn in range(6):
        f.__wrapped__.train(turn % 2 == 0)
        f(x)
    assert f.specialisations == 2


def test_a_constant_outside_that_takes_turns_is_known_again() -> None:
    factor = 1.0
    f = rg.compile_grad(lambda x: x * factor)
    for factor in (1.0, 2, True, 1.0, 2, True):  # the cell is what is tested
        assert f(rg.ones(1)).item() == factor
    assert f.specialisations == 3


def test_floats_as_arguments_are_run_time_values() -> None:
    f = rg.compile_grad(lambda x, factor, table: x * factor + table["shift"])
    for turn in range(5):
        assert f(rg.ones(1), turn / 2, {"shift": turn * 1.0}).item() == turn / 2 + turn
    assert f.specialisations == 1


SECRET = rg.full((3,), 2.0, requires_grad=True)


def hidden() -> Any:
    """A Tensor that requires grad where nobody looks: behind a name made while it runs."""
    return globals()["SECR" + "ET"]


@pytest.mark.parametrize(
    ("loss", "times", "gradient"),
    [
        (lambda x: (x * 3).sum(), 1, 3.0),
        (lambda x: (x * PARAMETER).sum(), 1, 5.0),
        (lambda x: (x * hidden()).sum(), 2, 5.0),
    ],
    ids=["by its argument", "by a parameter", "by one not seen before"],
)
def test_a_loss_is_traced_once_for_what_its_gradient_is_taken_by(
    loss: Function, times: int, gradient: float
) -> None:
    traces = itertools.count()

    @rg.compile_grad
    def f(x: Any) -> Any:
        next(traces)
        return loss(x)

    _, found = f.value_and_grad(rg.full((3,), 5.0))
    np.testing.assert_array_equal(found.numpy(), np.full(3, gradient, np.float32))
    assert next(traces) == times


# ---- what a function changes itself ------------------------------------------------------------------------


def counting(x: Any) -> Any:
    BOX.count += 1
    return x * BOX.count


def keeping(x: Any) -> Any:
    BOX.last = x
    return x * 2


def counting_in_a_closure() -> Function:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return x * calls

    return f


CHANGING: dict[str, tuple[Function, str]] = {
    "an attribute counts": (counting, "counting changes BOX_count"),
    "an attribute keeps": (keeping, "keeping changes BOX_last"),
    "a closure counts": (counting_in_a_closure(), "f changes calls"),
    "a module counts": (Counting(), "changes .*steps"),
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_function_that_changes_what_it_reads_is_told(name: str) -> None:
    function, text = CHANGING[name]
    with pytest.raises(TraceError, match=f"{text}, which it reads from outside(.|\n)*register_buffer"):
        rg.compile_grad(function)(rg.ones(3))
    BOX.last = 0.0


def test_what_it_adds_to_a_list_is_warned_about() -> None:
    seen: list[Any] = []
    f = rg.compile_grad(lambda x: (seen.append(x.shape), x * 2)[1])
    with pytest.warns(RuntimeWarning, match="changes the size of seen: that happens while it is traced"):
        f(rg.ones(3))
    for _ in range(3):
        f(rg.ones(3))
    assert (f.specialisations, len(seen)) == (1, 1)
