"""What the library's routines for products are told: records of words, in memory as their fields follow.

A product is cut into *items*, which threads share: some blocks of rows of some panels of columns of one
product of a batch. `plans.py` writes a `Plan` for each product; the routines (`walk.py`, `panels.py`) tell
tiles and copies (`tiles.py`) what to do by a `Tile` and a `Block`. A word more is a field more.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Byte, Inline, Record

DEEP = 16
"""Inner positions of a narrow block that are copied together: few, so that what lies beside it in memory is
still in the cache when the next block is copied."""

Bytes = Array[Byte]


class Tile(Record):
    """Tiles below each other. Distances are bytes."""

    row: int
    """From a row of the left operand to the next."""
    inner: int
    """From an inner position of the left operand to the next."""
    down: int
    """The same of the right one."""
    before: int
    """From a row of what a tile begins with to the next."""
    after: int
    """From a row of what it writes to the next."""
    count: int
    """Inner positions."""
    mask: int
    """Which lanes of the last vector are there, as bits."""
    blocks: int
    """Tiles."""
    left_on: int
    """From a tile to the next in the left operand."""
    left_back: int
    """So many fewer to the last."""
    from_on: int
    """From a tile to the next in what they begin with."""
    to_on: int
    """And in what they write."""
    to_back: int
    """So many fewer to the last."""
    ahead: int
    """From the left operand to what is fetched meanwhile into the cache."""
    ahead_on: int
    """So much of it for each inner position: nothing more, if 0."""
    ahead_down: int
    """From what the first tile fetches to what the next one does."""


class Block(Record):
    """A block that is copied. Distances are bytes."""

    down: int
    """From an inner position to the next."""
    across: int
    """From a column to the next."""
    count: int
    """Inner positions."""
    columns: int
    after: int
    """From a row of the copy to the next."""
    read: int
    """Which lanes after the whole vectors of a row are read, as bits."""
    written: int
    """Which of them are written."""


class Job(Record):
    """A product on its way."""

    plan: Plan
    args: Array[Bytes]
    """The program's pointers."""
    left: Bytes
    right: Bytes
    out: Bytes
    panels: Bytes
    """Where the left operand is copied."""
    part: int
    """Where threads meet this time (`meeting.py`)."""


class Item(Record):
    """A part of a product: some blocks of rows of some panels of columns."""

    plan: Plan
    batch: int
    """Which product of the batch."""
    left: Bytes
    """The left operand of the product, as it lies or as it is copied."""
    row: int
    """Bytes from a row of it to the next."""
    inner: int
    """From an inner position to the next."""
    left_on: int
    """From a block to the next."""
    right: Bytes
    out: Bytes
    block: int
    """The first one."""
    end_block: int
    part: int
    """Where its thread meets another one."""
    panel: int
    """The first one."""
    end_panel: int
    panels: Bytes
    """Copied ones."""
    sums: Bytes
    """What waits."""


Work = Callable[[Job, int], None]
"""A task, by its number."""
Sharing = Callable[[Work, Job, int], None]
"""So many tasks on threads."""
Multiplying = Callable[[Bytes, Bytes, Bytes | None, Bytes, Tile], None]
"""A tile: left and right operand, what it begins with, where it goes."""
Copying = Callable[[Bytes, Bytes, Block], None]
"""A block's copy, and the block."""
Following = Callable[[Array[Bytes], int, int, int, Bytes], None]
"""What is done with the sums of a tile: the program's pointers; which product of the batch, the row and the
column with which the tile begins; its sums."""
Splitting = Callable[[Job], int]
"""Another way to compute a product, for operands that it takes: 1 if all is done, 0 if nothing is."""


class Plan(Record):
    """How a product is gone through. Distances are bytes; of functions, all but the tile may be missing."""

    parallel: Sharing | None
    """What spreads tasks over threads."""
    tile: Multiplying
    copy_left: Copying | None
    copy_right: Copying | None
    epilogue: Following | None
    tasks: int
    share: int
    """Items of a task."""
    items: int
    """They count through chunks of blocks, and through groups of panels; chunks first, unless `rowwise`."""
    chunks: int
    groups: int
    rowwise: int
    blocks: int
    size: int
    """Blocks of a chunk."""
    rows: int
    """Rows of a block."""
    row_extent: int
    column_panels: int
    beside: int
    """Panels of a group."""
    width: int
    """Columns of a panel."""
    column_extent: int
    inner_extent: int
    depth: int
    """Inner positions of a piece of that axis."""
    itemsize: int
    line: int
    """From a row of sums that wait to the next: of a tile, or of a whole product (`amx.py`)."""
    first_row: int
    """Of the whole product, if these are but some rows and columns of it."""
    first_column: int
    mask: int
    """The lanes of a panel's last vector."""
    left_row: int
    """From a row of the left operand to the next, and so on."""
    left_inner: int
    left_batch: int
    right_inner: int
    right_column: int
    right_batch: int
    turned: Copying | None
    """What writes a tile whose result lies with its rows side by side."""
    turned_mask: int
    out_row: int
    out_column: int
    out_batch: int
    panel_bytes: int
    """Of the copied panels of an item."""
    sums_bytes: int
    """Of an item's sums that wait."""
    left_tasks: int
    """Tasks of copying the left operand."""
    left_parallel: Sharing | None
    left_groups: int
    left_beside: int
    """Blocks of such a task."""
    left_pieces: int
    """Tasks that follow each other along the inner axis."""
    left_deep: int
    """Inner positions of such a task."""
    left_mask: int
    """What is read of the last vector of a copied block's row."""
    right_mask: int
    right_kept: int
    """What is written of that of a copied panel's."""
    split: Splitting | None
    """What computes the product from parts of operands, on tiles that the processor has (`amx.py`)."""
    threads: Callable[[], int] | None
    """How many there are, if it may be shared among them or they should meet."""
    meets: int
    """From rows of the left operand to those that another thread reads meanwhile: half of all tasks on. 0 if
    they need not meet there."""
    squares: Copying | None
    """What turns operands for it by squares."""
    singles: Copying | None
    """What turns less than a square."""
    simple: int
    """Is nothing copied, does nothing wait, and is an item a whole panel? Then all that tiles are told is
    known."""
    told: Inline[Tile]
    """What they are told."""


class ScriptStep(Record):
    """A product of a script. Of each operand there is which of the program's pointers it belongs to, and the
    bytes from there."""

    plan: int
    """Bytes from the script's beginning to that."""
    left: int
    left_bytes: int
    right: int
    right_bytes: int
    out: int
    out_bytes: int
    panels: int
    panels_bytes: int


class Windows(Record):
    """How a product with windows is done. Distances are bytes; lines and places of the image are counted from
    the first that a window reaches, whether or not it is there."""

    parallel: Sharing | None
    """What spreads tasks, if anything does."""
    tasks: int
    """For each image its bands, and for each of these its chunks of rows."""
    bands: int
    chunks: int
    band: int
    """Lines of the output of a band, and blocks of rows of a chunk."""
    chunk: int
    batches: int
    images: int
    """Of a product of the batch."""
    rows: int
    channels: int
    lines: int
    """Of the output, of so many places."""
    width: int
    taps: int
    left_batch: int
    left_row: int
    left_channel: int
    right_batch: int
    right_image: int
    right_channel: int
    right_line: int
    right_place: int
    out_batch: int
    out_image: int
    out_row: int
    out_line: int
    top: int
    """The lines that are there, and the places of them."""
    bottom: int
    first: int
    last: int
    down: int
    """Lines, and places, of the image from one of the output to the next."""
    across: int
    plane_lines: int
    """Of the parts: lines of a plane, from one to the next, and from planes of a channel to those of the
    next."""
    plane_line: int
    deep: int
    along: int
    """Tiles of a line of the output; 0 if they go on from line to line."""
    parts_bytes: int
    """Of a task's image."""
    sums_row: int
    """From a row of sums that wait to the next."""
    sums_bytes: int
    epilogue: Following | None
    """What does the rest with the sums of a block of rows, from a place of the output on."""
    table: Inline[int]
    """Of each tap: how far it is in the weights, and in the image's parts."""


PLAN, TILE, BLOCK, STEP, WINDOWS = (
    tuple(record.__annotations__) for record in (Plan, Tile, Block, ScriptStep, Windows)
)
"""The words' names."""
