"""One routine for products of all sizes, as LLVM text: it goes through blocks and panels, copies what must be
copied, and calls tiles (`tiles.py`).

    retrograd_product(plan, args, left, right, out, panels)
    retrograd_script(args, script)          products one after the other, on a program's data pointers

A *plan* is a record of words, `PLAN`; a product is cut into *items*, which threads share: some blocks of rows
of some panels of columns of one product of a batch. Where there is an epilogue, the sums of an item stay in
memory of its own, block after block and in each panel after panel, a tile's rows together, and
`epilogue(args, item, sums)` does the rest with them. Where the inner axis is cut in pieces, too, they wait
there for the next piece. A *script* is a number of steps, and for each its plan, and of each operand the
program's pointer it belongs to and the bytes from there: `STEP` words.
"""

from __future__ import annotations

import re
from string import Template

PLAN = (
    "parallel", "tile", "copy_left", "copy_right", "epilogue",
    "tasks", "share", "items", "chunks", "groups", "rowwise",
    "blocks", "size", "rows", "row_extent",
    "panels", "beside", "width", "column_extent",
    "inner_extent", "depth", "itemsize", "mask",
    "left_row", "left_inner", "left_batch", "right_inner", "right_column", "right_batch",
    "turned", "turned_mask", "out_row", "out_column", "out_batch",
    "panel_bytes", "sums_bytes", "left_tasks", "left_parallel", "left_groups", "left_beside",
    "left_mask", "right_mask", "right_kept", "simple", "told",
)  # fmt: skip
"""The words of a plan. `parallel` (see the pool), `tile`, `copy_…`, `epilogue` and `turned`
are functions; all but the tile may be 0. A task is `share`
items. Items count through chunks of `size` blocks of `rows` rows, and through groups of `beside` panels of
`width` columns; chunks first, unless `rowwise`. The extents are of the axes; `depth` is of a piece of the
inner axis. From `left_row` on there are bytes from one place to the next. A task of copying the left operand
takes `left_beside` blocks; the masks say what is read of the last vector of a copied block's row, and what is
written of it. A product is `simple` if nothing is copied, nothing waits, and an item is a whole panel: then
all that tiles are told is known, and follows from `told` on (TILE of `tiles.py`)."""

STEP = ("plan", "left", "left_bytes", "right", "right_bytes", "out", "out_bytes", "panels", "panels_bytes")

DEEP = 16
"""Inner positions of a narrow block that are copied together: few, so that what lies beside it in memory is
still in the cache when the next block is copied."""


def products_text() -> str:
    """The module."""
    numbers = {name: 8 * k for k, name in enumerate(PLAN)}
    text = Template(_TEXT).substitute(deep=DEEP, step=8 * len(STEP))
    return _WORD.sub(lambda m: _LOADED.format(m[1], m[2], numbers[m[2]]), text)


_WORD = re.compile(r"%(\S+) = word (\w+)")
_LOADED = "%{0}.at = getelementptr i8, ptr %plan, i64 {2}\n  %{0} = load i64, ptr %{0}.at"
"""A word of the plan is read by `%name = word NAME`, which is written out: no optimiser sees this text."""

_TEXT = """
; the plan, the program's pointers, left, right, out, panels of the left operand
%job = type { ptr, ptr, ptr, ptr, ptr, ptr }
; row, inner, down, before, after, count, mask, blocks, left_on, left_back, from_on, to_on, to_back: TILE of
; tiles.py
%tile = type { i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64 }
; down, across, count, columns, after, read, written: BLOCK there
%block = type { i64, i64, i64, i64, i64, i64, i64 }

declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

define void @retrograd_script(ptr %args, ptr %script) #0 {
entry:
  %steps = load i64, ptr %script
  %first = getelementptr i64, ptr %script, i64 1
  br label %step
step:
  %n = phi i64 [ 0, %entry ], [ %n_next, %step ]
  %at = phi ptr [ %first, %entry ], [ %at_next, %step ]
  %plan = load ptr, ptr %at
  %left_at = getelementptr i64, ptr %at, i64 1
  %left = call ptr @operand(ptr %args, ptr %left_at)
  %right_at = getelementptr i64, ptr %at, i64 3
  %right = call ptr @operand(ptr %args, ptr %right_at)
  %out_at = getelementptr i64, ptr %at, i64 5
  %out = call ptr @operand(ptr %args, ptr %out_at)
  %panels_at = getelementptr i64, ptr %at, i64 7
  %panels = call ptr @operand(ptr %args, ptr %panels_at)
  call void @retrograd_product(ptr %plan, ptr %args, ptr %left, ptr %right, ptr %out, ptr %panels)
  %at_next = getelementptr i8, ptr %at, i64 $step
  %n_next = add i64 %n, 1
  %more = icmp slt i64 %n_next, %steps
  br i1 %more, label %step, label %end
end:
  ret void
}

define internal ptr @operand(ptr %args, ptr %at) #0 {
  %number = load i64, ptr %at
  %bytes_at = getelementptr i64, ptr %at, i64 1
  %bytes = load i64, ptr %bytes_at
  %base_at = getelementptr ptr, ptr %args, i64 %number
  %base = load ptr, ptr %base_at
  %operand = getelementptr i8, ptr %base, i64 %bytes
  ret ptr %operand
}

define void @retrograd_product(ptr %plan, ptr %args, ptr %left, ptr %right, ptr %out, ptr %panels) #0 {
entry:
  %job = alloca %job
  store ptr %plan, ptr %job
  %args_at = getelementptr %job, ptr %job, i64 0, i32 1
  store ptr %args, ptr %args_at
  %left_at = getelementptr %job, ptr %job, i64 0, i32 2
  store ptr %left, ptr %left_at
  %right_at = getelementptr %job, ptr %job, i64 0, i32 3
  store ptr %right, ptr %right_at
  %out_at = getelementptr %job, ptr %job, i64 0, i32 4
  store ptr %out, ptr %out_at
  %panels_at = getelementptr %job, ptr %job, i64 0, i32 5
  store ptr %panels, ptr %panels_at
  %copies = word left_tasks
  %none = icmp eq i64 %copies, 0
  br i1 %none, label %multiply, label %copy
copy:
  %shared = word left_parallel
  call void @spread(ptr @copy_left, ptr %job, i64 %copies, i64 %shared)
  br label %multiply
multiply:
  %tasks = word tasks
  %parallel = word parallel
  %one = icmp eq i64 %tasks, 1
  br i1 %one, label %do, label %share
do:
  call void @task(ptr %job, i64 0)
  ret void
share:
  call void @spread(ptr @task, ptr %job, i64 %tasks, i64 %parallel)
  ret void
}

; The tasks, on threads if `parallel` is a function.
define internal void @spread(ptr %task, ptr %job, i64 %count, i64 %parallel) #0 {
entry:
  %alone = icmp eq i64 %parallel, 0
  br i1 %alone, label %next, label %share
share:
  %pool = inttoptr i64 %parallel to ptr
  call void %pool(ptr %task, ptr %job, i64 %count)
  ret void
next:
  %t = phi i64 [ 0, %entry ], [ %t_next, %next ]
  call void %task(ptr %job, i64 %t)
  %t_next = add i64 %t, 1
  %more = icmp slt i64 %t_next, %count
  br i1 %more, label %next, label %end
end:
  ret void
}

define internal void @task(ptr %job, i64 %number) #0 {
entry:
  %plan = load ptr, ptr %job
  %share = word share
  %items = word items
  %first = mul i64 %number, %share
  %last = add i64 %first, %share
  %end = call i64 @llvm.smin.i64(i64 %last, i64 %items)
  %simple_word = word simple
  %simple = icmp ne i64 %simple_word, 0
  br i1 %simple, label %look, label %next
next:
  %item = phi i64 [ %first, %entry ], [ %item_next, %next ]
  call void @item(ptr %job, i64 %item)
  %item_next = add i64 %item, 1
  %more = icmp slt i64 %item_next, %end
  br i1 %more, label %next, label %done
look:
  %left_at = getelementptr %job, ptr %job, i64 0, i32 2
  %left = load ptr, ptr %left_at
  %right_at = getelementptr %job, ptr %job, i64 0, i32 3
  %right = load ptr, ptr %right_at
  %out_at = getelementptr %job, ptr %job, i64 0, i32 4
  %out = load ptr, ptr %out_at
  %groups = word groups
  %several = icmp ne i64 %groups, 1
  %width = word width
  %column_extent = word column_extent
  %column_over = sub i64 %column_extent, %width
  %latest = call i64 @llvm.smax.i64(i64 %column_over, i64 0)
  %right_column = word right_column
  %itemsize = word itemsize
  %left_batch = word left_batch
  %right_batch = word right_batch
  %out_batch = word out_batch
  %told_word = word told
  %tile_word = word tile
  %tile = inttoptr i64 %tile_word to ptr
  br label %panel
panel:
  %n = phi i64 [ %first, %look ], [ %n_next, %multiply ]
  br i1 %several, label %divide, label %multiply
divide:
  %whole = udiv i64 %n, %groups
  %whole_items = mul i64 %whole, %groups
  %rest = sub i64 %n, %whole_items
  %wanted = mul i64 %rest, %width
  %moved = call i64 @llvm.smin.i64(i64 %wanted, i64 %latest)
  br label %multiply
multiply:
  %batch = phi i64 [ %n, %panel ], [ %whole, %divide ]
  %column = phi i64 [ 0, %panel ], [ %moved, %divide ]
  %left_on = mul i64 %batch, %left_batch
  %a = getelementptr i8, ptr %left, i64 %left_on
  %right_on = mul i64 %batch, %right_batch
  %right_of = getelementptr i8, ptr %right, i64 %right_on
  %column_on = mul i64 %column, %right_column
  %b = getelementptr i8, ptr %right_of, i64 %column_on
  %out_on = mul i64 %batch, %out_batch
  %out_of = getelementptr i8, ptr %out, i64 %out_on
  %out_column = mul i64 %column, %itemsize
  %to = getelementptr i8, ptr %out_of, i64 %out_column
  call void %tile(ptr %a, ptr %b, ptr null, ptr %to, ptr %told_word.at)
  %n_next = add i64 %n, 1
  %again = icmp slt i64 %n_next, %end
  br i1 %again, label %panel, label %done
done:
  ret void
}

; Some blocks of the left operand, a few inner positions of each at a time.
define internal void @copy_left(ptr %job, i64 %number) #0 {
entry:
  %plan = load ptr, ptr %job
  %left_at = getelementptr %job, ptr %job, i64 0, i32 2
  %all = load ptr, ptr %left_at
  %panels_at = getelementptr %job, ptr %job, i64 0, i32 5
  %copies = load ptr, ptr %panels_at
  %groups = word left_groups
  %batch = udiv i64 %number, %groups
  %group = urem i64 %number, %groups
  %beside = word left_beside
  %blocks = word blocks
  %first = mul i64 %group, %beside
  %last = add i64 %first, %beside
  %end = call i64 @llvm.smin.i64(i64 %last, i64 %blocks)
  %batch_step = word left_batch
  %batch_on = mul i64 %batch, %batch_step
  %left = getelementptr i8, ptr %all, i64 %batch_on
  %rows = word rows
  %extent = word row_extent
  %itemsize = word itemsize
  %inner_extent = word inner_extent
  %copy_word = word copy_left
  %copy = inttoptr i64 %copy_word to ptr
  %row_step = word left_row
  %inner_step = word left_inner
  %line = mul i64 %rows, %itemsize
  %block_bytes = mul i64 %line, %inner_extent
  %batch_bytes = mul i64 %block_bytes, %blocks
  %copies_on = mul i64 %batch, %batch_bytes
  %panels = getelementptr i8, ptr %copies, i64 %copies_on
  %latest = sub i64 %extent, %rows
  %told = alloca %block
  store i64 %inner_step, ptr %told
  %across_at = getelementptr %block, ptr %told, i64 0, i32 1
  store i64 %row_step, ptr %across_at
  %count_at = getelementptr %block, ptr %told, i64 0, i32 2
  %columns_at = getelementptr %block, ptr %told, i64 0, i32 3
  store i64 %rows, ptr %columns_at
  %after_at = getelementptr %block, ptr %told, i64 0, i32 4
  store i64 %line, ptr %after_at
  %read_at = getelementptr %block, ptr %told, i64 0, i32 5
  %mask = word left_mask
  store i64 %mask, ptr %read_at
  %written_at = getelementptr %block, ptr %told, i64 0, i32 6
  store i64 %mask, ptr %written_at
  br label %piece
piece:
  %k = phi i64 [ 0, %entry ], [ %k_next, %piece_done ]
  %left_over = sub i64 %inner_extent, %k
  %count = call i64 @llvm.smin.i64(i64 %left_over, i64 $deep)
  store i64 %count, ptr %count_at
  %k_on = mul i64 %k, %inner_step
  %k_to = mul i64 %k, %line
  br label %one
one:
  %block = phi i64 [ %first, %piece ], [ %block_next, %one ]
  %row_wanted = mul i64 %block, %rows
  %row = call i64 @llvm.smin.i64(i64 %row_wanted, i64 %latest)
  %row_on = mul i64 %row, %row_step
  %from_on = add i64 %row_on, %k_on
  %from = getelementptr i8, ptr %left, i64 %from_on
  %block_on = mul i64 %block, %block_bytes
  %to_on = add i64 %block_on, %k_to
  %to = getelementptr i8, ptr %panels, i64 %to_on
  call void %copy(ptr %to, ptr %from, ptr %told)
  %block_next = add i64 %block, 1
  %more_blocks = icmp slt i64 %block_next, %end
  br i1 %more_blocks, label %one, label %piece_done
piece_done:
  %k_next = add i64 %k, $deep
  %more = icmp slt i64 %k_next, %inner_extent
  br i1 %more, label %piece, label %done
done:
  ret void
}

define internal void @item(ptr %job, i64 %item) #0 {
entry:
  %plan = load ptr, ptr %job
  %args_at = getelementptr %job, ptr %job, i64 0, i32 1
  %args = load ptr, ptr %args_at
  %left_at = getelementptr %job, ptr %job, i64 0, i32 2
  %all_left = load ptr, ptr %left_at
  %right_at = getelementptr %job, ptr %job, i64 0, i32 3
  %all_right = load ptr, ptr %right_at
  %out_at = getelementptr %job, ptr %job, i64 0, i32 4
  %all_out = load ptr, ptr %out_at
  %panels_at = getelementptr %job, ptr %job, i64 0, i32 5
  %copies = load ptr, ptr %panels_at
  %chunks = word chunks
  %groups = word groups
  %each = mul i64 %chunks, %groups
  %single = icmp eq i64 %each, 1
  br i1 %single, label %placed, label %place
place:
  %of_batch = udiv i64 %item, %each
  %before_it = mul i64 %of_batch, %each
  %within = sub i64 %item, %before_it
  %rowwise_word = word rowwise
  %rowwise = icmp ne i64 %rowwise_word, 0
  %divisor = select i1 %rowwise, i64 %groups, i64 %chunks
  %slow = udiv i64 %within, %divisor
  %slow_all = mul i64 %slow, %divisor
  %fast = sub i64 %within, %slow_all
  %of_chunk = select i1 %rowwise, i64 %slow, i64 %fast
  %of_group = select i1 %rowwise, i64 %fast, i64 %slow
  br label %placed
placed:
  %batch = phi i64 [ %item, %entry ], [ %of_batch, %place ]
  %chunk = phi i64 [ 0, %entry ], [ %of_chunk, %place ]
  %group = phi i64 [ 0, %entry ], [ %of_group, %place ]
  %size = word size
  %blocks = word blocks
  %block_first = mul i64 %chunk, %size
  %block_last = add i64 %block_first, %size
  %block_end = call i64 @llvm.smin.i64(i64 %block_last, i64 %blocks)
  %beside = word beside
  %panel_count = word panels
  %panel_first = mul i64 %group, %beside
  %panel_last = add i64 %panel_first, %beside
  %panel_end = call i64 @llvm.smin.i64(i64 %panel_last, i64 %panel_count)
  %itemsize = word itemsize
  %rows = word rows
  %row_extent = word row_extent
  %row_latest = sub i64 %row_extent, %rows
  %width = word width
  %column_extent = word column_extent
  %column_over = sub i64 %column_extent, %width
  %column_latest = call i64 @llvm.smax.i64(i64 %column_over, i64 0)
  %inner_extent = word inner_extent
  %depth = word depth
  %left_batch = word left_batch
  %left_on = mul i64 %batch, %left_batch
  %right_batch = word right_batch
  %right_on = mul i64 %batch, %right_batch
  %out_batch = word out_batch
  %out_on = mul i64 %batch, %out_batch
  %right = getelementptr i8, ptr %all_right, i64 %right_on
  %out = getelementptr i8, ptr %all_out, i64 %out_on
  %width_bytes = mul i64 %width, %itemsize
  %tile_bytes = mul i64 %rows, %width_bytes
  %panel_depth = mul i64 %depth, %width_bytes
  %right_inner = word right_inner
  %right_column = word right_column
  %out_row = word out_row
  %tile_word = word tile
  %tile = inttoptr i64 %tile_word to ptr
  %epilogue = word epilogue
  %used_here = icmp ne i64 %epilogue, 0
  %turned = word turned
  %turns = icmp ne i64 %turned, 0
  %copy_right = word copy_right
  %copied = icmp ne i64 %copy_right, 0
  %copy = inttoptr i64 %copy_right to ptr
  %copied_left_word = word copy_left
  %copied_left = icmp ne i64 %copied_left_word, 0
  ; the left operand as it lies, or its blocks
  %given_row = word left_row
  %given_inner = word left_inner
  %line = mul i64 %rows, %itemsize
  %block_bytes = mul i64 %line, %inner_extent
  %batch_bytes = mul i64 %block_bytes, %blocks
  %copies_on = mul i64 %batch, %batch_bytes
  %left_base = select i1 %copied_left, ptr %copies, ptr %all_left
  %left_base_on = select i1 %copied_left, i64 %copies_on, i64 %left_on
  %left = getelementptr i8, ptr %left_base, i64 %left_base_on
  %row_step = select i1 %copied_left, i64 %itemsize, i64 %given_row
  %inner_step = select i1 %copied_left, i64 %line, i64 %given_inner
  %down = select i1 %copied, i64 %width_bytes, i64 %right_inner
  %told = alloca %tile
  store i64 %row_step, ptr %told
  %told_inner = getelementptr %tile, ptr %told, i64 0, i32 1
  store i64 %inner_step, ptr %told_inner
  %told_down = getelementptr %tile, ptr %told, i64 0, i32 2
  store i64 %down, ptr %told_down
  %told_before = getelementptr %tile, ptr %told, i64 0, i32 3
  store i64 %width_bytes, ptr %told_before
  %told_after = getelementptr %tile, ptr %told, i64 0, i32 4
  %told_count = getelementptr %tile, ptr %told, i64 0, i32 5
  %told_mask = getelementptr %tile, ptr %told, i64 0, i32 6
  %mask = word mask
  store i64 %mask, ptr %told_mask
  ; the blocks of a panel are one strip of tiles; but of several copied panels, a block goes through all
  %one_panel = icmp eq i64 %beside, 1
  %one_by_one = xor i1 %copied, true
  %whole_strip = or i1 %one_panel, %one_by_one
  %all_blocks = sub i64 %block_end, %block_first
  %strip = select i1 %whole_strip, i64 %all_blocks, i64 1
  %told_blocks = getelementptr %tile, ptr %told, i64 0, i32 7
  store i64 %strip, ptr %told_blocks
  %to_end = icmp eq i64 %block_end, %blocks
  %row_all = mul i64 %blocks, %rows
  %row_over = sub i64 %row_all, %row_extent
  %back = select i1 %to_end, i64 %row_over, i64 0
  %left_on_row = mul i64 %row_step, %rows
  %left_on_block = select i1 %copied_left, i64 %block_bytes, i64 %left_on_row
  %told_left_on = getelementptr %tile, ptr %told, i64 0, i32 8
  store i64 %left_on_block, ptr %told_left_on
  %back_rows = mul i64 %back, %row_step
  %left_back = select i1 %copied_left, i64 0, i64 %back_rows
  %told_left_back = getelementptr %tile, ptr %told, i64 0, i32 9
  store i64 %left_back, ptr %told_left_back
  %own_bytes = mul i64 %beside, %tile_bytes
  %told_from_on = getelementptr %tile, ptr %told, i64 0, i32 10
  store i64 %own_bytes, ptr %told_from_on
  %told_to_on = getelementptr %tile, ptr %told, i64 0, i32 11
  %told_to_back = getelementptr %tile, ptr %told, i64 0, i32 12
  %out_block = mul i64 %rows, %out_row
  %out_back = mul i64 %back, %out_row
  %panel_bytes = word panel_bytes
  %panel = alloca i8, i64 %panel_bytes, align 64
  %sums_bytes = word sums_bytes
  %sums = alloca i8, i64 %sums_bytes, align 64
  br label %piece
piece:
  %k = phi i64 [ 0, %placed ], [ %k_next, %piece_done ]
  %left_over = sub i64 %inner_extent, %k
  %count = call i64 @llvm.smin.i64(i64 %left_over, i64 %depth)
  %k_right = mul i64 %k, %right_inner
  %k_left = mul i64 %k, %inner_step
  br i1 %copied, label %copy_panels, label %tiles
copy_panels:
  call void @copy_right(ptr %plan, ptr %right, i64 %k_right, i64 %count, i64 %panel_first, i64 %panel_end,
                        ptr %panel)
  br label %tiles
tiles:
  store i64 %count, ptr %told_count
  %k_next = add i64 %k, %depth
  %begins = icmp eq i64 %k, 0
  %goes_on = icmp slt i64 %k_next, %inner_extent
  %kept = or i1 %used_here, %turns
  %waits = or i1 %goes_on, %kept
  %after = select i1 %waits, i64 %width_bytes, i64 %out_row
  store i64 %after, ptr %told_after
  %to_on = select i1 %waits, i64 %own_bytes, i64 %out_block
  store i64 %to_on, ptr %told_to_on
  %to_back = select i1 %waits, i64 0, i64 %out_back
  store i64 %to_back, ptr %told_to_back
  br label %block
block:
  %b = phi i64 [ %block_first, %tiles ], [ %b_next, %block_done ]
  %own_block = phi ptr [ %sums, %tiles ], [ %own_next, %block_done ]
  %row_wanted = mul i64 %b, %rows
  %row = call i64 @llvm.smin.i64(i64 %row_wanted, i64 %row_latest)
  %block_on = mul i64 %b, %block_bytes
  %row_on = mul i64 %row, %row_step
  %a_of_block = select i1 %copied_left, i64 %block_on, i64 %row_on
  %a_on = add i64 %a_of_block, %k_left
  %a = getelementptr i8, ptr %left, i64 %a_on
  %out_row_on = mul i64 %row, %out_row
  %out_line = getelementptr i8, ptr %out, i64 %out_row_on
  br label %tile_of_panel
tile_of_panel:
  %p = phi i64 [ %panel_first, %block ], [ %p_next, %tile_of_panel ]
  %own = phi ptr [ %own_block, %block ], [ %own_on, %tile_of_panel ]
  %fresh = phi ptr [ %panel, %block ], [ %fresh_next, %tile_of_panel ]
  %column_wanted = mul i64 %p, %width
  %column = call i64 @llvm.smin.i64(i64 %column_wanted, i64 %column_latest)
  %column_right = mul i64 %column, %right_column
  %in_place_on = add i64 %column_right, %k_right
  %in_place = getelementptr i8, ptr %right, i64 %in_place_on
  %operand = select i1 %copied, ptr %fresh, ptr %in_place
  %column_bytes = mul i64 %column, %itemsize
  %out_place = getelementptr i8, ptr %out_line, i64 %column_bytes
  %from = select i1 %begins, ptr null, ptr %own
  %to = select i1 %waits, ptr %own, ptr %out_place
  call void %tile(ptr %a, ptr %operand, ptr %from, ptr %to, ptr %told)
  %fresh_next = getelementptr i8, ptr %fresh, i64 %panel_depth
  %own_on = getelementptr i8, ptr %own, i64 %tile_bytes
  %p_next = add i64 %p, 1
  %more_panels = icmp slt i64 %p_next, %panel_end
  br i1 %more_panels, label %tile_of_panel, label %block_done
block_done:
  %own_next = getelementptr i8, ptr %own_block, i64 %own_bytes
  %b_next = add i64 %b, %strip
  %more_blocks = icmp slt i64 %b_next, %block_end
  br i1 %more_blocks, label %block, label %piece_done
piece_done:
  br i1 %goes_on, label %piece, label %finish
finish:
  br i1 %turns, label %turn, label %end
turn:                                                  ; the result lies with its rows side by side
  %turn_function = inttoptr i64 %turned to ptr
  %out_column = word out_column
  %columns = call i64 @llvm.smin.i64(i64 %column_extent, i64 %width)
  %square = alloca %block
  store i64 %itemsize, ptr %square
  %across_at = getelementptr %block, ptr %square, i64 0, i32 1
  store i64 %width_bytes, ptr %across_at
  %count_at = getelementptr %block, ptr %square, i64 0, i32 2
  store i64 %columns, ptr %count_at
  %columns_at = getelementptr %block, ptr %square, i64 0, i32 3
  store i64 %rows, ptr %columns_at
  %after_at = getelementptr %block, ptr %square, i64 0, i32 4
  store i64 %out_column, ptr %after_at
  %written_at = getelementptr %block, ptr %square, i64 0, i32 6
  %side = word turned_mask
  store i64 %side, ptr %written_at
  br label %turn_block
turn_block:
  %tb = phi i64 [ %block_first, %turn ], [ %tb_next, %turn_block_done ]
  %turn_own = phi ptr [ %sums, %turn ], [ %turn_own_next, %turn_block_done ]
  %turn_row_wanted = mul i64 %tb, %rows
  %turn_row = call i64 @llvm.smin.i64(i64 %turn_row_wanted, i64 %row_latest)
  %turn_row_on = mul i64 %turn_row, %out_row
  %turn_line = getelementptr i8, ptr %out, i64 %turn_row_on
  br label %turn_panel
turn_panel:
  %tp = phi i64 [ %panel_first, %turn_block ], [ %tp_next, %turn_panel ]
  %turn_from = phi ptr [ %turn_own, %turn_block ], [ %turn_next, %turn_panel ]
  %turn_column_wanted = mul i64 %tp, %width
  %turn_column = call i64 @llvm.smin.i64(i64 %turn_column_wanted, i64 %column_latest)
  %turn_column_on = mul i64 %turn_column, %out_column
  %turn_to = getelementptr i8, ptr %turn_line, i64 %turn_column_on
  call void %turn_function(ptr %turn_to, ptr %turn_from, ptr %square)
  %turn_next = getelementptr i8, ptr %turn_from, i64 %tile_bytes
  %tp_next = add i64 %tp, 1
  %turn_more = icmp slt i64 %tp_next, %panel_end
  br i1 %turn_more, label %turn_panel, label %turn_block_done
turn_block_done:
  %turn_own_next = getelementptr i8, ptr %turn_own, i64 %own_bytes
  %tb_next = add i64 %tb, 1
  %turn_again = icmp slt i64 %tb_next, %block_end
  br i1 %turn_again, label %turn_block, label %done
end:
  br i1 %used_here, label %use, label %done
use:
  %epilogue_at = inttoptr i64 %epilogue to ptr
  call void %epilogue_at(ptr %args, i64 %item, ptr %sums)
  br label %done
done:
  ret void
}

; Panels of the right operand, from an inner position on.
define internal void @copy_right(ptr %plan, ptr %right, i64 %k_right, i64 %count, i64 %first, i64 %end,
                                 ptr %panel) #0 {
entry:
  %itemsize = word itemsize
  %width = word width
  %column_extent = word column_extent
  %column_over = sub i64 %column_extent, %width
  %latest = call i64 @llvm.smax.i64(i64 %column_over, i64 0)
  %columns = call i64 @llvm.smin.i64(i64 %column_extent, i64 %width)
  %line = mul i64 %width, %itemsize
  %depth = word depth
  %bytes = mul i64 %depth, %line
  %inner_step = word right_inner
  %column_step = word right_column
  %copy_word = word copy_right
  %copy = inttoptr i64 %copy_word to ptr
  %told = alloca %block
  store i64 %inner_step, ptr %told
  %across_at = getelementptr %block, ptr %told, i64 0, i32 1
  store i64 %column_step, ptr %across_at
  %count_at = getelementptr %block, ptr %told, i64 0, i32 2
  store i64 %count, ptr %count_at
  %columns_at = getelementptr %block, ptr %told, i64 0, i32 3
  store i64 %columns, ptr %columns_at
  %after_at = getelementptr %block, ptr %told, i64 0, i32 4
  store i64 %line, ptr %after_at
  %read_at = getelementptr %block, ptr %told, i64 0, i32 5
  %read = word right_mask
  store i64 %read, ptr %read_at
  %written_at = getelementptr %block, ptr %told, i64 0, i32 6
  %written = word right_kept
  store i64 %written, ptr %written_at
  br label %next
next:
  %p = phi i64 [ %first, %entry ], [ %p_next, %next ]
  %to = phi ptr [ %panel, %entry ], [ %to_next, %next ]
  %column_wanted = mul i64 %p, %width
  %column = call i64 @llvm.smin.i64(i64 %column_wanted, i64 %latest)
  %column_on = mul i64 %column, %column_step
  %from_on = add i64 %column_on, %k_right
  %from = getelementptr i8, ptr %right, i64 %from_on
  call void %copy(ptr %to, ptr %from, ptr %told)
  %to_next = getelementptr i8, ptr %to, i64 %bytes
  %p_next = add i64 %p, 1
  %more = icmp slt i64 %p_next, %end
  br i1 %more, label %next, label %done
done:
  ret void
}
"""
