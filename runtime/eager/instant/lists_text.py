"""Native calls that compute a list of arrays, as LLVM text: several new Tensors, or new elements of operands.

In flow operands that are open and a function that gives the list; out flow Tensors of its arrays, or the
operands themselves, into which they are copied. Where something is to be recorded, `slow` does it.
"""

from __future__ import annotations

LISTS = """
@numpy_copy_into = external global i8
declare i64 @PyList_Size(ptr)

; Whether an operand is recorded now. `mask` says which would be.
define internal i1 @is_recorded(i64 %mask) nounwind {
entry:
  %any = icmp ne i64 %mask, 0
  br i1 %any, label %ask, label %no
ask:
  %grad = call i1 @mode(ptr @name_of_grad)
  ret i1 %grad
no:
  ret i1 false
}

; The list for a call's operands, a new reference; null where Python shall do it.
define internal ptr @listed(ptr %record, ptr %values, i64 %count, i64 %mask) nounwind {
entry:
  %recorded = call i1 @is_recorded(i64 %mask)
  br i1 %recorded, label %no, label %run
run:
  %function = call ptr @object(ptr %record, i64 $compute)
  %list = call ptr @quietly(ptr %function, ptr %values, i64 %count)
  ret ptr %list
no:
  ret ptr null
}

; --- several new Tensors ------------------------------------------------------------------------------------
; Makes Tensors of a list's arrays, in their places. False without memory.
define internal i1 @box_all(ptr %list) nounwind {
entry:
  %count = call i64 @PyList_Size(ptr %list)
  %items = call ptr @member(ptr %list, i64 $list_items)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %enter ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %array = call ptr @object(ptr %items, i64 %i)
  call void @Py_IncRef(ptr %array)
  %tensor = call ptr @boxed(ptr %array)
  %failed = icmp eq ptr %tensor, null
  br i1 %failed, label %no, label %enter
enter:
  %at = getelementptr ptr, ptr %items, i64 %i
  store ptr %tensor, ptr %at
  call void @Py_DecRef(ptr %array)
  %i_next = add i64 %i, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define ptr @retrograd_several(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %values = alloca ptr, i64 $most
  %record = call ptr @member(ptr %self, i64 $record)
  %plain = call i1 @is_plain(ptr %record, i64 %nargs, ptr %names)
  br i1 %plain, label %take, label %slow
take:
  %count = call i64 @word(ptr %record, i64 $arity)
  %mask = call i64 @open(ptr %args, i64 %count, ptr %values)
  %closed = icmp slt i64 %mask, 0
  br i1 %closed, label %slow, label %run
run:
  %list = call ptr @listed(ptr %record, ptr %values, i64 %count, i64 %mask)
  call void @drop(ptr %values, i64 %count)
  %none = icmp eq ptr %list, null
  br i1 %none, label %slow, label %box
box:
  %boxed = call i1 @box_all(ptr %list)
  br i1 %boxed, label %make, label %let_go
make:
  %maker = call ptr @object(ptr %record, i64 $answer)
  %made = call ptr @PyObject_CallOneArg(ptr %maker, ptr %list)
  br label %let_go
let_go:
  %found = phi ptr [ null, %box ], [ %made, %make ]
  call void @Py_DecRef(ptr %list)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %take ], [ null, %run ], [ %found, %let_go ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; --- new elements of operands -------------------------------------------------------------------------------
; Whether NumPy may write into a Tensor: its memory may be changed, and no history has to learn of it.
define internal i1 @is_open_to_change(ptr %x, ptr %array) nounwind {
entry:
  %tensor = call i1 @is_tensor(ptr %x)
  br i1 %tensor, label %look, label %no
look:
  %flags_at = getelementptr i8, ptr %array, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %writeable = and i32 %flags, 1024
  %fixed = icmp eq i32 %writeable, 0
  br i1 %fixed, label %no, label %weigh
weigh:
  %view = call ptr @member(ptr %x, i64 $tensor_view)
  %whole = icmp eq ptr %view, @_Py_NoneStruct
  br i1 %whole, label %yes, label %base
base:
  %owner = call ptr @member(ptr %view, i64 $view_base)
  %mask = call i64 @tracked(ptr %owner)
  %recorded = call i1 @is_recorded(i64 %mask)
  %free = xor i1 %recorded, true
  ret i1 %free
yes:
  ret i1 true
no:
  ret i1 false
}

; Notes a change of elements; a view without history has seen it.
define internal i1 @note_change(ptr %x) nounwind {
entry:
  %counted = call i1 @count_change(ptr %x)
  br i1 %counted, label %look, label %no
look:
  %view = call ptr @member(ptr %x, i64 $tensor_view)
  %whole = icmp eq ptr %view, @_Py_NoneStruct
  br i1 %whole, label %yes, label %base
base:
  %owner = call ptr @member(ptr %view, i64 $view_base)
  %history = call i64 @tracked(ptr %owner)
  %bare = icmp eq i64 %history, 0
  br i1 %bare, label %renew, label %yes
renew:
  %counter = call ptr @member(ptr %owner, i64 $tensor_counter)
  %now = call ptr @first_of(ptr %counter)
  call void @Py_IncRef(ptr %now)
  call void @replace(ptr %view, i64 $view_version, ptr %now)
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; Copies a value into an array. False with an exception set.
define internal i1 @copied(ptr %array, ptr %value) nounwind {
entry:
  %is = call i1 @is_array(ptr %value)
  br i1 %is, label %keep, label %convert
keep:
  call void @Py_IncRef(ptr %value)
  br label %copy
convert:
  %converted = call ptr @PyObject_CallOneArg(ptr @asarray, ptr %value)
  %failed = icmp eq ptr %converted, null
  br i1 %failed, label %no, label %copy
copy:
  %from = phi ptr [ %value, %keep ], [ %converted, %convert ]
  %status = call i32 @numpy_copy_into(ptr %array, ptr %from)
  call void @Py_DecRef(ptr %from)
  %fine = icmp eq i32 %status, 0
  ret i1 %fine
no:
  ret i1 false
}

; Whether all of a call's targets, a bit for each operand, are open to change.
define internal i1 @are_open_to_change(ptr %args, ptr %values, i64 %count, i64 %targets) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %fine ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %i_next = add i64 %i, 1
  %rest = lshr i64 %targets, %i
  %bit = and i64 %rest, 1
  %other = icmp eq i64 %bit, 0
  br i1 %other, label %fine, label %ask
ask:
  %x = call ptr @object(ptr %args, i64 %i)
  %array = call ptr @object(ptr %values, i64 %i)
  %open = call i1 @is_open_to_change(ptr %x, ptr %array)
  br i1 %open, label %fine, label %no
fine:
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

; Copies a list's arrays into the targets. False with an exception set.
define internal i1 @written(ptr %args, ptr %values, i64 %count, i64 %targets, ptr %list) nounwind {
entry:
  %items = call ptr @member(ptr %list, i64 $list_items)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %pass ], [ %i_next, %note ]
  %j = phi i64 [ 0, %entry ], [ %j, %pass ], [ %j_next, %note ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %i_next = add i64 %i, 1
  %rest = lshr i64 %targets, %i
  %bit = and i64 %rest, 1
  %other = icmp eq i64 %bit, 0
  br i1 %other, label %pass, label %write
pass:
  br label %next
write:
  %array = call ptr @object(ptr %values, i64 %i)
  %value = call ptr @object(ptr %items, i64 %j)
  %copied = call i1 @copied(ptr %array, ptr %value)
  br i1 %copied, label %count_it, label %no
count_it:
  %x = call ptr @object(ptr %args, i64 %i)
  %noted = call i1 @note_change(ptr %x)
  br i1 %noted, label %note, label %no
note:
  %j_next = add i64 %j, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define ptr @retrograd_update(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %values = alloca ptr, i64 $most
  %record = call ptr @member(ptr %self, i64 $record)
  %plain = call i1 @is_plain(ptr %record, i64 %nargs, ptr %names)
  br i1 %plain, label %take, label %slow
take:
  %count = call i64 @word(ptr %record, i64 $arity)
  %mask = call i64 @open(ptr %args, i64 %count, ptr %values)
  %closed = icmp slt i64 %mask, 0
  br i1 %closed, label %slow, label %look
look:
  %targets = call i64 @word(ptr %record, i64 $targets)
  %open = call i1 @are_open_to_change(ptr %args, ptr %values, i64 %count, i64 %targets)
  br i1 %open, label %run, label %let_go
run:
  %list = call ptr @listed(ptr %record, ptr %values, i64 %count, i64 %mask)
  %none = icmp eq ptr %list, null
  br i1 %none, label %let_go, label %write
write:
  %written = call i1 @written(ptr %args, ptr %values, i64 %count, i64 %targets, ptr %list)
  call void @Py_DecRef(ptr %list)
  br i1 %written, label %give, label %let_go
give:
  %given_back = call i64 @word(ptr %record, i64 $answer)
  %itself = icmp ne i64 %given_back, 0
  %x = load ptr, ptr %args
  %back = select i1 %itself, ptr %x, ptr @_Py_NoneStruct
  call void @Py_IncRef(ptr %back)
  br label %let_go
let_go:
  %found = phi ptr [ null, %look ], [ null, %run ], [ null, %write ], [ %back, %give ]
  call void @drop(ptr %values, i64 %count)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %take ], [ %found, %let_go ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}
"""
