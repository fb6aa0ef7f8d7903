"""Sequences of different lengths, padded and packed, and recurrent modules over them, beside PyTorch's.

A program takes the library; a new one is a line of `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare

import retrograd as rg


def sequences(t: Any, *lengths: int, features: int = 4) -> Any:
    """Leaves of these lengths, with numbers that are all different."""
    numbers = np.random.default_rng(1).standard_normal((sum(lengths), features)).astype(np.float32)
    ends = np.cumsum(lengths)
    return [t.tensor(numbers[e - n : e]).requires_grad_() for e, n in zip(ends, lengths, strict=True)]


def fields(packed: Any) -> Any:
    return list(packed)


def packed(t: Any, *lengths: int, enforce_sorted: bool = True) -> Any:
    return t.nn.utils.rnn.pack_sequence(sequences(t, *lengths), enforce_sorted=enforce_sorted)


def padded(t: Any, *lengths: int, **options: Any) -> Any:
    return t.nn.utils.rnn.pad_sequence(sequences(t, *lengths), **options)


def differentiated(t: Any, xs: Any, y: Any) -> Any:
    """A result and the gradients of its sum of squares."""
    return [y, *t.autograd.grad((y * y).sum(), xs)]


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "padded": lambda t: padded(t, 3, 1, 5),
    "padded, batch first": lambda t: padded(t, 3, 1, 5, batch_first=True),
    "padded on the left": lambda t: padded(t, 3, 1, 5, padding_value=7.0, padding_side="left"),
    "padded, gradients": lambda t: (
        xs := sequences(t, 3, 1, 2),
        differentiated(t, xs, t.nn.utils.rnn.pad_sequence(xs)),
    )[1],
    "cut again": lambda t: t.nn.utils.rnn.unpad_sequence(padded(t, 3, 1, 5), t.tensor([3, 1, 5])),
    "cut again, batch first": lambda t: t.nn.utils.rnn.unpad_sequence(
        padded(t, 3, 1, batch_first=True), t.tensor([3, 1]), batch_first=True
    ),
    "packed": lambda t: fields(packed(t, 5, 3, 3, 1)),
    "packed in any order": lambda t: fields(packed(t, 3, 1, 5, 3, enforce_sorted=False)),
    "packed of one": lambda t: fields(packed(t, 1)),
    "packed from padded": lambda t: fields(
        t.nn.utils.rnn.pack_padded_sequence(t.arange(24.0).reshape(2, 4, 3), [4, 2], batch_first=True)
    ),
    "packed by a tensor of lengths": lambda t: fields(
        t.nn.utils.rnn.pack_padded_sequence(
            t.arange(24.0).reshape(4, 2, 3), t.tensor([2, 4]), enforce_sorted=False
        )
    ),
    "packed, gradients": lambda t: (
        xs := sequences(t, 2, 3),
        differentiated(t, xs, t.nn.utils.rnn.pack_sequence(xs, False).data),
    )[1],
    "unpacked": lambda t: t.nn.utils.rnn.unpack_sequence(packed(t, 3, 1, 5, enforce_sorted=False)),
    "padded again": lambda t: t.nn.utils.rnn.pad_packed_sequence(packed(t, 3, 1, 5, enforce_sorted=False)),
    "padded further": lambda t: t.nn.utils.rnn.pad_packed_sequence(
        packed(t, 3, 2), batch_first=True, padding_value=-1.0, total_length=5
    ),
    "in another dtype": lambda t: fields(packed(t, 3, 1).double()),
    "inverted": lambda t: t.nn.utils.rnn.invert_permutation(t.tensor([2, 0, 1])),
    "lengths that rise": lambda t: packed(t, 1, 3),
    "a length of 0": lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3, 0]),
    "too few lengths": lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3]),
    "no padding to that length": lambda t: t.nn.utils.rnn.pad_packed_sequence(packed(t, 3), total_length=2),
    "no sequences": lambda t: t.nn.utils.rnn.pad_sequence([]),
    "no such side": lambda t: padded(t, 2, padding_side="top"),
    "features that are too many": lambda t: t.nn.GRU(3, 2)(packed(t, 3)),
    "states that do not fit": lambda t: t.nn.GRU(4, 2)(packed(t, 3, 1), t.zeros(1, 3, 2)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_it_does_in_pytorch(torch: ModuleType, name: str) -> None:
    compare(PROGRAMS[name], torch)


LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], int]] = {
    "RNN": (lambda t: t.nn.RNN(4, 3), (4, 2, 2), 0),
    "RNN, both ways": (lambda t: t.nn.RNN(4, 3, 2, bidirectional=True), (4, 2, 2), 0),
    "RNN, in any order": (lambda t: t.nn.RNN(4, 3, 2, bidirectional=True), (1, 4, 2), 1),
    "GRU": (lambda t: t.nn.GRU(4, 3, 2, bidirectional=True, batch_first=True), (2, 5, 1), 0),
    "LSTM": (lambda t: t.nn.LSTM(4, 3, 2, bidirectional=True), (2, 5, 1), 2),
    "LSTM with a projection": (lambda t: t.nn.LSTM(4, 5, proj_size=2), (3, 3, 1), 2),
}
"""A recurrent module, the lengths it is given, and how many states with them."""


def through(t: Any, made: Callable[[Any], Any], lengths: tuple[int, ...], states: int) -> list[Any]:
    """A module's outputs and states over a packed sequence, and its gradients by inputs and weights."""
    t.manual_seed(2)
    layer, xs = made(t), sequences(t, *lengths)
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    size = layer.proj_size or layer.hidden_size
    first = [t.randn(layers, len(lengths), n) for n in (size, layer.hidden_size)[:states]]
    given = [] if not first else [first[0] if states == 1 else tuple(first)]
    y, last = layer(t.nn.utils.rnn.pack_sequence(xs, enforce_sorted=False), *given)
    found = [y.data, *(last if isinstance(last, tuple) else (last,))]
    total = sum((x * x).sum() for x in found)
    return [*found, *t.autograd.grad(total, [*xs, *layer.parameters()]), *(x for x in y[1:] if x is not None)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_recurrent_module_reads_packed_sequences(torch: ModuleType, name: str) -> None:
    for ours, theirs in zip(through(rg, *LAYERS[name]), through(torch, *LAYERS[name]), strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-4, atol=1e-5)


def test_a_compiled_function_packs_and_unpacks() -> None:
    layer = rg.nn.LSTM(4, 3)

    def loss(*xs: Any) -> Any:
        y, (h, _) = layer(rg.nn.utils.rnn.pack_sequence(xs, enforce_sorted=False))
        return rg.nn.utils.rnn.pad_packed_sequence(y)[0].square().sum() + h.sum()

    xs = sequences(rg, 2, 4, 1)
    eager = rg.autograd.grad(loss(*xs), [*xs, *layer.parameters()])
    compiled = rg.autograd.grad(rg.compile_grad(loss)(*xs), [*xs, *layer.parameters()])

    for ours, theirs in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_a_packed_sequence_is_an_argument_of_a_compiled_function() -> None:
    layer = rg.nn.GRU(4, 3, bidirectional=True)

    def last(sequence: Any) -> Any:
        return layer(sequence)[1].square().sum()

    sequence = packed(rg, 4, 2, 1)

    assert rg.compile_grad(last)(sequence).item() == pytest.approx(last(sequence).item(), rel=1e-6)
