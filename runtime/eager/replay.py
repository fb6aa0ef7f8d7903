"""Functions of Tensors whose steps are known by the operands' types: found out once, then replayed.

Most functions only turn dims, sizes and options into ops: what they do depends on shapes, dtypes and plain
arguments alone. When a key of these is seen for the second time, the function is traced, and from then on
the ops of its graph are applied to the operands at once (`eager.step`), with history and views as ever.
Errors, defaults and rules stay where they are, in the function, which also runs for arguments that are no
part of a key, inside traces, and where a step fails. A function may be replayed if it looks at no element
but those at which its ops look again, writes nothing in place and draws no random number;
`@public(…, replay=True)` says so. Those that draw have plans of their own
(`numbers.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial, wraps
from importlib import import_module
from typing import Any, Literal, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import RetrogradError
from retrograd.runtime import device as devices
from retrograd.runtime import tracing
from retrograd.runtime.device import device
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.doors import late
from retrograd.runtime.eager.lying import ANYHOW, as_made, laid_like, lay, rule_of, scattered
from retrograd.runtime.eager.otherwise import otherwise
from retrograd.runtime.eager.steps import Plan
from retrograd.runtime.eager.wholes import of_call
from retrograd.runtime.grad_functions import name_of
from retrograd.runtime.grad_names import Name
from retrograd.runtime.modes import STATE
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
_MOST = 4096
"""Keys of one function that are remembered."""
_OFTEN = 8
"""Calls with the same number after which more are to be expected: it may be another one at each step."""


_MAKERS = ("copy", "draws")
"""Planners of functions that make Tensors of nothing, which are on the default device."""
_NO_KEYWORDS: Mapping[str, Any] = {}


class NoKey(Exception):
    """An argument that cannot be part of a key."""


def replayed(f: F, shown: Name = "", planner: str = "steps") -> F:
    """The function by its plans, as `planned` makes it when it is first called."""
    return late(f, lambda: planned(f, shown, planner))


def planned(f: F, shown: Name = "", planner: str = "steps") -> F:
    """The function, doing again what it did for operands of these types and these plain arguments, by the
    plans of that entry of `PLANNERS`. Its result's `grad_fn` is called `shown`, if that is given.
    """
    if shown:
        f = called(shown, f)
    plans: dict[Hashable, Plan | Literal[False]] = {}
    seen: dict[Hashable, int] = {}
    lies = rule_of(f)

    def enter(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], list[Tensor]]:
        key, operands = keyed(args, kwargs, _type)
        return (key if lies is None else (*key, *scattered(operands))), operands

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if tracing.depth:
            return within(f, args, kwargs)
        try:
            key, operands = enter(args, kwargs)
        except NoKey:
            return f(*args, **kwargs)
        plan = plans.get(key)
        if plan is None:
            plan = _found(planner, f, args, kwargs, key, operands, plans, seen, shown)
        if not plan:
            return f(*args, **kwargs)
        try:
            return plan(*operands)
        except RetrogradError as error:
            return otherwise(error, f, *args, **kwargs)

    def find(*args: Any, **kwargs: Any) -> Plan | Literal[False] | None:
        key, operands = enter(args, kwargs)
        return (
            _found(planner, f, args, kwargs, key, operands, plans, seen, shown)
            if plans.get(key) is None
            else plans[key]
        )

    native, forget = calls.replay(call, f, find, lies is not None)
    dtypes.DEPENDENT.extend((plans.clear, seen.clear, forget))
    if planner in _MAKERS:
        devices.DEPENDENT.extend((plans.clear, seen.clear, forget))
    return native  # type: ignore[return-value]  # called as f is


def within(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The function inside a trace: as it is, but for one that applies ops as they come."""
    trace = STATE.trace
    return trace.replayed(f, args, kwargs) if trace is not None and trace.at_once else f(*args, **kwargs)


def keyed(
    args: Sequence[Any], kwargs: Mapping[str, Any], sort: Callable[[Tensor], Hashable]
) -> tuple[tuple[Any, ...], list[Tensor]]:
    """The key of a call, and the Tensors among its arguments, of each of which its `sort` is a part; NoKey
    where there can be none."""
    key: list[Any] = []
    operands: list[Tensor] = []
    for x in args:
        _enter(x, key, operands, sort)
    for name, x in kwargs.items():
        key.append(name)
        _enter(x, key, operands, sort)
    return tuple(key), operands


def _type(x: Tensor) -> Hashable:
    array = x._value
    if type(array) is not np.ndarray:
        raise NoKey
    return array.shape, array.dtype


def _enter(x: Any, key: list[Any], operands: list[Tensor], sort: Callable[[Tensor], Hashable]) -> None:
    """Add an argument to a key, and its Tensors to the operands. Equal numbers of different types are told
    apart.
    """
    kind = type(x)
    if kind is int or kind is str or x is None:
        key.append(x)
    elif isinstance(x, Tensor):
        key.append(sort(x))
        operands.append(x)
    elif kind is bool or kind is float or kind is complex:
        key += kind, repr(x)
    elif kind is slice:
        if not (type(x.start) in _ENDS and type(x.stop) in _ENDS and type(x.step) in _ENDS):
            raise NoKey
        key += kind, x.start, x.stop, x.step
    elif isinstance(x, tuple | list):  # a Size, too
        key += kind, len(x)
        for each in x:
            if type(each) is int:
                key.append(each)
            else:
                _enter(each, key, operands, sort)
    elif isinstance(x, DType | device):
        key.append(x)
    elif kind is np.int64:
        key += kind, int(x)
    elif x is Ellipsis:
        key.append(kind)
    elif kind is Generator:
        key += kind, id(x)  # a plan that draws from it keeps it
    else:
        raise NoKey


_ENDS = (int, type(None))
"""What the ends and the step of a slice in a key may be."""


def often(key: tuple[Any, ...]) -> int:
    """How often a call is to have come before for others like it to be expected."""
    return _OFTEN if float in key else 1


def called(shown: Name, f: F) -> F:
    """The function, whose result's `grad_fn` bears this name."""

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = f(*args, **kwargs)
        if not isinstance(result, Tensor) or result._edge is not None:
            name_history(result, name_of(shown, args, kwargs), args, kwargs)
        return result

    return call  # type: ignore[return-value]  # called as f is


def name_history(
    result: Any, shown: str, args: Sequence[Any], kwargs: Mapping[str, Any] = _NO_KEYWORDS
) -> None:
    """Name the nodes that a call with these arguments has made."""
    for place, x in enumerate(result if isinstance(result, tuple) else (result,)):
        made = isinstance(x, Tensor) and hasattr(x._edge, "shown")
        if made and not any(x is operand for operand in args):
            x._edge.shown = of_call(shown, args, kwargs, place)


def _found(
    planner: str,
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    key: tuple[Any, ...],
    operands: Sequence[Tensor],
    plans: dict[Hashable, Plan | Literal[False]],
    seen: dict[Hashable, int],
    shown: Name,
) -> Plan | Literal[False] | None:
    """The plan for a key, made when it has come before: tracing costs as much as many calls. None till then,
    and False if there is none.
    """
    times = seen.get(key, 0)
    if len(seen) >= _MOST:
        seen.clear()
        plans.clear()
    seen[key] = times + 1
    if times < often(key):
        return None
    away = planner in _MAKERS and not devices.default_is_here()
    if kwargs.get("out") is not None:  # which is not only read
        away, planner = away or planner != "steps", "updates"
    if away:
        plans[key] = False
        return False
    planners = import_module("retrograd.runtime.eager.planners")  # late: traces need no plans
    plan_of = planners.PLANNERS[planner]
    plan: Plan | Literal[False]
    try:
        plan = plan_of(f, args, kwargs, name_of(shown, args, kwargs)) or False
        rule = rule_of(f)
        if plan and rule is not None and (rule in ANYHOW or scattered(operands)):
            model = partial(laid_like, f(*args, **kwargs)) if rule is as_made else partial(lay, rule)
            plan = calls.laid(plan, model)
    except (
        TypeError,
        AttributeError,
        ValueError,
        LookupError,
    ):  # such arguments: the call will say what is wrong
        plan = False
    plans[key] = plan
    return plan
