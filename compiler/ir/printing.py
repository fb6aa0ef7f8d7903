"""Graph to text, which `parsing` reads back; the grammar is that of `ir.graph`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from itertools import chain, count
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import OPS, Constant, Graph, Input, Node, Op, Type


def print_graph(graph: Graph) -> str:
    """The graphs that its loops go through, each under a name of its own, and the graph itself."""
    named: dict[int, str] = {}
    texts: list[str] = []
    _print(graph, graph.name, named, texts)
    return "\n\n".join(texts)


def _print(graph: Graph, title: str, named: dict[int, str], texts: list[str]) -> None:
    """Append the text of a graph, after those of the graphs in it that have no name yet."""
    for inner in _inner(graph):
        if id(inner) not in named:
            named[id(inner)] = _unused(inner.name, (title, *named.values()))
            _print(inner, named[id(inner)], named, texts)
    texts.append(_text(graph, title, named))


def _inner(graph: Graph) -> list[Graph]:
    """The graphs that are parameters of its ops."""
    return [value for node in graph.nodes for _, value in parameters(node.op) if isinstance(value, Graph)]


def _unused(name: str, taken: Collection[str]) -> str:
    return next(n for n in chain([name], (f"{name}_{k}" for k in count(2))) if n not in taken)


def _text(graph: Graph, title: str, named: Mapping[int, str]) -> str:
    names: dict[Node, str] = {n: n.op.label for n in graph.inputs if isinstance(n.op, Input)}
    lines: list[tuple[str, str, str]] = []

    def name(node: Node) -> str:
        if node not in names:
            call = _call(node, name, named)
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
    return f"graph {title}({inputs}) -> {results} {{\n{body}  return {returned}\n}}"


def _call(node: Node, name_of: Callable[[Node], str], named: Mapping[int, str]) -> str:
    """`op(operands, field=…)`; a 0-d constant of the dtype that a bare number would take is written as
    that number."""
    shaped = [i for i in node.inputs if not (isinstance(i.op, Constant) and i.ndim == 0)]
    parts = []
    for i in node.inputs:
        bare = isinstance(i.op, Constant) and i.ndim == 0 and shaped and i.dtype is shaped[-1].dtype
        parts.append(_number(i.op.value.item()) if bare and isinstance(i.op, Constant) else name_of(i))
    for name, value in parameters(node.op):
        parts.append(f"{name}={named[id(value)] if isinstance(value, Graph) else literal(value)}")
    return f"{node.op.name}({', '.join(parts)})"


def _number(value: Any) -> str:
    """A number as text; a complex one as Python writes it, if that is read back with all signs of zeros."""
    if not isinstance(value, complex):
        return repr(value)
    signed = value.real != 0 or str(value.real) + str(value.imag).lstrip("0123456789.") == "0.0"
    return repr(value) if signed and value - value == 0 else f"complex({value.real!r}, {value.imag!r})"


def parameters(op: Op) -> list[tuple[str, object]]:
    """The static parameters of an op, in order; none for a row of a table, which is itself in `OPS`."""
    typed: Any = op  # an op that has parameters is a dataclass
    return [] if OPS.get(op.name) is op else [(f.name, getattr(op, f.name)) for f in fields(typed)]


def literal(value: object) -> str:
    """A static parameter as text."""
    if isinstance(value, np.ndarray):
        numbers = ", ".join(map(_number, value.ravel().tolist()))
        return f"array([{numbers}], {Type(value.shape, dtypes.dtype(value.dtype))})"
    if isinstance(value, DType):
        return value.name
    return str(value) if isinstance(value, Type) else repr(value)
