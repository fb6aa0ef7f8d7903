"""What native calls take and make of memory elsewhere, as LLVM text: objects that lead to an int, an address.

In flow objects and the record's words (`trampoline.py`, kind 9), out flow addresses and the leaves' arrays;
new objects take their address from a list of free ones. The text runs no Python and knows no class.
"""

ADDRESSING = """
declare i32 @PyList_SetSlice(ptr, i64, i64, ptr)

; What an object of a link leads to, borrowed; null if it is not like the link.
define internal ptr @follow(ptr %item, ptr %link) nounwind {
entry:
  %class_word = call i64 @head(ptr %link, i64 0)
  %class = inttoptr i64 %class_word to ptr
  %type_at = getelementptr i8, ptr %item, i64 $type
  %type = load ptr, ptr %type_at
  %right_class = icmp eq ptr %type, %class
  br i1 %right_class, label %begin, label %no
begin:
  %slot = call i64 @head(ptr %link, i64 1)
  %pairs = call i64 @head(ptr %link, i64 2)
  %first = getelementptr i64, ptr %link, i64 3
  br label %next
next:
  %i = phi i64 [ 0, %begin ], [ %i_next, %one ]
  %pair = phi ptr [ %first, %begin ], [ %pair_next, %one ]
  %more = icmp ult i64 %i, %pairs
  br i1 %more, label %one, label %yes
one:
  %other_slot = call i64 @head(ptr %pair, i64 0)
  %wanted_word = call i64 @head(ptr %pair, i64 1)
  %other_at = getelementptr i8, ptr %item, i64 %other_slot
  %other = load i64, ptr %other_at
  %same = icmp eq i64 %other, %wanted_word
  %i_next = add i64 %i, 1
  %pair_next = getelementptr i64, ptr %pair, i64 2
  br i1 %same, label %next, label %no
yes:
  %content_at = getelementptr i8, ptr %item, i64 %slot
  %content = load ptr, ptr %content_at
  ret ptr %content
no:
  ret ptr null
}

; A new object of a link's class, with its paired slots filled, and its slot with what it is given, which it
; takes over. Null, with an exception set, without memory.
define internal ptr @led(ptr %link, ptr %content) nounwind {
entry:
  %class_word = call i64 @head(ptr %link, i64 0)
  %class = inttoptr i64 %class_word to ptr
  %slot = call i64 @head(ptr %link, i64 1)
  %pairs = call i64 @head(ptr %link, i64 2)
  %first = getelementptr i64, ptr %link, i64 3
  %object = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %failed = icmp eq ptr %object, null
  br i1 %failed, label %no, label %fill
fill:
  %content_at = getelementptr i8, ptr %object, i64 %slot
  store ptr %content, ptr %content_at
  br label %next
next:
  %i = phi i64 [ 0, %fill ], [ %i_next, %one ]
  %pair = phi ptr [ %first, %fill ], [ %pair_next, %one ]
  %more = icmp ult i64 %i, %pairs
  br i1 %more, label %one, label %yes
one:
  %other_slot = call i64 @head(ptr %pair, i64 0)
  %other_word = call i64 @head(ptr %pair, i64 1)
  %other = inttoptr i64 %other_word to ptr
  call void @Py_IncRef(ptr %other)
  %other_at = getelementptr i8, ptr %object, i64 %other_slot
  store ptr %other, ptr %other_at
  %i_next = add i64 %i, 1
  %pair_next = getelementptr i64, ptr %pair, i64 2
  br label %next
yes:
  ret ptr %object
no:
  call void @Py_DecRef(ptr %content)
  ret ptr null
}

define internal ptr @after(ptr %link) nounwind {
entry:
  %pairs = call i64 @head(ptr %link, i64 2)
  %words = shl i64 %pairs, 1
  %past = add i64 %words, 3
  %next = getelementptr i64, ptr %link, i64 %past
  ret ptr %next
}

; Stores the address that an object leads to, and what its first link leads to.
define internal i1 @take_address(ptr %item, ptr %port, ptr %array_at, ptr %pointer_at) nounwind {
entry:
  %links = call i64 @head(ptr %port, i64 6)
  %first = getelementptr i64, ptr %port, i64 7
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %led ]
  %object = phi ptr [ %item, %entry ], [ %content, %led ]
  %link = phi ptr [ %first, %entry ], [ %link_next, %led ]
  %content = call ptr @follow(ptr %object, ptr %link)
  %unlike = icmp eq ptr %content, null
  br i1 %unlike, label %no, label %one
one:
  %is_first = icmp eq i64 %i, 0
  br i1 %is_first, label %note, label %led
note:
  store ptr %content, ptr %array_at
  br label %led
led:
  %link_next = call ptr @after(ptr %link)
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i_next, %links
  br i1 %more, label %next, label %read
read:
  %address = call i64 @PyLong_AsLongLong(ptr %content)
  store i64 %address, ptr %pointer_at
  ret i1 true
no:
  ret i1 false
}

; A new object that leads to a free address; stores the address, and the object that is the array.
define internal ptr @new_address(ptr %port, ptr %pointer_at, ptr %array_at) nounwind {
entry:
  %free_word = call i64 @head(ptr %port, i64 3)
  %free = inttoptr i64 %free_word to ptr
  %length_at = getelementptr i8, ptr %free, i64 $sequence_length
  %length = load i64, ptr %length_at
  %none = icmp eq i64 %length, 0
  br i1 %none, label %no, label %pop
pop:
  %last = sub i64 %length, 1
  %items_at = getelementptr i8, ptr %free, i64 $list_items
  %items = load ptr, ptr %items_at
  %item_at = getelementptr ptr, ptr %items, i64 %last
  %item = load ptr, ptr %item_at
  call void @Py_IncRef(ptr %item)
  %popped = call i32 @PyList_SetSlice(ptr %free, i64 %last, i64 %length, ptr null)
  %address = call i64 @PyLong_AsLongLong(ptr %item)
  store i64 %address, ptr %pointer_at
  %statistics_word = call i64 @head(ptr %port, i64 4)
  %held_at = inttoptr i64 %statistics_word to ptr
  %bytes = call i64 @head(ptr %port, i64 5)
  %before = load i64, ptr %held_at
  %held = add i64 %before, %bytes
  store i64 %held, ptr %held_at
  %most_at = getelementptr i64, ptr %held_at, i64 1
  %most = load i64, ptr %most_at
  %is_more = icmp ugt i64 %held, %most
  %most_now = select i1 %is_more, i64 %held, i64 %most
  store i64 %most_now, ptr %most_at
  %links = call i64 @head(ptr %port, i64 6)
  %array_place = sub i64 %links, 2
  %places = alloca ptr, i64 %links
  %first = getelementptr i64, ptr %port, i64 7
  br label %place
place:                                                 ; from the first link to the last, and back
  %p = phi i64 [ 0, %pop ], [ %p_next, %place ]
  %link = phi ptr [ %first, %pop ], [ %link_next, %place ]
  %place_at = getelementptr ptr, ptr %places, i64 %p
  store ptr %link, ptr %place_at
  %link_next = call ptr @after(ptr %link)
  %p_next = add i64 %p, 1
  %p_more = icmp ult i64 %p_next, %links
  br i1 %p_more, label %place, label %make
make:
  %k = phi i64 [ %links, %place ], [ %k_next, %made ]
  %content = phi ptr [ %item, %place ], [ %object, %made ]
  %k_next = sub i64 %k, 1
  %own_at = getelementptr ptr, ptr %places, i64 %k_next
  %own = load ptr, ptr %own_at
  %object = call ptr @led(ptr %own, ptr %content)
  %failed = icmp eq ptr %object, null
  br i1 %failed, label %no, label %note
note:                                                  ; what holds the memory's holder is the array
  %is_array = icmp eq i64 %k_next, %array_place
  br i1 %is_array, label %note_array, label %made
note_array:
  store ptr %object, ptr %array_at
  br label %made
made:
  %done = icmp eq i64 %k_next, 0
  br i1 %done, label %yes, label %make
yes:
  ret ptr %object
no:
  ret ptr null
}
"""
