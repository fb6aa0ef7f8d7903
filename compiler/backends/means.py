"""What a target has besides LLVM's own instructions, for those who write its text (`vector.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from retrograd.compiler.record import record

Code = Callable[[Any], Any]
"""From a Value to a Value (`vector.py`, which stands on this)."""


@record(slots=True)
class Conversion:
    """How a half becomes an f32, and an f32 a half, where the target has no instruction for it."""

    widen: Code
    narrow: Code


@record(slots=True)
class Means:
    """What a target has besides LLVM's own instructions."""

    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    """How halves are converted, by their kind; the others are by instructions."""
    avx512: bool = False
    """AVX-512's instructions for powers of two and special values (`math.avx512`)."""
    nvidia: bool = False
    """Approximations of NVIDIA's GPUs, and bounds that NaN passes (`math.nvidia`)."""
    library: bool = False
    """The library's routines."""


PLAIN = Means()
