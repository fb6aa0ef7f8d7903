"""`backends.cudnn`: there is no cuDNN here, and every run gives the same results, whatever is set."""

from __future__ import annotations

enabled = allow_tf32 = True
deterministic = benchmark = False


def is_available() -> bool:
    return False


def version() -> None:
    """PyTorch's answer where there is none."""
