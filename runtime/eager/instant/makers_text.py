"""New Tensors and arrays as native calls, as LLVM text, and what is asked of a Tensor.

In flow an array, a Tensor, or nothing but the record; out flows a new object, or the Tensor itself.
"""

from __future__ import annotations

MAKERS = """
; --- entries: new Tensors -----------------------------------------------------------------------------------
; A Tensor of the array or NumPy scalar that is the only argument.
define ptr @retrograd_box(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %value = load ptr, ptr %args
  call void @Py_IncRef(ptr %value)
  %tensor = call ptr @boxed(ptr %value)
  %given = call ptr @or_slow(ptr %tensor, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; A Tensor of what the record's function of nothing gives.
define ptr @retrograd_fresh(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %function = call ptr @object(ptr %record, i64 $compute)
  %value = call ptr @PyObject_Vectorcall(ptr %function, ptr null, i64 0, ptr null)
  %failed = icmp eq ptr %value, null
  br i1 %failed, label %no, label %box
box:
  %tensor = call ptr @boxed(ptr %value)
  br label %no
no:
  %made = phi ptr [ null, %entry ], [ %tensor, %box ]
  %given = call ptr @or_slow(ptr %made, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; --- entries: what is asked of a Tensor ---------------------------------------------------------------------
; The array of the only argument, outside of traces, borrowed; null where Python must look.
define internal ptr @array_of(ptr %record, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %plain = call i1 @is_plain(ptr %record, i64 %nargs, ptr %names)
  br i1 %plain, label %look, label %no
look:
  %x = load ptr, ptr %args
  %tensor = call i1 @is_tensor(ptr %x)
  br i1 %tensor, label %open, label %no
open:
  %value = call ptr @member(ptr %x, i64 $tensor_value)
  %array = call i1 @is_array(ptr %value)
  %found = select i1 %array, ptr %value, ptr null
  ret ptr %found
no:
  ret ptr null
}

; The only argument, if its elements lie in order.
define ptr @retrograd_in_order(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %array = call ptr @array_of(ptr %record, ptr %args, i64 %nargs, ptr %names)
  %none = icmp eq ptr %array, null
  br i1 %none, label %slow, label %look
look:
  %flags_at = getelementptr i8, ptr %array, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, 1                           ; C_CONTIGUOUS
  %ordered = icmp ne i32 %order, 0
  br i1 %ordered, label %itself, label %slow
itself:
  %x = load ptr, ptr %args
  call void @Py_IncRef(ptr %x)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %look ], [ %x, %itself ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; The shape of the only argument.
define ptr @retrograd_shape(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %array = call ptr @array_of(ptr %record, ptr %args, i64 %nargs, ptr %names)
  %none = icmp eq ptr %array, null
  br i1 %none, label %slow, label %new
new:
  %rank = call i64 @rank_of(ptr %array)
  %extents = call ptr @member(ptr %array, i64 $array_shape)
  %size = call ptr @PyType_GenericAlloc(ptr @size_type, i64 %rank)
  %failed = icmp eq ptr %size, null
  br i1 %failed, label %slow, label %next
next:
  %i = phi i64 [ 0, %new ], [ %i_next, %enter ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %slow
one:
  %extent = call i64 @word(ptr %extents, i64 %i)
  %number = call ptr @PyLong_FromLong(i64 %extent)
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %let_go, label %enter
enter:
  %place = shl i64 %i, 3
  %item = add i64 %place, $tuple_items
  call void @fill(ptr %size, i64 %item, ptr %number)
  %i_next = add i64 %i, 1
  br label %next
let_go:
  call void @Py_DecRef(ptr %size)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %new ], [ %size, %next ], [ null, %let_go ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; --- entries: loops over rows -------------------------------------------------------------------------------
; A new array of the only argument, an array that lies in order, by the record's loop, if it is there already.
define ptr @retrograd_rows(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %record = call ptr @member(ptr %self, i64 $record)
  %loop = call ptr @object(ptr %record, i64 $compute)
  %x = load ptr, ptr %args
  %linked = icmp ne ptr %loop, null
  %array = call i1 @is_array(ptr %x)
  %both = and i1 %linked, %array
  br i1 %both, label %look, label %slow
look:
  %flags_at = getelementptr i8, ptr %x, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, 257                         ; C_CONTIGUOUS | ALIGNED
  %ordered = icmp eq i32 %order, 257
  br i1 %ordered, label %new, label %slow
new:
  %dtype = call ptr @member(ptr %x, i64 $array_dtype)
  %rank = call i64 @rank_of(ptr %x)
  %rank_int = trunc i64 %rank to i32
  %extents = call ptr @member(ptr %x, i64 $array_shape)
  call void @Py_IncRef(ptr %dtype)                     ; the next call takes this reference
  %made = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %rank_int, ptr %extents,
                                         ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %slow, label %measure
measure:
  %from = call ptr @member(ptr %x, i64 $array_data)
  %to = call ptr @member(ptr %made, i64 $array_data)
  %size = call i64 @size_of(ptr %x)
  %empty = icmp eq i64 %size, 0
  br i1 %empty, label %slow, label %divide
divide:
  %axes = call i64 @word(ptr %record, i64 $rank)
  br label %next
next:
  %axis = phi i64 [ %rank, %divide ], [ %axis_next, %one ]
  %columns = phi i64 [ 1, %divide ], [ %columns_next, %one ]
  %taken = sub i64 %rank, %axis
  %in_row = icmp slt i64 %taken, %axes
  %left = icmp sgt i64 %axis, 0
  %more = and i1 %in_row, %left
  br i1 %more, label %one, label %run
one:
  %axis_next = sub i64 %axis, 1
  %extent = call i64 @word(ptr %extents, i64 %axis_next)
  %columns_next = mul i64 %columns, %extent
  br label %next
run:
  %rows = udiv i64 %size, %columns
  call void %loop(ptr %from, ptr %to, i64 %rows, i64 %columns)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %look ], [ null, %new ], [ %made, %measure ], [ %made, %run ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}
"""
