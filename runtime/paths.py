"""Paths: which way a function went, while it was traced, wherever it asked for an element.

    while y.norm() < 1000:      # bool() of a traced tensor: a question
        y = y * 2

A question is answered for the arguments at hand, and the trace goes on along that path. In flow, while
tracing, nodes that are asked for; out flow Python numbers. What was traced serves calls that give the same
answers: `taken` computes, in compiled code, those that other arrays give. So each path is a program of its
own, found by its answers, as others are by shapes and constants.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.errors import Location
from retrograd.compiler.ir.graph import Graph, Input, Node, apply, order
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.device import device
from retrograd.runtime.native.program import Executable, executable
from retrograd.runtime.strided import DeviceArray

Answer = bool | int
Answers = tuple[Answer | None, ...]
"""None where an element has no such number: `int()` of a NaN."""


class Question(NamedTuple):
    """The only element of a node, as a number of this kind."""

    node: Node
    kind: type[Answer]
    where: Location | None

    def of(self, array: Any) -> Answer | None:
        element = (array.host() if isinstance(array, DeviceArray) else array).item()
        try:
            return self.kind(element)
        except (ValueError, OverflowError):
            return None


class Path:
    """The questions of one trace, and their answers. The first answers may be `given`: code found them."""

    def __init__(self, given: Answers = ()) -> None:
        self._given = given
        self._asked: dict[tuple[Node, type[Answer]], Answer] = {}
        self._elements: dict[Node, Any] = {}
        self._lock = threading.Lock()
        self._program: Executable | None = None
        self._inputs: tuple[str, Sequence[Node], device] | None = None
        self.questions: list[Question] = []

    @property
    def answers(self) -> Answers:
        return tuple(self._asked.values())

    def answer(self, question: Question, array_of: Callable[[Node], Any]) -> Answer:
        """What the arguments at hand say; `array_of` gives the array of an input."""
        key = question.node, question.kind
        if key not in self._asked:
            place = len(self.questions)
            found = self._given[place] if place < len(self._given) else None
            if found is None:
                found = question.kind(self._element(question.node, array_of))
            self.questions.append(question)
            self._asked[key] = found
        return self._asked[key]

    def _element(self, node: Node, array_of: Callable[[Node], Any]) -> Any:
        for each in order([node]):
            if each not in self._elements:
                operands = [self._array(i, array_of) for i in each.inputs]
                self._elements[each] = apply(each.op, *operands)
        array = self._array(node, array_of)
        return (array.host() if isinstance(array, DeviceArray) else array).item()

    def _array(self, node: Node, array_of: Callable[[Node], Any]) -> Any:
        return array_of(node) if isinstance(node.op, Input) else self._elements[node]

    def close(self, name: str, inputs: Sequence[Node], where: device) -> None:
        """The trace has ended; these are its inputs. The elements that were computed are let go."""
        self._elements = {}
        self._inputs = name, inputs, where

    def taken(self, arrays: Sequence[Any]) -> Answers:
        """The answers that these arrays give, up to the first that leads another way, that one included."""
        if not self.questions:
            return ()
        found: list[Answer | None] = []
        elements = self._compiled()(arrays)
        for question, expected, element in zip(self.questions, self.answers, elements, strict=True):
            found.append(question.of(element))
            if found[-1] != expected:
                break
        return tuple(found)

    def _compiled(self) -> Executable:
        with self._lock:
            if self._program is None:
                assert self._inputs is not None
                name, inputs, where = self._inputs
                nodes = tuple(question.node for question in self.questions)
                self._program = executable(Graph(f"{name}_path", tuple(inputs), nodes), where)
            return self._program

    def __str__(self) -> str:
        """A line for each question: where it was asked, and what the answer was."""
        lines = (
            f"{q.where}: {q.kind.__name__}({q.node}) is {a}" for q, a in zip(self.questions, self.answers)
        )
        return "\n".join(lines)
