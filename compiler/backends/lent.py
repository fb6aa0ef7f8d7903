"""What the library's routines ask of the process around them, in the native language: signatures alone.

In a process of this package, `meeting.py` and `products/rooms.py` provide it; code that is alone has
`alone.py`. So routines are the same in both.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Byte, extern


@extern
def retrograd_room(size: int) -> Array[Byte] | None:
    """So much memory until it is given back; null where there is none."""
    ...


@extern
def retrograd_room_back(room: Array[Byte]) -> None: ...


@extern
def retrograd_part(threads: Callable[[], int] | None) -> int:
    """In which part of large operands threads meet this time (`meeting.py`)."""
    ...
