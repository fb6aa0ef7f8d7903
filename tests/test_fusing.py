"""Functions of several rows: the first call and those that are replayed, beside each other and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Builder, Type
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.eager.fusing import Fused, fused, is_sooner

SHAPES = [(), (0, 3), (7,), (3, 17), (64, 129), (300, 517)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30]


def numbers(shape: tuple[int, ...], dtype: str, seed: int, odd: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 1.5, shape)
    if odd:
        found = np.where(rng.random(shape) < 0.05, rng.choice(SPECIAL, shape), found)
    return found.astype(dtype)


def compared(torch: Any, made: str, arrays: dict[str, np.ndarray], seen: str = "{}") -> None:
    """The function of arrays that lie as `seen` says: every call gives the same bits, close to PyTorch's."""
    found = []
    for t in (retrograd, torch):
        names = {name: eval(seen.format("x"), {"x": t.from_numpy(x)}) for name, x in arrays.items()}
        calls = [eval(made, {"t": t, "f": t.nn.functional, **names}) for _ in range(3)]
        found.append(calls)
    ours, theirs = found
    for again in ours[1:]:
        assert ours[0].numpy().tobytes() == again.numpy().tobytes()
    assert ours[-1].shape == theirs[-1].shape
    if ours[-1].numel():
        assert ours[-1].stride() == theirs[-1].stride()
    close = 3e-6 if ours[-1].dtype == retrograd.float32 else 1e-14
    np.testing.assert_allclose(ours[-1].numpy(), theirs[-1].numpy(), rtol=close, atol=close)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("made", [
    "t.addcmul(x, y, z)", "t.addcmul(x, y, z, value=0.5)", "t.addcdiv(x, y, z)", "t.rsub(x, y, alpha=3)",
    "f.smooth_l1_loss(x, y, reduction='none')", "f.huber_loss(x, y, reduction='none', delta=0.7)",
    "f.mse_loss(x, y, reduction='none')", "f.hardsigmoid(x)", "f.softshrink(x)", "f.hardtanh(x)",
    "t.clamp(x, y, z)", "x.pow(2).add(y).mul(z)",
])  # fmt: skip
def test_every_call_gives_the_same_bits(torch: Any, made: str, shape: tuple[int, ...], dtype: str) -> None:
    arrays = {name: numbers(shape, dtype, seed) for seed, name in enumerate("xyz")}
    compared(torch, made, arrays)
    if len(shape) == 2 and shape[0] > 1:
        compared(torch, made, arrays, "{}.t()")
        compared(torch, made, arrays, "{}[:, 1:]")
        compared(torch, made, arrays, "{}[1:, ::2]")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES[3:], ids=str)
@pytest.mark.parametrize("made", [
    "t.outer(x[:, 0], x[0])", "t.addr(x, y[:, 0], y[0])", "t.einsum('i,j->ij', x[:, 0], y[0])",
    "t.diff(x)", "t.diff(x, dim=0)", "x[:, 1:] - x[:, :-1]", "x[1:] * y[:-1]", "x - x[:, 3:4]",
    "x[:, 1:] / y[0, 1:]", "x.t() + y.t()", "x.t()[1:] + y.t()[1:]", "x.flip(0)[1:] * y[1:]",
    "f.prelu(x, y[0, :1])", "t.kron(x[:3, :4], y)",
])  # fmt: skip
def test_repeated_and_apart(torch: Any, made: str, shape: tuple[int, ...], dtype: str) -> None:
    compared(torch, made, {name: numbers(shape, dtype, seed) for seed, name in enumerate("xy")})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("made", [
    "f.smooth_l1_loss(x, y)", "f.huber_loss(x, y, reduction='sum')", "f.mse_loss(x, y)",
    "x.renorm(2, 0, 1.0)", "f.gaussian_nll_loss(x, y, z * z + 0.1)", "f.poisson_nll_loss(x, y)",
])  # fmt: skip
def test_sums_of_what_is_fused(torch: Any, made: str, shape: tuple[int, ...], dtype: str) -> None:
    if not shape or 0 in shape or ("renorm" in made and len(shape) < 2):
        pytest.skip("a mean of nothing warns, and renorm wants axes")
    compared(torch, made, {name: numbers(shape, dtype, seed, odd=False) for seed, name in enumerate("xyz")})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("exponent", [2, 3, 4, -1, -2, 0.5, -0.5])
def test_powers_of_one_exponent(torch: Any, exponent: float, shape: tuple[int, ...], dtype: str) -> None:
    arrays = {"x": numbers(shape, dtype, 0)}
    compared(torch, f"x ** {exponent}", arrays)
    compiled = retrograd.compile_grad(lambda x: x**exponent)
    x = retrograd.from_numpy(arrays["x"])
    np.testing.assert_array_equal(compiled(x).numpy(), (x**exponent).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (64, 256)], ids=str)
@pytest.mark.parametrize("exponent", [2, 3, 4, -1, -2, 0.5, -0.5, 0, 1, 1.5])
def test_derivatives_of_powers(torch: Any, exponent: float, shape: tuple[int, ...], dtype: str) -> None:
    found = []
    for t in (retrograd, torch):
        x, ct = (t.from_numpy(numbers(shape, dtype, seed, odd=not seed)) for seed in (0, 1))
        x.requires_grad_()
        for seen, slope in ((x, ct), (x.mT, ct.mT)) if len(shape) > 1 else ((x, ct),):
            found.append([t.autograd.grad(seen**exponent, x, slope)[0].numpy() for _ in range(3)])
    for ours, theirs in zip(found[: len(found) // 2], found[len(found) // 2 :]):
        assert all(ours[0].tobytes() == again.tobytes() for again in ours)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-5 if dtype == "float32" else 1e-12)


def test_rows_stand_together_as_far_as_others_do_not_read_them() -> None:
    builder = Builder()
    many = Type((300, 200), dtypes.float32)
    with builder.at(None):
        x, y = builder.input("x", many), builder.input("y", many)
        far = x - y
        total = sum_(rows.square(far) * 0.5, [0, 1])
    outputs = fused([total, far])
    assert outputs[1] is far
    (square,) = outputs[0].inputs
    assert isinstance(square.op, Fused)
    assert [node.op.name for node in square.op.graph.nodes if node.inputs] == ["square", "mul"]
    assert square.inputs == (far,)


def test_few_elements_are_left_alone() -> None:
    builder = Builder()
    with builder.at(None):
        x = builder.input("x", Type((20, 20), dtypes.float32))
        out = x * 2.0 + x
    assert fused([out]) == [out]
    assert not is_sooner([out])
