"""One layer of a recurrent network over a whole sequence, in one direction: `over`.

In flow a sequence, the first states and the layer's weights; out flow the outputs and the last states. Arrays
go through all steps natively (`native/walks.py`), and are one node of the tape; all else, and derivatives of
derivatives, step by step (`cells`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Value
from retrograd.compiler.record import NamedTuple, record
from retrograd.runtime import tracing
from retrograd.runtime.autograd.differentiation import grad
from retrograd.runtime.autograd.function import unattached
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.opnodes import UNCHANGING, counter_of, modified
from retrograd.runtime.eager.packing import Packed, packed
from retrograd.runtime.eager.tape import Edge, GradNode, Output, already_freed
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import INFERENCE, STATE, unkept
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


_UNROLLED = 64
"""Steps up to which a compiled function has one after the other: that runs up to a third faster than a loop,
and takes as many times as long to compile."""


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
    if tracing.depth and len(shares) > _UNROLLED and not STATE.autocast:
        return _looped(step, shares, state, rest, backwards)
    outputs: list[Tensor] = []
    for share in _ordered(shares.unbind(0), backwards):
        state = step(share, state, *rest)
        outputs.append(state[0])
    return stack(_ordered(outputs, backwards)), state


def _looped(step: Step, shares: Tensor, state: State, rest: Rest, backwards: bool) -> Run:
    """The same by a `scan`, which is one loop of a compiled function."""

    def turn(state: State, share: Tensor) -> tuple[State, Tensor]:
        state = step(share, state, *rest)
        return state, state[0]

    scan = import_module("retrograd.runtime.func.control").scan  # late: only compiled functions need it
    state, outputs = scan(turn, state, shares, reverse=backwards)
    return outputs, state


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
    recorded = STATE.grad and True in [x is not None and x._requires_grad for x in operands]
    arrays = _there(cell, operands, backwards, recorded)
    end = 0 if backwards else -1
    results = [Tensor(arrays["hidden"])]
    results += [Tensor(arrays[k][end].copy()) for k in ("hidden", "cell") if k in arrays]
    if recorded:
        own = [Tensor(arrays[k]) for k in ("gates", "cell") if k in arrays]
        _WalkNode(cell, backwards, operands).record(operands, results, own)
    return results[0], tuple(results[1:])


_Operands = Sequence[Tensor | None]
"""Those of a walk: shares, first state, first cell, weight, bias."""


def _values(operands: _Operands) -> list[Any]:
    """Their arrays, which `_cell` has seen."""
    return [None if x is None else x._value for x in operands]


def _there(cell: _Cell, operands: _Operands, backwards: bool, recorded: bool) -> dict[str, Array]:
    """The arrays of a walk through all steps, which has been done."""
    shares, first, first_cell, weight, bias = _values(operands)
    (steps, rows), size = shares.shape[:2], first.shape[1]
    kept, dtype = steps if recorded else 1, weight.dtype
    arrays = {"shares": _in_order(shares), "first_hidden": _in_order(first)}
    arrays["weight"] = weight.T if steps < _FEW else _in_order(weight.T)
    arrays["hidden"] = np.empty((steps, rows, size), dtype)
    if cell.stays:
        arrays["gates"] = np.empty((kept, rows, cell.stays * size), dtype)
    if first_cell is not None:
        arrays["first_cell"], arrays["cell"] = _in_order(first_cell), np.empty((kept, rows, size), dtype)
    if cell.biased:
        arrays["bias"] = np.zeros(3 * size, dtype) if bias is None else _in_order(bias)
    apart = rows * size if recorded else 0
    walks.walk(f"{cell.name}_there", (steps, rows, size, backwards, cell.stays * apart, apart), **arrays)
    return arrays


class _WalkNode(GradNode):
    """All steps of a layer on the tape. Its results are the states of all steps, and the last ones."""

    __slots__ = ("cell", "backwards", "operands", "own", "outputs", "versions")

    of_arrays = True
    versions: list[tuple[list[Any], int]]
    operands: Sequence[Tensor | Packed | None]
    own: Sequence[Tensor | Packed]
    """The hidden states, and what stays of gates and cells."""

    def __init__(self, cell: _Cell, backwards: bool, operands: _Operands) -> None:
        super().__init__(tuple(map(edge_of, operands)))
        self.cell, self.backwards = cell, backwards

    def record(self, operands: _Operands, results: Sequence[Tensor], own: Sequence[Tensor]) -> None:
        """Give the results this history; `own` stays besides."""
        self.outputs = len(results)
        for place, result in enumerate(results):
            result._edge, result._requires_grad = Output(self, place), True
        self.versions = []
        if STATE.savers:
            self.operands = [None if x is None else packed(x) for x in operands]
            self.own = [packed(x) for x in (results[0], *own)]
            return
        for x in (*operands, results[0]):
            counter = UNCHANGING if x is None else counter_of(x)
            if counter is INFERENCE:
                raise unkept()
            self.versions.append((counter, counter[0]))
        self.operands, self.own = operands, (unattached(results[0]), *own)

    def name(self) -> str:
        return self.cell.shown

    def saved_values(self) -> Sequence[Value]:
        return [x._value for x in (*self.operands, *self.own) if isinstance(x, Tensor)]

    def holds(self, array: Value) -> bool:
        return any(x is array for x in self.saved_values())

    def free(self) -> None:
        self.operands = self.own = ()

    def backward(self, cotangent: Any, needed: Sequence[bool], create_graph: bool) -> Sequence[Value | None]:
        if not self.operands:
            raise already_freed()
        for x, (counter, version) in zip((*self.operands, self.own[0]), self.versions):
            if counter[0] != version:
                maker = self if x is self.own[0] else x._edge  # type: ignore[union-attr]  # a Tensor: it has changed
                raise modified(x._value, maker, counter[0], version)  # type: ignore[union-attr]  # as above
        operands = [_unpacked(x, edge) for x, edge in zip(self.operands, self.edges)]
        if create_graph:
            return _again(self.cell, self.backwards, operands, cotangent)
        own = [x.tensor() if isinstance(x, Packed) else x for x in self.own]
        return self._back(operands, [x._value for x in own], cotangent, needed)

    def _back(
        self, operands: _Operands, own: Sequence[Value], given: Sequence[Value | None], needed: Sequence[bool]
    ) -> list[Value | None]:
        """The operands' cotangents, by a walk the other way."""
        shares, first, first_cell, weight, _ = _values(operands)
        hidden, cell = _in_order(own[0]), self.cell
        arrays = {"weight": _in_order(weight), "hidden": hidden, "first_hidden": _in_order(first)}
        arrays |= {name: _in_order(x) for name, x in zip(("gates", "cell"), own[1:])}
        arrays["shares"] = to_shares = np.empty_like(shares, order="C")
        arrays["given"] = _given(given[0], hidden)
        arrays["to_hidden"] = to_first = _given(given[1], first, fresh=True)
        arrays["beside"] = to_cell = _given(given[2] if len(given) > 2 else None, first, fresh=True)
        if first_cell is not None:
            arrays["first_cell"] = _in_order(first_cell)
        recalled = arrays["recalled"] = np.empty_like(to_shares) if cell.biased else to_shares
        walks.walk(f"{cell.name}_back", (*hidden.shape, self.backwards, 0, 0), **arrays)
        to_weight = to_bias = None
        if needed[3]:
            to_weight = _by_states(recalled, hidden, arrays["first_hidden"], self.backwards)
        if needed[4]:
            to_bias = np.add.reduce(recalled, (0, 1))
        if first_cell is None:
            return [to_shares, to_first + to_cell, None, to_weight, to_bias]
        return [to_shares, to_first, to_cell, to_weight, to_bias]


def _unpacked(kept: Tensor | Packed | None, edge: Edge) -> Tensor | None:
    """An operand with the history that it had."""
    if not isinstance(kept, Packed):
        return kept
    again = Tensor(kept.tensor()._value)
    again._edge, again._requires_grad = edge, edge is not None
    return again


_FEW = 4
"""Steps from which on a weight is worth turning."""


_in_order: Callable[[Any], Array] = np.ascontiguousarray
"""An array's elements in order in memory."""


def _given(cotangent: Any, like: Array, fresh: bool = False) -> Array:
    """A cotangent's elements, or zeros; what is `fresh` may be written over."""
    if cotangent is None:
        return np.zeros(like.shape, like.dtype)
    return np.array(cotangent, order="C") if fresh else _in_order(cotangent)


def _by_states(recalled: Array, hidden: Array, first: Array, backwards: bool) -> Array:
    """The weight's cotangent: that of what the states gave, by the states before each step."""
    begun = -1 if backwards else 0
    total: Array = recalled[begun].T.dot(first)
    if len(hidden) > 1:
        later, before = (recalled[:-1], hidden[1:]) if backwards else (recalled[1:], hidden[:-1])
        total += later.reshape(-1, later.shape[2]).T.dot(before.reshape(-1, before.shape[2]))
    return total


def _again(
    cell: _Cell, backwards: bool, operands: _Operands, given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The cotangents as a function that can be differentiated: of the steps, done once more."""
    copies: list[Tensor | None] = [None if x is None else clone(x) for x in operands]
    shares, first, first_cell, weight, bias = copies
    state: Any = (first,) if first_cell is None else (first, first_cell)
    hidden, last = _step_by_step(cell.step, shares, state, (weight, bias), backwards)  # type: ignore[arg-type]  # no None
    pairs = [(x, ct) for x, ct in zip((hidden, *last), given) if ct is not None]
    wanted = [x for x in copies if x is not None and x.requires_grad]
    outputs, cotangents = zip(*pairs)
    found = iter(grad(outputs, wanted, cotangents, create_graph=True, allow_unused=True))
    return [next(found) if x is not None and x.requires_grad else None for x in copies]
