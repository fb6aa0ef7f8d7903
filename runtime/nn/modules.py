"""`nn.modules`, where PyTorch keeps its layers: all of them, and the classes they share, which programs name.

PyTorch has a file for each kind. Each of those names (the front door's `FILES`) leads to this module, so that
`nn.modules.conv.Conv2d` and `isinstance(layer, nn.modules.batchnorm._BatchNorm)` find what they name. The
layers are written into it by `nn`, which knows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from retrograd.runtime.nn.convolution import _Convolution as _ConvNd
from retrograd.runtime.nn.convolution import _ConvTranspose as _ConvTransposeNd
from retrograd.runtime.nn.dropout import _Dropout as _DropoutNd
from retrograd.runtime.nn.global_hooks import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from retrograd.runtime.nn.loss import WeightedLoss as _WeightedLoss
from retrograd.runtime.nn.loss import _Loss
from retrograd.runtime.nn.normalization import BatchNorm as _BatchNorm
from retrograd.runtime.nn.normalization import _InstanceNorm
from retrograd.runtime.nn.normalization import _Tracking as _NormBase

__path__: list[str] = []
"""What makes it a package: its files are the front door's."""

__all__ = [
    "_BatchNorm",
    "_ConvNd",
    "_ConvTransposeNd",
    "_DropoutNd",
    "_InstanceNorm",
    "_Loss",
    "_NormBase",
    "_WeightedLoss",
    "_ntuple",
    "_pair",
    "_single",
    "_triple",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
]


def _ntuple(n: int, name: str = "parse") -> Callable[[Any], tuple[Any, ...]]:
    """What layers of n axes take one number with: it stands for all axes."""

    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if isinstance(x, Iterable) else (x,) * n

    parse.__name__ = name
    return parse


_single, _pair, _triple = _ntuple(1, "_single"), _ntuple(2, "_pair"), _ntuple(3, "_triple")
