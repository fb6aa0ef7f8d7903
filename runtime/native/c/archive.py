"""Static libraries: the archives that linkers read.

In flow the object file and the symbols that it defines for others; out flow bytes, the same ones for the same
code: no time, no owner. The form is that of System V, which GNU's and LLVM's tools read on every system: the
first member, `/`, says which symbols there are and where; Apple's linkers want the BSD one, `__.SYMDEF`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC = b"!<arch>\n"
_HEAD = 60
"""Bytes before a member."""


def archive(member: str, content: bytes, symbols: Sequence[str], *, apple: bool = False) -> bytes:
    """An archive of one object file, of a name of up to 15 characters."""
    names = b"".join(name.encode() + b"\0" for name in symbols)
    if apple:
        names += b"\0" * (-len(names) % 8)
        first, size = "__.SYMDEF", 8 + 8 * len(symbols) + len(names)
    else:
        first, size = "/", 4 + 4 * len(symbols) + len(names)
    place = len(_MAGIC) + _HEAD + _even(size)
    if apple:
        starts = [sum(len(name) + 1 for name in symbols[:k]) for k in range(len(symbols))]
        pairs = [word for start in starts for word in (start, place)]
        index = struct.pack(f"<{len(pairs) + 2}I", 4 * len(pairs), *pairs, len(names)) + names
    else:
        index = struct.pack(f">{len(symbols) + 1}I", len(symbols), *[place] * len(symbols)) + names
    return b"".join([_MAGIC, *_member(first, index), *_member(member if apple else f"{member}/", content)])


def _member(name: str, content: bytes) -> Sequence[bytes]:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(content):<10}`\n"
    return head.encode(), content, b"\n" * (len(content) % 2)


def _even(size: int) -> int:
    return size + size % 2
