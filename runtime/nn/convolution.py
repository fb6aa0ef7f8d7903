"""Convolutions and transposed ones, of one to three axes in space: `rank`. All else is shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn import init
from retrograd.runtime.nn.arguments import unusual
from retrograd.runtime.nn.linear import empty_parameter
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor

Sizes = int | tuple[int, ...]


def sized(value: Any, rank: int) -> tuple[int, ...]:
    """A size for each axis in space, from one for all or one for each."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * rank


class _Convolution(Module):
    rank: ClassVar[int]
    transposed: ClassVar[bool] = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        output_padding: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: object,
        dtype: object,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = sized(kernel_size, self.rank)
        self.stride = sized(stride, self.rank)
        self.padding = padding if isinstance(padding, str) else sized(padding, self.rank)
        self.dilation = sized(dilation, self.rank)
        self.output_padding = sized(output_padding, self.rank)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check()
        outer, inner = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = empty_parameter(outer, inner // groups, *self.kernel_size, device=device, dtype=dtype)
        self.bias = empty_parameter(out_channels, device=device, dtype=dtype) if bias else None
        self.reset_parameters()

    def _check(self) -> None:
        if self.groups <= 0:
            raise ArgumentError(mirrored("groups must be a positive integer"))
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups != 0:
                raise ArgumentError(mirrored(f"{name} must be divisible by groups"))
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ArgumentError(
                    mirrored(f"Invalid padding string {self.padding!r}, should be one of 'same' and 'valid'")
                )
            if self.padding == "same" and any(step != 1 for step in self.stride):
                raise ArgumentError(mirrored("padding='same' is not supported for strided convolutions"))
        modes = ("zeros",) if self.transposed else ("zeros", "reflect", "replicate", "circular")
        if self.padding_mode not in modes:
            raise ArgumentError(
                mirrored(f"padding_mode must be one of {modes}, but got padding_mode='{self.padding_mode}'")
            )

    def reset_parameters(self) -> None:
        """Uniform values by the number of inputs of an output, as in PyTorch."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            inputs, _ = init.fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(inputs) if inputs > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        usual = {
            "padding": (0,) * len(self.padding),
            "dilation": (1,) * self.rank,
            "output_padding": (0,) * self.rank,
            "groups": 1,
        }
        parts += unusual(self, usual)
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_Convolution):
    """Slides kernels over the input: `[N, in, …]` to `[N, out, …]`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._margins(), mode=self.padding_mode), 0
        convolve = getattr(F, f"conv{self.rank}d")
        result: Tensor = convolve(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )
        return result

    def _margins(self) -> list[int]:
        """How much is added before and after each axis, the last axis first, as `pad` takes it."""
        margins: list[int] = []
        for k in reversed(range(self.rank)):
            if self.padding == "same":
                both = self.dilation[k] * (self.kernel_size[k] - 1)
                margins += [both // 2, both - both // 2]
            else:
                margins += [0, 0] if isinstance(self.padding, str) else [self.padding[k]] * 2
        return margins


class Conv1d(_Conv):
    rank = 1


class Conv2d(_Conv):
    rank = 2


class Conv3d(_Conv):
    rank = 3


class _ConvTranspose(_Convolution):
    """The adjoint of a convolution as a layer: `[N, in, …]` to `[N, out, …]`, larger in space."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: object = None,
    ) -> None:
        if isinstance(padding, str):
            raise ArgumentError(f"{type(self).__name__}(padding={padding!r})", "it takes numbers")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        convolve = getattr(F, f"conv_transpose{self.rank}d")
        result: Tensor = convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
        return result

    def _extra(self, input: Tensor, wanted: Sequence[int]) -> tuple[int, ...]:
        """What must be added on one side to reach this size, of those that a stride makes one."""
        sizes = input.shape[-self.rank :]
        if len(wanted) == input.ndim:
            wanted = wanted[-self.rank :]
        if len(wanted) != self.rank:
            raise ArgumentError(
                mirrored(
                    f"{type(self).__name__}: for {input.ndim}D input, output_size must have {self.rank} or "
                    f"{input.ndim} elements (got {len(wanted)})"
                )
            )
        least = [
            (size - 1) * step - 2 * margin + space * (kernel - 1) + 1
            for size, step, margin, space, kernel in zip(
                sizes, self.stride, sized(self.padding, self.rank), self.dilation, self.kernel_size
            )
        ]
        most = [size + step - 1 for size, step in zip(least, self.stride)]
        if any(not low <= size <= high for low, size, high in zip(least, wanted, most)):
            raise ArgumentError(
                mirrored(
                    f"requested an output size of {wanted}, but valid sizes range from {least} to {most} "
                    f"(for an input of {sizes})"
                )
            )
        return tuple(size - low for size, low in zip(wanted, least))


class ConvTranspose1d(_ConvTranspose):
    rank = 1


class ConvTranspose2d(_ConvTranspose):
    rank = 2


class ConvTranspose3d(_ConvTranspose):
    rank = 3
