"""Loops: how a graph is computed, target-neutral, small enough to read on a page.

    program   ::= kernel*                                       run one after the other
    kernel    ::= "kernel" name "{" statement* "}"
    statement ::= "for" axis "in" extent [limit] kind "{" statement* "}"
                | name "=" expression                        an expression that is used more than once
                | buffer "[" index "]" "=" expression
                | buffer "[" index "]" combine"=" expression combine: a row: add, mul, maximum, …
                | "local" buffer, … "{" statement* "}"       scratch that lives inside the braces
                | "routine in tiles of" size "{" statement* "}"
                                                             the library does what the loops say
                | "on tiles, or" "{" statement* "}"          it does so where elements allow it
                | "if" bound* "{" statement* "}"
                | "barrier"                                  all threads of a block arrive before any goes on
                | buffer "=" buffer "of thread ^" mask       one element, as the thread with these bits
                                                             flipped holds it
                | buffer "[" index "]" "= fragment" buffer "[" index "]" pieces
                                                             of a matrix, each thread of a warp its share
                | buffer "[" index "]" "+=" buffer "[" index "]" "@" buffer "[" index "]"
                                                             a warp's product of two fragments
    kind      ::= serial | parallel | vector | unroll | grid | block

Indices are those of `ir.index`, expressions those of `ir.expressions`. Lowering makes serial loops; a
schedule only changes kinds and nesting (`ir.rewriting`) and never the value.

On a GPU a kernel is one grid loop (blocks, in any order), in it one block loop (threads), in it the rest.
Shared buffers stand between the two; a barrier or an exchange between threads stands where every thread
of the block comes by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from enum import Enum
from importlib import import_module
from operator import is_
from typing import TypeVar

from retrograd.compiler.errors import Location
from retrograd.compiler.ir.expressions import (
    Buffer,
    Expression,
    Load,
    indices,
    loaded,
    operands_first,
)
from retrograd.compiler.ir.index import Axis, Bound, Index
from retrograd.compiler.record import derived, record, replace

# ---- statements --------------------------------------------------------------------------------------------


class Kind(Enum):
    """How the iterations of a loop are carried out."""

    SERIAL = "serial"
    PARALLEL = "parallel"
    VECTOR = "vector"
    UNROLL = "unroll"
    GRID = "grid"
    BLOCK = "block"


@record(eq=False)
class For:
    """`axis` takes each value from 0 to its extent, as long as `limit[0] < limit[1]`, if there is a limit."""

    axis: Axis
    body: tuple[Statement, ...]
    kind: Kind = Kind.SERIAL
    limit: tuple[Index, int] | None = None
    """For the last block of a split loop. The index grows by one with the axis."""
    lanes: int = 1
    """How many iterations of a vector loop run as one."""


class _Write:
    """What both statements that write can tell."""

    @derived
    def reads(self) -> dict[Expression, None]:
        """Its expressions, each object once, operands first, as the keys."""
        return _reads((self,))  # type: ignore[arg-type]  # every subclass is a Statement


@record(eq=False)
class Store(_Write):
    """Write one element."""

    buffer: Buffer
    index: Index
    value: Expression
    where: Location | None = None


@record(eq=False)
class Accumulate(_Write):
    """Combine one element with a value, by a row that is associative and commutative."""

    buffer: Buffer
    index: Index
    value: Expression
    combine: str
    identity: bool | int | float
    where: Location | None = None


@record(eq=False)
class Local:
    """A scratch buffer that each execution of the body has for itself."""

    buffer: Buffer
    body: tuple[Statement, ...]


@record(eq=False)
class If:
    """The body is carried out where every bound holds."""

    bounds: tuple[Bound, ...]
    body: tuple[Statement, ...]


@record(eq=False)
class Barrier:
    """The threads of a block wait for each other; what they wrote before, all of them may read after."""


@record(eq=False)
class Exchange:
    """`buffer = source` as held by the thread of the same warp whose number differs in the bits of `mask`."""

    buffer: Buffer
    source: Buffer
    mask: int


@record(eq=False)
class Fragment:
    """A thread's share of pieces of a matrix in shared memory, as the tensor cores want them.

    Piece q has its first element at `source[index]`, `pieces[q]` steps along the side and the inner axis
    further on. It is 8 long along the side; along the inner axis it is 4 words of 32 bits, w elements each.
    Thread t of the warp has word t % 4 of place t // 4 on the side: element e of it is
    `buffer[place + q·w + e]`. These are the layouts of operands of `mma` (PTX ISA, section "Warp level
    matrix instructions", fragments of .m16n8k8 and .m16n8k16).
    """

    buffer: Buffer
    place: Index
    source: Buffer
    index: Index
    """The same for all threads of a warp."""
    strides: tuple[int, int]
    """How far apart neighbours along the side, and along the inner axis, are in `source`; one of these is
    1."""
    pieces: tuple[tuple[int, int], ...]

    @property
    def word(self) -> int:
        """How many elements fill 32 bits."""
        return 4 // self.buffer.dtype.itemsize


@record(eq=False)
class Mma:
    """A warp's product of fragments, added to float32: 16 × `depth` times `depth` × 8.

    Thread t has rows t // 4 and t // 4 + 8 of the result, and of each the columns 2·(t % 4) and the next:
    `buffer[place]` to `buffer[place + 3]`.
    """

    buffer: Buffer
    place: Index
    left: Buffer
    left_place: Index
    right: Buffer
    right_place: Index
    depth: int
    where: Location | None = None


@record(slots=True)
class Plan:
    """How the library's routine goes through a product."""

    rows: int
    """Of a tile."""
    vectors: int
    """Across a tile, of so many lanes."""
    lanes: int
    depth: int
    """Inner positions that are taken at a time."""
    size: int
    """Blocks of rows that an item takes."""
    beside: int
    """Panels of columns that it takes."""
    rowwise: bool
    """Do items with the same blocks follow each other? Else those with the same panels."""
    share: int
    """Items of a task; 0 where there are no tasks."""
    copies_left: bool
    """Is the left operand copied, into `panels`?"""
    copies_right: bool
    """Does an item copy what it reads of the right operand?"""
    split: bool
    """Is it done by parts of the operands, where their elements allow it?"""
    along: bool = False
    """Is the right operand one column, and do vectors run along the inner axis?"""
    met: bool = False
    """Do threads meet in the left operand (`backends.meeting`)?"""

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return 1 if self.along else self.vectors * self.lanes

    def chunks(self, rows: int) -> int:
        """Items that follow each other down so many rows."""
        return _parts(_parts(rows, self.rows), self.size)

    def groups(self, columns: int) -> int:
        """Items beside each other."""
        return _parts(_parts(columns, self.width), self.beside)


def _parts(extent: int, size: int) -> int:
    """Parts of a size that an extent has, the last perhaps smaller."""
    return -(-extent // size)


@record(eq=False)
class Epilogue:
    """What is done with the sums of a tile, which are then in a scratch buffer, row after row. All parts of a
    product share it, however they are gone through."""

    batch: Axis
    row: Axis
    """The tile's first row in the product, and its first column. Loops end where the product does."""
    column: Axis
    sums: Buffer
    line: int
    """Elements from a row of sums to the next."""
    body: tuple[Statement, ...]


@record(eq=False)
class Routine:
    """A product that the library computes, or some rows and columns of one; plain loops, the body, say what.
    It is done item by item: some blocks of rows of some panels of columns of one product of a batch. The
    epilogue, if there is one, follows each tile of an item."""

    body: tuple[Statement, ...]
    left: Load
    right: Load
    out: Store | None
    """Where the sums go, if there is no epilogue."""
    batch: Axis
    row: Axis
    column: Axis
    inner: Axis
    plan: Plan
    panels: Buffer | None
    """Where the blocks of the left operand are copied; an earlier routine may have done it."""
    copied: bool
    """Has it?"""
    first: tuple[int, int]
    """The row and the column of the product with which these begin."""
    epilogue: Epilogue | None

    @property
    def line(self) -> int:
        """Elements from a row of sums that wait to the next."""
        return self.epilogue.line if self.epilogue else self.plan.width


@record(slots=True)
class WindowPlan:
    """How the library goes through a product with windows on tiles: numbers, by their names in its record
    (`products/windows.py`)."""

    words: tuple[tuple[str, int], ...]
    table: tuple[int, ...]
    is_shared: bool
    """Do threads share its tasks?"""


@record(eq=False)
class Windowed:
    """A product with windows that the library computes on tiles of bfloat16, if the elements allow it; else
    the body does, which says what. Operands and result begin where their axes are 0; the right one's windows
    may begin before its first element."""

    body: tuple[Statement, ...]
    left: Load
    right: Load
    out: Store | None
    """Where the sums go, if there is no epilogue."""
    plan: WindowPlan
    epilogue: Epilogue | None
    """What is done with the sums of some lines of the output, of so many rows."""


Statement = For | Store | Accumulate | Local | If | Barrier | Exchange | Fragment | Mma | Routine | Windowed
_AROUND = (For, Local, If, Routine, Windowed)
_Around = TypeVar("_Around", bound="For | Local")


@record(eq=False)
class Contraction:
    """What a product's loops compute, for a schedule that arranges them anew: `out[place] = Σ_k left ·
    right`, then `stores`."""

    out: Buffer
    place: Index
    batch: tuple[Axis, ...]
    row: Axis
    column: Axis
    inner: Axis
    left: Expression
    """Depends on batch, row and inner."""
    right: Expression
    """Depends on batch, inner and column."""
    stores: tuple[Store, ...]
    """What is done with each element, which stands in them as a load of `out` at `place`."""
    where: Location | None = None

    @derived
    def places(self) -> list[Index]:
        """Where all of it reads and writes."""
        return self.places_with(self.left, self.right)

    def places_with(self, *operands: Expression) -> list[Index]:
        """Where these operands, and all that is done with the product, read and write."""
        found = operands_first([*loaded(self.place), *operands, *(s.value for s in self.stores)])
        return [*(i for e in found for i in indices(e)), self.place, *(s.index for s in self.stores)]


@record(eq=False)
class Kernel:
    """Statements under a name that tells what they compute."""

    name: str
    body: tuple[Statement, ...]
    contraction: Contraction | None = None


@record(eq=False)
class Program:
    """All kernels of a graph, in order, and the buffers between which they work."""

    name: str
    kernels: tuple[Kernel, ...]
    inputs: tuple[Buffer, ...]
    constants: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    flags: tuple[Buffer, ...] = ()
    """Outputs of one bool each. Where one is True, kernels after the last that writes one are left out."""
    arena: dict[Buffer, int] = field(default_factory=dict)
    """Byte offset of each intermediate buffer; those whose lives do not overlap share memory."""
    arena_bytes: int = 0

    @derived
    def gate(self) -> int:
        """After so many kernels all flags are written; 0 where there are none."""
        flags = set(self.flags)
        if not flags:
            return 0
        written = [
            {s.buffer for s in walk(k.body) if isinstance(s, Store | Accumulate)} for k in self.kernels
        ]
        writers = [place for place, buffers in enumerate(written, 1) if buffers & flags]
        return max(writers, default=0)

    def __str__(self) -> str:
        listing = import_module("retrograd.compiler.ir.listing")  # late: it knows loops
        return str(listing.print_program(self))


# ---- walking -----------------------------------------------------------------------------------------------


def walk(statements: Sequence[Statement]) -> list[Statement]:
    """Every statement, outer ones first."""
    found: list[Statement] = []
    stack = list(statements[::-1])
    while stack:
        statement = stack.pop()
        found.append(statement)
        if isinstance(statement, _AROUND):
            stack += statement.body[::-1]
    return found


def with_body(statement: _Around, body: Sequence[Statement]) -> _Around:
    """The same around another body; the statement itself where that is its own."""
    if len(body) == len(statement.body) and all(map(is_, body, statement.body)):
        return statement
    return replace(statement, body=tuple(body))


def expressions(statements: Sequence[Statement]) -> list[Expression]:
    """Every expression in the statements, each object once, operands first."""
    if len(statements) == 1 and isinstance(statements[0], _Write):
        return list(statements[0].reads)
    return list(_reads(walk(statements)))


def _reads(statements: Sequence[Statement]) -> dict[Expression, None]:
    """Those of the statements themselves, not of statements within, as the keys."""
    roots: list[Expression] = []
    for s in statements:
        if isinstance(s, Store | Accumulate):
            roots += loaded(s.index)
            roots.append(s.value)
        elif isinstance(s, If):
            roots += [e for b in s.bounds for e in loaded(b.index)]
    return operands_first(roots)
