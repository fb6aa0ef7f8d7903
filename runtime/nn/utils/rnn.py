"""Sequences of different lengths in one tensor: padded to the longest, or packed without the padding.

A packed sequence holds first the first elements of all sequences, longest first, then the second ones of
those that have one, and so on; `batch_sizes` counts them. Recurrent modules take it as they take a padded
one.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.tensor import Tensor


class PackedSequence(NamedTuple):
    """Sequences without padding: `data` is `[total, *]`, `batch_sizes` int64 `[longest]`.

    `sorted_indices` say which of the user's sequences are the longest, in order, `unsorted_indices` where
    each then stands; both are None where the user's own order is that. `pack_padded_sequence` and
    `pack_sequence` make it.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With its data in another dtype or on another device (see `Tensor.to`)."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = (i if i is None else i.to(data.device) for i in self[2:])
        return PackedSequence(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def cuda(self) -> PackedSequence:
        return self.to("cuda")

    def double(self) -> PackedSequence:
        return self.to(dtypes.float64)

    def float(self) -> PackedSequence:
        return self.to(dtypes.float32)

    def half(self) -> PackedSequence:
        return self.to(dtypes.float16)

    @property
    def is_cuda(self) -> bool:
        return self.data.device.type == "cuda"

    @property
    def lengths(self) -> list[builtins.int]:
        """The lengths of the sequences, longest first."""
        sizes = self.sizes
        return [sum(size > k for size in sizes) for k in range(sizes[0])]

    @property
    def sizes(self) -> list[builtins.int]:
        """`batch_sizes` as numbers."""
        return [builtins.int(size) for size in self.batch_sizes]

    def long(self) -> PackedSequence:
        return self.to(dtypes.int64)

    def int(self) -> PackedSequence:
        return self.to(dtypes.int32)

    def short(self) -> PackedSequence:
        return self.to(dtypes.int16)

    def char(self) -> PackedSequence:
        return self.to(dtypes.int8)

    def byte(self) -> PackedSequence:
        return self.to(dtypes.uint8)

    def pin_memory(self) -> PackedSequence:
        """With its data in memory that a GPU copies from by itself."""
        indices = (i if i is None else i.pin_memory() for i in self[2:])
        return PackedSequence(self.data.pin_memory(), self.batch_sizes, *indices)

    def is_pinned(self) -> bool:
        return bool(self.data.is_pinned())


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """`[L, N, *]`, or `[N, L, *]` if `batch_first`, without what is beyond each of N lengths.

    Raises ArgumentError where a length is not positive, where there are not N, or where they do not fall from
    one to the next and `enforce_sorted` has not been set to False.
    """
    counts = _lengths(lengths)
    x = _swapped(input, batch_first)
    if len(counts) != x.shape[1]:
        raise ShapeError(
            mirrored(
                f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
                f"(batch_size={x.shape[1]})"
            )
        )
    order = None
    if not enforce_sorted:
        order = np.argsort(-counts, kind="stable")
        x, counts = FUNCTIONS["index_select"](x, 1, Tensor(order)), counts[order]
    _check_lengths(counts)
    times, places = np.nonzero(np.arange(counts[0])[:, None] < counts[None, :])
    sizes = np.bincount(times).astype(np.int64)
    return PackedSequence(x[times, places], Tensor(sizes), *_indices(order))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The sequences, padded, in the order in which they were given, and their lengths.

    `total_length` pads further than the longest; raises ArgumentError where that is longer.
    """
    sizes = sequence.sizes
    longest = len(sizes) if total_length is None else total_length
    if longest < len(sizes):
        raise ArgumentError(
            mirrored(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {len(sizes)}"
            )
        )
    rows = np.full((longest, sizes[0]), len(sequence.data))  # the row of padding, behind the others
    for time, (start, size) in enumerate(zip(accumulate([0, *sizes]), sizes, strict=False)):
        rows[time, :size] = np.arange(start, start + size)
    padding = sequence.data.new_full((1, *sequence.data.shape[1:]), padding_value)
    padded: Tensor = FUNCTIONS["cat"]([sequence.data, padding])[rows]
    counts = Tensor(np.asarray(sequence.lengths))
    if sequence.unsorted_indices is not None:
        padded = FUNCTIONS["index_select"](padded, 1, sequence.unsorted_indices)
        counts = counts[sequence.unsorted_indices]
    return _swapped(padded, batch_first), counts


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """N tensors `[L, *]` as one, `[longest, N, *]`, with what is missing filled up."""
    if padding_side not in ("left", "right"):
        raise ArgumentError(
            mirrored(f"Expected padding_side to be one of left or right, but got {padding_side}.")
        )
    if not len(sequences):
        raise ArgumentError(mirrored("received an empty list of sequences"))
    longest = max(len(x) for x in sequences)
    padded = []
    for x in sequences:
        filled = x.new_full((longest - len(x), *x.shape[1:]), padding_value)
        padded.append(FUNCTIONS["cat"]([filled, x] if padding_side == "left" else [x, filled]))
    stacked: Tensor = FUNCTIONS["stack"](padded, 0 if batch_first else 1)
    return stacked


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of `pad_sequence`, each of its length."""
    x = _swapped(padded_sequences, not batch_first)
    return [x[k, :n] for k, n in enumerate(_lengths(lengths).tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """N tensors `[L, *]`, packed (see `pack_padded_sequence`)."""
    return pack_padded_sequence(
        pad_sequence(sequences), [len(x) for x in sequences], enforce_sorted=enforce_sorted
    )


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed, in their order."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each number stands in a permutation."""
    return None if permutation is None else FUNCTIONS["argsort"](permutation)


def _indices(order: Any) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if order is None else (Tensor(order), Tensor(np.argsort(order)))


def _lengths(lengths: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray([int(length) for length in lengths], np.int64)


def _check_lengths(counts: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    if (counts[1:] > counts[:-1]).any():
        raise ArgumentError(
            mirrored(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can "
                "pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
                "requirement if you do not need ONNX exportability."
            )
        )
    if not counts.size or counts[-1] <= 0:
        raise ArgumentError(
            mirrored(
                "Length of all samples has to be greater than 0, but found an element in 'lengths' that is "
                "<= 0"
            )
        )


def _swapped(x: Tensor, batch_first: bool) -> Tensor:
    """Time in front, or back where it was."""
    return FUNCTIONS["transpose"](x, 0, 1) if batch_first else x
