"""Threads for what is done beside: object code of finished modules is made, entries of the cache are written.

done = hand().begin(work)     # a lock, held until the work is done
"""

from __future__ import annotations

import os
from _thread import LockType, allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable


class Hand:
    """A thread for work, which stays when that is done, asleep. A new one would begin on the processor of who
    makes it, if the others have slept for long, and wait there for its turn: milliseconds."""

    def __init__(self) -> None:
        self._given = deque[tuple[Callable[[], None], LockType]]()
        self._called = _held()
        start_new_thread(self._live, ())

    def begin(self, work: Callable[[], None]) -> LockType:
        """Have it done; the lock is held until it is."""
        done = _held()
        self._given.append((work, done))
        self._called.release()
        return done

    def _live(self) -> None:
        while True:
            self._called.acquire()
            work, done = self._given.popleft()
            try:
                work()
                _RESTING.append(self)
            finally:
                done.release()
            del work  # and all that it holds, before it sleeps


_RESTING: list[Hand] = []
"""Those that sleep. A fork's child has none of their threads."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RESTING.clear)


def hand() -> Hand:
    """One that has nothing to do."""
    try:
        return _RESTING.pop()
    except IndexError:
        return Hand()


def _held() -> LockType:
    """A new lock that is held."""
    lock = allocate_lock()
    lock.acquire()
    return lock
