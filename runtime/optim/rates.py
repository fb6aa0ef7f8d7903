"""Learning rates by the epoch: each `step()` of a scheduler gives the groups of an optimiser new ones.

A scheduler says what comes next, from what a rate was at first and what it is now (`_next`), so that several
may act on one optimiser; `_closed`, where there is one, gives the rate of any epoch directly. To add one,
write these.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from retrograd.compiler.errors import ArgumentError, NameTakenError, mirrored, warn
from retrograd.runtime.optim.optimizer import Optimizer

EPOCH_GIVEN = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
    "Please use `scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from "
    "None, the closed form is used instead of the new chainable form, where available. Please open an issue "
    "if you are unable to replicate your use case: https://github.com/pytorch/pytorch/issues/new/choose."
)


class LRScheduler:
    """The base: counts epochs, and writes rates into the groups. Making one is its first step. A scheduler of
    the user's defines `get_lr`, those here `_rates`, or `_next`.
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False
    _last_lr: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(mirrored(f"{type(optimizer).__name__} is not an Optimizer"))
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise NameTakenError(
                    mirrored(
                        f"param 'initial_lr' is not specified in param_groups[{k}] when resuming scheduler "
                        "with last_epoch >= 0.\nThis typically happens when:\n1. You're trying to resume "
                        "training from a checkpoint but haven't properly loaded the optimizer state\n2. "
                        "You're using last_epoch >= 0 for a fresh training run (not recommended)"
                    )
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def _start(self) -> None:
        """The first step."""
        self._step_count = 0
        self._seen = self.optimizer._steps
        """How many steps the optimiser had taken."""
        self._is_initial = True
        self.step()
        self._is_initial = False

    def _next(self, base: float, lr: float) -> float:
        """The rate at `last_epoch`, from that of the epoch before. `_is_initial` in the first step."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """The rates of the groups at `last_epoch`, for `step()` to ask for."""
        if not self._get_lr_called_within_step:
            warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.")
        return self._rates()

    def _rates(self) -> list[float]:
        return [self._next(base, group["lr"]) for base, group in self._pairs()]

    def _pairs(self) -> list[tuple[float, dict[str, Any]]]:
        return list(zip(self.base_lrs, self.optimizer.param_groups))

    def get_last_lr(self) -> list[float]:
        """The rates that the last step has set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """On to the next epoch, or to one that is named."""
        if self._step_count == 1 and self.optimizer._steps == self._seen:
            warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and "
                "later, you should call them in the opposite order: `optimizer.step()` before "
                "`lr_scheduler.step()`.  Failure to do this will result in PyTorch skipping the first value "
                "of the learning rate schedule. See more details at "
                "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
            )
        self._step_count += 1
        if epoch is not None:
            warn(EPOCH_GIVEN)
        self._go_to(epoch)

    def _go_to(self, epoch: int | None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed: Callable[[float], float] | None = getattr(self, "_closed", None)
        if epoch is None or closed is None:
            self._set_next()
        else:
            self._set([closed(base) for base in self.base_lrs])

    def _set_next(self) -> None:
        self._get_lr_called_within_step = True
        try:
            self._set(self.get_lr())
        finally:
            self._get_lr_called_within_step = False

    def _set(self, rates: Sequence[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name not in ("optimizer", "_seen")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


# ---- by functions of the user's ----------------------------------------------------------------------------

Factor = Callable[[int], float]


class _ByFunction(LRScheduler):
    """`lr_lambda`: one function of the epoch for all groups, or one for each."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        count = len(optimizer.param_groups)
        given: Any = lr_lambda
        self.lr_lambdas: list[Factor] = list(given) if isinstance(given, list | tuple) else [given] * count
        if len(self.lr_lambdas) != count:
            raise ArgumentError(mirrored(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}"))
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Functions are not saved."""
        return {**super().state_dict(), "lr_lambdas": [None] * len(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})


class LambdaLR(_ByFunction):
    """The first rate times a function of the epoch."""

    def _rates(self) -> list[float]:
        return [base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas)]


class MultiplicativeLR(_ByFunction):
    """The last rate times a function of the epoch."""

    def _rates(self) -> list[float]:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.last_epoch <= 0:
            return rates
        return [rate * factor(self.last_epoch) for rate, factor in zip(rates, self.lr_lambdas)]


# ---- by steps ----------------------------------------------------------------------------------------------


class StepLR(LRScheduler):
    """Times `gamma` every `step_size` epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr

    def _closed(self, base: float) -> float:
        return float(base * self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the milestones."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        return float(lr * self.gamma ** self.milestones[self.last_epoch])

    def _closed(self, base: float) -> float:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return float(base * self.gamma**passed)


class ExponentialLR(LRScheduler):
    """Times `gamma` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        return lr if self.last_epoch == 0 else lr * self.gamma

    def _closed(self, base: float) -> float:
        return float(base * self.gamma**self.last_epoch)


class ConstantLR(LRScheduler):
    """Times `factor`, for `total_iters` epochs."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise ArgumentError(mirrored("Constant multiplicative factor expected to be between 0 and 1."))
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr * (1.0 / self.factor) if self.last_epoch == self.total_iters else lr

    def _closed(self, base: float) -> float:
        return base if self.last_epoch >= self.total_iters else base * self.factor


# ---- along a line or a wave --------------------------------------------------------------------------------


class LinearLR(LRScheduler):
    """Times a factor that goes from `start_factor` to `end_factor` in `total_iters` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1.0:
            raise ArgumentError(
                mirrored(
                    "Starting multiplicative factor expected to be greater than 0 and less or equal to 1."
                )
            )
        if not 0 <= end_factor <= 1.0:
            raise ArgumentError(mirrored("Ending multiplicative factor expected to be between 0 and 1."))
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        return lr * (1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def _closed(self, base: float) -> float:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class PolynomialLR(LRScheduler):
    """Times (1 - epoch / total_iters) to a power."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        if self._is_initial or self.last_epoch > self.total_iters:
            return lr
        left = self.total_iters - self.last_epoch
        return float(lr * (left / (left + 1)) ** self.power)

    def _closed(self, base: float) -> float:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return float(base * left**self.power)


class CosineAnnealingLR(LRScheduler):
    """Down to `eta_min` along half a wave of `T_max` epochs, and up again (Loshchilov and Hutter, 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        if self._is_initial:
            return lr if self.last_epoch == 0 else self._closed(base)
        if (self.last_epoch - 1 - self.T_max) % (
            2 * self.T_max
        ) == 0:  # from the lowest point, where lr says nothing
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        height, before = (
            1 + math.cos(math.pi * k / self.T_max) for k in (self.last_epoch, self.last_epoch - 1)
        )
        return height / before * (lr - self.eta_min) + self.eta_min

    def _closed(self, base: float) -> float:
        return (
            self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        )


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down along half a wave again and again: of `T_0` epochs, then of `T_mult` times as many."""

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 <= 0:
            raise ArgumentError(mirrored(f"Expected positive integer T_0, but got {T_0}"))
        if T_mult < 1:
            raise ArgumentError(mirrored(f"Expected integer T_mult >= 1, but got {T_mult}"))
        self.T_0, self.T_i, self.T_mult = T_0, T_0, T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _next(self, base: float, lr: float) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2

    def step(self, epoch: float | None = None) -> None:
        """On to the next epoch, or to one that is named, which need not be whole."""
        if epoch is None and self.last_epoch >= 0:
            epoch, self.T_cur = self.last_epoch + 1, self.T_cur + 1
            if self.T_cur >= self.T_i:
                self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            self._restart(epoch)
        self.last_epoch = math.floor(epoch)
        self._set_next()

    def _restart(self, epoch: float) -> None:
        """The wave that this epoch is in, and how far."""
        if epoch < 0:
            raise ArgumentError(mirrored(f"Expected non-negative epoch, but got {epoch}"))
        self.T_i, self.T_cur = self.T_0, epoch
        if epoch >= self.T_0 and self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        elif epoch >= self.T_0:
            wave = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**wave - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**wave
