"""Loops: an op that runs a graph again and again, and ops that read one of its results.

    loop   ::= loop(init, …, xs, …, fixed, …[, count | go], body, carried, scanned, turns, backwards)
    body   ::= graph(carried, …, x, …, fixed, …) -> carried, …, stacked, …[, go]
    turns  ::= a number | "counted" | "while"
    result ::= result(loop, place)

The body takes what the turn before has left (`carried`), its part of each operand that is gone through (row t
of `xs` in turn t, the last turn first if `backwards`), and what is the same in all turns. How many turns
there are is a number that is known, or the last operand says so: it is their count, or whether to begin at
all; then the body's last output says whether to go on.

A loop is the one op with several results: what is carried, at the end; what is stacked, a row for each turn;
of each carried value what every turn began with (its history, for the way back); and the number of turns.
Each is read by a `result`. Where the number of turns is not known, rows are a `Stack`, which only other loops
take.

There is no code for a loop in Loops: the program that holds it is cut into pieces around it, and the body is
a program of its own (`runtime/native/turns.py`). Its derivative is not written here, but where the body's own
can be taken, with all that users may say of it: `runtime/func/loops.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import Array, Graph, Node, Op, Type, Value, apply, interpret, register
from retrograd.compiler.record import record

COUNT = Type((), dtypes.int64)
GO = Type((), dtypes.bool_)


@record(slots=True)
class Stack(Type):
    """A row of this type for each turn of a loop, of which nobody knows yet how many it makes."""

    def __str__(self) -> str:
        return f"{Type(self.shape, self.dtype)}…"


@record(slots=True)
class Several(Type):
    """What a loop gives."""

    parts: tuple[Type, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.parts))})"


@register
@record
class Loop(Op):
    """See the grammar above."""

    name = "loop"
    hosted = True
    body: Graph
    carried: int
    """How many values go from turn to turn."""
    scanned: int
    """How many operands are gone through."""
    turns: int | str
    backwards: bool

    @property
    def asks(self) -> bool:
        """Whether the body says if there is another turn."""
        return self.turns == "while"

    @property
    def stacked(self) -> int:
        """How many of the body's outputs are stacked."""
        return len(self.body.outputs) - self.carried - self.asks

    @property
    def histories(self) -> range:
        """The results that are histories of carried values."""
        first = self.carried + self.stacked
        return range(first, first + self.carried)

    @property
    def count(self) -> int:
        """The result that is the number of turns."""
        return self.histories.stop

    def _rows(self, kind: Type) -> Type:
        """Of a value of each turn."""
        if isinstance(self.turns, int):
            return Type((self.turns, *kind.shape), kind.dtype)
        return Stack(kind.shape, kind.dtype)

    def infer(self, *types: Type) -> Several:
        kinds = [n.type for n in self.body.inputs]
        wanted = [self._rows(t) if k in self._gone_through else t for k, t in enumerate(kinds)]
        wanted += [] if isinstance(self.turns, int) else [GO if self.asks else COUNT]
        if list(types) != wanted:
            raise CompilerError(f"a loop over {_listed(types)}", f"its body is for {_listed(wanted)}")
        results = [n.type for n in self.body.outputs]
        carried, rows = results[: self.carried], results[self.carried : self.carried + self.stacked]
        if carried != kinds[: self.carried]:
            raise CompilerError(f"a loop that carries {_listed(kinds)}", f"it leaves {_listed(carried)}")
        if self.asks and results[-1] != GO:
            raise CompilerError("a loop's condition", f"it is {results[-1]}, not one bool")
        parts = (*carried, *map(self._rows, (*rows, *carried)), COUNT)
        return Several((), dtypes.bool_, parts)

    @property
    def _gone_through(self) -> range:
        return range(self.carried, self.carried + self.scanned)

    def evaluate(self, *arrays: Array) -> Array:
        given = list(arrays)
        turns = self.turns if isinstance(self.turns, int) else int(given.pop())
        state = given[: self.carried]
        xs, fixed = given[self.carried : self._gone_through.stop], given[self._gone_through.stop :]
        rows: list[list[Array]] = [[] for _ in range(self.stacked + self.carried)]
        go, turn = not self.asks or bool(turns), 0
        while go and (self.asks or turn < turns):
            at = turns - 1 - turn if self.backwards else turn
            found = interpret(self.body, [*state, *(x[at] for x in xs), *fixed])
            left, stacked = found[: self.carried], found[self.carried : self.carried + self.stacked]
            for row, value in zip(rows, (*stacked, *state), strict=True):
                row.append(value)
            state, turn = left, turn + 1
            go = not self.asks or bool(found[-1])
        kinds = [n.type for n in self.body.outputs[self.carried : self.carried + self.stacked]]
        kinds += [n.type for n in self.body.inputs[: self.carried]]
        whole = [
            np.array(row[:: -1 if self.backwards else 1], kind.dtype.numpy).reshape(len(row), *kind.shape)
            for row, kind in zip(rows, kinds, strict=True)
        ]
        return several([*state, *whole, np.asarray(turn)])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        raise CompilerError("the derivative of a loop", "it is taken where the loop is traced")


@register
@record
class Result(Op):
    """One of a loop's results, by its number."""

    name = "result"
    hosted = True
    place: int

    def infer(self, *types: Type) -> Type:
        (kind,) = types
        if not isinstance(kind, Several):
            raise CompilerError(f"result {self.place} of {kind}", "only loops have several")
        return kind.parts[self.place]

    def evaluate(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0][self.place])

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        raise CompilerError("the derivative of a loop's result", "it is taken where the loop is traced")


def result(loop: Node, place: int) -> Node:
    """One of a loop's results."""
    found: Node = apply(Result(place), loop)
    return found


def several(arrays: Sequence[Array]) -> Array:
    """Arrays as the one value of a loop."""
    whole = np.empty(len(arrays), object)
    for k, array in enumerate(arrays):
        whole[k] = array
    return whole


def unkept(kind: Type) -> bool:
    """Whether values of this type are only there while a program runs."""
    return isinstance(kind, Stack | Several)


def made_again(node: Node) -> bool:
    """Whether another program that reads a loop's history goes through the loop again: what it would take
    from the first one can have any size."""
    loop = node.inputs[0].op if isinstance(node.op, Result) else node.op
    return isinstance(loop, Loop) and not isinstance(loop.turns, int)


def _listed(types: Sequence[Type]) -> str:
    return ", ".join(map(str, types)) or "nothing"
