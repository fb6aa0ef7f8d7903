"""Transforms: maps between kinds of values, with the logarithm of how much they stretch.

In flows a Tensor of values that `domain` allows, out flow values that `codomain` allows; `t.inv` goes back.
Of a map, `log_abs_det_jacobian(x, y)` is log |dy/dx|, summed over the axes of one value (`event_dim`). With
`cache_size=1` the last pair is kept, so that going back gives the very Tensor that one came from.

This file is what all maps share; `composing.py` puts several together, `scalar_maps.py` and `vector_maps.py`
have the maps. A new one is a subclass with `_call`, `_inverse`, `log_abs_det_jacobian`, and the shapes where
these change.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.distributions import constraints
from retrograd.runtime.distributions.distribution import Shape
from retrograd.runtime.tensor import Size, Tensor


class Transform:
    """Base of all maps."""

    bijective = False
    domain: Any = constraints.dependent
    codomain: Any = constraints.dependent
    __hash__ = None  # type: ignore[assignment]  # equal maps may hold Tensors

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ArgumentError(mirrored("cache_size must be 0 or 1"), f"it is {cache_size}")
        self._cache_size = cache_size
        self._pair: tuple[Any, Any] = (None, None)

    # ---- what a map knows ----------------------------------------------------------------------------------

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |dy/dx| at these values, for each event."""
        raise NotImplementedError

    @property
    def sign(self) -> Any:
        """1 where the map is increasing, −1 where it is decreasing."""
        raise NotImplementedError

    def forward_shape(self, shape: Shape) -> Size:
        """The shape of what is made of values of this shape."""
        return Size(shape)

    def inverse_shape(self, shape: Shape) -> Size:
        return Size(shape)

    def again(self, cache_size: int) -> Transform:
        """The same map with another cache."""
        if type(self).__init__ is not Transform.__init__:
            raise NotImplementedError(f"{type(self)}.with_cache is not implemented")
        return type(self)(cache_size)

    # ---- what is the same for all --------------------------------------------------------------------------

    @property
    def event_dim(self) -> int:
        """How many of the last axes belong to one value, before as after."""
        if self.domain.event_dim != self.codomain.event_dim:
            raise ArgumentError(mirrored("Please use either .domain.event_dim or .codomain.event_dim"))
        return int(self.domain.event_dim)

    @property
    def inv(self) -> Transform:
        """The way back."""
        return _Inverse(self)

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if cache_size == self._cache_size else self.again(cache_size)

    def __call__(self, x: Tensor) -> Tensor:
        if not self._cache_size:
            return self._call(x)
        if x is not self._pair[0]:
            self._pair = x, self._call(x)
        found: Tensor = self._pair[1]
        return found

    def back(self, y: Tensor) -> Tensor:
        if not self._cache_size:
            return self._inverse(y)
        if y is not self._pair[1]:
            self._pair = self._inverse(y), y
        found: Tensor = self._pair[0]
        return found

    def alike(self, other: Any) -> bool:
        """Whether another map of this class is the same."""
        return self is other

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.alike(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    """The way back of a map."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform._cache_size)
        self.transform = transform
        self.domain, self.codomain = transform.codomain, transform.domain
        self.bijective = transform.bijective

    @property
    def sign(self) -> Any:
        return self.transform.sign

    @property
    def inv(self) -> Transform:
        return self.transform

    def again(self, cache_size: int) -> Transform:
        return self.transform.with_cache(cache_size).inv

    def __call__(self, x: Tensor) -> Tensor:
        return self.transform.back(x)

    def back(self, y: Tensor) -> Tensor:
        return self.transform(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self.transform.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Shape) -> Size:
        return self.transform.inverse_shape(shape)

    def inverse_shape(self, shape: Shape) -> Size:
        return self.transform.forward_shape(shape)

    def alike(self, other: Any) -> bool:
        return self.transform == other.transform

    def __repr__(self) -> str:
        return f"_InverseTransform({self.transform!r})"


def summed(x: Tensor, axes: int) -> Tensor:
    """Summed over so many of the last axes."""
    return x.sum(tuple(range(-axes, 0))) if axes else x


def need_axes(shape: Shape, axes: int) -> None:
    """ArgumentError for a shape of fewer axes."""
    if len(shape) < axes:
        raise ArgumentError(mirrored("Too few dimensions on input"), f"{len(shape)} of at least {axes}")
