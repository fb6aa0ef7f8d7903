"""Plans of the backward pass: how the adjoint of a node is worked out natively (`instant/walking.py`).

In flow a node of an op and its cotangent, when the pass comes to such types for the first time; out flows a
plan, as that file says, or None where the node has to be done by Python once more. `next_strange` is the pass
as far as it goes without Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Node, Value
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reduce import sum_to
from retrograd.runtime.eager.adjoints import BIG, known_rule
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.kernels import Kernel, kernel, rules
from retrograd.runtime.eager.kinds import PLAIN
from retrograd.runtime.eager.opnodes import OpNode, RowNode
from retrograd.runtime.eager.tape import GradNode
from retrograd.runtime.native.small.one_pass import rule_of

Line = tuple[Any, ...]
"""What works out one cotangent: a function, or None where it is an argument itself; and the arguments' places
among the operands, the result and the cotangent."""


def plan(node: OpNode, cotangent: Array, needed: int) -> tuple[Any, ...] | None:
    """The plan for a node of `PLAIN`; `needed` has a bit for each operand whose cotangent is wanted."""
    wanted = [bool(needed >> place & 1) for place in range(len(node.edges))]
    if isinstance(node, RowNode) and cotangent.size < BIG:
        found = rules(node.row, cotangent.dtype, *wanted)
        return node.op, tuple([_line(node.row, k, rule, cotangent.dtype) for k, rule in enumerate(found)])
    function = known_rule(node.op, cotangent, node.inputs or (), wanted)
    return None if function is None else (node.op, function)


def _line(row: Elementwise, operand: int, rule: Kernel | None, dtype: np.dtype[Any]) -> Line | None:
    """A row's cotangent of an operand: one of NumPy's functions where that is all, else the rule."""
    if rule is None:
        return None
    given, node = rule_of(row, operand, dtype)
    whole = (rule, *range(len(given)))
    return whole if node is None or dtype.itemsize <= 2 else _of_one(node, given) or whole


def _of_one(node: Node, given: Sequence[Node]) -> Line | None:
    """The line of a node that is an argument, or what one function of NumPy makes of arguments."""
    if node in given:
        return None, given.index(node)
    one = isinstance(node.op, Elementwise) and isinstance(node.op.numpy, np.ufunc)
    if not one or not all(x in given for x in node.inputs):
        return None
    return kernel(node.op), *map(given.index, node.inputs)


def _fitted(cotangent: Value, operand: Array) -> Array:
    """The cotangent of an operand that was broadcast."""
    return np.asarray(sum_to(cotangent, operand.shape))


def first(heap: list[GradNode], *rest: Any) -> GradNode | None:
    """The next node of any pass: each is Python's turn."""
    seen: GradNode | None = rest[-1]
    return seen or (heappop(heap) if heap else None)


next_strange = calls.walk(first, PLAIN, plan, _fitted)
"""The same, where all plain nodes before it have been done: given the heap of a pass, its pending cotangents,
leaves and owned leaves, useful and wanted edges, what is found, whether the tape is kept; and a node whose
cotangent hooks have seen, which is done before all others, or None."""
