"""The first half of native eager calls, as LLVM text: operands are opened, computed with, and boxed.

In flow the arguments of a call, as CPython's vectorcall passes them, and the callable's record of 64-bit
words (`calls.py` says what stands where); out flows a new Tensor. Whatever is not plain goes to the record's
`slow`, a Python function that does the same for anything: an operand that is no Tensor of an ndarray, a view
whose base was changed, open traces, watched nodes, a history that has not been met, and every error, which it
tells in the user's terms. So nothing here ever raises by itself.
"""

from __future__ import annotations

OPERANDS = """
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@_Py_NoneStruct = external global i8
@_Py_TrueStruct = external global i8
@_Py_FalseStruct = external global i8
@PyExc_Exception = external global ptr
@own_error = external global i8
@numpy_array_type = external global i8
@tensor_type = external global i8
@modes = external global i8
@name_of_grad = external global i8
@name_of_watched = external global i8
@quiet_context = external global i8
@asarray = external global i8
@numbers = external global i8
@open_traces = external global i64
@dtypes = external global ptr
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_ExceptionMatches(ptr)
declare void @PyErr_Clear()
declare i32 @PyObject_IsTrue(ptr)
declare ptr @PyObject_Repr(ptr)
declare i32 @PyContext_Enter(ptr)
declare i32 @PyContext_Exit(ptr)
declare ptr @PyTuple_New(i64)
declare ptr @PyDict_GetItemWithError(ptr, ptr)

; --- words and members -----------------------------------------------------------------------------------
define internal ptr @member(ptr %object, i64 %offset) nounwind {
  %at = getelementptr i8, ptr %object, i64 %offset
  %found = load ptr, ptr %at
  ret ptr %found
}

; Puts a reference, which it takes, into a member that holds nothing.
define internal void @fill(ptr %object, i64 %offset, ptr %content) nounwind {
  %at = getelementptr i8, ptr %object, i64 %offset
  store ptr %content, ptr %at
  ret void
}

; The same with a reference of its own.
define internal void @share(ptr %object, i64 %offset, ptr %content) nounwind {
  call void @Py_IncRef(ptr %content)
  call void @fill(ptr %object, i64 %offset, ptr %content)
  ret void
}

; Puts a reference, which it takes, in the place of another one.
define internal void @replace(ptr %object, i64 %offset, ptr %content) nounwind {
  %before = call ptr @member(ptr %object, i64 %offset)
  call void @fill(ptr %object, i64 %offset, ptr %content)
  call void @Py_DecRef(ptr %before)
  ret void
}

define internal i64 @word(ptr %record, i64 %place) nounwind {
  %at = getelementptr i64, ptr %record, i64 %place
  %found = load i64, ptr %at
  ret i64 %found
}

define internal ptr @object(ptr %record, i64 %place) nounwind {
  %at = getelementptr ptr, ptr %record, i64 %place
  %found = load ptr, ptr %at
  ret ptr %found
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

; Whether a field of `modes` is true. An error counts as false, and is found where the next call is made.
define internal i1 @mode(ptr %name) nounwind {
  %field = call ptr @PyObject_GetAttr(ptr @modes, ptr %name)
  %true = icmp eq ptr %field, @_Py_TrueStruct
  call void @Py_DecRef(ptr %field)
  ret i1 %true
}

; --- operands --------------------------------------------------------------------------------------------
define internal i1 @is_tensor(ptr %x) nounwind {
entry:
  %type = call ptr @member(ptr %x, i64 $type)
  %plain = icmp eq ptr %type, @tensor_type
  br i1 %plain, label %yes, label %ask
ask:
  %below = call i32 @PyType_IsSubtype(ptr %type, ptr @tensor_type)
  %is = icmp ne i32 %below, 0
  ret i1 %is
yes:
  ret i1 true
}

define internal i1 @is_array(ptr %x) nounwind {
  %type = call ptr @member(ptr %x, i64 $type)
  %is = icmp eq ptr %type, @numpy_array_type
  ret i1 %is
}

; Whether a Tensor shows what its base holds now: it is no view, or has seen the last change.
define internal i1 @is_fresh(ptr %x) nounwind {
entry:
  %view = call ptr @member(ptr %x, i64 $tensor_view)
  %whole = icmp eq ptr %view, @_Py_NoneStruct
  br i1 %whole, label %yes, label %compare
compare:
  %base = call ptr @member(ptr %view, i64 $view_base)
  %counter = call ptr @member(ptr %base, i64 $tensor_counter)
  %items = call ptr @member(ptr %counter, i64 $list_items)
  %now = load ptr, ptr %items
  %then = call ptr @member(ptr %view, i64 $view_version)
  %same = icmp eq ptr %now, %then
  ret i1 %same
yes:
  ret i1 true
}

; A reference to the array that an operand is or holds; null where Python must look.
define internal ptr @opened(ptr %x) nounwind {
entry:
  %bare = call i1 @is_array(ptr %x)
  br i1 %bare, label %give, label %class
class:
  %tensor = call i1 @is_tensor(ptr %x)
  br i1 %tensor, label %look, label %no
look:
  %value = call ptr @member(ptr %x, i64 $tensor_value)
  %of_array = call i1 @is_array(ptr %value)
  %fresh = call i1 @is_fresh(ptr %x)
  %plain = and i1 %of_array, %fresh
  br i1 %plain, label %give, label %no
give:
  %array = phi ptr [ %x, %entry ], [ %value, %look ]
  call void @Py_IncRef(ptr %array)
  ret ptr %array
no:
  ret ptr null
}

; 1 where operations on the operand are recorded.
define internal i64 @tracked(ptr %x) nounwind {
entry:
  %bare = call i1 @is_array(ptr %x)
  br i1 %bare, label %no, label %look
look:
  %flag = call ptr @member(ptr %x, i64 $tensor_requires_grad)
  %is = icmp eq ptr %flag, @_Py_TrueStruct
  %bit = zext i1 %is to i64
  ret i64 %bit
no:
  ret i64 0
}

; Opens so many operands; gives a bit for each that is tracked, or -1 and no references.
define internal i64 @open(ptr %args, i64 %count, ptr %values) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %enter ]
  %mask = phi i64 [ 0, %entry ], [ %mask_next, %enter ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %x = call ptr @object(ptr %args, i64 %i)
  %value = call ptr @opened(ptr %x)
  %closed = icmp eq ptr %value, null
  br i1 %closed, label %no, label %enter
enter:
  %value_at = getelementptr ptr, ptr %values, i64 %i
  store ptr %value, ptr %value_at
  %bit = call i64 @tracked(ptr %x)
  %placed = shl i64 %bit, %i
  %mask_next = or i64 %mask, %placed
  %i_next = add i64 %i, 1
  br label %next
end:
  ret i64 %mask
no:
  call void @drop(ptr %values, i64 %i)
  ret i64 -1
}

; The place of a dtype in `dtypes`, a table that ends in null; -1 for another one.
define internal i64 @dtype_of(ptr %array) nounwind {
entry:
  %dtype = call ptr @member(ptr %array, i64 $array_dtype)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %other ]
  %known = call ptr @object(ptr @dtypes, i64 %i)
  %same = icmp eq ptr %known, %dtype
  br i1 %same, label %yes, label %other
other:
  %i_next = add i64 %i, 1
  %last = icmp eq ptr %known, null
  br i1 %last, label %no, label %next
yes:
  ret i64 %i
no:
  ret i64 -1
}

; A number as the 0-d array of a dtype that was made before; null if there is none.
define internal ptr @number(ptr %x, ptr %beside) nounwind {
entry:
  %type = call ptr @member(ptr %x, i64 $type)
  %float = icmp eq ptr %type, @PyFloat_Type
  %int = icmp eq ptr %type, @PyLong_Type
  %number = or i1 %float, %int
  br i1 %number, label %weigh, label %no
weigh:                                                 ; 0, 0.0 and -0.0 are equal, and are not one array
  %sign = call i32 @PyObject_IsTrue(ptr %x)
  %zero = icmp eq i32 %sign, 0
  br i1 %zero, label %spell, label %itself
spell:
  %text = call ptr @PyObject_Repr(ptr %x)
  %unspelt = icmp eq ptr %text, null
  br i1 %unspelt, label %no, label %pair
itself:
  call void @Py_IncRef(ptr %x)
  br label %pair
pair:
  %value = phi ptr [ %text, %spell ], [ %x, %itself ]
  %key = call ptr @PyTuple_New(i64 2)
  %no_key = icmp eq ptr %key, null
  br i1 %no_key, label %let_go, label %find
let_go:
  call void @Py_DecRef(ptr %value)
  br label %no
find:
  %dtype = call ptr @member(ptr %beside, i64 $array_dtype)
  call void @fill(ptr %key, i64 $tuple_items, ptr %value)
  call void @share(ptr %key, i64 $tuple_second, ptr %dtype)
  %found = call ptr @PyDict_GetItemWithError(ptr @numbers, ptr %key)
  call void @Py_DecRef(ptr %key)
  %absent = icmp eq ptr %found, null
  br i1 %absent, label %no, label %give
give:
  call void @Py_IncRef(ptr %found)
  ret ptr %found
no:
  ret ptr null
}
"""
