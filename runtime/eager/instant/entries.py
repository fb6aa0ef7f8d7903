"""Rows and steps as native calls: what is computed of operands that are open.

In flow arrays; out flows a Tensor, with its history if it has one.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, external, inlined, native
from retrograd.runtime.eager.instant.history import history, recorded
from retrograd.runtime.eager.instant.operands import (
    boxed,
    computed,
    opened,
    opened_all,
    quietly,
    shared,
    tracked,
)
from retrograd.runtime.eager.instant.records import FLOATING, SOLID, Function, Step
from retrograd.runtime.native.grammar import CONTIGUOUS
from retrograd.runtime.native.objects import (
    FLOAT,
    LONG,
    NdArray,
    Object,
    Py_DecRef,
    PyDict_GetItemWithError,
    PyObject_IsTrue,
    PyObject_Repr,
    PyTuple_New,
    Tuple,
)

DTYPE_TABLE = external(Array[Object | None], "dtypes")
"""`DTYPES`, and null."""
NUMBERS = external(Object, "numbers")


@native
def applied(
    step: Step, function: Object, args: Array[Object], values: Array[NdArray], mask: int
) -> Object | None:
    """An op of operands that are open, computed by the function; null for Python's turn."""
    looks = history(step, values, mask)
    if looks < 0:
        return None
    tensor = boxed(quietly(function, values, step.arity))
    return tensor if looks == 0 else recorded(step, tensor, args, values, mask, looks)


# ---- an op whose operands' types are known -----------------------------------------------------------------
@exported
def retrograd_step(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """An op of so many operands."""
    step = function.step
    return computed(
        step, args, nargs, names, opened_all,
        lambda values, mask: applied(step, step.compute, args, values, mask),
    )  # fmt: skip


# ---- a row, of one or two operands of any types that agree -------------------------------------------------
@exported
def retrograd_row(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """A row of the elementwise table."""
    step = function.step
    return computed(
        step, args, nargs, names, opened_row, lambda values, mask: row(step, args, values, mask)
    )  # fmt: skip


@exported
def retrograd_row_of_tensors(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A row of the elementwise table that takes no numbers."""
    step = function.step
    return computed(
        step, args, nargs, names, opened_all, lambda values, mask: row(step, args, values, mask)
    )  # fmt: skip


@native
def row(step: Step, args: Array[Object], values: Array[NdArray], mask: int) -> Object | None:
    """The row of arrays, if they agree and it is known what computes it."""
    if values[0].dtype is not values[step.arity - 1].dtype:
        return None
    dtype = dtype_of(values[0])
    if dtype < 0 or (mask != 0 and dtype >= FLOATING):
        return None
    if step.arity == 2 and do_orders_differ(values[0], values[1]):
        return None
    function = step.functions[dtype]
    return None if function is None else applied(step, function, args, values, mask)


@native
def do_orders_differ(x: NdArray, y: NdArray) -> bool:
    """Whether the first of two arrays of one shape lies in an order of its own: NumPy's results lie in order
    then."""
    if x.flags & CONTIGUOUS != 0 or x.ndim != y.ndim or x.ndim < 2:
        return False
    differ = False
    for axis in range(x.ndim):
        if x.shape[axis] != y.shape[axis]:
            return False
        differ = differ or x.strides[axis] != y.strides[axis]
    return differ


@native
def opened_row(args: Array[Object], count: int, values: Array[NdArray]) -> int:
    """As `opened_all`; but a number beside a Tensor that decides the dtype becomes an array."""
    if count == 1:
        return opened_all(args, 1, values)
    first, second = opened(args[0]), opened(args[1])
    if first is not None and second is not None:
        values[0], values[1] = first, second
        return tracked(args[0]) | tracked(args[1]) << 1
    array = second if first is None else first
    if array is None:
        return -1
    number = number_beside(array, args[0] if first is None else args[1])
    if number is None:
        Py_DecRef(array)
        return -1
    if first is None:
        values[0], values[1] = number, array
        return tracked(args[1]) << 1
    values[0], values[1] = array, number
    return tracked(args[0])


@inlined
def dtype_of(array: NdArray) -> int:
    """The place of its dtype in `DTYPES`; -1 of another one."""
    return place_of(array.dtype)


@native
def place_of(dtype: Object) -> int:
    """The place of a dtype of NumPy in `DTYPES`; -1 of another one."""
    place = 0
    while DTYPE_TABLE[place] is not None:
        if DTYPE_TABLE[place] is dtype:
            return place
        place += 1
    return -1


@native
def number_beside(array: NdArray, number: Object) -> NdArray | None:
    """A number as the 0-d array of the same dtype that was made before; null if there is none. Beside floats
    it is any number, beside ints an int."""
    is_int = number.type is LONG
    if not is_int and number.type is not FLOAT:
        return None
    if not 0 <= dtype_of(array) < (SOLID if is_int else FLOATING):
        return None
    value: Object | None = number
    if PyObject_IsTrue(number) == 0:  # 0, 0.0 and -0.0 are equal, and are not one array
        value = PyObject_Repr(number)
    else:
        shared(number)
    key = None if value is None else PyTuple_New(2)
    if value is None or key is None:
        Py_DecRef(value)
        return None
    key.items[0], key.items[1] = value, shared(array.dtype)
    found = PyDict_GetItemWithError(NUMBERS, key)
    Py_DecRef(key)
    return None if found is None else cast(NdArray, shared(found))
