"""What PyTorch calls things: a shape is a `torch.Size`, a tensor of floats was once a `torch.FloatTensor`.

In flow tuples and dtypes, out flow names. A new dtype is an entry of `LEGACY`.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType


class Size(tuple[int, ...]):
    """A shape; prints as in PyTorch."""

    __slots__ = ()

    def numel(self) -> int:
        total = 1
        for size in self:
            total *= size
        return total

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __add__(self, other: Any) -> Size:
        return Size((*self, *other))

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found


ALIASES = {
    "axis": "dim", "keepdims": "keepdim", "axes": "dims", "x1": "input", "x": "input",
    "split_size": "split_size_or_sections"}  # fmt: skip
"""What NumPy, or a method, calls an argument, and what PyTorch's function calls it."""


LEGACY = {
    "Float": dtypes.float32, "Double": dtypes.float64, "Half": dtypes.float16, "Long": dtypes.int64,
    "Int": dtypes.int32, "Short": dtypes.int16, "Char": dtypes.int8, "Byte": dtypes.uint8,
    "Bool": dtypes.bool_, "BFloat16": dtypes.bfloat16,
    "ComplexFloat": dtypes.complex64, "ComplexDouble": dtypes.complex128,
}  # fmt: skip
"""The dtypes in the names of old tensor types: `torch.FloatTensor`."""


C_NAMES = {
    dtypes.bfloat16: "c10::BFloat16",
    dtypes.float32: "float", dtypes.float64: "double", dtypes.float16: "c10::Half", dtypes.int64: "long int",
    dtypes.int32: "int", dtypes.int16: "short int", dtypes.int8: "signed char",
    dtypes.uint8: "unsigned char", dtypes.bool_: "bool",
    dtypes.complex64: "c10::complex<float>", dtypes.complex128: "c10::complex<double>",
}  # fmt: skip
"""What C calls the dtypes, which some of PyTorch's errors say."""


SCALAR_NAMES = C_NAMES | {
    dtypes.int64: "int64_t", dtypes.int16: "int16_t", dtypes.int8: "int8_t", dtypes.uint8: "uint8_t",
}  # fmt: skip
"""What PyTorch's errors about numbers that do not fit call them."""


def bare_legacy_name(dtype: DType) -> str:
    """`Float`, as in `torch.FloatTensor`."""
    return next(name for name, d in LEGACY.items() if d is dtype)


def legacy_name(dtype: DType, device: str = "cpu") -> str:
    """`torch.FloatTensor`, `torch.cuda.FloatTensor`: what a Tensor of this dtype was once called."""
    return f"torch.{'' if device == 'cpu' else f'{device}.'}{bare_legacy_name(dtype)}Tensor"
