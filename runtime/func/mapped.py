"""Users' Functions under `vmap`: applied to one example, recorded outside for all.

In flow a `Function` that a trace has applied, and what that is for all examples; out flow its outputs with a
history outside, whose step calls the user's `backward` for one example, in a trace like the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.autograd.function import Function, FunctionCtx
from retrograd.runtime.func.known import Known, everywhere
from retrograd.runtime.tensor import Tensor

AnyTrace = Any
"""A `BatchTrace`, which knows this file."""


class _Applied(NamedTuple):
    """A Function that was applied, as the world outside keeps it."""

    function: type[Function]
    ctx: FunctionCtx
    operands: list[Known | None]
    """None for what is no Tensor."""
    saved: list[Known | None]
    kept: dict[str, Known]
    """Tensors that are attributes of the context."""
    anew: type[AnyTrace]
    size: int

    def context(self, trace: AnyTrace, saved: Sequence[Tensor | None], needed: Sequence[bool]) -> Any:
        """What `forward` told, in another trace."""
        told = FunctionCtx()
        vars(told).update(vars(self.ctx))
        for name, known in self.kept.items():
            setattr(told, name, trace.entered(known.tensor, known.batched))
        flags = [x is not None and x.batched for x in self.saved]
        entered = [None if x is None else trace.entered(x, flag) for x, flag in zip(saved, flags)]
        told._to_save, told._node, told.needs_input_grad = tuple(entered), None, tuple(needed)
        return told


def recorded(
    trace: AnyTrace, function: type[Function], ctx: FunctionCtx, operands: list[Known | None],
    outputs: Sequence[Any],
) -> list[Any]:  # fmt: skip
    """The outputs of a Function, with the history that they have outside."""
    saved = [None if x is None else trace.whole(x) for x in ctx._to_save]
    kept = {name: trace.whole(x) for name, x in vars(ctx).items() if isinstance(x, Tensor)}
    of = _Applied(function, ctx, operands, saved, kept, type(trace), trace.size)
    places = [k for k, x in enumerate(outputs) if isinstance(x, Tensor)]
    wholes = [trace.whole(outputs[k]) for k in places]
    apart = [any(outputs[k] is x for x in ctx._non_differentiable) for k in places]
    with trace.outside():
        found = _OfAll.apply(of, wholes, apart, *[None if x is None else x.tensor for x in operands])
    result = list(outputs)
    for k, known, tensor in zip(places, wholes, found, strict=True):
        inside = trace.entered(tensor, known.batched)
        if trace.owns(result[k]) and not any(known is x for x in operands):
            result[k]._value = inside._value
        else:
            result[k] = inside
    return result


class _OfAll(Function):
    """A Function that was applied to one example, for all."""

    @staticmethod
    def forward(ctx: Any, of: _Applied, wholes: list[Known], apart: list[bool], *operands: Any) -> Any:
        ctx.of, ctx.flags = of, [x.batched for x in wholes]
        results = [x.tensor for x in wholes]
        ctx.save_for_backward(*[None if x is None else x.tensor for x in of.saved])
        ctx.mark_non_differentiable(*(x for x, alone in zip(results, apart) if alone))
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        of: _Applied = ctx.of
        saved, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        shares = [c if flag else c / of.size for c, flag in zip(cotangents, ctx.flags)]
        with of.anew(of.size, "error") as trace:
            seeds = [trace.entered(c, flag) for c, flag in zip(shares, ctx.flags)]
            returned = of.function.backward(of.context(trace, saved, needed), *seeds)
            listed = returned if isinstance(returned, tuple) else (returned,)
            found = [None if g is None else trace.whole(g) for g in listed]
        pairs = zip(found, of.operands)
        return (None, None, None, *(_of_operand(g, x, of.size) for g, x in pairs))


def _of_operand(found: Known | None, operand: Known | None, size: int) -> Tensor | None:
    """The cotangent of an operand, of that of each example."""
    if found is None or operand is None:
        return None
    if operand.batched:
        return everywhere(found.tensor, found.batched, size)
    total: Tensor = sum_(found.tensor, (0,)) if found.batched else found.tensor * size
    return total
