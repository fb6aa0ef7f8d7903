"""Python floats that are known only when compiled code runs: in a trace they are Tensors that promote as
numbers do.

In flow the floats among the arguments of a compiled function; out flow nodes. `promotion` asks for the class.
A float times a float is a float again; with a Tensor it takes the Tensor's dtype, however few axes that has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.tensor import Tensor

_OPERATORS = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "neg", "abs"),
    *("lt", "le", "gt", "ge", "eq", "ne"),
)


class Scalar(Tensor):
    """The placeholder of a Python float, kept as float64."""

    __slots__ = ()

    def read(self, asked: str) -> Array:
        raise TraceError(
            f"{asked} of a Python float that the compiled function was given",
            "it is a run-time value: one compilation serves all floats",
            "choose between values with where(), or name the parameter in compile_grad(static=...), "
            "which compiles anew for each value",
        )

    def __repr__(self) -> str:
        return "<float>"

    __hash__ = Tensor.__hash__


def _closed(name: str) -> Callable[..., Any]:
    """The operator, whose result is a Scalar where only numbers are involved."""

    def operator(self: Scalar, *others: Any) -> Any:
        result = getattr(Tensor, name)(self, *others)
        if isinstance(result, Tensor) and all(isinstance(x, Scalar | float | int) for x in others):
            scalar = Scalar(result._value)
            scalar._edge, scalar._requires_grad = result._edge, result._requires_grad
            return scalar
        return result

    operator.__name__ = name
    return operator


for _name in _OPERATORS:
    setattr(Scalar, f"__{_name}__", _closed(f"__{_name}__"))
