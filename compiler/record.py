"""`record`: a class of a few typed fields that nobody changes, compared by value; a dataclass, but cheaper.

A frozen dataclass writes and compiles the source of six methods for each class, which for two hundred classes
takes longer than all else that importing does, and it goes round its own guard for every field that it sets.
The methods that compare, hash and show a record are written once, here; its `__init__` is compiled when the
first one is made, and what dataclasses know of it (`fields`, `replace`, `asdict`) is found out when they ask:
most classes need neither in most programs. That fields are final is for the type checker to see to
(`frozen_default`), not for run time. Defaults, `__post_init__` and inherited fields are as in dataclasses.

`NamedTuple` is `typing.NamedTuple` in a tenth of the time: it compiles no field's annotation, and what makes
a tuple when the first one is made.
`field_names` gives the names of the fields of these and of other dataclasses; `contents`, `replace` and
`derived` are `dataclasses.asdict`, `dataclasses.replace` and `functools.cached_property` in a fraction of the
time.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]  # what named tuples' fields are
from collections.abc import Callable, Collection, Iterable
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from inspect import get_annotations
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, dataclass_transform, overload

C = TypeVar("C", bound=type[Any])
T = TypeVar("T")


@overload
def record(cls: C, /) -> C: ...
@overload
def record(*, slots: bool = False, eq: bool = True) -> Callable[[C], C]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: Any = None, /, *, slots: bool = False, eq: bool = True) -> Any:
    """Make a class a record. Without `eq`, identity is what counts. A `__repr__` that there is, is kept."""

    def make(cls: Any) -> Any:
        inherited: dict[str, _Declared] = getattr(cls, "_declared", {})
        own = _own_declarations(cls)
        declared = inherited | own
        made = _slotted(cls, own, inherited) if slots else cls
        attributes = {
            "_declared": declared,
            "_values": staticmethod(_values_of(list(declared))),
            "__match_args__": tuple(name for name, each in declared.items() if each.given),
            "__dataclass_fields__": _AskedByDataclasses("__dataclass_fields__", made),
            "__dataclass_params__": _AskedByDataclasses("__dataclass_params__", made),
        }
        for name, value in attributes.items():
            setattr(made, name, value)
        if "__init__" not in vars(made):
            made.__init__ = _compiled_late(made)
        if eq:
            made.__eq__, made.__hash__ = _equal, _hash
        if made.__repr__ is object.__repr__:
            made.__repr__ = _show
        return made

    return make if cls is None else make(cls)


def field_names(cls: Any) -> list[str] | None:
    """The names of the fields of a record or another dataclass; None of any other class."""
    if "_declared" in vars(cls):
        return list(cls._declared)
    return [f.name for f in fields(cls)] if is_dataclass(cls) else None


def contents(known: object) -> dict[str, Any]:
    """A record's fields and what they hold, by name."""
    kind: Any = type(known)
    return {name: getattr(known, name) for name in kind._declared}


def replace(known: T, /, **changes: Any) -> T:
    """A record, or another dataclass, with other values in these fields."""
    kind: Any = type(known)
    values = {name: getattr(known, name) for name in kind.__match_args__}
    made: T = kind(**(values | changes))
    return made


class _Named(type):
    """The class of `NamedTuple`, which makes tuples of the classes that derive from it."""

    def __new__(cls, name: str, bases: tuple[type, ...], contents: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, contents)
        fields = tuple(contents["__annotations__"])
        defaults = {each: contents.pop(each) for each in fields if each in contents}
        getters = {each: _tuplegetter(k, f"Alias for field number {k}") for k, each in enumerate(fields)}
        said = {"__slots__": (), "__match_args__": fields, "_fields": fields, "_field_defaults": defaults}
        return type(name, (_Tuple,), contents | said | getters)


class _Tuple(tuple[Any, ...]):
    """What tuples of named fields share, as `collections.namedtuple` has it."""

    __slots__ = ()
    _fields, _field_defaults = tuple[str, ...](), dict[str, Any]()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """The first one of a class compiles the right `__new__`, which takes this one's place."""
        given = ", ".join(cls._fields)
        known: dict[str, Any] = {"_make": tuple.__new__}
        exec(f"def __new__(_cls, {given}): return _make(_cls, ({given},))", known)
        known["__new__"].__defaults__ = tuple(cls._field_defaults.values())
        known["__new__"].__qualname__ = f"{cls.__qualname__}.__new__"
        cls.__new__ = staticmethod(known["__new__"])  # type: ignore[method-assign]  # late, not otherwise
        return cls(*args, **kwargs)

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Self:
        return cls(*values)

    def _replace(self, **changes: Any) -> Self:
        return type(self)(**(self._asdict() | changes))

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"{type(self).__name__}({shown})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class NamedTuple(metaclass=_Named):
        """What a class of named fields, with or without defaults, derives from to be a tuple of them."""


class derived(Generic[T]):  # read as a decorator
    """A property that is found out when it is first asked for: twice, if two threads ask at once, for no lock
    is taken, which `cached_property` does before Python 3.12."""

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find, self._name, self.__doc__ = find, find.__name__, find.__doc__

    @overload
    def __get__(self, instance: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: object = None) -> T: ...
    def __get__(self, instance: object, owner: object = None) -> Self | T:
        if instance is None:
            return self
        found = instance.__dict__[self._name] = self._find(instance)
        return found


# ---- the fields --------------------------------------------------------------------------------------------


class _Declared(NamedTuple):
    """A field as its class declares it."""

    annotation: Any
    said: Any
    """What stands to the right of it: a default, a `field(…)`, or MISSING."""

    @property
    def given(self) -> bool:
        """Is it an argument of `__init__`?"""
        return self.said.init if isinstance(self.said, Field) else True

    @property
    def default(self) -> Any:
        return self.said.default if isinstance(self.said, Field) else self.said

    @property
    def factory(self) -> Any:
        return self.said.default_factory if isinstance(self.said, Field) else MISSING


def _own_declarations(cls: Any) -> dict[str, _Declared]:
    """The fields that a class adds to those of its bases. A default stays an attribute of the class."""
    own = {
        name: _Declared(annotation, vars(cls).get(name, MISSING))
        for name, annotation in get_annotations(cls).items()
        if not annotation.startswith("ClassVar")
    }
    for name, declared in own.items():
        if isinstance(declared.said, Field):
            delattr(cls, name)
            if declared.default is not MISSING:
                setattr(cls, name, declared.default)
    return own


def _slotted(cls: Any, own: Collection[str], inherited: Collection[str]) -> Any:
    """The class anew, with slots for the fields that it adds."""
    contents = {name: value for name, value in vars(cls).items() if name not in own}
    contents.pop("__dict__", None)
    contents.pop("__weakref__", None)
    contents["__slots__"] = tuple(name for name in own if name not in inherited)
    made = type(cls)(cls.__name__, cls.__bases__, contents)
    made.__qualname__ = cls.__qualname__
    return made


class _AskedByDataclasses:
    """An attribute that dataclasses keep of a class: found out when they ask, by making one of the same
    fields."""

    def __init__(self, name: str, of: Any) -> None:
        self._name, self._of = name, of

    def __get__(self, instance: object, cls: type[object]) -> Any:
        declared: dict[str, _Declared] = self._of._declared
        contents = {name: each.said for name, each in declared.items() if each.said is not MISSING}
        annotations = {name: each.annotation for name, each in declared.items()}
        contents |= {"__annotations__": annotations, "__module__": self._of.__module__, "__doc__": self._name}
        known: Any = dataclass(init=False, repr=False, eq=False)(type(self._of.__name__, (), contents))
        found = getattr(known, self._name)
        setattr(self._of, self._name, found)
        return found


def _values_of(names: list[str]) -> Callable[[object], Any]:
    """What gets the fields: together, if there are several."""
    return attrgetter(*names) if names else lambda self: ()


# ---- the methods -------------------------------------------------------------------------------------------


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
    for name, declared in cls._declared.items():
        if not declared.given:
            continue
        value, default = name, ""
        if declared.factory is not MISSING:
            known[f"make_{name}"], default = declared.factory, "=absent"
            value = f"make_{name}() if {name} is absent else {name}"
        elif declared.default is not MISSING:
            known[f"default_{name}"], default = declared.default, f"=default_{name}"
        parameters.append(name + default)
        lines.append(f"    self.{name} = {value}")
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
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._declared)
    return f"{type(self).__qualname__}({shown})"
