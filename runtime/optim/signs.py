"""Steps by the sign of the gradient (Rprop), and by a mean of all parameters so far (ASGD)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from retrograd.compiler import dtypes
from retrograd.runtime.functions.rows import APPLY
from retrograd.runtime.optim.optimizer import Group, check_options, scalar
from retrograd.runtime.optim.trained import Clock
from retrograd.runtime.optim.update import Formula, Numbers, On, by_parts
from retrograd.runtime.tensor import Tensor

where = APPLY["where"]


class Rprop(Formula):
    """Each element has its own step, longer while the gradient keeps its sign (Riedmiller, Braun, 1993)."""

    _slots: ClassVar = {"prev": "", "step_size": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
            etas=(0.0 < etas[0] < 1.0 < etas[1], f"Invalid eta values: {etas[0]}, {etas[1]}"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _first(self, name: str, group: Group, param: Tensor) -> Tensor:
        start: Tensor = super()._first(name, group, param)
        if name != "prev":
            by_parts(start).fill_(float(group["lr"]))
        return start

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        (less, more), (least, most) = group["etas"], group["step_sizes"]
        return {"less": less, "more": more, "least": least, "most": most}

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        if on["maximize"]:
            g = -g
        before, size = slots
        turned = (g * before).sign()
        factor = where(turned > 0, n["more"], where(turned < 0, n["less"], 1.0))
        size = (size * factor).clamp(n["least"], n["most"])
        g = where(turned < 0, 0.0, g)
        return x - g.sign() * size, g, size


class ASGD(Formula):
    """Gradient descent, and the mean `ax` of its parameters from step `t0` on (Polyak and Juditsky, 1992)."""

    _slots: ClassVar = {"ax": ""}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Invalid learning rate: {lr}"),
            weight_decay=(weight_decay >= 0.0, f"Invalid weight_decay value: {weight_decay}"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _clock(self, group: Group, state: dict[str, Any]) -> Clock:
        """The rate and share of this step; the next ones are worked out, as in PyTorch."""
        lr = float(group["lr"])
        for name, first in (("eta", lr), ("mu", 1.0)):
            if name not in state:
                state[name] = scalar(first, group)
        eta, mu = state["eta"]._value, state["mu"]._value
        rate, share = float(eta), float(mu)
        (step,) = super()._clock(group, state)
        rounded = dtypes.default_dtype().numpy.type
        eta[()] = rounded(lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        mu[()] = rounded(1 / max(1.0, step - group["t0"]))
        return rate, share

    def _numbers(self, group: Group, clock: Clock) -> dict[str, float]:
        rate, share = clock
        return {
            "rate": rate,
            "kept": 1 - group["lambd"] * rate,
            "decay": group["weight_decay"],
            "share": share,
        }

    @staticmethod
    def _new(on: On, n: Numbers, x: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        if on["maximize"]:
            g = -g
        if on["weight_decay"]:
            g = g + n["decay"] * x
        x = x * n["kept"] - n["rate"] * g
        (mean,) = slots
        return x, mean + (x - mean) * n["share"]
