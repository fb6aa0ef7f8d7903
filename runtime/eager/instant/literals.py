"""New Tensors of data, natively: of Python's numbers and lists of them, and of arrays, copied or shared.

In flow the arguments of a call and the callable's record, which says what data it takes; out flows a new
Tensor. Numbers are read twice: once for the extents and for what kinds of number there are, which decide the
dtype, and once into the new array. Whatever is not plain goes to the record's `slow`: sequences that are no
box, numbers that a dtype does not hold exactly as written, other objects among them, other devices, and every
error.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Float32,
    Inline,
    Int32,
    Record,
    cast,
    exported,
    external,
    inside,
    native,
    several,
    stack,
)
from retrograd.runtime.eager.instant.answers import BOOL, FLOAT32, FLOAT64, INT64
from retrograd.runtime.eager.instant.entries import dtype_of, place_of
from retrograd.runtime.eager.instant.keys import OWN_DTYPE
from retrograd.runtime.eager.instant.makers import has
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    array_of,
    boxed,
    is_array,
    is_tensor,
    marked,
    or_slow,
    shared,
)
from retrograd.runtime.eager.instant.records import (
    FLOATING,
    MOST,
    NAMES_DEVICE,
    NAMES_DTYPE,
    NAMES_GRAD,
    OPEN_TRACES,
    SOLID,
    Function,
    Given,
    OwnDtype,
)
from retrograd.runtime.native.grammar import CONTIGUOUS
from retrograd.runtime.native.making import empty_array, size_of
from retrograd.runtime.native.objects import (
    FALSE,
    FLOAT,
    LIST,
    LONG,
    NONE,
    TRUE,
    TUPLE,
    Dtype,
    Float,
    List,
    Memory,
    NdArray,
    Object,
    Py_DecRef,
    PyLong_AsLongAndOverflow,
    PyObject_Vectorcall,
    Sequence,
    Tuple,
    numpy_copy_into,
)

DTYPE, PLACE = external(Object, "name_of_dtype"), external(Object, "name_of_device")
REQUIRES_GRAD = external(Object, "name_of_requires_grad")
UINT8 = external(Object, "dtype_uint8")
CPU, CPU_NAME = external(Object, "cpu"), external(Object, "name_of_cpu")

TRUTHS, WHOLE, POINTS = 1, 2, 4
"""Kinds of number: bits of those that there are."""
EXACT = 1 << 53
"""Up to here float64 holds every whole number."""


class Reading(Record):
    """Data that are being read."""

    rank: int
    kinds: int
    least: int
    """Of the whole numbers, and 0."""
    most: int
    dtype: Object
    to: Memory
    """Where the next number goes."""
    extents: Inline[int] = several(MOST)


class Asking(Record):
    """What a call asks for besides its data."""

    dtype: Object | None
    own: Object
    """The same as one of ours, where it was given by name."""
    tracked: int


# ---- calls -------------------------------------------------------------------------------------------------
@exported
def retrograd_given(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A Tensor of the data that are the last positional argument, and the only one but for a Tensor that
    gives its dtype."""
    given = function.given
    made: Object | None = None
    if OPEN_TRACES[0] == 0 and given.here != 0 and nargs & COUNT == given.arity:
        asking = stack(Asking)
        if is_understood(given, asking, args, names):
            made = made_of(given, asking, args[given.arity - 1])
    return or_slow(made, given.slow, args, nargs, names)


@native
def is_understood(given: Given, asking: Asking, args: Array[Object], names: Tuple | None) -> bool:
    """Read what the call asks for by name, and of a Tensor before the data."""
    asking.dtype, asking.tracked = None, 0
    if given.arity == 2:
        beside = array_of(args[0])
        if beside is None:
            return False
        asking.dtype = beside.dtype
    if names is None:
        return True
    for i in range(names.length):  # noqa: SIM110  # the native language has no generators
        if not is_taken(given, asking, names.items[i], args[given.arity + i]):
            return False
    return True


@native
def is_taken(given: Given, asking: Asking, name: Object, value: Object) -> bool:
    """Read an argument by name. False where there is none of this name, or its value asks for something
    else."""
    if name is DTYPE and given.names & NAMES_DTYPE != 0:
        if value.type is OWN_DTYPE:
            asking.dtype, asking.own = cast(OwnDtype, value).numpy, value
            return asking.dtype is not None
        return value is NONE
    if name is PLACE and given.names & NAMES_DEVICE != 0:
        return value is NONE or value is CPU or value is CPU_NAME
    if name is REQUIRES_GRAD and given.names & NAMES_GRAD != 0:
        asking.tracked = cast(int, value is TRUE)
        return value is TRUE or value is FALSE
    return False


@native
def made_of(given: Given, asking: Asking, data: Object) -> Object | None:
    if is_array(data):
        return tracked_if(asking, array_for(given, asking, cast(NdArray, data)))
    if is_tensor(data):
        array = array_of(data)
        if array is None or given.shares == 0 or given.numbers == 0 or asking.tracked != 0:
            return None
        if asking.dtype is None or array.dtype is asking.dtype:
            return shared(data)
        return converted(given, asking, data)
    return tracked_if(asking, numbers_read(given, asking, data)) if given.numbers != 0 else None


@native
def converted(given: Given, asking: Asking, data: Object) -> Object | None:
    """A Tensor in the dtype that is asked for."""
    pair = stack(Array[Object], 2)
    pair[0], pair[1] = data, asking.own
    return PyObject_Vectorcall(given.convert, pair, 2, None)


@native
def tracked_if(asking: Asking, array: NdArray | None) -> Object | None:
    """A new Tensor of an array, whose reference it takes, recorded if asked."""
    if array is None:
        return None
    if asking.tracked != 0 and not 0 <= dtype_of(array) < FLOATING:
        Py_DecRef(array)
        return None
    return marked(boxed(array), asking.tracked != 0)


# ---- arrays ------------------------------------------------------------------------------------------------
@native
def array_for(given: Given, asking: Asking, array: NdArray) -> NdArray | None:
    """The array itself, or a copy, if it is of a dtype of ours, and of the one that is asked for."""
    if dtype_of(array) < 0 or (asking.dtype is not None and asking.dtype is not array.dtype):
        return None
    if given.shares != 0:  # of a part of an array Python makes memory of its own
        return None if is_part(array) else shared(array)
    if not has(array, CONTIGUOUS):
        return None
    return copied(empty_array(array.dtype, array.ndim, array.shape, None), array)


@native
def is_part(array: NdArray) -> bool:
    """Whether another array has the memory, and may have more there."""
    if array.base is None or not is_array(array.base):
        return False
    whole = cast(NdArray, array.base)
    return not has(array, CONTIGUOUS) or array.dtype is not whole.dtype or size_of(array) != size_of(whole)


@native
def copied(to: NdArray | None, source: NdArray) -> NdArray | None:
    """The array, with elements copied into it; null with an exception set."""
    if to is not None and numpy_copy_into(to, source) != 0:
        Py_DecRef(to)
        return None
    return to


# ---- numbers -----------------------------------------------------------------------------------------------
@native
def numbers_read(given: Given, asking: Asking, data: Object) -> NdArray | None:
    """An array of numbers, which may lie in lists and tuples that are a box."""
    reading = stack(Reading)
    reading.rank, reading.kinds, reading.least, reading.most = 0, 0, 0, 0
    if not is_measured(reading, data) or not is_surveyed(reading, data, 0):
        return None
    natural = natural_dtype(given, reading)
    if asking.dtype is None or asking.dtype is natural:
        return filled(reading, natural, data)
    if asking.dtype is FLOAT32 or asking.dtype is FLOAT64 or asking.dtype is INT64:
        return filled(reading, asking.dtype, data)
    if not is_held(reading, asking.dtype):
        return None
    wide = filled(reading, FLOAT64 if reading.kinds & POINTS != 0 else INT64, data)
    if wide is None:
        return None
    made = copied(empty_array(asking.dtype, wide.ndim, wide.shape, None), wide)
    Py_DecRef(wide)
    return made


@native
def natural_dtype(given: Given, reading: Reading) -> Object:
    """The dtype of numbers for which none is asked."""
    if reading.kinds & POINTS != 0 or reading.kinds == 0:
        return given.default
    return INT64 if reading.kinds & WHOLE != 0 else BOOL


@native
def is_held(reading: Reading, dtype: Object) -> bool:
    """Whether all numbers may be written into an array of this dtype by way of a wider one: into floats any,
    into whole numbers those within half of their range and, where there is no sign, not below zero."""
    place = place_of(dtype)
    if not 0 <= place < SOLID:
        return False
    if place < FLOATING:
        return True
    bound = 1 << 8 * cast(Dtype, dtype).itemsize - 1
    low = 0 if dtype is UINT8 else -bound
    return reading.kinds & POINTS == 0 and low <= reading.least and reading.most < bound


@native
def item_of(data: Object, place: int) -> Object:
    """Of a list or a tuple."""
    return cast(List, data).items[place] if data.type is LIST else cast(Tuple, data).items[place]


@native
def is_measured(reading: Reading, data: Object) -> bool:
    """Find the extents by the first items. False where there are too many axes."""
    inner = data
    while inner.type is LIST or inner.type is TUPLE:
        if reading.rank >= MOST:
            return False
        length = cast(Sequence, inner).length
        reading.extents[reading.rank] = length
        reading.rank += 1
        if length == 0:
            return True
        inner = item_of(inner, 0)
    return True


@native
def is_surveyed(reading: Reading, data: Object, axis: int) -> bool:
    """Find the kinds of number. False where the data are no box of them."""
    if axis == reading.rank:
        return is_number_seen(reading, data)
    if data.type is not LIST and data.type is not TUPLE:
        return False
    if cast(Sequence, data).length != reading.extents[axis]:
        return False
    for i in range(cast(Sequence, data).length):  # noqa: SIM110  # the native language has no generators
        if not is_surveyed(reading, item_of(data, i), axis + 1):
            return False
    return True


@native
def is_number_seen(reading: Reading, x: Object) -> bool:
    if x.type is FLOAT:
        reading.kinds |= POINTS
        return True
    if x is TRUE or x is FALSE:
        reading.kinds |= TRUTHS
        reading.most = max(reading.most, 1)
        return True
    if x.type is not LONG:
        return False
    overflow = stack(Array[Int32], 1)
    value = PyLong_AsLongAndOverflow(x, overflow)
    reading.kinds |= WHOLE
    reading.least, reading.most = min(reading.least, value), max(reading.most, value)
    return overflow[0] == 0


@native
def filled(reading: Reading, dtype: Object, data: Object) -> NdArray | None:
    """A new array of the data, of a dtype that is written here; null where it does not hold them as they
    are."""
    is_floating = dtype is FLOAT32 or dtype is FLOAT64
    if is_floating and not -EXACT <= reading.least <= reading.most <= EXACT:
        return None
    if (dtype is INT64 and reading.kinds & POINTS != 0) or (dtype is BOOL and reading.kinds > TRUTHS):
        return None
    if not is_floating and dtype is not INT64 and dtype is not BOOL:
        return None
    array = empty_array(dtype, reading.rank, reading.extents, None)
    if array is not None:
        reading.dtype, reading.to = dtype, array.data
        write_all(reading, data, 0)
    return array


@native
def write_all(reading: Reading, data: Object, axis: int) -> None:
    if axis == reading.rank:
        write_number(reading, data)
        return
    for i in range(reading.extents[axis]):
        write_all(reading, item_of(data, i), axis + 1)


@native
def write_number(reading: Reading, x: Object) -> None:
    dtype, to = reading.dtype, reading.to
    if dtype is INT64:
        cast(Array[int], to)[0] = whole(x)
        reading.to = inside(Memory, to, 8)
    elif dtype is BOOL:
        cast(Array[Byte], to)[0] = whole(x)
        reading.to = inside(Memory, to, 1)
    else:
        value = cast(Float, x).value[0] if x.type is FLOAT else cast(float, whole(x))
        if dtype is FLOAT32:
            cast(Array[Float32], to)[0] = value
            reading.to = inside(Memory, to, 4)
        else:
            cast(Array[float], to)[0] = value
            reading.to = inside(Memory, to, 8)


@native
def whole(x: Object) -> int:
    """An int or a truth value, which is one."""
    overflow = stack(Array[Int32], 1)
    return PyLong_AsLongAndOverflow(x, overflow)
