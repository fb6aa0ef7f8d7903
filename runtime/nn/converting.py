"""Other dtypes and devices: what changes all tensors of a Module and of those below it.

`Convertible` is that part of Module. All of it goes through `_apply`, which a subclass that keeps tensors
elsewhere may have of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.device import as_device
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.parameter import Parameter, Uninitialized
from retrograd.runtime.tensor import Tensor

C = TypeVar("C", bound="Convertible")


class Convertible:
    """What has parameters and buffers in a dtype, on a device."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    children: Callable[..., Iterator[Any]]
    parameters: Callable[..., Iterator[Parameter]]
    buffers: Callable[..., Iterator[Tensor]]

    def _apply(self: C, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> C:
        """Replace the data of all parameters, their gradients and buffers by what `fn` makes of them."""
        for module in self.children() if recurse else ():
            module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is not None:
                with no_grad():
                    parameter.data = fn(parameter)
                    if parameter.grad is not None:
                        parameter.grad = fn(parameter.grad)
        for name, buffer in self._buffers.items():
            if isinstance(buffer, Uninitialized):
                buffer.data = fn(buffer)
            elif buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to_empty(self: C, *, device: Any, recurse: bool = True) -> C:
        """All parameters and buffers on a device, without their values."""
        return self._apply(lambda x: FUNCTIONS["empty_like"](x, device=device), recurse=recurse)

    def to(
        self: C, *args: Any, dtype: Any = None, device: Any = None, memory_format: Any = None, **ignored: Any
    ) -> C:
        """All parameters and buffers on another device, the floating ones in another dtype: `to(dtype)`,
        `to(device)`, `to(tensor)`; those of 4 or 5 axes in another order in memory.
        """
        for given in args:
            if isinstance(given, Tensor):
                dtype, device = given.dtype, given.device
            elif isinstance(given, dtypes.DType):
                dtype = given
            elif not isinstance(given, bool):
                device = given
        where = None if device is None else as_device(device)
        if dtype is None and where is None and memory_format is None:
            return self
        if dtype is not None and not dtype.is_inexact:
            raise ArgumentError(
                mirrored(
                    "nn.Module.to only accepts floating point or complex dtypes, "
                    f"but got desired dtype={dtype}"
                )
            )

        def converted(x: Tensor) -> Tensor:
            kind = dtype if dtype is not None and x.dtype.is_inexact else x.dtype
            order = memory_format if x.ndim in (4, 5) else None
            found: Tensor = x.to(kind, device=where, memory_format=order)
            return found

        return self._apply(converted)

    def float(self: C) -> C:
        return self.to(dtypes.float32)

    def double(self: C) -> C:
        return self.to(dtypes.float64)

    def half(self: C) -> C:
        return self.to(dtypes.float16)

    def bfloat16(self: C) -> C:
        return self.to(dtypes.bfloat16)

    def type(self: C, dst_type: Any) -> C:
        """All parameters and buffers in this dtype."""
        return self._apply(lambda x: x.type(dst_type))

    def cpu(self: C) -> C:
        return self.to("cpu")

    def cuda(self: C, device: Any = None) -> C:
        """All parameters and buffers on a GPU: the current one, or that named."""
        return self.to("cuda" if device is None else device)

    def share_memory(self: C) -> C:
        """Have other processes see parameters and buffers, as `Tensor.share_memory_`."""
        for each in (*self.parameters(), *self.buffers()):
            each.share_memory_()
        return self
