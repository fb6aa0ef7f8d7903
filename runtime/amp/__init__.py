"""`amp`: parts of a program in half precision, as in `torch.amp`: `autocast`, custom functions in it, and
`GradScaler` for their gradients."""

from retrograd.runtime.amp.autocasting import autocast, custom_bwd, custom_fwd, is_autocast_available
from retrograd.runtime.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
