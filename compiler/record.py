"""`record`: a class of a few typed fields that nobody changes, compared by value; a dataclass, but cheaper.

A frozen dataclass writes and compiles the source of six methods for each class, which for a hundred
classes takes longer than all else that importing does, and it goes round its own guard for every field that
it sets. The methods that compare, hash and show a record are written once, here, and its `__init__` is
compiled when the first one is made: of most classes a program makes none. That fields are final is for the
type checker to see to (`frozen_default`), not for run time. Defaults, `__post_init__`, `replace` and `fields`
are as in dataclasses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
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
        made: Any = dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
        if "__init__" not in vars(made):
            made.__init__ = _compiled_late(made)
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


def _compiled_late(cls: Any) -> Callable[..., None]:
    """An `__init__` that makes the right one take its place."""

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = _compiled(cls)
        cls.__init__(self, *args, **kwargs)

    return first


def _compiled(cls: Any) -> Callable[..., None]:
    """The `__init__` that sets the fields."""
    known: dict[str, Any] = {"absent": object()}
    parameters: list[str] = ["self"]
    lines: list[str] = []
    for f in (f for f in fields(cls) if f.init):
        value, default = f.name, ""
        if f.default_factory is not MISSING:
            known[f"make_{f.name}"], default = f.default_factory, "=absent"
            value = f"make_{f.name}() if {f.name} is absent else {f.name}"
        elif f.default is not MISSING:
            known[f"default_{f.name}"], default = f.default, f"=default_{f.name}"
        parameters.append(f.name + default)
        lines.append(f"    self.{f.name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("    self.__post_init__()")
    exec("\n".join([f"def __init__({', '.join(parameters)}):", *(lines or ["    pass"])]), known)
    initialise: Callable[..., None] = known["__init__"]
    return initialise


def _equal(self: Any, other: Any) -> Any:
    return self._values(self) == self._values(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _show(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
    return f"{type(self).__qualname__}({shown})"
