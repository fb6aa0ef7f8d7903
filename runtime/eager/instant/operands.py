"""The beginning and end of native eager calls: operands are opened, computed with, and boxed.

In flow the arguments of a call, as CPython's vectorcall passes them, and the callable's record
(`records.py`); out flows a new Tensor. Whatever is not plain goes to the record's `slow`: an operand that is
no Tensor of an ndarray, a view whose base was changed, open traces, watched nodes, a history that has not
been met, and every error, which it tells in the user's terms. So nothing here ever raises by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from retrograd.compiler.native.language import Array, cast, external, inlined, native, stack
from retrograd.runtime.eager.instant.records import (
    ASARRAY,
    EXCEPTION,
    INFERENCE,
    INFERRING,
    MOST,
    NO_COUNTER,
    NO_VIEW,
    OPEN_TRACES,
    PLACING_CONTEXT,
    QUIET_CONTEXT,
    TENSOR,
    AnyTensor,
    Called,
)
from retrograd.runtime.native.blocks import LISTED_FROM
from retrograd.runtime.native.boxing import drop
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import (
    FALSE,
    NONE,
    NUMPY_ARRAY,
    TRUE,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyContext_Enter,
    PyContext_Exit,
    PyErr_Clear,
    PyErr_ExceptionMatches,
    PyErr_Fetch,
    PyErr_NormalizeException,
    PyErr_Occurred,
    PyException_SetTraceback,
    PyObject_CallOneArg,
    PyObject_GetAttr,
    PyObject_Vectorcall,
    PyType_GenericAlloc,
    PyType_IsSubtype,
    Tuple,
)

T = TypeVar("T", bound=Object)

COUNT = (1 << 63) - 1
"""What of a vectorcall's `nargs` is the number of arguments."""
MODES = external(Object, "modes")
GRAD, WATCHED = external(Object, "name_of_grad"), external(Object, "name_of_watched")
UNCONFIRMED = external(Object, "unconfirmed")
INFERENCE_MODE = external(Object, "name_of_inference")


# ---- references --------------------------------------------------------------------------------------------
@inlined
def shared(thing: T) -> T:
    """With a reference of its own."""
    Py_IncRef(thing)
    return thing


@inlined
def let_go(things: Array[T], count: int) -> None:
    """Give back the references to so many objects."""
    drop(cast(Array[Object | None], things), count)


# ---- operands ----------------------------------------------------------------------------------------------
@inlined
def is_plain(called: Called, nargs: int, names: Tuple | None) -> bool:
    """Whether there are as many arguments as the record says, none by name, outside of traces."""
    return nargs & COUNT == called.arity and names is None and OPEN_TRACES[0] == 0


@native
def is_on(mode: Object) -> bool:
    """Whether a field of `modes` is true. An error counts as false, and is found by the next call."""
    field = PyObject_GetAttr(MODES, mode)
    Py_DecRef(field)
    return field is TRUE


@inlined
def is_inferring() -> bool:
    """Whether this is inference mode."""
    return INFERRING[0] != 0 and is_on(INFERENCE_MODE)


@inlined
def is_array(x: Object) -> bool:
    return x.type is NUMPY_ARRAY


@inlined
def is_tensor(x: Object) -> bool:
    return x.type is TENSOR or PyType_IsSubtype(x.type, TENSOR) != 0


@native
def are_shapes_equal(one: NdArray, other: NdArray) -> bool:
    """Whether two arrays have the same extents."""
    if one.ndim != other.ndim:
        return False
    for axis in range(one.ndim):  # noqa: SIM110  # the native language has no generators
        if one.shape[axis] != other.shape[axis]:
            return False
    return True


@native
def array_of(x: Object) -> NdArray | None:
    """The array of a Tensor, borrowed; null of anything else."""
    if not is_tensor(x):
        return None
    value = cast(AnyTensor, x).value
    return value if is_array(value) else None


@inlined
def is_sealed(x: AnyTensor) -> bool:
    """Whether it may not be changed: an inference tensor, outside that mode."""
    return x.counter is INFERENCE and not is_inferring()


@inlined
def is_fresh(x: AnyTensor) -> bool:
    """Whether a Tensor shows what its base holds now: it is no view, or has seen the last change, and the
    base has not gone to other memory."""
    if x.view is NO_VIEW:
        return True
    counter = x.view.base.counter
    return counter is x.counter and counter.items[0] is x.view.version


@native
def owner_of(array: NdArray) -> NdArray:
    """The array that the memory belongs to."""
    owner = array
    while owner.base is not None and is_array(owner.base):
        owner = cast(NdArray, owner.base)
    return owner


@native
def is_where_its_base_is(x: AnyTensor) -> bool:
    """Whether a Tensor's memory is that of the Tensor whose elements it shows: that may have moved since."""
    base = x
    while base.view is not NO_VIEW:
        base = base.view.base
    return is_fresh(x) or (is_array(base.value) and owner_of(base.value) is owner_of(x.value))


@native
def shown(x: Object) -> NdArray | None:
    """The array of a fresh Tensor, borrowed; null of anything else."""
    array = array_of(x)
    return array if array is None or is_fresh(cast(AnyTensor, x)) else None


@native
def opened(x: Object) -> NdArray | None:
    """A reference to the array that an operand is or holds; null where Python must look."""
    array = cast(NdArray, x) if is_array(x) else shown(x)
    Py_IncRef(array)
    return array


@inlined
def tracked(x: Object) -> int:
    """1 where operations on an operand are recorded."""
    return 0 if is_array(x) else cast(int, cast(AnyTensor, x).requires_grad is TRUE)


@native
def opened_all(args: Array[Object], count: int, values: Array[NdArray]) -> int:
    """Open so many operands; a bit for each that is tracked, or -1 and no references."""
    mask = 0
    for i in range(count):
        array = opened(args[i])
        if array is None:
            let_go(values, i)
            return -1
        values[i] = array
        mask |= tracked(args[i]) << i
    return mask


# ---- computing ---------------------------------------------------------------------------------------------
@native
def quietly(function: Object, values: Array[NdArray], count: int) -> Object | None:
    """What the function gives for so many arrays, without NumPy's warnings; of many elements, in a block of
    ours."""
    elements = 0
    for i in range(count):
        elements = max(elements, size_of(values[i]))
    context = PLACING_CONTEXT if elements >= LISTED_FROM // 4 else QUIET_CONTEXT
    if PyContext_Enter(context) != 0:
        forgive()  # another thread is there
        return None
    value = PyObject_Vectorcall(function, cast(Array[Object], values), count, None)
    PyContext_Exit(context)
    return value


@native
def boxed(value: Object | None) -> AnyTensor | None:
    """A new Tensor of an array or NumPy's scalar, whose reference it takes; null of null."""
    if value is None:
        return None
    array = value if is_array(value) else PyObject_CallOneArg(ASARRAY, value)
    if array is not value:
        Py_DecRef(value)
    if array is None:
        return None
    tensor = cast(AnyTensor | None, PyType_GenericAlloc(TENSOR, 0))
    if tensor is None:
        Py_DecRef(array)
        return None
    tensor.value, tensor.requires_grad, tensor.edge = cast(NdArray, array), shared(FALSE), shared(NONE)
    tensor.grad, tensor.view = shared(NONE), shared(NO_VIEW)
    tensor.counter = shared(INFERENCE if is_inferring() else NO_COUNTER)
    tensor.leaf = shared(NONE)
    return tensor


@native
def marked(tensor: AnyTensor | None, tracked: bool) -> AnyTensor | None:
    """A new Tensor, recorded from now on if `tracked`; null of null."""
    if tensor is not None and tracked:
        former, tensor.requires_grad = tensor.requires_grad, shared(TRUE)
        Py_DecRef(former)
    return tensor


@inlined
def or_slow(
    result: Object | None, slow: Object, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The result, or what `slow` makes of the arguments where there is none, for whatever reason."""
    return slowly(slow, args, nargs, names) if result is None else result


@native
def slowly(slow: Object, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    if PyErr_Occurred() is None:
        return PyObject_Vectorcall(slow, args, nargs, names)
    if PyErr_ExceptionMatches(EXCEPTION[0]) == 0:  # an interrupt is no error to be told otherwise
        return None
    return otherwise(slow, args, nargs, names)


@native
def forgive() -> None:
    """Forget an error that is no defect, if one is set: what was tried is not for such arguments."""
    if PyErr_Occurred() is not None and PyErr_ExceptionMatches(EXCEPTION[0]) != 0:
        PyErr_Clear()


@native
def otherwise(general: Object, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """What the general way gives in place of the error that is set, or its own (`eager/otherwise.py`)."""
    error = stack(Array[Object | None], 3)  # its class, itself, where it was raised
    PyErr_Fetch(error, error + 1, error + 2)
    PyErr_NormalizeException(error, error + 1, error + 2)
    result = PyObject_Vectorcall(general, args, nargs, names)
    if result is not None:
        if error[2] is not None:
            PyException_SetTraceback(cast(Object, error[1]), error[2])
        Py_DecRef(PyObject_CallOneArg(UNCONFIRMED, cast(Object, error[1])))
    drop(error, 3)
    return result


@inlined
def computed(
    called: Called,
    args: Array[Object],
    nargs: int,
    names: Tuple | None,
    open_: Callable[[Array[Object], int, Array[NdArray]], int],
    compute: Callable[[Array[NdArray], int], Object | None],
) -> Object | None:
    """A call of operands that `open_` opens: what `compute` makes of their arrays and of a bit for each that
    is tracked, or what `slow` says."""
    found: Object | None = None
    if is_plain(called, nargs, names):
        values = stack(Array[NdArray], MOST)
        mask = open_(args, called.arity, values)
        if mask >= 0:
            found = compute(values, mask)
            let_go(values, called.arity)
    return or_slow(found, called.slow, args, nargs, names)


@inlined
def looked_at(
    called: Called,
    args: Array[Object],
    nargs: int,
    names: Tuple | None,
    look: Callable[[AnyTensor, NdArray], Object | None],
) -> Object | None:
    """A call of one Tensor: what `look` says to it and its array, or what `slow` says."""
    found: Object | None = None
    if is_plain(called, nargs, names):
        array = array_of(args[0])
        if array is not None:
            found = look(cast(AnyTensor, args[0]), array)
    return or_slow(found, called.slow, args, nargs, names)
