"""The native function behind every compiled callable, as LLVM text: guards, unpacking, boxing, and no Python.

CPython calls `retrograd_call(self, args, nargs, names)`. `self` is a tuple (record, miss, held objects, …).
`retrograd_choose` goes through a list of such tuples, up to the first that takes the call.
The record is bytes, read as 64-bit words, which `fastcall.py` writes: a head (`HEAD`), then ports of
arguments, ports of held objects, ports of outputs, and returns.

A *port* describes an argument to check or an output to make; both look alike, and the same words serve:

    kind, words to the next port, class, slot, dtype, ndim, pairs, flags, shift, bytes, view,
    extents …, strides …, (slot, object) …, base, version, counter

| kind | argument or held object | output |
|---|---|---|
| 0 array | an ndarray; or a `class` object with one in `slot`, paired slots holding their objects | made so |
| 1 f64 | a float of just `class`, of 4 bytes where `slot` is 1 | made of the 8 bytes that were written |
| 2 f32 | the same, rounded | made of 4 bytes |
| 3 constant | just the object in `class`, or where `slot` is 1 an equal one of its class | |
| 4 group | a container of just `class`, its members as their own ports say | |
| 5 flag | | a byte; where it is not 0, the call is a miss |
| 6 update | | what the program's pointer number `class` points to is written anew |
| 7 integer | | made of `class` bits; a bool where `slot` is 1 |
| 8 draw | an object with a `slot` for an array of random numbers, drawn at each call | |
| 9 address | an object that leads by `links` to an int, the address of memory elsewhere | made so |

An array has all the NumPy flags in `flags`. C_CONTIGUOUS is not among them where it is read by strides: these
must be its own on axes of more than one element, and the program is given where its data begin plus `shift`.
Where there is a `view`, that slot may hold what says how the object views another: then the `version` that it
holds must be that of its `base`, the first item of the list in the latter's slot `counter`.

The words of a group are: kind, words to the next port, class, 0 tuple, 1 list, 2 dict or 3 attributes,
members, keys of a dict or names of attributes …, ports of the members …. All that is no group is a *leaf*;
leaves are counted through arguments and then held objects. An update's words are: kind, words to the next
port, pointer, place, bytes; it is written at its place in the arena and copied when the program has run, or
at once where the place is -1. A call whose arguments share memory with an update is a miss.

The words of a draw are: kind, words to the next port, class, slot, dtype, ndim, the law's function, the
generator's state, the law's parameters, elements, place, extents …. The numbers are written at their place in
the arena, or where that is -1 into a new array in the slot. Held objects come in the order of their draws.

An address's words are: kind, words to the next port, bytes, free addresses, statistics, bytes of a block,
links, links …; a link is class, slot, pairs, (slot, object) …: an object of just that class, whose paired
slots hold their objects, and whose slot holds the object of the next link, in the end an int. What the first
leads to is the leaf's array. An output takes its int from the end of the list of free addresses, and is
counted in the statistics, which are bytes held now and at most; where the list is empty, the call is a miss.

What fails a port or a guard (`watching.py`) goes to `miss(*args, **kwargs)`.

One text serves all signatures, so a new one compiles nothing. This file holds the call, `taking.py` what it
takes, `drawing.py` what it draws, `making.py` and `boxing.py` what it makes and gives back, `addressing.py`
what lies elsewhere. A new kind is a row of the table, a case of each `switch`, and a port in `ports.py`.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from string import Template

from retrograd.runtime.native import drawing
from retrograd.runtime.native.addressing import ADDRESSING
from retrograd.runtime.native.boxing import BOXING
from retrograd.runtime.native.drawing import DRAWING
from retrograd.runtime.native.layout import Layout
from retrograd.runtime.native.making import MAKING
from retrograd.runtime.native.taking import TAKING
from retrograd.runtime.native.watching import WATCHING, constants

ARRAY, F64, F32, CONSTANT, GROUP, FLAG, UPDATE, INTEGER, DRAW, ADDRESS = range(10)
"""Kinds of ports."""

CONTIGUOUS, ALIGNED, WRITEABLE = 1, 256, 1024
"""NumPy's flags, which are part of its binary interface."""

IN_TUPLE, IN_LIST, IN_DICT, IN_ATTRIBUTES = range(4)
"""How the members of a group are found."""

HEAD = (
    "entry",
    "context",
    "positional",
    "arguments",
    "names",
    "leaves",
    "pointers",
    "arena",
    "long",
    "outputs",
    "held",
    "held_at",
    "outputs_at",
    "returns_at",
    "steps",
    "registers",
    "guards",
    "updates",
    "draws",
    "saved",
)
"""The first words of the record. `…_at` are places in it; `names` is a tuple of strings or 0, `guards` the
address of those of `watching`, `saved` how many bytes are to be saved of generators, `context` what the
program is given besides pointers."""

SMALL_ARENA = 4096
"""Bytes up to which the arena lies on the stack."""

ARENA_KEPT = 256 << 20
"""Bytes up to which an arena is kept for the next call; giving it back costs a page fault a page."""


def trampoline_text(layout: Layout) -> str:
    """The module, for this interpreter's layout of objects."""
    head = {f"head_{name}": place for place, name in enumerate(HEAD)}
    text = Template(_CALL + TAKING + DRAWING + ADDRESSING + MAKING + BOXING + WATCHING).substitute(
        asdict(layout),
        **head,
        **constants(),
        **drawing.constants(),
        head_words=len(HEAD),
        contiguous=CONTIGUOUS,
        small=SMALL_ARENA,
        kept=ARENA_KEPT,
    )
    return _HEAD_CALL.sub(_HEAD_LINES, text)


_HEAD_CALL = re.compile(r"%(\S+) = call i64 @head\(ptr (\S+), i64 (\S+)\)")
_HEAD_LINES = r"""%\1.at = getelementptr i64, ptr \2, i64 \3
  %\1 = load i64, ptr %\1.at, align 1"""
"""A word of a record is read by `call i64 @head(ptr record, i64 place)`, which is written out: no optimiser
sees this text."""


_CALL = """
@numpy_array_type = external global i8
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyErr_Occurred()

; A call under way. objects[i] and arrays[i] are leaf i and its ndarray (or null), borrowed.
;                pointers, scalars, objects, arrays, pointers stored, leaves taken, bytes behind each pointer
%call_frame = type { ptr, ptr, ptr, ptr, i64, i64, ptr }

; --- the call --------------------------------------------------------------------------------------------
define ptr @retrograd_call(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %result_at = alloca ptr
  %holder = getelementptr i8, ptr %self, i64 $tuple_items
  %taken = call i1 @attempt(ptr %holder, ptr %args, i64 %nargs, ptr %names, ptr %result_at)
  br i1 %taken, label %return, label %miss
return:
  %result = load ptr, ptr %result_at
  ret ptr %result
miss:
  %miss_at = getelementptr ptr, ptr %holder, i64 1
  %slow = load ptr, ptr %miss_at
  %answer = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %nargs, ptr %names)
  ret ptr %answer
}

; `self` is a tuple (list of what is `self` above, miss). The first that takes the arguments runs.
define ptr @retrograd_choose(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind {
entry:
  %result_at = alloca ptr
  %holder = getelementptr i8, ptr %self, i64 $tuple_items
  %list = load ptr, ptr %holder
  %length_at = getelementptr i8, ptr %list, i64 $sequence_length
  %items_at = getelementptr i8, ptr %list, i64 $list_items
  br label %next
next:                                                  ; others may change the list during an attempt
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %i_next = add i64 %i, 1
  %length = load i64, ptr %length_at
  %more = icmp ult i64 %i, %length
  br i1 %more, label %one, label %miss
one:
  %items = load ptr, ptr %items_at
  %item_at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item_at
  %item_holder = getelementptr i8, ptr %item, i64 $tuple_items
  call void @Py_IncRef(ptr %item)
  %taken = call i1 @attempt(ptr %item_holder, ptr %args, i64 %nargs, ptr %names, ptr %result_at)
  call void @Py_DecRef(ptr %item)
  br i1 %taken, label %return, label %next
return:
  %result = load ptr, ptr %result_at
  ret ptr %result
miss:
  %miss_at = getelementptr ptr, ptr %holder, i64 1
  %slow = load ptr, ptr %miss_at
  %answer = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %nargs, ptr %names)
  ret ptr %answer
}

; False: the call is none of this record's. True: the result is stored, null with an exception set.
define internal i1 @attempt(ptr %holder, ptr %args, i64 %nargs, ptr %names, ptr %result_at) nounwind {
entry:
  %bytes = load ptr, ptr %holder
  %record = getelementptr i8, ptr %bytes, i64 $bytes_content
  %wanted = call i64 @head(ptr %record, i64 $head_positional)
  %right_number = icmp eq i64 %nargs, %wanted
  br i1 %right_number, label %name, label %no
name:
  %wanted_names_word = call i64 @head(ptr %record, i64 $head_names)
  %wanted_names = inttoptr i64 %wanted_names_word to ptr
  %named = icmp eq ptr %names, %wanted_names
  br i1 %named, label %guard, label %compare_names
compare_names:
  %same_names = call i1 @same_names(ptr %names, ptr %wanted_names)
  br i1 %same_names, label %guard, label %no
guard:
  %guards = call i64 @head(ptr %record, i64 $head_guards)
  %unguarded = icmp eq i64 %guards, 0
  br i1 %unguarded, label %prepare, label %look
look:
  %guards_at = inttoptr i64 %guards to ptr
  %unchanged = call i1 @unchanged(ptr %guards_at)
  br i1 %unchanged, label %prepare, label %no
prepare:
  %arguments = call i64 @head(ptr %record, i64 $head_arguments)
  %outputs = call i64 @head(ptr %record, i64 $head_outputs)
  %leaves = call i64 @head(ptr %record, i64 $head_leaves)
  %pointer_count = call i64 @head(ptr %record, i64 $head_pointers)
  %values = add i64 %leaves, %outputs
  %leaves_twice = shl i64 %leaves, 1
  %outputs_twice = shl i64 %outputs, 1
  %pointers = alloca ptr, i64 %pointer_count
  %scalars = alloca i64, i64 %values
  %objects = alloca ptr, i64 %leaves_twice
  %arrays = getelementptr ptr, ptr %objects, i64 %leaves
  %made = alloca ptr, i64 %outputs_twice              ; and then the arrays in them
  %frame = alloca %call_frame
  store %call_frame zeroinitializer, ptr %frame
  store ptr %pointers, ptr %frame
  %scalars_at = getelementptr %call_frame, ptr %frame, i64 0, i32 1
  store ptr %scalars, ptr %scalars_at
  %objects_at = getelementptr %call_frame, ptr %frame, i64 0, i32 2
  store ptr %objects, ptr %objects_at
  %arrays_at = getelementptr %call_frame, ptr %frame, i64 0, i32 3
  store ptr %arrays, ptr %arrays_at
  %draws = call i64 @head(ptr %record, i64 $head_draws)
  %drawing = icmp ne i64 %draws, 0
  %drawn = alloca ptr, i64 %draws
  %saved_bytes = call i64 @head(ptr %record, i64 $head_saved)
  %saving = icmp ne i64 %saved_bytes, 0
  %saved = alloca i8, i64 %saved_bytes, align 16
  %lengths = alloca i64, i64 %pointer_count
  %lengths_at = getelementptr %call_frame, ptr %frame, i64 0, i32 6
  store ptr %lengths, ptr %lengths_at
  %used_at = getelementptr %call_frame, ptr %frame, i64 0, i32 4
  %ports = getelementptr i64, ptr %record, i64 $head_words
  %taken = call i1 @take(ptr %frame, ptr %args, i64 %arguments, ptr %ports)
  br i1 %taken, label %take_held, label %no
take_held:
  %own = load i64, ptr %used_at
  %leaf_at = getelementptr %call_frame, ptr %frame, i64 0, i32 5
  %own_leaves = load i64, ptr %leaf_at
  %held = call i64 @head(ptr %record, i64 $head_held)
  %held_tuple_at = getelementptr ptr, ptr %holder, i64 2
  %held_tuple = load ptr, ptr %held_tuple_at
  %held_items = getelementptr i8, ptr %held_tuple, i64 $tuple_items
  %held_word = call i64 @head(ptr %record, i64 $head_held_at)
  %held_ports = getelementptr i64, ptr %record, i64 %held_word
  %held_taken = call i1 @take(ptr %frame, ptr %held_items, i64 %held, ptr %held_ports)
  br i1 %held_taken, label %compare_memory, label %no
compare_memory:
  %used = load i64, ptr %used_at
  %out_ports_word = call i64 @head(ptr %record, i64 $head_outputs_at)
  %out_ports = getelementptr i64, ptr %record, i64 %out_ports_word
  %updates = call i64 @head(ptr %record, i64 $head_updates)
  %updating = icmp ne i64 %updates, 0
  br i1 %updating, label %look_apart, label %make
look_apart:
  %apart = call i1 @apart(i64 %outputs, ptr %out_ports, ptr %pointers, ptr %lengths, i64 %own, i64 %used)
  br i1 %apart, label %make, label %no
make:
  %out_pointers = getelementptr ptr, ptr %pointers, i64 %used
  %out_scalars = getelementptr i64, ptr %scalars, i64 %leaves
  %complete = call i1 @make_outputs(i64 %outputs, ptr %out_ports, ptr %out_pointers, ptr %made,
                                    ptr %out_scalars)
  br i1 %complete, label %look_for_draws, label %fail
look_for_draws:
  br i1 %drawing, label %make_drawn, label %find_arena
make_drawn:
  %drawn_made = call i1 @make_drawn(ptr %frame, i64 %held, ptr %held_ports, i64 %own_leaves, i64 %own,
                                    ptr %drawn, i64 %draws)
  br i1 %drawn_made, label %find_arena, label %fail_drawn
fail_drawn:
  call void @drop(ptr %drawn, i64 %draws)
  br label %fail
find_arena:
  %arena_size = call i64 @head(ptr %record, i64 $head_arena)
  %small = icmp ule i64 %arena_size, $small
  br i1 %small, label %on_stack, label %on_heap
on_stack:
  %stacked = alloca i8, i64 %arena_size, align 64
  br label %choose
on_heap:
  %borrowed = call ptr @borrow_arena(i64 %arena_size)
  %no_memory = icmp eq ptr %borrowed, null
  br i1 %no_memory, label %out_of_memory, label %choose
out_of_memory:
  call ptr @PyErr_NoMemory()
  br i1 %drawing, label %fail_drawn, label %fail
choose:
  %arena = phi ptr [ %stacked, %on_stack ], [ %borrowed, %on_heap ]
  %arena_at = getelementptr ptr, ptr %out_pointers, i64 %outputs
  store ptr %arena, ptr %arena_at
  call void @place_updates(i64 %outputs, ptr %out_ports, ptr %out_pointers, ptr %pointers, ptr %arena)
  br i1 %drawing, label %draw, label %start
draw:
  call void @draw(ptr %frame, i64 %held, ptr %held_ports, i64 %own, ptr %arena, ptr %saved, i1 %saving)
  br label %start
start:
  %program = load ptr, ptr %record, align 1
  %context = call i64 @head(ptr %record, i64 $head_context)
  %long = call i64 @head(ptr %record, i64 $head_long)
  %briefly = icmp eq i64 %long, 0
  br i1 %briefly, label %run_locked, label %run_unlocked
run_locked:
  call void %program(ptr %pointers, i64 %context)
  br label %ran
run_unlocked:                                          ; another thread may drop what a list or a slot holds
  call void @hold(ptr %objects, i64 %leaves_twice)
  %thread = call ptr @PyEval_SaveThread()
  call void %program(ptr %pointers, i64 %context)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %ran
ran:
  %sound = call i1 @sound(i64 %outputs, ptr %out_ports, ptr %out_scalars)
  br i1 %sound, label %update, label %look_for_saved
look_for_saved:
  br i1 %saving, label %rewind, label %done
rewind:
  call void @rewind(ptr %saved, i64 %draws)
  br label %done
update:
  call void @copy_updates(i64 %outputs, ptr %out_ports, ptr %out_pointers, ptr %pointers)
  br label %done
done:
  br i1 %small, label %finish, label %return_arena
return_arena:
  call void @return_arena(ptr %arena)
  br label %finish
finish:
  br i1 %sound, label %give, label %discard
give:
  %result = call ptr @give(ptr %record, ptr %out_ports, ptr %made, ptr %out_scalars, ptr %objects)
  store ptr %result, ptr %result_at
  br label %release
discard:
  call void @drop(ptr %made, i64 %outputs)
  br label %release
release:
  br i1 %drawing, label %drop_drawn, label %release_held
drop_drawn:
  call void @drop(ptr %drawn, i64 %draws)
  br label %release_held
release_held:
  br i1 %briefly, label %end, label %let_go
let_go:
  call void @drop(ptr %objects, i64 %leaves_twice)
  br label %end
end:
  ret i1 %sound
fail:                                                  ; without an exception, the call is Python's
  call void @drop(ptr %made, i64 %outputs)
  store ptr null, ptr %result_at
  %error = call ptr @PyErr_Occurred()
  %failed = icmp ne ptr %error, null
  ret i1 %failed
no:
  ret i1 false
}

; Whether two tuples of names have the same ones. Null is none.
define internal i1 @same_names(ptr %names, ptr %wanted) nounwind {
entry:
  %none = icmp eq ptr %names, null
  %unwanted = icmp eq ptr %wanted, null
  %one_sided = or i1 %none, %unwanted
  br i1 %one_sided, label %no, label %measure
measure:
  %count_at = getelementptr i8, ptr %names, i64 $sequence_length
  %count = load i64, ptr %count_at
  %wanted_count_at = getelementptr i8, ptr %wanted, i64 $sequence_length
  %wanted_count = load i64, ptr %wanted_count_at
  %items = getelementptr i8, ptr %names, i64 $tuple_items
  %wanted_items = getelementptr i8, ptr %wanted, i64 $tuple_items
  %as_many = icmp eq i64 %count, %wanted_count
  br i1 %as_many, label %next, label %no
next:
  %i = phi i64 [ 0, %measure ], [ %i_next, %one ]
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %name_at = getelementptr ptr, ptr %items, i64 %i
  %name = load ptr, ptr %name_at
  %wanted_at = getelementptr ptr, ptr %wanted_items, i64 %i
  %wanted_name = load ptr, ptr %wanted_at
  %same = icmp eq ptr %name, %wanted_name
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @hold(ptr %objects, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_IncRef(ptr %object)
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}

define internal void @drop(ptr %objects, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_DecRef(ptr %object)
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}

; For programs that do nothing: a call that only checks its arguments.
define void @retrograd_nothing(ptr %pointers, i64 %context) nounwind {
  ret void
}
"""
