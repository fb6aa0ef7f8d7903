"""Unpooling: what max-pooling with `return_indices` gave, back at its places. One class for each number of
axes in space.
"""

from __future__ import annotations

from typing import Any

from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor


class _MaxUnpool(Module):
    """`kernel_size`, `stride` and `padding` are those of the pooling."""

    rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = self._each(kernel_size)
        self.stride = self._each(kernel_size if stride is None else stride)
        self.padding = self._each(padding)

    def _each(self, given: Any) -> tuple[int, ...]:
        return tuple(given) if isinstance(given, tuple | list) else (given,) * self.rank

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        unpool = getattr(F, f"max_unpool{self.rank}d")
        found: Tensor = unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return found

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    rank = 1


class MaxUnpool2d(_MaxUnpool):
    rank = 2


class MaxUnpool3d(_MaxUnpool):
    rank = 3
