"""Graph to text, which `parsing` reads back; the grammar is that of `ir.graph`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import OPS, Constant, Graph, Input, Node, Op, Type


def print_graph(graph: Graph) -> str:
    names: dict[Node, str] = {n: n.op.label for n in graph.inputs if isinstance(n.op, Input)}
    lines: list[tuple[str, str, str]] = []

    def name(node: Node) -> str:
        if node not in names:
            call = _call(node, name)
            names[node] = f"%{len(lines)}"
            where = f"    # {node.where}" if node.where else ""
            lines.append((f"  {names[node]} = {call}", f": {node.type}", where))
        return names[node]

    for node in graph.nodes:
        if not (isinstance(node.op, Constant) and node.ndim == 0):
            name(node)
    returned = ", ".join(name(n) for n in graph.outputs)
    calls, types = (max((len(line[k]) for line in lines), default=0) for k in (0, 1))
    body = "".join(f"{call:<{calls}} {type_:<{types}}{where}".rstrip() + "\n" for call, type_, where in lines)
    inputs = ", ".join(f"{names[n]}: {n.type}" for n in graph.inputs)
    results = ", ".join(str(n.type) for n in graph.outputs)
    return f"graph {graph.name}({inputs}) -> {results} {{\n{body}  return {returned}\n}}"


def _call(node: Node, name_of: Callable[[Node], str]) -> str:
    """`op(operands, field=…)`; a 0-d constant of the dtype that a bare number would take is written as
    that number."""
    shaped = [i for i in node.inputs if not (isinstance(i.op, Constant) and i.ndim == 0)]
    parts = []
    for i in node.inputs:
        bare = isinstance(i.op, Constant) and i.ndim == 0 and shaped and i.dtype is shaped[-1].dtype
        parts.append(repr(i.op.value.item()) if bare and isinstance(i.op, Constant) else name_of(i))
    parts += [f"{name}={literal(value)}" for name, value in parameters(node.op)]
    return f"{node.op.name}({', '.join(parts)})"


def parameters(op: Op) -> list[tuple[str, object]]:
    """The static parameters of an op, in order; none for a row of a table, which is itself in `OPS`."""
    typed: Any = op  # an op that has parameters is a dataclass
    return [] if OPS.get(op.name) is op else [(f.name, getattr(op, f.name)) for f in fields(typed)]


def literal(value: object) -> str:
    """A static parameter as text."""
    if isinstance(value, np.ndarray):
        return f"array({value.ravel().tolist()}, {Type(value.shape, dtypes.dtype(value.dtype))})"
    if isinstance(value, DType):
        return value.name
    return str(value) if isinstance(value, Type) else repr(value)
