"""The tape of native eager calls: what `eager/history.py` is in Python.

In flow a record's histories and what a call computed; out flows its Tensor with a node of the tape.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, external, inlined, native
from retrograd.runtime.eager.history import SMALL
from retrograd.runtime.eager.instant.operands import GRAD, WATCHED, is_on, is_tensor, shared
from retrograd.runtime.eager.instant.records import (
    INFERENCE,
    MOST_RECORDED,
    NO_COUNTER,
    READS_RESULT,
    AnyTensor,
    Node,
    Step,
)
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import (
    NONE,
    NUMPY_ARRAY,
    TRUE,
    List,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyIter_Next,
    PyList_Append,
    PyList_New,
    PyLong_AsLongLong,
    PyLong_FromLongLong,
    PyTuple_New,
    PyType_GenericAlloc,
    Tuple,
    numpy_new_from_descr,
)

NEXT_ORDER = external(Object, "next_order")
UNCHANGING = external(List, "unchanging")
ZEROS = external(Array[int], "zeros")


# ---- whether, and what -------------------------------------------------------------------------------------
@inlined
def is_recorded(mask: int) -> bool:
    """Whether an operand is recorded now. `mask` says which would be."""
    return mask != 0 and is_on(GRAD)


@native
def history(step: Step, values: Array[NdArray], mask: int) -> int:
    """What the adjoint of a call looks at; 0 where nothing is recorded, -1 where Python must do it."""
    if step.differentiable == 0 or not is_recorded(mask):
        return 0
    looks = step.histories[mask] if step.arity <= MOST_RECORDED else 0
    return -1 if looks == 0 or is_on(WATCHED) else looks


# ---- the node of the tape ----------------------------------------------------------------------------------
@native
def recorded(
    step: Step, tensor: AnyTensor | None, args: Array[Object], values: Array[NdArray], mask: int, looks: int
) -> AnyTensor | None:
    """The Tensor with its history; null of null, or where memory is short, and then the Tensor is let go."""
    if tensor is None or not is_node_made(step, tensor, args, values, mask, looks):
        Py_DecRef(tensor)
        return None
    return tensor


@native
def is_node_made(
    step: Step, tensor: AnyTensor, args: Array[Object], values: Array[NdArray], mask: int, looks: int
) -> bool:
    """Give the Tensor its history."""
    node = cast(Node | None, PyType_GenericAlloc(step.node_class, 0))
    edges, inputs, guards = PyTuple_New(step.arity), PyTuple_New(step.arity), PyList_New(0)
    order = PyIter_Next(NEXT_ORDER)
    if (
        node is None or edges is None or inputs is None or guards is None or order is None
        or not are_operands_noted(edges, inputs, guards, args, values, step.arity, mask, looks)
        or not (looks & READS_RESULT == 0 or is_guarded(guards, tensor, -1))
    ):  # fmt: skip
        Py_DecRef(node)
        Py_DecRef(edges)
        Py_DecRef(inputs)
        Py_DecRef(guards)
        Py_DecRef(order)
        return False
    node.order, node.edges, node.inputs, node.guards = order, edges, inputs, guards
    node.hooks, node.op, node.shown = (
        shared(NONE),
        shared(step.op),
        shared(step.shown[beside(args, step.arity)]),
    )
    node.out = shared(NONE if looks & READS_RESULT == 0 else tensor.value)
    edge, tensor.edge = tensor.edge, node
    Py_DecRef(edge)
    flag, tensor.requires_grad = tensor.requires_grad, shared(TRUE)
    Py_DecRef(flag)
    return True


@native
def are_operands_noted(
    edges: Tuple,
    inputs: Tuple,
    guards: List,
    args: Array[Object],
    values: Array[NdArray],
    count: int,
    mask: int,
    looks: int,
) -> bool:
    """Note operands, where their cotangents go, and the versions of those that the adjoint looks at."""
    for i in range(count):
        edges.items[i] = shared(edge_of(args[i]) if mask >> i & 1 != 0 else NONE)
        kept = kept_of(values[i], looks >> i & 1 != 0)
        if kept is None:
            return False
        inputs.items[i] = kept
        if looks >> i & 1 != 0 and not is_guarded(guards, args[i], i):
            return False
    return True


@native
def kept_of(array: NdArray, is_read: bool) -> Object | None:
    """What the tape keeps of an operand: its array; if nobody will look at its many elements, one of the same
    shape without memory, all zeros."""
    if is_read or size_of(array) <= SMALL:
        return shared(array)
    Py_IncRef(array.dtype)  # NumPy takes this reference
    return numpy_new_from_descr(
        NUMPY_ARRAY, array.dtype, array.ndim, array.shape, ZEROS, cast(Memory, ZEROS), 0, None
    )


@inlined
def edge_of(x: Object) -> Object:
    """Where a Tensor's cotangent goes: to the node that made it, or to itself."""
    edge = cast(AnyTensor, x).edge
    return x if edge is NONE else edge


@native
def beside(args: Array[Object], count: int) -> int:
    """2 where the first of two operands is no Tensor, 1 where the second is none, else 0."""
    if count != 2:
        return 0
    if not is_tensor(args[0]):
        return 2
    return 0 if is_tensor(args[1]) else 1


# ---- versions ----------------------------------------------------------------------------------------------
@native
def counter_of(x: Object) -> List | None:
    """Its version counter, which from now on somebody watches, borrowed; null without memory."""
    if not is_tensor(x):
        return UNCHANGING
    tensor = cast(AnyTensor, x)
    none = tensor.counter
    if none is not NO_COUNTER:
        return none
    made = PyList_New(0)
    if made is None:
        return None
    zero = PyLong_FromLongLong(0)
    status = 1 if zero is None else PyList_Append(made, zero)
    Py_DecRef(zero)
    if status != 0:
        Py_DecRef(made)
        return None
    tensor.counter = made
    Py_DecRef(none)
    return made


@native
def is_guarded(guards: List, x: Object, which: int) -> bool:
    """Note the counter of an operand, its version, and which operand it is; Python tells why an inference
    tensor is not kept."""
    counter, guard = counter_of(x), PyTuple_New(3)
    place = PyLong_FromLongLong(which)
    if counter is None or counter is INFERENCE or guard is None or place is None:
        Py_DecRef(guard)
        Py_DecRef(place)
        return False
    guard.items[0], guard.items[1], guard.items[2] = shared(counter), shared(counter.items[0]), place
    status = PyList_Append(guards, guard)
    Py_DecRef(guard)
    return status == 0


@native
def is_change_counted(x: Object) -> bool:
    """Note that a Tensor was changed in place."""
    counter = counter_of(x)
    if counter is None:
        return False
    before = counter.items[0]
    now = PyLong_FromLongLong(PyLong_AsLongLong(before) + 1)
    if now is None:
        return False
    counter.items[0] = now
    Py_DecRef(before)
    return True
