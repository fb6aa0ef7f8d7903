"""A machine that executes PTX with NumPy: all threads of many blocks at once.

`launch` runs a kernel. Straight code is a `Segment`; threads that are at the same one run it together, those
that are furthest behind first, so that they meet again after they parted. Barriers and shuffles wait for the
threads that take part; where nobody can go on, a `Fault` says who waits where. An access out of bounds or
misaligned, shared memory that nobody wrote, and two threads that touch the same memory with nothing between
are `Fault`s too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ptx_memory import Accesses, Allocation, Memory
from ptx_steps import Decoder, Meeting, Step
from ptx_text import Fault, Function, Instruction, Module, Name
from ptx_threads import WARP, Frame, Grid, frame_of
from ptx_traffic import Traffic
from ptx_types import NUMPY

from retrograd.compiler.ir.graph import Array

_THREADS_AT_ONCE = 1 << 14


@dataclass
class Segment:
    """Code that a thread runs from its first step to its last."""

    steps: list[Step] = field(default_factory=list)
    end: Instruction | Meeting | None = None
    """What comes then; None to go on with the next segment."""
    target: int = 0
    """The segment that a branch goes to."""


class Machine:
    """A module, loaded on a device."""

    def __init__(self, module: Module, memory: Memory) -> None:
        self.module = module
        self.memory = memory
        self.traffic: Traffic | None = None
        """Where launches are counted."""
        self.constants: dict[str, int] = {}
        self._decoded: dict[str, list[Segment]] = {}
        for variable in self.module.variables.values():
            if variable.space in ("global", "const"):
                address = memory.allocate(variable.nbytes, variable.name, fill=0)
                memory.bytes(address, variable.nbytes)[: len(variable.data)] = np.frombuffer(
                    variable.data, "u1"
                )
                self.constants[variable.name] = address

    def unload(self) -> None:
        """Gives the variables' memory back."""
        for address in self.constants.values():
            self.memory.free(address)

    def launch(
        self, name: str, grid: int, block: int, arguments: Sequence[int], shared_bytes: int = 0
    ) -> dict[Allocation, Accesses]:
        """Runs a kernel whose parameters are addresses and other words of 64 bits. What it touched."""
        function = self._kernel(name, block, arguments)
        touched: dict[Allocation, Accesses] = {}
        shared, nbytes = self._shared(function, shared_bytes)
        at_once = max(_THREADS_AT_ONCE // block, 1)
        for first in range(0, grid, at_once):
            count = min(at_once, grid - first)
            space = Grid(
                self.module, self.memory, self.constants, grid, block, first, count, shared, nbytes,
                self._piece, touched, self.traffic,
            )  # fmt: skip
            frame = frame_of(space, function, np.arange(count * block))
            for parameter, value in zip(function.parameters, arguments, strict=True):
                word = np.array([value & (1 << 64) - 1], "u8").view("u1")
                frame.parameters[parameter.name][:] = word[: parameter.nbytes]
            with np.errstate(all="ignore"):
                _Run(self._segments(function), frame).all()
        for allocation, accesses in touched.items():
            if accesses.disagrees():
                raise Fault(
                    f"{name} writes {allocation.name}, and reads it as what nobody writes (ld.global.nc)"
                )
        return touched

    def _kernel(self, name: str, block: int, arguments: Sequence[int]) -> Function:
        function = self.module.functions.get(name)
        if function is None or not function.is_kernel:
            raise Fault(f"no kernel is called {name}")
        if function.threads and block > function.threads:
            raise Fault(f"{name} is for {function.threads} threads at most, not {block}")
        if len(arguments) != len(function.parameters):
            raise Fault(f"{name} has {len(function.parameters)} parameters, and {len(arguments)} are given")
        return function

    @functools.cached_property
    def _piece(self) -> int:
        """Bytes of the narrowest access of the module."""
        widths = [
            NUMPY[i.modifiers[-1]].itemsize
            for f in self.module.functions.values()
            for i in f.code
            if i.opcode in ("ld", "st") and "param" not in i.modifiers
        ]
        return min(widths, default=1)

    def _shared(self, function: Function, more: int) -> tuple[dict[str, int], int]:
        """Where shared variables lie, and how many bytes they take; those without a size come last."""
        found = [*self.module.variables.values(), *function.variables.values()]
        places, end = {}, 0
        for variable in sorted((v for v in found if v.space == "shared"), key=lambda v: v.nbytes == 0):
            end = -(-end // variable.align) * variable.align
            places[variable.name] = end
            end += variable.nbytes or more
        return places, -(-end // 16) * 16

    def _segments(self, function: Function) -> list[Segment]:
        if function.name not in self._decoded:
            self._decoded[function.name] = _cut(function, Decoder(self.module, function, self._call))
        return self._decoded[function.name]

    def _call(self, function: Function, frame: Frame) -> None:
        _Run(self._segments(function), frame).all()


def _cut(function: Function, decoder: Decoder) -> list[Segment]:
    """The segments of a function."""
    starts = {0, *function.labels.values()}
    numbers: dict[int, int] = {}
    segments: list[Segment] = []
    for k, instruction in enumerate(function.code):
        if k in starts or not segments or segments[-1].end is not None:
            numbers[k] = len(segments)
            segments.append(Segment())
        if instruction.opcode in ("bra", "ret", "exit"):
            segments[-1].end = instruction
            continue
        found = decoder.decode(instruction)
        if isinstance(found, Meeting):
            segments[-1].end = found
        else:
            segments[-1].steps.append(found)
    numbers[len(function.code)] = len(segments)
    segments.append(Segment(end=Instruction("ret", (), (), None, 0, "ret")))
    for segment in segments:
        if isinstance(segment.end, Instruction) and segment.end.opcode == "bra":
            (label,) = segment.end.operands
            assert isinstance(label, Name)
            segment.target = numbers[function.labels[label.text]]
    return segments


Group = slice | Array
"""Threads by number, ascending; a slice for all of them."""


class _Run:
    """Threads on their way through a function."""

    def __init__(self, segments: Sequence[Segment], frame: Frame) -> None:
        self._segments, self._frame = segments, frame
        self._count = len(frame.threads)
        self._ready: dict[int, Group] = {0: slice(None)}
        self._waiting: dict[int, Group] = {}
        self._done = np.zeros(self._count, bool)

    def all(self) -> None:
        """Until every thread has come to the end."""
        while self._ready or self._waiting:
            if not self._ready:
                self._release()
                continue
            place = min(self._ready)
            group = self._ready.pop(place)
            segment, frame = self._segments[place], self._frame
            frame.active = group
            for step in segment.steps:
                step(frame)
            self._go_on(place, segment, group)

    def _go_on(self, place: int, segment: Segment, group: Group) -> None:
        end = segment.end
        if end is None:
            self._arrive(self._ready, place + 1, group)
        elif isinstance(end, Meeting):
            self._arrive(self._waiting, place, group)
            self._meet(place, end)
        elif end.opcode == "bra":
            self._branch(place, segment, end, group)
        elif end.guard is None:
            self._done[group] = True
        else:
            raise end.fault("a conditional end is not known here")

    def _branch(self, place: int, segment: Segment, end: Instruction, group: Group) -> None:
        if end.guard is None:
            self._arrive(self._ready, segment.target, group)
            return
        name, wanted = end.guard
        taken = self._frame.registers[name][group] == wanted
        if taken.all():
            self._arrive(self._ready, segment.target, group)
        elif not taken.any():
            self._arrive(self._ready, place + 1, group)
        else:
            numbers = self._numbers(group)
            self._arrive(self._ready, segment.target, numbers[taken])
            self._arrive(self._ready, place + 1, numbers[~taken])

    def _arrive(self, where: dict[int, Group], place: int, group: Group) -> None:
        if place in where:
            group = np.sort(np.concatenate((self._numbers(where[place]), self._numbers(group))))
        where[place] = slice(None) if self._size(group) == self._count else group

    def _numbers(self, group: Group) -> Array:
        return np.arange(self._count) if isinstance(group, slice) else group

    def _size(self, group: Group) -> int:
        return self._count if isinstance(group, slice) else len(group)

    # ---- meetings ----

    def _meet(self, place: int, meeting: Meeting) -> None:
        """Lets those go on of whom all have come."""
        group = self._waiting[place]
        numbers = self._numbers(group)
        complete = self._complete(meeting, numbers)
        if not complete.any():
            return
        gone = group if complete.all() else numbers[complete]
        self._frame.active = gone
        meeting.step(self._frame)
        if meeting.whole_block:
            grid = self._frame.grid
            grid.epochs[np.unique(self._frame.running // grid.block)] += 1
        del self._waiting[place]
        if not complete.all():
            self._waiting[place] = numbers[~complete]
        self._arrive(self._ready, place + 1, gone)

    def _complete(self, meeting: Meeting, numbers: Array) -> Array:
        """Which of these threads need not wait any longer."""
        grid = self._frame.grid
        if self._count != grid.count * grid.block:
            raise meeting.instruction.fault("threads meet in a function that not all of them have called")
        arrived = np.zeros(self._count, bool)
        arrived[numbers] = True
        blocks = arrived.reshape(grid.count, grid.block)
        if meeting.whole_block:
            return blocks.all(axis=1)[numbers // grid.block]
        wide = -(-grid.block // WARP) * WARP
        missing = np.zeros((grid.count, wide), bool)
        missing[:, : grid.block] = ~blocks & ~self._done.reshape(blocks.shape)
        warps = missing.reshape(grid.count, -1, WARP)
        of = (numbers // grid.block, numbers % grid.block // WARP)
        if meeting.mask is None:
            return ~warps.any(axis=2)[of]
        self._frame.active = numbers
        mask = np.broadcast_to(meeting.mask(self._frame), len(numbers))
        absent = (warps << np.arange(WARP)).sum(axis=2)[of]
        return absent & mask.astype(np.int64) == 0

    def _release(self) -> None:
        """Nobody can run. Warps whose other threads have ended go on; else nobody ever will."""
        for place in sorted(self._waiting):
            meeting = self._segments[place].end
            assert isinstance(meeting, Meeting)
            self._meet(place, meeting)
        if self._ready:
            return
        place = min(self._waiting)
        meeting = self._segments[place].end
        assert isinstance(meeting, Meeting)
        self._frame.active = self._waiting[place]
        others = ", ".join(
            f"{self._size(g)} at line {self._segments[p].end.instruction.line}"  # type: ignore[union-attr]
            for p, g in sorted(self._waiting.items())
        )
        ended = int(self._done.sum())
        raise self._frame.fault(
            meeting.instruction, f"waits for threads that do not come: {others} wait, {ended} have ended"
        )
