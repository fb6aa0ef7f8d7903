"""What native code can take and give back: the arguments and results of a call as ports and returns.

In flow structures (`pytree.py`) and their leaves; out flow ports and returns, or NotPlain where something is
not among them: then the call runs through Python. To let native code take another class of object, say here
how it is compared; a container also needs a way to be taken apart and put together.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import is_dataclass
from enum import Enum
from types import MemberDescriptorType
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Type
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.eager.views import View
from retrograd.runtime.modes import INFERENCE, fresh_counter
from retrograd.runtime.native.placing import Placing
from retrograd.runtime.native.ports import (
    AddressPort,
    ArrayPort,
    ConstantPort,
    DrawPort,
    FloatPort,
    GroupPort,
    Held,
    IntegerPort,
    LeafPort,
    Link,
    OutputPort,
    Port,
    TensorPort,
    Unlike,
    Viewing,
    WeakPort,
)
from retrograd.runtime.native.program import Bindable, NativeProgram
from retrograd.runtime.native.returns import Filled, Given, Listed, Mapped, Named, Returns
from retrograd.runtime.noted import Draw
from retrograd.runtime.pytree import LEAF, Identity, Structure
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


def fresh() -> dict[str, object]:
    """The slots of a Tensor that is made now without history, besides its value."""
    slots = dict.fromkeys(("_edge", "_grad", "_view", "_leaf"))
    return {"_requires_grad": False, "_counter": fresh_counter(), **slots}


_VIEWING = Viewing("_view", View, "base", "version", "_counter")
"""How a Tensor is a view of another."""

_FLOATS = (float, np.float64, np.float32)
_SINGLE = (bool, type(None), type(...), DType)
"""Classes of constants that are there only once."""
_BY_VALUE = (int, str, bytes, float, complex, range)
"""Classes whose comparison runs no Python code."""


class NotPlain(Exception):
    """Something that only Python can do."""


# ---- what goes in ------------------------------------------------------------------------------------------


class Lying(NamedTuple):
    """A leaf, where its elements lie (None is in order), and whether it is written to."""

    leaf: Any
    place: Placing | None
    updated: bool


def names_of(structure: Structure) -> tuple[str, ...]:
    """Of the arguments that are passed by name."""
    names: tuple[str, ...] = structure[2][1][1]
    return names


def arguments_of(
    structure: Structure, leaves: Sequence[Any], program: Bindable, updated: Collection[int]
) -> list[Port]:
    """Positional arguments, then those by name. Those inputs are updated."""
    lying = iter([Lying(x, program.placings.get(k), k in updated) for k, x in enumerate(leaves)])
    return [_argument(part, lying) for group in structure[2] for part in group[2]]


def held_by(
    things: Sequence[Any],
    start: int,
    program: Bindable,
    updated: Collection[int],
    draws: Sequence[Draw],
    kept: bool = False,
) -> list[Held]:
    """What a program takes besides arguments, as its inputs from number `start` on. Some are drawn, and these
    numbers `kept` for later."""
    drawn = {id(draw.tensor): draw for draw in draws}
    if [id(x) for x in things if id(x) in drawn] != [*drawn] or not all(d.law.is_direct for d in draws):
        raise NotPlain
    return [
        (x, _drawn(drawn[id(x)], kept))
        if id(x) in drawn
        else (x, _leaf(Lying(x, program.placings.get(k), k in updated)))
        for k, x in enumerate(things, start)
    ]


def _drawn(draw: Draw, kept: bool) -> DrawPort:
    return DrawPort(Tensor, "_value", draw.law, draw.generator, draw.tensor._value.shape, kept)


def _argument(part: Structure, leaves: Iterator[Lying]) -> Port:
    if part is LEAF:
        return _leaf(next(leaves))
    if isinstance(part, Identity):
        return WeakPort(part.value) if part.weak else ConstantPort(part.value)
    if len(part) == 2:
        return _constant(*part)
    kind, names, parts = part
    members = tuple([_argument(member, leaves) for member in parts])
    if issubclass(kind, tuple):
        return GroupPort(kind, (), members)
    if kind not in (list, dict) and not _keeps(kind, names):
        raise NotPlain
    return GroupPort(kind, names, members)


def _constant(kind: type, value: Any) -> Port:
    """What is compared by identity, or by value without running Python code. Zeros may be equal without being
    the same."""
    if kind is slice:
        if not all(type(x) in (int, type(None)) for x in value):
            raise NotPlain
        return ConstantPort(slice(*value), True)
    if kind in _SINGLE or issubclass(kind, Enum):
        return ConstantPort(value)
    if kind not in _BY_VALUE and not issubclass(kind, np.generic | np.dtype):
        raise NotPlain
    return ConstantPort(value, issubclass(kind, int | str | bytes | range | np.dtype) or bool(value != 0))


def _keeps(kind: type, names: Sequence[str]) -> bool:
    """Whether instances of a dataclass keep these attributes themselves, so that looking at them runs no code
    and makes nothing new."""
    own = [inspect.getattr_static(kind, name, None) for name in names]
    looking = inspect.getattr_static(kind, "__getattribute__")
    looked_up = looking is vars(object)["__getattribute__"] and not hasattr(kind, "__getattr__")
    computed = [x for x in own if hasattr(type(x), "__get__") and type(x) is not MemberDescriptorType]
    return is_dataclass(kind) and looked_up and not computed


def _leaf(lying: Lying) -> LeafPort:
    leaf, place, updated = lying
    if type(leaf) in _FLOATS:
        return FloatPort(np.dtype(np.float64), type(leaf))
    tensor = isinstance(leaf, Tensor)
    value = leaf._value if tensor else leaf
    if isinstance(value, DeviceArray):
        return _elsewhere(leaf, value)
    if type(value) is not np.ndarray or not value.dtype.isnative:
        raise NotPlain
    if not tensor:
        return ArrayPort(value.dtype, value.shape, place, updated)
    also = {"_requires_grad": leaf._requires_grad, "_counter": _inference_or_not(leaf)}
    return TensorPort(type(leaf), "_value", value.dtype, value.shape, also, place, _VIEWING, updated)


def _inference_or_not(leaf: Tensor) -> object:
    """Whether it is an inference tensor, as a slot tells."""
    return INFERENCE if leaf._counter is INFERENCE else Unlike(INFERENCE)


def _elsewhere(leaf: Any, value: DeviceArray) -> AddressPort:
    """Of a device's array in a Tensor that is no view."""
    links = value.links()
    if leaf is value or leaf._view is not None or links is None:
        raise NotPlain
    also = {"_requires_grad": leaf._requires_grad, "_view": None, "_counter": _inference_or_not(leaf)}
    return AddressPort((Link(type(leaf), "_value", also), *links), value.nbytes)


# ---- what comes out ----------------------------------------------------------------------------------------


def output(kind: Type, tensor: bool, program: Bindable, number: int) -> OutputPort:
    """An output of the program, as a Tensor or as what somebody gets who passes arrays."""
    dtype = kind.dtype.numpy
    if not isinstance(program, NativeProgram):
        away = program.output(kind, Link(Tensor, "_value", fresh())) if tensor else None
        if away is None:
            raise NotPlain
        return away
    place = program.results.get(number)
    if tensor:
        return TensorPort(Tensor, "_value", dtype, kind.shape, fresh(), place)
    if kind.shape:
        return ArrayPort(dtype, kind.shape, place)
    if dtype.kind in "bi":
        return IntegerPort(dtype)
    if dtype not in (np.float64, np.float32):
        raise NotPlain
    return FloatPort(dtype)


def returns_of(result: Structure, leaves: Iterator[Returns]) -> Returns:
    """A structure, with these in place of its leaves."""
    if result is LEAF:
        return next(leaves)
    if isinstance(result, Identity):
        return Given(result.value)
    if len(result) == 2:
        kind, value = result
        return Given(slice(*value) if kind is slice else value)
    kind, names, parts = result
    members = tuple([returns_of(part, leaves) for part in parts])
    if kind is tuple:
        return members
    if kind is list:
        return Listed(members)
    if kind is dict:
        return Mapped(names, members)
    if issubclass(kind, tuple) and _is_made_plainly(kind):
        return Named(kind, members)
    if not _keeps(kind, names):
        raise NotPlain
    return Filled(kind, dict(zip(names, members)))


def _is_made_plainly(kind: type[tuple[Any, ...]]) -> bool:
    """Whether a named tuple's class makes its instances as `namedtuple` has written it."""
    return "_tuple_new" in getattr(kind.__new__, "__globals__", {})
