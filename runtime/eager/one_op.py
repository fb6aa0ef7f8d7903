"""One op of big operands as machine code: what NumPy would compute in many passes over memory.

In flow an op and the types of its operands; out flows a function of arrays, compiled when it is first called
(or read from the cache), or None where NumPy may as well do it: for little work, for elements by one NumPy
function or loop, for products that BLAS does as quickly, for what sorts, and for halves.
Values and adjoints are the graphs that `compile_grad` compiles, so nothing is said anew here. Whether it is
worth it depends on types alone: equal calls give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Builder, Constant, Graph, Node, Op, Type, order
from retrograd.compiler.ops import special
from retrograd.compiler.ops.composite import Composite, expansion
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.iota import Iota, IotaLike
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.scan import Scan
from retrograd.compiler.ops.shape import Movement
from retrograd.compiler.ops.sort import Argsort
from retrograd.compiler.ops.window import Unwindow, Window
from retrograd.runtime.native import blas
from retrograd.runtime.native.host import host
from retrograd.runtime.native.placing import placing
from retrograd.runtime.native.program import NativeProgram
from retrograd.runtime.native.small.kernels import is_own
from retrograd.runtime.native.small.steps import OWN, YIELDING
from retrograd.runtime.native.small.turning import turning

Compute = Callable[..., Any]

LOOPED: set[type[Op]] = set()
"""Ops that loops over rows compute, however much there is to do; `instant/loops.py` says which."""
_TAKEN = (Composite, Dot, Elementwise, Reduction, Scan)
_WORTH = 1 << 20
"""Elementary steps from which on compiling pays."""
_WORTH_OF_WINDOWS = 1 << 17
"""The same where NumPy would copy windows, each element many times."""
_SPECIAL = 8
"""Steps of an elementwise function that NumPy does not have."""
_WORTH_OF_PRODUCTS = 1 << 22
"""Multiply-adds of a product from which on tiles of bfloat16 save in some ten calls what their plan takes."""
_WORTH_OF_WIDE, _THIN = 1 << 21, 4
"""The same of wider vectors than BLAS uses, and rows or columns of a product that is as long as its memory
takes to be read."""
_WORTH_OF_BATCHES = 1 << 18
"""The same of many small products."""
_SINGLE_OR_DOUBLE = (dtypes.float32, dtypes.float64)
_PRODUCTS = 16
"""Products that are added up in a step."""


def value(op: Op, arrays: Sequence[Array]) -> Compute | None:
    """The op's value for arrays like these."""
    if not isinstance(op, _TAKEN):
        return None
    worth = _WORTH_OF_WINDOWS if isinstance(op, Composite) else _WORTH
    if max([a.size for a in arrays]) < worth >> 6:
        return None
    if op.name == "pow" and special.by_products(arrays[1]):
        return None
    return value_of(op, tuple([Type(a.shape, dtypes.dtype(a.dtype)) for a in arrays]))


def least(row: Elementwise) -> int:
    """Elements from which on machine code of its own may be worth it for a row."""
    return max(_WORTH >> 6, _WORTH // _passes(row))


def choosing(row: Elementwise, compute: Compute) -> Compute:
    """The row of arrays: machine code or what NumPy computes, by their size."""

    def chosen(*arrays: Array) -> Any:
        if arrays[0].size < _WORTH >> 6:
            return compute(*arrays)
        return (value(row, arrays) or compute)(*arrays)

    return chosen


@lru_cache(maxsize=1024)
def value_of(op: Op, types: tuple[Type, ...]) -> Compute | None:
    """The op's value for operands of these types."""
    match op:
        case _ if _is_by_kernel(op) or max([t.size for t in types]) < YIELDING.get(type(op), 0):
            return None
        case _ if type(op) in LOOPED:
            return None
        case Composite():
            graph = expansion(op, types)
        case Elementwise() if isinstance(op.numpy, np.ufunc) or is_own(op):
            return None
        case Elementwise() | Reduction() | Scan():
            graph = _of_one(op, types)
        case Dot():
            return _product(op, types) if _is_sooner(types, batches=True) or _are_many(types) else None
        case _:
            return None
    if not _pays(graph.inputs, graph.outputs):
        return None
    run = _program(Graph(op.name, graph.inputs, graph.outputs))
    inspect = getattr(op, "inspect", None)

    def compute(*arrays: Array) -> Array:
        if inspect is not None:
            inspect(*arrays)
        (out,) = run(arrays)
        return out

    return turning(op, value_of, compute)


class _Counting(Builder):
    """Builds what counts without what it counts like: of operands that are not read, the tape keeps no more
    than the types."""

    def node(self, op: Op, *inputs: Node) -> Node:
        if isinstance(op, IotaLike):
            return super().node(Iota(op.infer(inputs[0].type), op.axis))
        return super().node(op, *inputs)


def adjoint_of(op: Op, inputs: Sequence[Node], outputs: Sequence[Node | None]) -> Compute | None:
    """The op's adjoint, a graph from these inputs to these outputs, as a function to the list of them."""
    present = [node for node in outputs if node is not None]
    if not isinstance(op, Composite | Elementwise) or not _pays(inputs, present):
        return None
    rebuild = import_module("retrograd.compiler.passes.rebuild").rebuild  # late, like the compiler
    graph = rebuild(Graph(f"{op.name}_adjoint", tuple(inputs), tuple(present)), _Counting())
    read = {i for node in graph.nodes for i in node.inputs} | set(graph.outputs)
    taken = [k for k, node in enumerate(graph.inputs) if node in read]
    run = _program(Graph(graph.name, tuple(graph.inputs[k] for k in taken), graph.outputs))

    def compute(*arrays: Any) -> list[Any]:
        results = iter(run([np.asarray(arrays[k]) for k in taken]))
        return [None if node is None else next(results) for node in outputs]

    return compute


def _is_sooner(types: Sequence[Type], batches: bool = False) -> bool:
    """Are these matrices, or batches of some, that we multiply sooner than BLAS does, by tiles of bfloat16 or
    by wider vectors?"""
    left, right = types
    if (len(left.shape) != 2 and not batches) or left.dtype not in _SINGLE_OR_DOUBLE:
        return False
    (rows, inner), columns = left.shape[-2:], right.shape[-1]
    work = left.size * columns
    if work >= _WORTH_OF_WIDE and min(rows, columns) >= _THIN and blas.is_narrow():
        return True
    if work < _WORTH_OF_PRODUCTS or left.dtype is not dtypes.float32 or not host().tiles:
        return False
    split = import_module("retrograd.compiler.schedule.split")  # late, like the compiler
    return bool(split.pays(rows, columns, inner))


def _are_many(types: Sequence[Type]) -> bool:
    """Are these batches of matrices that threads share, while BLAS multiplies one after the other?"""
    left, right = types
    work = left.size * right.shape[-1] if min(left.ndim, right.ndim) > 2 else 0
    return prod(left.shape[:-2]) > 1 and work >= _WORTH_OF_BATCHES and left.dtype in _SINGLE_OR_DOUBLE


def _product(op: Dot, types: Sequence[Type]) -> Compute:
    graph = _of_one(op, types)
    program = cache(lambda *lie: NativeProgram(graph, placings={k: p for k, p in enumerate(lie) if p}))

    def compute(a: Array, b: Array) -> Array:
        (out,) = program(placing(a), placing(b))((a, b))
        return out

    return compute


def _of_one(op: Op, types: Sequence[Type]) -> Graph:
    builder = Builder()
    with builder.at(None):
        inputs = tuple(builder.input(f"x{k}", type_) for k, type_ in enumerate(types))
        return Graph(op.name, inputs, (builder.node(op, *inputs),))


def _program(graph: Graph) -> Callable[[Sequence[Array]], Sequence[Array]]:
    made = cache(lambda: NativeProgram(graph))
    return lambda arrays: made()(arrays)


def _pays(inputs: Iterable[Node], outputs: Sequence[Node]) -> bool:
    if any(node.dtype.is_half for node in (*inputs, *outputs)):
        return False
    nodes = list(_primitive(order(outputs)))
    if any(isinstance(n.op, Argsort) or n.op.hosted or _is_by_kernel(n.op) for n in nodes):
        return False
    windowed = any(isinstance(n.op, Window | Unwindow) for n in nodes)
    products = [[i.type for i in n.inputs] for n in nodes if isinstance(n.op, Dot)]
    worth = _WORTH_OF_WINDOWS if windowed else _WORTH
    return (windowed or all(map(_is_sooner, products))) and sum(map(_steps, nodes)) >= worth


def _is_by_kernel(op: Op) -> bool:
    """Whether it has a kernel of its own, whatever there is to do."""
    return type(op) in OWN and type(op) not in YIELDING


def _primitive(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes, those of formulas in place of composites, unless these have kernels of their own."""
    for node in nodes:
        if isinstance(node.op, Composite) and not _is_by_kernel(node.op):
            yield from _primitive(expansion(node.op, tuple(i.type for i in node.inputs)).nodes)
        else:
            yield node


def _steps(node: Node) -> int:
    """About how many steps a node takes."""
    match node.op:
        case Constant() | Movement():
            return 0
        case Dot():
            return node.type.size * node.inputs[0].shape[-1] // _PRODUCTS
        case Elementwise() as row:
            return node.type.size * _passes(row)
    return max(node.type.size, *[i.type.size for i in node.inputs], 0)


@cache
def _passes(row: Elementwise) -> int:
    """The passes over memory that NumPy takes for a row."""
    if row.numpy is not None:
        return 1 if isinstance(row.numpy, np.ufunc) else _SPECIAL
    builder = Builder()
    scalar = Type((), dtypes.float32 if row.takes(dtypes.float32) else dtypes.int64)
    with builder.at(None):
        formula = order([row.expansion(*(builder.input(f"x{k}", scalar) for k in range(row.arity)))])
    return sum(_passes(node.op) for node in formula if isinstance(node.op, Elementwise))
