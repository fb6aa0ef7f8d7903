"""Kernels of the loss of connectionist temporal classification: states of one sample, step by step.

In flow arrays, the result first, and the sizes of a step; out flows 0, or 1 where a label or a length is none
that there can be. The recurrences are those of Graves et al., "Connectionist temporal classification" (2006),
§4.1, in logarithms (`compiler/ops/alignment.py`). A line of states has `MARGIN` places before and behind it,
which are never reached.
"""

from __future__ import annotations

from math import inf, nan

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    chosen,
    inlined,
    native,
    put,
    reduce,
    select,
    take,
)
from retrograd.compiler.ops.alignment import NEVER
from retrograd.runtime.native.objects import Memory
from retrograd.runtime.native.small.lanes import LANES, VA, A

MARGIN = 2
LINES = 4
"""What there is room for beside states: where a label may follow the one before the blank (two lines, seen
from either end), and what is emitted."""


@chosen
def exp(x: VA) -> VA: ...


@chosen
def log(x: VA) -> VA: ...


class Sizes(Record):
    steps: int
    samples: int
    classes: int
    longest: int
    """Of the targets."""
    blank: int
    width: int
    """Of a line, margins and all."""
    finite: int
    """1 where the derivative of what is infinite is 0."""


# ---- a sample ----------------------------------------------------------------------------------------------
@inlined
def is_written(labels: Array[int], target: Array[int], count: int, sizes: Sizes) -> bool:
    """The labels of a sample with blanks before, between and after them. False where one is no class."""
    for k in range(2 * count + 1):
        labels[k] = sizes.blank if k % 2 == 0 else target[k // 2]
        if not 0 <= labels[k] < sizes.classes:
            return False
    return True


@inlined
def mark_skips(labels: Array[int], states: int, onward: Array[A], back: Array[A]) -> None:
    """1 where a label may follow the one before the blank, at its own place and at that one's; else 0."""
    for k in range(states):
        onward[k], back[k] = 0.0, 0.0
    for k in range(3, states, 2):
        if labels[k] != labels[k - 2] and labels[k] != labels[0]:
            onward[k], back[k - 2] = 1.0, 1.0


@inlined
def emit(line: Array[A], x: Array[A], labels: Array[int], states: int) -> None:
    """The log-probability of each state's label at a step."""
    for k in range(states):
        line[k] = max(x[labels[k]], NEVER)


@inlined
def clear(line: Array[A], width: int) -> None:
    """A line that is never reached, margins and all."""
    for k in range(width):
        line[k] = NEVER


@inlined
def joined(line: Array[A], toward: int, skips: Array[A], at: int, left: int) -> VA:
    """From a state itself, the one beside it, and where it may be the one after that: the log of the sum."""
    own, one = take(VA, line + at, left, NEVER), take(VA, line + (at + toward), left, NEVER)
    two = take(VA, line + (at + 2 * toward), left, NEVER)
    two = select(take(VA, skips + at, left, 0.0) > 0.0, two, NEVER)
    most = select(own > one, own, one)
    most = select(most > two, most, two)
    return most + log(exp(own - most) + exp(one - most) + exp(two - most))


@inlined
def begin(line: Array[A], emitted: Array[A], states: int, width: int) -> None:
    """At the first step only the first blank and the first label are reached."""
    clear(line, width)
    for k in range(min(states, 2)):
        line[MARGIN + k] = emitted[k]


@inlined
def go_on(to: Array[A], line: Array[A], emitted: Array[A], skips: Array[A], states: int) -> None:
    """The states a step later, with what is emitted there."""
    for k in range(MARGIN):
        to[k] = NEVER
    for at in range(0, states, LANES):
        left = states - at
        found = joined(line + MARGIN, -1, skips, at, left) + take(VA, emitted + at, left, 0.0)
        put(to + (MARGIN + at), found, left)


@inlined
def read(line: Array[A], states: int, steps: int) -> float:
    """The loss at the last blank and the last label."""
    if steps == 0:
        return 0.0 if states == 1 else inf
    last, before = line[MARGIN + states - 1], line[MARGIN + states - 2]
    most = max(last, before)
    sum_ = exp(cast(VA, last - most)) + exp(cast(VA, before - most))
    found = most + reduce(lambda one, other: max(one, other), log(sum_))
    return inf if found < NEVER / 2 else -found


# ---- all samples -------------------------------------------------------------------------------------------
@native
def forward(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: losses, log-probabilities, targets, steps, lengths, room for labels and lines."""
    losses, x, targets = cast(Array[A], arrays[0]), cast(Array[A], arrays[1]), cast(Array[int], arrays[2])
    steps, lengths, labels = (
        cast(Array[int], arrays[3]),
        cast(Array[int], arrays[4]),
        cast(Array[int], arrays[5]),
    )
    room, width, row = cast(Array[A], arrays[6]), sizes.width, sizes.samples * sizes.classes
    emitted, states = room + 2 * width, room + LINES * width
    for n in range(sizes.samples):
        count, own = 2 * lengths[n] + 1, x + n * sizes.classes
        if not do_fit(lengths[n], steps[n], sizes):
            return 1
        if not is_written(labels, targets + n * sizes.longest, lengths[n], sizes):
            return 1
        mark_skips(labels, count, room, room + width)
        emit(emitted, own, labels, count)
        begin(states, emitted, count, width)
        for t in range(1, steps[n]):
            emit(emitted, own + t * row, labels, count)
            line, next_ = states + (t - 1) % 2 * width, states + t % 2 * width
            go_on(next_, line, emitted, room, count)
        losses[n] = read(states + (steps[n] - 1) % 2 * width, count, steps[n])
    return 0


@inlined
def do_fit(length: int, steps: int, sizes: Sizes) -> bool:
    return 0 <= length <= sizes.longest and 0 <= steps <= sizes.steps


@native
def backward(arrays: Array[Memory], sizes: Sizes) -> int:
    """Arrays: cotangents of the log-probabilities, these, cotangents of the losses, targets, steps, lengths,
    room for labels and lines."""
    targets, lengths = cast(Array[int], arrays[3]), cast(Array[int], arrays[5])
    labels, room, width = cast(Array[int], arrays[6]), cast(Array[A], arrays[7]), sizes.width
    row = sizes.samples * sizes.classes
    for n in range(sizes.samples):
        steps, at = cast(Array[int], arrays[4])[n], n * sizes.classes
        if not do_fit(lengths[n], steps, sizes):
            return 1
        if not is_written(labels, targets + n * sizes.longest, lengths[n], sizes):
            return 1
        mark_skips(labels, 2 * lengths[n] + 1, room, room + width)
        to, x = cast(Array[A], arrays[0]) + at, cast(Array[A], arrays[1]) + at
        fill(to + steps * row, sizes.steps - steps, row, sizes.classes, 0.0)
        loss = walk(x, labels, room, steps, 2 * lengths[n] + 1, sizes)
        if loss == inf:
            fill(to, steps, row, sizes.classes, 0.0 if sizes.finite != 0 else nan)
        else:
            share = cast(Array[A], arrays[2])[n]
            return_to(to, x, share, loss, labels, room, steps, 2 * lengths[n] + 1, sizes)
    return 0


@inlined
def fill(to: Array[A], count: int, row: int, classes: int, x: float) -> None:
    for t in range(count):
        for k in range(classes):
            to[t * row + k] = x


@inlined
def walk(x: Array[A], labels: Array[int], room: Array[A], steps: int, states: int, sizes: Sizes) -> float:
    """The loss of a sample, all of whose states are kept."""
    width, row = sizes.width, sizes.samples * sizes.classes
    emitted, onward = room + 2 * width, room + (LINES + 2) * width
    emit(emitted, x, labels, states)
    begin(onward, emitted, states, width)
    for t in range(1, steps):
        emit(emitted, x + t * row, labels, states)
        go_on(onward + t * width, onward + (t - 1) * width, emitted, room, states)
    return read(onward + (steps - 1) * width, states, steps)


@inlined
def return_to(
    to: Array[A], x: Array[A], share: float, loss: float, labels: Array[int], room: Array[A], steps: int,
    states: int, sizes: Sizes,
) -> None:  # fmt: skip
    """The cotangents of a sample's steps: what each state has of all ways to the end, from the last step to
    the first."""
    width, row = sizes.width, sizes.samples * sizes.classes
    back, emitted, likely = room + width, room + 2 * width, room + 3 * width
    onward, behind, ahead = room + (LINES + 2) * width, room + LINES * width, room + (LINES + 1) * width
    clear(behind, width)
    clear(ahead, width)
    for k in range(max(states - 2, 0), states):
        behind[MARGIN + k] = 0.0
    for turn in range(steps):
        t = steps - 1 - turn
        if turn > 0:
            for at in range(0, states, LANES):
                put(behind + (MARGIN + at), joined(ahead + MARGIN, 1, back, at, states - at), states - at)
        emit(emitted, x + t * row, labels, states)
        for at in range(0, states, LANES):
            left = states - at
            after = take(VA, behind + (MARGIN + at), left, NEVER)
            before = take(VA, onward + (t * width + MARGIN + at), left, NEVER)
            put(likely + at, exp(before + after + loss) * share, left)
            put(ahead + (MARGIN + at), after + take(VA, emitted + at, left, 0.0), left)
        for at in range(0, sizes.classes, LANES):
            left = sizes.classes - at
            put(to + (t * row + at), exp(take(VA, x + (t * row + at), left, 0.0)) * share, left)
        for k in range(states):
            to[t * row + labels[k]] = to[t * row + labels[k]] - likely[k]
