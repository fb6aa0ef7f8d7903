"""The native callable of a small graph: arguments are checked, results made, steps walked.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then inputs, outputs, places (the number of the output that
stands there in the list of results, or -1 for None), and steps.

An input that does not lie in order is copied first. Where a result lies as the inputs do, all of them are
walked through as they lie, if the graph is of elements by themselves; else such a call is for `slow`. Nothing
here raises; `slow` tells what is wrong.
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
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import (
    NONE,
    NUMPY_ARRAY,
    Bytes,
    List,
    Memory,
    NdArray,
    Object,
    Py_IncRef,
    PyErr_Clear,
    PyList_New,
    PyObject_Vectorcall,
    Tuple,
)
from retrograd.runtime.native.small.copies import MOST_AXES, CopySizes
from retrograd.runtime.native.small.laying import laid_like, new_beside
from retrograd.runtime.native.small.parts import Parallel, Parts, run_in_parts

UNREAD, ANYHOW, IN_ORDER = range(3)
"""Whether an input is read, wherever its elements lie or only if they do so in order."""
MOST_ARRAYS = 32
"""Inputs and outputs of a graph, and arrays of a step."""


class Called(Record):
    inputs: int
    outputs: int
    places: int
    """Results in the list that is given back; 0 where it is the only result itself."""
    places_at: int
    """Where they are, in words of the record."""


class Head(Called):
    outputs_at: int
    steps_at: int
    end_at: int
    """Where the record ends."""
    like: int
    """In a graph of elements by themselves, an operand of the shape of all results; else -1."""
    parallel: Parallel
    """Where a step is in parts."""


class Input(Record):
    how: int
    dtype: Object
    axes: int
    copy: Callable[[Array[Memory], CopySizes], int]
    room: Memory
    """What it is copied to."""
    extents: Inline[int] = several(MOST_AXES)
    steps: Inline[int] = several(MOST_AXES)
    """There, in bytes."""


class Output(Record):
    dtype: Object
    axes: int
    extents: Inline[int] = several(MOST_AXES)


class Step(Record):
    kernel: Callable[[Array[Memory], Array[int]], int]
    words: int
    arrays: int
    part: int
    """As much of one of the sizes as a part of the step has; 0 where one thread does it all."""
    cut: int
    """The place of that size."""
    places: Inline[int]
    """A base, an offset, and bytes from one unit of what is cut to the next, for each array; then sizes. The
    bases are 0, for memory that stays, inputs and outputs."""


HEAD_WORDS, INPUT_WORDS, OUTPUT_WORDS = words(Head), words(Input), words(Output)
STEP_WORDS = words(Step) - 1
"""Those before the places."""
PLACE_WORDS = 3


@exported
def retrograd_small(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    return or_slow(self, args, nargs, names, lambda record: run(cast(Head, record), args))


@inlined
def or_slow(
    self: Tuple, args: Array[Object], nargs: int, names: Tuple | None, run: Callable[[Called], Object | None]
) -> Object | None:
    """What the record's run gives, or `slow`, if the run gives null or is not for so many arguments."""
    called = cast(Called, cast(Bytes, self.items[0]).content)
    if nargs == called.inputs and names is None:
        result = run(called)
        if result is not None:
            return result
        PyErr_Clear()
    return PyObject_Vectorcall(self.items[1], args, nargs, names)


@native
def run(head: Head, args: Array[Object]) -> Object | None:
    """The result; null where a kernel or memory cannot do it, or the arguments do not fit."""
    if not do_fit(head, args, True):
        return None if head.like < 0 or not do_fit(head, args, False) else run_through(head, args)
    results = stack(Array[NdArray | None], MOST_ARRAYS)
    bases = stack(Array[Memory], MOST_ARRAYS)
    made = made_of(head, results, None)
    for i in range(head.inputs):
        input_ = input_of(head, i)
        if input_.how != UNREAD:
            bases[i + 1] = in_order(cast(NdArray, args[i]), input_)
    return given(head, results, made, made == head.outputs and is_walked(head, bases, results))


@native
def run_through(head: Head, args: Array[Object]) -> Object | None:
    """The same of elements by themselves, however they lie."""
    operands, wide = stack(Array[NdArray], MOST_ARRAYS), stack(Array[int], MOST_ARRAYS)
    for i in range(head.inputs):
        read = input_of(head, i).how != UNREAD
        operands[i] = cast(NdArray, args[i if read else head.like])
        wide[i] = 1 if read and size_of(operands[i]) > 1 else 0
    laid = laid_like(operands, wide, head.inputs)
    if laid is None:
        return None
    results = stack(Array[NdArray | None], MOST_ARRAYS)
    bases = stack(Array[Memory], MOST_ARRAYS)
    for i in range(head.inputs):
        bases[i + 1] = operands[i].data
    made = made_of(head, results, laid)
    found = given(head, results, made, made == head.outputs and is_walked(head, bases, results))
    drop(cast(Array[Object | None], operands), head.inputs)
    return found


# ---- arguments ---------------------------------------------------------------------------------------------
@native
def do_fit(head: Head, args: Array[Object], ordered: bool) -> bool:
    """Whether all arguments are as the inputs say, and lie so if they are to be `ordered`."""
    for i in range(head.inputs):
        input_, x = input_of(head, i), cast(NdArray, args[i])
        if input_.how != UNREAD and not is_like(x, input_):
            return False
        if input_.how == IN_ORDER and ordered and x.flags & CONTIGUOUS == 0:
            return False
    return True


@native
def input_of(head: Head, number: int) -> Input:
    return inside(Input, head, (HEAD_WORDS + number * INPUT_WORDS) << 3)


@native
def is_like(x: NdArray, wanted: Input) -> bool:
    """Whether an argument is an array of the input's dtype and shape."""
    if x.type is not NUMPY_ARRAY or x.dtype is not wanted.dtype:
        return False
    return has_shape(x, wanted.axes, wanted.extents)


@native
def has_shape(x: NdArray, axes: int, extents: Array[int]) -> bool:
    if x.ndim != axes:
        return False
    for axis in range(axes):  # noqa: SIM110  # the native language has no generators
        if x.shape[axis] != extents[axis]:
            return False
    return True


@native
def in_order(x: NdArray, known: Input) -> Memory:
    """Where an argument's elements lie in order."""
    if x.flags & (CONTIGUOUS | ALIGNED) == CONTIGUOUS | ALIGNED:
        return x.data
    arrays, sizes = stack(Array[Memory], 2), stack(CopySizes)
    sizes.axes = known.axes
    for axis in range(known.axes):
        sizes.extents[axis], sizes.to_steps[axis] = known.extents[axis], known.steps[axis]
        sizes.from_steps[axis] = x.strides[axis]
    arrays[0], arrays[1] = known.room, x.data
    known.copy(arrays, sizes)
    return known.room


# ---- steps -------------------------------------------------------------------------------------------------
@native
def is_walked(head: Head, bases: Array[Memory], results: Array[NdArray | None]) -> bool:
    """Run the steps, with the inputs' memory behind the first base. False where a kernel cannot do it.
    Nothing here runs Python: scratch is shared."""
    arrays = stack(Array[Memory], MOST_ARRAYS)
    bases[0] = cast(Memory, 0)
    for k in range(head.outputs):
        bases[head.inputs + k + 1] = cast(NdArray, results[k]).data
    step, end = inside(Step, head, head.steps_at << 3), inside(Step, head, head.end_at << 3)
    while step is not end:
        if step.part != 0:
            if run_shared(step, bases, head.parallel) != 0:
                return False
        else:
            for i in range(step.arrays):
                place = step.places + PLACE_WORDS * i
                arrays[i] = inside(Memory, bases[place[0]], place[1])
            if step.kernel(arrays, step.places + PLACE_WORDS * step.arrays) != 0:
                return False
        step = inside(Step, step, step.words << 3)
    return True


@native
def run_shared(step: Step, bases: Array[Memory], parallel: Parallel) -> int:
    """A step in parts."""
    parts = stack(Parts)
    parts.kernel, parts.arrays, parts.cut, parts.part = step.kernel, step.arrays, step.cut, step.part
    parts.sizes = step.places + PLACE_WORDS * step.arrays
    parts.count = step.words - STEP_WORDS - PLACE_WORDS * step.arrays
    for i in range(step.arrays):
        place = step.places + PLACE_WORDS * i
        parts.starts[i], parts.advances[i] = inside(Memory, bases[place[0]], place[1]), place[2]
    return run_in_parts(parts, parallel)


# ---- results -----------------------------------------------------------------------------------------------
@native
def made_of(head: Head, results: Array[NdArray | None], laid: NdArray | None) -> int:
    """Make the results, which lie as another array does, if there is one; how many could be made."""
    output = inside(Output, head, head.outputs_at << 3)
    for k in range(head.outputs):
        results[k] = new_beside(output.dtype, output.axes, output.extents, laid)
        if results[k] is None:
            return k
        output = inside(Output, output, OUTPUT_WORDS << 3)
    return head.outputs


@native
def given(called: Called, results: Array[NdArray | None], made: int, done: bool) -> Object | None:
    """What is given back, which takes the references of so many results; null where they are not `done`."""
    if done:
        found = results[0] if called.places == 0 else listed(called, results)
        if found is not None:
            return found
    drop(cast(Array[Object | None], results), made)
    return None


@native
def listed(called: Called, results: Array[NdArray | None]) -> List | None:
    """The list of results, which takes their references; null without memory."""
    found = PyList_New(called.places)
    if found is None:
        return None
    places = inside(Array[int], called, called.places_at << 3)
    for i in range(called.places):
        if places[i] < 0:
            Py_IncRef(NONE)
            found.items[i] = NONE
        else:
            found.items[i] = cast(NdArray, results[places[i]])
    return found
