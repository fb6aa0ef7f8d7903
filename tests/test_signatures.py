"""What functions and classes take: PyTorch's arguments, in its order, with its defaults.

`OTHERWISE` has those that differ, and why.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import retrograd

AREAS = (
    "", "nn", "nn.functional", "nn.init", "nn.utils", "optim", "optim.lr_scheduler", "autograd",
    "autograd.functional", "utils.data", "distributions", "func", "linalg",
)  # fmt: skip

OTHERWISE = {
    "defaults that are objects of PyTorch's": {
        "nn.Transformer", "nn.TransformerDecoderLayer", "nn.TransformerEncoderLayer",
        "utils.data.random_split", "save",
    },
    "made by the library alone": {
        "dtype", "memory_format", "nn.RNNBase", "nn.RNNCellBase",
    },
    "names of what is only given by place": {
        "einsum", "enable_grad", "no_grad",
        "autograd.enable_grad", "autograd.no_grad",
    },
    "private ones": {"func.jacrev"},
    "what has no meaning here": {"compile", "load"},
}  # fmt: skip
"""Names, by why they take other arguments."""

Said = list[tuple[str, Any]]


def said(f: Any) -> Said | None:
    """Names and defaults, as far as they are values."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    if [p.name for p in parameters] in (["args", "kwargs"], ["object"]):
        return None  # of a wrapper, which tells nothing, or made up for a function of C (3.13)
    plain = [(p.name, "a callable" if callable(p.default) else p.default) for p in parameters]
    return [pair for pair in plain if pair[0] != "out"]


def called(area: str, library: Any) -> dict[str, Any]:
    for name in filter(None, area.split(".")):
        library = getattr(library, name)
    names = [n for n in dir(library) if not n.startswith("_")]
    return {n: getattr(library, n) for n in names if callable(getattr(library, n))}


@pytest.mark.parametrize("area", AREAS)
def test_arguments_are_pytorchs(area: str, torch: ModuleType) -> None:
    ours, theirs = called(area, retrograd), called(area, torch)
    known = {name for names in OTHERWISE.values() for name in names}
    prefix = f"{area}." if area else ""
    differ = {
        prefix + name: (said(ours[name]), expected)
        for name, f in theirs.items()
        if name in ours and (expected := said(f)) is not None and said(ours[name]) != expected
    }
    assert {name: both for name, both in differ.items() if name not in known} == {}
    here = {name for name in known if name.startswith(prefix) and name[len(prefix) :] in theirs}
    assert here <= differ.keys(), "these agree by now"


def test_the_source_of_a_class_is_found_by_the_name_that_it_says() -> None:
    program = """
import inspect, sys, typing
import retrograd as rg
import retrograd.cuda, retrograd.optim
from retrograd.compiler.native.language import Record

def below(cls):
    for each in cls.__subclasses__():
        yield each
        yield from below(each)

rg.cuda.is_available()
for cls in (rg.autograd.Function, rg.nn.Linear, rg.optim.SGD):
    assert cls.__doc__.splitlines()[0] in inspect.getsource(cls)
for cls in below(Record):
    typing.get_type_hints(cls, include_extras=True)
import retrograd.autograd, retrograd.nn.functional
assert sys.modules["retrograd.autograd"] is rg.autograd
assert sys.modules[rg.autograd.Function.__module__].Function is rg.autograd.Function
"""
    subprocess.run([sys.executable, "-c", program], check=True)
