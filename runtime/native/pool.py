"""The worker pool, as LLVM text.

Kernels call `retrograd_parallel(fn, env, blocks)`; `cpu.py` loads this text when the first
program that does so is loaded. It is native code so that a parallel loop costs 0.2 µs rather than a trip
through Python.

How it works. The blocks are cut into as many ranges as there are threads. Each thread begins with its own
range, so that the same thread meets the same data when a job is repeated and its cache still holds them,
then helps with the others. One 64-bit word of each range holds the generation (high half) and the blocks
still unclaimed (low half). A caller writes the job, publishes the ranges of a new generation with all blocks
unclaimed, then the generation; caller and workers claim blocks by compare-and-swap. A claim succeeds only if
neither half changed since the claimer read the job, so a late worker can never run a block of the wrong job,
and nobody waits for workers that are still asleep. The caller returns when all blocks are done. Idle workers
spin for `SPIN_NS`, then sleep on the generation. A caller that finds the pool busy, because it is nested in
a block or another thread was first, runs its blocks itself. Where the system lets threads choose, workers
keep off their caller's processor.

To support a system, add a row to `_SYSTEMS`; a way to sleep is a pair of functions in `_SLEEP`.
"""

from __future__ import annotations

from string import Template

from retrograd.compiler.record import record

SPIN_NS = 100_000
"""How long an idle thread spins before it sleeps; a hot pool answers 100 times sooner than a sleeping one. So
long that threads stay awake through what one of them does alone between the parallel loops of a step."""

RANGES = 64
"""Ranges that the blocks of a job are cut into at most."""

MASK_BYTES = 1024
"""Of a set of processors, of which so many times 8 are known."""

STACK_BYTES = 8 << 20
"""Stack of a worker; some systems give new threads too little for a kernel's tiles."""


@record(slots=True)
class _System:
    sleep: str
    """Key of `_SLEEP`."""
    monotonic_clock: int
    """CLOCK_MONOTONIC."""
    futex_call: int = 0
    """Number of the futex system call."""


_SYSTEMS = {
    ("x86_64", "linux"): _System("futex", 1, 202),
    ("aarch64", "linux"): _System("futex", 1, 98),
    ("x86_64", "darwin"): _System("condition", 6),
    ("arm64", "darwin"): _System("condition", 6),
}

_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
    "arm64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}


def pool_text(triple: str, sleep: str | None = None) -> str:
    """The pool's module. Its threads sleep as their system does it best, or as said: `futex`, `condition`."""
    system = _system(triple)
    declaration, pause = _PAUSE[triple.partition("-")[0]]
    return Template(_POOL + _SLEEP[sleep or system.sleep]).substitute(
        declare_pause=declaration,
        pause=pause,
        spin_ns=SPIN_NS,
        stack=STACK_BYTES,
        ranges=RANGES,
        mask_bytes=MASK_BYTES,
        clock=system.monotonic_clock,
        futex=system.futex_call,
    )


def _system(triple: str) -> _System:
    architecture = triple.partition("-")[0]
    name = next((name for name in ("linux", "darwin") if name in triple), triple)
    return _SYSTEMS[architecture, name]


_POOL = """
; --- state, each on a cache line of its own where threads meet -------------------------------------------
@words = internal global [$ranges x [8 x i64]] zeroinitializer, align 64    ; generation << 32 | unclaimed
@generation = internal global i32 0, align 64                 ; of the last job
@job = internal global { ptr, ptr, i64, i64 } zeroinitializer, align 64 ; function, argument, blocks, ranges
@done = internal global i32 0, align 64                       ; blocks finished
@busy = internal global i32 0, align 64                       ; 1 while a caller owns the pool
@sleepers = internal global i32 0, align 64                   ; workers asleep, or about to be
@waiting = internal global i32 0                              ; 1 while the caller sleeps until all is done
@threads = internal global i32 1, align 64                    ; callers and workers together
@created = internal global i32 0                              ; workers that exist
@handles = internal global [$ranges x ptr] zeroinitializer    ; of the first ones

$declare_pause
declare i32 @llvm.umin.i32(i32, i32)
declare i64 @llvm.umin.i64(i64, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)

; --- what programs and the runtime call ------------------------------------------------------------------
define void @retrograd_parallel(ptr %fn, ptr %env, i64 %blocks) nounwind {
entry:
  %threads = load atomic i32, ptr @threads monotonic, align 4
  %alone = icmp ult i32 %threads, 2
  %single = icmp slt i64 %blocks, 2
  %countless = icmp sgt i64 %blocks, 2147483647
  %either = or i1 %alone, %single
  %serially = or i1 %either, %countless
  br i1 %serially, label %serial, label %claim_pool
claim_pool:
  %claim = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %claim, 1
  br i1 %mine, label %publish, label %serial
publish:
  call void @hire(i32 %threads)
  call void @keep_apart()
  %env_at = getelementptr { ptr, ptr, i64, i64 }, ptr @job, i64 0, i32 1
  %blocks_at = getelementptr { ptr, ptr, i64, i64 }, ptr @job, i64 0, i32 2
  %ranges_at = getelementptr { ptr, ptr, i64, i64 }, ptr @job, i64 0, i32 3
  %hands = zext i32 %threads to i64
  %few = call i64 @llvm.umin.i64(i64 %hands, i64 %blocks)
  %ranges = call i64 @llvm.umin.i64(i64 %few, i64 $ranges)
  store atomic ptr %fn, ptr @job monotonic, align 8
  store atomic ptr %env, ptr %env_at monotonic, align 8
  store atomic i64 %blocks, ptr %blocks_at monotonic, align 8
  store atomic i64 %ranges, ptr %ranges_at monotonic, align 8
  store atomic i32 0, ptr @done monotonic, align 4
  %before = load atomic i32, ptr @generation monotonic, align 4
  %generation = add i32 %before, 1
  %wide = zext i32 %generation to i64
  %high = shl i64 %wide, 32
  br label %range
range:
  %r = phi i64 [ 0, %publish ], [ %r_next, %range ]
  %r_next = add i64 %r, 1
  %first = call i64 @first(i64 %r, i64 %blocks, i64 %ranges)
  %last = call i64 @first(i64 %r_next, i64 %blocks, i64 %ranges)
  %count = sub i64 %last, %first
  %published = or i64 %high, %count
  %word_at = getelementptr [8 x i64], ptr @words, i64 %r
  store atomic i64 %published, ptr %word_at release, align 8
  %other = icmp ult i64 %r_next, %ranges
  br i1 %other, label %range, label %announce
announce:
  store atomic i32 %generation, ptr @generation seq_cst, align 4
  %sleepers = load atomic i32, ptr @sleepers seq_cst, align 4
  %awake = icmp eq i32 %sleepers, 0
  br i1 %awake, label %work, label %rouse
rouse:
  %some = trunc i64 %ranges to i32
  %others = sub i32 %some, 1
  call void @wake(ptr @generation, i32 %others)
  br label %work
work:
  call void @work(i64 0)
  %total = trunc i64 %blocks to i32
  br label %check
check:
  %done = load atomic i32, ptr @done acquire, align 4
  %finished = icmp eq i32 %done, %total
  br i1 %finished, label %release, label %watch
watch:
  %changed = call i1 @spin(ptr @done, i32 %done)
  br i1 %changed, label %check, label %doze
doze:
  store atomic i32 1, ptr @waiting seq_cst, align 4
  call void @wait(ptr @done, i32 %done)
  store atomic i32 0, ptr @waiting monotonic, align 4
  br label %check
release:
  store atomic i32 0, ptr @busy release, align 4
  ret void
serial:
  %any = icmp sgt i64 %blocks, 0
  br i1 %any, label %block, label %end
block:
  %b = phi i64 [ 0, %serial ], [ %b_next, %block ]
  call void %fn(ptr %env, i64 %b)
  %b_next = add i64 %b, 1
  %more = icmp slt i64 %b_next, %blocks
  br i1 %more, label %block, label %end
end:
  ret void
}

; Takes effect at the next parallel call; workers that are too many sleep until the number changes again.
define void @retrograd_pool_resize(i32 %threads) nounwind {
  store atomic i32 %threads, ptr @threads seq_cst, align 4
  call void @wake(ptr @threads, i32 2147483647)
  ret void
}

define i32 @retrograd_pool_size() nounwind {
  %threads = load atomic i32, ptr @threads monotonic, align 4
  ret i32 %threads
}

; Called once when loaded, and in the child of a fork, which has inherited the state but none of the workers.
define void @retrograd_pool_reset() nounwind {
entry:
  call void @sleep_init()
  store atomic i32 0, ptr @created monotonic, align 4
  store atomic i32 0, ptr @sleepers monotonic, align 4
  store atomic i32 0, ptr @waiting monotonic, align 4
  br label %range
range:
  %r = phi i64 [ 0, %entry ], [ %r_next, %range ]
  %word_at = getelementptr [8 x i64], ptr @words, i64 %r
  store atomic i64 0, ptr %word_at monotonic, align 8
  %r_next = add i64 %r, 1
  %other = icmp ult i64 %r_next, $ranges
  br i1 %other, label %range, label %free
free:
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

; The first block of range number r.
define internal i64 @first(i64 %r, i64 %blocks, i64 %ranges) nounwind alwaysinline {
  %scaled = mul i64 %r, %blocks
  %first = udiv i64 %scaled, %ranges
  ret i64 %first
}

; --- workers ---------------------------------------------------------------------------------------------
; Creates the workers still missing. Where the system refuses one, the pool stays that small.
define internal void @hire(i32 %threads) nounwind {
entry:
  %attributes = alloca [256 x i8], align 16
  %thread = alloca ptr
  %wanted = sub i32 %threads, 1
  %there = load atomic i32, ptr @created monotonic, align 4
  %enough = icmp sge i32 %there, %wanted
  br i1 %enough, label %end, label %begin
begin:
  call i32 @pthread_attr_init(ptr %attributes)
  call i32 @pthread_attr_setstacksize(ptr %attributes, i64 $stack)
  br label %next
next:
  %index = phi i32 [ %there, %begin ], [ %following, %created ]
  %wide = zext i32 %index to i64
  %argument = inttoptr i64 %wide to ptr
  %refused = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @worker, ptr %argument)
  %following = add i32 %index, 1
  %ok = icmp eq i32 %refused, 0
  br i1 %ok, label %created, label %shrink
created:
  %handle = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %handle)
  call void @hired(i32 %index, ptr %handle)
  store atomic i32 %following, ptr @created monotonic, align 4
  %done = icmp eq i32 %following, %wanted
  br i1 %done, label %finish, label %next
shrink:
  store atomic i32 %following, ptr @threads seq_cst, align 4
  br label %finish
finish:
  call i32 @pthread_attr_destroy(ptr %attributes)
  br label %end
end:
  ret void
}

define internal ptr @worker(ptr %argument) nounwind {
entry:
  %index = ptrtoint ptr %argument to i32
  %rank = add i32 %index, 1
  br label %turn
turn:
  %threads = load atomic i32, ptr @threads seq_cst, align 4
  %needed = icmp ult i32 %rank, %threads
  br i1 %needed, label %work, label %park
park:
  call void @wait(ptr @threads, i32 %threads)
  br label %turn
work:
  %generation = load atomic i32, ptr @generation seq_cst, align 4
  %own = zext i32 %rank to i64
  call void @work(i64 %own)
  %changed = call i1 @spin(ptr @generation, i32 %generation)
  br i1 %changed, label %turn, label %sleep
sleep:
  atomicrmw add ptr @sleepers, i32 1 seq_cst
  call void @wait(ptr @generation, i32 %generation)
  atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %turn
}

; Claims and runs blocks until none is unclaimed, those of the own range first.
define internal void @work(i64 %own) nounwind {
entry:
  %env_at = getelementptr { ptr, ptr, i64, i64 }, ptr @job, i64 0, i32 1
  %blocks_at = getelementptr { ptr, ptr, i64, i64 }, ptr @job, i64 0, i32 2
  %ranges_at = getelementptr { ptr, ptr, i64, i64 }, ptr @job, i64 0, i32 3
  br label %choose
choose:
  %tried = phi i64 [ 0, %entry ], [ %tried_next, %exhausted ]
  %all = load atomic i64, ptr %ranges_at monotonic, align 8
  %left = icmp ult i64 %tried, %all
  br i1 %left, label %range, label %end
range:
  %sum = add i64 %own, %tried
  %r = urem i64 %sum, %all
  %word_at = getelementptr [8 x i64], ptr @words, i64 %r
  br label %claim
claim:
  %word = load atomic i64, ptr %word_at acquire, align 8
  %unclaimed = and i64 %word, 4294967295
  %none = icmp eq i64 %unclaimed, 0
  br i1 %none, label %exhausted, label %take
exhausted:
  %tried_next = add i64 %tried, 1
  br label %choose
take:
  %fn = load atomic ptr, ptr @job monotonic, align 8
  %env = load atomic ptr, ptr %env_at monotonic, align 8
  %blocks = load atomic i64, ptr %blocks_at monotonic, align 8
  %ranges = load atomic i64, ptr %ranges_at monotonic, align 8
  %less = sub i64 %word, 1
  %swap = cmpxchg ptr %word_at, i64 %word, i64 %less acq_rel monotonic
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %run, label %claim
run:
  %r_next = add i64 %r, 1
  %stop = call i64 @first(i64 %r_next, i64 %blocks, i64 %ranges)
  %block = sub i64 %stop, %unclaimed
  call void %fn(ptr %env, i64 %block)
  %earlier = atomicrmw add ptr @done, i32 1 seq_cst
  %done = add i32 %earlier, 1
  %total = trunc i64 %blocks to i32
  %last = icmp eq i32 %done, %total
  br i1 %last, label %tell, label %claim
tell:
  %waiting = load atomic i32, ptr @waiting seq_cst, align 4
  %asleep = icmp ne i32 %waiting, 0
  br i1 %asleep, label %rouse, label %claim
rouse:
  call void @wake(ptr @done, i32 1)
  br label %claim
end:
  ret void
}

; --- waiting ---------------------------------------------------------------------------------------------
; Watches a value until it is no longer `seen` (true), or for SPIN_NS (false).
define internal i1 @spin(ptr %at, i32 %seen) nounwind {
entry:
  %start = call i64 @now()
  br label %round
round:
  %i = phi i32 [ 0, %entry ], [ 0, %clock ], [ %i_next, %again ]
  %value = load atomic i32, ptr %at acquire, align 4
  %same = icmp eq i32 %value, %seen
  br i1 %same, label %pause, label %changed
pause:
  $pause
  %i_next = add i32 %i, 1
  %tick = icmp eq i32 %i_next, 32
  br i1 %tick, label %clock, label %again
again:
  br label %round
clock:
  %time = call i64 @now()
  %spent = sub i64 %time, %start
  %over = icmp ugt i64 %spent, $spin_ns
  br i1 %over, label %unchanged, label %round
changed:
  ret i1 true
unchanged:
  ret i1 false
}

define internal i64 @now() nounwind {
  %time = alloca { i64, i64 }
  call i32 @clock_gettime(i32 $clock, ptr %time)
  %seconds = load i64, ptr %time
  %fraction_at = getelementptr i64, ptr %time, i64 1
  %fraction = load i64, ptr %fraction_at
  %whole = mul i64 %seconds, 1000000000
  %nanoseconds = add i64 %whole, %fraction
  ret i64 %nanoseconds
}

; --- what systems do in ways of their own ------------------------------------------------------------------
; wait(at, seen) returns when woken, at once if the value is not `seen`, or for no reason.
; keep_apart() sees to it that no worker waits for the processor that the caller is on.
"""

_SLEEP = {
    "futex": """
declare i64 @syscall(i64, ...)
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @pthread_setaffinity_np(ptr, i64, ptr)
@seen_on = internal global i32 -1                             ; the processor of the last call
@avoided = internal global i32 -1                             ; the processor that no worker uses

define internal void @sleep_init() nounwind {
  store i32 -1, ptr @avoided
  ret void
}

define internal void @hired(i32 %index, ptr %handle) nounwind {
entry:
  %known = icmp ult i32 %index, $ranges
  br i1 %known, label %keep, label %end
keep:
  %at = getelementptr ptr, ptr @handles, i32 %index
  store ptr %handle, ptr %at
  store i32 -1, ptr @avoided
  br label %end
end:
  ret void
}

; A system may wake a worker where its caller runs, and again each time, as it has little to do there. So the
; workers may use all processors but that of the caller, once two calls have come from it.
define internal void @keep_apart() nounwind {
entry:
  %here = call i32 @sched_getcpu()
  %before = load i32, ptr @seen_on
  %avoided = load i32, ptr @avoided
  store i32 %here, ptr @seen_on
  %stays = icmp eq i32 %here, %before
  %new = icmp ne i32 %here, %avoided
  %moves = and i1 %stays, %new
  br i1 %moves, label %ask, label %end
ask:
  %mask = alloca [$mask_bytes x i8], align 8
  store i32 %here, ptr @avoided
  %got = call i32 @sched_getaffinity(i32 0, i64 $mask_bytes, ptr %mask)
  %answered = icmp eq i32 %got, 0
  %byte = lshr i32 %here, 3
  %inside = icmp ult i32 %byte, $mask_bytes
  %known = and i1 %answered, %inside
  br i1 %known, label %clear, label %end
clear:
  %byte_at = getelementptr i8, ptr %mask, i32 %byte
  %old = load i8, ptr %byte_at
  %bit = and i32 %here, 7
  %one = shl i32 1, %bit
  %narrow = trunc i32 %one to i8
  %others = xor i8 %narrow, -1
  %left = and i8 %old, %others
  store i8 %left, ptr %byte_at
  %there = load atomic i32, ptr @created monotonic, align 4
  %known_workers = call i32 @llvm.umin.i32(i32 %there, i32 $ranges)
  br label %next
next:
  %i = phi i32 [ 0, %clear ], [ %i_next, %worker ]
  %more = icmp ult i32 %i, %known_workers
  br i1 %more, label %worker, label %end
worker:                                                ; refused where no other processor is allowed
  %at = getelementptr ptr, ptr @handles, i32 %i
  %handle = load ptr, ptr %at
  call i32 @pthread_setaffinity_np(ptr %handle, i64 $mask_bytes, ptr %mask)
  %i_next = add i32 %i, 1
  br label %next
end:
  ret void
}

define internal void @wait(ptr %at, i32 %seen) nounwind {                 ; FUTEX_WAIT_PRIVATE
  call i64 (i64, ...) @syscall(i64 $futex, ptr %at, i32 128, i32 %seen, ptr null)
  ret void
}

define internal void @wake(ptr %at, i32 %count) nounwind {                ; FUTEX_WAKE_PRIVATE
  call i64 (i64, ...) @syscall(i64 $futex, ptr %at, i32 129, i32 %count)
  ret void
}
""",
    "condition": """
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)

define internal void @sleep_init() nounwind {
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @condition, ptr null)
  ret void
}

define internal void @hired(i32 %index, ptr %handle) nounwind {
  ret void
}

define internal void @keep_apart() nounwind {
  ret void
}

define internal void @wait(ptr %at, i32 %seen) nounwind {
  call i32 @pthread_mutex_lock(ptr @mutex)
  %value = load atomic i32, ptr %at seq_cst, align 4
  %same = icmp eq i32 %value, %seen
  br i1 %same, label %sleep, label %end
sleep:
  call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %end
end:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}

define internal void @wake(ptr %at, i32 %count) nounwind {
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @condition)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
""",
}
