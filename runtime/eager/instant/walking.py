"""The backward pass without Python, as far as it goes: what `autograd/engine.py` does with plain nodes.

In flow what a pass has under way: a heap of nodes, cotangents that wait, leaves that were come to. The
youngest nodes are taken out and their operands' cotangents sent on, until one is met that is not plain: a
node with hooks, of another kind than an op's, of values that are no arrays, or for which there is no plan
yet. It is given to Python, and when that has done it, the walk goes on.

A plan is a tuple of the op and what works out its operands' cotangents: a function of the cotangent, the
result and the operands, which gives a list; or for a row a tuple, which has for each operand None, or a
function and the places of its arguments among operands, result and cotangent. `eager/backwards.py` makes
them.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Record, cast, exported, native, stack
from retrograd.runtime.eager.instant.keys import Key, is_put, is_type_put
from retrograd.runtime.eager.instant.operands import are_shapes_equal, forgive, is_array, is_tensor, shared
from retrograd.runtime.eager.instant.records import (
    ASARRAY,
    MOST,
    PLACING_CONTEXT,
    Function,
    Hooks,
    Node,
    Walked,
)
from retrograd.runtime.native.boxing import drop
from retrograd.runtime.native.objects import (
    FALSE,
    FLOAT,
    LIST,
    NONE,
    TUPLE,
    Float,
    List,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyBytes_FromStringAndSize,
    PyContext_Enter,
    PyContext_Exit,
    PyDict_Clear,
    PyDict_DelItem,
    PyDict_GetItemWithError,
    PyDict_SetItem,
    PyDict_Size,
    PyErr_Occurred,
    PyList_Append,
    PyList_SetSlice,
    PyLong_AsLongLong,
    PyLong_FromLongLong,
    PyNumber_Add,
    PyObject_CallOneArg,
    PyObject_Vectorcall,
    PySet_Add,
    PySet_Contains,
    Tuple,
)

DONE, STRANGE, FAILED = 0, 1, 2
"""What became of a node: its cotangents are on their way; it is Python's; an exception is set."""
MOST_PLANS = 4096


class Work(Record):
    """A pass under way."""

    heap: List
    """Nodes, as `heapq` keeps them: the youngest is first."""
    pending: Object
    leaves: Object
    owned: Object
    useful: Object
    wanted: Object
    found: Object
    keep: Object
    quiet: int
    """Whether NumPy's warnings are off."""


class Stride(Record):
    """A node that is being done."""

    count: int
    """Of its operands."""
    needed: int
    """A bit for each whose cotangent is wanted."""
    plan: Tuple
    values: Array[Object]
    """The operands, borrowed from the node."""
    found: Array[Object | None]
    """Their cotangents."""


@exported
def retrograd_walk(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """The youngest node that is Python's turn; None where all are done. The last argument is one whose
    cotangent hooks have seen, to begin with, or None."""
    walked, work = function.walked, stack(Work)
    work.heap, work.pending, work.leaves, work.owned = cast(List, args[0]), args[1], args[2], args[3]
    work.useful, work.wanted, work.found, work.keep, work.quiet = args[4], args[5], args[6], args[7], 0
    seen: Object | None = args[8]
    result = seen if seen is NONE else rest(walked, work, cast(Node, shared(args[8])), True)
    while result is NONE and work.heap.length > 0:
        result = rest(walked, work, popped(work.heap), False)
    if work.quiet != 0:
        PyContext_Exit(PLACING_CONTEXT)
    return shared(NONE) if result is NONE else result


@native
def rest(walked: Walked, work: Work, node: Node, seen: bool) -> Object | None:
    """What is left of a node, whose reference this takes: None where it is done, itself where it is Python's
    turn, null with an exception set. `seen` says whether its hooks have been called."""
    status = stepped(walked, work, node, seen)
    if status == STRANGE:
        return node
    Py_DecRef(node)
    return NONE if status == DONE else None


# ---- the heap ----------------------------------------------------------------------------------------------
@native
def age(node: Object) -> float:
    """Its order: the youngest has the greatest."""
    order = cast(Node, node).order
    return cast(Float, order).value[0] if order.type is FLOAT else cast(float, PyLong_AsLongLong(order))


@native
def popped(heap: List) -> Node:
    """The youngest node, with a reference."""
    last, node = heap.length - 1, heap.items[0]
    sinking = heap.items[last]
    heap.items[last] = shared(node)  # the last place's reference goes with it
    PyList_SetSlice(heap, last, last + 1, None)
    items = heap.items
    if last > 0:
        order, at, below = age(sinking), 0, 1
        while below < last:
            if below + 1 < last and age(items[below]) < age(items[below + 1]):
                below += 1
            if age(items[below]) <= order:
                break
            items[at] = items[below]
            at, below = below, 2 * below + 1
        items[at] = sinking
    return cast(Node, node)


@native
def is_pushed(heap: List, node: Object) -> bool:
    """Have a node wait; False without memory."""
    at = heap.length
    if PyList_Append(heap, node) != 0:
        return False
    items, order = heap.items, age(node)
    while at > 0 and age(items[(at - 1) // 2]) < order:
        items[at] = items[(at - 1) // 2]
        at = (at - 1) // 2
    items[at] = node
    return True


# ---- a node ------------------------------------------------------------------------------------------------
@native
def stepped(walked: Walked, work: Work, node: Node, seen: bool) -> int:
    """Take the node's cotangent to its operands."""
    if PyDict_GetItemWithError(walked.plain, node.type) is None or not is_free(node.hooks, seen):
        return STRANGE
    cotangent, step = PyDict_GetItemWithError(work.pending, node), stack(Stride)
    if cotangent is None or not is_array(cotangent) or not is_open(step, node) or not is_valid(node.guards):
        return STRANGE
    step.needed = needed_of(work, node.edges)
    if work.useful is not NONE:
        if PySet_Contains(work.wanted, node) != 0 and PyDict_SetItem(work.found, node, cotangent) != 0:
            return FAILED
        if step.needed == 0:
            return FAILED if PyDict_DelItem(work.pending, node) != 0 else DONE
    plan = way_back(walked, step, node, cast(NdArray, cotangent))
    if plan is None:
        return STRANGE if PyErr_Occurred() is None else FAILED
    status = STRANGE
    if is_hushed(work):
        Py_IncRef(cotangent)
        step.plan, status = cast(Tuple, plan), FAILED
        if PyDict_DelItem(work.pending, node) == 0:
            status = taken(walked, work, step, node, cotangent)
        Py_DecRef(cotangent)
    Py_DecRef(plan)
    return status


@native
def is_free(hooks: Object, seen: bool) -> bool:
    """Whether no hooks wait: neither before the node, unless they have `seen` its cotangent, nor after it."""
    return hooks is NONE or (seen and PyDict_Size(cast(Hooks, hooks).after) == 0)


@native
def is_open(step: Stride, node: Node) -> bool:
    """Whether the node has kept arrays of a few operands, and nothing else."""
    inputs, count = cast(Object, node.inputs), node.edges.length
    if inputs.type is TUPLE:
        step.values = cast(Tuple, inputs).items
    elif inputs.type is LIST:
        step.values = cast(List, inputs).items
    else:
        return False
    if count > MOST or cast(Tuple, inputs).length != count:
        return False
    for i in range(count):
        if not is_array(step.values[i]):
            return False
    step.count = count
    return True


@native
def is_valid(guards: List) -> bool:
    """Whether nothing that the adjoint looks at was changed; Python tells what was."""
    for i in range(guards.length):
        guard = cast(Tuple, guards.items[i])
        if cast(List, guard.items[0]).items[0] is not guard.items[1]:
            return False
    return True


@native
def needed_of(work: Work, edges: Tuple) -> int:
    """A bit for each edge along which cotangents are wanted."""
    needed = 0
    for i in range(edges.length):
        edge = edges.items[i]
        wanted = edge is not NONE and (work.useful is NONE or PySet_Contains(work.useful, edge) != 0)
        needed |= cast(int, wanted) << i
    return needed


@native
def is_hushed(work: Work) -> bool:
    """Have NumPy give no warnings from now on; False where another thread does just that."""
    if work.quiet == 0:
        if PyContext_Enter(PLACING_CONTEXT) != 0:
            forgive()
            return False
        work.quiet = 1
    return True


# ---- its plan ----------------------------------------------------------------------------------------------
@native
def way_back(walked: Walked, step: Stride, node: Node, cotangent: NdArray) -> Object | None:
    """The plan for the op and these types, a new reference; null where there is none."""
    key = stack(Key)
    key.used = 0
    if not (is_put(key, cast(int, node.op)) and is_put(key, step.needed) and is_type_put(key, cotangent)):
        return None
    for i in range(step.count):
        if not is_type_put(key, cast(NdArray, step.values[i])):
            return None
    words = PyBytes_FromStringAndSize(cast(Memory, key.words), key.used << 3)
    if words is None:
        return None
    known = PyDict_GetItemWithError(walked.plans, words)
    plan = way_found(walked, words, step, node, cotangent) if known is None else shared(known)
    Py_DecRef(words)
    if plan is NONE:
        Py_DecRef(plan)
        return None
    return plan


@native
def way_found(walked: Walked, words: Object, step: Stride, node: Node, cotangent: NdArray) -> Object | None:
    """What `find` says: a plan, which is kept, or None."""
    args, needed = stack(Array[Object], 3), PyLong_FromLongLong(step.needed)
    if needed is None:
        return None
    args[0], args[1], args[2] = node, cotangent, needed
    plan = PyObject_Vectorcall(walked.find, args, 3, None)
    Py_DecRef(needed)
    if plan is not None and plan is not NONE:
        if PyDict_Size(walked.plans) >= MOST_PLANS:
            PyDict_Clear(walked.plans)
        PyDict_SetItem(walked.plans, words, plan)
    return plan


# ---- its cotangents ----------------------------------------------------------------------------------------
@native
def taken(walked: Walked, work: Work, step: Stride, node: Node, cotangent: Object) -> int:
    """Work out the operands' cotangents, and send them on."""
    inputs, out = shared(cast(Object, node.inputs)), shared(node.out)  # a hook of NumPy's may free the node
    step.found = stack(Array[Object | None], MOST)
    for i in range(step.count):
        step.found[i] = None
    of_row = step.plan.items[1].type is TUPLE
    done = is_row_done(walked, step, out, cotangent) if of_row else is_function_done(step, out, cotangent)
    done = done and are_sent(work, step, node, cotangent)
    drop(step.found, step.count)
    if done and work.keep is FALSE and node.guards.length > 0:
        cleared, node.inputs = cast(Object, node.inputs), cast(Tuple, shared(NONE))
        Py_DecRef(cleared)
        cleared, node.out = node.out, shared(NONE)
        Py_DecRef(cleared)
    Py_DecRef(inputs)
    Py_DecRef(out)
    return DONE if done else FAILED


@native
def is_row_done(walked: Walked, step: Stride, out: Object, cotangent: Object) -> bool:
    """A row: each operand's cotangent by itself, summed to its shape."""
    given, args = stack(Array[Object], MOST + 2), stack(Array[Object], MOST + 2)
    for i in range(step.count):
        given[i] = step.values[i]
    given[step.count], given[step.count + 1] = out, cotangent
    for i in range(step.count):
        rule = cast(Tuple, cast(Tuple, step.plan.items[1]).items[i])
        if rule is not cast(Tuple, NONE):
            for j in range(1, rule.length):
                args[j - 1] = given[PyLong_AsLongLong(rule.items[j])]
            made = (
                shared(args[0])
                if rule.items[0] is NONE
                else arrayed(PyObject_Vectorcall(rule.items[0], args, rule.length - 1, None))
            )
            if made is not None and not are_shapes_equal(cast(NdArray, made), cast(NdArray, step.values[i])):
                args[0], args[1] = made, step.values[i]
                fitted = PyObject_Vectorcall(walked.fit, args, 2, None)
                Py_DecRef(made)
                made = fitted
            if made is None:
                return False
            step.found[i] = made
    return True


@native
def is_function_done(step: Stride, out: Object, cotangent: Object) -> bool:
    """Any op: the list that the plan's function gives."""
    args = stack(Array[Object], MOST + 2)
    args[0], args[1] = cotangent, out
    for i in range(step.count):
        args[i + 2] = step.values[i]
    listed = cast(List | None, PyObject_Vectorcall(step.plan.items[1], args, step.count + 2, None))
    if listed is None:
        return False
    for i in range(step.count):
        if listed.items[i] is not NONE:
            made = arrayed(shared(listed.items[i]))
            if made is None:
                Py_DecRef(listed)
                return False
            step.found[i] = made
    Py_DecRef(listed)
    return True


@native
def arrayed(value: Object | None) -> Object | None:
    """NumPy's scalar as an array, an array as it is; takes the reference."""
    if value is None or is_array(value):
        return value
    array = PyObject_CallOneArg(ASARRAY, value)
    Py_DecRef(value)
    return array


# ---- on their way ------------------------------------------------------------------------------------------
@native
def are_sent(work: Work, step: Stride, node: Node, cotangent: Object) -> bool:
    """Hand the operands' cotangents over; False with an exception set."""
    for i in range(step.count):
        made, edge = step.found[i], node.edges.items[i]
        if made is not None and step.needed >> i & 1 != 0:
            held = PyDict_GetItemWithError(work.pending, edge)
            sent = (
                is_put_first(work, edge, made, is_tensor(edge) and is_nobodys(step, i, cotangent))
                if held is None
                else is_added(work, edge, held, made)
            )
            if not sent:
                return False
    return True


@native
def is_put_first(work: Work, edge: Object, made: Object, owned: bool) -> bool:
    """What comes to a node or a leaf first; whether nobody else has it."""
    if PyDict_SetItem(work.pending, edge, made) != 0:
        return False
    if not is_tensor(edge):
        return is_pushed(work.heap, edge)
    return PyList_Append(work.leaves, edge) == 0 and (not owned or PySet_Add(work.owned, edge) == 0)


@native
def is_added(work: Work, edge: Object, held: Object, made: Object) -> bool:
    """Add to what waits for a node or a leaf."""
    total = PyNumber_Add(held, made)
    if total is None:
        return False
    status = PyDict_SetItem(work.pending, edge, total)
    Py_DecRef(total)
    return status == 0 and (not is_tensor(edge) or PySet_Add(work.owned, edge) == 0)


@native
def is_nobodys(step: Stride, place: int, cotangent: Object) -> bool:
    """Whether a cotangent is a new array that nobody else has."""
    made = cast(NdArray, step.found[place])
    if made is cotangent or made.base is not None:
        return False
    for i in range(step.count):
        if step.values[i] is made or (i != place and step.found[i] is made):
            return False
    return True
