"""What a value under `vmap` is for all examples.

In flow Tensors and arrays along whose first axis examples lie, or which are the same for all; out flows what
is `Known` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Node, Type
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.tensor import Tensor

Look = tuple[Callable[..., Tensor], "Sequence[Known]"]
"""What makes a Tensor of others."""


class Known:
    """What a value is for all examples."""

    __slots__ = ("array", "batched", "sort", "tracked", "type", "_look", "_tensor")

    def __init__(
        self, tensor: Tensor | None, array: Any, batched: bool, type_: Type, sort: Sort | None,
        look: Look | None = None,
    ) -> None:  # fmt: skip
        self._tensor = tensor
        self._look = look
        """Where the array may show elements of others."""
        self.array = array
        self.batched = batched
        self.type = type_
        """Of one example."""
        self.sort = sort
        """None where nothing is to be planned for it."""
        self.tracked = tensor is not None and tensor._requires_grad

    @property
    def tensor(self) -> Tensor:
        """To be asked outside of the trace."""
        if self._tensor is None:
            if self._look is None:
                self._tensor = Tensor(self.array)
            else:
                look, operands = self._look
                self._tensor = look(*[x.tensor for x in operands])
        return self._tensor

    @property
    def value(self) -> Any:
        """The Tensor, or an array that shows nothing of others; asked likewise."""
        return self.array if self._tensor is None and self._look is None else self.tensor

    def of_example(self, place: int) -> Tensor:
        """The Tensor of one of them; asked likewise."""
        chosen: Tensor = moves.select(self.tensor, 0, place) if self.batched else self.tensor
        return chosen


class Sort:
    """What stands for `batched` and the type of an array, in keys."""

    __slots__ = ()


_SORTS: dict[Hashable, Sort] = {}
_MOST = 4096


def sort_of(array: Any, batched: bool) -> Sort:
    """That of a value of any level."""
    key = (batched, array.shape, array.dtype)
    found = _SORTS.get(key)
    if found is None:
        if len(_SORTS) >= _MOST:
            _SORTS.clear()
        found = _SORTS[key] = Sort()
    return found


def known_of(value: Any, batched: bool, planned: bool) -> Known:
    """What is known of a Tensor, or of an array, that is there already; `planned` where what is done to it is
    to be planned."""
    tensor = value if isinstance(value, Tensor) else None
    array = value if tensor is None else tensor._value
    shape = tuple(array.shape)
    kind = Type(shape[1:] if batched else shape, dtypes.of(array))
    known = isinstance(array, np.ndarray | Node) and (planned or tensor is None)
    return Known(tensor, array, batched, kind, sort_of(array, batched) if known else None)


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape along a new first axis."""
    whole: Tensor = moves.concat([moves.unsqueeze(x, [0]) for x in tensors], 0)
    return whole


def everywhere(tensor: Tensor, batched: bool, size: int) -> Tensor:
    """For all examples the same, where it is not batched."""
    return tensor if batched else moves.expand(moves.unsqueeze(tensor, [0]), (size, *tensor.shape))
