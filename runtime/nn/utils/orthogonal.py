"""A weight that stays orthogonal while it is trained: `parametrizations.orthogonal`.

In flow a module and the name of its weight, `[…, n, k]`; out flows the module, whose weight has orthonormal
columns, or rows where there are more columns than rows. What is trained is any matrix: its lower triangle,
made skew, is mapped to an orthogonal one by the matrix exponential or by Cayley's transform, or its columns
are Householder's reflectors. With a base the map goes from there, and starts at the identity
(Lezcano-Casado, "Trivializations for gradient-based optimization on manifolds", 2019).
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, NotWrittenError, mirrored
from retrograd.runtime.functions import FUNCTIONS, LINALG
from retrograd.runtime.functions.pointwise import FUNCTIONS as POINTWISE
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.utils.parametrize import register_parametrization
from retrograd.runtime.tensor import Tensor

MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """The map from any matrix to an orthogonal one of its shape."""

    base: Any

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        turned = X.shape[-2] < X.shape[-1]
        tall = X.mT if turned else X
        found = _by_reflectors(tall) if self.orthogonal_map == "householder" else self._by_skew(tall)
        if self.use_trivialization:
            found = self.base @ found
        return found.mT if turned else found

    def _by_skew(self, tall: Any) -> Any:
        """The first columns of the exponential, or of Cayley's transform, of a skew matrix."""
        n, k = tall.shape[-2:]
        square = tall.tril()
        if n != k:
            rest = tall.new_zeros(*tall.shape[:-2], n, n - k)
            square = FUNCTIONS["cat"]([square, rest], dim=-1)
        skew = square - square.mT
        if self.orthogonal_map == "matrix_exp":
            found = FUNCTIONS["matrix_exp"](skew)
        else:
            unit = FUNCTIONS["eye"](n, dtype=skew.dtype, device=skew.device)
            found = LINALG["solve"](unit - skew * 0.5, unit + skew * 0.5)
        return found if n == k else found[..., :k]

    def right_inverse(self, Q: Any) -> Any:
        """What stands for an orthogonal matrix; one that is not is made so first, by its columns in order."""
        if Q.shape != self.shape:
            raise ArgumentError(
                mirrored(
                    f"Expected a matrix or batch of matrices of shape {self.shape}. "
                    f"Got a tensor of shape {Q.shape}."
                )
            )
        turned = Q.shape[-2] < Q.shape[-1]
        with no_grad():
            tall = Q.mT if turned else Q
            if self.use_trivialization:
                self.base = _completed(tall)
                return _minus_identity(Q)
            if self.orthogonal_map != "householder":
                raise NotWrittenError(
                    mirrored(
                        "It is not possible to assign to the matrix exponential or the Cayley "
                        "parametrizations when use_trivialization=False."
                    )
                )
            packed, tau = FUNCTIONS["geqrf"](tall)
            signs = _diagonal(packed).sign() * POINTWISE["where"](tau == 0, -1.0, 1.0)
            found = packed.diagonal_scatter(signs, dim1=-2, dim2=-1)
            return found.mT if turned else found


def _by_reflectors(tall: Any) -> Any:
    """The product of the reflectors below the diagonal, times the signs that stand on it."""
    vectors = tall.tril(-1)
    tau = 2.0 / (1.0 + (vectors * vectors).sum(-2))
    return LINALG["householder_product"](vectors, tau) * _diagonal(tall).detach().trunc().unsqueeze(-2)


def _completed(tall: Any) -> Any:
    """A square orthogonal matrix whose first columns are these, or span what these do."""
    n, k = tall.shape[-2:]
    if n == k:
        return tall.clone() if _is_orthogonal(tall) else _orthogonalized(tall)
    more = FUNCTIONS["randn"](*tall.shape[:-2], n, n - k, dtype=tall.dtype, device=tall.device)
    return _orthogonalized(FUNCTIONS["cat"]([tall, more], dim=-1))


def _is_orthogonal(Q: Any) -> bool:
    n, k = Q.shape[-2:]
    unit = FUNCTIONS["eye"](k, dtype=Q.dtype, device=Q.device)
    close: bool = POINTWISE["allclose"](Q.mT @ Q, unit, atol=10 * n * float(dtypes.limits(Q.dtype).eps))
    return close


def _orthogonalized(A: Any) -> Any:
    """The Q of A = Q·R, R with a positive diagonal."""
    packed, tau = FUNCTIONS["geqrf"](A)
    return LINALG["householder_product"](packed, tau) * _diagonal(packed).sgn().unsqueeze(-2)


def _minus_identity(like: Any) -> Any:
    """Stands for the identity: the reflector of the zero vector turns its own axis about."""
    return like.new_zeros(*like.shape) - FUNCTIONS["eye"](
        *like.shape[-2:], dtype=like.dtype, device=like.device
    )


def _diagonal(x: Any) -> Any:
    return x.diagonal(dim1=-2, dim2=-1)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Have the weight kept orthogonal. `orthogonal_map` is one of `MAPS`: by default the exponential for
    square matrices, reflectors for others. Without `use_trivialization` only reflectors can be assigned to.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(mirrored(f"Module '{module}' has no parameter or buffer with name '{name}'"))
    if weight.ndim < 2:
        raise ArgumentError(
            mirrored(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
        )
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in MAPS:
        raise ArgumentError(
            mirrored(
                'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
                f"Got: {orthogonal_map}"
            )
        )
    found = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, found, unsafe=True)
