"""`profiler.record_function`: a name for a part of a program, as in `torch.profiler`. Nothing is measured."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from retrograd.runtime.modes import Decorator

__all__ = ["record_function"]


class record_function(Decorator):
    """`with record_function("forward"):`, or a decorator: what is within is computed as without it."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args

    def _copy(self) -> record_function:
        return self

    def __enter__(self) -> record_function:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __repr__(self) -> Any:
        return f"record_function({self.name!r})"
