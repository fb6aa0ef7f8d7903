"""Loops over rows of any length, as LLVM text: for what takes NumPy many passes.

In flow a function of vectors (`compiler.backends.math`); out flows a module with

    void loop(ptr from, ptr to, i64 rows, i64 columns)

that writes as many rows of as many columns. No size is part of the code. A further loop is a function here,
and an entry in `loops.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Template

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.vector import Block, Means, Value, maximum, sqrt

Code = Callable[[Value], Value]

LANES = {"f32": 16, "f64": 8}
"""Elements of a vector, by kind."""


def elementwise(code: Code, kind: str, avx512: bool) -> str:
    """Each element by itself. All are one row."""
    each = _Piece("each", "x", code, kind, avx512)
    return _filled(_ELEMENTWISE, kind, each)


def softmax(kind: str, avx512: bool) -> str:
    """`exp(x - max x) / Σ exp(x - max x)` of each row; the sum is one of as many sums as there are lanes."""
    return _by_the_sum("share_result", lambda total: total, "fdiv", kind, avx512)


def log_softmax(kind: str, avx512: bool) -> str:
    """`x - max x - log Σ exp(x - max x)` of each row."""
    return _by_the_sum("low", FUNCTIONS["log"], "fsub", kind, avx512)


def _by_the_sum(kept: str, code: Code, join: str, kind: str, avx512: bool) -> str:
    """Each share, or how far an element lies below the greatest, joined with a function of the sum."""
    top = _Piece("top", "x", lambda x: maximum(Value(x.block, "%most", x.kind, x.lanes), x), kind, avx512)
    share = _Piece("share", "low", FUNCTIONS["exp"], kind, avx512)
    total = _Piece("total", "whole", code, kind, avx512)
    names = share.names | {"low": "%low"}
    return _filled(_SOFTMAX, kind, top, share, total, kept=names[kept], join=join)


def standardised(eps: float, kind: str, avx512: bool) -> str:
    """`(x - mean) / sqrt(variance + eps)` of each row; the variance is the mean square of `x - mean`."""
    root = _Piece("root", "spread", lambda x: sqrt(x + eps), kind, avx512)
    return _filled(_STANDARDISED, kind, root)


class _Piece:
    """The code of a function in a basic block called `label`, of the value `%name`."""

    def __init__(self, label: str, name: str, code: Code, kind: str, avx512: bool) -> None:
        block = Block(label, means=Means(avx512=avx512))
        result = code(Value(block, f"%{name}", kind, LANES[kind]))
        self.names = {
            label: "\n".join(line.replace("%v", f"%{label}.v") for line in block.lines[1:]),
            f"{label}_result": result.ref.replace("%v", f"%{label}.v"),
            f"{label}_end": block.here,
        }
        self.declarations = block.declarations


def _filled(text: str, kind: str, *pieces: _Piece, **more: str) -> str:
    lanes, element = LANES[kind], LLVM_TYPES[kind]
    names = {
        "lanes": str(lanes),
        "vector": f"<{lanes} x {element}>",
        "element": element,
        "suffix": f"v{lanes}{kind}",
        "steps": ", ".join(f"i64 {k}" for k in range(lanes)),
        "least": f"splat ({element} 0xFFF0000000000000)",
    }
    declarations = {name: each for piece in pieces for name, each in piece.declarations.items()}
    for piece in pieces:
        names |= piece.names
    names |= more
    return "\n".join([*declarations.values(), Template(_COMMON + text).substitute(names)])


_COMMON = """
declare $vector @llvm.masked.load.$suffix.p0(ptr, i32, <$lanes x i1>, $vector)
declare void @llvm.masked.store.$suffix.p0($vector, ptr, i32, <$lanes x i1>)
declare $element @llvm.vector.reduce.fmaximum.$suffix($vector)
declare $element @llvm.vector.reduce.fadd.$suffix($element, $vector)

; Which lanes of the vector that begins at column `at` are columns.
define internal <$lanes x i1> @inside(i64 %at, i64 %columns) nounwind {
  %one = insertelement <$lanes x i64> poison, i64 %at, i64 0
  %all = shufflevector <$lanes x i64> %one, <$lanes x i64> poison, <$lanes x i32> zeroinitializer
  %places = add <$lanes x i64> %all, <$steps>
  %end = insertelement <$lanes x i64> poison, i64 %columns, i64 0
  %ends = shufflevector <$lanes x i64> %end, <$lanes x i64> poison, <$lanes x i32> zeroinitializer
  %are = icmp ult <$lanes x i64> %places, %ends
  ret <$lanes x i1> %are
}

define internal $vector @everywhere($element %x) nounwind {
  %one = insertelement $vector poison, $element %x, i64 0
  %all = shufflevector $vector %one, $vector poison, <$lanes x i32> zeroinitializer
  ret $vector %all
}
"""

_ELEMENTWISE = """
define void @loop(ptr %from, ptr %to, i64 %rows, i64 %columns) nounwind {
entry:
  br label %next
next:
  %at = phi i64 [ 0, %entry ], [ %at_next, %$each_end ]
  %more = icmp ult i64 %at, %columns
  br i1 %more, label %each, label %end
each:
  %mask = call <$lanes x i1> @inside(i64 %at, i64 %columns)
  %source = getelementptr $element, ptr %from, i64 %at
  %target = getelementptr $element, ptr %to, i64 %at
  %x = call $vector @llvm.masked.load.$suffix.p0(ptr %source, i32 1, <$lanes x i1> %mask,
                                                    $vector zeroinitializer)
$each
  call void @llvm.masked.store.$suffix.p0($vector $each_result, ptr %target, i32 1, <$lanes x i1> %mask)
  %at_next = add i64 %at, $lanes
  br label %next
end:
  ret void
}
"""

_SOFTMAX = """
define void @loop(ptr %from, ptr %to, i64 %rows, i64 %columns) nounwind {
entry:
  br label %next
next:
  %row = phi i64 [ 0, %entry ], [ %row_next, %divide ]
  %more = icmp ult i64 %row, %rows
  br i1 %more, label %begin, label %end
begin:
  %offset = mul i64 %row, %columns
  %sources = getelementptr $element, ptr %from, i64 %offset
  %targets = getelementptr $element, ptr %to, i64 %offset
  br label %seek
seek:
  %i = phi i64 [ 0, %begin ], [ %i_next, %$top_end ]
  %most = phi $vector [ $least, %begin ], [ $top_result, %$top_end ]
  %i_more = icmp ult i64 %i, %columns
  br i1 %i_more, label %top, label %found
top:
  %i_mask = call <$lanes x i1> @inside(i64 %i, i64 %columns)
  %i_source = getelementptr $element, ptr %sources, i64 %i
  %x = call $vector @llvm.masked.load.$suffix.p0(ptr %i_source, i32 1, <$lanes x i1> %i_mask,
                                                    $vector $least)
$top
  %i_next = add i64 %i, $lanes
  br label %seek
found:
  %best = call $element @llvm.vector.reduce.fmaximum.$suffix($vector %most)
  %bests = call $vector @everywhere($element %best)
  br label %add
add:
  %j = phi i64 [ 0, %found ], [ %j_next, %$share_end ]
  %sums = phi $vector [ zeroinitializer, %found ], [ %sums_next, %$share_end ]
  %j_more = icmp ult i64 %j, %columns
  br i1 %j_more, label %share, label %added
share:
  %j_mask = call <$lanes x i1> @inside(i64 %j, i64 %columns)
  %j_source = getelementptr $element, ptr %sources, i64 %j
  %j_target = getelementptr $element, ptr %targets, i64 %j
  %y = call $vector @llvm.masked.load.$suffix.p0(ptr %j_source, i32 1, <$lanes x i1> %j_mask,
                                                    $vector $least)
  %low = fsub $vector %y, %bests
$share
  call void @llvm.masked.store.$suffix.p0($vector $kept, ptr %j_target, i32 1, <$lanes x i1> %j_mask)
  %counted = select <$lanes x i1> %j_mask, $vector $share_result, $vector zeroinitializer
  %sums_next = fadd $vector %sums, %counted
  %j_next = add i64 %j, $lanes
  br label %add
added:
  %sum = call $element @llvm.vector.reduce.fadd.$suffix($element 0.0, $vector %sums)
  %whole = call $vector @everywhere($element %sum)
  %row_next = add i64 %row, 1
  br label %total
total:
$total
  br label %divide
divide:
  %k = phi i64 [ 0, %$total_end ], [ %k_next, %part ]
  %k_more = icmp ult i64 %k, %columns
  br i1 %k_more, label %part, label %next
part:
  %k_mask = call <$lanes x i1> @inside(i64 %k, i64 %columns)
  %k_target = getelementptr $element, ptr %targets, i64 %k
  %z = call $vector @llvm.masked.load.$suffix.p0(ptr %k_target, i32 1, <$lanes x i1> %k_mask,
                                                    $vector zeroinitializer)
  %q = $join $vector %z, $total_result
  call void @llvm.masked.store.$suffix.p0($vector %q, ptr %k_target, i32 1, <$lanes x i1> %k_mask)
  %k_next = add i64 %k, $lanes
  br label %divide
end:
  ret void
}
"""

_STANDARDISED = """
define void @loop(ptr %from, ptr %to, i64 %rows, i64 %columns) nounwind {
entry:
  %whole = uitofp i64 %columns to $element
  %count = call $vector @everywhere($element %whole)
  br label %next
next:
  %row = phi i64 [ 0, %entry ], [ %row_next, %divide ]
  %more = icmp ult i64 %row, %rows
  br i1 %more, label %begin, label %end
begin:
  %offset = mul i64 %row, %columns
  %sources = getelementptr $element, ptr %from, i64 %offset
  %targets = getelementptr $element, ptr %to, i64 %offset
  br label %add
add:
  %i = phi i64 [ 0, %begin ], [ %i_next, %term ]
  %sums = phi $vector [ zeroinitializer, %begin ], [ %sums_next, %term ]
  %i_more = icmp ult i64 %i, %columns
  br i1 %i_more, label %term, label %added
term:
  %i_mask = call <$lanes x i1> @inside(i64 %i, i64 %columns)
  %i_source = getelementptr $element, ptr %sources, i64 %i
  %x = call $vector @llvm.masked.load.$suffix.p0(ptr %i_source, i32 1, <$lanes x i1> %i_mask,
                                                    $vector zeroinitializer)
  %sums_next = fadd $vector %sums, %x
  %i_next = add i64 %i, $lanes
  br label %add
added:
  %sum = call $element @llvm.vector.reduce.fadd.$suffix($element 0.0, $vector %sums)
  %total = call $vector @everywhere($element %sum)
  %mean = fdiv $vector %total, %count
  br label %square
square:
  %j = phi i64 [ 0, %added ], [ %j_next, %far ]
  %squares = phi $vector [ zeroinitializer, %added ], [ %squares_next, %far ]
  %j_more = icmp ult i64 %j, %columns
  br i1 %j_more, label %far, label %squared
far:
  %j_mask = call <$lanes x i1> @inside(i64 %j, i64 %columns)
  %j_source = getelementptr $element, ptr %sources, i64 %j
  %j_target = getelementptr $element, ptr %targets, i64 %j
  %y = call $vector @llvm.masked.load.$suffix.p0(ptr %j_source, i32 1, <$lanes x i1> %j_mask,
                                                    $vector zeroinitializer)
  %low = fsub $vector %y, %mean
  call void @llvm.masked.store.$suffix.p0($vector %low, ptr %j_target, i32 1, <$lanes x i1> %j_mask)
  %counted = select <$lanes x i1> %j_mask, $vector %low, $vector zeroinitializer
  %low_squared = fmul $vector %counted, %counted
  %squares_next = fadd $vector %squares, %low_squared
  %j_next = add i64 %j, $lanes
  br label %square
squared:
  %square_sum = call $element @llvm.vector.reduce.fadd.$suffix($element 0.0, $vector %squares)
  %square_total = call $vector @everywhere($element %square_sum)
  %spread = fdiv $vector %square_total, %count
  %row_next = add i64 %row, 1
  br label %root
root:
$root
  br label %divide
divide:
  %k = phi i64 [ 0, %$root_end ], [ %k_next, %part ]
  %k_more = icmp ult i64 %k, %columns
  br i1 %k_more, label %part, label %next
part:
  %k_mask = call <$lanes x i1> @inside(i64 %k, i64 %columns)
  %k_target = getelementptr $element, ptr %targets, i64 %k
  %z = call $vector @llvm.masked.load.$suffix.p0(ptr %k_target, i32 1, <$lanes x i1> %k_mask,
                                                    $vector zeroinitializer)
  %q = fdiv $vector %z, $root_result
  call void @llvm.masked.store.$suffix.p0($vector %q, ptr %k_target, i32 1, <$lanes x i1> %k_mask)
  %k_next = add i64 %k, $lanes
  br label %divide
end:
  ret void
}
"""
