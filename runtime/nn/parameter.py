"""Tensors that a Module holds: parameters, which are trained, and buffers, which are only kept.

Assigning one to an attribute of a Module registers it there. Both share the memory of the data they are made
of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler.errors import ArgumentError, AttributeMissingError, DtypeError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import INFERENCE
from retrograd.runtime.names import Size, legacy_name
from retrograd.runtime.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a Module trains: `Parameter(data, requires_grad=True)`, a leaf, sharing the data's
    memory.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        _share(self, data)
        if requires_grad and not self.dtype.is_inexact:
            raise DtypeError(
                mirrored("Only Tensors of floating point and complex dtype can require gradients")
            )
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A copy in memory of its own, even of a Parameter that shares it; without gradient or attributes."""
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]  # type: ignore[no-any-return]  # what was put there

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A Tensor that belongs to a Module's state and is not trained; if `persistent`, to its `state_dict`."""

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        _share(self, data)
        self.persistent = persistent


class Uninitialized(Tensor):
    """A Tensor of a lazy Module, whose shape nobody knows yet; its dtype and device are known."""

    becomes: type[Tensor]

    @property
    def shape(self) -> Size:
        raise ArgumentError(
            mirrored(
                "Can't access the shape of an uninitialized parameter or buffer. This error usually happens "
                "in `load_state_dict` when trying to load an uninitialized parameter into an initialized "
                "one. Call `forward` to initialize the parameters before accessing their attributes."
            )
        )

    def materialize(self, shape: Sequence[int], device: object = None, dtype: object = None) -> None:
        """Have this shape from now on, and be like any other."""
        where = self.device if device is None else device
        self.data = FUNCTIONS["empty"](*shape, device=where, dtype=self.dtype if dtype is None else dtype)
        self.__class__ = self.becomes  # type: ignore[assignment]  # it is one from now on

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(Uninitialized, Parameter):
    """A Parameter of a lazy Module."""

    becomes = Parameter

    def __init__(self, requires_grad: bool = True, device: object = None, dtype: object = None) -> None:
        Parameter.__init__(self, FUNCTIONS["empty"](0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        found = UninitializedParameter(self.requires_grad, self.device, self.dtype)
        memo[id(self)] = found
        return found


class UninitializedBuffer(Uninitialized, Buffer):
    """A buffer of a lazy Module."""

    becomes = Buffer

    def __init__(
        self,
        requires_grad: bool = False,
        device: object = None,
        dtype: object = None,
        persistent: bool = True,
    ) -> None:
        Buffer.__init__(self, FUNCTIONS["empty"](0, device=device, dtype=dtype), persistent=persistent)
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedBuffer:
        found = UninitializedBuffer(self.requires_grad, self.device, self.dtype, self.persistent)
        memo[id(self)] = found
        return found


def is_lazy(param: object) -> bool:
    """Whether a parameter or buffer has no size yet."""
    return isinstance(param, Uninitialized)


def _share(tensor: Tensor, data: Any) -> None:
    if data is not None and not isinstance(data, Tensor):
        kind = type(data).__name__
        raise AttributeMissingError(
            mirrored(f"'{kind}' object has no attribute 'detach'"), "data must be a Tensor or None"
        )
    Tensor.__init__(tensor, () if data is None else data.data._value)
    if data is not None:
        tensor._counter = INFERENCE if data._counter is INFERENCE else None


def typename(value: object) -> str:
    """As PyTorch names the type of a value in its texts."""
    if isinstance(value, Tensor):
        return legacy_name(value.dtype, value.device.type)
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
