"""Arguments and results that are nested: taken apart into leaves and a structure, and put together again.

    structure ::= LEAF                                  a Tensor, an array, a float: what is computed with
                | (kind, value)                         a plain constant, compared by value
                | (kind, names, structures)             a container and its parts
                | Identity                              anything else, compared by being the same object

Lists, tuples, named tuples, dicts and dataclasses nest. A structure is hashable, so it can be part of a key.
To let another container nest, write how its parts are found and joined as a `Container`, and say so in
`_container`.
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.device import device

Structure: TypeAlias = Any
LEAF = "*"
PLAIN = (
    bool,
    int,
    str,
    bytes,
    complex,
    float,
    type(None),
    type(...),
    range,
    DType,
    device,
    np.dtype,
    np.generic,
    Enum,
)
"""Immutable constants."""


class Identity:
    """An object that is compared by identity. As part of a key it is held weakly, so that keys keep nothing
    alive."""

    __slots__ = ("_held", "_id", "weak")

    def __init__(self, value: object, weak: bool) -> None:
        self._id = id(value)
        self._held: Any = value
        self.weak = weak
        if weak:
            try:
                self._held = weakref.ref(value)
            except TypeError:  # builtins and classes with __slots__ cannot be held weakly
                self.weak = False

    @property
    def value(self) -> object:
        """The object, or None if it is there no more."""
        return self._held() if self.weak else self._held

    @property
    def gone(self) -> bool:
        return self.weak and self._held() is None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._id == other._id and self.value is other.value

    def __hash__(self) -> int:
        return self._id

    def __repr__(self) -> str:
        return repr(self.value)


class Container(NamedTuple):
    """How one class nests."""

    take: Callable[[Any], tuple[tuple[Any, ...], Iterator[Any] | Any]]
    """The names of the parts, and the parts."""
    make: Callable[[Any, tuple[Any, ...], list[Any]], Any]
    """The container of a class, from names and parts."""


def flatten(value: object, leaves: list[Any], is_leaf: tuple[type, ...], weak: bool = False) -> Structure:
    """The structure of a value; its leaves, which are the instances of `is_leaf`, are appended to
    `leaves`."""
    kind: type[Any] = type(value)
    if kind in is_leaf or isinstance(value, is_leaf):
        leaves.append(value)
        return LEAF
    container = _container(kind)
    if container is not None:
        names, parts = container.take(value)
        return kind, names, tuple([flatten(part, leaves, is_leaf, weak) for part in parts])
    if isinstance(value, slice):
        return kind, (value.start, value.stop, value.step)
    return (kind, value) if isinstance(value, PLAIN) else Identity(value, weak)


def unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The value of a structure, with these leaves in order."""
    if structure is LEAF:
        return next(leaves)
    if isinstance(structure, Identity):
        return structure.value
    if len(structure) == 2:
        kind, value = structure
        return slice(*value) if kind is slice else value
    kind, names, parts = structure
    container = _container(kind)
    assert container is not None
    return container.make(kind, names, [unflatten(part, leaves) for part in parts])


def labels(structure: Structure, name: str) -> Iterator[str]:
    """A name for each leaf: `params_w1`, `layers_0`."""
    if structure is LEAF:
        yield name
    elif isinstance(structure, tuple) and len(structure) == 3:
        _, names, parts = structure
        for k, part in enumerate(parts):
            own = str(names[k] if names else k)
            yield from labels(part, f"{name}_{own if own.isalnum() else k}")


def identities(structure: Structure) -> Iterator[Identity]:
    """The parts of a structure that are compared by identity."""
    if isinstance(structure, Identity):
        yield structure
    elif isinstance(structure, tuple) and len(structure) == 3:
        for part in structure[2]:
            yield from identities(part)


# ---- the containers ----------------------------------------------------------------------------------------


def _make_dict(kind: Any, names: tuple[Any, ...], parts: list[Any]) -> Any:
    made = kind.__new__(kind)
    made.update(zip(names, parts, strict=True))
    return made


def _make_object(kind: Any, names: tuple[str, ...], parts: list[Any]) -> Any:
    """Field by field, so that frozen classes can be made and `__post_init__` does not run a second time."""
    made = object.__new__(kind)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(made, name, part)
    return made


_SEQUENCE = Container(lambda value: ((), value), lambda kind, names, parts: kind(parts))
_NAMED_TUPLE = Container(lambda value: (value._fields, value), lambda kind, names, parts: kind(*parts))
_DICT = Container(lambda value: (tuple(value), value.values()), _make_dict)


def _container_of(kind: type) -> Container | None:
    if kind in (list, tuple):
        return _SEQUENCE
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _NAMED_TUPLE
    if issubclass(kind, dict):
        return _DICT
    if not dataclasses.is_dataclass(kind) or issubclass(kind, PLAIN):
        return None
    names = tuple(field.name for field in dataclasses.fields(kind))
    return Container(lambda value: (names, [getattr(value, name) for name in names]), _make_object)


_container: Callable[[type], Container | None] = functools.cache(_container_of)
