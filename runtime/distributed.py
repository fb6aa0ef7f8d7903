"""`distributed`, for programs that ask whether they are one of several processes, as with a PyTorch that was
built without it: they are not.
"""

from __future__ import annotations

__all__ = ["is_available", "is_initialized"]


def is_available() -> bool:
    """Whether several processes can work together: no."""
    return False


def is_initialized() -> bool:
    """Whether they do: no."""
    return False
