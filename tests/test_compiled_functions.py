"""PyTorch-named functions compiled: values and gradients are those of eager mode, case by case.

The cases are lines of the tables that `test_functions` compares with PyTorch. A table is a row of `COMPILED`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from functional_cases import GATHERED
from special_cases import SPECIAL
from test_functions import flat, operands

import retrograd

COMPILED = [*GATHERED, *(c for c in SPECIAL if "; " not in c and ".detach()" not in c and "(i" not in c)]


def weighed(case: str, names: dict[str, Any]) -> Any:
    """A sum of the case's floating results in which each element counts differently."""
    results = [x for x in flat(eval(case, names)) if x.is_floating_point()]
    counts = [retrograd.arange(x.numel(), dtype=x.dtype).reshape(x.shape) for x in results]
    return sum((x * (k * 0.37).cos()).sum() for x, k in zip(results, counts))


def check_compiled(case: str) -> None:
    names = operands(retrograd, "float64", requires_grad=False)
    used = [name for name, x in names.items() if isinstance(x, retrograd.Tensor) and x.is_floating_point()]
    used = [name for name in used if name in compile(case, "case", "eval").co_names]

    def loss(*tensors: Any) -> Any:
        return weighed(case, {**names, **dict(zip(used, tensors))})

    leaves = [names[name].clone().requires_grad_() for name in used]
    expected = loss(*leaves)
    gradients = retrograd.autograd.grad(expected, leaves)
    value, found = retrograd.compile_grad(loss).value_and_grad(*(names[name] for name in used))

    np.testing.assert_allclose(value.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    for ours, eager in zip([found] if len(used) == 1 else found, gradients, strict=True):
        np.testing.assert_allclose(ours.numpy(), eager.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", COMPILED)
def test_a_compiled_function_is_the_eager_one(case: str) -> None:
    check_compiled(case)
