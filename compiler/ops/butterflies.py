"""The discrete Fourier transform of pairs, real and imaginary parts, along one axis: Σ x[j]·exp(±2πi·jk/n).

Stockham's algorithm: n is a product of small radices r, and with each of them an axis of r·m values becomes
one of m. Between the values that are combined lie m others, and behind each the `done` results so far, all in
order, so nothing has to be sorted at the end:

    x[r, m, done]  →  a butterfly over r  →  · exp(±2πi·jk/rm), j in m, k in r  →  y[m, r, done]

All of it is written with elementwise ops, so a transform is loops like any others: fused with what is around
it, in vectors, a row at a time where there are many, on any target. Where n has a large prime factor, the
transform is a convolution (Bluestein's algorithm), done by transforms of a power of two.

Sources: Stockham, "High-speed convolution and correlation" (1966); Bluestein, "A linear filtering approach to
the computation of discrete Fourier transform" (1970); of real values, Cooley, Lewis and Welch, "The fast
Fourier transform algorithm: programming considerations" (1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Value
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import concat, flip, narrow, pad, reshape, select, slice_, unsqueeze

Pair = tuple[Value, Value]
"""Real and imaginary parts."""

_PRIMES = (3, 5, 7, 11, 13)
"""The odd radices: butterflies of larger primes are more work than a convolution."""


def transform(x: Pair, axis: int, sign: int) -> Pair:
    """The transform along an axis, not scaled; `sign` is that of the exponent, -1 forward."""
    shape = x[0].shape
    n = shape[axis]
    if prod(shape) == 0 or n == 1:
        return x
    flat = _shaped(x, (prod(shape[:axis]), n, prod(shape[axis + 1 :])))
    radices = factors(n)
    found = _by_convolution(flat, sign) if radices is None else _by_stages(flat, radices, sign)
    return _shaped(found, shape)


def to_half(x: Value, axis: int) -> Pair:
    """The transform of real values, forward: its values from 0 to n // 2. With n even, the values at even and
    at odd places are the two parts of one transform of half the length."""
    n = x.shape[axis]
    half = n // 2
    if n % 2:
        nothing = rows.where(rows.lt(x, x), x, 0.0)
        return _narrowed(transform((x, nothing), axis, -1), axis, 0, half + 1)
    z = transform((_every_other(x, axis, 0), _every_other(x, axis, 1)), axis, -1)
    (re, im), (a, b) = _narrowed(z, axis, 0, 1), _narrowed(z, axis, 1, half)
    c, d = _flipped((a, b), axis)
    r, i = _times((b + d, c - a), _along(_turns(half, n, -1)[1:], axis, x))
    middle = (a + c + r) * 0.5, (b - d + i) * 0.5
    ends = [rows.where(rows.lt(part, part), part, 0.0) for part in (re, im)]
    return (
        concat([re + im, middle[0], re - im], axis),
        concat([ends[0], middle[1], ends[1]], axis),
    )


def completed(x: Pair, axis: int, n: int) -> Pair:
    """All n values of a transform of real ones, of which this is the first half: the rest are conjugates."""
    re, im = _flipped(_narrowed(x, axis, 1, (n + 1) // 2), axis)
    return concat([x[0], re], axis), concat([x[1], im * -1.0], axis)


def from_half(x: Pair, axis: int, n: int) -> Value:
    """The inverse, not scaled: n real values. Imaginary parts of what is its own conjugate do not count."""
    half = n // 2
    re, im = x[0], _between_zeros(x[1], axis, (n + 1) // 2)
    if n % 2:
        return transform(completed((re, im), axis, n), axis, 1)[0]
    c, d = _flipped((re, im), axis)
    r, i = _times((re - c, im + d), _along(_turns(half + 1, n, 1), axis, re))
    z = transform(_narrowed((re + c - i, im - d + r), axis, 0, half), axis, 1)
    return reshape(_stacked(z, axis + 1), (*re.shape[:axis], n, *re.shape[axis + 1 :]))


# ---- stages ------------------------------------------------------------------------------------------------


def factors(n: int) -> list[int] | None:
    """The radices of n; None if it has a large prime factor."""
    found = []
    for p in _PRIMES:
        while n % p == 0:
            found.append(p)
            n //= p
    twos = n.bit_length() - 1
    if n != 1 << twos:
        return None
    eights, rest = divmod(twos, 3)
    if rest == 1 and eights:
        return [8] * (eights - 1) + [4, 4, *found]
    return [8] * eights + [1 << rest] * (rest > 0) + found


def _by_stages(x: Pair, radices: Sequence[int], sign: int) -> Pair:
    outer, m, done = x[0].shape
    for radix in radices:
        m //= radix
        parts = _shaped(x, (outer, radix, m, done))
        found = _butterfly([_selected(parts, k) for k in range(radix)], sign)
        if m > 1:
            found = [
                _times(y, _along(_turns(m, radix * m, sign, k), 1, y[0])) if k else y
                for k, y in enumerate(found)
            ]
        x = _stacked([re for re, _ in found], 2), _stacked([im for _, im in found], 2)
        done *= radix
    return x


def _butterfly(x: Sequence[Pair], sign: int) -> list[Pair]:
    """The transform of a few values."""
    n = len(x)
    if n == 1:
        return list(x)
    if n % 2:
        return _odd_butterfly(x, sign)
    even, odd = _butterfly(x[::2], sign), _butterfly(x[1::2], sign)
    sums: list[Pair] = []
    differences: list[Pair] = []
    for k, ((a, b), (re, im)) in enumerate(zip(even, odd, strict=True)):
        if 4 * k == n:  # times ±i
            up, down = ((a - im, b + re), (a + im, b - re))[::sign]
        else:
            if k:
                re, im = _times((re, im), _root(k, n, sign))
            up, down = (a + re, b + im), (a - re, b - im)
        sums.append(up)
        differences.append(down)
    return sums + differences


def _odd_butterfly(x: Sequence[Pair], sign: int) -> list[Pair]:
    """That of an odd prime number of values: k and n - k differ in the sign of the sines."""
    n = len(x)
    pairs = [(x[j], x[n - j]) for j in range(1, n // 2 + 1)]
    sums = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
    differences = [(a[0] - b[0], a[1] - b[1]) for a, b in pairs]
    re, im = x[0]
    for s in sums:
        re, im = re + s[0], im + s[1]
    found: list[Pair] = [(re, im)] * n
    for k in range(1, n // 2 + 1):
        re, im = x[0]
        turned: Pair | None = None
        for j, (s, d) in enumerate(zip(sums, differences, strict=True), 1):
            c, q = _root(j * k, n, sign)
            re, im = re + s[0] * c, im + s[1] * c
            turned = (d[0] * q, d[1] * q) if turned is None else (turned[0] + d[0] * q, turned[1] + d[1] * q)
        assert turned is not None
        found[k] = re - turned[1], im + turned[0]
        found[n - k] = re + turned[1], im - turned[0]
    return found


# ---- a convolution -----------------------------------------------------------------------------------------


def _by_convolution(x: Pair, sign: int) -> Pair:
    """jk = (j² + k² - (k - j)²) / 2, so the transform is a convolution of x · w with 1 / w, times w, where
    w[j] = exp(±πi·j²/n)."""
    n = x[0].shape[1]
    size = 1 << (2 * n - 2).bit_length()
    waves, kernel = _chirp(n, size, sign)
    w = _along(waves, 1, x[0])
    re, im = _times(x, w)
    above = (0, size - n, 0)
    long = transform((pad(re, (0, 0, 0), above, (0, 0, 0)), pad(im, (0, 0, 0), above, (0, 0, 0))), 1, -1)
    whole = transform(_times(long, _along(kernel, 1, re)), 1, 1)
    return _times(_narrowed(whole, 1, 0, n), w)


@lru_cache(maxsize=64)
def _chirp(n: int, size: int, sign: int) -> tuple[Array, Array]:
    """w, and the transform of 1 / w over `size`, which is there once for each sign of its places."""
    waves = _roots(np.arange(n) ** 2, 2 * n, sign)
    kernel = np.zeros(size, np.complex128)
    kernel[:n] = waves.conj()
    kernel[size - n + 1 :] = waves[:0:-1].conj()
    return waves, np.fft.fft(kernel) / size


# ---- factors -----------------------------------------------------------------------------------------------


def _root(k: int, n: int, sign: int) -> tuple[float, float]:
    z = _roots(np.asarray(k), n, sign)
    return float(z.real), float(z.imag)


@lru_cache(maxsize=256)
def _turns(count: int, n: int, sign: int, step: int = 1) -> Array:
    """exp(±2πi·step·j/n) for j in count."""
    return _roots(np.arange(count) * step, n, sign)


def _roots(k: Array, n: int, sign: int) -> Array:
    """exp(±2πi·k/n), within an ULP: at most an eighth of a turn from where sines and cosines are exact."""
    quarters, rest = np.divmod(4 * (k % n) + n // 2, n)
    angle = np.pi / 2 * ((rest - n // 2) / n)
    return (
        np.array([1, 1j, -1, -1j])[quarters % 4] * np.exp(1j * angle) if sign > 0 else _roots(k, n, 1).conj()
    )


def _along(z: Array, axis: int, like: Value) -> tuple[Array, Array]:
    """Complex numbers as parts of the dtype of `like`, along one of its axes."""
    shape = [1] * len(like.shape)
    shape[axis] = len(z)
    number = dtypes.of(like).numpy
    return z.real.astype(number).reshape(shape), z.imag.astype(number).reshape(shape)


# ---- pairs -------------------------------------------------------------------------------------------------


def _times(x: Pair, factor: Pair) -> Pair:
    (re, im), (c, s) = x, factor
    return re * c - im * s, im * c + re * s


def _shaped(x: Pair, shape: Sequence[int]) -> Pair:
    return reshape(x[0], shape), reshape(x[1], shape)


def _selected(x: Pair, index: int) -> Pair:
    return select(x[0], 1, index), select(x[1], 1, index)


def _narrowed(x: Pair, axis: int, start: int, stop: int) -> Pair:
    return narrow(x[0], axis, start, stop), narrow(x[1], axis, start, stop)


def _flipped(x: Pair, axis: int) -> Pair:
    return flip(x[0], [axis]), flip(x[1], [axis])


def _stacked(values: Sequence[Value], axis: int) -> Value:
    return concat([unsqueeze(v, [axis]) for v in values], axis)


def _every_other(x: Value, axis: int, first: int) -> Value:
    starts, steps = [0] * len(x.shape), [1] * len(x.shape)
    starts[axis], steps[axis] = first, 2
    return slice_(x, starts, x.shape, steps)


def _between_zeros(x: Value, axis: int, stop: int) -> Value:
    """The value with zeros along an axis before 1 and from `stop` on."""
    low, high = [0] * len(x.shape), [0] * len(x.shape)
    low[axis], high[axis] = 1, x.shape[axis] - max(stop, 1)
    return pad(narrow(x, axis, 1, max(stop, 1)), low, high, [0] * len(x.shape))
