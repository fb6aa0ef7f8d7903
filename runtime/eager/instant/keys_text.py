"""Keys of native eager calls, as LLVM text: a function does again what it did for arguments of these types.

What `replay.replayed` does in Python: a key of the arguments, a dict from keys to plans, the plan called with
the Tensors among the arguments. A key is a `bytes` of 64-bit words, written from front to back, so that no
two different calls have the same: of a Tensor its dtype and extents, of anything else its kind and value.
"""

from __future__ import annotations

KEYS = """
@PyTuple_Type = external global i8
@PyList_Type = external global i8
@PySlice_Type = external global i8
@PyUnicode_Type = external global i8
@_Py_EllipsisObject = external global i8
@size_type = external global i8
@own_dtype_type = external global i8
@generator_type = external global i8
@device_type = external global i8
declare i64 @PyLong_AsLongAndOverflow(ptr, ptr)
declare ptr @PyBytes_FromStringAndSize(ptr, i64)
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare i64 @PyDict_Size(ptr)
declare void @PyDict_Clear(ptr)
declare ptr @PyUnicode_AsUTF8AndSize(ptr, ptr)
declare ptr @memcpy(ptr, ptr, i64)

; A key under way: words written, operands found, the words, the operands.
%key = type { i64, i64, [$key_words x i64], [$most x ptr] }

; Adds a word. False where there is no more room.
define internal i1 @put(ptr %key, i64 %word) nounwind {
entry:
  %used = load i64, ptr %key
  %room = icmp ult i64 %used, $key_words
  br i1 %room, label %enter, label %no
enter:
  %at = getelementptr %key, ptr %key, i64 0, i32 2, i64 %used
  store i64 %word, ptr %at
  %more = add i64 %used, 1
  store i64 %more, ptr %key
  ret i1 true
no:
  ret i1 false
}

; Adds an argument. False for what cannot be part of a key.
define internal i1 @enter(ptr %key, ptr %x) nounwind {
entry:
  %type = call ptr @member(ptr %x, i64 $type)
  %plain = icmp eq ptr %type, @tensor_type
  br i1 %plain, label %tensor, label %ask_int
ask_int:
  %is_int = icmp eq ptr %type, @PyLong_Type
  br i1 %is_int, label %int, label %ask_none
ask_none:
  %is_none = icmp eq ptr %x, @_Py_NoneStruct
  %is_true = icmp eq ptr %x, @_Py_TrueStruct
  %is_false = icmp eq ptr %x, @_Py_FalseStruct
  %is_ellipsis = icmp eq ptr %x, @_Py_EllipsisObject
  %number_1 = select i1 %is_none, i64 1, i64 0
  %number_2 = select i1 %is_true, i64 2, i64 %number_1
  %number_3 = select i1 %is_false, i64 3, i64 %number_2
  %number = select i1 %is_ellipsis, i64 4, i64 %number_3
  %single = icmp ne i64 %number, 0
  br i1 %single, label %constant, label %ask_tuple
constant:
  %constant_put = call i1 @put(ptr %key, i64 %number)
  ret i1 %constant_put
ask_tuple:
  %is_tuple = icmp eq ptr %type, @PyTuple_Type
  %is_size = icmp eq ptr %type, @size_type
  %inside = or i1 %is_tuple, %is_size
  br i1 %inside, label %tuple, label %ask_list
ask_list:
  %is_list = icmp eq ptr %type, @PyList_Type
  br i1 %is_list, label %list, label %ask_slice
ask_slice:
  %is_slice = icmp eq ptr %type, @PySlice_Type
  br i1 %is_slice, label %slice, label %ask_float
ask_float:
  %is_float = icmp eq ptr %type, @PyFloat_Type
  br i1 %is_float, label %float, label %ask_dtype
ask_dtype:
  %is_dtype = icmp eq ptr %type, @own_dtype_type
  br i1 %is_dtype, label %dtype, label %ask_generator
ask_generator:
  %is_generator = icmp eq ptr %type, @generator_type
  br i1 %is_generator, label %dtype, label %ask_text
ask_text:
  %is_text = icmp eq ptr %type, @PyUnicode_Type
  br i1 %is_text, label %text, label %ask_device
ask_device:
  %is_device = icmp eq ptr %type, @device_type
  br i1 %is_device, label %device, label %ask_below
ask_below:
  %below = call i1 @is_tensor(ptr %x)
  br i1 %below, label %tensor, label %no
tensor:
  %tensor_put = call i1 @enter_tensor(ptr %key, ptr %x)
  ret i1 %tensor_put
int:
  %int_put = call i1 @enter_int(ptr %key, ptr %x)
  ret i1 %int_put
tuple:
  %tuple_items = getelementptr i8, ptr %x, i64 $tuple_items
  %tuple_kind = select i1 %is_size, i64 5, i64 6
  %tuple_put = call i1 @enter_items(ptr %key, ptr %x, i64 %tuple_kind, ptr %tuple_items)
  ret i1 %tuple_put
list:
  %list_items = call ptr @member(ptr %x, i64 $list_items)
  %list_put = call i1 @enter_items(ptr %key, ptr %x, i64 7, ptr %list_items)
  ret i1 %list_put
slice:
  %slice_put = call i1 @enter_slice(ptr %key, ptr %x)
  ret i1 %slice_put
float:
  %float_at = getelementptr i8, ptr %x, i64 $float_value
  %bits = load i64, ptr %float_at
  call i1 @put(ptr %key, i64 8)
  %float_put = call i1 @put(ptr %key, i64 %bits)
  ret i1 %float_put
dtype:                                                 ; one object of each; a plan keeps its generator
  %address = ptrtoint ptr %x to i64
  call i1 @put(ptr %key, i64 9)
  %dtype_put = call i1 @put(ptr %key, i64 %address)
  ret i1 %dtype_put
text:
  %text_put = call i1 @enter_text(ptr %key, ptr %x)
  ret i1 %text_put
device:
  %device_put = call i1 @enter_device(ptr %key, ptr %x)
  ret i1 %device_put
no:
  ret i1 false
}

; A device by its name and number.
define internal i1 @enter_device(ptr %key, ptr %x) nounwind {
  %name = call ptr @member(ptr %x, i64 $device_type)
  %number = call ptr @member(ptr %x, i64 $device_index)
  call i1 @put(ptr %key, i64 14)
  %name_put = call i1 @enter_text(ptr %key, ptr %name)
  %number_put = call i1 @enter_end(ptr %key, ptr %number)
  %both = and i1 %name_put, %number_put
  ret i1 %both
}

define internal i1 @enter_int(ptr %key, ptr %x) nounwind {
  %overflow = alloca i32
  %value = call i64 @PyLong_AsLongAndOverflow(ptr %x, ptr %overflow)
  %over = load i32, ptr %overflow
  %fits = icmp eq i32 %over, 0
  call i1 @put(ptr %key, i64 10)
  %room = call i1 @put(ptr %key, i64 %value)
  %put = and i1 %room, %fits
  ret i1 %put
}

define internal i1 @enter_tensor(ptr %key, ptr %x) nounwind {
entry:
  %array = call ptr @member(ptr %x, i64 $tensor_value)
  %of_array = call i1 @is_array(ptr %array)
  %found_at = getelementptr %key, ptr %key, i64 0, i32 1
  %found = load i64, ptr %found_at
  %room = icmp ult i64 %found, $most
  %fits = and i1 %of_array, %room
  br i1 %fits, label %describe, label %no
describe:
  %place = getelementptr %key, ptr %key, i64 0, i32 3, i64 %found
  store ptr %x, ptr %place
  %found_next = add i64 %found, 1
  store i64 %found_next, ptr %found_at
  %dtype = call i64 @dtype_of(ptr %array)
  %rank = call i64 @rank_of(ptr %array)
  %unknown = icmp slt i64 %dtype, 0
  %dtype_bits = shl i64 %dtype, 32
  %rank_bits = shl i64 %rank, 16
  %both = or i64 %dtype_bits, %rank_bits
  %word = or i64 %both, 11
  call i1 @put(ptr %key, i64 %word)
  %extents = call ptr @member(ptr %array, i64 $array_shape)
  br i1 %unknown, label %no, label %next
next:
  %i = phi i64 [ 0, %describe ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %yes
one:
  %extent = call i64 @word(ptr %extents, i64 %i)
  %put = call i1 @put(ptr %key, i64 %extent)
  %i_next = add i64 %i, 1
  br i1 %put, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @enter_items(ptr %key, ptr %sequence, i64 %kind, ptr %items) nounwind {
entry:
  %length = call i64 @word_at(ptr %sequence, i64 $sequence_length)
  %length_bits = shl i64 %length, 16
  %word = or i64 %length_bits, %kind
  %begun = call i1 @put(ptr %key, i64 %word)
  br i1 %begun, label %next, label %no
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %length
  br i1 %more, label %one, label %yes
one:
  %item = call ptr @object(ptr %items, i64 %i)
  %put = call i1 @enter(ptr %key, ptr %item)
  %i_next = add i64 %i, 1
  br i1 %put, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i64 @word_at(ptr %object, i64 %offset) nounwind {
  %at = getelementptr i8, ptr %object, i64 %offset
  %found = load i64, ptr %at
  ret i64 %found
}

define internal i1 @enter_slice(ptr %key, ptr %x) nounwind {
entry:
  %start = call ptr @member(ptr %x, i64 $slice_start)
  %stop = call ptr @member(ptr %x, i64 $slice_stop)
  %step = call ptr @member(ptr %x, i64 $slice_step)
  call i1 @put(ptr %key, i64 12)
  %start_put = call i1 @enter_end(ptr %key, ptr %start)
  %stop_put = call i1 @enter_end(ptr %key, ptr %stop)
  %step_put = call i1 @enter_end(ptr %key, ptr %step)
  %ends = and i1 %start_put, %stop_put
  %all = and i1 %ends, %step_put
  ret i1 %all
}

; An end of a slice: an int or None.
define internal i1 @enter_end(ptr %key, ptr %x) nounwind {
entry:
  %none = icmp eq ptr %x, @_Py_NoneStruct
  br i1 %none, label %open, label %ask
open:
  %open_put = call i1 @put(ptr %key, i64 1)
  ret i1 %open_put
ask:
  %type = call ptr @member(ptr %x, i64 $type)
  %is_int = icmp eq ptr %type, @PyLong_Type
  br i1 %is_int, label %int, label %no
int:
  %int_put = call i1 @enter_int(ptr %key, ptr %x)
  ret i1 %int_put
no:
  ret i1 false
}

; A text by its bytes, whole words of them.
define internal i1 @enter_text(ptr %key, ptr %x) nounwind {
entry:
  %length_at = alloca i64
  %bytes = call ptr @PyUnicode_AsUTF8AndSize(ptr %x, ptr %length_at)
  %odd = icmp eq ptr %bytes, null
  br i1 %odd, label %no, label %measure
measure:
  %length = load i64, ptr %length_at
  %length_bits = shl i64 %length, 16
  %word = or i64 %length_bits, 13
  %begun = call i1 @put(ptr %key, i64 %word)
  %used = load i64, ptr %key
  %padded = add i64 %length, 7
  %words = lshr i64 %padded, 3
  %used_next = add i64 %used, %words
  %room = icmp ule i64 %used_next, $key_words
  %short = icmp ult i64 %length, 512
  %fits_1 = and i1 %begun, %room
  %fits = and i1 %fits_1, %short
  br i1 %fits, label %ask_empty, label %no
ask_empty:
  %empty = icmp eq i64 %length, 0
  br i1 %empty, label %yes, label %copy
copy:
  %last = sub i64 %used_next, 1
  %last_at = getelementptr %key, ptr %key, i64 0, i32 2, i64 %last
  store i64 0, ptr %last_at
  %at = getelementptr %key, ptr %key, i64 0, i32 2, i64 %used
  call ptr @memcpy(ptr %at, ptr %bytes, i64 %length)
  store i64 %used_next, ptr %key
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; All arguments of a call, those by name after their names.
define internal i1 @enter_call(ptr %key, ptr %args, i64 %count, ptr %names) nounwind {
entry:
  store i64 0, ptr %key
  %found_at = getelementptr %key, ptr %key, i64 0, i32 1
  store i64 0, ptr %found_at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %ask_named
one:
  %x = call ptr @object(ptr %args, i64 %i)
  %put = call i1 @enter(ptr %key, ptr %x)
  %i_next = add i64 %i, 1
  br i1 %put, label %next, label %no
ask_named:
  %unnamed = icmp eq ptr %names, null
  br i1 %unnamed, label %yes, label %named
named:
  %many = call i64 @word_at(ptr %names, i64 $sequence_length)
  %name_items = getelementptr i8, ptr %names, i64 $tuple_items
  br label %next_named
next_named:
  %j = phi i64 [ 0, %named ], [ %j_next, %one_named ]
  %more_named = icmp slt i64 %j, %many
  br i1 %more_named, label %name, label %yes
name:
  %each = call ptr @object(ptr %name_items, i64 %j)
  %name_put = call i1 @enter_text(ptr %key, ptr %each)
  br i1 %name_put, label %one_named, label %no
one_named:
  %place = add i64 %count, %j
  %y = call ptr @object(ptr %args, i64 %place)
  %named_put = call i1 @enter(ptr %key, ptr %y)
  %j_next = add i64 %j, 1
  br i1 %named_put, label %next_named, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""
