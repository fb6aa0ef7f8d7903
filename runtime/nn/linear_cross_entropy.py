"""A linear map and the cross-entropy of what it gives, as one loss: a classifier's last layer."""

from __future__ import annotations

from math import prod
from typing import Any

from retrograd.compiler.errors import RequirementError, ShapeError, mirrored
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.linear import Linear
from retrograd.runtime.nn.loss import WeightedLoss
from retrograd.runtime.tensor import Tensor


class LinearCrossEntropyLoss(WeightedLoss):
    """`CrossEntropyLoss` of `Linear(in_features, num_classes · prod(out_features))`, whose outputs are the
    classes, `[N, num_classes, *out_features]`.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: object = None, dtype: object = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0,
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
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options=None"
        )
