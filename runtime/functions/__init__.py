"""The functions of the public namespace, and Tensor's methods: everything that is not elementwise.

`public` is how a function becomes public; the other files hold the functions by kind. Importing this package
enters them all. To add a file, name it here.
"""

from retrograd.runtime import arithmetic, conversion
from retrograd.runtime.functions import (
    activation,
    arranging,
    creation,
    einsum,
    gathering,
    indexing,
    inspecting,
    joining,
    layer,
    linear,
    loss,
    reduction,
    sampling,
    selecting,
    shaping,
    sorting,
    statistics,
    windowing,
)
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS

__all__ = [
    "FUNCTIONAL",
    "FUNCTIONS",
    "activation",
    "arithmetic",
    "arranging",
    "conversion",
    "creation",
    "einsum",
    "gathering",
    "indexing",
    "inspecting",
    "joining",
    "layer",
    "linear",
    "loss",
    "reduction",
    "sampling",
    "selecting",
    "shaping",
    "sorting",
    "statistics",
    "windowing",
]
