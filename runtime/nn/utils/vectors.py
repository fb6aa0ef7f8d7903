"""Many parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements, one parameter after the other."""
    vector: Tensor = FUNCTIONS["cat"]([parameter.reshape(-1) for parameter in parameters])
    return vector


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the elements of a vector, sharing its memory."""
    if not isinstance(vec, Tensor):
        raise ArgumentError(mirrored(f"expected torch.Tensor, but got: {type(vec).__name__}"))
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec[start:end].reshape(parameter.shape).data
        start = end
