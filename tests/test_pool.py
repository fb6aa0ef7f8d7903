"""The worker pool runs every block once, whatever the threads do. A new way to fail gets a test here."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrograd.compiler.backends.cpu import Target, assemble, assembly
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.native.lowering import text
from retrograd.runtime.native import cpu, threads
from retrograd.runtime.native.sleeping import parts_of_pool

COUNT = """
declare void @retrograd_parallel(ptr, ptr, i64)

define internal void @add_one(ptr %counts, i64 %block) nounwind {
  %at = getelementptr i64, ptr %counts, i64 %block
  %before = load i64, ptr %at
  %after = add i64 %before, 1
  store i64 %after, ptr %at
  ret void
}

define internal void @add_row(ptr %counts, i64 %block) nounwind {
  %skip = mul i64 %block, 8
  %row = getelementptr i64, ptr %counts, i64 %skip
  call void @retrograd_parallel(ptr @add_one, ptr %row, i64 8)
  ret void
}

; args: counts, blocks, repetitions
define void @repeat(ptr %args) nounwind {
entry:
  %counts = load ptr, ptr %args
  %blocks_at = getelementptr ptr, ptr %args, i64 1
  %blocks_in = load ptr, ptr %blocks_at
  %blocks = load i64, ptr %blocks_in
  %times_at = getelementptr ptr, ptr %args, i64 2
  %times_in = load ptr, ptr %times_at
  %times = load i64, ptr %times_in
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %j, %next ]
  call void @retrograd_parallel(ptr @add_one, ptr %counts, i64 %blocks)
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %times
  br i1 %more, label %next, label %end
end:
  ret void
}

define void @nested(ptr %args) nounwind {
  %counts = load ptr, ptr %args
  call void @retrograd_parallel(ptr @add_row, ptr %counts, i64 16)
  ret void
}
"""

Repeat = Callable[[int, int], NDArray[np.int64]]


BRIEF = COUNT.replace("@retrograd_parallel(", "@retrograd_parallel_brief(")


@pytest.fixture(params=[COUNT, BRIEF], ids=["", "brief"])
def library(request: pytest.FixtureRequest) -> Iterator[cpu.Library]:
    before = cpu.get_num_threads()
    yield cpu.load(assemble(request.param, Target.host()))
    cpu.set_num_threads(before)


@pytest.fixture
def repeat(library: cpu.Library) -> Repeat:
    """`repeat(blocks, times)`: how often each block ran."""

    def run(blocks: int, times: int) -> NDArray[np.int64]:
        counts, sizes = np.zeros(max(blocks, 1), np.int64), np.array([blocks, times])
        cpu.call(
            library.address("repeat"),
            [counts.ctypes.data, sizes.ctypes.data, sizes.ctypes.data + sizes.itemsize],
        )
        return counts[:blocks]

    return run


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 64, 1000])
def test_every_block_runs_once_per_call(repeat: Repeat, count: int, blocks: int) -> None:
    cpu.set_num_threads(count)
    assert (repeat(blocks, 300) == 300).all()


def test_a_sleeping_pool_wakes(repeat: Repeat) -> None:
    cpu.set_num_threads(2)
    for _ in range(20):
        assert (repeat(4, 1) == 1).all()
        threading.Event().wait(0.002)


def test_the_number_of_threads_may_change_between_calls(repeat: Repeat) -> None:
    for count in (4, 1, 2, 6, 3, 2, 5) * 3:
        cpu.set_num_threads(count)
        assert cpu.get_num_threads() == count
        assert (repeat(8, 50) == 50).all()


def in_a_new_process(count: int, times: int, then: str, first: str = "", text: str = "COUNT") -> str:
    """What a program prints that calls so often with so many threads, and then looks at `workers`, by their
    numbers for the system."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from test_pool import BRIEF, COUNT
from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.runtime.native import cpu
{first}
cpu.set_num_threads({count})
library = cpu.load(assemble({text}, Target.host()))
address, before = library.address("repeat"), set(os.listdir("/proc/self/task"))
counts, sizes = np.zeros(8, np.int64), np.array([8, {times}])
cpu.call(address, [counts.ctypes.data, sizes.ctypes.data, sizes.ctypes.data + 8])
workers = [int(name) for name in set(os.listdir("/proc/self/task")) - before]
{then}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="threads are looked at in /proc")


@on_linux
def test_threads_start_at_the_first_parallel_call_and_are_as_many_as_asked() -> None:
    assert in_a_new_process(4, 10, "print(len(workers))") == "3\n"


@on_linux
@pytest.mark.parametrize(("times", "workers"), [(1, 0), (1000, 2)])
def test_brief_jobs_get_workers_only_where_they_come_thick(times: int, workers: int) -> None:
    assert in_a_new_process(3, times, "print(len(workers))", text="BRIEF") == f"{workers}\n"


@on_linux
@pytest.mark.skipif(os.cpu_count() == 1, reason="there is one processor")
def test_workers_keep_off_the_processor_of_their_caller() -> None:
    then = "own = os.sched_getaffinity(0); print([len(own - os.sched_getaffinity(w)) for w in workers])"
    assert in_a_new_process(3, 1000, then) == "[1, 1]\n"


@on_linux
def test_workers_share_the_one_processor_that_is_allowed() -> None:
    one = min(os.sched_getaffinity(0))
    then = "print([os.sched_getaffinity(w) for w in workers])"
    assert in_a_new_process(2, 1000, then, first=f"os.sched_setaffinity(0, [{one}])") == f"[{{{one}}}]\n"


def test_nested_calls_run_serially_inside_their_block(library: cpu.Library) -> None:
    cpu.set_num_threads(3)
    counts = np.zeros(128, np.int64)
    for _ in range(200):
        cpu.call(library.address("nested"), [counts.ctypes.data])
    assert (counts == 200).all()


def test_concurrent_callers_do_not_disturb_each_other(repeat: Repeat) -> None:
    cpu.set_num_threads(3)
    results: list[NDArray[np.int64]] = []
    callers = [threading.Thread(target=lambda: results.append(repeat(16, 3000))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    assert all((counts == 3000).all() for counts in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(repeat: Repeat) -> None:
    cpu.set_num_threads(3)
    assert (repeat(8, 100) == 100).all()
    child = os.fork()
    if child == 0:
        os._exit(0 if (repeat(8, 1000) == 1000).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (repeat(8, 100) == 100).all()


def test_the_portable_way_to_sleep_works_too() -> None:
    other = cpu.make_pool("condition")
    ctypes.CFUNCTYPE(None, ctypes.c_int32)(other.address("retrograd_pool_resize"))(3)
    counts = np.zeros(8, np.int64)

    def add_one(env: int, index: int) -> None:
        counts[index] += 1

    block = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(add_one)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    parallel = signature(other.address("retrograd_parallel"))
    for turn in range(50):
        parallel(ctypes.cast(block, ctypes.c_void_p), None, 8)
        assert (counts == turn + 1).all()
        threading.Event().wait(0.001)


def test_brief_jobs_are_not_shared_after_a_worker_was_away() -> None:
    other, caller, ran = cpu.make_pool(), threading.get_ident(), list[int]()
    ctypes.CFUNCTYPE(None, ctypes.c_int32)(other.address("retrograd_pool_resize"))(2)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    helped = threading.Event()

    def run(env: int, index: int) -> None:
        ran.append(threading.get_ident())
        if ran[-1] == caller:
            helped.wait(1.0)
        else:
            helped.set()
            time.sleep(0.005)

    block = ctypes.cast(ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(run), ctypes.c_void_p)
    waking, brief = (signature(other.address(f"retrograd_parallel{name}")) for name in ("", "_brief"))
    end, shared, soon = time.monotonic() + 60, False, False
    while not (shared and soon) and time.monotonic() < end:  # until the worker is awake, without a break
        time.sleep(0.011)  # it may have been away before
        waking(block, None, 2)
        ran.clear()
        brief(block, None, 2)
        over, shared = time.monotonic(), bool(set(ran) - {caller})
        ran.clear()
        brief(block, None, 8)
        soon = time.monotonic() - over < 0.005
    assert shared
    assert ran == [caller] * 8


@pytest.mark.parametrize(
    ("triple", "features"),
    [
        ("x86_64-unknown-linux-gnu", "+sse2,+avx"),
        ("aarch64-unknown-linux-gnu", "+neon"),
        ("x86_64-apple-darwin23.0.0", "+sse2,+avx"),
        ("arm64-apple-darwin23.0.0", "+neon"),
    ],
)
def test_every_system_in_the_table_gets_valid_code(triple: str, features: str) -> None:
    code = assembly(text(*parts_of_pool(triple)), Target.of(triple, "", features))
    assert ("syscall" in code) == ("linux" in triple)
    assert ("pause" if "x86" in triple else "yield") in code


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "2", None])
def test_a_number_of_threads_is_a_positive_whole_number(wrong: object) -> None:
    with pytest.raises(ArgumentError, match="whole number from 1 on"):
        cpu.set_num_threads(wrong)  # type: ignore[arg-type]


def test_the_environment_decides_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETROGRAD_NUM_THREADS", "5")
    assert threads.default_threads() == 5
    monkeypatch.setenv("RETROGRAD_NUM_THREADS", "many")
    with pytest.raises(ArgumentError, match=r"RETROGRAD_NUM_THREADS='many'.*positive whole number"):
        threads.default_threads()


def test_without_a_wish_the_affinity_bounds_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETROGRAD_NUM_THREADS", raising=False)
    assert 1 <= threads.default_threads() <= (os.cpu_count() or 1)


def test_hyperthreads_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "_siblings", lambda cpu: f"{cpu % 2},{cpu % 2 + 2}")
    assert threads._physical_cores() == 2


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 2.0),
        ("3:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"}, 0.5),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("2:memory:/a\n", {}, math.inf),
    ],
)
def test_control_groups_bound_the_default(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "membership").write_text(membership)
    assert threads._cgroup_quota(str(tmp_path / "membership"), str(tmp_path)) == quota


def test_no_control_groups_no_bound(tmp_path: Path) -> None:
    assert threads._cgroup_quota(str(tmp_path / "absent"), str(tmp_path)) == math.inf
