"""`backends.cuda`: how exact products of float32 on a GPU are, by another name of the switch."""

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
