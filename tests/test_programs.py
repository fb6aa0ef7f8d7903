"""Programs as people write them with PyTorch print what they print there.

In flow `tests/programs/*.py`: scripts of PyTorch's, each run with both libraries from its own seed. Out flow
equal texts, but for the last digits of numbers and for addresses. A line `# compiled: …` is a statement of a
third run, which has a function of the program compiled. A new program is a file.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from pathlib import Path
from types import ModuleType

import pytest

FILES = sorted((Path(__file__).parent / "programs").glob("*.py"))
COMPILED = re.compile(r"^# compiled: ", re.MULTILINE)
_IMPORT = re.compile(r"^(import|from) torch\b", re.MULTILINE)
_ADDRESS = re.compile(r"0x[0-9a-f]{5,}")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?")


def printed(path: Path, library: str, compiled: bool = False) -> list[str]:
    source = path.read_text(encoding="utf-8")
    if library != "torch":
        source = source.replace("import torch\n", f"import {library} as torch\n")
        source = _IMPORT.sub(rf"\1 {library}", source)
    if compiled:
        source = COMPILED.sub("", source)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, str(path), "exec"), {"__name__": "__main__"})
    return _ADDRESS.sub("0x…", out.getvalue()).splitlines()


def alike(ours: str, theirs: str) -> bool:
    if _NUMBER.sub("#", ours).split() != _NUMBER.sub("#", theirs).split():
        return False
    pairs = zip(_NUMBER.findall(ours), _NUMBER.findall(theirs), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=1e-3, abs_tol=2e-4) for a, b in pairs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_program_prints_what_it_prints_with_pytorch(torch: ModuleType, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of parts of its own
        expected = printed(path, torch.__name__)
    runs = [printed(path, "retrograd")]
    if COMPILED.search(path.read_text(encoding="utf-8")):
        runs.append(printed(path, "retrograd", compiled=True))
    for found in runs:
        assert len(found) == len(expected)
        differing = [pair for pair in zip(found, expected, strict=True) if not alike(*pair)]
        assert not differing, "\n".join(f"PyTorch: {theirs}\nhere:    {ours}" for ours, theirs in differing)
