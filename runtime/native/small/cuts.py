"""The sizes of steps, and where these are cut into parts for all threads (`parts.py`).

In flow shapes, or a step's sizes; out flow sizes, or a `Cut`. A kernel may be cut along one of its sizes if
each unit of it is computed by itself. To cut a further kernel, give its step one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import record
from retrograd.runtime.native.pool import MUCH
from retrograd.runtime.native.small.copies import SQUARE
from retrograd.runtime.native.small.parts import BLOCK


@record(slots=True)
class Cut:
    size: int
    """The place of the size that is cut."""
    advances: Sequence[int]
    """Bytes from one unit of it to the next, in each array."""
    work: int
    """Elements of a unit."""
    together: int = 1
    """Units of a part are a multiple of it."""

    def part(self, sizes: Sequence[int]) -> int:
        """The units of a part; 0 where there is too little for several."""
        units = sizes[self.size]
        if units * self.work < MUCH:
            return 0
        part = -(-BLOCK // (max(self.work, 1) * self.together)) * self.together
        return part if part < units else 0


def of_elements(bytes: Sequence[int]) -> Cut:
    """Of elements by themselves, of so many bytes in each array, or 0 where it has one for all."""
    return Cut(0, bytes, 1)


def of_axes(axes: Sequence[tuple[int, int, int]]) -> Cut:
    """Of a copy along such axes: extents, and steps in the result and the operand. Where lines are turned, a
    part has whole squares."""
    (_, *steps), *inner = axes
    turned = bool(inner) and abs(steps[1]) < abs(inner[-1][2])
    return Cut(1, steps, prod(extent for extent, *_ in inner), SQUARE if turned else 1)


def of_lines(sizes: Sequence[int], elements: int, *results: int) -> Cut:
    """Of `[before, count, after, apart]`, whose elements have so many bytes; those of the arrays that have no
    `count` are `results`, the first array one of them."""
    before, count, after = sizes[:3]
    if before == 1 and after > 1:
        first, *further = results
        return Cut(2, [first, elements, *further], count, COLUMNS)
    first, *further = [after * each for each in results]
    return Cut(0, [first, count * after * elements, *further], count * after)


COLUMNS = 256
"""Elements side by side that a part is a multiple of: as many as kernels take at once."""


def of_running(sizes: Sequence[int], itemsize: int) -> Cut:
    """Of running joins, of lines `[before, count, after]` to such ones; several go on side by side."""
    before, count, after = sizes[:3]
    if before == 1 and after > 1:
        return Cut(2, [itemsize] * 2, count, COLUMNS)
    return Cut(0, [count * after * itemsize] * 2, count * after, 4)


def of_indices(sizes: Sequence[int], itemsize: int, reads: bool) -> Cut:
    """Of indices along the middle axis of `[before, size, after]` (`moving.IndexSizes`): of what is before,
    or of the indices, where there is nothing before and elements are only read by them."""
    before, count, after, size, step_before, step_count, _ = sizes
    whole, chosen = size * after * itemsize, count * after * itemsize
    if reads and before == 1:
        return Cut(1, [after * itemsize, 0, step_count * INDEX_BYTES], after)
    return Cut(
        0, [*((chosen, whole) if reads else (whole, chosen)), step_before * INDEX_BYTES], count * after
    )


INDEX_BYTES = 8


# ---- sizes -------------------------------------------------------------------------------------------------


def indexed(shape: Sequence[int], axis: int, index: Array, alone: bool) -> list[int]:
    """The sizes of a step along an axis of this shape, by an index for rows alone, or for each element."""
    before, after = prod(shape[:axis]), prod(shape[axis + 1 :])
    count = index.size if alone else index.shape[axis]
    return [before, count, after, shape[axis], *((0, 1, 0) if alone else (count * after, after, 1))]


def joined(x: Array, out: Array) -> list[tuple[int, int, int]]:
    """The axes of a copy, extent and steps; those that are one line in both arrays are one axis."""
    axes: list[tuple[int, int, int]] = []
    for extent, to, from_ in zip(out.shape, out.strides, x.strides):
        if extent == 1:
            continue
        if axes and axes[-1][1:] == (to * extent, from_ * extent):
            axes[-1] = (axes[-1][0] * extent, to, from_)
        else:
            axes.append((extent, to, from_))
    return axes or [(1, 0, 0)]
