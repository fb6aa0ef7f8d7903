"""Parametrizations that are ready to use, as PyTorch's `torch.nn.utils.parametrizations`.

In flow a module and the name of its weight; out flows the module, which computes it. A new one is a module
with `forward` and `right_inverse`, and a function that registers it. `orthogonal` has a file of its own.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, DimensionError, mirrored
from retrograd.runtime.functions import FUNCTIONAL, FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.utils.orthogonal import orthogonal
from retrograd.runtime.nn.utils.parametrize import register_parametrization
from retrograd.runtime.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    """A direction and a length: `g · v / ‖v‖`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        found: Tensor = weight_v * (weight_g / norm_except(weight_v, self.dim))
        return found

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def norm_except(x: Any, dim: int) -> Any:
    """The norms over all axes but `dim`, or with −1 over all; the axes are kept."""
    if dim == -1:
        return x.norm()
    others = [k for k in range(x.ndim) if k != dim % x.ndim]
    return (x * x).sum(others, keepdim=True).sqrt() if others else x.abs()


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Have the weight's direction and its lengths along `dim` trained apart: `original1` and `original0`. Of
    None, and of −1, there is one length. (Salimans and Kingma, 2016.)
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """The weight, as a matrix whose rows go along `dim`, divided by its largest singular value.

    That is `uᵀ·W·v` of the first singular vectors, which the power method approaches: some steps whenever the
    weight is computed in training.
    """

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise DimensionError(
                mirrored(
                    f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})"
                )
            )
        if n_power_iterations <= 0:
            raise ArgumentError(
                mirrored(
                    "Expected n_power_iterations to be positive, but got "
                    f"n_power_iterations={n_power_iterations}"
                )
            )
        self.dim, self.eps = dim % ndim, eps
        self.n_power_iterations = n_power_iterations
        if ndim > 1:
            matrix = self._matrix(weight.detach())
            for name, size in zip(("_u", "_v"), matrix.shape):
                start = matrix.new_empty(size).normal_()
                self.register_buffer(name, FUNCTIONAL["normalize"](start, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Any:
        moved: Any = FUNCTIONS["movedim"](weight, self.dim, 0)
        return moved.flatten(1)

    def _iterate(self, matrix: Any, steps: int) -> None:
        """Steps of the power method."""
        normalize = FUNCTIONAL["normalize"]
        with no_grad():
            for _ in range(steps):
                self._u.copy_(normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(normalize(matrix.t().mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        found: Any
        if weight.ndim == 1:
            found = FUNCTIONAL["normalize"](weight, dim=0, eps=self.eps)
            return found  # type: ignore[no-any-return]  # a Tensor
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next step writes into them
        found = weight / u.dot(matrix.mv(v))
        return found  # type: ignore[no-any-return]  # a Tensor

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Have the weight divided by its largest singular value. Its rows as a matrix go along `dim`, which is 0,
    or 1 for transposed convolutions. (Miyato and others, 2018.)
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(mirrored(f"Module '{module}' has no parameter or buffer with name '{name}'"))
    if dim is None:
        dim = int(isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d))
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
