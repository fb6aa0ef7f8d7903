"""Plans of functions that draw random numbers.

In flow and out as in `plans.py`: laws of numbers are found by a trace, or told by a `Judge` where they
depend on elements. A further such function is an entry of `planners.PLANNERS`, with a `Judge` here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.shape import Permute
from retrograd.runtime.eager.instant.draws import fresh, into, judged
from retrograd.runtime.eager.lying import rule_of
from retrograd.runtime.eager.retaking import again
from retrograd.runtime.eager.steps import Plan, Planner, taking, trace_of
from retrograd.runtime.eager.wholes import of_graph
from retrograd.runtime.noted import Draw
from retrograd.runtime.random import laws, weighted
from retrograd.runtime.random.generator import default_generator
from retrograd.runtime.random.laws import Law
from retrograd.runtime.tensor import Tensor

Judge = Callable[..., tuple[Law, Sequence[int]] | None]
"""The law and the shape of numbers whose parameters are arrays."""


def draws(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """Numbers of the same laws, drawn anew: they are the result, or what an operand is filled with, or the
    further operands of steps."""
    tracked = kwargs.get("requires_grad") is True
    plain = {name: x for name, x in kwargs.items() if name != "requires_grad"} if tracked else kwargs
    ordered = all(x.is_contiguous() for x in args if isinstance(x, Tensor))
    traced = trace_of(f, args, plain, drawing=True, lying=rule_of(f) is not None)
    if traced is None or kwargs.get("device") not in (None, "cpu"):
        return None
    out, nodes, trace = traced
    found = [trace.values[draw.tensor] for draw in trace.draws]
    operands = [x for x in trace.builder.inputs if x not in found]
    retaken = again(f, args, kwargs)
    if not isinstance(out, Tensor):
        if not found or trace.detached or any(node in operands or node in found for node in nodes):
            return None
        names = of_graph(shown, args, kwargs, operands, nodes)
        return _drawing(taking([*operands, *found], out, nodes, names), trace.draws, False, retaken)
    (node,), filled = nodes, out._counter is not None and out._view is None
    if not found or out._requires_grad or node in operands or (tracked and not out.dtype.is_inexact):
        return None
    axes = node.op.axes if isinstance(node.op, Permute) and node.inputs[0] in found else None
    if node in found or axes is not None:
        draw = trace.draws[0]
        if len(found) > 1 or not (filled or ordered or rule_of(f) is not None):
            return None  # numbers go by the order in memory
        if filled:
            return None if axes else into(draw.law, node.shape, draw.generator, retaken)
        return fresh(draw.law, node.shape, draw.generator, retaken, tracked, axes)
    if filled or tracked or not ordered:
        return None
    names = of_graph(shown, args, kwargs, operands, [node])
    run = taking([*operands, *found], out, [node], names)
    return _drawing(run, trace.draws, trace.detached, retaken)


def _drawing(run: Plan, draws: Sequence[Draw], detached: bool, retaken: Plan) -> Plan:
    """The steps of the operands and of numbers that are drawn for each call."""
    makers = list(map(_maker, draws))

    def drawing(*given: Tensor) -> Any:
        for x in given:
            if type(x._value) is not np.ndarray or not x._value.flags.c_contiguous:
                return retaken(*given)  # numbers go by the order in memory
            if detached and x._requires_grad:
                return retaken(*given)
        return run(*given, *[make() for make in makers])

    return drawing


def judging(judge: Judge) -> Planner:
    """Numbers with parameters in Tensors, by the law and of the shape that `judge` tells of the arguments,
    with arrays for Tensors; where it tells none, as `draws`."""

    def plan(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
        given = [x._value if isinstance(x, Tensor) else x for x in args]
        operands = [x for x, own in zip(given, args) if isinstance(own, Tensor)]
        kinds = {x.dtype.char if type(x) is np.ndarray else "" for x in operands}
        found = judge(*given, **kwargs) if kinds in ({"f"}, {"d"}) else None
        if found is None:
            return draws(f, args, kwargs, shown)
        law, shape = found
        return judged(law, shape, len(operands), default_generator, again(f, args, kwargs))

    return plan


def alone(name: str) -> Judge:
    """A law of this name, whose parameters are the only argument."""

    def judge(x: Array, *others: Any, **named: Any) -> tuple[Law, Sequence[int]] | None:
        return None if others or named else (laws.judged(name, x.dtype), x.shape)

    return judge


def trials(count: Array, prob: Any, *others: Any, **named: Any) -> tuple[Law, Sequence[int]] | None:
    """Binomial numbers of operands of one shape."""
    if others or named or count.shape != prob.shape:
        return None
    return laws.judged("binomial", count.dtype), count.shape


def places_by_weights(
    input: Array, num_samples: int, replacement: bool = False, **named: Any
) -> tuple[Law, Sequence[int]] | None:
    """As `multinomial`, of few weights."""
    *rows, columns = input.shape
    if named or len(rows) > 1 or not 0 < columns <= weighted.MOST or not 0 < num_samples <= weighted.MOST:
        return None
    if num_samples > columns and not replacement:
        return None
    return laws.weighted(columns, num_samples, replacement, input.dtype), (*rows, num_samples)


def _maker(draw: Draw) -> Callable[[], Tensor]:
    """New numbers as the function draws them."""
    shape = draw.tensor._value.shape

    def sample() -> Tensor:
        return Tensor(draw.law.draw(shape, draw.generator))

    return fresh(draw.law, shape, draw.generator, sample)
