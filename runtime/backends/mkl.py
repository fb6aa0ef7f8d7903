"""`backends.mkl`: Intel's library of products; it is not used."""

from __future__ import annotations


def is_available() -> bool:
    return False
