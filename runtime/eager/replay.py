"""Functions of Tensors whose steps are known by the operands' types: found out once, then replayed.

Most functions only turn dims, sizes and options into ops: what they do depends on shapes, dtypes and plain
arguments alone. When a key of these is seen for the second time, the function is traced, and from then on
the ops of its graph are applied to the operands at once (`eager.step`), with history and views as ever.
Errors, defaults and rules stay where they are, in the function, which also runs for arguments that are no
part of a key, and inside traces. A function may be replayed if it looks at no element, writes nothing in
place and draws no random number; `@public(…, replay=True)` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Constant, Input, Node
from retrograd.compiler.ir.quiet import QUIET
from retrograd.runtime import tracing
from retrograd.runtime.eager.arrays import computing, straight
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.opnodes import SMALL, kind_of, type_of
from retrograd.runtime.eager.record import step
from retrograd.runtime.grad_names import Name, name_of
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace

F = TypeVar("F", bound=Callable[..., Any])
Plan = Callable[..., Any]
"""What to do with the operands, the Tensors among the arguments in their order."""

Planner = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Plan | None]
"""Finds the plan for a call of a function."""

_MOST = 4096
"""Keys of one function that are remembered."""


class _NoKey(Exception):
    """An argument that cannot be part of a key."""


def replayed(f: F, shown: Name = "", planner: Planner | None = None) -> F:
    """The function, doing again what it did for operands of these types and these plain arguments, by the
    planner's plans. Its result's `grad_fn` is called `shown`, if that is given.
    """
    if shown:
        f = called(shown, f)
    planner = planner or (lambda f, args, kwargs: _plan(f, args, kwargs, name_of(shown, args, kwargs)))
    plans: dict[Hashable, Plan] = {}
    seen: dict[Hashable, int] = {}

    def enter(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Hashable, list[Tensor]]:
        key: list[Any] = []
        operands: list[Tensor] = []
        for x in args:
            _enter(x, key, operands)
        for name, x in kwargs.items():
            key.append(name)
            _enter(x, key, operands)
        return tuple(key), operands

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if tracing.depth:
            return f(*args, **kwargs)
        try:
            key, operands = enter(args, kwargs)
        except _NoKey:
            return f(*args, **kwargs)
        plan = plans.get(key) or _found(planner, f, args, kwargs, key, plans, seen)
        return plan(*operands) if plan is not None else f(*args, **kwargs)

    def find(*args: Any, **kwargs: Any) -> Plan | None:
        key, _ = enter(args, kwargs)
        return plans.get(key) or _found(planner, f, args, kwargs, key, plans, seen)

    native, forget = calls.replay(call, f, find)
    dtypes.DEPENDENT.extend((plans.clear, seen.clear, forget))
    return native  # type: ignore[return-value]  # called as f is


def _enter(x: Any, key: list[Any], operands: list[Tensor]) -> None:
    """Add an argument to a key, and its Tensors to the operands. Equal numbers of different types are told
    apart.
    """
    kind = type(x)
    if kind is int or kind is str or x is None:
        key.append(x)
    elif isinstance(x, Tensor):
        array = x._value
        if type(array) is not np.ndarray:
            raise _NoKey
        operands.append(x)
        key += array.shape, array.dtype
    elif kind is bool or kind is float:
        key += kind, repr(x)
    elif kind is slice:
        if not (type(x.start) in _ENDS and type(x.stop) in _ENDS and type(x.step) in _ENDS):
            raise _NoKey
        key += kind, x.start, x.stop, x.step
    elif isinstance(x, tuple | list):  # a Size, too
        key += kind, len(x)
        for each in x:
            if type(each) is int:
                key.append(each)
            else:
                _enter(each, key, operands)
    elif isinstance(x, DType):
        key.append(x)
    elif x is Ellipsis:
        key.append(kind)
    else:
        raise _NoKey


_ENDS = (int, type(None))
"""What the ends and the step of a slice in a key may be."""


def called(shown: Name, f: F) -> F:
    """The function, whose result's `grad_fn` bears this name."""

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = f(*args, **kwargs)
        name_history(result, name_of(shown, args, kwargs), args)
        return result

    return call  # type: ignore[return-value]  # called as f is


def name_history(result: Any, shown: str, operands: Sequence[Any]) -> None:
    """Name the nodes that made the Tensors, if they have just been made."""
    for x in result if isinstance(result, tuple) else (result,):
        made = isinstance(x, Tensor) and hasattr(x._edge, "shown")
        if made and not any(x is operand for operand in operands):
            x._edge.shown = shown


def copied(f: F, of_input: bool) -> F:
    """The function, which gives a new Tensor whose elements depend on its plain arguments alone, and, with
    `of_input`, on the type of its first: a small one is made once, and then copied.
    """
    return replayed(f, planner=partial(_copying, of_input=of_input))


def _copying(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], of_input: bool
) -> Plan | None:
    if _hold_tensors(args[of_input:]) or _hold_tensors(kwargs.values()):
        return None  # as numbers: their elements count
    try:
        made = f(*args, **kwargs)
    except RetrogradError:
        return None
    array = made._value
    if made._requires_grad or type(array) is not np.ndarray or array.size > SMALL:
        return None
    return calls.fresh(array.copy, lambda *operands: Tensor(array.copy()))


def _hold_tensors(things: Iterable[Any]) -> bool:
    return any(_hold_tensors(x) if isinstance(x, tuple | list) else isinstance(x, Tensor) for x in things)


def _found(
    planner: Planner,
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    key: Hashable,
    plans: dict[Hashable, Plan],
    seen: dict[Hashable, int],
) -> Plan | None:
    """The plan for a key, made when it comes for the second time: tracing costs as much as many calls."""
    times = seen.get(key, 0)
    if len(seen) >= _MOST:
        seen.clear()
        plans.clear()
    seen[key] = times + 1
    plan = planner(f, args, kwargs) if times == 1 else None
    if plan is not None:
        plans[key] = plan
    return plan


def _plan(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """What the function does, as steps; None where it fails, or where its results are not all new Tensors."""
    with Trace() as trace, no_grad():

        def stand_in(x: Any) -> Any:
            if isinstance(x, Tensor):
                return Tensor(trace.builder.input(f"x{len(trace.builder.inputs)}", type_of(x._value)))
            return type(x)(map(stand_in, x)) if type(x) in (tuple, list) else x

        own = [stand_in(x) for x in args]  # in the operands' order
        named = {name: stand_in(x) for name, x in kwargs.items()}
        try:
            out = f(*own, **named)
        except RetrogradError:
            return None
    results = out if isinstance(out, tuple) else (out,)
    nodes = [x._value for x in results if isinstance(x, Tensor) and isinstance(x._value, Node)]
    if len(nodes) < len(results) or trace.captured or trace.mutated or trace.copied or trace.unchecked:
        return None
    if any(isinstance(node.op, Constant | Input) for node in nodes):
        return None
    inputs = tuple(trace.builder.inputs)
    if not isinstance(out, tuple):
        (node,) = nodes
        if node.inputs == inputs:
            return _step(node, shown)
        run = _run(inputs, nodes, shown)
        return lambda *operands: run(*operands)[0]
    run, kind = _run(inputs, nodes, shown), type(out)
    made = kind._make if hasattr(kind, "_make") else kind
    several = [x._view.several if x._view is not None else "" for x in results]
    if not any(several):
        return lambda *operands: made(run(*operands))

    def views(*operands: Tensor) -> Any:
        found = run(*operands)
        for x, name in zip(found, several):
            if x._view is not None:
                x._view.several = name
        return made(found)

    return views


def _step(node: Node, shown: str) -> Callable[..., Tensor]:
    return step(node.op, [i.type for i in node.inputs], node.type, shown)


def _run(inputs: Sequence[Node], nodes: Sequence[Node], shown: str) -> Callable[..., list[Tensor]]:
    """The steps one after the other. Where nothing is recorded, and no result shows an operand's elements,
    the arrays go through all of them at once.
    """
    steps = straight(inputs, nodes, lambda node: _step(node, shown if node in nodes else ""))
    owners = [_owner(node) for node in nodes]
    if len({*owners, *inputs}) < len(owners) + len(inputs):
        return steps
    compute = straight(inputs, nodes, _computing)

    def run(*operands: Tensor) -> list[Tensor]:
        arrays = []
        for x in operands:
            if x._view is not None:
                x._view.refresh(x)
            if x._requires_grad and STATE.grad:
                return steps(*operands)  # type: ignore[no-any-return]  # a list, as written
            arrays.append(x._value)
        try:
            found = QUIET.run(compute, *arrays)
        except Exception:  # told in the user's terms by the steps
            return steps(*operands)  # type: ignore[no-any-return]  # a list, as written
        return [calls.box(array) for array in found]

    return run


def _computing(node: Node) -> Callable[..., Any]:
    return computing(node.op, [i.type for i in node.inputs])


def _owner(node: Node) -> Node:
    """The node whose elements this one shows."""
    while kind_of(node.op).is_view:
        node = node.inputs[0]
    return node
