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
from retrograd.runtime.native.grammar import ALIGNED
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Memory,
    NdArray,
    Object,
    Tuple,
)
from retrograd.runtime.native.small.entry import MOST_ARRAYS, Called, given, has_shape, or_slow
from retrograd.runtime.native.small.laying import laid_like, new_beside

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
    like, count = 0, 0
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        if x.type is not NUMPY_ARRAY or x.dtype is not each.dtypes[k] or x.flags & ALIGNED == 0:
            return None
        size = size_of(x)
        operands[k], sizes[k + 1] = x, size
        if size > count or (size == count and x.ndim > operands[like].ndim):
            like, count = k, size
    if count == 0 or count >= most:
        return None
    for k in range(each.count):
        x, most_of = operands[k], operands[like]
        one = k != like and sizes[k + 1] == 1 and x.ndim <= most_of.ndim
        if not one and not has_shape(x, most_of.ndim, most_of.shape):
            return None
        sizes[k + 1] = 0 if one else 1
    laid = laid_like(operands, sizes + 1, each.count)
    if laid is None:
        return None
    made = new_beside(each.dtype, laid.ndim, laid.shape, laid)
    if made is not None:
        arrays = stack(Array[Memory], MOST_READ + 1)
        for k in range(each.count):
            arrays[k + 1] = operands[k].data
        arrays[0], sizes[0] = made.data, count
        each.kernel(arrays, sizes)
    drop(cast(Array[Object | None], operands), each.count)
    return made
