"""What all tests share: goldens, the peers that may be absent, and Hypothesis' settings.

In flows a test's text or need; out flows a comparison with `tests/golden/NAME`, or a skip that says why.
A new shared fixture goes at the end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import device_programs
import hypothesis
import pytest
from simulated_driver import SimulatedDriver

from retrograd.compiler import dtypes
from retrograd.compiler.ops import exchanges, ldl, routines
from retrograd.runtime.eager import adjoints
from retrograd.runtime.eager.otherwise import UNCONFIRMED
from retrograd.runtime.native import cache
from retrograd.runtime.native.small import program

GOLDEN = Path(__file__).parent / "golden"

# A first call compiles, so time says nothing about a single example.
hypothesis.settings.register_profile("retrograd", deadline=None, print_blob=True)
hypothesis.settings.load_profile("retrograd")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what the code prints now"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `gpu` runs where there is one; elsewhere it says what is missing."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    missing = device_programs.real() if marked else None
    if isinstance(missing, str):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` asserts that `text` is what `tests/golden/NAME` holds, to the letter."""
    update = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        assert path.exists(), f"{path} is missing: look at the text, then run pytest with --update-golden"
        assert text == path.read_bytes().decode("utf-8")

    return compare


def peer(name: str, label: str) -> ModuleType:
    """The peer's module; where it is not installed, the test skips and says so."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{label} is not installed, so there is nothing to compare with")
    return importlib.import_module(name)


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch, as an oracle; `@pytest.mark.usefixtures("torch")` skips without passing it in."""
    return peer("torch", "PyTorch")


@pytest.fixture(scope="session")
def jax() -> ModuleType:
    """JAX, as an oracle."""
    return peer("jax", "JAX")


@pytest.fixture
def collects_its_own() -> Iterator[None]:
    """For tests that collect garbage many times: what was there before is not looked through each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def allocated_blocks() -> Callable[[], int]:
    """How many blocks of memory Python's objects have, once garbage is collected and no thread of ours is
    at work: one that writes compiled code may be looking through a hundred thousand files."""

    def count() -> int:
        cache.flush()
        gc.collect()
        return sys.getallocatedblocks()

    return count


@pytest.fixture
def simulated_gpus() -> Iterator[SimulatedDriver]:
    """Two GPUs that are none: CUDA's promises kept by NumPy."""
    with device_programs.lent(SimulatedDriver(devices=2)) as driver:
        yield driver


@pytest.fixture(scope="module", params=["simulated", pytest.param("NVIDIA's", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """A GPU to put tensors on: a simulated one anywhere, NVIDIA's where there is one."""
    simulated = request.param == "simulated"
    with device_programs.lent(SimulatedDriver()) if simulated else contextlib.nullcontext():
        yield "cuda:0"


@pytest.fixture
def memory_goes_back(device: str) -> Iterator[None]:
    """After each test of a module, no tensor of it is left on `device`."""
    yield
    device_programs.assert_nothing_is_held()


@pytest.fixture(autouse=True)
def quick_ways_are_right() -> Iterator[None]:
    """Where a quick way raises, the general one raises, too: a defect would be seen by its time alone."""
    UNCONFIRMED.clear()
    yield
    assert not UNCONFIRMED, f"a quick way raised where the general one did not:\n{UNCONFIRMED[0]}"


@pytest.fixture
def without_small_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small graphs by NumPy, as where objects are laid out in another way."""
    monkeypatch.setattr(program, "available", lambda: False)
    forget_calls()
    yield
    forget_calls()


@pytest.fixture(params=["kernels", "LAPACK", "NumPy"])
def each_way_to_factor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels of small matrices, LAPACK's own routines, and what is done where neither is there."""
    if request.param != "kernels":
        request.getfixturevalue("without_small_kernels")
    if request.param == "NumPy":
        monkeypatch.setattr(routines, "LAPACK", None)
    made = (exchanges.elimination, ldl.factoring, ldl.solver)
    for function in made:
        function.cache_clear()
    yield
    for function in made:
        function.cache_clear()


def forget_calls() -> None:
    """What has been found out about calls is found out anew."""
    program.value_of.cache_clear()
    adjoints._RULES.clear()
    for forget in dtypes.DEPENDENT:
        forget()
