"""Loops to text, for people; the grammar is that of `ir.loops`. A new statement is a case of `_line`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from retrograd.compiler.errors import Location
from retrograd.compiler.ir.expressions import (
    Call,
    Convert,
    Expression,
    Load,
    Space,
    children,
    conditions,
    show,
)
from retrograd.compiler.ir.loops import (
    Accumulate,
    Barrier,
    Exchange,
    For,
    Fragment,
    If,
    Kernel,
    Local,
    Mma,
    Program,
    Routine,
    Statement,
    Store,
    Windowed,
    expressions,
)


def print_program(program: Program) -> str:
    """The text form, for people; what is used more than once has a name."""
    return "\n".join(print_kernel(kernel) for kernel in program.kernels)


def print_kernel(kernel: Kernel) -> str:
    return f"kernel {kernel.name} {{\n{_block(kernel.body, 1)}}}\n"


_DEEPEST = 20
"""How many calls are written inside each other."""


class _Names:
    """Names for what a block's own statements use more than once, or nest too deep: `v0 = …` before the
    first use."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        own = [s for s in statements if isinstance(s, Store | Accumulate)]
        found = expressions(own)
        uses = Counter(id(e) for e in [*(s.value for s in own), *(c for e in found for c in children(e))])
        changing = {s.buffer for s in own}
        depth: dict[int, int] = {}
        self._names: dict[int, str] = {}
        for e in found:
            depth[id(e)] = 1 + max((depth[id(c)] for c in children(e)), default=0)
            can_be_named = isinstance(e, Call | Convert) or (isinstance(e, Load) and e.buffer in changing)
            if can_be_named and (uses[id(e)] > 1 or depth[id(e)] > _DEEPEST):
                self._names[id(e)], depth[id(e)] = f"v{len(self._names)}", 0
        self._written: set[int] = set()

    def definitions(self, statement: Statement, pad: str) -> str:
        """The lines that name what the statement is the first to use."""
        new = [e for e in expressions((statement,)) if id(e) in self._names and id(e) not in self._written]
        self._written.update(map(id, new))
        return "".join(f"{pad}{self._names[id(e)]} = {self._inside(e)}\n" for e in new)

    def show(self, e: Expression) -> str:
        """The expression, by its name if it has one."""
        return self._names.get(id(e)) or self._inside(e)

    def _inside(self, e: Expression) -> str:
        match e:
            case Call():
                return f"{e.row}({', '.join(map(self.show, e.arguments))})"
            case Convert():
                return f"{e.dtype.name}({self.show(e.operand)})"
            case _:
                return show(e)


def _block(statements: Sequence[Statement], depth: int) -> str:
    names = _Names(statements)
    return "".join(_line(s, depth, names) for s in statements)


def _line(s: Statement, depth: int, names: _Names) -> str:
    pad = "  " * depth
    match s:
        case For():
            limit = f" while {s.limit[0]} < {s.limit[1]}" if s.limit else ""
            head = f"for {s.axis} in {s.axis.extent}{limit} {s.kind.value}"
            return f"{pad}{head} {{\n{_block(s.body, depth + 1)}{pad}}}\n"
        case Local():
            scratch, body = _scratch(s)
            return f"{pad}local {scratch} {{\n{_block(body, depth + 1)}{pad}}}\n"
        case Store() | Accumulate():
            sign = f"{s.combine}=" if isinstance(s, Accumulate) else "="
            lets, value = names.definitions(s, pad), names.show(s.value)
            return f"{lets}{pad}{s.buffer}[{s.index}] {sign} {value}{_comment(s.where)}\n"
        case If():
            return f"{pad}if {conditions(s.bounds)} {{\n{_block(s.body, depth + 1)}{pad}}}\n"
        case Barrier():
            return f"{pad}barrier\n"
        case Exchange():
            return f"{pad}{s.buffer} = {s.source} of thread ^ {s.mask}\n"
        case Fragment():
            pieces = " ".join(f"{side},{inner}" for side, inner in s.pieces)
            return f"{pad}{s.buffer}[{s.place}] = fragment {s.source}[{s.index}] {pieces}\n"
        case Mma():
            product = f"{s.left}[{s.left_place}] @ {s.right}[{s.right_place}]"
            return f"{pad}{s.buffer}[{s.place}] += {product}{_comment(s.where)}\n"
        case Routine():
            tile = f"{s.plan.rows} × {s.plan.width}"
            return f"{pad}routine in tiles of {tile} {{\n{_block(s.body, depth + 1)}{pad}}}\n"
        case Windowed():
            return f"{pad}on tiles, or {{\n{_block(s.body, depth + 1)}{pad}}}\n"


def _scratch(s: Local) -> tuple[str, tuple[Statement, ...]]:
    """The buffers of locals directly within one another, and what is within them all."""
    space = "shared " if s.buffer.space is Space.SHARED else ""
    text = f"{space}{s.buffer}: {s.buffer.dtype.name}[{s.buffer.size}]"
    if len(s.body) == 1 and isinstance(s.body[0], Local):
        more, body = _scratch(s.body[0])
        return f"{text}, {more}", body
    return text, s.body


def _comment(where: Location | None) -> str:
    return f"    # {where}" if where else ""
