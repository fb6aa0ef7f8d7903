"""Code of vectors, of which kernels are made: a row's, or that of its formula.

In flow rows, out flow functions of vectors that write their text. Kernels that are in the cache need none of
this: `kernels.py` asks for it late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler.backends import vector
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.rows import ROWS
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import INTERPRETERS, Op
from retrograd.compiler.native.language import Emitted
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.runtime.native.host import host
from retrograd.runtime.native.small.kernels import KINDS, Code


def code_of(row: Elementwise, dtype: DType) -> Code:
    """Vectors of such elements to a vector: the row's code, or that of its formula."""
    code = ROWS.get(row.name)
    if code is None or (row.numpy is not None and not row.is_native(dtype)):
        code = row.expansion
    return code


def emitted(code: Code) -> Any:
    """The code as a function of the native language."""
    return Emitted(code, host().has("avx512f"))


def function(name: str) -> Any:
    """An elementary function of that name, as one of the native language."""
    return emitted(FUNCTIONS[name])


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


_OF_KIND = {kind: dtype for dtype, kind in KINDS.items()}
INTERPRETERS[vector.Value] = _Write()
