"""The native callable that copies an array in row-major order, whatever its shape, steps and dtype.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record is a `Head`, then a `Kernel` for each size of elements (`copies.py`).
Those of 16 bytes are two of 8. What is empty, or of other elements, is for `slow`.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Record, cast, exported, inside, native, stack, words
from retrograd.runtime.native.grammar import ALIGNED
from retrograd.runtime.native.making import empty_array, size_of
from retrograd.runtime.native.objects import NUMPY_ARRAY, Dtype, Memory, NdArray, Object, Tuple
from retrograd.runtime.native.pool import MUCH
from retrograd.runtime.native.small.copies import MOST_AXES, SQUARE, CopySizes
from retrograd.runtime.native.small.entry import Called, or_slow
from retrograd.runtime.native.small.parts import BLOCK, Parallel, Parts, run_in_parts

WIDTHS = (1, 2, 4, 8)
"""Bytes of elements that have a kernel."""


class Head(Called):
    parallel: Parallel


class Kernel(Record):
    copy: Callable[[Array[Memory], Array[int]], int]


HEAD_WORDS, COPY_WORDS = words(Head), words(CopySizes)


@exported
def retrograd_ordered(self: Tuple, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    return or_slow(
        self, args, nargs, names, lambda record: in_rows(cast(Head, record), cast(NdArray, args[0]))
    )


@native
def in_rows(head: Head, x: NdArray) -> NdArray | None:
    """The copy; null where it is not for such an array, or without memory."""
    if x.type is not NUMPY_ARRAY or x.ndim >= MOST_AXES or x.flags & ALIGNED == 0 or size_of(x) == 0:
        return None
    size, number = cast(Dtype, x.dtype).itemsize, 0
    width = min(size, 8)
    while 1 << number < width:
        number += 1
    if 1 << number != width or size > 16 or size % width != 0:
        return None
    made = empty_array(x.dtype, x.ndim, x.shape, None)
    if made is not None:
        sizes = stack(CopySizes)
        sizes.axes = 0
        step = size_of(x) * size
        for axis in range(x.ndim):
            step = step // x.shape[axis]
            walk(sizes, x.shape[axis], step, x.strides[axis])
        walk(sizes, size // width, width, width)
        if sizes.axes == 0:
            sizes.axes, sizes.extents[0] = 1, 1
            sizes.to_steps[0], sizes.from_steps[0] = width, width
        kernel = inside(Kernel, head, (HEAD_WORDS + number) << 3)
        run_copy(kernel, made, x, sizes, size_of(x) * (size // width), head.parallel)
    return made


@native
def run_copy(
    kernel: Kernel, made: NdArray, x: NdArray, sizes: CopySizes, elements: int, parallel: Parallel
) -> None:
    """The copy, by all threads where there is much; a part has whole squares, if squares are turned."""
    arrays = stack(Array[Memory], 2)
    arrays[0], arrays[1] = made.data, x.data
    work = elements // sizes.extents[0]
    part = max(1, BLOCK // work)
    first, last = sizes.from_steps[0], sizes.from_steps[sizes.axes - 1]
    if max(first, -first) < max(last, -last):
        part = (part + SQUARE - 1) // SQUARE * SQUARE
    if elements < MUCH or part >= sizes.extents[0]:
        kernel.copy(arrays, cast(Array[int], sizes))
        return
    parts = stack(Parts)
    parts.kernel, parts.sizes, parts.count, parts.arrays = kernel.copy, cast(Array[int], sizes), COPY_WORDS, 2
    parts.cut, parts.part = 1, part
    for i in range(2):
        parts.starts[i] = arrays[i]
    parts.advances[0], parts.advances[1] = sizes.to_steps[0], sizes.from_steps[0]
    run_in_parts(parts, parallel)


@native
def walk(sizes: CopySizes, extent: int, to_step: int, from_step: int) -> None:
    """One more axis; with the one before it, where they are one line in both arrays."""
    if extent == 1:
        return
    last = sizes.axes - 1
    if (
        last >= 0
        and sizes.to_steps[last] == to_step * extent
        and sizes.from_steps[last] == from_step * extent
    ):
        sizes.extents[last] = sizes.extents[last] * extent
        sizes.to_steps[last], sizes.from_steps[last] = to_step, from_step
        return
    sizes.extents[sizes.axes] = extent
    sizes.to_steps[sizes.axes], sizes.from_steps[sizes.axes] = to_step, from_step
    sizes.axes += 1
