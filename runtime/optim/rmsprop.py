"""RMSprop (Hinton, 2012): steps scaled by a running mean of squared gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from retrograd.runtime.optim.optimizer import Group, check_options
from retrograd.runtime.optim.trained import Clock
from retrograd.runtime.optim.update import Formula, Numbers, On, mixed
from retrograd.runtime.tensor import Tensor


class RMSprop(Formula):
    """x ← x - lr · g / (√v + eps), with a running mean v of g²; `centered`: of its variance."""

    _slots: ClassVar = {"square_avg": "", "momentum_buffer": "momentum", "grad_avg": "centered"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
            eps=(eps >= 0.0, f"Invalid epsilon value: {eps}"),
            momentum=(momentum >= 0.0, f"Invalid momentum value: {momentum}"),
            weight_decay=(weight_decay >= 0.0, f"Invalid weight_decay value: {weight_decay}"),
            alpha=(alpha >= 0.0, f"Invalid alpha value: {alpha}"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        return {
            "lr": group["lr"],
            "alpha": group["alpha"],
            "share": 1 - group["alpha"],
            "eps": group["eps"],
            "decay": group["weight_decay"],
            "momentum": group["momentum"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        square, *others = slots
        if on["maximize"]:
            g = -g
        if on["weight_decay"]:
            g = g + n["decay"] * x
        square = n["alpha"] * square + n["share"] * g * g
        new = [square]
        variance = square
        if on["centered"]:
            mean = mixed(others[-1], g, n["share"])
            variance = square - mean * mean
        step = g / (variance.sqrt() + n["eps"])
        if on["momentum"]:
            step = n["momentum"] * others[0] + step
            new.append(step)
        if on["centered"]:
            new.append(mean)
        return x - n["lr"] * step, *new
