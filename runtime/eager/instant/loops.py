"""Native functions of arrays, for what NumPy does in many passes: rows that it lacks, and rows of a matrix.

In flow a row or an op and a dtype; out flows a function of one array, or None where NumPy may as well do it.
The code (`rows.py`) is for arrays of any size, is made when it is first run, and is kept in the cache.
A further op is a case of `of_op`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Op, Type
from retrograd.compiler.native.language import Float32, Vector, instance
from retrograd.compiler.ops.copy import Clone, Ordered
from retrograd.compiler.ops.cross_entropy import CrossEntropy
from retrograd.compiler.ops.demands import Places
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.normal import LayerNorm, LayerNormElements
from retrograd.compiler.ops.softmax import CausalSoftmax, LogSoftmax, MaskedSoftmax, Softmax
from retrograd.compiler.record import record
from retrograd.runtime.eager.adjoints import ADJOINTS
from retrograd.runtime.eager.arrays import LOOPS, cotangents_of
from retrograd.runtime.eager.instant import rows
from retrograd.runtime.eager.instant.part import available, native_function
from retrograd.runtime.eager.instant.records import Looped, place, words_of
from retrograd.runtime.eager.one_op import LOOPED
from retrograd.runtime.native import cpu
from retrograd.runtime.native.pool import MUCH
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.copier import copied, copied_in_order
from retrograd.runtime.native.small.demands import passing
from retrograd.runtime.native.small.steps import FEW_ELEMENTS

Function = Callable[..., Array]

_KINDS: dict[np.dtype[Any], dict[str, Any]] = {
    np.dtype(np.float32): {
        "Number": Float32,
        "Numbers": Vector[Float32, Literal[16]],
        "LANES": 16,
        "VANISHED": -104.0,
    },
    np.dtype(np.float64): {
        "Number": float,
        "Numbers": Vector[float, Literal[8]],
        "LANES": 8,
        "VANISHED": -746.0,
    },
}
"""What instances of loops are for."""
_ALL = 64
"""More axes than any array has."""
_MUCH = 1 << 17
"""Elements from which on machine code of the whole derivative may pay."""


_TAKEN = (Places, Elementwise, Softmax, LogSoftmax, LayerNorm, LayerNormElements, MaskedSoftmax)


_COPIES: dict[type[Op], Function] = {Clone: copied, Ordered: copied_in_order}
"""Of elements of any dtype."""


def of_row(row: Elementwise, dtype: np.dtype[Any]) -> Function | None:
    """A row of one operand that NumPy lacks, or does in several passes."""
    if not kernels.is_own(row) or dtype not in _KINDS or not available():
        return None
    return _function(_elementwise(row), dtype, _ALL)


def of_op(op: Op, operands: Sequence[Type | Array]) -> Function | None:
    """An op of operands like these: a row that NumPy lacks, or something along the last axes."""
    if (copy := _COPIES.get(type(op))) is not None:
        return copy
    if not isinstance(op, _TAKEN) or not available():
        return None
    x = operands[0]
    if isinstance(op, Places):
        return passing(op, x.dtype if isinstance(x, Type) else dtypes.of(x))
    dtype = x.dtype.numpy if isinstance(x, Type) else x.dtype
    if dtype not in _KINDS:
        return None
    match op:
        case Elementwise():
            return of_row(op, dtype)
        case Softmax() | LogSoftmax():
            return _function(_along(op.name), dtype, 1) if op.axis == x.ndim - 1 else None
        case MaskedSoftmax():
            mask = operands[1]
            added = (mask.dtype.numpy if isinstance(mask, Type) else mask.dtype) == dtype
            return _masked(op.factor, dtype, added)
        case LayerNorm():
            affine = len(operands) - 1
            return _function(_standardised(op.eps, affine), dtype, op.dims, 1 + affine)
        case LayerNormElements():
            return _function(
                _standardised_adjoint(op.eps, len(operands) - 2), dtype, op.dims, len(operands), 2
            )


@record(slots=True, eq=False)
class _Loop:
    """A function of `rows.py`, under its name for the cache, and what its instances have besides a type."""

    name: str
    function: Callable[..., None]
    bound: Mapping[str, Any]


@cache
def _elementwise(row: Elementwise) -> _Loop:
    code = _codes().emitted(_codes().code_of(row, dtypes.float32))
    return _Loop(f"row {row.name}", rows.elementwise, {"code": code})


@cache
def _standardised(eps: float, affine: int) -> _Loop:
    return _Loop(f"standardised {eps} {affine}", rows.standardised, {"EPS": eps, "AFFINE": affine})


@cache
def _standardised_adjoint(eps: float, affine: int) -> _Loop:
    name = f"standardised adjoint {eps} {affine}"
    return _Loop(name, rows.standardised_adjoint, {"EPS": eps, "AFFINE": affine})


def _codes() -> Any:
    """What writes code of vectors. Late: programs that run no such loop do without it."""
    return import_module("retrograd.runtime.native.small.codes")


@cache
def _along(name: str) -> _Loop:
    """The op of this name along the last axis."""
    loop, functions = _ALONG[name]
    return _Loop(name, loop, {each: _codes().function(each) for each in functions})


_ALONG: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "softmax": (rows.softmax, ("exp",)),
    "log_softmax": (rows.log_softmax, ("exp", "log")),
    "softmax adjoint": (rows.softmax_adjoint, ()),
    "log_softmax adjoint": (rows.log_softmax_adjoint, ("exp",)),
}
"""The loops, and the functions of vectors in them."""


def _entropy_adjoint(
    op: CrossEntropy, types: Sequence[Type], out: Type, needed: Sequence[bool]
) -> Callable[..., list[Array | None]] | None:
    """Of such a loss: the softmax, less 1 at the targets, times the cotangent."""
    x = types[0]
    if op.smoothing or len(types) > 2 or x.ndim != 2 or x.dtype.numpy not in _KINDS or x.size >= _MUCH:
        return None
    softmax = _function(_along("softmax"), x.dtype.numpy, 1)
    general = cache(lambda: cotangents_of(op, types, out, needed))

    def compute(cotangent: Array, value: Array, scores: Array, target: Array) -> list[Array | None]:
        counts = None if op.reads(scores, target) else target != op.ignore_index
        count = len(target) if counts is None else np.count_nonzero(counts)
        if not count or not scores.size:
            found: list[Array | None] = general()(cotangent, value, scores, target)
            return found
        share = softmax(scores)
        each = cotangent / share.dtype.type(count) if op.reduction == "mean" else cotangent
        if counts is not None:
            target, each = np.where(counts, target, 0), np.where(counts, each, share.dtype.type(0))
        share[np.arange(len(target)), target] -= 1
        share *= each[:, None] if each.ndim else each
        return [share, None]

    return compute


def _share_adjoint(
    op: Softmax | LogSoftmax | CausalSoftmax | MaskedSoftmax,
    types: Sequence[Type],
    out: Type,
    needed: Sequence[bool],
) -> Callable[..., list[Array | None]] | None:
    """Of softmax or its logarithm along the last axis: one loop over the rows. A mask gets none."""
    dtype = out.dtype.numpy
    if dtype not in _KINDS or out.size <= FEW_ELEMENTS or any(needed[1:]):
        return None
    if isinstance(op, Softmax | LogSoftmax) and op.axis != out.ndim - 1:
        return None
    loop = (
        _scaled_adjoint(op.factor)
        if isinstance(op, CausalSoftmax | MaskedSoftmax)
        else _along(f"{op.name} adjoint")
    )
    through, rest = _function(loop, dtype, 1, 2, 2), [None] * (len(types) - 1)
    return lambda cotangent, value, *_: [through(cotangent, value), *rest]


@cache
def _scaled_adjoint(factor: float) -> _Loop:
    return _Loop(f"softmax adjoint {factor}", rows.softmax_adjoint, {"FACTOR": factor})


@cache
def _masked(factor: float, dtype: np.dtype[Any], added: bool) -> Function:
    """Shares of planes `[queries, keys]`, with one mask for all or one for each, laid out as numbers."""
    one, each = (
        _function(_masked_loop(factor, added, moving), dtype, 2, 3, 1 + moving) for moving in range(2)
    )

    def compute(x: Array, mask: Array) -> Array:
        shared = mask.ndim < 2 or max(mask.shape[:-2], default=1) == 1
        laid = np.empty(x.shape[-2:] if shared else x.shape, x.dtype)
        laid[...] = mask.reshape(mask.shape[-2:]) if shared else mask
        return (one if shared else each)(x, laid, _count(x.shape[-1]))

    return compute


@cache
def _masked_loop(factor: float, added: bool, moving: int) -> _Loop:
    bound = {"exp": _codes().function("exp"), "FACTOR": factor, "ADDED": int(added), "MOVING": moving}
    return _Loop(f"masked softmax {factor} {added} {moving}", rows.masked_softmax, bound)


@cache
def _count(keys: int) -> Array:
    """As a loop reads it."""
    return np.array([keys])


if available():
    LOOPS.append(of_op)
    LOOPED.add(MaskedSoftmax)
    ADJOINTS[CrossEntropy] = _entropy_adjoint
    ADJOINTS.update(dict.fromkeys((Softmax, LogSoftmax, CausalSoftmax, MaskedSoftmax), _share_adjoint))


@cache
def _function(loop: _Loop, dtype: np.dtype[Any], axes: int, arity: int = 1, moving: int = 1) -> Function:
    """The loop as a function of so many arrays. So many last axes are a row; so many operands have rows."""

    def linked(x: Array, *others: Array) -> Array:
        """The first call, the first of much, and those of scalars, or of what does not lie in order."""
        x = np.asarray(x)
        if not words[place(Looped, "loop")]:
            made = instance(loop.function, "loop", **_KINDS[dtype], **loop.bound)
            library = cpu.load_native(f"{loop.name} {dtype}", lambda: [made], {}, {})
            kept.append(library)
            words[place(Looped, "loop")] = library.address("loop")
        if x.size >= MUCH:
            words[place(Looped, "parallel")] = cpu.parallel()
        return native(x, *[np.require(other, requirements=("C", "A")) for other in others])

    kept: list[object] = [linked]
    words = words_of(
        Looped,
        slow=id(linked),
        arity=arity,
        axes=axes,
        apart=axes == _ALL,
        bytes=dtype.itemsize,
        moving=moving,
    )
    native: Function = native_function("retrograd_rows", linked, words, kept)
    return native
