"""A program without code of its own: which routine of the library runs it, and the words that tell it how.

A word is a number, or the name of a routine whose address it becomes where the program is loaded
(`runtime.native.cpu.ScriptLibrary`). Where words refer to each other, they count bytes from the first one.
"""

from __future__ import annotations

from retrograd.compiler.record import NamedTuple

Word = int | str


class Script(NamedTuple):
    """The routine takes the program's pointers and the address of the words."""

    routine: str
    words: tuple[Word, ...]
