"""Runs Loops without any compiler: one statement, one iteration at a time, in memory that knows what was
written.

In flow a Program and the arrays of its inputs and constants; out flow its outputs. The iterations of parallel
and vector loops come in a shuffled order, so that a schedule which made them depend on each other shows. A
place outside a buffer is an AssertionError; what nobody has written reads as NaN, or as -77.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Within,
)
from retrograd.compiler.ir.graph import OPS, Array, Op, apply
from retrograd.compiler.ir.index import Axis, Bound, Divided, Index, Loaded, Remainder
from retrograd.compiler.ir.loops import Accumulate, For, If, Kind, Local, Program, Routine, Statement, Store
from retrograd.compiler.ops.shape import cast

SHUFFLED = (Kind.PARALLEL, Kind.VECTOR, Kind.GRID)


def run(program: Program, arrays: Sequence[Array], seed: int = 0) -> list[Array]:
    """The program's outputs, flat, for its inputs and then its constants."""
    machine = _Machine(np.random.default_rng(seed))
    for buffer, array in zip((*program.inputs, *program.constants), arrays, strict=True):
        machine.memory[buffer] = list(array.ravel())
    for kernel in program.kernels:
        machine.block(kernel.body)
    for buffer in program.outputs:
        found = machine.memory.get(buffer, [None] * buffer.size)
        assert all(value is not None for value in found), f"{buffer} is not written everywhere"
    return [np.array(machine.memory.get(b, []), b.dtype.numpy) for b in program.outputs]


class _Machine:
    """Memory, where each axis stands, and what has been computed there."""

    def __init__(self, random: np.random.Generator) -> None:
        self.memory: dict[Buffer, list[object]] = {}
        self._random = random
        self._axes: dict[Axis, int] = {}
        self._known: list[dict[int, object]] = []

    # ---- statements ----

    def block(self, statements: Sequence[Statement]) -> None:
        """Statements in order; an expression that they have in common is computed where it is met first."""
        self._known.append({})
        for s in statements:
            match s:
                case For():
                    self._loop(s)
                case Local(buffer=buffer, body=body):
                    self.memory[buffer] = [None] * buffer.size
                    self.block(body)
                    del self.memory[buffer]
                case If(bounds=bounds, body=body):
                    if self._holds(bounds):
                        self.block(body)
                case Routine(body=body):
                    self.block(body)
                case Store():
                    self._write(s.buffer, s.index, self._value(s.value))
                case Accumulate():
                    before = self._read(s.buffer, self._index(s.index))
                    self._write(s.buffer, s.index, _row(s.combine, before, self._value(s.value)))
                case _:
                    raise AssertionError(f"{s} needs threads")
        self._known.pop()

    def _loop(self, s: For) -> None:
        places = range(s.axis.extent)
        for k in self._random.permutation(s.axis.extent) if s.kind in SHUFFLED else places:
            self._axes[s.axis] = int(k)
            if s.limit is None or self._index(s.limit[0]) < s.limit[1]:
                self.block(s.body)
        self._axes.pop(s.axis, None)

    def _write(self, buffer: Buffer, index: Index, value: object) -> None:
        place = self._index(index)
        assert 0 <= place < buffer.size, f"{buffer}[{index}] is written at {place}"
        self.memory.setdefault(buffer, [None] * buffer.size)[place] = value

    def _read(self, buffer: Buffer, place: int) -> object:
        assert 0 <= place < buffer.size, f"{buffer} is read at {place}"
        value = self.memory.get(buffer, [None] * buffer.size)[place]
        return (
            _scalar(np.nan if buffer.dtype.is_floating_point else -77, buffer.dtype)
            if value is None
            else value
        )

    # ---- indices ----

    def _index(self, index: Index) -> int:
        return index.offset + sum(factor * self._atom(atom) for atom, factor in index.terms)

    def _atom(self, atom: Axis | Divided | Remainder | Loaded) -> int:
        match atom:
            case Axis():
                return self._axes[atom]
            case Divided(value, divisor):
                return self._index(value) // divisor
            case Remainder(value, divisor):
                return self._index(value) % divisor
            case Loaded(expression):
                place = int(self._value(expression))  # type: ignore[arg-type, call-overload]  # see ir.index
                assert 0 <= place < max(atom.extent, 1), f"{atom} is {place}"
                return place

    def _holds(self, bounds: Sequence[Bound]) -> bool:
        return all(b.low <= self._index(b.index) < b.high for b in bounds)

    # ---- expressions ----

    def _value(self, e: Expression) -> object:
        for known in reversed(self._known):
            if id(e) in known:
                return known[id(e)]
        found = self._known[-1][id(e)] = self._computed(e)
        return found

    def _computed(self, e: Expression) -> object:
        match e:
            case Number(value=number, dtype=dtype):
                return _scalar(number, dtype)
            case Load(buffer=buffer, index=index, bounds=bounds):
                return (
                    self._read(buffer, self._index(index))
                    if self._holds(bounds)
                    else _scalar(0, buffer.dtype)
                )
            case Call(row=row, arguments=arguments):
                return _row(row, *map(self._value, arguments))
            case Convert(operand=operand, dtype=dtype):
                return cast(np.asarray(self._value(operand)), dtype)
            case Position(index=index, dtype=dtype):
                return _scalar(self._index(index), dtype)
            case Within(bounds=bounds):
                return np.bool_(self._holds(bounds))


def _row(name: str, *operands: object) -> object:
    row = OPS[name]
    assert isinstance(row, Op)
    return apply(row, *map(np.asarray, operands))


def _scalar(number: bool | int | float, dtype: DType) -> object:
    return np.asarray(number).astype(dtype.numpy)[()]
