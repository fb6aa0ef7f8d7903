"""`DataLoader`: goes through a data set in the order of a sampler, in batches, here or in threads ahead.

Where the data set gathers batches itself (`TensorDataset`, subsets of it) and no `collate_fn` is given, no
sample is ever looked at alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.runtime import cuda
from retrograd.runtime.pytree import flatten, unflatten
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.utils.data.collating import default_collate, default_convert
from retrograd.runtime.utils.data.datasets import IterableDataset
from retrograd.runtime.utils.data.samplers import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    count_runs,
    drawn_seed,
    in_runs,
)
from retrograd.runtime.utils.data.workers import ENDED, Task, WorkerInfo, Workers

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
"""What an epoch that has begun rests on."""


class DataLoader:
    """Batches of a data set, anew at each `for batch in loader`.

    `dataset` has `__getitem__` and `__len__`, or is an `IterableDataset`. The order is that of
    `batch_sampler`, which gives lists of numbers, or of `sampler`, or random where `shuffle` says so, or the
    data set's own; `batch_size=None` gives samples one by one. `collate_fn` makes a list of samples a batch
    (`default_collate`). `num_workers` threads fetch `prefetch_factor` batches each (2) before their turn and
    wait no longer than `timeout` seconds for one; each calls `worker_init_fn(id)` first, and stays for the
    next epoch if `persistent_workers`. Batches come in order whatever `in_order`; workers are threads, so
    `multiprocessing_context` does nothing, nor does `pin_memory_device`. Raises ArgumentError for options
    that contradict each other.
    """

    _begun = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        streams = isinstance(dataset, IterableDataset)
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        _check_order(streams, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if sampler is None and not streams:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None and not streams:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.pin_memory = pin_memory
        self._batched = batch_sampler is not None or batch_size is not None
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self._workers: Workers | None = None
        self._begun = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._begun and name in _FIXED:
            raise ArgumentError(
                mirrored(f"{name} attribute should not be set after {type(self).__name__} is initialized")
            )
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)
        samples = len(self.dataset)  # type: ignore[arg-type]  # Python says so where it has none
        return samples if self.batch_size is None else count_runs(samples, self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        order = None if self.sampler is None and self.batch_sampler is None else iter(self._order())
        seed = drawn_seed(self.generator)
        batches = self._ahead(order, seed) if self.num_workers else self._in_turn(order)
        return self._pinned(batches) if self.pin_memory else batches

    def _order(self) -> Iterable[Any]:
        order: Iterable[Any] = self.sampler if self.batch_sampler is None else self.batch_sampler
        return order

    def _in_turn(self, order: Iterator[Any] | None) -> Iterator[Any]:
        return self._stream() if order is None else map(self._fetch, order)

    def _fetch(self, places: Any) -> Any:
        """The sample of a number, or the batch of a list of them."""
        if not self._batched:
            return self.collate_fn(self.dataset[places])
        if self.collate_fn is default_collate and hasattr(self.dataset, "batch"):
            return self.dataset.batch(places)
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(places))
        return self.collate_fn([self.dataset[place] for place in places])

    def _stream(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            return map(self.collate_fn, samples)
        return map(self.collate_fn, in_runs(samples, self.batch_size, self.drop_last))

    def _ahead(self, order: Iterator[Any] | None, seed: int) -> Iterator[Any]:
        workers = self._workers or self._hired(seed)
        if self.persistent_workers:
            self._workers = workers
        task_for = self._streams() if order is None else self._fetches(order)
        try:
            with closing(workers.answers(task_for, self.prefetch_factor or 0, self.timeout)) as answers:
                yield from answers
        finally:
            if not self.persistent_workers:
                workers.end()

    def _hired(self, seed: int) -> Workers:
        n = self.num_workers
        infos = [WorkerInfo(k, n, seed + k, self.dataset) for k in range(n)]
        return Workers(infos, self.worker_init_fn)

    def _fetches(self, order: Iterator[Any]) -> Callable[[int], Task | None]:
        def task_for(_: int) -> Task | None:
            places = next(order, ENDED)
            return None if places is ENDED else lambda: self._fetch(places)

        return task_for

    def _streams(self) -> Callable[[int], Task | None]:
        """Each worker has a stream of its own, which it begins itself."""
        begun: dict[int, Iterator[Any]] = {}

        def following(k: int) -> Any:
            if k not in begun:
                begun[k] = self._stream()
            return next(begun[k], ENDED)

        return lambda k: lambda: following(k)

    def _pinned(self, batches: Iterator[Any]) -> Iterator[Any]:
        if cuda.is_available():
            return map(_pinned, batches)
        warn(
            "'pin_memory' argument is set as true but no accelerator is found, "
            "then device pinned memory won't be used."
        )
        return batches


def _pinned(batch: Any) -> Any:
    """A batch with its tensors in memory that a GPU copies from."""
    leaves: list[Any] = []
    structure = flatten(batch, leaves, (Tensor,))
    return unflatten(structure, iter([x.pin_memory() if isinstance(x, Tensor) else x for x in leaves]))


def _check_workers(num_workers: int, timeout: float, prefetch: int | None, persistent: bool) -> None:
    rules = (
        (
            num_workers < 0,
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.",
        ),
        (timeout < 0, "timeout option should be non-negative"),
        (
            num_workers == 0 and prefetch is not None,
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None.",
        ),
        (prefetch is not None and prefetch < 0, "prefetch_factor option should be non-negative"),
        (persistent and num_workers == 0, "persistent_workers option needs num_workers > 0"),
    )
    _refuse(rules)


def _check_order(
    streams: bool, batch_size: int | None, shuffle: bool | None, sampler: Any, batch_sampler: Any, drop: bool
) -> None:
    stream = "DataLoader with IterableDataset: expected unspecified"
    given = batch_size != 1 or shuffle or sampler is not None or drop
    rules = (
        (streams and shuffle not in (False, None), f"{stream} shuffle option, but got shuffle={shuffle}"),
        (streams and sampler is not None, f"{stream} sampler option, but got sampler={sampler}"),
        (
            streams and batch_sampler is not None,
            f"{stream} batch_sampler option, but got batch_sampler={batch_sampler}",
        ),
        (sampler is not None and shuffle, "sampler option is mutually exclusive with shuffle"),
        (
            batch_sampler is not None and given,
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last",
        ),
        (
            batch_sampler is None and batch_size is None and drop,
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last",
        ),
    )
    _refuse(rules)


def _refuse(rules: Iterable[tuple[Any, str]]) -> None:
    for broken, text in rules:
        if broken:
            raise ArgumentError("DataLoader()", mirrored(text))
