"""The page of PyTorch's names: each "yes" is there, and a test that runs beside PyTorch uses it.

The tests that use the names compare values, dtypes, shapes, gradients and errors; here is held that there is
one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import retrograd
from retrograd.runtime.functions import public

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def table() -> ModuleType:
    """`docs/api_table.py`, which is a program and in no package."""
    spec = spec_from_file_location("api_table", DOCS / "api_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(table: ModuleType, answer: str) -> set[str]:
    """The names, with their areas, in the page's rows of this answer."""
    found = set()
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for area, heading in table.AREAS.items():
        part = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
        row = re.search(rf"^\| {answer} \|[^|]*\|([^|]*)\|$", part, re.MULTILINE)
        found |= {f"{area}.{name}".lstrip(".") for name in re.findall(r"`(\w+)`", row[1] if row else "")}
    return found


def here(table: ModuleType) -> set[str]:
    return {f"{area}.{name}".lstrip(".") for area in table.AREAS for name in table.names(retrograd, area)}


def test_each_yes_is_there_and_compared_with_pytorch(table: ModuleType) -> None:
    yes = told(table, "yes")
    assert len(yes) > 500
    assert yes - here(table) == set()
    assert yes - table.closed(table.evidence(), retrograd) == set()
    assert yes & set(table.LIMITS) == set()


def test_each_partly_is_there(table: ModuleType) -> None:
    assert told(table, "partly") - here(table) == set()


def test_a_name_that_no_test_uses_is_no_evidence(table: ModuleType) -> None:
    used = {name.rpartition(".")[2] for name in table.evidence()}
    assert "relu" in used
    assert "rely" not in used


@pytest.mark.parametrize("names", [public.FUNCTIONS, public.FUNCTIONAL, public.LINALG])
def test_what_public_functions_take_is_what_their_signatures_say(
    names: dict[str, Callable[..., Any]],
) -> None:
    for name, function in names.items():
        parameters = inspect.signature(function).parameters
        spread = [p.name for p in parameters.values() if p.kind is p.VAR_POSITIONAL]
        assert public.parameters_of(function) == (list(parameters), *(spread or [None])), name
