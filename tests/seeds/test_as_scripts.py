"""The documents' programs as a reader runs them: files of their own, in processes of their own.

In flow the cells of the five documents; out flow equal texts on standard output, and nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from document import ADDRESS, Cell, alike
from test_on_a_gpu import DOCUMENTS


def programs(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that belong together: one that imports the library begins a program."""
    found: list[list[Cell]] = []
    for cell in cells:
        if "import {torch} as torch" in cell.source:
            found.append([])
        found[-1].append(cell)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_as_scripts(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "RETROGRAD_CACHE_DIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    for place, cells in enumerate(programs(DOCUMENTS[name])):
        script = tmp_path / f"program_{place}.py"
        source = "\n".join(cell.source for cell in cells).replace("{torch}", "retrograd")
        script.write_text(source, encoding="utf-8")
        command = [sys.executable, "-W", "error", str(script)]
        run = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
        assert run.returncode == 0, run.stderr
        assert not run.stderr
        lines = ADDRESS.sub("0x…", run.stdout).splitlines()[:: cells[0].every]
        expected = "\n".join(cell.prints.strip("\n") for cell in cells)
        noise = max(cell.noise for cell in cells)
        alike("\n".join(lines), expected, max(cell.rounding for cell in cells) or 1e-4, noise)
