"""`utils.data`: the same loaders in PyTorch, sample for sample and seed for seed, and what only ours do.

A program takes the library; a new one is a line of `PROGRAMS`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare

import retrograd as rg
from retrograd.compiler.errors import LoaderError, NotWrittenError
from retrograd.runtime.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

Point = namedtuple("Point", "x y")


def tensors(t: Any, n: int = 10) -> Any:
    return t.utils.data.TensorDataset(t.arange(3.0 * n).reshape(n, 3), t.arange(n))


def squares(t: Any, n: int = 10) -> Any:
    """A data set of numbers by `__getitem__`."""

    class Squares(t.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, k: int) -> int:
            return k * k

    return Squares()


def counting(t: Any, n: int = 7) -> Any:
    """A stream of numbers, shared out among workers."""

    class Counting(t.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            info = t.utils.data.get_worker_info()
            return iter(range(n) if info is None else range(info.id, n, info.num_workers))

        def __len__(self) -> int:
            return n

    return Counting()


def epochs(t: Any, *args: Any, times: int = 2, **kwargs: Any) -> Any:
    """All batches of a few epochs, the length, and where the default generator then stands."""
    t.manual_seed(3)
    loader = t.utils.data.DataLoader(*args, **kwargs)
    batches = [list(loader) for _ in range(times)]
    return [batches, len(loader), t.rand(1)]


def seeded(t: Any, seed: int = 5) -> Any:
    return t.Generator().manual_seed(seed)


def drawn(t: Any, sampler: Any) -> Any:
    """Two times all that a sampler gives, its length, and where the default generator then stands."""
    t.manual_seed(4)
    return [list(sampler), list(sampler), len(sampler), t.rand(1)]


def twice(t: Any) -> Any:
    """A sampler of a user's."""

    class Twice(t.utils.data.Sampler):
        def __iter__(self) -> Iterator[int]:
            return iter((2, 2))

        def __len__(self) -> int:
            return 2

    return Twice()


def collated(*samples: Any) -> Callable[[Any], Any]:
    return lambda t: t.utils.data.default_collate(list(samples))


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "in order": lambda t: epochs(t, tensors(t), 4),
    "without the last": lambda t: epochs(t, tensors(t), 4, drop_last=True),
    "shuffled": lambda t: epochs(t, tensors(t), 4, shuffle=True),
    "shuffled by a generator": lambda t: epochs(t, tensors(t), 4, shuffle=True, generator=seeded(t)),
    "of numbers": lambda t: epochs(t, squares(t), 3, shuffle=True),
    "of a list": lambda t: epochs(t, [1.5, 2.5, 3.5], 2),
    "of arrays": lambda t: epochs(t, np.arange(12, dtype=np.float32).reshape(6, 2), 4),
    "one by one": lambda t: epochs(t, tensors(t), None, shuffle=True),
    "arrays one by one": lambda t: epochs(t, np.arange(6).reshape(3, 2), None),
    "by a sampler": lambda t: epochs(t, squares(t), 2, sampler=[3, 1, 4, 1, 5]),
    "by a batch sampler": lambda t: epochs(t, squares(t), batch_sampler=[[3, 1], [4, 1, 5]]),
    "by weights": lambda t: epochs(
        t, squares(t, 3), 4, sampler=t.utils.data.WeightedRandomSampler([0.1, 0.2, 0.7], 9)
    ),
    "by a collate_fn": lambda t: epochs(t, squares(t), 4, collate_fn=sum),
    "a subset": lambda t: epochs(t, t.utils.data.Subset(tensors(t), [7, 2, 9]), 2, shuffle=True),
    "a stream": lambda t: epochs(t, counting(t), 3),
    "a stream without the last": lambda t: epochs(t, counting(t), 3, drop_last=True),
    "a stream one by one": lambda t: epochs(t, counting(t), None),
    "a chain": lambda t: epochs(t, counting(t, 2) + counting(t, 3), 2),
    "a concatenation": lambda t: epochs(t, squares(t, 3) + tensors(t, 2).tensors[1], 2),
    "a concatenation from its end": lambda t: (squares(t, 3) + squares(t, 2))[-4],
    "a stack": lambda t: epochs(t, t.utils.data.StackDataset(squares(t, 3), squares(t, 3)), 2),
    "a named stack": lambda t: epochs(t, t.utils.data.StackDataset(a=squares(t, 3), b=squares(t, 3)), 2),
    "random parts": lambda t: [p.indices for p in t.utils.data.random_split(range(10), [7, 3], seeded(t))],
    "random fractions": lambda t: [
        p.indices for p in t.utils.data.random_split(range(11), [0.3, 0.3, 0.4], seeded(t))
    ],
    "a part in batches": lambda t: epochs(t, t.utils.data.random_split(tensors(t), [6, 4], seeded(t))[1], 3),
    "permutations": lambda t: drawn(t, t.utils.data.RandomSampler(range(9))),
    "more than a permutation": lambda t: drawn(t, t.utils.data.RandomSampler(range(5), num_samples=13)),
    "numbers that repeat": lambda t: drawn(t, t.utils.data.RandomSampler(range(9), True, 70)),
    "a subset's permutations": lambda t: drawn(t, t.utils.data.SubsetRandomSampler([3, 5, 8, 9])),
    "weights": lambda t: drawn(t, t.utils.data.WeightedRandomSampler([0.1, 2.0, 0.3], 20)),
    "weights, each once": lambda t: drawn(t, t.utils.data.WeightedRandomSampler([0.1, 2.0, 0.3], 2, False)),
    "runs": lambda t: drawn(t, t.utils.data.BatchSampler(t.utils.data.SequentialSampler(range(7)), 3, False)),
    "full runs": lambda t: drawn(t, t.utils.data.BatchSampler(t.utils.data.RandomSampler(range(7)), 3, True)),
    "floats": collated(1.0, 2.0),
    "whole numbers": collated(1, 2),
    "truths": collated(True, False),
    "words": collated("a", "b"),
    "NumPy's numbers": collated(np.float32(1), np.float32(2)),
    "NumPy's whole numbers": collated(np.int16(1), np.int16(2)),
    "tuples": collated((1, 2.0), (3, 4.0)),
    "lists": collated([1, [2.0]], [3, [4.0]]),
    "dicts": collated({"a": 1, "b": (2.0,)}, {"a": 3, "b": (4.0,)}),
    "ordered dicts": collated(OrderedDict(b=1, a=2.0), OrderedDict(b=3, a=4.0)),
    "points": collated(Point(1, 2.0), Point(3, 4.0)),
    "converted": lambda t: t.utils.data.default_convert([np.ones(2), (np.float32(2), "a"), {"b": 3}]),
    "gradients": lambda t: next(
        iter(t.utils.data.DataLoader(t.utils.data.TensorDataset(t.ones(3, requires_grad=True)), 2))
    ),
    "no tensor": lambda t: t.utils.data.TensorDataset(t.ones(2), t.ones(3)).tensors,
    "an order of one's own": lambda t: drawn(t, twice(t)),
    "lists of two lengths": collated([1], [2, 3]),
    "an object": collated(object(), object()),
    "None": collated(None, None),
    "words in arrays": collated(np.array(["a"]), np.array(["b"])),
    "no samples": lambda t: t.utils.data.DataLoader([], shuffle=True),
    "lengths that do not add up": lambda t: t.utils.data.random_split(range(10), [3, 3]),
    "no fractions": lambda t: t.utils.data.random_split(range(10), [1.5, -0.5]),
    "no size": lambda t: t.utils.data.BatchSampler(range(3), 0, False),
    "no flag": lambda t: t.utils.data.BatchSampler(range(3), 2, 1),
    "no number of samples": lambda t: t.utils.data.RandomSampler(range(3), num_samples=0),
    "weights of two axes": lambda t: t.utils.data.WeightedRandomSampler([[0.1]], 2),
    "sampler and shuffle": lambda t: t.utils.data.DataLoader([1], sampler=[0], shuffle=True),
    "batch sampler and size": lambda t: t.utils.data.DataLoader([1], 2, batch_sampler=[[0]]),
    "no batch to drop": lambda t: t.utils.data.DataLoader([1], None, drop_last=True),
    "a shuffled stream": lambda t: t.utils.data.DataLoader(counting(t), shuffle=True),
    "fewer than no workers": lambda t: t.utils.data.DataLoader([1], num_workers=-1),
    "no time": lambda t: t.utils.data.DataLoader([1], timeout=-1),
    "ahead of nobody": lambda t: t.utils.data.DataLoader([1], prefetch_factor=2),
    "nobody persists": lambda t: t.utils.data.DataLoader([1], persistent_workers=True),
    "another size later": lambda t: setattr(t.utils.data.DataLoader([1]), "batch_size", 2),
    "empty concatenation": lambda t: t.utils.data.ConcatDataset([]),
    "chain of no streams": lambda t: list(t.utils.data.ChainDataset([[1], [2]])),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_it_does_in_pytorch(torch: ModuleType, name: str) -> None:
    compare(PROGRAMS[name], torch)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("ahead", [None, 1, 5])
def test_workers_change_neither_batches_nor_their_order(workers: int, ahead: int | None) -> None:
    alone = epochs(rg, squares(rg, 11), 2, shuffle=True)
    together = epochs(rg, squares(rg, 11), 2, shuffle=True, num_workers=workers, prefetch_factor=ahead)

    assert str(together) == str(alone)


def test_each_worker_has_its_share_of_a_stream() -> None:
    loader = DataLoader(counting(rg, 7), 2, num_workers=2)

    assert [batch.tolist() for batch in loader] == [[0, 2], [1, 3], [4, 6], [5]]


def test_a_workers_error_is_the_users_own() -> None:
    class Broken(Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            if index == 2:
                raise KeyError("sample 2 is missing")
            return index

    loader = iter(DataLoader(Broken(), num_workers=2))

    assert [next(loader).item(), next(loader).item()] == [0, 1]
    with pytest.raises(KeyError, match="sample 2 is missing"):
        next(loader)


def test_workers_end_with_the_epoch_or_stay() -> None:
    def named() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("loader")}

    def gone() -> bool:
        deadline = time.monotonic() + 10
        while named() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not named()

    list(DataLoader(squares(rg), num_workers=2))
    assert gone()

    begun: list[int] = []
    loader = DataLoader(squares(rg), num_workers=2, worker_init_fn=begun.append, persistent_workers=True)
    for _ in range(3):
        list(loader)
    assert sorted(begun) == [0, 1]
    del loader
    assert gone()


def test_an_epoch_may_be_left_early() -> None:
    for batch in DataLoader(squares(rg, 1000), num_workers=2):
        if batch.item() > 3:
            break
    assert batch.item() == 4


def test_a_late_worker_is_told() -> None:
    release = threading.Event()

    class Late(Dataset[int]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> int:
            release.wait(10)
            return index

    with pytest.raises(LoaderError, match=r"DataLoader timed out after 0\.05 seconds"):
        list(DataLoader(Late(), num_workers=1, timeout=0.05))
    release.set()


def test_rows_of_tensors_are_gathered_at_once() -> None:
    class Watched(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            raise AssertionError("no sample is looked at alone")

    data = Watched(rg.arange(6.0).reshape(3, 2))

    assert [batch[0].shape[0] for batch in DataLoader(data, 2)] == [2, 1]
    with pytest.raises(AssertionError):
        list(DataLoader(data, 2, collate_fn=list))


def test_what_a_subclass_leaves_out_is_told() -> None:
    with pytest.raises(NotWrittenError, match="define __getitem__"):
        Dataset()[0]
    with pytest.raises(NotWrittenError, match="define __iter__"):
        iter(IterableDataset())


def test_pinning_without_a_gpu_warns() -> None:
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert [b.item() for b in DataLoader([1, 2], pin_memory=True)] == [1, 2]


@pytest.mark.usefixtures("simulated_gpus")
def test_pinned_batches_lie_where_a_gpu_reads() -> None:
    batch = next(iter(DataLoader([{"x": 1.0}], pin_memory=True)))

    assert batch["x"].is_pinned()
