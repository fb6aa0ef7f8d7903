"""Stochastic gradient descent, with momentum (Polyak) or Nesterov's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.optim.optimizer import Group, check_options
from retrograd.runtime.optim.trained import Clock
from retrograd.runtime.optim.update import Formula, Numbers, On
from retrograd.runtime.tensor import Tensor


class SGD(Formula):
    """x ← x - lr · g, or by a velocity that is `momentum` times the last one plus g."""

    _slots: ClassVar = {"momentum_buffer": "momentum"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
            momentum=(momentum >= 0.0, f"Invalid momentum value: {momentum}"),
            weight_decay=(weight_decay >= 0.0, f"Invalid weight_decay value: {weight_decay}"),
        )
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError(mirrored("Nesterov momentum requires a momentum and zero dampening"))
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _clock(self, group: Group, state: dict[str, Any]) -> Clock:
        """Whether this is the parameter's first step: then there is no velocity yet."""
        return (float(state.get("momentum_buffer") is None),)

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        (first,) = clock
        return {
            "lr": group["lr"],
            "decay": group["weight_decay"],
            "momentum": group["momentum"],
            "kept": 0.0 if first else group["momentum"],
            "share": 1.0 if first else 1 - group["dampening"],
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        if on["maximize"]:
            g = -g
        if on["weight_decay"]:
            g = g + n["decay"] * x
        if not on["momentum"]:
            return (x - n["lr"] * g,)
        velocity = n["kept"] * slots[0] + n["share"] * g
        direction = g + n["momentum"] * velocity if on["nesterov"] else velocity
        return x - n["lr"] * direction, velocity
