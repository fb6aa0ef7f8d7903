"""`x[index] = value` by NumPy: in x's memory, at a plain index, outside of traces.

In flow a Tensor, an index and a number or a Tensor of x's dtype; out flows whether the elements have been
written. Where a history is kept the tape gets one node, `Written`, whose derivative is written and read at
the same index. For all else (`written_by_numpy` says False) there is the general way, in `indexing`, which
also has the words of errors. What a plain index is, says `numpy_index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Array, Value
from retrograd.compiler.ops.reduce import sum_to
from retrograd.runtime import tracing
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.inplace import changed, check_writable, set_history
from retrograd.runtime.eager.kernels import stored
from retrograd.runtime.eager.memory import meets
from retrograd.runtime.eager.opnodes import counter_of, modified
from retrograd.runtime.eager.tape import Edge, GradNode, Shown, already_freed, function_of
from retrograd.runtime.modes import INFERENCE, STATE, is_sealed
from retrograd.runtime.tensor import Tensor

_BOOL, _LONG = np.dtype(np.bool_), np.dtype(np.int64)

# ---- plain indices -----------------------------------------------------------------------------------------


Plain = tuple[Any, tuple[Tensor, ...]]
"""An index as NumPy takes it, and the masks and integers in it."""


def numpy_index(array: Array, index: Any) -> Plain | None:
    """The index where it means the same to NumPy as to PyTorch, else None: ints, forward slices, None and the
    ellipsis; or slices, masks and integer tensors.
    """
    kind = type(index)
    if kind is int:
        return index, ()
    if isinstance(index, Tensor):
        found = index._value
        return (found, (index,)) if _picks(array, found, 0) else None
    at: list[Any] = []
    tensors: list[Tensor] = []
    plain, axis = False, 0
    for part in index if kind is tuple else (index,):
        kind = type(part)
        if kind is int:
            plain = True
        elif kind is slice:
            if not (type(part.start) in _ENDS and type(part.stop) in _ENDS and type(part.step) in _ENDS):
                return None
            if part.step is not None and part.step <= 0:
                return None
        elif part is None or part is Ellipsis:
            plain = True
        elif isinstance(part, Tensor) and _picks(array, part._value, axis):
            tensors.append(part)
            part = part._value
            axis += part.ndim - 1 if part.dtype is _BOOL else 0
        else:
            return None
        axis += 1
        at.append(part)
    return None if plain and tensors else (tuple(at), tuple(tensors))


_ENDS = (int, type(None))


def _picks(array: Array, found: Any, axis: int) -> bool:
    """Whether it is an array of integers, or a mask of the axes from this one on."""
    if type(found) is not np.ndarray or not found.ndim:
        return False
    if found.dtype is _BOOL:
        return found.shape == array.shape[axis : axis + found.ndim]
    return found.dtype is _LONG


# ---- writing -----------------------------------------------------------------------------------------------


def written_by_numpy(x: Tensor, index: Any, value: Any) -> bool:
    """Have NumPy write at a plain index, with the history that there is to keep; else say False."""
    view = x._view
    if view is not None and not tracing.depth:
        view.refresh(x)
    array = x._value
    if tracing.depth or type(array) is not np.ndarray or not array.flags.writeable or is_sealed(x._counter):
        return False
    elements = _elements_for(array, value)
    plain = None if elements is None else numpy_index(array, index)
    if plain is None:
        return False
    grad = STATE.grad and (x._requires_grad or (view is not None and view.base.requires_grad))
    if grad or (STATE.grad and isinstance(value, Tensor) and value.requires_grad):
        return _recorded(x, index, plain, value, elements)
    if not _fits(array, plain, elements):
        return False
    changed(x)
    if view is not None and not view.base.requires_grad:
        view.version = view.base._counter[0]
    return True


def _fits(array: Array, plain: Plain, elements: Any) -> bool:
    """Write the elements; False where they do not fit."""
    at, tensors = plain
    mask = tensors and len(tensors) == 1 and type(at) is not tuple and at.dtype is _BOOL
    try:
        if mask and not (type(elements) is np.ndarray and elements.ndim) and at.ndim == array.ndim:
            np.putmask(array, at, elements)
        else:
            array[at] = elements
    except (IndexError, ValueError, TypeError):  # told in the user's terms by the general way
        return False
    return True


def _elements_for(array: Array, value: Any) -> Any:
    """A number that the dtype holds, or what a Tensor of it shows, for NumPy; else None."""
    kind = type(value)
    if kind is float or kind is int:
        return value if array.dtype.kind == "f" and -_FITS < value < _FITS else stored(value, array.dtype)
    given = value._value if isinstance(value, Tensor) else None
    return given if type(given) is np.ndarray and given.dtype is array.dtype else None


_FITS = 65504
"""What every floating dtype holds."""


# ---- with a history ----------------------------------------------------------------------------------------


def _recorded(x: Tensor, index: Any, plain: Plain, value: Any, elements: Any) -> bool:
    """Write, and note it; False where it is not one node, or a leaf. Raises what `check_writable` does."""
    array: Any = x._value
    if STATE.watched or array.dtype.kind != "f" or not _is_part(array, plain) or meets(array):
        return False
    if x._requires_grad and x._edge is None:
        return False
    if plain[1] and any(item._counter is INFERENCE for item in plain[1]):
        return False
    check_writable(x)
    if isinstance(value, Tensor) and value._view is not None:
        value._view.refresh(value)
    given = edge_of(value)
    edges = (edge_of(x), given)
    if not _fits(array, plain, elements):
        return False
    changed(x)
    shape = elements.shape if given is not None else ()
    set_history(x, Written(edges, index, plain, array.shape, shape))
    return True


def _is_part(array: Array, plain: Plain) -> bool:
    """Whether a plain index is not just all elements, which is a step of another kind; and it is no part of
    the elements by ranges of which picks are made, which are two steps."""
    at, tensors = plain
    if tensors:
        return type(at) is not tuple or all(type(part) is not slice or part == _ALL for part in at)
    try:
        shown: Any = array[at]
    except IndexError:
        return False
    return bool(shown.shape != array.shape)


_ALL = slice(None)


class Written(GradNode):
    """Elements that were written at an index: two operands, the Tensor before and the value."""

    __slots__ = ("index", "at", "tensors", "whole", "shape", "guards", "shown")

    def __init__(
        self,
        edges: tuple[Edge, Edge],
        index: Any,
        plain: Plain,
        whole: tuple[int, ...],
        shape: tuple[int, ...],
    ) -> None:
        super().__init__(edges)
        self.index = index
        self.at, self.tensors = plain
        self.whole = whole
        """The shape of the Tensor; `shape` is that of the value."""
        self.shape = shape
        self.guards = [(counter := counter_of(item), counter[0]) for item in self.tensors]
        self.shown = "IndexPutBackward0" if self.guards else "torch::autograd::CopySlices"

    def name(self) -> str:
        return self.shown

    @property
    def next_functions(self) -> tuple[tuple[GradNode | None, int], ...]:
        edges = self.shown.operands(self) if isinstance(self.shown, Shown) else self.edges
        return tuple(map(function_of, edges))

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        if self.at is None:
            raise already_freed()
        for (counter, version), item in zip(self.guards, self.tensors):
            if counter[0] != version:
                raise modified(item._value, edge_of(item), counter[0], version)
        if create_graph or not isinstance(cotangent, np.ndarray | np.generic):
            return self._by_tensors(cotangent, needed, create_graph)
        rest, part = None, None
        cotangent = np.asarray(cotangent)
        if needed[0]:
            rest = cotangent.copy()
            rest[self.at] = 0
        if needed[1]:
            part = sum_to(np.asarray(cotangent[self.at]), self.shape)
        return [rest, part]

    def _by_tensors(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        """The same with a history, or in a trace."""
        whole: Any = cotangent if isinstance(cotangent, Tensor) else Tensor(cotangent)
        found: list[Any] = [None, None]
        if needed[0]:
            found[0] = whole.clone()
            found[0][self.index] = 0.0
        if needed[1]:
            found[1] = sum_to(whole[self.index], self.shape)
        if create_graph:
            return found
        value_of = STATE.trace.lift if STATE.trace is not None else lambda x: x._value
        return [None if x is None else value_of(x) for x in found]

    def holds(self, array: Value) -> bool:
        return False

    def saved_values(self) -> Sequence[Value]:
        return [item._value for item in self.tensors]

    def free(self) -> None:
        if self.tensors:
            self.at, self.tensors = None, ()
