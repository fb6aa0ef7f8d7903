"""`compile_grad` end to end: what it returns agrees with eager mode and with PyTorch, whatever is passed and
captured."""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import ArgumentError, GradientError, RetrogradError, TraceError
from retrograd.compiler.ir.graph import Graph
from retrograd.runtime.compiled.compile_grad import CompiledFunction
from retrograd.runtime.native.program import NativeProgram

Function = Callable[..., Any]


def array(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def leaf(*shape: int, seed: int = 0, dtype: Any = np.float64) -> rg.Tensor:
    return rg.from_numpy(array(*shape, seed=seed, dtype=dtype)).requires_grad_()


def close(ours: Any, theirs: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=rtol, atol=rtol)


def two_layers(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    return ((x @ w1).clamp(min=0) @ w2 - y).pow(2).sum()


SHAPES = ((8, 5), (8, 3), (5, 7), (7, 3))


# ---- values and gradients ----------------------------------------------------------------------------------

PROGRAMS: dict[str, tuple[Function, tuple[tuple[int, ...], ...]]] = {
    "two layers": (two_layers, SHAPES),
    "pointwise": (lambda x: (x.sin() * x.exp() + x.tanh()).sum(), ((37,),)),
    "broadcast": (lambda x, b: ((x + b) * b).mean(), ((4, 5), (5,))),
    "softmax": (lambda x: -(x.log_softmax(1)[:, 0]).mean(), ((6, 9),)),
    "rows": (lambda x: (x - x.mean(dim=1, keepdim=True)).pow(2).sum(1).sqrt().sum(), ((5, 8),)),
    "0-d": (lambda x: x * x, ((),)),
    "transposed": (lambda a, b: (a.T @ b.T).sum(), ((3, 4), (5, 3))),
    "sliced": (lambda x: (x[1:, ::2] * x[:-1, 1::2]).sum(), ((5, 6),)),
    "empty": (lambda x: (x * 2).sum(), ((0, 3),)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_value_and_gradients_are_those_of_eager_mode_and_pytorch(name: str, torch: ModuleType) -> None:
    function, shapes = PROGRAMS[name]
    arrays = [array(*shape, seed=k) for k, shape in enumerate(shapes)]
    value, gradients = rg.compile_grad(wrt=tuple(range(len(shapes))))(function).value_and_grad(*arrays)

    eager = [rg.from_numpy(a.copy()).requires_grad_() for a in arrays]
    function(*eager).backward()
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    loss = function(*theirs)
    loss.backward()

    close(value, loss.detach())
    for ours, ours_eager, other in zip(gradients, eager, theirs, strict=True):
        assert ours_eager.grad is not None
        close(ours, ours_eager.grad)
        close(ours, other.grad)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_call_can_be_differentiated_by_backward(name: str) -> None:
    function, shapes = PROGRAMS[name]
    compiled, eager = ([leaf(*shape, seed=k) for k, shape in enumerate(shapes)] for _ in range(2))
    ours, expected = rg.compile_grad(function)(*compiled), function(*eager)
    close(ours.detach(), expected.detach())
    ours.backward()
    expected.backward()
    for a, b in zip(compiled, eager, strict=True):
        close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_have_the_dtypes_of_eager_mode(dtype: Any) -> None:
    arrays = [array(*shape, seed=k, dtype=dtype) for k, shape in enumerate(SHAPES)]
    tensors = [rg.from_numpy(a) for a in arrays]
    assert rg.compile_grad(two_layers)(*tensors).dtype is two_layers(*tensors).dtype
    assert all(g.dtype == dtype for g in rg.compile_grad(two_layers).grad(*arrays))


# ---- what goes in, what comes out --------------------------------------------------------------------------


def test_arrays_in_give_a_float_and_arrays_out() -> None:
    value, gradient = rg.compile_grad(lambda x: (x * x).sum()).value_and_grad(array(4))
    assert type(value) is float
    assert type(gradient) is np.ndarray


def test_tensors_in_give_tensors_out() -> None:
    value, gradient = rg.compile_grad(lambda x: (x * x).sum()).value_and_grad(leaf(4))
    assert isinstance(value, rg.Tensor)
    assert isinstance(gradient, rg.Tensor)
    assert not value.requires_grad


def test_arrays_need_not_lie_in_order() -> None:
    x = array(6, 8)
    gradient = rg.compile_grad(lambda x: (x * x * x).sum()).grad(x.T[::2])
    close(gradient, 3 * x.T[::2] ** 2)
    read_only = np.broadcast_to(np.float64(2.0), (3,))
    close(rg.compile_grad(lambda x: (x * x).sum()).grad(read_only), [4.0, 4.0, 4.0])


def test_arrays_of_the_other_byte_order_are_read_right() -> None:
    x = array(3).astype(">f8")
    close(rg.compile_grad(lambda x: (x * x).sum()).grad(x), 2 * x)


def test_python_floats_are_run_time_values() -> None:
    f = rg.compile_grad(lambda x, scale: (x * scale).sum())
    assert f(array(3), 2.0) == pytest.approx(2 * array(3).sum())
    assert f(array(3), 5.0) == pytest.approx(5 * array(3).sum())
    assert f.specialisations == 1


def test_a_float_promotes_as_in_eager_mode() -> None:
    def f(x: Any, scale: Any) -> Any:
        return (x * scale).sum() * (scale * 2 + 1), x.sum() * scale

    x = rg.tensor([1.0, 2.0])
    for ours, expected in zip(rg.compile_grad(f)(x, 0.1), f(x, 0.1), strict=True):
        assert ours.dtype is expected.dtype is rg.float32
        close(ours, expected, 1e-6)


def test_floats_alone_are_differentiated() -> None:
    assert rg.compile_grad(lambda x, n: x**n).value_and_grad(3.0, 2) == (9.0, 6.0)


def test_a_float_can_be_named_among_arrays() -> None:
    f = rg.compile_grad(wrt="scale")(lambda x, scale: (x * scale).sum())
    assert f.grad(array(3), 2.0) == pytest.approx(array(3).sum())


@pytest.mark.parametrize("values", [(2, 3), (True, False), ("sum", "mean"), (None, 0)])
def test_other_constants_specialise(values: tuple[Any, Any]) -> None:
    def f(x: Any, choice: Any) -> Any:
        if choice in (2, True, "sum", None):
            return x.sum()
        return x.mean()

    compiled, x = rg.compile_grad(f), array(4)
    for value in values:
        close(compiled(x, value), x.sum() if value is values[0] else x.mean())
    assert compiled.specialisations == 2


class Layer(NamedTuple):
    weight: Any
    bias: Any


@dataclasses.dataclass(frozen=True)
class Settings:
    layers: list[Layer]
    scale: float
    activation: str = "tanh"


def test_arguments_nest_and_gradients_have_their_structure() -> None:
    def f(settings: Settings, batch: dict[str, Any]) -> Any:
        x = batch["x"]
        for weight, bias in settings.layers:
            x = getattr(x @ weight + bias, settings.activation)()
        return (x * settings.scale - batch["y"]).pow(2).sum()

    layers = [Layer(array(4, 5, seed=1), array(5, seed=2)), Layer(array(5, 2, seed=3), array(2, seed=4))]
    settings, batch = Settings(layers, 0.5), {"x": array(3, 4), "y": array(3, 2)}
    gradient = rg.compile_grad(wrt="settings")(f).grad(settings, batch)
    assert isinstance(gradient, Settings)
    assert gradient.scale is None
    assert gradient.activation == "tanh"

    leaves = [Layer(*(rg.from_numpy(a).requires_grad_() for a in layer)) for layer in layers]
    f(Settings(leaves, 0.5), {k: rg.from_numpy(a) for k, a in batch.items()}).backward()
    for ours, eager in zip(gradient.layers, leaves, strict=True):
        close(ours.weight, eager.weight.grad)
        close(ours.bias, eager.bias.grad)


def test_results_nest() -> None:
    def f(x: Any) -> Any:
        return {"sum": x.sum(), "parts": [x * 2, (x + 1, "text", None, 3)]}

    x = array(3)
    result = rg.compile_grad(f)(x)
    assert result["sum"] == pytest.approx(x.sum())
    close(result["parts"][0], x * 2)
    assert result["parts"][1][1:] == ("text", None, 3)


def test_an_argument_that_is_returned_is_itself() -> None:
    f = rg.compile_grad(lambda x: (x, x * 2))
    x = leaf(3)
    assert f(x)[0] is x


def test_keywords_defaults_and_many_arguments() -> None:
    @rg.compile_grad
    def f(x: Any, *rest: Any, power: int = 2, **more: Any) -> Any:
        total = x.pow(power).sum()
        for term in (*rest, *more.values()):
            total = total + term.sum()
        return total

    x = array(3)
    assert f(x) == pytest.approx((x**2).sum())
    assert f(x, power=3) == pytest.approx((x**3).sum())
    assert f(x, x, x, power=1, extra=x) == pytest.approx(4 * x.sum())
    assert len(f.grad(x, x, extra=x)) == 3


def test_a_default_tensor_is_an_input() -> None:
    w = leaf(3)

    @rg.compile_grad
    def f(x: Any, weight: rg.Tensor = w) -> Any:
        return (x * weight).sum()

    x = rg.from_numpy(array(3, seed=1))
    f(x).backward()
    close(w.grad, x)


def test_whatever_can_be_called_can_be_compiled() -> None:
    x = rg.from_numpy(array(4, 3))
    model = rg.nn.Sequential(rg.nn.Linear(3, 5), rg.nn.Tanh(), rg.nn.Linear(5, 1)).double()
    close(rg.compile_grad(model)(x).detach(), model(x).detach())
    half = functools.partial(lambda x, scale: x * scale, scale=0.5)
    close(rg.compile_grad(half)(x), 0.5 * x)


def test_modules_are_trained_by_captured_parameters() -> None:
    def train(compile_it: bool) -> list[float]:
        rg.manual_seed(0)
        model = rg.nn.Sequential(rg.nn.Linear(3, 5), rg.nn.Tanh(), rg.nn.Linear(5, 1)).double()
        x, y = rg.from_numpy(array(16, 3)), rg.from_numpy(array(16, 1, seed=1))
        optimizer = rg.optim.SGD(model.parameters(), lr=0.1)
        loss = lambda: (model(x) - y).pow(2).mean()  # noqa: E731  # named by what it returns
        step = rg.compile_grad(loss) if compile_it else loss
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            value = step()
            value.backward()
            optimizer.step()
            losses.append(value.item())
        assert not compile_it or step.specialisations == 1
        return losses

    close(train(True), train(False))


def test_methods_are_compiled_for_each_object() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale
            self.weight = leaf(3)

        @rg.compile_grad
        def loss(self, x: Any) -> Any:
            return (self.weight * x * self.scale).sum()

        @staticmethod
        @rg.compile_grad
        def twice(x: Any) -> Any:
            return x * 2

    first, second = Model(1.0), Model(10.0)
    x = rg.from_numpy(array(3, seed=1))
    value, gradient = second.loss.value_and_grad(x)
    close(gradient, 10 * x)
    close(first.loss(x).detach(), (first.weight * x).sum().detach())
    close(Model.loss(second, x).detach(), value)
    close(first.twice(x), x * 2)
    first.scale = 3.0
    close(first.loss(x).detach(), 3 * (first.weight * x).sum().detach())


# ---- by what -----------------------------------------------------------------------------------------------


def test_wrt_takes_names_and_positions() -> None:
    arrays = [array(*shape, seed=k) for k, shape in enumerate(SHAPES)]
    everything = rg.compile_grad(two_layers).grad(*arrays)
    close(rg.compile_grad(wrt="w2")(two_layers).grad(*arrays), everything[3])
    close(rg.compile_grad(wrt=-1)(two_layers).grad(*arrays), everything[3])
    (bare,) = rg.compile_grad(wrt=("w1",))(two_layers).grad(*arrays)
    close(bare, everything[2])
    w1, w2 = rg.compile_grad(wrt=("w1", "w2"))(two_layers).grad(*arrays)
    close(w1, everything[2])
    close(w2, everything[3])


def test_without_wrt_the_tensors_that_require_grad_are_meant() -> None:
    x, y, w1, w2 = (leaf(*shape, seed=k) for k, shape in enumerate(SHAPES))
    gradients = rg.compile_grad(two_layers).grad(x.detach(), y.detach(), w1, w2)
    assert [g.shape for g in gradients] == [w1.shape, w2.shape]


def test_a_call_is_differentiated_by_all_that_require_grad_whatever_wrt_says() -> None:
    x, w = leaf(3), leaf(3, seed=1)
    rg.compile_grad(wrt="w")(lambda x, w: (x * w).sum())(x, w).backward()
    close(x.grad, w.detach())


def test_something_else_may_be_returned_beside_the_scalar() -> None:
    f = rg.compile_grad(has_aux=True)(lambda x: ((x * x).sum(), {"double": x * 2}))
    x = array(3)
    (value, aux), gradient = f.value_and_grad(x)
    assert value == pytest.approx((x * x).sum())
    close(aux["double"], 2 * x)
    close(gradient, 2 * x)
    assert f.grad(x)[1].keys() == {"double"}


def test_an_argument_without_influence_has_a_gradient_of_zeros() -> None:
    _, zeros = rg.compile_grad(lambda x, y: x.sum()).grad(array(3), array(2, 2))
    close(zeros, np.zeros((2, 2)))


# ---- the world outside -------------------------------------------------------------------------------------

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


def test_very_many_specialisations_are_told() -> None:
    f = rg.compile_grad(lambda x, k: x * k)
    for k in range(31):
        f(1.0, k)
    with pytest.warns(RuntimeWarning, match="was compiled 32 times, for different shapes or constants: pass"):
        f(1.0, 31)


# ---- the tape ----------------------------------------------------------------------------------------------


def test_it_composes_with_eager_operations_before_and_after() -> None:
    def whole(f: Function, z: rg.Tensor) -> rg.Tensor:
        return f(z.exp(), z.detach()).sin().sum() * 3

    def f(x: Any, y: Any) -> Any:
        return x.tanh() * y + x

    ours, eager = leaf(4), leaf(4)
    whole(rg.compile_grad(f), ours).backward()
    whole(f, eager).backward()
    close(ours.grad, eager.grad)


def test_several_outputs_each_have_a_history() -> None:
    def f(x: Any, y: Any) -> Any:
        return x * y, (x + y).sum(), x > 0

    for used in ([0], [1], [0, 1]):
        ours, eager = ([leaf(3), leaf(3, seed=1)] for _ in range(2))
        for function, (x, y) in ((rg.compile_grad(f), ours), (f, eager)):
            outputs = function(x, y)
            assert not outputs[2].requires_grad
            sum((outputs[k].sum() for k in used), start=rg.tensor(0.0)).backward()
        for a, b in zip(ours, eager, strict=True):
            close(a.grad, b.grad)


def test_a_tensor_is_differentiated_with_a_cotangent() -> None:
    x, v = leaf(4), rg.from_numpy(array(4, seed=1))
    rg.compile_grad(lambda x: x.exp())(x).backward(v)
    close(x.grad, (v * x.exp()).detach())


def test_the_graph_can_be_kept_and_is_freed_otherwise() -> None:
    for f in (rg.compile_grad(lambda x: (x * x).sum()), rg.compile_grad(lambda x: x * x)):
        x = leaf(3)
        y = f(x).sum()
        y.backward(retain_graph=True)
        y.backward()
        close(x.grad, 4 * x.detach())
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            y.backward()


def test_gradients_of_two_backward_passes_do_not_share_memory() -> None:
    x = leaf(3)
    y = rg.compile_grad(lambda x: (x * x).sum())(x)
    (first,) = rg.autograd.grad(y, x, retain_graph=True)
    first.mul_(100)
    (second,) = rg.autograd.grad(y, x)
    close(second, 2 * x.detach())


def test_derivatives_of_derivatives_are_compiled_too() -> None:
    def f(x: Any, y: Any) -> Any:
        return (x.sin() * y * x).sum()

    results = []
    for function in (rg.compile_grad(f), f):
        x, y = leaf(4), leaf(4, seed=1)
        gx, gy = rg.autograd.grad(function(x, y), (x, y), create_graph=True)
        assert gx.grad_fn is not None
        (ggx,) = rg.autograd.grad((gx * gx + gy).sum(), x, create_graph=True)
        (gggx,) = rg.autograd.grad(ggx.sum(), x)
        results.append([gx.detach(), gy.detach(), ggx.detach(), gggx])
    for ours, eager in zip(*results, strict=True):
        close(ours, eager)


def test_nothing_is_recorded_under_no_grad() -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), leaf(3)
    with rg.no_grad():
        assert not f(x).requires_grad
        close(f.grad(x), 2 * x.detach())
    assert f(x).requires_grad


def test_an_input_changed_before_backward_is_an_error() -> None:
    x = rg.from_numpy(array(3))
    w = leaf(3)
    y = rg.compile_grad(lambda x, w: x * w)(x, w)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_detach_and_no_grad_inside_mean_what_they_mean_eagerly() -> None:
    def f(x: Any) -> Any:
        with rg.no_grad():
            scale = x.exp()
        return (x * x.detach() * scale).sum()

    x, eager = leaf(3), leaf(3)
    f(eager).backward()
    close(rg.compile_grad(f).grad(x), eager.grad)
    (first,) = rg.autograd.grad(rg.compile_grad(f)(x), x, create_graph=True)
    assert not first.requires_grad or not rg.autograd.grad(first.sum(), x, allow_unused=True)[0].any()


class Doubled(rg.autograd.Function):
    """Its derivative is deliberately not that of its value."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (x,) = ctx.saved_tensors
        return cotangents[0] * 100 * x


def test_functions_of_the_users_own_keep_their_derivative() -> None:
    f = rg.compile_grad(lambda x: Doubled.apply(x.exp()).sum())
    x = array(3)
    value, gradient = f.value_and_grad(x)
    assert value == pytest.approx(2 * np.exp(x).sum())
    close(gradient, 100 * np.exp(x) ** 2)


def test_hooks_of_a_leaf_run_once() -> None:
    x, calls = leaf(3), []
    x.register_hook(lambda g: calls.append(1) or g * 2)
    rg.compile_grad(lambda: (x * x).sum())().backward()
    close(x.grad, 4 * x.detach())
    assert calls == [1]


# ---- derivatives inside ------------------------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_a_hessian_vector_product_is_one_program(torch: ModuleType) -> None:
    @rg.compile_grad
    def product(x: Any, v: Any) -> Any:
        (g,) = rg.autograd.grad(rosenbrock(x), x, create_graph=True)
        return rg.autograd.grad((g * v).sum(), x)[0]

    x, v = leaf(6), rg.from_numpy(array(6, seed=1))
    _, theirs = torch.autograd.functional.hvp(
        rosenbrock, torch.tensor(x.detach().numpy()), torch.tensor(v.numpy())
    )
    close(product(x, v), theirs)
    assert len(product.trace(x, v).graph.outputs) == 1


def test_compiled_functions_are_inlined_in_each_other() -> None:
    inner = rg.compile_grad(rosenbrock)

    @rg.compile_grad(wrt="x")
    def slope(x: Any, v: Any) -> Any:
        value, gradient = inner.value_and_grad(x)
        return (gradient * v).sum() + value * 0

    x, v = array(6), array(6, seed=1)
    product = slope.grad(x, v)
    eager = rg.from_numpy(x).requires_grad_()
    (g,) = rg.autograd.grad(rosenbrock(eager), eager, create_graph=True)
    (expected,) = rg.autograd.grad((g * rg.from_numpy(v)).sum(), eager)
    close(product, expected)


def test_the_gradient_of_a_gradient_by_its_own_argument() -> None:
    f = rg.compile_grad(lambda x: x**4)
    second = rg.compile_grad(lambda x: rg.compile_grad(lambda x: f.grad(x)).grad(x))
    assert second(2.0) == pytest.approx(48.0)


def test_a_pullback_takes_cotangents_structured_like_the_result() -> None:
    f = rg.compile_grad(lambda x: {"a": x.sin(), "b": (x * x).sum()})
    x, v = array(4), array(4, seed=1)
    value, pullback = f.vjp(x)
    close(value["a"], np.sin(x))
    close(pullback({"a": v, "b": 3.0}), v * np.cos(x) + 6 * x)
    close(pullback({"a": 0 * v, "b": 1.0}), 2 * x)


# ---- in place ----------------------------------------------------------------------------------------------


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


# ---- the stages --------------------------------------------------------------------------------------------


def test_every_stage_can_be_read(golden: Callable[[str, str], None]) -> None:
    tensors = [leaf(*shape, seed=k, dtype=np.float32) for k, shape in enumerate(SHAPES)]
    program = rg.compile_grad(wrt=("w1", "w2"))(two_layers).trace(*tensors)
    stages = "\n\n".join(map(str, (program.graph, program.adjoint, program.joint)))
    golden(
        "compile_grad_stages.txt",
        "\n".join(line.partition("#")[0].rstrip() for line in stages.splitlines()) + "\n",
    )
    assert "for " in str(program.loops)
    assert '@"two_layers_and_gradient"(' in program.llvm
    assert "two_layers_and_gradient:" in program.assembly


def test_lines_of_the_graph_are_those_of_the_user() -> None:
    graph = rg.compile_grad(two_layers).trace(*(leaf(*shape) for shape in SHAPES)).joint
    line = two_layers.__code__.co_firstlineno + 1
    assert {str(node.where) for node in graph.nodes} == {f"test_compile_grad.py:{line}"}


def test_it_looks_like_the_function() -> None:
    f = rg.compile_grad(two_layers)
    assert isinstance(f, CompiledFunction)
    assert f.__name__ == "two_layers"
    assert repr(f) == "<compiled two_layers(x: 'Any', y: 'Any', w1: 'Any', w2: 'Any') -> 'Any'>"


# ---- misuse ------------------------------------------------------------------------------------------------


def branching(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


MISUSE: dict[str, tuple[type[Exception], str, Function]] = {
    "if": (
        TraceError,
        r"test_compile_grad.py:\d+: bool\(\) of a traced tensor .*where\(\)",
        lambda: grad_of(branching),
    ),
    "float": (TraceError, r"float\(\) of a traced tensor", lambda: grad_of(lambda x: x * float(x.sum()))),
    "item": (TraceError, r"item\(\) of a traced tensor", lambda: grad_of(lambda x: x * x.sum().item())),
    "numpy": (TraceError, r"numpy\(\) of a traced tensor", lambda: grad_of(lambda x: x.detach().numpy())),
    "if on a float": (
        TraceError,
        r"bool\(\) of a Python float that the compiled function was given.*compile_grad\(static=",
        lambda: rg.compile_grad(lambda x, t: x if t > 0 else -x)(array(3), 1.0),
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
        r"the gradient of f; its result does not depend on what the gradient is taken by",
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
    "complex": (ArgumentError, "complex128", lambda: rg.compile_grad(scaled)(array(3) * 1j)),
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
    for use in (lambda x: x + 1, lambda x: x.numpy(), f, float):
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
