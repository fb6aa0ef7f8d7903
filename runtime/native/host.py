"""The machine that runs this process, as a `Target`, without asking LLVM again each time.

LLVM's library takes longer to be loaded than a small program takes to run. What it said of this processor is
kept in the cache, under what the system says of it: a process that finds all its code there never loads LLVM.
"""

from __future__ import annotations

import functools
from pathlib import Path

from retrograd.compiler.backends.cpu import Target
from retrograd.runtime.native import cache

_VARYING = ("cpu MHz", "bogomips", "processor", "core id", "apicid", "initial apicid", "physical id")
"""Lines about one core, or one moment, rather than the kind of processor."""


@functools.cache
def host() -> Target:
    """The machine that runs this process."""
    described = _described()
    if described is None:
        return Target.host()
    key = cache.key_of("host", described)
    kept = cache.get(key)
    if kept is not None:
        return Target.of(*kept.decode().split("\n"))
    target = Target.host()
    cache.put(key, "\n".join([target.triple, target.cpu, target.features]).encode())
    return target


def _described() -> str | None:
    """What the system says of the first processor; None where it says nothing."""
    try:
        with Path("/proc/cpuinfo").open() as processors:
            first, _, _ = processors.read(1 << 14).partition("\n\n")
    except OSError:
        return None
    return "\n".join(line for line in first.splitlines() if not line.startswith(_VARYING))
