"""Averages of a model's parameters over its training, as PyTorch's `torch.optim.swa_utils`.

In flow a module that is being trained, once in a while; out flows a module of the averages. An average is a
function of the average so far, the parameter now, and how many there have been (`avg_fn`), or of lists of
them (`multi_avg_fn`). (Izmailov and others, 2018.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from retrograd.runtime.tensor import Tensor

__all__ = [
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
