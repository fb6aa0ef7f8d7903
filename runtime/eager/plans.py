"""Plans: what a function of Tensors does for operands of certain types and certain plain arguments.

In flow the function and the arguments of one call; out flows a function of the Tensors among them, which does
the same faster, or None where there is none. `replay.py` finds plans by their keys. The plan of most
functions is their steps (`steps.py`); here are those of functions that answer, view or choose. A new kind of
plan is a function here and an entry of `planners.PLANNERS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Builder, Node
from retrograd.compiler.ops.index import Take
from retrograd.compiler.ops.shape import Cast, Reshape
from retrograd.runtime.eager.adjoints import type_of
from retrograd.runtime.eager.arrays import straight_to_one
from retrograd.runtime.eager.history import SMALL
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.record import step
from retrograd.runtime.eager.retaking import again, hold_tensors
from retrograd.runtime.eager.showing import shows
from retrograd.runtime.eager.steps import Plan, applied, array_of, stand_ins, steps, trace_of
from retrograd.runtime.eager.wholes import of_graph
from retrograd.runtime.modes import no_grad
from retrograd.runtime.native.blocks import KEPT_MOST
from retrograd.runtime.native.small import one_pass
from retrograd.runtime.paths import Path
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace, unbroken

# ---- answers -----------------------------------------------------------------------------------------------

_MOST_ASKED = 16
"""Times that a function asks which is planned for."""


@unbroken
def truth(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """The bool that the function gives, where it is what the function asks, whichever it is."""
    for answer in (True, False):
        path = Path((answer,) * _MOST_ASKED)
        with Trace(path=path, planned=True) as trace, no_grad():
            _, own, named = stand_ins(trace, args, kwargs)
            try:
                given = f(*own, **named)
            except RetrogradError:
                return None
        if given is not answer or len(path.questions) != 1 or trace.unchecked or trace.captured:
            return None
    inputs = trace.builder.inputs
    compute = array_of(inputs, path.questions[0].node)
    return calls.truth(compute, len(inputs), again(f, args, kwargs))


# ---- views and copies --------------------------------------------------------------------------------------


def values(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """As `steps` where nothing is recorded; else the function itself, for the steps that its operands lead
    through are seen."""
    traced = trace_of(f, args, kwargs)
    if traced is None or not isinstance(traced[0], Tensor) or shows(traced[1], traced[2].builder.inputs):
        return None
    _, (node,), trace = traced
    inputs = trace.builder.inputs
    return calls.unrecorded(array_of(inputs, node), len(inputs), again(f, args, kwargs))


def view(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """The view that the function gave last, where the operand lies as it lay then; else the function itself,
    which may fail.
    """
    traced = trace_of(f, args, kwargs)
    if traced is None:
        return None
    _, (node,), trace = traced
    if node.inputs != tuple(trace.builder.inputs) or not kind_of(node.op).is_view:
        return None
    differentiable = node.dtype.is_inexact
    return calls.view(node.op, kind_of(node.op), lambda x: f(x, *args[1:], **kwargs), shown, differentiable)


def places(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """Where the only Tensor is not zero, if it has few elements."""
    given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    if len(given) != 1 or given[0].numel() > SMALL:
        return None
    try:
        found = f(*args, **kwargs)
    except RetrogradError:
        return None
    return calls.places(again(f, args, kwargs), isinstance(found, tuple))


def choice(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """`places` of a condition alone; else as `steps`."""
    return (steps if len(args) + len(kwargs) > 1 else places)(f, args, kwargs, shown)


def picks(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """What a mask picks of the first axes: how much that is, its elements tell; for other indices as `steps`.
    Recorded are the places that it chooses."""
    x, mask = args if len(args) == 2 else (args[0], None)
    if not isinstance(mask, Tensor) or mask.dtype is not dtypes.bool_ or not mask.ndim:
        return steps(f, args, kwargs, shown)
    if x._value.shape[: mask.ndim] != mask._value.shape:
        return None
    builder = Builder()
    given = [builder.input(f"x{k}", type_of(each._value)) for k, each in enumerate(args)]
    flat, chosen = (_with_one_first(builder, node, mask.ndim) for node in given)
    places = builder.input("places", chosen.type.with_dtype(dtypes.int64))
    node = builder.node(_TAKE, flat, places)
    named = of_graph(shown, args, kwargs, given, [node])(node)
    take = step(_TAKE, [flat.type, places.type], node.type, named, _TAKE.evaluate)
    flatten, level = (
        straight_to_one([i], o, lambda n: applied(n, "")) for i, o in zip(given, (flat, chosen))
    )
    where = calls.places(_places, True) if chosen.type.size <= SMALL else _places

    def recorded(x: Tensor, mask: Tensor) -> Tensor:
        (found,) = where(level(mask))
        return take(flatten(x), found)

    return calls.unrecorded(lambda x, mask: np.asarray(x[mask], order="C"), 2, recorded)


def selection(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """`picks` of a mask of all axes."""
    alike = len(args) == 2 and not kwargs and args[0]._value.shape == args[1]._value.shape
    return picks(f, args, kwargs, shown) if alike else None


_TAKE = Take(0)


def _places(truth: Tensor) -> tuple[Tensor]:
    """Where a vector of bools is true."""
    array: Any = truth._value
    return (Tensor(np.flatnonzero(array)),)


def _with_one_first(builder: Builder, node: Node, axes: int) -> Node:
    """The node with its first axes made one."""
    if axes == 1:
        return node
    shape = node.type.shape
    return builder.node(Reshape((prod(shape[:axes]), *shape[axes:])), node)


def conversion(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """The operand itself, where the function changes nothing about it; else as `steps`."""
    try:
        given = f(*args, **kwargs)
    except RetrogradError:
        return None
    if given is not args[0]:
        return steps(f, args, kwargs, shown)
    operands = sum(isinstance(x, Tensor) for x in (*args, *kwargs.values()))
    return calls.itself(operands, again(f, args, kwargs))


def answer(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """What the function gives, which depends on types and plain arguments alone."""
    try:
        return calls.constant(f(*args, **kwargs), again(f, args, kwargs))
    except RetrogradError:
        return None


def copy(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """A copy of what the function gives, which is new, small or one element everywhere, and depends on its
    plain arguments alone, and on the type of an `input`.
    """
    of_input = inspect.unwrap(f).__code__.co_varnames[0] == "input"
    if hold_tensors(args[of_input:]) or hold_tensors(kwargs.values()):
        return None  # as numbers: their elements count
    try:
        made = f(*args, **kwargs)
    except RetrogradError:
        return None
    array = made._value
    if type(array) is not np.ndarray:
        return None
    anew: Callable[..., Any] | None
    if array.size > SMALL:
        anew = _of_one_element(array)
    else:
        anew = array.copy if array.flags.c_contiguous else partial(array.copy, "K")
        anew = anew if array.copy("K").strides == array.strides else None
    return None if anew is None else calls.fresh(anew, again(f, args, kwargs), made._requires_grad)


def _of_one_element(array: Any) -> Callable[..., Any] | None:
    """What makes an array in order that has this one's first element everywhere, if it has, in a block that
    is kept: the system's zeros cost more than that, but nothing until they are touched."""
    if array.nbytes > KEPT_MOST:
        return None
    dtype = dtypes.of(array)
    repeat, bits = one_pass.of_cast(Cast(dtype), dtype), array.view(f"u{array.itemsize}")
    if repeat is None or not array.flags.c_contiguous or not (bits == bits.flat[0]).all():
        return None
    return partial(repeat, np.broadcast_to(array.flat[0], array.shape))
