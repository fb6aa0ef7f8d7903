"""Static libraries: the archives that linkers read.

In flow object files and the symbols that each has for others; out flow bytes, the same ones for the same
code: no time, no owner. The form is that of System V, which GNU's, LLVM's and Microsoft's tools read: the
first member, `/`, says which symbols there are and where. Apple's linker wants that of BSD, whose first
one is `__.SYMDEF`, and in which names stand before contents.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from retrograd.compiler.backends.joining import Member

_MAGIC = b"!<arch>\n"
_HEAD = 60
"""Bytes before a member."""
_EVEN, _WORD = 2, 8
"""What members begin at multiples of: here, and on Apple's systems their contents."""


def archive(members: Sequence[Member], *, apple: bool = False) -> bytes:
    """An archive of these members, which it numbers."""
    index, file = (_bsd, _bsd_file) if apple else (_system_v, _system_v_file)
    name, places = "__.SYMDEF" if apple else "", [0] * len(members)
    written = b""
    for _ in range(2):  # the index is as long, wherever members are
        written = _MAGIC + file(name, index(members, places), len(_MAGIC))
        places = []
        for k, member in enumerate(members):
            places.append(len(written))
            written += file(f"{k}.o", member.code, len(written))
    return written


def _symbols(members: Sequence[Member], places: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    """Each symbol, and the place of its member."""
    for member, place in zip(members, places, strict=True):
        yield from ((symbol.encode() + b"\0", place) for symbol in member.symbols)


def _system_v(members: Sequence[Member], places: Sequence[int]) -> bytes:
    names, starts = zip(*_symbols(members, places), strict=True)
    return struct.pack(f">{len(starts) + 1}I", len(starts), *starts) + b"".join(names)


def _bsd(members: Sequence[Member], places: Sequence[int]) -> bytes:
    """Pairs of where the name begins, and the member; with the underscore that Apple's names have."""
    names, words = b"", list[int]()
    for symbol, place in _symbols(members, places):
        words += (len(names), place)
        names += b"_" + symbol
    names = _padded(names, _WORD, b"\0")
    return struct.pack(f"<{len(words) + 2}I", 4 * len(words), *words, len(names)) + names


def _system_v_file(name: str, content: bytes, at: int) -> bytes:
    return _padded(_head(f"{name}/", len(content)) + content, _EVEN, b"\n")


def _bsd_file(name: str, content: bytes, at: int) -> bytes:
    """The name is as long as lets the content begin with a word."""
    before = name.encode() + b"\0" * (-(at + _HEAD + len(name)) % _WORD)
    content = before + _padded(content, _WORD, b"\n")
    return _head(f"#1/{len(before)}", len(content)) + content


def _head(name: str, size: int) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode()


def _padded(content: bytes, multiple: int, by: bytes) -> bytes:
    return content + by * (-len(content) % multiple)
