"""Calls without Python: where arguments and results are plain, one native callable checks, runs and boxes.

In flow an `Entry`'s parts, out flows such a callable, or None where Python has work to do: nested arguments,
captured Tensors, updates in place, results with a history. What the callable does not know goes to `miss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Type
from retrograd.runtime.fastcall import (
    ArrayPort,
    ConstantPort,
    FloatPort,
    OutputPort,
    Port,
    Returns,
    TensorPort,
)
from retrograd.runtime.program import NativeProgram
from retrograd.runtime.pytree import LEAF, Structure
from retrograd.runtime.specialise import Specialisation
from retrograd.runtime.tensor import Tensor

_FRESH = {
    "_requires_grad": False,
    "_edge": None,
    "_grad": None,
    "_counter": None,
    "_view": None,
    "_leaf": None,
}
"""The slots of a Tensor without history, besides its value."""


class _NotPlain(Exception):
    """Something that only Python can do."""


def direct(
    found: Specialisation,
    program: NativeProgram,
    structure: Structure,
    leaves: Sequence[Any],
    results: Sequence[Structure],
    tensors: bool,
    miss: Callable[..., Any],
) -> Callable[..., Any] | None:
    """The native callable for calls like this one, which returns `results`: one structure, or a tuple of
    several."""
    if found.updated or found.same or found.recording.captured or not program.plain:
        return None
    try:
        arguments = list(_arguments(structure, iter(leaves)))
        numbers = count()
        returns = tuple([_returns(result, numbers) for result in results])
        outputs = [_output(node.type, tensors) for node in program.graph.outputs]
    except _NotPlain:
        return None
    return program.bind(arguments, outputs, returns if len(returns) > 1 else returns[0], miss)


def _arguments(structure: Structure, leaves: Iterator[Any]) -> Iterator[Port]:
    (_, _, positional), (_, names, _) = structure[2]
    if names:
        raise _NotPlain
    for part in positional:
        if part is LEAF:
            yield _argument(next(leaves))
        elif isinstance(part, tuple) and len(part) == 2 and part[0] in (bool, int, str, type(None)):
            yield ConstantPort(part[1])
        else:
            raise _NotPlain


def _argument(leaf: Any) -> Port:
    kind = type(leaf)
    if kind is float:
        return FloatPort(np.dtype(np.float64))
    value = leaf._value if kind is Tensor else leaf
    if type(value) is not np.ndarray or not value.dtype.isnative:
        raise _NotPlain
    if kind is Tensor:
        if leaf._view is not None:
            raise _NotPlain
        also = {"_requires_grad": leaf._requires_grad, "_view": None}
        return TensorPort(Tensor, "_value", value.dtype, value.shape, also)
    return ArrayPort(value.dtype, value.shape)


def _output(kind: Type, tensor: bool) -> OutputPort:
    dtype = kind.dtype.numpy
    if tensor:
        return TensorPort(Tensor, "_value", dtype, kind.shape, _FRESH)
    if kind.shape:
        return ArrayPort(dtype, kind.shape)
    if dtype not in (np.float64, np.float32):
        raise _NotPlain
    return FloatPort(dtype)


def _returns(result: Structure, numbers: Iterator[int]) -> Returns:
    if result is LEAF:
        return next(numbers)
    if isinstance(result, tuple) and result[0] is type(None):
        return None
    if isinstance(result, tuple) and len(result) == 3 and result[0] is tuple:
        return tuple([_returns(part, numbers) for part in result[2]])
    raise _NotPlain
