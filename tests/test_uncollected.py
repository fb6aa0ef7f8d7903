"""What importing does to the search for garbage, each time in a process of its own: what is made by it is set
apart, and whatever a user makes is collected as ever."""

from __future__ import annotations

import subprocess
import sys

import pytest

RING = """
import gc, weakref

class Ring:
    def __init__(self):
        self.itself = self

"""
"""A kind of objects that only the search for garbage can find."""

FATE = """
fate = weakref.ref(ring)
del ring
gc.collect()
print(gc.get_freeze_count(), gc.isenabled(), fate() is None)
"""


def told(program: str) -> list[str]:
    """What the program says of its last ring: objects set apart, the search, and whether the ring is gone."""
    command = [sys.executable, "-c", RING + program + FATE]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_what_importing_makes_is_set_apart_and_later_garbage_is_found() -> None:
    apart, *fate = told("import retrograd; ring = Ring()")
    assert int(apart) > 10_000
    assert fate == ["True", "True"]


def test_garbage_of_compiled_functions_is_found() -> None:
    program = """
import retrograd as rg
ring = Ring()
ring.f = rg.compile_grad(lambda x: (x * x).sum())
ring.x = rg.ones(3, requires_grad=True)
ring.f(ring.x).backward()
"""
    assert told(program)[1:] == ["True", "True"]


def test_cycles_of_a_process_with_much_in_it_are_collected() -> None:
    program = "ring = Ring(); much = [[] for _ in range(100_000)]; import retrograd"
    apart, *fate = told(program)
    forever = 1_000 if sys.version_info >= (3, 12) else 0  # what the search itself sets apart there, at most
    assert int(apart) <= forever
    assert fate == ["True", "True"]


@pytest.mark.parametrize("enabled", [True, False])
def test_what_somebody_set_apart_stays_so(enabled: bool) -> None:
    """Of that Python's own search for modules may drop a few objects, as any import has it do."""
    program = f"""
gc.freeze()
before = gc.get_freeze_count()
{"" if enabled else "gc.disable()"}
import retrograd
assert 0.99 * before < gc.get_freeze_count() <= before
ring = Ring()
"""
    assert told(program)[1:] == [str(enabled), "True"]
