"""Spectra of short stretches of a signal, which windows cut out, and back: `stft` and `istft`.

In flow a signal `[L]` or a batch of them `[B, L]`, out flow spectra `[…, frequencies, frames]`; a frame
begins every `hop_length` samples, and its window of `win_length` stands in the middle of its `n_fft` samples.
(Allen and Rabiner, "A unified approach to short-time Fourier analysis and synthesis", 1977; Griffin and Lim,
"Signal estimation from modified short-time Fourier transform", 1984, whose least squares `istft` solves.)
"""

from __future__ import annotations

from typing import NoReturn

from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored, warn
from retrograd.compiler.ops.demands import overlaps
from retrograd.runtime import fft
from retrograd.runtime.functions.complexes import view_as_real
from retrograd.runtime.functions.creation import ones
from retrograd.runtime.functions.public import FUNCTIONAL, public
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

Window = Tensor | None


class _Frames:
    """How a signal is cut into frames, and the call's words for errors."""

    def __init__(
        self, name: str, input: Tensor, n_fft: int, hop_length: int | None, win_length: int | None,
        window: Window, **others: object,
    ) -> None:  # fmt: skip
        self.n_fft = n_fft
        self.hop = n_fft // 4 if hop_length is None else hop_length
        self.length = n_fft if win_length is None else win_length
        self.window = window
        shown = {
            "n_fft": n_fft,
            "hop_length": self.hop,
            "win_length": self.length,
            "window": "None" if window is None else f"{_kind(window)}{{{list(window.shape)}}}",
            **{key: _word(value) for key, value in others.items()},
        }
        given = _kind(input) if name == "stft" else f"CPU{bare_legacy_name(input.dtype)}Type"
        told = ", ".join(f"{key}={value}" for key, value in shown.items())
        self.told = f"{name}({given}{list(input.shape)}, {told})"

    def refuse(self, words: str) -> NoReturn:
        raise ShapeError(mirrored(f"{self.told} : {words}"))

    def widened(self, like: Tensor) -> Window:
        """The window in the middle of zeros; None if it is 1 everywhere."""
        if self.window is None and self.length == self.n_fft:
            return None
        kind = {"dtype": like.dtype.to_real(), "device": like.device}
        window = ones(self.length, **kind) if self.window is None else self.window
        left = (self.n_fft - self.length) // 2
        padded: Tensor = FUNCTIONAL["pad"](window, (left, self.n_fft - self.length - left))
        return padded

    def check_window(self) -> None:
        window = self.window
        if window is not None and tuple(window.shape) != (self.length,):
            self.refuse(
                f"expected a 1D window tensor of size equal to win_length={self.length}, but got window with "
                f"size {list(window.shape)}"
            )


def _kind(x: Tensor) -> str:
    return f"torch.{bare_legacy_name(x.dtype)}Tensor"


def _word(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _is_half(onesided: bool | None, *operands: Tensor | None) -> bool:
    """Whether spectra are those of real values: then half of each is enough."""
    is_complex = any(x is not None and x.dtype.is_complex for x in operands)
    if is_complex and onesided:
        raise ArgumentError(mirrored("Cannot have onesided output if window or input is complex"))
    return not is_complex if onesided is None else onesided


@public("stft", function=False)
def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Window = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    """The spectrum of each frame. With `center` the signal is first extended by half a frame at both ends."""
    if center and align_to_window is not None:
        raise ArgumentError(mirrored("stft align_to_window should only be set when center = false"))
    x = input
    if center:
        extended = x.reshape((*[1] * (3 - x.ndim), *x.shape))
        x = FUNCTIONAL["pad"](extended, [n_fft // 2] * 2, pad_mode)
        x = x.reshape(x.shape[x.ndim - input.ndim :])
    options = {
        "normalized": normalized, "onesided": onesided, "return_complex": return_complex,
        "align_to_window": align_to_window,
    }  # fmt: skip
    frames = _Frames("stft", x, n_fft, hop_length, win_length, window, **options)
    _check_signal(frames, x)
    half = _is_half(onesided, x, window)
    if return_complex is None and not x.dtype.is_complex and (window is None or not window.dtype.is_complex):
        raise ArgumentError(
            mirrored(
                "stft requires the return_complex parameter be given for real inputs, and will further "
                "require that return_complex=True in a future PyTorch release."
            )
        )
    if align_to_window:
        x = FUNCTIONAL["pad"](x, [(n_fft - frames.length) // 2] * 2)
    cut = x.unfold(-1, n_fft, frames.hop)
    if (wide := frames.widened(x)) is not None:
        cut = cut * wide
    norm = "ortho" if normalized else "backward"
    found = (fft.rfft if half else fft.fft)(cut, norm=norm).transpose(-1, -2)
    return found if return_complex is not False else view_as_real(found)


def _check_signal(frames: _Frames, x: Tensor) -> None:
    n_fft, length = frames.n_fft, frames.length
    if not x.dtype.is_inexact:
        frames.refuse("expected a tensor of floating point or complex values")
    if not 1 <= x.ndim <= 2:
        frames.refuse("expected a 1D or 2D tensor")
    if not 0 < n_fft <= x.shape[-1]:
        frames.refuse(f"expected 0 < n_fft < {x.shape[-1]}, but got n_fft={n_fft}")
    if frames.hop <= 0:
        frames.refuse(f"expected hop_length > 0, but got hop_length={frames.hop}")
    if not 0 < length <= n_fft:
        frames.refuse(f"expected 0 < win_length <= n_fft, but got win_length={length}")
    frames.check_window()


@public("istft", function=False)
def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Window = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """The signal whose `stft` is nearest to the spectra: frames are added where they overlap, and divided by
    what the windows' squares add up to, which may nowhere be 0. `length` cuts it, or fills it up."""
    if not input.dtype.is_complex:
        raise DtypeError(
            mirrored(
                "istft requires a complex-valued input tensor matching the output from stft with "
                "return_complex=True."
            )
        )
    options = {
        "center": center, "normalized": normalized, "onesided": onesided, "length": length,
        "return_complex": return_complex,
    }  # fmt: skip
    frames = _Frames("istft", input, n_fft, hop_length, win_length, window, **options)
    half = input.shape[-2:-1] != (n_fft,) if onesided is None else onesided
    _check_spectra(frames, input, half)
    if return_complex:
        _is_half(half, input)
    elif window is not None and window.dtype.is_complex:
        raise ArgumentError(mirrored("Complex windows are incompatible with return_complex=False"))
    spectra = input if input.ndim == 3 else input.unsqueeze(0)
    norm = "ortho" if normalized else "backward"
    turned = spectra.transpose(1, 2)
    cut = fft.irfft(turned, n_fft, norm=norm) if half else fft.ifft(turned, norm=norm)
    cut = cut if return_complex else cut.real
    wide = frames.widened(input)
    wide = ones(n_fft, dtype=input.dtype.to_real(), device=input.device) if wide is None else wide
    count = cut.shape[1]
    signal = _overlapped(cut * wide, frames.hop)
    weights = _overlapped((wide * wide).expand(1, count, n_fft), frames.hop)
    start = n_fft // 2 if center else 0
    whole = signal.shape[-1]
    end = start + length if length is not None else whole - start
    inside = slice(start, min(end, whole))
    found: Tensor = signal[:, inside] / overlaps(weights[:, inside], frames.told)
    if end > whole:
        warn(
            "The length of signal is shorter than the length parameter. Result is being padded with zeros in "
            "the tail. Please check your center and hop_length settings."
        )
        found = FUNCTIONAL["pad"](found, (0, end - whole))
    return found if input.ndim == 3 else found.squeeze(0)


def _check_spectra(frames: _Frames, spectra: Tensor, half: bool) -> None:
    n_fft = frames.n_fft
    if spectra.numel() == 0:
        frames.refuse("input tensor cannot be empty.")
    if spectra.ndim not in (2, 3):
        frames.refuse(f"expected a tensor with 3 or 4 dimensions, but got {spectra.ndim + 1}")
    count = n_fft // 2 + 1 if half else n_fft
    words = "n_fft / 2 + 1 when onesided=True" if half else "n_fft when onesided=False"
    if spectra.shape[-2] != count:
        frames.refuse(
            "expected the frequency dimension (3rd to the last) of the input tensor to match "
            f"{words}, but got {spectra.shape[-2]}"
        )
    if not 0 < frames.hop <= frames.length:
        frames.refuse("expected 0 < hop_length <= win_length")
    if not 0 < frames.length <= n_fft:
        frames.refuse("expected 0 < win_length <= n_fft")
    if frames.window is not None and tuple(frames.window.shape) != (frames.length,):
        frames.refuse("Invalid window shape. window has to be 1D and length of `win_length`")


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """The sum of frames `[B, count, n]`, each of which begins `hop` samples after the one before."""
    _, count, n = frames.shape
    length = n + hop * (count - 1)
    found: Tensor = FUNCTIONAL["fold"](frames.transpose(1, 2), (1, length), (1, n), stride=(1, hop))
    return found[:, 0, 0]
