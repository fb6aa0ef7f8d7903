"""Tensors changed in place, natively: what `inplace.assign` is in Python where a change is recorded.

In flow the arguments of an in-place method and the record of it; out flows the first argument, with new
elements, a new history and one version more. The new value is what the function out of place (`apart`) gives
for a twin of the Tensor, another box with its array and its history: what the twin's node keeps of the old
elements must be a copy, and whether it keeps any is seen from the twin's version counter. Where nothing is
recorded, a row of two operands is written over the elements. The base of a view learns of it natively if the
view's elements lie apart, else by Python; what may not be changed is for `slow`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, external, native, stack
from retrograd.runtime.eager.instant.entries import dtype_of, opened_row
from retrograd.runtime.eager.instant.history import (
    NEXT_ORDER,
    edge_of,
    is_change_counted,
    is_guarded,
    is_recorded,
)
from retrograd.runtime.eager.instant.lists import is_change_noted, is_open_to_change
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    WATCHED,
    are_shapes_equal,
    boxed,
    is_array,
    is_fresh,
    is_on,
    is_sealed,
    is_tensor,
    let_go,
    or_slow,
    quietly,
    shared,
    tracked,
)
from retrograd.runtime.eager.instant.records import (
    MOST,
    NO_COUNTER,
    NO_VIEW,
    OPEN_TRACES,
    TENSOR,
    VIEW,
    AnyTensor,
    Changing,
    Function,
    Node,
    Slices,
    View,
)
from retrograd.runtime.eager.instant.views import NO_TEXT
from retrograd.runtime.native.grammar import WRITEABLE
from retrograd.runtime.native.making import AS_IT_LIES
from retrograd.runtime.native.objects import (
    NONE,
    TRUE,
    List,
    NdArray,
    Object,
    Py_DecRef,
    PyIter_Next,
    PyList_Append,
    PyList_SetSlice,
    PyObject_Vectorcall,
    PyTuple_New,
    PyType_GenericAlloc,
    PyType_IsSubtype,
    Tuple,
    numpy_copy_into,
    numpy_new_copy,
)
from retrograd.runtime.native.small.laying import lies_apart

OP_NODE = external(Object, "op_node_type")
COPY_SLICES, COPY_SLICES_NAME = external(Object, "copy_slices_type"), external(Object, "copy_slices_name")


@exported
def retrograd_change(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, changed in place."""
    changing, count = function.changing, nargs & COUNT
    found: Object | None = None
    if count > 0 and OPEN_TRACES[0] == 0 and args[0].type is TENSOR:
        x = cast(AnyTensor, args[0])
        if is_array(x.value) and x.value.flags & WRITEABLE != 0 and is_changed(
            changing, x, args, count, names
        ):  # fmt: skip
            found = shared(x)
    return or_slow(found, changing.slow, args, nargs, names)


@native
def is_changed(
    changing: Changing, x: AnyTensor, args: Array[Object], count: int, names: Tuple | None
) -> bool:
    """Change a Tensor whose memory may be written to; false for Python's turn."""
    if is_sealed(x) or not is_fresh(x):
        return False
    total = count if names is None else count + names.length
    others = are_tracked(args + 1, total - 1)
    if is_recorded(tracked(x) | others):
        result = new_value(changing, x, args, count, names, 1 << (tracked(x) << 1 | others))
        if result is None:
            return False
        done = is_taken_over(x, result) if is_plain_part(x) else is_assigned(changing, x, result)
        Py_DecRef(result)
        return done
    return count == 2 and names is None and is_written_over(changing, x, args)


@native
def are_tracked(things: Array[Object], count: int) -> int:
    """1 where operations on one of so many things are recorded."""
    for i in range(count):
        if is_tensor(things[i]) and tracked(things[i]) != 0:
            return 1
    return 0


# ---- nothing is recorded -----------------------------------------------------------------------------------
@native
def is_written_over(changing: Changing, x: AnyTensor, args: Array[Object]) -> bool:
    """Have a row of two operands computed into the memory of the first."""
    values = stack(Array[NdArray], 3)
    if not is_open_to_change(x, x.value) or opened_row(args, 2, values) < 0:
        return False
    done, dtype = False, dtype_of(values[0])
    if dtype >= 0 and values[0].dtype is values[1].dtype:
        function = changing.functions[dtype]
        if function is not None:
            values[2] = values[0]
            written = quietly(function, values, 3)
            done = is_there(values[0], written) and is_change_noted(x)
            Py_DecRef(written)
    let_go(values, 2)
    return done


@native
def is_there(array: NdArray, written: Object | None) -> bool:
    """Whether an array has the elements that were computed for it: copied, if they were not written there."""
    if written is None or written is array:
        return written is not None
    made = cast(NdArray, written)
    return is_array(made) and are_alike(array, made) and numpy_copy_into(array, made) == 0


# ---- the new value, with its history -----------------------------------------------------------------------
@native
def new_value(
    changing: Changing, x: AnyTensor, args: Array[Object], count: int, names: Tuple | None, way: int
) -> AnyTensor | None:
    """What the function out of place gives, a new reference; null where Python shall do it. `way` is a bit
    for which operands are tracked: where no old elements were kept once, they are copied no more."""
    total = count if names is None else count + names.length
    if total > MOST or is_on(WATCHED) or not is_history_free(x):
        return None
    args_apart = stack(Array[Object], MOST)
    for i in range(total):
        args_apart[i] = args[i]
    copied = changing.unread & way == 0
    while True:
        twin = twin_of(x, copied)
        if twin is None:
            return None
        args_apart[0] = twin
        result = PyObject_Vectorcall(changing.apart, args_apart, count, names)
        read = twin.counter is not NO_COUNTER
        Py_DecRef(twin)
        if copied or not read:
            changing.unread = changing.unread | (0 if read else way)
            return cast(AnyTensor | None, result)
        Py_DecRef(result)
        copied = True


@native
def is_history_free(x: AnyTensor) -> bool:
    """Whether a Tensor's history may be exchanged: it has none, or no hooks wait there, and it is no leaf
    that requires grad."""
    if tracked(x) == 0:
        return True
    return x.edge is not NONE and cast(Node, x.edge).hooks is NONE


@native
def twin_of(x: AnyTensor, copied: bool) -> AnyTensor | None:
    """Another box with a Tensor's array, or a copy of it, and its history."""
    array = numpy_new_copy(x.value, AS_IT_LIES) if copied else shared(x.value)
    twin = boxed(array)
    if twin is None:
        return None
    none, twin.edge = twin.edge, shared(x.edge)
    Py_DecRef(none)
    flag, twin.requires_grad = twin.requires_grad, shared(x.requires_grad)
    Py_DecRef(flag)
    return twin


# ---- handing over ------------------------------------------------------------------------------------------
@native
def is_taken_over(x: AnyTensor, result: AnyTensor) -> bool:
    """Give a Tensor the elements and the history of another, which is new; false where it is not like it."""
    if not is_like_it(x, result):
        return False
    node = cast(Node, result.edge)
    whole = x.view is NO_VIEW
    owner = x if whole else x.view.base
    last = shared(node) if whole else slices_of(x.view, node)
    if last is None or numpy_copy_into(x.value, result.value) != 0 or not is_change_counted(x):
        Py_DecRef(last)
        return False
    if not is_writer_noted(owner.counter, last) or not is_result_moved(x, result, node):
        Py_DecRef(last)
        return False
    edge, owner.edge = owner.edge, last
    Py_DecRef(edge)
    flag, owner.requires_grad = owner.requires_grad, shared(TRUE)
    Py_DecRef(flag)
    return True


@native
def slices_of(view: View, node: Node) -> Node | None:
    """The node of a view's base, whose part comes from another node now; null without memory."""
    made = cast(Slices | None, PyType_GenericAlloc(COPY_SLICES, 0))
    edges, order = PyTuple_New(2), PyIter_Next(NEXT_ORDER)
    if made is None or edges is None or order is None:
        Py_DecRef(made)
        Py_DecRef(edges)
        Py_DecRef(order)
        return None
    base = view.base
    edges.items[0], edges.items[1] = shared(edge_of(base) if tracked(base) != 0 else NONE), shared(node)
    made.order, made.edges, made.hooks = order, edges, shared(NONE)
    made.path, made.shown = shared(view.path), shared(COPY_SLICES_NAME)
    return cast(Node, made)


@native
def is_plain_part(x: AnyTensor) -> bool:
    """Whether a Tensor is no view, or one that its base's history follows, of elements that lie apart."""
    view = x.view
    if view is NO_VIEW:
        return True
    if view.type is not VIEW or view.several is not NO_TEXT or view.tracked is not TRUE:
        return False
    return is_history_free(view.base) and lies_apart(x.value)


@native
def is_assigned(changing: Changing, x: AnyTensor, result: AnyTensor) -> bool:
    """The same of another view, whose base has to learn of it: by Python."""
    if not is_like_it(x, result):
        return False
    pair = stack(Array[Object], 2)
    pair[0], pair[1] = x, result
    done = PyObject_Vectorcall(changing.assign, pair, 2, None)
    Py_DecRef(done)
    return done is not None


@native
def is_like_it(x: AnyTensor, result: AnyTensor) -> bool:
    """Whether another Tensor, with a history that is an op's, may take a Tensor's place."""
    if result.type is not TENSOR or result.requires_grad is not TRUE or result.view is not NO_VIEW:
        return False
    return PyType_IsSubtype(result.edge.type, OP_NODE) != 0 and are_alike(x.value, result.value)


@native
def are_alike(one: NdArray, other: NdArray) -> bool:
    """Whether two arrays have the same dtype and extents."""
    return is_array(other) and one.dtype is other.dtype and are_shapes_equal(one, other)


@native
def is_writer_noted(counter: List, node: Node) -> bool:
    """Note beside a version who wrote it, for the words of an error."""
    if counter.length == 1:
        return PyList_Append(counter, node) == 0
    former, counter.items[1] = counter.items[1], shared(node)
    Py_DecRef(former)
    return True


@native
def is_result_moved(x: AnyTensor, result: AnyTensor, node: Node) -> bool:
    """Where the adjoint looks at the result, which the last guard is for, that is now in the Tensor's own
    memory, and must not change there."""
    if node.out is not result.value:
        return True
    guards = node.guards
    node.out = shared(x.value)
    Py_DecRef(result.value)
    return PyList_SetSlice(guards, guards.length - 1, guards.length, None) == 0 and is_guarded(guards, x, -1)
