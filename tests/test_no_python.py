"""The second call of a kind runs no Python function, whatever is passed and given back; what it gives back is
what the first call gave, through Python, in objects of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from frames import python_frames

import retrograd as rg
from retrograd.runtime.compiled.plain import fresh


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Both:
    a: Any
    b: Any


@dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any = 2.0


@dataclass(slots=True)
class Slotted:
    a: Any
    b: Any


class Mode(enum.Enum):
    SUM = "sum"


class Model:
    def __init__(self) -> None:
        self.scale = rg.ones(3) * 2

    @rg.compile_grad
    def scaled(self, x: Any) -> Any:
        return x * self.scale


@dataclass
class Case:
    """A compiled function, and arguments of one kind, made anew for each call."""

    function: Any
    arguments: Callable[[], tuple[Any, ...]]
    named: Callable[[], dict[str, Any]] = dict


def x(seed: int = 0) -> Any:
    return rg.from_numpy(np.random.default_rng(seed).standard_normal(3))


def array(seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(3)


def required(seed: int = 0) -> Any:
    return x(seed).requires_grad_()


def case(function: Any, arguments: Callable[[], tuple[Any, ...]], **named: Any) -> Case:
    return Case(rg.compile_grad(function), arguments, lambda: dict(named))


def members(pair: Any) -> Any:
    return pair.a * pair.b


def add_to(target: Any, y: Any) -> Any:
    target.add_(y)
    return target * 2


def add_and_return(target: Any, y: Any) -> Any:
    return target.add_(y)


STATE = x(5)


def add_to_outside(y: Any) -> Any:
    STATE.mul_(0).add_(y)
    return y * 2


LINEAR = rg.nn.Linear(3, 2, dtype=rg.float64)
NETWORK = rg.nn.Sequential(LINEAR, rg.nn.Tanh(), rg.nn.Linear(2, 1, dtype=rg.float64))
SQUARE = rg.compile_grad(lambda x: (x * x).sum())
MODEL = Model()
with_aux = rg.compile_grad(has_aux=True)(lambda x: ((x * x).sum(), (x, {"y": x * 2})))


def text(word: str) -> str:
    """An equal string that is another object."""
    return "".join(list(word))


CASES: dict[str, Case] = {
    "tensors": case(lambda x, y: x * y, lambda: (x(), x(1))),
    "arrays": case(lambda x, y: x * y, lambda: (array(), array(1))),
    "tensors and arrays": case(lambda x, y: x * y, lambda: (x(), array(1))),
    "a history": case(lambda x, y: (x * y).sum(), lambda: (required(), x(1))),
    "a history of vectors": case(lambda x, y: x.exp() * y, lambda: (required(), x(1))),
    "value and gradient": Case(SQUARE.value_and_grad, lambda: (required(),)),
    "value and gradient of arrays": Case(SQUARE.value_and_grad, lambda: (array(),)),
    "something beside the value": Case(with_aux.value_and_grad, lambda: (required(),)),
    "something beside the value of arrays": Case(with_aux.value_and_grad, lambda: (array(),)),
    "floats": case(lambda x, s: x * s, lambda: (x(), float(text("1.5")))),
    "NumPy's floats": case(lambda x, s: x * s, lambda: (x(), np.float64(1.5))),
    "NumPy's small floats": case(lambda x, s: x * s, lambda: (x(), np.float32(1.7))),
    "ints": case(lambda x, s: x * s, lambda: (x(), int(text("123456789")))),
    "NumPy's ints": case(lambda x, s: x * s, lambda: (x(), np.int64(7))),
    "bools and None": case(lambda x, s, n: x if s else n, lambda: (x(), True, None)),
    "strings": case(lambda x, s: x * len(s), lambda: (x(), text("sum!"))),
    "bytes": case(lambda x, s: x * len(s), lambda: (x(), text("sum!").encode())),
    "slices": case(lambda x, s: x[s], lambda: (x(), slice(0, 2))),
    "ranges": case(lambda x, s: x[list(s)], lambda: (x(), range(1, 3))),
    "dtypes": case(lambda x, s: x.to(s), lambda: (x(), rg.float32)),
    "NumPy's dtypes": case(lambda x, s: x * s.itemsize, lambda: (x(), np.dtype("<f8"))),
    "enums": case(lambda x, s: x * len(s.value), lambda: (x(), Mode.SUM)),
    "functions": case(lambda x, f: f(x), lambda: (x(), rg.sin)),
    "modules": case(lambda m, x: m(x), lambda: (NETWORK, x())),
    "static floats": Case(rg.compile_grad(static="s")(lambda x, s: x * s), lambda: (x(), float(text("2.5")))),
    "static zeros": Case(rg.compile_grad(static="s")(lambda x, s: x + s), lambda: (x(), 0.0)),
    "defaults": case(lambda x, s=2.0: x * s, lambda: (x(),)),
    "by name": case(lambda x, y: x - y, lambda: (x(),), y=x(1)),
    "any number": case(lambda *xs: sum(xs), lambda: (x(), x(1), x(2))),
    "any names": case(lambda **xs: xs["a"] - xs["b"], lambda: (), a=x(), b=x(1)),
    "0-d": case(lambda x, s: x * s, lambda: (array(), np.array(2.0))),
    "no elements": case(lambda x: x * 2, lambda: (rg.zeros(0, 3),)),
    "ints in": case(lambda x: x * 2, lambda: (rg.arange(5),)),
    "indices": case(lambda x, i: x[i], lambda: (x(), rg.tensor([0, 2]))),
    "tuples": case(lambda p: p[0] * p[1][0], lambda: ((x(), (x(1),)),)),
    "lists": case(lambda p: p[0] * p[1], lambda: ([x(), 2.0],)),
    "dicts": case(lambda p: p["a"] * p["b"], lambda: ({"a": x(), "b": x(1)},)),
    "named tuples": case(members, lambda: (Pair(x(), x(1)),)),
    "dataclasses": case(members, lambda: (Both(x(), x(1)),)),
    "frozen dataclasses": case(members, lambda: (Frozen(x()),)),
    "dataclasses with slots": case(members, lambda: (Slotted(x(), x(1)),)),
    "a float out": case(lambda x: x.sum(), lambda: (array(),)),
    "an int out": case(lambda x: (x > 0).sum() - 7, lambda: (array(),)),
    "a small int out": case(lambda x: x[0], lambda: (np.array([-5, 1], np.int8),)),
    "a bool out": case(lambda x: (x > -9).all(), lambda: (array(),)),
    "a tuple out": case(lambda x, y: (x * y, x + y), lambda: (x(), x(1))),
    "a list out": case(lambda x, y: [x * y, x + y], lambda: (x(), x(1))),
    "a dict out": case(lambda x, y: {"a": x * y, "b": [x + y]}, lambda: (x(), x(1))),
    "a named tuple out": case(lambda x, y: Pair(x * y, x + y), lambda: (x(), x(1))),
    "a dataclass out": case(lambda x, y: Both(x * y, x + y), lambda: (x(), x(1))),
    "a frozen dataclass out": case(lambda x, y: Frozen(x * y), lambda: (x(), x(1))),
    "a dataclass with slots out": case(lambda x, y: Slotted(x * y, [x + y]), lambda: (x(), x(1))),
    "a history in a dataclass": case(lambda x, y: Both(x * y, x.exp()), lambda: (required(), x(1))),
    "constants out": case(lambda x: (x * 2, 3, "a", None, slice(1, 2)), lambda: (x(),)),
    "an object out": case(lambda x: (x * 2, MODEL), lambda: (x(),)),
    "an argument out": case(lambda x, y: (x, x * y, x), lambda: (x(), x(1))),
    "an array argument out": case(lambda x, y: (x, x * y), lambda: (array(), array(1))),
    "a captured tensor out": case(lambda x: (x * STATE, STATE), lambda: (x(),)),
    "an argument out, with a history": case(lambda x, y: (x, x * y), lambda: (required(), x(1))),
    "a module": case(NETWORK, lambda: (x(),)),
    "a module's method": case(NETWORK.forward, lambda: (x(),)),
    "a method": Case(MODEL.scaled, lambda: (x(),)),
    "compiled in compiled": case(lambda x: SQUARE.value_and_grad(x)[1], lambda: (x(),)),
    "an argument is updated": case(add_to, lambda: (x(), x(1))),
    "an array is updated": case(add_to, lambda: (array(), array(1))),
    "an updated argument out": case(add_and_return, lambda: (x(), x(1))),
    "a captured tensor is updated": case(add_to_outside, lambda: (x(),)),
}


def framed(function: Any, arguments: Any, named: Any) -> tuple[Any, list[str]]:
    """The result of a call, and the Python functions that ran."""
    results: list[Any] = []
    frames = python_frames(lambda: results.append(function(*arguments, **named)))
    return results[0], frames


def same(one: Any, other: Any) -> bool:
    """Equal in class, elements and structure."""
    if type(one) is not type(other):
        return False
    if isinstance(one, rg.Tensor):
        kinds = [(t.dtype, t.shape, t.requires_grad, t.grad_fn is None, t._version) for t in (one, other)]
        return kinds[0] == kinds[1] and bool((one.detach().numpy() == other.detach().numpy()).all())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, Both | Frozen | Slotted):
        return same(one.a, other.a) and same(one.b, other.b)
    return one is other or bool(one == other)


@pytest.mark.parametrize("name", CASES)
def test_a_call_like_one_before_runs_no_python(name: str) -> None:
    it = CASES[name]
    given = [it.arguments() for _ in range(3)]
    first = it.function(*given[0], **it.named())
    for arguments in given[1:]:
        result, frames = framed(it.function, arguments, it.named())
        assert frames == []
        assert same(result, first)
        assert same(arguments, given[0])


@pytest.mark.usefixtures("collects_its_own")
@pytest.mark.parametrize("name", CASES)
def test_it_leaks_nothing(name: str, allocated_blocks: Callable[[], int]) -> None:
    it = CASES[name]
    arguments, named = it.arguments(), it.named()
    for _ in range(3):
        it.function(*arguments, **named)

    def blocks() -> int:
        for _ in range(50):
            it.function(*arguments, **named)
        return allocated_blocks()

    counts = [blocks() for _ in range(4)]
    assert min(b - a for a, b in pairwise(counts)) < 25


def test_one_argument_given_back_is_that_very_tensor() -> None:
    f, a = rg.compile_grad(lambda x, y: (x, x * y, STATE)), x()
    for _ in range(3):
        one, _, other = f(a, x(1))
        assert one is a
        assert other is STATE


def test_what_is_updated_counts_its_changes() -> None:
    f, a = rg.compile_grad(add_to), x()
    for turn in range(1, 5):
        f(a, x(1))
        assert a._version == turn
    np.testing.assert_allclose(a.numpy(), array() + 4 * array(1))


def test_arrays_that_cannot_be_written_are_told() -> None:
    f, fixed = rg.compile_grad(add_to), array()
    fixed.setflags(write=False)
    for _ in range(2):
        f(array(), array(1))
        with pytest.raises(ValueError, match="read-only"):
            f(fixed, array(1))
    np.testing.assert_array_equal(fixed, array())


def test_updates_that_share_memory_are_refused_natively_too() -> None:
    f, a = rg.compile_grad(add_to), array()
    for _ in range(2):
        f(array(), array(1))
        with pytest.raises(ValueError, match="shares its memory"):
            f(a, a)
    wide = rg.zeros(5, dtype=rg.float64)
    f(rg.zeros(3, dtype=rg.float64), x())
    with pytest.raises(ValueError, match="shares its memory"):
        f(wide[:3], wide[2:])
    np.testing.assert_array_equal(a, array())


def test_constants_that_are_equal_but_not_alike_are_other_kinds() -> None:
    f = rg.compile_grad(lambda x, s: (x * s, type(s)))
    for _ in range(2):
        for value in (1, True, np.int64(1), np.int32(1), 2, 10**30):
            assert f(x(), value)[1] is type(value)
    assert f.specialisations == 6


def test_a_dataclass_that_makes_its_fields_up_goes_through_python() -> None:
    @dataclass
    class Odd:
        a: Any

        def __getattribute__(self, name: str) -> Any:
            found = object.__getattribute__(self, name)
            return found * 2 if name == "a" else found

    f = rg.compile_grad(lambda odd: object.__getattribute__(odd, "a") * 1)
    for _ in range(3):
        f(Odd(x()))
    assert python_frames(lambda: f(Odd(x())))


def test_every_slot_of_a_new_tensor_is_known() -> None:
    slots = {name for name in rg.Tensor.__slots__ if not name.startswith("__")}
    assert slots == {*fresh(), "_value"}
