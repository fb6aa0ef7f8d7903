"""Document 000 with `device = torch.device("cuda:0")`, as its own comment proposes: the same losses.

On NVIDIA's driver the document runs as it is; on the simulated one, two steps of each loop.
"""

from __future__ import annotations

import pytest
from document import Cell, check
from simulated_driver import SimulatedDriver
from test_000_two_layer_net import CELLS

STEPS = 500


def on_the_gpu(cell: Cell, steps: int) -> Cell:
    """The cell on the GPU, its loop run for so many steps."""
    source = cell.source.replace('torch.device("cpu")', 'torch.device("cuda:0")')
    lines = cell.prints.strip("\n").splitlines()
    kept = lines[: -(-steps // cell.every)] if cell.every > 1 else lines
    return cell._replace(source=source.replace(f"range({STEPS})", f"range({steps})"), prints="\n".join(kept))


@pytest.mark.gpu
def test_the_document_on_a_gpu() -> None:
    check([on_the_gpu(cell, STEPS) for cell in CELLS], "retrograd")


def test_the_document_on_the_simulated_gpu(simulated_gpus: SimulatedDriver) -> None:
    check([on_the_gpu(cell, 2) for cell in CELLS], "retrograd")
    assert simulated_gpus.launches
