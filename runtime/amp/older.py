"""What `cuda.amp` and `cpu.amp` have: older names of what `amp` has, for a kind of device. Each warns."""

from __future__ import annotations

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import warn
from retrograd.runtime import amp


def warned(kind: str, name: str, better: str) -> None:
    """Warn of an older name for a kind of device."""
    warn(
        f"`torch.{kind}.amp.{name}(args...)` is deprecated. Please use `torch.amp.{better}` instead.",
        FutureWarning,
    )


def classes(kind: str, usual: DType) -> tuple[type[amp.autocast], type[amp.GradScaler]]:
    """`autocast` to a usual dtype, and `GradScaler`, for a kind of device."""

    class autocast(amp.autocast):
        """`amp.autocast` for this kind of device."""

        def __init__(self, enabled: bool = True, dtype: DType = usual, cache_enabled: bool = True) -> None:
            warned(kind, "autocast", f"autocast('{kind}', args...)")
            super().__init__(kind, dtype, enabled, cache_enabled)

    class GradScaler(amp.GradScaler):
        """`amp.GradScaler` for this kind of device."""

        def __init__(
            self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
            growth_interval: int = 2000, enabled: bool = True,
        ) -> None:  # fmt: skip
            warned(kind, "GradScaler", f"GradScaler('{kind}', args...)")
            super().__init__(kind, init_scale, growth_factor, backoff_factor, growth_interval, enabled)

    for cls in (autocast, GradScaler):
        cls.__qualname__ = cls.__name__
        cls.__module__ = f"retrograd.runtime.amp.{kind}"
    return autocast, GradScaler
