"""Products of float32 on a GPU lose digits where the user lets them, and nowhere else. The driver is
simulated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from simulated_driver import SimulatedDriver

import retrograd as rg
from retrograd.compiler.errors import ArgumentError
from retrograd.runtime.cuda import driver


@pytest.fixture(autouse=True)
def gpu() -> Iterator[None]:
    with driver.use(SimulatedDriver()):
        yield
    rg.set_float32_matmul_precision("highest")


A, B = (np.random.default_rng(k).standard_normal((64, 64)).astype(np.float32) for k in range(2))
EXACT = A.astype(np.float64) @ B.astype(np.float64)


def error(found: rg.Tensor, wanted: Any = EXACT) -> float:
    return float(np.abs(found.detach().cpu().numpy() - wanted).max())


def operands() -> tuple[rg.Tensor, rg.Tensor]:
    return rg.from_numpy(A).cuda(), rg.from_numpy(B).cuda()


def test_eager_products_follow_the_switch_both_ways() -> None:
    a, b = operands()
    for precision, exact in (("highest", True), ("high", False), ("highest", True), ("medium", False)):
        rg.set_float32_matmul_precision(precision)
        assert (error(a @ b) < 1e-4) is exact
        assert rg.backends.cuda.matmul.allow_tf32 is not exact
        assert rg.get_float32_matmul_precision() == precision


def test_adjoints_and_compiled_functions_do_so_too() -> None:
    a, b = operands()
    a.requires_grad_()
    product = rg.compile_grad(lambda x, y: x @ y)
    seed = np.cos(np.arange(4096, dtype=np.float32)).reshape(64, 64)
    wanted = seed.astype(np.float64) @ B.T.astype(np.float64)
    for allowed in (False, True, False):
        rg.backends.cuda.matmul.allow_tf32 = allowed
        assert (error(product(a, b)) > 1e-4) is allowed
        for result in (a @ b, product(a, b)):
            a.grad = None
            result.backward(rg.from_numpy(seed).cuda())
            assert (error(a.grad, wanted) > 1e-4) is allowed
    assert product.specialisations == 2


def test_ptx_shows_it_and_the_processor_does_not_care() -> None:
    program = rg.compile_grad(lambda x, y: (x @ y).sum()).trace(rg.from_numpy(A), rg.from_numpy(B))
    exact = rg.from_numpy(A) @ rg.from_numpy(B)
    assert "tf32" not in program.ptx("sm_80")
    rg.set_float32_matmul_precision("high")
    assert "tf32" in program.ptx("sm_80")
    assert "tf32" not in program.ptx("sm_75")
    assert (rg.from_numpy(A) @ rg.from_numpy(B) == exact).all()


def test_another_word_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the precisions are 'highest', 'high', 'medium'"):
        rg.set_float32_matmul_precision("low")
    assert rg.get_float32_matmul_precision() == "highest"
