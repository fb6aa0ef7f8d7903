"""What NumPy's BLAS is, and products in eager mode where it does not use the vectors that there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler import dtypes
from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.ir.graph import Type
from retrograd.compiler.ops.contract import Dot
from retrograd.runtime.eager import one_op
from retrograd.runtime.native import blas

WIDE = Target.of("x86_64-unknown-linux-gnu", "znver5", "+avx2,+fma,+avx512f,+avx512vl")
PACKED = sorted((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"))


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What is known of NumPy's BLAS and of ops is forgotten, before and after."""
    blas.is_narrow.cache_clear()
    one_op.value_of.cache_clear()
    yield
    blas.is_narrow.cache_clear()
    one_op.value_of.cache_clear()


@pytest.mark.skipif(not PACKED, reason="NumPy has another BLAS than its packages'")
def test_openblas_names_the_core_of_its_kernels() -> None:
    assert blas.core_name()


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize(
    ("target", "core", "expected"),
    [
        (WIDE, "Haswell", True),
        (WIDE, "Zen", True),
        (WIDE, "SkylakeX", False),
        (WIDE, "SapphireRapids", False),
        (WIDE, None, False),
        (WIDE.narrowed(), "Haswell", False),
        (Target.of(WIDE.triple, "znver4", WIDE.features), "Haswell", False),
    ],
)
def test_it_is_narrow_where_its_kernels_are_narrower_than_vectors(
    monkeypatch: pytest.MonkeyPatch, target: Target, core: str | None, expected: bool
) -> None:
    monkeypatch.setattr(blas, "host", lambda: target)
    monkeypatch.setattr(blas, "core_name", lambda: core)
    assert blas.is_narrow() is expected


@pytest.mark.usefixtures("asked_anew")
def test_no_library_beside_numpy_is_no_narrow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_libraries", lambda: iter([Path("no such library")]))
    assert blas.core_name() is None
    assert not blas.is_narrow()


def _is_ours(left: tuple[int, ...], right: tuple[int, ...], dtype: Any = dtypes.float64) -> bool:
    return one_op.value_of(Dot(), (Type(left, dtype), Type(right, dtype))) is not None


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("narrow", [True, False])
def test_products_of_some_size_are_ours_where_it_is_narrow(
    monkeypatch: pytest.MonkeyPatch, narrow: bool
) -> None:
    monkeypatch.setattr(blas, "is_narrow", lambda: narrow)
    assert _is_ours((128, 128), (128, 128)) is narrow
    assert _is_ours((10, 1000), (1000, 1000)) is narrow
    assert not _is_ours((100, 100), (100, 100))
    assert not _is_ours((1, 2000), (2000, 2000))  # memory takes all of the time
    assert not _is_ours((2000, 2000), (2000, 1))
    assert not _is_ours((200, 200), (200, 200), dtypes.int64)


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k", "n"), [(128, 128, 128), (131, 257, 67), (4, 1500, 400), (400, 16, 400)])
def test_such_products_and_gradients_are_right(
    monkeypatch: pytest.MonkeyPatch, m: int, k: int, n: int, dtype: str
) -> None:
    monkeypatch.setattr(blas, "is_narrow", lambda: True)
    rng = np.random.default_rng(m)
    given = [rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n), (m, n))]
    tolerance = (2e-5 if dtype == "float32" else 1e-13) * np.sqrt(k)
    x, y, z = (a.astype(np.float64) for a in given)
    for turned in (False, True):
        a, b = (rg.tensor(np.asfortranarray(u) if turned else u, requires_grad=True) for u in given[:2])
        out = a @ b
        out.backward(rg.tensor(given[2]))
        for ours, exact in ((out, x @ y), (a.grad, z @ y.T), (b.grad, x.T @ z)):
            np.testing.assert_allclose(ours.detach().numpy(), exact, rtol=0, atol=tolerance * 4)


@pytest.mark.usefixtures("asked_anew")
def test_what_is_not_a_number_stays_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "is_narrow", lambda: True)
    a, b = rg.ones(150, 150), rg.ones(150, 150)
    a[3, 5], a[7, 2] = float("nan"), float("inf")
    out = (a @ b).numpy()
    assert np.isnan(out[3]).all()
    assert np.isposinf(out[7]).all()
    assert (np.delete(out, [3, 7], 0) == 150).all()
