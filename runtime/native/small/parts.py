"""A step's work in parts, which all threads share.

In flow a kernel, its arrays and sizes, and which of the sizes is cut; out flows what the kernel says, 1 where
it says so of a part. A part begins so many bytes further on in each array. Parts depend on sizes alone, so
results are the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Inline, Record, cast, inside, native, several, stack
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.pool import Run

BLOCK = 1 << 13
"""Elements that a thread takes at a time, where they are many."""
MOST_CUT = 8
"""Arrays of a step in parts."""
MOST_SIZES = 32
"""Its sizes."""

Parallel = Callable[[Run, Memory, int], None]


class Parts(Record):
    kernel: Callable[[Array[Memory], Array[int]], int]
    sizes: Array[int]
    count: int
    """Sizes."""
    cut: int
    """The place of the one that is cut."""
    part: int
    """As much of it as a part has; the last has what is left."""
    arrays: int
    failed: int
    """1 as soon as the kernel cannot do a part."""
    starts: Inline[Memory] = several(MOST_CUT)
    advances: Inline[int] = several(MOST_CUT)
    """Bytes from one unit of what is cut to the next."""


@native
def run_in_parts(parts: Parts, parallel: Parallel) -> int:
    parts.failed = 0
    parallel(run_part, cast(Memory, parts), (parts.sizes[parts.cut] + parts.part - 1) // parts.part)
    return parts.failed


@native
def run_part(environment: Memory, number: int) -> None:
    parts = cast(Parts, environment)
    arrays, sizes = stack(Array[Memory], MOST_CUT), stack(Array[int], MOST_SIZES)
    start = number * parts.part
    for i in range(parts.arrays):
        arrays[i] = inside(Memory, parts.starts[i], start * parts.advances[i])
    for k in range(parts.count):
        sizes[k] = parts.sizes[k]
    sizes[parts.cut] = min(parts.part, parts.sizes[parts.cut] - start)
    if parts.kernel(arrays, sizes) != 0:
        parts.failed = 1
