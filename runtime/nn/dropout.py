"""Dropout: zeros at random, while training."""

from __future__ import annotations

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.arguments import arguments
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor


class _Dropout(Module):
    p: float
    inplace: bool

    def _check(self) -> None:
        if not 0 <= self.p <= 1:
            raise ArgumentError(mirrored(f"dropout probability has to be between 0 and 1, but got {self.p}"))


@arguments("p={0.p}, inplace={0.inplace}")
class Dropout(_Dropout):
    p: float = 0.5
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


@arguments("p={0.p}, inplace={0.inplace}")
class AlphaDropout(_Dropout):
    """For networks of `SELU`: keeps mean and variance."""

    p: float = 0.5
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


@arguments("p={0.p}, inplace={0.inplace}")
class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of `[N, C, …]`."""

    p: float = 0.5
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)


@arguments("p={0.p}, inplace={0.inplace}")
class Dropout1d(_Dropout):
    """Of whole channels of `[N, C, L]`."""

    p: float = 0.5
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


@arguments("p={0.p}, inplace={0.inplace}")
class Dropout2d(_Dropout):
    """Of whole channels of `[N, C, H, W]`."""

    p: float = 0.5
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


@arguments("p={0.p}, inplace={0.inplace}")
class Dropout3d(_Dropout):
    """Of whole channels of `[N, C, D, H, W]`."""

    p: float = 0.5
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)
