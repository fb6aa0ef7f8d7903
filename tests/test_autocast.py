"""Autocast beside PyTorch's: which functions compute in which dtype, and what that gives; blocks, decorators,
kept casts, custom functions, `GradScaler`; compiled functions in it and out of it.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import layer_cases
import numpy as np
import pytest
import test_functions
import test_linalg
from function_cases import TABLES, lines
from functional_cases import FUNCTIONAL
from further_cases import EDGES
from further_cases import TABLES as FURTHER
from layout_cases import TABLES as LAYOUTS
from linalg_cases import LINALG
from special_cases import SPECIAL

import retrograd
from retrograd.compiler.errors import RetrogradError
from retrograd.runtime.modes import casting

CASES = {**TABLES, **FURTHER, **LAYOUTS, "functional": FUNCTIONAL, "special": SPECIAL, "edges": EDGES}


def flat(value: Any) -> list[Any]:
    """The leaves of nested results."""
    if isinstance(value, tuple | list):
        return [x for each in value for x in flat(each)]
    return [value]


def kinds(value: Any) -> list[str]:
    return [str(getattr(x, "dtype", "")).rpartition(".")[2] for x in flat(value)]


def outcome(t: Any, names: dict[str, Any], case: str, enabled: bool = True) -> Any:
    """What the last step of a case gives in autocast, or the error."""
    *first, last = (step.strip() for step in case.split(";"))
    try:
        with t.autocast("cpu", enabled=enabled):
            exec("\n".join(first), names)
            return eval(last, names)
    except (RetrogradError, RuntimeError, ValueError, TypeError, LookupError) as error:
        return error


def differing(torch: ModuleType, names: Callable[[Any], dict[str, Any]], cases: list[str]) -> Iterator[str]:
    """The cases whose results have other dtypes here than in PyTorch."""
    for case in cases:
        theirs, ours = (outcome(t, names(t), case) for t in (torch, retrograd))
        failed = isinstance(theirs, Exception), isinstance(ours, Exception)
        if any(failed):
            if not all(failed):
                yield f"{case}: {theirs!r}, here {ours!r}"
        elif kinds(theirs) != kinds(ours):
            yield f"{case}: {kinds(theirs)}, here {kinds(ours)}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("table", CASES)
def test_functions_compute_in_pytorchs_dtypes(torch: ModuleType, table: str) -> None:
    def names(t: Any) -> dict[str, Any]:
        return test_functions.operands(t, "float32")

    assert list(differing(torch, names, CASES[table])) == []


@pytest.mark.filterwarnings("ignore")
def test_linear_algebra_computes_in_pytorchs_dtypes(torch: ModuleType) -> None:
    cases = [case for case in LINALG if "pinv" not in case]  # of which PyTorch does the last product in half
    assert list(differing(torch, lambda t: test_linalg.matrices(t, "float32"), cases)) == []


LAYERS = [
    layer
    for table in vars(layer_cases).values()
    if isinstance(table, list)
    for layer in table
    if isinstance(layer, layer_cases.Layer) and not any(w in layer.made for w in ("Drop", "drop", "RReLU"))
    and not layer.made.startswith(("nn.Fractional", "nn.Transformer", "nn.AdaptiveLog"))
]  # fmt: skip
"""All but those that draw, and one that PyTorch refuses in autocast."""


@pytest.mark.filterwarnings("ignore")
def test_layers_compute_what_pytorchs_do(torch: ModuleType) -> None:
    wrong = []
    for layer in LAYERS:
        theirs, ours = (eval(layer.made, {"nn": t.nn, "t": t}) for t in (torch, retrograd))
        state = {name: retrograd.tensor(x.detach().numpy()) for name, x in theirs.state_dict().items()}
        ours.load_state_dict(state)
        found = []
        for t, made in ((torch, theirs), (retrograd, ours)):
            rng = np.random.default_rng(3)
            inputs = [
                t.tensor(
                    rng.integers(0, layer.ints, shape)
                    if layer.ints
                    else (np.abs if layer.positive else np.array)(rng.standard_normal(shape)).astype(
                        "float32"
                    )
                )
                for shape in layer.shapes
            ]
            found.append(outcome(t, {"layer": made, "inputs": inputs, "t": t}, layer.call))
        failed = [isinstance(x, Exception) for x in found]
        if all(failed):
            continue
        if any(failed) or kinds(found[0]) != kinds(found[1]):
            wrong.append(f"{layer.made}: {found}")
            continue
        for x, y in zip(*map(flat, found)):
            if isinstance(x, torch.Tensor) and x.is_floating_point():
                mine = torch.tensor(y.detach().float().numpy())
                if not torch.allclose(mine, x.detach().float(), rtol=0.05, atol=0.06, equal_nan=True):
                    wrong.append(f"{layer.made}: {x}, here {y}")
    assert wrong == []


# ---- one program after the other, by either library --------------------------------------------------------


def in_each(torch: ModuleType, program: Callable[[Any], Any]) -> None:
    """The program gives the same here and there."""
    assert program(retrograd) == program(torch)


def test_blocks_nest(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        x, found = t.ones(2, 2), []
        with t.autocast("cpu"):
            found.append(x @ x)
            with t.autocast("cpu", enabled=False):
                found.append(x @ x)
                with t.amp.autocast(device_type="cpu", dtype=t.float16):
                    found += [x @ x, t.is_autocast_enabled("cpu"), str(t.get_autocast_dtype("cpu"))]
            found.append((x @ x).mul(x) + t.mm(x, x).prod())
            found.append(t.is_autocast_enabled("cpu"))
        return [str(getattr(v, "dtype", v)) for v in (*found, x @ x, t.is_autocast_enabled("cpu"))]

    in_each(torch, lambda t: [text.rpartition(".")[2] for text in program(t)])


def test_it_ends_where_an_error_leaves_it(torch: ModuleType) -> None:
    def program(t: Any) -> bool:
        with contextlib.suppress(RuntimeError), t.autocast("cpu"):
            t.ones(2, 3) @ t.ones(2, 3)
        return bool(t.is_autocast_enabled("cpu"))

    in_each(torch, program)
    assert casting.cell_contents == 0


def test_decorated_functions(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        @t.autocast("cpu")
        def product(x: Any) -> Any:
            """A product."""
            return x @ x

        return [*kinds([product(t.ones(2, 2)), t.ones(2, 2) @ t.ones(2, 2)]), product.__doc__]

    in_each(torch, program)


def test_a_decorated_function_may_call_itself() -> None:
    @retrograd.autocast("cpu")
    def product(x: Any, deep: int = 2) -> Any:
        return product(x, deep - 1) if deep else x @ x

    x = retrograd.ones(2, 2)
    assert kinds([product(x), x @ x]) == ["bfloat16", "float32"]


def test_it_is_each_threads_own(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        found = []

        def work() -> None:
            found.append(t.ones(2, 2) @ t.ones(2, 2))

        with t.autocast("cpu"):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            work()
        return kinds(found)

    in_each(torch, program)


def test_operands_that_are_not_cast(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        x, double, whole = t.ones(2, 2), t.ones(2, 2).double(), t.ones(2, 2).long()
        with t.autocast("cpu"):
            return kinds(
                [double @ double, whole @ whole, t.cat([x.bfloat16(), x]), t.cat([x.bfloat16()] * 2),
                 x.bfloat16().prod(), t.nn.functional.linear(x, x, x[0]), x.addmm_(x, x), x.T @ x.half(),
                 t.nn.functional.pad(x.bfloat16()[None], (1, 1), "reflect"),
                 t.nn.functional.pad(x.bfloat16()[None], (1, 1))]
            )  # fmt: skip

    in_each(torch, program)


def test_what_a_thread_asks_for(torch: ModuleType) -> None:
    def program(t: Any) -> list[Any]:
        found = [t.is_autocast_enabled(), t.is_autocast_cache_enabled(), t.amp.is_autocast_available("cpu")]
        t.set_autocast_enabled("cpu", True)
        t.set_autocast_dtype("cpu", t.float16)
        found += [*kinds(t.ones(2, 2) @ t.ones(2, 2)), t.is_autocast_enabled("cpu")]
        t.set_autocast_enabled("cpu", False)
        t.set_autocast_dtype("cpu", t.bfloat16)
        t.set_autocast_enabled(True)
        found += [t.is_autocast_enabled(), t.is_autocast_enabled("cpu")]
        t.set_autocast_enabled(False)
        found += [t.autocast_increment_nesting(), t.autocast_increment_nesting()]
        found += [t.autocast_decrement_nesting(), t.autocast_decrement_nesting(), t.clear_autocast_cache()]
        t.set_autocast_cache_enabled(False)
        found.append(t.is_autocast_cache_enabled())
        t.set_autocast_cache_enabled(True)
        return [*found, str(t.get_autocast_dtype("cuda")).rpartition(".")[2]]

    in_each(torch, program)


def test_older_names_warn(torch: ModuleType) -> None:
    def program(t: Any) -> list[Any]:
        found = []
        for call in (
            lambda: t.is_autocast_cpu_enabled(), lambda: t.set_autocast_cpu_enabled(False),
            lambda: t.get_autocast_cpu_dtype(), lambda: t.set_autocast_cpu_dtype(t.bfloat16),
            lambda: t.get_autocast_gpu_dtype(), lambda: t.set_autocast_gpu_dtype(t.float16),
        ):  # fmt: skip
            with pytest.warns(DeprecationWarning, match="is deprecated") as warned:
                found.append(str(call()).rpartition(".")[2])
            found.append(str(warned[0].message).partition(" (Triggered")[0])
        return found

    in_each(torch, program)


REFUSED = lines("""
    t.autocast(3)
    t.autocast("nowhere")
    t.autocast("cpu")(3)
    t.amp.custom_fwd(device_type=3)
    t.amp.custom_bwd(device_type=3)
    t.get_autocast_dtype(3)
    t.set_autocast_dtype("cpu", 3)
    t.set_autocast_enabled("cpu", 3)
    t.set_autocast_cache_enabled(3)
    t.is_autocast_enabled(3)
    t.is_autocast_enabled("nowhere")
    t.amp.GradScaler("cpu", growth_factor=1.0)
    t.amp.GradScaler("cpu", backoff_factor=1.0)
    t.amp.GradScaler("cpu").scale(3)
    t.amp.GradScaler("cpu").update()
    t.amp.GradScaler("cpu").step(None)
    t.amp.GradScaler("cpu").load_state_dict({})
""")


@pytest.mark.parametrize("case", REFUSED)
def test_errors_say_what_pytorch_says(torch: ModuleType, case: str) -> None:
    texts = []
    for t in (torch, retrograd):
        with pytest.raises(Exception) as told:  # noqa: PT011  # which one it is, is compared
            eval(case, {"t": t})
        texts.append(str(told.value))
    assert texts[1] == texts[0]


@pytest.mark.parametrize("case", ["t.autocast('cpu', t.float32)", "t.autocast('cuda')", "t.amp.GradScaler()"])
def test_what_cannot_be_is_disabled_with_a_warning(torch: ModuleType, case: str) -> None:
    if retrograd.cuda.is_available() or torch.cuda.is_available():
        pytest.skip("where there is no GPU")

    def program(t: Any) -> list[str]:
        with pytest.warns(UserWarning, match="Disabling") as warned:
            eval(case, {"t": t})
        return [str(w.message) for w in warned]

    in_each(torch, program)


# ---- kept casts --------------------------------------------------------------------------------------------


def casts(y: Any) -> Any:
    """The node that cast the weight of `linear`, found from its result."""
    return y.grad_fn.next_functions[2][0].next_functions[0][0]


def test_a_parameter_is_cast_once_in_the_outermost_block() -> None:
    layer, x = retrograd.nn.Linear(3, 2), retrograd.ones(4, 3)
    weight = layer.weight

    def seen() -> list[Any]:
        from retrograd.runtime.functions.casting import CACHE

        return [made for ref, _, made in CACHE.values() if ref() is weight]

    with retrograd.autocast("cpu"):
        layer(x)
        (first,) = seen()
        with retrograd.autocast("cpu"):
            layer(x)
        assert seen() == [first] or all(a is b for a, b in zip(seen(), [first], strict=True))
        with retrograd.no_grad():
            weight.add_(1)
        assert np.allclose(layer(x).float().detach().numpy(), 0) is False
        assert seen()[0] is not first
    assert seen() == []
    with retrograd.autocast("cpu", cache_enabled=False):
        layer(x)
        assert seen() == []


def test_casts_without_gradients_are_not_those_with() -> None:
    layer, x = retrograd.nn.Linear(3, 2), retrograd.ones(4, 3)
    with retrograd.autocast("cpu"):
        with retrograd.no_grad():
            layer(x)
        layer(x).float().sum().backward()
    assert layer.weight.grad is not None


# ---- gradients ---------------------------------------------------------------------------------------------


def trained(t: Any, scaled: bool) -> list[float]:
    """Losses of a small net in autocast."""
    rng = np.random.default_rng(0)
    model = t.nn.Sequential(t.nn.Linear(8, 16), t.nn.Tanh(), t.nn.LayerNorm(16), t.nn.Linear(16, 3))
    with t.no_grad():
        for p in model.parameters():
            p.copy_(t.tensor(rng.standard_normal(tuple(p.shape)).astype("float32") * 0.3))
    x = t.tensor(rng.standard_normal((32, 8)).astype("float32"))
    y = t.tensor(rng.integers(0, 3, 32))
    optimizer = t.optim.SGD(model.parameters(), lr=0.1)
    scaler, losses = t.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled), []
    for _ in range(8):
        optimizer.zero_grad()
        with t.autocast("cpu"):
            loss = t.nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("scaled", [False, True])
def test_training_goes_as_in_pytorch(torch: ModuleType, scaled: bool) -> None:
    assert np.allclose(trained(retrograd, scaled), trained(torch, scaled), rtol=0.02)


def test_gradients_have_the_parameters_dtypes_and_the_nodes_pytorchs_names(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        w, x = t.ones(3, 3, requires_grad=True), t.ones(3, 3, requires_grad=True)
        with t.autocast("cpu"):
            y = t.nn.functional.mse_loss(x @ w, x)
        y.backward()
        names = [node.name() if node else "" for node, _ in y.grad_fn.next_functions]
        return [*kinds([w.grad, x.grad, y]), y.grad_fn.name(), *names]

    in_each(torch, program)


def test_custom_functions(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        seen: list[Any] = []

        def double(**options: Any) -> Any:
            class Double(t.autograd.Function):
                @staticmethod
                @t.amp.custom_fwd(device_type="cpu", **options)
                def forward(ctx: Any, x: Any, more: Any) -> Any:
                    seen.extend([x.dtype, more[0].dtype, (x @ x).dtype, t.is_autocast_enabled("cpu")])
                    return x @ x

                @staticmethod
                @t.amp.custom_bwd(device_type="cpu")
                def backward(ctx: Any, grad: Any) -> Any:
                    seen.extend([grad.dtype, t.is_autocast_enabled("cpu"), (grad @ grad).dtype])
                    return grad.float(), None

            return Double

        for options in ({}, {"cast_inputs": t.float16}):
            x = t.ones(2, 2, requires_grad=True)
            with t.autocast("cpu"):
                y = double(**options).apply(x, [t.ones(2)])
            y.float().sum().backward()
            double(**options).apply(x, [t.ones(2)]).sum().backward()
        return [str(each).rpartition(".")[2] for each in seen]

    in_each(torch, program)


def test_checkpoints_run_again_as_the_first_time(torch: ModuleType) -> None:
    def program(t: Any) -> list[str]:
        from importlib import import_module

        checkpoint = import_module(f"{t.__name__}.utils.checkpoint").checkpoint
        found: list[Any] = []

        def part(x: Any) -> Any:
            found.append(x @ x)
            return found[-1]

        for reentrant in (False, True):
            x = t.ones(2, 2, requires_grad=True)
            with t.autocast("cpu"):
                y = checkpoint(part, x, use_reentrant=reentrant)
            y.float().sum().backward()
            found.append(x.grad)
        return kinds(found)

    in_each(torch, program)


# ---- GradScaler --------------------------------------------------------------------------------------------


def test_the_scale_follows_what_the_gradients_are(torch: ModuleType) -> None:
    def program(t: Any) -> list[Any]:
        p = t.nn.Parameter(t.ones(2))
        optimizer = t.optim.SGD([p], lr=0.5)
        scaler = t.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        found: list[Any] = [scaler.get_scale(), scaler.is_enabled()]
        for factor in (1.0, float("inf"), 1.0, 1.0, 1.0, float("nan"), 1.0):
            optimizer.zero_grad()
            scaler.scale(p.sum() * factor).backward()
            if factor == 1.0:
                scaler.unscale_(optimizer)
                found += p.grad.tolist()
            found.append(scaler.step(optimizer))
            scaler.update()
            found += [*p.tolist(), scaler.get_scale(), scaler.state_dict()]
        scaler.update(4.0)
        found.append(scaler.get_scale())
        scaler.update(t.tensor(2.0))
        scaler.set_growth_factor(3.0)
        scaler.set_backoff_factor(0.25)
        scaler.set_growth_interval(5)
        again = pickle.loads(pickle.dumps(scaler))
        other = t.amp.GradScaler("cpu")
        other.load_state_dict(again.state_dict())
        outputs = scaler.scale([t.ones(2), (t.ones(()),)])
        return [
            *found, other.state_dict(), again.get_growth_factor(), again.get_backoff_factor(),
            again.get_growth_interval(), outputs[0].tolist(), outputs[1][0].item(),
            t.amp.GradScaler("cpu", enabled=False).state_dict(),
        ]  # fmt: skip

    in_each(torch, program)


@pytest.mark.parametrize(
    "misuse",
    [
        "s.unscale_(o); s.unscale_(o)", "s.step(o); s.unscale_(o)", "s.step(o); s.step(o)",
        "s.step(o, closure=print)", "s.step(t.optim.SGD([t.ones(2)], 1.0))", "s.update(3)",
    ],
)  # fmt: skip
def test_a_scaler_out_of_turn(torch: ModuleType, misuse: str) -> None:
    def program(t: Any) -> str:
        p = t.nn.Parameter(t.ones(2))
        names = {"t": t, "s": t.amp.GradScaler("cpu"), "o": t.optim.SGD([p], lr=0.5)}
        names["s"].scale(p.sum()).backward()
        with pytest.raises((RuntimeError, AssertionError, AttributeError)) as told:
            exec(misuse, names)
        return str(told.value)

    if misuse == "s.update(3)":  # PyTorch asks a number for its device
        with pytest.raises(AssertionError, match="new_scale should be a float"):
            exec(misuse, {"s": _ready(retrograd)})
        return
    in_each(torch, program)


def _ready(t: Any) -> Any:
    scaler = t.amp.GradScaler("cpu")
    scaler.scale(t.ones(2))
    return scaler


# ---- compiled functions, and what calls cost ---------------------------------------------------------------


def test_compiled_functions_know_whether_they_are_in_it() -> None:
    @retrograd.compile_grad
    def product(x: Any, y: Any) -> Any:
        return x @ y

    x = retrograd.rand(3, 3)
    plain, exact = product(x, x), (x @ x).numpy()
    for _ in range(2):
        with retrograd.autocast("cpu"):
            low, eager = product(x, x), x @ x
            assert low.dtype is retrograd.bfloat16
            assert np.allclose(low.float().numpy(), eager.float().numpy(), rtol=0.02)
        assert np.allclose(product(x, x).numpy(), exact)
    assert plain.dtype is retrograd.float32


def test_a_compiled_function_may_hold_a_block() -> None:
    layer = retrograd.nn.Linear(3, 2)

    def loss(x: Any) -> Any:
        with retrograd.autocast("cpu"):
            return retrograd.nn.functional.mse_loss(layer(x), x[:, :2])

    x = retrograd.rand(4, 3, requires_grad=True)
    value, (gradient, *_) = retrograd.compile_grad(loss).value_and_grad(x)
    eager = loss(x)
    (expected,) = retrograd.autograd.grad(eager, x)
    assert np.allclose(value.item(), eager.item(), rtol=1e-2)
    assert np.allclose(gradient.numpy(), expected.numpy(), rtol=0.05, atol=1e-2)


def test_plans_made_in_it_are_not_used_outside() -> None:
    x, found = retrograd.rand(3, 4), []
    for enabled in (True, True, True, False, False, True):
        with retrograd.autocast("cpu", enabled=enabled):
            found.append(kinds([x.cov(), retrograd.einsum("ij,kj->ik", x, x), retrograd.linalg.norm(x)]))
    low, full = ["bfloat16", "bfloat16", "float32"], ["float32"] * 3
    assert found == [low, low, low, full, full, low]


def test_calls_outside_of_it_go_straight_again() -> None:
    from retrograd.runtime.eager.instant.part import _head

    function, x = retrograd.matmul, retrograd.ones(2, 2)
    function(x, x)
    before = list(_head(function))
    with retrograd.autocast("cpu"):
        function(x, x)
        assert list(_head(function)) != before
    function(x, x)
    assert list(_head(function)) == before


def test_errors_after_it_name_the_call_as_ever() -> None:
    with retrograd.autocast("cpu"):
        retrograd.linalg.eigh(retrograd.eye(2))
    with pytest.raises(NotImplementedError, match="\"linalg_eigh_cpu\" not implemented for 'Long'"):
        retrograd.linalg.eigh(retrograd.eye(2, dtype=retrograd.int64))
