"""Averages of parameters over a training, beside PyTorch's.

A program takes the library as `t`; a new one is a function of `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from side_by_side import compare


def network(t: Any) -> Any:
    t.manual_seed(0)
    return t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.BatchNorm1d(4), t.nn.Linear(4, 1)).double()


def averaged(t: Any, **options: Any) -> Any:
    """Three steps of a training, and the averages after each."""
    model = network(t)
    average = t.optim.swa_utils.AveragedModel(model, **options)
    optimizer = t.optim.SGD(model.parameters(), lr=0.1)
    x = (t.arange(15.0).double().reshape(5, 3) / 15).sin()
    found = []
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - 1).pow(2).sum().backward()
        optimizer.step()
        average.update_parameters(model)
        found += [p.detach().clone() for p in average.parameters()]
    return [*found, *average.buffers(), [*average.state_dict()], average.eval()(x)]


def statistics_anew(t: Any) -> Any:
    model = network(t).eval()
    data = [(t.arange(15.0).double().reshape(5, 3) + k, t.ones(5)) for k in range(3)]
    t.optim.swa_utils.update_bn(data, model)
    return [*model.buffers(), model.training, model[2].momentum]


def no_norms(t: Any) -> Any:
    model = t.nn.Linear(2, 2)
    t.optim.swa_utils.update_bn([t.ones(1, 3)], model)
    return model.training


def rates(t: Any, swa_lr: Any, after: int = 0, **options: Any) -> Any:
    """The rates of two groups through twelve epochs, the first of them another scheduler's."""
    x, y = t.ones(2).requires_grad_(), t.ones(2).requires_grad_()
    optimizer = t.optim.SGD([{"params": [x]}, {"params": [y], "lr": 0.5}], lr=0.1)
    first = t.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    second = t.optim.swa_utils.SWALR(optimizer, swa_lr, **options)
    found = []
    for epoch in range(12):
        optimizer.step()
        (first if epoch < after else second).step()
        found.append([group["lr"] for group in optimizer.param_groups])
    state = second.state_dict()
    again = t.optim.swa_utils.SWALR(optimizer, swa_lr)
    again.load_state_dict(state)
    return [found, second.get_last_lr(), state["anneal_epochs"], again.last_epoch, again.anneal_epochs]


PROGRAMS: list[Callable[[Any], Any]] = [
    averaged,
    lambda t: averaged(t, avg_fn=t.optim.swa_utils.get_ema_avg_fn(0.9)),
    lambda t: averaged(t, avg_fn=lambda a, x, n: a * 0.5 + x * 0.5),
    lambda t: averaged(t, multi_avg_fn=t.optim.swa_utils.get_ema_multi_avg_fn(0.9)),
    lambda t: averaged(t, multi_avg_fn=t.optim.swa_utils.get_swa_multi_avg_fn(), device="cpu"),
    lambda t: t.optim.swa_utils.get_ema_avg_fn(1.5),
    statistics_anew,
    no_norms,
    lambda t: rates(t, 0.05),
    lambda t: rates(t, [0.05, 0.2], after=3, anneal_epochs=4),
    lambda t: rates(t, 0.05, anneal_strategy="linear", anneal_epochs=5),
    lambda t: rates(t, 0.05, anneal_epochs=0),
    lambda t: rates(t, [0.05]),
    lambda t: rates(t, 0.05, anneal_strategy="best"),
    lambda t: rates(t, 0.05, anneal_epochs=-1),
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)
