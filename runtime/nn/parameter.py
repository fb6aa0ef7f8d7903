"""Tensors that a Module holds: parameters, which are trained, and buffers, which are only kept.

Assigning one to an attribute of a Module registers it there. Both share the memory of the data they are made
of.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored
from retrograd.runtime.names import legacy_name
from retrograd.runtime.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a Module trains: `Parameter(data, requires_grad=True)`, a leaf, sharing the data's
    memory.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        _share(self, data)
        if requires_grad and not self.is_floating_point():
            raise DtypeError(
                mirrored("Only Tensors of floating point and complex dtype can require gradients")
            )
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A Tensor that belongs to a Module's state and is not trained; if `persistent`, to its `state_dict`."""

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        _share(self, data)
        self.persistent = persistent


def _share(tensor: Tensor, data: Any) -> None:
    if data is not None and not isinstance(data, Tensor):
        raise ArgumentError(
            f"{type(tensor).__name__}() of a {type(data).__name__}", "data must be a Tensor or None"
        )
    Tensor.__init__(tensor, () if data is None else data.detach()._value)


def typename(value: object) -> str:
    """As PyTorch names the type of a value in its texts."""
    if isinstance(value, Tensor):
        return legacy_name(value.dtype, value.device.type)
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
