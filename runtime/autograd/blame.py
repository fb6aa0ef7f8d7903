"""Where a NaN in a compiled derivative comes from: the graph evaluated node by node, in anomaly mode.

In flow the graph of values and gradients and the arrays that it was called with; out flow the function and
the line whose derivative made the first NaN. Nodes of a derivative carry the line of what they derive
(`line_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from retrograd.compiler.errors import GradientError, Location, mirrored
from retrograd.compiler.ir.graph import Array, Builder, Constant, Graph, Node, apply, order
from retrograd.compiler.ir.quiet import quietly
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.eager.tape import GradNode
from retrograd.runtime.grad_names import title


def origin(graph: Graph, values: int, arrays: Sequence[Array]) -> tuple[str, Location | None] | None:
    """The name and the line of the operation in whose derivative a NaN first appears; the graph's first
    outputs, so many, are values. None if there is no such operation.
    """
    forward = order(graph.outputs[:values])
    own, known = set(forward), dict(zip(graph.inputs, arrays, strict=True))
    for node in graph.nodes:
        operands = [known[i] for i in node.inputs]
        constant = node.op.value if isinstance(node.op, Constant) else None
        known[node] = quietly(apply, node.op, *operands) if constant is None else constant
        if node not in own and _has_nan(known[node]) and not any(map(_has_nan, operands)):
            return _derived(node, forward), node.where
    return None


def _has_nan(array: Any) -> bool:
    return bool(array.dtype.kind == "f" and np.isnan(array).any())


def _derived(node: Node, forward: Sequence[Node]) -> str:
    """The operation of that line, as eager mode calls its derivative."""
    titles = [title(n.op) for n in forward if n.where == node.where and not isinstance(n.op, Constant)]
    return titles[-1] if titles else title(node.op)


def nan_error(name: str, place: int, where: Location | None) -> GradientError:
    """What anomaly mode says of a NaN."""
    return GradientError(
        mirrored(f"Function '{name}' returned nan values in its {place}th output."),
        "the line is that of the operation whose derivative this is",
        "look at the operands there: 0/0, inf-inf, log or sqrt of a negative number",
        where=where,
    )


def line_of(node: GradNode) -> AbstractContextManager[None]:
    """Within, what is traced carries the line of the operation that is differentiated, if that was traced."""
    if not isinstance(node, OpNode):
        return _ANY_LINE
    operands = node.inputs
    if not operands or not all(type(x) is Node for x in operands):
        return _ANY_LINE
    builder: Builder = operands[0].builder
    return builder.at(builder.line(node.op, operands))


_ANY_LINE = nullcontext()
