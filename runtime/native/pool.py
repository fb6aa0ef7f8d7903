"""The worker pool, in the native language.

Kernels call `retrograd_parallel(run, environment, blocks)`; `cpu.py` loads this when the first program that
does so is loaded. It is native code so that a parallel loop costs 0.2 µs rather than a trip through Python.

How it works. The blocks are cut into as many ranges as there are threads. Each thread begins with its own
range, so that the same thread meets the same data when a job is repeated and its cache still holds them,
then helps with the others. One 64-bit word of each range holds the generation (high half) and the blocks
still unclaimed (low half). A caller writes the job beside the word of each range, then the word, at last the
generation, and begins its first block; caller and workers claim the others by compare-and-swap. A claim
succeeds only if neither half changed since the claimer read the job, so a late worker can never run a block
of the wrong job, and nobody waits for workers that are still asleep. Workers count what they did of a range
at its end; the caller returns when all blocks but its own are counted. Idle workers spin for `SPIN_NS`, then
sleep on the generation. A caller that finds the pool busy, because it is nested in a block or another thread
was first, runs its blocks itself.

To wake a worker takes as long as a brief job does. So `retrograd_parallel_brief` shares a job among workers
that are awake; it wakes them where such jobs come thick, and lets them be for a while after one of them was
taken off its processor in the middle of a block.

What systems do in ways of their own is declared at the end, and provided by `sleeping.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from retrograd.compiler.native.language import (
    Array,
    At,
    Byte,
    Inline,
    Int32,
    Order,
    Record,
    Unsigned32,
    atomic_add,
    atomic_load,
    atomic_store,
    compare_exchange,
    exported,
    extern,
    given,
    inlined,
    inside,
    native,
    stack,
    variable,
)
from retrograd.runtime.native.objects import Memory

RELAXED, ACQUIRE, RELEASE, SEQUENTIAL = Order.RELAXED, Order.ACQUIRE, Order.RELEASE, Order.SEQUENTIAL

SPIN_NS = 100_000
"""How long an idle thread spins before it sleeps; a hot pool answers 100 times sooner than a sleeping one. So
long that threads stay awake through what one of them does alone between the parallel loops of a step."""

MUCH = 1 << 15
"""Elements from which on eager loops run on all threads."""

THICK_NS = 20_000
"""Brief jobs that follow each other so soon are worth waking a worker for."""

CROWDED_NS = 10_000_000
"""How long brief jobs are not shared after a worker was away in the middle of one: others want its
processor."""

RANGES = 64
"""Ranges that the blocks of a job are cut into at most."""

LINE = 64
"""Bytes of a line of the cache."""

STACK_BYTES = 8 << 20
"""Stack of a worker; some systems give new threads too little for a kernel's tiles."""

MOST_BLOCKS, ALL, LOW_HALF = (1 << 31) - 1, (1 << 31) - 1, (1 << 32) - 1

Run = Callable[[Memory, int], None]
"""A job's function, of its environment and the number of a block."""
Shared = Inline[Unsigned32]
"""A number that threads meet at."""


class Range(Record):
    """Blocks of a job, and all that who runs them reads of it: one line of the cache."""

    word: Annotated[Inline[int], At(0)]
    """generation << 32 | unclaimed."""
    run: Annotated[Inline[Run], At(8)]
    environment: Annotated[Inline[Memory], At(16)]
    end: Annotated[Inline[int], At(24)]
    """Where the blocks end."""


class Pool(Record):
    """The state, each on a cache line of its own where threads meet."""

    generation: Annotated[Shared, At(0)]
    """Of the last job."""
    mode: Annotated[Inline[int], At(64)]
    """Where it says how workers compute with floats, for `adopt`; 0 as they begin."""
    adopt: Annotated[Inline[Callable[[int], Int32]], At(72)]
    done: Annotated[Shared, At(128)]
    """Blocks that workers finished."""
    busy: Annotated[Shared, At(192)]
    """1 while a caller owns the pool."""
    asked: Annotated[Inline[int], At(200)]
    """When the last brief job found workers asleep."""
    crowded: Annotated[Inline[int], At(208)]
    """When one found a worker away; 0 if that is long ago."""
    sleepers: Annotated[Shared, At(256)]
    """Workers asleep, or about to be."""
    waiting: Annotated[Shared, At(260)]
    """1 while the caller sleeps until all is done."""
    threads: Annotated[Shared, At(320)]
    """Callers and workers together."""
    created: Annotated[Shared, At(324)]
    """Workers that exist."""
    parts: Annotated[Inline[int], At(384)]
    """The ranges."""


POOL = variable(Pool, "pool", 384 + LINE * RANGES)


# --- what programs and the runtime call ---------------------------------------------------------------------
@exported
def retrograd_parallel(run: Run, environment: Memory, blocks: int) -> None:
    share(run, environment, blocks, False)


@exported
def retrograd_parallel_brief(run: Run, environment: Memory, blocks: int) -> None:
    """The same of a few microseconds."""
    if not is_crowded() and (are_awake() or comes_again()):
        share(run, environment, blocks, True)
    else:
        run_alone(run, environment, blocks)


@native
def share(run: Run, environment: Memory, blocks: int, brief: bool) -> None:
    threads = atomic_load(POOL.threads, RELAXED)
    if threads < 2 or blocks < 2 or blocks > MOST_BLOCKS or not compare_exchange(POOL.busy, 0, 1):
        run_alone(run, environment, blocks)
        return
    hire(threads)
    keep_apart()
    publish(run, environment, blocks, min(min(threads, blocks), RANGES))
    mine = stack(Array[int])
    mine[0] = atomic_load(POOL.mode, RELAXED)
    run(environment, 0)
    wait_for(blocks - 1 - work(0, mine), brief)
    atomic_store(POOL.busy, 0, RELEASE)


@native
def run_alone(run: Run, environment: Memory, blocks: int) -> None:
    for block in range(blocks):
        run(environment, block)


@inlined
def is_crowded() -> bool:
    """Was a worker away a while ago?"""
    found = atomic_load(POOL.crowded, RELAXED)
    if found == 0:
        return False
    lately = now() - found < CROWDED_NS
    if not lately:
        atomic_store(POOL.crowded, 0, RELAXED)
    return lately


@inlined
def are_awake() -> bool:
    """Are all workers there, and is none asleep?"""
    there = atomic_load(POOL.created, RELAXED) + 1 >= atomic_load(POOL.threads, RELAXED)
    return there and atomic_load(POOL.sleepers, RELAXED) == 0


@native
def comes_again() -> bool:
    """Did another brief job come just before this one?"""
    time, before = now(), atomic_load(POOL.asked, RELAXED)
    atomic_store(POOL.asked, time, RELAXED)
    return time - before < THICK_NS


@exported
def retrograd_threads() -> int:
    """How many there are, the caller's included."""
    return atomic_load(POOL.threads, RELAXED)


@exported
def retrograd_pool_resize(threads: int) -> None:
    """Takes effect at the next parallel call; workers that are too many sleep until it changes again."""
    atomic_store(POOL.threads, threads, SEQUENTIAL)
    wake(POOL.threads, ALL)


@exported
def retrograd_pool_mode(adopt: Callable[[int], Int32], mode: int) -> None:
    """How workers compute with floats from the next job on: each calls `adopt(mode)` before it takes part."""
    atomic_store(POOL.adopt, adopt, RELAXED)
    atomic_store(POOL.mode, mode, RELEASE)


@exported
def retrograd_pool_reset() -> None:
    """Called once when loaded, and in the child of a fork, which has inherited the state but none of the
    workers."""
    start_sleeping()
    atomic_store(POOL.created, 0, RELAXED)
    atomic_store(POOL.sleepers, 0, RELAXED)
    atomic_store(POOL.waiting, 0, RELAXED)
    atomic_store(POOL.crowded, 0, RELAXED)
    for r in range(RANGES):
        atomic_store(range_of(r).word, 0, RELAXED)
    atomic_store(POOL.busy, 0, RELEASE)


# --- a job --------------------------------------------------------------------------------------------------
@inlined
def range_of(r: int) -> Range:
    return inside(Range, POOL.parts, LINE * r)


@native
def publish(run: Run, environment: Memory, blocks: int, ranges: int) -> None:
    """All blocks but the first one, which is the caller's. A worker that just falls asleep may miss them."""
    atomic_store(POOL.done, 0, RELAXED)
    generation, start = atomic_load(POOL.generation, RELAXED) + 1, 1
    for r in range(ranges):
        part, end = range_of(r), (r + 1) * blocks // ranges
        atomic_store(part.run, run, RELAXED)
        atomic_store(part.environment, environment, RELAXED)
        atomic_store(part.end, end, RELAXED)
        atomic_store(part.word, generation << 32 | (end - start), RELEASE)
        start = end
    atomic_store(POOL.generation, generation, RELEASE)
    if atomic_load(POOL.sleepers, RELAXED) != 0:
        wake(POOL.generation, ranges - 1)


@native
def work(own: int, mine: Array[int]) -> int:
    """Claims and runs blocks until none is unclaimed, those of the own range first; `mine` holds the mode
    that this thread is in. Of the caller, whose range is the first, how many it ran; a worker tells it."""
    ranges, finished = min(atomic_load(POOL.threads, RELAXED), RANGES), 0
    for tried in range(ranges):
        finished += work_on(range_of((own + tried) % ranges), mine)
        if own != 0 and finished != 0:
            atomic_add(POOL.done, finished)
            finished = 0
            if atomic_load(POOL.waiting, SEQUENTIAL) != 0:
                wake(POOL.done, 1)
    return finished


@inlined
def work_on(part: Range, mine: Array[int]) -> int:
    """The same of one range."""
    finished = 0
    while True:
        word = atomic_load(part.word, ACQUIRE)
        unclaimed = word & LOW_HALF
        if unclaimed == 0:
            return finished
        run, environment = atomic_load(part.run, RELAXED), atomic_load(part.environment, RELAXED)
        block = atomic_load(part.end, RELAXED) - unclaimed
        if not compare_exchange(part.word, word, word - 1):
            continue
        mode = atomic_load(POOL.mode, ACQUIRE)
        if mode != mine[0]:
            mine[0] = mode
            adopt = atomic_load(POOL.adopt, RELAXED)
            adopt(mode)
        run(environment, block)
        finished += 1


@native
def wait_for(blocks: int, brief: bool) -> None:
    """Until workers have done so many."""
    while True:
        done = atomic_load(POOL.done, ACQUIRE)
        if done == blocks:
            return
        if not changes(POOL.done, done):
            if brief:
                atomic_store(POOL.crowded, now(), RELAXED)
            atomic_store(POOL.waiting, 1, SEQUENTIAL)
            wait(POOL.done, done)
            atomic_store(POOL.waiting, 0, RELAXED)


# --- workers ------------------------------------------------------------------------------------------------
@native
def hire(threads: int) -> None:
    """Creates the workers still missing. Where the system refuses one, the pool stays that small."""
    there = atomic_load(POOL.created, RELAXED)
    if there >= threads - 1:
        return
    attributes, handle = stack(Array[Byte], 256, 16), stack(Array[int])
    pthread_attr_init(attributes)
    pthread_attr_setstacksize(attributes, STACK_BYTES)
    for index in range(there, threads - 1):
        if pthread_create(handle, attributes, worker, index) != 0:
            atomic_store(POOL.threads, index + 1, SEQUENTIAL)
            break
        pthread_detach(handle[0])
        hired(index, handle[0])
        atomic_store(POOL.created, index + 1, RELAXED)
    pthread_attr_destroy(attributes)


@native
def worker(index: int) -> int:
    rank = index + 1
    mine = stack(Array[int])
    mine[0] = 0
    while True:
        threads = atomic_load(POOL.threads, SEQUENTIAL)
        if rank >= threads:
            wait(POOL.threads, threads)
            continue
        generation = atomic_load(POOL.generation, SEQUENTIAL)
        work(rank, mine)
        if not changes(POOL.generation, generation):
            atomic_add(POOL.sleepers, 1)
            wait(POOL.generation, generation)
            atomic_add(POOL.sleepers, -1)


@native
def changes(at: Array[Unsigned32], seen: int) -> bool:
    """Watches a value until it is no longer what was seen (true), or for SPIN_NS (false)."""
    start = now()
    while True:
        for _ in range(32):
            if atomic_load(at, ACQUIRE) != seen:
                return True
            relax()
        if now() - start > SPIN_NS:
            return False


@native
def now() -> int:
    """Nanoseconds."""
    time = stack(Array[int], 2)
    clock_gettime(given("clock"), time)
    return time[0] * 1_000_000_000 + time[1]


# --- functions of C -----------------------------------------------------------------------------------------
@extern
def clock_gettime(clock: Int32, time: Array[int]) -> Int32: ...


@extern
def pthread_attr_init(attributes: Array[Byte]) -> Int32: ...


@extern
def pthread_attr_setstacksize(attributes: Array[Byte], size: int) -> Int32: ...


@extern
def pthread_attr_destroy(attributes: Array[Byte]) -> Int32: ...


@extern
def pthread_create(
    handle: Array[int], attributes: Array[Byte], run: Callable[[int], int], argument: int
) -> Int32: ...


@extern
def pthread_detach(handle: int) -> Int32: ...


# --- what systems do in ways of their own -------------------------------------------------------------------
@extern
def start_sleeping() -> None:
    """Before the first thread sleeps, in each process."""


@extern
def wait(at: Array[Unsigned32], seen: int) -> None:
    """Returns when woken, at once if the value is not what was seen, or for no reason."""


@extern
def wake(at: Array[Unsigned32], count: int) -> None:
    """So many of those that wait there, or more."""


@extern
def relax() -> None:
    """A moment between two looks at a value."""


@extern
def hired(index: int, handle: int) -> None:
    """There is a new worker."""


@extern
def keep_apart() -> None:
    """Sees to it that no worker waits for the processor that the caller is on."""
