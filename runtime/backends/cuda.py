"""`backends.cuda`: how exact products of float32 on a GPU are, by another name of the switch; and by which of
PyTorch's algorithms attention may be computed there, which is kept for the program's sake.
"""

from __future__ import annotations

from retrograd.runtime import precision


class _Matmul:
    """`backends.cuda.matmul`."""

    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        return precision.tf32

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        precision.set_float32_matmul_precision("high" if allowed else "highest")


matmul = _Matmul()

_allowed = dict.fromkeys(("flash", "mem_efficient", "math", "cudnn"), True)


def enable_flash_sdp(enabled: bool) -> None:
    """Allow attention by FlashAttention, or not."""
    _allowed["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow attention in little memory, or not."""
    _allowed["mem_efficient"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Allow attention by its formula, or not."""
    _allowed["math"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow attention by cuDNN, or not."""
    _allowed["cudnn"] = bool(enabled)


def flash_sdp_enabled() -> bool:
    return _allowed["flash"]


def mem_efficient_sdp_enabled() -> bool:
    return _allowed["mem_efficient"]


def math_sdp_enabled() -> bool:
    return _allowed["math"]


def cudnn_sdp_enabled() -> bool:
    return _allowed["cudnn"]


def is_built() -> bool:
    """Whether there is code for GPUs: it is made where there is one."""
    return True
