"""The adjoints of ops as functions of arrays, kept by op and types.

In flow an op, its cotangent and what the tape has kept of it; out flows a function of the cotangent, the
value and the operands, which gives the list of the operands' cotangents. It is made when such types come
for the second time: tracing the rule costs as much as many calls of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Node, Op, Type, Value
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.lapack import Lapack
from retrograd.runtime.eager.arrays import cotangents_of
from retrograd.runtime.eager.kernels import rules
from retrograd.runtime.native.small.one_pass import FLOATS
from retrograd.runtime.native.small.steps import MOST_ELEMENTS

_RULES: dict[Hashable, Callable[..., Any] | None] = {}
"""Rules of derivatives as functions of arrays, by op and types; None for those that have been met once."""


def _power(
    op: Elementwise, types: Sequence[Type], out: Type, needed: Sequence[bool]
) -> Callable[..., Any] | None:
    """Of what is raised to the power of one number, which may be a product."""
    if op.name != "pow" or tuple(needed) != (True, False) or types[1].ndim or out.dtype not in FLOATS:
        return None
    (rule, _) = rules(op, out.dtype.numpy, True, False)
    return None if rule is None else lambda ct, value, x, y: [rule(x, y, value, ct), None]


ADJOINTS: dict[type[Op], Callable[..., Callable[..., Any] | None]] = {Elementwise: _power}
"""Makers of such rules for ops that have better ones on arrays than their formulas; they may give None."""
_MOST = 4096
BIG = 1 << 14
"""Elements of a cotangent for which the rule is made at once, as that of a composite, or of an op of LAPACK's
kin, of few elements is: machine code gives other bits than NumPy."""


def type_of_array(value: Value) -> Type:
    return Type(tuple(value.shape), dtypes.of(value))


def type_of(value: Value) -> Type:
    return value.type if isinstance(value, Node) else type_of_array(value)


def _key(op: Op, cotangent: Value, inputs: Sequence[Value], needed: Sequence[bool]) -> Hashable:
    return op, cotangent.shape, cotangent.dtype, tuple(needed), *[(x.shape, x.dtype) for x in inputs]


def known_rule(
    op: Op, cotangent: Value, inputs: Sequence[Value], needed: Sequence[bool]
) -> Callable[..., Any] | None:
    """The op's rule as a function of arrays of these types, if there is one yet."""
    return _RULES.get(_key(op, cotangent, inputs, needed))


def rule_for(
    op: Op, cotangent: Value, inputs: Sequence[Value], needed: Sequence[bool]
) -> Callable[..., Any] | None:
    """The op's rule as a function of arrays of these types, if it has been asked for before."""
    key = _key(op, cotangent, inputs, needed)
    run = _RULES.get(key)
    if run is None and type(op) in ADJOINTS:
        own = ADJOINTS[type(op)](op, list(map(type_of_array, inputs)), type_of_array(cotangent), needed)
        if own is not None:
            run = _RULES[key] = own
    at_once = cotangent.size >= BIG or (
        isinstance(op, Composite | Lapack) and cotangent.size <= MOST_ELEMENTS
    )
    if run is None and (key in _RULES or at_once):
        run = _RULES[key] = cotangents_of(
            op, [type_of_array(x) for x in inputs], type_of_array(cotangent), needed
        )
    elif run is None:
        if len(_RULES) >= _MOST:
            _RULES.clear()
        _RULES[key] = None
    return run
