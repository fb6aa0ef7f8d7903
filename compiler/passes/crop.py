"""Graph → Graph: of a transposed convolution, only the places that are read.

    slice(transposed_convolution(x, w, padding=0))  →  transposed_convolution(x, w, padding=1)

The gradient of a padded image has such a slice: the margins need not be computed. It happens while both ops
still have their names, and where nothing else reads the whole.
"""

from __future__ import annotations

from collections import Counter

from retrograd.compiler.ir.graph import Builder, Graph, Input, Node
from retrograd.compiler.ops.convolution import TransposedConvolution
from retrograd.compiler.ops.shape import Slice


def crop(graph: Graph) -> Graph:
    """The graph without such slices."""
    crops = {node: op for node in graph.nodes if (op := _cropped(node)) is not None}
    if crops:
        readers = Counter(i for node in graph.nodes for i in node.inputs) + Counter(graph.outputs)
        crops = {node: op for node, op in crops.items() if readers[node.inputs[0]] == 1}
    if not crops:
        return graph
    builder = Builder()
    known: dict[Node, Node] = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        known[node] = builder.input(node.op.label, node.type)
    for node in graph.nodes:
        inputs = node.inputs[0].inputs if node in crops else node.inputs
        with builder.at(node.where):
            known[node] = builder.node(crops.get(node, node.op), *(known[i] for i in inputs))
    return Graph(graph.name, tuple(builder.inputs), tuple(known[n] for n in graph.outputs))


def _cropped(node: Node) -> TransposedConvolution | None:
    """The transposed convolution that gives just what the slice of one does."""
    part = node.op
    if not isinstance(part, Slice) or set(part.steps) != {1}:
        return None
    (whole,) = node.inputs
    op, lead = whole.op, whole.type.shape[:2]
    if not isinstance(op, TransposedConvolution) or (part.starts[:2], part.stops[:2]) != ((0, 0), lead):
        return None
    image, kernel = (node.type.shape[2:] for node in whole.inputs)
    padding = tuple(p + start for p, start in zip(op.padding, part.starts[2:], strict=True))
    reached = [
        (n - 1) * step + apart * (k - 1) + 1 - 2 * p
        for n, step, apart, k, p in zip(image, op.stride, op.dilation, kernel, padding, strict=True)
    ]
    sizes = [stop - start for start, stop in zip(part.starts[2:], part.stops[2:], strict=True)]
    more = tuple(size - n for size, n in zip(sizes, reached, strict=True))
    return TransposedConvolution(op.stride, op.dilation, op.groups, padding, more)
