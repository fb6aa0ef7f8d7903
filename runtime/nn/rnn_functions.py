"""`lstm`, `gru`, `rnn_tanh`, `rnn_relu` and their `_cell`s: recurrent networks as functions of their weights.

In flow sequences, first states and the weights of all layers in the order of `RNNBase.all_weights`; out flow
outputs and last states. The steps are those of `cells`, a layer's over a whole sequence those of `sequence`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.errors import ArgumentError
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.cells import ELMAN, State, Step
from retrograd.runtime.nn.cells import gru as gru_step
from retrograd.runtime.nn.cells import lstm as lstm_step
from retrograd.runtime.nn.sequence import Weights, over
from retrograd.runtime.tensor import Tensor

cat: Callable[..., Tensor] = FUNCTIONS["cat"]
stack: Callable[..., Tensor] = FUNCTIONS["stack"]


def _network(name: str, step: Step, states: int) -> Callable[..., tuple[Tensor, ...]]:
    """The function of a padded batch, `(input, hx, params, has_biases, …, batch_first)`, or of packed data,
    `(data, batch_sizes, hx, params, has_biases, …)`."""

    def function(input: Tensor, *rest: Any, **named: Any) -> tuple[Tensor, ...]:
        packed = isinstance(rest[0], Tensor) and isinstance(rest[1], Tensor | tuple | list)
        packed = packed and not isinstance(rest[2], bool)
        sizes = rest[0].tolist() if packed else None
        return _run(step, states, input, sizes, *rest[packed:], **named)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The network of `nn.{name.split('_')[0].upper()}` as a function of its weights."
    return function


def _run(
    step: Step, states: int, input: Tensor, sizes: list[int] | None, hx: Any, params: Sequence[Tensor],
    has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:  # fmt: skip
    first = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    if each * num_layers * directions != len(params) or each not in (2, 3, 4, 5) or len(first) != states:
        raise ArgumentError(
            f"a network of {num_layers} layers in {directions} directions by {len(params)} parameters",
            "each layer and direction has weights of the input and of the state, and biases if any",
        )
    x: Any = input.transpose(0, 1) if batch_first and sizes is None else input
    last: list[State] = []
    for layer in range(num_layers):
        outputs = []
        for backwards in range(directions):
            place = len(last)
            weights = params[place * each : (place + 1) * each]
            state = tuple(part[place] for part in first)
            found, state = _over(step, x, state, weights, has_biases, bool(backwards), sizes)
            outputs.append(found)
            last.append(state)
        x = outputs[0] if directions == 1 else cat(outputs, -1)
        if dropout and layer < num_layers - 1:
            x = F.dropout(x, dropout, train)
    ends = tuple(stack(part) for part in zip(*last))
    return (x.transpose(0, 1) if batch_first and sizes is None else x, *ends)


def _over(
    step: Step, x: Tensor, state: State, weights: Sequence[Tensor], has_biases: bool, backwards: bool,
    sizes: list[int] | None,
) -> tuple[Tensor, State]:  # fmt: skip
    """One layer in one direction."""
    inner, hidden, *others = weights
    biases = others[:2] if has_biases else [None, None]
    all_ = Weights(inner, hidden, *biases, *others[2 if has_biases else 0 :])
    return over(step, x, state, all_, backwards, sizes)


lstm = _network("lstm", lstm_step, 2)
gru = _network("gru", gru_step, 1)
rnn_tanh = _network("rnn_tanh", ELMAN["tanh"], 1)
rnn_relu = _network("rnn_relu", ELMAN["relu"], 1)


def _cell(name: str, step: Step, states: int) -> Callable[..., Any]:
    def function(
        input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:  # fmt: skip
        state = (hx,) if states == 1 else tuple(hx)
        found = step(F.linear(input, w_ih, b_ih), state, w_hh, b_hh)
        return found[0] if states == 1 else found

    function.__name__ = function.__qualname__ = f"{name}_cell"
    function.__doc__ = f"One step of `{name}`."
    return function


lstm_cell = _cell("lstm", lstm_step, 2)
gru_cell = _cell("gru", gru_step, 1)
rnn_tanh_cell = _cell("rnn_tanh", ELMAN["tanh"], 1)
rnn_relu_cell = _cell("rnn_relu", ELMAN["relu"], 1)
