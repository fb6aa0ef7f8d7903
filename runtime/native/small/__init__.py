"""Small graphs in machine code that is there already: a list of steps, each a kernel for arrays of any size.

`program.py`, `steps.py` and `solving.py` make the list of a graph; `entry.py` walks it. An elementwise
graph of any size is a kernel for each output (`one_pass.py`, `elements.py`). A kernel is a row of the
elementwise table or a scan (`lines.py`, `running.py`), a reduction (`reducing.py`, `extremes.py`), goes by
element (`moving.py`): a gather, a copy, a sort, or by matrix (`elimination.py`). It is compiled once for all
graphs and sizes. An op whose kernel is its own (`own.py`) may be of any size.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrograd.runtime.native.small import program as program


def __getattr__(name: str) -> Any:
    """`program` is imported when it is first named: what is compiled as a whole needs no small graphs."""
    if name == "program":
        return import_module(f"{__name__}.program")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
