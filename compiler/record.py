"""`record`: a class of a few typed fields that nobody changes, compared by value; a dataclass, but cheaper.

A frozen dataclass writes and compiles the source of six methods for each class, which for a hundred
classes takes longer than all else that importing does, and it goes round its own guard for every field that
it sets. A record compiles `__init__` alone; the methods that compare, hash and show are written once, here.
That fields are final is for the type checker to see to (`frozen_default`), not for run time. Everything else
is as in dataclasses: defaults, `replace`, `fields`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

C = TypeVar("C", bound=type[Any])


@overload
def record(cls: C, /) -> C: ...
@overload
def record(*, slots: bool = False, eq: bool = True) -> Callable[[C], C]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: Any = None, /, *, slots: bool = False, eq: bool = True) -> Any:
    """Make a class a record. Without `eq`, identity is what counts. A `__repr__` that there is, is kept."""

    def make(cls: Any) -> Any:
        made: Any = dataclass(repr=False, eq=False, slots=slots)(cls)
        names = [f.name for f in fields(made)]
        made._values = staticmethod(_values_of(names))
        if eq:
            made.__eq__, made.__hash__ = _equal, _hash
        if made.__repr__ is object.__repr__:
            made.__repr__ = _show
        return made

    return make if cls is None else make(cls)


def _values_of(names: list[str]) -> Callable[[object], Any]:
    """What gets the fields: together, if there are several."""
    return attrgetter(*names) if names else lambda self: ()


def _equal(self: Any, other: Any) -> Any:
    return self._values(self) == self._values(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _show(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
    return f"{type(self).__qualname__}({shown})"
