"""Kernels started without Python: a native function that finds out of a description what to start.

In flow a program's launches, and out flow the address of the function and the description, for a native call
(`native/fastcall.py`) whose pointers are addresses on the GPU. Where the driver will not, a check of an
earlier call has failed (`pending`), or launches came again with the addresses of the call before and might
become one graph, a flag is raised, and Python does it.

The description is a `Description`, which names what follows it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Inline,
    Int32,
    Record,
    cast,
    exported,
    inlined,
    native,
    stack,
)
from retrograd.runtime.cuda.nvidia import Entries
from retrograd.runtime.native import cpu
from retrograd.runtime.native.objects import Memory

_GRAPHS = 4
"""Sets of addresses that native code knows the graphs of."""


class Graphs:
    """The graphs that native code may launch, by addresses."""

    def __init__(self, width: int) -> None:
        self._width, self._next = width, 0
        self._words = (ctypes.c_int64 * (1 + width + _GRAPHS * (1 + width)))(_GRAPHS)
        self.address = ctypes.addressof(self._words)

    def add(self, addresses: Sequence[int], executable: int) -> None:
        """These addresses, those that are compared, are of this graph; the one entered longest ago goes."""
        start = 1 + self._width + self._next * (1 + self._width)
        self._next = (self._next + 1) % _GRAPHS
        self._words[start] = 0
        self._words[start + 1 : start + 1 + self._width] = list(addresses[: self._width])
        self._words[start] = executable

    def drop(self, executable: int) -> None:
        """This graph is no more."""
        for start in range(1 + self._width, len(self._words), 1 + self._width):
            if self._words[start] == executable:
                self._words[start] = 0


class Launch:
    """One launch in a description."""

    def __init__(self, function: int, grid: int, block: int, parameters: Sequence[tuple[int, int]]) -> None:
        self.count = len(parameters)
        self.words = [function, grid, block, self.count, *(word for pair in parameters for word in pair)]


def description(
    entries: Entries,
    context: int,
    stream: int,
    flag: int,
    graphs: Graphs | None,
    checks: Sequence[int],
    launches: Sequence[Launch],
) -> Any:
    """The words, which live as long as what is returned."""
    table, width = (graphs.address, graphs._width) if graphs is not None else (0, 0)
    words = [entries.set_context, context, entries.launch, entries.launch_graph, stream, flag, table, width]
    words += [len(launches), max([x.count for x in launches], default=0), len(checks), *checks]
    words += [word for launch in launches for word in launch.words]
    return (ctypes.c_int64 * len(words))(*words)


def entry() -> int:
    """The address of the native function, which takes pointers and the address of a description."""
    return _library().address("retrograd_start")


@functools.cache
def _library() -> cpu.Library:
    return cpu.load_native("starting", lambda: [retrograd_start], {}, {})


# --- natively ---------------------------------------------------------------------------------------------
class Kernel(Record):
    """A launch. Its parameters are pairs: which pointer or -1, and what is added to it."""

    function: Memory
    grid: int
    block: int
    count: int
    parameters: Inline[int]


class Table(Record):
    """The graphs that may be launched: how many, the last addresses, and then each with its addresses."""

    count: int
    last: Inline[int]


class Description(Record):
    set_context: Callable[[Memory], Int32]
    """The driver's `cuCtxSetCurrent`."""
    context: Memory
    launch: Callable[
        [Memory, Int32, Int32, Int32, Int32, Int32, Int32, Int32, Memory, Array[Array[int]], Memory | None],
        Int32,
    ]
    """The driver's `cuLaunchKernel`."""
    launch_graph: Callable[[Memory, Memory], Int32]
    """The driver's `cuGraphLaunch`."""
    stream: Memory
    flag: int
    """Which pointer is that of the flag."""
    table: Table | None
    width: int
    """How many pointers tell one set of addresses from another."""
    count: int
    """Launches, which follow the checks."""
    most: int
    """Parameters of one launch, at most."""
    check_count: int
    checks: Inline[Array[int]]
    """Where the GPU says that a check of an earlier call has failed."""


_NEW, _AGAIN = 0, 1
"""What stands for a graph: these addresses are not those of the call before, or they are."""


@exported
def retrograd_start(pointers: Array[Array[int]], about: int) -> None:
    description = cast(Description, about)
    if not started(description, pointers):
        pointers[description.flag][0] = 1


@inlined
def started(about: Description, pointers: Array[Array[int]]) -> bool:
    """False where Python must do it."""
    if about.set_context(about.context) != 0:
        return False
    for c in range(about.check_count):
        if cast(Array[Byte], about.checks[c])[0] != 0:
            return False
    if about.table is None:
        return launched(about, pointers)
    graph = found(about.table, cast(Array[int], pointers), about.width)
    if graph == _NEW:
        return launched(about, pointers)
    return graph != _AGAIN and about.launch_graph(cast(Memory, graph), about.stream) == 0


@native
def launched(about: Description, pointers: Array[Array[int]]) -> bool:
    """Start one kernel after the other."""
    values, places = stack(Array[int], about.most), stack(Array[Array[int]], about.most)
    for p in range(about.most):
        places[p] = values + p
    kernel = cast(Kernel, about.checks + about.check_count)
    for _ in range(about.count):
        parameters, count = kernel.parameters, kernel.count
        for k in range(count):
            which = parameters[2 * k]
            base = cast(int, pointers[which]) if which >= 0 else 0
            values[k] = base + parameters[2 * k + 1]
        grid, block = kernel.grid, kernel.block
        if about.launch(kernel.function, grid, 1, 1, block, 1, 1, 0, about.stream, places, None) != 0:
            return False
        kernel = cast(Kernel, parameters + 2 * count)
    return True


@native
def found(table: Table, addresses: Array[int], width: int) -> int:
    """The graph of these addresses, which are noted if there is none."""
    entry = table.last + width
    for _ in range(table.count):
        if entry[0] != 0 and same(entry + 1, addresses, width):
            return entry[0]
        entry += 1 + width
    if same(table.last, addresses, width):
        return _AGAIN
    for n in range(width):
        table.last[n] = addresses[n]
    return _NEW


@native
def same(one: Array[int], other: Array[int], count: int) -> bool:
    for i in range(count):  # noqa: SIM110  # the native language has no generators
        if one[i] != other[i]:
            return False
    return True
