"""Ports: what a native call checks of an argument, or makes of an output, and how that stands in its record.

Arguments are `ArrayPort`, `TensorPort`, `FloatPort`, `AddressPort`, `ConstantPort`, `WeakPort`, and of these
`GroupPort`; held objects may be random numbers, `DrawPort`; outputs are the first four, `IntegerPort`,
`FlagPort` and `UpdatePort`. `words` is the port as `grammar.py` has it; `open` and `new` do the same in
Python, but for an `AddressPort`, which only native calls have. A new kind of port is a class here and a row
there.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import record
from retrograd.runtime.native import grammar
from retrograd.runtime.native.grammar import Kind, Members
from retrograd.runtime.native.layout import slot_offset
from retrograd.runtime.native.placing import Placing
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.laws import Law


@record(slots=True)
class ArrayPort:
    """An aligned ndarray of this dtype and shape, in order or placed so in memory; as an output, densely."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    place: Placing | None = None
    writeable: bool = False
    """As an argument that is updated."""

    def words(self) -> list[int]:
        """The port in the record."""
        return _port(self, np.ndarray, 0)

    def open(self, argument: object) -> Array | None:
        """The array whose data the program reads; None if the argument is not like the port."""
        if type(argument) is not np.ndarray or argument.dtype != self.dtype or argument.shape != self.shape:
            return None
        flags = argument.flags
        sound = flags.c_contiguous and flags.aligned and (flags.writeable or not self.writeable)
        return argument if sound else None

    def new(self) -> tuple[Any, Array]:
        """A new object to give back, and the array that the program writes."""
        array = _empty(self.shape, self.dtype, self.place)
        return array, array


@record(slots=True)
class Viewing:
    """Where an object may keep what it is a view of, and by which slots to tell that its other slots are
    still true: the view knows the count of changes then, the base a list that begins with the count now."""

    slot: str
    view: type
    base: str
    version: str
    counter: str

    def fresh(self, thing: object) -> bool:
        view = getattr(thing, self.slot)
        return (
            view is None or getattr(view, self.version) is getattr(getattr(view, self.base), self.counter)[0]
        )


@record(slots=True)
class Unlike:
    """What a slot of an argument holds is anything but this object."""

    thing: object


@record(slots=True)
class TensorPort:
    """An object of just this class with `__slots__`, one of which holds an array as `ArrayPort` wants it."""

    cls: type
    slot: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    also: Mapping[str, object] = field(default_factory=dict)
    """Other slots. In an argument each must hold this very object, or be `Unlike`; in an output it is put
    there."""
    place: Placing | None = None
    viewing: Viewing | None = None
    """Of an argument: how it may be a view of another object."""
    writeable: bool = False

    def words(self) -> list[int]:
        pairs = _pairs(self.cls, self.also)
        array = ArrayPort(self.dtype, self.shape, self.place, self.writeable)
        return _port(array, self.cls, slot_offset(self.cls, self.slot), pairs, self.viewing)

    def open(self, argument: object) -> Array | None:
        if type(argument) is not self.cls:
            return None
        if not all(_is_so(getattr(argument, name, _ABSENT), it) for name, it in self.also.items()):
            return None
        if self.viewing is not None and not self.viewing.fresh(argument):
            return None
        array = ArrayPort(self.dtype, self.shape, None, self.writeable)
        return array.open(getattr(argument, self.slot, _ABSENT))

    def new(self) -> tuple[Any, Array]:
        tensor: object = object.__new__(self.cls)
        array = _empty(self.shape, self.dtype, self.place)
        for name, it in {self.slot: array, **self.also}.items():
            setattr(tensor, name, it)
        return tensor, array


@record(slots=True)
class Link:
    """An object of just this class with `__slots__`, one of which leads on."""

    cls: type
    slot: str
    also: Mapping[str, object] = field(default_factory=dict)
    """As those of a `TensorPort`."""

    def words(self) -> list[int]:
        own = slot_offset(self.cls, self.slot)
        return [id(self.cls), own, len(self.also), *_pairs(self.cls, self.also)]


@record(slots=True)
class Source:
    """Where the memory of outputs comes from: a list of free addresses, all of blocks of this size, and the
    address of the bytes held now and at most."""

    free: list[int]
    statistics: int
    block: int


@record(slots=True)
class AddressPort:
    """An object that leads, link by link, to an int: the address of so many bytes of memory elsewhere. What
    the first link leads to is its array. As an output, from this source."""

    links: tuple[Link, ...]
    nbytes: int
    source: Source | None = None

    @property
    def cls(self) -> type:
        return self.links[0].cls

    def open(self, argument: object) -> Array | None:
        """Only native calls follow links."""
        return None

    def new(self) -> tuple[Any, Array]:
        raise CompilerError("memory elsewhere is made by native calls only")

    def words(self) -> list[int]:
        given = self.source
        source = (0, 0, 0) if given is None else (id(given.free), given.statistics, given.block)
        led = [word for link in self.links for word in link.words()]
        return [Kind.ADDRESS, 7 + len(led), self.nbytes, *source, len(self.links), *led]


@record(slots=True)
class FloatPort:
    """A float of just this class (Python's, or one of NumPy's), which the program sees as a pointer to an f64
    or f32. As an output it is Python's."""

    dtype: np.dtype[Any]
    cls: type = float

    def words(self) -> list[int]:
        kinds = {np.dtype(np.float64): Kind.F64, np.dtype(np.float32): Kind.F32}
        if self.dtype not in kinds:
            raise CompilerError(f"a Python float cannot be passed as {self.dtype}")
        return [kinds[self.dtype], 4, id(self.cls), int(self.cls is np.float32)]

    def open(self, argument: Any) -> Array | None:
        if type(argument) is not self.cls:
            return None
        with np.errstate(over="ignore"):
            return np.array(argument, self.dtype)

    def new(self) -> tuple[Any, Array]:
        return None, np.empty((), self.dtype)


@record(slots=True)
class ConstantPort:
    """Just this object: what the program was compiled for, and does not see. `by_value`, or an equal one of
    its class."""

    value: object
    by_value: bool = False

    def words(self) -> list[int]:
        return [Kind.CONSTANT, 4, id(self.value), int(self.by_value)]

    def open(self, argument: object) -> Array | None:
        equal = self.by_value and type(argument) is type(self.value) and argument == self.value
        return UNSEEN if equal or argument is self.value else None


@record(slots=True, eq=False)
class DrawPort:
    """A held object of this class, of whose random numbers each call draws new ones."""

    cls: type
    slot: str
    law: Law
    generator: Generator
    shape: tuple[int, ...]
    kept: bool
    """Whether the numbers are kept in the object's slot; else only the program sees them."""

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.law.dtype.itemsize

    def words(self, place: int = -1) -> list[int]:
        """The port in the record; what is not kept lies at this place in the arena."""
        law = [self.law.address, self.generator.address, self.law.parameters, prod(self.shape)]
        words = [Kind.DRAW, 0, id(self.cls), slot_offset(self.cls, self.slot), id(self.law.dtype)]
        words += [len(self.shape), *law, place, *self.shape]
        words[1] = len(words)
        return words

    def open(self, argument: object) -> Array | None:
        array = self.law.draw(self.shape, self.generator)
        setattr(argument, self.slot, array)
        return array


class WeakPort:
    """Just this object, which is not kept alive. When it is no more, every call is a miss."""

    __slots__ = ("_id", "reference")

    def __init__(self, value: object) -> None:
        self._id = id(value)
        self.reference = weakref.ref(value)

    def words(self) -> list[int]:
        return [Kind.CONSTANT, 4, self._id, 0]

    def open(self, argument: object) -> Array | None:
        return UNSEEN if argument is self.reference() else None


@record(slots=True)
class GroupPort:
    """A container of just this class with these members: a list, a tuple, a dict with these keys in order, or
    an object with these attributes, which it keeps itself."""

    cls: type
    keys: tuple[Any, ...]
    members: tuple[Port, ...]

    @property
    def how(self) -> int:
        """Where the members are."""
        if issubclass(self.cls, tuple):
            return Members.IN_TUPLE
        found: dict[type, int] = {list: Members.IN_LIST, dict: Members.IN_DICT}
        return found.get(self.cls, Members.IN_ATTRIBUTES)

    def words(self) -> list[int]:
        inside = [word for port in self.members for word in port.words()]
        keys = [id(key) for key in self.keys]
        words = [Kind.GROUP, 0, id(self.cls), self.how, len(self.members)]
        words[1] = len(words) + len(keys) + len(inside)
        return [*words, *keys, *inside]

    def opened(self, argument: Any) -> list[tuple[object, Array]] | None:
        """The leaves with their arrays."""
        kind: type = type(argument)
        if kind is not self.cls:
            return None
        if self.how == Members.IN_ATTRIBUTES:
            return opened(self.members, [getattr(argument, name) for name in self.keys])
        if len(argument) != len(self.members):
            return None
        if kind is dict and any(a is not b for a, b in zip(argument, self.keys)):
            return None
        return opened(self.members, list(argument.values()) if kind is dict else argument)


@record(slots=True)
class IntegerPort:
    """A signed integer or bool of this dtype, given back as Python's."""

    dtype: np.dtype[Any]

    def words(self) -> list[int]:
        return [Kind.INTEGER, 4, 8 * self.dtype.itemsize, int(self.dtype.kind == "b")]

    def new(self) -> tuple[Any, Array]:
        return None, np.empty((), self.dtype)


@record(slots=True)
class FlagPort:
    """A byte that the program sets where the call must go to `miss` after all."""

    def words(self) -> list[int]:
        return [Kind.FLAG, 2]

    def new(self) -> tuple[Any, Array]:
        return None, np.zeros((), np.uint8)


@record(slots=True)
class UpdatePort:
    """The memory of one of the program's inputs, by its number: it is written anew, and not given back.

    Straight, if the program does not read an element after it has written it; else by a copy at the end.
    """

    number: int
    nbytes: int
    straight: bool

    def new(self) -> tuple[Any, Array]:
        return None, np.zeros(self.nbytes, np.uint8)


OutputPort = ArrayPort | TensorPort | FloatPort | IntegerPort | FlagPort | UpdatePort | AddressPort
LeafPort = ArrayPort | TensorPort | FloatPort | ConstantPort | WeakPort | DrawPort | AddressPort
Port = LeafPort | GroupPort
Held = tuple[object, LeafPort]

_ABSENT = object()
UNSEEN: Array = np.empty(0)


def leaves_of(ports: Sequence[Port]) -> Iterator[LeafPort]:
    for port in ports:
        if isinstance(port, GroupPort):
            yield from leaves_of(port.members)
        else:
            yield port


def opened(ports: Sequence[Port], things: Sequence[Any]) -> list[tuple[object, Array]] | None:
    """All leaves with their arrays; None if something is not like its port."""
    found: list[tuple[object, Array]] = []
    for port, thing in zip(ports, things, strict=True):
        if isinstance(port, GroupPort):
            inside = port.opened(thing)
            if inside is None:
                return None
            found += inside
            continue
        array = port.open(thing)
        if array is None:
            return None
        found.append((thing, array))
    return found


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], place: Placing | None) -> Array:
    """A new array, in order or placed densely."""
    if place is None:
        return np.empty(shape, dtype)
    strides = [step * dtype.itemsize for step in place.strides]
    return np.ndarray(shape, dtype, np.empty(place.length, dtype), 0, strides)


def _is_so(held: object, wanted: object) -> bool:
    return held is not wanted.thing if isinstance(wanted, Unlike) else held is wanted


def _pairs(cls: type, also: Mapping[str, object]) -> list[int]:
    """Where slots are, negative for `Unlike`, and the objects."""
    words: list[int] = []
    for name, it in also.items():
        at = slot_offset(cls, name)
        words += (-at, id(it.thing)) if isinstance(it, Unlike) else (at, id(it))
    return words


def _port(
    array: ArrayPort, cls: type, slot: int, pairs: Sequence[int] = (), viewing: Viewing | None = None
) -> list[int]:
    place, item = array.place, array.dtype.itemsize
    flags = grammar.ALIGNED | (grammar.CONTIGUOUS if place is None else 0)
    flags |= grammar.WRITEABLE if array.writeable else 0
    elements = prod(array.shape) if place is None else place.length
    shift = 0 if place is None else -place.before * item
    view = 0 if viewing is None else slot_offset(cls, viewing.slot)
    words = [Kind.ARRAY, 0, id(cls), slot, id(array.dtype), len(array.shape), len(pairs) // 2]
    words += [flags, shift, elements * item, view, *array.shape]
    words += [] if place is None else [stride * item for stride in place.strides]
    words += pairs
    if viewing is not None:
        inside = [slot_offset(viewing.view, name) for name in (viewing.base, viewing.version)]
        words += [*inside, slot_offset(cls, viewing.counter)]
    words[1] = len(words)
    return words
