"""Learning rates by other things than a formula of the epoch: by a metric, by phases, by other schedulers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypedDict

from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.runtime.optim.optimizer import Group, Optimizer
from retrograd.runtime.optim.rates import EPOCH_GIVEN, LRScheduler


class ReduceLROnPlateau(LRScheduler):
    """Times `factor`, when a metric has been no better for more than `patience` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ArgumentError(mirrored("Factor should be < 1.0."))
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(mirrored(f"{type(optimizer).__name__} is not an Optimizer"))
        if mode not in ("min", "max"):
            raise ArgumentError(mirrored(f"mode {mode} is unknown!"))
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(mirrored(f"threshold mode {threshold_mode} is unknown!"))
        self.factor, self.optimizer = factor, optimizer
        count, several = len(optimizer.param_groups), isinstance(min_lr, list | tuple)
        if isinstance(min_lr, list | tuple) and len(min_lr) != count:
            raise ArgumentError(mirrored(f"expected {count} min_lrs, got {len(min_lr)}"))
        self.default_min_lr = None if several else min_lr
        self.min_lrs = for_groups("min_lr", optimizer, min_lr)
        self.patience, self.cooldown, self.eps = patience, cooldown, eps
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.best = self.mode_worse
        self.cooldown_counter = self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]  # it follows a metric
        """Look at the metric of this epoch."""
        current = float(metrics)
        if epoch is not None:
            warn(EPOCH_GIVEN)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, current: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        margin = sign * self.threshold
        bound = self.best + margin if self.threshold_mode == "abs" else self.best * (1 + margin)
        return sign * current > sign * bound

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs):
            new = max(float(group["lr"]) * self.factor, least)
            if float(group["lr"]) - new > self.eps:
                group["lr"] = new


def for_groups(name: str, optimizer: Optimizer, given: Any) -> list[float]:
    """One value for each group."""
    count = len(optimizer.param_groups)
    values = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(values) != count:
        lengths = f"{name} has {len(values)} values, param_groups has {count}."
        raise ArgumentError(
            mirrored(f"{name} must have the same length as optimizer.param_groups. {lengths}")
        )
    return values


# ---- in phases ---------------------------------------------------------------------------------------------


class _Phase(TypedDict):
    """Until when, and from what to what: names of options of a group."""

    end_step: float
    start_lr: str
    end_lr: str
    start_momentum: str
    end_momentum: str


def set_momentum(group: Group, momentum: float) -> None:
    """The momentum of a group, which in Adam and its kin is the first of `betas`."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def has_first_beta(optimizer: Optimizer) -> bool:
    """Whether that is its momentum; ArgumentError if it has none."""
    found = "betas" in optimizer.defaults
    if not found and "momentum" not in optimizer.defaults:
        raise ArgumentError(
            mirrored("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        )
    return found


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down to almost nothing, in `total_steps`; momentum the other way (Smith, 2018)."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(mirrored(f"{type(optimizer).__name__} is not an Optimizer"))
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ArgumentError(mirrored(f"Expected float between 0 and 1 pct_start, but got {pct_start}"))
        if anneal_strategy not in _ANNEAL:
            raise ArgumentError(
                mirrored(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
            )
        self._schedule_phases = _phases(pct_start * self.total_steps, self.total_steps - 1, three_phase)
        self._anneal_func_type = anneal_strategy
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = has_first_beta(optimizer)
        if last_epoch == -1:
            names = ("max_lr", "max_momentum", "base_momentum")
            options = (max_lr, max_momentum, base_momentum)
            values = [for_groups(name, optimizer, given) for name, given in zip(names, options)]
            for group, rate, most, least in zip(optimizer.param_groups, *values):
                group.update(initial_lr=rate / div_factor, max_lr=rate)
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    set_momentum(group, most)
                    group.update(max_momentum=most, base_momentum=least)
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[float]:
        """The rates at this step; the momenta are set."""
        if self.last_epoch > self.total_steps:
            raise ArgumentError(
                mirrored(
                    f"Tried to step {self.last_epoch} times. The specified number of total steps is "
                    f"{self.total_steps}"
                )
            )
        start = 0.0
        for phase in self._schedule_phases:
            if self.last_epoch <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        share = (self.last_epoch - start) / (phase["end_step"] - start)
        anneal = _ANNEAL[self._anneal_func_type]
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                momenta = group[phase["start_momentum"]], group[phase["end_momentum"]]
                set_momentum(group, anneal(*momenta, share))
        return rates


class CyclicLR(LRScheduler):
    """Up from `base_lr` to `max_lr` and down again, over and over; momentum the other way (Smith, 2015)."""

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(mirrored(f"{type(optimizer).__name__} is not an Optimizer"))
        if mode not in _CYCLES and scale_fn is None:
            raise ArgumentError(mirrored("mode is invalid and scale_fn is None"))
        down = step_size_up if step_size_down is None else step_size_down
        self.max_lrs = for_groups("max_lr", optimizer, max_lr)
        self.total_size, self.step_ratio = float(step_size_up + down), step_size_up / (step_size_up + down)
        self.mode, self.gamma = mode, gamma
        self.scale_mode = _CYCLES[mode][1] if scale_fn is None else scale_mode
        self._scale_fn_custom = scale_fn
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = has_first_beta(optimizer)
            self.base_momentums = for_groups("base_momentum", optimizer, base_momentum)
            self.max_momentums = for_groups("max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for k, rate in enumerate(for_groups("base_lr", optimizer, base_lr)):
                group = optimizer.param_groups[k]
                group["lr"] = rate
                if cycle_momentum:
                    most, least = self.max_momentums[k], self.base_momentums[k]
                    set_momentum(group, most)
                    group.update(max_momentum=most, base_momentum=least)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = for_groups("base_lr", optimizer, base_lr)

    def _rates(self) -> list[float]:
        """The rates at this step; the momenta are set."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        height = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        scale = self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums)
            for group, least, most in momenta:
                set_momentum(group, most - (most - least) * height * scale)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs)]

    def _scale(self, at: float) -> float:
        """How high the cycle goes."""
        custom = self._scale_fn_custom
        return _CYCLES[self.mode][0](at, self.gamma) if custom is None else custom(at)

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser. Of a `scale_fn` its attributes, if it is no function."""
        state = super().state_dict()
        custom = state.pop("_scale_fn_custom")
        plain = custom is None or isinstance(custom, FunctionType)
        return {**state, "_scale_fn_custom": None if plain else dict(vars(custom))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, with the `scale_fn` that this one was made with."""
        state = dict(state_dict)
        attributes = state.pop("_scale_fn_custom")
        super().load_state_dict(state)
        if attributes is not None:
            vars(self._scale_fn_custom).update(attributes)


_CYCLES: dict[str, tuple[Callable[[float, float], float], str]] = {
    "triangular": (lambda at, gamma: 1.0, "cycle"),
    "triangular2": (lambda at, gamma: 1 / 2.0 ** (at - 1), "cycle"),
    "exp_range": (lambda at, gamma: gamma**at, "iterations"),
}
"""How high a cycle goes, by its number or by the step's."""


def _linear(start: float, end: float, share: float) -> float:
    return (end - start) * share + start


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


_ANNEAL: dict[str, Callable[..., float]] = {"cos": _cosine, "linear": _linear}


def _phases(up: float, last: float, three: bool) -> list[_Phase]:
    """Up, and down; or up, as much down, and then to the least."""
    rise = _phase(up - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three:
        return [rise, _phase(last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    return [
        rise,
        _phase(2 * up - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
        _phase(last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
    ]


def _phase(end: float, *names: str) -> _Phase:
    start_lr, end_lr, start_momentum, end_momentum = names
    return {
        "end_step": end,
        "start_lr": start_lr,
        "end_lr": end_lr,
        "start_momentum": start_momentum,
        "end_momentum": end_momentum,
    }


def _total(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ArgumentError(mirrored("You must define either total_steps OR (epochs AND steps_per_epoch)"))
    counts = {"total_steps": total_steps}
    if total_steps is None:
        counts = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    for name, count in counts.items():
        if not isinstance(count, int) or count <= 0:
            raise ArgumentError(mirrored(f"Expected positive integer {name}, but got {count}"))
    return math.prod(count for count in counts.values() if count is not None)


# ---- of other schedulers -----------------------------------------------------------------------------------


class _Several(LRScheduler):
    """Schedulers of one optimiser."""

    def _check(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler], what: str) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ArgumentError(
                mirrored(f"{name} expects at least one scheduler{what}, but got no scheduler.")
            )
        self.optimizer = optimizer or schedulers[0].optimizer
        for k, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ArgumentError(
                    mirrored(
                        f"{name} does not support `ReduceLROnPlateau` scheduler as it requires additional "
                        f"kwargs to be specified when calling `step`, but got one at index {k} in the given "
                        "schedulers sequence."
                    )
                )
            if scheduler.optimizer is not self.optimizer:
                raise ArgumentError(
                    mirrored(
                        f"{name} expects all schedulers to belong to the same optimizer, but got scheduler "
                        f"{type(scheduler).__name__} at index {k} has {scheduler.optimizer}, which is "
                        f"different from {type(self.optimizer).__name__}."
                    )
                )
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(state)


class SequentialLR(_Several):
    """One scheduler after the other; each starts at its milestone, as if at epoch 0."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._check(optimizer, schedulers, "")
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                mirrored(
                    "Sequential Schedulers expects number of schedulers provided to be one more than the "
                    f"number of milestone points, but got number of schedulers {len(schedulers)} and the "
                    f"number of milestones to be equal to {len(milestones)}"
                )
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _take_back(self._schedulers)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._start()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """On to the next epoch of the scheduler whose turn it is."""
        if epoch is not None:
            raise ArgumentError("SequentialLR.step(epoch)", "it only goes on")
        self.last_epoch += 1
        place = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[place]
        if place > 0 and self._milestones[place - 1] == self.last_epoch:
            scheduler._go_to(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _take_back(schedulers: Sequence[LRScheduler]) -> None:
    """The steps that schedulers made when they were made."""
    for scheduler in schedulers:
        if isinstance(scheduler, _Several):
            _take_back(scheduler._schedulers)
        else:
            scheduler.last_epoch -= 1


class ChainedScheduler(_Several):
    """All schedulers at once, each on what the one before it left."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._check(optimizer, schedulers, " to be chained")
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: int | None = None) -> None:
        """On to the next epoch of all."""
        if epoch is not None:
            raise ArgumentError("ChainedScheduler.step(epoch)", "it only goes on")
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
