"""The elementary functions and the text writer under them: errors in ulps, special values, and what LLVM
accepts.

In flow random bit patterns and the corners of each domain; the oracles are mpmath at 50 digits (f64), NumPy
and SciPy in f64 (f32), and C99's annex F as NumPy keeps it. A row added to `TABLE` is tested by these loops;
give it an mpmath reference in `MPMATH` if mpmath has another name for it, and a domain in `DOMAINS` if most
numbers lie outside.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np
import pytest
from vector_functions import (
    AVX512,
    DTYPES,
    REFERENCES,
    Array,
    arity,
    compiled,
    emit_function,
    errors,
    native,
)

from retrograd.compiler.backends.lanes import splat
from retrograd.compiler.backends.math import BOUNDS, FUNCTIONS
from retrograd.compiler.backends.vector import Block, Value, maximum, minimum

NAMES = list(FUNCTIONS)

DOMAINS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(["log", "log2", "log10", "rsqrt", "lgamma", "digamma"], (0, 1e9)),
    **dict.fromkeys(["asin", "acos", "atanh", "erfinv"], (-1, 1)),
    **dict.fromkeys(["sinh", "cosh"], (-715, 715)),
    "exp": (-750, 715),
    "exp2": (-1080, 1030),
    "expm1": (-50, 715),
    "sigmoid": (-750, 45),
    "softplus": (-750, 750),
    "tanh": (-25, 25),
    "log1p": (-1, 1e9),
    "acosh": (1, 1e9),
    "erf": (-7, 7),
    "erfc": (-7, 28),
}
"""Where a function is finite and of interest; elsewhere -1e9 to 1e9."""

MPMATH: dict[str, Callable[..., mpmath.mpf]] = {
    "exp2": lambda x: mpmath.power(2, x),
    "log2": lambda x: mpmath.log(x, 2),
    "log10": lambda x: mpmath.log(x, 10),
    "pow": mpmath.power,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "lgamma": mpmath.loggamma,
    "fmod": lambda x, y: mpmath.sign(x) * mpmath.fmod(abs(x), abs(y)),
    "remainder": mpmath.fmod,
}

CORNERS = np.array(
    [
        0.0,
        1.0,
        0.5,
        2.0,
        3.0,
        2.5,
        1e-5,
        0.25,
        1e30,
        np.inf,
        5e-324,
        1e-310,
        1e-40,
        2.0**24,
        2.0**53,
        90.0,
        710.5,
    ]
)
SIGNED = np.concatenate([CORNERS, -CORNERS, [np.nan]])


def samples(name: str, kind: str, count: int, seed: int) -> list[Array]:
    """Operands: a third any bit pattern, the others over the function's domain, small numbers included."""
    random = np.random.default_rng(seed)
    low, high = DOMAINS.get(name, (-1e9, 1e9))
    bits = {"f32": np.uint32, "f64": np.uint64}[kind]
    operands = []
    for _ in range(arity(name)):
        patterns = random.integers(0, np.iinfo(bits).max, count, dtype=bits, endpoint=True).view(DTYPES[kind])
        small = random.choice([-1.0, 1.0], count) * 2.0 ** random.uniform(-30, 5, count)
        spread = np.concatenate([random.uniform(low, high, count), np.clip(small, low, high)])
        operands.append(np.concatenate([patterns, spread.astype(DTYPES[kind])]))
    return operands


@pytest.mark.parametrize("name", NAMES)
def test_f32_errors_stay_below_the_bound(name: str) -> None:
    operands = samples(name, "f32", 60_000, seed=1)
    result = native(name, "f32")(*operands)
    with np.errstate(all="ignore"):
        reference = REFERENCES[name](*(x.astype(np.float64) for x in operands))
    off = errors(result, reference)
    worst = int(np.argmax(off))
    assert off[worst] <= BOUNDS[name]["f32"], [name, off[worst], *(x[worst] for x in operands), result[worst]]


@pytest.mark.parametrize("name", NAMES)
def test_f64_errors_stay_below_the_bound(name: str) -> None:
    operands = samples(name, "f64", 250, seed=2)
    inside = judged_in_f64(name, operands)
    operands = [x[inside] for x in operands]
    result = native(name, "f64")(*operands)
    for got, *given in zip(result, *operands):
        off = error_of_f64(name, float(got), [float(x) for x in given])
        assert off <= BOUNDS[name]["f64"], [name, off, given, got]


def judged_in_f64(name: str, operands: list[Array]) -> Array:
    """Where mpmath is asked for the value: inside the domain, and where it is not far beyond all numbers."""
    inside: Array = np.logical_and.reduce([np.isfinite(x) for x in operands])
    low, high = DOMAINS.get(name, (-np.inf, np.inf))
    inside &= (operands[0] > low) & (operands[0] < high)
    if name == "pow":
        with np.errstate(all="ignore"):
            inside &= (operands[0] > 0) & (np.abs(operands[1] * np.log2(operands[0])) < 1100)
    return inside


def error_of_f64(name: str, got: float, given: list[float]) -> float:
    """Distance from mpmath's value, in units in the last place."""
    with mpmath.workdps(50):
        exact = MPMATH.get(name, getattr(mpmath, name, None))(*map(mpmath.mpf, given))
        limit = mpmath.mpf(2) ** 1024
        exact = min(max(exact, -limit), limit)
        rounded = limit * (1 if got > 0 else -1) if np.isinf(got) else mpmath.mpf(got)
        exponent = max(int(mpmath.frexp(exact)[1]) - 1, -1022) if exact else -1022
        return float(abs(rounded - exact) / mpmath.mpf(2) ** (min(exponent, 1023) - 52))


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("softplus", "sigmoid", "rsqrt")])
def test_corners_agree_with_c99(name: str, kind: str) -> None:
    grid = np.meshgrid(*[SIGNED.astype(DTYPES[kind])] * arity(name)) if arity(name) == 2 else [SIGNED]
    operands = [x.reshape(-1).astype(DTYPES[kind]) for x in grid]
    result = native(name, kind)(*operands)
    with np.errstate(all="ignore"):
        reference = REFERENCES[name](*operands)
    both_nan = np.isnan(result) & np.isnan(reference)
    close = np.isclose(result, reference, rtol=16 * float(np.finfo(DTYPES[kind]).eps), atol=0)
    close &= np.signbit(result) == np.signbit(reference)
    wrong = ~(both_nan | close | departs(name, operands, result))
    assert not wrong.any(), [
        (*(x[k] for x in operands), result[k], reference[k]) for k in np.flatnonzero(wrong)
    ]


def departs(name: str, operands: list[Array], result: Array) -> Array:
    """Where SciPy is not the oracle: the sign of erfinv(-0); lgamma of tiny numbers."""
    x = operands[0].astype(np.float64)
    if name == "erfinv":
        return (x == 0) & (np.signbit(x) == np.signbit(result)) & (result == 0)
    if name == "lgamma":
        tiny = (np.abs(x) < 1e-300) & (x != 0)
        with np.errstate(all="ignore"):
            return tiny & np.isclose(result, -np.log(np.abs(x)))
    return np.zeros(x.shape, bool)


EXACT = [
    ("exp", [0.0], 1.0),
    ("exp2", [10.0], 1024.0),
    ("log2", [1024.0], 10.0),
    ("log", [1.0], 0.0),
    ("cos", [0.0], 1.0),
    ("tanh", [100.0], 1.0),
    ("sigmoid", [0.0], 0.5),
    ("sigmoid", [np.inf], 1.0),
    ("sigmoid", [-np.inf], 0.0),
    ("softplus", [np.inf], np.inf),
    ("softplus", [-np.inf], 0.0),
    ("softplus", [800.0], 800.0),
    ("rsqrt", [4.0], 0.5),
    ("rsqrt", [0.0], np.inf),
    ("rsqrt", [np.inf], 0.0),
    ("cbrt", [27.0], 3.0),
    ("hypot", [3.0, 4.0], 5.0),
    ("hypot", [np.inf, np.nan], np.inf),
    ("pow", [np.nan, 0.0], 1.0),
    ("pow", [1.0, np.nan], 1.0),
    ("pow", [-2.0, 3.0], -8.0),
    ("pow", [-1.0, np.inf], 1.0),
    ("lgamma", [3.0], np.log(2.0)),
    ("lgamma", [-2.0], np.inf),
    ("digamma", [0.0], -np.inf),
    ("remainder", [-1.0, 3.0], 2.0),
    ("fmod", [-1.0, 3.0], -1.0),
]


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize(("name", "given", "expected"), EXACT)
def test_exact_values(name: str, given: list[float], expected: float, kind: str) -> None:
    dtype = DTYPES[kind].type
    assert native(name, kind)(*(np.array([x], dtype) for x in given))[0] == dtype(expected)


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "rsqrt"])
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(native(name, "f32")(np.array([np.nan], np.float32)))[0]


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_the_angle_nearest_to_a_multiple_of_half_pi(name: str) -> None:
    angle = 6381956970095103.0 * 2.0**797
    for near in (angle, 1e9, np.nextafter(1e9, 2e9), 1e22, -(2.0**1023), np.pi):
        got = native(name, "f64")(np.array([near]))[0]
        assert error_of_f64(name, float(got), [near]) <= BOUNDS[name]["f64"]


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_digamma_and_lgamma_of_negative_numbers(name: str) -> None:
    """Within two ulps of the result or of 1: between any two poles lies a zero, or two."""
    random = np.random.default_rng(3)
    x = np.concatenate([random.uniform(-30, 0, 200), random.uniform(-3, 0, 200), -(2.0 ** -np.arange(60.0))])
    x = x[x != np.rint(x)]
    oracle = {"lgamma": lambda v: mpmath.log(abs(mpmath.gamma(v))), "digamma": mpmath.digamma}[name]
    with mpmath.workdps(50):
        exact = [oracle(mpmath.mpf(v)) for v in x]
        off = [abs(mpmath.mpf(v) - e) for v, e in zip(native(name, "f64")(x), exact)]
    for given, error, reference in zip(x, off, exact):
        assert error <= 2 * np.spacing(max(1.0, abs(float(reference)))), given


def test_the_positive_zeros_of_lgamma_and_digamma() -> None:
    zeros = {"lgamma": (1.0, 2.0), "digamma": (1.4616321449683622,)}
    for name, near in zeros.items():
        for zero in near:
            x = zero + np.concatenate(
                [[-1e-16, 0.0, 1e-16], np.geomspace(1e-15, 0.1, 40), -np.geomspace(1e-15, 0.1, 40)]
            )
            for given, got in zip(x, native(name, "f64")(x)):
                assert error_of_f64(name, float(got), [float(given)]) <= BOUNDS[name]["f64"], given


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_the_guide_states_every_bound(kind: str) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide.md").read_text()
    rows = re.findall(r"^\| ([\d.]+) \| (.*) \| (.*) \|$", guide, re.MULTILINE)
    stated = {
        name: float(bound)
        for bound, *cells in rows
        for name in cells[kind == "f64"].replace("`", "").split(", ")
    }
    stated.pop("", None)
    assert stated == {name: bound[kind] for name, bound in BOUNDS.items()}


@pytest.mark.parametrize("name", NAMES)
def test_scalars_and_vectors_of_any_width_agree(name: str) -> None:
    operands = samples(name, "f32", 50, seed=4)
    wide, narrow = native(name, "f32")(*operands), native(name, "f32", 1)(*operands)
    np.testing.assert_array_equal(wide, narrow)


@pytest.mark.skipif(not AVX512, reason="the processor has no AVX-512")
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", [n for n in NAMES if arity(n) == 1])
def test_instructions_of_avx512_compute_what_plain_ones_do(name: str, kind: str) -> None:
    (x,) = samples(name, kind, 20_000, seed=5)
    x = np.concatenate([x, SIGNED.astype(x.dtype)])
    np.testing.assert_array_equal(native(name, kind)(x), native(name, kind, avx512=False)(x))


@pytest.mark.parametrize("lanes", [1, 2, 16])
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", ["sin", "cos", "tan", "fmod", "remainder"])
def test_the_librarys_routines_put_right_what_private_functions_do(name: str, kind: str, lanes: int) -> None:
    rng, count = np.random.default_rng(6), 4000
    most = np.log2(float(np.finfo(DTYPES[kind]).max))
    x = (np.exp2(rng.uniform(-10, most, count)) * rng.choice([-1, 1], count)).astype(DTYPES[kind])
    operands = [np.concatenate([x, SIGNED.astype(x.dtype)]), np.full(count + SIGNED.size, 0.7, x.dtype)]
    operands = operands[: arity(name)]
    function = FUNCTIONS[name]
    alone = compiled(function, kind, lanes, arity(name))(*operands)
    together = compiled(function, kind, lanes, arity(name), library=True)(*operands)
    np.testing.assert_array_equal(together, alone)


def test_halves_go_by_way_of_f32() -> None:
    x = np.linspace(-4, 4, 33, dtype=np.float16)
    np.testing.assert_array_equal(
        native("tanh", "f16", 8)(x), np.tanh(x.astype(np.float64)).astype(np.float16)
    )


ALLOWED = {"fma", "sqrt", "fabs", "floor", "ceil", "trunc", "roundeven", "copysign", "vector"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_only_intrinsics_that_nvptx_selects(name: str, kind: str) -> None:
    text = emit_function(FUNCTIONS[name], kind, 4, arity(name))
    assert set(re.findall(r"@llvm\.(\w+)", text)) <= ALLOWED


def test_nvptx_makes_code_of_every_function() -> None:
    """In a process of its own, for LLVM ends the process where it cannot."""
    program = """
from llvmlite import binding
from vector_functions import FUNCTIONS, arity, emit_function
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
machine = binding.Target.from_triple("nvptx64-nvidia-cuda").create_target_machine(cpu="sm_70", opt=1)
for name, function in FUNCTIONS.items():
    for kind in ("f32", "f64"):
        machine.emit_assembly(binding.parse_assembly(emit_function(function, kind, 1, arity(name))))
print("done")
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "done", run.stderr


# ---- the text writer ----


@pytest.mark.parametrize(
    "number", [0.0, -0.0, 0.1, 1 / 3, np.inf, -np.inf, np.nan, 5e-324, 1e300, 65519.0, 1e-8]
)
@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_constants_are_exact(number: float, kind: str) -> None:
    made = compiled(lambda x: x.same(number), kind, 4, 1)(np.zeros(4, DTYPES[kind]))
    with np.errstate(all="ignore"):
        expected = np.full(4, number, DTYPES[kind])
    np.testing.assert_array_equal(made.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_conversion_to_integers_truncates_and_wraps(kind: str) -> None:
    """What is beyond 32 bits, and NaN, give the least number of 32; shorter kinds keep the low bits."""
    x = np.array([300.0, -1.9, 1.9, 2.0**31, -(2.0**40), np.inf, -np.inf, np.nan], DTYPES[kind])
    made = compiled(lambda x: x.to("i32"), kind, 8, 1, np.dtype(np.int32))(x)
    assert made.tolist() == [300, -1, 1, *[-(2**31)] * 5]
    short = compiled(lambda x: x.to("u8"), kind, 8, 1, np.dtype(np.uint8))(x)
    assert short.tolist() == [44, 255, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("function", "oracle"), [(maximum, np.maximum), (minimum, np.minimum)])
def test_extremes_keep_nan(function: Callable[..., Value], oracle: Callable[..., Array]) -> None:
    a, b = (x.reshape(-1) for x in np.meshgrid([np.nan, 1.0, 2.0, -np.inf], [np.nan, 1.5, np.inf, 2.0]))
    np.testing.assert_array_equal(compiled(function, "f64", 4, 2)(a, b), oracle(a, b))


def test_equal_instructions_are_written_once_until_a_label() -> None:
    block = Block()
    x = Value(block, "%x", "f32", 8)
    assert (x * 2.0 + 1.0) is (x * 2.0 + 1.0)
    before = x * 2.0
    block.label("next")
    assert (x * 2.0) is not before


def test_a_rare_branch_keeps_what_was_known_before_it() -> None:
    block = Block()
    x = Value(block, "%x", "f64", 4)
    double = x * 2.0
    (joined,) = block.rarely("thrice", x > 1.0, (double,), lambda: (x * 3.0,))
    assert (x * 2.0) is double
    assert joined.ref in block.lines[-1]
    assert sum("fmul" in line for line in block.lines) == 2
    assert block.rarely("thrice", x > 1.0, (double,), lambda: (x * 3.0,)) == (joined,)


def test_contraction_can_be_forbidden() -> None:
    block = Block()
    x = Value(block, "%x", "f32", 1)
    with block.exact():
        _ = x + 1.0
    assert "fadd float" in block.lines[-1]
    _ = x + 1.0
    assert "fadd contract float" in block.lines[-1]


def test_mistakes_are_type_errors() -> None:
    block = Block()
    x, n = Value(block, "%x", "f32", 4), Value(block, "%n", "i32", 4)
    with pytest.raises(TypeError, match="operands differ in type: <4 x float> and <4 x i32>"):
        _ = x + n
    with pytest.raises(TypeError, match="no such operator on <4 x float>"):
        _ = x & 1
    with pytest.raises(TypeError, match=r"0\.5 is no constant of kind i32"):
        _ = n + 0.5
    with pytest.raises(TypeError, match="no truth"):
        bool(x < 1.0)


def test_names_that_end_in_digits_meet_no_others() -> None:
    block = Block()
    names = [block.fresh(prefix) for _ in range(200) for prefix in ("k", "k1", "k11")]
    assert len(set(names)) == len(names)


def test_a_splat_fills_every_lane() -> None:
    block = Block()
    wide = splat(Value(block, "%x", "f32", 1), 8)
    assert (wide.kind, wide.lanes) == ("f32", 8)
    assert "shufflevector <8 x float>" in block.lines[-1]
