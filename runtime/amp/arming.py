"""How functions come to cast their operands: a detour before each, open while a thread is in autocast.

In flow the functions' tables and the lists of `precisions`; out flow `Detour`s, made when a program first
uses autocast. A function on a list has its operands cast; any function that is planned once for all calls
(`replay`) has the functions that it calls leave theirs alone, as a plan knows of no autocast. What a detour
finds itself in the way of when no thread casts any more, it closes: so functions cost outside of autocast
what they ever cost, and entering it again costs little.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import NotWrittenError, RetrogradError
from retrograd.runtime.eager.instant.doors import Detour
from retrograd.runtime.eager.instant.part import available
from retrograd.runtime.functions import pointwise
from retrograd.runtime.functions.casting import cast, eligible
from retrograd.runtime.functions.precisions import FULL, LOWER, PARTS, WIDEST, pads_in_full
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS, LINALG
from retrograd.runtime.modes import STATE, casting
from retrograd.runtime.tensor import Tensor

Function = Callable[..., Any]
Rule = Callable[[Sequence[Any], Mapping[str, Any], DType], DType | None]
"""Which dtype the operands are cast to, given that of autocast; None if they are not."""


# ---- rules -------------------------------------------------------------------------------------------------


def _lower(args: Sequence[Any], kwargs: Mapping[str, Any], dtype: DType) -> DType:
    return dtype


def _full(args: Sequence[Any], kwargs: Mapping[str, Any], dtype: DType) -> DType:
    return dtypes.float32


def _widest(args: Sequence[Any], kwargs: Mapping[str, Any], dtype: DType) -> DType:
    wide = any(x.dtype is not dtype for x in eligible([*args, *kwargs.values()]))
    return dtypes.float32 if wide else dtype


def _padding(args: Sequence[Any], kwargs: Mapping[str, Any], dtype: DType) -> DType | None:
    named = dict(zip(("input", "pad", "mode"), args)) | dict(kwargs)
    full = pads_in_full(named.get("pad", ()), named.get("mode", "constant"))
    return dtypes.float32 if full else None


def _alone(args: Sequence[Any], kwargs: Mapping[str, Any], dtype: DType) -> None:
    return None


_RULES: tuple[tuple[Collection[str], Rule], ...] = (
    (LOWER, _lower),
    (FULL, _full),
    (WIDEST, _widest),
    ({"pad"}, _padding),
)


def _ruled(rule: Rule, straight: Function) -> Function:
    """The function in a dtype that the rule says, where the functions that it calls cast nothing."""

    def call(dtype: DType, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        target = rule(args, kwargs, dtype)
        STATE.autocast = None
        try:
            if target is not None:
                args = [cast(x, target) for x in args]
                kwargs = {name: cast(x, target) for name, x in kwargs.items()}
            return straight(*args, **kwargs)
        finally:
            STATE.autocast = dtype

    return call


def _by_parts(straight: Function) -> Function:
    """The function by no plan, so that the functions that it calls go by their rules."""
    inner, without = inspect.unwrap(straight), _ruled(_alone, straight)

    def call(dtype: DType, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return inner(*args, **kwargs)
        except (RetrogradError, TypeError):  # the public function says what is wrong
            return without(dtype, args, kwargs)

    return call


def _cast_by(name: str) -> Callable[[Function], Function] | None:
    """What makes of a function what is called in autocast; None for those on no list."""
    if name in PARTS:
        return _by_parts
    return next((functools.partial(_ruled, rule) for names, rule in _RULES if name in names), None)


# ---- detours -----------------------------------------------------------------------------------------------

_closed: list[Detour] = []
"""All but those that are open."""
_made = False


def arm() -> None:
    """Have all functions of the lists go by their rules."""
    global _made
    if not _made:
        if not available():
            raise NotWrittenError(
                "autocast in this interpreter",
                "functions are called natively where they cast, and cannot be here",
            )
        _made = True
        _closed.extend(_detour(*each) for each in _listed())
    while _closed:
        _closed.pop().open()


def _listed() -> list[tuple[Any, Callable[[Function], Function]]]:
    """Native functions under public names, and what makes of them what is called in autocast."""
    rows = {id(f) for f in pointwise.FUNCTIONS.values()}
    tables = (("", FUNCTIONS), ("", FUNCTIONAL), ("linalg.", LINALG), ("", vars(Tensor)))
    alone = functools.partial(_ruled, _alone)
    found: dict[int, tuple[Any, Callable[[Function], Function]]] = {}
    for room, table in tables:
        for name, function in table.items():
            if type(function) is _NATIVE and id(function) not in rows:
                casts = _cast_by(room + name)
                if casts is not None or id(function) not in found:
                    found[id(function)] = function, casts or alone
    return list(found.values())


_NATIVE = type(FUNCTIONS["matmul"])


def _detour(function: Any, casts: Callable[[Function], Function]) -> Detour:
    def around(straight: Function) -> Function:
        within = casts(straight)

        def call(*args: Any, **kwargs: Any) -> Any:
            dtype = STATE.autocast
            if dtype is not None:
                return within(dtype, args, kwargs)
            if not casting.cell_contents:
                detour.close()
                _closed.append(detour)
            return straight(*args, **kwargs)

        return call

    detour = Detour(function, around)
    return detour
