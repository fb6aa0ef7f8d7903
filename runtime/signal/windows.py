"""Windows for spectra, as `torch.signal.windows`: `M` numbers that rise and fall.

A window is symmetric, or with `sym=False` periodic: that of one number more without its last. All take
`dtype`, `layout`, `device` and `requires_grad`. (Harris, "On the use of windows for harmonic analysis with
the discrete Fourier transform", 1978; Nuttall, "Some windows with very good sidelobe behavior", 1981.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.functions.inspecting import strided
from retrograd.runtime.tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming",
    "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip

_OPTIONS = {"dtype": None, "layout": strided, "device": None, "requires_grad": False}


def _known(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Options that there are."""
    for key in given.keys() - _OPTIONS.keys():
        raise ArgumentError(mirrored(f"{name}() got an unexpected keyword argument '{key}'"))
    return given


def _options(name: str, M: int, given: dict[str, Any]) -> dict[str, Any]:
    """How the window's numbers are made."""
    options = {**_OPTIONS, **_known(name, given)}
    options["dtype"] = options["dtype"] or dtypes.default_dtype()
    if M < 0:
        raise ArgumentError(mirrored(f"{name} requires non-negative window length, got M={M}"))
    if options["layout"] is not strided:
        raise ArgumentError(
            mirrored(f"{name} is implemented for strided tensors only, got: {options['layout']}")
        )
    if options["dtype"] not in (dtypes.float32, dtypes.float64):
        raise ArgumentError(mirrored(f"{name} expects float32 or float64 dtypes, got: {options['dtype']}"))
    return options


def _points(M: int, start: float, step: float, options: dict[str, Any]) -> Tensor:
    """M points from `start` on."""
    if M == 0:
        return FUNCTIONS["empty"]((0,), **options)  # type: ignore[no-any-return]  # a Tensor
    return FUNCTIONS["linspace"](start, start + (M - 1) * step, M, **options)  # type: ignore[no-any-return]  # likewise


def _span(M: int, sym: bool) -> int:
    """How many steps there are from the first number of a window to the last of the symmetric one."""
    return M - 1 if sym or M <= 1 else M


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """A triangle: `1 - |2 n / N - 1|`."""
    made = _options("bartlett", M, options)
    if M == 1:
        return FUNCTIONS["ones"]((1,), **made)  # type: ignore[no-any-return]  # a Tensor
    points = _points(M, -1, 2 / max(_span(M, sym), 1), made)
    return points if M == 0 else 1 - abs(points)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """`0.42 - 0.5 cos(2π n / N) + 0.08 cos(4π n / N)`."""
    _options("blackman", M, options)
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """`sin(π (n + 0.5) / M)`."""
    made = _options("cosine", M, options)
    step = math.pi / max(_span(M, sym) + 1, 1)
    points = _points(M, 0.5 * step, step, made)
    return points if M == 0 else points.sin()


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any
) -> Tensor:
    """`exp(-|n - center| / tau)`; the centre is the middle, unless the window is periodic and has another."""
    made = _options("exponential", M, options)
    if tau <= 0:
        raise ArgumentError(mirrored(f"Tau must be positive, got: {tau} instead."))
    if sym and center is not None:
        raise ArgumentError(mirrored("Center must be None for symmetric windows"))
    middle = _span(M, sym) / 2 if center is None else center
    points = _points(M, -middle / tau, 1 / tau, made)
    return points if M == 0 else (-abs(points)).exp()


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """`exp(-(n / std)² / 2)`, with n from the middle."""
    made = _options("gaussian", M, options)
    if std <= 0:
        raise ArgumentError(mirrored(f"Standard deviation must be positive, got: {std} instead."))
    step = 1 / (std * math.sqrt(2))
    points = _points(M, -_span(M, sym) / 2 * step, step, made)
    return points if M == 0 else (-(points**2)).exp()


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Any) -> Tensor:
    """`a₀ - a₁ cos(2π n / N) + a₂ cos(4π n / N) - …`."""
    made = _options("general_cosine", M, options)
    if M == 0:
        return _points(M, 0, 0, made)
    if M == 1:
        return FUNCTIONS["ones"]((1,), **made)  # type: ignore[no-any-return]  # a Tensor
    if not isinstance(a, Iterable):
        raise ArgumentError(mirrored("Coefficients must be a list/tuple"))
    if not a:
        raise ArgumentError(mirrored("Coefficients cannot be empty"))
    points = _points(M, 0, 2 * math.pi / _span(M, sym), made)
    shares = FUNCTIONS["tensor"](
        [(-1) ** k * share for k, share in enumerate(a)],
        dtype=made["dtype"], device=made["device"], requires_grad=made["requires_grad"],
    )  # fmt: skip
    orders = FUNCTIONS["arange"](len(shares), dtype=made["dtype"], device=made["device"])
    found: Tensor = (shares.unsqueeze(-1) * (orders.unsqueeze(-1) * points).cos()).sum(0)
    return found


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """`alpha - (1 - alpha) cos(2π n / N)`."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **_known("general_hamming", options))


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """`general_hamming` with 0.54."""
    return general_hamming(M, sym=sym, **_known("hamming", options))


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """`general_hamming` with 0.5."""
    return general_hamming(M, alpha=0.5, sym=sym, **_known("hann", options))


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """`I₀(β √(1 - (2 n / N - 1)²)) / I₀(β)`."""
    made = _options("kaiser", M, options)
    if beta < 0:
        raise ArgumentError(mirrored(f"beta must be non-negative, got: {beta} instead."))
    if M == 1:
        return FUNCTIONS["ones"]((1,), **made)  # type: ignore[no-any-return]  # a Tensor
    if M == 0:
        return _points(M, 0, 0, made)
    step = 2 * beta / _span(M, sym)
    points = FUNCTIONS["linspace"](-beta, min(beta, -beta + (M - 1) * step), M, **made)
    most = FUNCTIONS["tensor"](beta, dtype=made["dtype"], device=made["device"])
    found: Tensor = (most * most - points**2).sqrt().i0() / most.i0()
    return found


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Nuttall's four terms with the least side lobes."""
    shares = [0.3635819, 0.4891775, 0.1365995, 0.0106411]
    return general_cosine(M, a=shares, sym=sym, **_known("nuttall", options))
