"""Memory formats: in which order the elements of a Tensor lie, as `torch.memory_format`.

In flow what a user gives as `memory_format=`; out flows a Tensor whose elements lie so. How results lie for
which nobody names a format, is said in `lying.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.ops.shape import permute
from retrograd.runtime.modes import no_grad
from retrograd.runtime.strided import Layout, Strides, in_order
from retrograd.runtime.tensor import Tensor


class memory_format:
    """An order of elements in memory: one of the four below."""

    def __init__(self, name: str, rank: int | None = None) -> None:
        self.name = name
        self.rank = rank
        """How many axes a Tensor must have, if that is fixed."""

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def holds(self, x: Tensor) -> bool:
        """Whether the Tensor's elements lie in this order."""
        if self.rank is None:
            return x.is_contiguous()
        if x.ndim != self.rank or 0 in x.shape:
            return False
        outwards, steps = _outwards(self.rank), x.stride()
        return Layout(tuple(x.shape[k] for k in outwards), tuple(steps[k] for k in outwards)).contiguous

    def strides(self, shape: Sequence[int]) -> Strides:
        """Of a Tensor of this shape in this order."""
        assert self.rank is not None
        steps = in_order(tuple(shape[k] for k in _outwards(self.rank)), 1)
        return tuple(steps[k] for k in _inwards(self.rank))


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", 4)
channels_last_3d = memory_format("channels_last_3d", 5)

FORMATS = {each.name: each for each in (contiguous_format, preserve_format, channels_last, channels_last_3d)}
"""Under their public names."""


def checked_format(given: object, x: Tensor, asked: str) -> memory_format:
    """The format, if it is one that such a Tensor can have; None is to preserve what there is."""
    if given is None:
        return preserve_format
    if not isinstance(given, memory_format):
        raise ArgumentError(
            mirrored(
                f"{asked}(): argument 'memory_format' must be torch.memory_format, not {type(given).__name__}"
            )
        )
    if given.rank is not None and x.ndim != given.rank:
        raise ShapeError(
            f"{asked}(memory_format={given}) of shape {list(x.shape)}",
            mirrored(f"required rank {given.rank} tensor to use {given.name} format"),
        )
    return given


def suggested(x: Tensor) -> memory_format:
    """The format that the elements lie in, if they lie in none of the others in order."""
    lasts = (form for form in (channels_last, channels_last_3d) if form.holds(x) and not x.is_contiguous())
    return next(lasts, contiguous_format)


def moved_in(x: Tensor, form: memory_format) -> Tensor:
    """The elements in this order, unrecorded and outside of traces."""
    assert form.rank is not None
    with no_grad():
        moved: Tensor = permute(permute(x, _outwards(form.rank)).contiguous(), _inwards(form.rank))
        return moved


def _outwards(rank: int) -> tuple[int, ...]:
    """The axes with the channels, axis 1, behind all others."""
    return (0, *range(2, rank), 1)


def _inwards(rank: int) -> tuple[int, ...]:
    return (0, rank - 1, *range(1, rank - 1))
