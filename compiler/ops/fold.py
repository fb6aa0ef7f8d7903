"""Columns laid back to images: what `unfold` takes apart, summed where windows meet.

In flow columns `[N, C · kernel, places]`; out flow images `[N, C, H, W]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.convolution import padded
from retrograd.compiler.ops.shape import permute, reshape
from retrograd.compiler.ops.window import unwindow
from retrograd.compiler.record import record


@register
@record
class Fold(Composite):
    """Of images of a size: along both axes the kernel, how far apart its elements are, what was added around
    the image, and the step from place to place."""

    name = "fold"
    categories = (0, 1, 2, 3)
    size: tuple[int, int]
    kernel: tuple[int, int]
    gaps: tuple[int, int]
    margins: tuple[int, int]
    steps: tuple[int, int]

    @property
    def places(self) -> tuple[int, int]:
        """How many places of the kernel there are along each axis."""
        each = zip(self.size, self.kernel, self.gaps, self.margins, self.steps, strict=True)
        first, second = ((n + 2 * p - g * (k - 1) - 1) // s + 1 for n, k, g, p, s in each)
        return first, second

    def formula(self, *values: Value) -> Value:
        (x,) = values
        n, c = x.shape[0], x.shape[1] // prod(self.kernel)
        apart = permute(reshape(x, (n, c, *self.kernel, *self.places)), (0, 1, 4, 5, 2, 3))
        outer = [n + 2 * margin for n, margin in zip(self.size, self.margins, strict=True)]
        whole = unwindow(apart, (2, 3), outer, self.steps, self.gaps)
        less = [-margin for margin in self.margins]
        return padded(whole, less, less) if any(self.margins) else whole


def fold(
    x: Value,
    size: Sequence[int],
    kernel: Sequence[int],
    gaps: Sequence[int],
    margins: Sequence[int],
    steps: Sequence[int],
) -> Value:
    return apply(Fold(*((first, second) for first, second in (size, kernel, gaps, margins, steps))), x)
