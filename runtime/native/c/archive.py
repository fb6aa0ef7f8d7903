"""Static libraries: the archives that linkers read.

In flow object files and the symbols that each has for others; out flow bytes, the same ones for the same
code: no time, no owner. The form is that of System V, which GNU's, LLVM's and Microsoft's tools read: the
first member, `/`, says which symbols there are and where. Apple's linker wants that of BSD, `__.SYMDEF`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from retrograd.compiler.backends.joining import Member

_MAGIC = b"!<arch>\n"
_HEAD = 60
"""Bytes before a member."""


def archive(members: Sequence[Member], *, apple: bool = False) -> bytes:
    """An archive of these members, which it numbers."""
    index = _bsd if apple else _system_v
    size = len(index(members, [0] * len(members)))
    places, at = [], len(_MAGIC) + _HEAD + size
    for member in members:
        places.append(at)
        at += _HEAD + _even(len(member.code))
    end = "" if apple else "/"
    files = [_file(f"{k}.o{end}", member.code) for k, member in enumerate(members)]
    return b"".join([_MAGIC, _file("__.SYMDEF" if apple else "/", index(members, places)), *files])


def _symbols(members: Sequence[Member], places: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    """Each symbol, and the place of its member."""
    for member, place in zip(members, places, strict=True):
        yield from ((symbol.encode() + b"\0", place) for symbol in member.symbols)


def _system_v(members: Sequence[Member], places: Sequence[int]) -> bytes:
    names, starts = zip(*_symbols(members, places), strict=True)
    return _padded(struct.pack(f">{len(starts) + 1}I", len(starts), *starts) + b"".join(names), 2)


def _bsd(members: Sequence[Member], places: Sequence[int]) -> bytes:
    """Pairs of where the name begins, and the member; with the underscore that Apple's names have."""
    names, words = b"", list[int]()
    for symbol, place in _symbols(members, places):
        words += (len(names), place)
        names += b"_" + symbol
    names = _padded(names, 8)
    return struct.pack(f"<{len(words) + 2}I", 4 * len(words), *words, len(names)) + names


def _file(name: str, content: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(content):<10}`\n"
    return head.encode() + _padded(content, 2, b"\n")


def _padded(content: bytes, multiple: int, by: bytes = b"\0") -> bytes:
    return content + by * (-len(content) % multiple)


def _even(size: int) -> int:
    return size + size % 2
