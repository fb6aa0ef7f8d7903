"""Schedulers of learning rates beside PyTorch's: the same rates step by step, states that travel, errors.

SCHEDULERS are texts, evaluated with either library; a new one is a row.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from test_optim import network

import retrograd

SCHEDULERS = [
    "StepLR(o, 3)", "StepLR(o, 2, gamma=0.5)", "MultiStepLR(o, [2, 3, 3, 7])", "ExponentialLR(o, 0.9)",
    "CosineAnnealingLR(o, 4)", "CosineAnnealingLR(o, 5, eta_min=0.01)", "LambdaLR(o, lambda k: 0.95**k)",
    "LambdaLR(o, [lambda k: 1 / (1 + k), lambda k: 0.5])", "MultiplicativeLR(o, lambda k: 0.8)",
    "LinearLR(o)", "LinearLR(o, 0.5, 0.1, 7)", "ConstantLR(o, 0.5, 3)", "PolynomialLR(o, 6, 2.0)",
    "CyclicLR(o, 0.01, 0.1, step_size_up=3)", "CyclicLR(o, 0.01, 0.1, 2, 4, mode='triangular2')",
    "CyclicLR(o, 0.01, [0.1, 0.2], 3, mode='exp_range', gamma=0.9, cycle_momentum=False)",
    "CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda k: 0.5**k, scale_mode='iterations')",
    "OneCycleLR(o, 0.5, total_steps=12)",
    "OneCycleLR(o, [0.5, 1.0], epochs=4, steps_per_epoch=3, three_phase=True)",
    "OneCycleLR(o, 0.3, 20, pct_start=0.5, anneal_strategy='linear', cycle_momentum=False)",
    "CosineAnnealingWarmRestarts(o, 3)", "CosineAnnealingWarmRestarts(o, 2, 2, 0.001)",
    "SequentialLR(o, [ConstantLR(o, 0.1, 2), ExponentialLR(o, 0.9)], [4])",
    "SequentialLR(o, [LinearLR(o, 0.1, 1.0, 3), CosineAnnealingLR(o, 5), StepLR(o, 2)], milestones=[3, 8])",
    "ChainedScheduler([ConstantLR(o, 0.1, 2), ExponentialLR(o, 0.9)])",
]  # fmt: skip


def schedule(t: Any, made: str, steps: int = 11) -> tuple[list[Any], Any]:
    model = network(t)
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.5}]
    optimizer = t.optim.SGD(groups, lr=0.2, momentum=0.9)
    scheduler = eval(made, {**vars(t.optim.lr_scheduler), "o": optimizer})
    seen = [scheduler.get_last_lr()]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append([scheduler.get_last_lr(), [(g["lr"], g["momentum"]) for g in optimizer.param_groups]])
    return seen, scheduler


def flat(values: Any) -> list[float]:
    return [x for v in values for x in flat(v)] if isinstance(values, list | tuple) else [values]


@pytest.mark.parametrize("made", SCHEDULERS)
def test_schedulers_give_pytorchs_rates(torch: Any, made: str) -> None:
    ours, theirs = schedule(retrograd, made)[0], schedule(torch, made)[0]
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("made", [s for s in SCHEDULERS if "Lambda" not in s and "lambda" not in s])
def test_schedulers_go_on_from_a_saved_state(made: str) -> None:
    expected, _ = schedule(retrograd, made, 8)
    _, before = schedule(retrograd, made, 4)
    rates = [(g["lr"], g["momentum"]) for g in before.optimizer.param_groups]
    _, scheduler = schedule(retrograd, made, 0)
    scheduler.load_state_dict(copy.deepcopy(before.state_dict()))
    for group, (lr, momentum) in zip(scheduler.optimizer.param_groups, rates):
        group.update(lr=lr, momentum=momentum)
    for later in expected[5:]:
        scheduler.optimizer.step()
        scheduler.step()
        np.testing.assert_allclose(scheduler.get_last_lr(), later[0])


TRAVELLING = [
    *(made for made in SCHEDULERS if "ambda" not in made),
    "swa_utils.SWALR(o, 0.05)", "ReduceLROnPlateau(o)",
    "ReduceLROnPlateau(o, 'max', 0.5, 0, min_lr=[0.1, 0.2])",
    "CyclicLR(o, 0.01, 0.1, 3, scale_fn=Halved())",
    "CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda k: 0.5**k, scale_mode='iterations')",
]  # fmt: skip


class Halved:
    """A scale with a state of its own."""

    def __init__(self) -> None:
        self.base = 0.5

    def __call__(self, at: float) -> float:
        return float(self.base**at)


def scheduled(t: Any, made: str) -> Any:
    model = network(t)
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.5}]
    names = {**vars(t.optim.lr_scheduler), "swa_utils": t.optim.swa_utils, "Halved": Halved}
    return eval(made, {**names, "o": t.optim.SGD(groups, lr=0.2, momentum=0.9)})


def stepped(scheduler: Any, steps: int) -> list[Any]:
    seen = []
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step(*[0.5] * ("Plateau" in type(scheduler).__name__))
        seen.append([(g["lr"], g["momentum"]) for g in scheduler.optimizer.param_groups])
    return seen


@pytest.mark.parametrize("made", TRAVELLING)
def test_states_of_schedulers_travel_both_ways(torch: Any, made: str) -> None:
    ours, theirs = scheduled(retrograd, made), scheduled(torch, made)
    np.testing.assert_allclose(stepped(ours, 3), stepped(theirs, 3), rtol=1e-12)
    assert plain(ours.state_dict()) == plain(theirs.state_dict())
    for t, giving in ((retrograd, theirs), (torch, ours)):
        taking = scheduled(t, made)
        taking.load_state_dict(copy.deepcopy(giving.state_dict()))
        for group, source in zip(taking.optimizer.param_groups, giving.optimizer.param_groups):
            group.update({name: value for name, value in source.items() if name != "params"})
        np.testing.assert_allclose(stepped(taking, 5), stepped(giving, 5), rtol=1e-12)


def plain(state: Any) -> Any:
    """With rounded numbers."""
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    if isinstance(state, list):
        return [plain(value) for value in state]
    return round(state, 12) if isinstance(state, float) else state


@pytest.mark.parametrize("options", [
    {}, {"mode": "max", "patience": 1}, {"patience": 0, "factor": 0.5, "cooldown": 2, "min_lr": 0.02},
    {"threshold_mode": "abs", "threshold": 0.3, "patience": 1},
    {"mode": "max", "threshold_mode": "abs", "patience": 0},
])  # fmt: skip
def test_plateaus_are_found_where_pytorch_finds_them(torch: Any, options: dict[str, Any]) -> None:
    metrics = [1.0, 0.9, 0.95, 0.9, 0.89, 0.889, 0.8, 0.9, -1.0, -0.5, -1.2, *[-1.1] * 14]
    found = []
    for t in (retrograd, torch):
        optimizer = t.optim.SGD(network(t).parameters(), lr=0.4)
        scheduler = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for metric in metrics:
            scheduler.step(t.tensor(metric))
            rates.append((optimizer.param_groups[0]["lr"], scheduler.num_bad_epochs, scheduler.best))
        found.append(rates)
    np.testing.assert_allclose(*found)


def test_epochs_may_be_named(torch: Any) -> None:
    found = []
    for t in (retrograd, torch):
        rates = []
        for made in (
            "StepLR(o, 2)",
            "CosineAnnealingLR(o, 4)",
            "CosineAnnealingWarmRestarts(o, 2, 2)",
            "LinearLR(o)",
        ):
            scheduler = eval(
                made, {**vars(t.optim.lr_scheduler), "o": t.optim.SGD(network(t).parameters(), lr=0.1)}
            )
            scheduler.optimizer.step()
            for epoch in (5, 1, 0):
                if "Warm" in made:
                    scheduler.step(epoch)
                else:
                    with pytest.warns(UserWarning, match="deprecated|EPOCH"):
                        scheduler.step(epoch)
                rates.append(scheduler.get_last_lr()[0])
        found.append(rates)
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_a_step_of_the_scheduler_before_the_optimisers_is_told() -> None:
    scheduler = retrograd.optim.lr_scheduler.StepLR(retrograd.optim.SGD(network(retrograd).parameters()), 2)
    with pytest.warns(UserWarning, match=r"before `optimizer\.step\(\)`"):
        scheduler.step()
