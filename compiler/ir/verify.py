"""What makes a Graph or a Loops program valid, checked between passes under test.

In flows one IR, out flows nothing, or a CompilerError that names the node or the statement. `verify_graph`
infers each type again. `verify_loops` proves by interval arithmetic that no load or store leaves
its buffer in any iteration; what loop limits and a load's own bounds promise counts. To demand another
property, add a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import NoReturn, TypeVar

from retrograd.compiler.dtypes import float32
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Space,
    Within,
    operands_first,
)
from retrograd.compiler.ir.graph import OPS, Graph, Input, Node, Op
from retrograd.compiler.ir.index import Axis, Divided, Index, Loaded, Remainder, as_index
from retrograd.compiler.ir.intervals import Fact, Interval, bounds, facts_of, value_bounds
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Kind,
    Local,
    Mma,
    Program,
    Routine,
    Statement,
    Store,
    Windowed,
)

IR = TypeVar("IR", Graph, Program)


def verified(ir: IR) -> IR:
    """The IR, if it is valid."""
    if isinstance(ir, Graph):
        verify_graph(ir)
    else:
        verify_loops(ir)
    return ir


# ---- Graph -------------------------------------------------------------------------------------------------


def verify_graph(graph: Graph) -> None:
    """Raise CompilerError unless every node is what its op makes of declared inputs and other nodes."""
    labels = [node.op.label for node in graph.inputs if isinstance(node.op, Input)]
    if len(labels) != len(graph.inputs) or len(set(labels)) != len(labels):
        raise CompilerError(f"graph {graph.name}", f"its inputs are not inputs of different names: {labels}")
    declared = set(graph.inputs)
    known: dict[tuple[Op, tuple[int, ...]], Node] = {}
    builders = {id(node.builder) for node in (*graph.inputs, *graph.outputs)}
    for node in graph.nodes:
        builders.add(id(node.builder))
        _verify_node(graph, node, declared)
        twin = known.setdefault((node.op, tuple(map(id, node.inputs))), node)
        if twin is not node:
            raise CompilerError(f"{node} in graph {graph.name}", "an equal node is there already")
    for output in graph.outputs:
        if isinstance(output.op, Input) and output not in declared:
            raise CompilerError(f"the input {output.op.label} of graph {graph.name}", "it is not declared")
    if len(builders) > 1:
        raise CompilerError(f"graph {graph.name}", "its nodes are of different builders")


def _verify_node(graph: Graph, node: Node, declared: set[Node]) -> None:
    what = f"{node} in graph {graph.name}"
    for operand in node.inputs:
        if isinstance(operand.op, Input) and operand not in declared:
            raise CompilerError(what, f"it reads the input {operand.op.label}, which is not declared")
    own = OPS.get(node.op.name)
    if own is not node.op and own is not type(node.op):
        raise CompilerError(what, f"there is no op called {node.op.name}, or another one")
    inferred = node.op.infer(*(i.type for i in node.inputs))
    if inferred != node.type:
        raise CompilerError(what, f"its op makes {inferred} of its operands")


# ---- Loops -------------------------------------------------------------------------------------------------


def verify_loops(program: Program) -> None:
    """Raise CompilerError unless the program stays within its buffers and reads only what was written."""
    verifier = _Verifier(program)
    for kernel in program.kernels:
        verifier.kernel(kernel)
    for buffer in program.outputs:
        if buffer.size and buffer not in verifier.written:
            raise CompilerError(f"the output {buffer} of {program.name}", "nothing writes it")
    for buffer, offset in program.arena.items():
        end = offset + buffer.size * buffer.dtype.itemsize
        if offset < 0 or offset % buffer.dtype.itemsize or end > program.arena_bytes:
            raise CompilerError(
                f"{buffer} in {program.name}", f"bytes {offset} to {end} are not in the arena"
            )


_SCRATCH = (Space.LOCAL, Space.SHARED)


@dataclass
class _Verifier:
    program: Program
    written: set[Buffer] = field(default_factory=set)
    _name: str = ""
    _axes: list[Axis] = field(default_factory=list)
    _facts: list[Fact] = field(default_factory=list)
    _kinds: list[Kind] = field(default_factory=list)
    _locals: set[Buffer] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._readable = {*self.program.inputs, *self.program.constants}
        self._declared = {*self._readable, *self.program.outputs}
        for buffers, space in (
            (self.program.inputs, Space.INPUT),
            (self.program.constants, Space.CONSTANT),
            (self.program.outputs, Space.OUTPUT),
        ):
            for buffer in buffers:
                if buffer.space is not space:
                    raise CompilerError(f"{buffer} in {self.program.name}", f"it is no {space.value} buffer")

    def _fail(self, what: object, why: str) -> NoReturn:
        """The error about a statement, an expression, or whatever `what` says."""
        if isinstance(what, Store | Accumulate):
            what = f"{what.buffer}[{what.index}] = …"
        raise CompilerError(f"{what} in kernel {self._name} of {self.program.name}", why)

    # ---- statements ----

    def kernel(self, kernel: Kernel) -> None:
        """All statements of a kernel."""
        self._name = kernel.name
        self._block(kernel.body)

    def _block(self, statements: Sequence[Statement]) -> None:
        for s in statements:
            match s:
                case For():
                    self._loop(s)
                case Local():
                    self._local(s)
                case If():
                    self._condition(s)
                case Store() | Accumulate():
                    self._write(s)
                case Barrier():
                    self._meeting("barrier")
                case Exchange():
                    self._exchange(s)
                case Fragment():
                    self._fragment(s)
                case Mma():
                    self._product(s)
                case Routine() | Windowed():
                    self._block(s.body)

    def _loop(self, s: For) -> None:
        what = f"for {s.axis} in {s.axis.extent} {s.kind.value}"
        if s.axis in self._axes:
            self._fail(what, "the axis belongs to an outer loop")
        if s.axis.extent < 0 or s.lanes < 1:
            self._fail(what, "it has no such extent or number of lanes")
        around = self._kinds[-1] if self._kinds else None
        if (s.kind in (Kind.PARALLEL, Kind.GRID) and around) or (
            s.kind is Kind.BLOCK and around is not Kind.GRID
        ):
            self._fail(what, f"it is within {f'a loop of kind {around.value}' if around else 'no loop'}")
        if Kind.VECTOR in self._kinds and s.kind is not Kind.SERIAL:
            self._fail(what, "only serial loops may be within a vector loop")
        with self._inside(s):
            self._block(s.body)

    def _condition(self, s: If) -> None:
        for bound in s.bounds:
            self._index(bound.index, f"if {bound.low} <= {bound.index} < {bound.high}")
        self._facts += facts_of(s.bounds)
        self._block(s.body)
        del self._facts[len(self._facts) - len(s.bounds) :]

    def _meeting(self, what: str) -> None:
        """All threads of a block must come by, so nothing that differs between them may decide."""
        threads = {axis for axis, kind in zip(self._axes, self._kinds, strict=True) if kind is Kind.BLOCK}
        if not threads:
            self._fail(what, "it is within no block of threads")
        if any(threads & fact.index.axes() for fact in self._facts):
            self._fail(what, "not every thread of the block comes by")

    def _exchange(self, s: Exchange) -> None:
        what = f"{s.buffer} = {s.source} of another thread"
        self._meeting(what)
        if not {s.buffer, s.source} <= self._locals or s.source not in self.written:
            self._fail(what, "they are not two local buffers, the second of them written")
        self.written.add(s.buffer)

    def _fragment(self, s: Fragment) -> None:
        what = f"{s.buffer}[{s.place}] = fragment {s.source}[{s.index}]"
        self._warp(what, (s.place, s.index))
        if s.source.space is not Space.SHARED or s.source not in self.written:
            self._fail(what, "it is not of shared memory that was written")
        if s.buffer not in self._locals or s.buffer.dtype is not s.source.dtype or 1 not in s.strides:
            self._fail(what, "they are not of one dtype, the one of them side by side in the other")
        self._place(s.buffer, s.place, (), what)
        self._place(s.buffer, s.place + (len(s.pieces) * s.word - 1), (), what)
        (along_side, along_inner) = s.strides
        for side, inner in s.pieces:
            first = s.index + side * along_side + inner * along_inner
            self._place(s.source, first, (), what)
            self._place(s.source, first + 7 * along_side + (4 * s.word - 1) * along_inner, (), what)
        self.written.add(s.buffer)

    def _product(self, s: Mma) -> None:
        what = f"{s.buffer}[{s.place}] += {s.left}[{s.left_place}] @ {s.right}[{s.right_place}]"
        self._warp(what, (s.place, s.left_place, s.right_place))
        if s.left.dtype is not s.right.dtype or s.buffer.dtype is not float32:
            self._fail(what, "its operands are not of one dtype, or its result is not float32")
        for buffer, place, count in (
            (s.buffer, s.place, 4),
            (s.left, s.left_place, s.depth // 2),
            (s.right, s.right_place, s.depth // 4),
        ):
            if buffer not in self._locals or buffer not in self.written:
                self._fail(what, f"{buffer} is no local buffer that was written")
            self._place(buffer, place, (), what)
            self._place(buffer, place + (count - 1), (), what)

    def _warp(self, what: str, places: Sequence[Index]) -> None:
        """All threads of a warp must come by, with the same places."""
        self._meeting(what)
        blocks = [a for a, kind in zip(self._axes, self._kinds, strict=True) if kind is Kind.BLOCK]
        for thread in blocks:
            warp, lane = Axis("warp", thread.extent // 32), Axis("lane", 32)
            split = {thread: as_index(warp) * 32 + as_index(lane)}
            if thread.extent % 32 or any(lane in place.substitute(split).axes() for place in places):
                self._fail(what, "the threads are no whole warps, or a place differs within one")

    @contextmanager
    def _inside(self, s: For) -> Iterator[None]:
        self._axes.append(s.axis)
        self._kinds.append(s.kind)
        if s.limit:
            index, stop = s.limit
            self._index(index, f"the limit of the loop over {s.axis}")
            if index.stride(s.axis) != 1:
                self._fail(f"for {s.axis} while {index} < {stop}", "the index does not grow by one")
            self._facts.append(Fact(index, -inf, stop - 1))
        yield
        if s.limit:
            self._facts.pop()
        self._axes.pop()
        self._kinds.pop()

    def _local(self, s: Local) -> None:
        if s.buffer.space not in _SCRATCH or s.buffer in self._locals:
            self._fail(f"local {s.buffer}", "it is no local buffer, or is there already")
        self._locals.add(s.buffer)
        self._block(s.body)
        self._locals.discard(s.buffer)
        self.written.discard(s.buffer)

    def _write(self, s: Store | Accumulate) -> None:
        for e in operands_first((s.value, *_loaded(s.index))):
            self._expression(e)
        if s.value.dtype is not s.buffer.dtype:
            self._fail(s, f"a value of dtype {s.value.dtype} goes into {s.buffer.dtype}")
        if s.buffer in self._readable:
            self._fail(s, "it writes an input")
        self._place(s.buffer, s.index, (), s)
        if isinstance(s, Accumulate):
            if s.buffer not in self.written:
                self._fail(s, "it accumulates into what nobody has written")
            if s.combine not in OPS:
                self._fail(s, f"there is no row called {s.combine}")
        self.written.add(s.buffer)

    # ---- expressions ----

    def _expression(self, e: Expression) -> None:
        match e:
            case Load():
                for bound in e.bounds:
                    self._index(bound.index, e)
                self._read(e)
            case Position():
                self._index(e.index, e)
            case Within():
                for bound in e.bounds:
                    self._index(bound.index, e)
            case Call():
                if e.row not in OPS:
                    self._fail(e, f"there is no row called {e.row}")
            case Convert() | Number():
                pass

    def _read(self, e: Load) -> None:
        facts = facts_of(e.bounds)
        self._place(e.buffer, e.index, facts, e)
        never = e.buffer.size == 0 or any(fact.never for fact in facts)
        if not never and e.buffer not in self._readable | self.written:
            self._fail(e, "it reads what nobody has written")

    def _index(self, index: Index, what: object) -> None:
        missing = [axis for axis in index.axes() if axis not in self._axes]
        if missing:
            self._fail(what, f"no loop around it is over {missing[0]}")
        for atom in _loaded_atoms(index):
            low, high = value_bounds(atom.expression)  # type: ignore[arg-type]  # see ir.index
            if low < 0 or high >= max(atom.extent, 1):
                self._fail(what, f"{atom} is not known to lie in 0 … {atom.extent - 1}")

    def _place(self, buffer: Buffer, index: Index, facts: Sequence[Fact], what: object) -> None:
        if buffer.space in _SCRATCH and buffer not in self._locals:
            self._fail(what, f"{buffer} is local to braces elsewhere")
        if buffer.space not in (*_SCRATCH, Space.ARENA) and buffer not in self._declared:
            self._fail(what, f"{buffer} is no buffer of the program")
        self._index(index, what)
        known = [*self._facts, *facts]
        span: Interval = index.bounds()
        if span[0] < 0 or span[1] >= buffer.size:
            span = bounds(index, known)
        if (span[0] < 0 or span[1] >= buffer.size) and not any(fact.never for fact in known):
            run = f"{span[0]:g} to {span[1]:g}"
            self._fail(what, f"the index runs from {run}, but {buffer} has {buffer.size} elements")


def _loaded_atoms(index: Index) -> Iterator[Loaded]:
    for atom, _ in index.terms:
        if isinstance(atom, Loaded):
            yield atom
        elif isinstance(atom, Divided | Remainder):
            yield from _loaded_atoms(atom.value)


def _loaded(index: Index) -> list[Expression]:
    return [atom.expression for atom in _loaded_atoms(index)]  # type: ignore[misc]  # see ir.index
