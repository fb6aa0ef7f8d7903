"""What distributions of users' own are written with, as `torch.distributions.utils`."""

from __future__ import annotations

from math import isqrt

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions.distribution import Number, broadcast, clamped
from retrograd.runtime.distributions.distribution import lazy as lazy_property
from retrograd.runtime.functions import creation
from retrograd.runtime.tensor import Tensor

__all__ = [
    "broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits",
    "tril_matrix_to_vec", "vec_to_tril_matrix",
]  # fmt: skip

clamp_probs = clamped


def broadcast_all(*values: Number) -> tuple[Tensor, ...]:
    """Numbers and Tensors as Tensors of one shape; numbers take the dtype of the first Tensor."""
    if not all(isinstance(value, Tensor | bool | int | float) for value in values):
        words = "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
        raise ArgumentError(mirrored(f"{words}__torch_function__."))
    return tuple(broadcast(*values))


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Logarithms of the probabilities of each of several events, or the log odds of one."""
    kept = clamped(probs)
    return kept.log() - (-kept).log1p() if is_binary else kept.log()


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of each of several events along the last axis, or of one by its log odds."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def _below(size: int, diag: int, like: Tensor) -> Tensor:
    """Which elements of a square lie on a diagonal or below it."""
    places: Tensor = creation.arange(size, device=like.device)
    return places < places.view(-1, 1) + (diag + 1)


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Zeros `[*, D, D]` with the elements of the last axis of `vec` on and below a diagonal, row by row."""
    length, twice = vec.shape[-1], 1 + 2 * diag
    root = isqrt(square := twice**2 + 8 * length + 4 * abs(diag) * (diag + 1))
    if root * root != square or (root - twice) % 2:
        raise ArgumentError(
            mirrored(
                f"The size of last dimension is {length} which cannot be expressed as the lower triangular "
                "part of a square D x D matrix."
            )
        )
    size = (root - twice) // 2
    matrix = vec.new_zeros((*vec.shape[:-1], size, size))
    matrix[..., _below(size, diag, vec)] = vec
    return matrix


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements of `[*, D, D]` on and below a diagonal, row by row, along the last axis."""
    size = mat.shape[-1]
    if not -size <= diag < size:
        raise ArgumentError(mirrored(f"diag ({diag}) provided is outside [{-size}, {size - 1}]."))
    return mat[..., _below(size, diag, mat)]
