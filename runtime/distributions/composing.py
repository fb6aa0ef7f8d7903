"""Transforms put together: one after the other, side by side, and several values as one.

In flow maps, out flows a map whose domain, codomain and shapes follow from theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler.errors import RequirementError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.distribution import Shape
from retrograd.runtime.distributions.transforming import Transform, need_axes, summed
from retrograd.runtime.functions import joining
from retrograd.runtime.tensor import Size, Tensor

# ---- one after the other -----------------------------------------------------------------------------------


class ComposeTransform(Transform):
    """Several maps, one after the other."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        self.parts = [part.with_cache(cache_size) if cache_size else part for part in parts]
        super().__init__(cache_size)
        self.bijective = all(part.bijective for part in self.parts)

    @property
    def domain(self) -> Any:
        if not self.parts:
            return constraints.real
        axes = self.parts[-1].codomain.event_dim
        for part in reversed(self.parts):
            axes = max(axes + part.domain.event_dim - part.codomain.event_dim, part.domain.event_dim)
        return _widened(self.parts[0].domain, axes)

    @property
    def codomain(self) -> Any:
        if not self.parts:
            return constraints.real
        axes = self.parts[0].domain.event_dim
        for part in self.parts:
            axes = max(axes + part.codomain.event_dim - part.domain.event_dim, part.codomain.event_dim)
        return _widened(self.parts[-1].codomain, axes)

    @property
    def sign(self) -> Any:
        found: Any = 1
        for part in self.parts:
            found = found * part.sign
        return found

    @property
    def inv(self) -> Transform:
        return ComposeTransform([part.inv for part in reversed(self.parts)])

    def again(self, cache_size: int) -> Transform:
        return ComposeTransform(self.parts, cache_size)

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def back(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part.back(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if not self.parts:
            return x.new_zeros(*x.shape)
        total: Any = 0
        axes = self.domain.event_dim
        for place, part in enumerate(self.parts):
            after = y if place == len(self.parts) - 1 else part(x)
            own = part.log_abs_det_jacobian(x, after)
            total = total + summed(own, axes - part.domain.event_dim)
            axes += part.codomain.event_dim - part.domain.event_dim
            x = after
        found: Tensor = total
        return found

    def forward_shape(self, shape: Shape) -> Size:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return Size(shape)

    def inverse_shape(self, shape: Shape) -> Size:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return Size(shape)

    def alike(self, other: Any) -> bool:
        return bool(self.parts == other.parts)

    def __repr__(self) -> str:
        inside = ",\n    ".join(map(repr, self.parts))
        return f"ComposeTransform(\n    {inside}\n)"


def _widened(constraint: Any, axes: int) -> Any:
    """A constraint on values of so many axes."""
    more = axes - constraint.event_dim
    return constraints.independent(constraint, more) if more else constraint


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """Another map, several of whose values are one."""

    def __init__(
        self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.domain, self.codomain = (
            constraints.independent(side, reinterpreted_batch_ndims)
            for side in (base_transform.domain, base_transform.codomain)
        )
        self.bijective = base_transform.bijective

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def again(self, cache_size: int) -> Transform:
        return IndependentTransform(self.base_transform, self.reinterpreted_batch_ndims, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        need_axes(x.shape, self.domain.event_dim)
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        need_axes(y.shape, self.codomain.event_dim)
        return self.base_transform.back(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return summed(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Shape) -> Size:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Shape) -> Size:
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"IndependentTransform({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


# ---- side by side ------------------------------------------------------------------------------------------


class _SideBySide(Transform):
    """Base of maps of the parts of a Tensor along one axis."""

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int) -> None:
        if not all(isinstance(each, Transform) for each in tseq):
            raise RequirementError(mirrored("All elements of tseq must be Transform instances"))
        super().__init__(cache_size)
        self.transforms = [each.with_cache(cache_size) if cache_size else each for each in tseq]
        self.dim = dim
        self.bijective = all(each.bijective for each in self.transforms)

    def cut(self, x: Tensor, name: str) -> list[Tensor]:
        """The parts of a Tensor."""
        raise NotImplementedError

    def joined(self, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        return self.joined([t(part) for t, part in zip(self.transforms, self.cut(x, "x"))])

    def _inverse(self, y: Tensor) -> Tensor:
        return self.joined([t.back(part) for t, part in zip(self.transforms, self.cut(y, "y"))])

    def _stretches(self, x: Tensor, y: Tensor) -> list[Tensor]:
        pairs = zip(self.transforms, self.cut(x, "x"), self.cut(y, "y"))
        return [t.log_abs_det_jacobian(before, after) for t, before, after in pairs]

    def _require(self, x: Tensor, name: str, size: int, wanted: str) -> None:
        if not -x.ndim <= self.dim < x.ndim:
            text = f"dim {self.dim} out of range for tensor with {x.ndim} dimensions"
            raise RequirementError(mirrored(text))
        if x.shape[self.dim] != size:
            text = f"{name}.size({self.dim}) = {x.shape[self.dim]} must equal {wanted} {size}"
            raise RequirementError(mirrored(text))


class CatTransform(_SideBySide):
    """Maps of parts of the given lengths along `dim`."""

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            text = f"lengths ({len(self.lengths)}) must match transforms ({len(self.transforms)})"
            raise RequirementError(mirrored(text))
        self.domain = constraints.cat([t.domain for t in self.transforms], dim, self.lengths)
        self.codomain = constraints.cat([t.codomain for t in self.transforms], dim, self.lengths)

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        return sum(self.lengths)

    def again(self, cache_size: int) -> Transform:
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def cut(self, x: Tensor, name: str) -> list[Tensor]:
        self._require(x, name, self.length, "length")
        return list(x.split(self.lengths, self.dim))

    def joined(self, parts: list[Tensor]) -> Tensor:
        return joining.cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found = self._stretches(x, y)
        found = [summed(one, self.event_dim - t.event_dim) for one, t in zip(found, self.transforms)]
        place = self.dim - x.ndim * (self.dim >= 0) + self.event_dim
        if place < 0:
            return joining.cat(found, place)
        total: Tensor = sum(found[1:], found[0])
        return total


class StackTransform(_SideBySide):
    """A map for each place along `dim`."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)
        self.domain = constraints.stack([t.domain for t in self.transforms], dim)
        self.codomain = constraints.stack([t.codomain for t in self.transforms], dim)

    def again(self, cache_size: int) -> Transform:
        return StackTransform(self.transforms, self.dim, cache_size)

    def cut(self, x: Tensor, name: str) -> list[Tensor]:
        self._require(x, name, len(self.transforms), "len(transforms)")
        return list(x.unbind(self.dim))

    def joined(self, parts: list[Tensor]) -> Tensor:
        return joining.stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return joining.stack(self._stretches(x, y), self.dim)
