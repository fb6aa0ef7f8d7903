"""Activations: Modules that apply one function of `functional`.

To add one, write its arguments and the call.
"""

from __future__ import annotations

from retrograd.compiler.errors import RequirementError, ShapeError, mirrored, warn
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.arguments import arguments
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor

# ---- without arguments -------------------------------------------------------------------------------------


@arguments()
class Sigmoid(Module):
    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


@arguments()
class Tanh(Module):
    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


@arguments()
class LogSigmoid(Module):
    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


@arguments()
class Softsign(Module):
    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


@arguments()
class Tanhshrink(Module):
    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


# ---- rectifiers and their kin ------------------------------------------------------------------------------


@arguments()
class ReLU(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


@arguments()
class ReLU6(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, inplace=self.inplace)


@arguments("negative_slope={0.negative_slope}")
class LeakyReLU(Module):
    negative_slope: float = 0.01
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, inplace=self.inplace)


@arguments("lower={0.lower}, upper={0.upper}")
class RReLU(Module):
    lower: float = 1.0 / 8
    upper: float = 1.0 / 3
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, inplace=self.inplace)


@arguments("threshold={0.threshold}, value={0.value}")
class Threshold(Module):
    threshold: float
    value: float
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, inplace=self.inplace)


@arguments("min_val={0.min_val}, max_val={0.max_val}")
class Hardtanh(Module):
    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False
    min_value: float | None = None
    max_value: float | None = None

    def _check(self) -> None:
        """The last two are older names of the first two."""
        for name in ("min_val", "max_val"):
            older = f"{name}ue"
            if (given := getattr(self, older)) is not None:
                warn(f"keyword argument `{older}` is deprecated and renamed to `{name}`", FutureWarning)
                setattr(self, name, given)
            delattr(self, older)
        if self.max_val <= self.min_val:
            raise RequirementError(f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, inplace=self.inplace)


@arguments()
class Hardsigmoid(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, inplace=self.inplace)


@arguments()
class Hardswish(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, inplace=self.inplace)


@arguments("{0.lambd}")
class Hardshrink(Module):
    lambd: float = 0.5

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)


@arguments("{0.lambd}")
class Softshrink(Module):
    lambd: float = 0.5

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


class PReLU(Module):
    """A slope below zero that is learned, one for all or one for each channel (axis 1)."""

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: object = None, dtype: object = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(FUNCTIONS["full"]((num_parameters,), init, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        with no_grad():
            self.weight.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


# ---- smooth ones -------------------------------------------------------------------------------------------


@arguments("alpha={0.alpha}")
class ELU(Module):
    alpha: float = 1.0
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, inplace=self.inplace)


@arguments("alpha={0.alpha}")
class CELU(Module):
    alpha: float = 1.0
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, inplace=self.inplace)


@arguments()
class SELU(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, inplace=self.inplace)


@arguments("approximate={0.approximate!r}")
class GELU(Module):
    approximate: str = "none"

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)


@arguments()
class SiLU(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=self.inplace)


@arguments()
class Mish(Module):
    inplace: bool = False

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, inplace=self.inplace)


@arguments("beta={0.beta}, threshold={0.threshold}")
class Softplus(Module):
    beta: float = 1.0
    threshold: float = 20.0

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


# ---- along an axis -----------------------------------------------------------------------------------------


@arguments("dim={0.dim}")
class GLU(Module):
    dim: int = -1

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)


@arguments("dim={0.dim}")
class Softmax(Module):
    dim: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)


@arguments("dim={0.dim}")
class Softmin(Module):
    dim: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


@arguments("dim={0.dim}")
class LogSoftmax(Module):
    dim: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


@arguments()
class Softmax2d(Module):
    """Over the channels at each place of an image."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(mirrored(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead"))
        return F.softmax(input, -3)
