"""`version`: what the library was built with, which is nothing: a GPU's driver is found when it is needed."""

from __future__ import annotations

cuda: str | None = None
hip: str | None = None
