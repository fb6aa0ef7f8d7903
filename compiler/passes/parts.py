"""Graph → Graph: a sum of parts that lie beside each other becomes their concatenation, and a sum of products
one product of theirs.

    pad(a, after a) + pad(b, before b)   →   concat(a, b)
    dot(a, x) + dot(b, y)                →   dot(concat(a, b), concat(x, y))

The derivative by rows of a matrix that were read one by one (`x[0]`, `x[1]`, `unbind`, `chunk`) is a sum of
the first kind, that by a weight which all steps of a recurrent network share one of the second. Concatenation
costs nothing where each part is stored in its place at once (`lower/parts.py`); the sum would ask of every
element in which part it lies, or write and read all of a product for each term.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from retrograd.compiler.ir.graph import OPS, Builder, Graph, Input, Node
from retrograd.compiler.ops.contract import Dot, dot, transpose
from retrograd.compiler.ops.shape import Pad, Permute, concat, expand

_ENOUGH = 4
"""So many parts are put together first even where other terms remain to be added."""


def join_parts(graph: Graph) -> Graph:
    """The graph with such sums replaced."""
    if not any(isinstance(node.op, Pad | Dot) for node in graph.nodes):
        return graph
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    uses.update(graph.outputs)
    inner = {i for node in graph.nodes if _adds(node) for i in node.inputs if _adds(i) and uses[i] == 1}
    builder = Builder()
    known: dict[Node, Node] = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        known[node] = builder.input(node.op.label, node.type)
    with builder.at(None):
        for node in graph.nodes:
            if node not in inner:
                builder.where = node.where
                joined = _joined(_terms(node, inner), uses, known) if _adds(node) else None
                known[node] = _plain(builder, node, inner, known) if joined is None else joined
    return Graph(graph.name, tuple(builder.inputs), tuple(known[n] for n in graph.outputs))


def _adds(node: Node) -> bool:
    return node.op is OPS["add"]


def _plain(builder: Builder, node: Node, inner: set[Node], known: dict[Node, Node]) -> Node:
    """The node as it was, with the sums inside it."""
    stack = [node]
    while stack:
        last = stack[-1]
        missing = [i for i in last.inputs if i in inner and i not in known]
        if missing:
            stack += missing
            continue
        known[last] = builder.node(last.op, *(known[i] for i in last.inputs))
        stack.pop()
    return known[node]


def _terms(node: Node, inner: set[Node]) -> list[Node]:
    """What is added up, from left to right."""
    found: list[Node] = []
    stack = [node]
    while stack:
        n = stack.pop()
        if n is node or n in inner:
            stack += reversed(n.inputs)
        else:
            found.append(n)
    return found


def _joined(terms: Sequence[Node], uses: Counter[Node], known: dict[Node, Node]) -> Node | None:
    """The sum, if it is worth while to put parts of it together."""
    joined = _concatenated(terms, known)
    return _multiplied(terms, uses, known) if joined is None else joined


def _concatenated(terms: Sequence[Node], known: dict[Node, Node]) -> Node | None:
    """The sum, if it is worth while to put parts along one axis together."""
    shapes = {t.shape for t in terms}
    if len(shapes) > 1 or len(terms) < 2:
        return None
    (shape,) = shapes
    places = {t: _place(t) for t in terms}
    axes = [place[0] for place in places.values() if place is not None]
    if not axes:
        return None
    axis = Counter(axes).most_common(1)[0][0]
    parts: list[tuple[int, Node]] = []
    end = 0
    for term in sorted((t for t in terms if places[t] is not None), key=lambda t: (places[t] or (0, 0))[1]):
        along, start = places[term] or (0, 0)
        if along == axis and start >= end:
            parts.append((start, term))
            end = start + term.inputs[0].shape[axis]
    rest = list(terms)
    for _, term in parts:
        rest.remove(term)
    if len(parts) < 2 or (rest and len(parts) < _ENOUGH):
        return None
    total: Node = concat(_filled(parts, axis, shape, known), axis)
    for term in rest:
        total = total + known[term]
    return total


def _multiplied(terms: Sequence[Node], uses: Counter[Node], known: dict[Node, Node]) -> Node | None:
    """The sum, if so many of its terms are short products that they had better be one."""
    short = [t for t in terms if _is_short(t) and uses[t] == 1]
    if len(short) < _ENOUGH:
        return None
    left, right = (_beside([t.inputs[side] for t in short], 1 - side, known) for side in range(2))
    total: Node = dot(left, right)
    for term in terms:
        if term not in short:
            total = total + known[term]
    return total


def _is_short(node: Node) -> bool:
    """Is it a product of matrices that are smaller together than the result?"""
    if not isinstance(node.op, Dot) or len(node.shape) != 2:
        return False
    (rows, columns), inner = node.shape, node.inputs[0].shape[1]
    return (rows + columns) * inner <= rows * columns


def _beside(matrices: Sequence[Node], axis: int, known: dict[Node, Node]) -> Node:
    """One after the other along an axis; those that are transposed, as they were before."""
    turned = all(isinstance(m.op, Permute) for m in matrices)
    parts = [known[m.inputs[0] if turned else m] for m in matrices]
    joined: Node = concat(parts, 1 - axis if turned else axis)
    found: Node = transpose(joined) if turned else joined
    return found


def _place(node: Node) -> tuple[int, int] | None:
    """The one axis along which a node is padded with zeros, and where its operand begins."""
    op = node.op
    if not isinstance(op, Pad) or any(op.interior) or op.fill:
        return None
    padded = [k for k, (low, high) in enumerate(zip(op.low, op.high, strict=True)) if low or high]
    return (padded[0], op.low[padded[0]]) if len(padded) == 1 else None


def _filled(
    parts: Sequence[tuple[int, Node]], axis: int, shape: tuple[int, ...], known: dict[Node, Node]
) -> list[Node]:
    """The parts, and zeros between them."""
    found: list[Node] = []
    end = 0
    for start, term in parts:
        part = known[term.inputs[0]]
        found += _zeros(part, axis, shape, start - end)
        found.append(part)
        end = start + part.shape[axis]
    return found + _zeros(found[-1], axis, shape, shape[axis] - end)


def _zeros(like: Node, axis: int, shape: tuple[int, ...], count: int) -> list[Node]:
    if not count:
        return []
    size = [count if k == axis else s for k, s in enumerate(shape)]
    return [expand(like.builder.constant(0, like.dtype), size)]


__all__ = ["join_parts"]
