"""What a native function on its way to LLVM knows: the module it will be part of, and its own names.

In flow what functions refer to; out flow declarations, functions that are wanted, the kinds of variables.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from retrograd.compiler.backends.kinds import literal
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native.kinds import ELEMENTS, Field, Kind, fields_of, kind_of, signature_of
from retrograd.compiler.native.language import Data, Emitted, Extern, Native, Record
from retrograd.compiler.native.ssa import Block, Value
from retrograd.compiler.record import record


class Module:
    """What functions refer to outside themselves."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self.numbers = numbers
        self._functions: dict[str, Native] = {}
        self._declared: dict[str, str] = {}
        self._fields: dict[type[Record], dict[str, Field]] = {}

    @property
    def declared(self) -> list[str]:
        """Lines on what is elsewhere."""
        return list(self._declared.values())

    def declare(self, name: str, line: str) -> None:
        self._declared[name] = line

    def functions(self) -> Iterator[Native]:
        """All that are wanted, those too that are wanted meanwhile."""
        done = 0
        while done < len(self._functions):
            yield list(self._functions.values())[done]
            done += 1

    def want(self, thing: Any) -> str:
        """The name of a function or of data, which the module will have."""
        name: str = thing.name
        if isinstance(thing, Data):
            self.declare(name, f"@{name} = {_definition(thing)}")
        elif isinstance(thing, Extern) and name in self._functions:
            return f"@{name}"
        elif self._functions.setdefault(name, thing) is not thing:
            raise CompilerError(f"two functions of one native part are called {name!r}")
        return f"@{name}"

    def fields(self, cls: type[Record] | None) -> dict[str, Field]:
        """The fields of what is known to be a record."""
        if cls is None:
            return {}
        if cls not in self._fields:
            self._fields[cls] = fields_of(cls)
        return self._fields[cls]


def _definition(data: Data) -> str:
    """Memory, as LLVM is told of it."""
    if not data.own:
        return "external global i8"
    if not data.values:
        return f"internal global [{data.bytes} x i8] zeroinitializer, align 64"
    element = kind_of(data.kind).element
    assert element is not None
    numbers = ", ".join(f"{element.memory} {literal(ELEMENTS[element.memory], x)}" for x in data.values)
    return f"internal constant [{len(data.values)} x {element.memory}] [{numbers}], align 64"


@record(slots=True)
class Loop:
    """Where `continue` and `break` go."""

    again: Block
    after: Block


@record(slots=True)
class Typed:
    """A value of the language."""

    value: Value
    kind: Kind


@record(slots=True, eq=False)
class Code:
    """A function: a lambda and the names around it, or one that is `native` or emitted."""

    scope: Scope
    node: ast.Lambda | None = None
    native: Native | Emitted | None = None


class Scope:
    """A function's own names: of the one that is made, or of one that is written out in it. Those of a lambda
    have others around them."""

    def __init__(self, native: Native, prefix: str, around: Scope | None = None) -> None:
        self.native, self.prefix, self.around = native, prefix, around
        self.names = native.names
        self.kinds: dict[str, Kind] = {}
        """Those of local variables."""
        self.codes: dict[str, Code] = {}
        """Parameters that are functions."""
        self.parameters, self.result = signature_of(native)
        self.loops: list[Loop] = []
        self.after: Block | None = None
        """Where `return` goes, if the function is written out."""

    def of(self, name: str) -> Scope | None:
        """That which has the name as a local one: this, or one around it."""
        if name in self.kinds or name in self.codes:
            return self
        return None if self.around is None else self.around.of(name)
