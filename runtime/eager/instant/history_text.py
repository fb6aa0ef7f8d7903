"""The tape and views of native eager calls, as LLVM text: what `opnodes.record` and `views.View` are in
Python.

A record has a word for each set of operands that require grad: 0 until Python has recorded such a call, then
what the op's adjoint looks at: bit i for operand i, bit 8 for the result, bit 9 in any case. Views are made
by where the last one lay that Python made: the strides that were asked of the operand, and offset, extents
and strides of the view.
"""

from __future__ import annotations

HISTORY = """
@next_order = external global i8
@unchanging = external global i8
@view_type = external global i8
@no_text = external global i8
declare ptr @PyIter_Next(ptr)
declare ptr @PyList_New(i64)
declare i32 @PyList_Append(ptr, ptr)
declare ptr @PyLong_FromLong(i64)
declare ptr @PySequence_Concat(ptr, ptr)
declare ptr @numpy_new_from_descr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare i32 @numpy_set_base(ptr, ptr)

; --- whether, and what ------------------------------------------------------------------------------------
; The record's word of what to keep; 0 where nothing is recorded, -1 where Python must do it.
define internal i64 @history(ptr %record, ptr %values, i64 %count, i64 %mask) nounwind {
entry:
  %differentiable = call i64 @word(ptr %record, i64 $differentiable)
  %both = mul i64 %mask, %differentiable
  %asked = icmp ne i64 %both, 0
  br i1 %asked, label %look, label %none
look:
  %grad = call i1 @mode(ptr @name_of_grad)
  br i1 %grad, label %count_operands, label %none
count_operands:
  %few = icmp sle i64 %count, $most_recorded
  br i1 %few, label %find, label %slow
find:
  %watched = call i1 @mode(ptr @name_of_watched)
  %at = add i64 %mask, $histories
  %history = call i64 @word(ptr %record, i64 %at)
  %met = icmp ne i64 %history, 0
  %calm = xor i1 %watched, true
  %known = and i1 %met, %calm
  br i1 %known, label %measure, label %slow
measure:
  %small = call i1 @are_small(ptr %values, i64 %count, i64 %history)
  br i1 %small, label %give, label %slow
give:
  ret i64 %history
none:
  ret i64 0
slow:
  ret i64 -1
}

; Whether all arrays that the adjoint does not look at are so small that they are kept whole.
define internal i1 @are_small(ptr %values, i64 %count, i64 %history) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %bits = lshr i64 %history, %i
  %bit = and i64 %bits, 1
  %kept = icmp ne i64 %bit, 0
  br i1 %kept, label %step, label %measure
measure:
  %array = call ptr @object(ptr %values, i64 %i)
  %size = call i64 @size_of(ptr %array)
  %large = icmp sgt i64 %size, $small
  br i1 %large, label %no, label %step
step:
  %i_next = add i64 %i, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i64 @rank_of(ptr %array) nounwind {
  %at = getelementptr i8, ptr %array, i64 $array_ndim
  %rank = load i32, ptr %at
  %wide = sext i32 %rank to i64
  ret i64 %wide
}

define internal i64 @size_of(ptr %array) nounwind {
entry:
  %extents = call ptr @member(ptr %array, i64 $array_shape)
  %rank = call i64 @rank_of(ptr %array)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %size = phi i64 [ 1, %entry ], [ %size_next, %one ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %end
one:
  %extent = call i64 @word(ptr %extents, i64 %i)
  %size_next = mul i64 %size, %extent
  %i_next = add i64 %i, 1
  br label %next
end:
  ret i64 %size
}

; --- the node of the tape -----------------------------------------------------------------------------------
; Gives the Tensor its history. False, with what was made let go, where memory is short.
define internal i1 @record(ptr %record, ptr %tensor, ptr %args, ptr %values, i64 %count, i64 %mask,
                           i64 %history) nounwind {
entry:
  %class = call ptr @object(ptr %record, i64 $node_class)
  %node = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %edges = call ptr @PyTuple_New(i64 %count)
  %inputs = call ptr @PyTuple_New(i64 %count)
  %guards = call ptr @PyList_New(i64 0)
  %order = call ptr @PyIter_Next(ptr @next_order)
  %no_node = icmp eq ptr %node, null
  %no_edges = icmp eq ptr %edges, null
  %no_inputs = icmp eq ptr %inputs, null
  %no_guards = icmp eq ptr %guards, null
  %no_order = icmp eq ptr %order, null
  %or_1 = or i1 %no_node, %no_edges
  %or_2 = or i1 %no_inputs, %no_guards
  %or_3 = or i1 %or_1, %or_2
  %missing = or i1 %or_3, %no_order
  br i1 %missing, label %let_go, label %operands
operands:
  %i = phi i64 [ 0, %entry ], [ %i_next, %step ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %operand, label %result
operand:
  %x = call ptr @object(ptr %args, i64 %i)
  %value = call ptr @object(ptr %values, i64 %i)
  %bits = lshr i64 %mask, %i
  %bit = and i64 %bits, 1
  %edge = call ptr @edge_of(ptr %x, i64 %bit)
  %place = shl i64 %i, 3
  %item = add i64 %place, $tuple_items
  call void @share(ptr %edges, i64 %item, ptr %edge)
  call void @share(ptr %inputs, i64 %item, ptr %value)
  %i_next = add i64 %i, 1
  %looks = lshr i64 %history, %i
  %look = and i64 %looks, 1
  %looked_at = icmp ne i64 %look, 0
  br i1 %looked_at, label %guard, label %step
guard:
  %guarded = call i1 @guard(ptr %guards, ptr %x, i64 %i)
  br i1 %guarded, label %step, label %let_go
step:
  br label %operands
result:
  %reads = and i64 %history, 256
  %reads_result = icmp ne i64 %reads, 0
  br i1 %reads_result, label %guard_result, label %fill
guard_result:
  %result_guarded = call i1 @guard(ptr %guards, ptr %tensor, i64 -1)
  %result_value = call ptr @member(ptr %tensor, i64 $tensor_value)
  br i1 %result_guarded, label %fill, label %let_go
fill:
  %out = phi ptr [ @_Py_NoneStruct, %result ], [ %result_value, %guard_result ]
  %op = call ptr @object(ptr %record, i64 $op)
  %beside = call i64 @beside(ptr %args, i64 %count)
  %shown_at = add i64 %beside, $shown
  %shown = call ptr @object(ptr %record, i64 %shown_at)
  call void @fill(ptr %node, i64 $node_order, ptr %order)
  call void @fill(ptr %node, i64 $node_edges, ptr %edges)
  call void @fill(ptr %node, i64 $node_inputs, ptr %inputs)
  call void @fill(ptr %node, i64 $node_guards, ptr %guards)
  call void @share(ptr %node, i64 $node_hooks, ptr @_Py_NoneStruct)
  call void @share(ptr %node, i64 $node_op, ptr %op)
  call void @share(ptr %node, i64 $node_shown, ptr %shown)
  call void @share(ptr %node, i64 $node_out, ptr %out)
  call void @replace(ptr %tensor, i64 $tensor_edge, ptr %node)
  call void @Py_IncRef(ptr @_Py_TrueStruct)
  call void @replace(ptr %tensor, i64 $tensor_requires_grad, ptr @_Py_TrueStruct)
  ret i1 true
let_go:                                                ; letting null go is nothing
  call void @Py_DecRef(ptr %node)
  call void @Py_DecRef(ptr %edges)
  call void @Py_DecRef(ptr %inputs)
  call void @Py_DecRef(ptr %guards)
  call void @Py_DecRef(ptr %order)
  ret i1 false
}

; 2 where the first of two operands is no Tensor, 1 where the second is none, else 0.
define internal i64 @beside(ptr %args, i64 %count) nounwind {
entry:
  %two = icmp eq i64 %count, 2
  br i1 %two, label %ask, label %both
ask:
  %x = call ptr @object(ptr %args, i64 0)
  %y = call ptr @object(ptr %args, i64 1)
  %first = call i1 @is_tensor(ptr %x)
  %second = call i1 @is_tensor(ptr %y)
  %alone = select i1 %second, i64 0, i64 1
  %which = select i1 %first, i64 %alone, i64 2
  ret i64 %which
both:
  ret i64 0
}

; Where an operand's cotangent goes: to the node that made it, to itself, or nowhere.
define internal ptr @edge_of(ptr %x, i64 %tracked) nounwind {
entry:
  %yes = icmp ne i64 %tracked, 0
  br i1 %yes, label %look, label %nowhere
look:
  %edge = call ptr @member(ptr %x, i64 $tensor_edge)
  %leaf = icmp eq ptr %edge, @_Py_NoneStruct
  %found = select i1 %leaf, ptr %x, ptr %edge
  ret ptr %found
nowhere:
  ret ptr @_Py_NoneStruct
}

; Its version counter, which from now on somebody watches, borrowed; null without memory.
define internal ptr @counter_of(ptr %x) nounwind {
entry:
  %tensor = call i1 @is_tensor(ptr %x)
  br i1 %tensor, label %look, label %none
look:
  %counter = call ptr @member(ptr %x, i64 $tensor_counter)
  %absent = icmp eq ptr %counter, @_Py_NoneStruct
  br i1 %absent, label %begin, label %give
begin:
  %made = call ptr @PyList_New(i64 0)
  %zero = call ptr @PyLong_FromLong(i64 0)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %no, label %append
append:
  %status = call i32 @PyList_Append(ptr %made, ptr %zero)
  call void @Py_DecRef(ptr %zero)
  %short = icmp ne i32 %status, 0
  br i1 %short, label %let_go, label %enter
enter:
  call void @replace(ptr %x, i64 $tensor_counter, ptr %made)
  br label %give
give:
  %found = phi ptr [ %counter, %look ], [ %made, %enter ]
  ret ptr %found
none:
  ret ptr @unchanging
let_go:
  call void @Py_DecRef(ptr %made)
  br label %no
no:
  ret ptr null
}

; The first item of a list, borrowed.
define internal ptr @first_of(ptr %list) nounwind {
  %items = call ptr @member(ptr %list, i64 $list_items)
  %first = load ptr, ptr %items
  ret ptr %first
}

; Notes the counter of an operand, its version, and which operand it is.
define internal i1 @guard(ptr %guards, ptr %x, i64 %which) nounwind {
entry:
  %counter = call ptr @counter_of(ptr %x)
  %guard = call ptr @PyTuple_New(i64 3)
  %place = call ptr @PyLong_FromLong(i64 %which)
  %no_counter = icmp eq ptr %counter, null
  %no_guard = icmp eq ptr %guard, null
  %missing = or i1 %no_counter, %no_guard
  br i1 %missing, label %let_go, label %enter
enter:
  %version = call ptr @first_of(ptr %counter)
  call void @share(ptr %guard, i64 $tuple_items, ptr %counter)
  call void @share(ptr %guard, i64 $tuple_second, ptr %version)
  call void @fill(ptr %guard, i64 $tuple_third, ptr %place)
  %status = call i32 @PyList_Append(ptr %guards, ptr %guard)
  call void @Py_DecRef(ptr %guard)
  %done = icmp eq i32 %status, 0
  ret i1 %done
let_go:
  call void @Py_DecRef(ptr %guard)
  call void @Py_DecRef(ptr %place)
  ret i1 false
}
"""
