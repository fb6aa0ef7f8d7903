"""Views as native calls: what `record._view_step` and `views.View` are in Python.

A view is made where the last one lay that Python made for the same record: by the strides that the operand
had, and the offset, extents and strides of the view.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, external, inside, native
from retrograd.runtime.eager.instant.history import counter_of, history, recorded
from retrograd.runtime.eager.instant.operands import (
    GRAD,
    boxed,
    computed,
    is_inferring,
    is_on,
    marked,
    opened_all,
    shared,
)
from retrograd.runtime.eager.instant.records import (
    INFERENCE,
    INFERENCE_VIEW,
    NO_VIEW,
    VIEW,
    AnyTensor,
    Function,
    Step,
    View,
)
from retrograd.runtime.native.objects import (
    FALSE,
    NUMPY_ARRAY,
    TRUE,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    PySequence_Concat,
    PyType_GenericAlloc,
    Tuple,
    numpy_new_from_descr,
    numpy_set_base,
)

NO_TEXT = external(Object, "no_text")


@exported
def retrograd_view(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """A view of the only argument."""
    step = function.step
    return computed(
        step, args, nargs, names, opened_all, lambda values, mask: viewed(step, args, values, mask)
    )


@native
def viewed(step: Step, args: Array[Object], values: Array[NdArray], mask: int) -> Object | None:
    """The record's view of an operand that is open; null for Python's turn."""
    if not lies_as_before(step, values[0]):
        return None
    looks = history(step, values, mask)
    if looks < 0:
        return None
    tensor = view_of(step, args[0], values[0])
    if looks != 0:
        return recorded(step, tensor, args, values, mask, looks)
    is_marked = mask != 0 and step.differentiable != 0 and not is_on(GRAD)
    return marked(tensor, is_marked and tensor is not None and tensor.view is not NO_VIEW)


@native
def lies_as_before(step: Step, array: NdArray) -> bool:
    """Whether an array has the flags and strides of the one that the record's view was made of."""
    if array.flags != step.flags_before:
        return False
    for axis in range(array.ndim):  # noqa: SIM110  # the native language has no generators
        if array.strides[axis] != step.strides_before[axis]:
            return False
    return True


@native
def view_of(step: Step, x: Object, array: NdArray) -> AnyTensor | None:
    """The record's view of a Tensor and its array."""
    start = inside(Memory, array.data, step.offset)
    part = numpy_new_from_descr(
        NUMPY_ARRAY, shared(array.dtype), step.rank, step.extents, step.strides, start, step.flags, None
    )
    if part is None:
        return None
    numpy_set_base(part, shared(array))
    tensor = boxed(part)
    if tensor is None or not is_linked(step, x, tensor):
        Py_DecRef(tensor)
        return None
    return tensor


@native
def is_linked(step: Step, x: Object, tensor: AnyTensor) -> bool:
    """Note how one Tensor shows the elements of another: views of views show the base, unless a step between
    them is not followed by histories."""
    counter = counter_of(x)
    if counter is INFERENCE:  # no view to anybody: they only share memory
        fresh, tensor.counter = tensor.counter, shared(INFERENCE)
        Py_DecRef(fresh)
        return True
    view = cast(View | None, PyType_GenericAlloc(INFERENCE_VIEW if is_inferring() else VIEW, 0))
    base, is_followed = cast(AnyTensor, x), is_on(GRAD)
    path: Object | None = shared(step.path)
    parent = base.view
    if is_followed and parent is not NO_VIEW and parent.tracked is TRUE:
        joined = PySequence_Concat(parent.path, step.path)
        Py_DecRef(path)
        base, path = parent.base, joined
    if view is None or counter is None or path is None:
        Py_DecRef(view)
        Py_DecRef(path)
        return False
    view.base, view.path, view.several = shared(base), path, shared(NO_TEXT)
    view.tracked, view.version = shared(TRUE if is_followed else FALSE), shared(counter.items[0])
    former, tensor.view = tensor.view, view
    Py_DecRef(former)
    counted, tensor.counter = tensor.counter, shared(counter)
    Py_DecRef(counted)
    return True
