"""A scheduled program as words for `retrograd_strips`, if it is nothing but strips that the library has, and
loops around them.

The loops stay what they were scheduled as, so that the results are those of the program's own code. Only
where strips are long: then it hardly takes time that each is called.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain

from retrograd.compiler.backends.meeting import PARTS
from retrograd.compiler.backends.script import Script, Word
from retrograd.compiler.backends.strips.forms import BEGIN, DTYPES, IDENTITIES, NAMES, NESTED
from retrograd.compiler.backends.strips.records import (
    CONSTANT,
    DEEPEST,
    LOCAL,
    MOST_LOCALS,
    Header,
    Node,
    Operand,
)
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.expressions import Buffer, Call, Expression, Load, Number, Space
from retrograd.compiler.ir.index import Axis, Index
from retrograd.compiler.ir.loops import Accumulate, For, Kind, Local, Program, Statement, Store
from retrograd.compiler.native.language import words
from retrograd.compiler.schedule.machine import Machine

_LONG = 512
"""Elements that a strip has on the average, at least."""
_HEADER, _NODE, _OPERAND = words(Header), words(Node), words(Operand)
_LINE = 64
"""Bytes that local values begin at a multiple of."""
_KINDS = {dtype: kind for kind, dtype in DTYPES.items()}


def script(program: Program, machine: Machine) -> Script | None:
    """The words, if there are any."""
    plan = _Plan(program, machine)
    try:
        nodes = plan.nodes([s for kernel in program.kernels for s in kernel.body], 1)
    except _Unfit:
        return None
    if plan.elements < _LONG * plan.strips or plan.local_bytes > MOST_LOCALS or not nodes:
        return None
    end = 8 * (_HEADER + len(nodes))
    told = [end + 8 * word.number if isinstance(word, _Constant) else word for word in nodes]
    threads = "retrograd_threads" if plan.meets else 0
    return Script("retrograd_strips", (end, plan.local_bytes, threads, *told, *plan.constants))


class _Unfit(Exception):
    """Something that no strip does."""


class _Constant:
    """The place of a constant, counted from the first of them."""

    def __init__(self, number: int) -> None:
        self.number = number


_Told = Word | _Constant


class _Plan:
    """A program's statements on their way to words."""

    def __init__(self, program: Program, machine: Machine) -> None:
        self._machine = machine
        self._arena = program.arena
        buffers = (*program.inputs, *program.constants, *program.outputs)
        self._bases = {buffer: base for base, buffer in enumerate(buffers)}
        self._axes: list[Axis] = []
        """Of the loops around a statement."""
        self._locals: dict[Buffer, int] = {}
        """Where they are among a task's values."""
        self.local_bytes = 0
        self._tasks = 0
        """Iterations of the loop around that threads share, if there is one."""
        self.meets = False
        """Should threads meet anywhere?"""
        self.constants: list[Word] = []
        self.strips = self.elements = 0
        """How many strips are carried out, and how many elements they read or write together."""

    def nodes(self, statements: Sequence[Statement], times: int) -> list[_Told]:
        """The words of statements that are carried out so many times."""
        found, begun = list[_Told](), False
        for s, following in zip(statements, (*statements[1:], None)):
            begins = _begins(s, following)
            match s:
                case Local():
                    found += self._local(s, times)
                case For(kind=Kind.VECTOR, body=(Store() | Accumulate() as inner,)):
                    found += self._strip(inner, s, times, begun)
                case For(kind=Kind.SERIAL | Kind.UNROLL | Kind.PARALLEL):
                    found += self._loop(s, times)
                case Store() if begins:
                    pass
                case Store() | Accumulate():
                    found += self._strip(s, None, times, False)
                case _:
                    raise _Unfit
            begun = begins
        return found

    def _local(self, s: Local, times: int) -> list[_Told]:
        """The body, with room for a buffer behind those that there are."""
        start = sum(-(-_bytes(buffer) // _LINE) * _LINE for buffer in self._locals)
        self._locals[s.buffer] = start
        self.local_bytes = max(self.local_bytes, start + _bytes(s.buffer))
        found = self.nodes(s.body, times)
        del self._locals[s.buffer]
        return found

    def _loop(self, s: For, times: int) -> list[_Told]:
        parallel = s.kind is Kind.PARALLEL
        if len(self._axes) == (0 if parallel and self._axes else DEEPEST) or (parallel and s.limit):
            raise _Unfit
        head = self._trips(s)
        self._axes.append(s.axis)
        self._tasks = s.axis.extent if parallel else self._tasks
        body = self.nodes(s.body, times * s.axis.extent)
        self._tasks = 0 if parallel else self._tasks
        del self._axes[-1]
        length = 8 * (_NODE + len(body))
        return [length, 0, "retrograd_parallel" if parallel else 0, *head, 0, *body]

    def _strip(self, s: Store | Accumulate, loop: For | None, times: int, begun: bool) -> list[_Told]:
        """The words of one: a statement in a vector loop, or of one element. If it has `begun`, it sets what
        it sums up into to the identity."""
        extent, axis = (loop.axis.extent, loop.axis) if loop else (1, None)
        reading = _Reading(s.buffer.dtype, axis)
        name = reading.name(s, begun)
        if name is None or s.buffer.dtype not in _KINDS:
            raise _Unfit
        rows = sum(name.startswith("a") for name in reading.found)
        self.strips, self.elements = self.strips + times, self.elements + times * extent * max(1, rows)
        lanes = 1
        if loop is not None:  # a loop that is shorter than its vector is in narrower ones
            lanes = loop.lanes if loop.limit or extent >= loop.lanes else 1 << (extent - 1).bit_length()
        operands = [self._operand(e, axis) for _, e in sorted(reading.found.items())]
        operands.append([*self._place(s.buffer, s.index, axis), 0])
        routine = f"retrograd_strip_{_KINDS[s.buffer.dtype]}x{lanes}_{name}"
        head = self._trips(loop) if loop else [len(self._axes), 1, 1, *[0] * DEEPEST]
        length = 8 * (_NODE + _OPERAND * len(operands))
        return [length, routine, 0, *head, len(operands), *chain.from_iterable(operands)]

    def _trips(self, loop: For) -> list[_Told]:
        """How many loops are around one, its iterations, and what is left of them before its limit."""
        index, stop = loop.limit or (Index(), loop.axis.extent)
        steps = [-step for step in self._steps(index, loop.axis)]
        return [len(self._axes), loop.axis.extent, stop - index.offset, *steps]

    def _steps(self, index: Index, own: Axis | None) -> list[int]:
        """How much an index grows with each iteration of the loops around, if with nothing but these and the
        loop of its own."""
        steps = dict.fromkeys(self._axes, 0)
        for atom, coefficient in index.terms:
            if atom in steps:
                steps[atom] = coefficient
            elif atom is not own:
                raise _Unfit
        return [*steps.values(), *[0] * (DEEPEST - len(steps))]

    def _operand(self, e: Load | Number, own: Axis | None) -> list[_Told]:
        """Where something lies that a strip reads."""
        if isinstance(e, Load):
            return [*self._place(e.buffer, e.index, own), self._met(e, own)]
        self.constants.append(_bits(e))
        return [CONSTANT, _Constant(len(self.constants) - 1), *[0] * DEEPEST, 0]

    def _met(self, e: Load, own: Axis | None) -> int:
        """Bytes of what a strip reads in which threads meet, if all tasks together read much."""
        if own is None or e.index.stride(own) != 1 or e.buffer in self._locals:
            return 0
        if not self._machine.meets(self._tasks * self._steps(e.index, own)[0] * e.dtype.itemsize):
            return 0
        self.meets = True
        return -(-own.extent * e.dtype.itemsize // PARTS)

    def _place(self, buffer: Buffer, index: Index, own: Axis | None) -> list[_Told]:
        size = buffer.dtype.itemsize
        base, start = self._bases.get(buffer, len(self._bases)), size * index.offset
        if buffer in self._locals:
            base, start = LOCAL, start + self._locals[buffer]
        elif buffer.space is Space.ARENA:
            start += self._arena[buffer]
        return [base, start, *[size * step for step in self._steps(index, own)]]


def _bytes(buffer: Buffer) -> int:
    return buffer.size * buffer.dtype.itemsize


def _begins(s: Statement, following: Statement | None) -> bool:
    """Does a statement set what the loop that follows it sums up along its vectors to the identity?"""
    match s, following:
        case Store(value=Number(value=value)), For(kind=Kind.VECTOR, body=(Accumulate() as inner,)) as loop:
            same = (s.buffer, s.index) == (inner.buffer, inner.index) and loop.axis not in s.index.axes()
            return same and value == inner.identity and loop.axis not in inner.index.axes()
    return False


class _Reading:
    """A statement read as the text of a form, and what its operands stand for."""

    def __init__(self, dtype: DType, axis: Axis | None) -> None:
        self._dtype, self._axis = dtype, axis
        self.found: dict[str, Load | Number] = {}
        self._names: dict[object, str] = {}
        """By the place that is read, or the number."""
        self._counts: dict[str, int] = {}
        """The last number that follows a letter."""

    def name(self, s: Store | Accumulate, begun: bool) -> str | None:
        """The name of the form."""
        combine = s.combine if isinstance(s, Accumulate) else ""
        if isinstance(s, Accumulate) and s.identity != IDENTITIES.get(combine):
            return None
        step = 1 if self._axis is None else s.index.stride(self._axis)
        if step not in (0, 1) or not (step or combine):
            return None
        begin = f"{BEGIN} " if begun else ""
        return NAMES.get(f"{begin}out[{'j' if step else 0}] {combine}= {self._text(s.value)}")

    def _text(self, e: Expression, depth: int = 0) -> str:
        match e:
            case Call(row=row, arguments=arguments) if depth < NESTED:
                return f"{row}({', '.join([self._text(x, depth + 1) for x in arguments])})"
            case Load(bounds=()) if e.dtype is self._dtype:
                stride = 1 if self._axis is None else e.index.stride(self._axis)
                if stride in (0, 1):
                    return self._named("sa"[stride], e)
            case Number() if e.dtype is self._dtype:
                return self._named("s", e)
        raise _Unfit

    def _named(self, letter: str, e: Load | Number) -> str:
        """The name of an operand: the same one for the same place."""
        place = (e.buffer, e.index) if isinstance(e, Load) else e
        name = self._names.get(place)
        if name is None:
            count = self._counts[letter] = self._counts.get(letter, -1) + 1
            name = self._names[place] = f"{letter}{count}"
            self.found[name] = e
        return name


def _bits(number: Number) -> int:
    """A constant as a word that begins with it."""
    kind = "<f" if number.dtype.itemsize == 4 else "<d"
    return int.from_bytes(struct.pack(kind, number.value).ljust(8, b"\0"), "little", signed=True)
