"""`linalg`: inverses, solutions, factorisations and norms of matrices.

The names come by `@linalg` from the files of `runtime/functions`; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from retrograd.compiler.errors import LinearAlgebraError as LinAlgError
from retrograd.runtime.functions import LINALG

globals().update(LINALG)

__all__ = ["LinAlgError", *LINALG]

if TYPE_CHECKING:  # the functions, which are entered by name

    def __getattr__(name: str) -> Callable[..., Any]: ...
