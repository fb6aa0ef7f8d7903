"""`special`: PyTorch's `torch.special`. The functions come from `special.py` and `physics.py` of
`runtime/functions`; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from retrograd.runtime.functions.physics import PHYSICS
from retrograd.runtime.functions.special import SPECIAL

globals().update(SPECIAL | PHYSICS)

__all__ = [*SPECIAL, *PHYSICS]

if TYPE_CHECKING:  # the functions, which are entered by name

    def __getattr__(name: str) -> Callable[..., Any]: ...
