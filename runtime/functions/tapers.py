"""Window functions of signal processing: sums of cosines over a length, the triangle, and Kaiser's; and the
spectra of what they cut out, which are computed in `runtime/spectra.py`.

A length in, a vector out; `periodic` windows are those of one element more without their last. To add one
that is a sum of cosines, add a row to `COSINES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.runtime.functions import pointwise
from retrograd.runtime.functions.creation import arange, ones
from retrograd.runtime.functions.public import integer, public
from retrograd.runtime.tensor import Tensor

COSINES: dict[str, tuple[float, ...]] = {
    "hann_window": (0.5, 0.5),
    "hamming_window": (0.54, 0.46),
    "blackman_window": (0.42, 0.5, 0.08),
}
"""The amplitudes a of `a0 - a1 cos(φ) + a2 cos(2φ) …`, φ from 0 to 2π."""


def _window(name: str, shape: Callable[[Tensor, int], Tensor], what: str) -> None:
    @public(name)
    def window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
        return _shaped(name, shape, window_length, periodic, options)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = what


def _shaped(
    name: str, shape: Callable[[Tensor, int], Tensor], window_length: int, periodic: bool,
    options: dict[str, Any],
) -> Tensor:  # fmt: skip
    """The window of a shape, which is given the points and the last of them; of one point it is 1."""
    length = integer(window_length, name, "window_length")
    if length < 0:
        raise ShapeError(
            f"{name}({length})",
            mirrored(f"{name} requires non-negative window_length, got window_length={length}"),
        )
    empty = ones(length, **options)
    if not empty.is_floating_point():
        raise DtypeError(
            f"{name} of {empty.dtype}", mirrored(f"{name} expects floating point dtypes, got: TensorOptions")
        )
    if length < 2:
        return empty
    points = arange(length, dtype=empty.dtype, device=empty.device)
    found = shape(points, length if periodic else length - 1)
    return found.requires_grad_() if empty.requires_grad else found


def _of_cosines(amplitudes: tuple[float, ...]) -> Callable[[Tensor, int], Tensor]:
    def shape(points: Tensor, last: int) -> Tensor:
        total = points * 0 + amplitudes[0]
        for k, amplitude in enumerate(amplitudes[1:], 1):
            total = total + (points * (2 * math.pi * k / last)).cos() * ((-1) ** k * amplitude)
        return total

    return shape


def _triangle(points: Tensor, last: int) -> Tensor:
    return 1 - (points * (2 / last) - 1).abs()


for _name, _amplitudes in COSINES.items():
    _window(_name, _of_cosines(_amplitudes), f"A sum of cosines with the amplitudes {_amplitudes}.")
_window("bartlett_window", _triangle, "A triangle from 0 to 1 and back.")


@public("kaiser_window", replay="copy")
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    """`I0(β·√(1 − t²)) / I0(β)`, t from −1 to 1 (Kaiser and Schafer, 1980)."""
    i0 = pointwise.FUNCTIONS["i0"]

    def shape(points: Tensor, last: int) -> Tensor:
        place = points * (2 / last) - 1
        top: Tensor = i0(points[:1] * 0 + beta)
        return i0((1 - place * place).clamp(min=0).sqrt() * beta) / top

    return _shaped("kaiser_window", shape, window_length, periodic, options)


# ---- spectra -----------------------------------------------------------------------------------------------


class _Late:
    """A method that is read from its file when it is first asked for, as few programs do."""

    def __init__(self, name: str, file: str) -> None:
        self._name, self._file = name, file

    def __get__(self, instance: Tensor | None, owner: type) -> Any:
        setattr(Tensor, self._name, getattr(import_module(self._file), self._name))
        return getattr(owner if instance is None else instance, self._name)


for _name in ("stft", "istft"):
    setattr(Tensor, _name, _Late(_name, "retrograd.runtime.spectra"))
