"""Seldom and costly work, done aside: where a function's usual way does not do.

`amended` puts right, in what was computed the usual way, the lanes that want it. On a processor a routine of
the library does so in memory (`amending` is its text): code that hardly ever runs is not compiled with every
program. On a GPU it is a private function of the module, called lane by lane. To add such work, write a row
of `ASIDES`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.math.floats import NAN, Words, fast_two_sum
from retrograd.compiler.backends.shared import call, define
from retrograd.compiler.backends.vector import Block, Value, fabs, fma, select
from retrograd.compiler.record import record

Scalars = tuple[Value, ...]


@record(slots=True)
class Aside:
    """What to do, and where; both for Values of any width, though `right` is asked for scalars alone."""

    wanted: Callable[..., Value]
    """Which operands want it."""
    right: Callable[..., Scalars]
    """The results for such operands."""


ASIDES: dict[str, Aside] = {}
"""By name; a library's routine is called `retrograd_NAME_KIND`, by the kind of its operands."""

_ALIGNED = 4
"""Bytes to which results lie in memory, for all that their loads and stores know."""

FEW = 4
"""Vectors of so many lanes at most, as a GPU's, need no loop over them."""

# The first 1216 bits of 2 / pi, after 64 zeros.
TWO_OVER_PI = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41,
    0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB,
)  # fmt: skip

HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
"""pi / 2 in two words."""


def amended(name: str, operands: tuple[Value, ...], usual: tuple[Value, ...]) -> tuple[Value, ...]:
    """The usual results, put right in the lanes that want it."""
    aside, block = ASIDES[name], operands[0].block
    symbol, wanted = f"retrograd_{name}_{operands[0].kind}", aside.wanted(*operands)

    def rare() -> tuple[Value, ...]:
        if block.means.library:
            return _in_memory(symbol, operands, usual)
        found = _per_lane(symbol, aside.right, tuple(u.kind for u in usual), *operands)
        return tuple(select(wanted, a, b) for a, b in zip(found, usual, strict=True))

    again = symbol if block.means.library or operands[0].kind == "f32" else None  # a GPU has no room for more
    return block.rarely(again, wanted, usual, rare)


def _in_memory(symbol: str, operands: tuple[Value, ...], usual: tuple[Value, ...]) -> tuple[Value, ...]:
    """The usual results after a routine has seen to them."""
    block, places = operands[0].block, []
    for value in (*operands, *usual):
        places.append(block.room(value))
        block.do(f"store {value.type} {value.ref}, ptr {places[-1]}, align {_ALIGNED}")
    types = ", ".join("ptr" for _ in places)
    block.declare(symbol, f"declare void @{symbol}({types}, i64)")
    block.do(f"call void @{symbol}({', '.join(f'ptr {p}' for p in places)}, i64 {operands[0].lanes})")
    return tuple(
        block.emit(f"load {u.type}, ptr {place}, align {_ALIGNED}", u.kind, u.lanes)
        for place, u in zip(places[len(operands) :], usual, strict=True)
    )


def amending(name: str, kind: str) -> str:
    """The routine that puts results right: it takes the addresses of the operands and of the results, and
    the number of lanes."""
    aside, block = ASIDES[name], Block()
    lane, following, loop, inside, after, done = map(
        block.fresh, ("lane", "lane", "loop", "inside", "after", "done")
    )
    count = len(inspect.signature(aside.wanted).parameters)

    def place(k: int, kind: str) -> str:
        return block.pure(f"getelementptr {LLVM_TYPES[kind]}, ptr %p{k}, i64 %{lane}", "ptr").ref

    block.do(f"br label %{loop}")
    block.label(loop)
    block.do(f"%{lane} = phi i64 [ 0, %entry ], [ %{following}, %{after} ]")
    operands = [block.emit(f"load {LLVM_TYPES[kind]}, ptr {place(k, kind)}", kind) for k in range(count)]
    block.do(f"br i1 {aside.wanted(*operands).ref}, label %{inside}, label %{after}")
    block.label(inside)
    results = aside.right(*operands)
    for k, value in enumerate(results, start=count):
        block.do(f"store {value.type} {value.ref}, ptr {place(k, value.kind)}")
    block.do(f"br label %{after}")
    block.label(after)
    block.do(f"%{following} = add i64 %{lane}, 1")
    more = block.emit(f"icmp slt i64 %{following}, %lanes", "i1")
    block.do(f"br i1 {more.ref}, label %{loop}, label %{done}")
    block.label(done)
    block.do("ret void")
    given = ", ".join(f"ptr %p{k}" for k in range(count + len(results)))
    signature = f"define void @retrograd_{name}_{kind}({given}, i64 %lanes) #0"
    return "\n".join([f"{signature} {{", *block.body, "}", *block.declarations.values()])


def _per_lane(
    name: str, function: Callable[..., Scalars], results: tuple[str, ...], *operands: Value
) -> Scalars:
    """`function` of each lane of the operands; it gives scalars of the kinds in `results`."""
    block, lanes = operands[0].block, operands[0].lanes
    define(block, name, function, [Value(v.block, v.ref, v.kind, 1) for v in operands])
    if lanes == 1:
        return call(block, name, results, operands)
    if lanes <= FEW:
        return _one_by_one(block, name, results, operands)
    before, loop, after = block.here, block.fresh("lanes"), block.fresh("after")
    block.do(f"br label %{loop}")
    block.label(loop)
    lane, following = block.fresh("lane"), block.fresh("lane")
    block.do(f"%{lane} = phi i32 [ 0, %{before} ], [ %{following}, %{loop} ]")
    names = [block.fresh("all") for _ in results]
    vectors = [Value(block, f"%{n}", kind, lanes) for n, kind in zip(names, results)]
    sofar = [
        block.emit(f"phi {v.type} [ poison, %{before} ], [ {v.ref}, %{loop} ]", v.kind, lanes)
        for v in vectors
    ]
    scalars = [block.emit(f"extractelement {v.type} {v.ref}, i32 %{lane}", v.kind) for v in operands]
    for whole, old, new in zip(vectors, sofar, call(block, name, results, tuple(scalars))):
        block.do(f"{whole.ref} = insertelement {whole.type} {old.ref}, {new.type} {new.ref}, i32 %{lane}")
    block.do(f"%{following} = add i32 %{lane}, 1")
    more = block.emit(f"icmp ult i32 %{following}, {lanes}", "i1")
    block.do(f"br i1 {more.ref}, label %{loop}, label %{after}")
    block.label(after)
    return tuple(vectors)


def _one_by_one(block: Block, name: str, results: tuple[str, ...], operands: Scalars) -> Scalars:
    """The calls without a loop: no lane is chosen by a number known only at run time, so vectors stay in
    registers."""
    lanes = operands[0].lanes
    whole = [block.constant(kind, lanes, 0) for kind in results]
    for k in range(lanes):
        scalars = (block.pure(f"extractelement {v.type} {v.ref}, i32 {k}", v.kind) for v in operands)
        for j, one in enumerate(call(block, name, results, tuple(scalars))):
            old = whole[j]
            text = f"insertelement {old.type} {old.ref}, {one.type} {one.ref}, i32 {k}"
            whole[j] = block.pure(text, old.kind, lanes)
    return tuple(whole)


def reduce_huge(x: Value) -> tuple[Value, Value, Value]:
    """(high, low, quadrant) of an angle, a scalar of f64: x = quadrant * pi/2 + high + low, modulo 2 pi. For
    |x| > 2**-9.

    Multiplies |x| = m * 2**e by the 192 bits of 2 / pi that matter: those from e - 1 on, as earlier ones make
    multiples of 4 quadrants. In the product, the top two bits count quadrants. After Payne and Hanek, Radian
    reduction for trigonometric functions, 1983.
    """
    pattern = fabs(x).bits()
    exponent = pattern.lshr(52)
    m = pattern & (1 << 52) - 1 | 1 << 52
    start = exponent - (1075 - 62)  # of the 192 bits, in TWO_OVER_PI
    start = select(start < 0, 0, select(exponent.eq(2047), 0, start))
    first, second, third = _bits_of_two_over_pi(start)
    wide = m.unsigned("i128")
    below = (wide * third.unsigned("i128")).lshr(64)
    product = wide * second.unsigned("i128") + below + ((m * first).unsigned("i128") << 64)
    quadrant = (product + (1 << 125)).lshr(126)
    rest = product - (quadrant << 126)  # signed, in units of 2**-126 quadrants
    high, low = _angle(select(rest < 0, -rest, rest))
    invalid = exponent.eq(2047)
    flip = (rest < 0) ^ (x < 0.0)
    high = select(invalid, NAN, select(flip, -high, high))
    quadrant = quadrant.to("i64")
    return high, select(flip, -low, low), select(x < 0.0, -quadrant, quadrant)


def _bits_of_two_over_pi(start: Value) -> tuple[Value, Value, Value]:
    """Three words of bits, from bit number `start` of TWO_OVER_PI on."""
    block, count = start.block, len(TWO_OVER_PI)
    table = f"[{count} x i64] [{', '.join(f'i64 {word}' for word in TWO_OVER_PI)}]"
    block.declare("retrograd_two_over_pi", f"@retrograd_two_over_pi = private constant {table}")
    word, shift = start.lshr(6), start & 63
    words = []
    for k in range(4):
        place = f"getelementptr i64, ptr @retrograd_two_over_pi, i64 {(word + k).ref}"
        words.append(block.emit(f"load i64, ptr {block.emit(place, 'ptr').ref}", "i64"))
    first, second, third = (
        left << shift | right.lshr(1).lshr(63 - shift) for left, right in itertools.pairwise(words)
    )
    return first, second, third


def _angle(rest: Value) -> Words:
    """`rest` * 2**-126 quadrants, for 0 <= rest <= 2**125, as an angle in two words."""
    forty = (1 << 40) - 1
    top, middle, bottom = (
        part.to("i64").to("f64") * 2.0 ** (shift - 126)
        for part, shift in ((rest.lshr(80), 80), (rest.lshr(40) & forty, 40), (rest & forty, 0))
    )
    high, low = fast_two_sum(top, middle)
    high, low = fast_two_sum(high, low + bottom)
    angle = high * HALF_PI[0]
    return angle, fma(high, HALF_PI[0], -angle) + fma(high, HALF_PI[1], low * HALF_PI[0])
