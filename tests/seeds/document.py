"""Runs a document's programs: cell after cell in one namespace, and compares what each prints.

In flows a module's list of cells, each a source text and the text it prints; out flow assertions. The sources
are the documents' own with only the imports changed: `{torch}` stands for the library, which is Retrograd, or
PyTorch itself where the stored texts are checked. A line that is not the document's own is marked `# added`.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

ADDRESS = re.compile(r"0x[0-9a-f]+")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


class Cell(NamedTuple):
    source: str
    prints: str = ""
    """What it prints; of an object's address only that there is one."""
    rounding: float = 0
    """How far a number may be off, relatively, where sums are taken in another order."""
    noise: float = 0
    """And how far by itself, where rounding is all that is left of it."""
    every: int = 1
    """Only every so many lines are stored."""


def printed(cells: Sequence[Cell], library: str) -> list[str]:
    """What each cell prints with this library."""
    names: dict[str, Any] = {"__name__": "document"}
    texts = []
    for cell in cells:
        out = io.StringIO()
        source = cell.source.replace("{torch}", library)
        with contextlib.redirect_stdout(out):
            exec(compile(source, "<document>", "exec"), names)
        lines = ADDRESS.sub("0x…", out.getvalue()).rstrip().splitlines()
        texts.append("\n".join(lines[:: cell.every]))
    return texts


def check(cells: Sequence[Cell], library: str) -> None:
    for cell, text in zip(cells, printed(cells, library), strict=True):
        expected = cell.prints.strip("\n").rstrip()
        if cell.rounding:
            alike(text, expected, cell.rounding, cell.noise)
        else:
            assert text == expected, cell.source


def alike(text: str, expected: str, rounding: float, noise: float = 0) -> None:
    """Equal texts, but for the last digits of the numbers in them."""
    assert NUMBER.sub("#", text).split() == NUMBER.sub("#", expected).split()
    for ours, theirs in zip_longest(NUMBER.findall(text), NUMBER.findall(expected)):
        near = math.isclose(float(ours), float(theirs), rel_tol=rounding, abs_tol=noise)
        assert near, f"{ours} is not {theirs}"
