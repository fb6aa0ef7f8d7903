"""Jacobians and Hessians of which few elements are no zeros: their pattern, and those elements.

In flow a function, out flows one that gives `SparseRows`. It is compiled: while it is traced, the product of
the Jacobian with one direction is written down, from which `passes/sparsity.py` reads the pattern; columns
and rows are coloured (`colouring.py`); and the products with the sum of each colour's directions, all of
them at once under `vmap`, hold the elements, which are taken from there. So a call is one native call, and
what a history means (detach, no_grad, a Function of the user's) it means here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from retrograd.compiler.adjoint import cut
from retrograd.compiler.errors import ArgumentError, DtypeError, MissingPackageError, TraceError
from retrograd.compiler.ir.graph import Array, Input, Node, order
from retrograd.compiler.ops.index import put_add, take
from retrograd.compiler.ops.loop import Loop
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, concat, reshape, select
from retrograd.compiler.passes.relations import Rows, gathered
from retrograd.compiler.passes.sparsity import dependence
from retrograd.compiler.record import record
from retrograd.runtime import tracing
from retrograd.runtime.func.colouring import Colours, Plan, plan, symmetric_plan
from retrograd.runtime.func.known import stacked
from retrograd.runtime.func.transforms import (
    Function,
    Places,
    grad,
    gradients_of,
    in_blocks,
    settled,
    tangents_of,
)
from retrograd.runtime.func.vmap import vmap
from retrograd.runtime.modes import no_grad
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace


class Pattern:
    """Where a matrix may have elements that are no zeros, as compressed sparse rows: those of row i are in
    the columns `indices[indptr[i] : indptr[i + 1]]`, ascending."""

    __slots__ = ("indices", "indptr", "shape")

    def __init__(self, found: Rows) -> None:
        whole = np.int32 if max(found.width, len(found.members)) < 1 << 31 else np.int64
        self.indptr: Array = found.starts.astype(whole)
        self.indices: Array = found.members.astype(whole)
        self.shape: tuple[int, int] = (len(found), found.width)

    @property
    def nnz(self) -> int:
        """How many elements there are."""
        return len(self.indices)

    @property
    def rows(self) -> Array:
        """The row of each element."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def to_dense(self) -> Array:
        """As an array of truth values."""
        dense = np.zeros(self.shape, bool)
        dense[self.rows, self.indices] = True
        return dense

    def __repr__(self) -> str:
        return f"Pattern(shape={self.shape}, nnz={self.nnz})"


@record(eq=False)
class SparseRows:
    """A matrix as compressed sparse rows, as SciPy's `csr_array((data, indices, indptr), shape)`."""

    data: Any
    """The elements in the order of the pattern: a Tensor, or an array where arrays were given."""
    pattern: Pattern

    @property
    def indices(self) -> Array:
        """The column of each element."""
        return self.pattern.indices

    @property
    def indptr(self) -> Array:
        """Where each row begins among the elements, and where the last one ends."""
        return self.pattern.indptr

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    def to_dense(self) -> Any:
        """The whole matrix, zeros and all, as a Tensor or an array."""
        height, width = self.shape
        places = self.pattern.rows * width + self.indices
        return reshape(put_add(self.data, places, 0, height * width), (height, width))

    def to_scipy(self) -> Any:
        """As a `scipy.sparse.csr_array`. Raises MissingPackageError where there is no SciPy."""
        try:
            from scipy.sparse import csr_array
        except ImportError:
            raise MissingPackageError(
                "to_scipy()", "SciPy is not installed", "pip install scipy, or take data, indices and indptr"
            ) from None
        return csr_array((np.asarray(self.data), self.indices, self.indptr), self.shape)

    def __repr__(self) -> str:
        return f"SparseRows(data={self.data!r}, shape={self.shape})"


# ---- functions of functions --------------------------------------------------------------------------------


def sparse_jacobian(func: Function, argnums: Places = 0) -> Function:
    """The Jacobian of `func` by some of its arguments, as `SparseRows`, of the elements that may be other
    than zero.

    Row i is of element i of the output, column j of element j of the argument, both in row-major order. The
    function returned takes what `func` does, Tensors or NumPy's arrays, and is compiled for their shapes and
    dtypes; several outputs or arguments nest as in `jacfwd`. Where `func` reads or writes at indices that it
    captures, the pattern is that of those at hand, and found anew when they change; at indices that are
    computed from arguments, or lie on a GPU, it is the whole axis. What `func` multiplies with zeros of an
    array that it makes is no element.
    """

    def block(y: Tensor, x: Tensor, own: Sequence[Tensor], same: bool) -> SparseRows:
        return _elements(y, x, own, symmetric=False)

    return _compiled("sparse_jacobian", _called("sparse_jacobian", func), argnums, block)


def sparse_hessian(func: Function, argnums: Places = 0) -> Function:
    """The second derivatives of `func`, whose value is one number, as `SparseRows`; else as
    `sparse_jacobian`. They are taken to be symmetric, as they are but for derivatives of the user's own."""
    gradient = grad(_called("sparse_hessian", func), argnums)
    return _compiled("sparse_hessian", gradient, argnums, _elements)


def jacobian_pattern(func: Function, argnums: Places = 0) -> Function:
    """The `Pattern` of `sparse_jacobian`, alone. That of `sparse_hessian` is that of `grad(func)`, with all
    that is on one side of the diagonal also on the other."""

    def block(y: Tensor, x: Tensor, own: Sequence[Tensor], same: bool) -> Pattern:
        return Pattern(_pattern(*_linear(y, x)))

    return _compiled("jacobian_pattern", _called("jacobian_pattern", func), argnums, block)


def _called(name: str, func: Any) -> Function:
    if not callable(func):
        raise ArgumentError(f"{name}({func!r})", "it takes a function", f"write {name}(function)")
    function: Function = func
    return function


def _compiled(name: str, func: Function, argnums: Places, block: Callable[..., Any]) -> Function:
    """A compiled function that gives what `block` says of each output and each argument, and of whether the
    two have the same place."""

    def blocks(outputs: Sequence[Tensor], own: Sequence[Tensor]) -> list[list[Any]]:
        return [[block(y, x, own, i == j) for j, x in enumerate(own)] for i, y in enumerate(outputs)]

    compiled = import_module("retrograd.runtime.compiled.compile_grad")  # late: above
    made: Function = compiled.compile_grad(in_blocks(func, argnums, False, name, blocks))
    return made


# ---- in a trace --------------------------------------------------------------------------------------------


def _trace() -> Trace:
    trace = tracing.current()
    if type(trace) is not Trace:
        raise TraceError(
            "a sparse derivative under vmap", "examples may differ in their patterns", "use jacfwd"
        )
    return trace


def _linear(y: Tensor, x: Tensor) -> tuple[Node, Node]:
    """A direction in which one Tensor changes, and the tangent of another that is made of it."""
    trace = _trace()
    if not y.dtype.is_floating_point:
        raise DtypeError(
            f"the derivative of a function that gives {y.dtype} elements", "only floating ones have one",
            "leave them out of what it returns, or cast them",
        )  # fmt: skip
    tuple(y.shape)  # an error where nobody knows how many elements a mask picks
    kind = trace.lift(x).type
    direction = Node(trace.builder, Input("direction", kind), (), kind, None)
    with no_grad():
        (tangent,) = tangents_of([y], [x], [Tensor(direction)])
    return direction, trace.lift(tangent)


def _pattern(direction: Node, tangent: Node) -> Rows:
    """That of the Jacobian: what the tangent depends on."""
    trace = _trace()
    read = [i for node in order([tangent]) for i in node.inputs]
    starts = list(dict.fromkeys([direction, *(n for n in (*read, tangent) if isinstance(n.op, Input))]))
    return dependence(cut("tangent", starts, [tangent]), 0, lambda k: trace.look(starts[k]))


def _elements(y: Tensor, x: Tensor, own: Sequence[Tensor], symmetric: bool) -> SparseRows:
    """Those of the Jacobian; `own` are the Tensors to which no history leads."""
    direction, tangent = _linear(y, x)
    pattern = _pattern(direction, tangent)
    if symmetric:
        pattern = _mirrored(pattern)
    chosen = symmetric_plan(pattern) if symmetric else plan(pattern)
    loops = any(isinstance(node.op, Loop) for node in order([tangent]))
    (data,) = settled([_data(y, x, chosen, _in_turn if loops else vmap)], own)
    return SparseRows(data, Pattern(pattern))


def _mirrored(pattern: Rows) -> Rows:
    """With each element that across the diagonal."""
    numbers, members, size = pattern.numbers, pattern.members, len(pattern)
    return gathered(np.append(numbers, members), np.append(members, numbers), size, size)


def _data(y: Tensor, x: Tensor, chosen: Plan, each: Callable[[Function], Function]) -> Tensor:
    """The elements, taken from the products of all colours, for `each` of which a function is called."""

    def pushed(direction: Tensor) -> Tensor:
        return tangents_of([y], [x], [direction])[0]

    def pulled(seed: Tensor) -> Tensor:
        found: Tensor = cast(gradients_of([y], [x], [seed])[0], y.dtype)
        return found

    ways = [(pushed, chosen.columns, x), (pulled, chosen.rows, y)]
    products = [each(way)(_sums(colours, like)) for way, colours, like in ways if colours.count]
    flat = [reshape(product, (product.numel(),)) for product in products]
    if not flat:
        return _constant(np.zeros(0, y.dtype.numpy))
    whole = concat(flat, 0) if flat[1:] else flat[0]
    small = whole.numel() < 1 << 31
    found: Tensor = take(whole, _constant(chosen.index.astype(np.int32 if small else np.int64)), 0)
    return found


def _in_turn(way: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """For one row after the other: loops are not batched."""
    return lambda whole: stacked([way(select(whole, 0, k)) for k in range(whole.shape[0])])


def _sums(colours: Colours, like: Tensor) -> Tensor:
    """Of the unit vectors of each colour, one colour after the other: `[count, *shape]`."""
    numbers = np.arange(colours.count, dtype=np.int32).reshape(-1, *[1] * like.ndim)
    there = rows.eq(_constant(numbers), _constant(colours.of.reshape(like.shape)))
    found: Tensor = cast(there, like.dtype)
    return found


def _constant(array: Array) -> Tensor:
    return Tensor(_trace().builder.constant(array))
