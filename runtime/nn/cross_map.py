"""Local response normalisation across channels, as the older `CrossMapLRN2d` of PyTorch computes it."""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor


class CrossMapLRN2d(Module):
    """Each channel of `[N, C, H, W]` over `(k + alpha · s / size) ** beta`, where s is the sum of squares
    over its neighbours (Krizhevsky et al., 2012).

    As in PyTorch the first channel counts as a neighbour of all: it is never taken from the running sum. The
    gradient is that of this function, where PyTorch's is that of sums without it.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4:
            raise ArgumentError(
                mirrored(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
            )
        squares, channels = input * input, input.size(1)
        reach = int((self.size - 1) / 2 + 1)
        sums = []
        for c in range(channels):
            first, end = max(c - reach + 1, 0), min(c + reach, channels)
            total: Any = squares[:, first:end].sum(1)
            sums.append(total + squares[:, 0] if first else total)
        scale = FUNCTIONS["stack"](sums, 1) * (self.alpha / self.size) + self.k
        found: Tensor = input * scale ** (-self.beta)
        return found

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
