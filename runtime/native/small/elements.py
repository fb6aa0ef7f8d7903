"""The native callable of elementwise formulas: for each result one kernel, one pass over memory.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then passes, then places (`entry.py`). Sizes are no part of
it. What a pass reads is arrays of one shape that lie alike, or one of them in order, or that have one
element, and beside arrays in order one for all rows, or an element for each row; all else is for `slow`, and
so is what it does sooner, because it is much.
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
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Dtype,
    Memory,
    NdArray,
    Object,
    PyEval_RestoreThread,
    PyEval_SaveThread,
    Tuple,
)
from retrograd.runtime.native.pool import MUCH, Run
from retrograd.runtime.native.small.entry import MOST_ARRAYS, Called, given, has_shape, or_slow
from retrograd.runtime.native.small.laying import laid_like, new_beside

MOST_READ = 4
"""Arrays that a pass reads."""


BLOCK = 1 << 13
"""Elements that a thread takes at a time, where they are many."""

Kernel = Callable[[Array[Memory], Array[int]], int]


class Head(Called):
    most: int
    """Elements that are too many."""
    parallel: Callable[[Run, Memory, int], None]


class Pass(Record):
    kernel: Kernel
    dtype: Object
    """The result's."""
    count: int
    """How many arrays it reads."""
    reads: Inline[int] = several(MOST_READ)
    """Which arguments they are."""
    dtypes: Inline[Object] = several(MOST_READ)


HEAD_WORDS, PASS_WORDS = words(Head), words(Pass)


class Spread(Record):
    """A pass over rows of so many columns; the last may be shorter. The first array is the result."""

    kernel: Kernel
    operands: int
    count: int
    """Elements."""
    columns: int
    rows: int
    block: int
    """Rows that a thread takes at a time."""
    arrays: Inline[Memory] = several(MOST_READ + 1)
    own: Inline[int] = several(MOST_READ + 1)
    """Whether there is an element for each of the result's."""
    along: Inline[int] = several(MOST_READ + 1)
    """Whether there is one for each column."""
    steps: Inline[int] = several(MOST_READ + 1)
    """Bytes from a row to the next."""


@exported
def retrograd_elements(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    return or_slow(self, args, nargs, names, lambda record: computed(cast(Head, record), args))


@native
def computed(head: Head, args: Array[Object]) -> Object | None:
    """The result; null where it is not for such arguments."""
    results = stack(Array[NdArray | None], MOST_ARRAYS)
    for k in range(head.outputs):
        results[k] = passed(inside(Pass, head, (HEAD_WORDS + k * PASS_WORDS) << 3), head, args)
        if results[k] is None:
            return given(head, results, k, False)
    return given(head, results, head.outputs, True)


@native
def passed(each: Pass, head: Head, args: Array[Object]) -> NdArray | None:
    """What the kernel gives; null where it is not for what it would read."""
    operands, sizes = stack(Array[NdArray], MOST_READ), stack(Array[int], MOST_READ)
    like, count = 0, 0
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        if x.type is not NUMPY_ARRAY or x.dtype is not each.dtypes[k] or x.flags & ALIGNED == 0:
            return None
        size = size_of(x)
        operands[k], sizes[k] = x, size
        if size > count or (size == count and x.ndim > operands[like].ndim):
            like, count = k, size
    if count == 0 or count >= head.most:
        return None
    all = stack(Spread)
    all.kernel, all.operands, all.count, all.columns = each.kernel, each.count, count, 0
    for k in range(each.count):
        if not finds_place(all, k, operands[k], sizes[k], operands[like]):
            return None
        sizes[k] = all.own[k + 1]
    laid = laid_like(operands, sizes, each.count)
    if laid is None:
        return None
    made: NdArray | None = None
    if all.columns == 0 or laid.flags & CONTIGUOUS != 0:
        made = new_beside(each.dtype, laid.ndim, laid.shape, laid)
    if made is not None:
        all.arrays[0], all.own[0], all.along[0] = made.data, 1, 1
        all.steps[0] = cast(Dtype, made.dtype).itemsize
        for k in range(each.count):
            all.arrays[k + 1] = operands[k].data
        spread(all, head)
    drop(cast(Array[Object | None], operands), each.count)
    return made


@native
def finds_place(all: Spread, k: int, x: NdArray, size: int, like: NdArray) -> bool:
    """How an operand goes along with the result: whether it has an element for each of the result's, for each
    column of rows, for each row, or one for all. Rows are as long as the first that is repeated says."""
    all.own[k + 1], all.along[k + 1], all.steps[k + 1] = 1, 1, cast(Dtype, x.dtype).itemsize
    if has_shape(x, like.ndim, like.shape):
        return True
    all.own[k + 1] = 0
    if size == 1 and x.ndim <= like.ndim:
        all.along[k + 1], all.steps[k + 1] = 0, 0
        return True
    if x.ndim > like.ndim or x.flags & CONTIGUOUS == 0:
        return False
    first, last, lead = 0, x.ndim, like.ndim - x.ndim
    while x.shape[first] == 1:
        first += 1
    while x.shape[last - 1] == 1:
        last -= 1
    columns = size
    if last == x.ndim:
        all.steps[k + 1] = 0
    else:
        all.along[k + 1] = 0
        columns = all.count // size
        first = 0 if lead == 0 else last
    for axis in range(first, last):
        if x.shape[axis] != like.shape[lead + axis]:
            return False
    if first == last or (all.columns != 0 and all.columns != columns):
        return False
    all.columns = columns
    return True


@native
def spread(all: Spread, head: Head) -> None:
    """Run the kernel: where there is much to do, by threads, whose blocks depend on sizes alone."""
    much, parallel = all.count >= MUCH, head.parallel
    if all.columns == 0:
        all.columns = BLOCK if much else all.count
    for k in range(all.operands + 1):
        if all.own[k] != 0:
            all.steps[k] *= all.columns
    all.rows = (all.count + all.columns - 1) // all.columns
    all.block = max(1, BLOCK // all.columns) if much else all.rows
    if much:
        thread = PyEval_SaveThread()
        parallel(run_rows, cast(Memory, all), (all.rows + all.block - 1) // all.block)
        PyEval_RestoreThread(thread)
    else:
        run_rows(cast(Memory, all), 0)


@native
def run_rows(environment: Memory, block: int) -> None:
    all = cast(Spread, environment)
    arrays, sizes = stack(Array[Memory], MOST_READ + 1), stack(Array[int], MOST_READ + 1)
    first = block * all.block
    for row in range(first, min(first + all.block, all.rows)):
        for k in range(all.operands + 1):
            arrays[k], sizes[k] = inside(Memory, all.arrays[k], row * all.steps[k]), all.along[k]
        sizes[0] = min(all.columns, all.count - row * all.columns)
        all.kernel(arrays, sizes)
