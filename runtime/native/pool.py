"""The worker pool, as LLVM text.

Kernels call `retrograd_parallel(fn, env, blocks)`; `cpu.py` loads this text when the first
program that does so is loaded. It is native code so that a parallel loop costs 0.2 µs rather than a trip
through Python.

How it works. One 64-bit word holds the generation (high half) and the blocks still unclaimed (low half).
A caller writes the job, then publishes a new generation with all blocks unclaimed; caller and workers
claim blocks by compare-and-swap. A claim succeeds only if neither half changed since the claimer read the
job, so a late worker can never run a block of the wrong job, and nobody waits for workers that are still
asleep. The caller returns when all blocks are done. Idle workers spin for `SPIN_NS`, then sleep on the
generation. A caller that finds the pool busy, because it is nested in a block or another thread was
first, runs its blocks itself.

To support a system, add a row to `_SYSTEMS`; a way to sleep is a pair of functions in `_SLEEP`.
"""

from __future__ import annotations

from string import Template

from retrograd.compiler.record import record

SPIN_NS = 30_000
"""How long an idle thread spins before it sleeps; a hot pool answers 100 times sooner than a sleeping one."""

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
        clock=system.monotonic_clock,
        futex=system.futex_call,
    )


def _system(triple: str) -> _System:
    architecture = triple.partition("-")[0]
    name = next((name for name in ("linux", "darwin") if name in triple), triple)
    return _SYSTEMS[architecture, name]


_POOL = """
; --- state, each on a cache line of its own where threads meet -------------------------------------------
@word = internal global i64 0, align 64                       ; generation << 32 | blocks unclaimed
@job = internal global { ptr, ptr, i64 } zeroinitializer, align 64    ; function, environment, blocks
@done = internal global i32 0, align 64                       ; blocks finished
@busy = internal global i32 0, align 64                       ; 1 while a caller owns the pool
@sleepers = internal global i32 0, align 64                   ; workers asleep, or about to be
@waiting = internal global i32 0                              ; 1 while the caller sleeps until all is done
@threads = internal global i32 1, align 64                    ; callers and workers together
@created = internal global i32 0                              ; workers that exist

$declare_pause
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
  %env_at = getelementptr { ptr, ptr, i64 }, ptr @job, i64 0, i32 1
  %blocks_at = getelementptr { ptr, ptr, i64 }, ptr @job, i64 0, i32 2
  store atomic ptr %fn, ptr @job monotonic, align 8
  store atomic ptr %env, ptr %env_at monotonic, align 8
  store atomic i64 %blocks, ptr %blocks_at monotonic, align 8
  store atomic i32 0, ptr @done monotonic, align 4
  %before = load atomic i64, ptr @word monotonic, align 8
  %generation = and i64 %before, -4294967296
  %next = add i64 %generation, 4294967296
  %published = or i64 %next, %blocks
  store atomic i64 %published, ptr @word seq_cst, align 8
  %sleepers = load atomic i32, ptr @sleepers seq_cst, align 4
  %awake = icmp eq i32 %sleepers, 0
  br i1 %awake, label %work, label %rouse
rouse:
  %count = trunc i64 %blocks to i32
  %others = sub i32 %count, 1
  call void @wake(ptr getelementptr (i8, ptr @word, i64 4), i32 %others)
  br label %work
work:
  call void @work()
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
  call void @sleep_init()
  store atomic i32 0, ptr @created monotonic, align 4
  store atomic i32 0, ptr @sleepers monotonic, align 4
  store atomic i32 0, ptr @waiting monotonic, align 4
  %word = load atomic i64, ptr @word monotonic, align 8
  %generation = and i64 %word, -4294967296
  store atomic i64 %generation, ptr @word monotonic, align 8
  store atomic i32 0, ptr @busy release, align 4
  ret void
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
  br i1 %needed, label %read, label %park
park:
  call void @wait(ptr @threads, i32 %threads)
  br label %turn
read:
  %word = load atomic i64, ptr @word seq_cst, align 8
  %unclaimed = trunc i64 %word to i32
  %idle = icmp eq i32 %unclaimed, 0
  br i1 %idle, label %rest, label %work
work:
  call void @work()
  br label %turn
rest:
  %shifted = lshr i64 %word, 32
  %generation = trunc i64 %shifted to i32
  %changed = call i1 @spin(ptr getelementptr (i8, ptr @word, i64 4), i32 %generation)
  br i1 %changed, label %turn, label %sleep
sleep:
  atomicrmw add ptr @sleepers, i32 1 seq_cst
  call void @wait(ptr getelementptr (i8, ptr @word, i64 4), i32 %generation)
  atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %turn
}

; Claims and runs blocks until none is unclaimed.
define internal void @work() nounwind {
entry:
  br label %claim
claim:
  %word = load atomic i64, ptr @word acquire, align 8
  %unclaimed = and i64 %word, 4294967295
  %none = icmp eq i64 %unclaimed, 0
  br i1 %none, label %end, label %take
take:
  %env_at = getelementptr { ptr, ptr, i64 }, ptr @job, i64 0, i32 1
  %blocks_at = getelementptr { ptr, ptr, i64 }, ptr @job, i64 0, i32 2
  %fn = load atomic ptr, ptr @job monotonic, align 8
  %env = load atomic ptr, ptr %env_at monotonic, align 8
  %blocks = load atomic i64, ptr %blocks_at monotonic, align 8
  %less = sub i64 %word, 1
  %swap = cmpxchg ptr @word, i64 %word, i64 %less acq_rel monotonic
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %run, label %claim
run:
  %block = sub i64 %blocks, %unclaimed
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

; --- sleeping: wait(at, seen) returns when woken, at once if the value is not `seen`, or for no reason -----
"""

_SLEEP = {
    "futex": """
declare i64 @syscall(i64, ...)

define internal void @sleep_init() nounwind {
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
