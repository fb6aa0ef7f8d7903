"""`cpu.amp`: older names of what `amp` has, for the CPU, as in `torch.cpu.amp`. Each warns that it is old."""

from __future__ import annotations

from retrograd.compiler.dtypes import bfloat16
from retrograd.runtime.amp.older import classes

__all__ = ["GradScaler", "autocast"]

autocast, GradScaler = classes("cpu", bfloat16)
