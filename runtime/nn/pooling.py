"""Pooling: the greatest or the mean of each window. One class for each number of axes in space.

A base class has the arguments and calls `_function`; the classes name theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

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


class _Pool(Module):
    _function: ClassVar[Callable[..., Any]]


class _Windowed(_Pool):
    """Windows touch, if no stride is given."""

    kernel_size: Any
    stride: Any

    def _check(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size


@arguments(_MAX)
class _MaxPool(_Windowed):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False

    def forward(self, input: Tensor) -> Any:
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class MaxPool1d(_MaxPool):
    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    _function = staticmethod(F.max_pool3d)


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
class _AvgPool(_Windowed):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    def forward(self, input: Tensor) -> Any:
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPool):
    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    _function = staticmethod(F.avg_pool3d)


# ---- to a given size ---------------------------------------------------------------------------------------


@arguments(_ADAPTIVE)
class _AdaptiveAvgPool(_Pool):
    output_size: Any

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.output_size)


@arguments(_ADAPTIVE)
class _AdaptiveMaxPool(_Pool):
    output_size: Any
    return_indices: bool = False

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    _function = staticmethod(F.adaptive_avg_pool3d)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    _function = staticmethod(F.adaptive_max_pool3d)
