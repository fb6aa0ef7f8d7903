"""The rows of the elementwise table as functions of values of any level: `rows.exp(x)`, `rows.eq(a, b)`.

Ops that are written with other ops read better so. Nothing is entered here: a row is at once an attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from retrograd.compiler.ir.graph import OPS, Op, Value, apply


class _Rows:
    def __getattr__(self, name: str) -> Callable[..., Value]:
        op = OPS.get(name)
        if not isinstance(op, Op):
            raise AttributeError(f"the elementwise table has no row {name}")
        function = partial(apply, op)
        setattr(self, name, function)
        return function


rows = _Rows()
