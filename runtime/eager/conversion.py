"""The same elements in another form: other dtypes and devices, NumPy's arrays, DLPack.

In flow a Tensor; out flows a Tensor of another dtype (recorded as a cast), or what NumPy asks for. To add a
conversion to a dtype, add its name to `NAMES`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.device import as_device
from retrograd.runtime.eager.copying import clone, in_format
from retrograd.runtime.eager.formats import suggested
from retrograd.runtime.eager.moving import exchange, moved, shared
from retrograd.runtime.eager.replay import replayed
from retrograd.runtime.names import LEGACY, legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor, method

NAMES = {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "long": dtypes.int64,
    "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8,
    "bool": dtypes.bool_, "bfloat16": dtypes.bfloat16,
    "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
}  # fmt: skip
"""Methods that change the dtype."""


@method()
@partial(replayed, planner="conversion")
def to(
    self: Tensor,
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: object = None,
) -> Tensor:
    """`to(dtype)`, `to(device)`, `to(other)`: itself if nothing changes, unless `copy`. With `non_blocking` a
    copy between a GPU and pinned memory goes on while the program does. `memory_format` says how its elements
    are to lie.
    """
    for given in args:
        if isinstance(given, Tensor):
            dtype, device = given.dtype, given.device
        elif isinstance(given, DType | type | np.dtype):
            dtype = given
        elif isinstance(given, bool):
            copy = copy or (given and given is args[-1] and len(args) > 3)
        else:
            device = given
    result: Tensor = cast(self, self.dtype if dtype is None else dtypes.dtype(dtype))
    if device is not None:
        result = moved(result, as_device(device), non_blocking)
    if memory_format is not None and (result is not self or suggested(self) is not memory_format):
        result = in_format(result, memory_format, "to")
    return clone(result) if copy and result is self else result


@method()
@partial(replayed, planner="conversion")
def type_as(self: Tensor, other: Tensor) -> Tensor:
    return cast(self, other.dtype)  # type: ignore[no-any-return]  # of a Tensor, a Tensor


@method("type")
@partial(replayed, planner="conversion")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The legacy name of the Tensor's type, or the Tensor in another."""
    if dtype is None:
        return legacy_name(self.dtype, self.device.type)
    if (
        isinstance(dtype, type) and dtype.__name__.removesuffix("Tensor") in LEGACY
    ):  # FloatTensor and the like
        dtype = dtype.__name__
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        home, _, name = dtype.removesuffix("Tensor").rpartition(".")
        if name not in LEGACY:
            raise ArgumentError(mirrored(f"invalid type: '{dtype}'"))
        return to(self, LEGACY[name], "cuda" if home == "torch.cuda" else "cpu", non_blocking=non_blocking)
    try:
        found = dtypes.dtype(dtype)
    except ArgumentError:
        raise ArgumentError(mirrored(f"invalid type: '{dtype}'"), advice="name it as torch.float32") from None
    return cast(self, found)


def _to_dtype(name: str, dtype: DType) -> None:
    def convert(self: Tensor, memory_format: object = None) -> Tensor:
        result: Tensor = cast(self, dtype)
        return result if memory_format is None else in_format(result, memory_format, name)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The elements as {dtype}."
    setattr(Tensor, name, replayed(convert, planner="conversion"))


for _name, _dtype in NAMES.items():
    _to_dtype(_name, _dtype)


# ---- to and from NumPy -------------------------------------------------------------------------------------


@method()
def data_ptr(self: Tensor) -> int:
    if isinstance(self._value, DeviceArray):
        return self._value.pointer
    return int(self.read("data_ptr()").__array_interface__["data"][0])


@method()
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    array = self.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ArgumentError(f"an array of {dtype} without a copy", f"the tensor is of {self.dtype}")
        return array.astype(dtype)
    return array.copy() if copy else array


@method()
def __array_wrap__(self: Tensor, array: Array, context: object = None, return_scalar: bool = False) -> Tensor:
    return Tensor(np.asarray(array))


@method()
def __dlpack__(self: Tensor, *, stream: int | None = None, **options: Any) -> Any:
    if not isinstance(self._value, DeviceArray):
        return self.numpy().__dlpack__(stream=stream, **options)
    return exchange().capsule(shared(self, "__dlpack__"), stream)


@method()
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return (1, 0) if self.device.index is None else (2, self.device.index)
