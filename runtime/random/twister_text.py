"""The Mersenne Twister over a state in native memory, as LLVM text: words in PyTorch's order.

In flow the address of a `State` (`generator.py`), whose fields stand where `OFFSETS` says; out flow words:

    void words(ptr state, ptr to, i64 count)      the next `count` words, copied
    void ready(ptr state)                         the words of a seed that has not been used yet
    void temper(ptr state)                        what is handed out, of the words as they are

A state is turned as a whole, 624 words by vectors, and so is what is handed out of it. Nothing here locks:
callers hold the interpreter's lock, which makes a draw one step for every thread.

Algorithm: M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998).
"""

from __future__ import annotations

from string import Template

LANES = 8
COUNT = 624
"""Words of a state."""

OFFSETS = {
    "position": 0,
    "pending": 8,
    "fresh": 16,
    "seed": 24,
    "normal": 32,
    "has_normal": 40,
    "turn": 48,
    "words": 64,
    "tempered": 2624,
}
"""Bytes from the beginning of a state to its fields."""
STATE_BYTES = OFFSETS["tempered"] + 4 * COUNT

_SHIFT = 397
_WIDTHS = {LANES: f"<{LANES} x i32>", 1: "i32"}


def _vector(number: int, lanes: int) -> str:
    return str(number) if lanes == 1 else f"splat (i32 {number})"


def _stretch(label: str, first: int, last: int, lanes: int) -> str:
    """Words `first` to below `last` are turned, so many at a time; each takes the word 397 places on, in the
    circle, as it is by then."""
    onward = _SHIFT if first < COUNT - _SHIFT else _SHIFT - COUNT
    names = {
        "label": label,
        "first": first,
        "last": last,
        "lanes": lanes,
        "type": _WIDTHS[lanes],
        "onward": onward,
        "top": _vector(-(2**31), lanes),
        "low": _vector(2**31 - 1, lanes),
        "one": _vector(1, lanes),
        "matrix": _vector(0x9908B0DF, lanes),
    }
    return Template(_STRETCH).substitute(names)


_STRETCH = """
define internal void @turn_$label(ptr %words) nounwind {
entry:
  br label %one
one:
  %i = phi i64 [ $first, %entry ], [ %i_next, %one ]
  %at = getelementptr i32, ptr %words, i64 %i
  %next_at = getelementptr i32, ptr %at, i64 1
  %other_at = getelementptr i32, ptr %at, i64 $onward
  %this = load $type, ptr %at, align 4
  %next = load $type, ptr %next_at, align 4
  %other = load $type, ptr %other_at, align 4
  %top = and $type %this, $top
  %low = and $type %next, $low
  %joined = or $type %top, %low
  %half = lshr $type %joined, $one
  %odd = and $type %next, $one
  %mask = sub $type zeroinitializer, %odd
  %twist = and $type %mask, $matrix
  %twisted = xor $type %half, %twist
  %new = xor $type %other, %twisted
  store $type %new, ptr %at, align 4
  %i_next = add i64 %i, $lanes
  %more = icmp ult i64 %i_next, $last
  br i1 %more, label %one, label %end
end:
  ret void
}
"""

_BEFORE = COUNT - _SHIFT
_WHOLE = _BEFORE - _BEFORE % LANES
_BEHIND = COUNT - 1 - (COUNT - 1 - _BEFORE) % LANES
_STRETCHES = {
    "first": (0, _WHOLE, LANES),
    "second": (_WHOLE, _BEFORE, 1),
    "third": (_BEFORE, _BEHIND, LANES),
    "last": (_BEHIND, COUNT, 1),
}

_TWISTER = """
declare ptr @memcpy(ptr, ptr, i64)

define internal ptr @field(ptr %state, i64 %offset) nounwind {
  %at = getelementptr i8, ptr %state, i64 %offset
  ret ptr %at
}

; The words of the state's seed.
define void @ready(ptr %state) nounwind {
entry:
  %pending_at = call ptr @field(ptr %state, i64 $pending)
  %pending = load i64, ptr %pending_at
  %is = icmp ne i64 %pending, 0
  br i1 %is, label %begin, label %end
begin:
  store i64 0, ptr %pending_at
  %seed_at = call ptr @field(ptr %state, i64 $seed)
  %seed = load i64, ptr %seed_at
  %first = trunc i64 %seed to i32
  %words = call ptr @field(ptr %state, i64 $words)
  store i32 %first, ptr %words
  br label %next
next:
  %i = phi i32 [ 1, %begin ], [ %i_next, %next ]
  %before = phi i32 [ %first, %begin ], [ %word, %next ]
  %high = lshr i32 %before, 30
  %mixed = xor i32 %before, %high
  %scaled = mul i32 %mixed, 1812433253
  %word = add i32 %scaled, %i
  %at = getelementptr i32, ptr %words, i32 %i
  store i32 %word, ptr %at
  %i_next = add i32 %i, 1
  %more = icmp ult i32 %i_next, $count
  br i1 %more, label %next, label %end
end:
  ret void
}

define void @temper(ptr %state) nounwind {
entry:
  %words = call ptr @field(ptr %state, i64 $words)
  %out = call ptr @field(ptr %state, i64 $tempered)
  br label %one
one:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %at = getelementptr i32, ptr %words, i64 %i
  %to = getelementptr i32, ptr %out, i64 %i
  %a = load $vector, ptr %at, align 4
  %a_high = lshr $vector %a, splat (i32 11)
  %b = xor $vector %a, %a_high
  %b_low = shl $vector %b, splat (i32 7)
  %b_part = and $vector %b_low, splat (i32 u0x9D2C5680)
  %c = xor $vector %b, %b_part
  %c_low = shl $vector %c, splat (i32 15)
  %c_part = and $vector %c_low, splat (i32 u0xEFC60000)
  %d = xor $vector %c, %c_part
  %d_high = lshr $vector %d, splat (i32 18)
  %e = xor $vector %d, %d_high
  store $vector %e, ptr %to, align 4
  %i_next = add i64 %i, $lanes
  %more = icmp ult i64 %i_next, $count
  br i1 %more, label %one, label %end
end:
  ret void
}

; All words anew.
define internal void @refill(ptr %state) nounwind {
  call void @ready(ptr %state)
  %words = call ptr @field(ptr %state, i64 $words)
  %behind = getelementptr i32, ptr %words, i64 $count
  call void @turn_first(ptr %words)
  %again = load i32, ptr %words
  store i32 %again, ptr %behind                        ; the last word takes the first one, new
  call void @turn_second(ptr %words)
  call void @turn_third(ptr %words)
  call void @turn_last(ptr %words)
  call void @temper(ptr %state)
  %position_at = call ptr @field(ptr %state, i64 $position)
  store i64 0, ptr %position_at
  %fresh_at = call ptr @field(ptr %state, i64 $fresh)
  store i64 0, ptr %fresh_at
  ret void
}

; Notes that something was taken.
define internal void @count_turn(ptr %state) nounwind {
  %turn_at = call ptr @field(ptr %state, i64 $turn)
  %turn = load i64, ptr %turn_at
  %turn_next = add i64 %turn, 1
  store i64 %turn_next, ptr %turn_at
  ret void
}

define void @words(ptr %state, ptr %to, i64 %count) nounwind {
entry:
  %position_at = call ptr @field(ptr %state, i64 $position)
  %tempered = call ptr @field(ptr %state, i64 $tempered)
  call void @count_turn(ptr %state)
  br label %next
next:
  %done = phi i64 [ 0, %entry ], [ %done, %fill ], [ %done_next, %copy ]
  %left = sub i64 %count, %done
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %look, label %end
look:
  %position = load i64, ptr %position_at
  %there = sub i64 $count, %position
  %none = icmp eq i64 %there, 0
  br i1 %none, label %fill, label %copy
fill:
  call void @refill(ptr %state)
  br label %next
copy:
  %n = call i64 @llvm.umin.i64(i64 %there, i64 %left)
  %from = getelementptr i32, ptr %tempered, i64 %position
  %at = getelementptr i32, ptr %to, i64 %done
  %bytes = shl i64 %n, 2
  call ptr @memcpy(ptr %at, ptr %from, i64 %bytes)
  %position_next = add i64 %position, %n
  store i64 %position_next, ptr %position_at
  %done_next = add i64 %done, %n
  br label %next
end:
  ret void
}
declare i64 @llvm.umin.i64(i64, i64)
"""


def twister() -> str:
    """The module's text."""
    turns = [_stretch(label, *how) for label, how in _STRETCHES.items()]
    common = {"count": COUNT, "lanes": LANES, "vector": _WIDTHS[LANES]}
    return "\n".join([*turns, Template(_TWISTER).substitute(OFFSETS, **common)])
