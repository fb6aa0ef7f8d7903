"""Functions of mathematics as routines of the library, which take vectors in registers: for kernels that
compute so many that LLVM would be at work on them longer than on all else.

In flow the operand, out flows the row's value, by the very arithmetic that `FUNCTIONS` writes. sin and cos of
one angle are one routine. Half of the vector registers, which no usual convention keeps over a call, are
kept: what a loop carries, and has computed, stays there.
"""

from __future__ import annotations

import re

from retrograd.compiler.backends.kinds import FLOATS
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.means import Means
from retrograd.compiler.backends.shared import call, define
from retrograd.compiler.backends.vector import Block, Value
from retrograd.compiler.errors import CompilerError

BITS = 256
"""Of vector registers from which on there are such routines: those of x86-64, the convention's processors."""
CONVENTION = "intel_ocl_bicc"
"""LLVM's name of the one for built-in functions of vectors, which keeps the upper half of the registers."""
TOGETHER = ("sin", "cos")
"""Rows that are computed together where both are wanted of one operand."""


def called(row: str, x: Value, both: bool, bits: int) -> Value:
    """The row of a vector that fills registers of so many bits, by a routine; `both` if all of `TOGETHER` are
    wanted of it."""
    rows, lanes = TOGETHER if both else (row,), bits // FLOATS[x.kind]
    name = f"retrograd_row_{'_'.join(rows)}_{x.kind}x{lanes}_{x.lanes // lanes}"
    return call(x.block, name, (x.kind,) * len(rows), (x,), x.lanes, CONVENTION)[rows.index(row)]


def routine(found: re.Match[str], bits: int) -> str:
    """LLVM text of the routine whose name tells rows, kind, lanes of a register and registers."""
    rows, kind, lanes = found["rows"].split("_"), found["kind"], int(found["lanes"])
    if lanes * FLOATS[kind] != bits:  # caller and routine would not agree where the vector is
        raise CompilerError(f"a routine called {found[0]}", f"vector registers here have {bits} bits")
    block = Block(means=Means(avx512=bits == 512, library=True))
    x = block.constant(kind, lanes * int(found["vectors"]), 0)
    define(block, found[0], lambda x: [FUNCTIONS[row](x) for row in rows], (x,), CONVENTION, " #0")
    return "\n".join(block.declarations.values())
