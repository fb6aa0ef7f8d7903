"""Steps of recurrent networks: new states from the gates' sums and the old states, element by element.

A gate is a part along the last axis of what the input and the state give it together; how many there are,
and in what order, is PyTorch's. Derivatives are worked out by hand where the general ones would repeat work.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, narrow, pad
from retrograd.compiler.record import record


def gate(gates: Value, place: int, count: int) -> Value:
    """One of as many parts along the last axis."""
    size = gates.shape[-1] // count
    return narrow(gates, len(gates.shape) - 1, place * size, (place + 1) * size)


@register
@record
class LstmCell(Composite):
    """The cell's state, of four gates' sums and the old one: what is forgotten and what is let in
    (Hochreiter and Schmidhuber, 1997; Gers, Schmidhuber and Cummins, 2000).
    """

    name = "lstm_cell"

    def formula(self, *values: Value) -> Value:
        gates, cell = values
        admitted, kept, new = (gate(gates, k, 4) for k in range(3))
        return rows.sigmoid(kept) * cell + rows.sigmoid(admitted) * rows.tanh(new)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        gates, cell = inputs
        kept = rows.sigmoid(gate(gates, 1, 4))
        to_cell = cotangent * kept if needed[1] else None
        if not needed[0]:
            return [None, to_cell]
        admitted, new = rows.sigmoid(gate(gates, 0, 4)), rows.tanh(gate(gates, 2, 4))
        parts = [
            cotangent * new * (admitted * (1 - admitted)),
            cotangent * cell * (kept * (1 - kept)),
            cotangent * admitted * (1 - new * new),
        ]
        axis = len(gates.shape) - 1
        return [
            pad(concat(parts, axis), [0] * (axis + 1), [0] * axis + [cell.shape[-1]], [0] * (axis + 1)),
            to_cell,
        ]


@register
@record
class LstmHidden(Composite):
    """The hidden state, of four gates' sums and the cell's state: what is let out."""

    name = "lstm_hidden"

    def formula(self, *values: Value) -> Value:
        gates, cell = values
        return rows.sigmoid(gate(gates, 3, 4)) * rows.tanh(cell)


@register
@record
class GruHidden(Composite):
    """The hidden state, of what the input and the state give to three gates, and of the old one (Cho et al.,
    2014; the state is reset after its product).
    """

    name = "gru_hidden"

    def formula(self, *values: Value) -> Value:
        share, recalled, hidden = values
        reset, kept = (rows.sigmoid(gate(share, k, 3) + gate(recalled, k, 3)) for k in range(2))
        proposed = rows.tanh(gate(share, 2, 3) + reset * gate(recalled, 2, 3))
        return (hidden - proposed) * kept + proposed


def lstm_cell(gates: Value, cell: Value) -> Value:
    return apply(LstmCell(), gates, cell)


def lstm_hidden(gates: Value, cell: Value) -> Value:
    return apply(LstmHidden(), gates, cell)


def gru_hidden(share: Value, recalled: Value, hidden: Value) -> Value:
    return apply(GruHidden(), share, recalled, hidden)
