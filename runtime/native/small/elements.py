"""The native callable of elementwise formulas: for each result one kernel, one pass over memory.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then passes, then places (`entry.py`). Sizes are no part of
it. What a pass reads is arrays of one shape that lie in order, or have one element; all else is for `slow`,
and so is what it does sooner, because it is much.
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
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import empty_array, size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Memory,
    NdArray,
    Object,
    Tuple,
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
    arrays, sizes = stack(Array[Memory], MOST_READ + 1), stack(Array[int], MOST_READ + 1)
    like, count = cast(NdArray, args[each.reads[0]]), 0
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        if x.type is not NUMPY_ARRAY or x.dtype is not each.dtypes[k]:
            return None
        if x.flags & (CONTIGUOUS | ALIGNED) != CONTIGUOUS | ALIGNED:
            return None
        size = size_of(x)
        if size > count or (size == count and x.ndim > like.ndim):
            like, count = x, size
        arrays[k + 1], sizes[k + 1] = x.data, size
    if count == 0 or count >= most:
        return None
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        one = sizes[k + 1] == 1 and x.ndim <= like.ndim
        if not one and not has_shape(x, like.ndim, like.shape):
            return None
        sizes[k + 1] = 0 if one else 1
    made = empty_array(each.dtype, like.ndim, like.shape, None)
    if made is not None:
        arrays[0], sizes[0] = made.data, count
        each.kernel(arrays, sizes)
    return made
