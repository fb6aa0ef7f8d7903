"""Order in NumPy's arrays: the places of elements in order, or of a few of them, along the last axis.

In flow an array, out flow places; equal elements keep their order, and NaN counts as the greatest. A key is a
word that sorts as the element does, above the element's place: no two are equal, so that any sort is a stable
one, and NumPy's fastest takes a fifth of the time of its stable one. Where less than the whole order is asked
for, a bound is found that few elements pass, and only those are put in order.
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler.ir.graph import Array

_MANY = 1 << 12
"""Elements from which on keys are worth their making."""
_PLACE = 32
"""Bits of a key for the place."""
_PARTS = 8
"""Parts of a line whose extrema make a bound."""
_APART = 8
"""Places that are worth a partition; more are worth a sort."""


def order(x: Array, descending: bool = False) -> Array:
    """The places of all elements."""
    if x.size < _MANY:
        return _stable(x, descending)
    words = _words(x, descending)
    keys = None if words.dtype.kind == "f" else _narrow(words)
    if keys is not None:
        return _sorted(keys, np.arange(x.shape[-1]))
    places = np.argsort(words, -1)
    ordered = np.take_along_axis(words, places, -1)
    differs = ordered[..., 1:] != ordered[..., :-1]
    if differs.all():
        return places
    ranks = np.zeros_like(places)
    np.cumsum(differs, axis=-1, out=ranks[..., 1:])
    return _sorted(ranks, places)


def first(x: Array, count: int, descending: bool = False) -> Array:
    """The places of the least elements, or the greatest, in order."""
    size = x.shape[-1]
    if x.size < _MANY or 2 * count > size:
        return order(x, descending)[..., :count]
    shape = (*x.shape[:-1], count)
    if not count:
        return np.empty(shape, np.int64)
    x = _comparable(x)
    bound = _bound(x, count, descending)
    passing = np.flatnonzero(x >= bound if descending else x <= bound)
    lines = passing // size
    ordered = order(x.ravel()[passing], descending)
    ordered = ordered[order(lines[ordered])]
    starts = np.searchsorted(lines, np.arange(x.size // size))
    chosen = passing[ordered[starts[:, None] + np.arange(count)]]
    return np.asarray(chosen % size).reshape(shape)


def _bound(x: Array, count: int, descending: bool) -> Array:
    """For each line something that at least so many elements pass: of many elements, the last of as many
    extrema of parts.
    """
    size = x.shape[-1] // _PARTS
    if 2 * count <= size:
        parts = x[..., : size * _PARTS].reshape(*x.shape[:-1], _PARTS, size)
        x = (np.maximum if descending else np.minimum).reduce(parts, axis=-2)
    place = x.shape[-1] - count if descending else count - 1
    return np.asarray(np.partition(x, place, -1)[..., place : place + 1])


def nth(x: Array, place: int) -> Array:
    """The place of the element at that place in the order, of each line, as a line of one."""
    if x.size < _MANY:
        return order(x)[..., place : place + 1]
    x = _comparable(x)
    bound = np.partition(x, place, -1)[..., place : place + 1]
    equal = x == bound
    passed = place - np.count_nonzero(x < bound, axis=-1, keepdims=True)
    if passed.any():  # equal elements that come before it
        equal &= np.cumsum(equal, axis=-1) > passed
    return np.asarray(equal.argmax(-1, keepdims=True))


def middle(x: Array, ignore_nan: bool) -> Array:
    """The place of the lower middle element of each line, as a line of one: the first NaN if there is one,
    or the middle of the numbers.
    """
    last = (x.shape[-1] - 1) // 2
    if x.dtype.kind != "f" or not (absent := x != x).any():
        return nth(x, last)
    if not ignore_nan:
        found = nth(x, last)
        return np.where(absent.any(-1, keepdims=True), absent.argmax(-1, keepdims=True), found)
    places = np.maximum((x.shape[-1] - 1 - absent.sum(-1, keepdims=True)) // 2, 0)
    wanted = np.unique(places)
    if len(wanted) > _APART:
        return np.take_along_axis(order(x), places, -1)
    found = np.empty_like(places)
    for place in wanted:
        here = (places == place)[..., 0]
        found[here] = nth(x[here], int(place))
    return found


def _stable(x: Array, descending: bool) -> Array:
    """The places by NumPy's stable sort."""
    if not descending:
        return np.argsort(x, -1, kind="stable")
    backwards = np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
    return np.asarray(x.shape[-1] - 1 - backwards)


def _comparable(x: Array) -> Array:
    """The elements, or integers in their place where there is NaN."""
    return _bits(x) if x.dtype.kind == "f" and np.isnan(x.min()) else x


def _words(x: Array, descending: bool) -> Array:
    """Numbers that sort as the elements do, NaN being none of them: integers, and wide floats as they are."""
    if x.dtype.kind != "f":
        words = x.astype(np.int32) if x.dtype.itemsize < 4 else x
    elif x.dtype.itemsize == 8 and not (x.size and np.isnan(x.min())):
        return -x if descending else x
    else:
        words = _bits(x)
    return ~words if descending else words


def _bits(x: Array) -> Array:
    """The bits of floating-point numbers, those of negative ones turned so that they sort as integers."""
    whole = np.dtype(f"i{x.dtype.itemsize}")
    words = (x + 0).view(whole)  # -0 and 0 are equal
    greatest = np.iinfo(whole).max
    words ^= (words >> 8 * whole.itemsize - 1) & greatest
    np.copyto(words, greatest, where=x != x)
    return words


def _narrow(words: Array) -> Array | None:
    """The words with room for places, if they fit."""
    if words.dtype.itemsize < 8:
        return words.astype(np.int64)
    least = words.min()
    return words - least if int(words.max()) - int(least) < 1 << _PLACE - 1 else None


def _sorted(words: Array, places: Array) -> Array:
    """The places in the order of the words above them, which are overwritten."""
    words <<= _PLACE
    words |= places
    words.sort(axis=-1)
    words &= (1 << _PLACE) - 1
    return words
