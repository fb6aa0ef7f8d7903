"""Equations and inverses of matrices that are not small: LAPACK factors them, our kernel substitutes, in less
than half the time that the library's takes for many right-hand sides.

In flow an op and its operands' types; out flows a function of arrays, or None where there is none. A singular
matrix is left to the op, which knows how to say so. The rows of a matrix are columns to LAPACK, whose factors
so are a · p = l · u, with ones on the diagonal of u.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Op, Type
from retrograd.compiler.ops import routines
from retrograd.compiler.ops.lapack import Inverse, Solve
from retrograd.compiler.ops.substitution import SolveTriangular
from retrograd.runtime.native.small.steps import Compute

Values = Callable[[Op, tuple[Type, ...]], Compute | None]
"""The values of other ops."""


def value_of(op: Op, types: Sequence[Type], values: Values) -> Compute | None:
    """The op's value for stacks of such matrices."""
    a, b = types[0], types[-1]
    if not isinstance(op, Solve | Inverse) or a.dtype not in _FLOATS or b.dtype is not a.dtype:
        return None
    if routines.LAPACK is None or not b.size or a.shape[:-2] != b.shape[:-2]:
        return None
    one, sides = a.with_shape(a.shape[-2:]), b.with_shape(b.shape[-2:])
    lower, upper = (values(SolveTriangular(upper, unit=upper), (one, sides)) for upper in (False, True))
    if lower is None or upper is None:
        return None
    factor, n, integer = routines.factoring(a.dtype.numpy, a.shape[-1]), a.shape[-1], routines.LAPACK.integer
    unit = np.eye(n, dtype=a.dtype.numpy)

    def value(*arrays: Array) -> Array:
        stack, *rest = arrays
        found, pivots = np.empty(b.shape, unit.dtype), np.empty(n + 1, integer)
        for place in np.ndindex(b.shape[:-2]):
            packed = np.array(stack[place], order="C")
            factor(routines.address(packed), routines.address(pivots))
            if pivots[n]:
                return op.evaluate(*arrays)
            solved = upper(packed, lower(packed, rest[0][place] if rest else unit))
            np.take(solved, _order(pivots[:n].tolist()), 0, found[place])
        return found

    return value


_FLOATS = (dtypes.float32, dtypes.float64)


def _order(exchanges: Sequence[int]) -> list[int]:
    """Which row each is after the steps' exchanges, the last first; rows are counted from 1."""
    order = list(range(len(exchanges)))
    for step in reversed(order.copy()):
        other = exchanges[step] - 1
        order[step], order[other] = order[other], order[step]
    return order
