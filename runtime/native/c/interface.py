"""What a C library's function takes, gives and says: in flow nodes of a graph, out flow names that C and C++
have no other use for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from retrograd.compiler.ir.graph import Type
from retrograd.compiler.record import NamedTuple

WORKSPACE = "workspace"
"""The last argument."""
_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
compl concept const const_cast consteval constexpr constinit continue co_await co_return co_yield decltype
default delete do double dynamic_cast else enum explicit export extern false final float for friend goto if
import inline int long module mutable namespace new noexcept not not_eq nullptr operator or or_eq override
private protected public register reinterpret_cast requires restrict return short signed sizeof static
static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename
typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq
int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t linux unix main
errno EOF I NULL
"""
"""Those of C23 and C++23, and what headers and compilers define."""
_TAKEN = frozenset(_WORDS.split())


class Argument(NamedTuple):
    """An argument, or where a result goes."""

    name: str
    kind: Type
    words: str
    """What it is, for people."""


class Interface(NamedTuple):
    """All that who calls the function must know."""

    name: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    errors: tuple[str, ...]
    """What the codes from 1 on mean that it may return."""
    workspace_bytes: int


def is_identifier(name: str) -> bool:
    """Can a function of C have this name? Those that begin with a line are the compiler's, others ours."""
    found = re.fullmatch(r"(?!retrograd_)[A-Za-z]\w*", name, re.ASCII)
    return found is not None and name not in _TAKEN


def named(arguments: Iterable[Argument]) -> Iterator[Argument]:
    """The arguments with names for C, each once."""
    given = {WORKSPACE}
    for argument in arguments:
        name = re.sub(r"\W", "_", argument.name, flags=re.ASCII)
        name = name if re.match(r"[A-Za-z]", name) else f"x{name}"
        while name in given or name in _TAKEN:
            name += "_"
        given.add(name)
        yield argument._replace(name=name)
