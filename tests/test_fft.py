"""`fft`: transforms beside NumPy's and PyTorch's, eagerly and as machine code; derivatives; misuse."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from gpu import check
from numpy.typing import NDArray

import retrograd as rg
from retrograd.compiler import dtypes
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Builder, Graph, Type
from retrograd.compiler.ir.parsing import parse
from retrograd.compiler.ops import fourier
from retrograd.compiler.ops.butterflies import factors, transform
from retrograd.compiler.ops.shape import concat, unsqueeze
from retrograd.runtime.native.program import NativeProgram

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

Array = NDArray[Any]

SIZES = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
    12,
    13,
    15,
    16,
    17,
    24,
    26,
    31,
    32,
    60,
    63,
    64,
    97,
    128,
    143,
    210,
    256,
)
"""Every kind of radix and several of each, large primes, and products of two of them."""
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
OF_REAL = ("rfft", "ihfft")


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    real = generator.standard_normal(shape)
    if not dtype.startswith("complex"):
        return (real * 3).astype(dtype)
    return (real + 1j * generator.standard_normal(shape)).astype(dtype)


def tolerance(a: Array) -> float:
    return (2e-6 if a.dtype in (np.float32, np.complex64) else 1e-14) * max(
        1.0, float(np.abs(a).max(initial=0))
    )


def same(ours: Any, theirs: Any) -> None:
    a, b = ours.detach().numpy(), theirs.detach().resolve_conj().numpy()
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(b))


def transforms(t: Any) -> dict[str, Callable[..., Any]]:
    """A library's functions by name."""
    return {
        "fft": t.fft.fft, "fft2": t.fft.fft2, "fftn": t.fft.fftn, "ifft": t.fft.ifft, "ifft2": t.fft.ifft2,
        "ifftn": t.fft.ifftn, "rfft": t.fft.rfft, "rfft2": t.fft.rfft2, "rfftn": t.fft.rfftn,
        "irfft": t.fft.irfft, "irfft2": t.fft.irfft2, "irfftn": t.fft.irfftn, "hfft": t.fft.hfft,
        "hfft2": t.fft.hfft2, "hfftn": t.fft.hfftn, "ihfft": t.fft.ihfft, "ihfft2": t.fft.ihfft2,
        "ihfftn": t.fft.ihfftn, "fftfreq": t.fft.fftfreq, "rfftfreq": t.fft.rfftfreq,
        "fftshift": t.fft.fftshift, "ifftshift": t.fft.ifftshift,
    }  # fmt: skip


def kind_for(name: str) -> tuple[str, ...]:
    return ("float32", "float64") if name.startswith(OF_REAL) else ("complex64", "complex128", "float64")


# ---- beside PyTorch ----------------------------------------------------------------------------------------

ALONG_ONE: list[dict[str, Any]] = [
    {}, {"n": 7}, {"n": 4}, {"n": 1}, {"dim": 0}, {"dim": 1, "norm": "ortho"}, {"norm": "forward"},
    {"norm": "backward", "n": 9, "dim": -2},
]  # fmt: skip
ALONG_SEVERAL: list[dict[str, Any]] = [
    {}, {"s": (7, 3)}, {"s": (4, -1)}, {"dim": (0, 1)}, {"dim": (1,), "norm": "ortho"}, {"norm": "forward"},
    {"s": (3, 4), "dim": (2, 0)}, {"s": (2,), "dim": (-2,)},
]  # fmt: skip


def beside(name: str, array: Array, options: dict[str, Any]) -> None:
    """Value, dtype and gradient."""
    results = []
    for library in (rg, torch):
        x = library.from_numpy(array.copy()).requires_grad_()
        y = transforms(library)[name](x, **options)
        weights = numbers(tuple(y.shape), str(y.dtype).removeprefix("torch."), seed=1)
        y.backward(library.from_numpy(weights))
        results.append((y, x.grad))
    for ours, theirs in zip(*results, strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("options", ALONG_ONE, ids=str)
def test_along_one_axis(name: str, options: dict[str, Any]) -> None:
    for dtype in kind_for(name):
        beside(name, numbers((4, 6, 5), dtype), options)


@pytest.mark.parametrize("name", [f"{name}{suffix}" for name in ONE for suffix in "2n"])
@pytest.mark.parametrize("options", ALONG_SEVERAL, ids=str)
def test_along_several_axes(name: str, options: dict[str, Any]) -> None:
    for dtype in kind_for(name):
        beside(name, numbers((4, 6, 5), dtype), options)


@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "fft2"])
@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_whole_numbers_become_floating(name: str, dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    same(transforms(rg)[name](rg.from_numpy(array)), transforms(torch)[name](torch.from_numpy(array)))


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (1, 2)])
def test_shifts(name: str, dim: Any) -> None:
    for dtype in ("float32", "complex128"):
        array = numbers((4, 5, 6), dtype)
        ours = transforms(rg)[name](rg.from_numpy(array), dim)
        np.testing.assert_array_equal(ours.numpy(), getattr(np.fft, name)(array, dim))


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_frequencies(name: str, n: int) -> None:
    for d, dtype in product((1.0, 0.25), ("float32", "float64")):
        ours = transforms(rg)[name](n, d, dtype=getattr(rg, dtype))
        same(ours, transforms(torch)[name](n, d, dtype=getattr(torch, dtype)))
    assert transforms(rg)[name](4, requires_grad=True).requires_grad


def test_out_and_names_of_nodes() -> None:
    z = rg.from_numpy(numbers((3, 4), "complex64")).requires_grad_()
    x = rg.from_numpy(numbers((3, 4), "float32")).requires_grad_()
    found = [
        rg.fft.fft(z),
        rg.fft.fftn(z),
        rg.fft.rfft(x),
        rg.fft.fft(x),
        rg.fft.irfft(z),
        rg.fft.fftshift(x),
    ]
    names = ["FftC2C", "FftC2C", "FftR2C", "FftR2C", "FftC2R", "Roll"]
    assert [y.grad_fn.name() for y in found] == [f"{name}Backward0" for name in names]
    out = rg.empty(3, 4, dtype=rg.complex64)
    assert rg.fft.fft(z.detach(), out=out) is out
    assert rg.equal(out, rg.fft.fft(z.detach()))


MISUSE: list[Callable[[Any], Any]] = [
    lambda t: t.fft.fft(t.zeros(3), n=0),
    lambda t: t.fft.fft(t.zeros(3), n=-2),
    lambda t: t.fft.fft(t.zeros(0)),
    lambda t: t.fft.fft(t.zeros(3), dim=1),
    lambda t: t.fft.fft(t.tensor(1.0)),
    lambda t: t.fft.fft(t.zeros(3), norm="other"),
    lambda t: t.fft.fft(t.zeros(3, dtype=t.float16)),
    lambda t: t.fft.fft("a"),
    lambda t: t.fft.rfft(t.zeros(3, dtype=t.complex64)),
    lambda t: t.fft.rfftn(t.zeros(3, dtype=t.complex64)),
    lambda t: t.fft.fft(t.zeros(3), 2.5),
    lambda t: t.fft.rfftn(t.zeros(3), dim=()),
    lambda t: t.fft.irfftn(t.zeros(3), dim=()),
    lambda t: t.fft.irfft(t.zeros(3, 1)),
    lambda t: t.fft.fftn(t.zeros(3, 3), dim=(0, 0)),
    lambda t: t.fft.fftn(t.zeros(3, 3), s=(1, 2, 3)),
    lambda t: t.fft.fftn(t.zeros(3, 3), s=(2,), dim=(0, 1)),
    lambda t: t.fft.fftn(t.zeros(3, 3), s=(2, -2)),
    lambda t: t.fft.fftfreq(-1),
    lambda t: t.fft.fftfreq(4, dtype=t.int32),
]


@pytest.mark.parametrize("call", MISUSE, ids=range(len(MISUSE)))
def test_misuse_is_told_in_pytorchs_words(call: Callable[[Any], Any]) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011  # whichever it is
        call(torch)
    with pytest.raises(RetrogradError) as ours:
        call(rg)
    assert str(ours.value) == str(theirs.value)
    builtin = [base for base in type(theirs.value).__mro__ if base.__module__ == "builtins"]
    assert isinstance(ours.value, builtin[0])


# ---- as machine code ---------------------------------------------------------------------------------------


def programs(n: int) -> list[fourier.Fourier]:
    axes = (1,)
    half = [fourier.TransformOfReal(axes, 0.5, half) for half in (True, False)]
    whole = [fourier.Transform(axes, 1.0, inverse) for inverse in (False, True)]
    return [*half, *whole, fourier.TransformToReal(axes, 2.0, n)]


def operand(op: fourier.Fourier, shape: tuple[int, ...], dtype: str) -> Array:
    if isinstance(op, fourier.TransformOfReal):
        return numbers(shape, dtype)
    if isinstance(op, fourier.TransformToReal):
        shape = (shape[0], op.size // 2 + 1, *shape[2:])
    return numbers(shape, f"complex{2 * int(dtype[-2:])}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_machine_code_agrees_with_numpy(n: int, dtype: str) -> None:
    for op, (outer, inner) in product(programs(n), ((1, 1), (9, 1), (2, 3))):
        x = operand(op, (outer, n, inner), dtype)
        builder = Builder()
        with builder.at(None):
            node = builder.input("x", Type(x.shape, dtypes.dtype(x.dtype)))
            graph = Graph("transform", (node,), (builder.node(op, node),))
        (found,) = NativeProgram(graph)((x,))
        wide = op.compute(x.astype("complex128" if x.dtype.kind == "c" else "float64"))
        assert found.dtype == op.compute(x).dtype
        np.testing.assert_allclose(
            found, wide, rtol=0, atol=tolerance(found) * (3 if factors(n) is None else 1)
        )


@pytest.mark.parametrize("n", [1 << 14, 10_007, 3 * 5 * 7 * 11 * 13])
def test_long_transforms_are_accurate(n: int) -> None:
    """The error grows with the logarithm of the length: relative to the root mean square, in float32."""
    x = numbers((n,), "complex64")
    found = rg.compile_grad(rg.fft.fft)(rg.from_numpy(x)).numpy()
    exact = np.fft.fft(x.astype(np.complex128))
    error = np.sqrt(np.mean(np.abs(found - exact) ** 2) / np.mean(np.abs(exact) ** 2))
    assert error < 6e-8 * np.log2(n)


def test_a_compiled_chain_is_fused() -> None:
    """A filter is one kernel: transforms, factors and their derivative, row by row."""

    @rg.compile_grad
    def loss(x: rg.Tensor, w: rg.Tensor) -> rg.Tensor:
        return (rg.fft.irfft(rg.fft.rfft(x) * w) ** 2).sum()

    x = rg.from_numpy(numbers((16, 64), "float32")).requires_grad_()
    w = rg.from_numpy(numbers((33,), "complex64")).requires_grad_()
    value, gradients = loss.value_and_grad(x, w)
    a, b = (torch.from_numpy(v.detach().numpy()).requires_grad_() for v in (x, w))
    expected = (torch.fft.irfft(torch.fft.rfft(a) * b) ** 2).sum()
    expected.backward()
    np.testing.assert_allclose(value.item(), expected.item(), rtol=1e-5)
    for ours, theirs in zip(gradients, (a.grad, b.grad), strict=True):
        same(ours, theirs)
    forward = rg.compile_grad(lambda x: rg.fft.ifft(rg.fft.fft(x))).trace(rg.complex(x.detach(), x.detach()))
    assert len(forward.loops.kernels) == 1
    assert str(parse(str(forward.graph))) == str(forward.graph)


def test_a_graph_names_the_transform() -> None:
    program = rg.compile_grad(lambda z: rg.fft.fft(z)).trace(rg.zeros(4, 8, dtype=rg.complex64))
    assert "fft_c2c(z, axes=(1,), scale=1.0, inverse=False) : c64[4, 8]" in str(program.graph)


@pytest.mark.parametrize("shape", [(9, 16), (1, 64), (3, 60), (2, 17), (3, 15, 5)], ids=str)
def test_launches_on_a_gpu_agree(shape: tuple[int, ...]) -> None:
    """All stages of the transform of a row are one launch."""

    def transformed(re: Any, im: Any) -> Any:
        found = transform((re, im), 1, -1)
        return concat([unsqueeze(part, [0]) for part in found], 0)

    compiled = check(
        transformed, *(numbers(shape, "float32", k) for k in range(2)), ulps=200.0, scale=shape[1]
    )
    assert len(compiled.launches) == 1


@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "fft2", "hfft"])
def test_compiled_functions_take_what_eager_ones_take(name: str) -> None:
    """Views that are not in order, no rows at all, and both precisions; backward through `f(x)`."""
    call = transforms(rg)[name]
    compiled = rg.compile_grad(lambda x: call(x))
    for dtype in kind_for(name)[:2]:
        whole = rg.from_numpy(numbers((6, 5, 8), dtype))
        for x in (whole, whole.transpose(0, 2), whole[::2, :, ::2], whole[:0]):
            a, b = x.detach().requires_grad_(), x.detach().requires_grad_()
            ours, theirs = compiled(a), call(b)
            same(ours, torch.from_numpy(theirs.detach().numpy()))
            seed = rg.from_numpy(numbers(tuple(ours.shape), str(ours.dtype).removeprefix("torch."), 2))
            ours.backward(seed)
            theirs.backward(seed)
            assert a.grad is not None
            assert b.grad is not None
            same(a.grad, torch.from_numpy(b.grad.numpy()))


# ---- derivatives and transforms of functions ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "rfft2", "irfftn"])
@pytest.mark.parametrize("n", [4, 5])
def test_first_and_second_derivatives(name: str, n: int) -> None:
    x = rg.from_numpy(
        numbers((2, n), "float64" if name.startswith(OF_REAL) else "complex128")
    ).requires_grad_()
    call = transforms(rg)[name]
    assert rg.autograd.gradcheck(call, (x,))
    assert rg.autograd.gradgradcheck(call, (x,))


def test_transforms_of_functions() -> None:
    z = rg.from_numpy(numbers((5, 3, 8), "complex128"))
    for call in (rg.fft.fft, rg.fft.irfft, rg.fft.fft2):
        assert rg.allclose(rg.vmap(call)(z), call(z))
        assert rg.allclose(rg.vmap(call, in_dims=1)(z), call(z.transpose(0, 1)))
        assert rg.allclose(rg.func.jvp(call, (z,), (z,))[1], call(z))
    x = rg.from_numpy(numbers((8,), "float64"))
    jacobian = rg.func.jacrev(lambda x: rg.fft.rfft(x).abs())(x)
    matrix = np.fft.rfft(np.eye(8)).T
    y = matrix @ x.numpy()
    np.testing.assert_allclose(jacobian.numpy(), (matrix * (y.conj() / abs(y))[:, None]).real, atol=1e-12)
