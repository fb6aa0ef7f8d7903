"""The common mistakes: an error of PyTorch's class, and to the letter its text, which programs print.

A mistake is a line of `error_text_cases.py`. What Retrograd adds (the user's line, shapes, advice) is a note
of the error, never part of `str(error)`.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import pytest
from error_text_cases import MISTAKES

import retrograd

KINDS = (IndexError, AttributeError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError)


def error_of(mistake: str, t: Any) -> Exception:
    steps, _, last = mistake.rpartition("; ")
    known = {"t": t, "made": lambda *steps: function(t, *steps)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(f"{steps}\n{last}", known)
        except Exception as error:
            return error
    raise AssertionError(f"{t.__name__} sees no mistake in {mistake}")


def function(t: Any, forward: Any, backward: Any) -> Any:
    body = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Made", (t.autograd.Function,), body)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_as_pytorch_tells_it(torch: ModuleType, mistake: str) -> None:
    expected, told = error_of(mistake, torch), error_of(mistake, retrograd)
    assert str(told) == str(expected)
    kind = next((kind for kind in KINDS if isinstance(expected, kind)), Exception)
    assert isinstance(told, kind), f"{type(told).__mro__} is no {kind.__name__}"


@pytest.mark.parametrize(
    "room",
    ["nn", "nn.functional", "nn.init", "nn.utils.rnn", "optim", "optim.lr_scheduler", "linalg", "special",
     "autograd", "autograd.functional", "utils.data", "utils.checkpoint", "distributions", "func", "amp"],
)  # fmt: skip
def test_a_room_says_its_public_name(torch: ModuleType, room: str) -> None:
    expected, told = (error_of(f"t.{room}.missing", t) for t in (torch, retrograd))
    assert str(told) == str(expected).replace("module 'torch.", "module 'retrograd.")
