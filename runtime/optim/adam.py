"""Adam (Kingma and Ba, 2015) and its kin: steps scaled by running means of gradients and of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from retrograd.runtime.optim.optimizer import Group, check_options
from retrograd.runtime.optim.trained import Clock
from retrograd.runtime.optim.update import Formula, Numbers, On, mixed
from retrograd.runtime.tensor import Tensor

Betas = tuple[float, float]


def check_adam(lr: Any, betas: Betas, eps: float, weight_decay: float) -> None:
    """ArgumentError for options out of their ranges."""
    check_options(
        lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
        eps=(eps >= 0.0, f"Invalid epsilon value: {eps}"),
        first=(0.0 <= betas[0] < 1.0, f"Invalid beta parameter at index 0: {betas[0]}"),
        second=(0.0 <= betas[1] < 1.0, f"Invalid beta parameter at index 1: {betas[1]}"),
        weight_decay=(weight_decay >= 0.0, f"Invalid weight_decay value: {weight_decay}"),
    )


class Adam(Formula):
    """x ← x - lr · m̂ / (√v̂ + eps), with running means m of g and v of g², free of their bias towards 0."""

    _slots: ClassVar = {"exp_avg": "", "exp_avg_sq": "", "max_exp_avg_sq": "amsgrad"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        single = not isinstance(lr, Tensor) or lr.numel() == 1
        check_options(lr=(single, "Tensor lr must be 1-element"))
        check_adam(lr, betas, eps, weight_decay)
        alike = any(all(isinstance(beta, kind) for beta in betas[:2]) for kind in (float, Tensor))
        check_options(betas=(alike, "betas must be either both floats or both Tensors"))
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        (step,) = clock
        beta1, beta2 = map(float, group["betas"])
        lr, decay = float(group["lr"]), group["weight_decay"]
        return {
            "rate": lr / (1 - beta1**step),
            "root": (1 - beta2**step) ** 0.5,
            "share": 1 - beta1,
            "beta2": beta2,
            "share2": 1 - beta2,
            "eps": group["eps"],
            "decay": decay,
            "shrunk": 1 - lr * decay,
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        mean, square, *greatest = slots
        if on["maximize"]:
            g = -g
        if on["weight_decay"]:
            if on["decoupled_weight_decay"]:
                x = x * n["shrunk"]
            else:
                g = g + n["decay"] * x
        mean = mixed(mean, g, n["share"])
        square = n["beta2"] * square + n["share2"] * g * g
        greatest = [each.maximum(square) for each in greatest]
        scale = (greatest[0] if greatest else square).sqrt() / n["root"] + n["eps"]
        return x - n["rate"] * (mean / scale), mean, square, *greatest


class AdamW(Adam):
    """Adam with weight decay that is no part of the gradient (Loshchilov and Hutter, 2019)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
