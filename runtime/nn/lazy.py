"""Layers that learn their sizes from the first input: `LazyLinear`, `LazyConv2d`, `LazyBatchNorm1d`, …

In flows what a layer needs but the number of features that come in; at the first call, or when a state dict
is loaded, its parameters get their shapes, and values in the order in which the plain layer draws them, and
the layer becomes the plain one. A new one is a class with `cls_to_become` and `initialize_parameters`.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, ClassVar

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, TraceError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.nn import convolution, normalization
from retrograd.runtime.nn.convolution import Sizes
from retrograd.runtime.nn.linear import Linear
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Uninitialized, UninitializedBuffer, UninitializedParameter
from retrograd.runtime.tensor import Tensor


class LazyModuleMixin(Module):
    """What lazy layers share: a hook that runs before the first call."""

    cls_to_become: ClassVar[type[Module] | None] = None
    weight: Any
    bias: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes, by what the layer is called with, and values."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        tensors = chain(self._parameters.values(), self._buffers.values())
        return any(isinstance(x, Uninitialized) for x in tensors)

    def reset_parameters(self) -> None:
        """First values, as soon as there are shapes."""
        if not self.has_uninitialized_params() and self._incoming():
            super().reset_parameters()  # type: ignore[misc]  # the layer's

    def _incoming(self) -> int:
        """How many features come in; 0 while nobody knows."""
        raise NotImplementedError

    def _infer_parameters(self, module: Module, args: Any, kwargs: Any) -> None:
        if STATE.trace is not None and self.has_uninitialized_params():
            raise TraceError(
                f"the first call of a {type(self).__name__} inside a compiled function",
                "its parameters have no shapes yet",
                "call the module once outside",
            )
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            name = type(self).__name__
            raise GradientError(mirrored(f"module {name} has not been fully initialized"))
        self._initialize_hook.remove()
        del self._initialize_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]  # it is one from now on


class LazyLinear(LazyModuleMixin, Linear):
    """A Linear whose `in_features` is the last size of the first input."""

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: object = None, dtype: object = None
    ) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def _incoming(self) -> int:
        return self.in_features

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            with no_grad():
                _materialize(self.weight, self.out_features, self.in_features)
                _materialize(self.bias, self.out_features)
                self.reset_parameters()
        if self.in_features == 0:  # the weight was loaded
            self.in_features = self.weight.shape[-1]


def _materialize(tensor: Any, *sizes: int) -> None:
    if isinstance(tensor, Uninitialized):
        tensor.materialize(sizes)


# ---- convolutions ------------------------------------------------------------------------------------------


class _LazyConvolution(LazyModuleMixin):
    """A convolution whose `in_channels` is the number of channels of the first input."""

    rank: int
    transposed: bool

    def _begin(self, out_channels: int, bias: bool, device: object, dtype: object) -> None:
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def _incoming(self) -> int:
        found: int = self.in_channels
        return found

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._channels_of(input)
        if self.in_channels % self.groups != 0:
            raise ArgumentError(mirrored("in_channels must be divisible by groups"))
        outer, inner = self.out_channels, self.in_channels
        if self.transposed:
            outer, inner = inner, outer
        with no_grad():
            _materialize(self.weight, outer, inner // self.groups, *self.kernel_size)
            _materialize(self.bias, self.out_channels)
            self.reset_parameters()

    def _channels_of(self, input: Tensor) -> int:
        single, many = self.rank + 1, self.rank + 2
        if input.ndim not in (single, many):
            text = f"Expected {single}D (unbatched) or {many}D (batched) input to {type(self).__name__}"
            raise ArgumentError(mirrored(f"{text}, but got input of size: {input.shape}"))
        found: int = input.shape[input.ndim - single]
        return found


class _LazyConv(_LazyConvolution):
    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes | str = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: object = None, dtype: object = None,
    ) -> None:  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._begin(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvolution):
    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: object = None, dtype: object = None,
    ) -> None:  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode
        )
        self._begin(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, convolution.Conv1d):
    cls_to_become = convolution.Conv1d


class LazyConv2d(_LazyConv, convolution.Conv2d):
    cls_to_become = convolution.Conv2d


class LazyConv3d(_LazyConv, convolution.Conv3d):
    cls_to_become = convolution.Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, convolution.ConvTranspose1d):
    cls_to_become = convolution.ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, convolution.ConvTranspose2d):
    cls_to_become = convolution.ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, convolution.ConvTranspose3d):
    cls_to_become = convolution.ConvTranspose3d


# ---- normalisations ----------------------------------------------------------------------------------------


class _LazyNorm(LazyModuleMixin):
    """A normalisation whose `num_features` is the second size of the first input."""

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: object = None, dtype: object = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            for name in ("running_mean", "running_var"):
                self.register_buffer(name, UninitializedBuffer(device=device, dtype=dtype))
            count = FUNCTIONS["tensor"](0, dtype=dtypes.int64, device=device)
            self.register_buffer("num_batches_tracked", count)

    def _incoming(self) -> int:
        found: int = self.num_features
        return found

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            with no_grad():
                for name in ("weight", "bias", "running_mean", "running_var"):
                    _materialize(getattr(self, name, None), self.num_features)
                self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, normalization.BatchNorm1d):
    cls_to_become = normalization.BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, normalization.BatchNorm2d):
    cls_to_become = normalization.BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, normalization.BatchNorm3d):
    cls_to_become = normalization.BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, normalization.InstanceNorm1d):
    cls_to_become = normalization.InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, normalization.InstanceNorm2d):
    cls_to_become = normalization.InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, normalization.InstanceNorm3d):
    cls_to_become = normalization.InstanceNorm3d
