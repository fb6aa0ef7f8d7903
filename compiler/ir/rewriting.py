"""The same loops with other indices, places or loads: how a schedule moves what lowering has made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Within,
    axes_of,
    beyond,
)
from retrograd.compiler.ir.index import Bound, Index, Loaded
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Contraction,
    Epilogue,
    Exchange,
    For,
    Fragment,
    If,
    Local,
    Mma,
    Routine,
    Statement,
    Store,
    Windowed,
)
from retrograd.compiler.record import replace

_Called = TypeVar("_Called", Routine, Windowed)


class Rewriter:
    """Statements and expressions with indices, places or loads replaced; what was shared is shared again.

    `index` changes every index; `place` then says, for a load, a store or an accumulation, in which
    buffer it is and where; `load` may answer a load with another expression.
    """

    def __init__(
        self,
        index: Callable[[Index], Index] = lambda index: index,
        load: Callable[[Load], Expression | None] = lambda load: None,
        place: Callable[[Buffer, Index], tuple[Buffer, Index]] = lambda buffer, index: (buffer, index),
    ) -> None:
        self._index = index
        self._load = load
        self._place = place
        self._done: dict[Expression, Expression] = {}
        self._loaded: dict[Loaded, Loaded] = {}
        self._epilogues: dict[Epilogue, Epilogue] = {}

    def expression(self, e: Expression) -> Expression:
        """One expression."""
        done = self._done
        if e not in done:
            for x in beyond((e,), done) if e.operands else (e,):
                if x not in done:
                    done[x] = self._rewrite(x)
        return done[e]

    def _rewrite(self, e: Expression) -> Expression:
        match e:
            case Call():
                return Call(e.row, tuple(map(self.expression, e.arguments)), e.dtype)
            case Convert():
                return Convert(self.expression(e.operand), e.dtype)
            case Load():
                return self._load(e) or self._moved(e)
            case Position():
                return Position(self.index(e.index), e.dtype)
            case Within():
                return Within(self._bounds(e.bounds), e.dtype)
            case Number():
                return e

    def _moved(self, e: Load) -> Load:
        buffer, index = self._place(e.buffer, self.index(e.index))
        return Load(buffer, index, self._bounds(e.bounds))

    def _bounds(self, bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
        return tuple(Bound(self.index(b.index), b.low, b.high) for b in bounds)

    def index(self, index: Index) -> Index:
        """One index, and what it reads."""
        return self._index(index.map_loaded(self._read))

    def _read(self, atom: Loaded) -> Loaded:
        if atom not in self._loaded:
            expression = self.expression(atom.expression)  # type: ignore[arg-type]  # see ir.index
            self._loaded[atom] = Loaded(expression, atom.extent, axes_of(expression))
        return self._loaded[atom]

    def statements(self, statements: Sequence[Statement]) -> tuple[Statement, ...]:
        """A block."""
        return tuple(map(self.statement, statements))

    def statement(self, s: Statement) -> Statement:
        """One statement, and those within it."""
        match s:
            case For():
                limit = s.limit and (self.index(s.limit[0]), s.limit[1])
                return For(s.axis, self.statements(s.body), s.kind, limit, s.lanes)
            case Local():
                return Local(s.buffer, self.statements(s.body))
            case If():
                return If(self._bounds(s.bounds), self.statements(s.body))
            case Store():
                buffer, index = self._place(s.buffer, self.index(s.index))
                return Store(buffer, index, self.expression(s.value), s.where)
            case Accumulate():
                buffer, index = self._place(s.buffer, self.index(s.index))
                value = self.expression(s.value)
                return Accumulate(buffer, index, value, s.combine, s.identity, s.where)
            case Fragment():
                buffer, place = self._place(s.buffer, self.index(s.place))
                source, index = self._place(s.source, self.index(s.index))
                return replace(s, buffer=buffer, place=place, source=source, index=index)
            case Mma():
                (buffer, place), (left, left_place), (right, right_place) = (
                    self._place(b, self.index(i))
                    for b, i in ((s.buffer, s.place), (s.left, s.left_place), (s.right, s.right_place))
                )
                return replace(
                    s, buffer=buffer, place=place, left=left, left_place=left_place, right=right,
                    right_place=right_place,
                )  # fmt: skip
            case Routine():
                return replace(self._called(s), panels=s.panels and self._place(s.panels, Index())[0])
            case Windowed():
                return self._called(s)
            case Barrier() | Exchange():
                return s

    def _called(self, s: _Called) -> _Called:
        """What the library does, with other operands."""
        body, epilogue = self.statements(s.body), s.epilogue and self._epilogue(s.epilogue)
        left, right = self.expression(s.left), self.expression(s.right)
        out = s.out and self.statement(s.out)
        assert isinstance(left, Load)
        assert isinstance(right, Load)
        assert out is None or isinstance(out, Store)
        return replace(s, body=body, left=left, right=right, out=out, epilogue=epilogue)

    def _epilogue(self, e: Epilogue) -> Epilogue:
        """That of several routines remains one."""
        if e not in self._epilogues:
            self._epilogues[e] = replace(e, body=self.statements(e.body))
        return self._epilogues[e]


def stores_of(
    contraction: Contraction, product: Expression, index: Callable[[Index], Index] = lambda index: index
) -> tuple[Statement, ...]:
    """A product's stores with their indices changed, and `product` for the element."""
    place = (contraction.out, contraction.place)
    return Rewriter(index, lambda e: product if (e.buffer, e.index) == place else None).statements(
        contraction.stores
    )
