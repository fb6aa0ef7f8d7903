"""How the code that called a function names it: `t.sum(x)`, `F.relu(x)` or `x.sum()`.

A function and the method of the same name are one function here; PyTorch's errors tell them apart. In flows
the name that a function was entered under; out flows the name that the caller wrote and its area, read off
the caller's instructions. Only calls that have failed are asked about.
"""

from __future__ import annotations

import dis
import sys
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from inspect import getattr_static
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from retrograd.compiler.record import NamedTuple

_HERE = Path(__file__).parent
_WRAPPERS = frozenset(
    str(path) for path in (
        __file__,
        *(_HERE / f"{name}.py" for name in (
            "public", "rows", "updating", "pointwise", "telling", "kernels", "admission",
        )),
        *(_HERE.parent / "eager" / f"{name}.py" for name in (
            "lying", "otherwise", "planners", "plans", "replay", "steps", "instant/calls", "instant/doors",
            "instant/learning",
        )),
        _HERE.parent / "amp" / "arming.py",
        *(_HERE.parent / "func" / f"{name}.py" for name in ("batching", "planning")),
        _HERE.parent / "tracing.py",
    )
)  # fmt: skip
"""Files whose functions stand around the functions that users call."""

_PACKAGE = str(_HERE.parent)
"""Here a bare name is that of our own function, which may take more than PyTorch's."""

_LAYERS = str(_HERE.parent / "nn")

AREAS = {"functional": "nn.functional.", "linalg": "linalg.", "special": "special.", "fft": "fft."}
"""What the last part of a module's name says of its functions."""


class CallSite(NamedTuple):
    area: str
    """As in `signatures.txt`: empty at the top, `Tensor.` for a method."""
    name: str
    bare: bool = False
    """Whether the caller says no more than a name, which may be of any area."""


def call_site(name: str, outside: bool = False) -> CallSite | None:
    """Where and under which name the nearest caller outside the wrappers, or with `outside` the nearest
    outside the package, finds what it calls.

    None where it does not call (an operator), or calls a function of ours that is not PyTorch's. `name` is
    that of a function of the top, if the caller calls it by a variable.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _stands_between(frame.f_code.co_filename, outside):
        frame = frame.f_back
    if frame is None:
        return None
    path = _path(frame.f_code, frame.f_lasti)
    if path is None:
        return None
    *holders, (loaded, last) = path or [("", name)]
    if last.startswith("_") and frame.f_code.co_filename.startswith(_LAYERS):
        return CallSite("nn.functional.", name)  # which a layer keeps as its own
    if holders:
        return CallSite(_area(frame, holders), last)
    if loaded in _ATTRIBUTES:
        return CallSite("Tensor.", last)  # of what an expression gives
    return None if frame.f_code.co_filename.startswith(_PACKAGE) else CallSite("", name, True)


def _stands_between(file: str, outside: bool) -> bool:
    return file in _WRAPPERS or (outside and file.startswith(_PACKAGE))


Step = tuple[str, str]
"""An instruction's name and what it names."""


@lru_cache(maxsize=1024)
def _path(code: CodeType, place: int) -> list[Step] | None:
    """The instructions that load what is called at a place of code, `t` to `sum`; None where nothing is."""
    steps = list(dis.get_instructions(code))
    now = bisect_right(steps, place, key=lambda step: step.offset) - 1  # or among its cache entries
    if now < 0 or not steps[now].opname.startswith("CALL"):
        return None
    begin = _begin(steps[now])
    path: list[Step] = []
    for step in reversed(steps[:now]):
        if step.opname in _NOTHING_LOADED:
            continue
        if _begin(step) != begin:
            if not path:
                continue
            if path[-1][0] in _ATTRIBUTES and isinstance(step.argval, tuple):  # two in one (3.13)
                path.append(("LOAD_FAST", step.argval[-1]))
            break
        if not path and (step.opname == "LOAD_CONST" or not step.opname.startswith("LOAD_")):
            continue  # names of keywords, too
        path.append((step.opname, str(step.argval)))
    return path[::-1]


_ATTRIBUTES = ("LOAD_METHOD", "LOAD_ATTR")
_NOTHING_LOADED = {"PRECALL", "PUSH_NULL", "CACHE", "KW_NAMES", "EXTENDED_ARG", "RESUME", "NOP"}


def _begin(step: dis.Instruction) -> Any:
    positions = step.positions
    return None if positions is None else (positions.lineno, positions.col_offset)


def _area(frame: FrameType, holders: Sequence[Step]) -> str:
    """The area of what these instructions load: that of a module, else it is a Tensor's."""
    root, *attributes = holders
    if not all(op.startswith("LOAD_") for op, _ in holders):
        return "Tensor."
    found: Any = {**frame.f_globals, **frame.f_locals}.get(root[1])
    for _, attribute in attributes:
        look = getattr if isinstance(found, ModuleType) else getattr_static  # no property is to run
        found = look(found, attribute, None)
    if not isinstance(found, ModuleType):
        return "Tensor."
    return AREAS.get(found.__name__.rpartition(".")[2], "")
