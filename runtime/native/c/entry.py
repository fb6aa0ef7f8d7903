"""The functions of a C library, as LLVM text around a program.

    int NAME(inputs…, outputs…, void *workspace)    const char *NAME_error(int code)

The program is called by its own ABI (`compiler.backends.cpu`), with a table of pointers on the stack. What it
is told besides, its context and the constants of its graph, is data of the module that nobody writes to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from retrograd.compiler.backends.script import Word
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native.c.interface import Interface

ALIGNMENT = 64
"""Of the arena, and of constants."""


class Callee(NamedTuple):
    """A program, in modules of LLVM text."""

    modules: Sequence[str]
    symbol: str
    context: Sequence[Word]
    """Words that it is told: numbers, and the names of functions whose addresses they become."""
    constants: Sequence[Array]
    arena_bytes: int
    checks: int
    """How many flags it raises."""


def workspace_bytes(arena_bytes: int) -> int:
    """What a caller lends so that an arena fits, wherever it begins."""
    return arena_bytes + ALIGNMENT - 1 if arena_bytes else 0


def entry(interface: Interface, callee: Callee) -> str:
    """The module."""
    return "\n".join([*_data(callee), *_function(interface, callee), *_error(interface), ""])


def _function(interface: Interface, callee: Callee) -> Iterator[str]:
    inputs, outputs = len(interface.inputs), len(interface.outputs)
    given = ", ".join(f"ptr %a{k}" for k in range(inputs + outputs))
    yield f"declare void @{_quoted(callee.symbol)}(ptr, ptr)"
    yield f"define i32 @{interface.name}({given}{', ' * bool(given)}ptr %workspace) nounwind {{"
    pointers = [
        *(f"%a{k}" for k in range(inputs)),
        *(f"@constant.{k}" for k in range(len(callee.constants))),
        *(f"%a{k + inputs}" for k in range(outputs)),
        *(f"%flag{k}" for k in range(callee.checks)),
        "%arena",
    ]
    yield f"  %args = alloca [{len(pointers)} x ptr]"
    yield from (f"  %flag{k} = alloca i8" for k in range(callee.checks))
    yield "  %place = ptrtoint ptr %workspace to i64"
    yield f"  %behind = add i64 %place, {ALIGNMENT - 1}"
    yield f"  %aligned = and i64 %behind, {-ALIGNMENT}"
    yield "  %arena = inttoptr i64 %aligned to ptr"
    for k, pointer in enumerate(pointers):
        yield f"  %arg{k} = getelementptr ptr, ptr %args, i64 {k}"
        yield f"  store ptr {pointer}, ptr %arg{k}"
    yield f"  call void @{_quoted(callee.symbol)}(ptr %args, ptr {'@context' if callee.context else 'null'})"
    code = "0"
    for k in reversed(range(callee.checks)):  # the first that is raised counts
        yield f"  %raised{k} = load i8, ptr %flag{k}"
        yield f"  %is{k} = icmp ne i8 %raised{k}, 0"
        yield f"  %code{k} = select i1 %is{k}, i32 {k + 1}, i32 {code}"
        code = f"%code{k}"
    yield from (f"  ret i32 {code}", "}")


def _error(interface: Interface) -> Iterator[str]:
    """What a code means; nothing, where it means nothing."""
    messages = ["", *interface.errors]
    for k, message in enumerate(messages):
        yield _bytes(f"message.{k}", message.encode() + b"\0", 1)
    table = ", ".join(f"ptr @message.{k}" for k in range(len(messages)))
    yield f"@messages = private constant [{len(messages)} x ptr] [{table}]"
    yield f"define ptr @{interface.name}_error(i32 %code) nounwind {{"
    yield f"  %known = icmp ult i32 %code, {len(messages)}"
    yield "  %number = select i1 %known, i32 %code, i32 0"
    yield "  %place = getelementptr ptr, ptr @messages, i32 %number"
    yield "  %message = load ptr, ptr %place"
    yield from ("  ret ptr %message", "}")


def _data(callee: Callee) -> Iterator[str]:
    for k, array in enumerate(callee.constants):
        yield _bytes(f"constant.{k}", array.tobytes(), ALIGNMENT)
    if callee.context:
        names = dict.fromkeys(word for word in callee.context if isinstance(word, str))
        yield from (f"declare void @{name}()" for name in names if name != callee.symbol)
        words = ", ".join(
            f"i64 {word}" if isinstance(word, int) else f"i64 ptrtoint (ptr @{word} to i64)"
            for word in callee.context
        )
        yield f"@context = private constant [{len(callee.context)} x i64] [{words}], align {ALIGNMENT}"


def _bytes(name: str, content: bytes, alignment: int) -> str:
    text = "".join(f"\\{byte:02X}" for byte in content)
    return f'@{name} = private constant [{len(content)} x i8] c"{text}", align {alignment}'


def _quoted(name: str) -> str:
    return f'"{name}"'
