"""What the tests of `compile_grad` work with: arrays and leaves of a seed, and a network of two layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import retrograd as rg

Function = Callable[..., Any]


def array(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def leaf(*shape: int, seed: int = 0, dtype: Any = np.float64) -> rg.Tensor:
    return rg.from_numpy(array(*shape, seed=seed, dtype=dtype)).requires_grad_()


def close(ours: Any, theirs: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=rtol, atol=rtol)


def two_layers(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    return ((x @ w1).clamp(min=0) @ w2 - y).pow(2).sum()


SHAPES = ((8, 5), (8, 3), (5, 7), (7, 3))
