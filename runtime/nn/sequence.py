"""One layer of a recurrent network over a whole sequence, in one direction: `over`.

In flow a sequence, the first states and the layer's weights; out flow the outputs and the last states. Arrays
go through all steps natively (`native/walks.py`), and are one node of the tape; all else, and derivatives of
derivatives, step by step (`cells`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import record
from retrograd.runtime import tracing
from retrograd.runtime.autograd.differentiation import grad
from retrograd.runtime.autograd.function import Function
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import STATE
from retrograd.runtime.native import walks
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.cells import ELMAN, State, Step, gru, lstm
from retrograd.runtime.tensor import Tensor

cat: Callable[..., Tensor] = FUNCTIONS["cat"]
stack: Callable[..., Tensor] = FUNCTIONS["stack"]

Run = tuple[Tensor, State]
"""The outputs of all steps, and the last states."""
Rest = Sequence[Tensor | None]
"""What a step has besides its share and state: weight, bias, and the weight of a projection if any."""


class Weights(NamedTuple):
    """Those of one layer in one direction."""

    inner: Tensor
    hidden: Tensor
    inner_bias: Tensor | None = None
    bias: Tensor | None = None
    projection: Tensor | None = None


def over(
    step: Step, x: Tensor, state: State, weights: Weights, backwards: bool, sizes: list[int] | None
) -> Run:
    """All steps; `sizes` are those of a packed sequence."""
    inner, hidden, inner_bias, bias, projection = weights
    cell = _cell(step, x, state, weights) if sizes is None else None
    if cell is not None and not cell.biased and bias is not None:
        inner_bias, bias = bias if inner_bias is None else inner_bias + bias, None
    shares: Any = F.linear(x, inner, inner_bias)
    if cell is not None:
        return _walked(cell, shares, state, hidden, bias, backwards)
    rest = (hidden, bias) if projection is None else (hidden, bias, projection)
    if sizes is None:
        return _step_by_step(step, shares, state, rest, backwards)
    outputs, state = _packed_steps(step, _ordered(shares.split(sizes), backwards), state, rest)
    return cat(_ordered(outputs, backwards)), state


# ---- step by step ------------------------------------------------------------------------------------------


def _step_by_step(step: Step, shares: Tensor, state: State, rest: Rest, backwards: bool) -> Run:
    outputs: list[Tensor] = []
    for share in _ordered(shares.unbind(0), backwards):
        state = step(share, state, *rest)
        outputs.append(state[0])
    return stack(_ordered(outputs, backwards)), state


def _packed_steps(
    step: Step, shares: Sequence[Tensor], first: State, rest: Rest
) -> tuple[list[Tensor], State]:
    """Steps of fewer and fewer sequences, or of more and more when they are read from behind."""
    outputs: list[Tensor] = []
    ended: list[State] = []
    state = tuple(part[:0] for part in first)
    for share in shares:
        now, before = share.shape[0], state[0].shape[0]
        if now < before:
            ended.append(tuple(part[now:] for part in state))
            state = tuple(part[:now] for part in state)
        elif now > before:
            state = tuple(cat([part, new[before:now]]) for part, new in zip(state, first))
        state = step(share, state, *rest)
        outputs.append(state[0])
    return outputs, tuple(cat(part) for part in zip(state, *reversed(ended)))


def _ordered(items: Sequence[Tensor], backwards: bool) -> list[Tensor]:
    return list(reversed(items)) if backwards else list(items)


# ---- all steps at once -------------------------------------------------------------------------------------


@record(slots=True, eq=False)
class _Cell:
    """A step that there are walks of."""

    step: Step
    name: str
    gates: int
    shown: str
    """What PyTorch calls the node of such a layer."""
    stays: int = 0
    """Numbers that stay of the gates, for each of a state."""
    biased: bool = False
    """Whether the state's bias is told apart from the inputs'."""


_CELLS = {
    cell.step: cell
    for cell in (
        _Cell(ELMAN["tanh"], "tanh", 1, "StackBackward0"),
        _Cell(ELMAN["relu"], "relu", 1, "StackBackward0"),
        _Cell(lstm, "lstm", 4, "MkldnnRnnLayerBackward0", stays=4),
        _Cell(gru, "gru", 3, "StackBackward0", stays=4, biased=True),
    )
}


def _cell(step: Step, x: Tensor, state: State, weights: Weights) -> _Cell | None:
    """What to walk; None where operands are not plain arrays that fit, or there is nothing to do."""
    cell = _CELLS.get(step)
    if cell is None or tracing.depth or STATE.autocast or weights.projection is not None or x.ndim != 3:
        return None
    value: Any = x._value
    for each in (x, *state, *weights):
        if each is not None and (type(each._value) is not np.ndarray or each._value.dtype is not value.dtype):
            return None
    rows, size = value.shape[1], state[0].shape[-1]
    gates = cell.gates * size
    fit = weights.hidden.shape == (gates, size) and weights.inner.shape[0] == gates
    fit = fit and (weights.bias is None or weights.bias.shape == (gates,))
    for part in state:
        fit = fit and part.shape == (rows, size)
    return cell if fit and value.size and walks.available(value.dtype) else None


def _walked(
    cell: _Cell, shares: Tensor, state: State, weight: Tensor, bias: Tensor | None, backwards: bool
) -> Run:
    operands = (shares, state[0], state[1] if len(state) > 1 else None, weight, bias)
    recorded = STATE.grad and True in [x is not None and x.requires_grad for x in operands]
    found = _Walk.apply((cell, backwards, recorded), *operands)
    return found[0], found[1:]


class _Walk(Function):
    """All steps of a layer; its operands are those of `_walked`."""

    @staticmethod
    def _shown(ctx: Any) -> str:
        name: str = ctx.cell.shown
        return name

    @staticmethod
    def forward(
        ctx: Any, way: tuple[_Cell, bool, bool], shares: Tensor, first: Tensor, first_cell: Tensor | None,
        weight: Tensor, bias: Tensor | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        cell, backwards, recorded = way
        ctx.cell, ctx.backwards = cell, backwards
        ctx.set_materialize_grads(False)
        steps, rows = shares.shape[:2]
        size = first.shape[1]
        turned: Array = weight._value.T  # type: ignore[union-attr]  # `_cell` has seen an array
        kept, dtype = steps if recorded else 1, turned.dtype
        arrays = {"shares": _array(shares), "first_hidden": _array(first)}
        arrays["weight"] = turned if steps < _FEW else np.ascontiguousarray(turned)
        arrays["hidden"] = np.empty((steps, rows, size), dtype)
        if cell.stays:
            arrays["gates"] = np.empty((kept, rows, cell.stays * size), dtype)
        if first_cell is not None:
            arrays["first_cell"], arrays["cell"] = _array(first_cell), np.empty((kept, rows, size), dtype)
        if cell.biased:
            arrays["bias"] = np.zeros(3 * size, dtype) if bias is None else _array(bias)
        apart = rows * size if recorded else 0
        sizes = (steps, rows, size, backwards, cell.stays * apart, apart)
        walks.walk(f"{cell.name}_there", sizes, **arrays)
        hidden, own = Tensor(arrays["hidden"]), [Tensor(arrays[k]) for k in ("gates", "cell") if k in arrays]
        ctx.save_for_backward(shares, first, first_cell, weight, bias, hidden, *own)
        end = 0 if backwards else -1
        return hidden, *[Tensor(arrays[k][end].copy()) for k in ("hidden", "cell") if k in arrays]

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        if STATE.grad:
            return (None, *_again(ctx, given))
        cell, operands = ctx.cell, ctx.saved_tensors
        shares, first, first_cell, weight, bias, hidden = operands[:6]
        own = dict(zip(("gates", "cell"), operands[6:]))
        arrays = {"weight": _array(weight), "hidden": _array(hidden), "first_hidden": _array(first)}
        arrays |= {name: _array(x) for name, x in own.items()}
        arrays["shares"] = to_shares = np.empty_like(_array(shares), order="C")
        arrays["given"] = _given(given[0], hidden)
        arrays["to_hidden"] = _given(given[1], first, fresh=True)
        arrays["beside"] = _given(given[2] if first_cell is not None else None, first, fresh=True)
        if first_cell is not None:
            arrays["first_cell"] = _array(first_cell)
        recalled = arrays["recalled"] = np.empty_like(to_shares) if cell.biased else to_shares
        steps, rows, size = hidden.shape
        walks.walk(f"{cell.name}_back", (steps, rows, size, ctx.backwards, 0, 0), **arrays)
        to_first, to_cell = arrays["to_hidden"], arrays["beside"]
        if first_cell is None:
            to_first = to_first + to_cell
        to_weight = to_bias = None
        if ctx.needs_input_grad[4]:
            to_weight = Tensor(_by_states(recalled, arrays["hidden"], arrays["first_hidden"], ctx.backwards))
        if bias is not None and ctx.needs_input_grad[5]:
            to_bias = Tensor(np.add.reduce(recalled, (0, 1)))
        to_first_cell = None if first_cell is None else Tensor(to_cell)
        return None, Tensor(to_shares), Tensor(to_first), to_first_cell, to_weight, to_bias


_FEW = 4
"""Steps from which on a weight is worth turning."""


def _array(x: Tensor) -> Array:
    """A Tensor's elements in order in memory."""
    return np.ascontiguousarray(x._value)


def _given(cotangent: Tensor | None, like: Tensor, fresh: bool = False) -> Array:
    """A cotangent's elements, or zeros; what is `fresh` may be written over."""
    if cotangent is None:
        return np.zeros(like.shape, like.dtype.numpy)
    return np.array(cotangent._value, order="C") if fresh else _array(cotangent)


def _by_states(recalled: Array, hidden: Array, first: Array, backwards: bool) -> Array:
    """The weight's cotangent: that of what the states gave, by the states before each step."""
    begun = -1 if backwards else 0
    total: Array = recalled[begun].T.dot(first)
    if len(hidden) > 1:
        later, before = (recalled[:-1], hidden[1:]) if backwards else (recalled[1:], hidden[:-1])
        total += later.reshape(-1, later.shape[2]).T.dot(before.reshape(-1, before.shape[2]))
    return total


def _again(ctx: Any, given: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The cotangents as a function that can be differentiated: of the steps, done once more."""
    operands: list[Tensor | None] = [None if x is None else clone(x) for x in ctx.saved_tensors[:5]]
    shares, first, first_cell, weight, bias = operands
    state: Any = (first,) if first_cell is None else (first, first_cell)
    hidden, last = _step_by_step(ctx.cell.step, shares, state, (weight, bias), ctx.backwards)  # type: ignore[arg-type]  # no None
    pairs = [(x, ct) for x, ct in zip((hidden, *last), given) if ct is not None]
    wanted = [x for x in operands if x is not None and x.requires_grad]
    outputs, cotangents = zip(*pairs)
    found = iter(grad(outputs, wanted, cotangents, create_graph=True, allow_unused=True))
    return [next(found) if x is not None and x.requires_grad else None for x in operands]
