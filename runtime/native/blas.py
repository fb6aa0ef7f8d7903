"""The BLAS that NumPy multiplies matrices with: whether it uses the vectors that the processor has.

OpenBLAS, which is part of NumPy's packages, chooses its kernels by the processor, and takes those of 256 bits
on processors of AMD's that have 512 (`driver/others/dynamic.c`): since Zen 5 products then take twice as long
as they might.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from retrograd.runtime.native.host import host

_WIDE = 512
"""Bits of the vectors that matter here."""
_OF_512_BITS = {"SkylakeX", "Cooperlake", "SapphireRapids"}
"""The cores whose kernels have them, as the library calls them."""
_IN_HALVES = {"znver4"}
"""Processors that compute such vectors in two halves, so that narrower ones take no longer (A. J. Yee,
"Zen5's AVX512 Teardown", 2024)."""
_ASKED = [f"{before}openblas_get_corename{after}" for before in ("scipy_", "") for after in ("64_", "")]


@cache
def is_narrow() -> bool:
    """Does NumPy multiply by narrower vectors than there are? Not, as far as is known, where its BLAS is
    another."""
    if host().vector_bits < _WIDE or host().cpu in _IN_HALVES:
        return False
    core = core_name()
    return core is not None and core not in _OF_512_BITS


def core_name() -> str | None:
    """The core for which OpenBLAS has chosen its kernels (`Haswell`); None where that is not NumPy's BLAS."""
    for path in _libraries():
        try:
            library = ctypes.CDLL(str(path))
        except OSError:  # not one for this system
            continue
        for name in _ASKED:
            asked = getattr(library, name, None)
            if asked is not None:
                asked.restype = ctypes.c_char_p
                found: bytes | None = asked()
                return None if found is None else found.decode()
    return None


def _libraries() -> Iterator[Path]:
    """What NumPy's package has brought along."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        yield from sorted(folder.glob("*openblas*"))
