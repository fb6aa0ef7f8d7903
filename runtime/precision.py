"""How many digits products of float32 may lose, as the user says. GPUs make use of it: their tensor cores
take operands with 10 bits of fraction (TF32). The CPU's products keep them all, on tiles of bfloat16, too.

In flow `set_float32_matmul_precision` and `backends.cuda.matmul.allow_tf32`, PyTorch's two names of one
switch; out flows `tf32`, which is part of every key under which code for a GPU is kept.
"""

from __future__ import annotations

from retrograd.compiler.errors import ArgumentError

_PRECISIONS = {"highest": False, "high": True, "medium": True}

tf32 = False
"""Whether products of float32 on a GPU may use TF32."""
_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Say how exact products of float32 on a GPU are, from now on.

    With "highest" they are as on the CPU. With "high" or "medium" their operands are first rounded to 10 bits
    of fraction, on GPUs with tensor cores for that (sm_80 and newer). Raises ArgumentError for another word.
    """
    global tf32, _precision
    if precision not in _PRECISIONS:
        known = ", ".join(map(repr, _PRECISIONS))
        raise ArgumentError(f"set_float32_matmul_precision({precision!r})", f"the precisions are {known}")
    tf32, _precision = _PRECISIONS[precision], precision


def get_float32_matmul_precision() -> str:
    """What was set last; at first "highest"."""
    return _precision
