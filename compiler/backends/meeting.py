"""Large operands that threads share the reading of: how they come faster the next time.

What one core alone has read is its own, and on its way out of the second-level cache it is written to the
third. What two have read at about the same time is shared: it stays in the third-level cache and need not be
written there again, so it comes in two thirds of the time, until somebody writes to it. So each thread has a
part of what another one reads just now come into its own cache, the next part the next time.

That is how times on a Xeon of two cores are best explained; they are the same for every way to make lines of
the cache shared. Where caches work otherwise, a sixteenth more is read for nothing; so threads do not meet in
what the third-level cache does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from retrograd.compiler.backends.lent import retrograd_part
from retrograd.compiler.native.language import (
    Array,
    Byte,
    Int32,
    atomic_add,
    intrinsic,
    native,
    provides,
    variable,
)

PARTS = 16
"""In so many calls threads have met everywhere; each reads so much more."""
_THIRD_LEVEL = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
ALONE = -1
_LINE = 64
"""Bytes of a line of the cache."""
TO_READ, SECOND_LEVEL, DATA = 0, 2, 1
"""How a line is fetched."""
_TURN = variable(Array[int], "turn")


@cache
def third_level() -> int:
    """Bytes of that cache here; 0 where the system does not say."""
    try:
        return int(_THIRD_LEVEL.read_text().strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 0


@provides(retrograd_part)
def next_part(threads: Callable[[], int] | None) -> int:
    """Which part they meet in this time; `ALONE` if there is but one thread."""
    if threads is None or threads() < 2:
        return ALONE
    return atomic_add(_TURN, 1) & (PARTS - 1)


@native
def meet(place: Array[Byte], count: int) -> None:
    """Lines of so many bytes come into the second-level cache."""
    for line in range((count + _LINE - 1) // _LINE):
        prefetch(place + line * _LINE, TO_READ, SECOND_LEVEL, DATA)


@intrinsic("llvm.prefetch.p0")
def prefetch(place: Array[Byte], to_write: Int32, near: Int32, data: Int32) -> None: ...
