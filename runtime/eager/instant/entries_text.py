"""Rows and steps as native calls, as LLVM text: what is computed of operands that are open.

In flow arrays; out flows a Tensor, with its history if it has one. Whatever is not plain goes to the
record's `slow` (`operands_text.py`), and so does every error.
"""

from __future__ import annotations

ENTRIES = """
; --- computing -------------------------------------------------------------------------------------------
; What the function gives for the arrays, without NumPy's warnings.
define internal ptr @quietly(ptr %function, ptr %values, i64 %count) nounwind {
entry:
  %entered = call i32 @PyContext_Enter(ptr @quiet_context)
  %taken = icmp ne i32 %entered, 0                     ; by another thread
  br i1 %taken, label %no, label %run
run:
  %value = call ptr @PyObject_Vectorcall(ptr %function, ptr %values, i64 %count, ptr null)
  call i32 @PyContext_Exit(ptr @quiet_context)
  ret ptr %value
no:
  ret ptr null
}

; A Tensor of a value, whose reference it takes. NumPy gives scalars for arrays without axes.
define internal ptr @boxed(ptr %value) nounwind {
entry:
  %array_already = call i1 @is_array(ptr %value)
  br i1 %array_already, label %new, label %convert
convert:
  %converted = call ptr @PyObject_CallOneArg(ptr @asarray, ptr %value)
  call void @Py_DecRef(ptr %value)
  %failed = icmp eq ptr %converted, null
  br i1 %failed, label %no, label %new
new:
  %array = phi ptr [ %value, %entry ], [ %converted, %convert ]
  %tensor = call ptr @PyType_GenericAlloc(ptr @tensor_type, i64 0)
  %no_tensor = icmp eq ptr %tensor, null
  br i1 %no_tensor, label %let_go, label %slots
slots:
  call void @fill(ptr %tensor, i64 $tensor_value, ptr %array)
  call void @share(ptr %tensor, i64 $tensor_requires_grad, ptr @_Py_FalseStruct)
  call void @share(ptr %tensor, i64 $tensor_edge, ptr @_Py_NoneStruct)
  call void @share(ptr %tensor, i64 $tensor_grad, ptr @_Py_NoneStruct)
  call void @share(ptr %tensor, i64 $tensor_counter, ptr @_Py_NoneStruct)
  call void @share(ptr %tensor, i64 $tensor_view, ptr @_Py_NoneStruct)
  call void @share(ptr %tensor, i64 $tensor_leaf, ptr @_Py_NoneStruct)
  ret ptr %tensor
let_go:
  call void @Py_DecRef(ptr %array)
  br label %no
no:
  ret ptr null
}

; The op of a record, applied to operands that are open; null for Python's turn.
define internal ptr @applied(ptr %record, ptr %function, ptr %args, ptr %values, i64 %count,
                             i64 %mask) nounwind {
entry:
  %history = call i64 @history(ptr %record, ptr %values, i64 %count, i64 %mask)
  %unknown = icmp slt i64 %history, 0
  br i1 %unknown, label %no, label %compute
compute:
  %value = call ptr @quietly(ptr %function, ptr %values, i64 %count)
  %failed = icmp eq ptr %value, null
  br i1 %failed, label %no, label %box
box:
  %tensor = call ptr @boxed(ptr %value)
  %unboxed = icmp eq ptr %tensor, null
  %bare = icmp eq i64 %history, 0
  %done = or i1 %unboxed, %bare
  br i1 %done, label %give, label %write
write:
  %written = call i1 @record(ptr %record, ptr %tensor, ptr %args, ptr %values, i64 %count, i64 %mask,
                             i64 %history)
  br i1 %written, label %give, label %discard
discard:
  call void @Py_DecRef(ptr %tensor)
  br label %no
give:
  ret ptr %tensor
no:
  ret ptr null
}

; The result, or what `slow` makes of the arguments where there is none, for whatever reason.
define internal ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %made = icmp ne ptr %result, null
  br i1 %made, label %give, label %ask
ask:
  %error = call ptr @PyErr_Occurred()
  %none = icmp eq ptr %error, null
  br i1 %none, label %again, label %weigh
weigh:                                                 ; an interrupt is no error to be told otherwise
  %class = load ptr, ptr @PyExc_Exception
  %matches = call i32 @PyErr_ExceptionMatches(ptr %class)
  %ordinary = icmp ne i32 %matches, 0
  br i1 %ordinary, label %clear, label %give
clear:
  call void @PyErr_Clear()
  br label %again
again:
  %slow = call ptr @object(ptr %record, i64 $slow)
  %found = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %nargs, ptr %names)
  ret ptr %found
give:
  ret ptr %result
}

; Whether a call has as many arguments as the record says, none by name, outside of traces.
define internal i1 @is_plain(ptr %record, i64 %nargs, ptr %names) nounwind {
  %count = and i64 %nargs, 9223372036854775807
  %arity = call i64 @word(ptr %record, i64 $arity)
  %as_many = icmp eq i64 %count, %arity
  %unnamed = icmp eq ptr %names, null
  %traces = load i64, ptr @open_traces
  %untraced = icmp eq i64 %traces, 0
  %fits = and i1 %as_many, %unnamed
  %plain = and i1 %fits, %untraced
  ret i1 %plain
}

; --- entries: an op whose operands' types are known ---------------------------------------------------------
define ptr @retrograd_step(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
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
  %function = call ptr @object(ptr %record, i64 $compute)
  %tensor = call ptr @applied(ptr %record, ptr %function, ptr %args, ptr %values, i64 %count, i64 %mask)
  call void @drop(ptr %values, i64 %count)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %take ], [ %tensor, %run ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; --- entries: a row, of one or two operands of any types that agree -----------------------------------------
; Opens a row's operands as `open` does; a number beside a Tensor that decides the dtype becomes an array: any
; beside one of floats, and an int beside one of ints.
define internal i64 @open_row(ptr %args, i64 %count, ptr %values) nounwind {
entry:
  %x = load ptr, ptr %args
  %first = call ptr @opened(ptr %x)
  store ptr %first, ptr %values
  %one = icmp eq i64 %count, 1
  br i1 %one, label %only, label %two
only:
  %closed = icmp eq ptr %first, null
  br i1 %closed, label %no, label %alone
alone:
  %alone_bit = call i64 @tracked(ptr %x)
  ret i64 %alone_bit
two:
  %y_at = getelementptr ptr, ptr %args, i64 1
  %y = load ptr, ptr %y_at
  %second_at = getelementptr ptr, ptr %values, i64 1
  %second = call ptr @opened(ptr %y)
  store ptr %second, ptr %second_at
  %has_first = icmp ne ptr %first, null
  %has_second = icmp ne ptr %second, null
  %both = and i1 %has_first, %has_second
  br i1 %both, label %pair, label %mixed
pair:
  %first_bit = call i64 @tracked(ptr %x)
  %second_bit = call i64 @tracked(ptr %y)
  %second_placed = shl i64 %second_bit, 1
  %mask = or i64 %first_bit, %second_placed
  ret i64 %mask
mixed:
  %number = select i1 %has_first, ptr %y, ptr %x
  %beside = select i1 %has_first, ptr %first, ptr %second
  %tensor = select i1 %has_first, ptr %x, ptr %y
  %neither = icmp eq ptr %beside, null
  br i1 %neither, label %no, label %weigh
weigh:
  %dtype = call i64 @dtype_of(ptr %beside)
  %floating = icmp ult i64 %dtype, $floating
  %type = call ptr @member(ptr %number, i64 $type)
  %int = icmp eq ptr %type, @PyLong_Type
  %solid = icmp ult i64 %dtype, $solid
  %whole = and i1 %int, %solid
  %decides = or i1 %floating, %whole
  br i1 %decides, label %convert, label %let_go
convert:
  %array = call ptr @number(ptr %number, ptr %beside)
  %unknown = icmp eq ptr %array, null
  br i1 %unknown, label %let_go, label %enter
enter:
  %number_at = select i1 %has_first, ptr %second_at, ptr %values
  store ptr %array, ptr %number_at
  %bit = call i64 @tracked(ptr %tensor)
  %shift = select i1 %has_first, i64 0, i64 1
  %placed = shl i64 %bit, %shift
  ret i64 %placed
let_go:
  call void @Py_DecRef(ptr %beside)
  br label %no
no:
  ret i64 -1
}

; What computes the row of these arrays, if they agree and it is known; else null.
define internal ptr @row_function(ptr %record, ptr %values, i64 %count, i64 %mask) nounwind {
entry:
  %first = load ptr, ptr %values
  %last = sub i64 %count, 1
  %second = call ptr @object(ptr %values, i64 %last)
  %dtype = call ptr @member(ptr %first, i64 $array_dtype)
  %other = call ptr @member(ptr %second, i64 $array_dtype)
  %agree = icmp eq ptr %dtype, %other
  br i1 %agree, label %find, label %no
find:
  %place = call i64 @dtype_of(ptr %first)
  %unknown = icmp slt i64 %place, 0
  %solid = icmp uge i64 %place, $floating
  %tracked = icmp ne i64 %mask, 0
  %odd = and i1 %solid, %tracked
  %refused = or i1 %unknown, %odd
  br i1 %refused, label %no, label %give
give:
  %at = add i64 %place, $functions
  %function = call ptr @object(ptr %record, i64 %at)
  ret ptr %function
no:
  ret ptr null
}

define ptr @retrograd_row(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %values = alloca ptr, i64 $most
  %record = call ptr @member(ptr %self, i64 $record)
  %plain = call i1 @is_plain(ptr %record, i64 %nargs, ptr %names)
  br i1 %plain, label %take, label %slow
take:
  %count = call i64 @word(ptr %record, i64 $arity)
  %mask = call i64 @open_row(ptr %args, i64 %count, ptr %values)
  %closed = icmp slt i64 %mask, 0
  br i1 %closed, label %slow, label %choose
choose:
  %function = call ptr @row_function(ptr %record, ptr %values, i64 %count, i64 %mask)
  %unknown = icmp eq ptr %function, null
  br i1 %unknown, label %let_go, label %run
run:
  %tensor = call ptr @applied(ptr %record, ptr %function, ptr %args, ptr %values, i64 %count, i64 %mask)
  br label %let_go
let_go:
  %found = phi ptr [ null, %choose ], [ %tensor, %run ]
  call void @drop(ptr %values, i64 %count)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %take ], [ %found, %let_go ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}
"""
