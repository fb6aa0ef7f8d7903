"""`nn.functional`: layers, activations and losses as functions.

The names come by `@functional` from the files of `runtime/functions`; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from retrograd.runtime.functions import FUNCTIONAL, attention, beneath, fractional
from retrograd.runtime.tensor import Tensor

_BELOW = (attention, beneath, fractional)
"""Files whose functions are wanted here and nowhere else: to import them enters them in the table."""

globals().update(FUNCTIONAL)

if TYPE_CHECKING:  # the functions, which are entered by name

    def __getattr__(name: str) -> Callable[..., Tensor]: ...
