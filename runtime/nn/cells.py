"""One step of a recurrent network, and the cells that are such a step with parameters.

What a step computes is a function of the input's share (`linear` of the input, for all steps at once), the
state and the weights of the hidden state: `ELMAN`, `lstm`, `gru`. A state is a tuple, whose first part is the
output. To add a kind of cell, write its step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, DimensionError, ShapeError, mirrored
from retrograd.runtime.functions.recurrent import gru_hidden, lstm_cell, lstm_hidden
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn import init
from retrograd.runtime.nn.linear import empty_parameter
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor

State = tuple[Tensor, ...]
Step = Callable[..., State]

# ---- steps -------------------------------------------------------------------------------------------------


def _elman(activation: Callable[[Tensor], Tensor]) -> Step:
    def step(share: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
        return (activation(share + F.linear(state[0], weight, bias)),)

    return step


def lstm(
    share: Tensor, state: State, weight: Tensor, bias: Tensor | None, projection: Tensor | None = None
) -> State:
    hidden, cell = state
    gates: Any = share + F.linear(hidden, weight, bias)
    cell = lstm_cell(gates, cell)
    hidden = lstm_hidden(gates, cell)
    return (hidden if projection is None else F.linear(hidden, projection), cell)


def gru(share: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    (hidden,) = state
    return (gru_hidden(share, F.linear(hidden, weight, bias), hidden),)


ELMAN = {"tanh": _elman(lambda x: F.tanh(x)), "relu": _elman(lambda x: F.relu(x))}


# ---- cells -------------------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """One step: `[N, input_size]`, or `[input_size]`, and a state to a state."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        size = self.gates * hidden_size
        self.weight_ih = empty_parameter(size, input_size, device=device, dtype=dtype)
        self.weight_hh = empty_parameter(size, hidden_size, device=device, dtype=dtype)
        self.bias_ih = empty_parameter(size, device=device, dtype=dtype) if bias else None
        self.bias_hh = empty_parameter(size, device=device, dtype=dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        uniform(self, self.hidden_size)

    def _step(self) -> Step:
        raise NotImplementedError

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if input.dim() not in (1, 2):
            raise ShapeError(
                mirrored(f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.ndim}D instead")
            )
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                mirrored(
                    f"input has inconsistent input_size: got {input.shape[-1]} expected {self.input_size}"
                )
            )
        if hx is None:
            state: State = (input.new_zeros((*input.shape[:-1], self.hidden_size)),) * self.states
        else:
            if self.states > 1 and isinstance(hx, Tensor):
                words = "lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor"
                raise ArgumentError(mirrored(words))
            state = states_of("lstm_cell", hx) if self.states > 1 else (hx,)
            self._check_states(input, state)
        new = self._step()(F.linear(input, self.weight_ih, self.bias_ih), state, self.weight_hh, self.bias_hh)
        return new if self.states > 1 else new[0]

    def _check_states(self, input: Tensor, state: State) -> None:
        for k, part in enumerate(state):
            if input.ndim == 2 and part.shape[0] != input.shape[0]:
                raise ShapeError(
                    mirrored(
                        f"Input batch size {input.shape[0]} doesn't match hidden{k} batch size "
                        f"{part.shape[0]}"
                    )
                )
            if part.shape[-1] != self.hidden_size:
                raise ShapeError(
                    mirrored(
                        f"hidden{k} has inconsistent hidden_size: got {part.shape[-1]}, "
                        f"expected {self.hidden_size}"
                    )
                )

    def extra_repr(self) -> str:
        kind = getattr(self, "nonlinearity", "tanh")
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += ["bias=False"] * (not self.bias) + [f"nonlinearity={kind}"] * (kind != "tanh")
        return ", ".join(parts)


class RNNCell(RNNCellBase):
    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        check_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity

    def _step(self) -> Step:
        return ELMAN[self.nonlinearity]


class LSTMCell(RNNCellBase):
    gates = 4
    states = 2

    def _step(self) -> Step:
        return lstm


class GRUCell(RNNCellBase):
    gates = 3

    def _step(self) -> Step:
        return gru


def uniform(module: Module, hidden_size: int) -> None:
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size > 0 else 0
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


def states_of(name: str, hx: Any) -> State:
    """The two states that a function of this name is given."""
    given = tuple(hx)
    if len(given) < 2:
        raise DimensionError(mirrored("tuple index out of range"), f"{name} expects two hidden states")
    if len(given) > 2:
        raise ShapeError(mirrored(f"{name} expects two hidden states"))
    return given


def check_nonlinearity(name: str) -> None:
    if name not in ELMAN:
        raise ArgumentError(mirrored(f"Unknown nonlinearity '{name}'. Select from 'tanh' or 'relu'."))
