"""The random stream: fixed numbers that need no PyTorch, then equality with PyTorch bit for bit."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rounding import box_muller32, fma32, fma64

import retrograd as rg
from retrograd.compiler.errors import ArgumentError, DtypeError, RetrogradError, ShapeError
from retrograd.runtime.random import laws, samplers
from retrograd.runtime.random.samplers import Generator

FLOATS = ("float16", "float32", "float64")
SIZES = (0, 1, 2, 15, 16, 17, 31, 32, 100, 624, 1000)
SEEDS = (0, 1, 7, 42, 2**32 - 1, 2**32 + 5, 2**63, 2**64 - 1, -3)
Array = np.ndarray[Any, Any]


def same_bits(ours: Array, theirs: Array) -> bool:
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


# ----------------------------------------------------------------------------------------- without PyTorch


def test_the_numbers_of_seed_zero() -> None:
    samplers.manual_seed(0)

    assert samplers.rand(3).tolist() == [0.49625658988952637, 0.7682217955589294, 0.08847743272781372]
    assert samplers.randn((2,)).tolist() == [0.3643381893634796, 0.13439632952213287]
    assert samplers.randint(0, 10, 5).tolist() == [3, 7, 3, 1, 6]
    assert samplers.randperm(8).tolist() == [4, 6, 1, 0, 3, 5, 2, 7]
    assert samplers.bernoulli((2, 4)).tolist() == [[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]]
    assert samplers.randn(17)[:3].tolist() == [0.2484147548675537, -0.23033547401428223, -0.3917543888092041]


def test_the_first_words_are_those_of_the_reference_implementation() -> None:
    """The start for seed 5489, and the 10000th number, which the C++ standard prescribes for std::mt19937."""
    words = seeded(5489).uint32(10_000)

    assert words[:3].tolist() == [3499211612, 581869302, 3890346734]
    assert words[9_999] == 4123659995


def test_a_pair_of_words_has_the_first_one_on_top() -> None:
    first, second = seeded(3).uint32(2).tolist()

    assert seeded(3).uint64(1).tolist() == [first << 32 | second]


def test_a_new_generator_has_the_fixed_seed_and_the_default_one_a_chance_seed() -> None:
    assert Generator().initial_seed() == 67280421310721
    assert samplers.manual_seed(5) is samplers.default_generator
    assert samplers.initial_seed() == 5
    assert samplers.default_generator.seed() == samplers.initial_seed() != 5


def test_the_default_generator_is_used_where_none_is_given() -> None:
    samplers.manual_seed(11)
    ours = [
        samplers.rand(3),
        samplers.randn(3),
        samplers.randn(20),
        samplers.randint(0, 9, 3),
        samplers.randperm(4),
    ]

    g = seeded(11)
    same = [
        samplers.rand(3, generator=g),
        samplers.randn(3, generator=g),
        samplers.randn(20, generator=g),
        samplers.randint(0, 9, 3, generator=g),
        samplers.randperm(4, generator=g),
    ]
    assert all(map(same_bits, ours, same))


@pytest.mark.parametrize(
    "twin",
    [
        Generator.clone_state,
        copy.deepcopy,
        lambda g: pickle.loads(pickle.dumps(g)),
        lambda g: Generator().set_state(g.get_state()),
    ],
    ids=["clone_state", "deepcopy", "pickle", "set_state"],
)
@pytest.mark.parametrize("words", [0, 1, 623, 624, 625])
def test_a_copy_continues_the_stream_and_leaves_the_original_alone(
    twin: Callable[[Generator], Generator], words: int
) -> None:
    original = seeded(9)
    original.uint32(words)
    samplers.normal(1, generator=original)  # half of a pair stays behind

    copied = twin(original)
    ours = samplers.normal(40, generator=copied)

    assert copied.initial_seed() == 9
    assert same_bits(samplers.normal(40, generator=original), ours)


def test_sizes_may_be_a_number_a_list_or_empty() -> None:
    assert samplers.rand(3).shape == (3,)
    assert samplers.rand([2, 3]).shape == samplers.rand((np.int64(2), 3)).shape == (2, 3)
    assert samplers.rand(np.int64(3)).shape == (3,)
    assert samplers.rand(()).shape == ()
    assert samplers.randn((0, 4)).shape == (0, 4)
    assert samplers.randint(0, 2, (), dtype="bool").dtype == bool


def test_an_excluded_end_is_never_reached() -> None:
    half = samplers.uniform(20_000, 0.0, 1.0, "float16", seeded())

    assert half.max() < 1.0
    assert (samplers.uniform(100, 3.0, 3.0) == 3.0).all()


def test_a_shuffle_with_pairs_of_words_is_a_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of PyTorch from 214748364 on, tried with few: r[i] = r[z], r[z] = i for z from 0 to i."""
    monkeypatch.setattr(laws, "LONG_ORDER", 10)
    order = [0] * 5000
    for i, word in enumerate(seeded(4).uint64(5000).tolist()):
        z = word % (i + 1)
        order[i] = order[z]
        order[z] = i

    assert samplers.randperm(5000, generator=seeded(4)).tolist() == order
    assert sorted(order) == list(range(5000))


def test_dropout_scales_what_it_keeps_and_the_extremes_draw_nothing() -> None:
    g = seeded()

    assert (samplers.dropout_mask(3, 0.0, generator=g) == 1).all()
    assert (samplers.dropout_mask(3, 1.0, generator=g) == 0).all()
    assert same_bits(samplers.rand(4, generator=g), samplers.rand(4, generator=seeded()))
    assert set(samplers.dropout_mask(100, 0.75).tolist()) == {0.0, 4.0}


def test_the_samples_follow_their_distributions() -> None:
    """Means and variances of 200,000 samples, within five standard errors."""
    g, n = seeded(123), 200_000
    samples = [
        (samplers.uniform(n, -1, 3, generator=g), 1.0, 16 / 12),
        (samplers.normal(n, 2.0, 3.0, generator=g), 2.0, 9.0),
        (samplers.exponential(n, 2.0, generator=g), 0.5, 0.25),
        (samplers.bernoulli(n, 0.3, generator=g), 0.3, 0.21),
        (samplers.randint(0, 6, n, generator=g), 2.5, 35 / 12),
        (samplers.multinomial(np.array([1.0, 3.0]), n, True, g), 0.75, 0.1875),
    ]
    for sample, mean, variance in samples:
        assert abs(sample.mean(dtype=np.float64) - mean) < 5 * math.sqrt(variance / n)
        assert sample.var(dtype=np.float64) == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: samplers.manual_seed(2**64), ArgumentError, r"a seed lies between"),
        (lambda: seeded().set_state(np.zeros(3, np.uint8)), ArgumentError, r"a state is 5056 bytes"),
        (lambda: seeded().set_state(np.zeros(5056, np.uint8)), ArgumentError, r"no state of the Mersenne"),
        (lambda: samplers.manual_seed("a"), ArgumentError, r"invalid literal for int\(\) with base 10: 'a'"),
        (lambda: samplers.rand((2, 0.5)), ArgumentError, r"size=0.5; size must be a whole number"),
        (lambda: samplers.randint(0, 2.5, 1), ArgumentError, r"high=2.5; high must be a whole"),
        (lambda: samplers.rand(-1), ShapeError, r"random numbers of shape \(-1,\); a size is negative"),
        (
            lambda: samplers.rand(2, "int64"),
            DtypeError,
            r"check_uniform_bounds. not implemented for 'Long'\s.*; pass a floating dtype",
        ),
        (lambda: samplers.uniform(2, 1.0, 0.0), ArgumentError, r"from 1.0 to 0.0 in float32; low must not"),
        (lambda: samplers.uniform(2, 0.0, 1e39), ArgumentError, r"the range must stay within"),
        (lambda: samplers.uniform(2, math.nan), ArgumentError, r"from nan to 1.0"),
        (lambda: samplers.normal(2, 0.0, -1.0), ArgumentError, r"std=-1.0; a standard deviation is not"),
        (
            lambda: samplers.exponential(2, 0.0),
            ArgumentError,
            r"exponential_ expects lambda > 0.0, but found lambda=0",
        ),
        (lambda: samplers.bernoulli(2, 1.5), ArgumentError, r"p=1.5; a probability lies between 0 and 1"),
        (
            lambda: samplers.bernoulli(2, np.array([0, 1])),
            DtypeError,
            "\"bernoulli_tensor_cpu_p_\" not implemented for 'Long'",
        ),
        (lambda: samplers.dropout_mask(2, -0.1), ArgumentError, r"dropout with p=-0.1"),
        (lambda: samplers.randint(3, 3, 2), ArgumentError, r"from 3 to below 3 in int64; low must be less"),
        (
            lambda: samplers.randint(0, 300, 2, "uint8"),
            ArgumentError,
            r"uint8 holds whole numbers from 0 to",
        ),
        (lambda: samplers.randint(0, 3, 2, "complex64"), DtypeError, r"whole numbers in complex64"),
        (lambda: samplers.randperm(-1), ArgumentError, r"randperm\(-1\)"),
        (lambda: samplers.randperm(300, "uint8"), ArgumentError, r"randperm\(300\) in uint8"),
        (lambda: samplers.multinomial([0.0, 0.0], 1), ArgumentError, r"sum of probabilities <= 0"),
        (lambda: samplers.multinomial([1.0, -1.0], 1), ArgumentError, r"or element < 0"),
        (
            lambda: samplers.multinomial([1.0, 1.0], 3),
            ArgumentError,
            r"cannot sample n_sample > prob_dist.size\(-1\)",
        ),
        (lambda: samplers.multinomial(np.ones((1, 1, 1)), 1), ShapeError, r"one or two axes"),
    ],
)
def test_a_mistake_is_refused_in_words(call: Callable[[], object], error: type[Exception], text: str) -> None:
    samplers.manual_seed(1)
    before = samplers.default_generator.get_state()

    with pytest.raises(error, match=text) as raised:
        call()

    assert isinstance(raised.value, RetrogradError)
    assert (samplers.default_generator.get_state() == before).all()


def fma_exactly(a: float, b: float, c: float) -> Fraction:
    return Fraction(a) * Fraction(b) + Fraction(c)


def test_the_float64_multiply_add_rounds_once() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(3000)
    for b, c in ((1.7, 0.3), (1.0, 0.1), (-1 / 3, 1e-17), (1e200, -3e199), (3.0, 0.0), (1e-9, 1e9)):
        expected = [float(fma_exactly(x, b, c)) for x in a.tolist()]
        assert fma64(a, b, c).tolist() == expected


def test_the_float64_multiply_add_rounds_once_at_a_midpoint() -> None:
    """1 + 2⁻⁵³·(1 + 2⁻⁷⁸) lies above the midpoint by less than any float64 sum can show."""
    a = np.array([1 + 2.0**-26])

    assert fma64(a, (1 - 2.0**-26 + 2.0**-52) * 2.0**-53, 1.0).tolist() == [1 + 2.0**-52]


def test_the_float32_multiply_add_rounds_once_at_a_midpoint() -> None:
    """1 + 2⁻²⁴·(1 + 2⁻³³) lies just above a midpoint, 1 + 2⁻²³ + 2⁻²⁴·(1 − 2⁻⁴⁰) just below one.

    float64 rounds both onto the midpoint, whence the even neighbour, the wrong one, would be taken.
    """
    a = np.array([1 + 2.0**-11, 1 + 2.0**-20], dtype=np.float32)
    b = np.array([1 - 2.0**-11 + 2.0**-22, 1 - 2.0**-20], dtype=np.float32) * np.float32(2.0**-24)
    c = np.array([1, 1 + 2.0**-23], dtype=np.float32)

    assert fma32(a, b, c).tolist() == [1 + 2.0**-23, 1 + 2.0**-23]


def test_the_float32_multiply_add_is_within_half_an_ulp() -> None:
    a, b, c = np.random.default_rng(1).standard_normal((3, 5000)).astype(np.float32)

    for x, y, z, got in zip(a.tolist(), b.tolist(), c.tolist(), fma32(a, b, c).tolist()):
        step = Fraction(abs(float(np.spacing(np.float32(got)))))
        assert abs(fma_exactly(x, y, z) - Fraction(got)) * 2 <= step


def test_the_float32_normal_numbers_are_accurate() -> None:
    """Near Box and Muller's formula in float64; the angle, being rounded to float32, sets the tolerance."""
    uniform = np.random.default_rng(2).random((5000, 16)).astype(np.float32)
    radius = np.sqrt(-2 * np.log(1 - uniform[:, :8].astype(np.float64)))
    angle = 2 * np.pi * uniform[:, 8:].astype(np.float64)

    ours = box_muller32(uniform, 0.0, 1.0)

    exact = np.hstack([radius * np.cos(angle), radius * np.sin(angle)])
    np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=4e-6)


# -------------------------------------------------------------------------------------------- with PyTorch


def agrees(torch: ModuleType, ours: Array, theirs: Array) -> bool:
    """Bit for bit where PyTorch has AVX2; elsewhere its own floats differ in the last bits."""
    if ours.dtype.kind != "f" or torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        return same_bits(ours, theirs)
    tolerance = 32 * float(np.finfo(ours.dtype).eps)
    alike = ours.dtype == theirs.dtype and ours.shape == theirs.shape
    return alike and np.allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def in_step(ours: Generator, theirs: Any) -> bool:
    """Whether the next words are the same, and a normal number is kept for later or is not."""
    twin = Generator().set_state(theirs.get_state().numpy())
    same_words = twin.uint32(1000).tolist() == ours.clone_state().uint32(1000).tolist()
    return same_words and (twin.next_normal is None) == (ours.next_normal is None)


Draw = tuple[Callable[[Generator], Array], Callable[[Any, Any], Any]]


def draws(torch: ModuleType, size: int, dtype: str) -> dict[str, Draw]:
    """Pairs of the same draw: ours of our generator, and PyTorch's of its own."""
    kind = getattr(torch, dtype)

    def filled(method: str, *arguments: float) -> Callable[[Any, Any], Any]:
        return lambda torch, g: getattr(torch.empty(size, dtype=kind), method)(*arguments, generator=g)

    return {
        "rand": (
            lambda g: samplers.rand(size, dtype, g),
            lambda torch, g: torch.rand(size, dtype=kind, generator=g),
        ),
        "randn": (
            lambda g: samplers.randn(size, dtype, g),
            lambda torch, g: torch.randn(size, dtype=kind, generator=g),
        ),
        "uniform": (lambda g: samplers.uniform(size, -0.31, 1.77, dtype, g), filled("uniform_", -0.31, 1.77)),
        "normal": (lambda g: samplers.normal(size, 0.3, 1.7, dtype, g), filled("normal_", 0.3, 1.7)),
        "exponential": (lambda g: samplers.exponential(size, 1.7, dtype, g), filled("exponential_", 1.7)),
        "randint": (
            lambda g: samplers.randint(-7, 1000, size, "int64", g),
            lambda torch, g: torch.randint(-7, 1000, (size,), generator=g),
        ),
        "randperm": (
            lambda g: samplers.randperm(size, "int64", g),
            lambda torch, g: torch.randperm(size, generator=g),
        ),
        "bernoulli": (
            lambda g: samplers.bernoulli(size, np.full(size, 0.3, dtype), dtype, g),
            lambda torch, g: torch.bernoulli(torch.full((size,), 0.3, dtype=kind), generator=g),
        ),
    }


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_every_draw_is_pytorchs_and_leaves_the_same_state(torch: ModuleType, size: int, dtype: str) -> None:
    for name, (ours, theirs) in draws(torch, size, dtype).items():
        for seed in SEEDS:
            g, h = seeded(seed), torch.Generator().manual_seed(seed)

            assert agrees(torch, ours(g), theirs(torch, h).numpy()), (name, seed)
            assert in_step(g, h), (name, seed)
            assert g.initial_seed() == h.initial_seed()


@pytest.mark.parametrize("seed", range(20))
def test_mixed_draws_stay_in_step(torch: ModuleType, seed: int) -> None:
    g, h, chance = seeded(seed), torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for _ in range(60):
        pairs = draws(torch, int(chance.integers(0, 40)), str(chance.choice(FLOATS)))
        name = str(chance.choice(list(pairs)))
        ours, theirs = pairs[name]

        assert agrees(torch, ours(g), theirs(torch, h).numpy()), name
    assert in_step(g, h)


def test_many_float32_normal_numbers_are_pytorchs(torch: ModuleType) -> None:
    for seed in (0, 1):
        h = torch.Generator().manual_seed(seed)

        assert agrees(
            torch, samplers.randn(200_003, generator=seeded(seed)), torch.randn(200_003, generator=h).numpy()
        )


@pytest.mark.parametrize("words", [0, 1, 623, 624, 625])
def test_the_bytes_of_a_state_are_pytorchs(torch: ModuleType, words: int) -> None:
    g, h = seeded(-9), torch.Generator().manual_seed(-9)
    samplers.rand(words, generator=g)
    torch.rand(words, generator=h)
    assert same_bits(g.get_state(), h.get_state().numpy())

    samplers.randn(1, generator=g)
    torch.randn(1, generator=h)
    assert same_bits(g.get_state(), h.get_state().numpy())


def test_states_travel_both_ways(torch: ModuleType) -> None:
    h = torch.Generator().manual_seed(77)
    torch.randn(3, generator=h)
    g = Generator().set_state(h.get_state().numpy())
    assert agrees(torch, samplers.randn(50, generator=g), torch.randn(50, generator=h).numpy())

    samplers.randn(1, generator=g)
    h.set_state(torch.from_numpy(g.get_state()))
    assert agrees(torch, samplers.randn(50, generator=g), torch.randn(50, generator=h).numpy())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", *FLOATS])
def test_whole_numbers_are_pytorchs(torch: ModuleType, dtype: str) -> None:
    wide = {"int64": [(-(2**63), 2**63 - 1), (0, 2**28), (0, 2**28 - 1), (-5, 2**40)], "bool": []}
    ranges = [(0, 2), *wide.get(dtype, [(0, 100), (3, 4)])]
    for low, high in ranges:
        g, h = seeded(2), torch.Generator().manual_seed(2)
        theirs = torch.randint(low, high, (33,), dtype=getattr(torch, dtype), generator=h)

        assert agrees(torch, samplers.randint(low, high, 33, dtype, g), theirs.numpy()), (low, high)
        assert in_step(g, h)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", *FLOATS, "bfloat16"])
def test_any_whole_numbers_are_pytorchs(torch: ModuleType, dtype: str) -> None:
    h = torch.Generator().manual_seed(2)
    theirs = torch.empty(33, dtype=getattr(torch, dtype)).random_(generator=h)
    g = rg.Generator().manual_seed(2)
    ours = rg.empty(33, dtype=getattr(rg, dtype)).random_(generator=g)

    assert ours.tolist() == theirs.tolist()
    assert in_step(g, h)


def test_randint_takes_its_sizes_and_ends_by_name() -> None:
    drawn = rg.randint(high=10, size=(32,), generator=seeded(3))

    assert drawn.tolist() == samplers.randint(0, 10, 32, generator=seeded(3)).tolist()


@pytest.mark.parametrize("size", [33, 5_000, 100_000])
def test_long_permutations_are_pytorchs(torch: ModuleType, size: int) -> None:
    theirs = torch.randperm(size, generator=torch.Generator().manual_seed(size))

    assert agrees(torch, samplers.randperm(size, generator=seeded(size)), theirs.numpy())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_permutations_have_pytorchs_dtypes(torch: ModuleType, dtype: str) -> None:
    theirs = torch.randperm(200, dtype=getattr(torch, dtype), generator=torch.Generator().manual_seed(3))

    assert agrees(torch, samplers.randperm(200, dtype, seeded(3)), theirs.numpy())


def intel_with_mkl(torch: ModuleType) -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    vendor = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    return bool(torch.backends.mkl.is_available()) and "GenuineIntel" in vendor


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_and_bernoulli_of_a_number_are_pytorchs(torch: ModuleType, p: float, dtype: str) -> None:
    if intel_with_mkl(torch):
        pytest.skip("on this processor PyTorch draws these from MKL's stream")
    kind = getattr(torch, dtype)
    for size in SIZES:
        torch.manual_seed(size)
        samplers.manual_seed(size)

        dropped = torch.nn.functional.dropout(torch.ones(size, dtype=kind), p)
        assert agrees(torch, samplers.dropout_mask(size, p, dtype), dropped.numpy())
        assert agrees(
            torch, samplers.bernoulli(size, p, dtype), torch.empty(size, dtype=kind).bernoulli_(p).numpy()
        )
        assert agrees(torch, samplers.rand(3), torch.rand(3).numpy())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 7), (1000,)])
def test_multinomial_is_pytorchs(torch: ModuleType, shape: tuple[int, ...], dtype: str) -> None:
    weights = np.random.default_rng(0).random(shape).astype(dtype)
    for replacement in (True, False):
        # float16 numbers often are equal, and PyTorch ranks equals in any order
        counts = {1, min(2, shape[-1]), shape[-1] if dtype != "float16" else 1}
        for count in counts:
            for seed in range(5):
                g, h = seeded(seed), torch.Generator().manual_seed(seed)
                theirs = torch.multinomial(torch.from_numpy(weights), count, replacement, generator=h)

                assert agrees(torch, samplers.multinomial(weights, count, replacement, g), theirs.numpy())
                assert in_step(g, h)
