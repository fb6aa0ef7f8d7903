"""A linker for what LLVM makes on Linux for x86-64: object code becomes memory that can be run.

    image = Image([object_code], {"retrograd_parallel": address})
    image.address("loss")

LLVM has a linker of its own, but its library takes longer to be loaded than a small program takes to run: a
process that finds all its code in the cache does without. Other kinds of object code go to LLVM's linker.

In flow the bytes of relocatable ELF files, which may refer to each other, and the addresses of symbols that
the process itself does not offer. The image is one stretch of memory: code and constants, which are then
sealed, and variables after them. Symbols from outside may lie anywhere, and are reached through a table of
addresses: a call by a jump through it, a variable by reading its address there.

After the System V Application Binary Interface, AMD64 Architecture Processor Supplement, version 1.0, section
4.4, and the ELF specification (TIS 1.2), book I. A new kind of relocation is a case in `_relocate`.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retrograd.compiler.record import NamedTuple

_MAGIC = b"\x7fELF\x02\x01\x01"
"""64 bits, little-endian, version 1."""
_RELOCATABLE, _X86_64 = 1, 62
_SYMBOLS, _RELOCATIONS, _ZEROS, _UNWINDING = 2, 4, 8, 0x70000001
"""Types of sections."""
_WRITTEN, _LOADED = 1, 2
"""Flags of sections."""
_ABSOLUTE, _FUNCTION_NEAR, _NEAR, _PLACE_NEAR = 1, 4, 2, (9, 41, 42)
"""R_X86_64_64, _PLT32, _PC32; _GOTPCREL, _GOTPCRELX and _REX_GOTPCRELX."""
_JUMP = b"\xff\x25"
"""jmp [rip + …]"""
_ENTRY = 16
"""Bytes of an entry for a symbol from outside: its address, and a jump to there."""


def takes(object_code: bytes) -> bool:
    """Is this object code, and this process, of the kind that is linked here?"""
    if sys.platform != "linux" or object_code[: len(_MAGIC)] != _MAGIC:
        return False
    kind, machine = struct.unpack_from("<HH", object_code, 16)
    return (kind, machine) == (_RELOCATABLE, _X86_64)


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class _Symbol(NamedTuple):
    name: str
    exported: bool
    section: int
    """Where it is defined; 0 if outside."""
    value: int


class Unlinked(Exception):
    """Why code cannot be linked."""


class Image:
    """Linked code. It lies in memory as long as this object lives.

    Raises Unlinked when the code wants a symbol that nobody offers.
    """

    __slots__ = ("_addresses", "_base", "_image", "_objects", "_places", "_table", "__weakref__")

    def __init__(self, objects: Sequence[bytes], offered: Mapping[str, int]) -> None:
        self._objects = [_Object.of(code) for code in objects]
        outside = self._outside()
        sealed, size = self._lay_out(len(outside))
        self._base = _reserve(size)
        weakref.finalize(self, _release, self._base, size).atexit = False
        self._image = bytearray(size)
        self._addresses = {
            s.name: self._base + self._places[k, s.section] + s.value
            for k, each in enumerate(self._objects)
            for s in each.symbols
            if s.exported and (k, s.section) in self._places
        }
        self._table = {name: k * _ENTRY for k, name in enumerate(outside)}
        for name, at in self._table.items():
            struct.pack_into("<Q2si", self._image, at, offered.get(name) or _offered(name), _JUMP, -14)
        for (number, k), at in self._places.items():
            content = self._objects[number].content(k)
            self._image[at : at + len(content)] = content
        for number, each in enumerate(self._objects):
            for k, section in enumerate(each.sections):
                if section.kind == _RELOCATIONS and (number, section.info) in self._places:
                    self._relocate(number, k, self._places[number, section.info])
        ctypes.memmove(self._base, bytes(self._image), size)
        _seal(self._base, sealed)
        del self._image, self._objects

    def address(self, name: str) -> int:
        """Where the exported function or variable is."""
        if name not in self._addresses:
            raise Unlinked("the object code does not define it")
        return self._addresses[name]

    def _outside(self) -> list[str]:
        """The symbols that none of the files defines."""
        symbols = [s for each in self._objects for s in each.symbols]
        inside = {s.name for s in symbols if s.section and s.exported}
        return list(
            dict.fromkeys(s.name for s in symbols if s.name and not s.section and s.name not in inside)
        )

    def _lay_out(self, outside: int) -> tuple[int, int]:
        """Give each section its place, after the table of what is outside; the bytes that are sealed, and all
        bytes."""
        self._places: dict[tuple[int, int], int] = {}
        at, sealed = _ENTRY * outside, 0
        for written in (False, True):
            for number, each in enumerate(self._objects):
                for k, section in enumerate(each.sections):
                    loaded = section.flags & _LOADED and section.kind != _UNWINDING
                    if loaded and bool(section.flags & _WRITTEN) == written:
                        at = _up(at, section.align)
                        self._places[number, k] = at
                        at += section.size
            at = _up(at, mmap.PAGESIZE)
            sealed = sealed or at
        return sealed, at

    def _relocate(self, number: int, section: int, base: int) -> None:
        """Fill in, in the section that lies at `base`, what depends on where things lie."""
        each, image = self._objects[number], self._image
        for offset, kind, of, addend in struct.iter_unpack("<QIIq", each.content(section)):
            place, symbol = base + offset, each.symbols[of]
            entry = None if symbol.section else self._table.get(symbol.name)
            target = None if entry is not None else self._target(number, symbol)
            if kind == _FUNCTION_NEAR and entry is not None:
                struct.pack_into("<i", image, place, entry + 8 + addend - place)
            elif kind in (_NEAR, _FUNCTION_NEAR) and target is not None:
                struct.pack_into("<i", image, place, target + addend - place)
            elif kind in _PLACE_NEAR and entry is not None:
                struct.pack_into("<i", image, place, entry + addend - place)
            elif kind == _ABSOLUTE and entry is not None:
                (outside,) = struct.unpack_from("<q", image, entry)
                struct.pack_into("<q", image, place, outside + addend)
            elif kind == _ABSOLUTE and target is not None:
                struct.pack_into("<q", image, place, self._base + target + addend)
            else:
                raise Unlinked(f"{symbol.name!r} is wanted by a relocation of kind {kind}")

    def _target(self, number: int, symbol: _Symbol) -> int:
        """Where in the image what a file refers to is: in itself, or in another file."""
        if symbol.section:
            return self._places[number, symbol.section] + symbol.value
        return self._addresses[symbol.name] - self._base


class _Object(NamedTuple):
    """A file."""

    code: bytes
    sections: list[_Section]
    symbols: list[_Symbol]

    @staticmethod
    def of(code: bytes) -> _Object:
        sections = list(_sections(code))
        return _Object(code, sections, list(_symbols(code, sections)))

    def content(self, section: int) -> bytes:
        """The bytes of a section; none where it is all zeros."""
        _, _, offset, size, *_ = found = self.sections[section]
        return b"" if found.kind == _ZEROS else self.code[offset : offset + size]


def _sections(object_code: bytes) -> Iterator[_Section]:
    (start,) = struct.unpack_from("<Q", object_code, 0x28)
    size, count = struct.unpack_from("<HH", object_code, 0x3A)
    for k in range(count):
        _, kind, flags, _, offset, length, link, info, align, _ = struct.unpack_from(
            "<IIQQQQIIQQ", object_code, start + k * size
        )
        yield _Section(kind, flags, offset, length, link, info, align)


def _symbols(object_code: bytes, sections: list[_Section]) -> Iterator[_Symbol]:
    for table in sections:
        if table.kind != _SYMBOLS:
            continue
        names = object_code[sections[table.link].offset :][: sections[table.link].size]
        entries = struct.iter_unpack("<IBBHQQ", object_code[table.offset :][: table.size])
        for name, info, _, section, value, _ in entries:
            text = names[name : names.index(b"\0", name)].decode()
            yield _Symbol(text, info >> 4 != 0, section, value)


def _up(at: int, align: int) -> int:
    return -(-at // max(align, 1)) * max(align, 1)


# ---- memory, and what the process offers -------------------------------------------------------------------


@functools.cache
def _process() -> Any:
    """The functions that this process has loaded."""
    process = ctypes.CDLL(None, use_errno=True)
    process.mmap.restype = ctypes.c_void_p
    process.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    process.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    process.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return process


@functools.cache
def _offered(name: str) -> int:
    try:
        found = ctypes.cast(getattr(_process(), name), ctypes.c_void_p).value
    except AttributeError:
        found = None
    if not found:
        raise Unlinked(f"no library of this process offers {name!r}")
    return found


def _reserve(size: int) -> int:
    """Fresh memory to write to."""
    access, kind = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = _process().mmap(None, size, access, kind, -1, 0)
    if base is None or base == ctypes.c_void_p(-1).value:
        raise MemoryError(f"no memory for {size} bytes of code")
    return int(base)


def _seal(base: int, size: int) -> None:
    """Let memory be run, and no longer be written."""
    if _process().mprotect(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise Unlinked(f"the system does not let memory be run (error {ctypes.get_errno()})")


def _release(base: int, size: int) -> None:
    _process().munmap(base, size)
