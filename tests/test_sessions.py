"""A reader plays on: the same lines typed under PyTorch and here, and what each shows.

In flow `tests/sessions/*.txt`: sessions of statements, each headed by a line `#### its name`. Out flow equal
texts, statement by statement: the value as a prompt shows it, what is printed, warnings, an error's words and
family. Numbers may differ as sums in another order do. A new line goes into a session, a new session into a
file.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import retrograd

FILES = sorted((Path(__file__).parent / "sessions").glob("*.txt"))
HEAD = "import {0} as torch, {0}.nn as nn, {0}.nn.functional as F, {0}.optim as optim, numpy as np"
_ADDRESS = re.compile(r"0x[0-9a-f]{5,}")
_TRIGGERED = re.compile(r" \(Triggered internally at [^)]*\)")
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


class Shown(NamedTuple):
    statement: str
    text: str
    """What it printed and warned of."""
    error: str = ""
    kinds: tuple[str, ...] = ()
    """The names of the error's classes, its own first."""


def shown(session: str, library: str) -> list[Shown]:
    """What each statement shows; an error ends none but its own."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(HEAD.format(library), names)
    names["torch"].manual_seed(0)
    return [_one(node, names) for node in ast.parse(session.replace("from torch", f"from {library}")).body]


def _one(node: ast.stmt, names: dict[str, Any]) -> Shown:
    out, error = io.StringIO(), None
    with contextlib.redirect_stdout(out), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            exec(compile(ast.Interactive([node]), "<session>", "single"), names)
        except Exception as raised:
            error = raised
    said = "".join(f"{w.category.__name__}: {_TRIGGERED.sub('', str(w.message))}\n" for w in warned)
    text = _ADDRESS.sub("0x…", out.getvalue() + said)
    if error is None:
        return Shown(ast.unparse(node), text)
    return Shown(ast.unparse(node), text, str(error).strip(), tuple(k.__name__ for k in type(error).__mro__))


def alike(ours: str, theirs: str) -> bool:
    """Equal texts, but for the last digits of numbers."""
    if _NUMBER.sub("#", ours).split() != _NUMBER.sub("#", theirs).split():
        return False
    pairs = zip(_NUMBER.findall(ours), _NUMBER.findall(theirs), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=1e-3, abs_tol=2e-4) for a, b in pairs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_typed_shows_what_pytorch_shows(torch: Any, path: Path, request: Any) -> None:
    before = torch.is_warn_always_enabled()
    request.addfinalizer(lambda: torch.set_warn_always(before))
    request.addfinalizer(lambda: retrograd.set_warn_always(False))
    retrograd.set_warn_always(True)
    torch.set_warn_always(True)  # else what was warned of in another test is not warned of here
    differing = []
    for session in re.split(r"^#### .*\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        for ours, theirs in zip(shown(session, "retrograd"), shown(session, torch.__name__), strict=True):
            text, error = (part.replace("retrograd", "torch") for part in ours[1:3])
            words = alike(error, theirs.error) or bool(theirs.error and theirs.error in error)
            family = not theirs.kinds or theirs.kinds[0] in ours.kinds
            if not (words and family and alike(text, theirs.text)):
                differing.append(f">>> {theirs.statement}\nPyTorch: {theirs[1:]}\nhere:    {ours[1:]}")
    assert not differing, "\n".join(differing)
