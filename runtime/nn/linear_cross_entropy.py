"""A linear map and the cross-entropy of what it gives, as one loss: a classifier's last layer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, RequirementError, ShapeError, mirrored
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.linear import Linear
from retrograd.runtime.nn.loss import WeightedLoss
from retrograd.runtime.tensor import Tensor

_POLICIES = ("auto", "accurate", "balanced", "compact")
_ACCUMULATED = (None, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


@dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch cuts the batch of `linear_cross_entropy`, for less memory. The loss is the same without:
    here the options are looked at, and the batch stays whole.
    """

    allow_retain_graph: bool = False
    """Whether PyTorch's backward may run twice; here it may anyway, if told to retain the graph."""
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    """`"auto"`, `"aspect_ratio"`, `"aspect_ratio:N"`, or None: by `batch_chunk_size`."""
    acc_policy: str = "auto"
    acc_dtype: DType | None = None

    def __post_init__(self) -> None:
        size, method = self.batch_chunk_size, self.chunking_method
        if self.acc_policy not in _POLICIES:
            raise ArgumentError(mirrored(f"invalid acc_policy: {self.acc_policy!r}"))
        if method not in (None, "auto") and not re.fullmatch(r"aspect_ratio(:0*[1-9]\d*)?", str(method)):
            raise ArgumentError(mirrored(f"invalid chunking_method: {method!r}"))
        if size is not None and (type(size) is not int or size <= 0):
            raise ArgumentError(mirrored(f"batch_chunk_size must be positive int or None, got {size!r}"))
        if self.acc_dtype not in _ACCUMULATED:
            known = ", ".join(map(str, _ACCUMULATED))
            raise ArgumentError(
                mirrored(
                    f"acc_dtype must be one of {{{known}}}, got {self.acc_dtype!r}. Pass acc_dtype=None to "
                    "let the op pick automatically."
                )
            )


class LinearCrossEntropyLoss(WeightedLoss):
    """`CrossEntropyLoss` of `Linear(in_features, num_classes · prod(out_features))`, whose outputs are the
    classes, `[N, num_classes, *out_features]`.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: object = None, dtype: object = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:  # fmt: skip
        if weight is not None and tuple(weight.shape) != (num_classes,):
            shown = f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            raise ShapeError(mirrored(shown))
        if not 0 <= label_smoothing <= 1:
            text = f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            raise RequirementError(mirrored(text))
        super().__init__(weight, None, None, reduction)
        self.num_classes, self.out_features = num_classes, out_features
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.options = options
        outputs = num_classes * prod(out_features)
        self.linear = Linear(in_features, outputs, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Any:
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
