"""The routines of the library, as LLVM text: what compiled programs call rather than contain.

    retrograd_huge_angle_f32, retrograd_huge_quotient_f32     what `math/aside.py` puts right in seldom cases

Programs refer to them by name alone. Each is compiled once on a machine, when the first program that calls it
is loaded, and kept in the cache (`runtime.native.cpu`). A new routine is a row of `_ROUTINES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from retrograd.compiler.backends.math.aside import amending
from retrograd.compiler.errors import CompilerError


def routine(name: str) -> str:
    """The module of a routine."""
    for pattern, text in _ROUTINES:
        found = re.fullmatch(pattern, name)
        if found:
            return f"{text(found)}\nattributes #0 = {{ nounwind }}\n"
    raise CompilerError(f"a routine called {name}", "the library has none")


_ROUTINES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"retrograd_(?P<name>huge_\w+)_(?P<kind>f32|f64)",
        lambda found: amending(found["name"], found["kind"]),
    ),
)
"""Names of routines, and what writes them."""
