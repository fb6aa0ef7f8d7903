"""Initial values: each function fills a Tensor in place, unrecorded, and gives it back.

The numbers are those that PyTorch draws after the same `manual_seed`. What a layer fills its parameters with
when it is made is with the layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

import numpy as np

from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Tensor])


def _unrecorded(function: F) -> F:
    """The function under `no_grad`."""
    return cast(F, no_grad(function))


_GAINS: dict[str, float] = {
    **dict.fromkeys(["linear", "conv1d", "conv2d", "conv3d"], 1),
    **dict.fromkeys(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"], 1),
    "sigmoid": 1,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}
"""By how much a function shrinks what passes it, undone."""


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the spread of values through a nonlinearity. `param` is leaky_relu's slope."""
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        raise ArgumentError(mirrored(f"Unsupported nonlinearity {nonlinearity}"))
    if param is None:
        param = 0.01
    if isinstance(param, bool) or not isinstance(param, int | float):
        raise ArgumentError(mirrored(f"negative_slope {param} not a valid number"))
    return math.sqrt(2.0 / (1 + param**2))


# ---- one value, one shape ----------------------------------------------------------------------------------


@_unrecorded
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    tensor.uniform_(a, b, generator=generator)
    return tensor


@_unrecorded
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    tensor.normal_(mean, std, generator=generator)
    return tensor


@_unrecorded
def constant_(tensor: Tensor, val: float) -> Tensor:
    tensor.fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 0.0)


@_unrecorded
def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix."""
    if tensor.ndim != 2:
        raise ArgumentError(mirrored("Only tensors with 2 dimensions are supported"))
    tensor.copy_(Tensor(np.eye(*tensor.shape)))
    return tensor


@_unrecorded
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A kernel of a convolution that passes its input on, within each group of channels."""
    if tensor.ndim not in (3, 4, 5):
        raise ArgumentError(mirrored("Only tensors with 3, 4, or 5 dimensions are supported"))
    if tensor.shape[0] % groups != 0:
        raise ArgumentError(mirrored("dim 0 must be divisible by groups"))
    values = np.zeros(tensor.shape)
    channels = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        for k in range(min(channels, tensor.shape[1])):
            values[(group * channels + k, k, *middle)] = 1
    tensor.copy_(Tensor(values))
    return tensor


# ---- by the number of inputs and outputs -------------------------------------------------------------------


def fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs one output of these weights sees, and how many outputs one input."""
    if tensor.ndim < 2:
        raise ArgumentError(
            mirrored("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with the variance 2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    bound = math.sqrt(3.0) * gain * math.sqrt(2.0 / sum(fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the variance 2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fan_in_and_fan_out(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with the variance gain² / fan (He et al., 2015). `a` is leaky_relu's slope."""
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return tensor if math.isnan(bound) else uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with the variance gain² / fan (He et al., 2015). `a` is leaky_relu's slope."""
    std = _kaiming(tensor, a, mode, nonlinearity)
    return tensor if math.isnan(std) else normal_(tensor, 0.0, std, generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """The standard deviation; NaN for a tensor without elements."""
    if 0 in tensor.shape:
        warn("Initializing zero-element tensors is a no-op")
        return math.nan
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ArgumentError(mirrored(f"Mode {mode.lower()} not supported, please use one of {modes}"))
    fan = fan_in_and_fan_out(tensor)[modes.index(mode.lower())]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


# ---- others ------------------------------------------------------------------------------------------------


@_unrecorded
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers within [a, b]; those outside are drawn again."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect."
        )
    inside = (math.erf((b - mean) / std / math.sqrt(2.0)) - math.erf((a - mean) / std / math.sqrt(2.0))) / 2
    sample = _by_normal_numbers if inside > 0.3 else _by_uniform_numbers
    tensor.copy_(sample(tensor, mean, std, a, b, generator))
    return tensor


def _by_normal_numbers(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> Tensor:
    low, high = (np.array(bound, tensor.dtype.numpy).item() for bound in (a, b))
    found: Tensor = tensor.detach().clone().normal_(mean, std, generator=generator)
    while (outside := found.lt(low) | found.gt(high)).any():
        found = found.clone().normal_(mean, std, generator=generator).where(outside, found)
    return found


def _by_uniform_numbers(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> Tensor:
    """Rejection sampling: where few normal numbers would be inside."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    found = candidates = tensor.detach().clone()
    pending = None
    while pending is None or pending.any():
        candidates = candidates.clone().uniform_(a, b, generator=generator)
        found = candidates if pending is None else candidates.where(pending, found)
        density = ((candidates - mean) / std).pow(2) * -0.5 - peak
        chance = candidates.clone().uniform_(generator=generator).log()
        refused = chance > density
        pending = refused if pending is None else refused & pending
    return found


@_unrecorded
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Rows (or columns, if there are more rows) at right angles and of length `gain` (Saxe et al., 2013)."""
    if tensor.ndim < 2:
        raise ArgumentError(mirrored("Only tensors with 2 or more dimensions are supported"))
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    noise = FUNCTIONS["empty"](rows, tensor.numel() // rows, dtype=tensor.dtype)
    matrix = noise.normal_(0, 1, generator=generator).cpu().numpy()
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = q * np.sign(np.diagonal(r))
    tensor.copy_(Tensor(np.ascontiguousarray(q.T if wide else q)).reshape(tensor.shape)).mul_(gain)
    return tensor


@_unrecorded
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal numbers in a matrix, with this share of each column zero (Martens, 2010)."""
    if tensor.ndim != 2:
        raise ArgumentError(mirrored("Only tensors with 2 dimensions are supported"))
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    values = tensor.detach().cpu().clone().normal_(0, std, generator=generator).numpy()
    for column in range(columns):
        values[FUNCTIONS["randperm"](rows).numpy()[:zeros], column] = 0
    tensor.copy_(Tensor(values))
    return tensor


# ---- older names -------------------------------------------------------------------------------------------


def _older(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function by its name without the underscore, which warns."""
    new = function.__name__
    old = new[:-1]

    @wraps(function)
    def call(*args: object, **kwargs: object) -> Tensor:
        warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning)
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = old
    return call


uniform, normal, constant, eye = _older(uniform_), _older(normal_), _older(constant_), _older(eye_)
dirac, orthogonal, sparse = _older(dirac_), _older(orthogonal_), _older(sparse_)
xavier_uniform, xavier_normal = _older(xavier_uniform_), _older(xavier_normal_)
kaiming_uniform, kaiming_normal = _older(kaiming_uniform_), _older(kaiming_normal_)
