"""Linear algebra of small matrices as steps: one elimination with row exchanges, and what follows from it.

In flow the steps of a graph while they are written (`steps.py`), an op of LAPACK's kin, and where its result
and operands lie; out flow steps of the kernels of `elimination.py` and its kin. Equations, inverses and
determinants are of factors in float64, whatever they are stored in, as in NumPy; ops of the same matrix share
them. Another op is an entry of `SOLVED`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import LinearAlgebraError
from retrograd.compiler.ir.graph import OPS, Array, Op, Type
from retrograd.compiler.ops import routines
from retrograd.compiler.ops.cholesky import Cholesky
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.factor import Complement, Qr
from retrograd.compiler.ops.lapack import Cofactors, Det, Inverse, LogAbsDet, SignOfDet, Solve
from retrograd.compiler.ops.ldl import Ldl, LdlSolve
from retrograd.compiler.ops.lu import FromPivots, Lu
from retrograd.compiler.ops.pivoted import Info, Packed, Pivots
from retrograd.compiler.ops.reduce import Sum
from retrograd.compiler.ops.reflectors import RawQr
from retrograd.compiler.ops.shape import Cast
from retrograd.compiler.ops.substitution import SolveTriangular
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.steps import FURTHER, MOST_ELEMENTS, Compute, Steps

_MOST, _MOST_FOR_MANY, _MANY = 64, 48, 16
"""Rows of a matrix beyond which LAPACK solves sooner, and the same for more right-hand sides than many."""


def _kernel(what: str, dtype: np.dtype[Any]) -> int | None:
    return kernels.of_elimination(what, kernels.DTYPES[dtype])


# ---- factors -----------------------------------------------------------------------------------------------


def _factor(steps: Steps, op: Packed, out: Array, a: Array) -> None:
    kernel = _kernel(_FACTORS[type(op)], a.dtype)
    steps.step(kernel, [out, steps.in_order(a)], _sizes(a.shape, bool(op.strict)))


_FACTORS: dict[type[Packed], str] = {Lu: "factor", Ldl: "factor_symmetric"}


def _sizes(shape: Sequence[int], *flags: bool) -> list[int]:
    """Those of a stack of matrices, and flags."""
    return [prod(shape[:-2]), *shape[-2:], *map(int, flags)]


def _pivots(steps: Steps, op: Pivots, out: Array, packed: Array) -> None:
    m, n = packed.shape[-2:]
    steps.cast(packed[..., m - 1, : min(m - 1, n)], out)


def _order(steps: Steps, op: FromPivots, out: Array, pivots: Array) -> None:
    """1 where there are no such rows."""
    if pivots.dtype != np.int32:
        raise kernels.NoKernel
    sizes = [prod(pivots.shape[:-1]), op.size, pivots.shape[-1]]
    steps.step(_kernel("order", out.dtype), [out, steps.in_order(pivots)], sizes)


def _failure(steps: Steps, op: Info, out: Array, a: Array) -> None:
    if op.of == "cholesky":
        whole, unread = _wide(steps, a), steps.scratch(Type(a.shape, dtypes.float64))
        steps.step(_kernel("root", whole.dtype), [unread, out, whole], _sizes(a.shape, False))
        return
    m, n = a.shape[-2:]
    kernel = _kernel(_FAILURES[op.of], a.dtype)
    steps.step(kernel, [out, steps.in_order(a)], _sizes((*a.shape[:-2], m - 1, n), False))


_FAILURES = {"lu": "failure", "ldl": "failure_symmetric"}


# ---- equations and determinants ----------------------------------------------------------------------------


def _solve(steps: Steps, op: Solve, out: Array, a: Array, b: Array) -> None:
    _write_solution(steps, op.endless, out, np.broadcast_to(a, (*b.shape[:-1], b.shape[-2])), b)


def _invert(steps: Steps, op: Inverse, out: Array, a: Array) -> None:
    unit = steps.constant(np.array(np.broadcast_to(np.eye(a.shape[-1]), a.shape)))
    _write_solution(steps, op.endless, out, a, unit)


def _write_solution(steps: Steps, endless: bool, out: Array, a: Array, b: Array) -> None:
    if a.shape[-1] > (_MOST_FOR_MANY if b.shape[-1] > _MANY else _MOST) and routines.LAPACK is not None:
        raise kernels.NoKernel
    packed = steps.of(Lu(), _wide(steps, a))
    _of_wide(steps, out, "solve", [packed, _wide(steps, b)], b.shape, not endless)


def _solve_symmetric(steps: Steps, op: LdlSolve, out: Array, packed: Array, pivots: Array, b: Array) -> None:
    """1 where the pivots are none."""
    arrays = [out, *map(steps.in_order, (packed, pivots, b))]
    steps.step(_kernel("solve_symmetric", out.dtype), arrays, _sizes(b.shape, False))


def _determinant(steps: Steps, op: Det, out: Array, a: Array) -> None:
    _of_wide(steps, out, "determinant", [steps.of(Lu(), _wide(steps, a))], a.shape)


def _cofactors(steps: Steps, op: Cofactors, out: Array, a: Array) -> None:
    """1 where a matrix is singular."""
    whole = _wide(steps, a)
    inverse, size = steps.of(Inverse(), whole), steps.of(Det(), whole)
    steps.cast(steps.of(row("mul"), inverse.swapaxes(-1, -2), size[..., None, None]), out)


def _sign(steps: Steps, op: SignOfDet, out: Array, a: Array) -> None:
    _of_wide(steps, out, "sign", [steps.of(Lu(), _wide(steps, a))], a.shape)


def _magnitude(steps: Steps, op: LogAbsDet, out: Array, a: Array) -> None:
    packed = steps.of(Lu(), _wide(steps, a))
    pivots = np.diagonal(packed[..., :-1, :], axis1=-2, axis2=-1)
    logarithms = steps.of(row("log"), steps.of(row("abs"), pivots))
    steps.cast(steps.of(Sum((out.ndim,)), logarithms), out)


def row(name: str) -> Elementwise:
    """The row of this name."""
    found = OPS[name]
    assert isinstance(found, Elementwise)
    return found


def substitute(steps: Steps, op: SolveTriangular, out: Array, a: Array, b: Array) -> None:
    """Of small matrices; `own.py` has the others."""
    operands = [_wide(steps, a), _wide(steps, b)]
    _of_wide(steps, out, "substitute", operands, b.shape, op.upper, op.unit)


def _root(steps: Steps, op: Cholesky, out: Array, a: Array) -> None:
    """1 where a matrix is not positive-definite."""
    orders, whole = steps.scratch(Type(a.shape[:-2], dtypes.int32)), _wide(steps, a)
    kernel, sizes = _kernel("root", whole.dtype), _sizes(a.shape, not op.endless)
    _narrowed(steps, out, lambda found: steps.step(kernel, [found, orders, whole], sizes))


# ---- reflectors --------------------------------------------------------------------------------------------


def _raw_qr(steps: Steps, op: RawQr, out: Array, a: Array) -> None:
    m, n = a.shape[-2:]
    _of_wide(steps, out, "raw_qr", [_memory(steps, n, m), _wide(steps, a)], a.shape, False)


def _qr(steps: Steps, op: Qr, out: Array, a: Array) -> None:
    m, n = a.shape[-2:]
    count = out.shape[-1]
    memory = _memory(steps, n, m), _memory(steps, n), _memory(steps, count, m)
    kernel, sizes = _kernel("qr", np.dtype(np.float64)), [*_sizes(a.shape), count]
    whole = _wide(steps, a)
    _narrowed(steps, out, lambda found: steps.step(kernel, [found, *memory, whole], sizes))


def _complement(steps: Steps, op: Complement, out: Array, a: Array) -> None:
    m, k = a.shape[-2:]
    steps.copy(steps.of(Qr(complete=True), a)[..., :m, k:], out)


def _memory(steps: Steps, *shape: int) -> Array:
    return steps.scratch(Type(shape, dtypes.float64))


# ---- in float64 --------------------------------------------------------------------------------------------


def _wide(steps: Steps, a: Array) -> Array:
    """In float64, in order."""
    return steps.in_order(a if a.dtype == np.float64 else steps.of(Cast(dtypes.float64), a))


def _of_wide(
    steps: Steps, out: Array, what: str, operands: Sequence[Array], shape: Sequence[int], *flags: bool
) -> None:
    """A kernel's value of operands in float64."""
    sizes = _sizes(shape, *flags)
    _narrowed(steps, out, lambda found: steps.step(_kernel(what, found.dtype), [found, *operands], sizes))


def _narrowed(steps: Steps, out: Array, write: Callable[[Array], None]) -> None:
    """What is written in float64, in the result's dtype."""
    found = out if out.dtype == np.float64 else steps.scratch(Type(out.shape, dtypes.float64))
    write(found)
    if found is not out:
        steps.cast(found, out)


SOLVED: dict[type[Op], Callable[..., None]] = {
    Lu: _factor,
    Ldl: _factor,
    Pivots: _pivots,
    FromPivots: _order,
    Info: _failure,
    Cholesky: _root,
    Solve: _solve,
    LdlSolve: _solve_symmetric,
    Inverse: _invert,
    Det: _determinant,
    Cofactors: _cofactors,
    SignOfDet: _sign,
    SolveTriangular: substitute,
    LogAbsDet: _magnitude,
    RawQr: _raw_qr,
    Qr: _qr,
    Complement: _complement,
}
"""What writes the steps of an op."""
FURTHER.update(SOLVED)


# ---- large stacks ------------------------------------------------------------------------------------------


def in_parts(
    op: Op, types: Sequence[Type], value_of: Callable[[Op, tuple[Type, ...]], Compute | None]
) -> Compute | None:
    """The value of one of these ops of many small matrices, as many at a time as are a small graph. None
    where one alone is none, or is an op that has no steps."""
    out = op.infer(*types)
    if type(op) not in SOLVED or not all(t.size for t in (*types, out)):
        return None
    rank = 1 if isinstance(op, FromPivots) else 2
    batch = types[-1].shape[:-rank]
    count, longest = prod(batch), max(types[-1].shape[-rank:])
    some = min(count, MOST_ELEMENTS // max(longest * (longest + 1), out.size // count))
    if not some:
        return None
    whole, rest = (
        value_of(op, tuple([t.with_shape((size, *t.shape[t.ndim - rank :])) for t in types]))
        for size in (some, count % some or some)
    )
    if whole is None or rest is None:
        return None

    def value(*arrays: Array) -> Array:
        """Of which an error is told of all together: it says where."""
        stacks = [
            np.broadcast_to(x, (*batch, *x.shape[x.ndim - rank :])).reshape(count, *x.shape[x.ndim - rank :])
            for x in arrays
        ]
        found = np.empty((count, *out.shape[len(batch) :]), out.dtype.numpy)
        try:
            for at in range(0, count, some):
                part = slice(at, at + some)
                found[part] = (whole if at + some <= count else rest)(*[x[part] for x in stacks])
        except LinearAlgebraError:
            return op.evaluate(*arrays)
        return found.reshape(out.shape)

    return value
