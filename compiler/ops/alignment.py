"""The loss of connectionist temporal classification: how unlikely a sequence is to be read from another.

In flow log-probabilities `[T, N, C]`, targets `[N, S]`, and how much of both counts; out flows a loss for
each of N. The recurrence is that of Graves et al., "Connectionist temporal classification" (2006), §4.1, in
logarithms: over the targets with a blank before, between and after them, step by step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.index import take_along
from retrograd.compiler.ops.iota import iota_like
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, expand, narrow, reshape, select, unsqueeze
from retrograd.compiler.record import record

NEVER = -1e30
"""The logarithm of 0, so that sums and differences of it are numbers."""


@register
@record
class CtcLoss(Composite):
    """Minus the log-probability of the targets: of T steps the first `steps[n]`, of S labels the first
    `lengths[n]`; infinite where there are too few steps."""

    name = "ctc_loss"
    blank: int
    finite: bool
    """Whether the derivative of what is infinite is 0, not NaN."""

    def infer(self, *types: Type) -> Type:
        x = types[0]
        if not x.shape[0]:
            raise ShapeError(f"ctc_loss of log-probabilities {x}", "there is no step to read a label at")
        return x.with_shape((x.shape[1],))

    def inspect(self, *arrays: Array) -> None:
        x, targets, steps, lengths = arrays
        if steps.max(initial=0) > x.shape[0]:
            raise ShapeError(
                mirrored(
                    f"Expected input_lengths to have value at most {x.shape[0]}, but got value {steps.max()} "
                    "(while checking arguments for ctc_loss_allocate_outputs)"
                )
            )
        if lengths.max(initial=0) > targets.shape[1]:
            raise ShapeError(
                mirrored(
                    f"Expected tensor to have size at least {lengths.max()} at dimension 1, but got size "
                    f"{targets.shape[1]} for argument #2 'targets' (while checking arguments for "
                    "ctc_loss_allocate_outputs)"
                )
            )

    def admits(self, *values: Value) -> Value:
        x, targets, steps, lengths = values
        return rows.logical_and(rows.le(steps, x.shape[0]), rows.le(lengths, targets.shape[1]))

    def formula(self, *values: Value) -> Value:
        x, targets, steps, lengths = values
        count, labels = x.shape[0], _with_blanks(targets, self.blank)
        n, width = labels.shape
        places = expand(unsqueeze(labels, [0]), (count, n, width))
        emitted = rows.maximum(take_along(x, places, 2), NEVER)
        skips = _skips(labels, self.blank)
        state = _first(emitted)
        for k in range(1, count):
            before = select(emitted, 0, k) + _forward(state, skips)
            state = rows.where(unsqueeze(rows.gt(steps, k), [1]), before, state)
        return _read(state, steps, lengths, width)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        return [apply(CtcLossAdjoint(self.blank, self.finite), cotangent, *inputs), None, None, None]


@register
@record
class CtcLossAdjoint(Composite):
    """Of cotangent and operands: by the logits whose log-softmax the first is, as PyTorch has it,
    `p` less what the formula gives. Through a log-softmax it is the same, for there multiples of `p` cancel.
    """

    name = "ctc_loss_adjoint"
    blank: int
    finite: bool

    def formula(self, *values: Value) -> Value:
        cotangent, x, targets, steps, lengths = values
        op, inputs = CtcLoss(self.blank, False), (x, targets, steps, lengths)
        out = op.formula(*inputs)
        (found, *_) = Composite.adjoint(op, cotangent, out, inputs, (True, False, False, False))
        assert found is not None
        each = unsqueeze(unsqueeze(cotangent, [1]), [0])
        endless = unsqueeze(unsqueeze(rows.isinf(out), [1]), [0])
        counts = rows.lt(iota_like(x, 0), unsqueeze(unsqueeze(steps, [1]), [0]))
        whole = rows.where(endless, 0.0 if self.finite else float("nan"), rows.exp(x) * each + found)
        return rows.where(counts, whole, 0.0)


def _with_blanks(targets: Value, blank: int) -> Value:
    """`[N, 2S + 1]`: a blank, the first label, a blank, the second, …"""
    n, size = targets.shape
    between = targets * 0 + blank
    woven = reshape(concat([unsqueeze(between, [2]), unsqueeze(targets, [2])], 2), (n, 2 * size))
    last = np.full((n, 1), blank, dtypes.of(targets).numpy)
    return concat([woven, last], 1)


def _skips(labels: Value, blank: int) -> Value:
    """Where a label may follow the one before the blank: it is another."""
    before = _shifted(labels, 2, blank)
    return rows.logical_and(rows.ne(labels, blank), rows.ne(labels, before))


def _shifted(x: Value, count: int, fill: float) -> Value:
    """Each row moved to the right."""
    n, width = x.shape
    filling = np.full((n, min(count, width)), fill, dtypes.of(x).numpy)
    return filling if count >= width else concat([filling, narrow(x, 1, 0, width - count)], 1)


def _first(emitted: Value) -> Value:
    """At the first step only the first blank and the first label are reached."""
    first = select(emitted, 0, 0)
    return rows.where(rows.lt(iota_like(first, 1), 2), first, NEVER)


def _forward(state: Value, skips: Value) -> Value:
    """The log-probability of being at each place a step later, but for what is emitted there."""
    one, two = _shifted(state, 1, NEVER), rows.where(skips, _shifted(state, 2, NEVER), NEVER)
    most = rows.maximum(rows.maximum(state, one), two)
    return most + rows.log(rows.exp(state - most) + rows.exp(one - most) + rows.exp(two - most))


def _read(state: Value, steps: Value, lengths: Value, width: int) -> Value:
    """The loss at the last blank and the last label."""
    last = unsqueeze(lengths, [1]) * 2
    at_blank = take_along(state, last, 1)
    at_label = take_along(state, rows.maximum(last - 1, 0), 1)
    at_label = rows.where(rows.gt(last, 0), at_label, NEVER)
    most = rows.maximum(at_blank, at_label)
    total = most + rows.log(rows.exp(at_blank - most) + rows.exp(at_label - most))
    found = reshape(total, tuple(lengths.shape))
    nothing = rows.eq(steps, 0)
    empty = rows.where(rows.eq(lengths, 0), found * 0.0, NEVER)
    found = rows.where(nothing, empty, found)
    return rows.where(rows.lt(found, NEVER / 2), float("inf"), -found)


def ctc_loss(x: Value, targets: Value, steps: Value, lengths: Value, blank: int, finite: bool) -> Value:
    return apply(CtcLoss(blank, finite), x, targets, steps, lengths)
