"""`compile_grad` end to end: what it returns agrees with eager mode and with PyTorch, whatever is passed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from compiling import SHAPES, Function, array, close, leaf, two_layers

import retrograd as rg
from retrograd.compiler.errors import ArgumentError, TraceError
from retrograd.runtime.compiled.compile_grad import CompiledFunction

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


def hooked(t: Any, wrap: Callable[[Any], Any]) -> list[Any]:
    """The gradients, and those of them, of a function that gives hooks to its arguments."""

    def f(x: Any, w: Any) -> Any:
        x.register_hook(lambda g: g * 10 + x.detach())
        w.register_hook(lambda g: g * 2)
        y = x * w
        y.register_hook(lambda g: g * 3)
        return (y * y).sum()

    called, found = wrap(f), []
    for _ in range(2):
        x, w = t.tensor([1.0, 2.0], requires_grad=True), t.tensor([3.0, 4.0], requires_grad=True)
        called(x, w).backward()
        found += [x.grad.tolist(), w.grad.tolist()]
        x, w = t.tensor([1.0, 2.0], requires_grad=True), t.tensor([3.0, 4.0], requires_grad=True)
        (g,) = t.autograd.grad(called(x * 2, w), x, create_graph=True)
        g.sum().backward()
        found += [g.tolist(), x.grad.tolist(), w.grad.tolist()]
    return found


def test_hooks_of_arguments_act_on_their_gradients(torch: ModuleType) -> None:
    assert hooked(rg, rg.compile_grad) == hooked(torch, lambda f: f)


def test_a_hook_of_dot_grad_is_registered_outside() -> None:
    def f(x: Any) -> Any:
        x.register_post_accumulate_grad_hook(lambda leaf: leaf.grad.mul_(2))
        return (x * x).sum()

    with pytest.raises(TraceError, match=r"py:\d+: register_post_accumulate_grad_hook\(\) in a compiled"):
        rg.compile_grad(f)(rg.ones(3, requires_grad=True))


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
    assert repr(program).startswith("<program of two_layers(x: f32[")


def test_lines_of_the_graph_are_those_of_the_user() -> None:
    graph = rg.compile_grad(two_layers).trace(*(leaf(*shape) for shape in SHAPES)).joint
    line = two_layers.__code__.co_firstlineno + 1
    assert {str(node.where) for node in graph.nodes} == {f"compiling.py:{line}"}


def test_it_looks_like_the_function() -> None:
    f = rg.compile_grad(two_layers)
    assert isinstance(f, CompiledFunction)
    assert f.__name__ == "two_layers"
    assert repr(f) == "<compiled two_layers(x: 'Any', y: 'Any', w1: 'Any', w2: 'Any') -> 'Any'>"


def test_tracing_without_gradients_compiles_the_value_alone() -> None:
    total = rg.compile_grad(lambda x: (x * x).sum())
    x = rg.ones(3)
    with rg.no_grad():
        alone = total.trace(x)
    assert len(alone.joint.outputs) == 1
    assert len(total.trace(x).joint.outputs) == 2


def test_a_function_of_any_number_of_arguments_wants_those_with_names() -> None:
    @rg.compile_grad
    def product(x: Any, y: Any, *more: Any) -> Any:
        return functools.reduce(lambda a, b: a * b, more, x * y)

    assert product(2.0, 3.0, 5.0, 7.0) == 210.0
    with pytest.raises(ArgumentError, match="missing a required argument: 'y'"):
        product(2.0)
