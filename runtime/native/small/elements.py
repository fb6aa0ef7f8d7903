"""The native callable of elementwise formulas: for each result one kernel, one pass over memory.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then passes, then places (`entry.py`). Sizes are no part of
it. What a pass reads is arrays of one shape that lie alike, or one of them in order, numbers, and arrays
whose axes go from far to near, with memory between rows, or repeated along axes; all else is for `slow`, and
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
    inlined,
    inside,
    native,
    several,
    stack,
    words,
)
from retrograd.runtime.native.boxing import drop
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import is_dense, size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Dtype,
    Memory,
    NdArray,
    Object,
    Py_IncRef,
    PyEval_RestoreThread,
    PyEval_SaveThread,
    Tuple,
)
from retrograd.runtime.native.pool import MUCH
from retrograd.runtime.native.small.copies import MOST_AXES
from retrograd.runtime.native.small.entry import MOST_ARRAYS, Called, given, has_shape, or_slow
from retrograd.runtime.native.small.laying import laid_like, new_beside
from retrograd.runtime.native.small.parts import BLOCK, Parallel

MOST_READ = 4
"""Arrays that a pass reads."""

Kernel = Callable[[Array[Memory], Array[int]], int]


class Head(Called):
    most: int
    """Elements that are too many."""
    parallel: Parallel


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
    """A pass over rows of so many columns; the last may be shorter. Along a row an operand has an element for
    each column, or one for all; axes before the row say where it begins."""

    kernel: Kernel
    operands: int
    count: int
    """Elements."""
    columns: int
    rows: int
    block: int
    """Rows that a thread takes at a time."""
    axes: int
    """Those before a row."""
    result: Memory
    row: int
    """Bytes of a row of it."""
    arrays: Inline[Memory] = several(MOST_READ)
    along: Inline[int] = several(MOST_READ)
    """Whether there is an element for each column."""
    extents: Inline[int] = several(MOST_AXES)
    """Of the axes before a row."""
    steps: Inline[int] = several(MOST_READ * MOST_AXES)
    """Bytes from one place to the next along them, array after array."""


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
    operands, own = stack(Array[NdArray], MOST_READ), stack(Array[int], MOST_READ)
    rank, whole, some = 0, 1, 0
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        if x.type is not NUMPY_ARRAY or x.dtype is not each.dtypes[k] or x.flags & ALIGNED == 0:
            return None
        operands[k], rank = x, max(rank, x.ndim)
    all, extents = stack(Spread), stack(Array[int], MOST_AXES)
    if rank > MOST_AXES or not find_extents(operands, each.count, rank, extents):
        return None
    all.kernel, all.operands, all.count = each.kernel, each.count, 1
    for axis in range(rank):
        all.count *= extents[axis]
    if all.count == 0 or all.count >= head.most:
        return None
    for k in range(each.count):
        own[k] = 1 if has_shape(operands[k], rank, extents) else 0
        all.along[k] = own[k]
        some |= own[k]
        if own[k] == 0 and size_of(operands[k]) != 1:
            whole = 0
    laid: NdArray | None = None
    if whole == 0 or has_gaps(operands, own, each.count):
        by_rows = finds_rows(all, operands, rank, extents)
        if not by_rows and whole == 0:
            return None
        whole = 0 if by_rows else 1
    if whole == 0:
        for k in range(each.count):
            Py_IncRef(operands[k])
    else:
        laid = laid_like(operands, own, each.count)
        if laid is None and some != 0:
            return None
    made = new_beside(each.dtype, rank, extents, laid)
    if made is not None:
        all.result = made.data
        for k in range(each.count):
            all.arrays[k] = operands[k].data
        if whole != 0:
            cut(all, operands)
        spread(all, head, cast(Dtype, made.dtype).itemsize)
    drop(cast(Array[Object | None], operands), each.count)
    return made


@native
def has_gaps(operands: Array[NdArray], wide: Array[int], count: int) -> bool:
    """Whether there is memory between the elements of a wide one."""
    for k in range(count):
        x = operands[k]
        if wide[k] != 0 and x.flags & CONTIGUOUS == 0 and not is_dense(x):
            return True
    return False


@native
def find_extents(operands: Array[NdArray], count: int, rank: int, extents: Array[int]) -> bool:
    """The shape that all operands have, once they are repeated; whether there is one."""
    for axis in range(rank):
        extents[axis] = 1
        for k in range(count):
            extent = extent_of(operands[k], rank, axis)
            if extent != 1:
                if extents[axis] != 1 and extents[axis] != extent:
                    return False
                extents[axis] = extent
    return True


@inlined
def extent_of(x: NdArray, rank: int, axis: int) -> int:
    """That of an axis of the result in an operand, which may have fewer."""
    own = axis - (rank - x.ndim)
    return x.shape[own] if own >= 0 else 1


@native
def finds_rows(all: Spread, operands: Array[NdArray], rank: int, extents: Array[int]) -> bool:
    """Find the last axes along which each operand has elements side by side for all places, or one; whether
    there are any, and axes of all go from far to near: so the result lies in order."""
    for k in range(all.operands):
        in_order = operands[k].flags & CONTIGUOUS != 0 or size_of(operands[k]) == 1
        if not in_order and not descends(operands[k]):
            return False
        all.steps[k * MOST_AXES] = 0
    axis = rank
    all.columns, all.axes = 1, 0
    while axis > 0 and goes_on(all, operands, rank, axis - 1, extents[axis - 1]):
        axis -= 1
        all.columns *= extents[axis]
    if all.columns == 1:
        return False
    all.rows = all.count // all.columns
    while axis > 0:
        axis -= 1
        if extents[axis] != 1:
            all.extents[all.axes] = extents[axis]
            for k in range(all.operands):
                x = operands[k]
                repeated = extent_of(x, rank, axis) == 1
                all.steps[k * MOST_AXES + all.axes] = 0 if repeated else x.strides[axis - (rank - x.ndim)]
            all.axes += 1
    return True


@native
def goes_on(all: Spread, operands: Array[NdArray], rank: int, axis: int, extent: int) -> bool:
    """Whether a row goes on along an axis: at its end all do, else those that do so far, if what comes next
    lies behind what there is."""
    if extent == 1:
        return True
    for k in range(all.operands):
        x = operands[k]
        along = 1 if extent_of(x, rank, axis) != 1 else 0
        if all.columns == 1:
            all.along[k] = along
        elif all.along[k] != along:
            return False
        next = all.columns * cast(Dtype, x.dtype).itemsize
        if along != 0 and x.strides[axis - (rank - x.ndim)] != next:
            return False
    return True


@native
def descends(x: NdArray) -> bool:
    """Whether steps along its axes, but for those along which it is repeated, are not longer than the ones
    before, nor backwards."""
    last = -1
    for axis in range(x.ndim):
        step = x.strides[axis]
        if x.shape[axis] > 1 and step != 0:
            if step < 0 or (last >= 0 and step > last):
                return False
            last = step
    return True


@native
def cut(all: Spread, operands: Array[NdArray]) -> None:
    """Of operands that are as large as the result, or of one element, rows are pieces."""
    all.columns = BLOCK if all.count >= MUCH else all.count
    all.rows = (all.count + all.columns - 1) // all.columns
    all.axes, all.extents[0] = 1, all.rows
    for k in range(all.operands):
        all.steps[k * MOST_AXES] = all.along[k] * all.columns * cast(Dtype, operands[k].dtype).itemsize


@native
def spread(all: Spread, head: Head, itemsize: int) -> None:
    """Run the kernel: where there is much to do, by threads, whose blocks depend on sizes alone."""
    much, parallel = all.count >= MUCH, head.parallel
    all.row = all.columns * itemsize
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
    row = block * all.block
    end = min(row + all.block, all.rows)
    while row < end:
        row = run_along(all, row, end)


@native
def run_along(all: Spread, row: int, end: int) -> int:
    """Run rows from one on, as far as the last axis before them goes; gives the next one."""
    arrays, sizes = stack(Array[Memory], MOST_READ + 1), stack(Array[int], MOST_READ + 1)
    for k in range(all.operands):
        arrays[k + 1], sizes[k + 1] = all.arrays[k], all.along[k]
    left, count = row, end - row
    for axis in range(all.axes):
        rest = left // all.extents[axis]
        place = left - rest * all.extents[axis]
        left = rest
        if axis == 0:
            count = min(count, all.extents[0] - place)
        for k in range(all.operands):
            arrays[k + 1] = inside(Memory, arrays[k + 1], place * all.steps[k * MOST_AXES + axis])
    for next in range(row, row + count):
        arrays[0] = inside(Memory, all.result, next * all.row)
        sizes[0] = min(all.columns, all.count - next * all.columns)
        all.kernel(arrays, sizes)
        for k in range(all.operands):
            arrays[k + 1] = inside(Memory, arrays[k + 1], all.steps[k * MOST_AXES])
    return row + count
