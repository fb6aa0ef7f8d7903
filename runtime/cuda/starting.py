"""Kernels started without Python: a native function that finds out of a description what to start.

In flow a program's launches, and out flow the address of the function and the description, for a native call
(`native/fastcall.py`) whose pointers are addresses on the GPU. Where the driver will not, a check of an
earlier call has failed (`pending`), or launches came again with the addresses of the call before and might
become one graph, a flag is raised, and Python does it.

The words of a description are: addresses of the driver's `cuCtxSetCurrent`, the context, `cuLaunchKernel`,
`cuGraphLaunch`, the stream, which pointer is the flag, the table of graphs or 0, how many pointers tell one
set of addresses from another, launches, most parameters of one, checks, the addresses of their flags …,
launches …; a launch is kernel, blocks, threads, parameters, (pointer or -1, what is added to it) …. The table
of graphs: how many, the last addresses, (graph, addresses) ….
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from retrograd.runtime.cuda.nvidia import Entries
from retrograd.runtime.native import cpu

_GRAPHS = 4
"""Sets of addresses that native code knows the graphs of."""


class Graphs:
    """The graphs that native code may launch, by addresses."""

    def __init__(self, width: int) -> None:
        self._width, self._next = width, 0
        self._words = (ctypes.c_int64 * (1 + width + _GRAPHS * (1 + width)))(_GRAPHS)
        self.address = ctypes.addressof(self._words)

    def add(self, addresses: Sequence[int], executable: int) -> None:
        """These addresses, those that are compared, are of this graph; the one entered longest ago goes."""
        start = 1 + self._width + self._next * (1 + self._width)
        self._next = (self._next + 1) % _GRAPHS
        self._words[start] = 0
        self._words[start + 1 : start + 1 + self._width] = list(addresses[: self._width])
        self._words[start] = executable

    def drop(self, executable: int) -> None:
        """This graph is no more."""
        for start in range(1 + self._width, len(self._words), 1 + self._width):
            if self._words[start] == executable:
                self._words[start] = 0


class Launch:
    """One launch in a description."""

    def __init__(self, function: int, grid: int, block: int, parameters: Sequence[tuple[int, int]]) -> None:
        self.count = len(parameters)
        self.words = [function, grid, block, self.count, *(word for pair in parameters for word in pair)]


def description(
    entries: Entries,
    context: int,
    stream: int,
    flag: int,
    graphs: Graphs | None,
    checks: Sequence[int],
    launches: Sequence[Launch],
) -> Any:
    """The words, which live as long as what is returned."""
    table, width = (graphs.address, graphs._width) if graphs is not None else (0, 0)
    words = [entries.set_context, context, entries.launch, entries.launch_graph, stream, flag, table, width]
    words += [len(launches), max([x.count for x in launches], default=0), len(checks), *checks]
    words += [word for launch in launches for word in launch.words]
    return (ctypes.c_int64 * len(words))(*words)


def entry() -> int:
    """The address of the native function, which takes pointers and the address of a description."""
    return _library().address("retrograd_start")


@functools.cache
def _library() -> cpu.Library:
    return cpu.load_part(_TEXT, {})


_TEXT = """
define void @retrograd_start(ptr %pointers, i64 %about) nounwind {
entry:
  %words = inttoptr i64 %about to ptr
  %set_context = load ptr, ptr %words
  %context_at = getelementptr ptr, ptr %words, i64 1
  %context = load ptr, ptr %context_at
  %launch_at = getelementptr ptr, ptr %words, i64 2
  %launch = load ptr, ptr %launch_at
  %launch_graph_at = getelementptr ptr, ptr %words, i64 3
  %launch_graph = load ptr, ptr %launch_graph_at
  %stream_at = getelementptr ptr, ptr %words, i64 4
  %stream = load ptr, ptr %stream_at
  %flag_at = getelementptr i64, ptr %words, i64 5
  %flag = load i64, ptr %flag_at
  %raised_at = getelementptr ptr, ptr %pointers, i64 %flag
  %raised = load ptr, ptr %raised_at
  %graphs_at = getelementptr ptr, ptr %words, i64 6
  %graphs = load ptr, ptr %graphs_at
  %width_at = getelementptr i64, ptr %words, i64 7
  %width = load i64, ptr %width_at
  %count_at = getelementptr i64, ptr %words, i64 8
  %count = load i64, ptr %count_at
  %most_at = getelementptr i64, ptr %words, i64 9
  %most = load i64, ptr %most_at
  %checks_at = getelementptr i64, ptr %words, i64 10
  %checks = load i64, ptr %checks_at
  %first_check = getelementptr ptr, ptr %words, i64 11
  %first = getelementptr i64, ptr %first_check, i64 %checks
  %values = alloca i64, i64 %most
  %places = alloca ptr, i64 %most
  %status = call i32 %set_context(ptr %context)
  %is_current = icmp eq i32 %status, 0
  br i1 %is_current, label %check, label %raise
check:
  %c = phi i64 [ 0, %entry ], [ %c_next, %check_one ]
  %c_more = icmp ult i64 %c, %checks
  br i1 %c_more, label %check_one, label %look
check_one:
  %check_at = getelementptr ptr, ptr %first_check, i64 %c
  %check_flag = load ptr, ptr %check_at
  %failed = load volatile i8, ptr %check_flag
  %c_next = add i64 %c, 1
  %passed = icmp eq i8 %failed, 0
  br i1 %passed, label %check, label %raise
look:
  %alone = icmp eq ptr %graphs, null
  br i1 %alone, label %place, label %find
find:
  %found = call i64 @find(ptr %graphs, ptr %pointers, i64 %width)
  switch i64 %found, label %one_graph [ i64 0, label %place
                                        i64 1, label %raise ]
one_graph:
  %executable = inttoptr i64 %found to ptr
  %graph_status = call i32 %launch_graph(ptr %executable, ptr %stream)
  %graph_started = icmp eq i32 %graph_status, 0
  br i1 %graph_started, label %end, label %raise
place:
  %p = phi i64 [ 0, %look ], [ 0, %find ], [ %p_next, %place_one ]
  %p_more = icmp ult i64 %p, %most
  br i1 %p_more, label %place_one, label %next
place_one:
  %value_place = getelementptr i64, ptr %values, i64 %p
  %place_at = getelementptr ptr, ptr %places, i64 %p
  store ptr %value_place, ptr %place_at
  %p_next = add i64 %p, 1
  br label %place
next:
  %i = phi i64 [ 0, %place ], [ %i_next, %started ]
  %one = phi ptr [ %first, %place ], [ %one_next, %started ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %open, label %end
open:
  %kernel = load ptr, ptr %one
  %grid_at = getelementptr i64, ptr %one, i64 1
  %grid_word = load i64, ptr %grid_at
  %grid = trunc i64 %grid_word to i32
  %block_at = getelementptr i64, ptr %one, i64 2
  %block_word = load i64, ptr %block_at
  %block = trunc i64 %block_word to i32
  %given_at = getelementptr i64, ptr %one, i64 3
  %given = load i64, ptr %given_at
  %parameters = getelementptr i64, ptr %one, i64 4
  br label %parameter
parameter:
  %k = phi i64 [ 0, %open ], [ %k_next, %store ]
  %k_more = icmp ult i64 %k, %given
  br i1 %k_more, label %read, label %start
read:
  %twice = shl i64 %k, 1
  %which_at = getelementptr i64, ptr %parameters, i64 %twice
  %which = load i64, ptr %which_at
  %added_at = getelementptr i64, ptr %which_at, i64 1
  %added = load i64, ptr %added_at
  %fixed = icmp slt i64 %which, 0
  br i1 %fixed, label %store, label %fetch
fetch:
  %base_at = getelementptr i64, ptr %pointers, i64 %which
  %base = load i64, ptr %base_at
  br label %store
store:
  %from = phi i64 [ 0, %read ], [ %base, %fetch ]
  %value = add i64 %from, %added
  %value_at = getelementptr i64, ptr %values, i64 %k
  store i64 %value, ptr %value_at
  %k_next = add i64 %k, 1
  br label %parameter
start:
  %launch_status = call i32 %launch(ptr %kernel, i32 %grid, i32 1, i32 1, i32 %block, i32 1, i32 1, i32 0,
                                    ptr %stream, ptr %places, ptr null)
  %is_started = icmp eq i32 %launch_status, 0
  br i1 %is_started, label %started, label %raise
started:
  %i_next = add i64 %i, 1
  %all = shl i64 %given, 1
  %one_next = getelementptr i64, ptr %parameters, i64 %all
  br label %next
raise:
  store i64 1, ptr %raised
  br label %end
end:
  ret void
}

; The graph of these addresses; 1 if there is none and they are those of the call before; else 0.
define internal i64 @find(ptr %graphs, ptr %pointers, i64 %width) nounwind {
entry:
  %count = load i64, ptr %graphs
  %last = getelementptr i64, ptr %graphs, i64 1
  %first = getelementptr i64, ptr %last, i64 %width
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %other ]
  %one = phi ptr [ %first, %entry ], [ %one_next, %other ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %compare, label %again
compare:
  %graph = load i64, ptr %one
  %addresses = getelementptr i64, ptr %one, i64 1
  %same = call i1 @same(ptr %addresses, ptr %pointers, i64 %width)
  %there = icmp ne i64 %graph, 0
  %right = and i1 %same, %there
  br i1 %right, label %yes, label %other
other:
  %i_next = add i64 %i, 1
  %one_next = getelementptr i64, ptr %addresses, i64 %width
  br label %next
again:
  %as_before = call i1 @same(ptr %last, ptr %pointers, i64 %width)
  br i1 %as_before, label %come_again, label %note
note:
  %n = phi i64 [ 0, %again ], [ %n_next, %note_one ]
  %n_more = icmp ult i64 %n, %width
  br i1 %n_more, label %note_one, label %new
note_one:
  %from_at = getelementptr i64, ptr %pointers, i64 %n
  %from = load i64, ptr %from_at
  %to_at = getelementptr i64, ptr %last, i64 %n
  store i64 %from, ptr %to_at
  %n_next = add i64 %n, 1
  br label %note
yes:
  ret i64 %graph
come_again:
  ret i64 1
new:
  ret i64 0
}

define internal i1 @same(ptr %one, ptr %other, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %compare ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %compare, label %yes
compare:
  %mine_at = getelementptr i64, ptr %one, i64 %i
  %mine = load i64, ptr %mine_at
  %theirs_at = getelementptr i64, ptr %other, i64 %i
  %theirs = load i64, ptr %theirs_at
  %equal = icmp eq i64 %mine, %theirs
  %i_next = add i64 %i, 1
  br i1 %equal, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""
