"""Fractional max pooling: `functional.fractional_max_pool2d` and `3d` as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.convolution import sized
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor


class _FractionalMaxPool(Module):
    _rank: ClassVar[int]
    _function: ClassVar[Callable[..., Any]]

    def __init__(
        self, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name, rank = type(self).__name__, self._rank
        if output_size is None and output_ratio is None:
            raise ArgumentError(
                mirrored(f"{name} requires specifying either an output size, or a pooling ratio")
            )
        if output_size is not None and output_ratio is not None:
            raise ArgumentError(mirrored("only one of output_size and output_ratio may be specified"))
        self.kernel_size, self.return_indices = sized(kernel_size, rank), return_indices
        self.output_size = None if output_size is None else sized(output_size, rank)
        shares = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * rank
        self.output_ratio = None if output_ratio is None else tuple(shares)
        self.register_buffer("_random_samples", _random_samples)
        if self.output_ratio is not None and not all(0 < share < 1 for share in self.output_ratio):
            raise ArgumentError(mirrored(f"output_ratio must be between 0 and 1 (got {output_ratio})"))

    def forward(self, input: Tensor) -> Any:
        return self._function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    _rank = 2
    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    _rank = 3
    _function = staticmethod(F.fractional_max_pool3d)
