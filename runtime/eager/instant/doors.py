"""Native functions behind which another function stands: all that they do is to ask it.

late(…)      what is made when it is first called, and then takes the door's place
Detour       a Python function that stands before a native one for a time
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from retrograd.runtime.eager.instant.part import (
    available,
    become,
    enter_by,
    native_function,
    native_twin,
)
from retrograd.runtime.eager.instant.records import Asked, words_of

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


def door(like: Any, behind: Function) -> Any:
    """A native function that looks like the one, and has the other do everything."""
    if not available():
        return behind
    return native_function("retrograd_itself", like, words_of(Asked, slow=id(behind), arity=-1), behind)


def late(like: F, make: Callable[[], F]) -> F:
    """What `make()` gives, which is asked for it at the first call: most of what a library offers a program
    never calls. Until then it looks like this Python function, which does the same."""
    if not available():
        return make()
    behind = _Late(make)
    behind.function = function = door(like, behind)
    function.__made__ = behind.made
    return function  # type: ignore[no-any-return]  # called as `like` is


class _Late:
    """What a function's first call does: have it become what `make()` gives."""

    __slots__ = ("_found", "_make", "function")

    def __init__(self, make: Function) -> None:
        self._make = make
        self._found: Any = None
        self.function: Any = None

    def made(self) -> Function:
        """What the function becomes, made once."""
        with _making:
            if self._found is None:
                self._found = self._make()
        found: Function = self._found
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        become(self.function, self.made())
        return self.function(*args, **kwargs)


_making = threading.RLock()


class Detour:
    """What goes a Python function's way while it is `open`, and else costs a native function's calls nothing.

    `around` makes that function of one that does what the native function did; it is asked for it when it is
    first called.
    """

    def __init__(self, function: Any, around: Callable[[Function], Function]) -> None:
        self._function, self._around = function, around
        self._straight = native_twin(function)
        self._by = door(function, self._first)
        self._behind: Function | None = None

    def open(self) -> None:
        enter_by(self._function, self._by)

    def close(self) -> None:
        enter_by(self._function, self._straight)

    def _first(self, *args: Any, **kwargs: Any) -> Any:
        """The first call: what stands behind may have waited to be made, too."""
        if self._behind is None:
            made = getattr(self._function, "__made__", None)
            self._straight = self._straight if made is None else made()
            self._behind = door(self._function, self._around(self._straight))
            enter_by(self._by, self._behind)
            enter_by(self._function, self._behind)
        return self._behind(*args, **kwargs)
