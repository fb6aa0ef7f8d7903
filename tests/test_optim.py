"""Optimisers beside PyTorch's: the same losses step by step, state, text and errors.

OPTIMISERS are texts, evaluated with either library; a new one is a row.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler.errors import RetrogradError
from retrograd.runtime.native import program
from retrograd.runtime.optim import update

OPTIMISERS = [
    "SGD(p)", "SGD(p, lr=0.1)", "SGD(p, 0.1, momentum=0.9)",
    "SGD(p, 0.1, 0.9, dampening=0.3, weight_decay=0.1)",
    "SGD(p, 0.05, 0.9, nesterov=True)", "SGD(p, 0.01, maximize=True)",
    "Adam(p)", "Adam(p, 0.05, betas=(0.8, 0.9), eps=1e-4)", "Adam(p, 0.01, weight_decay=0.1, amsgrad=True)",
    "Adam(p, 0.01, maximize=True)", "Adam(p, 0.01, weight_decay=0.1, decoupled_weight_decay=True)",
    "AdamW(p)", "AdamW(p, 0.01, weight_decay=0.3, amsgrad=True)",
    "RMSprop(p)", "RMSprop(p, 0.01, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1)",
    "RMSprop(p, 0.005, centered=True)", "RMSprop(p, 0.005, momentum=0.9, maximize=True)",
    "Adagrad(p)", "Adagrad(p, 0.05, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2)",
    "Adadelta(p)", "Adadelta(p, 0.5, rho=0.8, weight_decay=0.1)",
    "Adamax(p)", "Adamax(p, 0.01, weight_decay=0.1)",
    "NAdam(p)", "NAdam(p, 0.01, weight_decay=0.1)",
    "NAdam(p, 0.01, weight_decay=0.1, decoupled_weight_decay=True)",
    "RAdam(p)", "RAdam(p, 0.02, weight_decay=0.1)",
    "RAdam(p, 0.02, (0.9, 0.99), decoupled_weight_decay=True)",
    "Rprop(p)", "Rprop(p, 0.003, etas=(0.4, 1.3), step_sizes=(1e-4, 0.1), maximize=True)",
    "ASGD(p)", "ASGD(p, 0.05, lambd=0.01, alpha=0.6, t0=2, weight_decay=0.1)",
]  # fmt: skip

FACTORED = ["Adafactor(p)", "Adafactor(p, 0.05, -0.5, (1e-6, 1e-2), 1.5, 0.1)", "Adafactor(p, maximize=True)"]
"""Those that are no formula for all parameters together."""


def network(t: Any) -> Any:
    nn = t.nn
    t.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def data(t: Any) -> tuple[Any, Any]:
    t.manual_seed(5)
    return t.randn(16, 3), t.randn(16, 2)


def make(t: Any, made: str, p: Any) -> Any:
    return eval(f"optim.{made}", {"optim": t.optim, "p": p})


def train(t: Any, made: str, steps: int, dtype: str = "float32") -> tuple[list[float], Any, Any]:
    """The losses of some steps, the model and the optimiser."""
    kind = getattr(t, dtype)
    model, x, y = network(t).to(kind), *(each.to(kind) for each in data(t))
    optimizer = make(t, made, model.parameters())
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = t.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model, optimizer


def same_state(ours: Any, theirs: Any, close: dict[str, float]) -> None:
    assert ours["param_groups"] == theirs["param_groups"]
    assert list(ours["state"]) == list(theirs["state"])
    for key, state in theirs["state"].items():
        assert set(ours["state"][key]) == set(state)
        for name, value in state.items():
            found = ours["state"][key][name]
            if hasattr(value, "detach"):
                assert str(found.dtype) == str(value.dtype), name
                np.testing.assert_allclose(found.numpy(), value.numpy(), **close, err_msg=name)
            else:
                assert found == value, name


CLOSE = {"float32": {"rtol": 1e-3, "atol": 2e-5}, "float64": {"rtol": 1e-11, "atol": 1e-12}}
"""In float32 some rules divide by differences that cancel."""


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("made", OPTIMISERS + FACTORED)
def test_optimisers_train_as_pytorchs(torch: Any, made: str, dtype: str) -> None:
    ours, our_model, our_optimizer = train(retrograd, made, 12, dtype)
    theirs, their_model, their_optimizer = train(torch, made, 12, dtype)
    np.testing.assert_allclose(ours, theirs, rtol=CLOSE[dtype]["rtol"] / 50)
    for a, b in zip(our_model.parameters(), their_model.parameters()):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **CLOSE[dtype])
    assert repr(our_optimizer) == repr(their_optimizer)
    same_state(our_optimizer.state_dict(), their_optimizer.state_dict(), CLOSE[dtype])


@pytest.mark.parametrize("default", ["float64", "bfloat16"])
@pytest.mark.parametrize("made", [*OPTIMISERS, *FACTORED, "Adam(p, fused=True)", "Adagrad(p, fused=True)"])
def test_counts_and_rates_have_the_precision_of_the_default_dtype(
    torch: Any, made: str, default: str
) -> None:
    found = []
    for t in (retrograd, torch):
        t.set_default_dtype(getattr(t, default))
        try:
            p = t.tensor([[0.5, -1.5], [2.0, 0.25]], dtype=t.float64).requires_grad_()
            optimizer = make(t, made, [p])
            for _ in range(4):
                p.grad = p.detach() * 2
                optimizer.step()
            found.append(copy.deepcopy(optimizer.state_dict()))
            again = make(t, made, [p])
            again.load_state_dict(copy.deepcopy(found[-1]))
            again.step()
            found.append(again.state_dict())
        finally:
            t.set_default_dtype(t.float32)
    ours, our_next, theirs, their_next = found
    same_state(ours, theirs, CLOSE["float64"])
    same_state(our_next, their_next, CLOSE["float64"])


@pytest.mark.parametrize("made", OPTIMISERS + FACTORED)
def test_a_saved_state_goes_on_as_before(made: str) -> None:
    whole, _, _ = train(retrograd, made, 6)
    first, model, optimizer = train(retrograd, made, 3)
    again = make(retrograd, made, model.parameters())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    x, y = data(retrograd)
    for expected in whole[3:]:
        again.zero_grad()
        loss = retrograd.nn.functional.mse_loss(model(x), y)
        loss.backward()
        again.step()
        first.append(loss.item())
        assert loss.item() == expected
    assert repr(again) == repr(optimizer)
    assert repr(pickle.loads(pickle.dumps(again))) == repr(again)


# ---- Muon, whose steps are worked out in bfloat16 ----------------------------------------------------------

MUON = ["Muon(p)", "Muon(p, 0.02, 0.0, 0.9, nesterov=False)", "Muon(p, 0.02, adjust_lr_fn='match_rms_adamw')",
        "Muon(p, 0.02, ns_coefficients=(2.0, -1.5, 0.5), ns_steps=8, eps=1e-5)"]  # fmt: skip


def pushes() -> list[list[Any]]:
    """Three matrices, and gradients of them for some steps."""
    rng = np.random.default_rng(3)
    return [[rng.standard_normal(s).astype("float32") for s in ((8, 3), (2, 8), (5, 5))] for _ in range(5)]


def moved(t: Any, made: str) -> tuple[list[Any], Any]:
    """The matrices after these steps, and the optimiser."""
    first, *steps = pushes()
    p = [t.nn.Parameter(t.tensor(x)) for x in first]
    optimizer = make(t, made, p)
    for gradients in steps:
        for x, g in zip(p, gradients, strict=True):
            x.grad = t.tensor(g)
        optimizer.step()
    return [x.detach().numpy() for x in p], optimizer


def exactly_moved(options: dict[str, Any]) -> list[Any]:
    """The same in float64, by the iteration's polynomial of singular values."""
    found, *steps = pushes()
    means = [0.0] * 3
    a, b, c = options["ns_coefficients"]
    for gradients in steps:
        for k, g in enumerate(gradients):
            means[k] = means[k] + (g - means[k]) * (1 - options["momentum"])
            ahead = g + (means[k] - g) * options["momentum"] if options["nesterov"] else means[k]
            u, s, vh = np.linalg.svd(np.asarray(ahead, np.float64), full_matrices=False)
            s = s / np.sqrt((s * s).sum())
            for _ in range(options["ns_steps"]):
                s = s * (a + b * s**2 + c * s**4)
            m, n = g.shape
            plain = options["adjust_lr_fn"] is None
            rate = options["lr"] * (max(1, m / n) ** 0.5 if plain else 0.2 * max(m, n) ** 0.5)
            found[k] = found[k] * (1 - options["lr"] * options["weight_decay"]) - rate * ((u * s) @ vh)
    return found


@pytest.mark.parametrize("made", MUON)
def test_muon_moves_matrices_as_pytorchs(torch: Any, made: str) -> None:
    (ours, our_optimizer), (theirs, their_optimizer) = (moved(t, made) for t in (retrograd, torch))
    options = our_optimizer.param_groups[0]
    for a, b, exact in zip(ours, theirs, exactly_moved(options), strict=True):
        assert np.abs(a - exact).max() <= 1.5 * np.abs(b - exact).max() + 1e-6
        np.testing.assert_allclose(a, b, atol=options["lr"] * 0.2)
    assert repr(our_optimizer) == repr(their_optimizer)
    same_state(our_optimizer.state_dict(), their_optimizer.state_dict(), CLOSE["float32"])


def test_muon_takes_matrices_alone(torch: Any) -> None:
    for t in (retrograd, torch):
        with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
            t.optim.Muon([t.nn.Parameter(t.zeros(3))])
        with pytest.raises(ValueError, match="Adjust learning rate function x is not supported"):
            t.optim.Muon([t.nn.Parameter(t.zeros(3, 3))], adjust_lr_fn="x")


# ---- LBFGS -------------------------------------------------------------------------------------------------

LBFGS = ["LBFGS(p)", "LBFGS(p, lr=0.3, max_iter=5, history_size=3)",
         "LBFGS(p, line_search_fn='strong_wolfe')",
         "LBFGS(p, 1, 30, tolerance_grad=1e-4, line_search_fn='strong_wolfe')"]  # fmt: skip


def minimise(t: Any, made: str) -> tuple[list[float], int]:
    """Losses of Rosenbrock's function in float64, and how often it was asked for."""
    x = t.nn.Parameter(t.tensor([-1.2, 1.0, 0.7, -0.4], dtype=t.float64))
    optimizer = make(t, made, [x])
    losses: list[float] = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum() * 0.01
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(4):
        optimizer.step(closure)
    return losses, optimizer.state[x]["func_evals"]


@pytest.mark.parametrize("made", LBFGS)
def test_lbfgs_evaluates_where_pytorchs_does(torch: Any, made: str) -> None:
    ours, count = minimise(retrograd, made)
    theirs, expected = minimise(torch, made)
    assert count == expected == len(ours)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


def test_lbfgs_needs_a_closure_and_one_group() -> None:
    x = retrograd.nn.Parameter(retrograd.ones(2))
    with pytest.raises(ValueError, match="doesn't support per-parameter options"):
        retrograd.optim.LBFGS([{"params": [x]}, {"params": [retrograd.ones(1)]}])
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'closure'"):
        retrograd.optim.LBFGS([x]).step()
    optimizer = retrograd.optim.LBFGS([x], line_search_fn="armijo")
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optimizer.step(lambda: (x * x).sum().backward() or (x * x).sum())


# ---- groups, closures, hooks, gradients --------------------------------------------------------------------


def groups(t: Any) -> Any:
    model = network(t)
    optimizer = t.optim.Adam(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": [model[2].weight]}], lr=0.01
    )
    optimizer.add_param_group({"params": model[2].bias, "weight_decay": 0.5})
    x, y = data(t)
    seen = []
    for step in range(4):
        model[2].bias.requires_grad_(step != 1)
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        seen.append(round(loss.item(), 4))
    counts = [int(optimizer.state[p]["step"]) for p in model.parameters()]
    return repr(optimizer), seen, counts, [len(g["params"]) for g in optimizer.state_dict()["param_groups"]]


def closures_and_hooks(t: Any) -> Any:
    model = network(t)
    optimizer = t.optim.SGD(model.parameters(), lr=0.1)
    called: list[str] = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: called.append("before"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: called.append("after"))
    x, y = data(t)

    def closure() -> Any:
        called.append("closure")
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        return loss

    losses = [round(optimizer.step(closure).item(), 5) for _ in range(2)]
    handle.remove()
    optimizer.step()
    return losses, called, optimizer.step() is None


def cleared(t: Any) -> Any:
    p, q = t.nn.Parameter(t.ones(2)), t.nn.Parameter(t.ones(1))
    optimizer = t.optim.SGD([p, q], lr=1.0)
    p.grad = t.ones(2)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    zeros = p.grad.tolist()
    optimizer.zero_grad()
    return p.tolist(), q.tolist(), zeros, p.grad is None


def an_optimiser_of_ones_own(t: Any) -> Any:
    class Momentum(t.optim.Optimizer):
        def __init__(self, params: Any, lr: float, momentum: float = 0.0) -> None:
            super().__init__(params, {"lr": lr, "momentum": momentum})

        @t.no_grad()
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    kept = self.state[p].setdefault("velocity", t.zeros_like(p))
                    kept.mul_(group["momentum"]).add_(p.grad)
                    p.add_(kept, alpha=-group["lr"])

    called: list[str] = []
    model = network(t)
    optimizer = Momentum(model.parameters(), 0.1, momentum=0.9)
    scheduler = t.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: called.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: called.append("after"))
    for _ in range(3):
        optimizer.zero_grad()
        model(t.ones(2, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    state = optimizer.state_dict()["state"][0]["velocity"]
    return called, optimizer.param_groups[0]["lr"], round(state.sum().item(), 5), repr(optimizer)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "program", [groups, closures_and_hooks, cleared, an_optimiser_of_ones_own], ids=lambda f: f.__name__
)
def test_programs_do_the_same(torch: Any, program: Any) -> None:
    assert program(retrograd) == program(torch)


ERRORS = {
    "tensor": lambda t: t.optim.SGD(t.ones(1)),
    "nothing": lambda t: t.optim.SGD([]),
    "numbers": lambda t: t.optim.SGD([1, 2]),
    "non-leaf": lambda t: t.optim.SGD([t.nn.Parameter(t.ones(1)) * 2]),
    "twice": lambda t: _twice(t),
    "set": lambda t: t.optim.SGD([{"params": {1}}]),
    "lr": lambda t: t.optim.SGD([t.ones(1)], lr=-1),
    "momentum": lambda t: t.optim.SGD([t.ones(1)], momentum=-1),
    "nesterov": lambda t: t.optim.SGD([t.ones(1)], nesterov=True),
    "beta": lambda t: t.optim.Adam([t.ones(1)], betas=(1.0, 0.9)),
    "second beta": lambda t: t.optim.AdamW([t.ones(1)], betas=(0.5, -0.9)),
    "eps": lambda t: t.optim.NAdam([t.ones(1)], eps=-1),
    "rho": lambda t: t.optim.Adadelta([t.ones(1)], rho=2),
    "alpha": lambda t: t.optim.RMSprop([t.ones(1)], alpha=-1),
    "accumulator": lambda t: t.optim.Adagrad([t.ones(1)], initial_accumulator_value=-1),
    "groups of a state": lambda t: _load(t, [[0], [1]]),
    "size of a group": lambda t: _load(t, [[0, 1]]),
    "no optimizer": lambda t: t.optim.lr_scheduler.StepLR(3, 2),
    "factor": lambda t: t.optim.lr_scheduler.ReduceLROnPlateau(t.optim.SGD([t.ones(1)]), factor=1.5),
    "lambdas": lambda t: t.optim.lr_scheduler.LambdaLR(t.optim.SGD([t.ones(1)]), [abs, abs]),
    "cycle": lambda t: t.optim.lr_scheduler.OneCycleLR(t.optim.SGD([t.ones(1)]), 0.1),
    "milestones": lambda t: t.optim.lr_scheduler.SequentialLR(_sgd(t), [], []),
    "start": lambda t: t.optim.lr_scheduler.LinearLR(_sgd(t), start_factor=2),
    "resumed": lambda t: t.optim.lr_scheduler.StepLR(_sgd(t), 1, last_epoch=3),
}  # fmt: skip


def _sgd(t: Any) -> Any:
    return t.optim.SGD([t.ones(1)])


def _twice(t: Any) -> Any:
    p = t.ones(1)
    return t.optim.SGD([{"params": [p]}, {"params": [p]}])


def _load(t: Any, params: list[list[int]]) -> Any:
    state = {"state": {}, "param_groups": [{"params": numbers} for numbers in params]}
    return _sgd(t).load_state_dict(state)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_pytorch_says(torch: Any, name: str) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011  # whatever PyTorch raises
        ERRORS[name](torch)
    with pytest.raises(RetrogradError) as raised:
        ERRORS[name](retrograd)
    kind = next(k for k in (KeyError, TypeError, ValueError, RuntimeError) if isinstance(expected.value, k))
    assert isinstance(raised.value, kind)
    assert str(expected.value.args[0]).split("\n")[0] == str(raised.value.args[0]).split("\n")[0]


# ---- the native call ---------------------------------------------------------------------------------------


def test_steps_run_no_python_once_one_was_taken_and_are_compiled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, calls = [], []
    update._program.cache_clear()
    real, call = update.executable, program.NativeProgram.__call__
    monkeypatch.setattr(update, "executable", lambda *args: made.append(args) or real(*args))
    monkeypatch.setattr(
        program.NativeProgram, "__call__", lambda self, arrays: calls.append(1) or call(self, arrays)
    )
    _, _, optimizer = train(retrograd, "Adam(p, lr=0.01, betas=(0.7, 0.95))", 3)
    optimizer.param_groups[0]["lr"] = 0.5  # a number, so no new program
    optimizer.step()
    assert len(made) == 1
    assert len(calls) == 1


def _resumed(t: Any, optimizer: Any, p: list[Any]) -> Any:
    other = type(optimizer)(p, lr=0.3)
    other.load_state_dict(optimizer.state_dict())
    return other


def _loaded(t: Any, optimizer: Any, p: list[Any]) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


def _turned(t: Any, optimizer: Any, p: list[Any]) -> None:
    group = optimizer.param_groups[0]
    group["weight_decay"] = 0.1 - group["weight_decay"]


def _replaced(t: Any, optimizer: Any, p: list[Any]) -> None:
    optimizer.state[p[0]] = {name: value.clone() * 2 for name, value in optimizer.state[p[0]].items()}


def _swapped(t: Any, optimizer: Any, p: list[Any]) -> None:
    state = optimizer.state[p[1]]
    for name in [name for name in state if name != "step"]:
        state[name] = state[name] + 0.5


def _reset(t: Any, optimizer: Any, p: list[Any]) -> None:
    optimizer.state.clear()


def _given_data(t: Any, optimizer: Any, p: list[Any]) -> None:
    p[0].data = t.full((3,), 7.0)


def _turned_data(t: Any, optimizer: Any, p: list[Any]) -> None:
    p[1].data = t.arange(6.0).reshape(3, 2).t()


def _grown(t: Any, optimizer: Any, p: list[Any]) -> None:
    p.append(t.nn.Parameter(t.ones(2)))
    optimizer.add_param_group({"params": [p[-1]], "lr": 0.25})


def _without_gradient(t: Any, optimizer: Any, p: list[Any]) -> None:
    p[0].grad = None


def _gradient_of_views(t: Any, optimizer: Any, p: list[Any]) -> None:
    p[0].grad, p[1].grad = p[0].detach(), t.ones(3, 2).t()


def _seen_through(t: Any, optimizer: Any, p: list[Any]) -> None:
    with t.no_grad():
        p[0].view(-1)[1] = 3.0


CHANGES = [_resumed, _loaded, _turned, _replaced, _swapped, _reset, _given_data, _turned_data, _grown,
           _without_gradient, _gradient_of_views, _seen_through]  # fmt: skip


@pytest.mark.parametrize("made", ["SGD(p, 0.1)", "SGD(p, 0.1, momentum=0.9)", "Adam(p, 0.1)", "ASGD(p, 0.1)"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_steps_see_what_has_changed_between_them(torch: Any, made: str, change: Any) -> None:
    if change in (_replaced, _swapped) and made == "SGD(p, 0.1)":
        return  # it remembers nothing
    found = []
    for t in (retrograd, torch):
        p = [t.nn.Parameter(t.arange(3.0)), t.nn.Parameter(t.arange(6.0).reshape(2, 3))]
        optimizer = make(t, made, p)
        for step in range(9):
            for k, param in enumerate(p):
                param.grad = t.full(param.shape, 0.25 * (step + k) - 1)
            if step % 3 == 2:
                optimizer = change(t, optimizer, p) or optimizer
            optimizer.step()
        found.append([param.detach().numpy().copy() for param in p])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


def test_parameters_keep_their_memory_and_count_their_changes() -> None:
    p = retrograd.nn.Parameter(retrograd.ones(3))
    view, before = p.detach(), p.detach().numpy()
    version = view._version
    p.grad = retrograd.ones(3)
    retrograd.optim.Adam([p], lr=0.5).step()
    np.testing.assert_allclose(before, [0.5, 0.5, 0.5], rtol=1e-6)
    assert view._version == version + 1


def test_strided_and_double_parameters() -> None:
    base = np.ones((3, 4))
    p = retrograd.from_numpy(base).t().requires_grad_()
    q = retrograd.ones(2, requires_grad=True)
    optimizer = retrograd.optim.SGD([p, q], lr=0.5)
    (p.sum() + q.sum()).backward()
    optimizer.step()
    assert (base == 0.5).all()
    assert q.tolist() == [0.5, 0.5]


def test_a_step_inside_a_compiled_function_is_refused() -> None:
    p = retrograd.nn.Parameter(retrograd.ones(3))
    optimizer = retrograd.optim.SGD([p])

    @retrograd.compile_grad
    def step(x: Any) -> Any:
        optimizer.step()
        return x

    with pytest.raises(RuntimeError, match=r"SGD\.step\(\) inside a compiled function"):
        step(retrograd.ones(1))
