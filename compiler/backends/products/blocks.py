"""Blocks of sums on a processor's tiles (AMX), in the native language.

In flow blocks of two operands, each in three parts (`split.py`), l, m, h of the left one and h, m, l of the
right one; out flows what their products add up to. Four tiles hold sums, two the left operand's part, two the
right one's. Tiles are a thread's own: they are `configure`d before, and `release`d when nothing more follows.

Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18.
"""

from __future__ import annotations

from retrograd.compiler.backends.products.records import Bytes
from retrograd.compiler.backends.products.split import LINES, PART, SIDE, STEP, TILE
from retrograd.compiler.native.language import Array, Byte, Int32, constants, inlined, intrinsic, native

CONFIGURATION = constants(
    Array[Byte], "amx_tiles", *(1, 0), *[0] * 14, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8
)
"""Palette 1; bytes of a line, and lines, of eight tiles."""
_LINE = 64
"""Bytes of a line of a tile, and of the cache."""
_TO_WRITE, _NEAREST, _DATA = 1, 3, 1


@native
def multiply_block(
    a: Bytes, b: Bytes, steps: int, to: Bytes, line: int, tall: int, wide: int, begins: bool
) -> None:
    """A block of rows by one of columns: sums, of which so many rows and columns are wanted, from those that
    are there on unless it begins. The least products come first."""
    below, beside = tall > LINES, wide > LINES
    if begins:
        begin_tiles(to, line)
    else:
        load_tiles(to, line)
    for _ in range(steps):
        take_left(a, below)
        take_right(b, beside)
        add_products(below, beside)  # l · h
        take_left(a + PART, below)
        add_products(below, beside)  # m · h
        take_right(b + PART, beside)
        add_products(below, beside)  # m · m
        take_left(a + 2 * PART, below)
        add_products(below, beside)  # h · m
        take_right(b + 2 * PART, beside)
        add_products(below, beside)  # h · l
        take_right(b, beside)
        add_products(below, beside)  # h · h
        a, b = a + STEP, b + STEP
    store_tile(0, to, line)
    store_tile(1, to + _LINE, line)
    store_tile(2, to + LINES * line, line)
    store_tile(3, to + LINES * line + _LINE, line)


@inlined
def begin_tiles(to: Bytes, line: int) -> None:
    """Sums of nothing; and where they will go, on its way into the cache."""
    for k in range(SIDE):
        prefetch(to + k * line, _TO_WRITE, _NEAREST, _DATA)
        prefetch(to + k * line + _LINE, _TO_WRITE, _NEAREST, _DATA)
    zero_tile(0)
    zero_tile(1)
    zero_tile(2)
    zero_tile(3)


@inlined
def load_tiles(place: Bytes, line: int) -> None:
    """Sums of the pieces before."""
    load_tile(0, place, line)
    load_tile(1, place + _LINE, line)
    load_tile(2, place + LINES * line, line)
    load_tile(3, place + LINES * line + _LINE, line)


@inlined
def take_left(part: Bytes, below: bool) -> None:
    load_tile(4, part, _LINE)
    if below:
        load_tile(5, part + TILE, _LINE)


@inlined
def take_right(part: Bytes, beside: bool) -> None:
    load_tile(6, part, _LINE)
    if beside:
        load_tile(7, part + TILE, _LINE)


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


@intrinsic("llvm.prefetch.p0")
def prefetch(place: Bytes, to_write: Int32, near: Int32, data: Int32) -> None: ...
