"""Products of Householder's reflectors: `linalg.householder_product`, `geqrf`, `orgqr`, `ormqr`.

In flow reflectors as LAPACK keeps them, the vectors below a diagonal and the factors τ apart; out flow the
matrices that they make, with their derivatives (`ops/reflectors.py`).
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ops import reflectors
from retrograd.runtime.functions.public import linalg, public
from retrograd.runtime.functions.results import pair
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor


def _require(condition: bool, name: str, text: str) -> None:
    if not condition:
        raise ShapeError(mirrored(f"torch.{name}: {text}"))


def _known(name: str, x: Tensor) -> None:
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise NotWrittenError(mirrored(f"\"{name}_cpu\" not implemented for '{bare_legacy_name(x.dtype)}'"))


@linalg("householder_product", "orgqr")
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of the reflectors in the columns of `[…, m, n]`, with τ `[…, k]`."""
    name = "linalg.householder_product"
    _require(input.ndim >= 2, name, "input must have at least 2 dimensions.")
    m, n = input.shape[-2:]
    _require(m >= n, name, "input.shape[-2] must be greater than or equal to input.shape[-1]")
    few = tau.ndim > 0 and tau.shape[-1] <= n
    _require(few, name, "input.shape[-1] must be greater than or equal to tau.shape[-1]")
    text = "Expected tau to have one dimension less than input, but got tau.ndim equal to "
    fits = tau.ndim == input.ndim - 1
    _require(fits, name, f"{text}{tau.ndim} and input.ndim is equal to {input.ndim}")
    batch = list(tau.shape[:-1])
    text = "Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
    _require(batch == list(input.shape[:-2]), name, f"{text}{batch}")
    if tau.dtype is not input.dtype:
        kinds = f"tau dtype {bare_legacy_name(tau.dtype)} does not match input dtype "
        raise DtypeError(mirrored(f"torch.{name}: {kinds}{bare_legacy_name(input.dtype)}"))
    _known("orgqr", input)
    return reflectors.columns_of(input, tau)


@public("geqrf", method=True, replay=True)
def geqrf(input: Tensor) -> Any:
    """LAPACK's form of `A = Q·R`: R and the reflectors in one matrix, and τ. It has no derivative."""
    _require(input.ndim >= 2, "geqrf", "input must have at least 2 dimensions.")
    _known("geqrf", input)
    return pair("geqrf", *reflectors.raw_qr(input))


@public("ormqr", method=True, replay=True)
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q·C of the whole Q that reflectors make and a matrix C, or Qᵀ·C; with `left=False` C·Q or C·Qᵀ."""
    _require(input.ndim >= 2, "ormqr", "input must have at least 2 dimensions.")
    _require(other.ndim >= 2, "ormqr", "other must have at least 2 dimensions.")
    place = -2 if left else -1
    size, most = other.shape[place], input.shape[-1]
    text = f"other.shape[{place}] must be greater than or equal to tau.shape[-1]"
    _require(size >= tau.shape[-1], "ormqr", text)
    text = f"other.shape[{place}] must be equal to input.shape[-2]"
    _require(size == input.shape[-2], "ormqr", text)
    text = f"tau.shape[-1] must be equal to min(other.shape[{place}], input.shape[-1])"
    _require(tau.shape[-1] == min(size, most), "ormqr", text)
    if tau.dtype is not input.dtype:
        kinds = (
            f"input has dtype{bare_legacy_name(input.dtype)} and tau has dtype {bare_legacy_name(tau.dtype)}"
        )
        text = f"torch.ormqr: Expected input and tau to have the same dtype, but {kinds}"
        raise DtypeError(mirrored(text))
    _known("ormqr", input)
    if left:
        return reflectors.reflected(input, tau, other, transpose)
    return reflectors.reflected(input, tau, other.mT, not transpose).mT
