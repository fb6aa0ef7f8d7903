"""Reverse mode, once: one loop over ordered nodes. The adjoint pass and composite ops run it on graph
nodes; the tape of the Tensor API walks its own record but takes each step through `cotangents`, the same
as here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Node, Op, Value, order
from retrograd.compiler.ops.half import half_among
from retrograd.compiler.ops.reduce import sum_to
from retrograd.compiler.ops.shape import cast


def cotangents(
    op: Op, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
) -> list[Value | None]:
    """The inputs' cotangents, each with its input's shape: the op's rule, then broadcasts undone. Those of
    halves may come in float32, and are rounded."""
    found = op.adjoint(cotangent, out, inputs, needed)
    return [
        None
        if g is None or not need
        else sum_to(g if (half := half_among(x)) is None else cast(g, half), x.shape)
        for g, x, need in zip(found, inputs, needed, strict=True)
    ]


def backpropagate(seeds: Mapping[Node, Value], wanted: Sequence[Node]) -> dict[Node, Value]:
    """Cotangents of the `wanted` nodes, given those of some nodes (`seeds`); a node without influence is
    absent.

    The values of `seeds` are nodes of the same builder; so are those returned.
    """
    nodes = order(tuple(seeds))
    reaches = set(wanted)
    for node in nodes:
        if any(i in reaches for i in node.inputs) and node.dtype.is_inexact:
            reaches.add(node)
    total: dict[Node, Value] = dict(seeds)
    for node in reversed(nodes):
        cotangent = total.get(node)
        needed = [i in reaches and dtypes.of(i).is_inexact for i in node.inputs]
        if cotangent is None or node not in reaches or not any(needed):
            continue
        with node.builder.at(node.where):
            for i, g in zip(
                node.inputs, cotangents(node.op, cotangent, node, node.inputs, needed), strict=True
            ):
                if g is not None:
                    total[i] = total[i] + g if i in total else g
    return total
