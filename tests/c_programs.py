"""Exported functions called from C: a program is written around a library, compiled, and run on arrays.

In flow the files of a library and arrays for its inputs, out flow the code that it returns, its message, and
the arrays that it wrote. The program is made from the header's own words, so what they say is tested, too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from retrograd.runtime.compiled.exporting import Exported

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
_NUMPY = {
    "float": "f4", "double": "f8", "uint16_t": "u2", "uint8_t": "u1",
    "int64_t": "i8", "int32_t": "i4", "int16_t": "i2", "int8_t": "i1",
}  # fmt: skip
_PARAMETER = re.compile(
    r"^    (?P<const>const )?(?P<kind>\w+) \*?(?P<name>\w+)(?:\[(?P<extents>[\d *]+)\])?,", re.M
)


class Parameter(NamedTuple):
    """One of the function's, as its header declares it."""

    name: str
    kind: str
    size: int
    is_input: bool


class Ran(NamedTuple):
    """What a call came to."""

    code: int
    message: str
    outputs: list[np.ndarray[Any, Any]]


def compiler(name: str = "cc") -> str:
    """A compiler of this machine; the test is skipped where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no C compiler {name} is installed")
    return found


def parameters(header: Path) -> list[Parameter]:
    """What the function takes, but for its workspace."""
    found = []
    for each in _PARAMETER.finditer(header.read_text(encoding="utf-8")):
        extents = each["extents"]
        size = int(np.prod([int(n) for n in extents.split(" * ")])) if extents else 0
        found.append(Parameter(each["name"], each["kind"], size, each["const"] is not None))
    return found


def program(header: Path) -> str:
    """A C program that reads inputs from its input, and writes code, message and outputs. Before and after
    each argument lies memory that nobody may touch."""
    name, given = header.stem, parameters(header)
    declared = [f"static {p.kind} *of_{p.name};" for p in given]
    rooms = [f"of_{p.name} = ({p.kind} *)alone({p.size} * sizeof({p.kind}));" for p in given]
    reads = [f"read_all(of_{p.name}, {p.size} * sizeof *of_{p.name});" for p in given if p.is_input]
    writes = [
        f"fwrite(of_{p.name}, 1, {p.size} * sizeof *of_{p.name}, stdout);" for p in given if not p.is_input
    ]
    return f"""
#ifndef _GNU_SOURCE
#define _GNU_SOURCE  /* C++ has it */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "{header.name}"

#define PAGE 4096
{chr(10).join(declared)}

static void *alone(size_t size) {{
    size_t whole = (size / PAGE + 1) * PAGE;
    void *got = mmap(NULL, whole + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED || mprotect((char *)got + PAGE, whole, PROT_READ | PROT_WRITE)) exit(2);
    memset((char *)got + PAGE, 0xCC, whole);
    return (char *)got + PAGE + whole - size;
}}

static void read_all(void *to, size_t size) {{ if (fread(to, 1, size, stdin) != size) exit(1); }}

int main(void) {{
    int code;
    const char *message;
    {chr(10).join(rooms)}
    {chr(10).join(reads)}
    code = {name}({"".join(f"of_{p.name}, " for p in given)}alone({name.upper()}_WORKSPACE));
    message = {name}_error(code);
    printf("%d %d %s", code, (int)strlen(message), message);
    {chr(10).join(writes)}
    return 0;
}}
"""


def built(sources: Sequence[Path], files: Sequence[Exported], *options: str, cc: str = "cc") -> Path:
    """The program of these files and libraries."""
    out = files[0].header.with_name(f"{files[0].header.stem}_{Path(cc).name}.exe")
    archives = [each.archive for each in files]
    command = [compiler(cc), *WARNINGS, *sources, *archives, *options, "-o", out]
    told = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return out


def run(
    files: Exported,
    inputs: Sequence[Any],
    *,
    cc: str = "cc",
    standard: str = "c99",
    under: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Ran:
    """Call the function on arrays, under an emulator if one is named."""
    suffix = "cpp" if "++" in standard else "c"
    source = files.header.with_name(f"main.{suffix}")
    source.write_text(program(files.header), encoding="utf-8")
    static = ["-static"] if under else []
    made = built([source], [files], f"-std={standard}", *static, *libraries, cc=cc)
    given = parameters(files.header)
    expected = [p for p in given if p.is_input]
    arrays = [np.ascontiguousarray(x) for x in inputs]
    assert [(p.size, np.dtype(_NUMPY[p.kind]).itemsize) for p in expected] == [
        (x.size, x.itemsize) for x in arrays
    ]
    fed = b"".join(x.tobytes() for x in arrays)
    told = subprocess.run([*under, str(made)], input=fed, capture_output=True, check=False)
    assert told.returncode == 0, (told.returncode, told.stderr)
    code, length, rest = told.stdout.split(b" ", 2)
    message, content = rest[: int(length)].decode(), rest[int(length) :]
    outputs, at = [], 0
    for p in (p for p in given if not p.is_input):
        kind = np.dtype(_NUMPY[p.kind])
        outputs.append(np.frombuffer(content, kind, p.size, at))
        at += p.size * kind.itemsize
    assert at == len(content)
    return Ran(int(code), message, outputs)
