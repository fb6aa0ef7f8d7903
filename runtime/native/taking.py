"""What a native call takes, as LLVM text: arguments and held objects are checked against their ports.

In flow objects and the record's words; out flow pointers to data, and the leaves with their arrays, in the
frame of the call (`trampoline.py`, where the ports' grammar stands). A new kind of argument is
a case of the `switch` in `take`.
"""

TAKING = """
declare i64 @PyDict_Size(ptr)
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare i8 @numpy_equivalent_types(ptr, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)

; --- arguments -------------------------------------------------------------------------------------------
; Checks so many objects against so many ports, and enters them in the frame. False where one is unlike.
define internal i1 @take(ptr %frame, ptr %items, i64 %count, ptr %ports) nounwind {
entry:
  %pointers = load ptr, ptr %frame
  %scalars_at = getelementptr %call_frame, ptr %frame, i64 0, i32 1
  %scalars = load ptr, ptr %scalars_at
  %objects_at = getelementptr %call_frame, ptr %frame, i64 0, i32 2
  %objects = load ptr, ptr %objects_at
  %arrays_at = getelementptr %call_frame, ptr %frame, i64 0, i32 3
  %arrays = load ptr, ptr %arrays_at
  %lengths_at = getelementptr %call_frame, ptr %frame, i64 0, i32 6
  %lengths = load ptr, ptr %lengths_at
  %used_at = getelementptr %call_frame, ptr %frame, i64 0, i32 4
  %leaf_at = getelementptr %call_frame, ptr %frame, i64 0, i32 5
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %item_at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item_at
  %kind = load i64, ptr %port, align 1
  %is_group = icmp eq i64 %kind, 4
  br i1 %is_group, label %take_group, label %enter
take_group:
  %group_taken = call i1 @take_group(ptr %frame, ptr %item, ptr %port)
  br i1 %group_taken, label %step, label %no
enter:
  %leaf = load i64, ptr %leaf_at
  %leaf_next = add i64 %leaf, 1
  store i64 %leaf_next, ptr %leaf_at
  %object_at = getelementptr ptr, ptr %objects, i64 %leaf
  store ptr %item, ptr %object_at
  %array_at = getelementptr ptr, ptr %arrays, i64 %leaf
  store ptr null, ptr %array_at
  %used = load i64, ptr %used_at
  %used_next = add i64 %used, 1
  %pointer_at = getelementptr ptr, ptr %pointers, i64 %used
  %length_at = getelementptr i64, ptr %lengths, i64 %used
  switch i64 %kind, label %take_constant [ i64 0, label %take_array
                                      i64 1, label %take_number
                                      i64 2, label %take_number
                                      i64 8, label %take_draw
                                      i64 9, label %take_address ]
take_draw:                                             ; its numbers come when all else has been taken
  store ptr null, ptr %pointer_at
  store i64 0, ptr %length_at
  br label %took
take_address:
  %address_taken = call i1 @take_address(ptr %item, ptr %port, ptr %array_at, ptr %pointer_at)
  br i1 %address_taken, label %measure_address, label %no
measure_address:
  %address_bytes = call i64 @head(ptr %port, i64 2)
  store i64 %address_bytes, ptr %length_at
  br label %took
take_array:
  %array = call ptr @array_of(ptr %item, ptr %port)
  %unlike = icmp eq ptr %array, null
  br i1 %unlike, label %no, label %address
address:
  store ptr %array, ptr %array_at
  %data_at = getelementptr i8, ptr %array, i64 $array_data
  %data = load ptr, ptr %data_at
  %shift = call i64 @head(ptr %port, i64 8)
  %first = getelementptr i8, ptr %data, i64 %shift
  store ptr %first, ptr %pointer_at
  %bytes = call i64 @head(ptr %port, i64 9)
  store i64 %bytes, ptr %length_at
  br label %took
take_number:
  %type_at = getelementptr i8, ptr %item, i64 $type
  %type = load ptr, ptr %type_at
  %number_class = call i64 @head(ptr %port, i64 2)
  %class = inttoptr i64 %number_class to ptr
  %is_number = icmp eq ptr %type, %class
  br i1 %is_number, label %read_number, label %no
read_number:
  %scalar_at = getelementptr i64, ptr %scalars, i64 %leaf
  store ptr %scalar_at, ptr %pointer_at
  store i64 8, ptr %length_at
  %value_at = getelementptr i8, ptr %item, i64 $float_value
  %narrow_word = call i64 @head(ptr %port, i64 3)
  %narrow = icmp ne i64 %narrow_word, 0
  br i1 %narrow, label %read_narrow, label %read_wide
read_narrow:
  %narrow_value = load float, ptr %value_at
  %widened = fpext float %narrow_value to double
  br label %enter_number
read_wide:
  %wide = load double, ptr %value_at
  br label %enter_number
enter_number:
  %value = phi double [ %widened, %read_narrow ], [ %wide, %read_wide ]
  %is_double = icmp eq i64 %kind, 1
  br i1 %is_double, label %as_double, label %as_single
as_double:
  store double %value, ptr %scalar_at
  br label %took
as_single:
  %rounded = fptrunc double %value to float
  store float %rounded, ptr %scalar_at
  br label %took
take_constant:
  %constant_at = getelementptr i64, ptr %port, i64 2
  %constant = load ptr, ptr %constant_at, align 1
  %same = icmp eq ptr %item, %constant
  br i1 %same, label %step, label %take_equal
take_equal:
  %by_value_word = call i64 @head(ptr %port, i64 3)
  %by_value = icmp ne i64 %by_value_word, 0
  br i1 %by_value, label %compare_class, label %no
compare_class:
  %own_class_at = getelementptr i8, ptr %item, i64 $type
  %own_class = load ptr, ptr %own_class_at
  %constant_class_at = getelementptr i8, ptr %constant, i64 $type
  %constant_class = load ptr, ptr %constant_class_at
  %same_class = icmp eq ptr %own_class, %constant_class
  br i1 %same_class, label %compare_value, label %no
compare_value:
  %answer = call i32 @PyObject_RichCompareBool(ptr %item, ptr %constant, i32 2)
  %is_equal = icmp eq i32 %answer, 1
  br i1 %is_equal, label %step, label %no_equal
no_equal:                                              ; an error of the comparison is the slow path's
  call void @PyErr_Clear()
  br label %no
took:
  store i64 %used_next, ptr %used_at
  br label %step
step:
  %i_next = add i64 %i, 1
  %size_at = getelementptr i64, ptr %port, i64 1
  %size = load i64, ptr %size_at, align 1
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

; The members of a list, tuple or dict, or the attributes of an object, which keeps them itself.
define internal i1 @take_group(ptr %frame, ptr %item, ptr %port) nounwind {
entry:
  %place = alloca i64
  %key_at = alloca ptr
  %class_word = call i64 @head(ptr %port, i64 2)
  %class = inttoptr i64 %class_word to ptr
  %type_at = getelementptr i8, ptr %item, i64 $type
  %type = load ptr, ptr %type_at
  %right_class = icmp eq ptr %type, %class
  br i1 %right_class, label %measure, label %no
measure:
  %how = call i64 @head(ptr %port, i64 3)
  %count = call i64 @head(ptr %port, i64 4)
  %members = getelementptr i64, ptr %port, i64 5
  switch i64 %how, label %sequence [ i64 2, label %dict
                                     i64 3, label %attributes ]
sequence:
  %length_at = getelementptr i8, ptr %item, i64 $sequence_length
  %length = load i64, ptr %length_at
  %inside = getelementptr i8, ptr %item, i64 $tuple_items
  %outside_at = getelementptr i8, ptr %item, i64 $list_items
  %right_length = icmp eq i64 %length, %count
  br i1 %right_length, label %find, label %no
find:
  %is_tuple = icmp eq i64 %how, 0
  br i1 %is_tuple, label %take_sequence, label %list
list:
  %outside = load ptr, ptr %outside_at
  br label %take_sequence
take_sequence:
  %sequence_items = phi ptr [ %inside, %find ], [ %outside, %list ]
  %sequence_taken = call i1 @take(ptr %frame, ptr %sequence_items, i64 %count, ptr %members)
  ret i1 %sequence_taken
dict:
  %size = call i64 @PyDict_Size(ptr %item)
  %right_size = icmp eq i64 %size, %count
  br i1 %right_size, label %walk, label %no
walk:
  %values = alloca ptr, i64 %count
  store i64 0, ptr %place
  br label %pair
pair:
  %i = phi i64 [ 0, %walk ], [ %i_next, %named ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %pair_one, label %take_dict
pair_one:
  %value_at = getelementptr ptr, ptr %values, i64 %i
  %there = call i32 @PyDict_Next(ptr %item, ptr %place, ptr %key_at, ptr %value_at)
  %is_there = icmp ne i32 %there, 0
  br i1 %is_there, label %name, label %no
name:
  %key = load ptr, ptr %key_at
  %wanted_at = getelementptr ptr, ptr %members, i64 %i
  %wanted = load ptr, ptr %wanted_at, align 1
  %right_key = icmp eq ptr %key, %wanted
  br i1 %right_key, label %named, label %no
named:
  %i_next = add i64 %i, 1
  br label %pair
take_dict:
  %dict_members = getelementptr i64, ptr %members, i64 %count
  %dict_taken = call i1 @take(ptr %frame, ptr %values, i64 %count, ptr %dict_members)
  ret i1 %dict_taken
attributes:
  %contents = alloca ptr, i64 %count
  br label %attribute
attribute:
  %a = phi i64 [ 0, %attributes ], [ %a_next, %found_one ]
  %a_more = icmp ult i64 %a, %count
  br i1 %a_more, label %attribute_one, label %take_attributes
attribute_one:
  %name_at = getelementptr ptr, ptr %members, i64 %a
  %attribute_name = load ptr, ptr %name_at, align 1
  %content = call ptr @PyObject_GetAttr(ptr %item, ptr %attribute_name)
  %missing = icmp eq ptr %content, null
  br i1 %missing, label %forget, label %found_one
forget:
  call void @PyErr_Clear()
  br label %no
found_one:
  call void @Py_DecRef(ptr %content)
  %content_at = getelementptr ptr, ptr %contents, i64 %a
  store ptr %content, ptr %content_at
  %a_next = add i64 %a, 1
  br label %attribute
take_attributes:
  %attribute_members = getelementptr i64, ptr %members, i64 %count
  %attributes_taken = call i1 @take(ptr %frame, ptr %contents, i64 %count, ptr %attribute_members)
  ret i1 %attributes_taken
no:
  ret i1 false
}

; Whether what is updated shares no memory with an argument, nor an argument that is with anything.
define internal i1 @apart(i64 %count, ptr %ports, ptr %pointers, ptr %lengths, i64 %own, i64 %all) nounwind {
entry:
  br label %next
next:
  %o = phi i64 [ 0, %entry ], [ %o_next, %step ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %step ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %yes
one:
  %kind = load i64, ptr %port, align 1
  %is_update = icmp eq i64 %kind, 6
  br i1 %is_update, label %update, label %step
update:
  %target = call i64 @head(ptr %port, i64 2)
  %begin_at = getelementptr i64, ptr %pointers, i64 %target
  %begin = load i64, ptr %begin_at
  %length_at = getelementptr i64, ptr %lengths, i64 %target
  %length = load i64, ptr %length_at
  %end = add i64 %begin, %length
  %is_argument = icmp ult i64 %target, %own
  %limit = select i1 %is_argument, i64 %all, i64 %own
  br label %other
other:
  %j = phi i64 [ 0, %update ], [ %j_next, %other_one ]
  %j_more = icmp ult i64 %j, %limit
  br i1 %j_more, label %other_one, label %step
other_one:
  %other_begin_at = getelementptr i64, ptr %pointers, i64 %j
  %other_begin = load i64, ptr %other_begin_at
  %other_length_at = getelementptr i64, ptr %lengths, i64 %j
  %other_length = load i64, ptr %other_length_at
  %other_end = add i64 %other_begin, %other_length
  %before = icmp ult i64 %other_begin, %end
  %behind = icmp ult i64 %begin, %other_end
  %meet = and i1 %before, %behind
  %another = icmp ne i64 %j, %target
  %shared = and i1 %meet, %another
  %j_next = add i64 %j, 1
  br i1 %shared, label %no, label %other
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

; The ndarray that the argument is or holds, if all is as the port says; else null.
define internal ptr @array_of(ptr %arg, ptr %port) nounwind {
entry:
  %class_at = getelementptr i64, ptr %port, i64 2
  %class = load ptr, ptr %class_at, align 1
  %type_at = getelementptr i8, ptr %arg, i64 $type
  %type = load ptr, ptr %type_at
  %right_class = icmp eq ptr %type, %class
  br i1 %right_class, label %find, label %no
find:
  %slot_at = getelementptr i64, ptr %port, i64 3
  %slot = load i64, ptr %slot_at, align 1
  %ndim_at = getelementptr i64, ptr %port, i64 5
  %ndim = load i64, ptr %ndim_at, align 1
  %flags_wanted_word = call i64 @head(ptr %port, i64 7)
  %flags_wanted = trunc i64 %flags_wanted_word to i32
  %strides_wanted_bit = and i32 %flags_wanted, $contiguous
  %by_strides = icmp eq i32 %strides_wanted_bit, 0
  %extents = getelementptr i64, ptr %port, i64 11
  %strides = getelementptr i64, ptr %extents, i64 %ndim
  %after_strides = getelementptr i64, ptr %strides, i64 %ndim
  %pairs = select i1 %by_strides, ptr %after_strides, ptr %strides
  %plain = icmp eq i64 %slot, 0
  br i1 %plain, label %check, label %open
open:
  %value_at = getelementptr i8, ptr %arg, i64 %slot
  %value = load ptr, ptr %value_at
  %unset = icmp eq ptr %value, null
  br i1 %unset, label %no, label %type_check
type_check:
  %value_type_at = getelementptr i8, ptr %value, i64 $type
  %value_type = load ptr, ptr %value_type_at
  %is_array = icmp eq ptr %value_type, @numpy_array_type
  br i1 %is_array, label %pair_begin, label %no
pair_begin:
  %pair_count_at = getelementptr i64, ptr %port, i64 6
  %pair_count = load i64, ptr %pair_count_at, align 1
  %pair_words = shl i64 %pair_count, 1
  %view_words = getelementptr i64, ptr %pairs, i64 %pair_words
  %view_slot = call i64 @head(ptr %port, i64 10)
  br label %pair
pair:
  %p = phi i64 [ 0, %pair_begin ], [ %p_next, %pair_one ]
  %pair_more = icmp ult i64 %p, %pair_count
  br i1 %pair_more, label %pair_one, label %look_for_view
pair_one:
  %p_word = shl i64 %p, 1
  %other_slot_at = getelementptr i64, ptr %pairs, i64 %p_word
  %other_slot = load i64, ptr %other_slot_at, align 1
  %expected_at = getelementptr i64, ptr %other_slot_at, i64 1
  %expected = load ptr, ptr %expected_at, align 1
  %there_at = getelementptr i8, ptr %arg, i64 %other_slot
  %there = load ptr, ptr %there_at
  %as_expected = icmp eq ptr %there, %expected
  %p_next = add i64 %p, 1
  br i1 %as_expected, label %pair, label %no
look_for_view:
  %no_views = icmp eq i64 %view_slot, 0
  br i1 %no_views, label %check, label %look_at_view
look_at_view:
  %view_at = getelementptr i8, ptr %arg, i64 %view_slot
  %view = load ptr, ptr %view_at
  %is_base = icmp eq ptr %view, @_Py_NoneStruct
  br i1 %is_base, label %check, label %compare_version
compare_version:                                       ; else what it shows has been changed meanwhile
  %base_slot = call i64 @head(ptr %view_words, i64 0)
  %version_slot = call i64 @head(ptr %view_words, i64 1)
  %counter_slot = call i64 @head(ptr %view_words, i64 2)
  %base_at = getelementptr i8, ptr %view, i64 %base_slot
  %base = load ptr, ptr %base_at
  %version_at = getelementptr i8, ptr %view, i64 %version_slot
  %version = load ptr, ptr %version_at
  %counter_at = getelementptr i8, ptr %base, i64 %counter_slot
  %counter = load ptr, ptr %counter_at
  %counts_at = getelementptr i8, ptr %counter, i64 $list_items
  %counts = load ptr, ptr %counts_at
  %count_now = load ptr, ptr %counts
  %fresh = icmp eq ptr %count_now, %version
  br i1 %fresh, label %check, label %no
check:
  %array = phi ptr [ %arg, %find ], [ %value, %look_for_view ], [ %value, %look_at_view ],
                   [ %value, %compare_version ]
  %flags_at = getelementptr i8, ptr %array, i64 $array_flags
  %flags = load i32, ptr %flags_at
  %order = and i32 %flags, %flags_wanted
  %in_order = icmp eq i32 %order, %flags_wanted
  %rank_at = getelementptr i8, ptr %array, i64 $array_ndim
  %rank_int = load i32, ptr %rank_at
  %rank = sext i32 %rank_int to i64
  %right_rank = icmp eq i64 %rank, %ndim
  %right_form = and i1 %in_order, %right_rank
  br i1 %right_form, label %check_dtype, label %no
check_dtype:
  %wanted_at = getelementptr i64, ptr %port, i64 4
  %wanted = load ptr, ptr %wanted_at, align 1
  %dtype_at = getelementptr i8, ptr %array, i64 $array_dtype
  %dtype = load ptr, ptr %dtype_at
  %same_dtype = icmp eq ptr %dtype, %wanted
  br i1 %same_dtype, label %check_shape, label %compare_dtype
compare_dtype:                                         ; an unpickled array has a dtype object of its own
  %equal_byte = call i8 @numpy_equivalent_types(ptr %dtype, ptr %wanted)
  %equal = icmp ne i8 %equal_byte, 0
  br i1 %equal, label %check_shape, label %no
check_shape:
  %shape_at = getelementptr i8, ptr %array, i64 $array_shape
  %dims = load ptr, ptr %shape_at
  br label %axis
axis:
  %a = phi i64 [ 0, %check_shape ], [ %a_next, %axis_one ]
  %axis_more = icmp ult i64 %a, %ndim
  br i1 %axis_more, label %axis_one, label %check_strides
axis_one:
  %dim_at = getelementptr i64, ptr %dims, i64 %a
  %dim = load i64, ptr %dim_at
  %extent_at = getelementptr i64, ptr %extents, i64 %a
  %extent = load i64, ptr %extent_at, align 1
  %right_extent = icmp eq i64 %dim, %extent
  %a_next = add i64 %a, 1
  br i1 %right_extent, label %axis, label %no
check_strides:
  br i1 %by_strides, label %find_strides, label %yes
find_strides:
  %strides_at = getelementptr i8, ptr %array, i64 $array_strides
  %steps = load ptr, ptr %strides_at
  br label %step
step:
  %b = phi i64 [ 0, %find_strides ], [ %b_next, %step_one ]
  %step_more = icmp ult i64 %b, %ndim
  br i1 %step_more, label %step_one, label %yes
step_one:
  %step_at = getelementptr i64, ptr %steps, i64 %b
  %step_there = load i64, ptr %step_at
  %stride_at = getelementptr i64, ptr %strides, i64 %b
  %stride = load i64, ptr %stride_at, align 1
  %same_step = icmp eq i64 %step_there, %stride
  %extent_b_at = getelementptr i64, ptr %extents, i64 %b
  %extent_b = load i64, ptr %extent_b_at, align 1
  %single = icmp eq i64 %extent_b, 1
  %right_step = or i1 %same_step, %single
  %b_next = add i64 %b, 1
  br i1 %right_step, label %step, label %no
yes:
  ret ptr %array
no:
  ret ptr null
}
"""
