"""A Tensor's own axes changed in place, natively: what `inplace.rearrange` is in Python.

In flow the only argument and the record, which says where each axis comes from; out flows the argument, whose
elements lie where they lay. Whoever else looks at the Tensor (a view, the tape, a twin) holds its counter of
versions, too, and has to be told: that is for `slow`, as is what is recorded for the first time.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, native, stack
from retrograd.runtime.eager.instant.changing import is_history_free, is_writer_noted
from retrograd.runtime.eager.instant.history import is_change_counted, is_node_made
from retrograd.runtime.eager.instant.members import OUTPUT
from retrograd.runtime.eager.instant.operands import (
    GRAD,
    WATCHED,
    boxed,
    is_fresh,
    is_on,
    looked_at,
    shared,
    tracked,
)
from retrograd.runtime.eager.instant.records import (
    INFERENCE,
    MOST,
    NO_COUNTER,
    NO_VIEW,
    AnyTensor,
    Function,
    Node,
    Rearranged,
)
from retrograd.runtime.native.grammar import WRITEABLE
from retrograd.runtime.native.objects import (
    NONE,
    NUMPY_ARRAY,
    Dtype,
    NdArray,
    Object,
    Py_DecRef,
    Tuple,
    numpy_new_from_descr,
    numpy_set_base,
)


@exported
def retrograd_rearranged(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The only argument, with other axes."""
    rearranged = function.rearranged
    return looked_at(
        rearranged, args, nargs, names,
        lambda x, array: turned(rearranged, x, array) if is_for_here(rearranged, x) else None,
    )  # fmt: skip


@native
def is_for_here(rearranged: Rearranged, x: AnyTensor) -> bool:
    return is_alone(x) and is_step_known(rearranged, x)


@native
def is_alone(x: AnyTensor) -> bool:
    """Whether nobody else knows the Tensor's axes."""
    if x.view is not NO_VIEW or x.counter is INFERENCE:
        return False
    return x.counter is NO_COUNTER or x.counter.references == 1


@native
def is_step_known(rearranged: Rearranged, x: AnyTensor) -> bool:
    """Whether what is to be recorded of the change, if anything is, has been recorded before."""
    if tracked(x) == 0:
        return True
    if rearranged.step is None or x.edge is NONE or x.edge.type is OUTPUT:
        return False
    return is_on(GRAD) and not is_on(WATCHED) and is_history_free(x)


@native
def turned(rearranged: Rearranged, x: AnyTensor, array: NdArray) -> Object | None:
    """The Tensor after the change; null without memory."""
    extents, strides = stack(Array[int], MOST), stack(Array[int], MOST)
    beyond, axis = cast(Dtype, array.dtype).itemsize, rearranged.rank - 1
    while axis >= 0:
        before = rearranged.axes[axis]
        extents[axis] = array.shape[before] if before >= 0 else 1
        strides[axis] = array.strides[before] if before >= 0 else beyond
        beyond = extents[axis] * strides[axis]
        axis -= 1
    part = numpy_new_from_descr(
        NUMPY_ARRAY, shared(array.dtype), rearranged.rank, extents, strides, array.data,
        array.flags & WRITEABLE, None,
    )  # fmt: skip
    if part is None:
        return None
    numpy_set_base(part, shared(array))
    if not is_change_counted(x) or not is_turn_recorded(rearranged, x):
        Py_DecRef(part)
        return None
    x.value = part
    Py_DecRef(array)
    return shared(x)


@native
def is_turn_recorded(rearranged: Rearranged, x: AnyTensor) -> bool:
    """Give the Tensor its new history, if it has one. False with an exception set."""
    step = rearranged.step
    if tracked(x) == 0 or step is None:
        return True
    args, values = stack(Array[Object], 1), stack(Array[NdArray], 1)
    args[0], values[0] = x, x.value
    if not is_node_made(step, x, args, values, 1, step.histories[1]):
        return False
    return is_writer_noted(x.counter, cast(Node, x.edge))


@exported
def retrograd_bits(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """Another Tensor of the only argument's memory, as elements of the record's dtype, of the same size."""
    asked = function.asked
    return looked_at(
        asked, args, nargs, names,
        lambda x, array: read_as(array, asked.answer) if is_fresh(x) else None,
    )  # fmt: skip


@native
def read_as(array: NdArray, dtype: Object) -> Object | None:
    part = numpy_new_from_descr(
        NUMPY_ARRAY, shared(dtype), array.ndim, array.shape, array.strides, array.data,
        array.flags & WRITEABLE, None,
    )  # fmt: skip
    if part is not None:
        numpy_set_base(part, shared(array))
    return boxed(part)
