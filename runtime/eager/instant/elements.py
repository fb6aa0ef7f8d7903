"""Formulas of several operands as native calls: what NumPy does in a pass over memory for each sign.

In flow a record and arrays; out flows a new array. Operands are of one shape and dtype and lie in order,
or are one number each; all else is for `slow`, and so is much work.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, native, stack
from retrograd.runtime.eager.instant.history import size_of
from retrograd.runtime.eager.instant.makers import has
from retrograd.runtime.eager.instant.operands import is_array, or_slow
from retrograd.runtime.eager.instant.records import MOST_READ, MUCH, Elements, Function
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import empty_array
from retrograd.runtime.native.objects import Memory, NdArray, Object, Tuple


@exported
def retrograd_elements(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A new array of the arguments that the record's kernel reads."""
    elements = function.elements
    made = computed_of(elements, args) if nargs == elements.arity and names is None else None
    return or_slow(made, elements.slow, args, nargs, names)


@native
def computed_of(elements: Elements, args: Array[Object]) -> NdArray | None:
    """What the kernel gives; null where it is not for such arguments."""
    operands, arrays, sizes = stack(Array[NdArray], MOST_READ), stack(Array[Memory], 5), stack(Array[int], 5)
    found = 0
    for i in range(elements.arity):
        if elements.reads >> i & 1 != 0:
            x = cast(NdArray, args[i])
            if not is_array(x) or x.dtype is not elements.dtype or not has(x, CONTIGUOUS | ALIGNED):
                return None
            operands[found] = x
            found += 1
    like = most_of(operands, found)
    count = size_of(like)
    if count == 0 or count >= MUCH:
        return None
    sizes[0] = count
    for k in range(found):
        one = size_of(operands[k]) == 1 and operands[k].ndim <= like.ndim
        if not one and not have_one_shape(operands[k], like):
            return None
        arrays[k + 1] = operands[k].data
        sizes[k + 1] = 0 if one else 1
    made = empty_array(like.dtype, like.ndim, like.shape, None)
    if made is not None:
        arrays[0] = made.data
        elements.kernel(arrays, sizes)
    return made


@native
def most_of(operands: Array[NdArray], count: int) -> NdArray:
    """The array of most elements, and among those of as many, of most axes."""
    most = operands[0]
    for k in range(1, count):
        x, more = operands[k], size_of(operands[k]) - size_of(most)
        if more > 0 or (more == 0 and x.ndim > most.ndim):
            most = x
    return most


@native
def have_one_shape(x: NdArray, y: NdArray) -> bool:
    """Whether arrays have one shape."""
    if x.ndim != y.ndim:
        return False
    for axis in range(x.ndim):  # noqa: SIM110  # the native language has no generators
        if x.shape[axis] != y.shape[axis]:
            return False
    return True
