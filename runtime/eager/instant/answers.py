"""What is asked of Tensors, natively: itself, its only element, a truth about all elements.

In flow the arguments of a call and the callable's record; out flows the Tensor, or a Python number.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Byte, Float32, cast, exported, external, native, stack
from retrograd.runtime.eager.instant.entries import place_of
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    is_on,
    is_plain,
    let_go,
    looked_at,
    or_slow,
    quietly,
    shared,
    shown,
    tracked,
)
from retrograd.runtime.eager.instant.records import MOST, WATCHED, AnyTensor, Asked, Function
from retrograd.runtime.native.grammar import ALIGNED
from retrograd.runtime.native.objects import (
    FALSE,
    TRUE,
    NdArray,
    Object,
    Py_DecRef,
    Py_IncRef,
    PyBool_FromLong,
    PyDict_GetItemWithError,
    PyFloat_FromDouble,
    PyLong_FromLongLong,
    PyObject_CallOneArg,
    PyObject_IsTrue,
    PyTuple_New,
    Tuple,
)

FLOAT32, FLOAT64, INT64, BOOL = (
    external(Object, f"dtype_{name}") for name in ("float32", "float64", "int64", "bool")
)


# ---- the Tensor itself -------------------------------------------------------------------------------------
@exported
def retrograd_itself(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The first argument, a Tensor of an array: of any, or of one whose dtype is known here."""
    return looked_at(function.asked, args, nargs, names, lambda x, array: itself(function, x, array))


@native
def itself(function: Function, x: AnyTensor, array: NdArray) -> Object | None:
    return shared(x) if function.asked.floats == 0 or place_of(array.dtype) >= 0 else None


# ---- its only element --------------------------------------------------------------------------------------
@native
def number(array: NdArray, floats: bool) -> Object | None:
    """The only element of an array; null where there are more, or it is of another kind."""
    if array.flags & ALIGNED == 0:
        return None
    for k in range(array.ndim):
        if array.shape[k] != 1:
            return None
    if array.dtype is FLOAT32:
        return PyFloat_FromDouble(cast(Array[Float32], array.data)[0])
    if array.dtype is FLOAT64:
        return PyFloat_FromDouble(cast(Array[float], array.data)[0])
    if floats:
        return None
    if array.dtype is INT64:
        return PyLong_FromLongLong(cast(Array[int], array.data)[0])
    if array.dtype is BOOL:
        return PyBool_FromLong(cast(Array[Byte], array.data)[0])
    return None


@exported
def retrograd_number(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """The only element of the only argument, as the record's class of number if it names one."""
    asked = function.asked
    array = shown(args[0]) if is_plain(asked, nargs, names) else None
    if array is not None and asked.floats == WATCHED and tracked(args[0]) != 0:
        array = None
    found = None if array is None else number(array, asked.floats != 0)
    if found is not None and asked.compute is not None:
        element, found = found, PyObject_CallOneArg(asked.compute, found)
        Py_DecRef(element)
    return or_slow(found, asked.slow, args, nargs, names)


# ---- what does not change ----------------------------------------------------------------------------------
@exported
def retrograd_known(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the record's dict has for the arguments, by identity: for the only one, or for a pair."""
    asked = function.asked
    plain = names is None and nargs & COUNT == asked.arity
    found = known(asked.compute, args, asked.arity) if plain else None
    return or_slow(found, asked.slow, args, nargs, names)


@native
def known(answers: Object | None, args: Array[Object], count: int) -> Object | None:
    if answers is None:
        return None
    key = args[0]
    if count == 2:
        pair = PyTuple_New(2)
        if pair is None:
            return None
        pair.items[0], pair.items[1] = shared(args[0]), shared(args[1])
        key = pair
    else:
        Py_IncRef(key)
    found = PyDict_GetItemWithError(answers, key)
    Py_IncRef(found)
    Py_DecRef(key)
    return found


@exported
def retrograd_constant(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """What the record holds, whatever the arguments."""
    return shared(function.asked.answer)


@exported
def retrograd_is_on(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether the field of `modes` that the record names is on, or the other, if there is one."""
    asked = function.asked
    plain = nargs & COUNT == 0 and names is None
    return or_slow(mode_of(asked) if plain else None, asked.slow, args, nargs, names)


@native
def mode_of(asked: Asked) -> Object | None:
    if is_on(asked.answer):
        return shared(TRUE)
    other = asked.compute
    return shared(TRUE if other is not None and is_on(other) else FALSE)


# ---- a truth about all elements ----------------------------------------------------------------------------
@exported
def retrograd_truth(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Whether what the record's function gives for the arguments is true."""
    asked = function.asked
    found = truth_of(asked, args) if is_plain(asked, nargs, names) else None
    return or_slow(found, asked.slow, args, nargs, names)


@native
def truth_of(asked: Asked, args: Array[Object]) -> Object | None:
    """The bool that the function's 0-d array or NumPy's scalar is; null for Python's turn."""
    values, compute = stack(Array[NdArray], MOST), asked.compute
    if compute is None:
        return None
    for k in range(asked.arity):
        array = shown(args[k])
        if array is None:
            let_go(values, k)
            return None
        values[k] = shared(array)
    value = quietly(compute, values, asked.arity)
    let_go(values, asked.arity)
    if value is None:
        return None
    answer = PyObject_IsTrue(value)
    Py_DecRef(value)
    return None if answer < 0 else PyBool_FromLong(answer)
