"""Indexed writes that join what meets at one place: the product, the greatest or the least of it.

    put_along_joined   x, but where indices along an axis say so, joined with the values written there

The formula has every place along the axis look at every index, so that compiled code needs no atomic steps;
NumPy and small graphs write one value after the other. Sums that meet are `put_along_add` (`index.py`).
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import OPS, Array, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.index import along_index
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.reduce import Amax, Amin, Prod, Reduction, any_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, concat, expand, unsqueeze
from retrograd.compiler.record import record

JOINS: dict[str, type[Reduction]] = {"prod": Prod, "amax": Amax, "amin": Amin}
"""What joins, by PyTorch's names."""


@register
@record
class PutAlongJoined(Composite):
    """`x` joined along an axis with the values at their indices; the other axes of all three agree."""

    name = "put_along_joined"
    categories = (0, 1, 2)
    axis: int
    how: str
    """A key of `JOINS`."""
    with_self: bool
    """Whether the elements of `x` are joined, too; else values are in their place."""

    def formula(self, *values: Value) -> Value:
        x, index, written = values
        number = np.asarray(self.identity(x), dtypes.of(x).numpy)
        wide = [*x.shape[: self.axis + 1], *index.shape[self.axis :]]
        lines = expand(unsqueeze(cast(index, dtypes.int64), [self.axis]), wide)
        hit = rows.eq(iota_like(lines, self.axis), lines)
        candidates = rows.where(hit, expand(unsqueeze(written, [self.axis]), wide), number)
        if self.with_self:
            own = unsqueeze(x, [self.axis + 1])
            return self.reduced(concat([candidates, own], self.axis + 1))
        touched = any_(hit, [self.axis + 1])
        return rows.where(touched, self.reduced(candidates), x)

    def compute(self, *arrays: Array) -> Array:
        x, index, written = arrays
        out = np.array(x).reshape(-1)
        places = np.asarray(along_index(index, x.shape, self.axis)).reshape(-1)
        if not self.with_self:
            out[places] = self.identity(x)
        ufunc = self.row.numpy
        assert isinstance(ufunc, np.ufunc)
        ufunc.at(out, places, written.reshape(-1))
        return out.reshape(x.shape)

    def identity(self, like: Value) -> bool | int | float:
        """What joining leaves unchanged."""
        return JOINS[self.how](()).identity(dtypes.of(like))

    def reduced(self, x: Value) -> Value:
        return apply(JOINS[self.how]((self.axis + 1,)), x)

    @property
    def row(self) -> Elementwise:
        """What joins two elements."""
        row = OPS[JOINS[self.how].combine]
        assert isinstance(row, Elementwise)
        return row


def put_along_joined(x: Value, index: Value, values: Value, axis: int, how: str, with_self: bool) -> Value:
    return apply(PutAlongJoined(axis, how, with_self), x, index, values)
