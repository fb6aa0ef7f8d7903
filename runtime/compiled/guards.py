"""What a function reads from outside its arguments, and whether that has changed since it was traced.

A function is compiled for the world that it was traced in: plain constants in closures, globals, defaults and
attributes are built in, and Tensors there are inputs, found by identity. `reads(function)` walks over all
that its code may look at, by the bytecode: cells, globals, defaults, attributes of objects,
items of containers, and on into the user's functions that it calls. `Guards(reads).hold()` says whether all
of it is still the same. Python's own modules, installed packages and this library are taken to be constant.

To look into another kind of object, write how it is read and enter it in `_VISITS`.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from importlib import import_module
from opcode import EXTENDED_ARG, opmap
from operator import attrgetter, contains, getitem, is_, itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from retrograd.compiler.record import derived
from retrograd.runtime.native.watching import Read, elements_of, size_of
from retrograd.runtime.tensor import Tensor

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), Enum)
_LARGEST_CONTAINER = 1000
"""Items up to which a list or dict is looked into."""
_LARGEST_ARRAY = 1 << 16
"""Bytes up to which an array of NumPy's is looked at: more would take longer than the call."""
_LIBRARY = __name__.partition(".")[0]
_MODULES = f"{_LIBRARY}.runtime.nn", f"{_LIBRARY}.nn"
"""Where the classes of this library are whose instances hold a user's Tensors."""


_LOOKS = (getitem, getattr, size_of, contains, elements_of)


def reads(function: Callable[..., Any], roots: Sequence[tuple[str, object]] = ()) -> list[Read]:
    """All that the function may read from outside, given these named objects as arguments too."""
    names: set[str] = set()
    while True:  # a method that is found may mention more attributes
        walk = _Walk(function, names)
        walk.visit(function, "")
        for name, root in roots:
            walk.visit(root, name)
        if walk.names == names or not walk.chooses:
            return walk.found
        names = walk.names


class Guards:
    """Asked before every call, so it goes over everything without running Python code: values are compared by
    identity first, many at a time, and one by one only if some are not the same objects. What that takes is
    found out when it is first asked: native calls seldom do."""

    def __init__(self, reads: Sequence[Read], captured: Sequence[Tensor]) -> None:
        self.reads = reads
        self._captured, self._forms = captured, list(map(_form, captured))

    @derived
    def _by(self) -> dict[Any, list[Read]]:
        """The reads by how they look."""
        return {look: [read for read in self.reads if read.look is look] for look in _LOOKS}

    @derived
    def _items(self) -> list[tuple[Callable[[Any], Any], Any, tuple[Any, ...]]]:
        """What gets the items of a container, this, and what they were."""
        return [
            (
                itemgetter(group[0].key, *(r.key for r in group)),
                place,
                (group[0].value, *(r.value for r in group)),
            )
            for place, group in _grouped(self._by[getitem], lambda read: read.place)
        ]

    @derived
    def _attributes(self) -> list[tuple[Callable[[Any], Any], list[Any], list[Any]]]:
        """What gets an attribute, of which objects, and what it was."""
        return [
            (attrgetter(name), [r.place for r in group], [r.value for r in group])
            for name, group in _grouped(self._by[getattr], lambda read: read.key)
        ]

    @derived
    def _sized(self) -> tuple[list[Any], list[int]]:
        """Containers, and how many items they had."""
        found = self._by[size_of]
        return [read.place for read in found], [read.value for read in found]

    @derived
    def _absent(self) -> tuple[list[Any], list[Any]]:
        """Where there was nothing, and under which keys."""
        found = self._by[contains]
        return [read.place for read in found], [read.key for read in found]

    def hold(self) -> bool:
        """Whether everything is as it was: the same Tensors and objects, equal constants."""
        try:
            for get, place, values in self._items:
                if not all(map(is_, get(place), values)):
                    return self._equal()
            for attribute, places, expected in self._attributes:
                if not all(map(is_, map(attribute, places), expected)):
                    return self._equal()
            return self._shaped()
        except (KeyError, IndexError, AttributeError, ValueError):
            return False

    def broken(self) -> list[Read]:
        """The reads that would find something else now."""
        return [read for read in self.reads if not _same(read)]

    def without(self, ignored: Sequence[Read]) -> Guards:
        """The same, but for these reads."""
        gone = set(map(id, ignored))
        return Guards([read for read in self.reads if id(read) not in gone], self._captured)

    def _shaped(self) -> bool:
        """Whether containers have as many items, objects no attribute more, arrays their elements, Tensors
        their types."""
        containers, sizes = self._sized
        return (
            list(map(len, containers)) == sizes
            and not any(map(contains, *self._absent))
            and all(map(_same, self._by[elements_of]))
            and list(map(_form, self._captured)) == self._forms
        )

    def _equal(self) -> bool:
        """The same one by one: constants may have been replaced by equal ones."""
        return all(map(_same, (*self._by[getitem], *self._by[getattr]))) and self._shaped()


def _same(read: Read) -> bool:
    """Whether the same thing is read as before, or an equal constant."""
    look, place, key, value, _ = read
    try:
        now = look(place, key)
    except (KeyError, IndexError, AttributeError, ValueError):
        return False
    constant = type(now) is type(value) and isinstance(now, _CONSTANTS)
    return now is value or (constant and bool(now == value))


_form = attrgetter("_requires_grad", "_value.shape", "_value.dtype", "_value.strides")


def _grouped(reads: Iterable[Read], key: Callable[[Read], Any]) -> list[tuple[Any, list[Read]]]:
    """Reads with the same key, which need not be hashable."""
    groups: dict[int | str, tuple[Any, list[Read]]] = {}
    for read in reads:
        found = key(read)
        groups.setdefault(found if isinstance(found, str) else id(found), (found, []))[1].append(read)
    return list(groups.values())


class _Walk:
    """One walk. `names` are those that the code of all visited functions mentions, as far as known before."""

    def __init__(self, function: Callable[..., Any], names: set[str]) -> None:
        self.names = set(names)
        self.found: list[Read] = []
        self.chooses = False
        """Whether it has come to anything of which only what is mentioned is read."""
        home = (getattr(function, "__module__", None) or "").partition(".")[0]
        self._home = home if home != _LIBRARY else ""
        self._seen: set[int] = set()
        self._alive: list[object] = []
        """What was seen, so that no `id` is given away twice."""

    def read(self, look: Callable[[Any, Any], Any], place: Any, key: Any, name: str) -> None:
        """Note what is there, and visit it."""
        try:
            value = look(place, key)
        except (KeyError, AttributeError, ValueError):
            return
        if isinstance(value, types.ModuleType | type | types.BuiltinFunctionType) and not self._is_users(
            value
        ):
            return
        if not (isinstance(value, types.FunctionType) and not self._is_users(value)):
            self.found.append(Read(look, place, key, value, name))
        self.visit(value, name)

    def visit(self, value: Any, name: str) -> None:
        """Read what lies behind a value."""
        if isinstance(value, (*_CONSTANTS, Tensor)) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._alive.append(value)
        visit = _VISITS.get(type(value)) or _visit_of(value)
        visit(self, value, name)

    def _is_users(self, value: Any) -> bool:
        """Whether a module, class or function may change, as installed ones do not."""
        module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        top = (module or "").partition(".")[0]
        return top == self._home or not (top == _LIBRARY or _installed(top))

    # ---- one for each kind ---------------------------------------------------------------------------------

    def _function(self, value: types.FunctionType, name: str) -> None:
        """Its code's names; of the user's also cells, globals and defaults."""
        for code in _codes(value.__code__):
            self.names.update(code.co_names)
        if not self._is_users(value):
            return
        for label, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            self.read(getattr, cell, "cell_contents", label)
        for label in dict.fromkeys(n for code in _codes(value.__code__) for n in _globals_of(code)):
            self.read(getitem, value.__globals__, label, label)
        if value.__defaults__:
            self.read(getattr, value, "__defaults__", name)
        self.visit(value.__kwdefaults__, name)

    def _method(self, value: types.MethodType, name: str) -> None:
        self.visit(value.__func__, name)
        self.visit(value.__self__, "self")

    def _partial(self, value: functools.partial[Any], name: str) -> None:
        self.visit(value.func, name)
        self.visit(value.args, name)
        self.visit(value.keywords, name)

    def _tuple(self, value: tuple[Any, ...], name: str) -> None:
        for k in range(len(value)):
            self.read(getitem, value, k, f"{name}_{k}")

    def _list(self, value: list[Any], name: str) -> None:
        self._set(value, name)
        for k in range(min(len(value), _LARGEST_CONTAINER)):
            self.read(getitem, value, k, f"{name}_{k}")

    def _dict(self, value: dict[Any, Any], name: str) -> None:
        self._set(value, name)
        for key in list(value)[:_LARGEST_CONTAINER]:
            self.read(getitem, value, key, f"{name}_{key}")

    def _set(self, value: Any, name: str) -> None:
        self.found.append(Read(size_of, value, None, len(value), name))

    def _array(self, value: np.ndarray[Any, Any], name: str) -> None:
        if value.nbytes <= _LARGEST_ARRAY and not value.dtype.hasobject:
            self.found.append(Read(elements_of, value, None, elements_of(value, None), name))

    def _module(self, value: types.ModuleType, name: str) -> None:
        if self._is_users(value):
            self._attributes(vars(value), name)

    def _class(self, value: type, name: str) -> None:
        """The attributes and methods that are mentioned, and the operators, which need not be."""
        self.chooses = True
        for base in value.__mro__:
            users = self._is_users(base)
            if users or base.__module__.partition(".")[0] == _LIBRARY:
                for label, member in list(vars(base).items()):
                    if label in self.names or (label.startswith("__") and label not in _NOT_CALLED):
                        self._member(member, users, base, label)

    def _member(self, member: Any, users: bool, base: type, label: str) -> None:
        """A method or a constant that a class has for its instances."""
        if users:
            self.found.append(Read(getitem, vars(base), label, member, label))
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if isinstance(member, property):
            member = member.fget
        if users or isinstance(member, types.FunctionType):
            self.visit(member, label)

    def _object(self, value: Any, name: str) -> None:
        """An instance: the attributes that are mentioned, and its class."""
        wrapped = inspect.getattr_static(value, "__wrapped__", None)  # some objects answer to any name
        if isinstance(wrapped, types.FunctionType):
            self.visit(wrapped, name)
            return
        self.chooses = True
        kind = type(value)
        if any(self._is_users(base) or base.__module__.startswith(_MODULES) for base in kind.__mro__[:-1]):
            self.visit(kind, name)
        own = getattr(value, "__dict__", None)
        attributes = own if isinstance(own, dict) else {}
        self._attributes(attributes, name)
        for slot in (s for base in kind.__mro__ for s in getattr(base, "__slots__", ()) if s in self.names):
            self.read(getattr, value, slot, f"{name}_{slot}")
        if isinstance(own, dict):
            for label in self._overridable(kind).difference(own):
                self.found.append(Read(contains, own, label, False, label))

    def _overridable(self, kind: type) -> set[str]:
        """What an object may be given of its own besides what its class has: of the user's classes all that
        is mentioned, of this library's modules what they compute."""
        users = {k for base in kind.__mro__ if self._is_users(base) for k in vars(base) if k in self.names}
        modules = any(base.__module__.startswith(_MODULES) for base in kind.__mro__[:-1])
        return users | {"forward"} if modules else users

    def _attributes(self, attributes: dict[str, Any], name: str) -> None:
        self.chooses = True
        for label in [label for label in attributes if label in self.names]:
            self.read(getitem, attributes, label, f"{name}_{label}" if name != "self" else label)


_NOT_CALLED = {"__init__", "__new__", "__repr__", "__doc__", "__module__", "__dict__", "__weakref__"}
_VISITS: dict[Any, Callable[[_Walk, Any, str], None]] = {
    types.FunctionType: _Walk._function,
    types.MethodType: _Walk._method,
    functools.partial: _Walk._partial,
    tuple: _Walk._tuple,
    list: _Walk._list,
    dict: _Walk._dict,
    set: _Walk._set,
    np.ndarray: _Walk._array,
    types.ModuleType: _Walk._module,
    type: _Walk._class,
}


def _visit_of(value: Any) -> Callable[[_Walk, Any, str], None]:
    """How a value of a subclass of these is visited, or of any other class."""
    return next((how for kind, how in _VISITS.items() if isinstance(value, kind)), _Walk._object)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions, lambdas and comprehensions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


_BY_NAME = {opmap.get(name): 0 for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL")}
_GLOBAL = {opmap["LOAD_GLOBAL"]: 1, **_BY_NAME}
"""What of an instruction's argument, which says which name of the code, does not: the lowest bits."""


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """The names of globals. The others that a code mentions are attributes, whose names a script's variables
    may have by chance."""
    before, instructions = 0, code.co_code
    for operation, argument in zip(instructions[::2], instructions[1::2], strict=True):
        argument |= before
        before = argument << 8 if operation == EXTENDED_ARG else 0
        if operation in _GLOBAL:
            yield code.co_names[argument >> _GLOBAL[operation]]


_PACKAGES = {"site-packages", "dist-packages"}
"""What folders of installed packages are called, a user's own and other environments' among them."""


@functools.cache
def _installed(top: str) -> bool:
    """Whether a top-level module is Python's or was installed."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    spec = getattr(sys.modules.get(top), "__spec__", None)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec is not None else []
    paths = import_module("sysconfig").get_paths()  # late: few functions ask
    homes = tuple(paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(place.startswith(homes) or not _PACKAGES.isdisjoint(Path(place).parts) for place in places)
