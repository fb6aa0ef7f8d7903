"""What PyTorch says of arguments that do not fit a function of its: its parser's sentences.

`refused(forms, args, kwargs)` compares arguments with the forms that PyTorch has under a name
(`signatures.txt`, made by `docs/signatures.py`), and gives the words of PyTorch's parser if none of them
takes these arguments. `telling.py` asks, when a call has failed. A line of the table:

    nn.functional.linear: linear(Tensor input, Tensor weight, Tensor? bias = None)
    area and name         error's name(type name, … [, *, keywords alone …])

where `?` takes None, `tuple[1] of ints` one int, too, `!` after the name marks a function with forms that
are not told, and `TensorBase` a method that takes nothing at all. A new type is an entry of `FITS`; a line
that begins with `def` is of a function in Python (`routines.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.record import record
from retrograd.runtime.device import device
from retrograd.runtime.eager.formats import memory_format
from retrograd.runtime.names import ALIASES
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor

TABLE = Path(__file__).with_name("signatures.txt")

NUMBERS_TOO = {
    "add", "sub", "mul", "div", "divide", "multiply", "subtract", "true_divide", "copy", "copysign",
    "floor_divide", "remainder", "fmod", "eq", "ne", "lt", "le", "gt", "ge", "index_put", "pow",
}  # fmt: skip
"""Functions that take a number for a Tensor, also in place."""


@record(slots=True)
class Parameter:
    """One argument of a form."""

    kind: str
    name: str
    default: str | None
    none: bool
    """None is one of its values."""
    keyword: bool

    @property
    def told_kind(self) -> str:
        return self.kind.replace("[1]", "")

    def __str__(self) -> str:
        return f"{self.told_kind} {self.name}" + (f" = {self.default}" if self.default is not None else "")


@record(slots=True)
class Form:
    """One way to call a function."""

    called: str
    parameters: tuple[Parameter, ...]
    several: bool
    """Whether PyTorch's parser knows more forms than it tells of."""

    @property
    def most(self) -> int:
        return sum(not p.keyword for p in self.parameters)

    @property
    def least(self) -> int:
        return sum(p.default is None for p in self.parameters)

    @property
    def spreads(self) -> bool:
        """Whether sizes may be given one by one."""
        first = self.parameters[0] if self.most == 1 else None
        return first is not None and first.told_kind == "tuple of ints" and not first.none

    def __str__(self) -> str:
        texts = [str(p) for p in self.parameters]
        if self.most < len(texts):
            texts.insert(self.most, "*")
        return f"({', '.join(texts)})"


def _form(written: str) -> Form:
    called, _, inside = written[:-1].partition("(")
    parameters: list[Parameter] = []
    keyword = False
    for part in re.split(r", (?![^{(\[]*[})\]])", inside) if inside else ():
        if part == "*":
            keyword = True
            continue
        declared, _, default = part.partition(" = ")
        kind, _, own = declared.rpartition(" ")
        optional = default or None
        none = kind.endswith("?") or default == "None" or kind == "torch.Generator"
        parameters.append(Parameter(kind.removesuffix("?"), own, optional, none, keyword))
    return Form(called.removesuffix("!"), tuple(parameters), called.endswith("!"))


@cache
def _table() -> str:
    return "\n" + TABLE.read_text(encoding="utf-8")


@cache
def lines(name: str) -> Sequence[str]:
    """What the table says of a name, with its area, in lines one after the other. They are searched for, as
    few of its names are asked for in a program."""
    table, begin = _table(), f"\n{name}: "
    at, found = table.find(begin), []
    while at >= 0 and table.startswith(begin, at):
        end = table.index("\n", at + 1)
        found.append(table[at + len(begin) : end])
        at = end
    return found


@cache
def forms(name: str) -> tuple[Form, ...]:
    """The forms under this name, with its area."""
    return tuple(_form(written) for written in lines(name) if not written.startswith("def "))


# ---- does an argument fit? ---------------------------------------------------------------------------------


def _is_int(x: Any) -> bool:
    if isinstance(x, Tensor):
        return not x.ndim and not x.requires_grad and not x.dtype.is_inexact
    return (isinstance(x, int | np.integer) and not isinstance(x, bool)) or x is WORKED_OUT


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | complex | np.number | np.bool_) or (
        isinstance(x, Tensor) and not x.ndim
    )


def _are_ints(x: Any) -> bool:
    """PyTorch looks at the first of a sequence, and finds the others when it unpacks them."""
    return isinstance(x, tuple | list) and (not x or _is_int(x[0]))


FITS: dict[str, Callable[[Any], bool]] = {
    "Tensor": lambda x: isinstance(x, Tensor),
    "int": _is_int,
    "bool": lambda x: isinstance(x, bool | np.bool_),
    "float": lambda x: _is_number(x) and not isinstance(x, complex),
    "Number": _is_number,
    "str": lambda x: isinstance(x, str),
    "object": lambda x: True,
    "torch.dtype": lambda x: isinstance(x, DType) or x in (int, float, bool, complex),
    "torch.device": lambda x: isinstance(x, str | device) or _is_int(x),
    "torch.Generator": lambda x: isinstance(x, Generator),
    "torch.memory_format": lambda x: isinstance(x, memory_format),
    "tuple of ints": _are_ints,
    "tuple[1] of ints": lambda x: _is_int(x) or _are_ints(x),
    "tuple of floats": lambda x: isinstance(x, tuple | list) and (not x or _is_number(x[0])),
    "tuple of Tensors": lambda x: isinstance(x, tuple | list),
}
"""Whether an argument is of a type, by the parser's name of it; of others, anything is."""


def takes_numbers(name: str) -> bool:
    """Whether the function of this name at the top takes a number as its second operand."""
    ways = forms(name)
    return not ways or any(fits(p, 1.5, name) for form in ways for p in form.parameters[1:2])


class _WorkedOut:
    """Stands for an argument that a function of PyTorch's makes of what it was given: it fits."""


WORKED_OUT = _WorkedOut()

SHOWN = {
    DType: "torch.dtype", device: "torch.device", memory_format: "torch.memory_format", _WorkedOut: "Tensor",
}  # fmt: skip
"""Names of types that say where they are from, or are ours alone."""


def kind_of(x: object) -> str:
    return SHOWN.get(type(x), type(x).__name__)


def fits(parameter: Parameter, x: Any, called: str) -> bool:
    if x is WORKED_OUT:
        return True
    if x is None:
        return parameter.none or parameter.kind == "object"
    if parameter.kind == "Tensor" and called.removesuffix("_") in NUMBERS_TOO and _is_number(x):
        return True
    check = FITS.get(parameter.kind)
    return check is None or check(x)


# ---- the parser --------------------------------------------------------------------------------------------


def refusal(form: Form, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Why the arguments do not fit a form; empty if they do."""
    called, names = form.called, [p.name for p in form.parameters]
    if len(args) > form.most and not (form.spreads and _is_int(args[0])):
        return _too_many(form, len(args))
    left = dict(kwargs)
    place = 0
    for k, parameter in enumerate(form.parameters):
        by_name = place >= len(args)
        if not by_name and parameter.keyword:
            return _too_many(form, len(args))
        given = left.pop(_written(parameter.name, left), _ABSENT) if by_name else args[place]
        if given is _ABSENT:
            if parameter.default is None and not (parameter.none and parameter.keyword):
                return _missing(form, k)
            continue
        if not by_name and place == 0 and form.spreads and _is_int(given):
            given, place = tuple(args), len(args)
        elif not by_name:
            place += 1
        wrong = _wrong(called, parameter, given, None if by_name else k + 1)
        if wrong:
            return wrong
    for name in left:
        if _written(name, names) not in names:
            return f"{called}() got an unexpected keyword argument '{name}'"
        return f"{called}() got multiple values for argument '{name}'"
    return ""


_ABSENT = object()
NO_ELEMENT = "expected Tensor as element"


def _written(name: str, among: Any) -> str:
    """The name itself or, where it is not among those, NumPy's of it, or PyTorch's."""
    if name in among:
        return name
    return next((a for a, b in ALIASES.items() if b == name and a in among), ALIASES.get(name, name))


def _wrong(called: str, parameter: Parameter, given: Any, position: int | None) -> str:
    name, kind = parameter.name, parameter.told_kind
    if not fits(parameter, given, called):
        where = "" if position is None else f" (position {position})"
        found = f"not {kind_of(given)}"
        if kind in ("tuple of ints", "tuple of floats") and isinstance(given, tuple | list):
            found = f"but found element of type {kind_of(given[0])} at pos 0"
        return f"{called}(): argument '{name}'{where} must be {kind}, {found}"
    if kind == "tuple of Tensors":
        for k, each in enumerate(() if given is WORKED_OUT else given):
            if not isinstance(each, Tensor):
                argument = (position or 1) - 1
                return f"{NO_ELEMENT} {k} in argument {argument}, but got {kind_of(each)}"
    return ""


def _unpacking(form: Form, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Which element of a sequence of sizes is none, when all else fits."""
    for k, parameter in enumerate(form.parameters):
        given = args[k] if k < len(args) else kwargs.get(_written(parameter.name, kwargs))
        if k == 0 and form.spreads and args and _is_int(given):
            given = args
        if parameter.told_kind != "tuple of ints" or not isinstance(given, tuple | list):
            continue
        for place, each in enumerate(given):
            if not _is_int(each) and not isinstance(each, bool):
                return (
                    f"{form.called}(): argument '{parameter.name}' failed to unpack the object at pos "
                    f'{place + 1} with error "type must be tuple of ints,but got {kind_of(each)}"'
                )
    return ""


def _too_many(form: Form, given: int) -> str:
    most, least = form.most, form.least
    if least != most:
        return f"{form.called}() takes from {least} to {most} positional arguments but {given} were given"
    return (
        f"{form.called}() takes {most} positional argument{'' if most == 1 else 's'} but {given} "
        f"{'was' if given == 1 else 'were'} given"
    )


def _missing(form: Form, first: int) -> str:
    names = [f'"{p.name}"' for p in form.parameters[first:] if p.default is None]
    return (
        f"{form.called}() missing {len(names)} required positional argument{'s' if len(names) == 1 else ''}: "
        f"{', '.join(names)}"
    )


# ---- several forms -----------------------------------------------------------------------------------------


def refused(known: Sequence[Form], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What PyTorch says of these arguments to a function of these forms; empty if one takes them."""
    reasons = [refusal(form, args, kwargs) for form in known]
    if not all(reasons):
        return _unpacking(known[reasons.index("")], args, kwargs)
    if len(known) == 1 and not known[0].several:
        return reasons[0]
    for reason in reasons:
        if reason.startswith(NO_ELEMENT):  # which ends PyTorch's search
            return reason
    number = len(args) + len(kwargs)
    plausible = [k for k, form in enumerate(known) if form.least <= number <= len(form.parameters)]
    if len(plausible) == 1:
        return reasons[plausible[0]]
    head = f"{known[0].called}() received an invalid combination of arguments - got "
    if len(known) > 1:
        rest = "".join(_beside(form, args, kwargs) for form in known)
        return f"{head}{_given(args, kwargs)}, but expected one of:\n{rest}"
    parts = _slots(known[0])
    unknown = _unknown(parts, kwargs)
    if unknown:
        return f"{head.removesuffix('got ')}got unrecognized keyword arguments: {', '.join(unknown)}"
    counted = len(args) + len(kwargs) == len(parts)
    given = _compared(parts, args, kwargs) if counted else _given(args, kwargs)
    return f"{head}{given}, but expected {known[0]}"


def _given(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The types of all arguments; those with a name last come first, as they lie in PyTorch's table."""
    parts = [*map(kind_of, args), *(f"{name}={kind_of(kwargs[name])}" for name in reversed([*kwargs]))]
    return f"({', '.join(parts)}{', ' * bool(parts and not args)})"


def _shown(x: Any) -> str:
    """A type; of a list or tuple also those of its elements."""
    if not isinstance(x, tuple | list):
        return kind_of(x)
    inside = ", ".join(map(kind_of, x))
    if isinstance(x, list):
        return f"{kind_of(x)} of [{inside}]"
    return f"{kind_of(x)} of ({inside}{',' * (len(x) == 1)})"


def _beside(form: Form, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The line of one form; where as many arguments were given as its text has parts, what does not fit."""
    parts = _slots(form)
    line = f" * {form}\n"
    if len(args) + len(kwargs) != len(parts):
        return line
    why = "some of the arguments have invalid types: "
    unknown = _unknown(parts, kwargs)
    if unknown:
        why, told = "some of the keywords were incorrect: ", ", ".join(unknown)
    else:
        told = _compared(parts, args, kwargs)
    return f"{line}      didn't match because {why}{told}\n"


def _slots(form: Form) -> list[tuple[str, str]]:
    """What PyTorch takes for the types and the names in the text of a form: what stands before and after
    the last blank of a part, so that a parameter with a default goes by none of its own."""
    slots = [part.rpartition(" ") for part in str(form)[1:-1].split(", ")]
    return [(kind, name) for kind, _, name in slots]


def _unknown(parts: Sequence[tuple[str, str]], kwargs: Mapping[str, Any]) -> list[str]:
    names = [name for _, name in parts[max(0, len(parts) - len(kwargs)) :]]
    return [name for name in reversed([*kwargs]) if name not in names]


def _compared(parts: Sequence[tuple[str, str]], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The types of arguments beside those of the parts, with marks at those that differ."""
    told = [_marked(kind, x, "") for (kind, _), x in zip(parts, args)]
    told += [_marked(kind, kwargs[name], f"{name}=") for kind, name in parts[len(args) :]]
    return f"({', '.join(told)}{', ' * bool(told and not args)})"


def _marked(told: str, x: Any, name: str) -> str:
    kind = kind_of(x)
    same = kind == told or (told == "float" and kind == "int")
    return f"{name}{_shown(x)}" if same else f"!{name}{_shown(x)}!"


def nothing_taken(known: Sequence[Form], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The same for a method that takes no arguments."""
    called = known[0].called
    if kwargs:
        return f"{called}() takes no keyword arguments"
    return f"{called}() takes no arguments ({len(args)} given)" if args else ""
