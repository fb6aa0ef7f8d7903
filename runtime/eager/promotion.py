"""Type promotion, once and for all: operands as the user gave them in, Tensors of the dtypes that an op takes
out.

PyTorch's rule (`dtypes.result_type`): the highest category among bool, integer, floating and complex wins;
within it Tensors with axes outrank 0-d Tensors, which outrank Python numbers. `TARGETS` says what each kind
of row makes of the common dtype; a new kind is a new entry. Numbers become 0-d arrays of the dtype that was
found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ir.graph import OPS, Op, Value, apply
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.eager.kernels import number, stored
from retrograd.runtime.eager.scalar import Scalar
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor

NUMBERS = (float, int, bool, complex)


def _floating(common: DType) -> DType:
    return common if common.is_inexact else dtypes.default_dtype()


TARGETS: dict[Types, Callable[[DType], DType]] = {
    Types.FLOAT: _floating,
    Types.CLASSIFY: _floating,
}
"""The dtype that operands are cast to, by their common dtype, where it is not that itself."""


def common_dtype(operands: Sequence[Value]) -> DType:
    """`torch.result_type` of Tensors and Python numbers."""
    dimensioned, zero_dim, numbers = [], [], []
    for x in operands:
        if isinstance(x, Scalar):
            numbers.append(float)
        elif not isinstance(x, Tensor):
            numbers.append(type(x))
        elif x._value.ndim:
            dimensioned.append(x.dtype)
        else:
            zero_dim.append(x.dtype)
    if not dimensioned and not zero_dim and any(isinstance(x, Scalar) for x in operands):
        return dtypes.float64
    return dtypes.result_type(dimensioned, zero_dim, numbers)


def promote(row: Elementwise, operands: Sequence[Value]) -> list[Value]:
    """The operands of a row, cast to one dtype that it takes. Raises ArgumentError for what is no operand."""
    lift = stored if row.name in KEEPING else number
    floating = None if row.types in _OWN else _floating_of(operands)
    if floating is not None:
        return [x if isinstance(x, Tensor) else lift(x, floating.numpy) for x in operands]
    lifted = [as_operand(row.name, x) for x in operands]
    if row.types is Types.SELECT:
        condition, *values = lifted
        return [_as_bool(condition), *to_common(values, common_dtype(values), stored)]
    common = common_dtype(lifted)
    if row.types is Types.LOGICAL:
        return [_as_bool(_narrowed(x, common)) for x in lifted]
    target = TARGETS.get(row.types)
    return to_common(lifted, common if target is None else target(common), lift)


def _floating_of(operands: Sequence[Value]) -> DType | None:
    """The inexact dtype that Tensors have beside which there are none but Python's numbers; None if there
    are others."""
    found: DType | None = None
    for x in operands:
        if isinstance(x, Tensor):
            dtype = x.dtype
            if found is None:
                found = dtype
            elif dtype is not found:
                return None
        elif type(x) is not float and type(x) is not int:
            return None
    return found if found is not None and found.is_inexact else None


_OWN = (Types.SELECT, Types.LOGICAL)
"""Rows whose operands are not all of one floating dtype."""

KEEPING = {"where", "clamp_min", "clamp_max", "pow"}
"""Rows that refuse numbers that the common dtype does not hold; in the others they wrap around."""


def to_common(
    operands: Sequence[Value], dtype: DType, lift: Callable[[float, np.dtype[Any]], Value] = number
) -> list[Value]:
    return [cast(x, dtype) if isinstance(x, Tensor) else lift(x, dtype.numpy) for x in operands]


def as_operand(name: str, x: Any) -> Value:
    """A Tensor or a Python number; NumPy's arrays and scalars are taken as Tensors and numbers."""
    if isinstance(x, Tensor | float | int | complex):
        return x
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray):
        dtypes.dtype(x.dtype)  # an error where there is no such
        return Tensor(x) if STATE.trace is None else STATE.trace.arrays.setdefault(id(x), Tensor(x))
    raise ArgumentError(
        mirrored(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    )


def _narrowed(x: Value, common: DType) -> Value:
    """A 0-d Tensor of a wider dtype than the common one: what that holds of it counts, as in PyTorch."""
    wider = isinstance(x, Tensor) and dtypes.promote_types(x.dtype, common) is not common
    return cast(x, common) if wider else x


def _as_bool(x: Value) -> Value:
    if not isinstance(x, Tensor):
        return np.asarray(bool(x))
    if x.dtype is dtypes.bool_:
        return x
    not_equal = OPS["ne"]
    assert isinstance(not_equal, Op)
    return apply(not_equal, x, number(0, x.dtype.numpy))
