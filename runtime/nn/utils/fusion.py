"""A batch norm that no longer learns, taken into the layer before it.

In flow a convolution or a Linear and the batch norm after it, both in evaluation; out flows one layer that
does what the two did: its weight is scaled by `γ / √(σ² + ε)`, and its bias is what the mean leaves.
"""

from __future__ import annotations

import copy
from typing import Any

from retrograd.compiler.errors import RequirementError, mirrored
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
    bn_w: Tensor | None, bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of the one layer; of a transposed convolution the channels go along the second axis."""
    bias: Any = bn_rm.new_zeros(*bn_rm.shape) if conv_b is None else conv_b
    scale: Any = (bn_rv + bn_eps).rsqrt()
    moved: Any = (bias - bn_rm) * scale
    if bn_w is not None:
        scale, moved = bn_w * scale, moved * bn_w
    if bn_b is not None:
        moved = moved + bn_b
    place = 1 if transpose else 0
    weight: Any = conv_w
    fused = weight * scale.reshape([-1 if k == place else 1 for k in range(weight.ndim)])
    return (
        Parameter(fused.to(weight.dtype), weight.requires_grad),
        Parameter(moved.to(weight.dtype if conv_b is None else bias.dtype), bias.requires_grad),
    )


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
    bn_w: Tensor, bn_b: Tensor,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of the one layer."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """A copy of the convolution that does what both did."""
    return _fused(conv, bn, transpose)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """A copy of the Linear that does what both did. The norm has as many features, or one."""
    if linear.training or bn.training:
        raise RequirementError(mirrored("Fusion only for eval!"))
    if bn.num_features not in (linear.out_features, 1):
        sizes = f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        raise RequirementError(
            mirrored(f"To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got {sizes}")
        )
    return _fused(linear, bn, False)


def _fused(layer: Module, bn: Module, transpose: bool) -> Module:
    if layer.training or bn.training:
        raise RequirementError(mirrored("Fusion only for eval!"))
    if bn.running_mean is None or bn.running_var is None:
        raise RequirementError(mirrored("bn.running_mean and bn.running_var must not be None"))
    found = copy.deepcopy(layer)
    found.weight, found.bias = fuse_conv_bn_weights(
        found.weight, found.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return found
