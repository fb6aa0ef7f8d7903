"""Equations and inverses of matrices that LAPACK factors and our kernel substitutes in, beside the peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import retrograd
from retrograd.compiler.errors import LinearAlgebraError

SIZES = (33, 48, 50, 65, 100, 129, 200)


def _matrix(kind: str, n: int) -> Any:
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, n))
    match kind:
        case "near singular":
            u, _, v = np.linalg.svd(a)
            return (u * np.logspace(0, -4, n)) @ v
        case "graded":
            return a * np.logspace(3, -3, n)
        case "with exchanges of all rows":
            return np.eye(n)[::-1] + np.triu(a[::-1], n // 2) * 0.1
    return a


def _error(a: Any, x: Any, b: Any) -> float:
    """The backward error of a solution, in float64 (Rigal and Gaches, 1967)."""
    a, x, b = (y.astype(np.float64) for y in (a, x, b))
    norm = np.linalg.norm
    return float(norm(a @ x - b) / (norm(a) * norm(x) + norm(b)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["any", "near singular", "graded", "with exchanges of all rows"])
def test_backward_errors_are_no_worse_than_lapacks(kind: str, dtype: Any) -> None:
    for n in SIZES:
        a = _matrix(kind, n).astype(dtype)
        b = np.random.default_rng(1).standard_normal((n, n + 3)).astype(dtype)
        given, unit = retrograd.tensor(a), np.eye(n, dtype=dtype)
        mine = _error(a, retrograd.linalg.solve(given, retrograd.tensor(b)).numpy(), b)
        assert mine <= 2 * _error(a, np.linalg.solve(a, b), b) + np.finfo(dtype).eps
        mine = _error(a, retrograd.linalg.inv(given).numpy(), unit)
        assert mine <= 2 * _error(a, np.linalg.inv(a), unit) + np.finfo(dtype).eps


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_stacks_sides_and_views_beside_pytorch(batch: tuple[int, ...], n: int) -> None:
    rng, found = np.random.default_rng(2), []
    a, b = rng.standard_normal((*batch, n, n)), rng.standard_normal((*batch, 5, n))
    for t in (retrograd, torch):
        x, sides = t.tensor(a).requires_grad_(), t.tensor(b).mT
        results = [t.linalg.inv(x), t.linalg.solve(x, sides), t.linalg.solve(x.mT, sides[..., :1])]
        results += [t.linalg.solve(x, sides[..., 0]), t.linalg.solve(x, sides.mT, left=False)]
        (slope,) = t.autograd.grad(sum(r.sin().sum() for r in results), x)
        found.append([r.detach().numpy() for r in (*results, slope)])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6 * abs(theirs).max())


def test_a_singular_matrix_among_others_is_refused_in_pytorchs_words() -> None:
    a = np.random.default_rng(0).standard_normal((2, 70, 70))
    a[1, :, 7] = 0
    for name, others in (("inv", ()), ("solve", (np.ones((2, 70, 1)),))):
        with pytest.raises(RuntimeError) as theirs:
            getattr(torch.linalg, name)(torch.tensor(a), *map(torch.tensor, others))
        with pytest.raises(LinearAlgebraError) as mine:
            getattr(retrograd.linalg, name)(retrograd.tensor(a), *map(retrograd.tensor, others))
        assert str(mine.value) == str(theirs.value)


def test_compiled_programs_give_the_same_bits() -> None:
    rng = np.random.default_rng(5)
    a, b = (retrograd.tensor(rng.standard_normal(shape)) for shape in ((80, 80), (80, 6)))
    f = retrograd.compile_grad(lambda a, b: retrograd.linalg.solve(a, b) + retrograd.linalg.inv(a)[:, :6])
    eager = retrograd.linalg.solve(a, b) + retrograd.linalg.inv(a)[:, :6]
    np.testing.assert_array_equal(f(a, b).numpy(), eager.numpy())
