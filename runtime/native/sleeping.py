"""How the worker pool's threads sleep and wake, on each system. The pool is `pool.py`.

In flow the name of a system and perhaps of a way to sleep; out flow the pool's functions and its numbers, for
`load_native`. Where the system lets threads choose, workers keep off their caller's processor.

To support a system, add a row to `_SYSTEMS`; a way to sleep is a row of `_WAYS`: functions that provide what
`pool.py` declares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from retrograd.compiler.native.language import (
    Array,
    At,
    Byte,
    Inline,
    Int32,
    Order,
    Record,
    Unsigned32,
    atomic_load,
    extern,
    given,
    intrinsic,
    provides,
    stack,
    variable,
)
from retrograd.compiler.record import record
from retrograd.runtime.native import pool
from retrograd.runtime.native.objects import Memory

MASK_BYTES = 1024
"""Of a set of processors, of which so many times 8 are known."""

KNOWN = 64
"""Workers, the first ones, whose handles are known."""


# --- by futex: Linux ----------------------------------------------------------------------------------------
FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE = 128, 129


@extern
def syscall(
    number: int, at: Array[Unsigned32], operation: int, value: int, timeout: Memory | None
) -> int: ...


@extern
def sched_getcpu() -> Int32: ...


@extern
def sched_getaffinity(process: Int32, size: int, mask: Array[Byte]) -> Int32: ...


@extern
def pthread_setaffinity_np(handle: int, size: int, mask: Array[Byte]) -> Int32: ...


class Places(Record):
    """Processors."""

    seen_on: int
    """That of the last call."""
    avoided: int
    """That which no worker uses, or -1."""
    handles: Annotated[Inline[int], At(16)]
    """Of the workers that are known."""


PLACES = variable(Places, "places", 16 + 8 * KNOWN)


@provides(pool.wait)
def wait_by_futex(at: Array[Unsigned32], seen: int) -> None:
    syscall(given("futex"), at, FUTEX_WAIT_PRIVATE, seen, None)


@provides(pool.wake)
def wake_by_futex(at: Array[Unsigned32], count: int) -> None:
    syscall(given("futex"), at, FUTEX_WAKE_PRIVATE, count, None)


@provides(pool.start_sleeping)
def start_on_linux() -> None:
    PLACES.avoided = -1


@provides(pool.hired)
def hired_on_linux(index: int, handle: int) -> None:
    if index < KNOWN:
        PLACES.handles[index] = handle
        PLACES.avoided = -1


@provides(pool.keep_apart)
def keep_apart_on_linux() -> None:
    """A system may wake a worker where its caller runs, and again each time, as it has little to do there. So
    the workers may use all processors but that of the caller, once two calls have come from it."""
    here = sched_getcpu()
    stays = here == PLACES.seen_on
    PLACES.seen_on = here
    if not stays or here == PLACES.avoided:
        return
    PLACES.avoided = here
    mask, byte = stack(Array[Byte], MASK_BYTES), here >> 3
    if sched_getaffinity(0, MASK_BYTES, mask) != 0 or not 0 <= byte < MASK_BYTES:
        return
    mask[byte] = mask[byte] & ~(1 << (here & 7))
    for i in range(min(atomic_load(pool.POOL.created, Order.RELAXED), KNOWN)):
        pthread_setaffinity_np(PLACES.handles[i], MASK_BYTES, mask)  # refused where no other is allowed


# --- by a condition: any system -----------------------------------------------------------------------------
MUTEX = variable(Memory, "mutex", 128)
CONDITION = variable(Memory, "condition", 128)


@extern
def pthread_mutex_init(mutex: Memory, attributes: Memory | None) -> Int32: ...


@extern
def pthread_mutex_lock(mutex: Memory) -> Int32: ...


@extern
def pthread_mutex_unlock(mutex: Memory) -> Int32: ...


@extern
def pthread_cond_init(condition: Memory, attributes: Memory | None) -> Int32: ...


@extern
def pthread_cond_wait(condition: Memory, mutex: Memory) -> Int32: ...


@extern
def pthread_cond_broadcast(condition: Memory) -> Int32: ...


@provides(pool.wait)
def wait_by_condition(at: Array[Unsigned32], seen: int) -> None:
    pthread_mutex_lock(MUTEX)
    if atomic_load(at, Order.SEQUENTIAL) == seen:
        pthread_cond_wait(CONDITION, MUTEX)
    pthread_mutex_unlock(MUTEX)


@provides(pool.wake)
def wake_by_condition(at: Array[Unsigned32], count: int) -> None:
    pthread_mutex_lock(MUTEX)
    pthread_cond_broadcast(CONDITION)
    pthread_mutex_unlock(MUTEX)


@provides(pool.start_sleeping)
def start_conditions() -> None:
    pthread_mutex_init(MUTEX, None)
    pthread_cond_init(CONDITION, None)


@provides(pool.hired)
def hired_anywhere(index: int, handle: int) -> None:
    pass


@provides(pool.keep_apart)
def keep_apart_nowhere() -> None:
    pass


# --- a moment -----------------------------------------------------------------------------------------------
@intrinsic("llvm.x86.sse2.pause")
def pause() -> None: ...


@intrinsic("llvm.aarch64.hint")
def hint(what: Int32) -> None: ...


@provides(pool.relax)
def relax_on_x86() -> None:
    pause()


@provides(pool.relax)
def relax_on_arm() -> None:
    hint(1)  # YIELD


# --- systems ------------------------------------------------------------------------------------------------
Functions = tuple[Callable[..., Any], ...]

_WAYS: dict[str, Functions] = {
    "futex": (wait_by_futex, wake_by_futex, start_on_linux, hired_on_linux, keep_apart_on_linux),
    "condition": (
        wait_by_condition,
        wake_by_condition,
        start_conditions,
        hired_anywhere,
        keep_apart_nowhere,
    ),
}


@record(slots=True)
class _System:
    sleep: str
    """Key of `_WAYS`."""
    relax: Callable[[], None]
    monotonic_clock: int
    """CLOCK_MONOTONIC."""
    futex_call: int = 0
    """Number of the futex system call."""


_SYSTEMS = {
    ("x86_64", "linux"): _System("futex", relax_on_x86, 1, 202),
    ("aarch64", "linux"): _System("futex", relax_on_arm, 1, 98),
    ("x86_64", "darwin"): _System("condition", relax_on_x86, 6),
    ("arm64", "darwin"): _System("condition", relax_on_arm, 6),
}


def parts_of_pool(triple: str, sleep: str | None = None) -> tuple[Functions, dict[str, int]]:
    """The pool's functions and numbers. Its threads sleep as their system does it best, or as said: `futex`,
    `condition`."""
    architecture = triple.partition("-")[0]
    name = next((name for name in ("linux", "darwin") if name in triple), triple)
    system = _SYSTEMS[architecture, name]
    called = (pool.retrograd_parallel, pool.retrograd_parallel_brief, pool.retrograd_threads)
    own = (*called, pool.retrograd_pool_resize, pool.retrograd_pool_mode, pool.retrograd_pool_reset)
    numbers = {"clock": system.monotonic_clock, "futex": system.futex_call}
    return (*_WAYS[sleep or system.sleep], system.relax, *own), numbers
