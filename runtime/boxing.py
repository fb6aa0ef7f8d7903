"""The second half of the native call, as LLVM text: outputs are made, boxed and given back.

The first half is `runtime/trampoline.py`. In flow the output ports and returns of the record; out flows
one Python object. The arena that programs work in is kept here too. A new kind of output is a case in
`make_outputs` and in `give`.
"""

from __future__ import annotations

BOXING = """
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyTuple_New(i64)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @numpy_new_from_descr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)

; --- outputs ------------------------------------------------------------------------------------------
; Fills made and pointers; made[o] is null for a number, which goes to scalars[o]. False: an exception is set.
define internal i1 @make_outputs(i64 %count, ptr %ports, ptr %pointers, ptr %made, ptr %scalars) nounwind {
entry:
  br label %clear
clear:
  %c = phi i64 [ 0, %entry ], [ %c_next, %clear_one ]
  %c_more = icmp ult i64 %c, %count
  br i1 %c_more, label %clear_one, label %next
clear_one:
  %clear_at = getelementptr ptr, ptr %made, i64 %c
  store ptr null, ptr %clear_at
  %c_next = add i64 %c, 1
  br label %clear
next:
  %o = phi i64 [ 0, %clear ], [ %o_next, %step ]
  %port = phi ptr [ %ports, %clear ], [ %port_next, %step ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %yes
one:
  %pointer_at = getelementptr ptr, ptr %pointers, i64 %o
  %kind = load i64, ptr %port, align 1
  %is_array = icmp eq i64 %kind, 0
  br i1 %is_array, label %array, label %number
number:
  %scalar_at = getelementptr i64, ptr %scalars, i64 %o
  store ptr %scalar_at, ptr %pointer_at
  br label %step
array:
  %made_at = getelementptr ptr, ptr %made, i64 %o
  %object = call ptr @new_array(ptr %port, ptr %pointer_at)
  store ptr %object, ptr %made_at
  %failed = icmp eq ptr %object, null
  br i1 %failed, label %no, label %step
step:
  %o_next = add i64 %o, 1
  %size_at = getelementptr i64, ptr %port, i64 1
  %size = load i64, ptr %size_at, align 1
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

; A new ndarray, in an object of the port's class if it has a slot; stores the address of the data.
define internal ptr @new_array(ptr %port, ptr %pointer_at) nounwind {
entry:
  %class_at = getelementptr i64, ptr %port, i64 2
  %class = load ptr, ptr %class_at, align 1
  %slot_at = getelementptr i64, ptr %port, i64 3
  %slot = load i64, ptr %slot_at, align 1
  %dtype_at = getelementptr i64, ptr %port, i64 4
  %dtype = load ptr, ptr %dtype_at, align 1
  %ndim_at = getelementptr i64, ptr %port, i64 5
  %ndim = load i64, ptr %ndim_at, align 1
  %rank = trunc i64 %ndim to i32
  %extents = getelementptr i64, ptr %port, i64 7
  call void @Py_IncRef(ptr %dtype)                   ; the next call takes this reference
  %array = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %rank, ptr %extents,
                                          ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %no, label %address
address:
  %data_at = getelementptr i8, ptr %array, i64 $array_data
  %data = load ptr, ptr %data_at
  store ptr %data, ptr %pointer_at
  %plain = icmp eq i64 %slot, 0
  br i1 %plain, label %give_array, label %wrap
give_array:
  ret ptr %array
wrap:
  %object = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %no_object = icmp eq ptr %object, null
  br i1 %no_object, label %drop_array, label %fill
drop_array:
  call void @Py_DecRef(ptr %array)
  br label %no
fill:
  %value_at = getelementptr i8, ptr %object, i64 %slot
  store ptr %array, ptr %value_at
  %pairs = getelementptr i64, ptr %extents, i64 %ndim
  %pair_count_at = getelementptr i64, ptr %port, i64 6
  %pair_count = load i64, ptr %pair_count_at, align 1
  br label %pair
pair:
  %p = phi i64 [ 0, %fill ], [ %p_next, %pair_one ]
  %more = icmp ult i64 %p, %pair_count
  br i1 %more, label %pair_one, label %give_object
pair_one:
  %p_word = shl i64 %p, 1
  %other_slot_at = getelementptr i64, ptr %pairs, i64 %p_word
  %other_slot = load i64, ptr %other_slot_at, align 1
  %content_at = getelementptr i64, ptr %other_slot_at, i64 1
  %content = load ptr, ptr %content_at, align 1
  call void @Py_IncRef(ptr %content)
  %there_at = getelementptr i8, ptr %object, i64 %other_slot
  store ptr %content, ptr %there_at
  %p_next = add i64 %p, 1
  br label %pair
give_object:
  ret ptr %object
no:
  ret ptr null
}

; Boxes the numbers, then runs the returns. Null, with an exception set and nothing leaked, without memory.
define internal ptr @give(ptr %record, ptr %ports, ptr %made, ptr %scalars) nounwind {
entry:
  %count_at = getelementptr i64, ptr %record, i64 5
  %count = load i64, ptr %count_at, align 1
  %returns_at = getelementptr i64, ptr %record, i64 7
  %returns_word = load i64, ptr %returns_at, align 1
  %returns = getelementptr i64, ptr %record, i64 %returns_word
  %steps_at = getelementptr i64, ptr %record, i64 8
  %steps = load i64, ptr %steps_at, align 1
  %stack = alloca ptr, i64 %steps
  br label %next
next:
  %o = phi i64 [ 0, %entry ], [ %o_next, %boxed ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %boxed ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %instruct
one:
  %kind = load i64, ptr %port, align 1
  %scalar_at = getelementptr i64, ptr %scalars, i64 %o
  switch i64 %kind, label %boxed [ i64 1, label %read_double
                                   i64 2, label %read_single ]
read_double:
  %double = load double, ptr %scalar_at
  br label %box
read_single:
  %float = load float, ptr %scalar_at
  %widened = fpext float %float to double
  br label %box
box:
  %value = phi double [ %double, %read_double ], [ %widened, %read_single ]
  %number = call ptr @PyFloat_FromDouble(double %value)
  %made_at = getelementptr ptr, ptr %made, i64 %o
  store ptr %number, ptr %made_at
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %fail, label %boxed
boxed:
  %o_next = add i64 %o, 1
  %size_at = getelementptr i64, ptr %port, i64 1
  %size = load i64, ptr %size_at, align 1
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
instruct:
  %s = phi i64 [ 0, %next ], [ %s_next, %push ]
  %top = phi i64 [ 0, %next ], [ %top_next, %push ]
  %s_more = icmp ult i64 %s, %steps
  br i1 %s_more, label %step, label %end
step:
  %s_word = shl i64 %s, 1
  %action_at = getelementptr i64, ptr %returns, i64 %s_word
  %action = load i64, ptr %action_at, align 1
  %operand_at = getelementptr i64, ptr %action_at, i64 1
  %operand = load i64, ptr %operand_at, align 1
  switch i64 %action, label %push_constant [ i64 0, label %push_output
                                        i64 1, label %pack ]
push_output:
  %output_at = getelementptr ptr, ptr %made, i64 %operand
  %output = load ptr, ptr %output_at
  store ptr null, ptr %output_at
  br label %push
push_constant:
  %constant = inttoptr i64 %operand to ptr
  call void @Py_IncRef(ptr %constant)
  br label %push
pack:
  %tuple = call ptr @PyTuple_New(i64 %operand)
  %no_tuple = icmp eq ptr %tuple, null
  br i1 %no_tuple, label %fail, label %items
items:
  %base = sub i64 %top, %operand
  %first = getelementptr i8, ptr %tuple, i64 $tuple_items
  br label %item
item:
  %i = phi i64 [ 0, %items ], [ %i_next, %item_one ]
  %i_more = icmp ult i64 %i, %operand
  br i1 %i_more, label %item_one, label %push
item_one:
  %from_index = add i64 %base, %i
  %from = getelementptr ptr, ptr %stack, i64 %from_index
  %member = load ptr, ptr %from
  %to = getelementptr ptr, ptr %first, i64 %i
  store ptr %member, ptr %to
  %i_next = add i64 %i, 1
  br label %item
push:
  %object = phi ptr [ %output, %push_output ], [ %constant, %push_constant ], [ %tuple, %item ]
  %place = phi i64 [ %top, %push_output ], [ %top, %push_constant ], [ %base, %item ]
  %place_at = getelementptr ptr, ptr %stack, i64 %place
  store ptr %object, ptr %place_at
  %top_next = add i64 %place, 1
  %s_next = add i64 %s, 1
  br label %instruct
end:
  %result = load ptr, ptr %stack
  ret ptr %result
fail:
  %left = phi i64 [ 0, %box ], [ %top, %pack ]
  call void @drop(ptr %stack, i64 %left)
  call void @drop(ptr %made, i64 %count)
  ret ptr null
}

; --- the arena: one block is kept between calls, behind a head of 64 bytes with its size ------------------
@kept_arena = internal global ptr null, align 64

define internal ptr @borrow_arena(i64 %size) nounwind {
entry:
  %kept = atomicrmw xchg ptr @kept_arena, ptr null acquire
  %none = icmp eq ptr %kept, null
  br i1 %none, label %new, label %measure
measure:
  %kept_size = load i64, ptr %kept
  %fits = icmp uge i64 %kept_size, %size
  br i1 %fits, label %yes, label %replace
replace:
  call void @free(ptr %kept)
  br label %new
new:
  %with_head = add i64 %size, 127
  %whole = and i64 %with_head, -64
  %block = call ptr @aligned_alloc(i64 64, i64 %whole)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %no, label %mark
mark:
  store i64 %size, ptr %block
  br label %yes
yes:
  %given = phi ptr [ %kept, %measure ], [ %block, %mark ]
  %arena = getelementptr i8, ptr %given, i64 64
  ret ptr %arena
no:
  ret ptr null
}

define internal void @return_arena(ptr %arena) nounwind {
entry:
  %block = getelementptr i8, ptr %arena, i64 -64
  %size = load i64, ptr %block
  %huge = icmp ugt i64 %size, $kept
  br i1 %huge, label %release, label %keep
keep:
  %other = atomicrmw xchg ptr @kept_arena, ptr %block acq_rel
  br label %release
release:
  %extra = phi ptr [ %block, %entry ], [ %other, %keep ]
  call void @free(ptr %extra)
  ret void
}
"""
