"""The native function behind every compiled callable, as LLVM text: guards, unpacking, boxing, and no Python.

CPython calls `retrograd_call(self, args, nargs, names)`. `self` is a tuple (record, miss, …). The record is
bytes, read as 64-bit words, which `runtime/fastcall.py` writes:

    entry, arguments, pointers, arena bytes, long running, outputs, place of the output ports,
    place of the returns, number of returns, argument ports …, output ports …, returns …

A *port* describes an argument to check or an output to make; both look alike, and the same words serve:

    kind, words to the next port, class, slot, dtype, ndim, pairs, extents …, (slot, object) …

| kind | argument | output |
|---|---|---|
| 0 array | an ndarray; or a `class` object with one in `slot`, paired slots holding their objects | made so |
| 1 f64 | a Python float | made of the 8 bytes that the program wrote |
| 2 f32 | a Python float, rounded | made of 4 bytes |
| 3 constant | just the object in `class` | |

*Returns* are pairs for a stack machine: (0, i) pushes output i, (1, n) packs the top n into a tuple,
(2, object) pushes that object. What fails a guard goes to `miss(*args, **kwargs)`.

One text serves all signatures, so a new one compiles nothing. This file holds the call and the arguments,
`runtime/boxing.py` the outputs. A new kind is a row of the table, a case of each `switch`, and a port in
`runtime/fastcall.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from string import Template

from retrograd.runtime.boxing import BOXING
from retrograd.runtime.layout import Layout

ARRAY, F64, F32, CONSTANT = range(4)
"""Kinds of ports."""

PUSH, PACK, PUSH_OBJECT = range(3)
"""Steps of returns."""

SMALL_ARENA = 4096
"""Bytes up to which the arena lies on the stack."""

ARENA_KEPT = 256 << 20
"""Bytes up to which an arena is kept for the next call; giving it back costs a page fault a page."""


def trampoline_text(layout: Layout) -> str:
    """The module, for this interpreter's layout of objects."""
    return Template(_CALL + BOXING).substitute(asdict(layout), small=SMALL_ARENA, kept=ARENA_KEPT)


_CALL = """
@PyFloat_Type = external global i8
@numpy_array_type = external global i8
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyErr_NoMemory()
declare i8 @numpy_equivalent_types(ptr, ptr)

; --- the call --------------------------------------------------------------------------------------------
define ptr @retrograd_call(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %holder_at = getelementptr i8, ptr %self, i64 $tuple_items
  %holder = load ptr, ptr %holder_at
  %record = getelementptr i8, ptr %holder, i64 $bytes_content
  %wanted_at = getelementptr i64, ptr %record, i64 1
  %wanted = load i64, ptr %wanted_at, align 1
  %right_number = icmp eq i64 %nargs, %wanted
  %unnamed = icmp eq ptr %names, null
  %well_formed = and i1 %right_number, %unnamed
  br i1 %well_formed, label %prepare, label %miss
prepare:
  %outputs_at = getelementptr i64, ptr %record, i64 5
  %outputs = load i64, ptr %outputs_at, align 1
  %pointers_at = getelementptr i64, ptr %record, i64 2
  %count = load i64, ptr %pointers_at, align 1
  %values = add i64 %nargs, %outputs
  %pointers = alloca ptr, i64 %count
  %scalars = alloca i64, i64 %values
  %arrays = alloca ptr, i64 %nargs
  %made = alloca ptr, i64 %outputs
  %ports = getelementptr i64, ptr %record, i64 9
  %used = call i64 @unpack(ptr %args, i64 %nargs, ptr %ports, ptr %pointers, ptr %arrays, ptr %scalars)
  %refused = icmp slt i64 %used, 0
  br i1 %refused, label %miss, label %make
miss:
  %miss_at = getelementptr ptr, ptr %holder_at, i64 1
  %slow = load ptr, ptr %miss_at
  %answer = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %nargs, ptr %names)
  ret ptr %answer
make:
  %out_pointers = getelementptr ptr, ptr %pointers, i64 %used
  %out_scalars = getelementptr i64, ptr %scalars, i64 %nargs
  %out_ports_at = getelementptr i64, ptr %record, i64 6
  %out_ports_word = load i64, ptr %out_ports_at, align 1
  %out_ports = getelementptr i64, ptr %record, i64 %out_ports_word
  %complete = call i1 @make_outputs(i64 %outputs, ptr %out_ports,
                                    ptr %out_pointers, ptr %made, ptr %out_scalars)
  br i1 %complete, label %find_arena, label %fail
find_arena:
  %arena_size_at = getelementptr i64, ptr %record, i64 3
  %arena_size = load i64, ptr %arena_size_at, align 1
  %small = icmp ule i64 %arena_size, $small
  br i1 %small, label %on_stack, label %on_heap
on_stack:
  %stacked = alloca i8, i64 %arena_size, align 64
  br label %run
on_heap:
  %borrowed = call ptr @borrow_arena(i64 %arena_size)
  %no_memory = icmp eq ptr %borrowed, null
  br i1 %no_memory, label %out_of_memory, label %run
out_of_memory:
  call ptr @PyErr_NoMemory()
  br label %fail
run:
  %arena = phi ptr [ %stacked, %on_stack ], [ %borrowed, %on_heap ]
  %arena_at = getelementptr ptr, ptr %out_pointers, i64 %outputs
  store ptr %arena, ptr %arena_at
  call void @run(ptr %record, ptr %pointers, ptr %arrays, i64 %nargs)
  br i1 %small, label %give, label %return_arena
return_arena:
  call void @return_arena(ptr %arena)
  br label %give
give:
  %result = call ptr @give(ptr %record, ptr %out_ports, ptr %made, ptr %out_scalars)
  ret ptr %result
fail:
  call void @drop(ptr %made, i64 %outputs)
  ret ptr null
}

; Runs the program. Without the interpreter's lock, another thread may drop an array that a slot holds.
define internal void @run(ptr %record, ptr %pointers, ptr %arrays, i64 %nargs) nounwind {
entry:
  %program = load ptr, ptr %record, align 1
  %long_at = getelementptr i64, ptr %record, i64 4
  %long = load i64, ptr %long_at, align 1
  %briefly = icmp eq i64 %long, 0
  br i1 %briefly, label %locked, label %hold
locked:
  call void %program(ptr %pointers)
  ret void
hold:
  %i = phi i64 [ 0, %entry ], [ %i_next, %held ]
  %more = icmp ult i64 %i, %nargs
  br i1 %more, label %held, label %unlocked
held:
  %array_at = getelementptr ptr, ptr %arrays, i64 %i
  %array = load ptr, ptr %array_at
  call void @Py_IncRef(ptr %array)
  %i_next = add i64 %i, 1
  br label %hold
unlocked:
  %thread = call ptr @PyEval_SaveThread()
  call void %program(ptr %pointers)
  call void @PyEval_RestoreThread(ptr %thread)
  call void @drop(ptr %arrays, i64 %nargs)
  ret void
}

define internal void @drop(ptr %objects, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_DecRef(ptr %object)
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}

; --- arguments -------------------------------------------------------------------------------------------
; The number of pointers stored, or -1 where a guard fails. arrays[i] is the ndarray of argument i, or null.
define internal i64 @unpack(ptr %args, i64 %nargs, ptr %ports,
                            ptr %pointers, ptr %arrays, ptr %scalars) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %step ]
  %used = phi i64 [ 0, %entry ], [ %used_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %more = icmp ult i64 %i, %nargs
  br i1 %more, label %one, label %end
one:
  %arg_at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg_at
  %array_at = getelementptr ptr, ptr %arrays, i64 %i
  %pointer_at = getelementptr ptr, ptr %pointers, i64 %used
  %scalar_at = getelementptr i64, ptr %scalars, i64 %i
  %kind = load i64, ptr %port, align 1
  switch i64 %kind, label %take_constant [ i64 0, label %take_array
                                      i64 1, label %take_number
                                      i64 2, label %take_number ]
take_array:
  %array = call ptr @array_of(ptr %arg, ptr %port)
  %unlike = icmp eq ptr %array, null
  br i1 %unlike, label %refuse, label %address
address:
  store ptr %array, ptr %array_at
  %data_at = getelementptr i8, ptr %array, i64 $array_data
  %data = load ptr, ptr %data_at
  store ptr %data, ptr %pointer_at
  br label %took
take_number:
  %type_at = getelementptr i8, ptr %arg, i64 $type
  %type = load ptr, ptr %type_at
  %is_float = icmp eq ptr %type, @PyFloat_Type
  br i1 %is_float, label %read_number, label %refuse
read_number:
  store ptr null, ptr %array_at
  store ptr %scalar_at, ptr %pointer_at
  %value_at = getelementptr i8, ptr %arg, i64 $float_value
  %value = load double, ptr %value_at
  %is_double = icmp eq i64 %kind, 1
  br i1 %is_double, label %as_double, label %as_single
as_double:
  store double %value, ptr %scalar_at
  br label %took
as_single:
  %rounded = fptrunc double %value to float
  store float %rounded, ptr %scalar_at
  br label %took
take_constant:
  store ptr null, ptr %array_at
  %constant_at = getelementptr i64, ptr %port, i64 2
  %constant = load ptr, ptr %constant_at, align 1
  %same = icmp eq ptr %arg, %constant
  br i1 %same, label %step, label %refuse
took:
  br label %step
step:
  %pointer = phi i64 [ 1, %took ], [ 0, %take_constant ]
  %used_next = add i64 %used, %pointer
  %i_next = add i64 %i, 1
  %size_at = getelementptr i64, ptr %port, i64 1
  %size = load i64, ptr %size_at, align 1
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
end:
  ret i64 %used
refuse:
  ret i64 -1
}

; The ndarray that the argument is or holds, if all is as the port says; else null.
define internal ptr @array_of(ptr %arg, ptr %port) nounwind {
entry:
  %class_at = getelementptr i64, ptr %port, i64 2
  %class = load ptr, ptr %class_at, align 1
  %type_at = getelementptr i8, ptr %arg, i64 $type
  %type = load ptr, ptr %type_at
  %right_class = icmp eq ptr %type, %class
  br i1 %right_class, label %find, label %no
find:
  %slot_at = getelementptr i64, ptr %port, i64 3
  %slot = load i64, ptr %slot_at, align 1
  %ndim_at = getelementptr i64, ptr %port, i64 5
  %ndim = load i64, ptr %ndim_at, align 1
  %extents = getelementptr i64, ptr %port, i64 7
  %pairs = getelementptr i64, ptr %extents, i64 %ndim
  %plain = icmp eq i64 %slot, 0
  br i1 %plain, label %check, label %open
open:
  %value_at = getelementptr i8, ptr %arg, i64 %slot
  %value = load ptr, ptr %value_at
  %unset = icmp eq ptr %value, null
  br i1 %unset, label %no, label %type_check
type_check:
  %value_type_at = getelementptr i8, ptr %value, i64 $type
  %value_type = load ptr, ptr %value_type_at
  %is_array = icmp eq ptr %value_type, @numpy_array_type
  br i1 %is_array, label %pair_begin, label %no
pair_begin:
  %pair_count_at = getelementptr i64, ptr %port, i64 6
  %pair_count = load i64, ptr %pair_count_at, align 1
  br label %pair
pair:
  %p = phi i64 [ 0, %pair_begin ], [ %p_next, %pair_one ]
  %pair_more = icmp ult i64 %p, %pair_count
  br i1 %pair_more, label %pair_one, label %check
pair_one:
  %p_word = shl i64 %p, 1
  %other_slot_at = getelementptr i64, ptr %pairs, i64 %p_word
  %other_slot = load i64, ptr %other_slot_at, align 1
  %expected_at = getelementptr i64, ptr %other_slot_at, i64 1
  %expected = load ptr, ptr %expected_at, align 1
  %there_at = getelementptr i8, ptr %arg, i64 %other_slot
  %there = load ptr, ptr %there_at
  %as_expected = icmp eq ptr %there, %expected
  %p_next = add i64 %p, 1
  br i1 %as_expected, label %pair, label %no
check:
  %array = phi ptr [ %arg, %find ], [ %value, %pair ]
  %flags_at = getelementptr i8, ptr %array, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, 257                       ; C_CONTIGUOUS | ALIGNED
  %in_order = icmp eq i32 %order, 257
  %rank_at = getelementptr i8, ptr %array, i64 $array_ndim
  %rank_int = load i32, ptr %rank_at
  %rank = sext i32 %rank_int to i64
  %right_rank = icmp eq i64 %rank, %ndim
  %right_form = and i1 %in_order, %right_rank
  br i1 %right_form, label %check_dtype, label %no
check_dtype:
  %wanted_at = getelementptr i64, ptr %port, i64 4
  %wanted = load ptr, ptr %wanted_at, align 1
  %dtype_at = getelementptr i8, ptr %array, i64 $array_dtype
  %dtype = load ptr, ptr %dtype_at
  %same_dtype = icmp eq ptr %dtype, %wanted
  br i1 %same_dtype, label %check_shape, label %compare_dtype
compare_dtype:                                         ; an unpickled array has a dtype object of its own
  %equal_byte = call i8 @numpy_equivalent_types(ptr %dtype, ptr %wanted)
  %equal = icmp ne i8 %equal_byte, 0
  br i1 %equal, label %check_shape, label %no
check_shape:
  %shape_at = getelementptr i8, ptr %array, i64 $array_shape
  %dims = load ptr, ptr %shape_at
  br label %axis
axis:
  %a = phi i64 [ 0, %check_shape ], [ %a_next, %axis_one ]
  %axis_more = icmp ult i64 %a, %ndim
  br i1 %axis_more, label %axis_one, label %yes
axis_one:
  %dim_at = getelementptr i64, ptr %dims, i64 %a
  %dim = load i64, ptr %dim_at
  %extent_at = getelementptr i64, ptr %extents, i64 %a
  %extent = load i64, ptr %extent_at, align 1
  %right_extent = icmp eq i64 %dim, %extent
  %a_next = add i64 %a, 1
  br i1 %right_extent, label %axis, label %no
yes:
  ret ptr %array
no:
  ret ptr null
}

"""
