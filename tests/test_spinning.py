"""How long the threads of NumPy's OpenBLAS spin, each time in a process of its own: what that library says of
the variable that it has read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASKED = """
import ctypes, os
with open("/proc/self/maps") as maps:
    paths = {line.split()[-1] for line in maps if "openblas" in line}
known = [ctypes.CDLL(path) for path in paths]
told = [each.openblas_thread_timeout() for each in known if hasattr(each, "openblas_thread_timeout")]
print(*told, os.environ.get("OPENBLAS_THREAD_TIMEOUT"))
"""


def told(imports: str, **variables: str) -> list[str]:
    """What the library has read, and what the environment says after these imports."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    command = [sys.executable, "-c", f"import {imports}{ASKED}"]
    done = subprocess.run(command, env=kept | variables, capture_output=True, text=True, check=True)
    found = done.stdout.split()
    if len(found) == 1:
        pytest.skip("NumPy here computes with another library")
    return found


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc says which libraries are loaded")


def test_they_spin_for_less_where_we_import_numpy_and_the_environment_is_as_before() -> None:
    assert told("retrograd") == ["24", "None"]


def test_they_spin_as_ever_where_numpy_was_there_before() -> None:
    assert told("numpy, retrograd") == ["0", "None"]


def test_they_spin_as_long_as_the_user_says() -> None:
    assert told("retrograd", OPENBLAS_THREAD_TIMEOUT="20") == ["20", "20"]
