"""Orthogonal polynomials by their recurrences (DLMF 18.9), which arrays and vectors of native code share.

In flow places x and degrees n, of which the whole part counts; 0 where it is negative, or no number. Those of
Chebyshev are, of high degrees and on [-1, 1], sines and cosines of multiples of an angle (DLMF 18.5). A new
family is an entry of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import record


@record(slots=True)
class Circular:
    """Polynomials of cos t as functions of t."""

    inside: Callable[..., Any]
    """Of t, a degree, and the functions sine and cosine."""
    ends: Callable[[Any], tuple[Any, Any]]
    """Of a degree, the value at 1, and its magnitude at -1; there it has the sign of (-1)^n."""


@record(slots=True)
class Family:
    """Polynomials of degrees 0, where they are 1, 1, and so on."""

    first: Callable[[Any], Any]
    """Of x, that of degree 1."""
    step: Callable[[Any, Any, Any, Any], Any]
    """Of the degree k, x, and the polynomials of degrees k and k - 1: that of degree k + 1."""
    circular: Circular | None = None
    shifted: bool = False
    """Is 2x - 1 meant by x?"""

    def place(self, x: Any) -> Any:
        return 2 * x - 1 if self.shifted else x

    def evaluate(self, x: Array, n: Array) -> Array:
        """Of arrays, in float64."""
        kind, shape = x.dtype, np.broadcast_shapes(x.shape, n.shape)
        with np.errstate(all="ignore"):
            found = self._computed(*(np.broadcast_to(v, shape).astype(np.float64) for v in (x, n)))
            return np.asarray(found.astype(kind))

    def _computed(self, x: Array, n: Array) -> Array:
        x, degrees = self.place(x), np.where(np.abs(n) < MOST, np.trunc(n), -1)
        found = np.where(degrees == 0, 1.0, np.where(degrees > 0, self.first(x), 0.0))
        if self.circular is not None:
            high = (degrees >= HIGH) & (np.abs(x) <= 1)
            found = np.where(high, self._on_circle(self.circular, x, degrees), found)
            degrees = np.where(high, 0, degrees)
        before, now = np.ones_like(x), self.first(x)
        for k in range(1, int(degrees.max(initial=0))):
            before, now = now, self.step(k, x, now, before)
            found = np.where(degrees > k, now, found)
        return found

    def _on_circle(self, circular: Circular, x: Array, n: Array) -> Array:
        above, below = circular.ends(n)
        below = np.where(n % 2 == 1, -below, below)
        inside = circular.inside(np.arccos(x), n, np.sin, np.cos)
        return np.asarray(np.where(x == 1, above, np.where(x == -1, below, inside)))


MOST = 2.0**63
"""What no degree reaches."""
HIGH = 32
"""Degrees from which on sines and cosines take no longer."""


def _chebyshev(k: Any, x: Any, now: Any, before: Any) -> Any:
    return 2 * x * now - before


_KINDS: dict[str, tuple[Callable[[Any], Any], Circular]] = {
    "t": (lambda x: x, Circular(lambda t, n, sin, cos: cos(n * t), lambda n: (n * 0 + 1, n * 0 + 1))),
    "u": (
        lambda x: 2 * x,
        Circular(lambda t, n, sin, cos: sin((n + 1) * t) / sin(t), lambda n: (n + 1, n + 1)),
    ),
    "v": (
        lambda x: 2 * x - 1,
        Circular(lambda t, n, sin, cos: cos((n + 0.5) * t) / cos(0.5 * t), lambda n: (n * 0 + 1, 2 * n + 1)),
    ),
    "w": (
        lambda x: 2 * x + 1,
        Circular(lambda t, n, sin, cos: sin((n + 0.5) * t) / sin(0.5 * t), lambda n: (2 * n + 1, n * 0 + 1)),
    ),
}
"""Chebyshev's: that of degree 1, and all on the circle."""

FAMILIES: dict[str, Family] = {
    **{f"chebyshev_polynomial_{kind}": Family(first, _chebyshev, c) for kind, (first, c) in _KINDS.items()},
    **{
        f"shifted_chebyshev_polynomial_{kind}": Family(first, _chebyshev, c, shifted=True)
        for kind, (first, c) in _KINDS.items()
    },
    "hermite_polynomial_h": Family(lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - 2 * k * q),
    "hermite_polynomial_he": Family(lambda x: x, lambda k, x, p, q: x * p - k * q),
    "laguerre_polynomial_l": Family(
        lambda x: 1 - x, lambda k, x, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)
    ),
    "legendre_polynomial_p": Family(lambda x: x, lambda k, x, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}
"""By PyTorch's names."""
