"""Recurrent layers over whole sequences, natively: a product and a loop over elements for each step.

In flow a `Walk` and where its arrays lie; nothing is allocated here. A step's sums are written where its
gates stay. The way back starts from the cotangents of the last states and leaves those of the first ones.
What elements are, and `sigmoid` and `tanh` of vectors of them, is said by instances. The steps are those of
`nn/cells.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Record,
    Vector,
    cast,
    chosen,
    inlined,
    native,
    put,
    select,
    stack,
    take,
)
from retrograd.runtime.native.objects import Memory

Number = Float32
Numbers = Vector[Number, Literal[16]]
LANES = 16
"""An instance has its own."""

Product = Callable[[Array[Memory], Array[int], Array[int], Memory], None]
"""NumPy's loop of matrix products: arrays, extents and strides, and what it was made with."""


class Walk(Record):
    """`L` steps of `N` sequences with states of `H` elements."""

    product: Product
    made_with: Memory
    steps: int
    rows: int
    size: int
    backwards: int
    """Whether the last step comes first."""
    kept_step: int
    """Elements from one step's gates to the next one's: 0 where none are to stay."""
    cell_step: int
    bytes: int
    """Of an element."""
    weight_row: int
    """Bytes from one row of the weight to the next one."""
    weight_column: int


ARRAYS = (
    "weight", "bias", "shares", "gates", "first_hidden", "first_cell", "hidden", "cell", "given", "recalled",
    "to_hidden", "beside",
)  # fmt: skip
"""What a walk reads and writes, rows in order:

    weight             `[H, gates · H]` on the way there, `[gates · H, H]` on the way back, in any order
    bias               of what the state gives to the gates
    shares             what the inputs give to them, `[L, N, gates · H]`; on the way back their cotangents
    gates              what stays of the gates
    first_…            the states before the first step, `[N, H]`
    hidden, cell       those after each step, `[L, N, H]`
    given              the cotangents of `hidden`
    recalled           those of what the state gives to the gates, where the shares' are others
    to_hidden, beside  what comes to a step's first states by the product, and beside it, `[N, H]`
"""
WEIGHT, BIAS, SHARES, GATES, FIRST_HIDDEN, FIRST_CELL = range(6)
HIDDEN, CELL, GIVEN, RECALLED, TO_HIDDEN, BESIDE = range(6, 12)


@chosen
def sigmoid(x: Numbers) -> Numbers: ...


@chosen
def tanh(x: Numbers) -> Numbers: ...


@native
def step_of(walk: Walk, number: int) -> int:
    """Which step comes so late."""
    return walk.steps - 1 - number if walk.backwards != 0 else number


@native
def multiply(walk: Walk, a: Memory, b: Memory, to: Memory, inner: int, columns: int, apart: int) -> None:
    """A row of so many elements for each sequence by the weight; the product's rows lie so many `apart`."""
    arrays, extents, strides = stack(Array[Memory], 3), stack(Array[int], 4), stack(Array[int], 9)
    arrays[0], arrays[1], arrays[2] = a, b, to
    extents[0], extents[1], extents[2], extents[3] = 1, walk.rows, inner, columns
    strides[0], strides[1], strides[2] = 0, 0, 0
    strides[3], strides[4] = inner * walk.bytes, walk.bytes
    strides[5], strides[6] = walk.weight_row, walk.weight_column
    strides[7], strides[8] = apart * walk.bytes, walk.bytes
    walk.product(arrays, extents, strides, walk.made_with)


@inlined
def by_weight(
    walk: Walk,
    arrays: Array[Array[Number]],
    a: Array[Number],
    inner: int,
    columns: int,
    to: Array[Number],
    apart: int,
) -> None:
    """The same of arrays of numbers."""
    weight = cast(Memory, arrays[WEIGHT])
    multiply(walk, cast(Memory, a), weight, cast(Memory, to), inner, columns, apart)


@inlined
def of(array: Array[Number], at: int, left: int) -> Numbers:
    """Elements from one on, of which so many are left."""
    return take(Numbers, array + at, left, 0.0)


@inlined
def state_before(walk: Walk, k: int, first: Array[Number], states: Array[Number]) -> Array[Number]:
    """The state that the k-th step taken began with."""
    return first if k == 0 else states + step_of(walk, k - 1) * (walk.rows * walk.size)


# ---- Elman's -----------------------------------------------------------------------------------------------
@inlined
def elman(walk: Walk, arrays: Array[Array[Number]], activation: Callable[[Numbers], Numbers]) -> None:
    size, count, before = walk.size, walk.rows * walk.size, arrays[FIRST_HIDDEN]
    for k in range(walk.steps):
        at = step_of(walk, k) * count
        share, hidden = arrays[SHARES] + at, arrays[HIDDEN] + at
        by_weight(walk, arrays, before, size, size, hidden, size)
        for i in range(0, count, LANES):
            left = count - i
            put(hidden + i, activation(of(share, i, left) + of(hidden, i, left)), left)
        before = hidden


@native
def tanh_there(walk: Walk, arrays: Array[Array[Number]]) -> None:
    elman(walk, arrays, lambda x: tanh(x))


@native
def relu_there(walk: Walk, arrays: Array[Array[Number]]) -> None:
    elman(walk, arrays, lambda x: select(x < 0.0, cast(Numbers, 0.0), x))


@inlined
def elman_back(
    walk: Walk, arrays: Array[Array[Number]], through: Callable[[Numbers, Numbers], Numbers]
) -> None:
    """`through` gives the cotangent of sums from the state and its cotangent."""
    size, count, to_hidden = walk.size, walk.rows * walk.size, arrays[TO_HIDDEN]
    for k in range(walk.steps):
        at = step_of(walk, walk.steps - 1 - k) * count
        hidden, given, share = arrays[HIDDEN] + at, arrays[GIVEN] + at, arrays[SHARES] + at
        for i in range(0, count, LANES):
            left = count - i
            put(share + i, through(of(hidden, i, left), of(given, i, left) + of(to_hidden, i, left)), left)
        by_weight(walk, arrays, share, size, size, to_hidden, size)


@native
def tanh_back(walk: Walk, arrays: Array[Array[Number]]) -> None:
    elman_back(walk, arrays, lambda hidden, total: total * (1.0 - hidden * hidden))


@native
def relu_back(walk: Walk, arrays: Array[Array[Number]]) -> None:
    elman_back(walk, arrays, lambda hidden, total: select(hidden <= 0.0, cast(Numbers, 0.0), total))


# ---- LSTM: gates of what is admitted, kept, new and shown --------------------------------------------------
@native
def lstm_there(walk: Walk, arrays: Array[Array[Number]]) -> None:
    size, count = walk.size, walk.rows * walk.size
    before, cell_before = arrays[FIRST_HIDDEN], arrays[FIRST_CELL]
    for k in range(walk.steps):
        step = step_of(walk, k)
        gates, cell = arrays[GATES] + step * walk.kept_step, arrays[CELL] + step * walk.cell_step
        share, hidden = arrays[SHARES] + step * 4 * count, arrays[HIDDEN] + step * count
        by_weight(walk, arrays, before, size, 4 * size, gates, 4 * size)
        for row in range(walk.rows):
            at = row * size
            lstm_row(gates + 4 * at, share + 4 * at, cell_before + at, cell + at, hidden + at, size)
        before, cell_before = hidden, cell


@inlined
def lstm_row(
    gates: Array[Number], share: Array[Number], before: Array[Number], cell: Array[Number],
    hidden: Array[Number], size: int,
) -> None:  # fmt: skip
    for i in range(0, size, LANES):
        left, k, n, s = size - i, size + i, 2 * size + i, 3 * size + i
        admitted = sigmoid(of(share, i, left) + of(gates, i, left))
        kept = sigmoid(of(share, k, left) + of(gates, k, left))
        new = tanh(of(share, n, left) + of(gates, n, left))
        shown = sigmoid(of(share, s, left) + of(gates, s, left))
        now = kept * of(before, i, left) + admitted * new
        put(gates + i, admitted, left)
        put(gates + k, kept, left)
        put(gates + n, new, left)
        put(gates + s, shown, left)
        put(cell + i, now, left)
        put(hidden + i, shown * tanh(now), left)


@native
def lstm_back(walk: Walk, arrays: Array[Array[Number]]) -> None:
    size, count, to_hidden, to_cell = walk.size, walk.rows * walk.size, arrays[TO_HIDDEN], arrays[BESIDE]
    for k in range(walk.steps):
        step = step_of(walk, walk.steps - 1 - k)
        before = state_before(walk, walk.steps - 1 - k, arrays[FIRST_CELL], arrays[CELL])
        for row in range(walk.rows):
            at, to = row * size, step * count + row * size
            lstm_row_back(
                arrays[GATES] + 4 * to, arrays[SHARES] + 4 * to, before + at, arrays[CELL] + to,
                arrays[GIVEN] + to, to_hidden + at, to_cell + at, size,
            )  # fmt: skip
        by_weight(walk, arrays, arrays[SHARES] + 4 * step * count, 4 * size, size, to_hidden, size)


@inlined
def lstm_row_back(
    gates: Array[Number], to: Array[Number], before: Array[Number], cell: Array[Number],
    given: Array[Number], to_hidden: Array[Number], to_cell: Array[Number], size: int,
) -> None:  # fmt: skip
    for i in range(0, size, LANES):
        left, k, n, s = size - i, size + i, 2 * size + i, 3 * size + i
        admitted, kept = of(gates, i, left), of(gates, k, left)
        new, shown = of(gates, n, left), of(gates, s, left)
        total, bent = of(given, i, left) + of(to_hidden, i, left), tanh(of(cell, i, left))
        inner = of(to_cell, i, left) + total * shown * (1.0 - bent * bent)
        put(to + i, inner * new * (admitted * (1.0 - admitted)), left)
        put(to + k, inner * of(before, i, left) * (kept * (1.0 - kept)), left)
        put(to + n, inner * admitted * (1.0 - new * new), left)
        put(to + s, total * bent * (shown * (1.0 - shown)), left)
        put(to_cell + i, inner * kept, left)


# ---- GRU: gates of what is reset, kept and new; beside them stays what the state gives to the new ---------
@native
def gru_there(walk: Walk, arrays: Array[Array[Number]]) -> None:
    size, count, before = walk.size, walk.rows * walk.size, arrays[FIRST_HIDDEN]
    for k in range(walk.steps):
        step = step_of(walk, k)
        gates, hidden = arrays[GATES] + step * walk.kept_step, arrays[HIDDEN] + step * count
        share = arrays[SHARES] + step * 3 * count
        by_weight(walk, arrays, before, size, 3 * size, gates, 4 * size)
        for row in range(walk.rows):
            at = row * size
            gru_row(gates + 4 * at, share + 3 * at, arrays[BIAS], before + at, hidden + at, size)
        before = hidden


@inlined
def gru_row(
    gates: Array[Number], share: Array[Number], bias: Array[Number], before: Array[Number],
    hidden: Array[Number], size: int,
) -> None:  # fmt: skip
    for i in range(0, size, LANES):
        left, k, n = size - i, size + i, 2 * size + i
        reset = sigmoid(of(share, i, left) + (of(gates, i, left) + of(bias, i, left)))
        kept = sigmoid(of(share, k, left) + (of(gates, k, left) + of(bias, k, left)))
        recalled = of(gates, n, left) + of(bias, n, left)
        new = tanh(of(share, n, left) + reset * recalled)
        put(gates + i, reset, left)
        put(gates + k, kept, left)
        put(gates + n, new, left)
        put(gates + (3 * size + i), recalled, left)
        put(hidden + i, (of(before, i, left) - new) * kept + new, left)


@native
def gru_back(walk: Walk, arrays: Array[Array[Number]]) -> None:
    size, count, to_hidden, beside = walk.size, walk.rows * walk.size, arrays[TO_HIDDEN], arrays[BESIDE]
    for k in range(walk.steps):
        step = step_of(walk, walk.steps - 1 - k)
        before = state_before(walk, walk.steps - 1 - k, arrays[FIRST_HIDDEN], arrays[HIDDEN])
        for row in range(walk.rows):
            at, to = row * size, step * count + row * size
            gru_row_back(
                arrays[GATES] + 4 * to, arrays[SHARES] + 3 * to, arrays[RECALLED] + 3 * to, before + at,
                arrays[GIVEN] + to, to_hidden + at, beside + at, size,
            )  # fmt: skip
        by_weight(walk, arrays, arrays[RECALLED] + 3 * step * count, 3 * size, size, to_hidden, size)


@inlined
def gru_row_back(
    gates: Array[Number], to: Array[Number], to_recalled: Array[Number], before: Array[Number],
    given: Array[Number], to_hidden: Array[Number], beside: Array[Number], size: int,
) -> None:  # fmt: skip
    for i in range(0, size, LANES):
        left, k, n = size - i, size + i, 2 * size + i
        reset, kept, new = of(gates, i, left), of(gates, k, left), of(gates, n, left)
        total = of(given, i, left) + of(to_hidden, i, left) + of(beside, i, left)
        to_new = total * (1.0 - kept) * (1.0 - new * new)
        to_kept = total * (of(before, i, left) - new) * (kept * (1.0 - kept))
        to_reset = to_new * of(gates, 3 * size + i, left) * (reset * (1.0 - reset))
        put(to + i, to_reset, left)
        put(to + k, to_kept, left)
        put(to + n, to_new, left)
        put(to_recalled + i, to_reset, left)
        put(to_recalled + k, to_kept, left)
        put(to_recalled + n, to_new * reset, left)
        put(beside + i, total * kept, left)
