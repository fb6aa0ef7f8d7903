"""The functions of the public namespace, and Tensor's methods: everything that is not elementwise.

`public` is how a function becomes public; the other files hold the functions by kind. Importing this package
enters them all. To add a file, name it here.
"""

from retrograd.runtime.functions import (
    arranging,
    creation,
    einsum,
    gathering,
    indexing,
    inspecting,
    joining,
    linear,
    reduction,
    sampling,
    selecting,
    shaping,
    sorting,
    statistics,
)
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS

__all__ = [
    "FUNCTIONAL",
    "FUNCTIONS",
    "arranging",
    "creation",
    "einsum",
    "gathering",
    "indexing",
    "inspecting",
    "joining",
    "linear",
    "reduction",
    "sampling",
    "selecting",
    "shaping",
    "sorting",
    "statistics",
]
