"""The routines of the library, as LLVM text: what compiled programs call rather than contain.

    retrograd_huge_angle_f32, retrograd_huge_quotient_f32     what `math/aside.py` puts right in seldom cases
    retrograd_row_exp_f32x16_2   an elementary function of 2 vectors in registers   (`math/called.py`)
    retrograd_script             runs a program that is nothing but products
    retrograd_product            one product, cut into items that threads share   (both in `products/walk.py`)
    retrograd_amx                one product on tiles of bfloat16, if it can be   (`products/amx.py`)
    retrograd_windows            the same of a product with windows   (`products/windows.py`)
    retrograd_tile_f32x16_6x4    tiles of 6 rows × 4 vectors of 16 float32; `_far`: the right operand is
                                 fetched ahead; `_new`: where it writes, too; `_edge`: the last
                                 vector masked
    retrograd_dots_f32x16_8      8 rows by a column, in vectors along the inner axis
    retrograd_copy_f32x16_4, retrograd_turn_f32x16, retrograd_pick_f32x16
                                 a block of an operand copied: by rows, turned, or element by element
    retrograd_flip_f32x16        a tile written with rows and columns exchanged   (all in `products/tiles.py`)
    retrograd_strips             runs a program that is nothing but strips: long rows summed, scaled, …
                                 (`strips/walk.py`)
    retrograd_strip_f32x64_scale a form of strips, in so many lanes   (`strips/forms.py`)

Programs refer to them by name alone. Each is compiled once on a machine, when the first program that calls it
is loaded, and kept in the cache (`runtime.native.cpu`, which knows their names in object code). A new routine
is a row of `_ROUTINES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from retrograd.compiler.backends import alone, meeting
from retrograd.compiler.backends.math import called
from retrograd.compiler.backends.math.aside import amending
from retrograd.compiler.backends.products import amx, rooms, tiles, walk, windows
from retrograd.compiler.backends.strips import forms
from retrograd.compiler.backends.strips.walk import retrograd_strips
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native.lowering import text
from retrograd.compiler.record import NamedTuple


class Lent(NamedTuple):
    """What there is of what routines ask for (`lent.py`)."""

    rooms: tuple[Callable[..., Any], ...] = (rooms.borrow, rooms.give_back)
    part: Callable[..., Any] = meeting.next_part


PROCESS = Lent()
ALONE = Lent((alone.no_room, alone.no_room_back), alone.no_part)


def routine(name: str, bits: int, lent: Lent = PROCESS) -> str:
    """The module of a routine, for vector registers of so many bits."""
    for pattern, written in _ROUTINES:
        found = re.fullmatch(pattern, name)
        if found:
            width = f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'
            return f"{written(found, bits, lent)}\nattributes #0 = {{ nounwind {width} }}\n"
    raise CompilerError(f"a routine called {name}", "the library has none")


def is_routine(name: str) -> bool:
    """Whether the library has it."""
    return any(re.fullmatch(pattern, name) for pattern, _ in _ROUTINES)


_PRODUCTS = (walk.retrograd_product, walk.retrograd_script)
_OF = r"_(?P<kind>f32|f64)x(?P<lanes>\d+)"
_ROUTINES: tuple[tuple[str, Callable[[re.Match[str], int, Lent], str]], ...] = (
    (
        r"retrograd_(?P<name>huge_\w+)_(?P<kind>f32|f64)",
        lambda found, *_: amending(found["name"], found["kind"]),
    ),
    (
        rf"retrograd_row_(?P<rows>[a-z0-9_]+?){_OF}_(?P<vectors>\d+)",
        lambda found, bits, _: called.routine(found, bits),
    ),
    (
        "retrograd_product|retrograd_script",
        lambda _, bits, lent: text([*_PRODUCTS, *lent.rooms, lent.part], {}),
    ),
    ("retrograd_amx", lambda *_: text([amx.retrograd_amx], {})),
    ("retrograd_windows", lambda *_: text([windows.retrograd_windows], {})),
    (
        rf"retrograd_tile{_OF}_(?P<rows>\d+)x(?P<vectors>\d+)(?P<far>_far)?(?P<new>_new)?(?P<edge>_edge)?",
        lambda found, *_: tiles.tile(found),
    ),
    (rf"retrograd_dots{_OF}_(?P<rows>\d+)(?P<met>_met)?", lambda found, *_: tiles.dots(found)),
    (rf"retrograd_copy{_OF}_(?P<vectors>\d+)", lambda found, *_: tiles.copy(found)),
    (rf"retrograd_turn{_OF}", lambda found, *_: tiles.turn(found)),
    (rf"retrograd_flip{_OF}", lambda found, *_: tiles.flip(found)),
    (rf"retrograd_pick{_OF}", lambda found, *_: tiles.pick(found)),
    ("retrograd_strips", lambda _, bits, lent: text([retrograd_strips, lent.part], {})),
    (
        rf"retrograd_strip{_OF}_(?P<form>{'|'.join(forms.FORMS)})",
        lambda found, bits, _: forms.strip(found, bits),
    ),
)
"""Names of routines, and what writes them, given the bits of vector registers and what is lent."""
