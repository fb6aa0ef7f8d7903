"""Orders in which to go through a data set: each is an iterable of numbers, `BatchSampler` of lists of them.

Random orders draw as PyTorch's do, when their first number is asked for: a permutation with no generator of
its own takes a seed from the default one, and all else from a generator of that seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.random import samplers
from retrograd.runtime.random.generator import Generator

T = TypeVar("T", covariant=True)

_AT_ONCE = 32
"""How many numbers are drawn at a time where they may repeat."""


class Sampler(Generic[T]):
    """An order: a subclass has `__iter__`, and `__len__` where its length is known."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """From the first to the last."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A new permutation each time; or `num_samples` numbers, drawn one by one where `replacement` says so."""

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = _flag("replacement", replacement)
        self._num_samples = num_samples
        self.generator = generator
        _positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        generator = self.generator or Generator().manual_seed(drawn_seed(None))
        n, at_once = len(self.data_source), _AT_ONCE if self.replacement else len(self.data_source)
        whole, rest = divmod(self.num_samples, at_once)
        for count in [at_once] * whole + [rest]:
            if self.replacement:
                yield from samplers.randint(0, n, count, generator=generator).tolist()
            else:
                yield from samplers.randperm(n, generator=generator).tolist()[:count]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """These numbers, in a new order each time."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for place in samplers.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[place]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` numbers, each as likely as its weight; weights need not add up to 1."""

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        self.num_samples = _positive("num_samples", num_samples)
        self.replacement = _flag("replacement", replacement)
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1:
            raise ArgumentError(
                mirrored(f"weights should be a 1d sequence but given weights have shape {self.weights.shape}")
            )
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = samplers.multinomial(self.weights, self.num_samples, self.replacement, self.generator)
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Another sampler's numbers in lists of `batch_size`; the last may be shorter, or is left out."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = _positive("batch_size", batch_size)
        self.drop_last = _flag("drop_last", drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        yield from in_runs(iter(self.sampler), self.batch_size, self.drop_last)

    def __len__(self) -> int:
        return count_runs(len(self.sampler), self.batch_size, self.drop_last)  # type: ignore[arg-type]  # or an error


def in_runs(items: Iterator[T], size: int, drop_last: bool) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter, or is left out."""
    while run := list(islice(items, size)):
        if len(run) < size and drop_last:
            return
        yield run


def count_runs(items: int, size: int, drop_last: bool) -> int:
    """How many lists `in_runs` makes."""
    return items // size if drop_last else -(-items // size)


def drawn_seed(generator: Generator | None) -> int:
    """A seed for what is random later."""
    return int(samplers.all_integers((), generator=generator))


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ArgumentError(mirrored(f"{name} should be a positive integer value, but got {name}={value}"))
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(mirrored(f"{name} should be a boolean value, but got {name}={value}"))
    return value


class DistributedSampler(Sampler[int]):
    """The share of process `rank` of `num_replicas`: each of them goes through other samples, as many as the
    others. What is missing for that is taken from the front again, or with `drop_last` what is left over is
    left out. `set_epoch` says which order of all is shuffled.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        if num_replicas is None or rank is None:
            raise ArgumentError(
                "DistributedSampler without num_replicas or rank",
                "there are no process groups here to ask",
                "say how many processes there are, and which this is",
            )
        if not 0 <= rank < num_replicas:
            text = f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            raise ArgumentError(mirrored(text))
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        count = len(dataset)
        self.num_samples = count // num_replicas if drop_last else -(-count // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        order = list(range(count))
        if self.shuffle:
            generator = Generator().manual_seed(self.seed + self.epoch)
            order = FUNCTIONS["randperm"](count, generator=generator).tolist()
        while len(order) < self.total_size:
            order += order[: self.total_size - len(order)]
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Have another order from now on, the same in all processes."""
        self.epoch = epoch
