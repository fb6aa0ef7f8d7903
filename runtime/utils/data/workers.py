"""Threads that fetch batches ahead of their use.

Batch i is the i-th worker's, as in PyTorch, whose workers are processes: here they are threads, so that
nothing is copied between them, and NumPy, files and images let go of Python's lock while they work. What a
worker draws from the default generator comes in no order that can be told.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from itertools import chain
from typing import Any

from retrograd.compiler.errors import LoaderError, mirrored
from retrograd.compiler.record import record

_HERE = threading.local()

Task = Callable[[], Any]
ENDED = object()
"""What a task answers whose worker has nothing left."""


@record(slots=True)
class WorkerInfo:
    """Who asks: `get_worker_info()` within a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """The worker that this thread is; None outside of workers."""
    return getattr(_HERE, "info", None)


class Workers:
    """Threads, each with its own queue of tasks."""

    def __init__(self, infos: Sequence[WorkerInfo], begin: Callable[[int], None] | None) -> None:
        def enter(info: WorkerInfo) -> None:
            _HERE.info = info
            if begin is not None:
                begin(info.id)

        self._threads = [ThreadPoolExecutor(1, "loader", enter, (info,)) for info in infos]

    def answers(
        self, task_for: Callable[[int], Task | None], ahead: int, seconds: float
    ) -> Generator[Any, None, None]:
        """What the workers answer, in turn, until each has nothing left: `task_for(k)` is the next task of
        worker k, or None; a task may answer `ENDED`.

        `ahead` tasks of each worker are begun before their turn. Raises LoaderError when one takes longer
        than `seconds`, if these are not 0.
        """
        queues: list[deque[Future[Any]]] = [deque() for _ in self._threads]

        def begin(k: int) -> None:
            task = task_for(k)
            if task is not None:
                queues[k].append(self._threads[k].submit(task))

        for _ in range(max(ahead, 1)):
            for k in range(len(queues)):
                begin(k)
        turns = deque(range(len(queues)))
        try:
            while turns:
                k = turns.popleft()
                if not queues[k] or (answer := _answer(queues[k].popleft(), seconds)) is ENDED:
                    continue
                begin(k)
                turns.append(k)
                yield answer
        finally:
            for future in chain.from_iterable(queues):
                future.cancel()

    def end(self) -> None:
        """Let the threads go, once they have done what they are at."""
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)


def _answer(future: Future[Any], seconds: float) -> Any:
    try:
        return future.result(seconds or None)
    except Late:
        raise LoaderError(
            mirrored(f"DataLoader timed out after {seconds} seconds"), "a worker has not answered"
        ) from None
