"""Which vector loops the library has as routines, for any number of elements: the table of forms.

    retrograd_strip_f32x64_along_add    out[0] = out[0] + (a0[0] + a0[1] + …), in 64 lanes

A form is one statement of a loop over j, as text: a0, a1, … are elements a0[j] of operands, s0, … elements
that stay the same. Another form is a row more: what writes all programs writes strips, too, so their results
are those of a loop in a program bit by bit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from retrograd.compiler.backends.llvm import emit_function
from retrograd.compiler.dtypes import DType, float32, float64
from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index, as_index
from retrograd.compiler.ir.loops import Accumulate, For, Kind, Statement, Store

DTYPES: Mapping[str, DType] = {"f32": float32, "f64": float64}
IDENTITIES = {"add": 0.0, "mul": 1.0, "maximum": -float("inf"), "minimum": float("inf")}
"""Of the rows that combine."""
BEGIN = "out[0] = identity;"
"""Before a statement that goes on from there."""


def _tree(combine: str, values: Sequence[str]) -> str:
    """Elements of several rows combined as `schedule.columns` does."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return f"{combine}({_tree(combine, values[:half])}, {_tree(combine, values[half:])})"


_DOWN = {
    **{combine: (combine, "{0}") for combine in IDENTITIES},
    "add_absolute": ("add", "abs({0})"),
    "add_weighted": ("add", "mul({1}, {0})"),
}
"""What is combined of each element of rows below each other, and of a number for each row, and how."""
_ALONG = {
    **{name: f"{combine}= {of.format('a0', 's0')}" for name, (combine, of) in _DOWN.items()},
    "add_squares": "add= mul(a0, a0)",
    "add_products": "add= mul(a0, a1)",
    "add_deviations": "add= mul(sub(a0, s0), sub(a0, s0))",
}
_ROWS = [(f"a{k}", f"s{k}") for k in range(8)]
_OF_ROWS = [(name, combine, [of.format(*row) for row in _ROWS]) for name, (combine, of) in _DOWN.items()]
FORMS = {
    "fill": "out[j] = s0",
    "copy": "out[j] = a0",
    "scale": "out[j] = mul(a0, s0)",
    "quotient": "out[j] = div(a0, s0)",
    **{f"along_{name}": f"out[0] {text}" for name, text in _ALONG.items()},
    **{f"whole_{name}": f"{BEGIN} out[0] {text}" for name, text in _ALONG.items()},
    **{
        f"down_{name}_{count}": f"out[j] {combine}= {_tree(combine, rows[:count])}"
        for name, combine, rows in _OF_ROWS
        for count in range(1, len(_ROWS) + 1)
    },
}
"""By name. `along`: a row combined into one element; `whole`: the same, which the identity begins; `down`: so
many rows, into a row."""
NAMES = {text: name for name, text in FORMS.items()}
NESTED = max(max(accumulate((c == "(") - (c == ")") for c in text)) for text in NAMES)
"""How many calls, at most, a form has within each other."""

_ENDLESS = 1 << 62
_STATEMENT = re.compile(
    rf"(?P<begin>{re.escape(BEGIN)} )?out\[(?P<place>[j0])\] (?P<combine>\w*)= (?P<value>.*)"
)


def strip(name: re.Match[str], bits: int) -> str:
    """LLVM text of the strip whose name tells kind, lanes and form, for vector registers of so many bits:
    `void NAME(ptr operands, i64 elements)`, where the last operand is what is written."""
    kind, lanes = name["kind"], int(name["lanes"])
    found = _STATEMENT.fullmatch(FORMS[name["form"]])
    assert found is not None
    count, j = Axis("count", _ENDLESS), Axis("j", _ENDLESS)
    operands = dict[str, Buffer]()
    value = _expression(ast.parse(found["value"], mode="eval").body, DTYPES[kind], j, operands)
    out = Buffer("out", DTYPES[kind], _ENDLESS, Space.INPUT)
    place, combine = as_index(j) if found["place"] == "j" else Index(), found["combine"]
    statement: Statement = Store(out, place, value)
    if combine:
        statement = Accumulate(out, place, value, combine, IDENTITIES[combine])
    loop = For(j, (statement,), Kind.VECTOR, (as_index(count) * -1, 0), lanes)
    begin = (Store(out, place, Number(IDENTITIES[combine], out.dtype)),) if found["begin"] else ()
    given = tuple(operands[name] for name in sorted(operands))
    return emit_function(name[0], (*given, out), count, (*begin, loop), bits)


def _expression(node: ast.expr, dtype: DType, j: Axis, operands: dict[str, Buffer]) -> Expression:
    """A form's value; its operands are added to those that there are."""
    match node:
        case ast.Name(id=name):
            buffer = operands.setdefault(name, Buffer(name, dtype, _ENDLESS, Space.INPUT))
            return Load(buffer, as_index(j) if name.startswith("a") else Index())
        case ast.Call(func=ast.Name(id=row), args=arguments):
            return Call(row, tuple(_expression(a, dtype, j, operands) for a in arguments), dtype)
    raise ValueError(ast.unparse(node))
