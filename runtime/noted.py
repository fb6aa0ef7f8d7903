"""What a trace notes of Tensors outside: how they were, what is drawn into them, what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.laws import Law

AnyTensor = Any
"""A Tensor, which stands on a higher floor."""


class Words(NamedTuple):
    """What is said to somebody who must know the elements of a Tensor inside a trace."""

    tensor: str
    """What it is."""
    elements: str
    """Why its elements are not known."""
    number: str
    """Why nobody knows how many a mask of it picks."""
    instead: str
    """What else to do."""


class Before(NamedTuple):
    """The state of an outside Tensor before the trace touched it; it comes back when the trace ends."""

    edge: Any
    requires_grad: bool
    grad: AnyTensor | None
    version: int | None


class Draw(NamedTuple):
    """Random numbers that a function asks for: drawn again before each call of what is traced."""

    tensor: AnyTensor
    """A Tensor outside the trace, which each draw gives a fresh array."""
    law: Law
    generator: Generator
    place: Callable[[Array], Any]
    """Puts the array where the function's Tensors are."""

    def sample(self) -> Any:
        """The numbers, drawn now."""
        return self.place(self.law.draw(self.tensor._value.shape, self.generator))
