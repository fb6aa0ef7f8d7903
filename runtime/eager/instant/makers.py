"""New Tensors and arrays as native calls.

In flow an array, a Tensor, or nothing but the record; out flows a new object.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    exported,
    external,
    inlined,
    inside,
    native,
    stack,
)
from retrograd.runtime.eager.instant.operands import boxed, is_array, looked_at, marked, or_slow, shared
from retrograd.runtime.eager.instant.records import MOST, Function, Loop, Looped
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import IN_ORDER, empty_array, is_dense, size_of
from retrograd.runtime.native.objects import (
    Dtype,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    PyEval_RestoreThread,
    PyEval_SaveThread,
    PyLong_FromLongLong,
    PyMethod_New,
    PyObject_CallNoArgs,
    PyType_GenericAlloc,
    Tuple,
    numpy_copy_into,
    numpy_new_copy,
)
from retrograd.runtime.native.pool import MUCH

SIZE = external(Object, "size_type")


@inlined
def has(array: NdArray, flags: int) -> bool:
    """Whether an array has all these flags."""
    return array.flags & flags == flags


# ---- new Tensors -------------------------------------------------------------------------------------------
@exported
def retrograd_box(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """A Tensor of the array or NumPy scalar that is the only argument."""
    return or_slow(boxed(shared(args[0])), function.step.slow, args, nargs, names)


@exported
def retrograd_fresh(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A Tensor of what the record's function of nothing gives."""
    step = function.step
    made = marked(boxed(PyObject_CallNoArgs(step.compute)), step.tracked != 0)
    return or_slow(made, step.slow, args, nargs, names)


# ---- what is asked of a Tensor -----------------------------------------------------------------------------
@exported
def retrograd_in_order(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The only argument, if its elements lie in order."""
    return looked_at(
        function.step, args, nargs, names, lambda x, array: shared(x) if has(array, CONTIGUOUS) else None
    )


@exported
def retrograd_shape(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The shape of the only argument."""
    return looked_at(function.step, args, nargs, names, lambda x, array: shape_of(array))


@native
def shape_of(array: NdArray) -> Object | None:
    """A new Size; null without memory."""
    size = cast(Tuple | None, PyType_GenericAlloc(SIZE, array.ndim))
    if size is None:
        return None
    for axis in range(array.ndim):
        extent = PyLong_FromLongLong(array.shape[axis])
        if extent is None:
            Py_DecRef(size)
            return None
        size.items[axis] = extent
    return size


# ---- loops over rows ---------------------------------------------------------------------------------------
@exported
def retrograd_rows(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """A new array of up to three arrays, the first of which says its shape."""
    looped = function.looped
    made = looped_over(looped, args) if nargs == looped.arity and are_arrays(looped, args) else None
    return or_slow(made, looped.slow, args, nargs, names)


@native
def are_arrays(looped: Looped, args: Array[Object]) -> bool:
    """Whether all are arrays, and the others than the first lie in order."""
    if not is_array(args[0]):
        return False
    for k in range(1, looped.arity):
        if not is_array(args[k]) or not has(cast(NdArray, args[k]), ALIGNED | CONTIGUOUS):
            return False
    return True


@inlined
def data_of(looped: Looped, args: Array[Object], k: int) -> Memory | None:
    """Where the operand of this number lies, if there is one."""
    return cast(NdArray, args[k]).data if k < looped.arity else None


@native
def looped_over(looped: Looped, args: Array[Object]) -> NdArray | None:
    """What the record's loop gives, if it is there already and the array lies in order."""
    array = cast(NdArray, args[0])
    size = size_of(array)
    if looped.loop is None or (size >= MUCH and looped.parallel is None):
        return None
    second, third = data_of(looped, args, 1), data_of(looped, args, 2)
    if has(array, ALIGNED) and (has(array, CONTIGUOUS) or (looped.apart != 0 and is_dense(array))):
        return made_by(looped, array, size, second, third)
    copy = copied_following(array) if looped.apart != 0 else numpy_new_copy(array, IN_ORDER)
    if copy is None:
        return None
    made = made_by(looped, copy, size, second, third)
    Py_DecRef(copy)
    return made


@native
def copied_following(array: NdArray) -> NdArray | None:
    """A copy that lies as what is computed of it element by element (`strided.pointwise_strides`)."""
    axes = array.ndim
    if axes > MOST:
        return None
    inwards, steps = stack(Array[int], MOST), stack(Array[int], MOST)
    for k in range(axes):
        inwards[k] = axes - 1 - k
    for k in range(1, axes):
        here = k
        for back in range(k):
            before = k - 1 - back
            order = nearer(array, inwards[before], inwards[here])
            if order < 0:
                break
            if order > 0:
                axis = inwards[before]
                inwards[before] = inwards[here]
                inwards[here] = axis
                here = before
    step = cast(Dtype, array.dtype).itemsize
    for k in range(axes):
        steps[inwards[k]] = step
        step *= max(array.shape[inwards[k]], 1)
    copy = empty_array(array.dtype, axes, array.shape, steps)
    if copy is not None and numpy_copy_into(copy, array) != 0:
        Py_DecRef(copy)
        return None
    return copy


@native
def nearer(array: NdArray, one: int, other: int) -> int:
    """1 where axis `one` must come after `other`, -1 before it, 0 where nobody says."""
    step = max(array.strides[one], -array.strides[one])
    beside = max(array.strides[other], -array.strides[other])
    if step == 0 or beside == 0:
        return 0
    if step != beside:
        return 1 if step > beside else -1
    return 1 if array.shape[one] > array.shape[other] else 0


@native
def made_by(
    looped: Looped, array: NdArray, size: int, second: Memory | None, third: Memory | None
) -> NdArray | None:
    """What the loop gives for an array whose rows lie one behind the other, with the array's own steps."""
    loop, parallel = looped.loop, looped.parallel
    steps: Array[int] | None = None if has(array, CONTIGUOUS) else array.strides
    made = empty_array(array.dtype, array.ndim, array.shape, steps)
    if made is None or size == 0 or loop is None:
        return made
    columns = 1
    for axis in range(max(0, array.ndim - looped.axes), array.ndim):
        columns *= array.shape[axis]
    if size < MUCH or parallel is None:
        loop(array.data, made.data, size // columns, columns, second, third)
        return made
    all = stack(Rows)
    all.loop, all.source, all.target, all.bytes = loop, array.data, made.data, looped.bytes
    all.second, all.third, all.moving = second, third, looped.moving
    all.apart = looped.apart
    all.rows = size if looped.apart != 0 else size // columns
    all.columns = 1 if looped.apart != 0 else columns
    all.block = max(1, BLOCK // all.columns)
    thread = PyEval_SaveThread()
    parallel(run_block, cast(Memory, all), (all.rows + all.block - 1) // all.block)
    PyEval_RestoreThread(thread)
    return made


BLOCK = 1 << 13
"""Elements that one of them takes at a time."""


class Rows(Record):
    """What threads share: rows to be read and written, of so many columns; elements apart are rows of one."""

    loop: Loop
    source: Memory
    target: Memory
    second: Memory | None
    third: Memory | None
    moving: int
    rows: int
    columns: int
    apart: int
    bytes: int
    block: int
    """Rows that a thread takes at a time, however many threads there are."""


@native
def run_block(environment: Memory, block: int) -> None:
    all = cast(Rows, environment)
    first = block * all.block
    count, skipped = min(all.block, all.rows - first), first * all.columns * all.bytes
    source, target = inside(Memory, all.source, skipped), inside(Memory, all.target, skipped)
    if all.apart != 0:
        all.loop(source, target, 1, count, None, None)
        return
    second = all.second
    if second is not None and all.moving > 1:
        second = inside(Memory, second, skipped)
    all.loop(source, target, count, all.columns, second, all.third)


# ---- functions as attributes -------------------------------------------------------------------------------
@exported
def retrograd_bind(function: Object, thing: Object | None, cls: Object) -> Object | None:
    """A Tensor's method is the function with the Tensor as its first argument."""
    return shared(function) if thing is None else PyMethod_New(function, thing)
