"""`linalg` beside PyTorch's: values, dtypes, gradients, second derivatives and errors.

A case is a line of `linalg_cases.py`. The comparison of values and gradients is that of test_functions.py.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from linalg_cases import ERRORS, LINALG
from test_functions import builtin, compare, flat, run

import retrograd
from retrograd import linalg
from retrograd.autograd import gradcheck, gradgradcheck
from retrograd.compiler import dtypes
from retrograd.compiler.errors import LinearAlgebraError, RetrogradError
from retrograd.compiler.ir.graph import Type
from retrograd.compiler.ops import cholesky, factor, lapack, lu, pivoted


def matrices(t: Any, dtype: str = "float64") -> dict[str, Any]:
    rng = np.random.default_rng(5)

    def made(array: Any) -> Any:
        return t.tensor(np.asarray(array, dtype)).requires_grad_()

    def random(*shape: int) -> Any:
        return rng.standard_normal(shape)

    a, s = random(4, 4), random(4, 4)
    return {
        "t": t,
        "L": t.linalg,
        "a": made(a),
        "b": made(random(4, 4)),
        "p": made(a @ a.T + np.eye(4)),
        "s": made(s + s.T),
        "tall": made(random(5, 3)),
        "wide": made(random(3, 5)),
        "stack": made(random(3, 4, 4)),
        "tallstack": made(random(3, 6, 4)),
        "v": made(random(4)),
        "sing": made([[1, 2, 3], [4, 5, 6], [5, 7, 9]]),
        "sing0": made(np.diag([1.0, 2.0, 0.0, 3.0])),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", LINALG)
def test_a_function_does_what_pytorch_does(torch: ModuleType, case: str) -> None:
    theirs, their_gradients = run(case, matrices(torch))
    ours, our_gradients = run(case, matrices(retrograd))
    results, expected = list(flat(ours)), list(flat(theirs))
    assert len(results) == len(expected)
    for one, other in zip(results, expected):
        compare(one, other)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        compare(our_gradients[name], gradient)


@pytest.mark.parametrize("case", LINALG)
def test_single_precision_stays_single(case: str) -> None:
    wide, _ = run(case, matrices(retrograd))
    narrow, _ = run(case, matrices(retrograd, "float32"))
    for one, other in zip(flat(narrow), flat(wide)):
        if one.dtype is not other.dtype:
            assert one.dtype is retrograd.float32
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=2e-2, atol=2e-3)


TWICE = {
    "inv": lambda a: linalg.inv(a),
    "solve": lambda a: linalg.solve(a, a.mT),
    "det": lambda a: linalg.det(a),
    "logabsdet": lambda a: linalg.slogdet(a)[1],
    "cholesky": lambda a: linalg.cholesky(a @ a.mT),
    "lu": lambda a: linalg.lu(a)[1] @ linalg.lu(a)[2].tanh(),
    "tall lu": lambda a: linalg.lu(a[:, :3]).L.tanh(),
    "wide lu": lambda a: linalg.lu(a[:3]).U.tanh(),
    "lu_solve": lambda a: linalg.lu_solve(*linalg.lu_factor(a), a.mT),
    "matrix_exp": lambda a: linalg.matrix_exp(a),
    "qr": lambda a: linalg.qr(a)[1].abs(),
    "wide qr": lambda a: linalg.qr(a[:3])[0].abs(),
    "tall qr": lambda a: linalg.qr(a[:, :3])[0].abs(),
    "eigh": lambda a: linalg.eigh(a + a.mT)[1].square(),
    "svd": lambda a: linalg.svd(a)[0].square(),
    "tall svd": lambda a: linalg.svd(a[:, :2], False)[0].square(),
    "wide svd": lambda a: linalg.svd(a[:2], False)[2].square(),
    "pinv": lambda a: linalg.pinv(a[:, :2]),
    "nuclear": lambda a: linalg.matrix_norm(a, "nuc"),
}


@pytest.mark.parametrize("name", TWICE)
def test_first_and_second_derivatives_agree_with_differences(name: str) -> None:
    a = matrices(retrograd)["a"]
    assert gradcheck(TWICE[name], (a,))
    assert gradgradcheck(TWICE[name], (a,))


def test_equal_singular_values_have_gradients() -> None:
    a = (retrograd.eye(3, dtype=retrograd.float64) * 2).requires_grad_()
    linalg.svdvals(a).sum().backward()
    assert a.grad is not None
    np.testing.assert_allclose(a.grad, np.eye(3), atol=1e-12)


def test_permutations_have_no_history_however_often_they_are_asked_for() -> None:
    x = retrograd.eye(3, requires_grad=True)
    for _ in range(4):
        found = retrograd.linalg.lu(x)
        assert (found.P.requires_grad, found.L.requires_grad) == (False, True)
        assert not retrograd.linalg.lu_factor(x)[1].requires_grad


def test_the_determinant_of_a_singular_matrix_has_its_cofactors_for_a_gradient() -> None:
    a = retrograd.tensor([[1.0, 2, 3], [4, 5, 6], [5, 7, 9]], dtype=retrograd.float64, requires_grad=True)
    linalg.det(a).backward()
    assert a.grad is not None
    np.testing.assert_allclose(a.grad, [[3, -6, 3], [3, -6, 3], [-3, 6, -3]], atol=1e-12)


OPS_OF_LAPACK = [
    (lapack.Inverse(), (4, 4)), (lapack.Det(), (4, 4)), (lapack.Cofactors(), (4, 4)),
    (lapack.LogAbsDet(), (4, 4)), (lapack.SignOfDet(), (4, 4)), (cholesky.Cholesky(), (4, 4)),
    (factor.Eigh(False), (4, 4)), (factor.Eigenvalues(True), (4, 4)),
    (factor.SingularValues(), (5, 3)), (factor.Rank(0.0, 0.0), (3, 5)),
    (factor.Svd(), (5, 3)), (factor.Svd(), (3, 5)), (factor.Qr(), (5, 3)), (factor.Qr(), (3, 5)),
    (lu.Lu(), (4, 4)), (lu.Lu(), (5, 3)), (pivoted.Pivots(), (3, 5)), (pivoted.Pivots(), (6, 3)),
    (pivoted.Info("lu"), (4, 4)), (pivoted.Info("cholesky"), (4, 4)), (lu.MatrixExp(), (4, 4)),
    (factor.Qr(complete=True), (5, 3)), (factor.Complement(), (5, 3)), (factor.Pinv(0.0, 0.0), (5, 3)),
    (factor.RankedPinv(0.0, 0.0), (3, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shape"), OPS_OF_LAPACK, ids=lambda x: getattr(x, "name", str(x)))
def test_the_inferred_type_is_that_of_the_value(op: lapack.Lapack, shape: tuple[int, int]) -> None:
    m, n = shape
    a = np.random.default_rng(0).standard_normal((2, m, n)).astype(np.float32)
    given = a @ a.swapaxes(-1, -2) + np.eye(m, dtype=np.float32) if m == n else a
    found = op.evaluate(given)
    assert Type(found.shape, dtypes.dtype(found.dtype)) == op.infer(Type(given.shape, dtypes.float32))


def test_the_full_factors_are_orthonormal_and_multiply_to_the_matrix() -> None:
    for name in ("tall", "wide"):
        a = matrices(retrograd)[name].detach()
        u, s, vh = linalg.svd(a)
        m, n = a.shape
        middle = np.zeros((m, n))
        np.fill_diagonal(middle, s.numpy())
        np.testing.assert_allclose(u.mT @ u, np.eye(m), atol=1e-12)
        np.testing.assert_allclose(vh @ vh.mT, np.eye(n), atol=1e-12)
        np.testing.assert_allclose(u.numpy() @ middle @ vh.numpy(), a, atol=1e-12)


@pytest.mark.parametrize("case", ERRORS)
def test_a_failure_says_what_pytorch_says(torch: ModuleType, case: str) -> None:
    errors = []
    for t in (torch, retrograd):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is what the test asks
            eval(case, matrices(t))
        errors.append(caught.value)
    theirs, ours = errors
    assert isinstance(ours, RetrogradError)
    assert isinstance(ours, builtin(theirs))
    if "int64" not in case:  # ours names the dtypes that LAPACK takes
        assert str(ours) == str(theirs).splitlines()[0]


def test_a_singular_matrix_of_a_stack_is_named(torch: ModuleType) -> None:
    errors = []
    for t in (torch, retrograd):
        stack = t.stack([t.eye(2), t.zeros(2, 2)])
        with pytest.raises(t.linalg.LinAlgError) as caught:
            t.linalg.inv(stack)
        errors.append(str(caught.value))
    assert errors[1] == errors[0]


def test_no_derivative_of_a_complete_qr() -> None:
    tall = matrices(retrograd)["tall"]
    with pytest.raises(RuntimeError, match="not differentiable when mode='complete' and nrows > ncols"):
        linalg.qr(tall, mode="complete")[0].sum().backward()


SHAPED_BY_ELEMENTS = [case for case in LINALG if "driver" in case]
"""Whether there are residuals depends on the rank."""


@pytest.mark.parametrize("case", [case for case in LINALG if case not in SHAPED_BY_ELEMENTS])
def test_compiled_functions_do_what_eager_mode_does(case: str) -> None:
    def gradients_of(function: Any) -> tuple[list[Any], dict[str, Any]]:
        given = {name: x for name, x in matrices(retrograd).items() if name not in "tL"}
        result, gradients = run(
            "function(given)", given | {"t": retrograd, "function": function, "given": given}
        )
        return list(flat(result)), gradients

    def function(given: dict[str, Any]) -> Any:
        return eval(case, {"t": retrograd, "L": linalg} | given)

    (eager, eager_gradients), (compiled, gradients) = map(
        gradients_of, (function, retrograd.compile_grad(function))
    )
    for one, other in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-10, atol=1e-10)
    assert gradients.keys() >= eager_gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, eager_gradients.get(name, 0.0), rtol=1e-9, atol=1e-9)


def test_what_has_no_answer_is_told_at_the_line_that_asked_for_it() -> None:
    @retrograd.compile_grad
    def f(a: Any) -> Any:
        double = a * 2
        return linalg.inv(double).sum()  # here

    with pytest.raises(LinearAlgebraError, match="the inversion could not be completed") as told:
        f(retrograd.zeros(3, 3))
    source = Path(__file__).read_text().splitlines()
    assert told.value.where is not None
    assert source[told.value.where.line - 1].endswith("# here")


def test_the_stages_between_can_be_read() -> None:
    f = retrograd.compile_grad(lambda a: linalg.inv(a.exp()).tanh().sum())
    program = f.trace(retrograd.eye(3).requires_grad_())
    assert "inv(" in str(program.graph)
    assert program.llvm.count("define") >= 2
    assert "exp" in str(program.loops)
    assert "tanh" in str(program.loops)
    assert program.ptx(of="graph").count(".visible .entry") == 2


def test_a_training_step_may_hold_lapack() -> None:
    a = retrograd.eye(3, dtype=retrograd.float64).mul(2).requires_grad_()
    step = retrograd.compile_step(lambda: -linalg.slogdet(a)[1], retrograd.optim.SGD([a], lr=0.5))
    for _ in range(2):
        step()
    # the diagonal d follows d + 0.5 / d
    np.testing.assert_allclose(a.detach(), np.eye(3) * (2.25 + 0.5 / 2.25))


@pytest.mark.parametrize(
    "name", ["vector_norm", "matrix_norm", "norm", "cross", "matrix_power", "multi_dot", "vecdot"]
)
def test_what_needs_no_lapack_is_compiled(name: str) -> None:
    a, b = retrograd.randn(3, 3), retrograd.randn(3, 3)
    given = {"matrix_power": (a, 3), "multi_dot": ([a, b, a],), "cross": (a, b), "vecdot": (a, b)}
    f = getattr(linalg, name)
    compiled = retrograd.compile_grad(lambda: f(*given.get(name, (a,))))()
    np.testing.assert_allclose(compiled, f(*given.get(name, (a,))), rtol=1e-5)
