"""What the library's routine for strips is told: records of words, in memory as their fields follow.

A *strip* is a vector loop of a scheduled program, over any number of elements that lie side by side, by a
routine of its own (`forms.py`). A program's `Node`s are its strips and the loops around them, in their order;
what is inside a loop follows it. `plans.py` writes them, `walk.py` goes through them.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, Byte, Inline, Record, several

DEEPEST = 3
"""Loops around a strip, at most."""
MOST_OPERANDS = 17
"""Of a strip, the place that it writes to included: eight rows, a number for each, and their sum."""
MOST_LOCALS = 1 << 17
"""Bytes of a task's own values."""
LOCAL, CONSTANT = -1, -2
"""Bases of operands that are a task's own values, or lie among the words."""

Bytes = Array[Byte]
Strip = Callable[[Array[Bytes], int], None]
"""Its operands, and so many elements."""


class Operand(Record):
    """Where an operand begins. Distances are bytes."""

    base: int
    """Which of the program's pointers it is counted from."""
    start: int
    steps: Inline[int] = several(DEEPEST)
    """From one iteration of each loop around it to the next, the outermost first."""
    met: int
    """Bytes of it, for each strip, in which threads meet (`backends.meeting`)."""


class Header(Record):
    """What a script begins with."""

    constants: int
    """Bytes before them: of this and of all nodes."""
    values: int
    """Bytes of a task's own values."""
    threads: Callable[[], int] | None
    """How many there are, if they should meet."""


class Node(Record):
    """A strip, or a loop."""

    length: int
    """Bytes to the node that follows this one and all that is inside it."""
    strip: Strip | None
    """None: a loop."""
    parallel: Sharing | None
    """What spreads the loop over threads, if anything does."""
    depth: int
    """How many loops are around it."""
    extent: int
    """Iterations, or elements of a strip; fewer where only so many are `left` before its limit."""
    left: int
    left_steps: Inline[int] = several(DEEPEST)
    """How many more are left with each iteration of the loops around it."""
    operands: int
    """How many `Operand`s follow."""


class Task(Record):
    """Where somebody stands in the loops."""

    args: Array[Bytes]
    """The program's pointers."""
    words: Bytes
    places: Inline[int] = several(DEEPEST)
    values: Bytes
    """Local values of the program."""
    part: int
    """Where it meets the task that another thread is at, and how many tasks on that is."""
    away: int
    operands: Inline[Bytes] = several(MOST_OPERANDS)
    """Of the strip that is next."""


class Job(Record):
    """A loop that threads share."""

    node: Node
    args: Array[Bytes]
    words: Bytes
    part: int


Work = Callable[[Job, int], None]
Sharing = Callable[[Work, Job, int], None]
"""So many iterations on threads."""

OPERAND, NODE = (tuple(record.__annotations__) for record in (Operand, Node))
