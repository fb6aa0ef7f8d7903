"""Padding at the borders, and other movements of an image's elements."""

from __future__ import annotations

from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.arguments import arguments
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor


class _Pad(Module):
    """`padding`: how much before and after each axis, the last axis first, or one number for all."""

    rank: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.rank) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    rank = 1


class ConstantPad2d(_ConstantPad):
    rank = 2


class ConstantPad3d(_ConstantPad):
    rank = 3


class ZeroPad1d(_ZeroPad):
    rank = 1


class ZeroPad2d(_ZeroPad):
    rank = 2


class ZeroPad3d(_ZeroPad):
    rank = 3


class ReflectionPad1d(_Pad):
    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    rank, mode = 3, "replicate"


class _CircularPad(_Pad):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        fewer, more = self.rank + 1, self.rank + 2
        if input.dim() not in (fewer, more):
            raise ArgumentError(mirrored(f"expected {fewer}D or {more}D input (got {input.dim()}D input)"))
        return super().forward(input)


class CircularPad1d(_CircularPad):
    rank = 1


class CircularPad2d(_CircularPad):
    rank = 2


class CircularPad3d(_CircularPad):
    rank = 3


@arguments("upscale_factor={0.upscale_factor}")
class PixelShuffle(Module):
    """Channels to places: `[N, C · r², H, W]` to `[N, C, H · r, W · r]`."""

    upscale_factor: int

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)


@arguments("downscale_factor={0.downscale_factor}")
class PixelUnshuffle(Module):
    """Places to channels: `[N, C, H · r, W · r]` to `[N, C · r², H, W]`."""

    downscale_factor: int

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)


@arguments("kernel_size={0.kernel_size}, dilation={0.dilation}, padding={0.padding}, stride={0.stride}")
class Unfold(Module):
    """The windows of an image as columns."""

    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


@arguments(
    "output_size={0.output_size}, kernel_size={0.kernel_size}, dilation={0.dilation}, padding={0.padding}, "
    "stride={0.stride}"
)
class Fold(Module):
    """Columns laid back as the windows of an image, and summed."""

    output_size: Any
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
