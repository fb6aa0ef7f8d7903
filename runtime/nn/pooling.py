"""Pooling: the greatest or the mean of each window. One class for each number of axes in space."""

from __future__ import annotations

from typing import Any

from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.arguments import arguments
from retrograd.runtime.nn.convolution import sized
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor

_MAX = (
    "kernel_size={0.kernel_size}, stride={0.stride}, padding={0.padding}, dilation={0.dilation}, "
    "ceil_mode={0.ceil_mode}"
)
_AVG = "kernel_size={0.kernel_size}, stride={0.stride}, padding={0.padding}"
_ADAPTIVE = "output_size={0.output_size}"


class _Windowed(Module):
    """Windows touch, if no stride is given."""

    kernel_size: Any
    stride: Any

    def _check(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size


class _MaxPool(_Windowed):
    padding: Any
    dilation: Any
    return_indices: bool
    ceil_mode: bool

    def _pool(self, pool: Any, input: Tensor) -> Any:
        return pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


@arguments(_MAX)
class MaxPool1d(_MaxPool):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool1d, input)


@arguments(_MAX)
class MaxPool2d(_MaxPool):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool2d, input)


@arguments(_MAX)
class MaxPool3d(_MaxPool):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def forward(self, input: Tensor) -> Any:
        return self._pool(F.max_pool3d, input)


@arguments(_AVG)
class AvgPool1d(_Windowed):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def _check(self) -> None:
        """PyTorch shows these as tuples."""
        super()._check()
        self.kernel_size, self.stride = sized(self.kernel_size, 1), sized(self.stride, 1)
        self.padding = sized(self.padding, 1)

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


@arguments(_AVG)
class AvgPool2d(_Windowed):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


@arguments(_AVG)
class AvgPool3d(_Windowed):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


# ---- to a given size ---------------------------------------------------------------------------------------


@arguments(_ADAPTIVE)
class AdaptiveAvgPool1d(Module):
    output_size: Any

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


@arguments(_ADAPTIVE)
class AdaptiveAvgPool2d(Module):
    output_size: Any

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


@arguments(_ADAPTIVE)
class AdaptiveAvgPool3d(Module):
    output_size: Any

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


@arguments(_ADAPTIVE)
class AdaptiveMaxPool1d(Module):
    output_size: Any

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_max_pool1d(input, self.output_size)


@arguments(_ADAPTIVE)
class AdaptiveMaxPool2d(Module):
    output_size: Any

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(input, self.output_size)


@arguments(_ADAPTIVE)
class AdaptiveMaxPool3d(Module):
    output_size: Any

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_max_pool3d(input, self.output_size)
