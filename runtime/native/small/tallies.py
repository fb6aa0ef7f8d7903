"""Native callables of tallies: what is found in arrays, of which their elements tell how much it is.

In flow a `Listing`, the words of a kernel of `counting.py` for arguments of certain dtypes; out flows a
function of arrays, or None where there is no kernel for such elements. A list of results comes from several,
an array from one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from math import prod
from typing import Any

from retrograd.compiler.dtypes import DType
from retrograd.compiler.record import record
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.copies import MOST_AXES
from retrograd.runtime.native.small.counting import MOST_FOUND
from retrograd.runtime.native.small.steps import SCRATCH, native
from retrograd.runtime.native.small.tallying import AS_FIRST, AS_KNOWN, HEAD_WORDS

Compute = Callable[..., Any]

_ROOM = 8 * MOST_FOUND
"""Bytes."""


@record
class Result:
    """What lies in a room, as a result: a vector of as much as is found, if nothing is said of its shape."""

    room: int
    dtype: DType
    shape: Sequence[int] | None = None
    found: int | None = None
    """The axis of that shape which is as long as what is found is much."""
    like_first: bool = False
    """Of the shape of the first argument."""

    @property
    def words(self) -> list[int]:
        shape, axis = ((0,), 0) if self.shape is None else (self.shape, self.found)
        how = AS_FIRST if self.like_first else AS_KNOWN if axis is None else axis
        axes = [len(shape), *shape, *[0] * (MOST_AXES - len(shape))]
        return [id(self.dtype.numpy), self.room, how, *axes]


@record
class Listing:
    """A kernel by its name in `kernels.py`, its options, and what becomes of its rooms."""

    kernel: str
    results: Sequence[Result]
    options: Sequence[int | float] = ()
    rooms: int = 1
    alone: bool = True
    """Whether the only result is given itself, and not in a list."""


def function_of(listing: Listing, dtypes: Sequence[DType], slow: Compute) -> Compute | None:
    """The tally of arguments of these dtypes; `slow` does the same for any."""
    if layout() is None or listing.rooms * _ROOM > SCRATCH.nbytes or _is_much(listing):
        return None
    kernel = kernels.of_tally(listing.kernel, dtypes[0], dtypes[-1])
    if kernel is None:
        return None
    rooms = [SCRATCH.ctypes.data + k * _ROOM for k in range(listing.rooms)]
    outputs = [word for result in listing.results for word in result.words]
    places = [] if listing.alone else [*range(len(listing.results))]
    places_at = HEAD_WORDS + len(dtypes)
    rooms_at = places_at + len(places)
    outputs_at = rooms_at + len(rooms)
    head = [len(dtypes), len(listing.results), len(places), places_at, kernel, MOST_FOUND]
    head += [rooms_at, outputs_at, outputs_at + len(outputs)]
    options = map(_word, listing.options)
    words = chain(head, [id(dtype.numpy) for dtype in dtypes], places, rooms, outputs, options)
    return native("retrograd_tally", [*words], slow, listing)


def _is_much(listing: Listing) -> bool:
    return any(len(r.shape) > MOST_AXES or prod(r.shape) > MOST_FOUND for r in listing.results if r.shape)


def _word(option: int | float) -> int:
    if isinstance(option, float):
        (option,) = struct.unpack("<q", struct.pack("<d", option))
    return int(option)
