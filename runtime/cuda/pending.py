"""Checks of indices that nobody waits for: their flags come to the host by themselves.

In flow the flags that a program leaves on the GPU, one for each of its checks. They are copied to pinned
memory when the program's stream has come so far. `look` raises the error of the first that is up: it is
asked at the next call of a program with checks, and wherever the host has waited for the GPU anyway, so that
nobody sees a value that was read at a wrong index without the error. What the program computed then means
nothing, and what it updated in place neither.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.runtime.cuda.driver import Driver

_ON_THE_WAY = 2
"""What a flag's place holds until the flag, 0 or 1, is there."""


class _Check(NamedTuple):
    places: Array
    """A row for each flag, which is its first byte."""
    failure: Callable[[int], Exception]


class Pending:
    """The checks of one GPU whose flags have not been looked at. Thread-safe."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._checks: list[_Check] = []
        self._free: defaultdict[tuple[int, ...], list[Array]] = defaultdict(list)
        """Places that were used, by shape: they stay as long as the GPU."""
        self._lock = threading.RLock()

    def watch(
        self, shape: tuple[int, ...], read_into: Callable[[Array], None], failure: Callable[[int], Exception]
    ) -> None:
        """Have flags looked at later: `read_into` has the GPU copy them, `failure` makes the error of one."""
        with self._lock:
            free = self._free[shape]
            places = free.pop() if free else self._places(shape)
            places[:] = _ON_THE_WAY
            self._checks.append(_Check(places, failure))
            read_into(places)

    def _places(self, shape: tuple[int, ...]) -> Array:
        nbytes = int(np.prod(shape))
        memory: Any = (ctypes.c_uint8 * nbytes).from_address(self._driver.allocate_pinned(nbytes))
        found: Array = np.frombuffer(memory, np.uint8).reshape(shape)
        return found

    def look(self) -> None:
        """Raise the error of a flag that has come and is up; those that have come are done with."""
        if not self._checks:
            return
        errors: list[Exception] = []
        with self._lock:
            waiting = []
            for check in self._checks:
                found = check.places[:, 0]
                if (found == _ON_THE_WAY).any():
                    waiting.append(check)
                    continue
                errors += [check.failure(int(k)) for k in np.flatnonzero(found)]
                self._free[check.places.shape].append(check.places)
            self._checks = waiting
        if errors:
            raise errors[0]
