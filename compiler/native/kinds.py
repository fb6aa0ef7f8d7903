"""What the native language knows of a type: how its values are held, and how they lie in memory.

In flow the types of annotations; out flow `Kind`s. The LLVM types of single values are i64, double, i1 and
ptr; narrower ones are widened when they are read, and narrowed when they are written. The lanes of a vector
are as wide as in memory.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from retrograd.compiler.native.language import Array, At, InPlace, Native, Record, Vector, Width, places
from retrograd.compiler.record import record

BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "float": 4, "i64": 8, "double": 8, "ptr": 8}
"""Of LLVM's types in memory."""

ELEMENTS = {llvm: llvm for llvm in BYTES} | {"float": "f32", "double": "f64"}
"""How the names of LLVM's functions spell them."""


@record(slots=True)
class Kind:
    """A type: `llvm` of its values, `memory` where they lie; of addresses what is there, if that is known."""

    llvm: str
    memory: str
    unsigned: bool = False
    element: Kind | None = None
    fields: type[Record] | None = None
    signature: tuple[tuple[Kind, ...], Kind] | None = None
    """Parameters and result of what lies at the address."""
    lane: Kind | None = None
    lanes: int = 1

    @property
    def number(self) -> str:
        """The LLVM type of one lane."""
        return self.llvm if self.lane is None else self.lane.memory

    @property
    def is_open(self) -> bool:
        """Whether it is, or holds, a type that the caller decides."""
        return self.memory == "" or any(
            part is not None and part.is_open for part in (self.element, self.lane)
        )


@record(slots=True)
class Field:
    kind: Kind
    at: int | str
    """Bytes, or the name of a number that is given."""
    in_place: bool


INT, UNSIGNED = Kind("i64", "i64"), Kind("i64", "i64", unsigned=True)
FLOAT, BOOL, NOTHING = Kind("double", "double"), Kind("i1", "i1"), Kind("void", "void")
ADDRESS, OPEN = Kind("ptr", "ptr"), Kind("", "")
LANES = {
    "f32": Kind("double", "float"), "f64": FLOAT, "i64": INT, "i32": Kind("i64", "i32"),
    "i8": Kind("i64", "i8"), "i16": Kind("i64", "i16"), "i1": BOOL,
}  # fmt: skip
"""What lanes are that `backends/vector.py` calls so."""
_PLAIN: dict[Any, Kind] = {int: INT, float: FLOAT, bool: BOOL, None: NOTHING, type(None): NOTHING}


def kind_of(annotation: Any) -> Kind:
    """The kind of a type. Raises TypeError for one that the language does not have."""
    if isinstance(annotation, typing.Hashable) and annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, TypeVar):
        return OPEN
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind = kind_of(arguments[0])
        widths = [mark for mark in arguments[1:] if isinstance(mark, Width)]
        return Kind(kind.llvm, widths[0].llvm, widths[0].unsigned) if widths else kind
    if origin in (Union, types.UnionType):
        (present,) = (kind_of(one) for one in arguments if one is not type(None))
        return present
    if origin is Array:
        return Kind("ptr", "ptr", element=kind_of(arguments[0]))
    if origin is Vector:
        lane, lanes = arguments
        return OPEN if isinstance(lanes, TypeVar) else vector_of(kind_of(lane), *get_args(lanes))
    if origin is Callable:
        parameters, result = arguments
        return Kind("ptr", "ptr", signature=(tuple(map(kind_of, parameters)), kind_of(result)))
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return Kind("ptr", "ptr", fields=annotation)
    raise TypeError(f"the native language has no type {annotation!r}")


def vector_of(lane: Kind, lanes: int) -> Kind:
    """The kind of so many numbers at once."""
    llvm = f"<{lanes} x {lane.memory}>"
    return Kind(llvm, llvm, lane.unsigned, lane=lane, lanes=lanes)


def fields_of(cls: type[Record]) -> dict[str, Field]:
    """The fields of a record, those it inherits first."""
    found, in_order = dict[str, Field](), places(cls)
    for name, annotation in typing.get_type_hints(cls, include_extras=True).items():
        marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
        said = [mark.offset for mark in marks if isinstance(mark, At)]
        in_place = any(isinstance(mark, InPlace) for mark in marks)
        found[name] = Field(kind_of(annotation), said[0] if said else 8 * in_order[name].start, in_place)
    return found


@functools.cache
def signature_of(function: Native) -> tuple[dict[str, Kind], Kind]:
    """The parameters and the result of a function."""
    hints = typing.get_type_hints(function.function, None, {**function.bound}, include_extras=True)
    result = kind_of(hints.pop("return"))
    return {name: kind_of(hint) for name, hint in hints.items()}, result
