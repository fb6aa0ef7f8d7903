"""Averages of a model's parameters over its training, as PyTorch's `torch.optim.swa_utils`.

In flow a module that is being trained, once in a while; out flows a module of the averages. An average is a
function of the average so far, the parameter now, and how many there have been (`avg_fn`), or of lists of
them (`multi_avg_fn`). `SWALR` leads the rate to that at which one averages. (Izmailov and others, 2018.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from retrograd.runtime.optim.optimizer import Optimizer
from retrograd.runtime.optim.policies import for_groups
from retrograd.runtime.optim.rates import LRScheduler
from retrograd.runtime.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Any, Any, Any], Any]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential average: `decay · average + (1 − decay) · now`."""
    _check_decay(decay)

    def average(averaged: Any, now: Any, count: Any) -> Any:
        return decay * averaged + (1 - decay) * now

    return average


def get_swa_avg_fn() -> Average:
    """The mean of all so far."""

    def average(averaged: Any, now: Any, count: Any) -> Any:
        return averaged + (now - averaged) / (count + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """The exponential average of lists, in place."""
    _check_decay(decay)

    def average(averaged: Sequence[Any], now: Sequence[Any], count: Any) -> None:
        with no_grad():
            for a, x in zip(averaged, now):
                a.lerp_(x, 1 - decay)

    return average


def get_swa_multi_avg_fn() -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """The mean of all so far, of lists, in place."""

    def average(averaged: Sequence[Any], now: Sequence[Any], count: Any) -> None:
        with no_grad():
            for a, x in zip(averaged, now):
                a.add_((x - a) / (count + 1))

    return average


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ArgumentError(
            mirrored(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
        )


class AveragedModel(Module):
    """A copy of the model, in `module`, that holds averages; `update_parameters(model)` adds one. With
    `use_buffers` buffers are averaged, too, else those of the model are taken.
    """

    n_averaged: Any

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Callable[[Sequence[Tensor], Sequence[Tensor], Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel()", "avg_fn and multi_avg_fn are two ways", "give one of them")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", FUNCTIONS["tensor"](0, device=device))
        self.avg_fn = avg_fn if avg_fn is not None else get_swa_avg_fn()
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters into the averages; the first are the averages themselves."""
        own, new = self._averaged(self.module), [x.detach() for x in self._averaged(model)]
        with no_grad():
            if not self.n_averaged:
                for average, now in zip(own, new):
                    average.copy_(now)
            elif self.multi_avg_fn is not None:
                self.multi_avg_fn(own, new, self.n_averaged)
            else:
                for average, now in zip(own, new):
                    average.copy_(self.avg_fn(average.detach(), now, self.n_averaged))
            if not self.use_buffers:
                for buffer, now in zip(self.module.buffers(), model.buffers()):
                    buffer.detach().copy_(now.detach())
            self.n_averaged += 1

    def _averaged(self, model: Module) -> list[Any]:
        buffers = model.buffers() if self.use_buffers else ()
        return [x.detach() for x in chain(model.parameters(), buffers)]


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Have the model's batch norms take their statistics from the data once more: those of averaged
    parameters are others. Of a batch that is a list or tuple the first part is the input.
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm1d | BatchNorm2d | BatchNorm3d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with no_grad():
        for batch in loader:
            input = batch[0] if isinstance(batch, list | tuple) else batch
            model(input if device is None else input.to(device))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """To `swa_lr` in `anneal_epochs`, along half a wave (`"cos"`) or a line (`"linear"`), and there it stays.
    It starts from whatever rate another scheduler has left.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = for_groups("swa_lr", optimizer, swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                mirrored(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
            )
        if anneal_epochs < 0:
            raise ArgumentError(
                mirrored(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
            )
        for group, rate in zip(optimizer.param_groups, rates):
            group["swa_lr"] = rate
        self.anneal_epochs, self._anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _way(self, step: int) -> float:
        """How much of the way is done after so many steps, from 0 to 1."""
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return part if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def _rates(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._way(step - 1), self._way(step)
        return [
            self._between(group["lr"], group["swa_lr"], before, now) for group in self.optimizer.param_groups
        ]

    @staticmethod
    def _between(lr: float, goal: float, before: float, now: float) -> float:
        """The rate at `now` of the way, from that at `before`."""
        start = goal if before == 1 else (lr - before * goal) / (1 - before)
        return goal * now + start * (1 - now)
