"""What a Tensor knows of itself, natively: its dtype's answers, extents, steps, its memory, its history.

In flow the arguments of a call and the callable's record; out flows what they ask for. Whatever is not plain
goes to the record's `slow`. A further question of a Tensor's type is a table (`calls.by_dtype`), of its array
or its slots an entry here.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Int32,
    cast,
    exported,
    external,
    inlined,
    inside,
    native,
    stack,
)
from retrograd.runtime.eager.instant.entries import dtype_of
from retrograd.runtime.eager.instant.makers import SIZE, has, shape_of
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    array_of,
    boxed,
    is_array,
    is_fresh,
    is_inferring,
    is_tensor,
    looked_at,
    or_slow,
    owner_of,
    shared,
)
from retrograd.runtime.eager.instant.records import (
    FLOATING,
    INFERENCE,
    NO_VIEW,
    OPEN_TRACES,
    AnyTensor,
    Called,
    Described,
    Function,
    Held,
)
from retrograd.runtime.native.grammar import CONTIGUOUS
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import (
    FALSE,
    LONG,
    NONE,
    TRUE,
    Dtype,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyBool_FromLong,
    PyLong_AsLongAndOverflow,
    PyLong_FromLongLong,
    PyObject_CallOneArg,
    PyTuple_New,
    PyType_GenericAlloc,
    Tuple,
)

OUTPUT = external(Object, "output_type")


# ---- by its dtype ------------------------------------------------------------------------------------------
@exported
def retrograd_by_dtype(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the record has for the only argument's dtype."""
    described = function.described
    return looked_at(described, args, nargs, names, lambda x, array: by_dtype(described, array))


@native
def by_dtype(described: Described, array: NdArray) -> Object | None:
    dtype = dtype_of(array)
    if dtype < 0:
        return None
    answer = described.answers[dtype]
    Py_IncRef(answer)
    return answer


# ---- how many, and where -----------------------------------------------------------------------------------
@exported
def retrograd_count(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """How many elements there are."""
    return looked_at(function.step, args, nargs, names, lambda x, array: PyLong_FromLongLong(size_of(array)))


@exported
def retrograd_bytes(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """How many bytes all elements have."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: PyLong_FromLongLong(size_of(array) * cast(Dtype, array.dtype).itemsize),
    )  # fmt: skip


@exported
def retrograd_rank(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """How many axes there are."""
    return looked_at(function.step, args, nargs, names, lambda x, array: PyLong_FromLongLong(array.ndim))


@exported
def retrograd_lies_in_order(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether the elements lie in order."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: PyBool_FromLong(1 if has(array, CONTIGUOUS) else 0),
    )  # fmt: skip


@exported
def retrograd_address(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Where the first element is."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: PyLong_FromLongLong(cast(int, array.data)) if is_fresh(x) else None,
    )  # fmt: skip


@exported
def retrograd_offset(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """How many elements lie in the memory before the first."""
    return looked_at(
        function.step, args, nargs, names, lambda x, array: offset_in_memory(array) if is_fresh(x) else None
    )  # fmt: skip


@native
def offset_in_memory(array: NdArray) -> Object | None:
    owner = owner_of(array)
    before, size = cast(int, array.data) - cast(int, owner.data), cast(Dtype, array.dtype).itemsize
    return None if before < 0 or size == 0 else PyLong_FromLongLong(before // size)


# ---- along its axes ----------------------------------------------------------------------------------------
@inlined
def along(
    called: Called,
    args: Array[Object],
    nargs: int,
    names: Tuple | None,
    one: Callable[[NdArray, int], Object | None],
    all_: Callable[[NdArray], Object | None],
) -> Object | None:
    """What is asked of a Tensor along all axes, or along the one that is the second argument."""
    found: Object | None = None
    count, array = nargs & COUNT, array_of(args[0]) if nargs & COUNT > 0 else None
    if array is not None and names is None and OPEN_TRACES[0] == 0:
        if count == 1:
            found = all_(array)
        elif count == 2 and args[1].type is LONG:
            axis = place_among(args[1], array.ndim)
            found = one(array, axis) if axis >= 0 else None
    return or_slow(found, called.slow, args, nargs, names)


@native
def place_among(place: Object, count: int) -> int:
    """An int as a place among so many, counted from the end where it is below zero; -1 if there is none."""
    overflow = stack(Array[Int32], 1)
    found = PyLong_AsLongAndOverflow(place, overflow)
    if overflow[0] != 0 or not -count <= found < count:
        return -1
    return found + count if found < 0 else found


@exported
def retrograd_size(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """The extents."""
    return along(
        function.step, args, nargs, names, lambda array, axis: PyLong_FromLongLong(array.shape[axis]),
        lambda array: shape_of(array),
    )  # fmt: skip


@exported
def retrograd_stride(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The steps between neighbours, in elements."""
    return along(
        function.step, args, nargs, names, lambda array, axis: step_along(array, axis),
        lambda array: steps_of(array),
    )  # fmt: skip


@native
def step_along(array: NdArray, axis: int) -> Object | None:
    """Null of a step backwards, and where there are no elements, of which NumPy tells no steps."""
    step, size = array.strides[axis], cast(Dtype, array.dtype).itemsize
    return None if step < 0 or size_of(array) == 0 else PyLong_FromLongLong(step // size)


@native
def steps_of(array: NdArray) -> Object | None:
    steps = PyTuple_New(array.ndim)
    if steps is None:
        return None
    for axis in range(array.ndim):
        step = step_along(array, axis)
        if step is None:
            Py_DecRef(steps)
            return None
        steps.items[axis] = step
    return steps


@exported
def retrograd_extent(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A shape's extent at a place."""
    called = function.step
    found: Object | None = None
    if nargs & COUNT == 2 and names is None and args[0].type is SIZE and args[1].type is LONG:
        size = cast(Tuple, args[0])
        place = place_among(args[1], size.length)
        found = shared(size.items[place]) if place >= 0 else None
    return or_slow(found, called.slow, args, nargs, names)


# ---- what its slots hold -----------------------------------------------------------------------------------
@exported
def retrograd_gradient(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The gradient; none, where a leaf has none."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: shared(x.grad) if x.grad is not NONE or is_leaf(x) else None,
    )  # fmt: skip


@native
def is_leaf(x: AnyTensor) -> bool:
    return x.edge is NONE and is_fresh(x)


@exported
def retrograd_history(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The node that made a Tensor, or none; not one that has several outputs."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: shared(x.edge) if is_fresh(x) and x.edge.type is not OUTPUT else None,
    )  # fmt: skip


@exported
def retrograd_output_number(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Which output of the node that made a Tensor it is, where none did."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: PyLong_FromLongLong(0) if is_leaf(x) else None,
    )  # fmt: skip


@exported
def retrograd_is_leaf(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether no node made it."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: PyBool_FromLong(1 if x.edge is NONE else 0) if is_fresh(x) else None,
    )  # fmt: skip


@exported
def retrograd_is_tracked(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether operations on it are recorded."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: shared(x.requires_grad) if is_fresh(x) else None,
    )  # fmt: skip


@exported
def retrograd_track(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A leaf that shows no other Tensor's elements, with its operations recorded from now on, or no longer,
    as a second argument says."""
    count, found = nargs & COUNT, array_of(args[0]) if nargs & COUNT > 0 else None
    wanted = TRUE if count == 1 else args[1] if count == 2 else NONE
    marked: Object | None = None
    if found is not None and names is None and OPEN_TRACES[0] == 0 and (wanted is TRUE or wanted is FALSE):
        marked = marked_leaf(cast(AnyTensor, args[0]), found, wanted)
    return or_slow(marked, function.step.slow, args, nargs, names)


@native
def marked_leaf(x: AnyTensor, array: NdArray, wanted: Object) -> Object | None:
    if x.edge is not NONE or x.view is not NO_VIEW or x.counter is INFERENCE:
        return None
    if wanted is TRUE and not 0 <= dtype_of(array) < FLOATING:
        return None
    former, x.requires_grad = x.requires_grad, shared(wanted)
    Py_DecRef(former)
    return shared(x)


@exported
def retrograd_is_inference(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether it was made in inference mode."""
    return looked_at(
        function.step, args, nargs, names,
        lambda x, array: PyBool_FromLong(1 if x.counter is INFERENCE else 0),
    )  # fmt: skip


# ---- its array ---------------------------------------------------------------------------------------------
@exported
def retrograd_of_array(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the record's function gives for the array."""
    step = function.step
    return looked_at(
        step, args, nargs, names,
        lambda x, array: PyObject_CallOneArg(step.compute, array) if is_fresh(x) else None,
    )  # fmt: skip


@exported
def retrograd_holder(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A new object of the record's class that holds the array."""
    held = function.held
    return looked_at(
        held, args, nargs, names, lambda x, array: holder_of(held, array) if is_fresh(x) else None
    )  # fmt: skip


@native
def holder_of(held: Held, array: NdArray) -> Object | None:
    made = PyType_GenericAlloc(held.kind, 0)
    if made is not None:
        inside(Array[Object], made, held.slot)[0] = shared(array)
    return made


@inlined
def asked_holder(
    held: Held, args: Array[Object], nargs: int, names: Tuple | None, look: Callable[[NdArray], Object | None]
) -> Object | None:
    """What `look` says to the array that owns the memory of the one that the only argument holds."""
    found: Object | None = None
    if nargs & COUNT == 1 and names is None and args[0].type is held.kind:
        array = inside(Array[Object], args[0], held.slot)[0]
        found = look(owner_of(cast(NdArray, array))) if is_array(array) else None
    return or_slow(found, held.slow, args, nargs, names)


@exported
def retrograd_held_address(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Where the memory begins in which the array of such an object lies."""
    return asked_holder(
        function.held, args, nargs, names, lambda owner: PyLong_FromLongLong(cast(int, owner.data))
    )  # fmt: skip


@exported
def retrograd_held_bytes(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """How many bytes that memory has."""
    return asked_holder(
        function.held, args, nargs, names,
        lambda owner: PyLong_FromLongLong(size_of(owner) * cast(Dtype, owner.dtype).itemsize),
    )  # fmt: skip


@exported
def retrograd_apart(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A Tensor of the same array, which shares nothing else."""
    return looked_at(function.step, args, nargs, names, lambda x, array: apart(x, array))


@native
def apart(x: AnyTensor, array: NdArray) -> Object | None:
    is_plain = is_fresh(x) and x.counter is not INFERENCE and not is_inferring()
    return boxed(shared(array)) if is_plain else None


# ---- whether it is one -------------------------------------------------------------------------------------
@exported
def retrograd_is_tensor(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether the only argument, which may be anything, is a Tensor."""
    one = nargs & COUNT == 1 and names is None
    return or_slow(
        PyBool_FromLong(1 if is_tensor(args[0]) else 0) if one else None, function.step.slow, args, nargs,
        names,
    )  # fmt: skip
