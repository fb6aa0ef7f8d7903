"""Tensors on a GPU: PyTorch-named functions with their gradients, random programs, and the programs of
`test_cuda_tensors`, give what they give on the CPU.

Each test runs on the simulated driver anywhere, and on NVIDIA's where there is a GPU (`make test-gpu`). Cases
come from the tables of `test_functions`; what a case makes itself is made on the GPU (`on_gpu.py`). One
driver serves all cases, so what was compiled for one is there for the next; after each, no memory is held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import on_gpu
import pytest
from hypothesis import given, settings
from test_cuda_tensors import PROGRAMS, leaves
from test_functions import CASES as ALL
from test_functions import flat, operands
from test_functions import run as evaluated
from test_random_programs import Step, agree, programs
from test_random_programs import run as stepped

import retrograd as t

pytestmark = [
    pytest.mark.usefixtures("memory_goes_back"),
    pytest.mark.filterwarnings("ignore:To copy construct"),
]

APART = ("get_device", "is_cpu", "is_shared", "typename", "igamma", "gammainc")
"""What tells where a tensor is, or is done on the CPU only."""
CASES = [case for case in ALL if not any(word in case for word in APART)]


def on_device(names: dict[str, Any], device: str) -> dict[str, Any]:
    """The operands, moved; leaves are leaves again."""
    moved = {
        name: x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, t.Tensor) else x
        for name, x in names.items()
    }
    return moved | {"t": on_gpu, "n": moved["c"].transpose(0, 2)}


def outcome(case: str, names: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Results and gradients."""
    result, gradients = evaluated(case, names)
    return list(flat(result)), gradients


def alike(found: Any, expected: Any, case: str) -> None:
    if not isinstance(expected, t.Tensor):
        assert str(found).replace("cuda:0", "cpu") == str(expected), case
        return
    assert found.dtype is expected.dtype
    a, b = found.detach().cpu().numpy(), expected.detach().numpy()
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5, err_msg=case)


@pytest.mark.parametrize("case", CASES)
def test_a_function_does_what_it_does_on_the_cpu(device: str, case: str) -> None:
    """What is an error here is one there."""
    try:
        here = outcome(case, operands(t, "float32"))
    except Exception as error:
        with pytest.raises(type(error)):
            outcome(case, on_device(operands(t, "float32"), device))
        return
    there = outcome(case, on_device(operands(t, "float32"), device))
    for found, expected in zip(there[0], here[0], strict=True):
        alike(found, expected, case)
    assert there[1].keys() == here[1].keys()
    for name, expected in here[1].items():
        alike(there[1][name], expected, case)


@pytest.mark.gpu
@pytest.mark.parametrize("run", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_gives_the_same(run: Callable[[Any], Any]) -> None:
    for found, expected in zip(leaves(run("cuda:0")), leaves(run("cpu")), strict=True):
        alike(found, expected, run.__name__)


@settings(max_examples=25)
@given(steps=programs)
def test_random_programs(device: str, steps: list[Step]) -> None:
    expected, found = stepped(t, steps), stepped(t, steps, device)
    assert (expected is None) == (found is None)
    if expected is not None and found is not None:
        agree(found[0], expected[0])
        agree(found[1], expected[1])
