"""Seldom and costly work, done lane by lane in a private function of the module.

`per_lane` calls such a function for every lane of some Values; `reduce_huge` is the one that brings an angle
of any size into [-pi/4, pi/4]. To add one, write a function of scalar Values and hand it to `per_lane`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from retrograd.compiler.backends.math.floats import NAN, Words, fast_two_sum
from retrograd.compiler.backends.shared import call, define
from retrograd.compiler.backends.vector import Block, Value, fabs, fma, select

Scalars = tuple[Value, ...]

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


def per_lane(
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
    """(high, low, quadrant) of angles of f64: x = quadrant * pi/2 + high + low, modulo 2 pi. For |x| > 2**-9.

    Payne and Hanek, Radian reduction for trigonometric functions, 1983.
    """
    return per_lane("retrograd_reduce_huge", _reduce_huge, ("f64", "f64", "i64"), x)  # type: ignore[return-value]


def _reduce_huge(x: Value) -> Scalars:
    """Multiplies |x| = m * 2**e by the 192 bits of 2 / pi that matter.

    Those are the bits from e - 1 on: earlier ones make multiples of 4 quadrants. In the product, the top two
    bits count quadrants.
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
