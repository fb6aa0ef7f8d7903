"""Named pairs: what functions with two results give, `values, indices = x.max(dim=0)`.

`pair("max", values, indices)` is a named tuple that prints as PyTorch's `torch.return_types.max`. A function
whose results have other names is an entry of `_FIELDS`.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

_FIELDS: dict[str, tuple[str, ...]] = {"aminmax": ("min", "max")}
"""The fields where they are not `values, indices`."""


@cache
def _kind(name: str) -> Any:
    base = namedtuple(name, _FIELDS.get(name, ("values", "indices")))  # type: ignore[misc]  # a class for each name

    def __repr__(self: Any) -> str:
        inside = ",\n".join(f"{field}={value!r}" for field, value in zip(self._fields, self))
        return f"torch.return_types.{name}(\n{inside})"

    return type(name, (base,), {"__slots__": (), "__repr__": __repr__, "__module__": __name__})


def pair(name: str, first: Any, second: Any) -> Any:
    """The two results of the function `name`."""
    return _kind(name)(first, second)
