"""`nn.functional`: layers, activations and losses as functions.

The names come by `@functional` from the files of `runtime/functions`; nothing is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrograd.runtime.functions import FUNCTIONAL

globals().update(FUNCTIONAL)

if TYPE_CHECKING:  # the functions, which are entered by name

    def __getattr__(name: str) -> Any: ...
