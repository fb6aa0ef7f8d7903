"""Where things are while a function is written: the value of each axis and index, each element's address.

Axes of unrolled loops are numbers, those of other loops are LLVM values, and indices are folded as far as
they are known. An address is computed loop by loop, outermost first, so that each loop adds only what
changes in it; `anticipate` computes what does not change before a loop begins.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from retrograd.compiler.backends.kinds import LLVM_TYPES
from retrograd.compiler.backends.lanes import splat
from retrograd.compiler.backends.masks import constant_mask
from retrograd.compiler.backends.module import Module, kind_of, memory_kind
from retrograd.compiler.backends.vector import Block, Value, select
from retrograd.compiler.ir.expressions import Buffer, Expression, Load, Space
from retrograd.compiler.ir.index import Atom, Axis, Bound, Divided, Index, Loaded, Remainder, as_index
from retrograd.compiler.ir.loops import Program

Place = int | Value
"""A whole number, known while compiling or while running."""


CLIPPED = (1 << 31) - 1
"""The greatest number of 32 bits."""


class Places:
    """Axes, indices and addresses in one function over `%args`."""

    def __init__(
        self, module: Module, program: Program, name: str, buffers: Sequence[Buffer] | None = None
    ) -> None:
        self.block = Block(means=module.means)
        self.module = module
        self.preamble: list[str] = []
        """What the function's entry does first: it finds its buffers, and makes room for local ones."""
        self._program = program
        self._given = buffers
        """The buffers whose addresses `%args` holds, if those are not the program's own."""
        self.name = name
        self._pointers: dict[Buffer, str] = {}
        self._arguments: dict[int, str] = {}
        self._axes: dict[Axis, Place] = {}
        self._levels: dict[Axis, int] = {}
        """Within how many loops each axis stands."""
        self._level = 0
        self._steady: dict[Loaded, bool] = {}
        self._index_kind = "i64"
        """The kind of an index."""
        self._along: Axis | None = None
        """The axis of the vector loop that is being written."""

    def value(self, e: Expression) -> Value:
        """An expression's value; here only those inside an index are asked for."""
        raise NotImplementedError

    def _varies(self, e: Expression) -> bool:
        """Does the value differ between the lanes of the vector loop?"""
        raise NotImplementedError

    # ---- buffers ----

    def pointer(self, buffer: Buffer) -> str:
        """The buffer's address, loaded at the start of the function."""
        if buffer not in self._pointers:
            self._pointers[buffer] = self._load_pointer(buffer)
        return self._pointers[buffer]

    def _load_pointer(self, buffer: Buffer) -> str:
        program = self._program
        if self._given is not None:
            return self._argument(self._given.index(buffer))
        if buffer.space is not Space.ARENA:
            return self._argument((*program.inputs, *program.constants, *program.outputs).index(buffer))
        arena = self._argument(len(program.inputs) + len(program.constants) + len(program.outputs))
        name = f"%{self.block.fresh('p')}"
        self.preamble.append(f"  {name} = getelementptr i8, ptr {arena}, i64 {program.arena[buffer]}")
        return name

    def _argument(self, position: int) -> str:
        if position not in self._arguments:
            slot, name = f"%{self.block.fresh('s')}", f"%{self.block.fresh('p')}"
            self.preamble.append(f"  {slot} = getelementptr ptr, ptr %args, i64 {position}")
            self.preamble.append(f"  {name} = load ptr, ptr {slot}")
            self._arguments[position] = name
        return self._arguments[position]

    # ---- axes ----

    def _set(self, axis: Axis, value: Place) -> None:
        self._axes[axis] = value
        self._levels[axis] = self._level

    def _forget(self, axis: Axis) -> None:
        del self._axes[axis]

    # ---- indices ----

    def number(self, index: Index) -> int | None:
        """The value of an index, if it is known by now."""
        total = index.offset
        for atom, coefficient in index.terms:
            found = self._known(atom)
            if found is None:
                return None
            total += found * coefficient
        return total

    def _known(self, atom: Atom) -> int | None:
        match atom:
            case Axis():
                place = self._axes[atom]
                return place if isinstance(place, int) else None
            case Divided(value, divisor):
                whole = self.number(value)
                return None if whole is None else whole // divisor
            case Remainder(value, divisor):
                whole = self.number(value)
                return None if whole is None else whole % divisor
            case Loaded():
                return None

    def index(self, index: Index, lanes: int = 1) -> Value:
        """The value of an index: at the first lane, or for `lanes` > 1 at every lane."""
        if lanes > 1:
            return self._wide_index(index, lanes)
        total: Value | None = None
        offset = index.offset
        for atom, coefficient in index.terms:
            term = self._atom(atom)
            if isinstance(term, int):
                offset += term * coefficient
                continue
            term = term if coefficient == 1 else term * coefficient
            total = term if total is None else total + term
        if total is None:
            return self.block.constant(self._index_kind, 1, offset)
        return total + offset if offset else total

    def _atom(self, atom: Atom) -> Place:
        """An atom, at the first lane."""
        known = self._known(atom)
        if known is not None:
            return known
        match atom:
            case Axis():
                return self._axes[atom]
            case Divided() | Remainder():
                return self._divided(atom, 1)
            case Loaded(expression):
                return self.value(expression).to(self._index_kind)  # type: ignore[arg-type]  # see ir.index

    def _divided(self, atom: Divided | Remainder, lanes: int) -> Value:
        """A quotient or a remainder. What is divided is never negative, and its bounds are known: a product
        and a shift do, where LLVM would take twice as many instructions, and in vectors many more."""
        value, divisor, most = self.index(atom.value, lanes), atom.divisor, atom.value.bounds()[1]
        found = _reciprocal(divisor, most)
        if found is None:
            name = "udiv" if isinstance(atom, Divided) else "urem"
            by = value.same(divisor)
            return self.block.pure(f"{name} {value.type} {value.ref}, {by.ref}", self._index_kind, lanes)
        factor, shift = found
        quotient = (value if factor == 1 else value * factor).lshr(shift)
        if isinstance(atom, Divided):
            return quotient
        return value - quotient * divisor

    # ---- indices in vectors ----

    def _wide_index(self, index: Index, lanes: int) -> Value:
        numbers = self._numbers(index, lanes)
        if numbers is not None:
            return numbered(self.block, self._index_kind, numbers)
        common, apart = self._by_lane(index, lanes)
        return splat(self.index(common), lanes) + apart

    def _by_lane(self, index: Index, lanes: int, *, narrow: bool = False) -> tuple[Index, Value]:
        """What all lanes of an index have in common, and what each adds to it: if that is known, and is to be
        `narrow`, as numbers of 32 bits."""
        differing = Index(tuple((atom, c) for atom, c in index.terms if self._differs(atom)))
        common = index - differing
        numbers = self._numbers(differing, lanes)
        offsets = self.offsets(differing, lanes) if numbers is None else numbers
        if offsets is not None:
            kind = "i32" if narrow and max(map(abs, offsets)) <= CLIPPED else self._index_kind
            return common if numbers is not None else index, numbered(self.block, kind, offsets)
        stride = sum(c for atom, c in differing.terms if isinstance(atom, Axis))
        total = numbered(self.block, self._index_kind, [k * stride for k in range(lanes)])
        for atom, coefficient in differing.terms:
            if isinstance(atom, Axis):
                common += as_index(atom) * coefficient
            else:
                total = total + self._wide_atom(atom, lanes) * coefficient
        return common, total

    def offsets(self, index: Index, lanes: int) -> list[int] | None:
        """What each lane adds to the index at the first lane, if that is the same in every iteration. The
        vector loop starts at a multiple of `lanes`."""
        along = self._along
        if along is None:
            return None
        first = self._axes[along]
        total = [0] * lanes
        for atom, coefficient in index.terms:
            if not self._differs(atom):
                continue
            match atom:
                case Axis():
                    each = list(range(lanes))
                case Divided(value, divisor) | Remainder(value, divisor):
                    (other, step), *more = value.terms
                    if other is not along or more:
                        return None
                    start = value.offset
                    if isinstance(first, int):
                        start += first * step
                    elif lanes * step % divisor:
                        return None
                    numbers = [start + k * step for k in range(lanes)]
                    each = [n // divisor if isinstance(atom, Divided) else n % divisor for n in numbers]
                case _:
                    return None
            total = [t + (n - each[0]) * coefficient for t, n in zip(total, each, strict=True)]
        return total

    def _differs(self, atom: Atom) -> bool:
        """Is an atom another number in other lanes?"""
        match atom:
            case Axis():
                return atom is self._along
            case Divided(value, _) | Remainder(value, _):
                return any(self._differs(a) for a, _ in value.terms)
            case Loaded(expression):
                return self._varies(expression)  # type: ignore[arg-type]  # see ir.index: lies below loops

    def _numbers(self, index: Index, lanes: int) -> list[int] | None:
        """The index at each lane, if that is known by now."""
        along = self._along
        first = self._axes[along] if along else None
        if along is None or not isinstance(first, int) or self.number(index) is None:
            return None
        found = []
        for k in range(lanes):
            self._axes[along] = first + k
            found.append(self.number(index) or 0)
        self._axes[along] = first
        return found

    def _wide_atom(self, atom: Divided | Remainder | Loaded, lanes: int) -> Value:
        """An atom at every lane."""
        if isinstance(atom, Loaded):
            loaded = self.value(atom.expression).to(self._index_kind)  # type: ignore[arg-type]  # see ir.index
            return splat(loaded, lanes) if loaded.lanes != lanes else loaded
        return self._divided(atom, lanes)

    # ---- addresses ----

    def address(self, buffer: Buffer, index: Index) -> str:
        """The address of an element, by a scalar index."""
        offset, parts = self._by_level(index, list(index.terms))
        pointer = self._stepwise(buffer, parts)
        return self._step(buffer, pointer, str(offset)) if offset else pointer

    def anticipate(self, buffer: Buffer, index: Index) -> None:
        """Compute the part of an address that the open loops determine."""
        if buffer.space is Space.LOCAL:
            return
        known = [(a, c) for a, c in index.terms if self._settled(a) and _axes(a) <= self._axes.keys()]
        self._stepwise(buffer, self._by_level(index, known)[1])

    def _by_level(self, index: Index, terms: list[tuple[Atom, int]]) -> tuple[int, dict[int, Value]]:
        """What is known of an index, and the rest by the innermost loop that each part depends on."""
        offset, parts = index.offset, dict[int, Value]()
        for atom, coefficient in terms:
            place = self._axes[atom] if isinstance(atom, Axis) else self._atom(atom)
            if isinstance(place, int):
                offset += place * coefficient
                continue
            term = place if coefficient == 1 else place * coefficient
            level = self._levels[atom] if isinstance(atom, Axis) else self._level_of(atom)
            parts[level] = parts[level] + term if level in parts else term
        return offset, parts

    def _level_of(self, atom: Atom) -> int:
        """The innermost loop that an atom depends on."""
        return max((self._levels[a] for a in _axes(atom)), default=0) if self._settled(atom) else self._level

    def _settled(self, atom: Atom) -> bool:
        """Does an atom rest on axes alone, and not on memory?"""
        match atom:
            case Axis():
                return True
            case Divided(value, _) | Remainder(value, _):
                return all(self._settled(a) for a, _ in value.terms)
            case Loaded(expression):
                if atom not in self._steady:
                    below = expression.whole  # type: ignore[attr-defined]  # see ir.index
                    self._steady[atom] = not any(isinstance(e, Load) for e in below)
                return self._steady[atom]

    def _stepwise(self, buffer: Buffer, parts: dict[int, Value]) -> str:
        pointer = self.pointer(buffer)
        for level in sorted(parts):
            pointer = self._step(buffer, pointer, parts[level].ref)
        return pointer

    def _step(self, buffer: Buffer, pointer: str, elements: str) -> str:
        kind = LLVM_TYPES[memory_kind(kind_of(buffer.dtype))]
        return self.block.pure(
            f"getelementptr {kind}, ptr {pointer}, {self._index_kind} {elements}", "ptr"
        ).ref

    def addresses(self, buffer: Buffer, index: Index, lanes: int) -> str:
        """One address per lane. Where steps between them are narrow, more of them are gathered at once."""
        common, apart = self._by_lane(index, lanes, narrow=True)
        kind = LLVM_TYPES[memory_kind(kind_of(buffer.dtype))]
        text = f"getelementptr {kind}, ptr {self.address(buffer, common)}, {apart.type} {apart.ref}"
        return self.block.pure(text, "ptr", lanes).ref

    # ---- bounds ----

    def within(self, bounds: tuple[Bound, ...], lanes: int) -> Value | None:
        """Where all bounds hold; None if that is everywhere."""
        result: Value | None = None
        for bound in bounds:
            low, high = bound.index.bounds()
            known = self.number(bound.index) if lanes == 1 else None
            if known is not None:
                if not bound.low <= known < bound.high:
                    return self.block.constant("i1", 1, 0)
                continue
            if low < bound.low:
                result = _both(result, ~self._below(bound.index, bound.low, lanes))
            if high >= bound.high:
                result = _both(result, self._below(bound.index, bound.high, lanes))
        return result

    def _below(self, index: Index, stop: int, lanes: int) -> Value:
        """Where the index is less than `stop`, lane by lane."""
        stride = index.stride(self._along) if self._along and lanes > 1 else 0
        if stride not in (0, 1):
            return self.index(index, lanes) < stop
        first = self.number(index)
        if first is not None:
            return constant_mask(self.block, [first + k * stride < stop for k in range(lanes)])
        at = self.index(index)
        return self.first_lanes(stop - at, lanes) if stride else splat(at < stop, lanes)

    def first_lanes(self, count: Value, lanes: int, *, clipped: bool = False) -> Value:
        """A mask of the first `count` lanes; `clipped`, if that is a number of 32 bits."""
        if not clipped:
            count = select(count < lanes, count, lanes)
            count = select(count > 0, count, 0)
        return numbered(self.block, "i32", range(lanes)) < splat(count.to("i32"), lanes)


def numbered(block: Block, kind: str, numbers: Sequence[int]) -> Value:
    """A vector of these numbers."""
    if len(set(numbers)) == 1:
        return block.constant(kind, len(numbers), numbers[0])
    return Value(block, f"<{', '.join(f'{kind} {n}' for n in numbers)}>", kind, len(numbers))


def _both(a: Value | None, b: Value) -> Value:
    return b if a is None else a & b


def _axes(atom: Atom) -> frozenset[Axis]:
    return frozenset((atom,)) if isinstance(atom, Axis) else as_index(atom).axes()


@functools.cache
def _reciprocal(divisor: int, most: int) -> tuple[int, int] | None:
    """A factor and a shift such that `x * factor >> shift` is `x // divisor` for x from 0 to `most`, without
    overflow in 63 bits. After T. Granlund and P. L. Montgomery, "Division by Invariant Integers using
    Multiplication", 1994: the factor is 2^shift / divisor, rounded up by so little that x never gains one."""
    for shift in range(63):
        factor = -(-(1 << shift) // divisor)
        if (factor * divisor - (1 << shift)) * most < 1 << shift:
            return (factor, shift) if factor * most < 1 << 63 else None
    return None
