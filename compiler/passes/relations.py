"""Sets of numbers for the elements of a value: what each of them depends on.

A `Relation` is an array of *places*, of the value's shape, which number sets of `Rows`; elements may share a
set, and set 0 is empty. Everything is done for all elements at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple, record

_SHARED = 8
"""Equal unions are looked for where telling each one would take so many times what is there."""


@record(eq=False)
class Rows:
    """Sets of numbers below `width`: those of set k are `members[starts[k] : starts[k + 1]]`, ascending. As
    rows of a matrix: where its elements are."""

    starts: Array
    members: Array
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> Array:
        return np.diff(self.starts)

    @property
    def longest(self) -> int:
        """How many members a set has at most."""
        return int(self.lengths.max(initial=0))

    @property
    def numbers(self) -> Array:
        """The number of each member's set."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def taken(self, which: Array) -> Array:
        """The members of these sets, one set's after the other's."""
        lengths = self.lengths[which]
        ends = np.cumsum(lengths)
        first = np.repeat(self.starts[which] - ends + lengths, lengths)
        first += np.arange(len(first))
        found: Array = self.members[first]
        return found

    def chosen(self, kept: Array) -> Rows:
        """The same sets with some members only: of each a truth value."""
        return rows_of(self.numbers[kept], self.members[kept], len(self), self.width)

    def turned(self) -> Rows:
        """The sets in which each number is: the transpose."""
        return gathered(self.members, self.numbers, self.width, len(self))


def rows_of(numbers: Array, members: Array, count: int, width: int) -> Rows:
    """`count` sets, from members in order, each beside the number of its set."""
    ends = np.cumsum(np.bincount(numbers, minlength=count))
    return Rows(np.concatenate([[0], ends]).astype(np.int64), np.ascontiguousarray(members), width)


def gathered(numbers: Array, members: Array, count: int, width: int) -> Rows:
    """The same from members in any order, and several times."""
    keys = numbers * width + members
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    return rows_of(*np.divmod(keys, max(width, 1)), count, width)


class Relation(NamedTuple):
    """What the elements of a value depend on."""

    places: Array
    sets: Rows

    def at(self, places: Array) -> Relation:
        return Relation(places, self.sets)

    def spread(self, shape: Sequence[int]) -> Relation:
        """Of the value broadcast to a shape."""
        return self.at(np.broadcast_to(self.places, tuple(shape)))

    def told(self) -> Rows:
        """The set of each element, in order."""
        which = self.places.ravel()
        starts = np.concatenate([[0], np.cumsum(self.sets.lengths[which])])
        return Rows(starts, self.sets.taken(which), self.sets.width)

    def over(self, axes: Sequence[int]) -> Relation:
        """The unions along some axes, which vanish."""
        kept = [k for k in range(self.places.ndim) if k not in axes]
        shape = [self.places.shape[k] for k in kept]
        length = prod(self.places.shape[k] for k in axes)
        return union(self.places.transpose([*kept, *axes]).reshape([*shape, length]), self.sets)


def singles(shape: Sequence[int]) -> Relation:
    """Each element of a value depends on itself."""
    size = prod(shape)
    starts = np.concatenate([[0], np.arange(size + 1)])
    return Relation(np.arange(1, size + 1).reshape(tuple(shape)), Rows(starts, np.arange(size), size))


def united(numbers: Array, places: Array, count: int, sets: Rows) -> Rows:
    """`count` unions, after an empty set: of the sets whose places stand beside the union's number."""
    each = np.repeat(numbers + 1, sets.lengths[places])
    return gathered(each, sets.taken(places), count + 1, sets.width)


def union(places: Array, sets: Rows) -> Relation:
    """The unions along the last axis."""
    shape, length = places.shape[:-1], places.shape[-1]
    if not places.size:
        return Relation(np.zeros(shape, np.int64), sets)
    if length == 1 or (places == places[..., :1]).all():
        return Relation(places[..., 0], sets)
    table, back = places.reshape(-1, length), np.arange(prod(shape))
    if sets.lengths[table].sum() > _SHARED * (table.size + len(sets.members)):
        table, back = _distinct(table)
    numbers = np.repeat(np.arange(len(table)), length)
    return Relation((back + 1).reshape(shape), united(numbers, table.ravel(), len(table), sets))


def _distinct(table: Array) -> tuple[Array, Array]:
    """The different rows of a table, and which of them each of its rows is."""
    weights = np.random.default_rng(0).integers(1, 1 << 62, table.shape[1], np.uint64)
    mixed = (table.astype(np.uint64) * weights).sum(1, dtype=np.uint64)
    _, first, back = np.unique(mixed, return_index=True, return_inverse=True)
    if (table[first][back] == table).all():
        return table[first], back
    rows, back = np.unique(table, axis=0, return_inverse=True)
    return rows, back.reshape(-1)


def pooled(given: Sequence[Relation]) -> tuple[list[Array], Rows]:
    """The places of all of them among the sets of all."""
    pools = list({id(x.sets): x.sets for x in given}.values())
    if len(pools) == 1:
        return [x.places for x in given], pools[0]
    starts = np.cumsum([0, *map(len, pools)])
    first = {id(sets): start for sets, start in zip(pools, starts)}
    ends = np.cumsum(np.concatenate([sets.lengths for sets in pools]))
    members = np.concatenate([sets.members for sets in pools])
    whole = Rows(np.concatenate([[0], ends]), members, pools[0].width)
    return [np.where(x.places, x.places + first[id(x.sets)], 0) for x in given], whole


def joined(given: Sequence[Relation], shape: Sequence[int]) -> Relation:
    """What depends on all of these, one at least, which broadcast to a shape."""
    places, sets = pooled(list({id(x.places): x for x in given}.values()))
    if len(places) == 1:
        return Relation(places[0], sets).spread(shape)
    return union(np.stack([np.broadcast_to(x, tuple(shape)) for x in places], -1), sets)


def alike(a: Relation, b: Relation) -> bool:
    """Whether all elements depend on the same."""
    one, other = a.told(), b.told()
    return np.array_equal(one.starts, other.starts) and np.array_equal(one.members, other.members)
