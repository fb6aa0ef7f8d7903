"""Tracing until the world outside stays as the function read it.

In flow a function and what it is traced for (`specialise.Call`); out flows a `Specialisation` whose guards
hold. A function may change, while it is traced, what it reads from outside:

    it fills a cache, or sets something for the first time     it is traced again, and then finds it there
    it counts its calls, or stores a value of each call        an error: the code would be made for one count
    it adds to a list, dict or set                             a warning: that happens while tracing only
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.errors import TraceError, warn
from retrograd.compiler.record import replace
from retrograd.runtime.compiled.guards import reads
from retrograd.runtime.compiled.specialise import Call, Specialisation, specialise
from retrograd.runtime.native.watching import Read, size_of
from retrograd.runtime.tracing import unbroken


@unbroken
def trace_steadily(
    function: Callable[..., Any], call: Call, roots: Sequence[tuple[str, object]]
) -> Specialisation:
    """The function traced for this call, once its own doing no longer changes what it reads from outside:
    at first that is `call.reads`. The `roots` are named objects among the arguments, into which it may look
    as well."""
    found = specialise(function, call)
    broken = found.guards.broken()
    first = [r for r in broken if r.look is not size_of or isinstance(r.place, dict)]
    if first:
        found = specialise(function, call._replace(reads=reads(function, roots)))
        broken = found.guards.broken()
    for read in broken:
        if read.look is not size_of and any(
            each.place is read.place and each.key is read.key for each in first
        ):
            raise _changing(call.name, read)
    if broken:
        grown = ", ".join(dict.fromkeys(read.name for read in broken))
        warn(
            f"{call.name} changes the size of {grown}: that happens while it is traced, and not at each call",
            RuntimeWarning,
        )
        return replace(found, guards=found.guards.without(broken))
    return found


def _changing(name: str, read: Read) -> TraceError:
    return TraceError(
        f"{name} changes {read.name or read.key}, which it reads from outside",
        "it is compiled for the value that it finds there, and this one is another at each call",
        "keep count in a Tensor (of a module: register_buffer), which is updated at each call; "
        "return what is to be kept; or change it outside the function",
    )
