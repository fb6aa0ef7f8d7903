"""Blocks of sums on a processor's tiles (AMX), in the native language.

In flow blocks of two operands, each in three parts (`split.py`), l, m, h of the left one and h, m, l of the
right one; out flows what their products add up to. Four tiles hold sums, two the left operand's part, two the
right one's. Tiles are a thread's own: they are `configure`d before, and `release`d when nothing more follows.

Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.backends.products.records import Bytes
from retrograd.compiler.backends.products.split import LINES, PART, TILE, Lanes
from retrograd.compiler.native.language import (
    Array,
    Byte,
    Float32,
    constants,
    inlined,
    inside,
    intrinsic,
    put,
    take,
)

CONFIGURATION = constants(
    Array[Byte], "amx_tiles", *(1, 0), *[0] * 14, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8
)
"""Palette 1; bytes of a line, and lines, of eight tiles."""
TILE_LINE = 64
"""Bytes of a line of a tile, and of the cache."""
_HALVES = (0, LINES)
"""Columns where the vectors of a block begin."""


@inlined
def add_step(
    a: Bytes,
    b: Bytes,
    line: int,
    second: int,
    part: int,
    below: bool,
    beside: bool,
    meanwhile: Callable[[int], None],
) -> None:
    """The products of a step of the inner axis, in so many parts: what else is to be done after each of them
    is told its number. The right operand's tiles have lines that are so far apart, the second one follows the
    first so many bytes on, and a part the part before it."""
    take_left(a, below)
    take_right(b, line, second, beside)
    add_products(below, beside)  # l · h
    meanwhile(0)
    take_left(a + PART, below)
    add_products(below, beside)  # m · h
    meanwhile(1)
    take_right(b + part, line, second, beside)
    add_products(below, beside)  # m · m
    meanwhile(2)
    take_left(a + 2 * PART, below)
    add_products(below, beside)  # h · m
    meanwhile(3)
    take_right(b + 2 * part, line, second, beside)
    add_products(below, beside)  # h · l
    meanwhile(4)
    take_right(b, line, second, beside)
    add_products(below, beside)  # h · h
    meanwhile(5)


@inlined
def zero_tiles() -> None:
    zero_tile(0)
    zero_tile(1)
    zero_tile(2)
    zero_tile(3)


@inlined
def load_tiles(place: Bytes, line: int) -> None:
    """Sums of the pieces before."""
    load_tile(0, place, line)
    load_tile(1, place + TILE_LINE, line)
    load_tile(2, place + LINES * line, line)
    load_tile(3, place + LINES * line + TILE_LINE, line)


@inlined
def copy_part(to: Bytes, source: Bytes, count: int) -> None:
    """So many elements, two vectors at most."""
    for at in _HALVES:
        there, whence = inside(Array[Float32], to, 4 * at), inside(Array[Float32], source, 4 * at)
        put(there, take(Lanes, whence, count - at, 0.0), count - at)


@inlined
def store_tiles(to: Bytes, line: int) -> None:
    store_first(to, line)
    store_second(to + TILE_LINE, line)


@inlined
def store_first(to: Bytes, line: int) -> None:
    """The tiles of the first columns."""
    store_tile(0, to, line)
    store_tile(2, to + LINES * line, line)


@inlined
def store_second(to: Bytes, line: int) -> None:
    """And of the others."""
    store_tile(1, to, line)
    store_tile(3, to + LINES * line, line)


@inlined
def take_left(part: Bytes, below: bool) -> None:
    load_tile(4, part, TILE_LINE)
    if below:
        load_tile(5, part + TILE, TILE_LINE)


@inlined
def take_right(part: Bytes, line: int, second: int, beside: bool) -> None:
    load_tile(6, part, line)
    if beside:
        load_tile(7, part + second, line)


@inlined
def add_products(below: bool, beside: bool) -> None:
    """The parts at hand, multiplied."""
    add_product(0, 4, 6)
    if beside:
        add_product(1, 4, 7)
    if below:
        add_product(2, 5, 6)
        if beside:
            add_product(3, 5, 7)


# ---- instructions ------------------------------------------------------------------------------------------
@intrinsic("llvm.x86.ldtilecfg")
def configure(what: Array[Byte]) -> None: ...


@intrinsic("llvm.x86.tilerelease")
def release() -> None: ...


@intrinsic("llvm.x86.tilezero")
def zero_tile(tile: Byte) -> None: ...


@intrinsic("llvm.x86.tileloadd64")
def load_tile(tile: Byte, place: Bytes, line: int) -> None: ...


@intrinsic("llvm.x86.tilestored64")
def store_tile(tile: Byte, place: Bytes, line: int) -> None: ...


@intrinsic("llvm.x86.tdpbf16ps")
def add_product(sums: Byte, left: Byte, right: Byte) -> None: ...
