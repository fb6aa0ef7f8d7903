"""Tensors on a GPU: PyTorch-named functions with their gradients, random programs, and the programs of
`test_cuda_tensors`, give what they give on the CPU.

Each test runs on NVIDIA's driver where there is a GPU (`make test-gpu`), and a part of the cases on the
simulated one anywhere. Cases come from the tables of `test_functions`; a case that makes tensors of its own,
which are then on the CPU, may be refused as one of mixed devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from simulated_driver import SimulatedDriver
from test_cuda_tensors import PROGRAMS, leaves
from test_functions import CASES as ALL
from test_functions import flat, operands
from test_functions import run as evaluated
from test_random_programs import Step, agree, programs
from test_random_programs import run as stepped

import retrograd as t
from retrograd.compiler.errors import CompilerError, DeviceError
from retrograd.runtime.cuda import driver

FACTORIES = (
    "t.tensor(",
    "t.arange(",
    "t.zeros(",
    "t.ones(",
    "t.eye(",
    "t.linspace(",
    "t.full(",
    "np.",
    "t.rand",
)
CASES = [case for case in ALL if "get_device" not in case and "is_cpu" not in case]  # these tell where it is
REAL = pytest.param("NVIDIA's", marks=pytest.mark.gpu)


@pytest.fixture(params=["simulated", REAL])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where tensors go."""
    if request.param == "simulated":
        with driver.use(SimulatedDriver()):
            yield "cuda:0"
    else:
        yield "cuda:0"


def on_device(names: dict[str, Any], device: str) -> dict[str, Any]:
    """The operands, moved; leaves are leaves again."""
    moved = {
        name: x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, t.Tensor) else x
        for name, x in names.items()
    }
    return moved | {"n": moved["c"].transpose(0, 2)}


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


def agrees(case: str, device: str) -> None:
    """What is an error here is one there; there, what makes tensors on the CPU, LAPACK, and small integers,
    for which no code is made, may be refused."""
    try:
        here = outcome(case, operands(t, "float32"))
    except Exception as error:
        with pytest.raises(type(error)):
            outcome(case, on_device(operands(t, "float32"), device))
        return
    try:
        there = outcome(case, on_device(operands(t, "float32"), device))
    except (DeviceError, CompilerError) as refused:
        made_here = isinstance(refused, DeviceError) and any(made in case for made in FACTORIES)
        if made_here or any(
            words in str(refused) for words in ("LAPACK", "it is computed in eager mode only")
        ):
            return
        raise
    for found, expected in zip(there[0], here[0], strict=True):
        alike(found, expected, case)
    assert there[1].keys() == here[1].keys()
    for name, expected in here[1].items():
        alike(there[1][name], expected, case)


@pytest.mark.parametrize("part", range(6))
def test_functions_do_what_they_do_on_the_cpu(device: str, part: int) -> None:
    for case in CASES[part::24]:
        agrees(case, device)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_every_function_does_what_it_does_on_the_cpu(case: str) -> None:
    agrees(case, "cuda:0")


@pytest.mark.gpu
@pytest.mark.parametrize("run", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_gives_the_same(run: Callable[[Any], Any]) -> None:
    for found, expected in zip(leaves(run("cuda:0")), leaves(run("cpu")), strict=True):
        alike(found, expected, run.__name__)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=programs)
def test_random_programs(device: str, steps: list[Step]) -> None:
    expected, found = stepped(t, steps), stepped(t, steps, device)
    assert (expected is None) == (found is None)
    if expected is not None and found is not None:
        agree(found[0], expected[0])
        agree(found[1], expected[1])
