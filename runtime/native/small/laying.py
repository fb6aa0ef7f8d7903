"""How operands of elementwise kernels lie in memory, which go through it and not through the axes.

In flow arrays of one shape, and numbers beside them; out flow arrays that lie alike, which fills a piece of
memory, in the order of the first one's axes, as PyTorch has it (`strided.pointwise_strides`). So do results.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, native, stack
from retrograd.runtime.native.boxing import drop
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import AS_IT_LIES, empty_array, is_dense
from retrograd.runtime.native.objects import (
    Dtype,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    numpy_copy_into,
    numpy_new_copy,
)
from retrograd.runtime.native.small.copies import MOST_AXES


@native
def new_beside(dtype: Object, axes: int, extents: Array[int], laid: NdArray | None) -> NdArray | None:
    """A new array that lies as another of its shape does, which fills its memory; in order, if there is
    none."""
    if laid is None or laid.flags & CONTIGUOUS != 0 or axes > MOST_AXES:
        return empty_array(dtype, axes, extents, None)
    steps, size = stack(Array[int], MOST_AXES), cast(Dtype, laid.dtype).itemsize
    for axis in range(axes):
        steps[axis] = laid.strides[axis] // size * cast(Dtype, dtype).itemsize
    return empty_array(dtype, axes, extents, steps)


@native
def laid_like(operands: Array[NdArray], wide: Array[int], count: int) -> NdArray | None:
    """The first of the `wide` operands, which the others lie like from now on, borrowed: there is a reference
    to each, or to a copy. Null, and no references, where elements are repeated, or without memory."""
    first: NdArray | None = None
    for k in range(count):
        x: NdArray | None = operands[k]
        if wide[k] == 0 or (first is not None and have_same_steps(operands[k], first)):
            Py_IncRef(x)
        elif first is None:
            x = filling(operands[k])
            first = x
        else:
            x = copied_like(operands[k], first)
        if x is None:
            drop(cast(Array[Object | None], operands), k)
            return None
        operands[k] = x
    return first


@native
def filling(x: NdArray) -> NdArray | None:
    """A reference to an array that fills its memory, or to a copy with axes in the same order."""
    if has_repeated(x):
        return None
    if x.flags & ALIGNED != 0 and is_dense(x):
        Py_IncRef(x)
        return x
    return numpy_new_copy(x, AS_IT_LIES)


@native
def has_repeated(x: NdArray) -> bool:
    for axis in range(x.ndim):  # noqa: SIM110  # the native language has no generators
        if x.shape[axis] > 1 and x.strides[axis] == 0:
            return True
    return False


@native
def have_same_steps(x: NdArray, y: NdArray) -> bool:
    """Whether arrays of one shape have the same steps, in elements, where they have more than one place."""
    one, other = cast(Dtype, x.dtype).itemsize, cast(Dtype, y.dtype).itemsize
    for axis in range(x.ndim):
        if x.shape[axis] > 1 and x.strides[axis] * other != y.strides[axis] * one:
            return False
    return x.flags & ALIGNED != 0


@native
def copied_like(x: NdArray, y: NdArray) -> NdArray | None:
    """A copy that lies as another array of its shape does."""
    copy = None if has_repeated(x) else new_beside(x.dtype, x.ndim, x.shape, y)
    if copy is not None and numpy_copy_into(copy, x) != 0:
        Py_DecRef(copy)
        return None
    return copy


# ---- memory that is written to -----------------------------------------------------------------------------
@native
def lies_apart(array: NdArray) -> bool:
    """Whether each step along an axis passes all elements of the axes after it: so no two are one."""
    axis, passed = array.ndim - 1, 1
    while axis >= 0:
        if array.shape[axis] > 1:
            if array.strides[axis] < passed:
                return False
            passed = array.shape[axis] * array.strides[axis]
        axis -= 1
    return True


@native
def lie_together(x: NdArray, y: NdArray) -> bool:
    """Whether two arrays have each element in the same place."""
    if x.data is not y.data or x.ndim != y.ndim:
        return False
    if cast(Dtype, x.dtype).itemsize != cast(Dtype, y.dtype).itemsize:
        return False
    for axis in range(x.ndim):
        if x.shape[axis] != y.shape[axis] or (x.shape[axis] > 1 and x.strides[axis] != y.strides[axis]):
            return False
    return True


@native
def do_meet(x: NdArray, y: NdArray) -> bool:
    """Whether there is memory between the first and the last byte of both, which have elements."""
    return first_byte(x) < end_of(y) and first_byte(y) < end_of(x)


@native
def first_byte(x: NdArray) -> int:
    at = cast(int, x.data)
    for axis in range(x.ndim):
        at += min(x.strides[axis], 0) * (x.shape[axis] - 1)
    return at


@native
def end_of(x: NdArray) -> int:
    at = cast(int, x.data) + cast(Dtype, x.dtype).itemsize
    for axis in range(x.ndim):
        at += max(x.strides[axis], 0) * (x.shape[axis] - 1)
    return at
