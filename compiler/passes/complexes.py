"""Complex values as pairs of real ones: what a graph of complex numbers means to all that comes after it.

    x: c64[…]  →  Pair(re: f32[…], im: f32[…])        an input is read, an output is written as f32[…, 2]

`Pair` is one more kind of value that ops are applied to, and `Split` is its interpreter, so formulas (of
composites, of rows, of adjoints) run on pairs as they run on everything else. `Expanding` (`rebuild.py`)
makes pairs where a graph comes to complex numbers; of what it builds, no node is complex. Ops that only move,
choose or add elements are applied to both parts; products are written out here, and elementary functions in
`complex_functions.py`. To have one more op on pairs, add a line to `RULES`.

A factor or divisor known to be real multiplies or divides both parts, where NumPy multiplies by (y + 0i):
they differ where a part is infinite or not a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError
from retrograd.compiler.ir.graph import (
    ARRAYS,
    INTERPRETERS,
    Builder,
    Constant,
    Node,
    Op,
    Operators,
    Type,
    Value,
    apply,
)
from retrograd.compiler.ops import index, powers, reduce, scan, shape, strided, window
from retrograd.compiler.ops.complexes import AsComplex, FromParts
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.row import Elementwise
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import Cast, cast, concat, expand, pad, permute, reshape, select, unsqueeze
from retrograd.compiler.passes.complex_functions import FUNCTIONS


class Pair(Operators):
    """A complex value by its parts, two nodes of one type."""

    __slots__ = ("re", "im")

    def __init__(self, re: Node, im: Node) -> None:
        self.re, self.im = re, im

    @property
    def shape(self) -> tuple[int, ...]:
        return self.re.shape

    @property
    def ndim(self) -> int:
        return self.re.ndim

    @property
    def dtype(self) -> DType:
        return self.re.dtype.to_complex()

    @property
    def type(self) -> Type:
        return Type(self.shape, self.dtype)

    @property
    def is_real(self) -> bool:
        """Whether the imaginary part is known to be 0."""
        return _is_zero(self.im)


def _is_zero(node: Node) -> bool:
    while isinstance(node.op, shape.Movement):
        (node,) = node.inputs
    return isinstance(node.op, Constant) and node.type.size == 1 and not node.op.value.any()


class Split:
    """Pairs in; out a pair, or a node where the value is real."""

    level = 3

    def apply(self, op: Op, operands: Sequence[Value]) -> Value:
        if isinstance(op, Composite):
            return op.expand(*operands)
        like = next(x for x in operands if isinstance(x, Pair))
        lifted = [_lifted(x, like) for x in operands]
        rule = RULES.get(op.name) or RULES.get(type(op))
        if rule is not None:
            return rule(op, *lifted)
        if isinstance(op, Elementwise):
            return op.expansion_on_complex(*lifted)
        raise DtypeError(
            f"{op.name} of {', '.join(str(x.type) for x in lifted)} in a compiled function",
            "there is no code for it on complex numbers yet",
            "call it outside, or write it with real and imaginary parts",
        )


INTERPRETERS[Pair] = Split()


def _lifted(x: Value, like: Pair) -> Pair | Node:
    """An operand as a pair or a node; a number, or an array of complex ones, as a pair of constants."""
    if isinstance(x, Pair | Node):
        return x
    array = x if isinstance(x, ARRAYS) else np.asarray(x, like.dtype.numpy)
    return constant(like.re.builder, np.asarray(array))


# ---- between nodes and pairs -------------------------------------------------------------------------------


def constant(builder: Builder, value: Any) -> Pair | Node:
    """A constant, of complex numbers as a pair."""
    if value.dtype.kind != "c":
        return builder.constant(value)
    real, imag = np.ascontiguousarray(value.real), np.ascontiguousarray(value.imag)
    return Pair(builder.constant(real.reshape(value.shape)), builder.constant(imag.reshape(value.shape)))


def of_real(x: Node) -> Pair:
    """Real numbers as complex ones."""
    zero = x.builder.constant(0, x.dtype)
    return Pair(x, expand(zero, x.shape))


def of_pairs(x: Node) -> Pair:
    """What lies in memory as f32[…, 2]."""
    return Pair(select(x, x.ndim - 1, 0), select(x, x.ndim - 1, 1))


def as_pairs(x: Pair) -> Node:
    """As it lies in memory."""
    joined: Node = concat([unsqueeze(part, [x.ndim]) for part in (x.re, x.im)], x.ndim)
    return joined


def made(builder: Builder, op: Op, inputs: Sequence[Node]) -> Pair | None:
    """The pair that an op makes of real operands; None where it makes no complex numbers."""
    match op:
        case Constant() if op.value.dtype.kind == "c":
            found = constant(builder, op.value)
            assert isinstance(found, Pair)
            return found
        case Iota() if op.type.dtype.is_complex:
            return of_real(builder.node(Iota(op.type.with_dtype(op.type.dtype.to_real()), op.axis)))
        case Cast() if op.dtype.is_complex:
            return of_real(cast(inputs[0], op.dtype.to_real()))
        case AsComplex():
            return of_pairs(inputs[0])
        case FromParts():
            return Pair(*inputs)
    return None


# ---- one op after the other --------------------------------------------------------------------------------


def _by_parts(op: Op, *operands: Pair | Node) -> Pair:
    """The op of the real parts, and of the imaginary ones; real operands are those of both."""
    re, im = ([getattr(x, part) if isinstance(x, Pair) else x for x in operands] for part in ("re", "im"))
    return Pair(apply(op, *re), apply(op, *im))


def _mul(op: Op, x: Pair, y: Pair) -> Pair:
    return _multiplied(rows.mul, x, y)


def _multiplied(multiply: Callable[[Node, Node], Node], x: Pair, y: Pair) -> Pair:
    """The product, by the product of real values."""
    if y.is_real:
        return Pair(multiply(x.re, y.re), multiply(x.im, y.re))
    if x.is_real:
        return Pair(multiply(x.re, y.re), multiply(x.re, y.im))
    re = multiply(x.re, y.re) - multiply(x.im, y.im)
    return Pair(re, multiply(x.re, y.im) + multiply(x.im, y.re))


def _div(op: Op, x: Pair, y: Pair) -> Pair:
    """Smith, "Algorithm 116: complex division", 1962: divided by the greater part first, as NumPy does."""
    if y.is_real:
        return Pair(x.re / y.re, x.im / y.re)
    wide = rows.ge(rows.abs(y.re), rows.abs(y.im))
    greater, lesser = rows.where(wide, y.re, y.im), rows.where(wide, y.im, y.re)
    null = rows.eq(greater, 0.0)  # then each part is divided by 0
    ratio = rows.where(null, 0.0, lesser / rows.where(null, 1.0, greater))
    below = rows.where(null, 0.0, greater + lesser * ratio)
    a, b = rows.where(wide, x.re, x.im), rows.where(wide, x.im, x.re)
    im = b - a * ratio
    return Pair((a + b * ratio) / below, rows.where(wide, im, -im) / below)


def _pow(op: Op, x: Pair, y: Pair) -> Value:
    """By multiplications, where the exponent is known to be whole and small; else e^(y log x)."""
    exponent = _number(y)
    product = None if exponent is None else powers.by_products(exponent)
    if product is not None:
        return product(x)
    if exponent is not None and exponent == int(exponent) and 0 < abs(exponent) < 100:
        whole = _power(x, abs(int(exponent)))
        return whole if exponent > 0 else 1.0 / whole
    null = rows.eq(x, 0.0)
    one = rows.where(null, 1.0, x)
    found = rows.exp(y * rows.log(one))
    of_null = rows.where(rows.eq(y, 0.0), 1.0, rows.where(rows.gt(y.re, 0.0), of_real(y.re) * 0.0, np.nan))
    return rows.where(null, of_null, found)


def _number(x: Pair) -> float | None:
    """The real number that all elements are, if that is known."""
    re = x.re
    while isinstance(re.op, shape.Expand | shape.Reshape):
        (re,) = re.inputs
    known = isinstance(re.op, Constant) and re.type.size == 1 and x.is_real
    return float(re.op.value.reshape(())) if known and isinstance(re.op, Constant) else None


def _power(x: Value, exponent: int) -> Value:
    result, square = None, x
    while True:
        if exponent % 2:
            result = square if result is None else result * square
        exponent //= 2
        if not exponent:
            return result
        square = square * square


def _cast(op: Cast, x: Pair) -> Value:
    if op.dtype.is_complex:
        return _by_parts(Cast(op.dtype.to_real()), x)
    return rows.ne(x, 0.0) if op.dtype is dtypes.bool_ else cast(x.re, op.dtype)


def _pad(op: shape.Pad, x: Pair) -> Pair:
    return Pair(
        *(
            pad(part, op.low, op.high, op.interior, fill)
            for part, fill in ((x.re, op.fill.real), (x.im, op.fill.imag))
        )
    )


def _sgn(op: Op, x: Pair) -> Pair:
    size = rows.hypot(x.re, x.im)
    below = rows.where(rows.eq(size, 0.0), 1.0, size)
    return Pair(x.re / below, x.im / below)


def _prod(op: reduce.Prod, x: Pair) -> Value:
    """Halves multiplied with each other, until one element is left."""
    kept = [k for k in range(x.ndim) if k not in op.axes]
    last = permute(x, [*kept, *op.axes])
    count = prod(x.shape[k] for k in op.axes)
    line = reshape(last, (*(x.shape[k] for k in kept), count))
    axis = len(kept)
    while count > 1:
        half = count // 2
        product = shape.narrow(line, axis, 0, half) * shape.narrow(line, axis, half, 2 * half)
        rest = shape.narrow(line, axis, 2 * half, count)
        line, count = concat([product, rest], axis) if count % 2 else product, half + count % 2
    if not count:
        one = x.re.builder.constant(1, x.re.dtype)
        return of_real(expand(one, line.shape[:-1]))
    return reshape(line, line.shape[:-1])


def _cumprod(op: scan.Cumprod, x: Pair) -> Value:
    """Each with what is so many places before it, for powers of two."""
    found: Value = x
    for step in _steps(x.shape[op.axis]):
        found = found * _shifted(found, step, op, 1.0)
    return found


def _recurrence(op: scan.Recurrence, a: Pair, b: Pair) -> Value:
    """The same of the maps x → a x + b, one after the other."""
    factor, found = a, b
    for step in _steps(a.shape[op.axis]):
        found = factor * _shifted(found, step, op, 0.0) + found
        factor = factor * _shifted(factor, step, op, 1.0)
    return found


def _steps(size: int) -> list[int]:
    return [1 << k for k in range(max(size - 1, 0).bit_length())]


def _shifted(x: Value, step: int, op: scan.Scan, fill: float) -> Value:
    """What is so many places before each element along the axis, or after it where the scan goes back."""
    size = x.shape[op.axis]
    start, stop = (step, size) if op.reverse else (0, size - step)
    low, high = (
        [step if k == op.axis and op.reverse is side else 0 for k in range(x.ndim)] for side in (False, True)
    )
    return pad(shape.narrow(x, op.axis, start, stop), low, high, [0] * x.ndim, fill)


PARTWISE = (
    *(shape.Reshape, shape.Permute, shape.Expand, shape.Slice, shape.Select, shape.Flip, shape.Concat),
    *(window.Diagonal, window.Undiagonal, window.Window, window.Unwindow),
    *(strided.Strided, strided.Unstrided, strided.Restrided),
    *(index.Take, index.PutAdd, index.Put, index.TakeAlong, index.PutAlongAdd, reduce.Sum, scan.Cumsum),
)
"""Ops that move, choose or add elements."""

RULES: dict[object, Callable[..., Value]] = {
    **dict.fromkeys(PARTWISE, _by_parts),
    **dict.fromkeys(("add", "sub", "neg", "where"), _by_parts),
    **{name: lambda op, x, made=made: Pair(*made(x.re, x.im)) for name, made in FUNCTIONS.items()},
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "dot": lambda op, x, y: _multiplied(dot, x, y),
    "eq": lambda op, x, y: rows.logical_and(rows.eq(x.re, y.re), rows.eq(x.im, y.im)),
    "ne": lambda op, x, y: rows.logical_or(rows.ne(x.re, y.re), rows.ne(x.im, y.im)),
    "cast": _cast,
    "pad": _pad,
    "prod": _prod,
    "cumprod": _cumprod,
    "recurrence": _recurrence,
    "iota_like": lambda op, x: apply(op, x.re),
    "view_as_real": lambda op, x: as_pairs(x),
    "conj": lambda op, x: Pair(x.re, -x.im),
    "modulus": lambda op, x: rows.hypot(x.re, x.im),
    "angle": lambda op, x: rows.atan2(x.im, x.re),
    "sgn": _sgn,
}
"""What an op is of pairs, by its name or its class."""
