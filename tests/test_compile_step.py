"""A compiled training step is `loss.backward(); optimizer.step(); optimizer.zero_grad()`: beside eager mode
and PyTorch, step by step. A new optimiser is a row of OPTIMISERS.
"""

from __future__ import annotations

import copy
import functools
import os
import pickle
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg
import retrograd.nn.functional as F
from retrograd.compiler.errors import ArgumentError, DimensionError, GradientError, RetrogradError, TraceError
from retrograd.runtime.native.program import NativeProgram

OPTIMISERS = [
    "SGD(p, 0.1)", "SGD(p, 0.1, momentum=0.9)", "SGD(p, 0.05, 0.9, nesterov=True, weight_decay=0.1)",
    "Adam(p, 0.05)", "Adam(p, 0.01, weight_decay=0.1, amsgrad=True)", "AdamW(p, 0.01, weight_decay=0.3)",
    "RMSprop(p, 0.01, alpha=0.9, momentum=0.5, centered=True)", "Adagrad(p, 0.05, lr_decay=0.1)",
    "NAdam(p, 0.01)", "RAdam(p, 0.02)",
]  # fmt: skip


def network(t: Any, width: int = 8) -> Any:
    return t.nn.Sequential(t.nn.Linear(3, width), t.nn.Tanh(), t.nn.Linear(width, 2))


def same_weights(to: Any, of: Any) -> None:
    """Copy the parameters of our network to another one."""
    for p, q in zip(to.parameters(), of.parameters(), strict=True):
        p.data.copy_(p.data.new_tensor(q.detach().numpy()))


def batch(turn: int, rows: int = 16) -> tuple[Any, Any]:
    generator = np.random.default_rng(turn)
    return generator.standard_normal((rows, 3), np.float32), generator.standard_normal((rows, 2), np.float32)


def loss_of(model: Any) -> Callable[[Any, Any], Any]:
    return lambda x, y: ((model(x) - y) ** 2).mean()


def eager(t: Any, model: Any, optimizer: Any, x: Any, y: Any) -> float:
    loss = loss_of(model)(_tensor(t, x), _tensor(t, y))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def _tensor(t: Any, array: Any) -> Any:
    return rg.from_numpy(array) if t is rg else t.as_tensor(array)


def close(ours: Any, theirs: Any, rtol: float = 2e-5) -> None:
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=1e-6)


def optimizer_of(t: Any, text: str, model: Any) -> Any:
    return eval(f"o.{text}", {"o": t.optim, "p": model.parameters()})


def tensors(*arrays: Any) -> list[rg.Tensor]:
    return [rg.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("text", OPTIMISERS)
def test_steps_are_those_of_eager_mode_and_of_pytorch(text: str, torch: ModuleType) -> None:
    ours = network(rg)
    theirs, plain = network(torch), copy.deepcopy(ours)
    same_weights(theirs, ours)
    optimizer, other, third = (
        optimizer_of(t, text, m) for t, m in ((rg, ours), (torch, theirs), (rg, plain))
    )
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(8):
        value = step(*tensors(*batch(turn)))
        assert not value.requires_grad
        np.testing.assert_allclose(value.item(), eager(torch, theirs, other, *batch(turn)), rtol=1e-4)
        eager(rg, plain, third, *batch(turn))
    close(ours, theirs, 1e-4)
    close(ours, plain, 2e-5)
    assert step.specialisations == 1
    for one, two in zip(optimizer.state.values(), third.state.values(), strict=True):
        for name, slot in one.items():
            np.testing.assert_allclose(slot.numpy(), two[name].numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "bounds", [{"max_norm": 0.5}, {"clip_value": 0.05}, {"max_norm": 1, "clip_value": 0.1}]
)
@pytest.mark.parametrize("text", ["SGD(p, 0.1, momentum=0.9)", "AdamW(p, 0.01)"])
def test_gradients_are_clipped_as_pytorch_clips_them(
    text: str, bounds: dict[str, float], torch: ModuleType
) -> None:
    ours, theirs = network(rg), network(torch)
    same_weights(theirs, ours)
    made = optimizer_of(rg, text, ours)
    step = rg.compile_step(loss_of(ours), made, **bounds)  # type: ignore[arg-type]  # numbers
    optimizer = optimizer_of(torch, text, theirs)
    for turn in range(8):
        x, y = batch(turn)
        loss = loss_of(theirs)(torch.as_tensor(x), torch.as_tensor(y))
        loss.backward()
        if "max_norm" in bounds:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), bounds["max_norm"])
        if "clip_value" in bounds:
            torch.nn.utils.clip_grad_value_(theirs.parameters(), bounds["clip_value"])
        optimizer.step()
        optimizer.zero_grad()
        np.testing.assert_allclose(step(*tensors(x, y)).item(), loss.item(), rtol=1e-4)
    close(ours, theirs, 1e-3)
    assert step.specialisations == 1


def test_a_schedule_compiles_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = network(rg)
    plain = copy.deepcopy(ours)
    pairs = []
    for model in (ours, plain):
        optimizer = rg.optim.Adam(model.parameters(), 0.1)
        pairs.append((optimizer, rg.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)))
    (optimizer, schedule), (other, its) = pairs
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(8):  # the rate comes to 0 and rises again
        step(*tensors(*batch(turn)))
        schedule.step()
        eager(rg, plain, other, *batch(turn))
        its.step()
        monkeypatch.setattr(step, "_slowly", None)  # from now on, none of it is Python
    close(ours, plain, 1e-3)
    assert step.specialisations == 1


def test_a_rate_that_is_a_tensor_may_change_in_place() -> None:
    ours = network(rg)
    plain = copy.deepcopy(ours)
    optimizer, other = (rg.optim.SGD(m.parameters(), 0.1) for m in (ours, plain))
    rate = optimizer.param_groups[0]["lr"] = rg.tensor(0.1)
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(6):
        rate.fill_(0.1 / (turn + 1))
        other.param_groups[0]["lr"] = 0.1 / (turn + 1)
        step(*tensors(*batch(turn)))
        eager(rg, plain, other, *batch(turn))
    close(ours, plain, 1e-4)


def test_an_option_that_decides_the_formula_compiles_anew() -> None:
    ours = network(rg)
    plain = copy.deepcopy(ours)
    optimizer, other = (rg.optim.SGD(m.parameters(), 0.1) for m in (ours, plain))
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(6):
        for each in (optimizer, other):
            each.param_groups[0]["weight_decay"] = 0.1 if turn in (2, 3) else 0
        step(*tensors(*batch(turn)))
        eager(rg, plain, other, *batch(turn))
    close(ours, plain)
    assert step.specialisations == 2


def test_groups_have_options_of_their_own_and_batches_their_sizes() -> None:
    ours = network(rg)
    plain = copy.deepcopy(ours)

    def optimizer_for(model: Any) -> Any:
        return rg.optim.AdamW(
            [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters()}], lr=0.01
        )

    optimizer, other = optimizer_for(ours), optimizer_for(plain)
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(6):
        step(*tensors(*batch(turn, 16 - turn % 2)))
        eager(rg, plain, other, *batch(turn, 16 - turn % 2))
    close(ours, plain, 1e-3)
    assert step.specialisations == 2


def test_what_the_loss_does_not_reach_is_let_be() -> None:
    ours = network(rg)
    ours[2].weight.requires_grad_(False)
    plain = copy.deepcopy(ours)

    def loss(model: Any) -> Callable[[Any, Any], Any]:
        return lambda x, y: ((model(x) - y) ** 2).mean() + (model[2].bias.detach() ** 2).sum() * 0

    optimizer, other = (rg.optim.AdamW(m.parameters(), 0.1) for m in (ours, plain))
    step = rg.compile_step(loss(ours), optimizer)
    for turn in range(3):
        step(*tensors(*batch(turn)))
        eager(rg, plain, other, *batch(turn))
    close(ours, plain, 1e-3)
    assert len(optimizer.state) == 3


def test_gradients_are_neither_used_nor_made() -> None:
    model = network(rg)
    model[0].bias.grad = rg.ones(8) * 100
    before = model[0].bias.detach().clone()
    step = rg.compile_step(loss_of(model), rg.optim.SGD(model.parameters(), 0.01))
    for turn in range(3):
        step(*tensors(*batch(turn)))
    assert model[0].weight.grad is None
    assert (model[0].bias.grad == 100).all()
    assert float((model[0].bias.detach() - before).abs().max()) < 0.1


def test_running_statistics_are_updated_too() -> None:
    ours = rg.nn.Sequential(rg.nn.Linear(3, 6), rg.nn.BatchNorm1d(6), rg.nn.Linear(6, 2))
    plain = copy.deepcopy(ours)
    optimizer, other = (rg.optim.SGD(m.parameters(), 0.1, momentum=0.9) for m in (ours, plain))
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(4):
        step(*tensors(*batch(turn)))
        eager(rg, plain, other, *batch(turn))
    close(ours, plain, 1e-3)
    np.testing.assert_allclose(ours[1].running_var.numpy(), plain[1].running_var.numpy(), rtol=1e-4)
    assert ours[1].num_batches_tracked.item() == 4


def test_more_than_the_loss_may_be_returned() -> None:
    model = network(rg)

    def loss(x: Any, y: Any) -> Any:
        out = model(x)
        return ((out - y) ** 2).mean(), {"out": out, "rows": len(x)}

    step = rg.compile_step(loss, rg.optim.SGD(model.parameters(), 0.1), has_aux=True)
    x, y = tensors(*batch(0))
    for _ in range(3):
        expected = model(x).detach().numpy()
        value, aux = step(x, y)
        np.testing.assert_allclose(aux["out"].numpy(), expected, rtol=1e-5, atol=1e-6)
        assert aux["rows"] == 16
        np.testing.assert_allclose(value.item(), ((expected - batch(0)[1]) ** 2).mean(), rtol=1e-5)


def test_a_module_that_returns_its_loss_is_a_function_too() -> None:
    class Model(rg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = rg.nn.Linear(3, 2)

        def forward(self, x: Any, y: Any) -> Any:
            return rg.nn.functional.mse_loss(self.layer(x), y)

    model = Model()
    step = rg.compile_step(model, rg.optim.SGD(model.parameters(), 0.1))
    losses = [step(*tensors(*batch(0))).item() for _ in range(20)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("how", ["by name", "strided", "array", "other dtype"])
def test_batches_come_in_many_ways(how: str) -> None:
    ours = network(rg)
    plain = copy.deepcopy(ours)
    optimizer, other = (rg.optim.SGD(m.parameters(), 0.1) for m in (ours, plain))
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(4):
        x, y = batch(turn)
        ours_x, ours_y = tensors(x, y)
        if how == "by name":
            step(y=ours_y, x=ours_x)
        elif how == "strided":
            step(rg.from_numpy(np.repeat(x, 2, axis=1))[:, ::2], ours_y)
        elif how == "array":
            step(ours_x, y)
        else:
            step(ours_x, rg.from_numpy(y.astype(np.float64)))
        eager(rg, plain, other, *batch(turn))
    close(ours, plain, 1e-3)
    assert step.specialisations == 1


def test_parameters_keep_their_memory_and_a_tape_notices() -> None:
    model = network(rg)
    arrays = [p.detach().numpy() for p in model.parameters()]
    step = rg.compile_step(loss_of(model), rg.optim.Adam(model.parameters(), 0.1))
    x, y = tensors(*batch(0))
    for _ in range(2):
        before = [array.copy() for array in arrays]
        old = loss_of(model)(x, y)
        step(x, y)
        for array, was, p in zip(arrays, before, model.parameters()):
            assert p.detach().numpy() is array or np.shares_memory(p.detach().numpy(), array)
            assert not np.array_equal(array, was)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            old.backward()


def test_a_saved_state_goes_on() -> None:
    ours = network(rg)
    optimizer = rg.optim.Adam(ours.parameters(), 0.1)
    step = rg.compile_step(loss_of(ours), optimizer)
    for turn in range(3):
        step(*tensors(*batch(turn)))
    weights, state = copy.deepcopy(ours.state_dict()), copy.deepcopy(optimizer.state_dict())
    results = []
    for _ in range(2):
        ours.load_state_dict(weights)
        optimizer.load_state_dict(state)
        for turn in range(3, 6):
            step(*tensors(*batch(turn)))
        results.append([p.detach().numpy().copy() for p in ours.parameters()])
    for one, two in zip(*results):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("width", [1, 7, 48, 111, 250])
@pytest.mark.parametrize(
    "text", ["SGD(p, 0.1, momentum=0.9)", "Adam(p, 0.01, weight_decay=0.1, amsgrad=True)"]
)
def test_writing_straight_and_by_copies_is_the_same(
    width: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = network(rg, width)
    copied = copy.deepcopy(straight)
    one, two = (rg.compile_step(loss_of(m), optimizer_of(rg, text, m)) for m in (straight, copied))
    for turn in range(2):
        one(*tensors(*batch(turn, 67)))
    monkeypatch.setattr(NativeProgram, "straight", property(lambda self: []))
    for turn in range(2):
        two(*tensors(*batch(turn, 67)))
    monkeypatch.undo()
    for turn in range(2, 6):
        np.testing.assert_array_equal(one(*tensors(*batch(turn, 67))), two(*tensors(*batch(turn, 67))))
    for p, q in zip(straight.parameters(), copied.parameters()):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_a_bad_index_moves_nothing() -> None:
    table = rg.nn.Embedding(5, 3)
    step = rg.compile_step(lambda i: (table(i) ** 2).sum(), rg.optim.SGD(table.parameters(), 0.1))
    good, bad = rg.tensor([0, 4]), rg.tensor([1, 5])
    for _ in range(2):
        step(good)
    before = table.weight.detach().clone()
    with pytest.raises(DimensionError, match="index out of range"):
        step(bad)
    assert (table.weight == before).all()
    step(good)
    assert not (table.weight == before).all()


def classifier() -> Any:
    """Words, some layers, classes."""
    rg.manual_seed(0)
    return rg.nn.Sequential(
        rg.nn.Embedding(50, 64), rg.nn.Flatten(), *(rg.nn.Linear(256, 256) for _ in range(2))
    )


@pytest.mark.parametrize("wrong", ["word", "class", "probability"])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_out_of_range_moves_nothing_though_updates_are_written_in_place(
    wrong: str, threads: int
) -> None:
    models = classifier(), classifier()
    optimizers = [rg.optim.SGD(model.parameters(), 1e-2, momentum=0.9) for model in models]

    def loss(model: Any, words: Any, classes: Any, weight: Any) -> Any:
        out = model(words)
        unlikely = F.binary_cross_entropy(out.sigmoid() * weight, rg.ones(8, 256))
        return F.cross_entropy(out, classes) + unlikely

    steps = [
        rg.compile_step(functools.partial(loss, model), optimizer)
        for model, optimizer in zip(models, optimizers)
    ]
    words, classes, weight = rg.arange(32).reshape(8, 4), rg.arange(8), rg.tensor(0.5)
    bad = {
        "word": (words + 20, classes, weight),
        "class": (words, classes - 9, weight),
        "probability": (words, classes, weight * 1e3),
    }
    before = rg.get_num_threads()
    rg.set_num_threads(threads)
    try:
        for turn in range(4):
            if turn:
                with pytest.raises(RetrogradError, match="out of range"):
                    steps[0](*bad[wrong])
            assert steps[0](words, classes, weight).item() == steps[1](words, classes, weight).item()
    finally:
        rg.set_num_threads(before)
    for p, q in zip(models[0].parameters(), models[1].parameters()):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_what_changes_outside_is_noticed() -> None:
    model, factor = network(rg), 1.0
    optimizer = rg.optim.SGD(model.parameters(), 0.1)
    step = rg.compile_step(lambda x, y: ((model(x) - y) ** 2).mean() * factor, optimizer)
    x, y = tensors(*batch(0))
    for factor in (1.0, 1.0, 3.0, 3.0):
        expected = loss_of(model)(x, y).item() * factor
        np.testing.assert_allclose(step(x, y).item(), expected, rtol=1e-5)
    model[1] = rg.nn.ReLU()
    for _ in range(2):
        expected = loss_of(model)(x, y).item() * factor
        np.testing.assert_allclose(step(x, y).item(), expected, rtol=1e-5)
    extra = rg.nn.Linear(3, 2)
    optimizer.add_param_group({"params": extra.parameters()})
    step(x, y)
    assert step.specialisations == 4


# ---- what cannot be ----------------------------------------------------------------------------------------


def test_what_cannot_be_a_step_says_why() -> None:
    model = network(rg)
    x, y = tensors(*batch(0))
    optimizer = rg.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ArgumentError, match="its step is no formula of the gradients"):
        rg.compile_step(loss_of(model), rg.optim.LBFGS(model.parameters()))
    with pytest.raises(ArgumentError, match="a bound is a number, or None"):
        rg.compile_step(model, optimizer, max_norm="1")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ArgumentError, match="takes a function that returns the loss"):
        rg.compile_step(3, optimizer)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(GradientError, match=r"which returns f32\[16, 2\]"):
        rg.compile_step(lambda x, y: model(x) - y, optimizer)(x, y)
    with pytest.raises(GradientError, match="does not depend on any parameter of the optimizer"):
        rg.compile_step(loss_of(network(rg)), optimizer)(x, y)
    step = rg.compile_step(loss_of(model), optimizer)
    step(x, y)
    with pytest.raises(TraceError, match="a compiled training step inside a compiled function"):
        rg.compile_grad(lambda x: step(x, y))(x)
    optimizer.register_step_post_hook(lambda *_: None)
    for late in (step, rg.compile_step(loss_of(model), optimizer)):
        with pytest.raises(ArgumentError, match="that has step hooks"):
            late(x, y)


# ---- threads and processes ---------------------------------------------------------------------------------


def test_threads_take_turns() -> None:
    ours = network(rg)
    plain = copy.deepcopy(ours)
    optimizer, other = (rg.optim.SGD(m.parameters(), 0.01) for m in (ours, plain))
    step = rg.compile_step(loss_of(ours), optimizer)
    x, y = batch(0)
    step(*tensors(x, y))
    threads = [threading.Thread(target=lambda: [step(*tensors(x, y)) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(201):
        eager(rg, plain, other, x, y)
    close(ours, plain, 1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on() -> None:
    model = network(rg)
    step = rg.compile_step(loss_of(model), rg.optim.SGD(model.parameters(), 0.1))
    first = step(*tensors(*batch(0))).item()
    with step._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if step(*tensors(*batch(0))).item() < first else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_step_or_a_program_is_not_copied() -> None:
    """The error says so at the user's line, whoever asks: copy, pickle or what holds them."""
    model = rg.nn.Linear(2, 1)
    step = rg.compile_step(lambda x: model(x).sum(), rg.optim.SGD(model.parameters(), lr=0.1))
    step(rg.ones(3, 2))
    program = rg.compile_grad(lambda x: x.exp().sum()).trace(rg.ones(3, requires_grad=True))
    for each, told in ((step, "the parameters of one model"), (program, "in the memory of this process")):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps, lambda x: copy.deepcopy([x])):
            with pytest.raises(
                ArgumentError, match=rf"test_compile_step\.py:\d+: a copy or a pickle of .*{told}"
            ):
                duplicate(each)
