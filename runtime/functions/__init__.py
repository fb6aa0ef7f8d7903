"""The functions of the public namespace, and Tensor's methods: everything that is not elementwise.

`public` is how a function becomes public; the other files hold the functions by kind. Importing this package
enters them all. To add a file, name it here.
"""

from retrograd.runtime.eager import conversion
from retrograd.runtime.functions import (
    activation,
    arithmetic,
    arranging,
    combining,
    creation,
    einsum,
    factoring,
    gathering,
    indexing,
    inspecting,
    joining,
    layer,
    linear,
    loss,
    reduction,
    resampling,
    sampling,
    selecting,
    shaping,
    solving,
    sorting,
    statistics,
    tapers,
    windowing,
)
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS, LINALG

__all__ = [
    "FUNCTIONAL",
    "FUNCTIONS",
    "LINALG",
    "activation",
    "arithmetic",
    "arranging",
    "combining",
    "conversion",
    "creation",
    "einsum",
    "factoring",
    "gathering",
    "indexing",
    "inspecting",
    "joining",
    "layer",
    "linear",
    "loss",
    "reduction",
    "resampling",
    "sampling",
    "selecting",
    "shaping",
    "solving",
    "sorting",
    "statistics",
    "tapers",
    "windowing",
]
