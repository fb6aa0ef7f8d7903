"""The native callable that passes an array on as it is, where its elements are within bounds.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments, and says what is wrong. The record is a `Bounds`.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, cast, exported, native, stack
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import NUMPY_ARRAY, Memory, NdArray, Object, Py_IncRef, Tuple
from retrograd.runtime.native.small.entry import Called, or_slow


class Bounds(Called):
    within: Callable[[Array[Memory], Array[int]], int]
    """A kernel (`checking.py`)."""
    dtype: Object
    least: int
    end: int
    """One more than the greatest."""


@exported
def retrograd_passed(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    return or_slow(
        self, args, nargs, names, lambda record: passed_on(cast(Bounds, record), cast(NdArray, args[0]))
    )


@native
def passed_on(bounds: Bounds, x: NdArray) -> NdArray | None:
    """The array; null where it is not like that, or Python shall look."""
    if x.type is not NUMPY_ARRAY or x.dtype is not bounds.dtype:
        return None
    if x.flags & (CONTIGUOUS | ALIGNED) != CONTIGUOUS | ALIGNED:
        return None
    arrays, sizes = stack(Array[Memory], 1), stack(Array[int], 3)
    arrays[0], sizes[0], sizes[1], sizes[2] = x.data, size_of(x), bounds.least, bounds.end
    if bounds.within(arrays, sizes) != 0:
        return None
    Py_IncRef(x)
    return x
