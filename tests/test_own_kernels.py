"""Ops with kernels of their own: against their formulas, against PyTorch, and where elements are refused.

In flow samples of each op of `own.WRITERS`, small and large; a further op needs a sample in `SAMPLES`.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import retrograd
from retrograd.compiler import dtypes
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Array, Op, Type
from retrograd.compiler.ops import alignment, bags, joined, margins
from retrograd.runtime.native.small import own, program

pytestmark = pytest.mark.skipif(not program.available(), reason="objects are laid out in another way")

RANDOM = np.random.default_rng(5)
Sample = tuple[Op, tuple[Array, ...]]


def _aligned(steps: int, samples: int, classes: int, longest: int) -> tuple[Array, ...]:
    """Repeated labels, sequences that are shorter, one without labels and one with too few steps."""
    x = np.log(RANDOM.dirichlet(np.ones(classes), (steps, samples)))
    targets = RANDOM.integers(1, classes, (samples, longest))
    targets[0, : longest // 2] = 1
    counts, lengths = np.full(samples, steps), RANDOM.integers(1, longest + 1, samples)
    counts[1], lengths[1], lengths[2] = max(longest // 2, 1), longest, 0
    return x, targets, counts, lengths


def _bags(rows: int, columns: int, count: int, starts: list[int]) -> tuple[Array, ...]:
    weight = RANDOM.standard_normal((rows, columns)).round(1)
    return weight, RANDOM.integers(0, rows, count), np.array(starts)


def _samples() -> list[Sample]:
    found: list[Sample] = []
    for sizes in ((7, 3, 4, 2), (40, 4, 70, 12)):
        x, *whole = _aligned(*sizes)
        for finite in (False, True):
            found.append((alignment.CtcLoss(0, finite), (x, *whole)))
            cotangent = RANDOM.standard_normal(sizes[1])
            found.append((alignment.CtcLossAdjoint(0, finite), (cotangent, x, *whole)))
    for sizes in ((4, 3, 6, [0, 2, 2]), (60, 35, 300, [0, 1, 7, 7, 200])):
        weight, index, starts = _bags(*sizes)
        scale, cotangent = RANDOM.standard_normal(len(index)), weight[: len(starts)] * 0.5
        found += [
            (bags.BagSum(bags.NONE, False, False), (weight, index, starts)),
            (bags.BagSum(2, True, False), (weight, index, starts)),
            (bags.BagSum(bags.NONE, False, False), (weight, index, starts, scale)),
            (bags.BagSumAdjoint(bags.NONE, len(weight)), (cotangent, index, starts)),
            (bags.BagSumAdjoint(1, len(weight)), (cotangent, index, starts, scale)),
            (bags.BagPlaces(bags.NONE), (weight, index, starts)),
            (bags.BagPlaces(2), (weight, index, starts)),
        ]
    for shape in ((2, 4), (30, 50)):
        x, target = RANDOM.standard_normal(shape), RANDOM.integers(-1, shape[1], shape)
        found.append((margins.MultilabelMargins(), (x, target)))
        found.append((margins.MultilabelMarginsAdjoint(), (x[:, 0].copy(), x, target)))
    for before, size, count in ((2, 3, 4), (30, 40, 50)):
        x, values = (RANDOM.standard_normal((before, each, 3)) for each in (size, count))
        index = RANDOM.integers(0, size, values.shape)
        for how, with_self in product(joined.JOINS, (False, True)):
            found.append((joined.PutAlongJoined(1, how, with_self), (x, index, values)))
    return found


SAMPLES = _samples()


def native(op: Op, arrays: tuple[Array, ...]) -> Any:
    found = program.value_of(op, tuple(Type(a.shape, dtypes.of(a)) for a in arrays))
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "arrays"), SAMPLES, ids=[f"{k}-{op.name}" for k, (op, _) in enumerate(SAMPLES)]
)
def test_they_give_what_the_formula_gives(op: Op, arrays: tuple[Array, ...], dtype: type) -> None:
    operands = tuple(a.astype(dtype) if a.dtype == np.float64 else a for a in arrays)
    with np.errstate(all="ignore"):
        expected = op.evaluate(*operands)
    tight = dtype is np.float64
    apart = tuple(np.repeat(a, 2, -1)[..., ::2] for a in operands)
    for given in (operands, apart):
        found = native(op, operands)(*given)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(
            found, expected, rtol=1e-9 if tight else 1e-3, atol=1e-10 if tight else 1e-4
        )


def test_every_op_has_a_sample() -> None:
    assert own.WRITERS.keys() == {type(op) for op, _ in SAMPLES}


@pytest.mark.parametrize("lengths", [((9, 2), (1, 1)), ((2, 2), (1, 4))])
def test_lengths_that_there_cannot_be(lengths: tuple[tuple[int, int], ...]) -> None:
    x, target = retrograd.zeros(3, 2, 4), retrograd.ones(2, 3, dtype=retrograd.int64)
    for _ in range(3):
        with pytest.raises(RetrogradError):
            retrograd.nn.functional.ctc_loss(x, target, *lengths)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 3, 5, 2), (60, 5, 20, 9)])
@pytest.mark.parametrize("options", [{}, {"reduction": "sum", "zero_infinity": True}, {"reduction": "none"}])
def test_alignments_beside_pytorch(shape: tuple[int, ...], options: dict[str, Any], kind: str) -> None:
    x, *whole = _aligned(*shape)
    found = []
    for t in (retrograd, torch):
        given = t.tensor(x, dtype=getattr(t, kind)).requires_grad_()
        for _ in range(3):
            loss = t.nn.functional.ctc_loss(given, *map(t.tensor, whole), **options)
            (slope,) = t.autograd.grad(loss.sum(), given)
        found.append((loss.detach().numpy(), slope.numpy()))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(
            mine, theirs, rtol=1e-9 if kind == "float64" else 1e-3, atol=1e-9 if kind == "float64" else 1e-4
        )


@pytest.mark.parametrize("norm", [1.0, 2.0])
@pytest.mark.parametrize("name", ["embedding", "embedding_bag"])
def test_rows_are_held_to_a_norm_and_the_rest_left_alone(name: str, norm: float) -> None:
    weight, index = RANDOM.standard_normal((8, 5)) * 3, np.array([[1, 1, 6], [0, 6, 2]])
    found = []
    for t in (retrograd, torch):
        held = t.tensor(weight).requires_grad_()
        for _ in range(3):
            y = getattr(t.nn.functional, name)(t.tensor(index), held, max_norm=1.5, norm_type=norm)
        held.grad = None
        y.backward(t.arange(y.numel(), dtype=y.dtype).reshape(y.shape))
        found.append((y.detach().numpy(), held.detach().numpy(), held.grad.numpy(), held._version))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_what_is_not_above_the_margin_costs_nothing_nor_does_nan() -> None:
    found = []
    for t in (retrograd, torch):
        x = t.tensor([[0.1, float("nan"), 0.3, 2.0], [5.0, 1.0, 0.0, -1.0]]).requires_grad_()
        loss = t.nn.functional.multilabel_margin_loss(x, t.tensor([[0, 2, -1, 1], [0, -1, 1, 1]]))
        loss.backward()
        found.append((loss.detach().numpy(), x.grad.numpy()))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
