"""A graph with loops, written down as the records of `looping.py`.

In flow a graph, out flow words: numbers, and the names of functions and data whose addresses they become.
The graph is cut into stages around its loops (`compiler/passes/hosted.py`), each a program of its own, and so
are the bodies of the loops, loops within included. What is called in which order, and where each value lies,
is in

    records    words; addresses in them are counted from the first one until they are copied
    slots      a table of addresses among them: operands, constants, results, and places in a call's arena
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from retrograd.compiler.backends.script import Word
from retrograd.compiler.ir.graph import Graph, Node, Type
from retrograd.compiler.native.language import Record, places, words
from retrograd.compiler.ops.loop import Loop, Result
from retrograd.compiler.passes.hosted import Stage, stages
from retrograd.compiler.passes.trim import read_of
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native import looping
from retrograd.runtime.native.looping import NOWHERE

_WORD = 8
_ALIGNMENT = 64


class Slot(NamedTuple):
    """What a place of the table of addresses holds before the first step."""

    kind: str
    """`arena`, of which the number is an offset; `fixed`, an address; `operand`, what a call says; `moved`,
    where loops put addresses; `grown`, the memory of a history."""
    number: Word = 0


class At(NamedTuple):
    """An address among the records."""

    word: int


class Part(NamedTuple):
    """A program that a step calls. Its addresses are numbers, or names of what will have some."""

    code: Word
    context: Word
    constants: Sequence[Word]
    arena_bytes: int
    checks: int
    straight: Sequence[int]


@dataclass(eq=False)
class _Records:
    """Words that are written one after another."""

    words: list[Word] = field(default_factory=list)
    inner: list[int] = field(default_factory=list)
    """Where addresses of others of them are."""

    def row(self, values: Iterable[Word | At]) -> At:
        """Values in a row."""
        start = At(len(self.words))
        for value in values:
            if isinstance(value, At):
                self.inner.append(len(self.words))
            self.words.append(value.word * _WORD if isinstance(value, At) else value)
        return start

    def record(self, kind: type[Record], **fields: Word | At) -> At:
        """One record; fields that are not named are 0."""
        values: list[Word | At] = [0] * words(kind)
        for name, value in fields.items():
            values[places(kind)[name].start] = value
        return self.row(values)

    def table(self, kind: type[Record], rows: Sequence[Sequence[int]]) -> At:
        """The addresses of records, given field by field."""
        names = list(places(kind))
        return self.row([self.record(kind, **dict(zip(names, row, strict=True))) for row in rows])


class _Kept(NamedTuple):
    """The fields of a `looping.Kept`."""

    slot: int
    base: int
    bytes: int
    room: int


class Written:
    """A graph with loops, written down. Who writes it makes the programs that steps call: `part`, and `host`
    for ops that are none."""

    def __init__(self, graph: Graph, updates: Mapping[int, int]) -> None:
        self._graph = graph
        self.arena_bytes = self._scratch_bytes = 0
        self.checks = 0
        """How many flags all steps have."""
        self._slots: list[Slot] = []
        self._records = _Records()
        self._straight: set[Node] = set()
        self._scratch = self._slot("arena")
        inputs = {node: self._slot("operand") for node in graph.inputs}
        updated = {graph.outputs[k]: graph.inputs[place] for k, place in updates.items()}
        steps, results = self._steps(graph, inputs, updated)
        self.straight = [k for k in sorted(updates) if graph.outputs[k] in self._straight]
        """Outputs that may be written where the inputs lie that they are updates of."""
        self._finish(steps, list(inputs.values()), results)

    @abstractmethod
    def part(self, graph: Graph, updates: Mapping[int, int]) -> Part:
        """The program of a stage."""

    @abstractmethod
    def host(self, node: Node) -> Word:
        """The address of what computes an op as a program would."""

    def called(self, step: At, given: At) -> None:
        """A step has been written, and where it finds the addresses that it is given, for the last part."""

    # ---- writing it down -----------------------------------------------------------------------------------

    def _slot(self, kind: str, number: Word = 0) -> int:
        self._slots.append(Slot(kind, number))
        return len(self._slots) - 1

    def _room(self, size: int) -> int:
        """The slot of so many bytes of the arena."""
        place = self.arena_bytes
        self.arena_bytes += -(-size // _ALIGNMENT) * _ALIGNMENT
        return self._slot("arena", place)

    def _steps(
        self, graph: Graph, slots: dict[Node, int], updated: Mapping[Node, Node] | None = None
    ) -> tuple[list[At], list[int]]:
        """The steps that compute a graph whose inputs are in these slots, and the slots of its outputs. The
        last one may write what is `updated` where the inputs lie: nothing reads them after it."""
        steps: list[At] = []
        given: dict[Node, int] = {}
        known, results = dict(slots), dict[Node, list[int]]()
        parts = stages(graph)
        for stage in parts:
            if stage.gives:
                made = {node: self._room(node.type.nbytes) for node in stage.gives}
                ends = stage is parts[-1] and not stage.hosted
                updates = _within(stage, updated) if updated and ends else {}
                takes = [known[n] for n in stage.takes]
                part = self.part(stage.graph, updates)
                steps.append(self._program(part, takes, list(made.values())))
                self._straight |= {stage.gives[k] for k in part.straight}
                given |= made
                known = made | known
            for node in stage.hosted:
                if isinstance(node.op, Loop):
                    operands = [known[i] for i in node.inputs]
                    step, results[node] = self._loop(node.op, operands, read_of(graph, node))
                    steps.append(step)
                elif isinstance(node.op, Result):
                    known[node] = results[node.inputs[0]][node.op.place]
                else:
                    known[node] = self._room(node.type.nbytes)
                    steps.append(self._host(node, [known[i] for i in node.inputs], known[node]))
        return steps, [given.get(n, known[n]) for n in graph.outputs]

    def _program(self, part: Part, takes: list[int], gives: list[int]) -> At:
        constants = [self._slot("fixed", address) for address in part.constants]
        flags = [self._room(1) for _ in range(part.checks)]
        self._scratch_bytes = max(self._scratch_bytes, part.arena_bytes)
        where = [*takes, *constants, *gives, *flags, self._scratch]
        return self._step(part.code, part.context, where, part.checks)

    def _host(self, node: Node, takes: list[int], gives: int) -> At:
        """What NumPy computes, as a step that raises a flag where it fails."""
        return self._step(self.host(node), 0, [*takes, gives, self._room(1), self._scratch], 1)

    def _step(self, code: Word, context: Word, slots: list[int], flags: int) -> At:
        records = self._records
        given = records.row([0] * len(slots))
        step = records.record(
            looping.Step, code=code, context=context, count=len(slots), slots=records.row(slots),
            given=given, flags=flags, first=self.checks,
        )  # fmt: skip
        self.checks += flags
        self.called(step, given)
        return step

    def _loop(self, op: Loop, operands: list[int], read: set[int]) -> tuple[At, list[int]]:
        """A loop over what is in these slots, and the slots of its results: of histories those that are
        read."""
        kinds = [n.type for n in op.body.inputs]
        turns = op.turns if isinstance(op.turns, int) else None
        inits, rest = operands[: op.carried], operands[op.carried : len(kinds)]
        finds = [self._slot("moved") for _ in inits]
        rows = [self._slot("moved") for _ in rest[: op.scanned]]
        moving = [*zip(rows, rest, [t.nbytes for t in kinds[op.carried :]])]
        inside = dict(zip(op.body.inputs, (*finds, *rows, *rest[op.scanned :]), strict=True))
        steps, left = self._steps(op.body, inside)
        hosted = {slot for slot, n in zip(left, op.body.outputs) if n.op.hosted}
        carried = [
            (
                init, find, slot, self._room(t.nbytes),
                NOWHERE if slot in hosted or slot in left[:k] else self._again(slot), t.nbytes,
            )
            for k, (init, find, slot, t) in enumerate(zip(inits, finds, left, kinds))
        ]  # fmt: skip
        histories = {
            k: self._kept(finds[k], kinds[k], turns) for k in range(op.carried) if op.histories[k] in read
        }
        kept, stacked = [], []
        for slot, node in zip(left[op.carried :], op.body.outputs[op.carried : op.carried + op.stacked]):
            each = self._kept(slot, node.type, turns)
            stacked.append(each.base)
            if turns is None or slot in hosted or left.count(slot) > 1:
                kept.append(each)
            else:
                self._slots[slot] = Slot("moved")
                moving.append((slot, each.base, each.bytes))
        last = operands[-1] if turns is None else NOWHERE
        asked = self._slot("moved") if op.asks else NOWHERE
        if op.asks:
            carried.append((last, asked, left[-1], self._room(1), NOWHERE, 1))
        made = self._room(_WORD)
        records = self._records
        loop = records.record(
            looping.Loop, steps=records.row(steps), length=len(steps),
            turns=NOWHERE if turns is None else turns, counted=NOWHERE if op.asks else last, asked=asked,
            made=made, backwards=int(op.backwards),
            carried=records.table(looping.Carry, carried), carries=len(carried),
            moving=records.table(looping.Moving, moving), moves=len(moving),
            histories=records.table(looping.Kept, list(histories.values())), remembers=len(histories),
            kept=records.table(looping.Kept, kept), keeps=len(kept),
        )  # fmt: skip
        remembered = [histories[k].base if k in histories else NOWHERE for k in range(op.carried)]
        results = [*finds, *stacked, *remembered, made]
        return records.record(looping.Step, loop=loop), results

    def _kept(self, slot: int, kind: Type, turns: int | None) -> _Kept:
        """A row for each turn of what is in a slot."""
        if turns is None:
            return _Kept(slot, self._slot("grown"), kind.nbytes, 0)
        return _Kept(slot, self._room(turns * kind.nbytes), kind.nbytes, NOWHERE)

    def _again(self, slot: int) -> int:
        """Where in the arena a slot is, which will be exchanged for another."""
        other = self._slot(*self._slots[slot])
        self._slots[slot] = Slot("moved")
        return other

    def _finish(self, steps: list[At], inputs: list[int], results: list[int]) -> None:
        """Write the plan. What is not copied when a call begins lies behind the records."""
        records, slots = self._records, self._slots
        slots[self._scratch] = Slot("arena", self.arena_bytes)
        place = self.arena_bytes + -(-self._scratch_bytes // _ALIGNMENT) * _ALIGNMENT
        table = records.row([slot.number for slot in slots])
        state = records.record(
            looping.State, steps=records.row(steps), length=len(steps), addresses=table, left=1, interval=1
        )
        length, inner = len(records.words), records.inner
        self.arena_bytes = place + length * _WORD
        roomy = [table.word + k for k, slot in enumerate(slots) if slot.kind == "arena"]
        grown = [k for k, slot in enumerate(slots) if slot.kind == "grown"]
        outputs: list[int] = []
        for k, (slot, node) in enumerate(zip(results, self._graph.outputs)):
            straight = slots[slot].kind == "arena" and slot not in results[:k]
            outputs += [slot, node.type.nbytes, int(straight)]
        behind = _Records(list(records.words))
        plan = behind.record(
            looping.Plan, records=At(0), length=length, place=place, table=table.word, state=state.word,
            inner=behind.row(inner), inners=len(inner), roomy=behind.row(roomy), rooms=len(roomy),
            inputs=behind.row(inputs), takes=len(inputs), outputs=behind.row(outputs), gives=len(results),
            grown=behind.row(grown), histories=len(grown),
        )  # fmt: skip
        self.place, self.state, self.plan = place, state, plan
        """Where a call has its records in the arena, in bytes; the state among them; the plan among the
        words."""
        self.words, self.inner = behind.words, behind.inner
        """All of it, and which words are addresses of others, counted from the first one."""


def _within(stage: Stage, updated: Mapping[Node, Node]) -> dict[int, int]:
    """The outputs of a stage that are updates of inputs of its own, by their numbers there."""
    return {
        stage.gives.index(new): stage.takes.index(old)
        for new, old in updated.items()
        if new in stage.gives and old in stage.takes
    }
