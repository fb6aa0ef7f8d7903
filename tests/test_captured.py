"""What a compiled function reads from outside: captured at each call, and noticed where it has changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compiling import array, close, leaf

import retrograd as rg
from retrograd.compiler.errors import TraceError

SCALE = 2.0
WEIGHT = leaf(3, seed=5)


def scaled(x: Any) -> Any:
    return (x * SCALE).sum()


def test_captured_tensors_receive_gradients() -> None:
    w, model = leaf(3), SimpleNamespace(weight=leaf(3, seed=2))

    @rg.compile_grad
    def f(x: Any) -> Any:
        return (x * w * model.weight * WEIGHT).sum()

    x = rg.from_numpy(array(3, seed=1))
    WEIGHT.grad = None
    f(x).backward()
    close(w.grad, (x * model.weight * WEIGHT).detach())
    close(model.weight.grad, (x * w * WEIGHT).detach())
    close(WEIGHT.grad, (x * w * model.weight).detach())
    assert len(f.grad(x)) == 3


class AnswersToNoName:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no name is known here, and {name} neither")


STRANGE = AnswersToNoName()


def test_captured_objects_are_not_asked_for_what_they_may_not_have() -> None:
    @rg.compile_grad
    def f(x: Any) -> Any:
        return x * 2 if STRANGE is not None else x

    assert f(3.0) == 6.0


def test_captured_tensors_are_read_at_each_call() -> None:
    w = rg.from_numpy(array(3))
    f = rg.compile_grad(lambda x: (x * w).sum())
    x = array(3, seed=1)
    f(x)
    w.mul_(2)
    assert f(x) == pytest.approx((x * w.numpy()).sum())
    assert f.specialisations == 1


def test_captured_arrays_are_read_at_each_call_too() -> None:
    w = array(3)
    f = rg.compile_grad(lambda x: (x * w).sum())
    x = array(3, seed=1)
    f(x)
    w *= 2
    assert f(x) == pytest.approx((x * w).sum())
    assert "graph function(x: f64[3], w: f64[3])" in str(f.trace(x).graph)


def test_a_traced_tensor_prints_without_elements() -> None:
    printed = []
    with pytest.warns(RuntimeWarning, match="changes the size of printed"):
        rg.compile_grad(lambda x: printed.append((repr(x), repr(x * 2), repr(WEIGHT))))(leaf(3))
    assert printed == [("tensor(<traced f64[3]>)",) * 3]


def test_an_argument_may_be_a_captured_tensor_too() -> None:
    w = leaf(3)
    f = rg.compile_grad(lambda x: (x * w).sum())
    f(w).backward()
    close(w.grad, 2 * w.detach())
    other = leaf(3, seed=1)
    close(f(other).detach(), (other * w).sum().detach())


def test_the_same_tensor_may_be_passed_twice() -> None:
    f = rg.compile_grad(lambda x, y: (x * y).sum())
    x, y = leaf(3), leaf(3, seed=1)
    f(x, x).backward()
    close(x.grad, 2 * x.detach())
    close(f(x, y).detach(), (x * y).sum().detach())


def test_a_captured_tensor_with_a_history_hands_its_gradient_on() -> None:
    w = leaf(3)
    h = w.tanh()
    rg.compile_grad(lambda x: (x * h * w).sum())(rg.from_numpy(array(3, seed=1))).backward()
    ours, w.grad = w.grad, None
    (rg.from_numpy(array(3, seed=1)) * w.tanh() * w).sum().backward()
    close(ours, w.grad)


def test_changed_constants_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = 3.0
    table = {"factor": 2.0}

    def helper(x: Any) -> Any:
        return scaled(x) * scale

    f = rg.compile_grad(lambda x: helper(x) * table["factor"])
    x = array(3)
    assert f(x) == pytest.approx(12 * x.sum())
    scale = 5.0
    assert f(x) == pytest.approx(20 * x.sum())
    table["factor"] = 1.0
    assert f(x) == pytest.approx(10 * x.sum())
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    assert f(x) == pytest.approx(20 * x.sum())
    scale = 3.0
    table["factor"] = 2.0
    monkeypatch.undo()
    assert f(x) == pytest.approx(12 * x.sum())
    assert f.specialisations == 4


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("shape", [(), (3,), (4,), (2, 2)])
def test_elements_of_numpys_arrays_are_constants_and_noticed(dtype: str, shape: tuple[int, ...]) -> None:
    table = np.ones(shape, dtype)
    turned = np.ones((4, 2), dtype).T

    def f(x: Any) -> Any:
        return x * float(table.sum()) + rg.from_numpy(turned).sum()

    compiled = rg.compile(f)
    x = rg.from_numpy(array(3))
    for turn in range(4):
        for _ in range(3):
            assert rg.equal(compiled(x), f(x))
        (table if turn % 2 else turned)[...] += 1
    assert rg.equal(compiled(x), f(x))


def test_an_array_that_counts_is_told() -> None:
    calls = np.zeros(1)

    def f(x: Any) -> Any:
        calls[0] += 1
        return x * calls[0]

    with pytest.raises(TraceError, match="changes calls, which it reads from outside"):
        rg.compile_grad(f)(rg.ones(3))


def test_a_method_that_is_replaced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layer(rg.nn.Module):
        def forward(self, x: Any) -> Any:
            return self.scaled(x) + 1

        def scaled(self, x: Any) -> Any:
            return x * 2

    layer = Layer()
    compiled = rg.compile(layer)
    x = rg.ones(3)
    assert compiled(x).tolist() == [3.0] * 3
    monkeypatch.setattr(Layer, "scaled", lambda self, x: x * 5)
    assert compiled(x).tolist() == [6.0] * 3
    monkeypatch.setattr(Layer, "forward", lambda self, x: x)
    assert compiled(x).tolist() == [1.0] * 3


def test_a_tensor_that_is_replaced_is_noticed() -> None:
    model = SimpleNamespace(weight=rg.from_numpy(array(3)), layers=[rg.from_numpy(array(3))])
    f = rg.compile_grad(lambda x: (x * model.weight + model.layers[0]).sum())
    x = array(3, seed=1)
    f(x)
    model.weight = model.weight * 2
    model.layers[0] = model.layers[0] * 3
    assert f(x) == pytest.approx((x * 2 * array(3) + 3 * array(3)).sum())


def test_an_attribute_that_hides_that_of_the_class_is_noticed() -> None:
    class Model:
        scale = 2.0

        @rg.compile_grad
        def scaled(self, x: Any) -> Any:
            return x * self.scale

    model = Model()
    assert model.scaled(3.0) == 6.0
    model.scale = 4.0
    assert model.scaled(3.0) == 12.0
    Model.scale = 5.0
    del model.scale
    assert model.scaled(3.0) == 15.0


def test_an_equal_constant_is_no_change() -> None:
    settings = {"scale": 0.5, "name": "a" * 3}
    f = rg.compile_grad(lambda x: x * settings["scale"] * len(settings["name"]))
    f(1.0)
    settings.update(scale=float("0.5"), name="".join(["a", "aa"]))
    assert f(1.0) == 1.5
    assert f.specialisations == 1
    settings["scale"] = 1
    assert f(1.0) == 3.0
    assert f.specialisations == 2


def test_a_changed_default_is_noticed() -> None:
    def f(x: Any, power: int = 2) -> Any:
        return x.pow(power).sum()

    compiled = rg.compile_grad(f)
    x = array(3)
    compiled(x)
    f.__defaults__ = (3,)
    assert compiled(x) == pytest.approx((x**3).sum())


def test_requires_grad_of_a_captured_tensor_is_looked_at() -> None:
    w = rg.from_numpy(array(3))
    f = rg.compile_grad(lambda x: (x * w).sum())
    x = rg.from_numpy(array(3, seed=1))
    assert not f(x).requires_grad
    w.requires_grad_()
    f(x).backward()
    close(w.grad, x)


def test_new_shapes_and_dtypes_specialise_anew() -> None:
    f = rg.compile_grad(lambda x: (x * x).sum())
    for x in (array(3), array(4), array(2, 2), array(3, dtype=np.float32)):
        close(f.grad(x), 2 * x)
        f.grad(x)
    assert f.specialisations == 4


def test_objects_that_are_gone_are_not_kept() -> None:
    class Model:
        @rg.compile_grad
        def twice(self, x: Any) -> Any:
            return x * 2

    for _ in range(3):
        Model().twice(array(3))
    assert Model.twice.specialisations == 1


def test_very_many_specialisations_are_told_at_the_users_line() -> None:
    f = rg.compile_grad(lambda x, k: x * k)
    for k in range(31):
        f(1.0, k)
    with pytest.warns(RuntimeWarning, match="was compiled 32 times, for different .* or paths: pass") as told:
        f(1.0, 31)
    assert told[0].filename == __file__


# ---- the names of globals ----------------------------------------------------------------------------------

_MODEL = """
class Model:
    def __init__(self, rg):
        self.b = self.t = rg.tensor(2.0)

    def __call__(self, x):
        return (x * self.b + self.t).sum() * scale
"""


@pytest.mark.parametrize("wide", [0, 300])
def test_a_global_that_is_only_the_name_of_an_attribute_is_none_of_its_business(wide: int) -> None:
    world: dict[str, Any] = {"__name__": "a_users_script", "scale": 1.0} | {f"n{k}": 1.0 for k in range(wide)}
    more = "".join(f" + n{k}" for k in range(wide))
    exec(_MODEL.replace("* scale", f"* (scale{more})"), world)
    f, x = rg.compile_grad(world["Model"](rg)), rg.ones(3)
    for turn in range(4):
        world |= {"b": turn / 7, "t": [turn]}
        assert f(x).item() == 12 * (1 + wide)
    assert f.specialisations == 1
    world["n299" if wide else "scale"] = 2.0
    assert f(x).item() == 12 * (2 + wide)


def test_what_changes_outside_at_each_call_is_told_once() -> None:
    world: dict[str, Any] = {"__name__": "a_users_script", "a": 0, "b": 0}
    exec("def f(x): return (x * a + b).sum()", world)
    weight = rg.ones(3, requires_grad=True)
    optimizer = rg.optim.SGD([weight], 0.0)
    for call in rg.compile_grad(world["f"]), rg.compile_step(lambda x: world["f"](x * weight), optimizer):
        for turn in range(8):
            world["b"] = turn
            call(rg.ones(3))
        world["b"] = 8
        with pytest.warns(RuntimeWarning, match="8 times because .*b, read from outside, had") as told:
            call(rg.ones(3))
        assert [each.filename for each in told] == [__file__]
        world["b"] = 9
        assert call(rg.ones(3)).item() == 27
