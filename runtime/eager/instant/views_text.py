"""Views as native calls, as LLVM text: what `record._view_step` and `views.View` are in Python.

A view is made where the last one lay that Python made for the same record: by the strides that the operand
had, and the offset, extents and strides of the view.
"""

from __future__ import annotations

VIEWS = """
; --- entries: a view ----------------------------------------------------------------------------------------
define ptr @retrograd_view(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %values = alloca ptr, i64 $most
  %record = call ptr @member(ptr %self, i64 $record)
  %plain = call i1 @is_plain(ptr %record, i64 %nargs, ptr %names)
  br i1 %plain, label %take, label %slow
take:
  %mask = call i64 @open(ptr %args, i64 1, ptr %values)
  %closed = icmp slt i64 %mask, 0
  br i1 %closed, label %slow, label %compare
compare:
  %x = load ptr, ptr %args
  %array = load ptr, ptr %values
  %same = call i1 @lies_as_before(ptr %record, ptr %array)
  br i1 %same, label %weigh, label %let_go
weigh:
  %history = call i64 @history(ptr %record, ptr %values, i64 1, i64 %mask)
  %unknown = icmp slt i64 %history, 0
  br i1 %unknown, label %let_go, label %show
show:
  %tensor = call ptr @shown(ptr %record, ptr %x, ptr %array)
  %unshown = icmp eq ptr %tensor, null
  %bare = icmp eq i64 %history, 0
  %done = or i1 %unshown, %bare
  br i1 %done, label %let_go, label %write
write:
  %written = call i1 @record(ptr %record, ptr %tensor, ptr %args, ptr %values, i64 1, i64 %mask,
                             i64 %history)
  br i1 %written, label %let_go, label %discard
discard:
  call void @Py_DecRef(ptr %tensor)
  br label %let_go
let_go:
  %found = phi ptr [ null, %compare ], [ null, %weigh ], [ %tensor, %show ], [ %tensor, %write ],
                   [ null, %discard ]
  call void @drop(ptr %values, i64 1)
  br label %slow
slow:
  %result = phi ptr [ null, %entry ], [ null, %take ], [ %found, %let_go ]
  %given = call ptr @or_slow(ptr %result, ptr %record, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

; Whether an array has the flags and strides of the one that the record's view was made of.
define internal i1 @lies_as_before(ptr %record, ptr %array) nounwind {
entry:
  %flags_at = getelementptr i8, ptr %array, i64 $array_flags
  %flags_int = load i32, ptr %flags_at
  %flags = zext i32 %flags_int to i64
  %wanted = call i64 @word(ptr %record, i64 $flags_before)
  %same_flags = icmp eq i64 %flags, %wanted
  %rank = call i64 @rank_of(ptr %array)
  %strides = call ptr @member(ptr %array, i64 $array_strides)
  br i1 %same_flags, label %next, label %no
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %yes
one:
  %stride = call i64 @word(ptr %strides, i64 %i)
  %at = add i64 %i, $strides_before
  %before = call i64 @word(ptr %record, i64 %at)
  %same = icmp eq i64 %stride, %before
  %i_next = add i64 %i, 1
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; The record's view of a Tensor and its array.
define internal ptr @shown(ptr %record, ptr %x, ptr %array) nounwind {
entry:
  %dtype = call ptr @member(ptr %array, i64 $array_dtype)
  %data = call ptr @member(ptr %array, i64 $array_data)
  %offset = call i64 @word(ptr %record, i64 $offset)
  %start = getelementptr i8, ptr %data, i64 %offset
  %rank = call i64 @word(ptr %record, i64 $rank)
  %rank_int = trunc i64 %rank to i32
  %flags = call i64 @word(ptr %record, i64 $flags)
  %flags_int = trunc i64 %flags to i32
  %extents = getelementptr i64, ptr %record, i64 $extents
  %strides = getelementptr i64, ptr %record, i64 $strides
  call void @Py_IncRef(ptr %dtype)                     ; the next call takes this reference
  %part = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %rank_int, ptr %extents,
                                         ptr %strides, ptr %start, i32 %flags_int, ptr null)
  %failed = icmp eq ptr %part, null
  br i1 %failed, label %no, label %hold
hold:
  call void @Py_IncRef(ptr %array)                     ; and this one
  %status = call i32 @numpy_set_base(ptr %part, ptr %array)
  %tensor = call ptr @boxed(ptr %part)
  %no_tensor = icmp eq ptr %tensor, null
  br i1 %no_tensor, label %no, label %link
link:
  %linked = call i1 @link(ptr %record, ptr %x, ptr %tensor)
  br i1 %linked, label %give, label %let_go
give:
  ret ptr %tensor
let_go:
  call void @Py_DecRef(ptr %tensor)
  br label %no
no:
  ret ptr null
}

; Notes how one Tensor shows the elements of another. Views of views go straight to the base, unless a step
; between them is not followed by histories.
define internal i1 @link(ptr %record, ptr %x, ptr %tensor) nounwind {
entry:
  %view = call ptr @PyType_GenericAlloc(ptr @view_type, i64 0)
  %counter = call ptr @counter_of(ptr %x)
  %step = call ptr @object(ptr %record, i64 $path)
  %no_view = icmp eq ptr %view, null
  %no_counter = icmp eq ptr %counter, null
  %missing = or i1 %no_view, %no_counter
  br i1 %missing, label %let_go, label %look
look:
  %grad = call i1 @mode(ptr @name_of_grad)
  %tracked = select i1 %grad, ptr @_Py_TrueStruct, ptr @_Py_FalseStruct
  %parent = call ptr @member(ptr %x, i64 $tensor_view)
  %whole = icmp eq ptr %parent, @_Py_NoneStruct
  br i1 %whole, label %straight, label %ask
ask:
  %parent_tracked = call ptr @member(ptr %parent, i64 $view_tracked)
  %followed = icmp eq ptr %parent_tracked, @_Py_TrueStruct
  %through = and i1 %followed, %grad
  br i1 %through, label %join, label %straight
join:
  %parent_base = call ptr @member(ptr %parent, i64 $view_base)
  %parent_path = call ptr @member(ptr %parent, i64 $view_path)
  %joined = call ptr @PySequence_Concat(ptr %parent_path, ptr %step)
  %unjoined = icmp eq ptr %joined, null
  br i1 %unjoined, label %let_go, label %enter
straight:
  call void @Py_IncRef(ptr %step)
  br label %enter
enter:
  %base = phi ptr [ %x, %straight ], [ %parent_base, %join ]
  %path = phi ptr [ %step, %straight ], [ %joined, %join ]
  %version = call ptr @first_of(ptr %counter)
  call void @share(ptr %view, i64 $view_base, ptr %base)
  call void @fill(ptr %view, i64 $view_path, ptr %path)
  call void @share(ptr %view, i64 $view_several, ptr @no_text)
  call void @share(ptr %view, i64 $view_tracked, ptr %tracked)
  call void @share(ptr %view, i64 $view_version, ptr %version)
  call void @replace(ptr %tensor, i64 $tensor_view, ptr %view)
  call void @Py_IncRef(ptr %counter)
  call void @replace(ptr %tensor, i64 $tensor_counter, ptr %counter)
  ret i1 true
let_go:
  call void @Py_DecRef(ptr %view)
  ret i1 false
}
"""
