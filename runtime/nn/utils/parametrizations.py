"""Parametrizations that are ready to use, as PyTorch's `torch.nn.utils.parametrizations`.

In flow a module and the name of its weight; out flows the module, which computes it. A new one is a module
with `forward` and `right_inverse`, and a function that registers it.
"""

from __future__ import annotations

from typing import Any

from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.utils.parametrize import register_parametrization
from retrograd.runtime.tensor import Tensor

__all__ = ["weight_norm"]


class _WeightNorm(Module):
    """A direction and a length: `g · v / ‖v‖`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        found: Tensor = weight_v * (weight_g / _norm(weight_v, self.dim))
        return found

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return _norm(weight, self.dim), weight


def _norm(x: Any, dim: int) -> Any:
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
