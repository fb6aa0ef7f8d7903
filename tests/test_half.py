"""Half precision: every op computes in float32 and rounds once, eager and compiled, on processors with
conversion instructions and without.

Ops come from the tables of the other tests, their operands in float16; PyTorch says what eager mode gives.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import gpu
import native
import numpy as np
import pytest
from native import graph_of
from test_ops_native import COMPOSITES, FUNCTIONS
from test_pipeline import CASES, sample, with_special_values
from test_structured_ops import SAMPLES

import retrograd as rg
from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.dtypes import DType, bfloat16, float16, float32, float64, int8, int16
from retrograd.compiler.ir.graph import Array, Graph, apply, interpret
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.pipeline import unseen

pytest.importorskip("ml_dtypes")

HOST = Target.host()
TARGETS = {
    "host": HOST,
    "avx2": HOST.without("avx512fp16").narrowed(),
    "no_f16c": HOST.without("avx512fp16").narrowed().without("f16c"),
}
ROWS = {row.name: (row, operands) for row, operands in CASES if operands[-1] is float32}
BY_A_STEP = {"entr"}
"""Rows whose float32 in eager mode, a product with NumPy's logarithm, may round the halves to a neighbour."""
OPS = [(lambda *x, op=op: apply(op, *x), arrays) for op, arrays in (*SAMPLES, *COMPOSITES)] + [
    *FUNCTIONS.values()
]


def halved(arrays: Sequence[Array]) -> list[Array]:
    return [a.astype(np.float16) if a.dtype.kind == "f" else a for a in arrays]


def same(mine: Array, theirs: Array) -> None:
    assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(mine.astype("f8"), theirs.astype("f8"))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_row_compiled_is_the_row_in_eager_mode(target: Target) -> None:
    for row, operands in ROWS.values():
        arrays = halved([with_special_values(sample((1003,), d, k), k) for k, d in enumerate(operands)])
        graph = graph_of(lambda *x, row=row: apply(row, *x), *arrays)
        mine, theirs = native.build(graph, target)(*arrays)[0], interpret(graph, arrays)[0]
        if row.name in BY_A_STEP:
            np.testing.assert_allclose(mine.astype("f4"), theirs.astype("f4"), rtol=1e-3, atol=6e-8)
        else:
            same(mine, theirs)


def _agree(build: Callable[[Graph], Any], cases: Sequence[tuple[Any, Any]]) -> None:
    """The float32 computations may differ by their rounding, the halves by a step."""
    for function, given in cases:
        arrays = halved(given)
        graph = graph_of(function, *arrays)
        for mine, theirs in zip(build(graph)(*arrays), interpret(graph, arrays), strict=True):
            assert mine.dtype == theirs.dtype
            if mine.dtype != np.float16:
                np.testing.assert_array_equal(mine, theirs)
                continue
            np.testing.assert_allclose(mine.astype("f4"), theirs.astype("f4"), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_structured_and_composite_ops(target: Target) -> None:
    _agree(lambda graph: native.build(graph, target), OPS)


def test_structured_and_composite_ops_on_a_gpu() -> None:
    _agree(lambda graph: gpu.build(graph, unseen), OPS[::2])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_half_is_converted_both_ways(target: Target) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        wide = every.astype(np.float32)
        graph = graph_of(lambda x: cast(x, float32), every)
        (mine,) = native.build(graph, target)(every)
        np.testing.assert_array_equal(mine, wide)
        between = np.concatenate(
            [np.nextafter(wide, np.float32(s * np.inf)) for s in (-1, 1)]
            + [(wide[:-1].astype("f8") + wide[1:]).astype("f4") / 2, wide, wide * np.float32(2.0**-20)]
        )
        doubles = between.astype(np.float64)
        for numbers, dtype in ((between, float32), (doubles, float64), (ODD_DOUBLES, float64)):
            numbers = numbers.astype(dtype.numpy)
            graph = graph_of(lambda x: cast(x, float16), numbers)
            same(native.build(graph, target)(numbers)[0], numbers.astype(np.float16))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_bfloat16_is_converted_as_pytorch_does(target: Target, torch: ModuleType) -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 20_000, np.uint32)
    bits[:6] = 0x7F800000, 0xFF800000, 0x7F800001, 0x3F808000, 0x3F818000, 0x7F7FFFFF
    x = bits.view(np.float32)
    theirs = torch.tensor(x).bfloat16()
    graph = graph_of(lambda x: [cast(x, bfloat16), cast(cast(x, bfloat16), float32)], x)
    for narrow, wide in (native.build(graph, target)(x), interpret(graph, [x])):
        np.testing.assert_array_equal(narrow.astype("f4"), theirs.float().numpy())
        np.testing.assert_array_equal(wide, theirs.float().numpy())


def test_rows_of_bfloat16_compiled_are_those_of_eager_mode() -> None:
    for row, operands in ROWS.values():
        arrays = [sample((301,), d, k) for k, d in enumerate(operands)]
        arrays = [a.astype(bfloat16.numpy) if a.dtype.kind == "f" else a for a in arrays]
        graph = graph_of(lambda *x, row=row: apply(row, *x), *arrays)
        same(native.build(graph)(*arrays)[0], interpret(graph, arrays)[0])


@pytest.mark.parametrize("dtype", [bfloat16, int16, int8], ids=lambda d: d.name)
def test_the_last_of_many_narrow_numbers_is_stored_alone(dtype: DType) -> None:
    for size in (17, 33, 49, 65, 129):
        x = sample((size,), float32) * 3
        graph = graph_of(lambda x: cast(x, dtype), x)
        same(native.build(graph)(x)[0], x.astype(dtype.numpy))


ODD_DOUBLES = np.array(
    [1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-11 - 2.0**-40, -(1 + 2.0**-11 + 2.0**-50), 65519.99999999999, 65520.0,
     2.0**-25, 2.0**-25 * (1 + 2.0**-40), 1e-300, -1e300, np.inf, np.nan]
)  # fmt: skip
"""Doubles that would round wrongly by way of the nearest float32."""


def test_sums_are_kept_in_float32(torch: ModuleType) -> None:
    x = np.full(10_000, 0.1, np.float16)
    for mine in (rg.tensor(x).sum(), rg.compile_grad(lambda x: x.sum())(rg.tensor(x))):
        assert mine.item() == torch.tensor(x).sum().item()
    assert rg.tensor(x).cumsum(0)[-1].item() == torch.tensor(x).cumsum(0)[-1].item()


def test_products_are_kept_in_float32(torch: ModuleType) -> None:
    a, b = sample((70, 600), float16), sample((600, 90), float16, 1)
    exact = (a.astype("f4") @ b.astype("f4")).astype(np.float16)
    eager = (rg.tensor(a) @ rg.tensor(b)).numpy()
    same(eager, exact)
    np.testing.assert_allclose(eager, (torch.tensor(a) @ torch.tensor(b)).numpy(), rtol=2e-3, atol=1e-2)
    compiled = rg.compile_grad(lambda a, b: (a @ b).relu())(rg.tensor(a), rg.tensor(b)).numpy()
    np.testing.assert_allclose(compiled, np.maximum(exact, 0), rtol=1e-3, atol=1e-3)


def test_what_follows_a_product_of_halves_joins_it() -> None:
    a, b = sample((128, 128), float16), sample((128, 128), float16, 1)
    graph = graph_of(lambda a, b: rows.maximum(dot(a, b), 0.0), a, b)
    assert len(native.build(graph).compiled.loops.kernels) == 1


GRADIENTS: dict[str, Callable[..., Any]] = {
    "gelu": lambda t, x, w: (t.nn.functional.gelu(x) * w).sum(),
    "softmax": lambda t, x, w: (x.softmax(1) * w).sum(),
    "norm": lambda t, x, w: (t.nn.functional.layer_norm(x, (33,)) * w).sum(),
    "product": lambda t, x, w: (x @ w.T).tanh().mean(),
    "pointwise": lambda t, x, w: (x.sin() * (-w.square()).exp() + (x * w).tanh()).sum(),
    "sigmoid": lambda t, x, w: (x.sigmoid() * t.nn.functional.softplus(w)).mean(),
}


@pytest.mark.parametrize("dtype", [rg.float16, rg.bfloat16], ids=str)
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_those_of_pytorch(name: str, dtype: DType, torch: ModuleType) -> None:
    function = GRADIENTS[name]
    arrays = [sample((20, 33), float32, k) * np.float32(0.3) for k in range(2)]
    same_dtype = getattr(torch, dtype.torch_name)
    theirs = [torch.tensor(a).to(same_dtype).requires_grad_() for a in arrays]
    function(torch, *theirs).backward()
    mine = [rg.tensor(a).to(dtype).requires_grad_() for a in arrays]
    function(rg, *mine).backward()
    compiled = rg.compile_grad(lambda x, w: function(rg, x, w)).grad(*(m.detach() for m in mine))
    digits = 1e-3 if dtype is rg.float16 else 8e-3
    for a, b, c in zip(mine, compiled, theirs, strict=True):
        assert a.grad.dtype is b.dtype is dtype
        for found in (a.grad, b):
            expected = c.grad.float().numpy()
            np.testing.assert_allclose(found.float().numpy(), expected, rtol=4 * digits, atol=digits)


def test_bfloat16_tensors_are_made_printed_and_promoted_as_in_pytorch(torch: ModuleType) -> None:
    for t in (torch, rg):
        x = t.tensor([1.0, -2.5, 3e38, float("nan"), 0.1], dtype=t.bfloat16)
        assert str(x).splitlines() == str(torch.tensor(x.tolist(), dtype=torch.bfloat16)).splitlines()
        assert str((x + x.half()).dtype) == "torch.float32"
        assert [str((x * 2.5).dtype), str((x + t.arange(5)).dtype)] == ["torch.bfloat16"] * 2
        assert str(t.finfo(t.bfloat16).eps) == "0.0078125"
        assert x.float().bfloat16().tolist()[4] == 0.10009765625
        assert t.nn.Linear(2, 3).bfloat16().weight.dtype == t.bfloat16


def test_without_the_package_bfloat16_says_what_is_missing() -> None:
    program = """
import sys
sys.modules["ml_dtypes"] = None
import retrograd as rg
rg.tensor([1.0]).half() + 1
try:
    rg.tensor([1.0]).bfloat16()
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'retrograd[bfloat16]'" in run.stdout
