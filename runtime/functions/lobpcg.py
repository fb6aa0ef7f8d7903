"""`lobpcg`: a few eigenvectors of a large symmetric matrix, found by products with it alone.

In flow `A` and perhaps `B`, both symmetric, B positive-definite, out flow the greatest or least λ of
`A·x = λ·B·x` and their x. The method is Knyazev's ("Toward the optimal preconditioned eigensolver: locally
optimal block preconditioned conjugate gradient method", 2001): the best within the span of the vectors, their
residuals and their last steps, of which a basis is made as Stathopoulos and Wu do ("A block
orthogonalization procedure with constant synchronization requirements", 2002). Where derivatives are wanted
all eigenvectors are worked out, for those depend on all.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, RequirementError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions.factoring import eigh
from retrograd.runtime.functions.public import FUNCTIONS, LINALG, public
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.tensor import Tensor

randn: Callable[..., Tensor] = FUNCTIONS["randn"]
cat: Callable[..., Tensor] = FUNCTIONS["cat"]
stack: Callable[..., Tensor] = FUNCTIONS["stack"]
Pair = tuple[Tensor, Tensor]

_TOLERANCE = {dtypes.float32: 1.2e-07**0.5, dtypes.float64: 2.23e-16**0.5}
_DEPENDENT = 1e-10
"""What is left of a unit vector that counts as a combination of the others, squared; in float64."""


class _Wanted(NamedTuple):
    """How many pairs, which, and when to stop."""

    pairs: int
    largest: bool
    tolerance: float
    turns: int


@public("lobpcg")
def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
    iK: Tensor | None = None, niter: int | None = None, tol: float | None = None,
    largest: bool | None = None, method: str | None = None, tracker: None = None,
    ortho_iparams: Any = None, ortho_fparams: Any = None, ortho_bparams: Any = None,
) -> Pair:  # fmt: skip
    """The `k` greatest eigenvalues, or least unless `largest`, in order, and their vectors as columns.

    `X` are vectors to begin with, else `n` of PyTorch's random ones; `iK` is a preconditioner. It ends after
    `niter` turns, or when residuals are within `tol` of what A and B could make of rounding. One basis serves
    both of PyTorch's methods, so what begins with `ortho` changes nothing.
    """
    _check(A, B)
    m = A.shape[-1]
    count = (1 if X is None else X.shape[-1]) if k is None else k
    block = (count if n is None else n) if X is None else X.shape[-1]
    if m < 3 * block:
        raise ArgumentError(
            mirrored(
                f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x "
                f"the number of requested eigenpairs (={block})"
            )
        )
    greatest = largest is None or largest
    if STATE.grad and (A.requires_grad or (B is not None and B.requires_grad)):
        return _all(A, B, count, greatest)
    tolerance = _TOLERANCE.get(A.dtype, _TOLERANCE[dtypes.float32]) if tol is None else tol
    wanted = _Wanted(count, greatest, tolerance, 1000 if niter is None else niter)
    with no_grad():
        batch = A.shape[:-2]
        number = prod(batch)
        flat = [None if x is None else x.reshape(number, *x.shape[-2:]) for x in (A, B, X)]
        found = []
        for i in range(number):
            a, b, x = (None if each is None else each[i] for each in flat)
            start = randn((m, block), dtype=A.dtype, device=A.device) if x is None else x
            if tuple(start.shape) != (m, block):
                raise RequirementError(
                    mirrored(f"X shape mismatch: got {start.shape}, expected {(m, block)}")
                )
            found.append(_iterated(a, b, start, iK, wanted))
        values, vectors = (stack(part) for part in zip(*found))
        return values.reshape(*batch, count), vectors.reshape(*batch, m, count)


def _check(A: Tensor, B: Tensor | None) -> None:
    if A.shape[-2] != A.shape[-1]:
        raise RequirementError(mirrored(f"A must be square, got shape {A.shape}"))
    if B is not None and A.shape != B.shape:
        raise RequirementError(mirrored(f"A and B must have same shape, got {A.shape} vs {B.shape}"))


def _all(A: Tensor, B: Tensor | None, count: int, largest: bool) -> Pair:
    """The pairs out of all of them."""
    if B is not None:  # L⁻¹·A·L⁻ᵀ with B = L·Lᵀ
        lower = LINALG["cholesky"](B)
        half = LINALG["solve_triangular"](lower, A, upper=False)
        A = LINALG["solve_triangular"](lower, half.mT, upper=False)
    values, vectors = eigh(A)
    if largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    values, vectors = values[..., :count], vectors[..., :count]
    if B is not None:
        vectors = LINALG["solve_triangular"](lower.mT, vectors, upper=True)
    return values, vectors


# ---- the method --------------------------------------------------------------------------------------------


def _iterated(A: Any, B: Any, start: Any, iK: Any, wanted: _Wanted) -> Pair:
    """The pairs of one matrix."""

    def weighed(x: Any) -> Any:
        return x if B is None else B @ x

    block = start.shape[-1]
    x, steps = _basis(start, weighed), None
    scale_a, scale_b = ((image.norm() / start.norm()) for image in (A @ start, weighed(start)))
    values, turn = _best(A, x, block, wanted.largest)
    x = x @ turn
    for _ in range(wanted.turns):
        residual = A @ x - weighed(x) * values
        bound = wanted.tolerance * x.norm(dim=0) * (scale_a + values.abs() * scale_b)
        if bool((residual.norm(dim=0) <= bound)[: wanted.pairs].all()):
            break
        better = residual if iK is None else iK @ residual
        basis = _basis(cat([x, better] if steps is None else [x, better, steps], -1), weighed)
        values, turn = _best(A, basis, block, wanted.largest)
        new = basis @ turn
        steps = new - x @ (x.mT @ weighed(new))
        x = new
    return values[: wanted.pairs], x[:, : wanted.pairs]


def _best(A: Any, basis: Any, count: int, largest: bool) -> Pair:
    """The best values that vectors of a span can have, and what these are made of (Rayleigh and Ritz)."""
    values, vectors = eigh(basis.mT @ (A @ basis))
    if largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[:count], vectors[:, :count]


def _basis(vectors: Any, weighed: Callable[[Any], Any]) -> Any:
    """Vectors of the same span, each of length 1 and at right angles in the metric of B: fewer, where some
    are combinations of others. Twice, as once is not enough for digits that cancel."""
    for _ in range(2):
        gram = vectors.mT @ weighed(vectors)
        scale = gram.diagonal().clamp_min(0).rsqrt().nan_to_num(0, 0, 0)
        sizes, turn = eigh(gram * scale * scale[:, None])
        kept = sizes > sizes[-1] * (_DEPENDENT if vectors.dtype is dtypes.float64 else 1e-6)
        vectors = vectors @ (scale[:, None] * turn[:, kept] * sizes[kept].rsqrt())
    return vectors
