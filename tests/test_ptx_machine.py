"""The machine that executes PTX: its arithmetic against exact fractions, and every wrong that it must notice.

Kernels are written by hand here: `kernel` puts a body between declarations of a few registers of each kind.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from ptx_arithmetic import operation
from ptx_contracted import contracted
from ptx_floats import from_bf16, joined, split, to_bf16
from ptx_machine import Machine
from ptx_memory import Memory
from ptx_mma import Shape, product
from ptx_text import Fault, parse

from retrograd.compiler.ir.graph import Array


def kernel(body: str, more: str = "", parameters: int = 1) -> str:
    """A module with the kernel `k`."""
    names = ", ".join(f".param .u64 p{n}" for n in range(parameters))
    kinds = (("pred", "p"), ("b16", "rs"), ("b32", "r"), ("b64", "rd"))
    registers = "\n".join(f".reg .{kind} %{name}<20>;" for kind, name in kinds)
    loads = "\n".join(f"ld.param.b64 %rd{n}, [p{n}];" for n in range(parameters))
    return f".version 7.8\n.target sm_90\n.address_size 64\n{more}\n.visible .entry k({names})\n{{\n{registers}\n{loads}\n{body}\nret;\n}}\n"  # noqa: E501


def executed(text: str, *arrays: Array, grid: int = 1, block: int = 32) -> list[Array]:
    """The arrays after the kernel has run."""
    memory = Memory()
    machine = Machine(parse(text), memory)
    places = [memory.allocate(a.nbytes, f"array {k}") for k, a in enumerate(arrays)]
    for place, a in zip(places, arrays):
        memory.bytes(place, a.nbytes)[:] = a.view(np.uint8).reshape(-1)
    machine.launch("k", grid, block, places)
    return [memory.bytes(p, a.nbytes).view(a.dtype).reshape(a.shape).copy() for p, a in zip(places, arrays)]


MINE = """
mov.u32 %r0, %tid.x;
mov.u32 %r1, %ctaid.x;
mov.u32 %r2, %ntid.x;
mad.lo.s32 %r3, %r1, %r2, %r0;
mul.wide.u32 %rd10, %r3, 4;
add.s64 %rd11, %rd0, %rd10;
"""
"""%r0 is the thread, %r3 its number in the grid, and %rd11 the address of its word."""


# ---- arithmetic --------------------------------------------------------------------------------------------


def nearest(exact: Fraction, dtype: str) -> float:
    """The number of a type that is nearest to a fraction, the even one of two."""
    guess = np.dtype(dtype).type(float(exact))
    near = [guess, np.nextafter(guess, -np.inf), np.nextafter(guess, np.inf)]
    finite = [x for x in near if np.isfinite(x)]
    if not np.isfinite(guess):
        return float(guess)
    bits = np.dtype(f"u{guess.itemsize}")
    return float(min(finite, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(bits)) & 1)))


def hard_numbers(dtype: str, seed: int) -> Array:
    """Of every size, with few bits and with many, and subnormal ones."""
    random, info = np.random.default_rng(seed), np.finfo(dtype)
    with np.errstate(all="ignore"):
        wide = random.standard_normal(400) * 2.0 ** random.integers(
            info.minexp // 2, info.maxexp // 2 - 1, 400
        )
        tiny = random.integers(-9, 9, 100) * float(info.smallest_subnormal)
        few = random.integers(-64, 64, 100) * 2.0 ** random.integers(-4, 4, 100)
        return random.permutation(np.concatenate([wide, tiny, few])).astype(dtype)


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
def test_fma_is_rounded_once(dtype: str) -> None:
    name = f"f{int(dtype[1:]) // 8}"
    a, b, c = (hard_numbers(name, k) for k in range(3))
    c[::3] = -(a[::3].astype("f8") * b[::3].astype("f8")).astype(name)
    c[~np.isfinite(c)] = 1
    with np.errstate(all="ignore"):
        found = operation("fma", ("rn", dtype)).compute(a, b, c)
    for x, y, z, mine in zip(a, b, c, found):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if abs(exact) < Fraction(float(np.finfo(name).max)):
            assert float(mine) == nearest(exact, name), (x, y, z)


def test_fma_is_rounded_down() -> None:
    a, b, c = (hard_numbers("f4", k) for k in range(3))
    with np.errstate(all="ignore"):
        found = operation("fma", ("rm", "f32")).compute(a, b, c)
    for x, y, z, mine in zip(a, b, c, found):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if abs(exact) < Fraction(float(np.finfo("f4").max)):
            assert Fraction(float(mine)) <= exact < Fraction(float(np.nextafter(mine, np.float32(np.inf))))


def test_fma_of_bf16_is_rounded_once() -> None:
    random = np.random.default_rng(3)
    a, b, c = (to_bf16(random.standard_normal(2000) * 2.0 ** random.integers(-9, 9, 2000)) for _ in range(3))
    found = from_bf16(operation("fma", ("rn", "bf16")).compute(a, b, c))
    x, y, z = (from_bf16(v).astype("f8") for v in (a, b, c))
    for p, q, r, mine in zip(x, y, z, found):
        exact = Fraction(p) * Fraction(q) + Fraction(r)
        bits = to_bf16(np.array([float(exact)]))[0]
        near = from_bf16(np.array([bits, bits - 1, bits + 1], "u2"))
        assert abs(Fraction(float(mine)) - exact) == min(abs(Fraction(float(v)) - exact) for v in near)


def test_bf16_is_f32_with_fewer_bits() -> None:
    assert from_bf16(to_bf16(np.array([1.0, -2.5, 3.0e38, np.inf, 0.0]))).tolist() == [
        1.0, -2.5, from_bf16(np.uint16(0x7F62)), np.inf, 0.0,
    ]  # fmt: skip
    assert to_bf16(np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-40])).tolist() == [
        0x3F80,
        0x3F82,
        0x3F81,
    ]
    assert np.isnan(from_bf16(to_bf16(np.array([np.nan]))))[0]


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("to", ["f16", "f32"])
def test_narrowing_rounds_to_the_side_that_is_said(to: str, mode: str) -> None:
    name = f"f{int(to[1:]) // 8}"
    x = np.concatenate([hard_numbers("f4", 5).astype("f8") * (1 + 2**-30), [0.0, -0.0, 1.0, -1e-60, 1e-60]])
    with np.errstate(all="ignore"):
        found = operation("cvt", (mode, to, "f64")).compute(x).astype("f8")
    for value, mine in zip(x, found):
        if not np.isfinite(mine) or abs(value) > float(np.finfo(name).max):
            continue
        assert mine == {
            "rn": lambda v: nearest(Fraction(v), name),
            "rz": lambda v: _side(v, name, v > 0),
            "rm": lambda v: _side(v, name, True),
            "rp": lambda v: _side(v, name, False),
        }[mode](float(value)), value


def _side(value: float, name: str, below: bool) -> float:
    near = np.dtype(name).type(value)
    other = np.nextafter(near, np.dtype(name).type(-np.inf if below else np.inf))
    fits = float(near) <= value if below else float(near) >= value
    return float(near if fits else other)


def test_whole_numbers_of_reals_are_clamped() -> None:
    x = np.array([2.5, -2.5, 3e9, -3e9, np.nan, np.inf, 1e19], "f4")
    assert operation("cvt", ("rzi", "s32", "f32")).compute(x).tolist() == [
        2, -2, 2**31 - 1, -(2**31), 0, 2**31 - 1, 2**31 - 1,
    ]  # fmt: skip
    assert operation("cvt", ("rni", "s64", "f32")).compute(x)[6] == 2**63 - 1
    assert operation("cvt", ("rmi", "u8", "f32")).compute(x).tolist() == [2, 0, 255, 0, 0, 255, 255]


def test_extremes_and_comparisons_know_nan_and_signed_zeros() -> None:
    a, b = np.array([0.0, -0.0, np.nan, 1.0], "f4"), np.array([-0.0, 0.0, 2.0, np.nan], "f4")
    assert np.signbit(operation("min", ("f32",)).compute(a, b)[:2]).all()
    assert not np.signbit(operation("max", ("f32",)).compute(a, b)[:2]).any()
    assert operation("max", ("f32",)).compute(a, b)[2:].tolist() == [2.0, 1.0]
    assert np.isnan(operation("max", ("NaN", "f32")).compute(a, b)[2:]).all()
    for name, expected in (("ne", [False] * 4), ("neu", [False, False, True, True]), ("equ", [True] * 4)):
        assert operation("setp", (name, "f32")).compute(a, b).tolist() == expected


def test_whole_numbers() -> None:
    random = np.random.default_rng(1)
    a, b = (random.integers(0, 2**64, 300, np.uint64) for _ in range(2))
    high = operation("mul", ("hi", "u64")).compute(a, b)
    assert [int(h) for h in high] == [int(x) * int(y) >> 64 for x, y in zip(a, b)]
    signed = operation("mul", ("hi", "s64")).compute(a.view("i8"), b.view("i8"))
    assert [int(h) for h in signed] == [int(x) * int(y) >> 64 for x, y in zip(a.view("i8"), b.view("i8"))]
    p, q = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    assert operation("div", ("s64",)).compute(p, q).tolist() == [3, -3, -3, 3]
    assert operation("rem", ("s64",)).compute(p, q).tolist() == [1, -1, 1, -1]
    word = np.uint32([0x12345678])
    assert hex(operation("prmt", ("b32",)).compute(word, np.uint32(0), np.uint32(0x7770))[0]) == "0x78"
    assert (
        hex(operation("prmt", ("b32",)).compute(word, np.uint32(0x9A), np.uint32(0xC012))[0]) == "0xff785634"
    )
    assert hex(operation("bfe", ("u32",)).compute(word, np.uint32(8), np.uint32(8))[0]) == "0x56"
    assert operation("bfe", ("s32",)).compute(word.view("i4"), np.uint32(4), np.uint32(4))[0] == 7
    assert hex(operation("shf", ("l", "wrap", "b32")).compute(word, word, np.uint32(8))[0]) == "0x34567812"
    assert operation("shr", ("s32",)).compute(np.int32([-8]), np.uint32(40))[0] == -1
    assert operation("clz", ("b32",)).compute(word)[0] == 3
    table = 0b11001010
    assert (
        operation("lop3", ("b32",)).compute(word, ~word, word, table)[0]
        == ((word & ~word) | (~word & word))[0]
    )


def test_pairs_are_two_numbers() -> None:
    a, b = (np.array([[1.5, -2.0], [0.25, 3.0]], "f2") * k for k in (1, 2))
    total = operation("add", ("f16x2",)).compute(joined(a), joined(b))
    assert split(total, "f16x2").tolist() == (a + b).tolist()
    packed = operation("cvt", ("rn", "f16x2", "f32")).compute(np.float32([1.0]), np.float32([2.0]))
    assert split(packed, "f16x2").tolist() == [[2.0, 1.0]]


def test_an_instruction_that_is_not_known_is_told() -> None:
    with pytest.raises(Fault, match=r"PTX line 12, `tex\.1d\.v4 .*`: an instruction that is not known here"):
        executed(kernel("tex.1d.v4 {%r1, %r2, %r3, %r4}, [t, {%r5}];"), np.zeros(1))
    with pytest.raises(Fault, match="not known here"):
        executed(kernel("add.rz.f32 %r1, %r2, %r3;"), np.zeros(1))


def test_products_and_sums_can_be_fused() -> None:
    body = """
    mul.f32 %r4, %r1, %r2;
    add.f32 %r5, %r4, %r3;
    sub.f32 %r6, %r3, %r4;
    mov.b32 %r1, %r2;
    sub.f32 %r7, %r4, %r3;
    mul.rn.f32 %r4, %r1, %r2;
    add.f32 %r8, %r4, %r3;
    """
    (function,) = contracted(parse(kernel(body))).functions.values()
    assert [i.text for i in function.code if i.opcode in ("fma", "neg")] == [
        "add.f32 %r5, %r4, %r3 (fused)", "sub.f32 %r6, %r3, %r4 (fused)", "sub.f32 %r6, %r3, %r4 (fused)",
    ]  # fmt: skip


# ---- threads -----------------------------------------------------------------------------------------------


def test_threads_part_and_meet_again() -> None:
    body = (
        MINE
        + """
    mov.b32 %r5, 0;
    $again:
    add.s32 %r5, %r5, %r0;
    add.s32 %r6, %r6, 1;
    setp.eq.s32 %p1, %r0, 7;
    @%p1 bra $seven;
    bra.uni $next;
    $seven:
    add.s32 %r5, %r5, 1000;
    $next:
    setp.lt.s32 %p2, %r5, 100;
    @!%p2 bra $done;
    setp.ne.s32 %p3, %r0, 0;
    @%p3 bra $again;
    $done:
    st.global.b32 [%rd11], %r5;
    """
    )
    (found,) = executed(kernel(body), np.zeros(64, "i4"), grid=2)

    def total(t: int) -> int:
        return 0 if t == 0 else 1007 if t == 7 else -(-100 // t) * t

    assert found.tolist() == [total(t) for _ in range(2) for t in range(32)]


def test_functions_are_called_by_those_who_call() -> None:
    square = """
    .func (.param .b32 result) square(.param .b32 given)
    {
    .reg .b32 %r<4>;
    ld.param.b32 %r1, [given];
    mul.lo.s32 %r2, %r1, %r1;
    st.param.b32 [result], %r2;
    ret;
    }
    .const .align 4 .b8 three[4] = {3, 0, 0, 0};
    """
    body = (
        MINE
        + """
    ld.const.b32 %r6, [three];
    setp.lt.s32 %p1, %r0, 5;
    @%p1 bra $end;
    { .param .b32 a; .param .b32 b; st.param.b32 [a], %r0; call.uni (b), square, (a); ld.param.b32 %r6, [b]; }
    $end:
    st.global.b32 [%rd11], %r6;
    """
    )
    (found,) = executed(kernel(body, square), np.zeros(32, "i4"))
    assert found.tolist() == [3 if t < 5 else t * t for t in range(32)]


@pytest.mark.parametrize(
    ("mode", "by", "clamp", "expected"),
    [
        ("bfly", 5, 31, lambda t: t ^ 5),
        ("up", 3, 0, lambda t: t - 3 if t >= 3 else t),
        ("down", 3, 31, lambda t: t + 3 if t < 29 else t),
        ("idx", 9, 31, lambda t: 9),
        ("idx", 1, 0x181F, lambda t: t // 8 * 8 + 1),
    ],
)
def test_shuffles(mode: str, by: int, clamp: int, expected: Any) -> None:
    body = MINE + f"shfl.sync.{mode}.b32 %r5|%p1, %r0, {by}, {clamp}, -1;\nst.global.b32 [%rd11], %r5;"
    (found,) = executed(kernel(body), np.zeros(64, "i4"), block=64)
    assert found.tolist() == [t // 32 * 32 + expected(t % 32) for t in range(64)]


def test_matrices_lie_in_a_warps_registers() -> None:
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(s).astype("f2") for s in ((16, 16), (16, 8), (16, 8)))
    lanes = [(lane >> 2, lane % 4) for lane in range(32)]
    held = np.array(
        [[a[g + 8 * (i // 2 % 2), 2 * t + i % 2 + 8 * (i // 4)] for i in range(8)] for g, t in lanes], "f2"
    )
    right = np.array([[b[2 * t + i % 2 + 8 * (i // 2), g] for i in range(4)] for g, t in lanes], "f2")
    start = np.array([[c[g + 8 * (i // 2), 2 * t + i % 2] for i in range(4)] for g, t in lanes], "f4")
    found = product(Shape(16, 8, 16, "f16", "f32"), held.view("u4"), right.view("u4"), start.view("u4"))
    whole = a.astype("f8") @ b.astype("f8") + c
    expected = [[whole[g + 8 * (i // 2), 2 * t + i % 2] for i in range(4)] for g, t in lanes]
    np.testing.assert_allclose(found.view("f4"), expected, rtol=1e-6)


# ---- what is wrong -----------------------------------------------------------------------------------------

SHARED = ".shared .align 16 .b8 tile[256];\n"
WRONG: dict[str, tuple[str, str]] = {
    "beyond": (
        MINE + "st.global.b32 [%rd11+4], %r0;",
        r"in no allocation; array 0 is .*\(k, block 1, thread 31\)",
    ),
    "null": ("mov.b64 %rd1, 0;\nld.global.b32 %r1, [%rd1];", "4 bytes at 0x0 lie in no allocation"),
    "misaligned": ("ld.global.v2.b32 {%r1, %r2}, [%rd0+4];", "is no multiple of 8"),
    "beyond shared": (SHARED + "st.shared.b32 [tile+256], %r0;", "byte 256 of 256 bytes of shared memory"),
    "unwritten": (SHARED + "ld.shared.b32 %r1, [tile+8];", "reads shared memory that nobody has written"),
    "no barrier": (
        SHARED + MINE + """
        mul.wide.u32 %rd1, %r0, 4;
        mov.b64 %rd2, tile;
        add.s64 %rd3, %rd2, %rd1;
        st.shared.b32 [%rd3], %r0;
        xor.b32 %r4, %r0, 1;
        mul.wide.u32 %rd1, %r4, 4;
        add.s64 %rd3, %rd2, %rd1;
        ld.shared.b32 %r5, [%rd3];
        """,
        "reads what thread 1 of block 0 writes, and nothing keeps them apart",
    ),
    "read, then written": (
        SHARED + MINE + """
        setp.eq.s32 %p1, %r0, 0;
        @!%p1 bra $read;
        st.shared.b32 [tile], %r0;
        $read:
        bar.sync 0;
        ld.shared.b32 %r5, [tile];
        setp.eq.s32 %p1, %r0, 3;
        @!%p1 bra $end;
        st.shared.b32 [tile], %r0;
        $end:
        """,
        "writes what several threads reads, and nothing",
    ),
    "two blocks": ("st.global.b32 [%rd0], %ctaid.x;", "writes what thread 31 of block . writes too"),
    "a barrier that some miss": (
        MINE + "setp.lt.s32 %p1, %r0, 9;\n@%p1 bra $end;\nbar.sync 0;\n$end:",
        "waits for threads that do not come: 46 at line .* wait, 18 have ended",
    ),
    "two barriers": (
        MINE + "setp.lt.s32 %p1, %r0, 9;\n@%p1 bra $one;\nbar.sync 0;\nbra $end;\n$one:\nbar.sync 0;\n$end:",
        "waits for threads that do not come: 46 at line .*, 18 at line",
    ),
    "a shuffle of some": (
        MINE + "setp.lt.s32 %p1, %r0, 9;\n@%p1 bra $end;\nshfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\n$end:",
        "reads from lane 8, which does not take part",
    ),
    "constant that changes": (
        MINE + "ld.global.nc.b32 %r1, [%rd11];\nst.global.b32 [%rd11], %r1;",
        r"writes array 0, and reads it as what nobody writes \(ld.global.nc\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name: str) -> None:
    body, message = WRONG[name]
    with pytest.raises(Fault, match=message):
        executed(kernel(body), np.zeros(64, "i4"), grid=2)


def test_a_barrier_keeps_threads_apart() -> None:
    body = WRONG["no barrier"][0].replace("xor", "bar.sync 0;\nxor") + "st.global.b32 [%rd11], %r5;"
    (found,) = executed(kernel(body), np.zeros(64, "i4"), grid=2)
    assert found.tolist() == [t ^ 1 for _ in range(2) for t in range(32)]


def test_a_launch_is_as_the_kernel_says() -> None:
    text = kernel("").replace("\n{", "\n.maxntid 64\n{", 1)
    assert parse(text).functions["k"].threads == 64
    with pytest.raises(Fault, match="64 threads at most"):
        executed(text, np.zeros(1), block=65)
    with pytest.raises(Fault, match="1 parameters, and 2 are given"):
        executed(text, np.zeros(1), np.zeros(1))


def test_freed_memory_is_no_memory() -> None:
    memory = Memory()
    place = memory.allocate(64, "a")
    memory.free(place)
    with pytest.raises(Fault, match="lie in no allocation"):
        memory.bytes(place, 4)
    with pytest.raises(Fault, match="no allocation begins"):
        memory.free(place)
