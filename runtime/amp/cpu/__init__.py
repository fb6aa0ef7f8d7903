"""`cpu.amp`: older names of what `amp` has, for the CPU, as in `torch.cpu.amp`. Each warns that it is old."""

from __future__ import annotations

from retrograd.compiler.dtypes import DType, bfloat16
from retrograd.compiler.errors import warn
from retrograd.runtime import amp

__all__ = ["GradScaler", "autocast"]


def _older(name: str, better: str) -> None:
    warn(
        f"`torch.cpu.amp.{name}(args...)` is deprecated. Please use `torch.amp.{better}` instead.",
        FutureWarning,
    )


class autocast(amp.autocast):
    """`amp.autocast("cpu")`."""

    def __init__(self, enabled: bool = True, dtype: DType = bfloat16, cache_enabled: bool = True) -> None:
        _older("autocast", "autocast('cpu', args...)")
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """`amp.GradScaler("cpu")`."""

    def __init__(
        self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        _older("GradScaler", "GradScaler('cpu', args...)")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
