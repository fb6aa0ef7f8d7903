"""Normalisations: mean 0 and variance 1 over a batch, a row, a group of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn import init
from retrograd.runtime.nn.linear import empty_parameter
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor


def _start(module: Any) -> None:
    """Ones and zeros, which change nothing."""
    if module.weight is not None:
        init.ones_(module.weight)
    if getattr(module, "bias", None) is not None:
        init.zeros_(module.bias)


# ---- with statistics of their own --------------------------------------------------------------------------


class _Tracking(Module):
    """Normalises channels, and may keep a running mean and variance, which are used in `eval` mode."""

    _version = 2
    _younger = frozenset({"num_batches_tracked"})
    ranks: ClassVar[tuple[int, ...]]
    """Numbers of axes that an input may have."""
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: object = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = empty_parameter(num_features, device=device, dtype=dtype) if affine else None
        self.bias = empty_parameter(num_features, device=device, dtype=dtype) if affine and bias else None
        for name, value, kind in (
            ("running_mean", 0, dtype),
            ("running_var", 1, dtype),
            ("num_batches_tracked", 0, dtypes.int64),
        ):
            size = (num_features,) if name.startswith("running") else ()
            kind = dtypes.default_dtype() if kind is None else kind
            start = FUNCTIONS["full"](size, value, device=device, dtype=kind) if track_running_stats else None
            self.register_buffer(name, start)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        _start(self)

    def _check_rank(self, input: Tensor) -> None:
        if input.dim() not in self.ranks:
            expected = " or ".join(f"{rank}D" for rank in self.ranks)
            raise ArgumentError(mirrored(f"expected {expected} input (got {input.ndim}D input)"))

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm(_Tracking):
    def forward(self, input: Tensor) -> Tensor:
        self._check_rank(input)
        training, momentum = self.training, self.momentum
        average: Any = 0.0 if momentum is None else momentum
        follow = training and self.track_running_stats
        if follow and (tracked := self.num_batches_tracked) is not None:
            tracked.add_(1)
            if momentum is None:  # the mean over all batches
                average = 1.0 / tracked.to(input.dtype)
        mean, var = self.running_mean, self.running_var
        by_batch = training or mean is None or var is None
        if training and not follow:
            mean = var = None
        return F.batch_norm(input, mean, var, self.weight, self.bias, by_batch, average, self.eps)


class BatchNorm1d(BatchNorm):
    """Of `[N, C]` or `[N, C, L]`."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Of `[N, C, H, W]`."""

    ranks = (4,)


class BatchNorm3d(BatchNorm):
    """Of `[N, C, D, H, W]`."""

    ranks = (5,)


class _InstanceNorm(_Tracking):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: object = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_rank(input)
        batched = input.dim() == self.ranks[-1]
        result = F.instance_norm(
            input if batched else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result if batched else result.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    ranks = (4, 5)


# ---- without -----------------------------------------------------------------------------------------------


class LayerNorm(Module):
    """Over the last axes, whose shape is `normalized_shape`."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        size = self.normalized_shape
        self.weight = empty_parameter(*size, device=device, dtype=dtype) if elementwise_affine else None
        self.bias = (
            empty_parameter(*size, device=device, dtype=dtype) if elementwise_affine and bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _start(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divides by the root of the mean of squares over the last axes."""

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        size = self.normalized_shape
        self.weight = empty_parameter(*size, device=device, dtype=dtype) if elementwise_affine else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Over each group of channels."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: object = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ArgumentError(
                mirrored(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.weight = empty_parameter(num_channels, device=device, dtype=dtype) if affine else None
        self.bias = empty_parameter(num_channels, device=device, dtype=dtype) if affine and bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _start(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


def _as_shape(given: int | Sequence[int]) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)
