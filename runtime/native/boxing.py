"""What a native call gives back, as LLVM text: numbers are boxed, and the record's returns are followed.

In flow outputs (`making.py`), leaves and the returns of the record; out flows one Python object. A new kind
of number is a case in `box`, a new step a case in `give`.

*Returns* are a program for a stack machine, whose last object is the call's result. Its steps are
(what, operand, offset):

| step | |
|---|---|
| 0 output | push output number `operand` |
| 1 array | push the array in output number `operand` |
| 2 object | push the object `operand` |
| 3 leaf | push leaf number `operand` |
| 4 leaf's array | push the array of leaf number `operand` |
| 5 leaf's slot | push what is in the slot at `offset`; if that is None, the leaf itself |
| 6 leaf's count | push the first item of the list in the slot at `offset`; None, if there is no list |
| 7 next | push the next of the iterator `operand` |
| 8 tuple | make a tuple of the `operand` objects on top |
| 9 list | make a list of them |
| 10 new | push a new object of the class `operand` |
| 11 set | put the object on top into the slot at `offset` of the one below |
| 12 keep | keep the object on top as number `operand` |
| 13 kept | push what is kept as number `operand` |
| 14 dict | make a dict of the objects on top, one for each of the keys in the tuple `operand` |
| 15 named | make a tuple of the class `operand` of the `offset` objects on top |
| 16 attribute | put the object on top into the attribute `operand` of the one below, past its `__setattr__` |
| 17 bump | count one more change of leaf number `operand`, in the list in the slot at `offset` |
"""

from __future__ import annotations

(
    OUTPUT,
    ARRAY_OF_OUTPUT,
    OBJECT,
    LEAF,
    ARRAY_OF_LEAF,
    SLOT_OF_LEAF,
    COUNT_OF_LEAF,
    NEXT,
    TUPLE,
    LIST,
    NEW,
    SET,
    KEEP,
    KEPT,
    DICT,
    NAMED,
    ATTRIBUTE,
    BUMP,
) = range(18)
"""Steps of returns."""

BOXING = """
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyTuple_New(i64)
declare ptr @PyList_New(i64)
declare ptr @PyIter_Next(ptr)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare i32 @PyObject_GenericSetAttr(ptr, ptr, ptr)
declare ptr @PyLong_FromLongLong(i64)
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyBool_FromLong(i64)
@_Py_NoneStruct = external global i8

; --- what is given back -----------------------------------------------------------------------------------
; Boxes the numbers: made[o] of those too is an object. False, with an exception set, without memory.
define internal i1 @box(i64 %count, ptr %ports, ptr %made, ptr %scalars) nounwind {
entry:
  br label %next
next:
  %o = phi i64 [ 0, %entry ], [ %o_next, %boxed ]
  %port = phi ptr [ %ports, %entry ], [ %port_next, %boxed ]
  %more = icmp ult i64 %o, %count
  br i1 %more, label %one, label %yes
one:
  %kind = load i64, ptr %port, align 1
  %scalar_at = getelementptr i64, ptr %scalars, i64 %o
  switch i64 %kind, label %boxed [ i64 1, label %read_double
                                   i64 2, label %read_single
                                   i64 7, label %read_integer ]
read_integer:
  %bits = call i64 @head(ptr %port, i64 2)
  %sort = call i64 @head(ptr %port, i64 3)
  %above = sub i64 64, %bits
  %word = load i64, ptr %scalar_at
  %high = shl i64 %word, %above
  %is_bool = icmp eq i64 %sort, 1
  br i1 %is_bool, label %as_bool, label %as_signed
as_signed:
  %signed = ashr i64 %high, %above
  %signed_object = call ptr @PyLong_FromLongLong(i64 %signed)
  br label %box_number
as_bool:
  %truth = lshr i64 %high, %above
  %bool_object = call ptr @PyBool_FromLong(i64 %truth)
  br label %box_number
read_double:
  %double = load double, ptr %scalar_at
  br label %number
read_single:
  %float = load float, ptr %scalar_at
  %widened = fpext float %float to double
  br label %number
number:
  %value = phi double [ %double, %read_double ], [ %widened, %read_single ]
  %float_object = call ptr @PyFloat_FromDouble(double %value)
  br label %box_number
box_number:
  %boxed_number = phi ptr [ %float_object, %number ], [ %signed_object, %as_signed ],
                          [ %bool_object, %as_bool ]
  %made_at = getelementptr ptr, ptr %made, i64 %o
  store ptr %boxed_number, ptr %made_at
  %no_number = icmp eq ptr %boxed_number, null
  br i1 %no_number, label %no, label %boxed
boxed:
  %o_next = add i64 %o, 1
  %size = call i64 @head(ptr %port, i64 1)
  %port_next = getelementptr i64, ptr %port, i64 %size
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

; Runs the returns. The outputs are let go. Null, with an exception set and nothing leaked, without memory.
define internal ptr @give(ptr %record, ptr %ports, ptr %made, ptr %scalars, ptr %objects) nounwind {
entry:
  %count = call i64 @head(ptr %record, i64 $head_outputs)
  %leaves = call i64 @head(ptr %record, i64 $head_leaves)
  %steps = call i64 @head(ptr %record, i64 $head_steps)
  %registers = call i64 @head(ptr %record, i64 $head_registers)
  %returns_word = call i64 @head(ptr %record, i64 $head_returns_at)
  %returns = getelementptr i64, ptr %record, i64 %returns_word
  %stack = alloca ptr, i64 %steps
  %kept = alloca ptr, i64 %registers
  %boxed = call i1 @box(i64 %count, ptr %ports, ptr %made, ptr %scalars)
  br i1 %boxed, label %instruct, label %fail
instruct:
  %s = phi i64 [ 0, %entry ], [ %s_next, %on ]
  %top = phi i64 [ 0, %entry ], [ %top_next, %on ]
  %s_more = icmp ult i64 %s, %steps
  br i1 %s_more, label %step, label %end
step:
  %s_words = mul i64 %s, 3
  %s_next = add i64 %s, 1
  %step_at = getelementptr i64, ptr %returns, i64 %s_words
  %what = load i64, ptr %step_at, align 1
  %operand = call i64 @head(ptr %step_at, i64 1)
  %offset = call i64 @head(ptr %step_at, i64 2)
  %object_operand = inttoptr i64 %operand to ptr
  %leaf_at = getelementptr ptr, ptr %objects, i64 %operand
  %made_at = getelementptr ptr, ptr %made, i64 %operand
  %kept_at = getelementptr ptr, ptr %kept, i64 %operand
  %below_top = sub i64 %top, 1
  %top_at = getelementptr ptr, ptr %stack, i64 %below_top
  switch i64 %what, label %fail [ i64 0, label %push_output
                                  i64 1, label %array_of_output
                                  i64 2, label %push
                                  i64 3, label %push_leaf
                                  i64 4, label %array_of_leaf
                                  i64 5, label %slot_of_leaf
                                  i64 6, label %count_of_leaf
                                  i64 7, label %next_of
                                  i64 8, label %push_tuple
                                  i64 9, label %push_list
                                  i64 10, label %push_new
                                  i64 11, label %set
                                  i64 12, label %keep
                                  i64 13, label %from_kept
                                  i64 14, label %dict
                                  i64 15, label %push_named
                                  i64 16, label %set_attribute
                                  i64 17, label %bump ]
push_output:
  %output = load ptr, ptr %made_at
  br label %push
array_of_output:
  %inner_at = getelementptr ptr, ptr %made_at, i64 %count
  %inner = load ptr, ptr %inner_at
  br label %push
push_leaf:
  %leaf = load ptr, ptr %leaf_at
  br label %push
array_of_leaf:
  %array_at = getelementptr ptr, ptr %leaf_at, i64 %leaves
  %array = load ptr, ptr %array_at
  br label %push
slot_of_leaf:
  %owner = load ptr, ptr %leaf_at
  %slot_at = getelementptr i8, ptr %owner, i64 %offset
  %content = load ptr, ptr %slot_at
  %is_none = icmp eq ptr %content, @_Py_NoneStruct
  %content_or_owner = select i1 %is_none, ptr %owner, ptr %content
  br label %push
count_of_leaf:
  %counted = load ptr, ptr %leaf_at
  %list_at = getelementptr i8, ptr %counted, i64 %offset
  %counter = load ptr, ptr %list_at
  %no_counter = icmp eq ptr %counter, @_Py_NoneStruct
  br i1 %no_counter, label %push, label %first_of_list
first_of_list:
  %counter_items_at = getelementptr i8, ptr %counter, i64 $list_items
  %counter_items = load ptr, ptr %counter_items_at
  %counter_value = load ptr, ptr %counter_items
  br label %push
from_kept:
  %held = load ptr, ptr %kept_at
  br label %push
push:                                                  ; a borrowed object
  %pushed = phi ptr [ %output, %push_output ], [ %inner, %array_of_output ], [ %object_operand, %step ],
                    [ %leaf, %push_leaf ], [ %array, %array_of_leaf ], [ %content_or_owner, %slot_of_leaf ],
                    [ @_Py_NoneStruct, %count_of_leaf ], [ %counter_value, %first_of_list ],
                    [ %held, %from_kept ]
  call void @Py_IncRef(ptr %pushed)
  br label %place
next_of:
  %next = call ptr @PyIter_Next(ptr %object_operand)
  br label %made_new
push_new:
  %new = call ptr @PyType_GenericAlloc(ptr %object_operand, i64 0)
  br label %made_new
made_new:
  %fresh = phi ptr [ %next, %next_of ], [ %new, %push_new ]
  %not_made = icmp eq ptr %fresh, null
  br i1 %not_made, label %fail, label %place
push_list:
  %list = call ptr @PyList_New(i64 %operand)
  %no_list = icmp eq ptr %list, null
  br i1 %no_list, label %fail, label %find_items
find_items:
  %list_items_at = getelementptr i8, ptr %list, i64 $list_items
  %list_items = load ptr, ptr %list_items_at
  br label %items
push_tuple:
  %tuple = call ptr @PyTuple_New(i64 %operand)
  %no_tuple = icmp eq ptr %tuple, null
  br i1 %no_tuple, label %fail, label %find_inside
push_named:
  %named = call ptr @PyType_GenericAlloc(ptr %object_operand, i64 %offset)
  %no_named = icmp eq ptr %named, null
  br i1 %no_named, label %fail, label %find_inside
find_inside:
  %inside = phi ptr [ %tuple, %push_tuple ], [ %named, %push_named ]
  %inside_length = phi i64 [ %operand, %push_tuple ], [ %offset, %push_named ]
  %tuple_items = getelementptr i8, ptr %inside, i64 $tuple_items
  br label %items
items:
  %sequence = phi ptr [ %list, %find_items ], [ %inside, %find_inside ]
  %sequence_length = phi i64 [ %operand, %find_items ], [ %inside_length, %find_inside ]
  %first = phi ptr [ %list_items, %find_items ], [ %tuple_items, %find_inside ]
  %base = sub i64 %top, %sequence_length
  br label %item
item:
  %i = phi i64 [ 0, %items ], [ %i_next, %item_one ]
  %i_more = icmp ult i64 %i, %sequence_length
  br i1 %i_more, label %item_one, label %place
item_one:
  %from_index = add i64 %base, %i
  %from = getelementptr ptr, ptr %stack, i64 %from_index
  %member = load ptr, ptr %from
  %to = getelementptr ptr, ptr %first, i64 %i
  store ptr %member, ptr %to
  %i_next = add i64 %i, 1
  br label %item
dict:
  %key_count_at = getelementptr i8, ptr %object_operand, i64 $sequence_length
  %key_count = load i64, ptr %key_count_at
  %keys = getelementptr i8, ptr %object_operand, i64 $tuple_items
  %dict_base = sub i64 %top, %key_count
  %mapping = call ptr @PyDict_New()
  %no_dict = icmp eq ptr %mapping, null
  br i1 %no_dict, label %fail, label %entry_of
entry_of:
  %e = phi i64 [ 0, %dict ], [ %e_next, %enter ]
  %e_more = icmp ult i64 %e, %key_count
  br i1 %e_more, label %enter, label %dict_done
enter:
  %key_at = getelementptr ptr, ptr %keys, i64 %e
  %key = load ptr, ptr %key_at
  %entry_index = add i64 %dict_base, %e
  %entry_at = getelementptr ptr, ptr %stack, i64 %entry_index
  %entry_value = load ptr, ptr %entry_at
  %not_entered = call i32 @PyDict_SetItem(ptr %mapping, ptr %key, ptr %entry_value)
  %entered = icmp eq i32 %not_entered, 0
  %e_next = add i64 %e, 1
  br i1 %entered, label %entry_of, label %drop_dict
drop_dict:
  call void @Py_DecRef(ptr %mapping)
  br label %fail
dict_done:
  %values_at = getelementptr ptr, ptr %stack, i64 %dict_base
  call void @drop(ptr %values_at, i64 %key_count)
  br label %place
place:
  %object = phi ptr [ %pushed, %push ], [ %fresh, %made_new ], [ %mapping, %dict_done ], [ %sequence, %item ]
  %where = phi i64 [ %top, %push ], [ %top, %made_new ], [ %dict_base, %dict_done ], [ %base, %item ]
  %place_at = getelementptr ptr, ptr %stack, i64 %where
  store ptr %object, ptr %place_at
  %above = add i64 %where, 1
  br label %on
set:
  %value = load ptr, ptr %top_at
  %target_at = getelementptr ptr, ptr %top_at, i64 -1
  %target = load ptr, ptr %target_at
  %set_at = getelementptr i8, ptr %target, i64 %offset
  %former = load ptr, ptr %set_at
  store ptr %value, ptr %set_at
  call void @Py_DecRef(ptr %former)
  br label %on
set_attribute:
  %attribute_value = load ptr, ptr %top_at
  %owner_at = getelementptr ptr, ptr %top_at, i64 -1
  %attribute_owner = load ptr, ptr %owner_at
  %not_set = call i32 @PyObject_GenericSetAttr(ptr %attribute_owner, ptr %object_operand,
                                               ptr %attribute_value)
  %is_set = icmp eq i32 %not_set, 0
  br i1 %is_set, label %attribute_set, label %fail
attribute_set:
  call void @Py_DecRef(ptr %attribute_value)
  br label %on
bump:
  %changed = load ptr, ptr %leaf_at
  %changes_at = getelementptr i8, ptr %changed, i64 %offset
  %changes = load ptr, ptr %changes_at
  %never = icmp eq ptr %changes, @_Py_NoneStruct
  br i1 %never, label %first_change, label %next_change
first_change:
  %new_changes = call ptr @PyList_New(i64 1)
  %no_changes = icmp eq ptr %new_changes, null
  br i1 %no_changes, label %fail, label %enter_one
enter_one:
  %new_items_at = getelementptr i8, ptr %new_changes, i64 $list_items
  %new_items = load ptr, ptr %new_items_at
  %single = call ptr @PyLong_FromLongLong(i64 1)
  store ptr %single, ptr %new_items
  store ptr %new_changes, ptr %changes_at
  call void @Py_DecRef(ptr %changes)
  br label %on
next_change:
  %change_items_at = getelementptr i8, ptr %changes, i64 $list_items
  %change_items = load ptr, ptr %change_items_at
  %former_count = load ptr, ptr %change_items
  %former_number = call i64 @PyLong_AsLongLong(ptr %former_count)
  %next_number = add i64 %former_number, 1
  %next_count = call ptr @PyLong_FromLongLong(i64 %next_number)
  %no_count = icmp eq ptr %next_count, null
  br i1 %no_count, label %fail, label %enter_count
enter_count:
  store ptr %next_count, ptr %change_items
  call void @Py_DecRef(ptr %former_count)
  br label %on
keep:                                                  ; borrowed from the stack, where it goes into an object
  %seen = load ptr, ptr %top_at
  store ptr %seen, ptr %kept_at
  br label %on
on:
  %top_next = phi i64 [ %above, %place ], [ %below_top, %set ], [ %top, %keep ],
                     [ %below_top, %attribute_set ], [ %top, %enter_one ], [ %top, %enter_count ]
  br label %instruct
end:
  %result = load ptr, ptr %stack
  call void @drop(ptr %made, i64 %count)
  ret ptr %result
fail:
  %left = phi i64 [ 0, %entry ], [ %top, %step ], [ %top, %made_new ], [ %top, %push_list ],
                  [ %top, %push_tuple ], [ %top, %dict ], [ %top, %drop_dict ],
                  [ %top, %push_named ], [ %top, %set_attribute ], [ %top, %first_change ],
                  [ %top, %next_change ]
  call void @drop(ptr %stack, i64 %left)
  call void @drop(ptr %made, i64 %count)
  ret ptr null
}
"""
