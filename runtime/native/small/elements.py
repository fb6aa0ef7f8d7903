"""The native callable of elementwise formulas: for each result one kernel, one pass over memory.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then passes, then places (`entry.py`). Sizes are no part of
it. What a pass reads is arrays of one shape that lie alike, or one of them in order, numbers, and arrays
whose axes go from far to near, with memory between rows, or repeated along axes; all else is for `slow`, and
so is what it does sooner, because it is much.

Behind the arguments there may be an array for each result, to which it is written, repeated, if that may be:
the memory is that of an operand, element by element, or nobody's. Else the result is a new array, as ever.
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
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS, WRITEABLE
from retrograd.runtime.native.making import is_dense, size_of
from retrograd.runtime.native.objects import (
    NUMPY_ARRAY,
    Bytes,
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
from retrograd.runtime.native.small.laying import (
    do_meet,
    laid_like,
    lie_together,
    lies_apart,
    new_beside,
)
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
    arrays: Inline[Memory] = several(1 + MOST_READ)
    """The result and the operands."""
    along: Inline[int] = several(1 + MOST_READ)
    """Whether there is an element for each column."""
    extents: Inline[int] = several(MOST_AXES)
    """Of the axes before a row."""
    steps: Inline[int] = several((1 + MOST_READ) * MOST_AXES)
    """Bytes from one place to the next along them, array after array."""


@exported
def retrograd_elements(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    called, count = cast(Called, cast(Bytes, self.items[0]).content), nargs
    targets: Array[Object] | None = None
    if nargs == called.inputs + called.outputs:
        targets, count = args + called.inputs, called.inputs
    return or_slow(self, args, count, names, lambda record: computed(cast(Head, record), args, targets))


@native
def computed(head: Head, args: Array[Object], targets: Array[Object] | None) -> Object | None:
    """The result; null where it is not for such arguments."""
    results = stack(Array[NdArray | None], MOST_ARRAYS)
    for k in range(head.outputs):
        target = None if targets is None else cast(NdArray, targets[k])
        results[k] = passed(inside(Pass, head, (HEAD_WORDS + k * PASS_WORDS) << 3), head, args, target)
        if results[k] is None:
            return given(head, results, k, False)
    return given(head, results, head.outputs, True)


@native
def passed(each: Pass, head: Head, args: Array[Object], target: NdArray | None) -> NdArray | None:
    """What the kernel gives, a new reference; null where it is not for what it would read."""
    arrays = stack(Array[NdArray], 1 + MOST_READ)
    for k in range(each.count):
        x = cast(NdArray, args[each.reads[k]])
        if x.type is not NUMPY_ARRAY or x.dtype is not each.dtypes[k] or x.flags & ALIGNED == 0:
            return None
        arrays[k + 1] = x
    if target is not None and may_hold(target, each, arrays + 1):
        arrays[0] = target
        found = written(each, head, arrays, 0)
        if found is not None:
            return found
    return written(each, head, arrays, 1)


@native
def may_hold(target: NdArray, each: Pass, operands: Array[NdArray]) -> bool:
    """Whether a result may be written there while the operands are read."""
    if target.type is not NUMPY_ARRAY or target.dtype is not each.dtype or size_of(target) == 0:
        return False
    if target.flags & (ALIGNED | WRITEABLE) != ALIGNED | WRITEABLE:
        return False
    for k in range(each.count):
        if do_meet(target, operands[k]) and not lie_together(target, operands[k]):
            return False
    return is_dense(target) or lies_apart(target)


@native
def written(each: Pass, head: Head, arrays: Array[NdArray], first: int) -> NdArray | None:
    """The result, a new reference, where there is a way through all arrays from the `first` one on: 0 where
    the result has its memory already, to whose shape operands are repeated, else 1."""
    all, extents, own = stack(Spread), stack(Array[int], MOST_AXES), stack(Array[int], 1 + MOST_READ)
    rank, whole, some, count = 0, 1, 1 - first, each.count + 1 - first
    for k in range(first, each.count + 1):
        rank = max(rank, arrays[k].ndim)
    if rank > MOST_AXES or not find_extents(arrays + first, count, rank, extents):
        return None
    if first == 0 and not has_shape(arrays[0], rank, extents):
        return None
    all.kernel, all.operands, all.count = each.kernel, each.count, 1
    for axis in range(rank):
        all.count *= extents[axis]
    if all.count == 0 or all.count >= head.most:
        return None
    own[0], all.along[0] = 1, 1
    for k in range(1, all.operands + 1):
        own[k] = 1 if has_shape(arrays[k], rank, extents) else 0
        some |= own[k]
        if own[k] == 0 and size_of(arrays[k]) != 1:
            whole = 0
    by_rows = False
    if whole == 0 or has_gaps(arrays + first, own + first, count):
        by_rows = finds_rows(all, arrays, first, rank, extents)
        if not by_rows and (whole == 0 or (first == 0 and not is_dense(arrays[0]))):
            return None
    laid: NdArray | None = None
    if by_rows:
        for k in range(first, all.operands + 1):
            Py_IncRef(arrays[k])
    else:
        laid = laid_like(arrays + first, own + first, count)
        if laid is None and some != 0:
            return None
    result: NdArray | None = None
    if first == 0:
        result = arrays[0]
        Py_IncRef(result)
    else:
        result = new_beside(each.dtype, rank, extents, laid)
    if result is not None:
        arrays[0] = result
        if by_rows and all.axes != 0:
            if first != 0:
                lay_in_order(all, result)
        else:
            cut(all, arrays, all.along if by_rows else own)
        spread(all, head, arrays)
    drop(cast(Array[Object | None], arrays + first), count)
    return result


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
def finds_rows(all: Spread, arrays: Array[NdArray], first: int, rank: int, extents: Array[int]) -> bool:
    """Find the last axes along which each array, from the first one on, has elements side by side for all
    places, or one, repeated if only in its strides; whether there are any, and axes of all go from far to
    near: so a new result lies in order."""
    for k in range(first, all.operands + 1):
        in_order = arrays[k].flags & CONTIGUOUS != 0 or size_of(arrays[k]) == 1
        if not in_order and not descends(arrays[k]):
            return False
        all.steps[k * MOST_AXES] = 0
    axis = rank
    all.columns, all.axes = 1, 0
    while axis > 0 and goes_on(all, arrays, first, rank, axis - 1, extents[axis - 1]):
        axis -= 1
        all.columns *= extents[axis]
    if all.columns == 1:
        return False
    all.rows = all.count // all.columns
    while axis > 0:
        axis -= 1
        if extents[axis] != 1:
            all.extents[all.axes] = extents[axis]
            for k in range(first, all.operands + 1):
                x = arrays[k]
                repeated = extent_of(x, rank, axis) == 1
                all.steps[k * MOST_AXES + all.axes] = 0 if repeated else x.strides[axis - (rank - x.ndim)]
            all.axes += 1
    return True


@native
def goes_on(all: Spread, arrays: Array[NdArray], first: int, rank: int, axis: int, extent: int) -> bool:
    """Whether a row goes on along an axis: at its end all do, else those that do so far, if what comes next
    lies behind what there is."""
    if extent == 1:
        return True
    for k in range(first, all.operands + 1):
        x = arrays[k]
        along = 1 if extent_of(x, rank, axis) != 1 and x.strides[axis - (rank - x.ndim)] != 0 else 0
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
def lay_in_order(all: Spread, result: NdArray) -> None:
    """The steps of a new result, whose rows lie one behind the other."""
    all.along[0], all.steps[0] = 1, 0
    step = all.columns * cast(Dtype, result.dtype).itemsize
    for axis in range(all.axes):
        all.steps[axis] = step
        step *= all.extents[axis]


@native
def cut(all: Spread, arrays: Array[NdArray], own: Array[int]) -> None:
    """Of arrays that have elements of their `own` from end to end, or one for all, rows are pieces."""
    all.columns = BLOCK if all.count >= MUCH else all.count
    all.rows = (all.count + all.columns - 1) // all.columns
    all.axes, all.extents[0] = 1, all.rows
    for k in range(all.operands + 1):
        all.along[k] = own[k]
        all.steps[k * MOST_AXES] = own[k] * all.columns * cast(Dtype, arrays[k].dtype).itemsize


@native
def spread(all: Spread, head: Head, arrays: Array[NdArray]) -> None:
    """Run the kernel: where there is much to do, by threads, whose blocks depend on sizes alone."""
    much, parallel = all.count >= MUCH, head.parallel
    for k in range(all.operands + 1):
        all.arrays[k] = arrays[k].data
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
    arrays, sizes = stack(Array[Memory], 1 + MOST_READ), stack(Array[int], 1 + MOST_READ)
    for k in range(all.operands + 1):
        arrays[k], sizes[k] = all.arrays[k], all.along[k]
    left, count = row, end - row
    for axis in range(all.axes):
        rest = left // all.extents[axis]
        place = left - rest * all.extents[axis]
        left = rest
        if axis == 0:
            count = min(count, all.extents[0] - place)
        for k in range(all.operands + 1):
            arrays[k] = inside(Memory, arrays[k], place * all.steps[k * MOST_AXES + axis])
    for next in range(row, row + count):
        sizes[0] = min(all.columns, all.count - next * all.columns)
        all.kernel(arrays, sizes)
        for k in range(all.operands + 1):
            arrays[k] = inside(Memory, arrays[k], all.steps[k * MOST_AXES])
    return row + count
