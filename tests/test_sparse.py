"""Sparse Jacobians and Hessians: patterns, colours and elements, beside dense ones and PyTorch's."""

from __future__ import annotations

import builtins
import re
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import test_functions
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_random_graphs import programs

import retrograd as rg
from retrograd.compiler.adjoint import vjp
from retrograd.compiler.errors import (
    ArgumentError,
    DimensionError,
    DtypeError,
    MissingPackageError,
    RetrogradError,
    ShapeError,
    TraceError,
)
from retrograd.compiler.ir.graph import Array, Graph, interpret
from retrograd.compiler.passes.relations import Rows, gathered
from retrograd.compiler.passes.sparsity import dependence
from retrograd.func import Pattern, SparseRows, jacobian_pattern, sparse_hessian, sparse_jacobian
from retrograd.runtime.func.colouring import Plan, plan, symmetric_plan

F = rg.nn.functional
RNG = np.random.default_rng(0)
STENCIL = np.diag(np.arange(1.0, 6)) + np.diag(np.ones(4), 1)
WEIGHT, KERNEL = rg.tensor(RNG.standard_normal((4, 6))), rg.tensor(RNG.standard_normal((2, 3, 3)))
INDEX = rg.tensor([0, 2, 2, 4])


# ---- patterns and elements ---------------------------------------------------------------------------------

FUNCTIONS: dict[str, tuple[tuple[int, ...], Any]] = {
    "sin": ((5,), lambda x: x.sin()),
    "no dependence": ((5,), lambda x: rg.ones(3, dtype=rg.float64)),
    "no derivative": ((5,), lambda x: rg.stack([x.sign(), x.floor(), (x > 0).double()])),
    "some without": ((5,), lambda x: rg.cat([x.detach(), x * x.detach(), rg.ones(2, dtype=rg.float64)])),
    "from a number": ((), lambda x: x * rg.arange(1, 4)),
    "to a number": ((5,), lambda x: (x * x).sum()),
    "number to number": ((), lambda x: x.exp()),
    "identity": ((4,), lambda x: x),
    "from nothing": ((0,), lambda x: x * 2),
    "to nothing": ((4,), lambda x: x[:0]),
    "three points": ((9,), lambda x: x[2:] - 2 * x[1:-1] + x[:-2] ** 2),
    "five points": ((5, 6), lambda x: sum(x.roll(s, a) for s in (1, -1) for a in (0, 1)) - 4 * x),
    "repeated": ((5,), lambda x: x[INDEX] * x[:4]),
    "added at": ((4, 3), lambda x: rg.zeros(5, 3).double().index_add(0, INDEX, x)),
    "scattered": ((4, 3), lambda x: rg.zeros(5, 3).double().scatter_add(0, INDEX[:, None].expand(4, 3), x)),
    "put": ((5,), lambda x: x.index_put((INDEX[[0, 1, 3]],), x[:3].sin())),
    "a matrix with zeros": ((5,), lambda x: rg.tensor(STENCIL) @ x),
    "a triangle": ((4,), lambda x: rg.ones(4, 4).double().tril() @ x),
    "a triangle of it": ((4, 4), lambda x: x.tril()),
    "a constant mask": ((3, 3), lambda x: x.masked_fill(rg.eye(3, dtype=rg.bool), 3.0).sin()),
    "dense layer": ((3, 4), lambda x: (x @ WEIGHT).tanh()),
    "with itself": ((3, 4), lambda x: x @ x.T),
    "running sum": ((4, 3), lambda x: x.cumsum(0)),
    "running product": ((4, 3), lambda x: x.cumprod(1)),
    "running sum from behind": ((6,), lambda x: x.flip(0).cumsum(0).flip(0)),
    "running sum of exponentials": ((5,), lambda x: x.logcumsumexp(0)),
    "softmax": ((3, 4), lambda x: x.softmax(1)),
    "layer norm": ((3, 4), lambda x: F.layer_norm(x, (4,))),
    "convolution": ((1, 3, 7), lambda x: F.conv1d(x, KERNEL, padding=1)),
    "average pool": ((1, 1, 6, 6), lambda x: F.avg_pool2d(x, 2)),
    "product": ((3, 4), lambda x: x.prod(0)),
    "diagonal": ((4, 4), lambda x: x.diagonal() * 2),
    "windows": ((9,), lambda x: x.unfold(0, 3, 2).prod(1)),
    "dense row": ((20,), lambda x: rg.cat([x * x, (x * x).sum()[None]])),
    "dense column": ((20,), lambda x: x * x[0]),
    "arrow": ((20,), lambda x: rg.cat([x[1:] * x[0], (x * x).sum()[None]])),
    "inverses": ((2, 3, 3), lambda x: rg.linalg.inv(x + 4 * rg.eye(3).double())),
    "attention": ((2, 3, 4), lambda x: F.scaled_dot_product_attention(x, x, x)),
    "circular": ((1, 5), lambda x: F.pad(x, (1, 2), mode="circular").exp()),
    "map by scan": ((6, 3), lambda x: rg.scan(lambda c, a: (c, a.sin() * a.sum()), x[0].detach(), x)[1]),
    "end of scan": ((6, 3), lambda x: rg.scan(lambda c, a: (c * 0.5 + a, c), x[0], x)[0]),
    "while": (
        (6,),
        lambda x: rg.while_loop(lambda c: (c * c).sum() < 100, lambda c: (c * 1.5 + 0.1,), (x,))[0],
    ),
}
WIDER: dict[str, tuple[tuple[int, ...], Any]] = {
    "either": ((5,), lambda x: rg.where(x > 0, x * 2, x.roll(1))),
    "greatest": ((3, 4), lambda x: x.amax(0)),
    "order": ((5,), lambda x: x.sort(0).values),
    "index of it": ((5,), lambda x: x[(x > 0).long()]),
    "pool": ((1, 1, 6, 6), lambda x: F.max_pool2d(x, 2)),
    "running maximum": ((4, 3), lambda x: x.cummax(0).values),
    "factor": ((2, 3, 3), lambda x: rg.linalg.cholesky(x @ x.mT + rg.eye(3).double())),
    "solution": ((5,), lambda x: rg.linalg.solve(rg.tensor(STENCIL) + rg.diag_embed(x * 0.1), x[:, None])),
    "scan": ((6, 3), lambda x: rg.scan(lambda c, a: (c * 0.5 + a, c * a), x[0], x)[1]),
}
"""Functions whose elements at one point are other than zero in fewer places than at all points together, or
than are told."""


def dense(function: Any, x: Array) -> Array:
    """The Jacobian by `jacrev`, with as many rows as the output has elements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rg.func.jacrev(function)(rg.tensor(x)).detach().numpy()
    return found.reshape(-1, x.size) if x.size else np.zeros((len(found), 0))


@pytest.mark.parametrize("name", [*FUNCTIONS, *WIDER])
def test_elements_are_those_of_the_dense_jacobian(name: str) -> None:
    shape, function = {**FUNCTIONS, **WIDER}[name]
    x = np.random.default_rng(1).standard_normal(shape)
    expected = dense(function, x)
    found = sparse_jacobian(function)(x)
    assert isinstance(found, SparseRows)
    assert isinstance(found.data, np.ndarray)
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-9, atol=1e-12)
    of_tensors = sparse_jacobian(function)(rg.tensor(x))
    assert isinstance(of_tensors.data, rg.Tensor)
    np.testing.assert_allclose(of_tensors.to_dense().numpy(), expected, rtol=1e-9, atol=1e-12)
    if name in FUNCTIONS:
        assert np.array_equal(found.pattern.to_dense(), expected != 0)


CASES = [case for case in test_functions.CASES if "detach" not in case]
NO_ROWS = re.compile("how many there are is known only|its elements are known only")


@pytest.mark.parametrize("case", CASES)
def test_patterns_hold_all_that_is_not_zero(case: str) -> None:
    names = test_functions.operands(rg, "float64", requires_grad=False)
    tensors = {name: x for name, x in names.items() if hasattr(x, "is_leaf") and x.is_floating_point()}
    used = [name for name in tensors if re.search(rf"\b{name}\b", case)]

    def function(*args: Any) -> list[Any]:
        world = {**names, **dict(zip(used, args))}
        rg.manual_seed(0)
        steps, _, last = case.rpartition("; ")
        exec(steps, world)
        results = test_functions.flat(eval(last, world))
        return [y for y in results if hasattr(y, "detach") and y.is_floating_point()]

    given, places = [tensors[name] for name in used], tuple(range(len(used)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            expected = rg.func.jacrev(function, argnums=places)(*given) if used else []
        except (RetrogradError, TypeError):  # not for all is there a derivative
            return
        try:
            found = jacobian_pattern(function, argnums=places)(*given) if used else []
        except TraceError as error:
            assert NO_ROWS.search(str(error))  # noqa: PT017  # any other is a defect
            return
    for row, patterns in zip(expected, found, strict=True):
        for block, pattern in zip(row, patterns, strict=True):
            whole = np.nan_to_num(block.detach().numpy().reshape(pattern.shape), nan=0.0)
            assert not (whole != 0)[~pattern.to_dense()].any()


@given(programs())
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_patterns_of_random_graphs_hold_their_jacobians(case: tuple[Graph, list[Array]]) -> None:
    graph, arrays = case
    out = graph.outputs[-1]
    assume(0 < out.type.size <= 60 and out.dtype.is_floating_point)
    alone = Graph(graph.name, graph.inputs, (out,))
    back = vjp(alone, range(len(arrays)))
    units = np.eye(out.type.size, dtype=out.dtype.numpy).reshape(-1, *out.shape)
    rows = [interpret(back, [*arrays, unit]) for unit in units]
    for k, gradients in enumerate(zip(*rows, strict=True)):
        pattern = Pattern(dependence(alone, k, lambda _: None)).to_dense()
        assert not (np.stack(gradients).reshape(pattern.shape) != 0)[~pattern].any()


def test_elements_are_differences() -> None:
    def brusselator(y: Any) -> Any:
        u, v = y[0], y[1]
        around = sum(u.roll(s, a) for s in (1, -1) for a in (0, 1)) - 4 * u
        return rg.stack([1 + u * u * v - 4.4 * u + around, 3.4 * u - u * u * v])

    y = np.random.default_rng(3).random((2, 6, 7))
    steps = 1e-6 * np.eye(y.size).reshape(-1, *y.shape)
    ahead, behind = (np.stack([brusselator(rg.tensor(y + s * k)).numpy() for s in steps]) for k in (1, -1))
    found = sparse_jacobian(brusselator)(y)
    assert found.pattern.nnz == 8 * 42
    np.testing.assert_allclose(found.to_dense(), ((ahead - behind) / 2e-6).reshape(y.size, -1).T, atol=1e-7)


def test_a_nan_stays_in_its_rows() -> None:
    x = np.array([1.0, np.nan, 3.0, 4.0, 5.0])
    found = sparse_jacobian(lambda x: x[1:] * x[:-1])(x)
    assert np.isnan(found.data[:4]).all()
    assert found.data[4:].tolist() == [4, 3, 5, 4]


# ---- Hessians ----------------------------------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


HESSIANS: dict[str, Any] = {
    "chain": rosenbrock,
    "hub": lambda x: (x[0] * x[1:] ** 2).sum().exp() * 0 + (x[0] * x[1:] ** 2).sum() + x[0] ** 3,
    "separate": lambda x: (x**3).sum(),
    "linear": lambda x: x.sum(),
    "product": lambda x: x.prod(),
    "without a diagonal": lambda x: (x[1:] * x[:-1]).sum(),
    "repeated": lambda x: (x[INDEX] * x[: len(INDEX)] ** 2).sum(),
    "network": lambda x: (x.reshape(3, 2) @ WEIGHT[:2]).tanh().square().sum(),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("name", HESSIANS)
def test_hessians_are_those_of_pytorch(torch: ModuleType, name: str) -> None:
    function = HESSIANS[name]
    x = np.random.default_rng(2).standard_normal(6)
    found = sparse_hessian(function)(x)
    there = {"WEIGHT": torch.tensor(WEIGHT.numpy()), "INDEX": torch.tensor(INDEX.numpy())}
    theirs = type(function)(function.__code__, {**globals(), **there})
    expected = torch.func.hessian(theirs)(torch.tensor(x)).numpy()
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-9, atol=1e-12)
    dense = found.pattern.to_dense()
    assert np.array_equal(dense, dense.T)


def test_a_band_takes_as_many_directions_as_it_is_wide() -> None:
    program = sparse_hessian(rosenbrock).trace(np.zeros(50))
    assert "f64[3, 50]" in str(program.graph)
    assert sparse_hessian(rosenbrock)(np.zeros(50)).pattern.nnz == 148


# ---- colours -----------------------------------------------------------------------------------------------


def rows_of(matrix: Array) -> Rows:
    return gathered(*np.nonzero(matrix), *matrix.shape)


def recovered(matrix: Array, found: Plan) -> Array:
    """The elements of a matrix, from its products with the sums of each colour's unit vectors."""
    products = [
        whole @ (colours.of[:, None] == np.arange(colours.count))
        for whole, colours in ((matrix, found.columns), (matrix.T, found.rows))
    ]
    return np.concatenate([each.T.ravel() for each in products])[found.index]


@st.composite
def matrices(draw: Any, symmetric: bool = False) -> Array:
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    height, width = draw(st.integers(0, 14)), draw(st.integers(0, 14))
    shape = (height, height) if symmetric else (height, width)
    there = random.random(shape) < draw(st.sampled_from((0.05, 0.2, 0.5, 1.0)))
    if draw(st.booleans()) and there.size:
        there[random.integers(shape[0])] = True
    if draw(st.booleans()) and there.size:
        there[:, random.integers(shape[1])] = True
    matrix = there * random.integers(1, 1000, shape).astype(float)
    return matrix + matrix.T if symmetric else matrix


@given(matrices())
@settings(max_examples=300, deadline=None)
def test_all_elements_are_recovered(matrix: Array) -> None:
    found = plan(rows_of(matrix))
    assert np.array_equal(recovered(matrix, found), matrix[np.nonzero(matrix)])
    assert found.columns.count + found.rows.count <= min(matrix.shape)


@given(matrices(symmetric=True))
@settings(max_examples=300, deadline=None)
def test_all_elements_of_symmetric_matrices_are_recovered(matrix: Array) -> None:
    found = symmetric_plan(rows_of(matrix))
    assert np.array_equal(recovered(matrix, found), matrix[np.nonzero(matrix)])
    assert found.columns.count <= len(matrix)


def banded(size: int, reach: int) -> Array:
    return np.abs(np.subtract.outer(np.arange(size), np.arange(size))) <= reach


def five_points(side: int) -> Array:
    line = banded(side, 1)
    return np.kron(np.eye(side), line) + np.kron(line, np.eye(side))


def periodic(side: int) -> Array:
    line = np.eye(side) + np.roll(np.eye(side), 1, 0) + np.roll(np.eye(side), -1, 0)
    return np.kron(np.eye(side), line) + np.kron(line, np.eye(side))


def arrow(size: int) -> Array:
    matrix = np.eye(size)
    matrix[0] = matrix[:, 0] = 1
    return matrix


@pytest.mark.parametrize(
    ("matrix", "columns", "rows", "stars"),
    [
        (banded(100, 0), 1, 0, 1),
        (banded(100, 1), 3, 0, 3),
        (banded(200, 4), 9, 0, 9),
        (five_points(12), 5, 0, 5),
        (periodic(10), 5, 0, 5),
        (periodic(14), 7, 0, 6),
        (arrow(300), 2, 1, 2),
        (np.ones((7, 7)), 7, 0, 7),
        (np.zeros((7, 7)), 0, 0, 0),
    ],
)
def test_few_colours_are_enough(matrix: Array, columns: int, rows: int, stars: int) -> None:
    assert counts(matrix) == (columns, rows)
    assert symmetric_plan(rows_of(matrix)).columns.count == stars


def counts(matrix: Array) -> tuple[int, int]:
    found = plan(rows_of(matrix))
    return found.columns.count, found.rows.count


def test_a_dense_row_or_column_costs_one_product() -> None:
    wide = np.eye(50)
    wide[3] = 1
    assert counts(wide) == (1, 1)
    assert counts(wide.T) == (2, 0)
    assert counts(np.ones((1, 50))) == (0, 1)


def test_more_colours_than_a_word_has_bits() -> None:
    matrix = np.ones((200, 200))
    matrix[:, 150:] = np.tri(200, 50)
    found = plan(rows_of(matrix))
    assert np.array_equal(recovered(matrix, found), matrix[np.nonzero(matrix)])


# ---- how they are called -----------------------------------------------------------------------------------


def test_rows_are_those_of_scipy() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    found = sparse_jacobian(lambda x: x[1:] * x[:-1])(np.arange(1.0, 6))
    ours = sparse.csr_array((found.data, found.indices, found.indptr), found.shape)
    assert ours.has_canonical_format
    np.testing.assert_array_equal(ours.toarray(), found.to_dense())
    np.testing.assert_array_equal(found.to_scipy().toarray(), found.to_dense())
    tensors = sparse_jacobian(lambda x: x[1:] * x[:-1])(rg.arange(1.0, 6))
    np.testing.assert_array_equal(tensors.to_scipy().toarray(), found.to_dense())
    assert (found.pattern.nnz, found.shape, found.indptr.tolist()) == (8, (4, 5), [0, 2, 4, 6, 8])


def test_without_scipy_an_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found, original = sparse_jacobian(lambda x: x * x)(np.ones(2)), builtins.__import__

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingPackageError, match=r"to_scipy\(\); SciPy is not installed; pip install scipy"):
        found.to_scipy()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_elements_have_the_dtype_of_the_function(dtype: str) -> None:
    found = sparse_jacobian(lambda x: x[1:] * x[:-1])(np.arange(1, 6, dtype=dtype))
    assert found.data.dtype == dtype
    assert found.data.tolist() == [2, 1, 3, 2, 4, 3, 5, 4]


def test_axes_are_counted_in_order_of_rows() -> None:
    def function(x: Any, y: Any) -> Any:
        return (x.T * y).sum(0)

    x, y = rg.randn(2, 3), rg.randn(3, 2)
    found = sparse_jacobian(function, argnums=1)(x, y)
    whole = rg.func.jacfwd(function, argnums=1)(x, y)
    assert found.shape == (2, 6)
    assert rg.equal(found.to_dense(), whole.reshape(2, 6))


def test_several_outputs_and_arguments_nest_as_in_jacfwd() -> None:
    def function(a: Any, b: Any) -> Any:
        return a * b.sum(), {"s": b[1:] + a.sum()}

    args = rg.randn(3), rg.randn(4)
    found = sparse_jacobian(function, argnums=(0, 1))(*args)
    whole = rg.func.jacfwd(function, argnums=(0, 1))(*args)
    assert [x.shape for x in (*found[0], *found[1]["s"])] == [(3, 3), (3, 4), (3, 3), (3, 4)]
    for ours, theirs in zip((*found[0], *found[1]["s"]), (*whole[0], *whole[1]["s"])):
        assert rg.allclose(ours.to_dense(), theirs)


def test_hessians_by_several_arguments_are_blocks() -> None:
    def function(a: Any, b: Any) -> Any:
        return (a[:, None] * b**2).sum() + (a**3).sum()

    args = rg.randn(3), rg.randn(2)
    found = sparse_hessian(function, argnums=(0, 1))(*args)
    whole = rg.func.hessian(function, argnums=(0, 1))(*args)
    for ours, theirs in zip((*found[0], *found[1]), (*whole[0], *whole[1])):
        assert rg.allclose(ours.to_dense(), theirs, atol=1e-6)
    assert found[1][1].pattern.nnz == 2


def test_a_function_that_is_compiled_already() -> None:
    compiled = rg.compile_grad(rosenbrock)
    x = np.linspace(-1, 1, 9)
    np.testing.assert_array_equal(sparse_hessian(compiled)(x).data, sparse_hessian(rosenbrock)(x).data)


def test_once_for_all_calls_with_such_arguments() -> None:
    seen = []

    def function(x: Any, scale: float) -> Any:
        seen.append(x.shape)
        return (x * scale).sin()

    found = sparse_jacobian(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the list outside
        first, second = (found(np.full(3, 0.5), scale) for scale in (1.0, 2.0))
    assert len(seen) == 1
    assert first.pattern is second.pattern
    np.testing.assert_allclose(second.data, 2 * np.cos(np.ones(3)))


def test_indices_around_it_are_looked_at() -> None:
    chosen, array = rg.tensor([0, 1, 2]), np.array([2, 2])
    of_tensor, of_array = sparse_jacobian(lambda x: x[chosen] * 2), sparse_jacobian(lambda x: x[array])
    x = rg.randn(5)
    assert of_tensor(x).indices.tolist() == [0, 1, 2]
    assert of_array(x).indices.tolist() == [2, 2]
    chosen[0], array[1] = 4, 3
    assert of_tensor(x).indices.tolist() == [4, 1, 2]
    assert of_array(x).indices.tolist() == [2, 3]
    assert of_tensor(x).data.tolist() == [2, 2, 2]


def test_indices_given_to_it_may_be_any() -> None:
    found = sparse_jacobian(lambda x, i: x[i] ** 2)
    x = rg.randn(4)
    for index in (rg.tensor([1, 2]), rg.tensor([0, 3])):
        assert found(x, index).pattern.nnz == 8
        assert rg.equal(found(x, index).to_dense(), rg.func.jacfwd(lambda x, i: x[i] ** 2)(x, index))
    with pytest.raises(DimensionError, match="out of range"):
        found(x, rg.tensor([1, 9]))


def test_elements_have_a_history() -> None:
    def function(x: Any) -> Any:
        return (x[1:] * x[:-1]).sin()

    x = rg.randn(6, dtype=rg.float64, requires_grad=True)
    (ours,) = rg.autograd.grad(sparse_jacobian(function)(x).to_dense().pow(3).sum(), x)
    (theirs,) = rg.autograd.grad(rg.func.jacfwd(function)(x).pow(3).sum(), x)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-10)
    loss = rg.compile_grad(lambda x: sparse_jacobian(function)(x).data.pow(3).sum())
    np.testing.assert_allclose(loss.grad(x).numpy(), theirs.numpy(), rtol=1e-10)


def test_a_derivative_of_the_users_own() -> None:
    class Through(rg.autograd.Function):
        """Rounding, as if it were nothing."""

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            return cotangent

    found = sparse_jacobian(lambda x: Through.apply(x) * x.roll(1))(np.array([1.4, 2.6, 3.2]))
    np.testing.assert_allclose(found.to_dense(), [[3.2, 0, 1], [3, 1.4, 0], [0, 3, 2.6]])


def test_branches_that_a_function_takes() -> None:
    def function(x: Any) -> Any:
        return x.sin() if x.sum() > 0 else x.cumsum(0)

    found = sparse_jacobian(function)
    assert found(np.ones(3)).pattern.nnz == 3
    assert found(-np.ones(3)).pattern.nnz == 6
    assert found(np.ones(3)).pattern.nnz == 3


@pytest.mark.usefixtures("simulated_gpus")
def test_on_a_gpu() -> None:
    x = rg.arange(1.0, 6).cuda()
    found = sparse_jacobian(lambda x: rg.cat([x[1:] * x[:-1], x.sum()[None]]))(x)
    assert found.data.device == x.device
    assert found.data.tolist() == [2, 1, 3, 2, 4, 3, 5, 4, 1, 1, 1, 1, 1]
    assert sparse_jacobian(lambda x, i: x[i])(x, rg.tensor([1, 2]).cuda()).pattern.nnz == 10


def test_patterns_alone() -> None:
    found = jacobian_pattern(lambda x: x[1:] * x[:-1])(np.ones(3))
    assert isinstance(found, Pattern)
    assert str(found) == "Pattern(shape=(2, 3), nnz=4)"
    assert found.to_dense().tolist() == [[True, True, False], [False, True, True]]
    assert found.rows.tolist() == [0, 0, 1, 1]
    assert jacobian_pattern(rg.func.grad(lambda x: x.prod()))(rg.ones(3)).nnz == 6


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: sparse_jacobian(3), ArgumentError, r"sparse_jacobian\(3\); it takes a function"),
        (lambda: sparse_hessian(None), ArgumentError, r"sparse_hessian\(None\); it takes a function"),
        (
            lambda: sparse_jacobian(lambda x: x.long())(np.ones(3)),
            DtypeError,
            "the derivative of a function that gives torch.int64 elements; only floating ones have one",
        ),
        (
            lambda: sparse_jacobian(lambda x: x)(np.arange(3)),
            DtypeError,
            "only Tensors of floating point dtype can require gradients",
        ),
        (
            lambda: sparse_hessian(lambda x: x)(np.ones(3)),
            ShapeError,
            r"Expected f\(\*args\) to return a scalar Tensor, got tensor with 1 dims",
        ),
        (
            lambda: sparse_jacobian(lambda x: [1.0])(np.ones(3)),
            ArgumentError,
            "to return only tensors, got unsupported type <class 'float'>",
        ),
        (
            lambda: sparse_jacobian(lambda x: x, argnums=2)(np.ones(3)),
            ArgumentError,
            "Got argnum=2, but only 1 positional inputs",
        ),
        (
            lambda: rg.func.vmap(sparse_jacobian(lambda x: x * x))(rg.ones(2, 3)),
            TraceError,
            "a sparse derivative under vmap; examples may differ in their patterns; use jacfwd",
        ),
        (
            lambda: sparse_jacobian(lambda x: x[x > 0])(np.ones(3)),
            TraceError,
            "how many there are is known only when the compiled function runs",
        ),
    ],
)
def test_errors_say_what_is_wrong(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()
