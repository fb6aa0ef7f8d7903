"""The functions of a C library, as LLVM text around its programs.

    int NAME(inputs…, outputs…, void *workspace)    const char *NAME_error(int code)

A program is called by its own ABI (`compiler.backends.cpu`), with a table of pointers on the stack. What it
is told besides, and the constants of its graph, is data of the module that nobody writes to.
"""

from __future__ import annotations

from collections.abc import Iterator

from retrograd.compiler.backends.script import Word
from retrograd.runtime.native.c.interface import Interface
from retrograd.runtime.native.c.programs import LOOPS, Inside, Programs
from retrograd.runtime.native.writing import Part

_ALIGNMENT = 64
"""Of the arena, and of constants."""


def workspace_bytes(arena_bytes: int) -> int:
    """What a caller lends so that an arena fits, wherever it begins."""
    return arena_bytes + _ALIGNMENT - 1 if arena_bytes else 0


def entry(interface: Interface, part: Part, programs: Programs) -> str:
    """The module whose function calls this part of the programs."""
    called = _loops(part, programs) if part.code == LOOPS else _program(part, programs)
    return "\n".join([*_data(part, programs), *_function(interface, part, called), *_error(interface), ""])


def _function(interface: Interface, part: Part, called: Iterator[str]) -> Iterator[str]:
    inputs, outputs = len(interface.inputs), len(interface.outputs)
    given = [*(f"ptr %a{k}" for k in range(inputs + outputs)), "ptr %workspace"]
    pointers = [
        *(f"%a{k}" for k in range(inputs)),
        *(f"@{constant}" for constant in part.constants),
        *(f"%a{k + inputs}" for k in range(outputs)),
        *(f"%flag{k}" for k in range(part.checks)),
        "%arena",
    ]
    yield f"define i32 @{interface.name}({', '.join(given)}) nounwind {{"
    yield f"  %args = alloca [{len(pointers)} x ptr]"
    yield from (f"  %flag{k} = alloca i8" for k in range(part.checks))
    yield "  %place = ptrtoint ptr %workspace to i64"
    yield f"  %behind = add i64 %place, {_ALIGNMENT - 1}"
    yield f"  %aligned = and i64 %behind, {-_ALIGNMENT}"
    yield "  %arena = inttoptr i64 %aligned to ptr"
    for k, pointer in enumerate(pointers):
        yield f"  %arg{k} = getelementptr ptr, ptr %args, i64 {k}"
        yield f"  store ptr {pointer}, ptr %arg{k}"
    yield from called
    yield "}"


def _program(part: Part, programs: Programs) -> Iterator[str]:
    """The call of a program, and the number of the first flag that it raises."""
    yield f"  call void @{part.code}(ptr %args, ptr {_context(part, programs)})"
    code = "0"
    for k in reversed(range(part.checks)):
        yield f"  %raised{k} = load i8, ptr %flag{k}"
        yield f"  %is{k} = icmp ne i8 %raised{k}, 0"
        yield f"  %code{k} = select i1 %is{k}, i32 {k + 1}, i32 {code}"
        code = f"%code{k}"
    yield f"  ret i32 {code}"


def _loops(part: Part, programs: Programs) -> Iterator[str]:
    """That of what goes through loops, which says so itself."""
    yield f"  %found = call i64 @{part.code}(ptr %args, ptr {_context(part, programs)})"
    yield "  %code = trunc i64 %found to i32"
    yield "  ret i32 %code"


def _context(part: Part, programs: Programs) -> str:
    if not part.context:
        return "null"
    return f"getelementptr (i8, ptr @{part.context}, i64 {programs.start})"


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
    yield "  ret ptr %message"
    yield "}"


def _data(part: Part, programs: Programs) -> Iterator[str]:
    for name, array in programs.arrays.items():
        yield _bytes(name, array.tobytes(), _ALIGNMENT)
    for name, table in programs.tables.items():
        words = ", ".join(map(_word, table))
        yield f"@{name} = private constant [{len(table)} x i64] [{words}], align {_ALIGNMENT}"
    named = {word: None for table in programs.tables.values() for word in table if isinstance(word, str)}
    functions = [each for each in named if each not in programs.arrays and each not in programs.tables]
    yield from (f"declare void @{each}()" for each in functions if each != part.code)
    yield f"declare {'i64' if part.code == LOOPS else 'void'} @{part.code}(ptr, ptr)"


def _word(word: Word | Inside) -> str:
    """A number, or an address as one."""
    if isinstance(word, int):
        return f"i64 {word}"
    at = f"@{word}" if isinstance(word, str) else f"getelementptr (i8, ptr @{word.table}, i64 {word.offset})"
    return f"i64 ptrtoint (ptr {at} to i64)"


def _bytes(name: str, content: bytes, alignment: int) -> str:
    text = f"\\{content.hex(chr(92))}" if content else ""
    return f'@{name} = private constant [{len(content)} x i8] c"{text}", align {alignment}'
