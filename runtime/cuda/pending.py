"""Checks of indices that nobody waits for: their flags are in memory of the host, which the GPU writes.

In flow programs that check indices, out flow places of flags, one for each check, whose addresses hold on the
GPU as on the host. A flag is 0 until a kernel raises it, and stays raised until somebody looks. `look` raises
the error of the first that is up: it is asked at the next call of a program with checks, and wherever the
host has waited for the GPU anyway, so that nobody sees a value that was read at a wrong index without the
error. What the program computed then means nothing, and what it updated in place neither.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.cuda.driver import Driver

_APART = 16
"""Bytes from one flag to the next: kernels take addresses that are multiples of it."""
_PAGE = 256
"""Flags of which memory is asked for at once, at least."""


@dataclass(frozen=True, slots=True)
class Flags:
    """Places that follow each other."""

    address: int
    bytes: Array
    """The flags."""

    @property
    def addresses(self) -> list[int]:
        """Of each."""
        return [self.address + k * _APART for k in range(len(self.bytes))]


@dataclass(frozen=True, slots=True)
class _Watched:
    flags: Flags
    failure: Callable[[int], Exception]


class Pending:
    """The flags of one GPU's checks. Thread-safe."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._pages: list[Flags] = []
        self._used = 0
        """Flags of the last page that are given out."""
        self._watched: list[_Watched] = []
        self._free: defaultdict[int, list[Flags]] = defaultdict(list)
        """What nobody watches, by count."""
        self._lock = threading.RLock()

    def watched(self, count: int, failure: Callable[[int], Exception]) -> Flags:
        """Flags that `look` looks at from now on, as long as the GPU is used; `failure` makes the error of
        one."""
        with self._lock:
            flags = self._new(count)
            self._watched.append(_Watched(flags, failure))
            return flags

    def take(self, count: int) -> Flags:
        """Flags that only the caller looks at, all down."""
        with self._lock:
            free = self._free[count]
            flags = free.pop() if free else self._new(count)
        flags.bytes[:] = 0
        return flags

    def give_back(self, flags: Flags) -> None:
        """The kernels that might raise these have ended."""
        with self._lock:
            self._free[len(flags.bytes)].append(flags)

    def _new(self, count: int) -> Flags:
        if not self._pages or self._used + count > len(self._pages[-1].bytes):
            size = max(count, _PAGE)
            address = self._driver.allocate_pinned(size * _APART)
            memory: Any = (ctypes.c_uint8 * (size * _APART)).from_address(address)
            page: Array = np.frombuffer(memory, np.uint8)
            page[:] = 0
            self._pages.append(Flags(address, page[::_APART]))
            self._used = 0
        page, start = self._pages[-1].bytes, self._used
        self._used += count
        return Flags(self._pages[-1].address + start * _APART, page[start : start + count])

    def look(self) -> None:
        """Raise the error of a flag that is up; all that are up are done with."""
        if not any(page.bytes.any() for page in self._pages):
            return
        errors: list[Exception] = []
        with self._lock:
            for watched in self._watched:
                up = np.flatnonzero(watched.flags.bytes)
                errors += [watched.failure(int(k)) for k in up]
                watched.flags.bytes[up] = 0
        if errors:
            raise errors[0]
