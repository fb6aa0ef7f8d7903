"""Python's search for garbage in cycles, put off while much is made that lives on.

Python begins it anew each time that some hundreds of objects were made, and goes through what is there: by an
import, or by a compiler, nearly all of it lives.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class uncollected:  # read as a statement, `with uncollected()`
    """Within, nobody looks for garbage in cycles."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._before:
            gc.enable()


_OF_A_MODULE = 700
"""Python's blocks of memory, for each module of a process, beyond which somebody has made objects. Python
alone has 340, with NumPy 420, with PyTorch or JAX 530."""


_OF_PYTHON = 1000
"""Objects, at most, that Python's own search sets apart: from 3.12 on, those that live forever (375 there).
Whoever else sets objects apart does so with all that there are, which are thousands."""


@contextmanager
def lasting() -> Iterator[None]:
    """The same; what is there afterwards is never looked through again, which at the end of a process takes
    Python nearly as long as importing NumPy.

    Python can set apart only all that there is. A cycle of what was there before, dropped later, would then
    stay: in a process that has more than modules (a notebook's session, a server) what was made within just
    counts as old. So it does where somebody else keeps objects apart (`gc.freeze`), who would lose them. What
    is made afterwards is collected as ever.
    """
    modules_alone = 0 < sys.getallocatedblocks() <= _OF_A_MODULE * len(sys.modules)
    with uncollected():
        yield
        if gc.get_freeze_count() <= _OF_PYTHON:
            gc.freeze()
            if not modules_alone:
                gc.unfreeze()  # to the oldest generation, wherever they were before
