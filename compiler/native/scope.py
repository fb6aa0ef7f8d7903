"""What a native function on its way to LLVM knows: the module it will be part of, and its own names.

In flow what functions refer to; out flow declarations, functions that are wanted, the kinds of variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native.kinds import Field, Kind, fields_of, signature_of
from retrograd.compiler.native.language import Data, Native, Record
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
            form = "internal global ptr null, align 64" if thing.own else "external global i8"
            self.declare(name, f"@{name} = {form}")
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


class Scope:
    """A function's own names: of the one that is made, or of one that is written out in it."""

    def __init__(self, native: Native, prefix: str) -> None:
        self.native, self.prefix = native, prefix
        self.kinds: dict[str, Kind] = {}
        """Those of local variables."""
        self.parameters, self.result = signature_of(native.function)
        self.loops: list[Loop] = []
        self.after: Block | None = None
        """Where `return` goes, if the function is written out."""
