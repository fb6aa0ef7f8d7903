"""The native callable of elementwise formulas: for each result one kernel, one pass over memory.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then passes, then places (`entry.py`). Sizes are no part of
it. What a pass reads is arrays of one shape that lie alike, or one of them in order, or that have one
element; all else is for `slow`, and so is what it does sooner, because it is much.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Inline,
    Record,
    cast,
    exported,
    inside,
    native,
    several,
    stack,
    words,
)
from retrograd.runtime.native.boxing import drop
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import AS_IT_LIES, IN_ORDER, empty_array, is_dense, size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Memory,
    NdArray,
    Object,
    Py_IncRef,
    Tuple,
    numpy_new_copy,
)
from retrograd.runtime.native.small.entry import MOST_ARRAYS, Called, given, has_shape, or_slow

MOST_READ = 4
"""Arrays that a pass reads."""


class Head(Called):
    most: int
    """Elements that are too many."""


class Pass(Record):
    kernel: Callable[[Array[Memory], Array[int]], int]
    dtype: Object
    """The result's."""
    count: int
    """How many arrays it reads."""
    reads: Inline[int] = several(MOST_READ)
    """Which arguments they are."""
    dtypes: Inline[Object] = several(MOST_READ)


HEAD_WORDS, PASS_WORDS = words(Head), words(Pass)


@exported
def retrograd_elements(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    return or_slow(self, args, nargs, names, lambda record: computed(cast(Head, record), args))


@native
def computed(head: Head, args: Array[Object]) -> Object | None:
    """The result; null where it is not for such arguments."""
    results = stack(Array[NdArray | None], MOST_ARRAYS)
    for k in range(head.outputs):
        results[k] = passed(inside(Pass, head, (HEAD_WORDS + k * PASS_WORDS) << 3), head.most, args)
        if results[k] is None:
            return given(head, results, k, False)
    return given(head, results, head.outputs, True)


@native
def passed(each: Pass, most: int, args: Array[Object]) -> NdArray | None:
    """What the kernel gives; null where it is not for what it would read."""
    operands, sizes = stack(Array[NdArray], MOST_READ), stack(Array[int], MOST_READ + 1)
    like, count = cast(NdArray, args[each.reads[0]]), 0
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        if x.type is not NUMPY_ARRAY or x.dtype is not each.dtypes[k] or x.flags & ALIGNED == 0:
            return None
        size = size_of(x)
        if size > count or (size == count and x.ndim > like.ndim):
            like, count = x, size
        operands[k], sizes[k + 1] = x, size
    if count == 0 or count >= most:
        return None
    for k in range(each.count):
        x = operands[k]
        one = sizes[k + 1] == 1 and x.ndim <= like.ndim
        if not one and not has_shape(x, like.ndim, like.shape):
            return None
        sizes[k + 1] = 0 if one else 1
    order = order_of(operands, sizes + 1, each.count, like)
    if order == NO_ORDER or not are_laid(operands, sizes + 1, each.count, order):
        return None
    made = empty_array(each.dtype, like.ndim, like.shape, None if order == IN_ORDER else like.strides)
    if made is not None:
        arrays = stack(Array[Memory], MOST_READ + 1)
        for k in range(each.count):
            arrays[k + 1] = operands[k].data
        arrays[0], sizes[0] = made.data, count
        each.kernel(arrays, sizes)
    drop(cast(Array[Object | None], operands), each.count)
    return made


# ---- how they lie ------------------------------------------------------------------------------------------
NO_ORDER = -1


@native
def order_of(operands: Array[NdArray], wide: Array[int], count: int, like: NdArray) -> int:
    """How the result lies, as NumPy has it: in order if an operand of more than one element does, else as
    they do, if all lie alike."""
    alike, one_in_order = True, False
    for k in range(count):
        if wide[k] != 0:
            one_in_order = one_in_order or operands[k].flags & CONTIGUOUS != 0
            alike = alike and have_same_steps(operands[k], like)
    if one_in_order or like.flags & CONTIGUOUS != 0:
        return IN_ORDER
    return AS_IT_LIES if alike and is_dense(like) else NO_ORDER


@native
def have_same_steps(x: NdArray, y: NdArray) -> bool:
    """Whether arrays of one shape have the same steps where they have more than one place."""
    for axis in range(x.ndim):  # noqa: SIM110  # the native language has no generators
        if x.shape[axis] > 1 and x.strides[axis] != y.strides[axis]:
            return False
    return True


@native
def are_laid(operands: Array[NdArray], wide: Array[int], count: int, order: int) -> bool:
    """A reference to each operand, or to a copy in order where it shall lie so and does not; false, and no
    reference, without memory."""
    for k in range(count):
        x: NdArray | None = operands[k]
        if order == IN_ORDER and wide[k] != 0 and operands[k].flags & CONTIGUOUS == 0:
            x = numpy_new_copy(operands[k], IN_ORDER)
        else:
            Py_IncRef(x)
        if x is None:
            drop(cast(Array[Object | None], operands), k)
            return False
        operands[k] = x
    return True
