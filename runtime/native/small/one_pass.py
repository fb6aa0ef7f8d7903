"""An elementwise graph of many elements: for each output one kernel of all its nodes, one pass over memory.

In flow a graph's inputs and outputs; out flows a function of arrays, as of small graphs (`steps.py`), or None
where a node is no row, or is neither as large as the output nor a single element, or where NumPy makes an
output in one pass as well. A kernel has no sizes in it, so graphs of the same rows share it; it is made when
such a graph is first met.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from retrograd.compiler import dtypes
from retrograd.compiler.backends.vector import Value
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Constant, Node, apply, order
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.entry import IN_ORDER, UNREAD
from retrograd.runtime.native.small.lines import ROWS
from retrograd.runtime.native.small.moving import MOST_AXES
from retrograd.runtime.native.small.steps import MOST_ELEMENTS, Compute, output_words, recorded

MOST_LINES = 40
"""Rows of a kernel, so that it is soon made."""


def function_of(
    inputs: Sequence[Node], outputs: Sequence[Node], listed: Sequence[int], slow: Compute
) -> Compute | None:
    """The graph as a function of arrays that lie in order; `slow` does the same for others."""
    passes = [_pass(node, inputs) for node in outputs]
    found = [each for each in passes if each is not None]
    if len(found) < len(passes):
        return None
    words: list[int] = []
    for number, (node, each) in enumerate(zip(outputs, found)):
        bases = [1 + len(inputs) + number, *[1 + inputs.index(x) for x in each.read]]
        places = [word for base in bases for word in (base, 0)]
        sizes = [node.type.size, *[int(x.type.size > 1) for x in each.read]]
        words += [each.kernel(), 3 + len(places) + len(sizes), len(bases), *places, *sizes]
    read = {x for each in found for x in each.read}
    into = [word for x in inputs for word in _input_words(x, x in read)]
    out = [word for node in outputs for word in output_words(node.type)]
    return recorded(len(inputs), len(outputs), into, out, listed, words, slow, None)


class _Pass(NamedTuple):
    """How an output is computed."""

    read: list[Node]
    """Inputs."""
    rows: list[Node]
    """The output is the last."""

    @property
    def text(self) -> str:
        """What is computed, for the cache."""
        names = {x: f"x{k}: {x.dtype}" for k, x in enumerate(self.read)}
        lines = []
        for k, node in enumerate(self.rows):
            operands = [names[x] if x in names else repr(_number(x)) for x in node.inputs]
            lines.append(f"{node.op.name}({', '.join(operands)}): {node.dtype}")
            names[node] = f"t{k}"
        return "; ".join(lines)

    def code(self, *read: Value) -> Value:
        """The output as vectors of what is read."""
        values = dict(zip(self.read, read))
        for node in self.rows:
            operands = [values[x] if x in values else _number(x) for x in node.inputs]
            like = next((values[x] for x in node.inputs if x in values and x.dtype is not dtypes.bool_), None)
            lifted = (
                operands if like is None else [x if isinstance(x, Value) else like.same(x) for x in operands]
            )
            values[node] = apply(node.op, *lifted)
        return values[self.rows[-1]]

    def kernel(self) -> int:
        """Where the code is."""
        text = self.text
        if text not in _KERNELS:
            kinds = [kernels.KINDS[x.dtype] for x in self.read]
            _KERNELS[text] = kernels.of_code(
                f"pass {text}", self.code, kinds, kernels.KINDS[self.rows[-1].dtype]
            )
        return _KERNELS[text]


_KERNELS: dict[str, int] = {}


def _pass(output: Node, inputs: Sequence[Node]) -> _Pass | None:
    """Of an output; None where that is not for here."""
    type_ = output.type
    if type_.size <= MOST_ELEMENTS or type_.ndim > MOST_AXES or output.dtype not in _FLOATS:
        return None
    rows = [node for node in order([output]) if not isinstance(node.op, Constant)]
    read = list(dict.fromkeys([x for node in rows for x in node.inputs if x in inputs]))
    values = [*rows, *read]
    if not 0 < len(read) <= len(ROWS) or not 0 < len(rows) <= MOST_LINES or _is_one_pass(rows):
        return None
    if not all(x.type.size == 1 or x.shape == type_.shape for x in values):
        return None
    return _Pass(read, rows) if all(_is_written(node, output.dtype) for node in rows) else None


def _is_one_pass(rows: Sequence[Node]) -> bool:
    """Whether NumPy has a function that does all."""
    return len(rows) == 1 and isinstance(rows[0].op, Elementwise) and rows[0].op.numpy is not None


def _is_written(node: Node, dtype: DType) -> bool:
    """Whether there is code for a row of truths and of elements of this dtype, whose numbers stand beside
    vectors of their own kind."""
    if not isinstance(node.op, Elementwise) or node.op.name in _UNWRITTEN:
        return False
    if any(x.dtype not in (dtype, dtypes.bool_) for x in (node, *node.inputs)):
        return False
    numbers = [x for x in node.inputs if isinstance(x.op, Constant)]
    beside = [x for x in node.inputs if x not in numbers and x.dtype is not dtypes.bool_]
    return not numbers or (bool(beside) and all(x.type.size == 1 and x.dtype is dtype for x in numbers))


_FLOATS = (dtypes.float32, dtypes.float64)
_UNWRITTEN = {"floor_divide", "ndtri", "pow", "trigamma", "zeta"}
"""Rows whose formulas have no code for vectors: they look at an exponent, or join numbers alone."""


def _number(node: Node) -> Any:
    assert isinstance(node.op, Constant)
    return node.op.value.item()


def _input_words(node: Node, is_read: bool) -> list[int]:
    shape = node.shape if is_read else ()
    rest = [0] * (MOST_AXES - len(shape))
    how = IN_ORDER if is_read else UNREAD
    return [how, id(node.dtype.numpy), len(shape), 0, 0, *shape, *rest, *[0] * MOST_AXES]
