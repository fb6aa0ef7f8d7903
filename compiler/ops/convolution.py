"""Convolution over any number of axes, by windows and one product for each group of channels.

`Convolution` reads a padded input; padding is movement before it. Its derivatives are a convolution and a
transposed one, and so are theirs: there is no scattering, and derivatives of every order exist. A transposed
convolution with a stride is as many convolutions with none as there are remainders by the stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import gcd, prod
from operator import add

from retrograd.compiler.errors import ShapeError, mirrored
from retrograd.compiler.ir.graph import Type, Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.shape import concat, flip, pad, permute, reshape, slice_
from retrograd.compiler.ops.window import window
from retrograd.compiler.record import record


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


@register
@record
class Convolution(Composite):
    """`out[n, o, p] = Σ_{c, k} x[n, c, p·stride + k·dilation] · w[o, c, k] + b[o]`, groups apart.

    Operands: x `[N, groups·C, *S]`, w `[O, C, *K]` and perhaps b `[O]`. No padding.
    """

    name = "convolution"
    categories = (1, 2)
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def infer(self, *types: Type) -> Type:
        x, w, *bias = types
        what = f"convolution of {x} by {w}"
        if x.ndim != w.ndim or x.ndim != len(self.stride) + 2:
            raise ShapeError(
                what, f"both must have {len(self.stride) + 2} axes", "x is [N, C, …], w is [O, C / groups, …]"
            )
        check_channels(x.shape, w.shape, self.groups)
        spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], self.dilation, strict=True)]
        if any(span > size for span, size in zip(spans, x.shape[2:], strict=True)):
            raise ShapeError(
                what,
                mirrored(
                    f"Calculated padded input size per channel: ({_by(x.shape[2:])}). Kernel size: "
                    f"({_by(spans)}). Kernel size can't be greater than actual input size"
                ),
            )
        if bias and bias[0].shape != w.shape[:1]:
            raise ShapeError(
                what,
                mirrored(
                    f"Given weight of size {list(w.shape)}, expected bias to be 1-dimensional with "
                    f"{w.shape[0]} elements, but got bias of size {list(bias[0].shape)} instead"
                ),
            )
        return super().infer(*types)

    def formula(self, *values: Value) -> Value:
        x, w, *bias = values
        rank, batch, outputs = len(self.stride), x.shape[0], w.shape[0]
        shown = window(x, range(2, 2 + rank), w.shape[2:], self.stride, self.dilation)
        places = tuple(shown.shape[2 : 2 + rank])
        terms = w.shape[1] * prod(w.shape[2:])
        split = reshape(shown, (batch, self.groups, w.shape[1], *places, *w.shape[2:]))
        order = (1, 2, *range(3 + rank, 3 + 2 * rank), 0, *range(3, 3 + rank))
        columns = reshape(permute(split, order), (self.groups, terms, batch * prod(places)))
        product = dot(reshape(w, (self.groups, outputs // self.groups, terms)), columns)
        out = reshape(product, (outputs, batch, *places))
        out = permute(out, (1, 0, *range(2, 2 + rank)))
        return out + reshape(bias[0], (outputs, *[1] * rank)) if bias else out

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        x, w, *bias = inputs
        found: list[Value | None] = [
            self._of_input(cotangent, x, w) if needed[0] else None,
            self.of_weight(cotangent, x, w) if needed[1] else None,
        ]
        rest = [0, *range(2, len(x.shape))]
        return [*found, *(sum_(cotangent, rest) if needed[2] else None for _ in bias)]

    def _of_input(self, cotangent: Value, x: Value, w: Value) -> Value:
        read = self._read(cotangent, w)
        unread = tuple(size - last for size, last in zip(x.shape[2:], read, strict=True))
        zeros = (0,) * len(self.stride)
        op = TransposedConvolution(self.stride, self.dilation, self.groups, zeros, unread)
        return apply(op, cotangent, w)

    def of_weight(self, cotangent: Value, x: Value, w: Value) -> Value:
        """The input convolved with the cotangent: batch and channels, stride and dilation exchange roles."""
        spatial = tuple(range(3, 3 + len(self.stride)))
        inner, outer = w.shape[1], w.shape[0] // self.groups
        batch, read = x.shape[0], self._read(cotangent, w)
        if read != x.shape[2:]:
            x = slice_(x, [0] * len(x.shape), (*x.shape[:2], *read), [1] * len(x.shape))
        image = reshape(x, (batch, self.groups, inner, *read))
        image = reshape(permute(image, (2, 1, 0, *spatial)), (inner, self.groups * batch, *read))
        kernel = reshape(cotangent, (batch, self.groups, outer, *cotangent.shape[2:]))
        kernel = reshape(permute(kernel, (1, 2, 0, *spatial)), (w.shape[0], batch, *cotangent.shape[2:]))
        found = apply(Convolution(self.dilation, self.stride, self.groups), image, kernel)
        return permute(found, (1, 0, *range(2, len(found.shape))))

    def _read(self, out: Value, w: Value) -> tuple[int, ...]:
        """How far the windows reach, which may end before the input does."""
        reach = zip(out.shape[2:], self.stride, self.dilation, w.shape[2:], strict=True)
        return tuple((n - 1) * step + d * (k - 1) + 1 for n, step, d, k in reach)


@register
@record
class TransposedConvolution(Composite):
    """`out[n, c, h - padding] = Σ_{o, p, k: p·stride + k·dilation = h} x[n, o, p] · w[o, c, k]`.

    Operands: x `[N, O, *P]` and w `[O, C / groups, *K]`. `more` places follow the last one that is reached.
    """

    name = "transposed_convolution"
    categories = (1, 2)
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding: tuple[int, ...]
    more: tuple[int, ...]

    @property
    def title(self) -> str:
        return "Convolution"

    def formula(self, *values: Value) -> Value:
        x, w = values
        if {*x.shape[2:], *self.dilation} <= {1} and not any((*self.padding, *self.more)):
            return _of_one_place(x, w, self.groups)
        sizes = [
            (n - 1) * step + d * (k - 1) + 1 - 2 * p + extra
            for n, step, d, k, p, extra in zip(
                x.shape[2:], self.stride, self.dilation, w.shape[2:], self.padding, self.more, strict=True
            )
        ]
        return _turned(x, w, self.stride, self.dilation, self.groups, self.padding, sizes)

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        """By the convolution of which this is the transpose."""
        x, w = inputs
        high = [p - extra for p, extra in zip(self.padding, self.more, strict=True)]
        image = padded(cotangent, self.padding, high)
        straight = Convolution(self.stride, self.dilation, self.groups)
        return [
            apply(straight, image, w) if needed[0] else None,
            straight.of_weight(x, image, w) if needed[1] else None,
        ]


def _of_one_place(x: Value, w: Value, groups: int) -> Value:
    """Of inputs of one place alone, each element is a product of channels: most of windows would be zeros."""
    batch, outer = x.shape[0], w.shape[0] // groups
    channels = permute(reshape(x, (batch, groups, outer)), (1, 0, 2))
    found = dot(channels, reshape(w, (groups, outer, prod(w.shape[1:]))))
    return reshape(permute(found, (1, 0, 2)), (batch, groups * w.shape[1], *w.shape[2:]))


def _turned(
    x: Value,
    w: Value,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    starts: Sequence[int],
    sizes: Sequence[int],
) -> Value:
    """`out[n, c, h] = Σ_{o, p, k: p·stride + k·dilation = h} x[n, o, p] · w[o, c, k]`, the transpose of a
    convolution, for so many h from `starts` on.

    The places h that are whole strides apart see every so-manieth element of the kernel, and no zeros between
    the elements of x: each such phase is a convolution of its own, and the results then take turns.
    """
    rank = len(stride)
    counts = [-(-size // step) for size, step in zip(sizes, stride, strict=True)]
    phases = list(product(*map(range, stride)))
    firsts = [[start + k for start, k in zip(starts, phase, strict=True)] for phase in phases]
    parts = [_phase(x, w, stride, dilation, groups, first, counts) for first in firsts]
    lead = (x.shape[0], w.shape[1] * groups)
    found = [part for part in parts if part is not None]
    if len(found) == len(parts):
        turns = reshape(concat(found, 0) if len(found) > 1 else found[0], (*stride, *lead, *counts))
        order = [rank, rank + 1, *(k for axis in range(rank) for k in (rank + 2 + axis, axis))]
        grown = permute(turns, order)
    else:
        placed = []
        gaps = [step - 1 for step in stride]
        for part, phase in zip(parts, phases, strict=True):
            after = [step - 1 - k for k, step in zip(phase, stride, strict=True)]
            if part is not None:
                placed.append(pad(part, [0, 0, *phase], [0, 0, *after], [0, 0, *gaps]))
        grown = reduce(add, placed)
    whole = [count * step for count, step in zip(counts, stride, strict=True)]
    beyond = [size - n for n, size in zip(whole, sizes, strict=True)]
    return padded(reshape(grown, (*lead, *whole)), [0] * rank, beyond)


def _phase(
    x: Value,
    w: Value,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    places: Sequence[int],
    counts: Sequence[int],
) -> Value | None:
    """The places `places + stride·t`, for so many t; None if no element of the kernel meets them."""
    starts, stops, steps, low, high = [], [], [], [], []
    for axis, (step, apart, place, count) in enumerate(zip(stride, dilation, places, counts, strict=True), 2):
        first, rest = divmod(place, step)
        met = [k for k in range(w.shape[axis]) if k * apart % step == rest]
        if not met:
            return None
        starts.append(met[0])
        stops.append(met[-1] + 1)
        steps.append(step // gcd(step, apart))
        before = (met[0] * apart - rest) // step
        reach = (len(met) - 1) * apart // gcd(step, apart)
        low.append(before + reach - first)
        high.append(first + count - before - x.shape[axis])
    kernel = slice_(w, [0, 0, *starts], [*w.shape[:2], *stops], [1, 1, *steps])
    closer = tuple(apart // gcd(step, apart) for step, apart in zip(stride, dilation, strict=True))
    op = Convolution((1,) * len(closer), closer, groups)
    return apply(op, padded(x, low, high), flipped(kernel, groups))


def flipped(w: Value, groups: int) -> Value:
    """A weight seen from the other side: inputs and outputs of each group exchanged, kernel reversed."""
    outer, inner, kernel = w.shape[0] // groups, w.shape[1], tuple(w.shape[2:])
    split = reshape(w, (groups, outer, inner, *kernel))
    swapped = permute(split, (0, 2, 1, *range(3, 3 + len(kernel))))
    return flip(reshape(swapped, (groups * inner, outer, *kernel)), range(2, 2 + len(kernel)))


def padded(
    x: Value,
    low: Sequence[int],
    high: Sequence[int],
    interior: Sequence[int] | None = None,
    fill: float = 0.0,
) -> Value:
    """The last axes padded; a negative amount crops."""
    lead = [0] * (len(x.shape) - len(low))
    gaps = [*lead, *(interior or [0] * len(low))]
    grown = pad(x, [*lead, *(max(p, 0) for p in low)], [*lead, *(max(p, 0) for p in high)], gaps, fill)
    if min((*low, *high), default=0) >= 0:
        return grown
    starts = [*lead, *(max(-p, 0) for p in low)]
    stops = [size - max(-p, 0) for size, p in zip(grown.shape, [*lead, *high], strict=True)]
    return slice_(grown, starts, stops, [1] * len(starts))


# ---- as functions of values of any level -------------------------------------------------------------------


def check_channels(x: Sequence[int], w: Sequence[int], groups: int) -> None:
    """Refuse an input of this shape that has other channels than the weight is for."""
    if len(x) == len(w) and (x[1] != w[1] * groups or w[0] % groups):
        raise ShapeError(
            f"convolution of shape {list(x)} by a weight of shape {list(w)}",
            mirrored(
                f"Given groups={groups}, weight of size {list(w)}, expected input{list(x)} "
                f"to have {w[1] * groups} channels, but got {x[1]} channels instead"
            ),
            "and the number of outputs must be divisible by groups",
        )


def convolution(
    x: Value,
    w: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
) -> Value:
    """As `torch.nn.functional.conv1d`, `conv2d`, …; the padding is (before, after) for each axis."""
    check_channels(x.shape, w.shape, groups)
    x = padded(x, [low for low, _ in padding], [high for _, high in padding])
    return apply(Convolution(tuple(stride), tuple(dilation), groups), x, w, *([] if bias is None else [bias]))


def transposed_convolution(
    x: Value,
    w: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Value:
    """As `torch.nn.functional.conv_transpose1d`, `conv_transpose2d`, …; w is `[C, O / groups, *K]`."""
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            f"transposed convolution of shape {list(x.shape)} by a weight of shape {list(w.shape)}",
            f"expected input to have {w.shape[0]} channels, but got {x.shape[1]} channels instead",
        )
    op = TransposedConvolution(tuple(stride), tuple(dilation), groups, tuple(padding), tuple(output_padding))
    out = apply(op, x, w)
    return out if bias is None else out + reshape(bias, (bias.shape[0], *[1] * len(padding)))
