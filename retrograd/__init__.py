"""Retrograd: tensor code the PyTorch way, compiled together with its derivative.

The front door: the public names, and nothing else. The functions come by name from the runtime's two tables.
"""

from __future__ import annotations

import sys
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from retrograd.compiler.dtypes import (
    DType as dtype,
)
from retrograd.compiler.dtypes import (
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
)
from retrograd.compiler.dtypes import (
    default_dtype as get_default_dtype,
)
from retrograd.runtime import autograd, functions, nn, optim, pointwise
from retrograd.runtime.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from retrograd.runtime.compile_grad import compile_grad
from retrograd.runtime.device import device
from retrograd.runtime.formatting import get_printoptions, printoptions, set_printoptions
from retrograd.runtime.generator import Generator, default_generator
from retrograd.runtime.nn import functional
from retrograd.runtime.tensor import Size, Tensor

__version__ = "0.1.0"

float, double, half = float32, float64, float16
long, int, short, bool = int64, int32, int16, bool_
newaxis = None

globals().update(pointwise.FUNCTIONS | functions.FUNCTIONS)

# `import retrograd.nn.functional as F` finds the modules under their public names, too.
for _name, _module in tuple(sys.modules.items()):
    if _name.startswith(("retrograd.runtime.nn", "retrograd.runtime.optim", "retrograd.runtime.autograd")):
        sys.modules[_name.replace(".runtime", "", 1)] = _module

if TYPE_CHECKING:  # the functions, which are entered by name

    def __getattr__(name: str) -> Any: ...


__all__ = [
    "Generator",
    "Size",
    "Tensor",
    "autograd",
    "bool",
    "compile_grad",
    "default_generator",
    "device",
    "double",
    "dtype",
    "e",
    "enable_grad",
    "float",
    "float16",
    "float32",
    "float64",
    "functional",
    "get_default_dtype",
    "get_printoptions",
    "half",
    "inf",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "long",
    "nan",
    "newaxis",
    "nn",
    "no_grad",
    "optim",
    "pi",
    "printoptions",
    "promote_types",
    "set_default_dtype",
    "set_grad_enabled",
    "set_printoptions",
    "short",
    "uint8",
]
