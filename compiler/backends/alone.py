"""What code that is alone has in place of a process of this package around it, in the native language.

One thread does all blocks of a parallel loop, in order; memory that routines ask for is on its stack. So
nothing is asked of a system, nor written outside of what a caller lends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retrograd.compiler.backends.lent import retrograd_part, retrograd_room, retrograd_room_back
from retrograd.compiler.backends.meeting import ALONE
from retrograd.compiler.native.language import Array, Byte, exported, provides

Bytes = Array[Byte]


@exported
def retrograd_parallel(run: Callable[[Bytes, int], None], environment: Bytes, blocks: int) -> None:
    """Every block."""
    for block in range(blocks):
        run(environment, block)


@exported
def retrograd_parallel_brief(run: Callable[[Bytes, int], None], environment: Bytes, blocks: int) -> None:
    """The same."""
    for block in range(blocks):
        run(environment, block)


@exported
def retrograd_threads() -> int:
    """How many there are."""
    return 1


THREADS: Mapping[str, Callable[..., Any]] = {
    "retrograd_parallel": retrograd_parallel,
    "retrograd_parallel_brief": retrograd_parallel_brief,
    "retrograd_threads": retrograd_threads,
}
"""What stands for the pool."""


@provides(retrograd_room)
def no_room(size: int) -> Bytes | None:
    """There is the stack."""
    return None


@provides(retrograd_room_back)
def no_room_back(room: Bytes) -> None:
    pass


@provides(retrograd_part)
def no_part(threads: Callable[[], int] | None) -> int:
    """There is nobody to meet."""
    return ALONE
