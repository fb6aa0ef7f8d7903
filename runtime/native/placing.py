"""Views as inputs of compiled graphs: read where they lie, by strides.

In flow arrays that are not in order; out flow their `Placing`, which is part of what code is made for, and
graphs that see memory through it: an input becomes flat memory and a `Strided` op. Views whose elements meet
(sliding windows) and those that lie between elements have none; they are copied into order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Builder, Graph, Node, Type, apply, order
from retrograd.compiler.ops.shape import expand, permute, reshape
from retrograd.compiler.ops.strided import Strided
from retrograd.compiler.record import record
from retrograd.runtime.native.layout import layout


@record(slots=True)
class Placing:
    """How the elements of a view lie in memory, counted in elements."""

    strides: tuple[int, ...]
    """0 on axes of one element."""
    before: int
    """From the first one in memory to element 0, 0, …"""
    length: int
    """From the first one in memory to the last, both included."""


def placing(array: Any) -> Placing | None:
    """How an array lies; None if it is in order, or no code could read it where it is."""
    if type(array) is not np.ndarray or array.flags.c_contiguous or layout() is None:
        return None
    if not (array.flags.aligned and array.dtype.isnative) or any(s % array.itemsize for s in array.strides):
        return None
    steps = tuple(step // array.itemsize if size > 1 else 0 for size, step in zip(array.shape, array.strides))
    reach = 0
    for step, size in sorted((abs(step), size) for size, step in zip(array.shape, steps) if step):
        if step <= reach:
            return None
        reach += step * (size - 1)
    before = sum(-step * (size - 1) for size, step in zip(array.shape, steps) if step < 0)
    return Placing(steps, before, reach + 1)


def dense(shape: Sequence[int], strides: Sequence[int]) -> Placing:
    """The placing of elements that fill their memory."""
    return Placing(tuple(strides), 0, prod(shape))


def seen_through(graph: Graph, placings: Mapping[int, Placing], results: Mapping[int, Placing]) -> Graph:
    """The graph, with those of its inputs, by their numbers, that lie so, and with outputs that shall."""
    if not placings and not results:
        return graph
    builder = Builder()
    known = {node: _seen(builder, node, placings.get(k)) for k, node in enumerate(graph.inputs)}
    for node in order(graph.outputs):
        if node not in known:
            with builder.at(node.where):
                known[node] = builder.node(node.op, *(known[i] for i in node.inputs))
    outputs = [_inwards(known[node], results.get(k)) for k, node in enumerate(graph.outputs)]
    return Graph(graph.name, tuple(builder.inputs), tuple(outputs))


def _inwards(node: Node, place: Placing | None) -> Node:
    """An output with its axes from far to near in memory, so that what is in order is placed so."""
    if place is None:
        return node
    with node.builder.at(node.where):
        inwards: Node = permute(node, sorted(range(node.ndim), key=lambda k: -place.strides[k]))
    return inwards


def _seen(builder: Builder, node: Node, place: Placing | None) -> Node:
    """An input, as it was; if it lies in no order, as a view of memory."""
    label: str = node.op.label  # type: ignore[attr-defined]  # of an Input
    if place is None:
        return builder.input(label, node.type)
    with builder.at(node.where):
        flat = builder.input(label, Type((place.length,), node.dtype))
        shape = [size if step else 1 for size, step in zip(node.shape, place.strides)]
        kept = [k for k, step in enumerate(place.strides) if step]
        sizes, steps = tuple(shape[k] for k in kept), tuple(place.strides[k] for k in kept)
        elements = apply(Strided(sizes, steps, place.before), flat)
        seen: Node = expand(reshape(elements, shape), node.shape)
    return seen
