"""Private functions of a module: code that stands in it once, however often it is called.

`define` writes one, over Values of any width; `call` calls it. `shared` does both for a row that a kernel
computes so often that a copy in each place would take longer to compile than the calls take to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.vector import Block, Value


def shared(name: str, function: Callable[..., Value], *operands: Value) -> Value:
    """`function` of the operands, of which the first has the type of the result."""
    block, first = operands[0].block, operands[0]
    symbol = "_".join(["retrograd", name, *(f"{v.kind}x{v.lanes}" for v in operands)])
    define(block, symbol, lambda *values: (function(*values),), operands)
    return call(block, symbol, (first.kind,), operands, first.lanes)[0]


def define(
    block: Block,
    name: str,
    function: Callable[..., Sequence[Value]],
    operands: Sequence[Value],
    before: str = "private",
    after: str = "",
) -> None:
    """See that the module holds `function`, for operands of these types, under this name; LLVM's words before
    and after that say what else it is."""
    if name in block.declarations:
        return
    inner = Block(means=block.means)
    parameters = [Value(inner, f"%x{k}", v.kind, v.lanes) for k, v in enumerate(operands)]
    results = function(*parameters)
    returned, type_ = results[0].ref, _types([v.type for v in results])
    if len(results) > 1:
        returned = "poison"
        for k, v in enumerate(results):
            returned = inner.emit(f"insertvalue {type_} {returned}, {v.type} {v.ref}, {k}", v.kind).ref
    inner.do(f"ret {type_} {returned}")
    for needed, text in inner.declarations.items():
        block.declare(needed, text)
    given = ", ".join(f"{v.type} {v.ref}" for v in parameters)
    block.declare(name, "\n".join([f"define {before} {type_} @{name}({given}){after} {{", *inner.body, "}"]))


def call(
    block: Block,
    name: str,
    results: Sequence[str],
    operands: Sequence[Value],
    lanes: int = 1,
    convention: str = "",
) -> tuple[Value, ...]:
    """What the function gives for the operands: so many lanes of each of these kinds."""
    type_ = _types([LLVM_TYPES[k] if lanes == 1 else f"<{lanes} x {LLVM_TYPES[k]}>" for k in results])
    given = ", ".join(f"{v.type} {v.ref}" for v in operands)
    if convention:  # else it is defined here
        types = ", ".join(v.type for v in operands)
        block.declare(name, f"declare {convention} {type_} @{name}({types})")
    whole = block.pure(f"call {convention} {type_} @{name}({given})", results[0], lanes)
    if len(results) == 1:
        return (whole,)
    return tuple(
        block.pure(f"extractvalue {type_} {whole.ref}, {k}", kind, lanes) for k, kind in enumerate(results)
    )


def _types(types: Sequence[str]) -> str:
    return types[0] if len(types) == 1 else "{ " + ", ".join(types) + " }"
