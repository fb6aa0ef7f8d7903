"""The kernel that looks at what must hold, in the native language: a step of a small graph as any other.

In flow an array of bools; out flows 0, or 1 where one of them is false, so that the call is for `slow`, which
says what is wrong.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Byte, exported


@exported
def demand(arrays: Array[Array[Byte]], sizes: Array[int]) -> int:
    """Sizes: how many."""
    for i in range(sizes[0]):
        if arrays[0][i] == 0:
            return 1
    return 0
