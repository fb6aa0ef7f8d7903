"""Replayed functions as native calls, as LLVM text: what `replay.replayed` does in Python, and methods.

In flow the arguments of a call; its key (`keys_text.py`) is looked up in a dict of plans, and the plan is
called with the Tensors among the arguments.
"""

from __future__ import annotations

REPLAY = """
; The plan for a key, a new reference: one that is known, or what `find` says to the arguments (None where it
; may change, False where there is none). Null with an exception set, or without one where there is no plan.
define internal ptr @plan_for(ptr %record, ptr %key, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %words = load i64, ptr %key
  %length = shl i64 %words, 3
  %text = getelementptr %key, ptr %key, i64 0, i32 2
  %bytes = call ptr @PyBytes_FromStringAndSize(ptr %text, i64 %length)
  %no_bytes = icmp eq ptr %bytes, null
  br i1 %no_bytes, label %no, label %look
look:
  %plans = call ptr @object(ptr %record, i64 $plans)
  %known = call ptr @PyDict_GetItemWithError(ptr %plans, ptr %bytes)
  %unknown = icmp eq ptr %known, null
  br i1 %unknown, label %search, label %give_known
give_known:
  %hopeless = icmp eq ptr %known, @_Py_FalseStruct
  br i1 %hopeless, label %give, label %share
share:
  call void @Py_IncRef(ptr %known)
  br label %give
search:
  %find = call ptr @object(ptr %record, i64 $find)
  %found = call ptr @PyObject_Vectorcall(ptr %find, ptr %args, i64 %nargs, ptr %names)
  %failed = icmp eq ptr %found, null
  %none = icmp eq ptr %found, @_Py_NoneStruct
  br i1 %failed, label %give, label %ask_none
ask_none:
  br i1 %none, label %discard, label %keep
discard:
  call void @Py_DecRef(ptr %found)
  br label %give
keep:
  %size = call i64 @PyDict_Size(ptr %plans)
  %full = icmp sge i64 %size, $most_plans
  br i1 %full, label %clear, label %enter
clear:
  call void @PyDict_Clear(ptr %plans)
  br label %enter
enter:
  call i32 @PyDict_SetItem(ptr %plans, ptr %bytes, ptr %found)
  %no_plan = icmp eq ptr %found, @_Py_FalseStruct
  br i1 %no_plan, label %discard, label %give
give:
  %plan = phi ptr [ null, %give_known ], [ %known, %share ], [ null, %search ], [ null, %discard ],
                  [ %found, %enter ]
  call void @Py_DecRef(ptr %bytes)
  ret ptr %plan
no:
  ret ptr null
}

define ptr @retrograd_replay(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %key = alloca %key
  %record = call ptr @member(ptr %self, i64 $record)
  %traces = load i64, ptr @open_traces
  %untraced = icmp eq i64 %traces, 0
  br i1 %untraced, label %describe, label %slow
describe:
  %count = and i64 %nargs, 9223372036854775807
  %described = call i1 @enter_call(ptr %key, ptr %args, i64 %count, ptr %names)
  br i1 %described, label %find, label %slow
find:
  %found_at = getelementptr %key, ptr %key, i64 0, i32 1
  %found = load i64, ptr %found_at
  %operands = getelementptr %key, ptr %key, i64 0, i32 3
  call void @hold(ptr %operands, i64 %found)
  %plan = call ptr @plan_for(ptr %record, ptr %key, ptr %args, i64 %nargs, ptr %names)
  %no_plan = icmp eq ptr %plan, null
  br i1 %no_plan, label %let_go, label %run
run:
  %result = call ptr @PyObject_Vectorcall(ptr %plan, ptr %operands, i64 %found, ptr null)
  call void @Py_DecRef(ptr %plan)
  call void @drop(ptr %operands, i64 %found)
  %made = icmp ne ptr %result, null
  br i1 %made, label %give, label %weigh
give:
  ret ptr %result
weigh:                                                 ; the function itself says what is wrong
  %matches = call i32 @PyErr_ExceptionMatches(ptr @own_error)
  %is_own = icmp ne i32 %matches, 0                    ; another one is that of the user's hooks
  br i1 %is_own, label %clear, label %fail
clear:
  call void @PyErr_Clear()
  br label %ask
let_go:
  call void @drop(ptr %operands, i64 %found)
  %error = call ptr @PyErr_Occurred()
  %calm = icmp eq ptr %error, null
  br i1 %calm, label %ask, label %fail
fail:
  ret ptr null
slow:
  call void @PyErr_Clear()                             ; of a text that has no bytes
  br label %ask
ask:
  %which = phi i64 [ $slow, %slow ], [ $unplanned, %let_go ], [ $unplanned, %clear ]
  %python = call ptr @object(ptr %record, i64 %which)
  %given = call ptr @PyObject_Vectorcall(ptr %python, ptr %args, i64 %nargs, ptr %names)
  ret ptr %given
}

define internal void @hold(ptr %objects, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %each = call ptr @object(ptr %objects, i64 %i)
  call void @Py_IncRef(ptr %each)
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}

; --- functions as attributes: a Tensor's method is the function with the Tensor as its first argument ------
declare ptr @PyMethod_New(ptr, ptr)

define ptr @retrograd_bind(ptr %function, ptr %object, ptr %class) nounwind {
entry:
  %unbound = icmp eq ptr %object, null
  br i1 %unbound, label %itself, label %bind
itself:
  call void @Py_IncRef(ptr %function)
  ret ptr %function
bind:
  %method = call ptr @PyMethod_New(ptr %function, ptr %object)
  ret ptr %method
}
"""
