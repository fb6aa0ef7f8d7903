"""Python's search for garbage in cycles, put off while much is made that lives on.

Python begins it anew each time that some hundreds of objects were made, and goes through what is there: by an
import, or by a compiler, nearly all of it lives.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within, nobody looks for garbage in cycles."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def lasting() -> Iterator[None]:
    """The same; what is there afterwards counts as old, and is not looked through but with all else."""
    with uncollected():
        yield
        if not gc.get_freeze_count():  # else somebody keeps objects apart, who would lose them
            gc.freeze()
            gc.unfreeze()  # to the oldest generation, wherever they were before
