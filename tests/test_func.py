"""`func` beside PyTorch's: values, gradients, gradients of gradients, errors; eager and compiled."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from func_cases import ERRORS, FUNC

import retrograd
from retrograd.compiler.errors import TraceError
from retrograd.runtime.autograd import forward


def operands(t: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"x": (5, 3, 4), "s": (5, 4, 4), "w": (4, 6), "v": (4,)}
    made = {name: t.tensor(rng.standard_normal(shape)).requires_grad_() for name, shape in shapes.items()}
    return {"t": t, "i": t.tensor([[0, 2], [1, 1], [2, 0], [0, 0], [1, 2]]), **made}


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [x for each in value for x in flat(each)] if isinstance(value, tuple | list) else [value]


def weighed(t: Any, results: list[Any]) -> Any:
    """A sum in which each element counts differently."""
    counts = [t.arange(x.numel(), dtype=x.dtype).reshape(x.shape) for x in results]
    return sum((x * (k * 0.37).cos()).sum() for x, k in zip(results, counts))


def derivatives(t: Any, value: Any, leaves: list[Any]) -> list[Any]:
    """The gradients, zeros where there are none."""
    if not value.requires_grad:
        return [x.detach() * 0 for x in leaves]
    found = t.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
    return [x.detach() * 0 if g is None else g for g, x in zip(found, leaves)]


def outcome(t: Any, case: str) -> list[list[Any]]:
    """Results, gradients, and gradients of the gradients' squares."""
    names = operands(t)
    leaves = [names[name] for name in "xswv"]
    results = flat(eval(case, names))
    first = derivatives(t, weighed(t, results), leaves)
    second = derivatives(t, sum((g**2).sum() for g in first), leaves)
    return [results, first, second]


@pytest.mark.parametrize("case", FUNC)
@pytest.mark.filterwarnings("ignore")
def test_transforms_are_pytorchs(torch: ModuleType, case: str) -> None:
    found, expected = outcome(retrograd, case), outcome(torch, case)
    assert [x.requires_grad for x in found[0]] == [x.requires_grad for x in expected[0]]
    for ours, theirs in zip(found, expected):
        for one, other in zip(ours, theirs, strict=True):
            assert tuple(one.shape) == tuple(other.shape)
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")  # which PyTorch says once a process, of itself
def test_errors_are_pytorchs(torch: ModuleType, case: str) -> None:
    errors = []
    for t in (torch, retrograd):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is what the test asks
            eval(case, operands(t))
        errors.append(caught.value)
    theirs, ours = errors
    assert str(ours) == str(theirs)
    assert isinstance(ours, type(theirs))


@pytest.mark.parametrize("case", [c for c in FUNC if "has_aux" not in c and "detach()" not in c][::3])
def test_a_compiled_transform_is_the_eager_one(case: str) -> None:
    names = operands(retrograd)

    def loss(x: Any, s: Any, w: Any, v: Any) -> Any:
        return weighed(retrograd, flat(eval(case, {**names, "x": x, "s": s, "w": w, "v": v})))

    leaves = [names[name] for name in "xswv"]
    expected = loss(*leaves)
    value, found = retrograd.compile_grad(loss).value_and_grad(*(x.detach() for x in leaves))

    np.testing.assert_allclose(value.numpy(), expected.detach().numpy(), rtol=1e-10)
    for ours, eager in zip(found, derivatives(retrograd, expected, leaves), strict=True):
        np.testing.assert_allclose(ours.numpy(), eager.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_random_numbers_of_examples_are_pytorchs(torch: ModuleType, randomness: str) -> None:
    found = []
    for t in (torch, retrograd):
        t.manual_seed(3)
        found.append(t.vmap(lambda x, t=t: x + t.rand(4), randomness=randomness)(t.zeros(3, 4)).numpy())
    np.testing.assert_array_equal(*found)


def network(t: Any) -> Any:
    t.manual_seed(0)
    return t.nn.Sequential(t.nn.Linear(4, 5), t.nn.Tanh(), t.nn.Linear(5, 2))


def gradients_of_samples(t: Any) -> dict[str, Any]:
    module, x = network(t), t.linspace(-1, 1, 12).reshape(3, 4)
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def loss(parameters: Any, sample: Any) -> Any:
        return (t.func.functional_call(module, parameters, (sample,)) ** 2).sum()

    found: dict[str, Any] = t.func.vmap(t.func.grad(loss), in_dims=(None, 0))(parameters, x)
    return found


def test_gradients_of_each_sample_by_a_modules_parameters(torch: ModuleType) -> None:
    ours, theirs = gradients_of_samples(retrograd), gradients_of_samples(torch)
    assert list(ours) == list(theirs)
    for name, gradient in theirs.items():
        np.testing.assert_allclose(ours[name].numpy(), gradient.numpy(), rtol=1e-5, atol=1e-6)


def test_modules_side_by_side(torch: ModuleType) -> None:
    def together(t: Any) -> Any:
        t.manual_seed(0)
        models = [t.nn.Linear(4, 2) for _ in range(3)]
        parameters, buffers = t.func.stack_module_state(models)
        call = lambda p, b, x: t.func.functional_call(models[0], (p, b), (x,))  # noqa: E731
        return t.vmap(call, in_dims=(0, 0, None))(parameters, buffers, t.ones(4)).detach().numpy()

    np.testing.assert_allclose(together(retrograd), together(torch), rtol=1e-6)


def test_a_module_has_its_own_parameters_again_when_its_call_fails() -> None:
    module = retrograd.nn.Linear(4, 2)
    weight = module.weight
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        retrograd.func.functional_call(module, {"weight": retrograd.ones(2, 3)}, (retrograd.ones(1, 4),))
    assert module.weight is weight


def test_a_branch_on_an_example_is_refused() -> None:
    branch = (
        r"test_func\.py:\d+: bool\(\) of a vmapped tensor bool\[\].* nor data-dependent control flow; choose"
    )
    with pytest.raises(TraceError, match=branch):
        retrograd.vmap(lambda x: x if x.sum() > 0 else -x)(retrograd.ones(3, 4))


@pytest.mark.parametrize(("kind", "asked"), [(float, "item"), (int, "int"), (bool, "bool"), (list, "tolist")])
def test_elements_of_an_example_are_refused(kind: type, asked: str) -> None:
    """PyTorch's words in substance, at the user's line, inside derivatives and compiled functions, too."""
    read = getattr(retrograd.Tensor, "tolist" if kind is list else f"__{kind.__name__}__")
    asked = "float" if kind is float else asked

    def example(x: Any) -> Any:
        return x * read(x.sum())

    told = rf"test_func\.py:\d+: {asked}\(\) of a vmapped tensor f32\[\]; .* supports neither \.item\(\)"
    total = lambda x: retrograd.vmap(example)(x).sum()  # noqa: E731
    slope = retrograd.vmap(retrograd.func.grad(lambda x: example(x).sum()))
    for f in (retrograd.vmap(example), slope, retrograd.compile_grad(total)):
        with pytest.raises(TraceError, match=told):
            f(retrograd.ones(3, 4))


def test_how_many_elements_of_an_example_a_mask_picks_is_refused() -> None:
    with pytest.raises(TraceError, match="each example has a number of its own"):
        retrograd.vmap(lambda x: x[x > 0].shape[0] * x)(retrograd.ones(3, 4))


# ---- what is kept between calls ----------------------------------------------------------------------------


def test_functions_are_run_at_every_call_of_a_vmap(torch: ModuleType) -> None:
    """What is kept is what is done to the examples, by the operations, not the function itself."""

    def outcome(t: Any) -> tuple[list[Any], int]:
        weight, calls, factor = t.ones(3), [], 1.0

        def loss(x: Any) -> Any:
            calls.append(x.shape)
            scaled = (x * weight).tanh() * factor
            return scaled.sum() if factor < 4 else (scaled * scaled).sum()

        each = t.func.vmap(t.func.grad(loss))
        x, seen = t.arange(12.0).reshape(4, 3) / 10, []
        for step in range(9):
            seen += each(x).flatten().tolist()
            factor *= 2.0 if step % 2 else 1.0
            weight.add_(0.5 * (step % 2))
            if step == 6:
                weight, x = t.full((3,), 0.25), x[:2] + 1
        return seen, len(calls)

    ours, theirs = outcome(retrograd), outcome(torch)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-5, atol=1e-6)
    assert ours[1] == theirs[1] == 9


@pytest.mark.parametrize("made", ["x.t()", "x[0]", "x", "x.reshape(6)", "x * 2"])
def test_views_that_a_vmap_returns_stay_views(torch: ModuleType, made: str) -> None:
    found = []
    for t in (retrograd, torch):
        x = t.zeros(4, 2, 3)
        for _ in range(3):
            y = t.func.vmap(lambda x: eval(made, {"x": x}))(x)
            y.add_(1.0)
        found.append((x.tolist(), y.tolist()))
    assert found[0] == found[1]


def test_gradients_keep_the_history_of_what_a_function_or_a_hook_knows(torch: ModuleType) -> None:
    def outcome(t: Any) -> list[Any]:
        w = t.full((3,), 2.0, requires_grad=True)

        def hooked(x: Any) -> Any:
            y = x * 3
            y.register_hook(lambda g: g * w)
            return y.sum()

        x, found = t.arange(3.0), []
        for f in (hooked, lambda x: (x * x * w).sum()):
            w.grad = None
            t.func.grad(f)(x).sum().backward()
            found.append(w.grad.tolist())
        return [*found, t.func.grad(lambda x: (x * x).sum())(x).requires_grad]

    assert outcome(retrograd) == outcome(torch)


def test_tangents_of_plain_functions_take_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the vjp of the vjp")

    monkeypatch.setattr(forward, "transposed", refuse)
    v = retrograd.tensor([0.5, 1.5, -1.0], dtype=retrograd.float64)
    func = retrograd.func
    _, slope = func.jvp(lambda x: (x.sin() @ x, x.softmax(0)), (v,), (v,))
    a = v.numpy()
    share = np.exp(a) / np.exp(a).sum()
    assert slope[0].item() == pytest.approx((np.cos(a) * a * a + np.sin(a) * a).sum())
    assert slope[1].tolist() == pytest.approx(share * (a - (share * a).sum()))
    curvature = func.hessian(lambda x: (x.sin() * x).sum())(v)
    assert curvature.tolist() == pytest.approx(np.diag(2 * np.cos(a) - a * np.sin(a)))


@pytest.mark.parametrize("outer", ["jacfwd", "jacrev", "grad", "vjp", "jvp"])
@pytest.mark.parametrize("inner", ["grad", "jacrev", "jacfwd"])
def test_derivatives_by_one_argument_of_those_by_another_have_no_history(outer: str, inner: str) -> None:
    """A loop that feeds them back, as a simulation does, would have an ever longer one."""

    def energy(q: Any, v: Any) -> Any:
        return (q.sin() * v * v).sum()

    slope = getattr(retrograd.func, inner)(energy, 1)
    q, v = retrograd.tensor([0.5, 1.0]), retrograd.tensor([0.1, 0.2])
    match outer:
        case "vjp":
            shown, pullback = retrograd.func.vjp(lambda q: slope(q, v), q)
            found = [shown, *pullback(v)]
        case "jvp":
            found = [*retrograd.func.jvp(lambda q: slope(q, v), (q,), (v,))]
        case "grad":
            found = [retrograd.func.grad(lambda q: slope(q, v).sum())(q)]
        case _:
            found = [getattr(retrograd.func, outer)(slope, 0)(q, v)]
    assert [x.requires_grad for x in found] == [False] * len(found)
    tracked = v.clone().requires_grad_()
    through = retrograd.func.jacrev(lambda q: slope(q, tracked))(q)
    through.sum().backward()
    np.testing.assert_allclose(tracked.grad.numpy(), 2 * q.cos().numpy(), rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_gradient_that_has_none_itself_may_be_recorded(compiled: bool) -> None:
    """Only who asks for the second derivative is refused; the first is that of finite differences."""

    def value(a: Any, x: Any) -> Any:
        return retrograd.igamma(a, x)

    f = retrograd.compile(value) if compiled else value
    for _ in range(3):
        a, x = (
            retrograd.tensor(v, dtype=retrograd.float64, requires_grad=True) for v in ([1.5, 2], [2.0, 3])
        )
        (slope,) = retrograd.autograd.grad(f(a, x).sum(), a, create_graph=True)
        with retrograd.no_grad():
            numeric = (value(a + 1e-6, x) - value(a - 1e-6, x)) / 2e-6
        np.testing.assert_allclose(slope.detach(), numeric, rtol=1e-6)
        f(a, x).sum().backward()
        np.testing.assert_allclose(a.grad, numeric, rtol=1e-6)
        with pytest.raises(RuntimeError, match="second derivative of an incomplete gamma"):
            slope.sum().backward()
