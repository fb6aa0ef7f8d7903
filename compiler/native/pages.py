"""Memory in huge pages, for native code: `allocate` gives it, C's `free` takes it back.

Code that goes over much memory in strides meets a new page at every step, and the processor keeps few of
their addresses. Of huge pages it needs few.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Byte, Int32, extern, native

HUGE_PAGE = 2 << 20
_USE_HUGE_PAGES = 14
"""Linux's MADV_HUGEPAGE. A system that knows no such advice refuses it."""


@native
def allocate_huge(size: int) -> Array[Byte] | None:
    """So many bytes, or as many more as fill the last page; null where there is no memory."""
    whole = (size + HUGE_PAGE - 1) & -HUGE_PAGE
    memory = aligned_alloc(HUGE_PAGE, whole)
    if memory is not None:
        prefer_huge(memory, whole)
    return memory


@native
def prefer_huge(memory: Array[Byte], size: int) -> None:
    """Let so many bytes, from a page's begin on, be in huge pages where these fit."""
    madvise(memory, size, _USE_HUGE_PAGES)


@extern
def aligned_alloc(alignment: int, count: int) -> Array[Byte] | None: ...


@extern
def madvise(memory: Array[Byte], count: int, advice: Int32) -> Int32: ...


@extern
def free(memory: Array[Byte] | None) -> None: ...
