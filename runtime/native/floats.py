"""How the processor treats floats that are too small for all their digits: `set_flush_denormal`.

In flow the environment of C's `fenv.h`, of this thread; out flows the same with the processor's bits set that
take denormal operands for 0 and give 0 for denormal results: in x86's MXCSR FTZ (15) and DAZ (6), in Arm's
FPCR FZ (24). The workers of the pool adopt it before the next job. A new kind of processor is a row.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

from retrograd.compiler.errors import GradientError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.native import cpu


class _Register(NamedTuple):
    """The control register within `fenv_t`."""

    offset: int
    bits: int
    status: int
    """Bits that tell what has happened, which are nobody's wish."""


_REGISTERS = {"x86_64": _Register(28, 1 << 15 | 1 << 6, 0x3F), "aarch64": _Register(0, 1 << 24, 0)}
"""Of Linux's C libraries."""

_Environment = ctypes.c_uint32 * 16


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@functools.cache
def _environment(flush: bool) -> ctypes.Array[ctypes.c_uint32]:
    """What this thread computes with, and flushing or not; there for good, as threads hold its address."""
    register = _REGISTERS[platform.machine()]
    made = _Environment()
    _library().fegetenv(made)
    place = register.offset // 4
    kept = made[place] & ~(register.bits | register.status)
    made[place] = kept | register.bits if flush else kept
    return made


def set_flush_denormal(mode: bool, /) -> bool:
    """Have this thread, and the workers that share its loops, take denormal floats for 0, or no longer.

    It says whether this processor and system can; else nothing is changed.
    """
    if not isinstance(mode, bool):
        raise GradientError(mirrored(f"flush_denormal expects a bool, but got {type(mode).__name__}"))
    if sys.platform != "linux" or platform.machine() not in _REGISTERS:
        return False
    environment, adopt = _environment(mode), _library().fesetenv
    adopt(environment)
    cpu.set_float_mode(ctypes.cast(adopt, ctypes.c_void_p).value or 0, ctypes.addressof(environment))
    return True
