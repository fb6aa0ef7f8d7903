"""The documents on a GPU: 000 with `device = torch.device("cuda:0")`, as its own comment proposes, and the
others with their tensors made there. They print what they print on the CPU, and where the tensors are.

On NVIDIA's driver the documents run as they are; on the simulated one, two steps of each long loop.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
import test_000_two_layer_net
import test_001_automatic_differentiation
import test_002_binary_cross_entropy
import test_003_variable
import test_004_backward
from document import Cell, alike, printed
from on_gpu import source_for_gpu
from simulated_driver import SimulatedDriver

STEPS = 500
ROUNDING = 1e-4
"""Kernels add in an order of their own, so the last printed digit may differ."""
PLACE = re.compile(r",\s+device='cuda:0'")
DOCUMENTS = {
    module.__name__.removeprefix("test_"): module.CELLS
    for module in (
        test_000_two_layer_net,
        test_001_automatic_differentiation,
        test_002_binary_cross_entropy,
        test_003_variable,
        test_004_backward,
    )
}


def on_the_gpu(cell: Cell, steps: int) -> Cell:
    """The cell on the GPU, its long loop run for so many steps."""
    lines = cell.prints.strip("\n").splitlines()
    kept = lines[: -(-steps // cell.every)] if cell.every > 1 else lines
    source = source_for_gpu(cell.source).replace(f"range({STEPS})", f"range({steps})")
    return cell._replace(source=source, prints="\n".join(kept))


def check(cells: Sequence[Cell]) -> None:
    """What is printed, without the device and the lines that are longer for it."""
    for cell, text in zip(cells, printed(cells, "retrograd"), strict=True):
        here, there = (" ".join(lines.split()) for lines in (cell.prints, PLACE.sub("", text)))
        alike(there, here, max(cell.rounding, ROUNDING), cell.noise)


@pytest.mark.gpu
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_on_a_gpu(name: str) -> None:
    check([on_the_gpu(cell, STEPS) for cell in DOCUMENTS[name]])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_on_the_simulated_gpu(name: str, simulated_gpus: SimulatedDriver) -> None:
    check([on_the_gpu(cell, 2) for cell in DOCUMENTS[name]])
    assert simulated_gpus.launches
