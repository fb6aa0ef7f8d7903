"""Names that seldom occur, beside PyTorch's: factors of indefinite matrices, grouped products, axes by their
names, modules for several devices.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from function_cases import lines

import retrograd


def both(torch: ModuleType, case: str, **arrays: Any) -> list[Any]:
    """What a case gives there and here, or the errors."""
    found = []
    for t in (torch, retrograd):
        names = {name: t.tensor(array) for name, array in arrays.items()}
        try:
            found.append(eval(case, {"t": t, "L": t.linalg, "F": t.nn.functional, "nn": t.nn, **names}))
        except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
            found.append(error)
    return found


def same(theirs: Any, ours: Any, tolerance: float = 1e-5) -> None:
    """Nested results alike, of the same dtypes."""
    if isinstance(theirs, tuple):
        assert len(theirs) == len(ours)
        for x, y in zip(theirs, ours):
            same(x, y, tolerance)
    elif hasattr(theirs, "dtype"):
        assert str(theirs.dtype) == str(ours.dtype)
        assert tuple(theirs.shape) == tuple(ours.shape)
        values = [x.detach().double().numpy() for x in (ours, theirs)]
        assert np.allclose(*values, rtol=tolerance, atol=tolerance)
    else:
        assert str(ours) == str(theirs)


# ---- symmetric matrices that need not be positive ----------------------------------------------------------


def symmetric(*shape: int, dtype: str = "float64", seed: int = 0) -> Any:
    a = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return a + np.swapaxes(a, -1, -2)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, 20, 100])
@pytest.mark.parametrize("zeros", [False, True])
def test_ldl_factors_are_lapacks(torch: ModuleType, n: int, zeros: bool) -> None:
    a = symmetric(3, n, n, seed=n)
    if zeros:  # blocks of two
        a[..., np.arange(n), np.arange(n)] = 0
    same(*both(torch, "tuple(L.ldl_factor_ex(a))", a=a), 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ldl_solves(dtype: str) -> None:
    rng = np.random.default_rng(3)
    for n in (1, 2, 5, 9, 30):
        a, b = symmetric(2, n, n, dtype=dtype, seed=n), rng.standard_normal((2, n, 3)).astype(dtype)
        a[0, np.arange(n), np.arange(n)] = 0 if n > 1 else 2
        if n % 2 and n > 1:
            a[0, 0, 0] = 1
        packed, pivots = retrograd.linalg.ldl_factor(retrograd.tensor(a))
        x = retrograd.linalg.ldl_solve(packed, pivots, retrograd.tensor(b)).numpy()
        expected = np.linalg.solve(a.astype("float64"), b.astype("float64"))
        scale = np.abs(expected).max() * np.linalg.cond(a.astype("float64")).max()
        assert np.abs(x - expected).max() <= 20 * np.finfo(dtype).eps * scale


LDL = lines("""
    L.ldl_factor(t.ones(2, 3))
    L.ldl_factor(t.ones(2, 2).long())
    L.ldl_solve(a, p, b.float())
    L.ldl_solve(a, p, b[:2])
    L.ldl_solve(a, p, b[:, 0])
    L.ldl_factor(a[0])
    L.ldl_factor(a.half())
    L.ldl_solve(a[0], p, b)
    L.ldl_solve(a[:2], p[:2], b.float())
    L.ldl_solve(a, p[:2], b)
    L.ldl_solve(a, p.float(), b)
    L.ldl_solve(a.long(), p, b.long())
    L.ldl_solve(a.half(), p, b.half())
    L.ldl_factor(a.clone().requires_grad_()).LD.sum().backward()
    L.ldl_solve(a.clone().requires_grad_(), p, b).sum().backward()
""")


@pytest.mark.parametrize("case", LDL)
def test_ldl_refuses_in_pytorchs_words(torch: ModuleType, case: str) -> None:
    given = {"a": symmetric(3, 3), "p": np.array([1, 2, 3], "int32"), "b": np.ones((3, 2))}
    theirs, ours = both(torch, case, **given)
    assert isinstance(ours, Exception)
    assert str(ours) == str(theirs)


def test_ldl_solve_broadcasts_and_compiles(torch: ModuleType) -> None:
    given = {"a": symmetric(4, 4), "b": np.ones((2, 4, 3))}
    same(*both(torch, "L.ldl_solve(*L.ldl_factor(a), b)", **given), 1e-10)
    a, b = retrograd.tensor(given["a"]), retrograd.tensor(given["b"])

    def program(a: Any, b: Any) -> Any:
        return retrograd.linalg.ldl_solve(*retrograd.linalg.ldl_factor(a), b)

    same(program(a, b), retrograd.compile_grad(program)(a, b), 1e-12)


def test_a_singular_matrix_has_no_factors() -> None:
    with pytest.raises(retrograd.linalg.LinAlgError, match="row 1 is zero"):
        retrograd.linalg.ldl_factor(retrograd.zeros(2, 2))


# ---- grouped products --------------------------------------------------------------------------------------

GROUPED = lines("""
    F.grouped_mm(a, c, offs=e)
    F.grouped_mm(a, b, offs=k)
    F.grouped_mm(c, d)
    F.grouped_mm(c, b, offs=e)
    F.grouped_mm(a.bfloat16(), c.bfloat16(), offs=e)
    F.grouped_mm(a, c)
    F.grouped_mm(a, c, offs=e.long())
    F.grouped_mm(a, c, offs=e[None])
    F.grouped_mm(a, c, offs=k[:1])
    F.grouped_mm(a, c, offs=e, bias=a)
    F.grouped_mm(c, d, offs=e)
    F.grouped_mm(c, d[:1])
    F.grouped_mm(a[0], c, offs=e)
    F.grouped_mm(a, c[:, :4], offs=e)
    F.grouped_mm(a.double(), c.double(), offs=e)
    F.grouped_mm(a.bfloat16(), c.bfloat16(), offs=e, out_dtype=t.float32)
""")


@pytest.mark.parametrize("case", GROUPED)
def test_grouped_products(torch: ModuleType, case: str) -> None:
    rng = np.random.default_rng(5)
    a, b, c, d = (rng.standard_normal(s).astype("float32") for s in ((8, 8), (8, 8), (2, 8, 8), (2, 8, 8)))
    ends = {"e": np.array([3, 8], "int32"), "k": np.array([2, 8], "int32")}
    theirs, ours = both(torch, case, a=a, b=b, c=c, d=d, **ends)
    same(theirs, ours, 2e-2 if "bfloat16" in case else 1e-4)


def test_gradients_of_grouped_products(torch: ModuleType) -> None:
    found = []
    for t in (torch, retrograd):
        rng = np.random.default_rng(5)
        a, c = (t.tensor(rng.standard_normal(s).astype("float32")) for s in ((8, 8), (2, 8, 8)))
        a.requires_grad_(), c.requires_grad_()
        out = t.nn.functional.grouped_mm(a, c, offs=t.tensor([3, 8], dtype=t.int32))
        (out * out).sum().backward()
        found.append((a.grad, c.grad))
    same(*found, 1e-3)


# ---- axes by their names -----------------------------------------------------------------------------------

REARRANGED = lines("""
    t.func.rearrange(x, "a b c -> c b a")
    t.func.rearrange(x, "a b c -> (a b) c")
    t.func.rearrange(x, "a b (c d) -> a d b c", d=2)
    t.func.rearrange(x, "a ... -> ... a")
    t.func.rearrange(x, "a ... -> (... a)")
    t.func.rearrange(x, "... -> (...)")
    t.func.rearrange(x, "a ... c -> a (... c)")
    t.func.rearrange(x, "a b c -> a 1 b () c")
    t.func.rearrange(x[:, :1], "a 1 c -> a c")
    t.func.rearrange([x, x], "n a b c -> a n b c")
    t.func.rearrange((x, x), "n a b c -> a (n b) c")
    t.func.rearrange(x[0, 0, 0], "->")
    t.func.rearrange(x, "(a b) c d -> a b c d", a=2)
    t.func.rearrange(x, "a b c -> a b")
    t.func.rearrange(x, "a b -> b a")
    t.func.rearrange(x, "a b c > c b a")
    t.func.rearrange(x, "a b c -> a b c d")
    t.func.rearrange(x, "a a c -> a c")
    t.func.rearrange(x, "a b c -> (a (b c))")
    t.func.rearrange(x, "a (...) -> a ...")
    t.func.rearrange(x, "a b c -> a b 2")
    t.func.rearrange(x, "a b c -> a b c", d=2)
    t.func.rearrange(x, "a b c -> c b a", a="x")
    t.func.functionalize(lambda x: x.clone().add_(1))(x)
    t.func.functionalize(lambda x: x.view(-1).mul(2), remove="mutations_and_views")(x)
""")


@pytest.mark.parametrize("case", REARRANGED)
def test_axes_by_their_names(torch: ModuleType, case: str) -> None:
    same(*both(torch, case, x=np.arange(24.0).reshape(2, 3, 4)))


def test_sizes_that_do_not_fit_are_told() -> None:
    x = retrograd.ones(2, 3, 4)
    for pattern, lengths, told in (
        ("a b (c d) -> a b c d", {}, "sizes of c and d are not known"),
        ("a b (c d) -> a b c d", {"d": 3}, "axis of size 4; it cannot be"),
        ("a 1 c -> a c", {}, "axis of size 3; it cannot be one of size 1"),
    ):
        with pytest.raises(ValueError, match=told):
            retrograd.func.rearrange(x, pattern, **lengths)
    with pytest.raises(RuntimeError, match="invalid argument for remove=all"):
        retrograd.func.functionalize(abs, remove="all")(x)


def test_rearranged_tensors_are_views_and_have_gradients() -> None:
    x = retrograd.ones(2, 3, requires_grad=True)
    y = retrograd.func.rearrange(x, "a b -> b a")
    assert y._base is not None or y.data_ptr() == x.data_ptr()
    (y * retrograd.arange(6.0).view(3, 2)).sum().backward()
    assert x.grad.tolist() == [[0, 2, 4], [1, 3, 5]]


# ---- modules -----------------------------------------------------------------------------------------------


def modules(t: Any) -> list[Any]:
    x = t.tensor(np.random.default_rng(1).standard_normal((4, 6, 3, 3)).astype("float32"))
    norm = t.nn.SyncBatchNorm(6)
    net = t.nn.Sequential(
        t.nn.BatchNorm2d(6), t.nn.Sequential(t.nn.BatchNorm2d(6, affine=False), t.nn.ReLU())
    )
    synced = t.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    parallel = t.nn.DataParallel(t.nn.Flatten(1))
    first = [norm(x), norm.eval()(x), synced(x), synced.eval()(x), parallel(x), parallel.forward(input=x)]
    texts = [repr(norm), repr(synced), repr(parallel), list(parallel.state_dict()), parallel.device_ids]
    shared = synced[0].weight is net[0].weight and synced[0].running_mean is net[0].running_mean
    lrn = [t.nn.CrossMapLRN2d(size, 0.3, 0.6, 1.5) for size in (1, 3, 4, 5)]
    return [*first, *texts, shared, *(each(x) for each in lrn), repr(lrn[1])]


def test_modules_for_several_devices_and_lrn(torch: ModuleType) -> None:
    same(tuple(modules(torch)), tuple(modules(retrograd)))


@pytest.mark.parametrize(
    "case",
    [
        "nn.SyncBatchNorm(3)(t.ones(2))",
        "nn.SyncBatchNorm(3)(t.ones(2, 0))",
        "nn.CrossMapLRN2d(3)(t.ones(2, 2))",
    ],
)
def test_modules_refuse_what_pytorchs_do(torch: ModuleType, case: str) -> None:
    theirs, ours = both(torch, case)
    assert isinstance(ours, Exception)
    assert str(ours) == str(theirs)


def test_the_derivative_of_lrn_is_that_of_its_values() -> None:
    layer = retrograd.nn.CrossMapLRN2d(3, 0.5)
    x = retrograd.randn(1, 5, 2, 2, dtype=retrograd.float64, requires_grad=True)
    assert retrograd.autograd.gradcheck(layer, (x,))


def test_groups_of_processes_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="there is one process here"):
        retrograd.nn.SyncBatchNorm(3, process_group="all")


# ---- denormal floats ---------------------------------------------------------------------------------------


def flushed(t: Any) -> list[Any]:
    tiny, found = t.tensor([1e-40, 3e-39, 1.0]), []
    for mode in (True, False, True, False):
        found += [t.set_flush_denormal(mode), (tiny * 1).tolist(), (t.full((2,), 1e-30) * 1e-10).tolist()]
    return found


def test_denormal_floats_are_flushed_as_in_pytorch(torch: ModuleType) -> None:
    assert flushed(retrograd) == flushed(torch)
    with pytest.raises(RuntimeError, match="flush_denormal expects a bool, but got int"):
        retrograd.set_flush_denormal(3)


def test_all_threads_flush_them() -> None:
    before, x = retrograd.get_num_threads(), retrograd.full((1 << 21,), 1e-30)
    scaled = retrograd.compile_grad(lambda x: (x * 1e-10).exp() * 0 + x * 1e-10)
    retrograd.set_num_threads(4)
    try:
        for mode in (True, False, True, False):
            retrograd.set_flush_denormal(mode)
            for _ in range(5):  # their bits, as a comparison takes them for 0, too
                kept = np.count_nonzero(scaled(x).numpy().view("int32"))
                assert kept == (0 if mode else x.numel())
    finally:
        retrograd.set_flush_denormal(False)
        retrograd.set_num_threads(before)


# ---- memory that processes share ---------------------------------------------------------------------------


def sharing(t: Any) -> list[Any]:
    x, w = t.arange(6.0).reshape(2, 3), t.nn.Parameter(t.ones(2))
    y = x.t().contiguous().t()
    found = [x.is_shared(), x.share_memory_() is x, x.is_shared(), x[1:].is_shared(), x.clone().is_shared()]
    found += [
        y.share_memory_().stride(),
        y.tolist(),
        w.share_memory_().is_shared(),
        w.requires_grad,
        w.is_leaf,
    ]
    x[0, 0] = 7.0
    return [*found, x.tolist(), x._version, t.ones(()).share_memory_().item()]


def test_shared_tensors_are_what_they_were(torch: ModuleType) -> None:
    assert sharing(retrograd) == sharing(torch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_writes_what_this_one_reads() -> None:
    shared, own = retrograd.zeros(3).share_memory_(), retrograd.zeros(3)
    child = os.fork()
    if child == 0:
        shared.add_(2)
        own.add_(2)
        os._exit(0)
    os.waitpid(child, 0)
    assert shared.tolist() == [2, 2, 2]
    assert own.tolist() == [0, 0, 0]


# ---- a few eigenvectors ------------------------------------------------------------------------------------


def pairs(t: Any, n: int, case: str, dtype: str = "float64") -> list[Any]:
    """The eigenvalues that a case finds, and what its vectors leave of A·x - λ·B·x."""
    rng = np.random.default_rng(n)
    a = rng.standard_normal((2, n, n)).astype(dtype)
    a, b = t.tensor(a + np.swapaxes(a, -1, -2)), t.tensor(a @ np.swapaxes(a, -1, -2) + np.eye(n, dtype=dtype))
    t.manual_seed(0)
    values, vectors = eval(case, {"t": t, "A": a, "B": b, "one": a[0], "K": t.linalg.inv(b[0])})
    a, b = (a[0], b[0]) if "one" in case else (a, b)
    right = b @ vectors if "B" in case else vectors
    return [values, (a @ vectors - right * values.unsqueeze(-2)).abs().max() < 1e-4, vectors.mT @ right]


@pytest.mark.parametrize("n", [12, 60])
@pytest.mark.parametrize(
    "case",
    [
        "t.lobpcg(A, 2, tol=1e-9)", "t.lobpcg(A, 3, largest=False, tol=1e-9)", "t.lobpcg(A, tol=1e-9)",
        "t.lobpcg(one, k=2, B=B[0], tol=1e-9)", "t.lobpcg(one, k=1, n=3, method='basic', tol=1e-9)",
        "t.lobpcg(one, X=t.eye(one.shape[0], dtype=one.dtype)[:, :2], tol=1e-9)",
        "t.lobpcg(B, 2, iK=K, largest=False, tol=1e-9)",
    ],
)  # fmt: skip
def test_a_few_eigenvectors_are_those_of_pytorch(torch: ModuleType, n: int, case: str) -> None:
    same(tuple(pairs(torch, n, case)), tuple(pairs(retrograd, n, case)), 1e-5)


def test_eigenvectors_of_single_precision_stay_so(torch: ModuleType) -> None:
    theirs, ours = (pairs(t, 30, "t.lobpcg(A, 3)", "float32")[0] for t in (torch, retrograd))
    same(theirs, ours, 1e-3)


def test_derivatives_of_eigenvalues_and_vectors(torch: ModuleType) -> None:
    found = []
    for t in (torch, retrograd):
        rng = np.random.default_rng(0)
        a = rng.standard_normal((9, 9))
        a = t.tensor(a + a.T).requires_grad_()
        t.manual_seed(0)
        values, vectors = t.lobpcg(a, k=2, tol=1e-12)
        (values.sum() + (vectors**2 * t.arange(9.0, dtype=t.float64)[:, None]).sum()).backward()
        found.append(a.grad + a.grad.T)
    same(*found, 1e-5)


def test_derivatives_of_eigenvalues_in_a_metric() -> None:
    a, b = (retrograd.tensor(symmetric(6, 6, seed=k)) for k in (1, 2))
    b = b @ b + 6 * retrograd.eye(6, dtype=b.dtype)

    def greatest(a: Any, b: Any) -> Any:
        values, vectors = retrograd.lobpcg((a + a.mT) / 2, 2, (b + b.mT) / 2)
        return values.sum() + (vectors**2)[0].sum()

    assert retrograd.autograd.gradcheck(greatest, (a.requires_grad_(), b.detach().requires_grad_()))


@pytest.mark.parametrize(
    "case",
    ["t.lobpcg(t.ones(3, 2))", "t.lobpcg(t.eye(8), 3)", "t.lobpcg(t.eye(8), 1, t.eye(7))",
     "t.lobpcg(t.eye(8), 1, X=t.ones(7, 1))"],
)  # fmt: skip
def test_what_has_no_such_eigenvectors(torch: ModuleType, case: str) -> None:
    theirs, ours = both(torch, case)
    assert isinstance(ours, AssertionError | ValueError)
    assert str(ours) == str(theirs)


# ---- checkpoints -------------------------------------------------------------------------------------------


def test_generators_of_gpus_where_there_are_none(torch: ModuleType) -> None:
    def program(t: Any) -> list[Any]:
        checkpoint = import_module(f"{t.__name__}.utils.checkpoint")
        found = checkpoint.get_device_states(t.ones(2), [t.ones(2), {"a": t.ones(())}], 3)
        return [found, checkpoint.set_device_states(*found)]

    assert program(retrograd) == program(torch)


# ---- inputs of pools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool", "adaptive_max_pool"]
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_say_which_ranks_they_take(torch: ModuleType, kind: str, rank: int) -> None:
    given = "(x, 2, 2)" if kind == "lp_pool" else "(x, 2)"
    for ndim in {1, 2, 3, 4, 5, 6} - {rank + 1, rank + 2}:
        theirs, ours = both(torch, f"F.{kind}{rank}d{given}", x=np.ones((4,) * ndim, "float32"))
        assert isinstance(ours, RuntimeError | IndexError)
        assert str(ours) == str(theirs)
