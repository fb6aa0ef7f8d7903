"""Calls on a GPU that come again: what the first of them looked into is compared, and the kernels start.

In flow the parts of an `Entry`, out flows a callable for arguments of the same kind, which gives the call's
results, or `MISSED` where anything is otherwise than it was. It is for a GPU what `dispatch.direct` is for
the CPU, whose native code knows NumPy's arrays alone; views, updates in place, results with a history and
arguments that nest or are named take the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from retrograd.compiler.dtypes import DType
from retrograd.runtime.compiled.guards import Guards
from retrograd.runtime.compiled.specialise import Specialisation
from retrograd.runtime.native.program import Executable, NativeProgram
from retrograd.runtime.native.watching import Read
from retrograd.runtime.pytree import LEAF, Structure, unflatten
from retrograd.runtime.strided import DeviceArray, Layout
from retrograd.runtime.tensor import Tensor

MISSED: Final = object()
"""What a launcher gives for a call that is not its own."""
_MOST = 8
"""Launchers of one function, the latest."""


class _Form(NamedTuple):
    """What an argument must be."""

    kind: Any
    """Its class."""
    tracked: bool
    layout: Layout
    dtype: DType


class Launchers:
    """The launchers of a function, the last added first."""

    def __init__(self) -> None:
        self._found: list[Callable[[tuple[Any, ...]], Any]] = []

    def __call__(self, args: tuple[Any, ...]) -> Any:
        """The results of a call, from the first that takes these arguments, or `MISSED`."""
        for launch in self._found:
            results = launch(args)
            if results is not MISSED:
                return results
        return MISSED

    def add(self, launch: Callable[[tuple[Any, ...]], Any] | None) -> None:
        if launch is not None:
            self._found[:] = [launch, *self._found][:_MOST]

    def clear(self) -> None:
        self._found.clear()


def launcher(
    found: Specialisation,
    program: Executable,
    args: Sequence[Any],
    leaves: Sequence[Any],
    results: Sequence[Structure],
    reads: Sequence[Read],
) -> Callable[[tuple[Any, ...]], Any] | None:
    """The launcher for calls like this one in the world as it was read; None where it is not for one. It
    returns `results`: one structure, or a tuple of several."""
    captured = found.recording.captured
    plain = not (found.updated or found.same or found.draws or found.path)
    if not plain or isinstance(program, NativeProgram):
        return None
    if len(args) != len(leaves) or not all(map(_is_plain, args)) or not all(map(_is_plain, captured)):
        return None
    forms = [_Form(type(x), x._requires_grad, x._value.layout, x._value.dtype) for x in args]
    places = {id(x._value.memory.gpu) for x in (*args, *captured)}
    if len(places) != 1:
        return None
    guards, count, gpu = Guards(reads, captured), len(args), (*args, *captured)[0]._value.memory.gpu
    put = _putting(results[0] if len(results) == 1 else (tuple, (), tuple(results)))

    def launch(args: tuple[Any, ...]) -> Any:
        if len(args) != count or not guards.hold():
            return MISSED
        arrays: list[Any] = []
        for x, (kind, tracked, layout, dtype) in zip(args, forms):
            if type(x) is not kind or x._requires_grad is not tracked or x._view is not None:
                return MISSED
            value = x._value
            if not isinstance(value, DeviceArray) or value.memory.gpu is not gpu:
                return MISSED
            if value.dtype is not dtype or value.layout != layout:
                return MISSED
            arrays.append(value)
        arrays += [x._value for x in captured]
        return put(program(arrays))

    return launch


def _putting(structure: Structure) -> Callable[[Sequence[Any]], Any]:
    """What makes a structure of arrays."""
    if structure is LEAF:
        return lambda arrays: Tensor(arrays[0])
    kind, _, parts = structure if isinstance(structure, tuple) and len(structure) == 3 else (None, (), ())
    if kind is tuple and all(part is LEAF for part in parts):
        return lambda arrays: tuple([Tensor(x) for x in arrays])
    return lambda arrays: unflatten(structure, map(Tensor, arrays))


def _is_plain(x: Any) -> bool:
    """Is it a Tensor of its own, on a GPU?"""
    return isinstance(x, Tensor) and x._view is None and isinstance(x._value, DeviceArray)
