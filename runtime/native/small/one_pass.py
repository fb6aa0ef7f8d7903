"""Elementwise graphs as passes over memory: for each output one kernel of all its nodes.

In flow a graph's inputs and outputs, or a row of the elementwise table; out flows a function of arrays
(`elements.py`), or None where a node is no row, or where NumPy alone makes an output in one pass. A kernel
has no sizes in it, so all graphs of the same rows share it; it is made when such a graph is first met.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.backends.kinds import HALVES
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Array, Builder, Constant, Node, Op, Type, apply, order
from retrograd.compiler.ops import powers
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.row import Types
from retrograd.compiler.ops.shape import Cast, Expand
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native import cpu
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.elements import HEAD_WORDS, MOST_READ, PASS_WORDS
from retrograd.runtime.native.small.steps import FEW_ELEMENTS, Compute, native

if TYPE_CHECKING:
    from retrograd.compiler.backends.vector import Value

MOST_LINES = 64
"""Rows of a kernel, so that it is soon made."""
MOST_TWICE = 4
"""Rows of a kernel whose code may stand there twice."""
ALL = (1 << 63) - 1
"""More elements than there can be."""


def function_of(
    inputs: Sequence[Node], outputs: Sequence[Node], listed: Sequence[int], slow: Compute
) -> Compute | None:
    """A graph of many elements as a function of arrays that lie in order; `slow` does the same for others."""
    if any(node.type.size <= FEW_ELEMENTS for node in outputs):
        return None
    passes = [_pass(node, inputs, exact=True) for node in outputs]
    found = [each for each in passes if each is not None]
    return _function(inputs, found, listed, slow, ALL) if len(found) == len(passes) else None


def of_row(row: Elementwise, dtype: np.dtype[Any], slow: Compute, most: int) -> Compute:
    """A row that NumPy lacks, of arrays of fewer than `most` elements; `slow` does the same for any."""
    if not kernels.is_lacking(row):
        return slow
    builder = Builder()
    with builder.at(None):
        inputs = _operands(builder, row, dtype)
        out = builder.node(row, *inputs)
    return _alone(inputs, out, slow, most)


def of_halves(row: Elementwise, dtype: np.dtype[Any], slow: Compute) -> Compute:
    """A row of halves, computed in float32 and rounded once; `slow` does the same for any operands."""
    if layout() is None:
        return slow
    builder = Builder()
    with builder.at(None):
        inputs = _operands(builder, row, dtype)
        out = builder.node(row, *inputs)
    return _function(inputs, [_Pass(inputs, [out], exact=False)], [], slow, ALL)


def of_cast(op: Cast, source: DType) -> Compute | None:
    """The elements in another dtype, if there is a kernel."""
    if not _is_cast(source, op.dtype):
        return None
    builder = Builder()
    with builder.at(None):
        given = builder.input("x", Type((2,), source))
        out = builder.node(op, given)
    return _function([given], [_Pass([given], [out], exact=False)], [], op.evaluate, ALL)


def _is_cast(source: DType, dtype: DType) -> bool:
    """Whether there is a kernel for both that rounds as NumPy; doubles become bfloat16 by way of float32
    there."""
    known = source in kernels.IN_PASSES and dtype in kernels.IN_PASSES and layout() is not None
    return known and not (source is dtypes.float64 and dtype is dtypes.bfloat16)


QUICK = {
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", "minimum", "floor", "ceil", "trunc",
    "copysign", "fmod", "remainder", "floor_divide",
}  # fmt: skip
"""Rows that NumPy does in one pass, of which a kernel gives the same bits."""
DIVISIONS = {"floor_divide", "remainder", "fmod"}
"""Such rows of whole numbers."""
ROUNDED_OTHERWISE = {"hypot"}
"""Such rows, of which it gives other bits, and much sooner."""


def is_quick(row: Op, dtype: np.dtype[Any]) -> bool:
    """Whether it is such a row, and there is a kernel for such elements."""
    kind = dtypes.dtype(dtype)
    whole = row.name in DIVISIONS and kind.category == 1 and kind in kernels.IN_PASSES
    return (whole or (row.name in QUICK | ROUNDED_OTHERWISE and kind in FLOATS)) and layout() is not None


def quickly(row: Op, dtype: np.dtype[Any], slow: Compute) -> Compute:
    """The row by the kernel, if it is such a row, and powers that are products by theirs; `slow` does the
    same for any operands."""
    if row.name == "pow":
        return _powers(dtype, slow)
    if not isinstance(row, Elementwise) or not is_quick(row, dtype):
        return slow
    builder = Builder()
    with builder.at(None):
        inputs = _operands(builder, row, dtype)
        out = builder.node(row, *inputs)
    return _function(inputs, [_Pass(inputs, [out], exact=False)], [], slow, ALL)


def _powers(dtype: np.dtype[Any], slow: Compute) -> Compute:
    """Powers by one exponent each: those that cost less than a power are kernels, all others for `slow`."""
    if dtypes.dtype(dtype) not in FLOATS or layout() is None:
        return slow

    @cache
    def by(exponent: float) -> Compute | None:
        product = powers.by_products(exponent)
        return None if product is None else _of_formula(product, dtype, 1)

    def power(x: Array, exponent: Array, *target: Array) -> Any:
        found = by(float(exponent)) if exponent.ndim == 0 else None
        return slow(x, exponent, *target) if found is None else found(x, *target)

    return power


def _power_rule(dtype: np.dtype[Any], general: Compute) -> Compute:
    """The cotangent of what is raised to such a power."""

    @cache
    def by(exponent: float) -> Compute | None:
        slope = powers.slope(exponent)
        return None if slope is None else _of_formula(lambda x, ct: ct * slope(x), dtype, 2)

    def rule(x: Array, exponent: Array, out: Array, cotangent: Array) -> Any:
        found = by(float(exponent)) if exponent.ndim == 0 else None
        return general(x, exponent, out, cotangent) if found is None else found(x, cotangent)

    return rule


def _of_formula(formula: Compute, dtype: np.dtype[Any], count: int) -> Compute:
    """A formula of so many operands."""
    builder, many = Builder(), Type((2,), dtypes.dtype(dtype))
    with builder.at(None):
        inputs = [builder.input(f"x{k}", many) for k in range(count)]
        rows = [node for node in order([formula(*inputs)]) if node.inputs]
    return _function(inputs, [_Pass(inputs, rows, exact=True)], [], formula, ALL)


def of_rule(row: Elementwise, operand: int, dtype: np.dtype[Any], slow: Compute) -> Compute:
    """A row's cotangent of an operand, from the operands, the value, and the value's cotangent."""
    inputs, found = rule_of(row, operand, dtype)
    whole = _alone(inputs, found, slow, ALL)
    return _power_rule(dtype, whole) if row.name == "pow" and operand == 0 and layout() is not None else whole


def rule_of(row: Elementwise, operand: int, dtype: np.dtype[Any]) -> tuple[list[Node], Node | None]:
    """What stands for these, and the cotangent as a graph of it."""
    builder, wanted = Builder(), [k == operand for k in range(row.arity)]
    with builder.at(None):
        operands = _operands(builder, row, dtype)
        out, cotangent = [builder.input(name, operands[-1].type) for name in ("out", "ct")]
        found = cotangents(row, cotangent, out, operands, wanted)[operand]
    return [*operands, out, cotangent], found


def overwriting(inputs: Sequence[Node], output: Node, slow: Compute) -> Compute | None:
    """An input, or a number, cast and repeated, as a function of the inputs to the list of the output, which
    takes an array to write to behind them; `slow` gives the list, too."""
    root, steps = output, 0
    while isinstance(root.op, Expand | Cast):
        steps += isinstance(root.op, Cast)
        (root,) = root.inputs
    number = root.op.value if isinstance(root.op, Constant) and root.type.size == 1 else None
    if output.type.size <= FEW_ELEMENTS or steps > 1 or (number is None and root not in inputs):
        return None
    if not _is_cast(root.dtype, output.dtype):
        return None
    cast = root.builder.node(Cast(output.dtype), root)
    alone = _Pass([root], [cast], exact=False)
    if number is None:
        return _function(inputs, [alone], [0], slow, ALL)
    of_number = _function([root, *inputs], [alone], [0], lambda _, *given: slow(*given), ALL)
    return partial(of_number, np.asarray(number).reshape(()))


def writes(compute: Compute) -> bool:
    """Whether it is such a callable, which takes arrays behind its operands, to write results there."""
    whole = compute.func if isinstance(compute, partial) else compute
    return getattr(whole, "__name__", "") == "retrograd_elements"


class _Pass(NamedTuple):
    """How an output is computed."""

    read: list[Node]
    """Inputs."""
    rows: list[Node]
    """The output is the last."""
    exact: bool
    """Whether each row is rounded by itself, as it is without the others."""

    @property
    def text(self) -> str:
        """What is computed, for the cache."""
        names = {x: f"x{k}: {x.dtype}" for k, x in enumerate(self.read)}
        lines = []
        for k, node in enumerate(self.rows):
            operands = [names[x] if x in names else repr(_number(x)) for x in node.inputs]
            lines.append(f"{node.op.name}({', '.join(operands)}): {node.dtype}")
            names[node] = f"t{k}"
        return "; ".join(["exact"] * self.exact + lines)

    def code(self, *read: Value) -> Value:
        """The output as vectors of what is read."""
        values: dict[Node, Any] = dict(zip(self.read, read))
        for node in self.rows:
            operands = [_widened(values[x]) if x in values else _number(x) for x in node.inputs]
            with read[0].block.exact() if self.exact and node.op.name in _JOINED else nullcontext():
                found = operands[0] if isinstance(node.op, Cast) else apply(node.op, *operands)
            values[node] = found.to(kernels.IN_PASSES[node.dtype])
        result: Value = values[self.rows[-1]]
        return result

    def kernel(self) -> int:
        """Where the code is."""
        text = self.text
        if text not in _KERNELS:
            kinds = [kernels.IN_PASSES[x.dtype] for x in (*self.read, self.rows[-1])]
            quick = len(self.rows) <= MOST_TWICE and len(self.read) <= len(kernels.QUICK_ROWS)
            _KERNELS[text] = kernels.of_code(f"pass {text}", self.code, kinds[:-1], kinds[-1], quick)
        return _KERNELS[text]

    def words(self, inputs: Sequence[Node]) -> list[int]:
        """The pass in the record."""
        rest = [0] * (MOST_READ - len(self.read))
        reads, kinds = [inputs.index(x) for x in self.read], [id(x.dtype.numpy) for x in self.read]
        out = id(self.rows[-1].dtype.numpy)
        return [self.kernel(), out, len(reads), *reads, *rest, *kinds, *rest]


def _widened(x: Value) -> Value:
    """Halves in float32."""
    return x.to("f32") if x.kind in HALVES else x


_JOINED = {"add", "sub", "mul"}
"""Rows of which two are one instruction, with one rounding."""
_KERNELS: dict[str, int] = {}


def _pass(output: Node, inputs: Sequence[Node], exact: bool) -> _Pass | None:
    """Of an output; None where that is not for here."""
    type_ = output.type
    if output.dtype not in TAKEN:
        return None
    rows = [node for node in order([output]) if not isinstance(node.op, Constant)]
    read = list(dict.fromkeys([x for node in rows for x in node.inputs if x in inputs]))
    if not 0 < len(read) <= MOST_READ or not 0 < len(rows) <= MOST_LINES or _is_numpys(rows):
        return None
    if not all(x.type.size == 1 or x.shape == type_.shape for x in rows):
        return None
    return _Pass(read, rows, exact) if all(_is_written(node, output.dtype) for node in rows) else None


def _is_numpys(rows: Sequence[Node]) -> bool:
    """Whether NumPy does all in one pass, and no kernel the same."""
    row, dtype = rows[-1].op, rows[-1].dtype.numpy
    if len(rows) > 1 or not isinstance(row, Elementwise) or not isinstance(row.numpy, np.ufunc):
        return False
    return not kernels.is_own(row) and not is_quick(row, dtype)


def _is_written(node: Node, dtype: DType) -> bool:
    """Whether there is code for a row of truths and of elements of this dtype, whose numbers stand beside
    vectors of their own kind."""
    if not isinstance(node.op, Elementwise):
        return False
    if any(x.dtype not in (dtype, dtypes.bool_) for x in (node, *node.inputs)):
        return False
    numbers = [x for x in node.inputs if isinstance(x.op, Constant)]
    beside = [x for x in node.inputs if x not in numbers and x.dtype is not dtypes.bool_]
    return not numbers or (bool(beside) and all(x.type.size == 1 and x.dtype is dtype for x in numbers))


FLOATS = {dtypes.float32, dtypes.float64}
TAKEN = FLOATS | {dtypes.float16, dtypes.bfloat16}
"""Dtypes of results. Of halves, each row is rounded."""


def _number(node: Node) -> Any:
    assert isinstance(node.op, Constant)
    return node.op.value.item()


# ---- the callable ------------------------------------------------------------------------------------------


def _operands(builder: Builder, row: Elementwise, dtype: np.dtype[Any]) -> list[Node]:
    """What stands for a row's operands."""
    kinds = [dtypes.dtype(dtype)] * row.arity
    if row.types is Types.SELECT:
        kinds[0] = dtypes.bool_
    return [builder.input(f"x{k}", Type((2,), kind)) for k, kind in enumerate(kinds)]


def _alone(inputs: Sequence[Node], output: Node | None, slow: Compute, most: int) -> Compute:
    """The function to an output, if there is a pass for it."""
    found = None if output is None or layout() is None else _pass(output, inputs, exact=False)
    return slow if found is None else _function(inputs, [found], [], slow, most)


def _function(
    inputs: Sequence[Node], passes: Sequence[_Pass], listed: Sequence[int], slow: Compute, most: int
) -> Compute:
    """The native callable; `listed` says which output stands where in a list, or nothing if it is the
    result."""
    steps = [word for each in passes for word in each.words(inputs)]
    places = HEAD_WORDS + len(passes) * PASS_WORDS
    head = [len(inputs), len(passes), len(listed), places, most, cpu.parallel()]
    return native("retrograd_elements", [*head, *steps, *listed], slow, None)
