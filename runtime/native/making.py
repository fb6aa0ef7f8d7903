"""What a native call makes, as LLVM text: new arrays and the objects around them, and the memory to work in.

In flow output ports of the record; out flow pointers to memory that the program writes, before it has run,
and updates at their place, after. A new kind of output is a case in `make_outputs`, and in `box` of
`boxing.py` if it is a number.
"""

MAKING = """
declare ptr @memcpy(ptr, ptr, i64)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @numpy_new_from_descr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)

; --- outputs ------------------------------------------------------------------------------------------
; Fills made and pointers; made[o] is null for a number, which goes to scalars[o]. False: an exception is set,
; or there is no free address.
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
  %made_at = getelementptr ptr, ptr %made, i64 %o
  %inner = add i64 %count, %o
  %inner_at = getelementptr ptr, ptr %made, i64 %inner
  switch i64 %kind, label %number [ i64 0, label %array
                                    i64 9, label %address ]
address:
  %holder = call ptr @new_address(ptr %port, ptr %pointer_at, ptr %inner_at)
  store ptr %holder, ptr %made_at
  %none_free = icmp eq ptr %holder, null
  br i1 %none_free, label %no, label %step
number:
  %scalar_at = getelementptr i64, ptr %scalars, i64 %o
  store i64 0, ptr %scalar_at
  store ptr %scalar_at, ptr %pointer_at
  br label %step
array:
  %object = call ptr @new_array(ptr %port, ptr %pointer_at, ptr %inner_at)
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

; A new ndarray, in an object of the port's class if it has a slot; stores the array, and where its data are.
define internal ptr @new_array(ptr %port, ptr %pointer_at, ptr %array_at) nounwind {
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
  %extents = getelementptr i64, ptr %port, i64 11
  call void @Py_IncRef(ptr %dtype)                   ; the next call takes this reference
  %array = call ptr @numpy_new_from_descr(ptr @numpy_array_type, ptr %dtype, i32 %rank, ptr %extents,
                                          ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %no, label %address
address:
  %data_at = getelementptr i8, ptr %array, i64 $array_data
  %data = load ptr, ptr %data_at
  store ptr %data, ptr %pointer_at
  store ptr %array, ptr %array_at
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

; Where updates are written: straight, or to the arena.
define internal void @place_updates(i64 %count, ptr %ports, ptr %out_pointers, ptr %pointers,
                                    ptr %arena) nounwind {
entry:
  br label %next
next:
  %o = phi i64 [ 0, %entry ], [ %o_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %end
one:
  %kind = load i64, ptr %port, align 1
  %is_update = icmp eq i64 %kind, 6
  br i1 %is_update, label %update, label %step
update:
  %pointer = call i64 @head(ptr %port, i64 2)
  %place = call i64 @head(ptr %port, i64 3)
  %target_at = getelementptr ptr, ptr %pointers, i64 %pointer
  %target = load ptr, ptr %target_at
  %aside = getelementptr i8, ptr %arena, i64 %place
  %at_once = icmp eq i64 %place, -1
  %chosen = select i1 %at_once, ptr %target, ptr %aside
  %out_at = getelementptr ptr, ptr %out_pointers, i64 %o
  store ptr %chosen, ptr %out_at
  br label %step
step:
  %o_next = add i64 %o, 1
  %size = call i64 @head(ptr %port, i64 1)
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
end:
  ret void
}

define internal void @copy_updates(i64 %count, ptr %ports, ptr %out_pointers, ptr %pointers) nounwind {
entry:
  br label %next
next:
  %o = phi i64 [ 0, %entry ], [ %o_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %end
one:
  %kind = load i64, ptr %port, align 1
  %is_update = icmp eq i64 %kind, 6
  br i1 %is_update, label %update, label %step
update:
  %place = call i64 @head(ptr %port, i64 3)
  %at_once = icmp eq i64 %place, -1
  br i1 %at_once, label %step, label %copy
copy:
  %pointer = call i64 @head(ptr %port, i64 2)
  %target_at = getelementptr ptr, ptr %pointers, i64 %pointer
  %target = load ptr, ptr %target_at
  %out_at = getelementptr ptr, ptr %out_pointers, i64 %o
  %from = load ptr, ptr %out_at
  %bytes = call i64 @head(ptr %port, i64 4)
  call ptr @memcpy(ptr %target, ptr %from, i64 %bytes)
  br label %step
step:
  %o_next = add i64 %o, 1
  %size = call i64 @head(ptr %port, i64 1)
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
end:
  ret void
}

; False where a flag was raised.
define internal i1 @sound(i64 %count, ptr %ports, ptr %scalars) nounwind {
entry:
  br label %next
next:
  %o = phi i64 [ 0, %entry ], [ %o_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %yes
one:
  %kind = load i64, ptr %port, align 1
  %is_flag = icmp eq i64 %kind, 5
  br i1 %is_flag, label %flag, label %step
flag:
  %flag_at = getelementptr i64, ptr %scalars, i64 %o
  %raised = load i64, ptr %flag_at
  %lowered = icmp eq i64 %raised, 0
  br i1 %lowered, label %step, label %no
step:
  %o_next = add i64 %o, 1
  %size = call i64 @head(ptr %port, i64 1)
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
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
