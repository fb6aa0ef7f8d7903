"""Random numbers in eager calls that come again, which run no Python: PyTorch's numbers, and nothing else."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import RetrogradError
from retrograd.runtime.random.samplers import Generator, uniform

TIMES = 5


def weights(T: Any) -> Any:
    return T.tensor([0.3, 2.0, 0.0, 1.1, 0.7])


NEW: dict[str, Callable[[Any], Any]] = {
    "rand": lambda T: T.rand(3),
    "rand of sizes": lambda T: T.rand((2, 3)),
    "rand without axes": lambda T: T.rand(()),
    "rand of nothing": lambda T: T.rand(0, 2),
    "rand in double": lambda T: T.rand(5, dtype=T.float64),
    "rand in half": lambda T: T.rand(40, dtype=T.float16),
    "rand that requires grad": lambda T: T.rand(3, requires_grad=True),
    "randn of few": lambda T: T.randn(3),
    "randn of many": lambda T: T.randn(7, 5),
    "randn in double": lambda T: T.randn(17, dtype=T.float64),
    "rand_like": lambda T: T.rand_like(T.zeros(2, 2)),
    "randn_like": lambda T: T.randn_like(T.zeros(2, 2, dtype=T.float64)),
    "rand_like of columns": lambda T: T.rand_like(T.zeros(2, 3).t()),
    "randn_like of many columns": lambda T: T.randn_like(T.zeros(10, 8).t()),
    "randn_like of columns with gaps": lambda T: T.randn_like(T.zeros(4, 60).t()[::2]),
    "randn_like in rows": lambda T: T.randn_like(T.zeros(10, 8).t(), memory_format=T.contiguous_format),
    "rand_like of one expanded": lambda T: T.rand_like(T.zeros(3)[None].expand(2, 3)),
    "randint_like of permuted axes": lambda T: T.randint_like(T.zeros(2, 3, 4).permute(2, 0, 1), 3, 90),
    "randint": lambda T: T.randint(0, 10, (3,)),
    "randint in float": lambda T: T.randint(-5, 10, (3,), dtype=T.float32),
    "randint of a wide range": lambda T: T.randint(-(2**40), 2**41, (9,)),
    "randperm": lambda T: T.randperm(7),
    "randperm of one": lambda T: T.randperm(1),
    "normal of numbers": lambda T: T.normal(1.0, 2.0, (3,)),
    "normal of means": lambda T: T.normal(T.arange(3.0), 2.0),
    "bernoulli": lambda T: T.bernoulli(T.full((3, 2), 0.3)),
    "bernoulli in double": lambda T: T.bernoulli(T.full((3,), 0.3, dtype=T.float64)),
    "bernoulli across memory": lambda T: T.bernoulli(T.full((3, 2), 0.3).t()),
    "bernoulli of a number": lambda T: T.zeros(9).bernoulli(0.5),
    "dropout": lambda T: T.nn.functional.dropout(T.ones(3, 4), 0.4),
    "dropout across memory": lambda T: T.nn.functional.dropout(T.arange(12.0).reshape(3, 4).t(), 0.4),
    "dropout2d": lambda T: T.nn.functional.dropout2d(T.ones(2, 3, 2, 2)),
    "dropout of all": lambda T: T.nn.functional.dropout(T.ones(3), 1.0),
    "alpha_dropout": lambda T: T.nn.functional.alpha_dropout(T.ones(3, 4), 0.4, training=True),
    "rand_like of columns that require grad": lambda T: T.rand_like(T.zeros(2, 3).t(), requires_grad=True),
    "binomial": lambda T: T.binomial(T.tensor([9.0, 80.0, 0.0]), T.tensor([0.3, 0.6, 0.5])),
    "binomial in double": lambda T: T.binomial(T.full((2, 3), 50.0).double(), T.full((2, 3), 0.7).double()),
    "binomial across memory": lambda T: T.binomial(T.full((3, 2), 7.0).t(), T.full((2, 3), 0.4)),
    "binomial of one chance": lambda T: T.binomial(T.arange(5.0), T.tensor(0.4)),
    "multinomial": lambda T: T.multinomial(weights(T), 3),
    "multinomial of rows": lambda T: T.stack([weights(T), weights(T).flip(0)]).double().multinomial(2),
    "multinomial of one": lambda T: weights(T).multinomial(1),
    "multinomial with replacement": lambda T: T.multinomial(weights(T).repeat(3, 1), 9, replacement=True),
    "multinomial of many": lambda T: T.multinomial(T.arange(600.0), 20, True),
    "multinomial in half": lambda T: T.multinomial(weights(T).half(), 6, True),
    "another generator": lambda T: T.rand(3, generator=T.Generator().manual_seed(5)),
}

FILLED: dict[str, Callable[[Any], Any]] = {
    "normal_": lambda x: x.normal_(),
    "normal_ of": lambda x: x.normal_(1, std=2.0),
    "uniform_": lambda x: x.uniform_(-1, 1),
    "exponential_": lambda x: x.exponential_(0.5),
    "bernoulli_": lambda x: x.bernoulli_(0.4),
    "random_": lambda x: x.random_(),
    "random_ of": lambda x: x.random_(3, 9),
}


@pytest.mark.parametrize("name", NEW)
def test_every_call_draws_what_pytorch_draws(torch: ModuleType, name: str) -> None:
    rg.manual_seed(3), torch.manual_seed(3)

    for _ in range(TIMES):
        ours, theirs = NEW[name](rg), NEW[name](torch)

        assert ours.requires_grad == theirs.requires_grad
        assert ours.numpy(force=True).dtype == theirs.numpy(force=True).dtype
        np.testing.assert_allclose(ours.numpy(force=True), theirs.numpy(force=True), rtol=1e-6)
        assert ours.shape == theirs.shape
    assert rg.get_rng_state().tolist() == torch.get_rng_state().tolist()


TAKEN = [
    (name, dtype)
    for name in FILLED
    for dtype in ("float32", "float64", "float16", "int64")
    if dtype != "int64" or name.partition("_")[0] in ("bernoulli", "random")
]


@pytest.mark.parametrize(("name", "dtype"), TAKEN)
def test_filling_draws_what_pytorch_draws_and_counts_changes(
    torch: ModuleType, name: str, dtype: str
) -> None:
    rg.manual_seed(3), torch.manual_seed(3)
    whole = rg.zeros(4, 5, dtype=getattr(rg, dtype)), torch.zeros(4, 5, dtype=getattr(torch, dtype))

    for look in (lambda x: x, lambda x: x, lambda x: x, lambda x: x[1], lambda x: x[:, 1], lambda x: x.t()):
        for x in whole:
            part = look(x)
            assert FILLED[name](part) is part
        ours, theirs = whole
        assert ours.tolist() == theirs.tolist()
        assert ours._version == theirs._version


def test_a_leaf_that_requires_grad_is_not_filled() -> None:
    x = rg.zeros(3)
    for _ in range(3):
        x.normal_()
    x.requires_grad_()

    with pytest.raises(RetrogradError, match="a leaf Variable that requires grad is being used"):
        x.normal_()
    with rg.no_grad():
        x.normal_()
    assert x._version == 4


def test_a_recorded_tensor_keeps_the_history_of_being_filled() -> None:
    for _ in range(3):
        x = rg.ones(3, requires_grad=True) * 2
        x.normal_()

        assert x.grad_fn.name() == "NormalBackward0"


def test_what_is_no_probability_is_told_each_time_and_draws_nothing() -> None:
    rg.manual_seed(0)
    for _ in range(3):
        rg.bernoulli(rg.full((3,), 0.5))
    before = rg.get_rng_state().tolist()

    for wrong in (1.5, -0.5, float("nan")):
        with pytest.raises(RetrogradError, match="Expected p_in >= 0 && p_in <= 1 to be true"):
            rg.bernoulli(rg.tensor([0.5, wrong, 0.5]))
    assert rg.get_rng_state().tolist() == before


@pytest.mark.parametrize("replacement", [False, True])
def test_weights_that_are_no_distribution_are_told_each_time_and_draw_nothing(replacement: bool) -> None:
    rg.manual_seed(0)
    for _ in range(3):
        rg.multinomial(rg.ones(3), 2, replacement)
    before = rg.get_rng_state().tolist()

    for wrong, told in (([1.0, -1.0, 2.0], "inf"), ([1.0, float("nan"), 0.0], "nan"), ([0.0] * 3, "sum of")):
        with pytest.raises(RetrogradError, match=told):
            rg.multinomial(rg.tensor(wrong), 2, replacement)
    assert rg.get_rng_state().tolist() == before


def test_a_generator_draws_its_own_stream_whatever_is_drawn_beside_it() -> None:
    mine, twin = rg.Generator().manual_seed(1), rg.Generator().manual_seed(1)

    for _ in range(4):
        rg.rand(3)
        assert rg.rand(3, generator=mine).tolist() == uniform(3, generator=twin).tolist()
        assert rg.zeros(3).normal_(generator=mine).tolist() == rg.zeros(3).normal_(generator=twin).tolist()
    other = copy.deepcopy(mine)
    assert rg.rand(3, generator=other).tolist() == rg.rand(3, generator=mine).tolist()


def test_seeding_and_setting_the_state_count_for_calls_that_come_again() -> None:
    rg.manual_seed(7)
    first = [rg.randn(3).tolist() for _ in range(4)]
    state = rg.get_rng_state()
    later = rg.randn(3).tolist()
    rg.set_rng_state(state)

    assert rg.randn(3).tolist() == later
    rg.manual_seed(7)
    assert [rg.randn(3).tolist() for _ in range(4)] == first


def test_threads_that_share_a_generator_share_out_its_stream() -> None:
    """Whoever comes first: all numbers are there, each once."""
    shared, alone = rg.Generator().manual_seed(2), Generator().manual_seed(2)
    found: list[list[float]] = []

    def draw() -> None:
        mine = []
        for _ in range(500):
            mine += rg.rand(3, generator=shared).tolist()
        found.append(mine)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(itertools.chain(*found)) == sorted(uniform(6000, generator=alone).tolist())


def test_a_large_tensor_is_drawn_as_one_stream(torch: ModuleType) -> None:
    rg.manual_seed(9), torch.manual_seed(9)

    for n in (1_000, 100_003):
        assert rg.rand(n).tolist() == torch.rand(n).tolist()
        assert rg.randn(n).tolist() == torch.randn(n).tolist()
        assert rg.randint(0, 1000, (n,)).tolist() == torch.randint(0, 1000, (n,)).tolist()
        assert rg.zeros(n).bernoulli_(0.3).tolist() == torch.zeros(n).bernoulli_(0.3).tolist()


def test_a_leaf_is_drawn_anew_where_nothing_is_recorded(torch: ModuleType) -> None:
    def found(t: Any) -> tuple[list[float], int, str]:
        t.manual_seed(3)
        x = t.zeros(5, requires_grad=True)
        with t.no_grad():
            for _ in range(12):
                x.uniform_(-1, 1)
        try:
            x.uniform_(-1, 1)
        except RuntimeError as error:
            return x.tolist(), x._version, str(error)
        raise AssertionError("it is changed though it is recorded")

    assert found(rg) == found(torch)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "uint8"])
def test_whole_numbers_are_drawn_into_any_dtype(dtype: str, torch: ModuleType) -> None:
    def found(t: Any, count: int) -> list[Any]:
        t.manual_seed(count)
        x = t.zeros(count, dtype=getattr(t, dtype))
        seen = []
        for _ in range(4):
            seen += [x.random_().tolist(), x.random_(3, 50).tolist(), t.randint_like(x, 7).tolist()]
        return seen

    for count in (5, 700):
        assert found(rg, count) == found(torch, count)
