"""Each op, applied to arrays on a GPU, and each op's adjoint there, against NumPy. The driver is simulated.

The samples are those of `test_structured_ops`; a row of the elementwise table has its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_structured_ops import SAMPLES

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import OPS, Array, Op, apply
from retrograd.compiler.ops.elementwise import Elementwise, Types
from retrograd.compiler.ops.reverse import cotangents
from retrograd.runtime.cuda import devices
from retrograd.runtime.cuda.array import CudaArray, uploaded
from retrograd.runtime.cuda.operators import LAUNCH

ROWS = [op for op in OPS.values() if isinstance(op, Elementwise) and op.takes(dtypes.float32)]


pytestmark = pytest.mark.usefixtures("simulated_gpus")


def there(array: Array) -> CudaArray:
    return uploaded(devices.get(), np.asarray(array))


def assert_same(mine: Any, theirs: Any) -> None:
    if theirs is None:
        assert mine is None
        return
    assert isinstance(mine, CudaArray)
    theirs = np.asarray(theirs)
    assert (mine.shape, mine.dtype.numpy) == (theirs.shape, theirs.dtype)
    np.testing.assert_allclose(mine.host(), theirs, rtol=1e-5, atol=1e-6)


def check(op: Op, arrays: tuple[Array, ...]) -> None:
    """The value, and the cotangents of the floating operands."""
    value, operands = apply(op, *arrays), [there(x) for x in arrays]
    assert_same(apply(op, *operands), value)
    needed = [x.dtype.kind == "f" for x in arrays]
    if value.dtype.kind != "f" or not any(needed):
        return
    seed = np.cos(np.arange(value.size, dtype=value.dtype)).reshape(value.shape)
    found = LAUNCH.cotangents(op, there(seed), there(value), operands, needed)
    for mine, theirs in zip(found, cotangents(op, seed, value, arrays, needed), strict=True):
        assert_same(mine, theirs)


@pytest.mark.parametrize("op", ROWS, ids=lambda op: op.name)
def test_rows(op: Elementwise) -> None:
    line = np.array([0.25, 0.5, 0.75, 0.875, 0.4], np.float32)
    operands: list[Array] = [line + np.float32(k * 0.0625) for k in range(op.arity)]
    if op.types is Types.SELECT:
        operands[0] = line > 0.5
    check(op, tuple(operands))


@pytest.mark.parametrize(
    ("op", "arrays"), SAMPLES, ids=[f"{k}-{op.name}" for k, (op, _) in enumerate(SAMPLES)]
)
def test_structured_ops(op: Op, arrays: tuple[Array, ...]) -> None:
    check(op, arrays)
