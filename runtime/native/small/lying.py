"""How results of small graphs lie in memory: in order, or as an operand does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any
from weakref import WeakSet

from retrograd.compiler.ir.graph import Constant, Input, Node, order
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.iota import IotaLike
from retrograd.compiler.ops.shape import Cast, Flip

LAYING: WeakSet[Callable[..., Any]] = WeakSet()
"""Functions whose result lies as its operands do (`strided.following`)."""


def followed(outputs: Sequence[Node]) -> Iterator[Node]:
    """The nodes whose order in memory that of a result would follow: here, results lie in order. So they do
    in NumPy beside an array that does."""
    ordered = _ordered(outputs)
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node.op, Elementwise | Cast | Flip) and ordered.isdisjoint(node.inputs):
            waiting += node.inputs


def _ordered(outputs: Sequence[Node]) -> set[Node]:
    """Arrays of several axes that are made of no input's elements."""
    made: set[Node] = set()
    for node in order(outputs):
        if isinstance(node.op, IotaLike) or (not isinstance(node.op, Input) and made.issuperset(node.inputs)):
            made.add(node)
    return {node for node in made if sum(size > 1 for size in node.type.shape) > 1}


def like(inputs: Sequence[Node], outputs: Sequence[Node], read: Collection[int]) -> int:
    """The input of the results' shape, if each element of a result comes from those in the same place; of the
    inputs these are read. Else -1."""
    shape = outputs[0].shape
    among = [*order(outputs), *[x for k, x in enumerate(inputs) if k in read]]
    alike = all(x.shape == shape or (x.type.size == 1 and x not in outputs) for x in among)
    if not alike or not all(isinstance(x.op, Elementwise | Cast | Constant | Input) for x in among):
        return -1
    if any(isinstance(x.op, Constant) and x.type.size > 1 for x in among):
        return -1
    return next((k for k in read if inputs[k].shape == shape), -1)
