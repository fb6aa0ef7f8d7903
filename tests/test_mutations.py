"""Wrong calls of everything there is, as `mutations.py` makes them: what PyTorch refuses is refused here, by
an error of its class, and most often in its words. A fixed sample; the floors are what has been reached.
"""

from __future__ import annotations

import warnings
from collections import Counter
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from mutations import TABLES, Mutation, sample
from test_functions import operands
from test_linalg import matrices

import retrograd

KINDS = (
    IndexError, AttributeError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError,
    AssertionError,
)  # fmt: skip


class Reached(NamedTuple):
    """Of a hundred calls that PyTorch refuses."""

    words: float
    """At least so many are refused in its words."""
    accepted: float
    """At most so many are not refused."""
    otherwise: float
    """At most so many are refused by an error that is none of its class."""


REACHED = {
    "functions": Reached(words=90, accepted=1, otherwise=2),
    "matrices": Reached(words=92, accepted=0.5, otherwise=0.5),
    "layers": Reached(words=85, accepted=0.5, otherwise=2),
}


def names(t: Any, table: str) -> dict[str, Any]:
    """What the lines of a table may use."""
    match table:
        case "functions":
            made = operands(t, "float32")
        case "matrices":
            made = matrices(t, "float32")
        case _:
            made = {"t": t, "nn": t.nn}
    return {**made, "z": t.ones(3, 4)}


def answer(t: Any, call: Mutation) -> Exception | None:
    """What the library raises."""
    steps, _, last = call.text.rpartition("; ")
    try:
        exec(f"{steps}\n{last}", names(t, call.table))
    except Exception as error:
        return error
    return None


def outcome(expected: Exception, told: Exception | None) -> str:
    if told is None:
        return "accepted"
    kind = next((kind for kind in KINDS if isinstance(expected, kind)), Exception)
    if not isinstance(told, kind):
        return "otherwise"
    return "words" if str(told) == str(expected).partition(" (Triggered")[0] else "class"


@pytest.mark.parametrize("table", TABLES)
def test_what_pytorch_refuses_is_refused(torch: ModuleType, table: str) -> None:
    seen: Counter[str] = Counter()
    accepted: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in sample(table, 2):
            expected = answer(torch, call)
            if expected is not None:
                found = outcome(expected, answer(retrograd, call))
                seen[found] += 1
                accepted += [call.text] * (found == "accepted")
    of_hundred = {found: 100 * seen[found] / seen.total() for found in ("words", "accepted", "otherwise")}
    reached = REACHED[table]
    assert of_hundred["words"] >= reached.words, of_hundred
    assert of_hundred["accepted"] <= reached.accepted, accepted
    assert of_hundred["otherwise"] <= reached.otherwise, of_hundred
