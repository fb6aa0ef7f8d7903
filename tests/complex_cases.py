"""Calls on complex tensors, which `test_complex.py` makes in PyTorch and here, and `test_complex_compiled.py`
in compiled functions: `t` is the library, `F` its `nn.functional`, `x` and `y` are complex matrices of three
rows and four columns, `r` is a real one of the same precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ONE = [
    "neg",
    "reciprocal",
    "square",
    "sqrt",
    "rsqrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "sigmoid",
    "sgn",
    "abs",
    "angle",
    "conj",
    "conj_physical",
    "sinc",
    "isnan",
    "isinf",
    "isfinite",
    "isreal",
    "logical_not",
    "real",
    "imag",
    "positive",
    "sum",
    "mean",
    "prod",
    "nonzero",
    "var",
    "std",
    "ones_like",
    "zeros_like",
    "clone",
    "trace",
]
"""Functions of one tensor."""

CASES = [
    *(f"t.{name}(x)" for name in ONE),
    *("x + y", "x - y", "x * y", "x / y", "x ** y", "t.add(x, y, alpha=2j)", "2j + x", "1.5 - x", "2 / x"),
    *("2 ** x", "x ** 2", "x ** 3", "x ** 0.5", "x ** -1", "x ** (1 + 2j)", "x ** 2.3", "x ** 7", "x ** -5"),
    *("r * x", "x + r", "r / x", "r - 1j", "r.abs() ** x", "r * 1j", "x * 2", "x / 2.5", "x[:1] * y"),
    *("t.where(r > 0, x, y)", "t.where(r > 0, x, 1j)", "t.lerp(x, y, 0.3)", "t.lerp(x, y, y)"),
    *("t.addcmul(x, y, x, value=2j)", "t.addcdiv(x, y, x, value=0.5)", "t.logaddexp(x, y)"),
    *("t.float_power(x, 2)", "F.softsign(x)", "(x.exp() / x.exp().sum(1, keepdim=True))", "x.mul(y.conj())"),
    *("t.view_as_real(x * 1)", "t.view_as_complex(t.stack([r, r * 2], -1))", "t.complex(r, r * r)"),
    *("t.polar(r.abs(), r)", "x.real * x.imag", "x.sum(0)", "x.mean(1)", "x.prod(1)", "x.cumsum(1)"),
    *("x.cumprod(0)", "x.var(0)", "x.std(1)"),
    *("t.var_mean(x)[0]", "t.var_mean(x)[1]", "x.norm()", "x.norm(1)"),
    *("t.linalg.vector_norm(x, 3, dim=0)", "t.linalg.vector_norm(x, float('inf'))", "t.linalg.norm(x)"),
    *("t.linalg.vector_norm(x, 0)", "t.dist(x, y)", "F.normalize(x)", "((x - y).abs() ** 2).mean()"),
    *("x.logsumexp(0)", "t.cov(x)", "t.corrcoef(x)"),
    *("t.trapezoid(x)", "x.diff()", "t.cumulative_trapezoid(x)"),
    *("x @ y.T", "x @ y[0]", "t.bmm(x[None], y.mH[None])", "t.dot(x[0], y[0])", "t.vdot(x[0], y[0])"),
    *("t.outer(x[0], y[1])", "t.einsum('ij,kj->ik', x, y)", "t.inner(x, y)", "t.tensordot(x, y, 2)"),
    *("t.addmm(x[:, :1], x, y.T)", "t.baddbmm(x[None, :, :1], x[None], y.T[None])", "t.kron(x, y)"),
    *("t.linalg.matrix_power(x @ y.T, 3)", "F.linear(x, y, y[:, 0])", "t.linalg.multi_dot([x, y.T, x])"),
    *("t.linalg.vecdot(x, y)", "t.linalg.cross(x[:, :3], y[:, :3])", "t.addr(x, x[:, 0], x[0])"),
    *("t.cat([x, y])", "t.cat([x, r])", "t.stack([x, y], 1)", "x.T * 1", "x.H", "x.mH", "x.adjoint()"),
    *("x.reshape(-1)[1:4]", "x[1, 1:]", "x[t.tensor([0, 2, 0])]", "x.flip(1)", "x.roll(1, 0)", "x.tril()"),
    "x.gather(1, t.tensor([[0, 1], [1, 1], [2, 0]]))",
    *("x.index_select(0, t.tensor([1, 1]))", "x[0].diag()"),
    *("x.masked_fill(r > 0, 1j)", "x.diagonal()", "x.repeat(2, 1)", "F.pad(x, (1, 2))", "x.chunk(2, 1)[1]"),
    *("F.pad(x, (1, 2), value=3.0)", "x.index_add(0, t.tensor([0, 0, 1]), y)", "x.unfold(1, 2, 1)"),
    *("x.index_put((t.tensor([0, 1]),), y[0])", "x[:, :1].expand(3, 5)", "x.put(t.tensor([0, 1]), y[0, :2])"),
    *("x.scatter(1, t.tensor([[0, 2], [1, 0], [2, 1]]), y[:, :2])", "x.take(t.tensor([0, 1]))"),
    "x.scatter_add(1, t.tensor([[0, 0], [1, 1], [2, 0]]), y[:, :2])",
    *("x == y", "x == x", "x != 1j", "t.isclose(x, x + 1e-9)", "t.logical_and(x, y)", "x.any()", "x.all(0)"),
    *("t.count_nonzero(x)", "x.to(t.complex128)", "x.to(t.float64)", "x.float()", "x.bool()", "x.cdouble()"),
    *("r.to(t.complex64)", "t.eye(3, dtype=x.dtype)"),
    *("t.linspace(0, 1j, 5)", "t.full((2,), 1j)", "x.contiguous()"),
    *("t.linspace(0, 1, 5, dtype=x.dtype)", "t.logspace(0, 1, 3, dtype=x.dtype)", "t.full_like(x, 1j)"),
    *("t.block_diag(x, y)", "t.combinations(x[0])"),
    *("t.cartesian_prod(x[0], y[0])", "t.meshgrid(x[0], y[0], indexing='ij')[1]"),
]  # fmt: skip


def arrays(dtype: str, shape: tuple[int, ...] = (3, 4), seed: int = 0) -> list[Any]:
    """What x, y and r are."""
    rng = np.random.default_rng(seed)
    real = np.zeros(0, dtype).real.dtype
    made = [rng.standard_normal(shape) + 1j * rng.standard_normal(shape) for _ in range(2)]
    return [*(z.astype(dtype) for z in made), rng.standard_normal(shape).astype(real)]


def called(case: str, library: Any, operands: list[Any]) -> Any:
    names = {"t": library, "F": library.nn.functional, **dict(zip("xyr", operands))}
    return eval(case, names)


def weights(shape: tuple[int, ...], dtype: str) -> Any:
    """A cotangent for a result."""
    size = int(np.prod(shape, dtype=int))
    line = np.linspace(0.5, 1.5, size).reshape(shape)
    return (line * (1 - 0.5j) if "complex" in dtype else line).astype(dtype)
