"""The kernels that move elements, as LLVM text: they are read or written where indices say, or in an order.

In flow the sizes and kinds of elements; out flow modules of functions as in `kernels_text.py`. An index below
0 counts from the end; one out of range is answered by 1, and what was written is not used.
"""

from __future__ import annotations

from string import Template

from retrograd.compiler.backends.kinds import FLOATS, LLVM_TYPES

MOST_AXES = 8
"""Of a copy, and of operands and results."""

COPY = Template("""
; Elements of $size bytes to and from anywhere. Sizes: how many axes, at least one; their extents; the steps
; in bytes of the result; those of the operand.
define i64 @copy$size(ptr %arrays, ptr %sizes) nounwind {
entry:
  %places = alloca i64, i64 $most
  call void @llvm.memset.p0.i64(ptr %places, i8 0, i64 $bytes, i1 false)
  %axes = load i64, ptr %sizes
  %last = sub i64 %axes, 1
  %extents = getelementptr i64, ptr %sizes, i64 1
  %to_steps = getelementptr i64, ptr %extents, i64 $most
  %from_steps = getelementptr i64, ptr %to_steps, i64 $most
  %to = load ptr, ptr %arrays
  %from_at = getelementptr ptr, ptr %arrays, i64 1
  %from = load ptr, ptr %from_at
  %extent_at = getelementptr i64, ptr %extents, i64 %last
  %extent = load i64, ptr %extent_at
  %to_step_at = getelementptr i64, ptr %to_steps, i64 %last
  %to_step = load i64, ptr %to_step_at
  %from_step_at = getelementptr i64, ptr %from_steps, i64 %last
  %from_step = load i64, ptr %from_step_at
  br label %line
line:
  %target = phi ptr [ %to, %entry ], [ %target_moved, %found ]
  %source = phi ptr [ %from, %entry ], [ %source_moved, %found ]
  br label %each
each:
  %i = phi i64 [ 0, %line ], [ %i_next, %each ]
  %t = phi ptr [ %target, %line ], [ %t_next, %each ]
  %s = phi ptr [ %source, %line ], [ %s_next, %each ]
  %x = load $type, ptr %s, align 1
  store $type %x, ptr %t, align 1
  %t_next = getelementptr i8, ptr %t, i64 %to_step
  %s_next = getelementptr i8, ptr %s, i64 %from_step
  %i_next = add i64 %i, 1
  %more = icmp slt i64 %i_next, %extent
  br i1 %more, label %each, label %carry
carry:                                                 ; as an odometer: the last axis but one turns first
  %axis = phi i64 [ %last, %each ], [ %above, %full ]
  %t0 = phi ptr [ %target, %each ], [ %t_back, %full ]
  %s0 = phi ptr [ %source, %each ], [ %s_back, %full ]
  %outermost = icmp sle i64 %axis, 0
  br i1 %outermost, label %end, label %turn
turn:
  %above = sub i64 %axis, 1
  %place_at = getelementptr i64, ptr %places, i64 %above
  %place = load i64, ptr %place_at
  %place_next = add i64 %place, 1
  %size_at = getelementptr i64, ptr %extents, i64 %above
  %size = load i64, ptr %size_at
  %t_step_at = getelementptr i64, ptr %to_steps, i64 %above
  %t_step = load i64, ptr %t_step_at
  %s_step_at = getelementptr i64, ptr %from_steps, i64 %above
  %s_step = load i64, ptr %s_step_at
  %room = icmp slt i64 %place_next, %size
  br i1 %room, label %found, label %full
full:
  store i64 0, ptr %place_at
  %t_span = mul i64 %t_step, %place
  %s_span = mul i64 %s_step, %place
  %t_less = sub i64 0, %t_span
  %s_less = sub i64 0, %s_span
  %t_back = getelementptr i8, ptr %t0, i64 %t_less
  %s_back = getelementptr i8, ptr %s0, i64 %s_less
  br label %carry
found:
  store i64 %place_next, ptr %place_at
  %target_moved = getelementptr i8, ptr %t0, i64 %t_step
  %source_moved = getelementptr i8, ptr %s0, i64 %s_step
  br label %line
end:
  ret i64 0
}
""")

PLACE = Template("""
; Elements at places of a flat operand, and where the place is below 0 those of another one. Sizes: how many.
; The arrays: the result, the operand, the places, the others.
define i64 @place$size(ptr %arrays, ptr %sizes) nounwind {
entry:
  %count = load i64, ptr %sizes
  %to = load ptr, ptr %arrays
  %from_at = getelementptr ptr, ptr %arrays, i64 1
  %from = load ptr, ptr %from_at
  %places_at = getelementptr ptr, ptr %arrays, i64 2
  %places = load ptr, ptr %places_at
  %others_at = getelementptr ptr, ptr %arrays, i64 3
  %others = load ptr, ptr %others_at
  br label %next
next:
  %at = phi i64 [ 0, %entry ], [ %at_next, %one ]
  %more = icmp slt i64 %at, %count
  br i1 %more, label %one, label %end
one:
  %place_at = getelementptr i64, ptr %places, i64 %at
  %place = load i64, ptr %place_at
  %absent = icmp slt i64 %place, 0
  %base = select i1 %absent, ptr %others, ptr %from
  %chosen = select i1 %absent, i64 %at, i64 %place
  %x_at = getelementptr $type, ptr %base, i64 %chosen
  %x = load $type, ptr %x_at
  %to_at = getelementptr $type, ptr %to, i64 %at
  store $type %x, ptr %to_at
  %at_next = add i64 %at, 1
  br label %next
end:
  ret i64 0
}
""")

INDEXED = Template("""
; $what Sizes: before, indices, after, size, and the steps in elements of the indices along the three axes
; before, indices and after.
define i64 @$name(ptr %arrays, ptr %sizes) nounwind {
entry:
  $loads
  %to = load ptr, ptr %arrays
  %from_at = getelementptr ptr, ptr %arrays, i64 1
  %from = load ptr, ptr %from_at
  %index_at = getelementptr ptr, ptr %arrays, i64 2
  %index = load ptr, ptr %index_at
  %inner = mul i64 %count, %after
  %total = mul i64 %inner, %before
  br label %next
next:
  %at = phi i64 [ 0, %entry ], [ %at_next, %read ]
  %more = icmp slt i64 %at, %total
  br i1 %more, label %one, label %end
one:
  %a = udiv i64 %at, %inner
  %rest = urem i64 %at, %inner
  %k = udiv i64 %rest, %after
  %b = urem i64 %rest, %after
  %i0 = mul i64 %a, %step_before
  %i1 = mul i64 %k, %step_count
  %i2 = mul i64 %b, %step_after
  %i01 = add i64 %i0, %i1
  %i = add i64 %i01, %i2
  %chosen_at = getelementptr i64, ptr %index, i64 %i
  %chosen = load i64, ptr %chosen_at
  %negative = icmp slt i64 %chosen, 0
  %wrapped = add i64 %chosen, %size
  %place = select i1 %negative, i64 %wrapped, i64 %chosen
  %inside = icmp ult i64 %place, %size
  br i1 %inside, label %read, label %outside
read:
  %row = mul i64 %a, %size
  %at_row = add i64 %row, %place
  %at_start = mul i64 %at_row, %after
  %apart = add i64 %at_start, %b
  %x_at = getelementptr $type, ptr %from, i64 $from
  %x = load $type, ptr %x_at
  %to_at = getelementptr $type, ptr %to, i64 $to
  $combine
  store $type %new, ptr %to_at
  %at_next = add i64 %at, 1
  br label %next
end:
  ret i64 0
outside:
  ret i64 1
}
""")

_INDEXED_SIZES = ("before", "count", "after", "size", "step_before", "step_count", "step_after")
_GATHERED = "x of `[before, size, after]` at indices along its middle axis."
_SCATTERED = "Elements written to a result of `[before, size, after]` at indices along its middle axis."
_SUMMED = "The same, added to what is there."


def _indexed(name: str, what: str, type_: str, from_: str, to: str, combine: str) -> str:
    loads = "\n  ".join(
        f"%{size}_at_ = getelementptr i64, ptr %sizes, i64 {k}\n  %{size} = load i64, ptr %{size}_at_"
        for k, size in enumerate(_INDEXED_SIZES)
    )
    names = {"name": name, "what": what, "type": type_, "from": from_, "to": to, "combine": combine}
    return INDEXED.substitute(names, loads=loads)


def moving() -> str:
    """The copies, gathers and scatters, for elements of any size that there is."""
    parts = ["declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"]
    for size in (1, 4, 8):
        type_ = f"i{8 * size}"
        names = {"size": size, "type": type_, "most": MOST_AXES, "bytes": 8 * MOST_AXES}
        itself = f"%new = or {type_} %x, 0"
        parts += [
            COPY.substitute(names),
            PLACE.substitute(names),
            _indexed(f"gather{size}", _GATHERED, type_, "%apart", "%at", itself),
            _indexed(f"scatter{size}", _SCATTERED, type_, "%at", "%apart", itself),
        ]
    return "\n".join(parts)


def summing(name: str, kind: str) -> tuple[str, dict[str, str]]:
    """Elements added up where indices say, in their order."""
    type_ = LLVM_TYPES[kind]
    add = "fadd" if kind in FLOATS else "add"
    combine = f"%old = load {type_}, ptr %to_at\n  %new = {add} {type_} %old, %x"
    return _indexed(name, _SUMMED, type_, "%at", "%apart", combine), {}


# ---- sorting -----------------------------------------------------------------------------------------------

SORT = Template("""
; The places that sort each row of a matrix, by insertion: equal elements keep their order. Sizes: rows and
; columns.
define i64 @$name(ptr %arrays, ptr %sizes) nounwind {
entry:
  %rows = load i64, ptr %sizes
  %columns_at = getelementptr i64, ptr %sizes, i64 1
  %columns = load i64, ptr %columns_at
  %to = load ptr, ptr %arrays
  %from_at = getelementptr ptr, ptr %arrays, i64 1
  %from = load ptr, ptr %from_at
  br label %next
next:
  %row = phi i64 [ 0, %entry ], [ %row_next, %turned ]
  %more = icmp slt i64 %row, %rows
  br i1 %more, label %begin, label %end
begin:
  %start = mul i64 %row, %columns
  %places = getelementptr i64, ptr %to, i64 %start
  %line = getelementptr $type, ptr %from, i64 %start
  br label %each
each:
  %i = phi i64 [ 0, %begin ], [ %i_next, %insert ]
  %unsorted = icmp slt i64 %i, %columns
  br i1 %unsorted, label %take, label %turned
take:
  %x_at = getelementptr $type, ptr %line, i64 %i
  %x = load $type, ptr %x_at
  br label %look
look:
  %j = phi i64 [ %i, %take ], [ %j_before, %shift ]
  %first = icmp eq i64 %j, 0
  br i1 %first, label %insert, label %compare
compare:
  %j_before = sub i64 %j, 1
  %before_at = getelementptr i64, ptr %places, i64 %j_before
  %before = load i64, ptr %before_at
  %y_at = getelementptr $type, ptr %line, i64 %before
  %y = load $type, ptr %y_at
  $precedes
  br i1 %precedes, label %shift, label %insert
shift:
  %shifted_at = getelementptr i64, ptr %places, i64 %j
  store i64 %before, ptr %shifted_at
  br label %look
insert:
  %place_at = getelementptr i64, ptr %places, i64 %j
  store i64 %i, ptr %place_at
  %i_next = add i64 %i, 1
  br label %each
turned:
  %row_next = add i64 %row, 1
  br label %next
end:
  ret i64 0
}
""")


def sorting(name: str, kind: str, descending: bool) -> tuple[str, dict[str, str]]:
    """NaN counts as the greatest."""
    type_ = "i8" if kind == "i1" else LLVM_TYPES[kind]
    less, more = ("%y", "%x") if descending else ("%x", "%y")
    if kind in FLOATS:
        precedes = (
            f"%less = fcmp olt {type_} {less}, {more}\n  %number = fcmp ord {type_} {less}, {less}\n  "
            f"%nan = fcmp uno {type_} {more}, {more}\n  %last = and i1 %number, %nan\n  "
            "%precedes = or i1 %less, %last"
        )
    else:
        precedes = f"%precedes = icmp {'ult' if kind == 'i1' else 'slt'} {type_} {less}, {more}"
    return SORT.substitute(name=name, type=type_, precedes=precedes), {}


# ---- products ----------------------------------------------------------------------------------------------

PRODUCT = Template("""
; Products of matrices `[batch, m, k]` and `[batch, k, n]`, each element a sum in order. Sizes: batch, m, n,
; k.
define i64 @$name(ptr %arrays, ptr %sizes) nounwind {
entry:
  %batches = load i64, ptr %sizes
  %m_at = getelementptr i64, ptr %sizes, i64 1
  %m = load i64, ptr %m_at
  %n_at = getelementptr i64, ptr %sizes, i64 2
  %n = load i64, ptr %n_at
  %k_at = getelementptr i64, ptr %sizes, i64 3
  %k = load i64, ptr %k_at
  %to = load ptr, ptr %arrays
  %a_at = getelementptr ptr, ptr %arrays, i64 1
  %a = load ptr, ptr %a_at
  %b_at = getelementptr ptr, ptr %arrays, i64 2
  %b = load ptr, ptr %b_at
  %one_b = mul i64 %k, %n
  %rows = mul i64 %batches, %m
  br label %next
next:
  %row = phi i64 [ 0, %entry ], [ %row_next, %turned ]
  %more = icmp slt i64 %row, %rows
  br i1 %more, label %begin, label %end
begin:
  %batch = udiv i64 %row, %m
  %a_start = mul i64 %row, %k
  %a_row = getelementptr $type, ptr %a, i64 %a_start
  %b_start = mul i64 %batch, %one_b
  %b_one = getelementptr $type, ptr %b, i64 %b_start
  %to_start = mul i64 %row, %n
  %to_row = getelementptr $type, ptr %to, i64 %to_start
  br label %column
column:
  %j = phi i64 [ 0, %begin ], [ %j_next, %summed ]
  %inside = icmp slt i64 %j, %n
  br i1 %inside, label %sum, label %turned
sum:
  %i = phi i64 [ 0, %column ], [ %i_next, %join ]
  %total = phi $type [ 0.0, %column ], [ %total_next, %join ]
  %walking = icmp slt i64 %i, %k
  br i1 %walking, label %join, label %summed
join:
  %x_at = getelementptr $type, ptr %a_row, i64 %i
  %x = load $type, ptr %x_at
  %i_row = mul i64 %i, %n
  %i_place = add i64 %i_row, %j
  %y_at = getelementptr $type, ptr %b_one, i64 %i_place
  %y = load $type, ptr %y_at
  %total_next = call $type @llvm.fma.$kind($type %x, $type %y, $type %total)
  %i_next = add i64 %i, 1
  br label %sum
summed:
  %out_at = getelementptr $type, ptr %to_row, i64 %j
  store $type %total, ptr %out_at
  %j_next = add i64 %j, 1
  br label %column
turned:
  %row_next = add i64 %row, 1
  br label %next
end:
  ret i64 0
}
""")


def product(name: str, kind: str) -> tuple[str, dict[str, str]]:
    type_ = LLVM_TYPES[kind]
    declaration = f"declare {type_} @llvm.fma.{kind}({type_}, {type_}, {type_})"
    return PRODUCT.substitute(name=name, kind=kind, type=type_), {f"llvm.fma.{kind}": declaration}
