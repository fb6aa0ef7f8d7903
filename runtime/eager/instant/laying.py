"""Results that lie as a rule says (`eager/lying.py`), natively.

In flow a plan for operands that lie in one way, and the strides that its results have then; out flow its
results, copied where they lie otherwise.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, native, stack
from retrograd.runtime.eager.instant.operands import is_array, is_tensor
from retrograd.runtime.eager.instant.records import MOST, AnyTensor, Function, Laid
from retrograd.runtime.native.making import empty_array
from retrograd.runtime.native.objects import (
    TUPLE,
    Dtype,
    NdArray,
    Object,
    Py_DecRef,
    PyObject_Vectorcall,
    PyType_IsSubtype,
    Tuple,
    numpy_copy_into,
)


@exported
def retrograd_laid(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """What the plan gives, with the strides of the record, once they are known."""
    laid = function.laid
    if laid.rank < 0:
        return PyObject_Vectorcall(laid.slow, args, nargs, names)
    result = PyObject_Vectorcall(laid.plan, args, nargs, names)
    if result is None or are_settled(laid, result):
        return result
    Py_DecRef(result)
    return None


@native
def are_settled(laid: Laid, result: Object) -> bool:
    """Have a new Tensor, or each of a tuple of them, lie so. False with an exception set."""
    if is_tensor(result):
        return is_settled(laid, cast(AnyTensor, result))
    if PyType_IsSubtype(result.type, TUPLE) == 0:
        return True
    several = cast(Tuple, result)
    for i in range(several.length):
        if is_tensor(several.items[i]) and not is_settled(laid, cast(AnyTensor, several.items[i])):
            return False
    return True


@native
def is_settled(laid: Laid, tensor: AnyTensor) -> bool:
    array = tensor.value
    if not is_array(array) or array.ndim != laid.rank or has_strides(array, laid.strides):
        return True
    steps, size = stack(Array[int], MOST), cast(Dtype, array.dtype).itemsize
    for axis in range(array.ndim):
        steps[axis] = laid.strides[axis] * size
    made = empty_array(array.dtype, array.ndim, array.shape, steps)
    if made is None or numpy_copy_into(made, array) != 0:
        Py_DecRef(made)
        return False
    tensor.value = made
    Py_DecRef(array)
    return True


@native
def has_strides(array: NdArray, strides: Array[int]) -> bool:
    """Whether an array has these strides, in elements."""
    size = cast(Dtype, array.dtype).itemsize
    for axis in range(array.ndim):  # noqa: SIM110  # the native language has no generators
        if array.strides[axis] != strides[axis] * size:
            return False
    return True
