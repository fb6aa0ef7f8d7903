"""Everything of a graph that decides its code, as a short text: a name under which the code can be kept.

In flows a Graph, out flows a digest, the same in every process; labels of inputs and the user's lines are no
part of it. Ops whose code nobody here knows (a user's own classes) have none. A new kind of parameter of ops
is a case of `_text`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Graph, Node, Op
from retrograd.compiler.ops.row import Elementwise
from retrograd.compiler.record import field_names

_LIBRARY = __name__.partition(".")[0]
_SHORT = 64
"""Bytes of an array that are written down as they are."""
_PLAIN = (bool, int, float, str, bytes, type(None))


class _Unknown(Exception):
    """Something that cannot be written down."""


def fingerprint(graph: Graph) -> str | None:
    """The digest; None if there is none."""
    try:
        text = "\n".join(_lines(graph))
    except _Unknown:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(graph: Graph) -> Iterator[str]:
    yield graph.name
    places: dict[Node, int] = {node: place for place, node in enumerate(graph.inputs)}
    yield ", ".join(str(node.type) for node in graph.inputs)
    for node in graph.nodes:
        places[node] = len(places)
        operands = [places[operand] for operand in node.inputs]
        yield f"{_op(node.op)} {operands} {node.type}"
    yield str([places[node] for node in graph.outputs])


def _op(op: Op) -> str:
    if isinstance(op, Elementwise):
        return f"{op.name} {op.formula} {op.types} {op.overrides} {op.native_on}"
    return f"{op.name} {_text(op)}"


def _text(value: object) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, np.ndarray):
        content = value.tobytes()
        told = content if len(content) <= _SHORT else hashlib.sha256(content).digest()
        return f"{value.dtype.str}{value.shape}{told.hex()}"
    if isinstance(value, np.generic):
        return f"{value.dtype.str}{value.tobytes().hex()}"
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Elementwise):
        return _op(value)
    if isinstance(value, tuple | list):
        return f"{kind.__name__}({', '.join(map(_text, value))})"
    if kind.__module__.partition(".")[0] != _LIBRARY:
        raise _Unknown
    if (names := field_names(kind)) is not None:
        members = ", ".join(_text(getattr(value, name)) for name in names)
        return f"{kind.__module__}.{kind.__qualname__}({members})"
    if isinstance(value, Op):
        return f"{kind.__module__}.{kind.__qualname__}"
    raise _Unknown
