"""A device's memory: allocations at addresses that no host pointer has, and who touched what.

`Memory` holds global memory, in which every access must lie within one allocation. `Accesses` remembers, for
each piece of a memory, the last threads that wrote and read it, and objects when two threads touch one piece,
one of them writing, and nothing keeps them apart: a barrier between threads of a block, the end of the launch
between blocks.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ptx_text import Fault

from retrograd.compiler.ir.graph import Array

FIRST_ADDRESS = 0x5_0000_0000_0000
"""Beyond what a processor's programs can address, so that neither side can follow the other's pointers."""
FILL = 0xFF
"""What memory holds that nobody has written: NaN, where numbers are read."""
_GAP = 1 << 16
"""Bytes between allocations that belong to none."""
ALIGNMENT = 16
"""Of allocations, where nothing else is asked for: no more than what kernels may rely on."""


@dataclass(eq=False)
class Allocation:
    """Bytes of a device."""

    address: int
    nbytes: int
    name: str
    storage: Array
    """The bytes, and as many more as make the length a multiple of 16."""


class Memory:
    """The global memory of one device."""

    def __init__(self, first: int = FIRST_ADDRESS, alignment: int = ALIGNMENT) -> None:
        self._next = first + alignment
        self._starts: list[int] = []
        self._allocations: list[Allocation] = []

    def __iter__(self) -> Iterator[Allocation]:
        return iter(self._allocations)

    def allocate(self, nbytes: int, name: str = "memory", fill: int = FILL) -> int:
        """The address of new memory, which holds what nobody should rely on."""
        return self.map(np.full(-(-nbytes // ALIGNMENT) * ALIGNMENT, fill, np.uint8), nbytes, name)

    def map(self, storage: Array, nbytes: int, name: str) -> int:
        """An address for bytes that lie in `storage`."""
        address = self._next
        self._next += -(-max(nbytes, 1) // _GAP) * _GAP + _GAP
        self._starts.append(address)
        self._allocations.append(Allocation(address, nbytes, name, storage))
        return address

    def lend(self, address: int, storage: Array, nbytes: int, name: str) -> None:
        """Bytes that the device reaches at an address of the host's."""
        place = bisect.bisect(self._starts, address)
        self._starts.insert(place, address)
        self._allocations.insert(place, Allocation(address, nbytes, name, storage))

    def free(self, address: int) -> None:
        """Gives back what `allocate` or `map` gave, or was lent; its address is never given again."""
        place = bisect.bisect_left(self._starts, address)
        if place == len(self._starts) or self._starts[place] != address:
            raise Fault(f"{address:#x} is freed, where no allocation begins")
        del self._starts[place], self._allocations[place]

    def find(self, address: int, nbytes: int) -> Allocation:
        """The allocation in which so many bytes lie."""
        place = bisect.bisect_right(self._starts, address) - 1
        found = self._allocations[place] if place >= 0 else None
        if found is None or address + nbytes > found.address + found.nbytes:
            near = f"; {found.name} is {found.nbytes} bytes at {found.address:#x}" if found else ""
            raise Fault(f"{nbytes} bytes at {address:#x} lie in no allocation{near}")
        return found

    def bytes(self, address: int, nbytes: int) -> Array:
        """A view of these bytes."""
        if nbytes == 0:
            return np.empty(0, np.uint8)
        found = self.find(address, nbytes)
        start = address - found.address
        return found.storage[start : start + nbytes]

    def parts(self, addresses: Array, nbytes: int) -> Iterator[tuple[Allocation, Array | slice]]:
        """The allocations in which addresses lie, each with those that lie in it."""
        first = self.find(int(addresses[0]), nbytes)
        low, high = int(addresses.min()), int(addresses.max())
        if first.address <= low and high + nbytes <= first.address + first.nbytes:
            yield first, slice(None)
            return
        places = np.searchsorted(np.array(self._starts, np.uint64), addresses, "right")
        for place in np.unique(places):
            chosen = np.flatnonzero(places == place)
            for address in (int(addresses[chosen].min()), int(addresses[chosen].max())):
                found = self.find(address, nbytes)
            yield found, chosen


# ---- who touched what --------------------------------------------------------------------------------------

_NOBODY, _MANY = -1, -2


@dataclass(eq=False)
class Accesses:
    """The last threads that wrote and read each piece of a memory, and in which epoch of their block: a
    barrier ends one. It begins with no memory, and covers what was touched."""

    piece: int
    """Bytes that are told apart."""
    threads: int
    """Of a block: thread t of the launch is in block t // threads."""
    start: int = 0
    """The first piece of those that the arrays are for."""
    writer: Array = field(default_factory=lambda: np.empty(0, np.int64))
    written: Array = field(default_factory=lambda: np.empty(0, np.int64))
    reader: Array = field(default_factory=lambda: np.empty(0, np.int64))
    """A thread, `_NOBODY`, `_MANY` for threads of several blocks, or −3 − b for several threads of block
    b."""
    read: Array = field(default_factory=lambda: np.empty(0, np.int64))
    constant: Array = field(default_factory=lambda: np.empty(0, np.int64))
    """Read through the cache that knows of no writes: 0, else `_NOBODY`."""

    def cover(self, pieces: Array) -> Array:
        """Makes room for pieces, and gives their places in the arrays."""
        low, high = int(pieces.min()), int(pieces.max()) + 1
        end = self.start + len(self.writer)
        if low < self.start or high > end:
            more = max(len(self.writer), 64)
            start = max(low - more, 0) if low < self.start or not len(self.writer) else self.start
            after = high + more if high > end else end
            for name in ("writer", "written", "reader", "read", "constant"):
                wide, old = np.full(after - start, _NOBODY, np.int64), getattr(self, name)
                wide[self.start - start : self.start - start + len(old)] = old
                setattr(self, name, wide)
            self.start = start
        return pieces - self.start

    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The bytes within which was read, and those within which was written."""
        reads, writes = (self.reader != _NOBODY) | (self.constant != _NOBODY), self.writer != _NOBODY
        first, second = (self._span(np.flatnonzero(which)) for which in (reads, writes))
        return first, second

    def _span(self, places: Array) -> tuple[int, int]:
        if not len(places):
            return 0, 0
        return (int(places[0]) + self.start) * self.piece, (int(places[-1]) + self.start + 1) * self.piece

    def disagrees(self) -> bool:
        """Was something written and read as if nobody would?"""
        return bool(((self.constant != _NOBODY) & (self.writer != _NOBODY)).any())

    def note_constant(self, pieces: Array) -> None:
        """These pieces are read through the cache for what nobody writes."""
        places = self.cover(pieces)
        self.constant[places] = 0

    def note_read(self, pieces: Array, threads: Array, epochs: Array) -> tuple[int, str] | None:
        """Threads read these pieces, in these epochs of their blocks. What is wrong, and with which of
        them."""
        pieces = self.cover(pieces)
        wrong = self._conflict(self.writer[pieces], self.written[pieces], threads, epochs)
        if wrong.any():
            return self._told(wrong, self.writer[pieces], "reads what", "writes")
        known, blocks = self.reader[pieces], threads // self.threads
        several, ours = -3 - blocks, self._block(known) == blocks
        alone = (known == _NOBODY) | (known == threads) | (ours & (self.read[pieces] != epochs))
        merged = np.where(alone, threads, np.where(ours, several, _MANY))
        self.reader[pieces], self.read[pieces] = merged, epochs
        last = self.reader[pieces]
        twice = last != merged
        if twice.any():
            near = twice & (self._block(last) == blocks)
            self.reader[pieces[near]] = several[near]
            self.reader[pieces[twice & ~near]] = _MANY
        return None

    def note_write(self, pieces: Array, threads: Array, epochs: Array) -> tuple[int, str] | None:
        """The same of threads that write."""
        pieces = self.cover(pieces)
        wrong = self._conflict(self.writer[pieces], self.written[pieces], threads, epochs)
        if wrong.any():
            return self._told(wrong, self.writer[pieces], "writes what", "writes too")
        wrong = self._conflict(self.reader[pieces], self.read[pieces], threads, epochs)
        if wrong.any():
            return self._told(wrong, self.reader[pieces], "writes what", "reads")
        self.writer[pieces], self.written[pieces] = threads, epochs
        wrong = self.writer[pieces] != threads
        return self._told(wrong, self.writer[pieces], "writes what", "writes too") if wrong.any() else None

    def _block(self, who: Array) -> Array:
        return np.where(who >= 0, who // self.threads, np.where(who <= -3, -3 - who, _NOBODY))

    def _conflict(self, who: Array, when: Array, threads: Array, epochs: Array) -> Array:
        """Where another thread came by, and nothing keeps the two apart."""
        near = self._block(who) == threads // self.threads
        return (who != _NOBODY) & (who != threads) & (~near | (when == epochs))

    def _told(self, wrong: Array, who: Array, does: str, other: str) -> tuple[int, str]:
        k = int(np.flatnonzero(wrong)[0])
        one = int(who[k])
        if one >= 0:
            name = f"thread {one % self.threads} of block {one // self.threads}"
        else:
            name = "several threads" if one <= -3 else "several blocks"
        return k, f"{does} {name} {other}, and nothing keeps them apart"
