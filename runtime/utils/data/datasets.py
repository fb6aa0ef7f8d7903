"""Samples by number, or one after the other; and data sets made of others.

A data set with `__getitem__` may also have `__getitems__`, which takes the numbers of a whole batch. Where it
has `batch`, too, that answers with the batch itself, already collated: tensors gather their rows at once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, Generic, TypeVar

from retrograd.compiler.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    NotWrittenError,
    mirrored,
    warn,
)
from retrograd.runtime.random import samplers
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by number: a subclass has `__getitem__`, and `__len__` where it is to be shuffled."""

    def __getitem__(self, index: Any) -> T:
        raise NotWrittenError(
            mirrored("Subclasses of Dataset should implement __getitem__."),
            "",
            "define __getitem__(self, index)",
        )

    def __add__(self, other: Dataset[T]) -> ConcatDataset[T]:
        return ConcatDataset((self, other))


class IterableDataset(Dataset[T]):
    """Samples that come one after the other, as from a stream: a subclass has `__iter__`.

    With several workers each goes through all of it; `get_worker_info()` tells which share is whose.
    """

    def __iter__(self) -> Iterator[T]:
        raise NotWrittenError(
            f"iter({type(self).__name__})",
            "a subclass of IterableDataset has to say what its samples are",
            "define __iter__(self)",
        )

    def __add__(self, other: Dataset[T]) -> ChainDataset[T]:  # type: ignore[override]  # streams are chained
        return ChainDataset((self, other))


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of samples: sample i is the i-th row of each. Raises where their first sizes differ."""

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors or any(len(t) != len(tensors[0]) for t in tensors):
            raise DataError(mirrored("Size mismatch between tensors"), f"their sizes are {_sizes(tensors)}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def batch(self, indices: Sequence[int]) -> list[Tensor]:
        """The rows with these numbers, one gather a tensor."""
        return [tensor[indices] for tensor in self.tensors]

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset[Any]):
    """Data sets side by side: a sample is a tuple of theirs, or a dict where they are given by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ArgumentError(
                "StackDataset()",
                mirrored(
                    "Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like "
                    "input/output, but both types are given."
                    if args
                    else "At least one dataset should be passed"
                ),
            )
        self.datasets: Any = args or kwargs
        every = list(args or kwargs.values())
        if any(len(d) != len(every[0]) for d in every):
            raise ArgumentError(mirrored("Size mismatch between datasets"))
        self._length = len(every[0])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T]):
    """Data sets one after the other."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise DataError(mirrored("datasets should not be an empty iterable"))
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise DataError(mirrored("ConcatDataset does not support IterableDataset"))
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __getitem__(self, index: int) -> T:
        if not -len(self) <= index < len(self):
            raise DimensionError(f"sample {index} of {len(self)}", "there is none of this number")
        index %= len(self)
        which = bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[which - 1] if which else 0
        sample: T = self.datasets[which][index - before]
        return sample

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T]):
    """Streams one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not all(isinstance(d, IterableDataset) for d in self.datasets):
            raise DataError(mirrored("ChainDataset only supports IterableDataset"))

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(map(len, self.datasets))


class Subset(Dataset[T]):
    """The samples of a data set that have these numbers."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        if type(self).__getitem__ is Subset.__getitem__ and hasattr(dataset, "batch"):
            self.batch = self._batch

    def __getitem__(self, index: Any) -> T:
        found: T = self.dataset[self._inner(index) if isinstance(index, list) else self.indices[index]]
        return found

    def _batch(self, indices: Sequence[int]) -> Any:
        return self.dataset.batch(self._inner(indices))

    def _inner(self, indices: Sequence[int]) -> list[int]:
        return [self.indices[i] for i in indices]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[Any]]:
    """A data set in random parts of these lengths, or of these fractions where they add up to 1: what is
    left by rounding down goes to the first parts, one each.

    Raises ArgumentError where the lengths do not add up to the data set's.
    """
    total = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _whole(lengths, total)
    if sum(lengths) != total:
        raise ArgumentError(
            f"random_split({list(lengths)}) of {total} samples",
            mirrored("Sum of input lengths does not equal the length of the input dataset!"),
        )
    order = samplers.randperm(total, generator=generator).tolist()
    ends = list(accumulate(map(int, lengths)))
    return [Subset(dataset, order[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _whole(fractions: Sequence[float], total: int) -> list[int]:
    for k, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ArgumentError(mirrored(f"Fraction at index {k} is not between 0 and 1"))
    lengths = [math.floor(total * fraction) for fraction in fractions]
    for k in range(total - sum(lengths)):
        lengths[k % len(lengths)] += 1
    for k, length in enumerate(lengths):
        if length == 0:
            text = f"Length of split at index {k} is 0. This might result in an empty dataset."
            warn(text)
    return lengths


def _sizes(tensors: Sequence[Tensor]) -> str:
    return ", ".join(str(tuple(t.shape)) for t in tensors) or "none, as there are no tensors"
