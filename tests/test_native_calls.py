"""Calls of compiled functions that run no Python mean what those through Python mean: values, histories,
guards, errors, and no leak. The first call of a kind goes through Python, all others here are native.
"""

from __future__ import annotations

import linecache
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import DimensionError, GradientError
from retrograd.runtime.compiled import compile_grad as compiling
from retrograd.runtime.compiled.history import CompiledBackward

Function = Callable[..., Any]
Native = Callable[[Function], Function]


def array(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def leaf(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return rg.from_numpy(array(*shape, seed=seed, dtype=dtype)).requires_grad_()


def close(ours: Any, theirs: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=rtol, atol=rtol)


@pytest.fixture
def python_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What went through Python, a name for each call."""
    calls: list[str] = []

    def noted(name: str) -> None:
        real = getattr(compiling.CompiledFunction, name)

        def call(self: Any, *args: Any) -> Any:
            calls.append(name)
            return real(self, *args)

        monkeypatch.setattr(compiling.CompiledFunction, name, call)

    noted("_value")
    noted("_value_and_grad")
    return calls


# ---- histories ---------------------------------------------------------------------------------------------


def two_results(x: Any, y: Any) -> Any:
    return x * y, (x + y).exp().sum()


FUNCTIONS: dict[str, Function] = {
    "scalar": lambda x, y: (x.sin() * y).sum(),
    "vector": lambda x, y: x.exp() * y,
    "two results": two_results,
    "one result of two": lambda x, y: ((x * y).sum(), x > 0),
    "by one argument": lambda x, y: (x * y.detach()).sum(),
}


def total(result: Any) -> Any:
    results = result if isinstance(result, tuple) else (result,)
    return sum((r.sum() * 2 for r in results if r.requires_grad), start=rg.tensor(0.0, dtype=rg.float64))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.filterwarnings("ignore:Using backward")
def test_gradients_are_those_of_eager_mode(name: str, create_graph: bool, python_calls: list[str]) -> None:
    function = FUNCTIONS[name]
    compiled = rg.compile_grad(function)
    for turn in range(3):
        ours, eager = ([leaf(4, seed=turn), leaf(4, seed=turn + 9)] for _ in range(2))
        for f, (x, y) in ((compiled, ours), (function, eager)):
            total(f(x, y)).backward(retain_graph=True, create_graph=create_graph)
            if create_graph and x.grad.requires_grad:
                (x.grad * x.grad).sum().backward()
        for a, b in zip(ours, eager):
            if b.grad is not None:
                close(a.grad.detach(), b.grad.detach())
    assert python_calls == ["_value"]


@pytest.mark.parametrize("name", ["scalar", "vector"])
def test_operands_may_have_a_history_themselves(name: str) -> None:
    function = FUNCTIONS[name]
    compiled = rg.compile_grad(function)
    for turn in range(3):
        ours, eager = leaf(4, seed=turn), leaf(4, seed=turn)
        for f, x in ((compiled, ours), (function, eager)):
            f(x.cos(), x * 2).sum().backward()
        close(ours.grad, eager.grad)


def test_leaves_and_results_of_operations_take_turns(python_calls: list[str]) -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), leaf(3)
    for operand in (x, x * 2, x, x * 3):
        f(operand).backward()
    close(x.grad, (2 + 8 + 2 + 18) * x.detach())
    assert python_calls == ["_value"]


def test_gradients_add_up() -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), leaf(3)
    for _ in range(3):
        f(x).backward()
    close(x.grad, 6 * x.detach())
    first = x.grad
    f(x).backward()
    assert x.grad is first


def test_one_tensor_may_be_two_arguments() -> None:
    f, x = rg.compile_grad(lambda a, b: (a * b).sum()), leaf(3)
    for _ in range(2):
        f(x, x).backward()
    close(x.grad, 4 * x.detach())


def test_hooks_are_called_as_ever() -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), leaf(3)
    f(x)
    y = f(x)
    y.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g * 5)
    seen: list[rg.Tensor] = []
    x.register_post_accumulate_grad_hook(seen.append)
    y.backward()
    close(x.grad, 20 * x.detach())
    assert [each is x for each in seen] == [True]


def test_the_tape_is_freed_or_kept() -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), leaf(3)
    f(x)
    y = f(x)
    y.backward(retain_graph=True)
    y.backward()
    close(x.grad, 4 * x.detach())
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_nodes_are_named_and_shown() -> None:
    def wave(x: Any) -> Any:
        return x.sin().sum()

    f, x = rg.compile_grad(wave), leaf(3)
    f(x)
    y = f(x)
    assert isinstance(y.grad_fn, CompiledBackward)
    assert (y.grad_fn.name(), y.is_leaf, y.requires_grad) == ("WaveBackward0", False, True)
    assert y.grad_fn.next_functions[0][0].variable is x
    older, younger = f(x), f(x)
    assert older.grad_fn.order < younger.grad_fn.order


@pytest.mark.parametrize("calls", [1, 2], ids=["python", "native"])
def test_operands_and_results_that_are_needed_must_not_change(calls: int) -> None:
    products, powers = rg.compile_grad(lambda x: x * x), rg.compile_grad(lambda x: x.exp())
    x = leaf(3)
    for _ in range(calls):
        z = x * 2
        y, e = products(z), powers(x)
    z.add_(1)
    with pytest.raises(GradientError, match="an input of FunctionBackward0, is at version 1; expected"):
        y.sum().backward()
    e.add_(1)
    with pytest.raises(GradientError, match="the result of FunctionBackward0, is at version 1; expected"):
        e.sum().backward()


def test_operands_that_changed_before_the_call_are_fine() -> None:
    f, x = rg.compile_grad(lambda x: x * x), leaf(3)
    for _ in range(3):
        z = x * 2
        z.add_(1)
        f(z).sum().backward()
    close(x.grad, 3 * 4 * (2 * x.detach() + 1))


def test_under_no_grad_there_is_no_history(python_calls: list[str]) -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), leaf(3)
    for _ in range(3):
        with rg.no_grad():
            assert not f(x).requires_grad
    for _ in range(3):
        assert f(x).requires_grad
    assert python_calls == ["_value"] * 2


@pytest.mark.filterwarnings("ignore:Error detected")
def test_anomaly_mode_names_the_line() -> None:
    f, x = rg.compile_grad(lambda x: x.sqrt().sum()), rg.zeros(3).requires_grad_()
    f(x), f(x)
    with rg.autograd.set_detect_anomaly(True):
        y = (f(x) * 0).sum()
        with pytest.raises(GradientError, match="returned nan values"):
            y.backward()


# ---- what is captured --------------------------------------------------------------------------------------


def test_captured_tensors_are_read_at_each_call(python_calls: list[str]) -> None:
    w = leaf(3)
    f = rg.compile_grad(lambda x: (x * w).sum())
    x = rg.from_numpy(array(3, seed=1))
    for turn in range(3):
        value, gradient = f.value_and_grad(x)
        close(value.item(), (x * w.detach()).sum().item())
        close(gradient, x)
        if turn == 0:
            w.data = rg.from_numpy(array(3, seed=2))
        else:
            with rg.no_grad():
                w.mul_(2)
    assert python_calls == ["_value_and_grad"]


def test_a_captured_tensor_of_another_type_is_traced_anew() -> None:
    w = leaf(3)
    f = rg.compile_grad(lambda x: (x * w).sum())
    for _ in range(2):
        f(array(3))
    w.data = rg.from_numpy(array(3, dtype=np.float32))
    close(f(array(3)), float((array(3) * array(3, dtype=np.float32)).sum()), 1e-6)
    w.data = rg.from_numpy(array(1))
    close(f(array(3)), float((array(3) * array(1)).sum()))
    w.requires_grad_(False)
    close(f(array(3)), float((array(3) * array(1)).sum()))


class Settings:
    def __init__(self) -> None:
        self.scale = 2.0
        self.factors = [1.0, 3.0]
        self.table = {"a": 1.0}


settings = Settings()
SHIFT = 1.0


def with_settings(x: Any) -> Any:
    extra = settings.table.get("b", 0.0)
    return (x * settings.scale * sum(settings.factors) * settings.table["a"] + SHIFT + extra).sum()


def change_scale() -> None:
    settings.scale = 5.0


def change_list() -> None:
    settings.factors[1] = 7.0


def grow_list() -> None:
    settings.factors.append(1.0)


def change_dict() -> None:
    settings.table["a"] = 4.0


def grow_dict() -> None:
    settings.table["b"] = 9.0


def change_global() -> None:
    global SHIFT
    SHIFT = 11.0


def replace_object() -> None:
    global settings
    settings = Settings()
    settings.scale = 13.0


CHANGES = [change_scale, change_list, grow_list, change_dict, grow_dict, change_global, replace_object]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_outside_is_noticed(change: Callable[[], None], python_calls: list[str]) -> None:
    global settings, SHIFT
    settings, SHIFT = Settings(), 1.0
    f, x = rg.compile_grad(with_settings), array(3)
    for _ in range(3):
        close(f(x), with_settings(x))
    assert python_calls == ["_value"]
    change()
    for _ in range(3):
        close(f(x), with_settings(x))
    assert python_calls == ["_value"] * 2
    settings, SHIFT = Settings(), 1.0


def test_names_that_it_does_not_read_may_change(python_calls: list[str]) -> None:
    f, x = rg.compile_grad(with_settings), array(3)
    for turn in range(4):
        globals()["unrelated"] = turn
        f(x)
    assert python_calls == ["_value"]


def test_a_closure_is_watched(python_calls: list[str]) -> None:
    factor = 2.0
    f, x = rg.compile_grad(lambda x: x * factor), array(3)
    for factor in (2.0, 3.0, 3.0):  # the cell is what is tested
        close(f(x), x * factor)
    assert len(python_calls) == 2


@pytest.mark.parametrize("changed", ["weight", "layer", "hook", "function"])
def test_modules_are_watched(changed: str, python_calls: list[str]) -> None:
    model = rg.nn.Sequential(rg.nn.Linear(3, 4), rg.nn.Tanh(), rg.nn.Linear(4, 1))

    def loss(x: Any) -> Any:
        return model(x).pow(2).mean()

    f, x = rg.compile_grad(loss), rg.from_numpy(array(5, 3, dtype=np.float32))
    for _ in range(2):
        f(x)
    if changed == "weight":
        model[0].weight = rg.nn.Parameter(model[0].weight.detach() * 2)
    elif changed == "layer":
        model[1] = rg.nn.ReLU()
    elif changed == "hook":
        model[2].register_forward_hook(lambda module, args, output: output * 3)
    else:
        model[1].forward = lambda x: x
    before = len(python_calls)
    for _ in range(2):
        close(f(x).item(), loss(x).item(), 1e-5)
    assert len(python_calls) == before + 1


def test_an_index_out_of_range_is_the_error_it_always_is(python_calls: list[str]) -> None:
    f, x = rg.compile_grad(lambda x, i: (x[i] * x[i]).sum()), leaf(5)
    good, bad = rg.tensor([0, 4, -5]), rg.tensor([0, 5, 1])
    for _ in range(3):
        f(x, good).backward()
    assert python_calls == ["_value"]
    with pytest.raises(DimensionError, match="index out of range"):
        f(x, bad)
    close(f(x, good).item(), (x[good] * x[good]).sum().item())


# ---- arguments ---------------------------------------------------------------------------------------------


def weighted(p: dict[str, Any], xs: list[Any], flag: bool = False) -> Any:
    return ((p["w"] * xs[0] + p["b"]) ** 2).sum() * (2 if flag else 1) + xs[1].sum()


def test_nested_arguments_need_no_python(python_calls: list[str]) -> None:
    f = rg.compile_grad(weighted)
    p, xs = {"w": leaf(3), "b": leaf(3, seed=1)}, [rg.from_numpy(array(3, seed=2)), rg.from_numpy(array(2))]
    for _ in range(3):
        value, gradients = f.value_and_grad(p, xs, flag=True)
        close(value.item(), weighted(p, xs, True).item())
        assert list(gradients) == ["w", "b"]
        total = weighted(p, xs, True)
        for ours, theirs in zip(gradients.values(), rg.autograd.grad(total, list(p.values()))):
            close(ours, theirs)
    assert python_calls == ["_value_and_grad"]


@pytest.mark.parametrize(
    "change",
    [
        lambda p, xs: ({"b": p["b"], "w": p["w"]}, xs),
        lambda p, xs: ({**p, "c": p["b"]}, xs),
        lambda p, xs: (p, tuple(xs)),
        lambda p, xs: (p, [*xs, xs[0]]),
        lambda p, xs: (p, [xs[0], xs[1].float()]),
        lambda p, xs: (p, [xs[0], np.ones(2)]),
        lambda p, xs: (p, [xs[0], xs[1][:1]]),
    ],
)
def test_other_structures_are_other_calls(change: Callable[..., Any]) -> None:
    f = rg.compile_grad(weighted)
    p, xs = {"w": leaf(3), "b": leaf(3, seed=1)}, [rg.from_numpy(array(3, seed=2)), rg.from_numpy(array(2))]
    for _ in range(2):
        f(p, xs)
    other = change(p, xs)
    theirs = weighted(other[0], [x if isinstance(x, rg.Tensor) else rg.from_numpy(x) for x in other[1]])
    close(f(*other).item(), theirs.item(), 1e-6)
    close(f(p, xs).item(), weighted(p, xs).item())


def test_arguments_by_name_need_no_python(python_calls: list[str]) -> None:
    f, x, y = rg.compile_grad(lambda a, *, c, b: (a - 2 * b + 3 * c).sum()), leaf(3), leaf(3, seed=1)
    for _ in range(3):
        close(f(x, c=y, b=x).item(), (3 * y - x).sum().item())
    assert python_calls == ["_value"]
    close(f(x, b=y, c=x).item(), (4 * x - 2 * y).sum().item())
    close(f(x, c=y, b=x).item(), (3 * y - x).sum().item())


def test_kinds_of_calls_that_take_turns_need_no_python(python_calls: list[str]) -> None:
    f, shapes = rg.compile_grad(lambda x, scale=2.0: (x * scale).sum()), [(2,), (3,), (2, 3), (5,)]
    for turn in range(4):
        for shape in shapes:
            x = array(*shape, seed=turn)
            close(f(x), 2 * x.sum())
            close(f(x, scale=3.0), 3 * x.sum())
            close(f.value_and_grad(rg.from_numpy(x))[1], np.full(shape, 2.0))
    assert sorted(python_calls) == ["_value"] * 8 + ["_value_and_grad"] * 4


def test_the_kinds_called_last_need_no_python(python_calls: list[str]) -> None:
    f, sizes = rg.compile_grad(lambda x: x.sum()), range(1, compiling._NATIVE + 3)
    for size in (*sizes, *sizes):
        close(f(array(size)), array(size).sum())
    del python_calls[:]
    for size in [*sizes][-compiling._NATIVE :]:
        close(f(array(size)), array(size).sum())
    assert python_calls == []
    close(f(array(1)), array(1).sum())
    assert python_calls == ["_value"]


def test_modes_are_those_of_the_thread_that_calls(python_calls: list[str]) -> None:
    f, x, seen = rg.compile_grad(lambda x: (x * x).sum()), leaf(3), []

    def work() -> None:
        seen.append(f(x).requires_grad)
        with rg.no_grad():
            seen.append(f(x).requires_grad)

    for _ in range(2):
        assert f(x).requires_grad
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [True, False] * 2
    assert python_calls == ["_value"] * 2


def test_what_native_code_cannot_look_at_is_asked_of_python(python_calls: list[str]) -> None:
    table = {("a", 1): 2.0}

    def scaled(x: Any) -> Any:
        return (x * table["a", 1]).sum()

    f, x = rg.compile_grad(scaled), array(3)
    for _ in range(3):
        close(f(x), 2 * x.sum())
    assert python_calls == ["_value"]
    table["a", 1] = 5.0
    for _ in range(3):
        close(f(x), 5 * x.sum())
    assert python_calls == ["_value"] * 2


class Scaled:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    @rg.compile_grad
    def loss(self, x: Any) -> Any:
        return (x * self.scale).sum()


def test_methods_need_no_python(python_calls: list[str]) -> None:
    one, two, x = Scaled(2.0), Scaled(3.0), leaf(3)
    for _ in range(3):
        close(one.loss.value_and_grad(x)[1], 2 * np.ones(3))
    assert python_calls == ["_value_and_grad"]
    for scaled in (two, one, two):
        close(scaled.loss.value_and_grad(x)[1], scaled.scale * np.ones(3))
    one.scale = 7.0
    close(one.loss.value_and_grad(x)[1], 7 * np.ones(3))


def test_a_method_that_is_kept_is_called_as_ever(python_calls: list[str]) -> None:
    one, x = Scaled(2.0), leaf(3)
    kept = one.loss
    kept(x)
    one.scale = 3.0
    for _ in range(3):
        close(kept(x).item(), 3 * x.sum().item())
    assert python_calls == ["_value"] * 2
    close(Scaled.loss(one, x).item(), 3 * x.sum().item())


def test_an_object_that_is_gone_is_not_taken_for_another() -> None:
    x, seen = array(3), set()
    for turn in range(50):
        scaled = Scaled(float(turn))
        seen.add(id(scaled))
        for _ in range(2):
            close(scaled.loss(x), turn * x.sum())
        gone = weakref.ref(scaled)
        del scaled
        assert gone() is None
    assert len(seen) < 50, "no address was given away twice: nothing was tested"


# ---- memory ------------------------------------------------------------------------------------------------


def turns(f: Function, x: rg.Tensor, count: int) -> None:
    for _ in range(count):
        x.grad = None
        result = f(x)
        for r in result if isinstance(result, tuple) else (result,):
            r.sum().backward(retain_graph=True)
        f(x)


@pytest.mark.parametrize(
    "function", [lambda x: (x * x).sum(), lambda x: x.exp() * x, lambda x: (x * x, x.exp())]
)
def test_nothing_is_leaked(function: Function, allocated_blocks: Callable[[], int]) -> None:
    w = leaf(3, seed=1)
    f, x = rg.compile_grad(lambda x: function(x * w)), leaf(3)
    turns(f, x, 20)
    w.grad = x.grad = None
    blocks = allocated_blocks()
    watched = [x, w, x._value, w._value, None, True, False, rg.Tensor, CompiledBackward, np.dtype(np.float64)]
    before = [sys.getrefcount(thing) for thing in watched]
    turns(f, x, 2000)
    w.grad = x.grad = None
    after = allocated_blocks()
    changes = [abs(sys.getrefcount(thing) - was) for thing, was in zip(watched, before)]
    assert max(changes) < 100, changes
    assert abs(after - blocks) < 500


def test_many_threads_may_call_and_differentiate() -> None:
    w = rg.from_numpy(array(64, seed=1))
    f = rg.compile_grad(lambda x: (x * w).sin().sum())
    wrong: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        x = leaf(64, seed=seed)
        right = np.cos(x.detach().numpy() * w.numpy()) * w.numpy()
        for turn in range(500):
            x.grad = None
            f(x).backward()
            if not np.allclose(x.grad.numpy(), right):
                wrong.append((seed, turn))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("loss", [rg.nn.functional.cross_entropy, rg.nn.functional.nll_loss])
@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_class_out_of_range_is_told_as_in_eager_mode(loss: Any, wrong: int) -> None:
    x, target = rg.randn(3, 4, requires_grad=True), rg.tensor([0, wrong, 2])
    compiled = rg.compile_grad(lambda x, target: loss(x, target))
    for call in (loss, compiled, compiled.value_and_grad):
        with pytest.raises(IndexError) as caught:
            call(x, target)
        assert str(caught.value) == f"Target {wrong} is out of bounds."
    target[1] = -100
    assert compiled(x, target).item() == pytest.approx(loss(x, target).item(), rel=1e-6)


def root_of_nothing(x: rg.Tensor) -> rg.Tensor:
    nothing = x * 0
    root = nothing.sqrt()
    return root * 0


@pytest.mark.filterwarnings("ignore:Error detected")
def test_anomaly_mode_names_the_line_within_a_compiled_function() -> None:
    x = rg.ones(2, requires_grad=True)
    many = rg.compile_grad(root_of_nothing)
    one = rg.compile_grad(lambda x: root_of_nothing(x).sum())
    one.value_and_grad(x), one(x), many(x)
    calls: list[Callable[[], Any]] = [
        lambda: root_of_nothing(x).sum().backward(),
        lambda: one(x).backward(),
        lambda: one.value_and_grad(x),
        lambda: many(x).backward(rg.ones(2)),
        lambda: rg.autograd.grad(many(x).sum(), x),
    ]
    for call in calls:
        with rg.autograd.set_detect_anomaly(True), pytest.raises(GradientError) as caught:
            call()
        assert str(caught.value) == "Function 'SqrtBackward0' returned nan values in its 0th output."
        where = caught.value.where
        assert where is not None
        assert "root = nothing.sqrt()" in linecache.getline(where.file, where.line)
    assert one.value_and_grad(x)[1].isnan().all()
