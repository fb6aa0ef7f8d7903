"""`signal`: what `torch.signal` has, the windows of `signal.windows`."""

from retrograd.runtime.signal import windows

__all__ = ["windows"]
