"""Convolutions: products whose operands are read through windows, without writing all windows out.

Vectors lie along a line of the output (`schedule.lines`), along its channels (`schedule.channels`), or along
a line of the image that is summed over, for the gradient of a weight with few channels (`schedule.taps`);
`arrange_windows` takes the form that fills vectors best, and has less to do besides. An operand that does not
lie side by side along them is copied first (`schedule.staging`). In flow `Digits`, out flow loops, or None
where lines are so short that a plain product is better. A new form is a function beside those three.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.ir.expressions import Load, indices
from retrograd.compiler.ir.index import Axis
from retrograd.compiler.ir.loops import Statement
from retrograd.compiler.record import replace
from retrograd.compiler.schedule.channels import along_channels, in_groups
from retrograd.compiler.schedule.digits import Digits
from retrograd.compiler.schedule.lines import along_columns
from retrograd.compiler.schedule.machine import Machine
from retrograd.compiler.schedule.staging import is_ready, meet, stage
from retrograd.compiler.schedule.taps import along_inner
from retrograd.compiler.schedule.tiled import on_tiles

_FILLED = 0.4
"""The share of a vector's lanes that a line must fill."""

_CHANNELS, _TAPS, _WHOLE = 0.75, 0.6, 0.7
"""What vectors of channels are worth against those of a line of the output: operands and results change
places; vectors of what is summed over, which load nearly as often as they multiply; and those of a line
where no window slides along it, as in the gradient of a weight of one place: each tile goes through all
images."""

Form = Callable[[Digits, Machine, int], list[Statement]]


def arrange_windows(d: Digits, machine: Machine) -> tuple[Statement, ...] | None:
    """Loops for a product with windows."""
    chosen = _chosen(d, machine)
    if chosen is None:
        return None
    form, ready, copies = chosen
    loops = *copies, *form(ready, machine, machine.lanes(d.c.out.dtype.itemsize))
    tiled = on_tiles(d, machine, loops)
    return loops if tiled is None else (tiled,)


def has_windows(d: Digits, machine: Machine) -> bool:
    """Are there such loops?"""
    return _chosen(d, machine) is not None


def _chosen(d: Digits, machine: Machine) -> tuple[Form, Digits, list[Statement]] | None:
    """The form that serves best, the product as it takes it, and what is copied before."""
    lanes = machine.lanes(d.c.out.dtype.itemsize)
    if not d.inner:
        return None
    forms: list[tuple[float, float, Form, Digits]] = []
    if d.columns and d.c.place.stride(d.columns[-1]) == 1:
        filled = _filled(d.columns[-1], lanes)
        forms.append((filled, filled * (1 if _slides(d) else _WHOLE), along_columns, d))
    for exchanged in (d, _exchanged(d)):
        grouped = in_groups(exchanged, lanes)
        if grouped is not None:
            forms.append((1, _CHANNELS, along_channels, grouped))
    filled = _filled(d.inner[-1], lanes)
    forms.append((filled, filled * _TAPS, along_inner, d))
    for filled, _, form, digits in sorted(forms, key=lambda each: -each[1]):
        vector = digits.inner[-1] if form is along_inner else digits.columns[-1]
        ready = _made_ready(digits, vector, lanes) if filled >= _FILLED else None
        if ready is not None:
            return form, *ready
    return None


def _slides(d: Digits) -> bool:
    """Does a window slide over the image?"""
    places = [index for e in d.c.right.whole for index in indices(e)]
    return any(meet(places, a, b) for a in d.columns for b in d.inner)


def _exchanged(d: Digits) -> Digits:
    """The product with rows and columns exchanged."""
    return Digits(replace(d.c, left=d.c.right, right=d.c.left), d.batch, d.columns, d.rows, d.inner)


def _filled(axis: Axis, lanes: int) -> float:
    return axis.extent / (-(-axis.extent // lanes) * lanes)


def _made_ready(d: Digits, vector: Axis, lanes: int) -> tuple[Digits, list[Statement]] | None:
    """The product with operands that lie side by side along the vectors, or do not depend on them, and the
    loops that copy what did not."""
    operands: list[Load] = []
    copies: list[Statement] = []
    for operand, side in ((d.c.left, d.rows), (d.c.right, d.columns)):
        if isinstance(operand, Load) and is_ready(operand, d.axes, vector):
            operands.append(operand)
            continue
        along = vector if vector in (*side, *d.inner) else d.inner[-1]
        staged = stage(d, operand, along, lanes)
        if staged is None:
            return None
        operands.append(staged[0])
        copies.append(staged[1])
    return replace(d, c=replace(d.c, left=operands[0], right=operands[1])), copies
