"""What is drawn of random words, as LLVM text: one function for each law and kind of element.

In flow a generator's state, out flow numbers:

    void LAW_KIND(ptr state, ptr to, i64 count, ptr parameters)
    i1 below_KIND(ptr state, ptr to, i64 count, ptr chances)

that writes `count` elements in order; parameters are 64-bit words, as `laws.py` makes them. `below` writes
ones with the probabilities in an array of the same kind; it draws nothing and is false where one is none. A
law by which each element is a function of one word, or of a pair, is a row of `_EACH`; those that call the C
library are in `library_text.py`, those that reject numbers in `rejection_text.py`; others are texts of their
own.

Three things decide the last bit. PyTorch's kernels use fused multiply-adds, and so does this; its float32
Box-Muller kernel evaluates Cephes' polynomials (`_log`, `_sine_and_cosine`); all else calls the C library.

Sources: G. Box and M. Muller, "A note on the generation of random normal deviates" (1958); S. Moshier's
Cephes library (logf, sinf, cosf), whose coefficients PyTorch's AVX2 kernel uses too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from string import Template
from typing import NamedTuple

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.vector import Block, Value, fma, select, sqrt
from retrograd.runtime.random.library_text import LIBRARY
from retrograd.runtime.random.normal_text import NORMAL
from retrograd.runtime.random.rejection_text import REJECTION

CHUNK = 512
"""Elements worked on at a time."""

FLOATING = ("f32", "f64")
"""Kinds of elements that are drawn; others are made of them."""

Parameters = dict[str, Value]


class _Each(NamedTuple):
    """A law by which each element stands for itself."""

    kind: str
    lanes: int
    wide: bool
    """Whether it is made of a pair of words."""
    parameters: dict[str, str]
    """The kinds of what its parameters are, by name, in order."""
    code: Callable[[Value, Parameters], Value]
    """The elements of the words, `i32` or `i64`."""


def _unit32(word: Value) -> Value:
    """Numbers in [0, 1) of 24 bits."""
    return (word & (2**24 - 1)).to("f32") * 2.0**-24


def _unit64(word: Value) -> Value:
    """The same of 53 bits."""
    return (word & (2**53 - 1)).to("f64") * 2.0**-53


def _between(unit: Value, p: Parameters) -> Value:
    """What is rounded up to the end, which is excluded, becomes the beginning."""
    value = fma(unit, p["range"], p["low"])
    return select(value.eq(p["high"]), p["low"], value)


def _whether(kind: str) -> Callable[[Value, Parameters], Value]:
    def code(word: Value, p: Parameters) -> Value:
        return select(_unit64(word) < p["chance"], p["bits"].to(kind), 0)

    return code


def _whole(word: Value, p: Parameters) -> Value:
    """The remainder, by a quotient in double: exact, since neither has more than 32 bits."""
    number = word.unsigned("i64").to("f64")
    quotient = word.block.convert("fptosi", number / p["range"].to("f64"), "i64")
    return word.unsigned("i64") - quotient * p["range"] + p["low"]


def _whole_wide(word: Value, p: Parameters) -> Value:
    text = f"urem {word.type} {word.ref}, {p['range'].ref}"
    return word.block.pure(text, "i64", word.lanes) + p["low"]


_BOUNDS, _RANGE = ("low", "range", "high"), {"low": "i64", "range": "i64"}
_CHANCE = {"chance": "f64", "bits": "i64"}
_EACH = {
    "unit_f32": _Each("f32", 16, False, {}, lambda word, _: _unit32(word)),
    "unit_f64": _Each("f64", 8, True, {}, lambda word, _: _unit64(word)),
    "uniform_f32": _Each(
        "f32", 16, False, dict.fromkeys(_BOUNDS, "f32"), lambda word, p: _between(_unit32(word), p)
    ),
    "uniform_f64": _Each(
        "f64", 8, True, dict.fromkeys(_BOUNDS, "f64"), lambda word, p: _between(_unit64(word), p)
    ),
    "whether_i8": _Each("i8", 8, True, _CHANCE, _whether("i8")),
    "whether_i16": _Each("i16", 8, True, _CHANCE, _whether("i16")),
    "whether_i32": _Each("i32", 8, True, _CHANCE, _whether("i32")),
    "whether_i64": _Each("i64", 8, True, _CHANCE, _whether("i64")),
    "whole_i64": _Each("i64", 8, False, _RANGE, _whole),
    "whole_wide_i64": _Each("i64", 1, True, _RANGE, _whole_wide),
    "pairs_i64": _Each("i64", 8, True, {}, lambda word, _: word),
}


def laws() -> str:
    """The module's text, without the twister's."""
    pieces = [_each(name, law) for name, law in _EACH.items()]
    pieces.append(_normal_rows())
    declarations = {name: text for _, found in pieces for name, text in found.items()}
    texts = [text for text, _ in pieces]
    texts += [Template(_BELOW).substitute(kind=k, element=LLVM_TYPES[k], bytes=_BYTES[k]) for k in FLOATING]
    rest = Template(_SEQUENCES + NORMAL).substitute(chunk=CHUNK)
    return "\n".join([*declarations.values(), *texts, rest, LIBRARY, REJECTION])


Piece = tuple[str, dict[str, str]]
"""A function, and what it declares."""


def _each(name: str, law: _Each) -> Piece:
    block = Block("one", contract=False)
    kind = "i64" if law.wide else "i32"
    drawn = Value(block, "%drawn", kind, law.lanes)
    word = (drawn << 32) | drawn.lshr(32) if law.wide else drawn  # the first word of a pair is the high half
    parameters = {p: Value(block, f"%{p}", k, law.lanes) for p, k in law.parameters.items()}
    result = law.code(word, parameters)
    names = {
        "name": name,
        "code": "\n".join(block.lines[1:]),
        "result": result.ref,
        "type": result.type,
        "element": LLVM_TYPES[law.kind],
        "bytes": _BYTES[law.kind],
        "words": drawn.type,
        "word": LLVM_TYPES[kind],
        "lanes": law.lanes,
        "each": 2 if law.wide else 1,
        "chunk": CHUNK,
        "room": 2 * CHUNK + 32,
        "parameters": "\n".join(
            _parameter(p, place, k, law.lanes) for place, (p, k) in enumerate(law.parameters.items())
        ),
    }
    return Template(_ONE_BY_ONE).substitute(names), block.declarations


_BYTES = {"i8": 1, "i16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8}


def _parameter(name: str, place: int, kind: str, lanes: int) -> str:
    """A parameter in all lanes."""
    element = LLVM_TYPES[kind]
    lines = [f"  %{name}_at = getelementptr i64, ptr %parameters, i64 {place}"]
    if lanes == 1:
        return "\n".join([*lines, f"  %{name} = load {element}, ptr %{name}_at"])
    vector = f"<{lanes} x {element}>"
    lines += [
        f"  %{name}_one = load {element}, ptr %{name}_at",
        f"  %{name}_first = insertelement {vector} poison, {element} %{name}_one, i64 0",
        f"  %{name} = shufflevector {vector} %{name}_first, {vector} poison, <{lanes} x i32> zeroinitializer",
    ]
    return "\n".join(lines)


_ONE_BY_ONE = """
define void @$name(ptr %state, ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  %buffer = alloca [$room x i32], align 64
  %rest = alloca $type, align 64
$parameters
  br label %next
next:
  %done = phi i64 [ 0, %entry ], [ %done_next, %made ]
  %left = sub i64 %count, %done
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %draw, label %end
draw:
  %n = call i64 @llvm.umin.i64(i64 %left, i64 $chunk)
  %words = mul i64 %n, $each
  call void @words(ptr %state, ptr %buffer, i64 %words)
  br label %one
one:
  %i = phi i64 [ 0, %draw ], [ %i_next, %step ]
  %from = getelementptr $word, ptr %buffer, i64 %i
  %drawn = load $words, ptr %from, align 4
$code
  %place = add i64 %done, %i
  %out = getelementptr $element, ptr %to, i64 %place
  %i_next = add i64 %i, $lanes
  %whole = icmp ule i64 %i_next, %n
  br i1 %whole, label %all, label %some
all:
  store $type $result, ptr %out, align $bytes
  br label %step
some:
  store $type $result, ptr %rest
  %few = sub i64 %n, %i
  %few_bytes = mul i64 %few, $bytes
  call ptr @memcpy(ptr %out, ptr %rest, i64 %few_bytes)
  br label %step
step:
  %again = icmp ult i64 %i_next, %n
  br i1 %again, label %one, label %made
made:
  %done_next = add i64 %done, %n
  br label %next
end:
  ret void
}
"""

_BELOW = """
define i1 @below_$kind(ptr %state, ptr %to, i64 %count, ptr %chances) nounwind {
entry:
  br label %check
check:
  %k = phi i64 [ 0, %entry ], [ %k_next, %check_one ]
  %unchecked = icmp slt i64 %k, %count
  br i1 %unchecked, label %check_one, label %draw
check_one:
  %chance_at = getelementptr $element, ptr %chances, i64 %k
  %chance = load $element, ptr %chance_at
  %not_less = fcmp oge $element %chance, 0.0
  %not_more = fcmp ole $element %chance, 1.0
  %sound = and i1 %not_less, %not_more
  %k_next = add i64 %k, 1
  br i1 %sound, label %check, label %no
draw:
  call void @unit_$kind(ptr %state, ptr %to, i64 %count, ptr null)
  br label %next
next:
  %i = phi i64 [ 0, %draw ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %at = getelementptr $element, ptr %to, i64 %i
  %p_at = getelementptr $element, ptr %chances, i64 %i
  %unit = load $element, ptr %at
  %p = load $element, ptr %p_at
  %is = fcmp olt $element %unit, %p
  %value = uitofp i1 %is to $element
  store $element %value, ptr %at
  %i_next = add i64 %i, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}
"""

# ---- normal numbers ----------------------------------------------------------------------------------------

_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)


def _polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """Horner's rule with fused multiply-adds; the highest power comes first."""
    value = x.same(coefficients[0])
    for coefficient in coefficients[1:]:
        value = fma(value, x, coefficient)
    return value


def _log(x: Value) -> Value:
    """log(x) for normal x > 0: x = m·2^e with m around one, and a polynomial in m − 1."""
    bits = x.bits()
    mantissa = ((bits & 0x7FFFFF) | 0x3F000000).as_float()
    low = mantissa < math.sqrt(0.5)
    exponent = select(low, bits.lshr(23) - 127, bits.lshr(23) - 126).to("f32")
    m = select(low, mantissa + mantissa, mantissa) - 1.0
    square = m * m
    tail = fma(_polynomial(m, _LOG) * m, square, exponent * _LN2_LOW)
    tail = fma(square, -0.5, tail)
    return fma(exponent, _LN2_HIGH, m + tail)


def _sine_and_cosine(x: Value) -> tuple[Value, Value]:
    """sin(x) and cos(x) for x ≥ 0; an even multiple of π/4, in three parts, is taken off first."""
    octant = (x.block.convert("fptosi", x * (4 / math.pi), "i32") + 1) & ~1
    count = octant.to("f32")
    for part in _QUARTER_PI:
        x = fma(count, -part, x)
    square = x * x
    half = square * 0.5
    near_one = fma(_polynomial(square, _COS) * square, square, -half) + 1.0
    near_x = fma(_polynomial(square, _SIN) * square, x, x)
    swap = (octant & 2).ne(0)
    sine, cosine = select(swap, near_one, near_x), select(swap, near_x, near_one)
    sine_falls, cosine_falls = (octant & 4).ne(0), ((octant + 2) & 4).ne(0)
    return select(sine_falls, -sine, sine), select(cosine_falls, -cosine, cosine)


def _normal_rows() -> Piece:
    """Rows of sixteen uniform numbers become normal ones, in float32 as PyTorch's AVX2 kernel does it."""
    block = Block("one", contract=False)
    turn, angle, mean, std = (Value(block, f"%{name}", "f32", 8) for name in ("u", "v", "mean", "std"))
    radius = sqrt(_log(1.0 - turn) * -2.0)
    sine, cosine = _sine_and_cosine(angle * (2 * math.pi))
    first, second = fma(radius * cosine, std, mean), fma(radius * sine, std, mean)
    names = {
        "code": "\n".join(block.lines[1:]),
        "first": first.ref,
        "second": second.ref,
        "parameters": "\n".join(_parameter(p, k, "f32", 8) for k, p in enumerate(("mean", "std"))),
    }
    return Template(_ROWS).substitute(names), block.declarations


_ROWS = """
define internal void @rows_f32(ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
$parameters
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %u_at = getelementptr float, ptr %to, i64 %i
  %v_at = getelementptr float, ptr %u_at, i64 8
  %u = load <8 x float>, ptr %u_at, align 4
  %v = load <8 x float>, ptr %v_at, align 4
$code
  store <8 x float> $first, ptr %u_at, align 4
  store <8 x float> $second, ptr %v_at, align 4
  %i_next = add i64 %i, 16
  br label %next
end:
  ret void
}
"""

# ---- one after the other -----------------------------------------------------------------------------------

_SEQUENCES = """
declare double @log(double)
declare double @log1p(double)
declare double @sin(double)
declare double @cos(double)
declare double @llvm.sqrt.f64(double)
declare double @llvm.fma.f64(double, double, double)

define internal void @count_up(ptr %to, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %at = getelementptr i64, ptr %to, i64 %i
  store i64 %i, ptr %at
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}

; Each place swaps with itself or a later one.
define void @order_i64(ptr %state, ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  %buffer = alloca [$chunk x i32], align 64
  call void @count_up(ptr %to, i64 %count)
  %swaps = sub i64 %count, 1
  br label %next
next:
  %done = phi i64 [ 0, %entry ], [ %done_next, %made ]
  %left = sub i64 %swaps, %done
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %draw, label %end
draw:
  %n = call i64 @llvm.umin.i64(i64 %left, i64 $chunk)
  call void @words(ptr %state, ptr %buffer, i64 %n)
  br label %one
one:
  %i = phi i64 [ 0, %draw ], [ %i_next, %one ]
  %word_at = getelementptr i32, ptr %buffer, i64 %i
  %word = load i32, ptr %word_at
  %place = add i64 %done, %i
  %choices = sub i64 %count, %place
  %choices_int = trunc i64 %choices to i32
  %chosen = urem i32 %word, %choices_int
  %step = zext i32 %chosen to i64
  %at = getelementptr i64, ptr %to, i64 %place
  %other_at = getelementptr i64, ptr %at, i64 %step
  %this = load i64, ptr %at
  %other = load i64, ptr %other_at
  store i64 %this, ptr %other_at
  store i64 %other, ptr %at
  %i_next = add i64 %i, 1
  %again = icmp ult i64 %i_next, %n
  br i1 %again, label %one, label %made
made:
  %done_next = add i64 %done, %n
  br label %next
end:
  ret void
}

; Each place swaps with itself or an earlier one, of which a pair of words chooses.
define void @order_wide_i64(ptr %state, ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  %buffer = alloca [$chunk x i64], align 64
  call void @count_up(ptr %to, i64 %count)
  br label %next
next:
  %done = phi i64 [ 0, %entry ], [ %done_next, %made ]
  %left = sub i64 %count, %done
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %draw, label %end
draw:
  %n = call i64 @llvm.umin.i64(i64 %left, i64 $chunk)
  call void @pairs_i64(ptr %state, ptr %buffer, i64 %n, ptr null)
  br label %one
one:
  %i = phi i64 [ 0, %draw ], [ %i_next, %one ]
  %word_at = getelementptr i64, ptr %buffer, i64 %i
  %word = load i64, ptr %word_at
  %place = add i64 %done, %i
  %choices = add i64 %place, 1
  %chosen = urem i64 %word, %choices
  %at = getelementptr i64, ptr %to, i64 %place
  %other_at = getelementptr i64, ptr %to, i64 %chosen
  %other = load i64, ptr %other_at
  store i64 %other, ptr %at
  store i64 %place, ptr %other_at
  %i_next = add i64 %i, 1
  %again = icmp ult i64 %i_next, %n
  br i1 %again, label %one, label %made
made:
  %done_next = add i64 %done, %n
  br label %next
end:
  ret void
}
"""
