"""What a loop computes: an expression for an element, and the buffers and indices it reads.

    expression ::= number | buffer "[" index "]" ["if" bound*] | row "(" expression* ")"
                 | dtype "(" expression ")" | index          the position itself, as a number

Axes and indices are those of `ir.index`; a buffer is flat. Expressions are trees with sharing: one
object, one computation, except across a barrier. A new kind of expression is a record here, with its
operands and its text, and a line of `indices` where it holds some.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.index import Axis, Bound, Index, Loaded
from retrograd.compiler.record import derived, record


class Space(Enum):
    """Where a buffer lives."""

    INPUT = "input"
    CONSTANT = "constant"
    OUTPUT = "output"
    ARENA = "arena"
    LOCAL = "local"
    SHARED = "shared"
    """Scratch that the threads of a block have in common."""


@dataclass(eq=False)
class Buffer:
    """Flat memory for `size` elements."""

    name: str
    dtype: DType
    size: int
    space: Space

    def __repr__(self) -> str:
        return self.name


_MANY = 16
"""Roots that are gone through together: what they have in common would else be listed for each."""


class _Shared:
    """What every expression can tell."""

    @derived
    def whole(self) -> dict[Expression, None]:
        """The expression and all that it rests on, each object once and operands first, as the keys."""
        below = self.operands  # type: ignore[attr-defined]  # every subclass has them
        return dict.fromkeys(beyond((self,), ()) if below else (self,))  # type: ignore[arg-type]  # every subclass is an Expression

    def __repr__(self) -> str:
        return show(self)  # type: ignore[arg-type]  # every subclass is an Expression


@record(eq=False)
class Number(_Shared):
    """A constant of the program."""

    value: bool | int | float
    dtype: DType
    operands: ClassVar[tuple[Expression, ...]] = ()


@record(eq=False)
class Load(_Shared):
    """An element of a buffer. Where a bound fails nothing is read and the value is unspecified."""

    buffer: Buffer
    index: Index
    bounds: tuple[Bound, ...] = ()

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype

    @derived
    def operands(self) -> tuple[Expression, ...]:
        return tuple(loaded(self.index, *[b.index for b in self.bounds]))


@record(eq=False)
class Call(_Shared):
    """A native row of the elementwise table."""

    row: str
    arguments: tuple[Expression, ...]
    dtype: DType

    @property
    def operands(self) -> tuple[Expression, ...]:
        return self.arguments


@record(eq=False)
class Convert(_Shared):
    """The operand in another dtype."""

    operand: Expression
    dtype: DType

    @property
    def operands(self) -> tuple[Expression, ...]:
        return (self.operand,)


@record(eq=False)
class Position(_Shared):
    """An index as a number."""

    index: Index
    dtype: DType

    @derived
    def operands(self) -> tuple[Expression, ...]:
        return tuple(loaded(self.index))


@record(eq=False)
class Within(_Shared):
    """True where every bound holds."""

    bounds: tuple[Bound, ...]
    dtype: DType

    @derived
    def operands(self) -> tuple[Expression, ...]:
        return tuple(loaded(*[b.index for b in self.bounds]))


Expression = Number | Load | Call | Convert | Position | Within


# ---- walking -----------------------------------------------------------------------------------------------


def children(expression: Expression) -> tuple[Expression, ...]:
    """The operands, also those inside an index."""
    return expression.operands


def loaded(*indices: Index) -> list[Expression]:
    """The expressions that indices read."""
    found: list[Any] = []  # indices lie below loops: to them an expression is an object
    for index in indices:
        for atom, _ in index.terms:
            if isinstance(atom, Axis):  # as most are
                continue
            if isinstance(atom, Loaded):
                found.append(atom.expression)
            else:
                found += loaded(atom.value)
    return found


def indices(expression: Expression) -> tuple[Index, ...]:
    """The indices that stand in this very node."""
    match expression:
        case Load(index=index, bounds=bounds):
            return (index, *(b.index for b in bounds))
        case Position(index=index):
            return (index,)
        case Within(bounds=bounds):
            return tuple(b.index for b in bounds)
        case _:
            return ()


def axes_of(expression: Expression) -> frozenset[Axis]:
    """The axes on which a value depends through its indices."""
    return frozenset(axis for e in expression.whole for i in indices(e) for axis in i.axes())


def beyond(roots: Sequence[Expression], known: Container[Expression]) -> list[Expression]:
    """The expressions, and those that they rest on, each object once and operands first, without what is
    known: it is closed under operands, and nothing below it is looked at."""
    found: list[Any] = []
    seen: set[Expression] = set()
    stack: list[Any] = list(roots[::-1])
    while stack:
        e = stack.pop()
        if e is None:  # below it lies one whose operands are written
            found.append(stack.pop())
        elif e not in known and e not in seen:
            seen.add(e)
            below = e.operands
            if below:
                stack += (e, None, *below[::-1])
            else:
                found.append(e)
    return found


def operands_first(roots: Sequence[Expression]) -> dict[Expression, None]:
    """The expressions, and those that they rest on, each object once, as the keys."""
    if len(roots) > _MANY:
        return dict.fromkeys(beyond(roots, ()))
    found: dict[Expression, None] = {}
    for root in roots:
        found.update(root.whole)
    return found


# ---- printing ----------------------------------------------------------------------------------------------


def show(e: Expression) -> str:
    """One expression as text."""
    match e:
        case Number():
            return repr(e.value)
        case Load():
            return f"{e.buffer}[{e.index}]" + (f" if {conditions(e.bounds)}" if e.bounds else "")
        case Call():
            return f"{e.row}({', '.join(map(show, e.arguments))})"
        case Convert():
            return f"{e.dtype.name}({show(e.operand)})"
        case Position():
            return f"({e.index})"
        case Within():
            return conditions(e.bounds)


def conditions(bounds: tuple[Bound, ...]) -> str:
    """Bounds as text."""
    return " and ".join(f"{b.low} <= {b.index} < {b.high}" for b in bounds)
