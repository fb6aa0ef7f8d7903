"""Graph → Graph: algebra that saves work and never changes a value (beyond the rounding of a power
written as products).

Each rule is *before → after* for one op, found by the op's name in `RULES`; a rule returns None where it
does not apply. To add one, write the function and its row.
"""

from __future__ import annotations

from collections.abc import Callable
from math import frexp, isfinite, prod

import numpy as np

from retrograd.compiler.ir.graph import OPS, Builder, Constant, Node, Op, Value, apply
from retrograd.compiler.ops import powers
from retrograd.compiler.ops.iota import Iota, IotaLike
from retrograd.compiler.ops.reduce import Reduction, Sum
from retrograd.compiler.ops.row import Elementwise, broadcast_shapes
from retrograd.compiler.ops.shape import (
    Cast,
    Expand,
    Permute,
    Reshape,
    Select,
    Slice,
    cast,
    expand,
    permute,
    reshape,
)

_FOLDED_SIZE = 64
"""Constants up to this many elements are computed while compiling, however large their operands."""
_EXPONENT = {False: 100, True: 14}
"""Powers of two below this exponent, of halves or not, have an inverse that is no denormal number."""


class Simplifying(Builder):
    """Builds simpler nodes than it is asked for."""

    def node(self, op: Op, *inputs: Node) -> Node:
        """The simplest equal node that the rules find."""
        if inputs and not isinstance(op, Expand) and all(isinstance(i.op, Constant) for i in inputs):
            type_ = op.infer(*(i.type for i in inputs))
            if type_.size <= _FOLDED_SIZE:
                value = apply(op, *(i.op.value for i in inputs if isinstance(i.op, Constant)))
                return super().node(Constant(np.ascontiguousarray(value).reshape(type_.shape)))
        if isinstance(op, Elementwise):
            inputs = _drop_expansions(op, inputs)
        rule = RULES.get(op.name)
        found = rule(self, op, inputs) if rule else None
        if found is None and op.name in COMMUTATIVE:
            found = self._nodes.get((op, inputs[::-1]))
        return super().node(op, *inputs) if found is None else found


def _drop_expansions(op: Elementwise, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """add(x, expand(y)) → add(x, y), where broadcasting gives the same shape."""
    if not any(isinstance(node.op, Expand) for node in inputs):
        return inputs
    shape = op.infer(*(i.type for i in inputs)).shape
    result = list(inputs)
    for k, node in enumerate(inputs):
        if isinstance(node.op, Expand):
            shorter = [*result[:k], node.inputs[0], *result[k + 1 :]]
            if op.infer(*(i.type for i in shorter)).shape == shape:
                result = shorter
    return tuple(result)


def _number(node: Node) -> float | None:
    """The value of a 0-d constant."""
    if isinstance(node.op, Constant) and node.ndim == 0:
        return float(node.op.value)
    return None


def _like(x: Node, inputs: tuple[Node, ...]) -> Node | None:
    """`x` in place of the whole, if the other operand did not broadcast it."""
    shape = broadcast_shapes("an op", *[i.shape for i in inputs])
    return x if x.shape == shape else None


def _mul(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x * 1 → x;  x * -1 → -x;  -x * y → -(x * y), where y does not broadcast x"""
    for x, factor in (inputs, inputs[::-1]):
        number = _number(factor)
        if number == 1:
            return _like(x, inputs)
        if number == -1 and x.dtype.is_floating_point and _like(x, inputs) is not None:
            return apply(_row("neg"), x)
    for x, factor in (inputs, inputs[::-1]):
        if x.op is _row("neg") and x.dtype.is_floating_point and _like(x, inputs) is not None:
            return apply(_row("neg"), x.inputs[0] * factor)
    return None


def _add(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x + x → x * 2"""
    x, y = inputs
    return x * 2.0 if x is y and x.dtype.is_floating_point else None


def _div(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x / 1 → x;  x / 2**k → x * 2**-k"""
    x, divisor = inputs
    number = _number(divisor)
    if number == 1:
        return _like(x, inputs)
    most = _EXPONENT[x.dtype.is_half]
    if number and isfinite(number) and abs(frexp(number)[0]) == 0.5 and abs(frexp(number)[1]) < most:
        return apply(_row("mul"), x, 1 / number)
    return None


def _neg(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """-(-x) → x"""
    return inputs[0].inputs[0] if inputs[0].op is op else None


def _pow(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x ** 0 → 1;  x ** 1 → x;  x ** 2 → x * x, and the other exponents that cost less than a power"""
    x, exponent = inputs
    number = _number(exponent)
    if number is None or _like(x, inputs) is None or not x.dtype.is_floating_point:
        return None
    if number == 0.0:
        return expand(builder.constant(1, x.dtype), x.shape)
    if number == 1.0:
        return x
    if x.dtype.is_half and number not in powers.ROUNDED_ONCE:  # there each product would be rounded
        return None
    product = powers.by_products(number)
    found: Value | None = product(x) if product else None
    return found


def _where(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """where(True, x, y) → x;  where(False, x, y) → y"""
    known = _number(inputs[0])
    return None if known is None else _like(inputs[1] if known else inputs[2], inputs)


def _and(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x and True → x;  x and False → False"""
    return _logical(inputs, neutral=True)


def _or(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x or False → x;  x or True → True"""
    return _logical(inputs, neutral=False)


def _logical(inputs: tuple[Node, ...], neutral: bool) -> Node | None:
    for x, other in (inputs, inputs[::-1]):
        known = _number(other)
        if known is not None:
            return _like(x, inputs) if bool(known) is neutral else expand(other, x.shape)
    return None


def _sum(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """sum over axes of size 1 → reshape;  sum(expand(x)) over the repeated axes → x * count"""
    assert isinstance(op, Sum)
    (x,) = inputs
    if not op.axes:
        return x
    ones = [a for a in op.axes if x.shape[a] == 1]
    if ones:
        kept = [s for k, s in enumerate(x.shape) if k not in ones]
        axes = tuple(a - sum(o < a for o in ones) for a in op.axes if a not in ones)
        rest = reshape(x, kept)
        return apply(Sum(axes), rest) if axes else rest
    if isinstance(x.op, Expand) and x.dtype.is_floating_point:
        (y,) = x.inputs
        lead = x.ndim - y.ndim
        repeated = [a for a in op.axes if a < lead or y.shape[a - lead] != x.shape[a]]
        if repeated:
            count = prod(x.shape[a] for a in repeated)
            rest = expand(y, [1 if a in repeated else s for a, s in enumerate(x.shape)])
            return apply(Sum(op.axes), rest) * count
    return None


def _reduction(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """a reduction of x over no axes → x"""
    assert isinstance(op, Reduction)
    return None if op.axes else inputs[0]


def _reshape(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """reshape(x, x.shape) → x;  reshape(reshape(x)) → reshape(x);  reshape(expand(number)) →
    expand(number)"""
    assert isinstance(op, Reshape)
    (x,) = inputs
    if x.shape == op.shape:
        return x
    if isinstance(x.op, Reshape):
        return reshape(x.inputs[0], op.shape)
    if isinstance(x.op, Expand) and x.inputs[0].type.size == 1:
        return expand(reshape(x.inputs[0], ()), op.shape)
    return None


def _permute(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """permute(x, identity) → x;  permute(permute(x)) → permute(x)"""
    assert isinstance(op, Permute)
    (x,) = inputs
    if op.axes == tuple(range(x.ndim)):
        return x
    if isinstance(x.op, Permute):
        return permute(x.inputs[0], [x.op.axes[a] for a in op.axes])
    return None


def _expand(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """expand(x, x.shape) → x;  expand(expand(x)) → expand(x);  expand(reshape(number)) → expand(number)"""
    assert isinstance(op, Expand)
    (x,) = inputs
    if x.shape == op.shape:
        return x
    if isinstance(x.op, Expand):
        return expand(x.inputs[0], op.shape)
    if x.type.size == 1 and x.ndim:
        return expand(reshape(x, ()), op.shape)
    return None


def _slice(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """x[:] → x"""
    assert isinstance(op, Slice)
    return inputs[0] if op.infer(inputs[0].type).shape == inputs[0].shape else None


def _select(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """select(x) → reshape(slice(x)), for which there are rules"""
    assert isinstance(op, Select)
    return op.as_slice(inputs[0])


def _cast(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """cast(x, its dtype) → x;  cast(expand(x)) → expand(cast(x))"""
    assert isinstance(op, Cast)
    (x,) = inputs
    if x.dtype is op.dtype:
        return x
    return expand(cast(x.inputs[0], op.dtype), x.shape) if isinstance(x.op, Expand) else None


def _iota_like(builder: Builder, op: Op, inputs: tuple[Node, ...]) -> Value | None:
    """iota_like(x) → iota, which reads nothing"""
    assert isinstance(op, IotaLike)
    return builder.node(Iota(op.infer(inputs[0].type), op.axis))


def _row(name: str) -> Op:
    op = OPS[name]
    assert isinstance(op, Op)
    return op


COMMUTATIVE = {"add", "mul", "eq", "ne", "logical_and", "logical_or", "logical_xor"}
"""x ∘ y is y ∘ x, bit for bit: where the one is there already, it stands for the other."""

RULES: dict[str, Callable[[Builder, Op, tuple[Node, ...]], Value | None]] = {
    "add": _add,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "pow": _pow,
    "where": _where,
    "logical_and": _and,
    "logical_or": _or,
    **{name: _reduction for name, op in OPS.items() if isinstance(op, type) and issubclass(op, Reduction)},
    "sum": _sum,
    "reshape": _reshape,
    "permute": _permute,
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    "cast": _cast,
    "iota_like": _iota_like,
}
