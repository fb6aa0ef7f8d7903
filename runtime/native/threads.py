"""How many threads this process may keep busy: what the user says, else what the system allows.

Asked once, at the first parallel program, by `cpu.py`. Another limit to respect is another
argument of the `min` in `default_threads`.
"""

from __future__ import annotations

import math
import os

from retrograd.compiler.errors import ArgumentError


def default_threads() -> int:
    """Threads to use: RETROGRAD_NUM_THREADS, else the cores that this process is allowed to keep busy."""
    wish = os.environ.get("RETROGRAD_NUM_THREADS", "").strip()
    if wish:
        if not wish.isdecimal() or int(wish) == 0:
            raise ArgumentError(
                f"RETROGRAD_NUM_THREADS={wish!r}", "it must be a positive whole number", "set it to 4, say"
            )
        return int(wish)
    return max(1, math.ceil(min(_physical_cores(), _cgroup_quota("/proc/self/cgroup"))))


def _physical_cores() -> int:
    """Cores in this process's affinity; two hyperthreads of a core share its vector units and count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    try:
        return _read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    except OSError:
        return str(cpu)


def _cgroup_quota(membership: str, root: str = "/sys/fs/cgroup") -> float:
    """The tightest processor quota, in cores, of the process's control groups; infinity without any."""
    try:
        groups = [line.split(":", 2) for line in _read(membership).splitlines()]
    except OSError:
        return math.inf
    quotas = [math.inf]
    for _, controllers, path in groups:
        if controllers == "":
            folder, read = root, _quota_v2
        elif "cpu" in controllers.split(","):
            folder, read = f"{root}/cpu", _quota_v1
        else:
            continue
        steps = path.strip("/").split("/")
        quotas += [read("/".join([folder, *steps[:depth]])) for depth in range(len(steps) + 1)]
    return min(quotas)


def _quota_v2(group: str) -> float:
    try:
        quota, period = _read(f"{group}/cpu.max").split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_v1(group: str) -> float:
    try:
        quota, period = (int(_read(f"{group}/cpu.cfs_{name}_us")) for name in ("quota", "period"))
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 else math.inf


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
