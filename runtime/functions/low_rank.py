"""The chief singular values of large matrices, by random projections: `svd_lowrank`, `pca_lowrank`.

In flow stacks of matrices, out flow `U, S, V` of a low-rank approximation, with their derivatives. The basis
is found by subspace iteration (Halko, Martinsson and Tropp, "Finding structure with randomness", 2011,
algorithms 4.4 and 5.1); its random numbers are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions.factoring import qr, svd
from retrograd.runtime.functions.public import FUNCTIONS, public
from retrograd.runtime.tensor import Tensor

randn: Callable[..., Tensor] = FUNCTIONS["randn"]
Three = tuple[Tensor, Tensor, Tensor]


@public("svd_lowrank")
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Three:
    """`U, S, V` of `A`, or of `A - M`, of about rank `q`, after `niter` turns of subspace iteration."""
    matrix = A if M is None else A - M.broadcast_to(A.shape)
    wide = matrix.shape[-2] < matrix.shape[-1]
    tall = matrix.mT if wide else matrix
    basis: Tensor = qr(tall @ randn(tall.shape[-1], 6 if q is None else q, dtype=A.dtype)).Q
    for _ in range(2 if niter is None else niter):
        basis = qr(tall @ qr(tall.mT @ basis).Q).Q
    left, values, right = svd(basis.mT @ tall, full_matrices=False)
    left = basis @ left
    return (right.mT, values, left) if wide else (left, values, right.mT)


@public("pca_lowrank")
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Three:
    """`svd_lowrank` of a matrix of samples, a row each, less their mean if `center`."""
    least = min(A.shape[-2:])
    if q is not None and not 0 <= q <= least:
        text = f"q(={q}) must be non-negative integer and not greater than min(m, n)={least}"
        raise ArgumentError(mirrored(text))
    if niter < 0:
        raise ArgumentError(mirrored(f"niter(={niter}) must be non-negative integer"))
    matrix = A - A.mean(-2, keepdim=True) if center else A
    return svd_lowrank(matrix, min(6, least) if q is None else q, niter)
