"""Random numbers as native calls, as LLVM text: a law's native function writes what a Tensor holds.

In flow a record that names the law, the generator's state and the array; out flows a new Tensor, or the
Tensor that is written to.
"""

from __future__ import annotations

DRAWS = """
define internal void @draw(ptr %record, ptr %to) nounwind {
  %function = call ptr @object(ptr %record, i64 $draw_function)
  %state = call ptr @object(ptr %record, i64 $draw_state)
  %parameters = call ptr @object(ptr %record, i64 $draw_parameters)
  %count = call i64 @word(ptr %record, i64 $draw_count)
  call void %function(ptr %state, ptr %to, i64 %count, ptr %parameters)
  ret void
}

; An array as the record says, with nothing in it.
define internal ptr @new_array(ptr %record) nounwind {
  %dtype = call ptr @object(ptr %record, i64 $draw_dtype)
  %rank = call i64 @word(ptr %record, i64 $draw_rank)
  %rank_int = trunc i64 %rank to i32
  %extents = getelementptr i64, ptr %record, i64 $draw_extents
  call void @Py_IncRef(ptr %dtype)                     ; the next call takes this reference
  %array = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %rank_int, ptr %extents,
                                          ptr null, ptr null, i32 0, ptr null)
  ret ptr %array
}

; A new Tensor of numbers. The arguments do not count.
define ptr @retrograd_draw(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %array = call ptr @new_array(ptr %record)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %slow, label %fill
fill:
  %to = call ptr @member(ptr %array, i64 $array_data)
  call void @draw(ptr %record, ptr %to)
  %tensor = call ptr @boxed(ptr %array)
  ret ptr %tensor
slow:
  %given = call ptr @or_slow(ptr null, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; Numbers into the only argument, if it is no view, is not recorded, and lies in order.
define ptr @retrograd_draw_into(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %array = call ptr @array_of(ptr %record, ptr %args, i64 %nargs, ptr %names)
  %none = icmp eq ptr %array, null
  br i1 %none, label %slow, label %look
look:
  %x = load ptr, ptr %args
  %view = call ptr @member(ptr %x, i64 $tensor_view)
  %tracked = call i64 @tracked(ptr %x)
  %flags_at = getelementptr i8, ptr %array, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, 1281                        ; C_CONTIGUOUS | ALIGNED | WRITEABLE
  %ordered = icmp eq i32 %order, 1281
  %whole = icmp eq ptr %view, @_Py_NoneStruct
  %untracked = icmp eq i64 %tracked, 0
  %own = and i1 %whole, %untracked
  %plain = and i1 %own, %ordered
  br i1 %plain, label %count, label %slow
count:
  %counted = call i1 @count_change(ptr %x)
  br i1 %counted, label %fill, label %slow
fill:
  %to = call ptr @member(ptr %array, i64 $array_data)
  call void @draw(ptr %record, ptr %to)
  call void @Py_IncRef(ptr %x)
  ret ptr %x
slow:
  %given = call ptr @or_slow(ptr null, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; Notes that a Tensor was changed in place. False where there is no memory for that.
define internal i1 @count_change(ptr %x) nounwind {
entry:
  %overflow = alloca i32
  %counter = call ptr @counter_of(ptr %x)
  %absent = icmp eq ptr %counter, null
  br i1 %absent, label %no, label %next
next:
  %before = call ptr @first_of(ptr %counter)
  %count = call i64 @PyLong_AsLongAndOverflow(ptr %before, ptr %overflow)
  %count_next = add i64 %count, 1
  %now = call ptr @PyLong_FromLong(i64 %count_next)
  %no_count = icmp eq ptr %now, null
  br i1 %no_count, label %no, label %exchange
exchange:
  %items = call ptr @member(ptr %counter, i64 $list_items)
  store ptr %now, ptr %items
  call void @Py_DecRef(ptr %before)
  ret i1 true
no:
  ret i1 false
}

; Ones with the probabilities in the only argument, if it lies in order.
define ptr @retrograd_below(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %chances = call ptr @array_of(ptr %record, ptr %args, i64 %nargs, ptr %names)
  %none = icmp eq ptr %chances, null
  br i1 %none, label %slow, label %look
look:
  %x = load ptr, ptr %args
  %fresh = call i1 @is_fresh(ptr %x)
  %flags_at = getelementptr i8, ptr %chances, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, 257                         ; C_CONTIGUOUS | ALIGNED
  %ordered = icmp eq i32 %order, 257
  %plain = and i1 %fresh, %ordered
  br i1 %plain, label %new, label %slow
new:
  %array = call ptr @new_array(ptr %record)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %slow, label %fill
fill:
  %function = call ptr @object(ptr %record, i64 $draw_function)
  %state = call ptr @object(ptr %record, i64 $draw_state)
  %count = call i64 @word(ptr %record, i64 $draw_count)
  %to = call ptr @member(ptr %array, i64 $array_data)
  %from = call ptr @member(ptr %chances, i64 $array_data)
  %sound = call i1 %function(ptr %state, ptr %to, i64 %count, ptr %from)
  br i1 %sound, label %box, label %let_go
box:
  %tensor = call ptr @boxed(ptr %array)
  ret ptr %tensor
let_go:
  call void @Py_DecRef(ptr %array)
  br label %slow
slow:
  %given = call ptr @or_slow(ptr null, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}
"""
