"""The native callable of a small graph, as LLVM text: arguments are checked, results made, steps walked.

`self` is a tuple of the record, of 64-bit words in a `bytes`, and the Python function `slow`, which does the
same for any arguments. The record:

    record ::= HEAD input* output* place* step*
    input  ::= UNREAD, ANYHOW or IN_ORDER, dtype, axes, copying kernel, where it is copied to, extents,
               steps there
    output ::= dtype, axes, extents
    place  ::= the number of the output that stands there in the list of results, or -1 for None
    step   ::= kernel, words of the step, arrays, (base, offset)*, size*

A base is 0 for memory that stays, then one of the inputs and outputs in order. An input that does not lie in
order is copied first, or where it has to, the call is for `slow`. Nothing here raises; `slow` tells what is
wrong.
"""

from __future__ import annotations

from dataclasses import asdict
from string import Template

from retrograd.runtime.native.layout import Layout
from retrograd.runtime.native.small.moving_text import MOST_AXES

HEAD = ("inputs", "outputs", "places", "outputs_at", "places_at", "steps_at", "end_at")
INPUT_WORDS, OUTPUT_WORDS, STEP_WORDS = 5 + 2 * MOST_AXES, 2 + MOST_AXES, 3
UNREAD, ANYHOW, IN_ORDER = range(3)
"""Whether an input is read, wherever its elements lie or only if they do so in order."""
MOST_ARRAYS = 32
"""Inputs and outputs of a graph, and arrays of a step."""


def entry_text(places: Layout) -> str:
    heads = {f"head_{name}": k for k, name in enumerate(HEAD)}
    sizes = {
        "head": len(HEAD),
        "most": MOST_AXES,
        "arrays": MOST_ARRAYS,
        "input_words": INPUT_WORDS,
        "anyhow": ANYHOW,
        "output_words": OUTPUT_WORDS,
        "step_words": STEP_WORDS,
        "copy_words": 1 + 3 * MOST_AXES,
        "extents_bytes": 16 * MOST_AXES,
        "from_steps": 1 + 2 * MOST_AXES,
        "array_strides": places.array_shape + 8,
        "self_slow": places.tuple_items + 8,
    }
    return Template(_TEXT).substitute(asdict(places) | heads | sizes)


_TEXT = """
@numpy_array_type = external global i8
@numpy_new_from_descr = external global i8
@_Py_NoneStruct = external global i8
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal ptr @member(ptr %object, i64 %offset) nounwind {
  %at = getelementptr i8, ptr %object, i64 %offset
  %found = load ptr, ptr %at
  ret ptr %found
}

define internal i64 @word(ptr %words, i64 %place) nounwind {
  %at = getelementptr i64, ptr %words, i64 %place
  %found = load i64, ptr %at
  ret i64 %found
}

define internal ptr @object(ptr %words, i64 %place) nounwind {
  %at = getelementptr ptr, ptr %words, i64 %place
  %found = load ptr, ptr %at
  ret ptr %found
}

; Whether an argument is an array of the input's dtype and shape.
define internal i1 @fits(ptr %x, ptr %input) nounwind {
entry:
  %type = call ptr @member(ptr %x, i64 $type)
  %is_array = icmp eq ptr %type, @numpy_array_type
  br i1 %is_array, label %look, label %no
look:
  %dtype = call ptr @member(ptr %x, i64 $array_dtype)
  %wanted = call ptr @object(ptr %input, i64 1)
  %same = icmp eq ptr %dtype, %wanted
  %ndim_at = getelementptr i8, ptr %x, i64 $array_ndim
  %ndim = load i32, ptr %ndim_at
  %axes = call i64 @word(ptr %input, i64 2)
  %axes_int = trunc i64 %axes to i32
  %alike = icmp eq i32 %ndim, %axes_int
  %both = and i1 %same, %alike
  br i1 %both, label %compare, label %no
compare:
  %extents = call ptr @member(ptr %x, i64 $array_shape)
  %known = getelementptr i64, ptr %input, i64 5
  br label %next
next:
  %i = phi i64 [ 0, %compare ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %axes
  br i1 %more, label %one, label %yes
one:
  %extent = call i64 @word(ptr %extents, i64 %i)
  %expected = call i64 @word(ptr %known, i64 %i)
  %i_next = add i64 %i, 1
  %equal = icmp eq i64 %extent, %expected
  br i1 %equal, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; Where an input's elements lie in order.
define internal ptr @in_order(ptr %x, ptr %input) nounwind {
entry:
  %arrays = alloca ptr, i64 2
  %sizes = alloca i64, i64 $copy_words
  %data = call ptr @member(ptr %x, i64 $array_data)
  %flags_at = getelementptr i8, ptr %x, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, 257                         ; C_CONTIGUOUS | ALIGNED
  %ordered = icmp eq i32 %order, 257
  br i1 %ordered, label %itself, label %copy
itself:
  ret ptr %data
copy:
  %axes = call i64 @word(ptr %input, i64 2)
  store i64 %axes, ptr %sizes
  %extents = getelementptr i64, ptr %input, i64 5
  %extents_to = getelementptr i64, ptr %sizes, i64 1
  call void @llvm.memcpy.p0.p0.i64(ptr %extents_to, ptr %extents, i64 $extents_bytes, i1 false)
  %strides = call ptr @member(ptr %x, i64 $array_strides)
  %strides_to = getelementptr i64, ptr %sizes, i64 $from_steps
  %bytes = shl i64 %axes, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %strides_to, ptr %strides, i64 %bytes, i1 false)
  %to = call ptr @object(ptr %input, i64 4)
  store ptr %to, ptr %arrays
  %from_at = getelementptr ptr, ptr %arrays, i64 1
  store ptr %data, ptr %from_at
  %kernel = call ptr @object(ptr %input, i64 3)
  %done = call i64 %kernel(ptr %arrays, ptr %sizes)
  ret ptr %to
}

define internal void @drop(ptr %objects, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %each = call ptr @object(ptr %objects, i64 %i)
  call void @Py_DecRef(ptr %each)
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}

; Makes the results; how many could be made.
define internal i64 @made(ptr %record, ptr %results) nounwind {
entry:
  %count = call i64 @word(ptr %record, i64 $head_outputs)
  %first_at = call i64 @word(ptr %record, i64 $head_outputs_at)
  %first = getelementptr i64, ptr %record, i64 %first_at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %enter ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %offset = mul i64 %i, $output_words
  %output = getelementptr i64, ptr %first, i64 %offset
  %dtype = load ptr, ptr %output
  %axes = call i64 @word(ptr %output, i64 1)
  %axes_int = trunc i64 %axes to i32
  %extents = getelementptr i64, ptr %output, i64 2
  call void @Py_IncRef(ptr %dtype)                     ; the next call takes this reference
  %array = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %axes_int, ptr %extents,
                                          ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %end, label %enter
enter:
  %at = getelementptr ptr, ptr %results, i64 %i
  store ptr %array, ptr %at
  %i_next = add i64 %i, 1
  br label %next
end:
  ret i64 %i
}

; Runs the steps on these bases; 0, or 1 where a kernel cannot do it.
define internal i64 @walked(ptr %record, ptr %bases) nounwind {
entry:
  %arrays = alloca ptr, i64 $arrays
  %start = call i64 @word(ptr %record, i64 $head_steps_at)
  %stop = call i64 @word(ptr %record, i64 $head_end_at)
  %end = getelementptr i64, ptr %record, i64 %stop
  %begin = getelementptr i64, ptr %record, i64 %start
  br label %next
next:
  %step = phi ptr [ %begin, %entry ], [ %step_next, %run ]
  %more = icmp ult ptr %step, %end
  br i1 %more, label %open, label %finished
open:
  %count = call i64 @word(ptr %step, i64 2)
  %places = getelementptr i64, ptr %step, i64 $step_words
  br label %array
array:
  %i = phi i64 [ 0, %open ], [ %i_next, %enter ]
  %another = icmp slt i64 %i, %count
  br i1 %another, label %enter, label %run
enter:
  %twice = shl i64 %i, 1
  %place = getelementptr i64, ptr %places, i64 %twice
  %number = load i64, ptr %place
  %offset = call i64 @word(ptr %place, i64 1)
  %base = call ptr @object(ptr %bases, i64 %number)
  %address = getelementptr i8, ptr %base, i64 %offset
  %at = getelementptr ptr, ptr %arrays, i64 %i
  store ptr %address, ptr %at
  %i_next = add i64 %i, 1
  br label %array
run:
  %pairs = shl i64 %count, 1
  %sizes = getelementptr i64, ptr %places, i64 %pairs
  %kernel = load ptr, ptr %step
  %failed = call i64 %kernel(ptr %arrays, ptr %sizes)
  %words = call i64 @word(ptr %step, i64 1)
  %step_next = getelementptr i64, ptr %step, i64 %words
  %fine = icmp eq i64 %failed, 0
  br i1 %fine, label %next, label %finished
finished:
  %answer = phi i64 [ 0, %next ], [ 1, %run ]
  ret i64 %answer
}

; The list of results, which takes their references; null where there is none to be had.
define internal ptr @listed(ptr %record, ptr %results) nounwind {
entry:
  %count = call i64 @word(ptr %record, i64 $head_places)
  %places_at = call i64 @word(ptr %record, i64 $head_places_at)
  %places = getelementptr i64, ptr %record, i64 %places_at
  %list = call ptr @PyList_New(i64 %count)
  %failed = icmp eq ptr %list, null
  br i1 %failed, label %end, label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %enter ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %number = call i64 @word(ptr %places, i64 %i)
  %absent = icmp slt i64 %number, 0
  br i1 %absent, label %none, label %present
none:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  br label %enter
present:
  %result = call ptr @object(ptr %results, i64 %number)
  br label %enter
enter:
  %item = phi ptr [ @_Py_NoneStruct, %none ], [ %result, %present ]
  %set = call i32 @PyList_SetItem(ptr %list, i64 %i, ptr %item)
  %i_next = add i64 %i, 1
  br label %next
end:
  ret ptr %list
}

define ptr @retrograd_small(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %bases = alloca ptr, i64 $arrays
  %results = alloca ptr, i64 $arrays
  %held = call ptr @member(ptr %self, i64 $tuple_items)
  %record = getelementptr i8, ptr %held, i64 $bytes_content
  %inputs = call i64 @word(ptr %record, i64 $head_inputs)
  %counted = icmp eq i64 %nargs, %inputs
  %unnamed = icmp eq ptr %names, null
  %plain = and i1 %counted, %unnamed
  %input = getelementptr i64, ptr %record, i64 $head
  br i1 %plain, label %check, label %slow
check:
  %i = phi i64 [ 0, %entry ], [ %i_next, %fitting ]
  %more = icmp slt i64 %i, %inputs
  br i1 %more, label %argument, label %make
argument:
  %i_offset = mul i64 %i, $input_words
  %i_input = getelementptr i64, ptr %input, i64 %i_offset
  %read = load i64, ptr %i_input
  %unread = icmp eq i64 %read, 0
  br i1 %unread, label %fitting, label %compare
compare:
  %x = call ptr @object(ptr %args, i64 %i)
  %fit = call i1 @fits(ptr %x, ptr %i_input)
  br i1 %fit, label %look, label %slow
look:
  %flags_at = getelementptr i8, ptr %x, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %ordered_bit = and i32 %flags, 1                     ; C_CONTIGUOUS
  %ordered = icmp ne i32 %ordered_bit, 0
  %anyhow = icmp eq i64 %read, $anyhow
  %lies = or i1 %ordered, %anyhow
  br i1 %lies, label %fitting, label %slow
fitting:
  %i_next = add i64 %i, 1
  br label %check
make:
  %count = call i64 @word(ptr %record, i64 $head_outputs)
  %made = call i64 @made(ptr %record, ptr %results)
  %complete = icmp eq i64 %made, %count
  br i1 %complete, label %enter, label %let_go
enter:                                                 ; from here on nothing runs Python: scratch is shared
  store ptr null, ptr %bases
  br label %open
open:
  %j = phi i64 [ 0, %enter ], [ %j_next, %opened ]
  %j_more = icmp slt i64 %j, %inputs
  br i1 %j_more, label %one, label %results_too
one:
  %j_next = add i64 %j, 1
  %j_offset = mul i64 %j, $input_words
  %j_input = getelementptr i64, ptr %input, i64 %j_offset
  %j_read = load i64, ptr %j_input
  %j_unread = icmp eq i64 %j_read, 0
  br i1 %j_unread, label %opened, label %find
find:
  %y = call ptr @object(ptr %args, i64 %j)
  %data = call ptr @in_order(ptr %y, ptr %j_input)
  br label %opened
opened:
  %base = phi ptr [ null, %one ], [ %data, %find ]
  %base_at = getelementptr ptr, ptr %bases, i64 %j_next
  store ptr %base, ptr %base_at
  br label %open
results_too:
  %k = phi i64 [ 0, %open ], [ %k_next, %result ]
  %k_more = icmp slt i64 %k, %count
  br i1 %k_more, label %result, label %walk
result:
  %array = call ptr @object(ptr %results, i64 %k)
  %array_base = call ptr @member(ptr %array, i64 $array_data)
  %k_next = add i64 %k, 1
  %k_place = add i64 %inputs, %k_next
  %array_at = getelementptr ptr, ptr %bases, i64 %k_place
  store ptr %array_base, ptr %array_at
  br label %results_too
walk:
  %failed = call i64 @walked(ptr %record, ptr %bases)
  %fine = icmp eq i64 %failed, 0
  br i1 %fine, label %give, label %let_go
give:
  %places = call i64 @word(ptr %record, i64 $head_places)
  %single = icmp eq i64 %places, 0
  br i1 %single, label %only, label %list
only:
  %found = load ptr, ptr %results
  ret ptr %found
list:
  %all = call ptr @listed(ptr %record, ptr %results)
  ret ptr %all
let_go:
  call void @drop(ptr %results, i64 %made)
  br label %slow
slow:
  %function = call ptr @member(ptr %self, i64 $self_slow)
  %given = call ptr @PyObject_Vectorcall(ptr %function, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}
"""
