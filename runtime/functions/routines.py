"""What PyTorch says of a wrong call of one of its functions that are written in Python.

Such a function says what Python says of arguments that it has no place for, and else what is said by the
first of the attributes and operators that it asks of them. A line of `signatures.txt` has both:

    nn.functional.elu: def elu(input, alpha=1.0, inplace=False): _nn.elu(input, alpha)

where `_` is something worked out, `pair(x)` an argument spread over axes, `spread(x)` starred arguments or
the list that is the only one, `filled(x)` sizes of which None stands for the input's, `given(x)` one that is
found where it is None; `usual(x)` ends the list where x is not as by default, `[…] if inplace else […]` goes
on by either of two, and is the last; `whole(x)` and `word(x)` ask whether x is an int, or a str. The lines
are made by `docs/routines.py`; `telling.py` asks for them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from retrograd.compiler.errors import ArgumentError, AttributeMissingError, RetrogradError, mirrored
from retrograd.compiler.record import record
from retrograd.runtime.functions.refusals import WORKED_OUT, lines
from retrograd.runtime.tensor import Tensor

Ask = Callable[[str, Sequence[Any], Mapping[str, Any]], Exception | None]
"""What is wrong with a call of the function of this name in the table."""


@record(slots=True)
class Routine:
    """A function that PyTorch has in Python."""

    called: str
    parameters: str
    """As Python writes them."""
    uses: tuple[ast.expr, ...]
    """What it asks of its arguments: attributes and calls, in order."""


@cache
def routine_of(name: str) -> Routine | None:
    """The routine of the table under this name, with its area, if that is one."""
    written = next((line for line in lines(name) if line.startswith("def ")), None)
    if written is None:
        return None
    head, _, uses = written.removeprefix("def ").partition("): ")
    called, _, parameters = head.partition("(")
    asked = [ast.parse(use, mode="eval").body for use in uses.split("; ") if use]
    return Routine(called, parameters.removesuffix(")"), tuple(asked))


@cache
def _signature(routine: Routine) -> Callable[..., dict[str, Any]]:
    """A function of these parameters that gives them by name."""
    return _binding(routine.called, routine.parameters)


def _binding(called: str, parameters: str) -> Callable[..., dict[str, Any]]:
    """A function of this name and these parameters that gives them by name."""
    space: dict[str, Any] = {}
    name = called.rpartition(".")[2]
    exec(f"def {name}({parameters}): return locals()", space)
    space[name].__qualname__ = called
    made: Callable[..., dict[str, Any]] = space[name]
    return made


def misplaced(called: str, parameters: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What Python says of these arguments to a function of this name, with these parameters, as Python writes
    them; nothing if it takes them."""
    try:
        _binding(called, ", ".join(parameters))(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return ""


def complaint(routine: Routine, args: Sequence[Any], kwargs: Mapping[str, Any], ask: Ask) -> Exception | None:
    """What the routine would raise for these arguments, as far as its uses tell."""
    try:
        bound = _signature(routine)(*args, **kwargs)
    except TypeError as error:
        return ArgumentError(mirrored(str(error)))
    return _first(routine, routine.uses, bound, ask)


def _first(
    routine: Routine, uses: Iterable[ast.expr], bound: Mapping[str, Any], ask: Ask
) -> Exception | None:
    """What the first of these uses that fails says."""
    for use in uses:
        try:
            match use:
                case ast.Call(func=ast.Name(id="usual"), args=options):
                    if any(_unusual(routine, x, bound) for x in options):
                        return None
                    continue
                case ast.IfExp(test=test, body=ast.List(elts=one), orelse=ast.List(elts=other)):
                    return _first(routine, one if _holds(test, bound) else other, bound, ask)
            found = _missing(use, bound, ask)
        except RetrogradError as error:
            return error
        if found is not None:
            return found
    return None


def _holds(test: ast.expr, bound: Mapping[str, Any]) -> bool:
    """Whether a question about arguments is answered with yes."""
    match test:
        case ast.Compare(left=ast.Name(id=name), ops=[relation], comparators=[ast.Constant(value=value)]):
            given = bound[name]
            same = given is value if not isinstance(relation, ast.Eq) else bool(given == value)
            return same is not isinstance(relation, ast.IsNot)
        case ast.Call(func=ast.Name(id="whole" | "word" as kind), args=[only]):
            return type(_value(only, bound)) is (int if kind == "whole" else str)
        case ast.BoolOp(op=op, values=values):
            return (all if isinstance(op, ast.And) else any)(_holds(each, bound) for each in values)
    return bool(_value(test, bound))


def _unusual(routine: Routine, x: ast.expr, bound: Mapping[str, Any]) -> bool:
    """Whether an argument is not as by default."""
    given, default = _value(x, bound), _defaults(routine)[ast.unparse(x)]
    return type(given) is not type(default) or given != default


@cache
def _defaults(routine: Routine) -> dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(_signature(routine)).parameters.items()}


def _missing(use: ast.expr, bound: Mapping[str, Any], ask: Ask) -> Exception | None:
    match use:
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return _without(bound[name], attribute)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)) if name in bound:
            found = _without(bound[name], attribute)
            if found is not None or not isinstance(bound[name], Tensor):
                return found
            args = [bound[name], *(_value(a, bound) for a in use.args)]
            return ask(f"Tensor.{attribute}", args, _named(use, bound))
        case ast.Call(func=func):
            return ask(ast.unparse(func), [_value(a, bound) for a in use.args], _named(use, bound))
    raise AssertionError(f"{ast.unparse(use)} asks for nothing")


def _without(x: object, attribute: str) -> Exception | None:
    if isinstance(x, Tensor) or x is WORKED_OUT or hasattr(x, attribute):
        return None
    return AttributeMissingError(mirrored(f"'{type(x).__name__}' object has no attribute '{attribute}'"))


def _named(use: ast.Call, bound: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k.arg): _value(k.value, bound) for k in use.keywords}


SPREAD = {"single": 1, "pair": 2, "triple": 3}
"""Over how many axes."""


def _value(e: ast.expr, bound: Mapping[str, Any]) -> Any:
    match e:
        case ast.Name(id="_"):
            return WORKED_OUT
        case ast.Name(id=name):
            return bound[name]
        case ast.Call(func=ast.Name(id="given"), args=[only]):
            found = _value(only, bound)
            return WORKED_OUT if found is None else found
        case ast.Call(func=ast.Name(id="spread"), args=[only]):
            found = _value(only, bound)
            return found[0] if len(found) == 1 and isinstance(found[0], list | tuple) else found
        case ast.Call(func=ast.Name(id="filled"), args=[only]):
            found = _value(only, bound)
            several = isinstance(found, tuple | list)
            return tuple(WORKED_OUT if x is None else x for x in found) if several else found
        case ast.Call(func=ast.Name(id="tuple"), args=[only]):
            found = _value(only, bound)
            if isinstance(found, int):
                return (found,)
            if not isinstance(found, Iterable):
                raise ArgumentError(mirrored(f"'{type(found).__name__}' object is not iterable"))
            return tuple(found)
        case ast.Call(func=ast.Name(id=axes), args=[only]):
            found = _value(only, bound)
            return tuple(found) if isinstance(found, Iterable) else (found,) * SPREAD[axes]
        case ast.Tuple(elts=elements):
            return tuple(chain.from_iterable(_elements(each, bound) for each in elements))
    return ast.literal_eval(e)


def _elements(e: ast.expr, bound: Mapping[str, Any]) -> Iterable[Any]:
    match e:
        case ast.Starred(value=value):
            found = _value(value, bound)
            return (found,) if found is WORKED_OUT else found
    return (_value(e, bound),)
