"""One LLVM module in the making: its functions, what they declare, and how dtypes are spelt in it.

In flow finished function bodies (`vector.Block`); `str(module)` is LLVM text. A dtype that machine code can
hold is a row of `KINDS`.

Functions that are finished are given away in pieces, modules of their own, while the rest is being written:
so that their code can be made meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from retrograd.compiler.backends.cpu import TILES
from retrograd.compiler.backends.means import PLAIN, Means
from retrograd.compiler.backends.vector import Block
from retrograd.compiler.dtypes import DType

KINDS = {
    "f32": "f32",
    "f64": "f64",
    "f16": "f16",
    "bf16": "bf16",
    "tf32": "f32",
    "bool": "i1",
    "i8": "i8",
    "u8": "u8",
    "i16": "i16",
    "i32": "i32",
    "i64": "i64",
}
"""How values of each dtype are computed."""


_NAMED, _QUOTED = re.compile(r"@([\w.]+)"), re.compile(r'@"[^"]*"')
_PIECE = 120
"""Lines of text that are worth a module of their own, which costs LLVM a millisecond."""


def kind_of(dtype: DType) -> str:
    """How values of a dtype are computed."""
    return KINDS[dtype.name]


def memory_kind(kind: str) -> str:
    """How values of a kind lie in memory: a bool takes a byte."""
    return "i8" if kind == "i1" else kind


def quoted(name: str) -> str:
    """A function's name as LLVM text."""
    return f'@"{name}"'


@dataclass
class Module:
    """The functions of one program, and what they declare."""

    attributes: str
    """LLVM attributes of every function."""
    native_bits: int
    """Bits of a vector register."""
    means: Means = PLAIN
    give: Callable[[str], None] | None = None
    """Takes the text of pieces as they are finished."""
    functions: list[str] = field(default_factory=list)
    declarations: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    _headers: list[tuple[str, str]] = field(default_factory=list)
    """The quoted name of each function, and its declaration."""
    _given: int = 0
    """So many functions were given away."""

    def unique(self, name: str) -> str:
        """A function name not used before."""
        chosen = next(n for k in count(1) if (n := name if k == 1 else f"{name}_{k}") not in self.names)
        self.names.add(chosen)
        return chosen

    def add(self, signature: str, preamble: Sequence[str], block: Block, internal: bool) -> None:
        """A finished function; the preamble is what its entry block does first."""
        self.declarations.update(block.declarations)
        entry, *lines = block.body
        body = "\n".join((entry, *preamble, *lines))
        linkage = "internal " if internal else ""
        attributes = f'#0 "{TILES}"' if block.tiles else "#0"
        if not internal:
            self._part(_PIECE // 2)  # of the last function, whoever writes makes the code
        self.functions.append(f"define {linkage}void {signature} {attributes} {{\n{body}\n  ret void\n}}\n")
        self._headers.append((signature.partition("(")[0], f"declare hidden void {signature}"))
        if internal:
            self._part(_PIECE)

    def _part(self, least: int) -> None:
        """Give away what is finished, if it has more lines than these."""
        if self.give is not None and sum(f.count("\n") for f in self.functions[self._given :]) > least:
            self.give(self._piece())
            self._given = len(self.functions)

    def rest(self) -> str:
        """What was not given away, as a module; nothing where all was."""
        if self._given == len(self.functions):
            return ""
        return self._piece() if self._given else str(self)

    def _piece(self) -> str:
        """The functions since the last piece, with what they need of others."""
        text = "\n".join(self.functions[self._given :]).replace("define internal", "define hidden")
        named, needed = set(_NAMED.findall(text)), []
        for name, declaration in reversed(self.declarations.items()):  # what one needs stands before it
            if name in named:
                named |= set(_NAMED.findall(declaration))
                needed.append(declaration)
        called = {name for part in (text, *needed) for name in _QUOTED.findall(part)}
        needed += [declaration for name, declaration in self._headers[: self._given] if name in called]
        return "\n".join([text, *needed, self._group(), ""])

    def _group(self) -> str:
        return f"attributes #0 = {{ {self.attributes} }}"

    def __str__(self) -> str:
        return "\n".join([*self.functions, *self.declarations.values(), self._group(), ""])
