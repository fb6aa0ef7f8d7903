"""The header of a C library: its functions, and in comments all that who calls them must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from retrograd.compiler.ir.graph import Type
from retrograd.runtime.native.c.interface import WORKSPACE, Argument, Interface

TYPES = {
    "f32": "float",
    "f64": "double",
    "f16": "uint16_t",
    "bf16": "uint16_t",
    "i64": "int64_t",
    "i32": "int32_t",
    "i16": "int16_t",
    "i8": "int8_t",
    "u8": "uint8_t",
    "bool": "uint8_t",
    "c64": "float",
    "c128": "double",
}
"""Of elements in C."""
_PAIRS = "of each the real part, then the imaginary one"
_STORED = {
    "f16": "the bits of an IEEE half",
    "bf16": "the bits of a bfloat16",
    "bool": "0 or 1",
    "c64": _PAIRS,
    "c128": _PAIRS,
}
"""What C has no type for."""
_MOST_LINES = 100
"""Of a function that is shown."""


def header(interface: Interface, about: Sequence[str], shown: str) -> str:
    """The text: what it is, line by line, then the function that is computed, then its declaration."""
    guard, name = f"{interface.name.upper()}_H", interface.name
    lines = shown.replace("*/", "* /").splitlines()
    more = len(lines) - _MOST_LINES
    lines = [*lines[:_MOST_LINES], f"… and {more} lines more"] if more > 0 else lines
    return "\n".join(
        [
            *_comment([*about, "", *_usage(interface), "", *(f"    {line}".rstrip() for line in lines)]),
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            "#include <stdint.h>",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"#define {name.upper()}_{WORKSPACE.upper()} {interface.workspace_bytes} /* bytes */",
            "",
            f"int {name}(",
            *_aligned([*_parameters(interface)]),
            "",
            "/* What a code that is not 0 means. */",
            f"const char *{name}_error(int code);",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "#endif",
            "",
        ]
    )


def _usage(interface: Interface) -> Iterator[str]:
    name, size = interface.name, interface.workspace_bytes
    yield "Arrays lie row after row, aligned as their elements are. No result may overlap another argument."
    room = f"{name.upper()}_{WORKSPACE.upper()} bytes, of any alignment and content"
    yield f"The workspace is {room}." if size else "It needs no workspace: NULL will do."
    yield "Nothing else is written to: threads may call it at the same time, each with its own workspace."
    if interface.errors:
        yield f"It returns 0, or a code that {name}_error explains; then results are of no use:"
        yield from (f"    {k}  {error}" for k, error in enumerate(interface.errors, 1))
    else:
        yield "It returns 0."


def _parameters(interface: Interface) -> Iterator[tuple[str, str]]:
    """Each parameter and its comment."""
    for argument in interface.inputs:
        yield f"const {_declared(argument)},", _told(argument)
    for argument in interface.outputs:
        yield f"{_declared(argument)},", _told(argument)
    yield f"void *{WORKSPACE});", ""


def _declared(argument: Argument) -> str:
    kind = TYPES[argument.kind.dtype.name]
    if not argument.kind.size:  # C has no empty arrays
        return f"{kind} *{argument.name}"
    shape = (*argument.kind.shape, *[2] * argument.kind.dtype.is_complex)
    extents = " * ".join(map(str, shape)) or "1"
    return f"{kind} {argument.name}[{extents}]"


def _told(argument: Argument) -> str:
    stored = _STORED.get(argument.kind.dtype.name)
    shape = f"{_shape(argument.kind)}{f', {stored}' if stored else ''}"
    return f"{argument.words}: {shape}" if argument.words else shape


def _shape(kind: Type) -> str:
    return f"[{', '.join(map(str, kind.shape))}]" if kind.shape else "one number"


def _aligned(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(declared) for declared, _ in rows)
    for declared, told in rows:
        yield f"    {declared:<{width}} /* {told} */" if told else f"    {declared}"


def _comment(lines: Sequence[str]) -> Iterator[str]:
    first, *others = lines
    yield f"/* {first}"
    yield from (f"   {line}".rstrip() for line in others)
    yield "*/"
