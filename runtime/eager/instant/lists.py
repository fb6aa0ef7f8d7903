"""Native calls that compute a list of arrays: several new Tensors, or new elements of operands.

In flow operands that are open and a function that gives the list; out flow Tensors of its arrays, or the
operands themselves, into which they are copied. Where something is to be recorded, `slow` does it.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, native
from retrograd.runtime.eager.instant.history import is_change_counted, is_recorded
from retrograd.runtime.eager.instant.operands import (
    boxed,
    computed,
    is_array,
    is_fresh,
    is_sealed,
    is_tensor,
    opened_all,
    quietly,
    shared,
    tracked,
)
from retrograd.runtime.eager.instant.records import ASARRAY, NO_VIEW, AnyTensor, Function, Step
from retrograd.runtime.native.grammar import WRITEABLE
from retrograd.runtime.native.objects import (
    NONE,
    List,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyObject_CallOneArg,
    Tuple,
    numpy_copy_into,
)


@native
def listed(step: Step, values: Array[NdArray], count: int, mask: int) -> List | None:
    """The list for a call's operands, and perhaps where to write, a new reference; null where Python shall do
    it."""
    if step.apart == 0 and is_recorded(mask):
        return None
    return cast(List | None, quietly(step.compute, values, count))


# ---- several new Tensors -----------------------------------------------------------------------------------
@exported
def retrograd_several(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the record's `answer` makes of Tensors."""
    step = function.step
    return computed(
        step,
        args,
        nargs,
        names,
        opened_all,
        lambda values, mask: several_of(step, listed(step, values, step.arity, mask)),
    )


@native
def several_of(step: Step, arrays: List | None) -> Object | None:
    """The answer for a list of arrays, whose reference it takes."""
    if arrays is None:
        return None
    found = None
    if are_boxed(arrays) and step.answer is not None:
        found = PyObject_CallOneArg(step.answer, arrays)
    Py_DecRef(arrays)
    return found


@native
def are_boxed(arrays: List) -> bool:
    """Make Tensors of a list's arrays, in their places."""
    for i in range(arrays.length):
        tensor = boxed(shared(arrays.items[i]))
        if tensor is None:
            return False
        array, arrays.items[i] = arrays.items[i], tensor
        Py_DecRef(array)
    return True


# ---- new elements of operands ------------------------------------------------------------------------------
@exported
def retrograd_update(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """One of the operands, or None, when the targets have new elements."""
    step = function.step
    return computed(
        step, args, nargs, names, opened_all, lambda values, mask: updated(step, args, values, mask)
    )


@native
def updated(step: Step, args: Array[Object], values: Array[NdArray], mask: int) -> Object | None:
    count = step.arity
    for i in range(step.arity):
        if step.targets >> i & 1 != 0:
            if not is_open_to_change(args[i], values[i]):
                return None
            if step.writes != 0:
                values[count] = values[i]
                count += 1
    arrays = listed(step, values, count, mask)
    if arrays is None:
        return None
    done = is_written(step, args, values, arrays)
    Py_DecRef(arrays)
    if not done:
        return None
    return shared(NONE if step.given == 0 else args[step.given - 1])


@native
def is_open_to_change(x: Object, array: NdArray) -> bool:
    """Whether NumPy may write into a Tensor: its memory may be changed, and no history has to learn of it."""
    if not is_tensor(x) or array.flags & WRITEABLE == 0:
        return False
    if is_sealed(cast(AnyTensor, x)):
        return False
    view = cast(AnyTensor, x).view
    return view is NO_VIEW or not is_recorded(tracked(view.base))


@native
def is_written(step: Step, args: Array[Object], values: Array[NdArray], arrays: List) -> bool:
    """Copy a list's arrays into the targets. False with an exception set."""
    next_ = 0
    for i in range(step.arity):
        if step.targets >> i & 1 != 0:
            if not is_copied(values[i], arrays.items[next_]) or not is_change_noted(cast(AnyTensor, args[i])):
                return False
            next_ += 1
    return True


@native
def is_copied(array: NdArray, value: Object) -> bool:
    """Copy an array or NumPy's scalar into an array, unless that is where it was written. False with an
    exception set."""
    if value is array:
        return True
    source: Object | None = value
    if is_array(value):
        Py_IncRef(value)
    else:
        source = PyObject_CallOneArg(ASARRAY, value)
    if source is None:
        return False
    status = numpy_copy_into(array, source)
    Py_DecRef(source)
    return status == 0


@native
def is_change_noted(x: AnyTensor) -> bool:
    """Count a change of elements; a view without history has seen it, if it has seen those before."""
    saw = is_fresh(x)
    if not is_change_counted(x):
        return False
    view = x.view
    if saw and view is not NO_VIEW and tracked(view.base) == 0:
        version, view.version = view.version, shared(view.base.counter.items[0])
        Py_DecRef(version)
    return True
