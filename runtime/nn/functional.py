"""`nn.functional`: layers, activations and losses as functions.

The names come by `@functional` from the files of `runtime/functions`; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from retrograd.runtime.functions import FUNCTIONAL
from retrograd.runtime.tensor import Tensor

globals().update(FUNCTIONAL)

if TYPE_CHECKING:  # the functions, which are entered by name

    def __getattr__(name: str) -> Callable[..., Tensor]: ...
