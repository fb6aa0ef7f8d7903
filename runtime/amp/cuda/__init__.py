"""`cuda.amp`: older names of what `amp` has, for a GPU, as in `torch.cuda.amp`. Each warns that it is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler.dtypes import DType, float16
from retrograd.runtime import amp, cuda
from retrograd.runtime.amp.older import classes, warned

__all__ = ["GradScaler", "amp_definitely_not_available", "autocast", "custom_bwd", "custom_fwd"]

autocast, GradScaler = classes("cuda", float16)


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, cast_inputs: DType | None = None
) -> Callable[..., Any]:
    """`amp.custom_fwd(device_type="cuda")`."""
    warned("cuda", "custom_fwd", "custom_fwd(args..., device_type='cuda')")
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Callable[..., Any]:
    """`amp.custom_bwd(device_type="cuda")`."""
    warned("cuda", "custom_bwd", "custom_bwd(args..., device_type='cuda')")
    return amp.custom_bwd(bwd, device_type="cuda")


def amp_definitely_not_available() -> bool:
    """Whether there is no GPU to be used."""
    return not cuda.is_available()
