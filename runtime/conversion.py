"""The same elements in another form: other dtypes and devices, copies, pickles.

In flow a Tensor; out flows a Tensor of another dtype (recorded as a cast), or what `copy` and `pickle` need. To add a
conversion to a dtype, add its name to `NAMES`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import GradientError
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.device import as_device
from retrograd.runtime.tensor import LEGACY, Tensor, legacy_name, method

NAMES = {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "long": dtypes.int64,
    "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8, "bool": dtypes.bool_,
}  # fmt: skip
"""Methods that change the dtype."""

@method()
def to(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **ignored: Any) -> Tensor:
    """`to(dtype)`, `to(device)`, `to(other)`: itself if nothing changes, unless `copy`."""
    for given in args:
        if isinstance(given, Tensor):
            dtype = given.dtype
        elif isinstance(given, DType | type | np.dtype):
            dtype = given
        elif isinstance(given, bool):
            copy = copy or (given and given is args[-1] and len(args) > 3)
        else:
            device = given
    as_device(device)
    result: Tensor = cast(self, self.dtype if dtype is None else dtypes.dtype(dtype))
    return result.clone() if copy and result is self else result


@method()
def type_as(self: Tensor, other: Tensor) -> Tensor:
    return cast(self, other.dtype)  # type: ignore[no-any-return]  # of a Tensor, a Tensor


@method()
def cpu(self: Tensor, memory_format: object = None) -> Tensor:
    """Itself: there is no other device."""
    return self


@method("type")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The legacy name of the Tensor's type, or the Tensor in another."""
    if dtype is None:
        return legacy_name(self.dtype)
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        dtype = LEGACY[dtype.removeprefix("torch.").removesuffix("Tensor")]
    return cast(self, dtypes.dtype(dtype))


def _to_dtype(name: str, dtype: DType) -> None:
    def convert(self: Tensor, memory_format: object = None) -> Tensor:
        return cast(self, dtype)  # type: ignore[no-any-return]  # of a Tensor, a Tensor

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The elements as {dtype}."
    setattr(Tensor, name, convert)


for _name, _dtype in NAMES.items():
    _to_dtype(_name, _dtype)


# ---- copies and pickles ----------------------------------------------------------------------------------------------


@method()
def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise GradientError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment."
        )
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]  # what was put there below
    with_data = self.read("deepcopy()").copy(order="K")
    result = _rebuilt(type(self), with_data, self.requires_grad, dict(getattr(self, "__dict__", {})))
    memo[id(self)] = result
    if self._grad is not None:
        result._grad = __deepcopy__(self._grad, memo)
    return result


@method()
def __reduce_ex__(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    array = np.ascontiguousarray(self.read("pickle"))
    state = dict(getattr(self, "__dict__", {}))
    return (_rebuilt, (type(self), array.reshape(self._value.shape), self.requires_grad, state))


def _rebuilt(kind: type[Tensor], array: Array, requires_grad: bool, state: dict[str, Any]) -> Tensor:
    tensor = kind.__new__(kind)
    Tensor.__init__(tensor, array)
    tensor._requires_grad = requires_grad
    for name, value in state.items():
        setattr(tensor, name, value)
    return tensor
