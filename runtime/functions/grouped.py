"""`nn.functional.grouped_mm`: products of matrices that lie side by side in one, a group for each other.

In flow two Tensors of two or three axes and the ends of the groups, out flows their product; where the groups
end is read from the Tensor `offs`, so the function is not for traces.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.runtime.functions.linear import bmm, mm
from retrograd.runtime.functions.public import functional
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

_TAKEN = (dtypes.float32, dtypes.bfloat16, dtypes.float16)


@functional("grouped_mm")
def grouped_mm(
    mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None,
    out_dtype: object = None,
) -> Tensor:  # fmt: skip
    """Products of groups: rows of `[M, K]` by `[G, K, N]`, columns of `[K, N]` by `[G, M, K]`, both cut along
    K to `[G, M, N]`, or `bmm`.

    `offs` are the ends of the groups, int32; what lies behind the last is 0. Raises DtypeError and ShapeError
    in PyTorch's words; strides that it refuses are taken.
    """
    _check(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return bmm(mat_a, mat_b)
    ends: list[int] = offs.tolist()
    groups = list(zip([0, *ends], ends))
    if mat_a.ndim == mat_b.ndim:
        parts = [mm(mat_a[:, a:b], mat_b[a:b]) for a, b in groups]
        return moves.concat([moves.unsqueeze(part, [0]) for part in parts], 0)
    if mat_a.ndim == 2:
        rows = [mm(mat_a[a:b], mat_b[k]) for k, (a, b) in enumerate(groups)]
        return _filled(rows, 0, mat_a.shape[0])
    columns = [mm(mat_a[k], mat_b[:, a:b]) for k, (a, b) in enumerate(groups)]
    return _filled(columns, 1, mat_b.shape[1])


def _filled(parts: Sequence[Tensor], axis: int, size: int) -> Tensor:
    """The parts one after the other, and zeros up to that size."""
    shape = [*parts[0].shape]
    shape[axis] = size - sum(part.shape[axis] for part in parts)
    return moves.concat([*parts, parts[0].new_zeros(shape)], axis)


def _check(mat_a: Tensor, mat_b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: object) -> None:
    for name, x in (("mat_a", mat_a), ("mat_b", mat_b)):
        if x.dtype not in _TAKEN:
            words = (
                f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {bare_legacy_name(x.dtype)}"
            )
            raise DtypeError(mirrored(words))
    for name, x in (("mat_a", mat_a), ("mat_b", mat_b)):
        if x.ndim not in (2, 3):
            raise ShapeError(mirrored(f"{name} has to be 2 or 3d"))
    both = mat_a.ndim == mat_b.ndim
    if not (both and mat_a.ndim == 2) and mat_a.shape[-1] != mat_b.shape[-2]:
        raise ShapeError(mirrored("contraction dimension of mat_a and mat_b must match"))
    if both and mat_a.ndim == 3 and mat_a.shape[0] != mat_b.shape[0]:
        raise ShapeError(mirrored("batched dimension has to match"))
    if (offs is None) != (both and mat_a.ndim == 3):
        raise ShapeError(
            mirrored("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
        )
    if offs is not None:
        _check_ends(offs, None if both else (mat_a if mat_a.ndim == 3 else mat_b).shape[0])
    if bias is not None:
        raise DtypeError(mirrored("Bias not supported yet"))
    if out_dtype is not None and out_dtype is not mat_a.dtype:
        raise DtypeError(mirrored("Grouped gemm output dtype must match `mat_a` dtype"))


def _check_ends(offs: Tensor, count: int | None) -> None:
    """Of so many groups, if it is known how many there are."""
    if offs.ndim != 1:
        raise ShapeError(mirrored("offs has to be 1D"))
    if offs.dtype is not dtypes.int32:
        raise DtypeError(mirrored("Offsets have to be int32"))
    if count is not None and offs.shape[0] != count:
        raise ShapeError(mirrored("matrix batch sizes have to match"))
