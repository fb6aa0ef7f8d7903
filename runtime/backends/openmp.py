"""`backends.openmp`: OpenMP; it is not used, threads are the library's own."""

from __future__ import annotations


def is_available() -> bool:
    return False
