"""What the library's routines ask of the process around them, in the native language: signatures alone.

    retrograd_room         so much memory until it is given back; null where there is none
    retrograd_room_back    it is given back
    retrograd_part         in which part of large operands threads meet this time

In a process of this package `products/rooms.py` and `meeting.py` provide it; code that is alone has
`alone.py`. So routines are the same in both.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Byte, extern


@extern
def retrograd_room(size: int) -> Array[Byte] | None: ...


@extern
def retrograd_room_back(room: Array[Byte]) -> None: ...


@extern
def retrograd_part(threads: Callable[[], int] | None) -> int: ...
