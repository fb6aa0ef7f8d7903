"""What a native call gives back: a tree of outputs and of objects made around them.

    returns ::= number                    an output
              | None
              | (returns, …)              a tuple
              | Given(object)             just this object
              | Inner(number)             the array of an output that is an object with an array in a slot
              | Leaf(number)              an argument or held object; `Content` its array
              | Owner(number, slot)       what is in its slot, or itself if that is None
              | Count(number, slot)       the first item of the list in its slot, or None
              | Next(iterator)
              | Listed((returns, …))      a list
              | Mapped(keys, (returns, …))          a dict
              | Named(class, (returns, …))          a tuple of a class of its own
              | Filled(class, {attribute: returns}) an object, made without calling its class
              | Made(class, {slot: returns})
              | Changed(number, {slot: returns})    an output, with slots set anew
              | Shared(returns)           made once, wherever this object stands
              | Bumped(returns, ((number, class, slot), …))
                                          first the lists in the slots of these count a change

`steps(returns)` is the tree for the stack machine of `grammar.py`, `Giving` does the same in Python.
A new kind is a class with both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retrograd.compiler.record import record
from retrograd.runtime.native import grammar
from retrograd.runtime.native.layout import slot_offset

Step = tuple[int, int, int]


@record(slots=True)
class Giving:
    """A call that has run."""

    outputs: Sequence[Any]
    arrays: Sequence[Any]
    """Those in the outputs."""
    leaves: Sequence[Any]
    leaf_arrays: Sequence[Any]
    shared: dict[int, Any]

    def give(self, returns: Returns) -> Any:
        """The object that is given back."""
        if isinstance(returns, tuple):
            return tuple([self.give(member) for member in returns])
        if returns is None:
            return None
        return self.outputs[returns] if isinstance(returns, int) else returns.give(self)


def steps(returns: Returns, kept: dict[int, int]) -> Iterator[Step]:
    """The tree for the stack machine; `kept` are the registers of what is shared, by `id`."""
    if isinstance(returns, tuple):
        for member in returns:
            yield from steps(member, kept)
        yield grammar.Step.TUPLE, len(returns), 0
    elif returns is None:
        yield grammar.Step.OBJECT, id(None), 0
    elif isinstance(returns, int):
        yield grammar.Step.OUTPUT, returns, 0
    else:
        yield from returns.steps(kept)


def outputs_of(returns: Returns) -> Iterator[int]:
    """The outputs that are given back as they are."""
    if isinstance(returns, tuple):
        for member in returns:
            yield from outputs_of(member)
    elif isinstance(returns, int):
        yield returns
    elif isinstance(returns, Changed):
        yield returns.output
    elif isinstance(returns, Listed | Mapped | Named):
        yield from outputs_of(returns.members)
    elif isinstance(returns, Filled):
        yield from outputs_of(tuple(returns.attributes.values()))
    elif isinstance(returns, Bumped):
        yield from outputs_of(returns.member)


@record(slots=True, eq=False)
class Given:
    value: object

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.OBJECT, id(self.value), 0

    def give(self, giving: Giving) -> Any:
        return self.value


@record(slots=True)
class Inner:
    output: int

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.ARRAY_OF_OUTPUT, self.output, 0

    def give(self, giving: Giving) -> Any:
        return giving.arrays[self.output]


@record(slots=True)
class Leaf:
    number: int

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.LEAF, self.number, 0

    def give(self, giving: Giving) -> Any:
        return giving.leaves[self.number]


@record(slots=True)
class Content:
    number: int

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.ARRAY_OF_LEAF, self.number, 0

    def give(self, giving: Giving) -> Any:
        return giving.leaf_arrays[self.number]


@record(slots=True)
class Owner:
    number: int
    cls: type
    slot: str

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.SLOT_OF_LEAF, self.number, slot_offset(self.cls, self.slot)

    def give(self, giving: Giving) -> Any:
        leaf = giving.leaves[self.number]
        content = getattr(leaf, self.slot)
        return leaf if content is None else content


@record(slots=True)
class Count:
    number: int
    cls: type
    slot: str

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.COUNT_OF_LEAF, self.number, slot_offset(self.cls, self.slot)

    def give(self, giving: Giving) -> Any:
        counter = getattr(giving.leaves[self.number], self.slot)
        return None if counter is None else counter[0]


@record(slots=True, eq=False)
class Next:
    iterator: Iterator[Any]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.NEXT, id(self.iterator), 0

    def give(self, giving: Giving) -> Any:
        return next(self.iterator)


@record(slots=True, eq=False)
class Listed:
    members: tuple[Returns, ...]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        for member in self.members:
            yield from steps(member, kept)
        yield grammar.Step.LIST, len(self.members), 0

    def give(self, giving: Giving) -> Any:
        return [giving.give(member) for member in self.members]


@record(slots=True, eq=False)
class Mapped:
    keys: tuple[Any, ...]
    members: tuple[Returns, ...]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        for member in self.members:
            yield from steps(member, kept)
        yield grammar.Step.DICT, id(self.keys), 0

    def give(self, giving: Giving) -> Any:
        return dict(zip(self.keys, map(giving.give, self.members)))


@record(slots=True, eq=False)
class Named:
    cls: type
    members: tuple[Returns, ...]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        for member in self.members:
            yield from steps(member, kept)
        yield grammar.Step.NAMED, id(self.cls), len(self.members)

    def give(self, giving: Giving) -> Any:
        return tuple.__new__(self.cls, map(giving.give, self.members))


@record(slots=True, eq=False)
class Filled:
    cls: type
    attributes: Mapping[str, Returns]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.NEW, id(self.cls), 0
        for name, value in self.attributes.items():
            yield from steps(value, kept)
            yield grammar.Step.ATTRIBUTE, id(name), 0

    def give(self, giving: Giving) -> Any:
        made: object = object.__new__(self.cls)
        for name, value in self.attributes.items():
            object.__setattr__(made, name, giving.give(value))
        return made


@record(slots=True, eq=False)
class Bumped:
    member: Returns
    counters: tuple[tuple[int, type, str], ...]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        for number, cls, slot in self.counters:
            yield grammar.Step.BUMP, number, slot_offset(cls, slot)
        yield from steps(self.member, kept)

    def give(self, giving: Giving) -> Any:
        for number, _, slot in self.counters:
            counter = getattr(giving.leaves[number], slot)
            if counter is None:
                setattr(giving.leaves[number], slot, [1])
            else:
                counter[0] += 1
        return giving.give(self.member)


@record(slots=True, eq=False)
class Made:
    cls: type
    slots: Mapping[str, Returns]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.NEW, id(self.cls), 0
        yield from _filled(self.cls, self.slots, kept)

    def give(self, giving: Giving) -> Any:
        made: object = object.__new__(self.cls)
        for name, value in self.slots.items():
            setattr(made, name, giving.give(value))
        return made


@record(slots=True, eq=False)
class Changed:
    output: int
    cls: type
    slots: Mapping[str, Returns]

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        yield grammar.Step.OUTPUT, self.output, 0
        yield from _filled(self.cls, self.slots, kept)

    def give(self, giving: Giving) -> Any:
        made = giving.outputs[self.output]
        for name, value in self.slots.items():
            setattr(made, name, giving.give(value))
        return made


@record(slots=True, eq=False)
class Shared:
    member: Returns

    def steps(self, kept: dict[int, int]) -> Iterator[Step]:
        if id(self) in kept:
            yield grammar.Step.KEPT, kept[id(self)], 0
            return
        yield from steps(self.member, kept)
        kept[id(self)] = len(kept)
        yield grammar.Step.KEEP, kept[id(self)], 0

    def give(self, giving: Giving) -> Any:
        if id(self) not in giving.shared:
            giving.shared[id(self)] = giving.give(self.member)
        return giving.shared[id(self)]


def _filled(cls: type, slots: Mapping[str, Returns], kept: dict[int, int]) -> Iterator[Step]:
    for name, value in slots.items():
        yield from steps(value, kept)
        yield grammar.Step.SET, 0, slot_offset(cls, name)


Object = (
    Given
    | Inner
    | Leaf
    | Content
    | Owner
    | Count
    | Next
    | Listed
    | Mapped
    | Named
    | Filled
    | Bumped
    | Made
    | Changed
    | Shared
)
Returns = int | None | tuple["Returns", ...] | Object
"""How outputs are given back."""
