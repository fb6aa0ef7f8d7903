"""A graph as one Python function of NumPy arrays: a line for each node, and nothing asked on the way.

In flow graphs whose types are known, the formula of a composite op or the adjoint of any op; out flow
functions that take the graph's inputs as arrays and give its outputs. What a line calls is the op's own
answer: the row's kernel, or `evaluate`. Composites become their formulas, except where they have a `compute`
of their own. Call the functions `quietly`.

Where there is much to do, the function is machine code of the same graph (`one_op`); where there is little,
it is a list of kernels (`native/small`).

`computing(op, types)` is an op's value, `cotangents_of(op, types, out, needed)` its operands' cotangents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.arrays import ordered
from retrograd.compiler.ir.graph import EVALUATED, Array, Builder, Constant, Graph, Node, Op, Type, order
from retrograd.compiler.ops.composite import Composite, expansion, keeps_order
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.half import exactly
from retrograd.compiler.ops.reduce import Reduction, Sum
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Cast, Reshape
from retrograd.compiler.ops.strided import RestridedSum
from retrograd.runtime.eager import one_op
from retrograd.runtime.eager.fusing import Fused, fused, is_sooner
from retrograd.runtime.eager.kernels import kernel
from retrograd.runtime.native import small
from retrograd.runtime.native.small import one_pass
from retrograd.runtime.native.small.copier import reshaping
from retrograd.runtime.native.small.steps import FEW_ELEMENTS, OWN

Compute = Callable[..., Any]


def _rounded_otherwise(op: Op, operands: Sequence[Type | Array]) -> Compute | None:
    """A row's kernel that gives other bits than NumPy, so that no way leads to NumPy's."""
    if op.name not in one_pass.ROUNDED_OTHERWISE or not isinstance(op, Elementwise):
        return None
    return _quickly(op, dtypes.dtype(operands[0].dtype).numpy)


@cache
def _quickly(row: Elementwise, dtype: np.dtype[Any]) -> Compute | None:
    return one_pass.quickly(row, dtype, kernel(row)) if one_pass.is_quick(row, dtype) else None


def _of_halves(op: Op, operands: Sequence[Type | Array]) -> Compute | None:
    """What is computed in float32, and rounded once: a row by its kernel, else what computes it there."""
    if not isinstance(op, Elementwise | Composite | Reduction):
        return None
    if not any(dtypes.of(x).is_half for x in operands):
        return None
    if isinstance(op, Elementwise):
        return _row_of_halves(op, dtypes.of(operands[-1]).numpy)
    return _in_float32(op, tuple([Type(tuple(x.shape), dtypes.of(x)) for x in operands]))


@cache
def _row_of_halves(row: Elementwise, dtype: np.dtype[Any]) -> Compute:
    return one_pass.of_halves(row, dtype, kernel(row))


@lru_cache(maxsize=4096)
def _in_float32(op: Composite | Reduction, types: tuple[Type, ...]) -> Compute | None:
    """The op of such operands, cast; None where some are wide already."""
    half, out = next(t.dtype for t in types if t.dtype.is_half), op.infer(*types)
    if any(t.dtype.is_floating_point and t.dtype is not half for t in types):
        return None
    wide = [t.with_dtype(dtypes.float32) if t.dtype is half else t for t in types]
    widened = [t is not own for t, own in zip(wide, types)]
    compute, widen = computing(op, wide), _casting(half, dtypes.float32)
    narrow = _casting(dtypes.float32, half) if out.dtype is half else np.asarray

    def rounded(*arrays: Any) -> Any:
        return narrow(compute(*[widen(x) if cast else x for x, cast in zip(arrays, widened)]))

    return rounded


def _casting(source: DType, dtype: DType) -> Compute:
    op = Cast(dtype)
    return _cast_from(op, source) or op.evaluate


def _cast(op: Op, operands: Sequence[Type | Array]) -> Compute | None:
    return _cast_from(op, dtypes.of(operands[0])) if isinstance(op, Cast) else None


_cast_from = cache(one_pass.of_cast)


LOOPS: list[Callable[[Op, Sequence[Type | Array]], Compute | None]] = [_rounded_otherwise, _of_halves, _cast]
"""Who else has a function for an op; `instant/loops.py` is."""


def computing(op: Op, types: Sequence[Type]) -> Compute:
    """The op's value for operands of these types: an array, or NumPy's scalar in place of a 0-d one."""
    machine_code = one_op.value_of(op, tuple(types))
    if machine_code is not None:  # a power may be one that costs less
        return one_pass.quickly(op, types[0].dtype.numpy, machine_code)
    halves = any(t.dtype.is_half for t in types)
    native = by_kernels(
        op, types, lambda: None if passes(op, types) else small.program.value_of(op, tuple(types))
    )
    if native is not None:
        return native
    if isinstance(op, Reshape) and types[0].ndim > 1:
        return reshaping(op.shape)
    if not halves and (in_c := op.function(types)) is not None:
        return in_c
    match op:
        case Elementwise() if op.numpy is not None or all(t.dtype is not dtypes.bool_ for t in types):
            compute = kernel(op)  # but in a formula NumPy counts with bools
            if not halves:
                compute = one_pass.quickly(op, types[-1].dtype.numpy, compute)
        case Composite() if not halves:
            return _composite(op, types)
        case Fused():
            return op.by_a_pass(_plainly(op.graph))
        case _:
            compute = op.evaluate
    return compute if halves else exactly(compute)


def by_kernels(
    op: Op, operands: Sequence[Type | Array], listed: Callable[[], Compute | None]
) -> Compute | None:
    """The op in the native language: a list of kernels, or of many elements rather a loop over rows."""
    if max([x.size for x in operands], default=0) <= FEW_ELEMENTS and (steps := listed()) is not None:
        return steps
    for loop_of in LOOPS:
        if (loop := loop_of(op, operands)) is not None:
            return loop
    return listed()


def passes(op: Op, types: Sequence[Type]) -> bool:
    """Whether a composite without a kernel of its own is computed sooner by its formula's passes, one after
    the other, than by steps."""
    if not isinstance(op, Composite) or _has_own(op) or type(op) in OWN:
        return False
    if any(t.dtype.is_half for t in types):
        return False
    return is_sooner(expansion(op, tuple(types)).outputs)


@lru_cache(maxsize=1024)
def of_composite(op: Composite, types: tuple[Type, ...]) -> Compute:
    """`computing`, for one that is not replayed."""
    return computing(op, types)


def _has_own(op: Composite) -> bool:
    return type(op).compute is not Composite.compute


def _evaluated(op: Op, *arrays: Array) -> Array:
    """What is evaluated by itself has the bits that a replay finds."""
    compute = _known(op, *[(x.shape, x.dtype) for x in arrays])
    return np.asarray(compute(*arrays))


@lru_cache(maxsize=4096)
def _known(op: Op, *like: tuple[tuple[int, ...], np.dtype[Any]]) -> Compute:
    """The op of such operands, by kernels if they are there."""
    types = tuple([Type(shape, dtypes.dtype(dtype)) for shape, dtype in like])
    return by_kernels(op, types, lambda: small.program.value_of(op, types)) or op.evaluate


EVALUATED.update(dict.fromkeys((Cast, Sum, Dot, RestridedSum), _evaluated))


def _composite(op: Composite, types: Sequence[Type]) -> Compute:
    compute = op.compute if _has_own(op) else function_of(expansion(op, tuple(types)))
    if not keeps_order(op, tuple(types)):
        compute = ordered(compute)
    if type(op).inspect is Composite.inspect:
        return compute

    def inspected(*arrays: Any) -> Any:
        op.inspect(*arrays)
        return compute(*arrays)

    return inspected


def cotangents_of(op: Op, types: Sequence[Type], out: Type, needed: Sequence[bool]) -> Compute:
    """A function of the cotangent, the value and the operands: the list of the operands' cotangents.

    Operands at which the rule does not look may be anything.
    """
    builder = Builder()
    with builder.at(None):
        cotangent, result = builder.input("ct", out), builder.input("out", out)
        operands = [builder.input(f"x{k}", type_) for k, type_ in enumerate(types)]
        found = cotangents(op, cotangent, result, operands, needed)
    inputs = (cotangent, result, *operands)
    machine_code = one_op.adjoint_of(op, inputs, found)
    if machine_code is not None and not isinstance(op, Elementwise):
        return machine_code
    in_python = by_arrays(inputs, found)
    if machine_code is None:
        return small.program.function_of(inputs, found, in_python, not is_sooner(found)) or in_python
    passes = small.program.function_of(inputs, found, in_python, steps=False)
    if passes is None:
        return machine_code
    return passes if sum(needed) == 1 else _by_order(machine_code, passes)


def _by_order(together: Compute, one_by_one: Compute) -> Compute:
    """Cotangents that are read and written in one go where all operands lie in order; else each as these
    lie."""

    def chosen(*arrays: Any) -> Any:
        in_order = all(type(x) is not np.ndarray or x.flags.c_contiguous for x in arrays)
        return (together if in_order else one_by_one)(*arrays)

    return chosen


def function_of(graph: Graph) -> Compute:
    """The graph's only output, as a function of its inputs."""
    (out,) = graph.outputs
    return by_arrays_to_one(graph.inputs, out)


def _plainly(graph: Graph) -> Compute:
    """The same, a line for each node."""
    (out,) = graph.outputs
    return straight_to_one(graph.inputs, out, _computing)


def function_to_all(inputs: Sequence[Node], outputs: Sequence[Node]) -> Compute:
    """A graph from these inputs to these outputs, as a function of arrays to the list of outputs."""
    in_python = by_arrays(inputs, outputs)
    return small.program.function_of(inputs, outputs, in_python, not is_sooner(outputs)) or in_python


def by_arrays(inputs: Sequence[Node], outputs: Sequence[Node | None]) -> Compute:
    """The same by Python, which goes through what NumPy, loops and passes give."""
    return straight(inputs, fused(outputs), _computing)


def by_arrays_to_one(inputs: Sequence[Node], output: Node) -> Compute:
    """The same for one output: its value itself."""
    (node,) = fused([output])
    assert node is not None
    if node.inputs == tuple(inputs) and isinstance(node.op, Fused):
        return _computing(node)
    return straight_to_one(inputs, node, _computing)


def _computing(node: Node) -> Compute:
    return computing(node.op, [i.type for i in node.inputs])


def straight(
    inputs: Sequence[Node], outputs: Sequence[Node | None], caller: Callable[[Node], Compute]
) -> Compute:
    """A function of the inputs' values: the list of the outputs'. `caller` says what a line calls."""
    names, made = _lines(inputs, [o for o in outputs if o is not None], caller)
    return made(f"[{', '.join('None' if o is None else names[o] for o in outputs)}]")


def straight_to_one(inputs: Sequence[Node], output: Node, caller: Callable[[Node], Compute]) -> Compute:
    """The same for one output: its value itself."""
    names, made = _lines(inputs, [output], caller)
    return made(names[output])


def _lines(
    inputs: Sequence[Node], outputs: Sequence[Node], caller: Callable[[Node], Compute]
) -> tuple[dict[Node, str], Callable[[str], Compute]]:
    """What the nodes are called in a function of the inputs, and what makes it, given what it returns."""
    names: dict[Node, str] = {node: f"x{k}" for k, node in enumerate(inputs)}
    known: dict[str, Any] = {}
    lines = [f"def straight({', '.join(names[i] for i in inputs)}):"]
    for k, node in enumerate(order(outputs)):
        names[node] = f"t{k}"
        if isinstance(node.op, Constant):
            known[f"t{k}"] = node.op.value
            continue
        if not node.type.size and all(names[i] in known for i in node.inputs):  # nothing, of nothing: once
            known[f"t{k}"] = caller(node)(*[known[names[i]] for i in node.inputs])
            continue
        known[f"f{k}"] = caller(node)
        lines.append(f"    t{k} = f{k}({', '.join(names[i] for i in node.inputs)})")

    def made(result: str) -> Compute:
        exec(compile("\n".join([*lines, f"    return {result}"]), "<graph>", "exec"), known)
        function: Compute = known["straight"]
        return function

    return names, made
