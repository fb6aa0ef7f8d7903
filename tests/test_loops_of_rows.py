"""Native loops over rows of any length: the same numbers as PyTorch's, whatever the shape and the strides."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.ir.graph import OPS
from retrograd.runtime.eager.instant import loops
from retrograd.runtime.eager.instant.part import available
from retrograd.runtime.native.pool import MUCH

F = rg.nn.functional

pytestmark = pytest.mark.skipif(not available(), reason="objects are laid out in another way")

SHAPES = [(3, 3), (5, 17), (2, 3, 40), (1, 1), (4,), (0, 4), (2, 0), (7, 1000), (16,), (3, 32)]
DTYPES = [np.float32, np.float64]
POSITIVE = ["rsqrt", "log", "log2", "log10", "log1p"]
NUMPYS = ["exp", "exp2", "expm1", "sin", "cos", "asin", "acos", "atan", "sinh", "cosh", "tanh"]
"""Rows that NumPy has, too, and does not do faster."""
ROWS = ["sigmoid", "softplus", "erf", "erfc", *POSITIVE, *NUMPYS]
ACTIVATIONS = ["softplus", "gelu", "hardswish", "logsigmoid", "mish", "selu", "silu", "softsign"]


def near(ours: Any, theirs: Any) -> None:
    tight = ours.dtype is rg.float64
    found, expected = ours.detach().numpy(), theirs.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12 if tight else 2e-5, atol=1e-13 if tight else 2e-6)


def steps(x: Any) -> list[int]:
    """The strides that lead anywhere."""
    return [step for step, size in zip(x.stride(), x.shape, strict=True) if size > 1 and x.numel()]


def normal(shape: tuple[int, ...], dtype: type, scale: float = 3.0) -> Any:
    return np.asarray(np.random.default_rng(7).standard_normal(shape) * scale).astype(dtype)


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    return pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_a_matrix(torch: ModuleType, shape: tuple[int, ...], dtype: type) -> None:
    array = normal(shape, dtype)
    x, y = rg.from_numpy(array), torch.from_numpy(array)
    for _ in range(3):
        near(F.softmax(x, dim=-1), torch.softmax(y, -1))
        near(F.log_softmax(x, dim=-1), torch.log_softmax(y, -1))
        near(F.layer_norm(x, shape[-1:]), torch.nn.functional.layer_norm(y, shape[-1:]))
        near(F.layer_norm(x, shape), torch.nn.functional.layer_norm(y, shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ROWS, *ACTIVATIONS[1:]])
def test_rows_of_the_table(torch: ModuleType, name: str, dtype: type) -> None:
    for shape in [*SHAPES, ()]:
        array = np.asarray(np.abs(normal(shape, dtype)) if name in POSITIVE else normal(shape, dtype))
        for view in (array, array.T, array[..., ::2] if shape else array):
            ours, theirs = rg.from_numpy(view), torch.from_numpy(view)
            activation = name in ACTIVATIONS
            call = getattr(torch.nn.functional if activation else torch, name)
            found = getattr(F, name)(ours) if activation else getattr(ours, name)()
            near(found, call(theirs))
            if name != "logsigmoid":  # which PyTorch lays out in order
                assert steps(found) == steps(call(theirs))


BIG = 3 * MUCH + 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*POSITIVE, *NUMPYS, "sigmoid", *ACTIVATIONS[1:]])
def test_large_arrays_have_the_bits_of_their_parts(torch: ModuleType, name: str, dtype: type) -> None:
    """Which are computed on one thread."""
    array = np.abs(normal((BIG,), dtype)) if name in POSITIVE else normal((BIG,), dtype)
    function = getattr(F, name) if name in ACTIVATIONS else lambda x: getattr(x, name)()
    call = getattr(torch.nn.functional if name in ACTIVATIONS else torch, name)
    x = rg.from_numpy(array)
    whole = function(x)
    near(whole, call(torch.from_numpy(array)))
    parts = np.concatenate([function(part).numpy() for part in x.split(1000)])
    np.testing.assert_array_equal(whole, parts)
    square = rg.from_numpy(array[: 200 * 300].reshape(200, 300))
    for view in (square.t(), square[::2], square.reshape(20, 10, 300).permute(2, 0, 1)):
        np.testing.assert_array_equal(function(view), function(view.clone().contiguous()))
        if name != "logsigmoid":  # as above
            assert steps(function(view)) == steps(call(torch.from_numpy(view.numpy())))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_many_rows_have_the_bits_of_each(name: str) -> None:
    x = rg.from_numpy(normal((1000, 70), np.float32))
    whole = getattr(rg, name)(x, 1)
    np.testing.assert_array_equal(whole, rg.cat([getattr(rg, name)(part, 1) for part in x.split(200)]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    "shape", [(5, 3), (64, 64), (3, 700, 33), (2, 1000, 70), (700, 900), (9, 1)], ids=str
)
def test_shares_across_lines(torch: ModuleType, shape: tuple[int, ...], name: str, dtype: type) -> None:
    array = normal(shape, dtype)
    array.flat[:5] = np.inf, -np.inf, np.nan, 1e30, -1e30
    axis = len(shape) - 2
    array[..., -1] = -np.inf
    theirs = getattr(torch, name)(torch.from_numpy(array), axis)
    for x in (rg.from_numpy(array), rg.from_numpy(array.T.copy().T)):
        for _ in range(3):
            near(getattr(rg, name)(x, axis), theirs)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_many_lines_have_the_bits_of_each(name: str) -> None:
    x = rg.from_numpy(normal((90, 1000), np.float32))
    whole = getattr(rg, name)(x, 0)
    np.testing.assert_array_equal(whole, rg.cat([getattr(rg, name)(part, 0) for part in x.split(80, 1)], 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*NUMPYS, *POSITIVE])
def test_all_ways_to_a_row_give_the_same_bits(name: str, dtype: type) -> None:
    """Alone, recorded, in place, one after the other, and compiled."""
    for size in (7, 1000, BIG):
        array = np.abs(normal((size,), dtype)) / 30
        x = rg.from_numpy(array)
        expected = getattr(x, name)()
        for _ in range(3):
            changed, out = x.clone(), rg.empty_like(x)
            getattr(changed, f"{name}_")()
            getattr(rg, name)(x, out=out)
            recorded = getattr(x.clone().requires_grad_(), name)()
            for other in (changed, out, recorded.detach(), rg.func.vmap(lambda x: getattr(x, name)())(x)):
                np.testing.assert_array_equal(other, expected)
        np.testing.assert_array_equal(rg.compile_grad(lambda x: getattr(x, name)())(x), expected)


def test_numbers_of_numpy_are_taken() -> None:
    exp = loops.of_row(OPS["exp"], np.dtype(np.float32))
    assert exp is not None
    np.testing.assert_array_equal(exp(np.float32(0.5)), exp(np.array(0.5, np.float32)))


def test_special_numbers_go_where_pytorch_has_them(torch: ModuleType) -> None:
    rows = [[np.inf, 1, 2], [-np.inf] * 3, [np.nan, 1, 2], [1e30, -1e30, 0], [-np.inf, 0, 1]]
    array = np.array(rows, np.float32)
    for ours, theirs in ((rg.softmax, torch.softmax), (rg.log_softmax, torch.log_softmax)):
        near(ours(rg.from_numpy(array), 1), theirs(torch.from_numpy(array), 1))
    for name in ("sigmoid", *NUMPYS, *POSITIVE):
        near(getattr(rg.from_numpy(array), name)(), getattr(torch.from_numpy(array), name)())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 17), (1, 1), (100, 10), (64, 1000)])
@pytest.mark.parametrize("ignored", [False, True])
def test_cross_entropy_and_its_derivative_have_the_same_bits_each_time(
    torch: ModuleType, shape: tuple[int, int], reduction: str, dtype: type, ignored: bool
) -> None:
    array, classes = normal(shape, dtype), np.random.default_rng(1).integers(0, shape[1], shape[0])
    classes[: int(ignored)] = -100
    y = torch.from_numpy(array.copy()).requires_grad_()
    expected = torch.nn.functional.cross_entropy(y, torch.from_numpy(classes), reduction=reduction)
    expected.sum().backward()
    seen = set()
    for _ in range(4):
        x = rg.from_numpy(array.copy()).requires_grad_()
        loss = F.cross_entropy(x, rg.from_numpy(classes), reduction=reduction)
        loss.sum().backward()
        assert x.grad is not None
        near(loss, expected)
        near(x.grad, y.grad)
        seen.add((loss.detach().numpy().tobytes(), x.grad.numpy().tobytes()))
    assert len(seen) == 1


def test_a_loop_that_is_in_the_cache_needs_no_llvm() -> None:
    program = (
        "import sys, retrograd as rg\n"
        "rg.ones(3).sigmoid(), rg.softmax(rg.ones(3, 3), 1)\n"
        "print('llvmlite.binding' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[-1].stdout.strip() == "False"


def derivative(call: Any, x: Any, cotangent: Any) -> Any:
    x = x.requires_grad_()
    call(x, -1).backward(cotangent)
    return x.grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    "shape", [(3, 1000), (700, 3), (40, 7, 17), (1, 5000), (5000, 1), (9000,), (513, 257)]
)
def test_derivatives_of_shares_are_as_near_as_pytorchs(
    torch: ModuleType, shape: tuple[int, ...], name: str, dtype: type
) -> None:
    array, cotangent = normal(shape, dtype), np.random.default_rng(1).standard_normal(shape).astype(dtype)
    for g in (cotangent, np.broadcast_to(cotangent[..., :1], shape), cotangent.T.copy().T):
        theirs = derivative(getattr(torch, name), torch.tensor(array), torch.tensor(g))
        wide = [torch.tensor(each.astype(np.float64)) for each in (array, g)]
        exact = derivative(getattr(torch, name), *wide).numpy()
        for _ in range(3):
            found = derivative(getattr(rg, name), rg.tensor(array), rg.from_numpy(g)).numpy()
            error, other = (np.abs(each - exact).max() for each in (found, theirs.numpy()))
            scale = np.abs(exact).max() if dtype is np.float32 else np.abs(g).sum(-1).max()
            assert error <= 2 * other + 32 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_derivatives_of_many_shares_have_the_bits_of_each_row(name: str) -> None:
    array, g = normal((1000, 70), np.float32), normal((1000, 70), np.float32, 1.0)
    call = getattr(rg, name)
    whole = derivative(call, rg.tensor(array), rg.tensor(g))
    parts = [
        derivative(call, rg.tensor(array[k : k + 40]), rg.tensor(g[k : k + 40])) for k in range(0, 1000, 40)
    ]
    np.testing.assert_array_equal(whole, rg.cat(parts))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_derivatives_of_special_shares(torch: ModuleType, name: str) -> None:
    array = normal((300, 11), np.float32)
    array[0, 1], array[1, 1], array[2, 1], array[3], array[4, 1] = np.inf, -np.inf, np.nan, -np.inf, -1e30
    g = normal((300, 11), np.float32, 1.0)
    g[5, 2], g[6, 2] = np.inf, np.nan
    theirs = derivative(getattr(torch, name), torch.tensor(array), torch.tensor(g))
    for _ in range(3):
        near(derivative(getattr(rg, name), rg.tensor(array), rg.tensor(g)), theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [0, 2])
@pytest.mark.parametrize(
    "shape", [(3, 1000), (700, 5), (40, 7, 17), (1, 5000), (9000,), (513, 257), (3000, 1)]
)
def test_layer_norm_and_its_derivatives_are_as_near_as_pytorchs(
    torch: ModuleType, shape: tuple[int, ...], affine: int, dtype: type
) -> None:
    kinds = [shape, shape[-1:], shape[-1:], shape]
    arrays = [normal(each, dtype) + dtype(k) for k, each in enumerate(kinds)]

    def found(module: ModuleType, call: Any, wide: type) -> list[Any]:
        *operands, g = [module.tensor(each.astype(wide)) for each in arrays]
        taken = [each.requires_grad_() for each in operands[: 1 + affine]]
        out = call(taken[0], shape[-1:], *taken[1:])
        out.backward(g)
        return [out.detach().numpy(), *[each.grad.numpy() for each in taken]]

    call = torch.nn.functional.layer_norm
    exact, theirs = found(torch, call, np.float64), found(torch, call, dtype)
    for _ in range(3):
        for ours, other, right in zip(found(rg, F.layer_norm, dtype), theirs, exact, strict=True):
            error = np.abs(ours - right).max()
            assert error <= 2 * np.abs(other - right).max() + 200 * np.finfo(dtype).eps * np.abs(
                right
            ).max() + (1e-9 if shape[-1] == 1 or dtype is np.float64 else 0)


def test_layer_norm_of_many_rows_has_the_bits_of_each() -> None:
    array, weight, bias = normal((1000, 70), np.float32), normal((70,), np.float32), normal((70,), np.float32)
    outs = []
    for rows in (1000, 40):
        x = rg.tensor(array, requires_grad=True)
        for part in x.split(rows):
            F.layer_norm(part, (70,), rg.tensor(weight), rg.tensor(bias)).square().sum().backward()
        assert x.grad is not None
        outs.append(x.grad.numpy())
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["bool", "numbers"])
@pytest.mark.parametrize("mask", [(33, 17), (2, 8, 33, 17), (2, 1, 1, 17), (1, 1, 33, 1)])
def test_attention_with_a_mask(torch: ModuleType, mask: tuple[int, ...], kind: str, dtype: type) -> None:
    query, key = normal((2, 8, 33, 5), dtype, 1.0), normal((2, 8, 17, 5), dtype, 1.0)
    added = np.asarray(np.random.default_rng(3).standard_normal(mask)).astype(dtype)
    shown: Any = np.asarray(added > -1) if kind == "bool" else added
    if mask == (33, 17):
        shown[3] = False if kind == "bool" else -np.inf

    def found(module: ModuleType, call: Any) -> list[Any]:
        taken = [module.tensor(each, requires_grad=True) for each in (query, key, key + 1)]
        out = call(*taken, attn_mask=module.tensor(shown))
        (out * out).sum().backward()
        return [out, *[each.grad for each in taken]]

    expected = found(torch, torch.nn.functional.scaled_dot_product_attention)
    if mask == (33, 17) and kind == "numbers":  # PyTorch's derivative of a row that sees nothing may be NaN
        expected = expected[:1]
    for _ in range(3):
        for ours, theirs in zip(found(rg, F.scaled_dot_product_attention), expected, strict=False):
            right = theirs.detach().numpy()
            tight = dtype is np.float64
            np.testing.assert_allclose(
                ours.detach().numpy(), right, rtol=1e-10 if tight else 1e-4, atol=1e-11 if tight else 5e-5
            )


def _attended(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """By its definition, in float64: what is masked is as if it were not there."""
    scores = q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = weights.sum(-1, keepdims=True)
    return np.where(total == 0, 0, weights / np.where(total == 0, 1, total)) @ v


MASKS = {
    "bool": lambda chosen, numbers: chosen,
    "bool of all": lambda chosen, numbers: chosen & False,
    "numbers": lambda chosen, numbers: np.where(chosen, numbers, -np.inf),
    "numbers of all": lambda chosen, numbers: np.full_like(numbers, -np.inf),
    "infinity": lambda chosen, numbers: np.where(numbers == numbers.max(), np.inf, numbers),
    "nan": lambda chosen, numbers: np.where(numbers == numbers.max(), np.nan, numbers),
}  # each with rows in which nothing is chosen


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("spoiled", ["", "q", "k", "v"])
@pytest.mark.parametrize("extents", [(2, 3, 5), (8, 70, 64)])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_attention_of_special_numbers(
    torch: ModuleType, extents: tuple[int, ...], spoiled: str, kind: str, number: float
) -> None:
    """As PyTorch's, by its definition where a bool hides what is not finite (there PyTorch adds, and NaN
    stays), with the same numbers
    at every call, on one thread and two; compiled, too."""
    generator = np.random.default_rng(3)
    heads, queries, keys = extents
    q, k, v = (generator.normal(size=(2, heads, n, 16)).astype("f") for n in (queries, keys, keys))
    if spoiled:
        {"q": q, "k": k, "v": v}[spoiled][0, 0, 1, 0] = number
    chosen = generator.random((2, 1, queries, keys)) < 0.6
    chosen[:, :, 1] = False
    mask = MASKS[kind](chosen, generator.normal(size=chosen.shape).astype("f"))

    def found(t: Any, attend: Any) -> list[Any]:
        leaves = [t.tensor(x, requires_grad=True) for x in (q, k, v)]
        out = attend(*leaves, t.tensor(mask))
        out.backward(t.arange(16.0).expand(out.shape))
        return [out.detach().numpy(), *(x.grad.numpy() for x in leaves)]

    compiled = rg.compile_grad(F.scaled_dot_product_attention)
    with np.errstate(all="ignore"):
        wanted = _attended(q, k, v, mask)
    threads = rg.get_num_threads()
    try:
        ours = []
        for count in (1, 2, 1):
            rg.set_num_threads(count)
            ours.append(found(rg, F.scaled_dot_product_attention))
        again = found(rg, compiled)
    finally:
        rg.set_num_threads(threads)
    for each in ours:
        for x, y in zip(each, ours[0]):
            np.testing.assert_array_equal(x, y)
    for x, y in zip(again, ours[0]):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours[0][0], wanted, rtol=1e-4, atol=1e-4)
    if spoiled in ("q", "k") and mask.dtype == bool:
        return
    theirs = found(torch, torch.nn.functional.scaled_dot_product_attention)
    ends = kind in ("infinity", "nan")  # PyTorch's kernels of many queries lose NaN on the way back
    for x, y in zip(ours[0][: 1 if ends else 4], theirs):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-4)
