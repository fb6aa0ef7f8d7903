"""Code of vectors, of which kernels are made: a row's, or that of its formula.

In flow rows, out flow functions of vectors that write their text. Kernels that are in the cache need none of
this: `kernels.py` asks for it late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from retrograd.compiler.backends import vector
from retrograd.compiler.backends.halves import conversions
from retrograd.compiler.backends.kinds import FLOATS, HALVES
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.means import Means
from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import INTERPRETERS, Op
from retrograd.compiler.native.language import Emitted
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.runtime.native.host import host
from retrograd.runtime.native.small.kernels import IN_PASSES, Code


def code_of(row: Elementwise, dtype: DType) -> Code:
    """Vectors of such elements to a vector: the row's code, or that of its formula."""
    code = ROWS.get(row.name)
    if code is None or (row.numpy is not None and not row.is_native(dtype)):
        code = row.expansion
    return code


@cache
def _means() -> Means:
    return Means(conversions(host()), avx512=host().has("avx512f"))


def emitted(code: Code) -> Any:
    """The code as a function of the native language."""
    return Emitted(code, _means())


def of_memory(code: Code, kinds: Sequence[str], out: str) -> Code:
    """The code of vectors as they lie in memory: halves as their bits, bytes without a sign as others."""

    def written(*vectors: vector.Value) -> vector.Value:
        given = [x.as_float(kind) if kind in HALVES else x.to(kind) for x, kind in zip(vectors, kinds)]
        found: vector.Value = code(*given)
        return found.bits() if out in HALVES else found.to(_HELD_AS.get(out, out))

    return written


_HELD_AS = {"u8": "i8"}


def function(name: str) -> Any:
    """An elementary function of that name, or one that moves lanes, as one of the native language."""
    return emitted(_MOVING[name] if name in _MOVING else FUNCTIONS[name])


def _gathered(where: vector.Value, like: vector.Value) -> vector.Value:
    """The elements at addresses, of the kind of another vector."""
    block, lanes, name = (
        where.block,
        where.lanes,
        f"llvm.masked.gather.v{where.lanes}{like.kind}.v{where.lanes}p0",
    )
    takes = f"<{lanes} x ptr>", "i32", f"<{lanes} x i1>", like.type
    block.declare(name, f"declare {like.type} @{name}({', '.join(takes)})")
    pointers = block.emit(f"inttoptr {where.type} {where.ref} to <{lanes} x ptr>", "ptr", lanes)
    given = pointers.ref, str(FLOATS[like.kind] // 8), block.constant("i1", lanes, 1).ref, "poison"
    text = ", ".join(f"{kind} {value}" for kind, value in zip(takes, given))
    return block.emit(f"call {like.type} @{name}({text})", like.kind, lanes)


def _picking(which: Callable[[int], Sequence[int]]) -> Code:
    """Of the lanes of two vectors, one after the other, those that are told for so many in one."""

    def picked(x: vector.Value, y: vector.Value) -> vector.Value:
        places = ", ".join(f"i32 {k}" for k in which(x.lanes))
        text = f"shufflevector {x.type} {x.ref}, {y.type} {y.ref}, <{x.lanes} x i32> <{places}>"
        return x.block.emit(text, x.kind, x.lanes)

    return picked


_MOVING: dict[str, Code] = {
    "gather": _gathered,
    "evens": _picking(lambda lanes: range(0, 2 * lanes, 2)),
    "odds": _picking(lambda lanes: range(1, 2 * lanes, 2)),
    "first_pairs": _picking(lambda lanes: [k // 2 + k % 2 * lanes for k in range(lanes)]),
    "backwards": _picking(lambda lanes: range(lanes - 1, -1, -1)),
    "last_pairs": _picking(lambda lanes: [(k + lanes) // 2 + k % 2 * lanes for k in range(lanes)]),
}


class _Write:
    """Vectors in, a vector out: a row's code, or that of its formula. Numbers are lifted beside a vector."""

    level = 1

    def apply(self, op: Op, operands: Sequence[Any]) -> vector.Value:
        assert isinstance(op, Elementwise)
        beside = [x for x in operands if isinstance(x, vector.Value)]
        like = next((x for x in beside if x.kind != "i1"), beside[0])
        vectors = [x if isinstance(x, vector.Value) else like.same(x) for x in operands]
        written: vector.Value = code_of(op, _OF_KIND[like.kind])(*vectors)
        return written

    def lift(self, like: vector.Value, number: float) -> vector.Value:
        """A number as a vector of this one's kind."""
        return like.same(number)


_OF_KIND = {kind: dtype for dtype, kind in IN_PASSES.items()}
INTERPRETERS[vector.Value] = _Write()
