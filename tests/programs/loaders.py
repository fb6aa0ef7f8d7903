"""Batches in every way: samplers, weights, collate functions, streams, concatenation, generators."""

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)

torch.manual_seed(0)


class Sentences(Dataset):
    def __init__(self, n):
        self.rows = [torch.randint(1, 9, (int(k),)) for k in torch.randint(2, 6, (n,))]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"tokens": self.rows[i], "label": len(self.rows[i]) % 2, "name": f"row{i}"}


def collate(batch):
    lengths = torch.tensor([len(b["tokens"]) for b in batch])
    return {
        "tokens": pad_sequence([b["tokens"] for b in batch], batch_first=True),
        "lengths": lengths,
        "label": torch.tensor([b["label"] for b in batch]),
        "name": [b["name"] for b in batch],
    }


for batch in DataLoader(Sentences(7), batch_size=3, shuffle=True, collate_fn=collate):
    print(batch["tokens"], batch["lengths"], batch["label"], batch["name"])
packed = pack_padded_sequence(
    batch["tokens"].float().unsqueeze(-1), batch["lengths"], True, enforce_sorted=False
)
rnn = torch.nn.GRU(1, 3, batch_first=True, bidirectional=True)
out, h = rnn(packed)
unpacked, lengths = pad_packed_sequence(out, batch_first=True)
print(packed.batch_sizes, unpacked.shape, lengths, h.sum())

numbers = TensorDataset(torch.arange(12), torch.arange(12) ** 2)
for sampler in (
    SequentialSampler(numbers),
    RandomSampler(numbers, replacement=True, num_samples=5),
    SubsetRandomSampler([1, 3, 5, 7]),
    WeightedRandomSampler([0.1] * 6 + [1.0] * 6, 8),
):
    print(type(sampler).__name__, [b[0].tolist() for b in DataLoader(numbers, batch_size=4, sampler=sampler)])
batches = BatchSampler(RandomSampler(numbers), batch_size=5, drop_last=True)
print(len(batches), [[x.item() for x in a] for a, _ in DataLoader(numbers, batch_sampler=batches)])


class ByLength(Sampler):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(sorted(range(len(self.data)), key=lambda i: len(self.data.rows[i])))

    def __len__(self):
        return len(self.data)


sentences = Sentences(6)
print(
    [b["lengths"].tolist() for b in DataLoader(sentences, 2, sampler=ByLength(sentences), collate_fn=collate)]
)


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


print([b.tolist() for b in DataLoader(Stream(7), batch_size=3)])
print(sorted(x for b in DataLoader(Stream(7), batch_size=2, num_workers=2) for x in b.tolist()))
both = ConcatDataset([numbers, TensorDataset(torch.arange(3) + 100, torch.zeros(3))])
print(len(both), both[13], [len(p) for p in random_split(both, [0.6, 0.4], torch.Generator().manual_seed(1))])
mixed = [(1.5, {"a": torch.ones(2), "b": (1, "x")}), (2.5, {"a": torch.zeros(2), "b": (2, "y")})]
print(next(iter(DataLoader(mixed, batch_size=2))))
loader = DataLoader(numbers, batch_size=5)
print(len(loader), len(loader.dataset), loader.batch_size, next(iter(loader)))
try:
    next(iter(DataLoader(Sentences(4), batch_size=4)))
except RuntimeError as error:
    print(isinstance(error, RuntimeError), str(error)[:60])
