"""Kin of Adam: Adamax, by the greatest gradient; NAdam, with Nesterov's momentum; RAdam, with a rectified
start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from retrograd.runtime.optim.adam import Betas, check_adam
from retrograd.runtime.optim.optimizer import Group, check_options, scalar
from retrograd.runtime.optim.trained import Clock
from retrograd.runtime.optim.update import Formula, Numbers, On, mixed
from retrograd.runtime.tensor import Tensor


def _decayed(on: On, n: Numbers, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Parameter and gradient, with weight decay in one of them."""
    if on["maximize"]:
        g = -g
    if not on["weight_decay"]:
        return x, g
    return (x * n["shrunk"], g) if on["decoupled_weight_decay"] else (x, g + n["decay"] * x)


class Adamax(Formula):
    """x ← x - lr · m̂ / u, with the decaying maximum u of |g| (Kingma and Ba, 2015)."""

    _slots: ClassVar = {"exp_avg": "", "exp_inf": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_adam(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        (step,) = clock
        beta1, beta2 = group["betas"]
        return {
            "rate": group["lr"] / (1 - beta1**step),
            "share": 1 - beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "decay": group["weight_decay"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        x, g = _decayed({**on, "decoupled_weight_decay": False}, n, x, g)
        mean = mixed(slots[0], g, n["share"])
        greatest: Tensor = (n["beta2"] * slots[1]).maximum(g.abs() + n["eps"])
        return x - n["rate"] * (mean / greatest), mean, greatest


class NAdam(Formula):
    """Adam that looks ahead along its momentum (Dozat, 2016)."""

    _slots: ClassVar = {"exp_avg": "", "exp_avg_sq": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_adam(lr, betas, eps, weight_decay)
        check_options(decay=(momentum_decay >= 0.0, f"Invalid momentum_decay value: {momentum_decay}"))
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _clock(self, group: Group, state: dict[str, Any]) -> Clock:
        """The step, and the product of all momenta so far."""
        (step,) = super()._clock(group, state)
        if "mu_product" not in state:
            state["mu_product"] = scalar(1, group)
        product = state["mu_product"]._value
        product *= _momentum(group, step)
        return step, float(product)

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        step, product = clock
        beta1, beta2 = group["betas"]
        lr, now, then = group["lr"], _momentum(group, step), _momentum(group, step + 1)
        return {
            "by_gradient": lr * (1 - now) / (1 - product),
            "by_mean": lr * then / (1 - product * then),
            "share": 1 - beta1,
            "beta2": beta2,
            "share2": 1 - beta2,
            "correction": 1 - beta2**step,
            "eps": group["eps"],
            "decay": group["weight_decay"],
            "shrunk": 1 - lr * group["weight_decay"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        x, g = _decayed(on, n, x, g)
        mean = mixed(slots[0], g, n["share"])
        square = n["beta2"] * slots[1] + n["share2"] * g * g
        scale = (square / n["correction"]).sqrt() + n["eps"]
        return x - n["by_gradient"] * (g / scale) - n["by_mean"] * (mean / scale), mean, square


def _momentum(group: Group, step: float) -> float:
    """The momentum of a step, which grows from about half of beta1 to it."""
    return float(group["betas"][0] * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"])))


class RAdam(Formula):
    """Adam that is plain momentum until its variance is known well enough (Liu et al., 2020)."""

    _slots: ClassVar = {"exp_avg": "", "exp_avg_sq": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_adam(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        """`plain` and `scaled` are the rates of the two kinds of step; one of them is 0."""
        (step,) = clock
        beta1, beta2 = group["betas"]
        correction = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / correction
        rate = group["lr"] / (1 - beta1**step)
        rectified = 0.0
        if length > 5.0:
            rectified = (
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            ) ** 0.5
        return {
            "plain": 0.0 if length > 5.0 else rate,
            "scaled": rate * rectified * correction**0.5,
            "share": 1 - beta1,
            "beta2": beta2,
            "share2": 1 - beta2,
            "eps": group["eps"],
            "decay": group["weight_decay"],
            "shrunk": 1 - group["lr"] * group["weight_decay"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        x, g = _decayed(on, n, x, g)
        mean = mixed(slots[0], g, n["share"])
        square = n["beta2"] * slots[1] + n["share2"] * g * g
        return x - mean * (n["plain"] + n["scaled"] / (square.sqrt() + n["eps"])), mean, square
