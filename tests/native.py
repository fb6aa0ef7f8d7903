"""How tests run a graph natively and trust nothing: the IR is verified after each step, and every buffer
ends, or starts, at a page that must not be touched.

In flow a Graph and arrays; out flow the arrays that machine code makes. Each program runs twice, its
buffers once pressed against a forbidden page behind them and once against one before them, its outputs and
scratch filled with other bytes each time. So a read or write out of bounds ends the process with the line of
the test, and what is read before it is written differs between the runs. What else to demand of every
compiled program goes into `Program.run`.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.backends.assembler import Assembler
from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.ir.graph import Array, Builder, Graph, Node, Type, interpret
from retrograd.compiler.ir.verify import verified
from retrograd.compiler.pipeline import Compiled, compile_graph
from retrograd.runtime.native import cpu

faulthandler.enable()
_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_FORBIDDEN, _ALLOWED = 0, mmap.PROT_READ | mmap.PROT_WRITE


class Guarded:
    """Memory between two forbidden pages, filled with `fill`; `array()` is its last or its first bytes."""

    def __init__(self, nbytes: int, at_end: bool, fill: int, alignment: int = 1) -> None:
        inner = -(-max(nbytes, 1) // _PAGE) * _PAGE
        self._map = mmap.mmap(-1, inner + 2 * _PAGE)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._inner, self._nbytes = inner, nbytes
        self._offset = (inner - nbytes) // alignment * alignment if at_end else 0
        self._all = np.frombuffer(self._map, np.uint8, inner, _PAGE)
        self._all[:] = fill
        self._fill = fill
        self._protect(_FORBIDDEN)

    def _protect(self, rights: int) -> None:
        for page in (self._base, self._base + _PAGE + self._inner):
            assert _libc.mprotect(page, _PAGE, rights) == 0

    @property
    def address(self) -> int:
        return self._base + _PAGE + self._offset

    def array(self, type_: Type) -> Array:
        own = self._all[self._offset : self._offset + self._nbytes]
        return own.view(type_.dtype.numpy).reshape(type_.shape)

    def close(self) -> None:
        """Demand that nothing beside the array was written, and give the pages back."""
        beside = np.delete(self._all, slice(self._offset, self._offset + self._nbytes))
        assert (beside == self._fill).all(), "bytes beside a buffer were overwritten"
        self._protect(_ALLOWED)


@dataclass
class Program:
    """A graph in machine code."""

    compiled: Compiled
    library: cpu.Library

    def __call__(self, *arrays: Array) -> list[Array]:
        """The outputs, after two runs that must agree bit for bit."""
        first, second = (self.run(arrays, at_end, fill) for at_end, fill in ((True, 0xA5), (False, 0x3C)))
        for a, b in zip(first, second, strict=True):
            assert a.tobytes() == b.tobytes(), "the value depends on where memory lies or what it held"
        return first

    def run(self, arrays: Sequence[Array], at_end: bool, fill: int) -> list[Array]:
        """One run, its buffers all at the end or all at the start of their pages."""
        graph = self.compiled.graph
        given = [*arrays, *self.compiled.constants]
        for node, array in zip(graph.inputs, arrays, strict=True):
            assert (array.shape, dtypes.of(array)) == (node.shape, node.dtype)
        with self._memory(given, at_end, fill) as (sources, outputs, arena):
            cpu.call(
                self.library.address(self.compiled.symbol), [g.address for g in (*sources, *outputs, arena)]
            )
            results = [g.array(n.type).copy() for g, n in zip(outputs, graph.outputs)]
            for check, g in zip(self.compiled.checks, outputs[len(results) :], strict=True):
                if g.array(Type((), dtypes.bool_)):
                    raise check.error()
            for g, a in zip(sources, given, strict=True):
                assert g.array(_type(a)).tobytes() == np.ascontiguousarray(a).tobytes(), (
                    "an input was overwritten"
                )
        return results

    @contextmanager
    def _memory(
        self, given: Sequence[Array], at_end: bool, fill: int
    ) -> Iterator[tuple[list[Guarded], list[Guarded], Guarded]]:
        sources = [Guarded(a.nbytes, at_end, fill) for a in given]
        for g, a in zip(sources, given, strict=True):
            g.array(_type(a))[...] = a
        outputs = [Guarded(b.size * b.dtype.itemsize, at_end, fill) for b in self.compiled.loops.outputs]
        arena = Guarded(self.compiled.loops.arena_bytes, at_end, fill, alignment=64)
        yield sources, outputs, arena
        for g in (*sources, *outputs, arena):
            g.close()


def _type(array: Array) -> Type:
    return Type(array.shape, dtypes.of(array))


def build(graph: Graph, target: Target | None = None) -> Program:
    """The graph in machine code, for the host or a part of it."""
    target = target or Target.host()
    with Assembler(target) as assembler:
        compiled = compile_graph(graph, target, verified, assembler.add)
        return Program(compiled, cpu.load(*assembler.finish(compiled.rest)))


def graph_of(function: Callable[..., Any], *arrays: Array, name: str = "f") -> Graph:
    """The graph of a function of nodes, which gives one node or a sequence of them."""
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", _type(a)) for k, a in enumerate(arrays)]
        found = function(*inputs)
    outputs = (found,) if isinstance(found, Node) else tuple(found)
    return Graph(name, tuple(inputs), outputs)


def assert_close(ours: Array, theirs: Array, ulps: float = 8.0, scale: float = 1.0) -> None:
    """Equal where whole; else within `ulps` units in the last place of `theirs`, and of `scale`, which says
    how great the numbers were that cancelled each other. NaN and infinities are at the same places."""
    theirs = np.asarray(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    dtype = dtypes.of(ours)
    if not dtype.is_floating_point:
        np.testing.assert_array_equal(ours, theirs)
        return
    if dtype is dtypes.bfloat16:  # of which NumPy does not know how fine it is
        ours, theirs, ulps = ours.astype("f4"), theirs.astype("f4"), ulps * 2.0**16
    info = np.finfo(ours.dtype)
    blur = float(ulps * info.eps)
    np.testing.assert_allclose(ours, theirs, rtol=blur, atol=blur * scale + float(info.tiny))


def check(function: Callable[..., Any], *arrays: Array, ulps: float = 8.0, scale: float = 1.0) -> list[Array]:
    """The function's native values, after a comparison with its values in NumPy."""
    graph = graph_of(function, *arrays)
    ours = build(graph)(*arrays)
    for mine, theirs in zip(ours, interpret(graph, arrays), strict=True):
        assert_close(mine, theirs, ulps, scale)
    return ours
