"""Random numbers that a program takes, as LLVM text: drawn natively when a call has passed all its ports.

In flow the held ports of kind 8 (`trampoline.py`, where their grammar stands) in the order of the draws; out
flow pointers to fresh numbers, and arrays with them where somebody looks at them later. A call that turns out
to be a miss gives the numbers back: its generators stand as before, unless others have drawn meanwhile.
"""

from __future__ import annotations

from retrograd.runtime.random.twister_text import OFFSETS, STATE_BYTES


def constants() -> dict[str, int]:
    """What the text needs to know of a generator's state, and of what is saved of it."""
    return {"state_bytes": STATE_BYTES, "state_turn": OFFSETS["turn"], "saved_bytes": SAVED_BYTES}


SAVED_BYTES = STATE_BYTES + 16
"""Of one draw: its state as it was, after where that is and the turn to which the draw has brought it."""

DRAWING = """
; --- random numbers --------------------------------------------------------------------------------------
; New arrays for the draws among so many held objects, whose leaves and pointers begin at these numbers: each
; is put into its object's slot, and into `drawn`. False with an exception set.
define internal i1 @make_drawn(ptr %frame, i64 %count, ptr %ports, i64 %leaf, i64 %pointer, ptr %drawn,
                               i64 %draws) nounwind {
entry:
  %pointers = load ptr, ptr %frame
  %arrays_at = getelementptr %call_frame, ptr %frame, i64 0, i32 3
  %arrays = load ptr, ptr %arrays_at
  br label %clear
clear:
  %c = phi i64 [ 0, %entry ], [ %c_next, %clear_one ]
  %clear_more = icmp ult i64 %c, %draws
  br i1 %clear_more, label %clear_one, label %next
clear_one:
  %drawn_c = getelementptr ptr, ptr %drawn, i64 %c
  store ptr null, ptr %drawn_c
  %c_next = add i64 %c, 1
  br label %clear
next:
  %i = phi i64 [ 0, %clear ], [ %i_next, %step ]
  %port = phi ptr [ %ports, %clear ], [ %port_next, %step ]
  %p = phi i64 [ %pointer, %clear ], [ %p_next, %step ]
  %d = phi i64 [ 0, %clear ], [ %d_next, %step ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %kind = load i64, ptr %port, align 1
  %is_draw = icmp eq i64 %kind, 8
  br i1 %is_draw, label %look, label %step
look:
  %place = call i64 @head(ptr %port, i64 10)
  %in_array = icmp slt i64 %place, 0
  br i1 %in_array, label %new, label %step
new:
  %dtype_at = getelementptr i64, ptr %port, i64 4
  %dtype = load ptr, ptr %dtype_at, align 1
  %ndim = call i64 @head(ptr %port, i64 5)
  %rank = trunc i64 %ndim to i32
  %extents = getelementptr i64, ptr %port, i64 11
  %dims = alloca i64, i64 %ndim
  %extent_bytes = shl i64 %ndim, 3
  call ptr @memcpy(ptr %dims, ptr %extents, i64 %extent_bytes)
  call void @Py_IncRef(ptr %dtype)                     ; the next call takes this reference
  %array = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %rank, ptr %dims,
                                          ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %no, label %enter
enter:
  %drawn_at = getelementptr ptr, ptr %drawn, i64 %d
  store ptr %array, ptr %drawn_at
  %leaf_i = add i64 %leaf, %i
  %array_at = getelementptr ptr, ptr %arrays, i64 %leaf_i
  store ptr %array, ptr %array_at
  %data_at = getelementptr i8, ptr %array, i64 $array_data
  %data = load ptr, ptr %data_at
  %pointer_at = getelementptr ptr, ptr %pointers, i64 %p
  store ptr %data, ptr %pointer_at
  %objects_at = getelementptr %call_frame, ptr %frame, i64 0, i32 2
  %objects = load ptr, ptr %objects_at
  %object_at = getelementptr ptr, ptr %objects, i64 %leaf_i
  %object = load ptr, ptr %object_at
  %slot = call i64 @head(ptr %port, i64 3)
  %slot_at = getelementptr i8, ptr %object, i64 %slot
  %before = load ptr, ptr %slot_at
  call void @Py_IncRef(ptr %array)
  store ptr %array, ptr %slot_at
  call void @Py_DecRef(ptr %before)
  br label %step
step:
  %size = call i64 @head(ptr %port, i64 1)
  %port_next = getelementptr i64, ptr %port, i64 %size
  %i_next = add i64 %i, 1
  %is_constant = icmp eq i64 %kind, 3                  ; the program does not see it
  %p_step = select i1 %is_constant, i64 0, i64 1
  %p_next = add i64 %p, %p_step
  %d_step = zext i1 %is_draw to i64
  %d_next = add i64 %d, %d_step
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

; Draws the numbers, into the arrays or at their places in the arena. With `saving`, the generator's state is
; saved before each draw.
define internal void @draw(ptr %frame, i64 %count, ptr %ports, i64 %pointer, ptr %arena, ptr %saved,
                           i1 %saving) nounwind {
entry:
  %pointers = load ptr, ptr %frame
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %p = phi i64 [ %pointer, %entry ], [ %p_next, %step ]
  %save = phi ptr [ %saved, %entry ], [ %save_next, %step ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %kind = load i64, ptr %port, align 1
  %is_draw = icmp eq i64 %kind, 8
  br i1 %is_draw, label %look, label %step
look:
  %pointer_at = getelementptr ptr, ptr %pointers, i64 %p
  %place = call i64 @head(ptr %port, i64 10)
  %in_array = icmp slt i64 %place, 0
  br i1 %in_array, label %find, label %put
put:
  %there = getelementptr i8, ptr %arena, i64 %place
  store ptr %there, ptr %pointer_at
  br label %find
find:
  %to = load ptr, ptr %pointer_at
  %law_at = getelementptr i64, ptr %port, i64 6
  %law = load ptr, ptr %law_at, align 1
  %state_at = getelementptr i64, ptr %port, i64 7
  %state = load ptr, ptr %state_at, align 1
  %parameters_at = getelementptr i64, ptr %port, i64 8
  %parameters = load ptr, ptr %parameters_at, align 1
  %many = call i64 @head(ptr %port, i64 9)
  br i1 %saving, label %keep, label %fill
keep:
  %copy = getelementptr i8, ptr %save, i64 16
  call ptr @memcpy(ptr %copy, ptr %state, i64 $state_bytes)
  br label %fill
fill:
  call void %law(ptr %state, ptr %to, i64 %many, ptr %parameters)
  br i1 %saving, label %note, label %step
note:
  store ptr %state, ptr %save
  %turn_at = getelementptr i8, ptr %state, i64 $state_turn
  %turn = load i64, ptr %turn_at
  %noted_at = getelementptr i64, ptr %save, i64 1
  store i64 %turn, ptr %noted_at
  br label %step
step:
  %save_bytes = phi i64 [ 0, %one ], [ 0, %fill ], [ $saved_bytes, %note ]
  %save_next = getelementptr i8, ptr %save, i64 %save_bytes
  %size = call i64 @head(ptr %port, i64 1)
  %port_next = getelementptr i64, ptr %port, i64 %size
  %i_next = add i64 %i, 1
  %is_constant = icmp eq i64 %kind, 3
  %p_step = select i1 %is_constant, i64 0, i64 1
  %p_next = add i64 %p, %p_step
  br label %next
end:
  ret void
}

; Gives so many draws back, the last first.
define internal void @rewind(ptr %saved, i64 %draws) nounwind {
entry:
  br label %next
next:
  %left = phi i64 [ %draws, %entry ], [ %k, %step ]
  %more = icmp ne i64 %left, 0
  br i1 %more, label %one, label %end
one:
  %k = sub i64 %left, 1
  %offset = mul i64 %k, $saved_bytes
  %save = getelementptr i8, ptr %saved, i64 %offset
  %state = load ptr, ptr %save
  %noted_at = getelementptr i64, ptr %save, i64 1
  %noted = load i64, ptr %noted_at
  %turn_at = getelementptr i8, ptr %state, i64 $state_turn
  %turn = load i64, ptr %turn_at
  %undisturbed = icmp eq i64 %turn, %noted
  br i1 %undisturbed, label %restore, label %step
restore:
  %copy = getelementptr i8, ptr %save, i64 16
  call ptr @memcpy(ptr %state, ptr %copy, i64 $state_bytes)
  br label %step
step:
  br label %next
end:
  ret void
}
"""
