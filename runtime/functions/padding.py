"""Padding: `nn.functional.pad`, with a constant or with an input's own elements, and cropping.

In flow a Tensor and amounts for its last axes, out flows a larger or smaller one (`ops/borders.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.errors import NotWrittenError, ShapeError, mirrored
from retrograd.compiler.ops import borders, convolution
from retrograd.runtime.eager.kernels import stored
from retrograd.runtime.functions.public import FUNCTIONAL, functional, integer, public
from retrograd.runtime.tensor import Tensor


@functional("pad", replay=True)
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Elements added before and after the last axes: `(before, after)` of the last one first.

    "constant" adds `value` (0 unless given); "reflect", "replicate" and "circular" repeat the input's own
    elements. Negative amounts crop: "circular" repeats what they leave.
    """
    pairs = [
        (integer(pad[k], "pad", "pad"), integer(pad[k + 1], "pad", "pad")) for k in range(0, len(pad) - 1, 2)
    ]
    if len(pad) % 2 or len(pairs) > input.ndim:
        raise ShapeError(
            f"pad{tuple(pad)} of a tensor of shape {list(input.shape)}",
            mirrored(
                "Padding length must be divisible by 2"
                if len(pad) % 2
                else "Padding length should be less than or equal to two times the input dimension but got "
                f"padding length {len(pad)} and input of dimension {input.ndim}"
            ),
        )
    low, high = ([pair[k] for pair in reversed(pairs)] for k in (0, 1))
    if mode == "constant":
        _check_crops(input, low, high)
        fill = 0.0 if value is None else stored(value, input.dtype.numpy).item()
        padded: Tensor = convolution.padded(input, low, high, fill=fill) if pairs else input
        return padded.contiguous() if min(pad, default=0) < 0 else padded
    if mode not in _BORDERS:
        raise NotWrittenError(f"pad(mode={mode!r})", mirrored(f"Unrecognised padding mode {mode}"))
    if len(pad) not in (2 * input.ndim - 4, 2 * input.ndim - 2) or not 2 <= len(pad) <= 6:
        raise NotWrittenError(
            mirrored(
                f"Padding size {len(pad)} is not supported for {input.ndim}D input tensor.\n"
                "Supported combinations for non-constant padding:\n"
                "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
                "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
                "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
            )
        )
    for k, (low_k, high_k) in enumerate(pairs):
        _check_border(input, input.ndim - 1 - k, low_k, high_k, mode)
    return _bordered(input, low, high, mode)


def _bordered(input: Tensor, low: list[int], high: list[int], mode: str) -> Tensor:
    """With its own elements repeated around it, and cropped where amounts are negative."""
    if min(low + high) >= 0:
        bordered: Tensor = borders.bordered(input, mode, low, high)
        return bordered
    _check_left(input, low, high, mode)
    before, after = ([max(amount, 0) for amount in side] for side in (low, high))
    if mode == "circular":
        return _bordered(_cropped(input, low, high), before, after, mode)
    return _cropped(_bordered(input, before, after, mode), low, high)


def _cropped(input: Tensor, low: list[int], high: list[int]) -> Tensor:
    """Without what negative amounts take away."""
    before, after = ([min(amount, 0) for amount in side] for side in (low, high))
    cropped: Tensor = convolution.padded(input, before, after, fill=0.0).contiguous()
    return cropped


def _check_crops(x: Tensor, low: list[int], high: list[int]) -> None:
    """No axis loses more than it has."""
    sizes = x.shape[x.ndim - len(low) :]
    if any(size + min(a, 0) + min(b, 0) < 0 for size, a, b in zip(sizes, low, high)):
        raise ShapeError(mirrored("narrow(): length must be non-negative."))


def _check_left(x: Tensor, low: list[int], high: list[int], mode: str) -> None:
    """Something is left of an input that is cropped."""
    sizes = x.shape[x.ndim - len(low) :]
    left = [size + a + b for size, a, b in zip(sizes, low, high)]
    if mode == "circular" and min(left) < 0:
        raise ShapeError(mirrored("Negative padding value is resulting in an empty dimension"))
    if mode != "circular" and max(left) < 1:
        names = "DHW"[-len(low) :]
        before, after = (
            " ".join(f"{name}: {size}" for name, size in zip(names, each)) for each in (sizes, left)
        )
        end = " )" if (mode, names) == ("replicate", "HW") else ")"
        before = before.replace(" W", ", W")
        raise ShapeError(mirrored(f"input ({before}{end} is too small. Calculated output {after}"))


@public("constant_pad_nd", replay=True)
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """`nn.functional.pad` with a constant."""
    found: Tensor = FUNCTIONAL["pad"](input, pad, "constant", value)
    return found


_BORDERS = {"reflect": 1, "replicate": -(10**9), "circular": 0}
"""By how much the padding must be less than the size."""
_BEYOND = (
    "Argument #{}: Padding size should be less than the corresponding input dimension, but got: padding "
    "({}, {}) at dimension {} of input {}"
)


def _check_border(x: Tensor, axis: int, low: int, high: int, mode: str) -> None:
    size = x.shape[axis]
    if max(low, high) > size - _BORDERS[mode] or not size:
        raise ShapeError(
            f"pad(({low}, {high}), mode={mode!r}) of a tensor of shape {list(x.shape)}",
            mirrored(_BEYOND.format(2 * (x.ndim - axis) + 2, low, high, axis, list(x.shape)))
            if mode == "reflect"
            else mirrored("Padding value causes wrapping around more than once."),
        )
