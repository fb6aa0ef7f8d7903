"""`stft` and `istft` beside PyTorch's: values, gradients, words for errors, and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import RetrogradError, ShapeError

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

SIGNALS = np.random.default_rng(0).standard_normal((2, 100))
LONG, SHORT = np.hanning(17)[:16], np.hanning(13)[:12]
Call = Callable[[Any, Callable[[Any], Any]], Any]


def spectra_of(t: Any, tensor: Callable[[Any], Any]) -> Any:
    return t.stft(tensor(SIGNALS), 16, window=tensor(LONG), return_complex=True)


def result(library: Any, call: Call) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of windows that are not given
        found = call(library, lambda a: library.from_numpy(np.array(a)))
    several = found if isinstance(found, tuple | list) else [found]
    return [x.detach().resolve_conj().numpy() for x in several]


def there_and_back(**options: Any) -> Call:
    """Spectra, the signal again, and the gradient of a function of it."""

    def call(t: Any, tensor: Callable[[Any], Any]) -> Any:
        x, window = tensor(SIGNALS).requires_grad_(), tensor(LONG).requires_grad_()
        spectra = t.stft(x, 16, 4, window=window, return_complex=True, **options)
        back = {name: value for name, value in options.items() if name != "pad_mode"}
        y = t.istft(spectra, 16, 4, window=window, length=100, **back)
        (y**3).sum().backward()
        return spectra, y, x.grad, window.grad

    return call


VALUES: list[Call] = [
    there_and_back(),
    there_and_back(normalized=True),
    there_and_back(pad_mode="constant"),
    there_and_back(onesided=False),
    lambda t, a: t.stft(a(SIGNALS), 16, return_complex=True),
    lambda t, a: t.stft(a(SIGNALS), 16, return_complex=False),
    lambda t, a: a(SIGNALS)[0].stft(16, 4, 12, a(SHORT), center=False, normalized=True, return_complex=True),
    lambda t, a: t.stft(a(SIGNALS), 16, 4, 12, a(SHORT), False, return_complex=True, align_to_window=True),
    lambda t, a: t.stft(a(SIGNALS) + 0j, 16, window=a(LONG), return_complex=True),
    lambda t, a: t.stft(a(SIGNALS), 16, window=a(LONG) + 0j, return_complex=True),
    lambda t, a: spectra_of(t, a).istft(16, window=a(LONG)),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=a(LONG), length=90),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=a(LONG), length=120),
    lambda t, a: t.istft(spectra_of(t, a)[0], 16),
    lambda t, a: t.istft(
        t.stft(a(SIGNALS) + 1j, 16, 4, return_complex=True), 16, 4, onesided=False, return_complex=True
    ),
]

REFUSED: list[Call] = [
    lambda t, a: t.stft(a(SIGNALS), 16),
    lambda t, a: t.stft(a(SIGNALS), 0, return_complex=True),
    lambda t, a: t.stft(a(SIGNALS), 300, return_complex=True, center=False),
    lambda t, a: t.stft(a(SIGNALS), 16, 0, return_complex=True),
    lambda t, a: t.stft(a(SIGNALS), 16, win_length=20, return_complex=True),
    lambda t, a: t.stft(a(SIGNALS), 16, window=t.ones(3), return_complex=True),
    lambda t, a: t.stft(a(SIGNALS).int(), 16, return_complex=True),
    lambda t, a: t.stft(a(SIGNALS) + 0j, 16, return_complex=True, onesided=True),
    lambda t, a: t.stft(t.tensor(1.0), 4, return_complex=True, center=False),
    lambda t, a: t.stft(a(SIGNALS), 16, return_complex=True, align_to_window=True),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=a(LONG), center=False),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=t.zeros(16, dtype=t.float64)),
    lambda t, a: t.istft(spectra_of(t, a), 16, 20, window=a(LONG)),
    lambda t, a: t.istft(spectra_of(t, a), 16, -1),
    lambda t, a: t.istft(spectra_of(t, a), 16, 4, 20),
    lambda t, a: t.istft(spectra_of(t, a), 16, 4, 12, window=t.ones(3)),
    lambda t, a: t.istft(spectra_of(t, a), 18, window=a(LONG)),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=a(LONG), onesided=False),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=a(LONG), return_complex=True),
    lambda t, a: t.istft(spectra_of(t, a), 16, window=t.ones(16) + 0j),
    lambda t, a: t.istft(spectra_of(t, a).real, 16),
    lambda t, a: t.istft(spectra_of(t, a)[None], 16),
    lambda t, a: t.istft(spectra_of(t, a)[:0], 16),
]


@pytest.mark.parametrize("call", VALUES, ids=range(len(VALUES)))
def test_values_and_gradients(call: Call) -> None:
    for ours, theirs in zip(result(rg, call), result(torch, call), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("call", REFUSED, ids=range(len(REFUSED)))
def test_misuse_is_told_in_pytorchs_words(call: Call) -> None:
    with pytest.raises(RuntimeError) as theirs:
        result(torch, call)
    with pytest.raises(RetrogradError) as ours:
        result(rg, call)
    assert str(ours.value) == str(theirs.value)


def test_a_signal_that_ends_early_is_filled_up_with_a_warning() -> None:
    spectra = spectra_of(rg, rg.tensor)
    with pytest.warns(UserWarning, match="shorter than the length parameter"):
        assert rg.istft(spectra, 16, window=rg.tensor(LONG), length=110).shape == (2, 110)


def test_compiled() -> None:
    """Value and gradient as in eager mode; a window that leaves a gap is an error there, too."""

    def power(x: rg.Tensor, window: rg.Tensor) -> rg.Tensor:
        return (rg.stft(x, 16, 4, window=window, return_complex=True).abs() ** 2).sum()

    x, window = rg.tensor(SIGNALS, requires_grad=True), rg.tensor(LONG, requires_grad=True)
    value, gradients = rg.compile_grad(power).value_and_grad(x, window)
    eager = power(x, window)
    eager.backward()
    assert x.grad is not None
    assert window.grad is not None
    np.testing.assert_allclose(value.item(), eager.item(), rtol=1e-12)
    for ours, theirs in zip(gradients, (x.grad, window.grad), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-10)

    @rg.compile_grad
    def back(x: rg.Tensor, window: rg.Tensor) -> rg.Tensor:
        spectra = rg.stft(x, 16, 4, window=window, return_complex=True)
        return rg.istft(spectra, 16, 4, window=window, length=100)

    np.testing.assert_allclose(back(x, window).detach().numpy(), SIGNALS, atol=1e-12)
    with pytest.raises(ShapeError, match="window overlap add min: 1"):
        back(x, window.detach() * 0)
