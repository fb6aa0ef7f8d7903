"""Complex values in compiled functions: what eager mode gives, from pairs of real numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from complex_cases import CASES, arrays, called, weights

import retrograd as rg
from retrograd import Tensor
from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Builder, Graph, Type, interpret
from retrograd.compiler.ir.parsing import parse
from retrograd.compiler.ops.complexes import as_real, conj, modulus
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.passes.rebuild import Expanding, rebuild

DTYPES = ("complex64", "complex128")
DEPENDING = {"t.nonzero(x)", "t.combinations(x[0])"}
"""Cases whose sizes depend on elements, or whose steps do."""


def tensor(*shape: int, seed: int = 0, dtype: Any = np.complex128) -> Tensor:
    rng = np.random.default_rng(seed)
    return rg.tensor((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype))


def leaf(*shape: int, seed: int = 0, dtype: Any = np.complex128) -> Tensor:
    return tensor(*shape, seed=seed, dtype=dtype).requires_grad_()


def close(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    a, b = (x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x) for x in (ours, theirs))
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [c for c in CASES if c not in DEPENDING])
def test_values_and_gradients_are_those_of_eager_mode(case: str, dtype: str) -> None:
    tolerance = 1e-9 if dtype == "complex128" else 1e-3

    def function(x: Tensor, y: Tensor, r: Tensor) -> Any:
        return called(case, rg, [x, y, r])

    operands, others = ([rg.tensor(a, requires_grad=True) for a in arrays(dtype)] for _ in range(2))
    value, own = function(*operands), rg.compile_grad(function)(*others)
    close(own, value, tolerance)
    if not value.requires_grad:
        return
    seed = rg.tensor(weights(tuple(value.shape), value.dtype.torch_name))
    value.backward(seed)
    own.backward(seed)
    for a, b in zip(others, operands, strict=True):
        nothing = rg.zeros_like(a)
        close(nothing if a.grad is None else a.grad, nothing if b.grad is None else b.grad, tolerance)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (7, 33), (40_001,)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(shape: tuple[int, ...], dtype: str) -> None:
    def function(z: Tensor, w: Tensor) -> Tensor:
        return (z * w).exp() / (1 + z.abs()) + w.conj()

    z, w = (rg.tensor(a, requires_grad=True) for a in arrays(dtype, shape)[:2])
    compiled = rg.compile_grad(function)
    close(compiled(z, w), function(z, w), 1e-5)
    close(compiled(z[None], w), function(z[None], w), 1e-5)


def test_operands_that_lie_otherwise() -> None:
    z, w = tensor(6, 8), tensor(4, 3, seed=1)
    product = rg.compile_grad(lambda a, b: a @ b.conj())
    for a in (z[:3, ::2], z[1:4, 2:6], z[:4, :3].T, z[:1, :4].expand(3, 4), z.flip(0)[:2, :4]):
        close(product(a, w), a @ w.conj())
    doubled = rg.compile_grad(lambda r: r * 2)
    for part in (z.real, z.imag[::2], z.T.imag):
        close(doubled(part), part * 2)


VALUES = (0.0, -0.0, 1.0, -1.0, 2.5, -3.0, 1e-20, 1e20, 0.5, math.inf, -math.inf, math.nan)
FUNCTIONS = [
    "exp",
    "log",
    "log1p",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
    "reciprocal",
    "sigmoid",
    "sgn",
    "abs",
    "angle",
    "rsqrt",
    "square",
    "log2",
    "log10",
    "exp2",
    "conj",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_and_far_numbers_and_their_signs(name: str, dtype: str) -> None:
    """Of finite numbers to the sign of a zero; of those with an infinite part no number is another one."""
    z = np.array([complex(a, b) for a in VALUES for b in VALUES]).astype(dtype)
    function = getattr(rg, name)
    eager = (
        rg.view_as_real(function(rg.tensor(z)) + 0j) if name in ("abs", "angle") else function(rg.tensor(z))
    )
    compiled = rg.compile_grad(lambda x: function(x))(rg.tensor(z))
    if name in ("abs", "angle"):
        compiled = rg.view_as_real(compiled + 0j)
    a, b = (x.numpy().view(np.zeros(0, dtype).real.dtype).reshape(len(z), 2) for x in (eager, compiled))
    tolerance = 1e-5 if dtype == "complex64" else 1e-12
    finite = np.isfinite(z)
    np.testing.assert_allclose(b[finite], a[finite], rtol=tolerance)
    known = finite[:, None] & ~np.isnan(a)
    np.testing.assert_array_equal(np.signbit(b[known]), np.signbit(a[known]))
    both = ~np.isnan(a) & ~np.isnan(b) & ~(np.isinf(z.real) & np.isinf(z.imag))[:, None]
    np.testing.assert_allclose(b[both], a[both], rtol=tolerance)


# ---- the graphs --------------------------------------------------------------------------------------------


def test_a_traced_graph_is_complex_and_what_is_compiled_is_real() -> None:
    program = rg.compile_grad(lambda z, w: (z * w.conj()).abs().sum()).trace(tensor(3), tensor(3, seed=1))
    assert [(node.op.name, str(node.type)) for node in program.graph.nodes] == [
        ("conj", "c128[3]"), ("mul", "c128[3]"), ("modulus", "f64[3]"), ("sum", "f64[]"),
    ]  # fmt: skip
    assert "c128" not in str(program.loops)


def test_pairs_have_the_value_of_the_graph() -> None:
    builder = Builder()
    z, w = (builder.input(name, Type((5, 2), dtypes.complex128)) for name in "zw")
    with builder.at(None):
        graph = Graph("f", (z, w), (rows.tanh(z / w), modulus(z * conj(w)), as_real(z + 2), rows.eq(z, w)))
        split = rebuild(graph, Expanding())
    assert not any(node.dtype.is_complex for node in split.nodes)
    assert [str(x.type) for x in split.inputs] == ["f64[5, 2, 2]"] * 2
    given = [tensor(5, 2).numpy(), tensor(5, 2, seed=1).numpy()]
    whole = interpret(graph, given)
    pairs = interpret(split, [x.view(np.float64).reshape(5, 2, 2) for x in given])
    close(np.ascontiguousarray(pairs[0]).view(np.complex128)[..., 0], whole[0])
    for a, b in zip(pairs[1:], whole[1:], strict=True):
        np.testing.assert_allclose(a, b)


def test_a_graph_of_complex_numbers_reads_as_it_prints() -> None:
    numbers = rg.tensor([complex(-0.0, 2), complex(math.nan, -0.0), 1 - 3e-7j])
    for factor in (
        1 + 2j,
        -2j,
        complex(-0.0, 1),
        0j,
        complex(0, -0.0),
        complex(math.inf, math.nan),
        -1.5 - 0j,
    ):
        graph = rg.compile_grad(lambda z, c=factor: (z * c).real + numbers.imag).trace(tensor(3)).graph
        again = parse(str(graph))
        assert str(again) == str(graph)
        (of_text, of_graph) = (
            next(i for node in g.nodes if node.op.name == "mul" for i in node.inputs if i.ndim == 0)
            for g in (again, graph)
        )
        assert of_text.op == of_graph.op


# ---- calls -------------------------------------------------------------------------------------------------


def test_value_and_grad() -> None:
    def function(z: Any, w: Any) -> Any:
        return (z * w).sum().abs() ** 2

    z, w = leaf(3), leaf(3, seed=1)
    value, gradients = rg.compile_grad(function).value_and_grad(z.detach(), w.detach())
    expected = function(z, w)
    expected.backward()
    close(value, expected)
    close(gradients[0], z.grad)
    close(gradients[1], w.grad)
    with pytest.raises(rg.compiler.errors.GradientError, match="that of one real scalar"):
        rg.compile_grad(lambda z: z.sum()).value_and_grad(z.detach())


def test_arrays_and_numbers() -> None:
    array = tensor(3).numpy()
    value, gradient = rg.compile_grad(lambda z: (z * z.conj()).real.sum()).value_and_grad(array)
    assert isinstance(value, float)
    close(gradient, 2 * array)
    for _ in range(2):
        close(rg.compile_grad(lambda z: z * 2j)(array), array * 2j)
    scaled = rg.compile_grad(lambda z, k: z * k)
    assert scaled(rg.tensor(1 + 2j), 2.0).item() == 2 + 4j
    assert scaled(rg.tensor(1 + 2j), 2j).item() == -4 + 2j
    assert scaled(rg.tensor([1.0, 2.0]), rg.tensor(2j)).tolist() == [2j, 4j]


def test_one_function_serves_every_dtype() -> None:
    square = rg.compile_grad(lambda z: z * z)
    for dtype in (
        np.complex64,
        np.complex128,
        np.float32,
        np.float64,
        np.complex64,
        np.complex128,
        np.float32,
    ):
        for n in (3, 5, 0, 1):
            z = tensor(n)
            z = rg.tensor((z if np.issubdtype(dtype, np.complexfloating) else z.real).numpy().astype(dtype))
            close(square(z), z * z, 1e-5)


def test_what_is_captured_and_what_is_changed() -> None:
    w, z = leaf(3, seed=2), tensor(3)
    loss = rg.compile_grad(lambda z: (z * w).abs().sum())
    for _ in range(3):
        w.grad = None
        loss(z).backward()
        found, w.grad = w.grad, None
        (z * w).abs().sum().backward()
        close(found, w.grad)

    def change(z: Tensor) -> Tensor:
        z.mul_(2j)
        return z.sum()

    y, compiled = z.clone(), rg.compile_grad(change)
    compiled(y)
    close(compiled(y), (z * 2j * 2j).sum())
    close(y, z * 2j * 2j)


def test_parts_that_are_written_to() -> None:
    def function(z: Tensor) -> Tensor:
        y = z * 1
        y.real[0] = 5
        y.imag.mul_(2)
        y[1] = 1j
        pairs = rg.view_as_real(y)
        pairs[2, 0] = -1.0
        return (y * y).abs().sum()

    a, b = leaf(4), leaf(4)
    value, own = function(a), rg.compile_grad(function)(b)
    value.backward()
    own.backward()
    close(own, value)
    close(b.grad, a.grad)


def test_second_derivatives() -> None:
    def function(z: Tensor) -> Tensor:
        return (z**3).abs().sum()

    def slope(f: Any, z: Tensor) -> Tensor:
        (g,) = rg.autograd.grad(f(z), z, create_graph=True)
        return (g.abs() ** 2).sum()

    z = leaf(3)
    (expected,) = rg.autograd.grad(slope(function, z), z)
    (through,) = rg.autograd.grad(slope(rg.compile_grad(function), z), z)
    (inside,) = rg.autograd.grad(rg.compile_grad(lambda z: slope(function, z))(z), z)
    close(through, expected)
    close(inside, expected)


def test_a_scalar_that_is_complex_takes_any_cotangent() -> None:
    x, y, ct = leaf(3), leaf(3, seed=1), rg.tensor(1 - 0.5j, dtype=rg.complex128)
    expected = rg.autograd.grad(rg.vdot(x, y), [x, y], ct)
    found = rg.autograd.grad(rg.compile_grad(lambda x, y: rg.vdot(x, y))(x, y), [x, y], ct)
    close(found[0], expected[0])
    close(found[1], expected[1])


# ---- training, loops, batches ------------------------------------------------------------------------------

OPTIMISERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.1}), ("RMSprop", {}),
    ("Adagrad", {}), ("Rprop", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OPTIMISERS)
def test_a_compiled_step_of_complex_parameters(name: str, options: dict[str, Any]) -> None:
    p, q = (rg.nn.Parameter(tensor(3)) for _ in range(2))
    target, z = tensor(3, seed=3), tensor(3, seed=4)
    step = rg.compile_step(
        lambda z: ((p * z - target).abs() ** 2).sum(), getattr(rg.optim, name)([p], **options)
    )
    optimizer = getattr(rg.optim, name)([q], **options)
    for _ in range(4):
        optimizer.zero_grad()
        loss = ((q * z - target).abs() ** 2).sum()
        loss.backward()
        optimizer.step()
        close(step(z), loss)
    close(p, q)


def test_a_loop_with_a_complex_carry() -> None:
    def function(z: Tensor, c: Tensor, scan: Any) -> Tensor:
        def body(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            carry = carry * c + x
            return carry, carry.abs()

        carry, sizes = scan(body, z[0], z)
        return carry.abs().sum() + sizes.sum()

    def unrolled(body: Any, carry: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
        sizes = []
        for x in xs:
            carry, size = body(carry, x)
            sizes.append(size)
        return carry, rg.stack(sizes)

    z, c = leaf(70, 2), leaf(2, seed=1)
    own = rg.compile_grad(lambda z, c: function(z, c * 0.3, rg.scan))(z, c)
    found = rg.autograd.grad(own, [z, c])
    expected = function(z, c * 0.3, unrolled)
    gradients = rg.autograd.grad(expected, [z, c])
    close(own, expected)
    close(found[0], gradients[0])
    close(found[1], gradients[1])


def test_vmap() -> None:
    def function(z: Tensor) -> Tensor:
        return (z * z.conj()).real.sum() + z.exp().abs().sum() + rg.view_as_real(z).sum() + z.angle().sum()

    z = tensor(4, 3)
    expected = rg.stack([function(each) for each in z])
    slopes = rg.stack([rg.func.grad(function)(each) for each in z])
    close(rg.func.vmap(function)(z), expected)
    close(rg.func.vmap(rg.func.grad(function))(z), slopes)
    close(rg.compile_grad(lambda z: rg.func.vmap(function)(z))(z), expected)


def test_random_numbers_are_drawn_as_in_eager_mode() -> None:
    z = tensor(3)
    drawing = rg.compile_grad(
        lambda z: z + rg.randn(3, dtype=rg.complex128) + rg.rand(3, dtype=rg.complex128)
    )
    rg.manual_seed(0)
    found = drawing(z)
    rg.manual_seed(0)
    close(found, z + rg.randn(3, dtype=rg.complex128) + rg.rand(3, dtype=rg.complex128))


def test_a_module_of_complex_weights() -> None:
    layer, z = rg.nn.Linear(3, 2, dtype=rg.complex64), tensor(5, 3, dtype=np.complex64)
    compiled = rg.compile_grad(layer)
    close(compiled(z), layer(z), 1e-5)
    compiled(z).abs().sum().backward()
    found, layer.weight.grad = layer.weight.grad, None
    layer(z).abs().sum().backward()
    close(found, layer.weight.grad, 1e-4)


def test_what_is_not_there_yet_says_so() -> None:
    with pytest.raises(TypeError, match="takes integer or floating-point values"):
        rg.compile_grad(lambda z: rg.nn.functional.conv1d(z, z))(tensor(1, 1, 3))


def test_a_c_library_takes_pairs(tmp_path: Path) -> None:
    program = rg.compile_grad(lambda z, r: z * z * r).trace(tensor(3), rg.ones(3, dtype=rg.float64))
    declared = program.export(tmp_path / "wave").header.read_text()
    assert "const double z[3 * 2], /* [3], of each the real part, then the imaginary one */" in declared
    assert "double value[3 * 2]" in declared


def test_results_are_the_same_on_any_number_of_threads() -> None:
    z = tensor(50_000)
    compiled = rg.compile_grad(lambda z: (z.exp() / (2 + z * z)).sum())
    before = rg.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            rg.set_num_threads(count)
            found.append(compiled(z).numpy().tobytes())
    finally:
        rg.set_num_threads(before)
    assert found[0] == found[1]
