"""On a GPU: every row and op, value and gradients, as on the machine of `ptx_machine` and as in NumPy.

`make test-gpu` runs what is marked `gpu`, on NVIDIA's driver. The rest shows that it would: the same
functions, some of the cases, on the simulated driver. Where there is no GPU, the marked tests skip and say
what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import device_programs
import numpy as np
import ptx_programs
import pytest
from native import assert_close, graph_of
from simulated_driver import SimulatedDriver
from test_pipeline import CASES, sample
from test_ptx import LISTED, OPS, chunks, with_adjoint
from test_ptx_programs import approximates, operands_of
from test_vector_math import error_of_f64, judged_in_f64, samples
from vector_functions import REFERENCES, errors

from retrograd.compiler.backends.math import BOUNDS, FUNCTIONS
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import OPS as OPS_BY_NAME
from retrograd.compiler.ir.graph import Array, apply, interpret
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.pipeline import compile_for_gpu
from retrograd.runtime.cuda.driver import Driver

Function = Callable[..., Any]
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
"""What NVIDIA's compute-sanitizer looks for."""


@pytest.fixture
def nvidia() -> Driver:
    """NVIDIA's driver; tests that use it are marked `gpu`."""
    found = device_programs.real()
    assert not isinstance(found, str), found
    return found


def with_cotangents(function: Function, arrays: Sequence[Array]) -> tuple[Any, list[Array]]:
    """A graph of value and gradients, and arrays for all its inputs."""
    graph = with_adjoint(function, arrays)
    return graph, [*arrays, *(sample(n.shape, n.dtype, 7) for n in graph.inputs[len(arrays) :])]


def row_agrees(driver: Driver, row: Elementwise, dtypes: list[DType]) -> None:
    """On the device a row gives what the PTX machine gives, and what NumPy gives, nearly."""
    graph, arrays = with_cotangents(lambda *x: apply(row, *x), operands_of(dtypes))
    compiled = compile_for_gpu(graph, device_programs.architecture(driver))
    found = device_programs.run(driver, compiled, arrays)
    assert_close(found[0], interpret(graph, arrays)[0])
    for mine, theirs in zip(found, ptx_programs.run(compiled, arrays), strict=True):
        assert_close(mine, theirs, ulps=8 if approximates(compiled) else 2)


def op_agrees(driver: Driver, function: Function, given: Sequence[Array]) -> None:
    """The same of an op, within what its sums may differ."""
    graph, arrays = with_cotangents(function, given)
    found = device_programs.run(driver, compile_for_gpu(graph, device_programs.architecture(driver)), arrays)
    for mine, theirs in zip(found, interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def is_within_its_bound(driver: Driver, name: str, kind: str, count: int) -> None:
    """On the device an elementary function is as near as the processors' table says."""
    row = OPS_BY_NAME[name]
    operands = samples(name, kind, count, seed=3)
    graph = graph_of(lambda *x: apply(row, *x), *operands)
    compiled = compile_for_gpu(graph, device_programs.architecture(driver))
    (found,) = device_programs.run(driver, compiled, operands)
    if kind == "f32":
        with np.errstate(all="ignore"):
            off = errors(found, REFERENCES[name](*(x.astype(np.float64) for x in operands)))
    else:
        inside = judged_in_f64(name, operands)
        given = zip(found[inside], *(x[inside] for x in operands))
        off = np.array([error_of_f64(name, float(y), [float(x) for x in xs]) for y, *xs in given])
    worst = int(np.argmax(off))
    assert off[worst] <= BOUNDS[name][kind], (name, off[worst])


# ---- on NVIDIA's driver ------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize(("row", "dtypes"), CASES, ids=lambda v: getattr(v, "name", None) or v[-1].name)
def test_every_row_and_its_derivative(nvidia: Driver, row: Elementwise, dtypes: list[DType]) -> None:
    row_agrees(nvidia, row, dtypes)


@pytest.mark.gpu
@pytest.mark.parametrize("cases", chunks(OPS), ids=range(8))
def test_every_op_and_its_adjoint(nvidia: Driver, cases: list[Any]) -> None:
    for function, arrays in cases:
        op_agrees(nvidia, function, arrays)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("kind", "count"), [("f32", 1 << 18), ("f64", 250)])
def test_elementary_functions_are_within_their_bounds(
    nvidia: Driver, name: str, kind: str, count: int
) -> None:
    is_within_its_bound(nvidia, name, kind, count)


@pytest.mark.gpu
@pytest.mark.parametrize("name", LISTED)
def test_kernels_of_a_size_that_matters(nvidia: Driver, name: str) -> None:
    function, arrays = LISTED[name]
    compiled = compile_for_gpu(with_adjoint(function, arrays), device_programs.architecture(nvidia))
    given = [*arrays, *(sample(n.shape, n.dtype, 7) for n in compiled.graph.inputs[len(arrays) :])]
    for mine, theirs in zip(device_programs.run(nvidia, compiled, given), interpret(compiled.graph, given)):
        scale = float(np.nanmax(np.abs(theirs), initial=1))
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.gpu
@pytest.mark.parametrize("tool", SANITIZERS)
def test_nvidias_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("NVIDIA's compute-sanitizer is not on the PATH")
    tests = f"{Path(__file__)}::test_every_op_and_its_adjoint"
    command = [
        sanitizer,
        "--tool",
        tool,
        "--error-exitcode",
        "9",
        sys.executable,
        "-m",
        "pytest",
        "-q",
        tests,
    ]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, env=alone)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- on the simulated driver -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES[::25], ids=lambda case: f"{case[0].name}-{case[1][-1].name}")
def test_rows_on_the_simulated_driver(
    simulated_gpus: SimulatedDriver, case: tuple[Elementwise, list[DType]]
) -> None:
    row_agrees(simulated_gpus, *case)


@pytest.mark.parametrize("case", OPS[::15], ids=range(len(OPS[::15])))
def test_ops_on_the_simulated_driver(simulated_gpus: SimulatedDriver, case: tuple[Function, Any]) -> None:
    op_agrees(simulated_gpus, *case)


EVERYWHERE_OFF = [("exp", "f32"), ("tanh", "f32")]
"""The simulated GPU's approximations are at each number as far off as NVIDIA's may be at any."""


@pytest.mark.parametrize(("kind", "count"), [("f32", 2000), ("f64", 20)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementary_functions_on_the_simulated_driver(
    simulated_gpus: SimulatedDriver, name: str, kind: str, count: int
) -> None:
    if (name, kind) not in EVERYWHERE_OFF:
        is_within_its_bound(simulated_gpus, name, kind, count)
