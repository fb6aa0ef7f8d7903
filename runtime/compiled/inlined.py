"""A compiled function called inside another: it is traced into the caller's graph, and so are its
derivatives.

In flow the function and its arguments, already in the caller's trace; out flow traced results and a pullback,
made by the tape's own backward pass, so that they can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.runtime import autograd
from retrograd.runtime.eager.scalar import Scalar
from retrograd.runtime.modes import enable_grad
from retrograd.runtime.pytree import Structure, flatten, unflatten
from retrograd.runtime.tensor import Tensor, new


def traced_vjp(
    function: Callable[..., Any], structure: Structure, leaves: Sequence[Any], tracked: Sequence[bool]
) -> tuple[Any, Callable[[Any], list[Tensor]]]:
    """The result, and a function from cotangents (None: one, of a scalar) to the gradients by the wanted
    leaves."""
    with enable_grad():
        operands = [_own(x, wanted) for x, wanted in zip(leaves, tracked, strict=True)]
        args, kwargs = unflatten(structure, iter(operands))
        result = function(*args, **kwargs)
    outputs: list[Tensor] = []
    flatten(result, outputs, (Tensor,))
    wanted = [k for k, flag in enumerate(tracked) if flag]
    places = [k for k, y in enumerate(outputs) if y.requires_grad]

    def pullback(cotangents: Any) -> list[Tensor]:
        seeds: list[Any] = [None] * len(outputs)
        if cotangents is not None:
            seeds = []
            flatten(cotangents, seeds, (Tensor,))
        found = autograd.grad(
            [outputs[k] for k in places],
            [operands[k] for k in wanted],
            [seeds[k] for k in places],
            create_graph=True,
            allow_unused=True,
        )
        return [operands[k] * 0 if g is None else g for k, g in zip(wanted, found, strict=True)]

    return result, pullback


def _own(leaf: Any, wanted: bool) -> Any:
    """The leaf as a Tensor of its own, whose gradient is that of this argument alone."""
    if not isinstance(leaf, Tensor):
        return leaf if not wanted else new(leaf).requires_grad_()
    if not wanted:
        return leaf
    own = leaf.clone() if leaf.requires_grad else leaf.detach()
    if isinstance(leaf, Scalar):
        edge = own._edge
        own = Scalar(own._value)
        own._edge, own._requires_grad = edge, edge is not None
    return own if own.requires_grad else own.requires_grad_()
