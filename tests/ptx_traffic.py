"""What a launch asks of a GPU's memory, counted while the PTX machine runs it.

`Traffic` adds up the bytes that threads read and write in global memory, the sectors of 32 bytes that each
warp touches for them, and how often shared memory must be asked again since two words lie in one bank (CUDA
C++ Programming Guide, "Device Memory Accesses" and "Shared Memory"). A warp asks shared memory for 128 bytes
at once: all lanes for words, half of them for pairs, a quarter for 16 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from retrograd.compiler.ir.graph import Array

SECTOR, BANKS, WORD, WARP = 32, 32, 4, 32


@dataclass
class Traffic:
    """Sums over all launches that it was given to."""

    read: int = 0
    """Bytes of global memory."""
    written: int = 0
    sectors: int = 0
    """Of 32 bytes of global memory, for reads and writes of each warp."""
    widths: set[int] = field(default_factory=set)
    """How many bytes of global memory a thread touches at once."""
    shared: int = 0
    """How often shared memory is asked, if no two words are in one bank."""
    conflicts: int = 0
    """How often more."""

    def note(self, space: str, nbytes: int, warps: Array, lanes: Array, at: Array, writes: bool) -> None:
        """Threads, by warp and lane, touch `nbytes` at these addresses."""
        if space == "global":
            self._global(nbytes, warps, at, writes)
        elif space == "shared":
            self._shared(nbytes, warps, lanes, at)

    def _global(self, nbytes: int, warps: Array, at: Array, writes: bool) -> None:
        if writes:
            self.written += nbytes * len(at)
        else:
            self.read += nbytes * len(at)
        self.widths.add(nbytes)
        self.sectors += len(np.unique(np.stack((warps, at // SECTOR)), axis=1)[0])

    def _shared(self, nbytes: int, warps: Array, lanes: Array, at: Array) -> None:
        together = BANKS * WORD // max(nbytes, WORD)
        phases = warps * WARP + lanes // together
        words = at[:, None] // WORD + np.arange(-(-nbytes // WORD))
        pairs = np.stack((np.repeat(phases, words.shape[1]), words.reshape(-1)))
        asked, word = np.unique(pairs, axis=1)
        times = np.unique(np.stack((asked, word % BANKS)), axis=1, return_counts=True)
        most: dict[int, int] = {}
        for phase, count in zip(times[0][0].tolist(), times[1].tolist()):
            most[phase] = max(most.get(phase, 0), count)
        self.shared += len(most)
        self.conflicts += sum(most.values()) - len(most)
