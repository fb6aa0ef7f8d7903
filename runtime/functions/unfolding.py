"""Nodes of the tape that are one op here and several steps in PyTorch: `grad_fn.next_functions` shows those.

`F.linear` leaves one node, for one op computes it; PyTorch leaves `AddmmBackward0` and, before the weight,
`TBackward0`. When somebody looks at such a node, PyTorch's steps are taken on what the node has kept, and
the node becomes the last of them: what is seen is what the backward pass then goes through, hooks included.

In flow a node, by its op; a row of `STEPS` has PyTorch's steps as a function of the op, the name under which
the node is seen, and the op's operands. It gives None where the node is what PyTorch has, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Node, Type, Value
from retrograd.runtime.eager.opnodes import UNFOLDED, OpNode
from retrograd.runtime.eager.tape import Edge, GradNode
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS
from retrograd.runtime.grad_names import Last
from retrograd.runtime.modes import enable_grad
from retrograd.runtime.tensor import Tensor

Steps = Callable[..., Any]


def called(name: str, tensor: Any) -> Any:
    """The Tensor, whose last step is seen under this name."""
    tensor._edge.shown = Last(name)
    return tensor


# ---- products ----------------------------------------------------------------------------------------------


def _linear(op: Any, name: str, x: Any, weight: Any, bias: Any = None) -> Any:
    turned = weight.t()
    if x.ndim == 2:
        return x.mm(turned) if bias is None else FUNCTIONS["addmm"](bias, x, turned)
    shape = (*x.shape[:-1], weight.shape[0])
    if bias is not None:
        return FUNCTIONS["addmm"](bias, x.view(-1, x.shape[-1]), turned).view(shape)
    if x.ndim == 1:
        return called("SqueezeBackward4", x.unsqueeze(0).mm(turned).squeeze(0))
    return called("UnsafeViewBackward0", x.view(-1, x.shape[-1]).mm(turned).view(shape))


def _batches(op: Any, name: str, a: Any, b: Any) -> Any:
    """`matmul` of two stacks of as many matrices."""
    if name != "UnsafeViewBackward0" or a.shape[:-2] != b.shape[:-2]:
        return None
    flat = [x.expand(x.shape).reshape(-1, *x.shape[-2:]) for x in (a, b)]
    product = FUNCTIONS["bmm"](*flat)
    return called("UnsafeViewBackward0", product.view(*a.shape[:-1], b.shape[-1]))


# ---- losses ------------------------------------------------------------------------------------------------


def _reduced(elements: Any, reduction: str) -> Any:
    return elements if reduction == "none" else getattr(elements, reduction)()


def _l1_loss(op: Any, name: str, x: Any, y: Any) -> Any:
    return _reduced((x - y).abs(), op.reduction)


def _kl_div(op: Any, name: str, x: Any, y: Any) -> Any:
    if op.log_target:
        return _reduced(y.exp() * (y - x), op.reduction)
    return _reduced(y.xlogy(y) - y * x, op.reduction)


def _cross_entropy(op: Any, name: str, x: Any, target: Any, weight: Any = None) -> Any:
    if op.smoothing:
        return None
    log = FUNCTIONAL["log_softmax"](x, 1 if x.ndim > 1 else 0)
    return FUNCTIONAL["nll_loss"](log, target, weight, ignore_index=op.ignore_index, reduction=op.reduction)


def _nll_loss(op: Any, name: str, x: Any, target: Any, *weight: Any) -> Any:
    """Along one axis as along two."""
    if x.ndim != 3 or op.reduction == "none":
        return None
    return FUNCTIONAL["nll_loss"](
        x.view(*x.shape[:2], 1, -1), target.view(target.shape[0], 1, -1), *weight,
        ignore_index=op.ignore_index, reduction=op.reduction,
    )  # fmt: skip


def _soft_cross_entropy(op: Any, name: str, x: Any, target: Any, *weight: Any) -> Any:
    if op.smoothing or weight or op.reduction == "none" or x.ndim != 2:
        return None
    total = -(FUNCTIONAL["log_softmax"](x, 1) * target).sum()
    return total if op.reduction == "sum" else called("DivBackward1", total / x.shape[0])


# ---- layers ------------------------------------------------------------------------------------------------


def _instance_norm(op: Any, name: str, x: Any, weight: Any = None, bias: Any = None) -> Any:
    if name != "ViewBackward0":
        return None
    images = x.view(1, -1, *x.shape[2:])
    affine = [None if p is None else p.repeat(x.shape[0]) for p in (weight, bias)]
    norm = FUNCTIONAL["batch_norm"](images, None, None, *affine, training=True, eps=op.eps)
    return norm.view(x.shape)


def _rms_norm(op: Any, name: str, x: Any, weight: Any = None) -> Any:
    mean = x.pow(2).mean(tuple(range(-op.dims, 0)), keepdim=True)
    normed = x * called("AddBackward1", mean + op.eps).rsqrt()
    return normed if weight is None else normed * weight


def _lstm_cell(op: Any, name: str, gates: Any, cell: Any) -> Any:
    admitted, kept, new, _ = gates.chunk(4, -1)
    return kept.sigmoid() * cell + admitted.sigmoid() * new.tanh()


def _lstm_hidden(op: Any, name: str, gates: Any, cell: Any) -> Any:
    return gates.chunk(4, -1)[3].sigmoid() * cell.tanh()


def _gru_hidden(op: Any, name: str, share: Any, recalled: Any, hidden: Any) -> Any:
    reset, kept, new = share.chunk(3, -1)
    reset_of, kept_of, new_of = recalled.chunk(3, -1)
    proposed = (new + (reset + reset_of).sigmoid() * new_of).tanh()
    return (hidden - proposed) * (kept + kept_of).sigmoid() + proposed


def _pooled(pool: str) -> Steps:
    """Along one axis as along two, of which one has a single place."""

    def steps(op: Any, name: str, x: Any) -> Any:
        frame = op.frame
        if name != "SqueezeBackward1" or any((*frame.low, *frame.high, *getattr(op, "padding", ()))):
            return None
        options = {"dilation": (1, *frame.dilations)} if pool == "max_pool2d" else {}
        images = FUNCTIONAL[pool](x.unsqueeze(-2), (1, *frame.sizes), (1, *frame.steps), **options)
        return images.squeeze(-2)

    return steps


# ---- element by element ------------------------------------------------------------------------------------


def _softsign(op: Any, name: str, x: Any) -> Any:
    return x / (x.abs() + 1)


def _div(op: Any, name: str, x: Any, y: Any) -> Any:
    """A number by a Tensor."""
    return y.reciprocal() * x.item() if name == "MulBackward0" else None


def _reshape(op: Any, name: str, x: Any) -> Any:
    """To a view of a copy in order; how a large operand lay is not known (its zeros have no strides)."""
    known = any(x.stride())
    copied = known and name in ("UnsafeViewBackward0", "ViewBackward0") and not x.is_contiguous()
    return called(name, x.contiguous().view(op.shape)) if copied else None


STEPS: dict[str, Steps] = {
    "nll_loss": _nll_loss, "linear": _linear, "dot": _batches, "l1_loss": _l1_loss, "kl_div": _kl_div,
    "cross_entropy": _cross_entropy, "soft_cross_entropy": _soft_cross_entropy,
    "group_norm": _instance_norm, "rms_norm": _rms_norm, "max_pool": _pooled("max_pool2d"),
    "avg_pool": _pooled("avg_pool2d"), "lstm_cell": _lstm_cell, "lstm_hidden": _lstm_hidden,
    "gru_hidden": _gru_hidden, "softsign": _softsign, "div": _div, "reshape": _reshape,
}  # fmt: skip
"""PyTorch's steps, by op."""


# ---- nodes -------------------------------------------------------------------------------------------------


def _unfold(steps: Steps, node: OpNode) -> None:
    """Let the node be the last of the steps."""
    inputs = node.inputs
    if inputs is None or any(isinstance(x, Node) for x in inputs) or any(_stale(node)):
        return
    operands = [_operand(node, place, value) for place, value in enumerate(inputs)]
    with enable_grad():
        made = steps(node.op, node.name(), *operands)
    last = made._edge if made is not None else None
    if not isinstance(last, OpNode):
        return
    last.settle()
    _age(last, node)
    own = next((guard for guard in node.guards if guard[2] < 0), None)
    node.__class__ = type(last)
    node.guards = [own if own and guard[2] < 0 else guard for guard in last.guards]
    node.shown = last.shown or Last(last.name())
    node.op, node.edges, node.inputs, node.out = last.op, last.edges, last.inputs, last.out


def _stale(node: OpNode) -> list[bool]:
    """Which of the values that the node keeps have been changed since."""
    return [counter[0] != version for counter, version, _ in node.guards]


def _operand(node: OpNode, place: int, value: Value) -> Tensor:
    """An operand of the node, as far as it is known: of what no derivative looks at, any elements will do."""
    edge: Edge = node.edges[place]
    if isinstance(edge, Tensor):
        return edge
    if isinstance(value, Type):
        value = np.broadcast_to(np.zeros((), value.dtype.numpy), value.shape)
    tensor = Tensor(np.asarray(value) if isinstance(value, np.generic) else value)
    tensor._edge, tensor._requires_grad = edge, edge is not None
    for counter, _, kept in node.guards:
        if kept == place:
            tensor._counter = counter
    return tensor


def _age(last: OpNode, node: OpNode) -> None:
    """Give the new nodes ages between those of the operands and the node's own."""
    ends = set(node.edges)
    found: set[GradNode] = set()
    waiting: list[GradNode] = [last]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting.extend(e for e in at.edges if isinstance(e, GradNode) and e not in ends)
    oldest = max((e.order for e in ends if isinstance(e, GradNode)), default=node.order - 1)
    for k, at in enumerate(sorted(found, key=lambda each: each.order)):
        at.order = oldest + (node.order - oldest) * (k + 1) / (len(found) + 1)


UNFOLDED.update({name: partial(_unfold, steps) for name, steps in STEPS.items()})
