"""Containers: Modules that hold others, or parameters, in a sequence or by name."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

from retrograd.compiler.errors import ArgumentError, DimensionError, NameTakenError, mirrored
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter, typename
from retrograd.runtime.tensor import Tensor

C = TypeVar("C", bound="_Listed")
S = TypeVar("S", bound="Sequential")
L = TypeVar("L", bound="ModuleList")


def _place(index: Any, length: int) -> int:
    place = operator.index(index)
    if not -length <= place < length:
        raise DimensionError(mirrored(f"index {place} is out of range"))
    return place % length


class _Listed(Module):
    """Modules in a sequence; their names are their places."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())  # type: ignore[arg-type]  # a container holds no None

    def _name(self, index: Any) -> str:
        return list(self._modules)[_place(index, len(self))]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._of(list(self._modules.items())[index])
        return self._modules[self._name(index)]

    def _of(self, items: list[tuple[str, Any]]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        for name in names[index] if isinstance(index, slice) else [self._name(index)]:
            delattr(self, name)
        self._restore(list(self._modules.values()))

    def _restore(self, modules: list[Any]) -> None:
        """These modules, numbered anew."""
        self._modules = {str(k): module for k, module in enumerate(modules)}

    def append(self: C, module: Module) -> C:
        self.add_module(str(len(self)), module)
        return self

    def extend(self: C, modules: Iterable[Module]) -> C:
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: C, index: int, module: Module) -> Any:
        if not isinstance(module, Module):
            raise ArgumentError(mirrored(f"module should be of type: {Module}"))
        if not -len(self) <= index <= len(self):
            raise DimensionError(mirrored(f"Index out of range: {index}"))
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._restore(modules)
        return self

    def pop(self, key: Any) -> Module:
        module: Module = self[key]
        del self[key]
        return module


class Sequential(_Listed):
    """One module after the other: `Sequential(a, b)(x)` is `b(a(x))`. An OrderedDict gives them names."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = len(args) == 1 and isinstance(args[0], OrderedDict)
        for name, module in args[0].items() if named else ((str(k), m) for k, m in enumerate(args)):
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]  # a container holds no None
        return input

    def _of(self, items: list[tuple[str, Any]]) -> Sequential:
        return self.__class__(OrderedDict(items))

    def extend(self: S, sequential: Iterable[Module]) -> S:
        return super().extend(sequential)

    def __mul__(self, other: int) -> Sequential:
        """The modules, the same ones, so many times."""
        return Sequential(*self._times(other))

    __rmul__ = __mul__

    def __imul__(self: S, other: int) -> S:
        self._restore(self._times(other))
        return self

    def _times(self, count: int) -> list[Module]:
        if not isinstance(count, int):
            raise ArgumentError(
                mirrored(f"unsupported operand type(s) for *: {type(self)} and {type(count)}")
            )
        if count <= 0:
            raise ArgumentError(mirrored(f"Non-positive multiplication factor {count} for {type(self)}"))
        return list(self) * count

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ArgumentError(
                mirrored(
                    f"add operator supports only objects of Sequential class, but {type(other)} is given."
                )
            )
        return Sequential(*self, *other)


class ModuleList(_Listed):
    """A list of modules that are registered. It is no function: call its items."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def extend(self: L, modules: Any) -> L:
        if not isinstance(modules, Iterable):
            kind = type(modules).__name__
            raise ArgumentError(
                mirrored(f"ModuleList.extend should be called with an iterable, but got {kind}")
            )
        return super().extend(modules)

    def _of(self, items: list[tuple[str, Any]]) -> ModuleList:
        return self.__class__(module for _, module in items)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def insert(self, index: int, module: Module) -> None:
        super().insert(index, module)

    def __repr__(self) -> str:
        """Equal neighbours are shown once, with their number."""
        texts = [repr(module) for module in self]
        lines: list[str] = []
        start = 0
        for k, text in enumerate(texts):
            if k + 1 < len(texts) and texts[k + 1] == text:
                continue
            label = f"({k}): " if k == start else f"({start}-{k}): {k - start + 1} x "
            lines.append(label + text.replace("\n", "\n  "))
            start = k + 1
        inside = "\n  ".join(lines)
        return f"{self._get_name()}(\n  {inside}\n)" if lines else f"{self._get_name()}()"


class ModuleDict(Module):
    """A dict of modules that are registered."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return _found(self._modules, key)  # type: ignore[no-any-return]  # what the table holds

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        self._modules.clear()

    def pop(self, key: str) -> Module:
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Iterable[str]:
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._modules.items()

    def values(self) -> Iterable[Any]:
        return self._modules.values()

    def update(self, modules: Any) -> None:
        for key, module in _pairs(modules):
            self[key] = module


def _pairs(given: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(given, ModuleDict | ParameterDict | Mapping):
        return given.items()
    if not isinstance(given, Iterable):
        raise ArgumentError(
            mirrored(
                "ModuleDict.update should be called with an iterable of key/value pairs, but got "
                f"{type(given).__name__}"
            )
        )
    return list(given)


def _found(table: Mapping[str, Any], key: str) -> Any:
    if key not in table:
        raise NameTakenError(mirrored(key))
    return table[key]


# ---- of parameters -----------------------------------------------------------------------------------------


def _shown(name: object, value: Any, kind: str) -> str:
    """The line of a container's text for one thing it holds."""
    if not isinstance(value, Tensor):
        return f"  ({name}): Object of type: {type(value).__name__}"
    what = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(str(s) for s in value.shape)
    return f"  ({name}): {what} containing: [{kind} of size {size}]"


class ParameterList(Module):
    """A list of parameters that are registered; Tensors in it become Parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(k)) for k in range(self._size)])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.__class__(list(self)[index])
        return getattr(self, str(_place(index, self._size)))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(_place(index, self._size)), _as_parameter(value))

    def append(self, value: Any) -> ParameterList:
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        if isinstance(values, Tensor):
            raise ArgumentError(
                mirrored(
                    f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}"
                )
            )
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(_shown(k, value, str(getattr(value, "dtype", ""))) for k, value in enumerate(self))


class ParameterDict(Module):
    """A dict of parameters that are registered; Tensors in it become Parameters."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise NameTakenError(mirrored(key))
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> Iterable[str]:
        return self._keys.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        return [(key, self[key]) for key in self._keys]

    def values(self) -> Iterable[Any]:
        return [self[key] for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """What is there under a key; the default, which is put there, if nothing is."""
        if key not in self._keys:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """The last key and what was there."""
        if not self._keys:
            raise NameTakenError(mirrored("popitem(): dictionary is empty"))
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def copy(self) -> ParameterDict:
        return ParameterDict(OrderedDict(self.items()))

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A new one with these keys, and the same under each."""
        return ParameterDict((key, default) for key in keys)

    def clear(self) -> None:
        for key in list(self._keys):
            del self[key]

    def update(self, parameters: Any) -> None:
        for key, value in _pairs(parameters):
            self[key] = value

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __or__(self, other: Any) -> ParameterDict:
        found = self.copy()
        found.update(other)
        return found

    def __ror__(self, other: Any) -> ParameterDict:
        found = ParameterDict(other)
        found.update(self)
        return found

    def __ior__(self, other: Any) -> ParameterDict:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        return "\n".join(_shown(key, value, typename(value)) for key, value in self.items())


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value
