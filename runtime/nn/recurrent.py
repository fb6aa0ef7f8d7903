"""Recurrent networks: sequences through layers of cells, in one direction or both. The steps are those of
`cells`, a layer's over a whole sequence those of `sequence`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored, warn
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.functions.casting import cast
from retrograd.runtime.modes import STATE
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.arguments import unusual
from retrograd.runtime.nn.cells import ELMAN, State, Step, check_nonlinearity, gru, lstm, states_of, uniform
from retrograd.runtime.nn.linear import empty_parameter
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.nn.sequence import Weights, over
from retrograd.runtime.nn.utils.rnn import PackedSequence
from retrograd.runtime.tensor import Tensor

cat: Callable[..., Tensor] = FUNCTIONS["cat"]
stack: Callable[..., Tensor] = FUNCTIONS["stack"]


_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""What the parameters of a layer are called, in the order of `Weights`."""


@cache
def _names(layer: str) -> list[str]:
    """Those of one layer in one direction."""
    return [f"{kind}_{layer}" for kind in _KINDS]


class RNNBase(Module):
    """Layers of cells over a sequence: `[L, N, input_size]`, `[N, L, …]` if `batch_first`, or without N."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check(dropout)
        for layer in range(num_layers):
            for suffix in self._suffixes():
                self._add_layer(layer, suffix, device, dtype)
        self.reset_parameters()

    def _check(self, dropout: object) -> None:
        if isinstance(dropout, bool) or not 0 <= self.dropout <= 1:
            raise ArgumentError(
                mirrored(
                    "dropout should be a number in range [0, 1] representing the probability of an element "
                    "being zeroed"
                )
            )
        if self.dropout > 0 and self.num_layers == 1:
            warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={self.dropout} and num_layers={self.num_layers}"
            )

        kinds = {"bias": bool, "batch_first": bool, "input_size": int, "hidden_size": int}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                found = type(value).__name__
                raise ArgumentError(mirrored(f"{name} should be of type {kind.__name__}, got: {found}"))
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ArgumentError(mirrored(f"{name} must be greater than zero"))
        if self.proj_size < 0:
            raise ArgumentError(
                mirrored("proj_size should be a positive integer or zero to disable projections")
            )
        if self.proj_size >= self.hidden_size:
            raise ArgumentError(mirrored("proj_size has to be smaller than hidden_size"))

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _add_layer(self, layer: int, suffix: str, device: object, dtype: object) -> None:
        inputs = self._output_size * len(self._suffixes()) if layer else self.input_size
        size = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (size, inputs),
            "weight_hh": (size, self._output_size),
        }
        if self.bias:
            shapes |= {"bias_ih": (size,), "bias_hh": (size,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            setattr(self, f"{name}_l{layer}{suffix}", empty_parameter(*shape, device=device, dtype=dtype))

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        names = list(self._parameters)
        each = len(names) // (self.num_layers * len(self._suffixes()))
        return [[getattr(self, n) for n in names[k : k + each]] for k in range(0, len(names), each)]

    def flatten_parameters(self) -> None:
        """Nothing: that is a matter of other devices."""

    def reset_parameters(self) -> None:
        uniform(self, self.hidden_size)

    def _step(self) -> Step:
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """The outputs of the last layer, and the last states of all, `[layers · directions, N, size]`.

        A packed sequence in gives a packed sequence out, and states in the order of the user's sequences.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        self._check_input(input)
        batched = input.dim() == 3
        x: Any = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        first = self._initial(x, hx, x.shape[1], batched)
        if self._is_whole() and STATE.autocast is not None:
            first = tuple(cast(state, STATE.autocast) for state in first)
        outputs, last = self._run(x, first, None)
        states = tuple([stack(part) for part in zip(*last)])
        if not batched:
            outputs, states = outputs.squeeze(1), tuple(state.squeeze(1) for state in states)
        elif self.batch_first:
            outputs = outputs.transpose(0, 1)
        return outputs, (states if self.states > 1 else states[0])

    def _packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        self._check_size(input.data)
        sizes = input.sizes
        first = self._initial(input.data, hx, sizes[0])
        if hx is not None:
            first = tuple(_permuted(part, input.sorted_indices) for part in first)
        outputs, last = self._run(input.data, first, sizes)
        states = tuple(_permuted(stack(part), input.unsorted_indices) for part in zip(*last))
        return PackedSequence(outputs, *input[1:]), (states if self.states > 1 else states[0])

    def _check_input(self, input: Tensor) -> None:
        if input.dim() not in (2, 3):
            name, what = (
                type(self).__name__,
                " tensor" if isinstance(self, RNN) else "",
            )  # PyTorch's two wordings
            raise ShapeError(
                mirrored(f"{name}: Expected input to be 2D or 3D, got {input.ndim}D{what} instead")
            )
        self._check_size(input)

    def _check_size(self, input: Tensor) -> None:
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                mirrored(
                    "input.size(-1) must be equal to input_size. "
                    f"Expected {self.input_size}, got {input.shape[-1]}"
                )
            )

    def _is_whole(self) -> bool:
        """Whether PyTorch has all steps as one function, which computes in autocast's dtype."""
        return False

    def _initial(self, x: Any, hx: Any, sequences: int, batched: bool = True) -> State:
        """The first states of all layers: those given, or zeros."""
        count = self.num_layers * len(self._suffixes())
        shapes = [(count, sequences, size) for size in (self._output_size, self.hidden_size)[: self.states]]
        if hx is None:
            return tuple([x.new_zeros(shape) for shape in shapes])
        given = states_of("lstm", hx) if self.states > 1 else (hx,)
        _check_axes(given, batched)
        if not batched:
            given = tuple(state.unsqueeze(1) for state in given)
        for what, state, shape in zip(
            ("hidden[0]", "hidden[1]") if self.states > 1 else ("hidden",), given, shapes
        ):
            if tuple(state.shape) != shape:
                raise ShapeError(mirrored(f"Expected {what} size {shape}, got {list(state.shape)}"))
        return given

    def _run(self, x: Any, first: State, sizes: list[int] | None) -> tuple[Any, list[State]]:
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes():
                state = tuple([part[len(last)] for part in first])
                found, state = self._over(x, state, f"l{layer}{suffix}", bool(suffix), sizes)
                outputs.append(found)
                last.append(state)
            x = outputs[0] if len(outputs) == 1 else cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, last

    def _over(
        self, x: Any, state: State, name: str, backwards: bool, sizes: list[int] | None
    ) -> tuple[Tensor, State]:
        """One layer in one direction; `sizes` are those of a packed sequence."""
        there = (True, True, self.bias, self.bias, self.proj_size)
        own: Any = self._parameters
        parameters: list[Any] = []
        for key, here in zip(_names(name), there):
            if not here:
                parameters.append(None)
            else:
                parameters.append(own[key] if key in own else getattr(self, key))
        return over(self._step(), x, state, Weights(*parameters), backwards, sizes)

    def extra_repr(self) -> str:
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *unusual(self, usual)])


def _permuted(state: Tensor, order: Tensor | None) -> Tensor:
    """A state `[layers, N, size]` with its N in another order."""
    return state if order is None else FUNCTIONS["index_select"](state, 1, order)


def _check_axes(states: State, batched: bool) -> None:
    """Raise where states do not have as many axes as the input."""
    axes, kind = (3, "batched") if batched else (2, "unbatched")
    if all(state.ndim == axes for state in states):
        return
    found = [f"{state.ndim}-D" for state in states]
    names, got = (
        ("hx and cx", f"({', '.join(found)}) tensors") if len(states) > 1 else ("hx", f"{found[0]} tensor")
    )
    raise ShapeError(mirrored(f"For {kind} {axes}-D input, {names} should also be {axes}-D but got {got}"))


class RNN(RNNBase):
    """Elman's: h ← tanh(W x + U h)."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        check_nonlinearity(nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity

    def _step(self) -> Step:
        return ELMAN[self.nonlinearity]


class LSTM(RNNBase):
    """Hochreiter and Schmidhuber's, 1997: a cell that gates let in, keep and let out."""

    gates = 4
    states = 2

    def _step(self) -> Step:
        return lstm

    def _is_whole(self) -> bool:
        return not self.proj_size


class GRU(RNNBase):
    """Cho et al.'s, 2014: a state that is a mixture of the last and a proposed one."""

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )

    def _step(self) -> Step:
        return gru
