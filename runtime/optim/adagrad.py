"""Steps scaled by all squared gradients so far: Adagrad, and Adadelta, which forgets them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from retrograd.runtime.optim.optimizer import Group, check_options, scalar
from retrograd.runtime.optim.trained import Clock
from retrograd.runtime.optim.update import Formula, Numbers, On, by_parts
from retrograd.runtime.tensor import Tensor


class Adagrad(Formula):
    """x ← x - lr · g / (√s + eps), with the sum s of all g² (Duchi et al., 2011)."""

    _slots: ClassVar = {"sum": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
            lr_decay=(lr_decay >= 0.0, f"Invalid lr_decay value: {lr_decay}"),
            weight_decay=(weight_decay >= 0.0, f"Invalid weight_decay value: {weight_decay}"),
            start=(
                initial_accumulator_value >= 0.0,
                f"Invalid initial_accumulator_value value: {initial_accumulator_value}",
            ),
            eps=(eps >= 0.0, f"Invalid epsilon value: {eps}"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param] = {
                    "step": scalar(0, group),
                    "sum": self._first("sum", group, param),
                }

    def _first(self, name: str, group: Group, param: Tensor) -> Tensor:
        start: Tensor = super()._first(name, group, param)
        by_parts(start).fill_(group["initial_accumulator_value"])
        return start

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        (step,) = clock
        return {
            "rate": group["lr"] / (1 + (step - 1) * group["lr_decay"]),
            "eps": group["eps"],
            "decay": group["weight_decay"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        if on["maximize"]:
            g = -g
        if on["weight_decay"]:
            g = g + n["decay"] * x
        total = slots[0] + g * g
        return x - n["rate"] * (g / (total.sqrt() + n["eps"])), total


class Adadelta(Formula):
    """Steps by the ratio of the running means of squared steps and of g² (Zeiler, 2012)."""

    _slots: ClassVar = {"square_avg": "", "acc_delta": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
            rho=(0.0 <= rho <= 1.0, f"Invalid rho value: {rho}"),
            eps=(eps >= 0.0, f"Invalid epsilon value: {eps}"),
            weight_decay=(weight_decay >= 0.0, f"Invalid weight_decay value: {weight_decay}"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        return {
            "lr": group["lr"],
            "rho": group["rho"],
            "share": 1 - group["rho"],
            "eps": group["eps"],
            "decay": group["weight_decay"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        square, moved = slots
        if on["maximize"]:
            g = -g
        if on["weight_decay"]:
            g = g + n["decay"] * x
        square = n["rho"] * square + n["share"] * g * g
        step = (moved + n["eps"]).sqrt() / (square + n["eps"]).sqrt() * g
        return x - n["lr"] * step, square, n["rho"] * moved + n["share"] * step * step
