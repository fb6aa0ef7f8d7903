"""Samples in, batches out: data sets, the orders in which they are gone through, and the loader over both.

A shuffled order is PyTorch's, seed for seed. A new order is a `Sampler` in `samplers.py`; a new kind of
sample is a case of `collating.default_collate`.
"""

from retrograd.runtime.utils.data.collating import default_collate, default_convert
from retrograd.runtime.utils.data.datasets import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from retrograd.runtime.utils.data.loader import DataLoader
from retrograd.runtime.utils.data.samplers import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from retrograd.runtime.utils.data.workers import get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]
