"""LAPACK by NumPy's inner functions and by its public ones, and triangles, whatever is in the matrices."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import retrograd
from retrograd import linalg
from retrograd.compiler.errors import LinearAlgebraError, ShapeError
from retrograd.compiler.ops import gufuncs

SHAPES = [(3, 3), (5, 2), (2, 5), (4, 3, 2), (2, 0, 3, 3), (0, 3), (3, 0), (1, 1), (2, 3, 20, 30)]
DTYPES = [np.float32, np.float64]
INNER = ["_QR", "_SVD", "_VALUES", "_EIGH", "_EIGENVALUES", "_SOLVE", "_CHOLESKY", "_DET", "_INV"]


def stack(shape: tuple[int, ...], dtype: type[np.floating]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.fixture(params=["inner", "public"])
def either(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, without_small_kernels: None
) -> None:
    """NumPy's inner functions, and the public ones, as where there are no inner ones."""
    if request.param == "public":
        for name in INNER:
            monkeypatch.setattr(gufuncs, name, ())


def test_this_numpy_has_the_inner_functions() -> None:
    assert all(getattr(gufuncs, name) for name in INNER)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_factors_are_those_of_numpy(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    for a in (stack(shape, dtype), stack((*shape[:-2], *shape[:-3:-1]), dtype).swapaxes(-1, -2)):
        q, r = linalg.qr(retrograd.from_numpy(a))
        expected = np.linalg.qr(a)
        np.testing.assert_array_equal(q, expected[0])
        np.testing.assert_array_equal(r, expected[1])
        found = linalg.svd(retrograd.from_numpy(a), full_matrices=False)
        for ours, theirs in zip(found, np.linalg.svd(a, full_matrices=False), strict=True):
            np.testing.assert_array_equal(ours, theirs)


GREAT = {
    "qr": "L.qr(tall)", "wide qr": "L.qr(tall.mT)", "complete qr": "(L.qr(tall, mode='complete')[1],)",
    "geqrf": "t.geqrf(tall)", "singular values": "(L.svdvals(tall),)", "eigenvalues": "(L.eigvalsh(a),)",
    "eigh": "(L.eigh(a)[0],)", "inverse": "(L.inv(a),)", "solution": "(L.solve(a, tall),)",
    "logarithm": "L.slogdet(a)", "determinant": "(L.det(a / 8),)", "root": "(L.cholesky(a),)",
    "triangle": "(L.solve_triangular(a, tall, upper=True),)", "LU": "(L.lu_solve(*L.lu_factor(a), tall),)",
    "infinite": "(L.inv_ex(a).inverse, L.solve_ex(a, tall).result)", "roots": "L.cholesky_ex(a)",
}  # fmt: skip


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", GREAT)
def test_great_matrices_are_factored_in_their_own_dtype(
    case: str, dtype: type[np.floating], torch: ModuleType
) -> None:
    tall = stack((2, 90, 70), np.float64)
    a, results = tall @ tall.swapaxes(-1, -2) / 90 + np.eye(90), []
    for t, kind in ((retrograd, dtype), (torch, np.float64)):
        names = {"t": t, "L": t.linalg, "a": t.tensor(a.astype(kind)), "tall": t.tensor(tall.astype(kind))}
        results.append(eval(GREAT[case], names))
    for ours, theirs in zip(*results, strict=True):
        blur = 64 * float(np.finfo(dtype).eps) * max(1.0, float(theirs.abs().max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=blur)
        assert ours.numpy().dtype in (dtype, np.int32)


@pytest.mark.parametrize("n", [3, 40])
def test_cofactors_are_determinants_of_minors(n: int) -> None:
    a = stack((n, n), np.float64) * 3 / np.sqrt(n)
    for given in (a, np.where(np.arange(n) == 1, 0, a), np.where(np.arange(n) == 1, a[:, :1], a), 0 * a):
        x = retrograd.tensor(given, requires_grad=True)
        linalg.det(x).backward()
        assert x.grad is not None
        expected = [
            [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(given, i, 0), j, 1)) for j in range(n)]
            for i in range(n)
        ]
        np.testing.assert_allclose(x.grad, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 0, 3, 3), (0, 0), (2, 1, 5, 5)])
def test_eigenvalues_are_those_of_numpy(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    a = stack(shape, dtype)
    for given in (a, a.swapaxes(-1, -2)):
        for triangle in ("L", "U"):
            found = linalg.eigh(retrograd.from_numpy(given), triangle)
            for ours, theirs in zip(found, np.linalg.eigh(given, triangle), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (0, 0), (0, 2, 2), (2, 0, 0), (1, 1)])
def test_square_roots_are_those_of_numpy(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    a = stack(shape, dtype)
    a = a @ a.swapaxes(-1, -2) + np.eye(shape[-1], dtype=dtype)
    found, expected = linalg.cholesky(retrograd.from_numpy(a)).numpy(), np.linalg.cholesky(a)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    upper = linalg.cholesky(retrograd.from_numpy(a.swapaxes(-1, -2)), upper=True)
    np.testing.assert_array_equal(upper, np.linalg.cholesky(a.swapaxes(-1, -2)).swapaxes(-1, -2))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("worst", [-1.0, 0.0, float("nan"), float("-inf")])
def test_what_has_no_square_root_says_so_as_pytorch_does(worst: float, torch: ModuleType) -> None:
    a = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    a[1, 1, 1] = worst
    for given in (a, a[1]):
        with pytest.raises(torch.linalg.LinAlgError) as expected:
            torch.linalg.cholesky(torch.from_numpy(given))
        with pytest.raises(LinearAlgebraError) as raised:
            linalg.cholesky(retrograd.from_numpy(given))
        assert str(raised.value) == str(expected.value)
    found, info = linalg.cholesky_ex(retrograd.from_numpy(a))
    assert info.tolist() == [0, 2, 0]
    np.testing.assert_array_equal(found[0], a[0])


@pytest.mark.usefixtures("either")
def test_what_has_no_eigenvalues_says_so_as_pytorch_does(torch: ModuleType) -> None:
    a = np.stack([np.eye(3), np.full((3, 3), np.inf), np.diag([1, np.inf, 2])])
    for given in (a, a[1]):
        with pytest.raises(torch.linalg.LinAlgError) as expected:
            torch.linalg.eigh(torch.from_numpy(given))
        with pytest.raises(LinearAlgebraError) as raised:
            linalg.eigh(retrograd.from_numpy(given))
        assert f"{str(raised.value)[:-1]} (error code: 2)." == str(expected.value)
    assert linalg.eigvalsh(retrograd.from_numpy(a[2])).isnan().all()


@pytest.mark.usefixtures("either")
def test_what_has_no_singular_values_says_so_as_pytorch_does(torch: ModuleType) -> None:
    a = np.tile(np.eye(2, dtype=np.float32), (3, 1, 1))
    a[1, 0, 1] = np.inf
    ours, theirs = linalg.svdvals(retrograd.from_numpy(a)), torch.linalg.svdvals(torch.from_numpy(a))
    np.testing.assert_array_equal(ours, theirs)
    a[2, 1, 1] = np.nan
    for given in (a, a[2]):
        with pytest.raises(torch.linalg.LinAlgError) as expected:
            torch.linalg.svd(torch.from_numpy(given))
        with pytest.raises(LinearAlgebraError) as raised:
            linalg.svd(retrograd.from_numpy(given))
        assert str(raised.value) == str(expected.value)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_triangles_are_solved_as_in_pytorch(
    upper: bool, left: bool, unit: bool, dtype: type[np.floating], torch: ModuleType
) -> None:
    """Their other triangle is not read, nor is the diagonal of ones."""
    for batch, n, k in [((), 3, 2), ((2, 1), 5, 1), ((), 200, 3), ((3,), 1, 4), ((2,), 0, 3), ((), 4, 0)]:
        a = stack((*batch, n, n), dtype) * 0.1
        np.einsum("...ii->...i", a)[...] += 2
        full = np.where(np.tri(n, dtype=bool), a, np.nan)
        full = full.swapaxes(-1, -2) if upper else full
        if unit:
            np.einsum("...ii->...i", full)[...] = np.nan
        full = full.astype(dtype)
        b = stack((3, n, k) if batch == (2, 1) else (*batch, n, k), dtype)
        b = b if left else b.swapaxes(-1, -2)
        options = {"upper": upper, "left": left, "unitriangular": unit}
        ours = linalg.solve_triangular(retrograd.from_numpy(full), retrograd.from_numpy(b), **options)
        theirs = torch.linalg.solve_triangular(torch.from_numpy(full), torch.from_numpy(b), **options)
        eps = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(ours, theirs, rtol=100 * eps, atol=100 * eps)


@pytest.mark.parametrize("upper", [False, True])
def test_a_zero_on_the_diagonal_divides(upper: bool, torch: ModuleType) -> None:
    a = np.array([[2, 0, 0], [1, 0, 0], [1, 2, 3]], np.float64)
    b = np.array([[1, 2], [3, 4], [5, 6]], np.float64)
    for given in (a, np.zeros((3, 3)), np.stack([a, np.eye(3)]), a * np.nan, np.where(a == 3, np.inf, a)):
        turned = given.swapaxes(-1, -2) if upper else given
        ours = linalg.solve_triangular(retrograd.tensor(turned), retrograd.tensor(b), upper=upper)
        theirs = torch.linalg.solve_triangular(torch.tensor(turned), torch.tensor(b), upper=upper)
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("upper", [False, True])
def test_derivatives_of_triangles_agree_with_differences(upper: bool, unit: bool) -> None:
    a = retrograd.tensor(stack((2, 4, 4), np.float64) * 0.3 + 2 * np.eye(4), requires_grad=True)
    b = retrograd.tensor(stack((4, 3), np.float64), requires_grad=True)

    def solved(a: retrograd.Tensor, b: retrograd.Tensor) -> retrograd.Tensor:
        return linalg.solve_triangular(a, b, upper=upper, unitriangular=unit)

    assert retrograd.autograd.gradcheck(solved, (a, b))
    assert retrograd.autograd.gradgradcheck(solved, (a, b))
    compiled = retrograd.compile_grad(lambda a, b: solved(a, b).square().sum())
    value, grads = compiled.value_and_grad(a, b)
    eager = solved(a, b).square().sum()
    eager.backward()
    np.testing.assert_allclose(value, eager.detach(), rtol=1e-13)
    for found, x in zip(grads, (a, b), strict=True):
        np.testing.assert_allclose(found, x.grad, rtol=1e-11, atol=1e-13)


def test_shapes_that_do_not_fit_are_told_as_in_pytorch(torch: ModuleType) -> None:
    for shape, left in [((3, 2), True), ((2, 3), False), ((2,), True), ((2,), False)]:
        with pytest.raises(RuntimeError) as expected:
            torch.linalg.solve_triangular(torch.eye(2), torch.ones(shape), upper=True, left=left)
        with pytest.raises(ShapeError) as raised:
            linalg.solve_triangular(retrograd.eye(2), retrograd.ones(shape), upper=True, left=left)
        assert str(raised.value) == str(expected.value)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_are_those_of_numpy(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    a = stack(shape, dtype)
    found, expected = linalg.svdvals(retrograd.from_numpy(a)).numpy(), np.linalg.svd(a, compute_uv=False)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 3, 4)])
def test_derivatives_of_singular_values_are_pytorchs(shape: tuple[int, ...], torch: ModuleType) -> None:
    a, gradients = stack(shape, np.float64), []
    for t in (retrograd, torch):
        x = t.tensor(a, requires_grad=True)
        (first,) = t.autograd.grad(t.linalg.svdvals(x).sin().sum(), x, create_graph=True)
        (second,) = t.autograd.grad(first.cos().sum(), x)
        gradients.append([first.detach().numpy(), second.numpy()])
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("recorded", [False, True])
def test_least_squares_are_the_same_at_every_call(recorded: bool, torch: ModuleType) -> None:
    a, b = stack((5, 3), np.float64), stack((5, 2), np.float64)
    expected = torch.linalg.lstsq(torch.from_numpy(a), torch.from_numpy(b))
    results = []
    for _ in range(5):
        x = retrograd.tensor(a, requires_grad=recorded)
        found = linalg.lstsq(x, retrograd.from_numpy(b))
        np.testing.assert_allclose(found.solution.detach(), expected.solution, rtol=1e-12)
        assert [tuple(each.shape) for each in found] == [tuple(each.shape) for each in expected]
        assert [str(each.dtype) for each in found] == [str(each.dtype) for each in expected]
        assert found.rank.item() == 3
        assert found.solution.requires_grad == recorded
        results.append(found)
    assert len({id(each) for found in results for each in found}) == 20


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (0, 3), (3, 0), (2, 0, 0)])
def test_ranks_are_pytorchs(shape: tuple[int, ...], torch: ModuleType) -> None:
    a = stack(shape, np.float64)
    a[..., -1:, :] = a[..., :1, :]
    for atol in (0.0, 1.0):
        ours = linalg.matrix_rank(retrograd.from_numpy(a), atol=atol, rtol=1e-9)
        theirs = torch.linalg.matrix_rank(torch.from_numpy(a), atol=atol, rtol=1e-9)
        np.testing.assert_array_equal(ours, theirs)
        assert str(ours.dtype) == str(theirs.dtype)
