"""Steps for matrices: Adafactor, which remembers the squared gradients of rows and of columns alone, and
Muon, whose steps are made nearly orthogonal.

Their steps depend on the rank of a parameter and on norms of it, so they are Tensor operations one by one
rather than one formula for all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.optim.optimizer import Group, Optimizer, check_options, scalar
from retrograd.runtime.tensor import Tensor


class Adafactor(Optimizer):
    """Steps over the root of the running mean of squared gradients, which for a matrix is the product of that
    of its rows and that of its columns (Shazeer and Stern, arXiv 1804.04235), and no longer than a threshold.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Learning rate should be >= 0 but is: {lr}"),
            decay=(beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}"),
            eps1=(eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}"),
            eps2=(eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}"),
            d=(d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}"),
            weight_decay=(weight_decay >= 0.0, f"weight_decay should be >= 0 but is: {weight_decay}"),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def _update(self) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._move(group, param, -param.grad if group["maximize"] else param.grad)

    def _move(self, group: Group, x: Tensor, g: Tensor) -> None:
        state = self.state[x]
        if "step" not in state:
            state["step"] = scalar(0, group)
        state["step"] += 1
        step, lr = state["step"].item(), float(group["lr"])
        share, (small, least) = step ** group["beta2_decay"], group["eps"]
        if small is None:
            small = dtypes.limits(x.dtype).eps
        size = math.sqrt(x.numel())
        rate = max(least, x.norm().item() / size) * min(lr, 1 / math.sqrt(step))
        if group["weight_decay"]:
            x *= 1 - lr * group["weight_decay"]
        squares = _squares(state, g, share, float(small))
        move = squares.clamp(min=float(small) ** 2).rsqrt() * g
        x -= move * (rate / max(1.0, move.norm().item() / (size * group["d"])))


def _squares(state: dict[str, Any], g: Tensor, share: float, small: float) -> Tensor:
    """The running mean of squared gradients, or an estimate by those of rows and of columns."""
    if g.ndim < 2:
        return _mixed(state, "variance", g * g, share)
    row = _mixed(state, "row_var", (g * g).mean(-1, True), share)
    column = _mixed(state, "col_var", (g * g).mean(-2, True), share)
    estimate: Tensor = row @ column / row.mean(-2, True).clamp(min=small)
    return estimate


def _mixed(state: dict[str, Any], name: str, value: Tensor, share: float) -> Tensor:
    """What is remembered under a name, gone this share of the way from 0, or from what it was, to a value."""
    state[name] = state[name].lerp(value, share) if name in state else value * share
    return state[name]  # type: ignore[no-any-return]  # of Tensors, a Tensor


class Muon(Optimizer):
    """Momentum, made nearly orthogonal by steps of Newton and Schulz's iteration in bfloat16 (Jordan et al.,
    "Muon: an optimizer for hidden layers in neural networks", 2024). For matrices alone.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_options(
            lr=(lr >= 0.0, f"Learning rate should be >= 0 but is: {lr}"),
            momentum=(momentum >= 0.0, f"momentum should be >= 0 but is: {momentum}"),
            weight_decay=(weight_decay >= 0.0, f"weight decay should be >= 0 but is: {weight_decay}"),
            adjust=(
                adjust_lr_fn in (None, *_RATES),
                f"Adjust learning rate function {adjust_lr_fn} is not supported",
            ),
        )
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for param in (param for group in self.param_groups for param in group["params"]):
            if param.ndim != 2:
                raise ArgumentError(
                    mirrored(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{param.size()}"
                    )
                )

    def _update(self) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._move(group, param, param.grad)

    def _move(self, group: Group, x: Tensor, g: Tensor) -> None:
        state, momentum, lr = self.state[x], group["momentum"], float(group["lr"])
        mean = _mixed(state, "momentum_buffer", g, 1 - momentum)
        move = orthogonal(
            g.lerp(mean, momentum) if group["nesterov"] else mean,
            group["ns_coefficients"],
            group["ns_steps"],
            group["eps"],
        )
        rate = lr * _RATES[group["adjust_lr_fn"] or "original"](*x.shape)
        x *= 1 - lr * group["weight_decay"]
        x -= move.to(x.dtype) * rate


_RATES = {
    "original": lambda m, n: math.sqrt(max(1, m / n)),
    "match_rms_adamw": lambda m, n: 0.2 * math.sqrt(max(m, n)),
}
"""By what the learning rate of a matrix `[m, n]` is multiplied."""


def orthogonal(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """A matrix with the singular vectors of `x` and singular values near 1, in bfloat16: x ← a·x + (b·s +
    c·s²)·x with s = x·xᵀ, again and again."""
    if steps >= 100:
        raise ArgumentError(mirrored("Number of steps must be less than 100 for computational efficiency"))
    if len(coefficients) != 3:
        raise ArgumentError(mirrored("Coefficients must be a tuple of exactly 3 values"))
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    found: Tensor = x.bfloat16()
    found = found.mT if tall else found
    found = (found / found.norm().clamp(min=eps)).float()
    for _ in range(steps):
        square = _rounded(found @ found.mT)
        factor = _rounded(b * square + c * (square @ square))
        found = _rounded(a * found + factor @ found)
    return found.mT if tall else found


def _rounded(x: Tensor) -> Tensor:
    """To bfloat16, once, as it is computed in float32."""
    rounded: Tensor = x.bfloat16().float()
    return rounded
