"""Layers that multiply by a matrix, and those that only reshape."""

from __future__ import annotations

import math
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn import init
from retrograd.runtime.nn.arguments import arguments
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor


def empty_parameter(*sizes: int, device: object = None, dtype: object = None) -> Parameter:
    """A Parameter that is yet to be given values."""
    return Parameter(FUNCTIONS["empty"](*sizes, device=device, dtype=dtype))


class Identity(Module):
    """Gives back what it gets; takes any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """x · weightᵀ + bias, of the last axis."""

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = empty_parameter(out_features, in_features, device=device, dtype=dtype)
        self.bias = empty_parameter(out_features, device=device, dtype=dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform values of variance 1 / (3 · in_features), as in PyTorch."""
        if self.in_features and self.out_features:
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """x1ᵀ · weight[k] · x2 + bias[k]."""

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ArgumentError(mirrored(f"in1_features must be > 0, but got {in1_features}"))
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = empty_parameter(out_features, in1_features, in2_features, device=device, dtype=dtype)
        self.bias = empty_parameter(out_features, device=device, dtype=dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


@arguments("start_dim={0.start_dim}, end_dim={0.end_dim}")
class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one."""

    start_dim: int = 1
    end_dim: int = -1

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = input.flatten(self.start_dim, self.end_dim)
        return result


@arguments("dim={0.dim}, unflattened_size={0.unflattened_size}")
class Unflatten(Module):
    """One axis as several."""

    dim: int
    unflattened_size: Any

    def _check(self) -> None:
        sizes = self.unflattened_size
        if not isinstance(sizes, tuple | list):
            kind = type(sizes).__name__
            raise ArgumentError(mirrored(f"unflattened_size must be a tuple of ints, but found type {kind}"))
        for place, size in enumerate(sizes):
            if not isinstance(size, int):
                kind = type(size).__name__
                raise ArgumentError(
                    mirrored(
                        "unflattened_size must be tuple of ints, but found element of type "
                        f"{kind} at pos {place}"
                    )
                )

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = input.unflatten(self.dim, self.unflattened_size)
        return result
