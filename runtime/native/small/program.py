"""A small graph as a native function of arrays: its nodes as steps, each run by a kernel that is there.

In flow a graph's inputs and outputs; out flows a function of arrays, or None where the graph is not small, or
holds an op of which there is no kernel. Nothing is compiled for the graph or its sizes: its nodes become
steps (`steps.py`).

`value_of(op, types)` is an op's value, `function_of(inputs, outputs, slow)` any graph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import count

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Builder, Node, Op, Type, order
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.elementwise import Elementwise
from retrograd.compiler.ops.index import Put, PutAdd, PutAlongAdd, TakeAlong
from retrograd.compiler.ops.row import Types
from retrograd.compiler.ops.scan import Scan
from retrograd.compiler.ops.shape import Concat
from retrograd.compiler.ops.window import Undiagonal
from retrograd.runtime.native.layout import layout
from retrograd.runtime.native.small import equations, kernels, one_pass, own, solving
from retrograd.runtime.native.small.copier import in_order
from retrograd.runtime.native.small.entry import MOST_ARRAYS
from retrograd.runtime.native.small.steps import MOST_ELEMENTS, Compute, Steps, has_kernels, is_small
from retrograd.runtime.native.small.turning import turning


@cache
def available() -> bool:
    """Whether there can be such calls in this interpreter."""
    return layout() is not None


def function_of(
    inputs: Sequence[Node], outputs: Sequence[Node | None], slow: Compute, steps: bool = True
) -> Compute | None:
    """The graph as a function to the list of outputs, if it is one pass over many elements, or small; without
    `steps` only if it is a pass. `slow` does the same for arguments of other types."""
    places = len(outputs)
    return _pass(inputs, outputs, slow, places) or (
        _function(inputs, outputs, slow, places) if steps else None
    )


def function_to_one(
    inputs: Sequence[Node], output: Node, slow: Compute, steps: bool = True
) -> Compute | None:
    """The same for one output: its value itself."""
    return _pass(inputs, [output], slow, 0) or (_function(inputs, [output], slow, 0) if steps else None)


def same_of(
    inputs: Sequence[Node], outputs: Sequence[Node], slow: Compute, steps: bool = True
) -> Compute | None:
    """`function_of`, where each op by itself gives the same bits."""
    exact = all(map(is_exact, order(outputs)))
    return function_of(inputs, outputs, slow, steps) if exact else None


def same_to_one(inputs: Sequence[Node], output: Node, slow: Compute, steps: bool = True) -> Compute | None:
    """`function_to_one`, where each op by itself gives the same bits."""
    exact = all(map(is_exact, order([output])))
    return function_to_one(inputs, output, slow, steps) if exact else None


def is_exact(node: Node) -> bool:
    """Whether NumPy gives the same bits as the kernel, or is not asked for such an op by itself."""
    match node.op:
        case Elementwise() as row:
            return row.name in _ROUNDED_ONCE or _is_taken(row) or kernels.is_own(row)
    return True


_ROUNDED_ONCE = {
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", "minimum", "lt", "le", "gt", "ge", "eq",
    "ne", "where", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or",
    "bitwise_xor", "bitwise_not", "floor", "ceil", "trunc", "sign", "fmax", "fmin", "clamp_min", "clamp_max",
    "heaviside", "isnan", "isinf", "isfinite", "signbit", "copysign", "nan_to_num", "relu", "relu6",
}  # fmt: skip
"""Rows whose results are the nearest numbers."""


def _is_taken(op: Op) -> bool:
    """Whether its value alone is worth a native call: what NumPy does in several passes, or with much ado."""
    match op:
        case Elementwise():
            return op.arity > 1 and (kernels.is_lacking(op) or op.types is Types.SELECT)
    return isinstance(op, _IN_SEVERAL_PASSES)


_IN_SEVERAL_PASSES = (
    Composite,
    Scan,
    Dot,
    Concat,
    Undiagonal,
    Put,
    PutAdd,
    PutAlongAdd,
    *solving.SOLVED,
    *own.WRITERS,
)


_BY_ONE_KERNEL: tuple[type[Op], ...] = (Concat, PutAdd, PutAlongAdd, TakeAlong, *own.WRITERS)
"""Those whose kernel takes arrays of any size."""

_OF_MANY: tuple[type[Op], ...] = (Elementwise, *solving.SOLVED, *_BY_ONE_KERNEL)
"""Those that it is worth for many elements, too."""


def value(op: Op, arrays: Sequence[Array]) -> Compute | None:
    """The value of such an op of arrays like these."""
    if not _is_taken(op) or (max([a.size for a in arrays]) > MOST_ELEMENTS and not isinstance(op, _OF_MANY)):
        return None
    return value_of(op, tuple([Type(a.shape, dtypes.dtype(a.dtype)) for a in arrays]))


@lru_cache(maxsize=4096)
def value_of(op: Op, types: tuple[Type, ...]) -> Compute | None:
    """The value of such an op of operands of these types."""
    if isinstance(op, _BY_ONE_KERNEL):
        found = _own(op, types)
        if found is not None or type(op) not in solving.SOLVED:
            return found
    many = isinstance(op, Elementwise) and not any(t.dtype.is_half for t in types)
    if not _is_taken(op) or not available():
        return None
    if type(op) in solving.SOLVED and not all(map(is_small, (*types, op.infer(*types)))):
        return solving.in_parts(op, types, value_of) or equations.value_of(op, types, value_of)
    if not (many or all(map(is_small, types)) or isinstance(op, Composite)):
        return None
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", type_) for k, type_ in enumerate(types)]
        out = builder.node(op, *inputs)
    return function_to_one(inputs, out, op.evaluate) or equations.value_of(op, types, value_of)


def _own(op: Op, types: Sequence[Type]) -> Compute | None:
    """An op with a kernel of its own."""
    if not available() or not all(map(has_kernels, types)):
        return None
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", type_) for k, type_ in enumerate(types)]
        out = builder.node(op, *inputs)
    if not _fit(inputs, [out]):
        return None
    try:
        steps = Steps(inputs, [out], small=False)
    except kernels.NoKernel:
        return None

    def of_copies(*arrays: Array) -> Array:
        """Of arrays that do not lie in order, by the same steps."""
        laid = [in_order(x, x.dtype) for x in arrays]
        if all(one is other for one, other in zip(arrays, laid)):
            return op.evaluate(*arrays)
        copied: Array = found(*laid)
        return copied

    found = steps.callable([], turning(op, value_of, of_copies))
    return found


def _function(
    inputs: Sequence[Node], outputs: Sequence[Node | None], slow: Compute, places: int
) -> Compute | None:
    present = [node for node in outputs if node is not None]
    if not _fit(inputs, outputs) or not all(is_small(node.type) for node in present):
        return None
    if not all(has_kernels(node.type) for node in inputs):
        return None
    try:
        steps = Steps(inputs, present)
    except kernels.NoKernel:
        return None
    return steps.callable(_listed(outputs) if places else [], slow)


def _pass(
    inputs: Sequence[Node], outputs: Sequence[Node | None], slow: Compute, places: int
) -> Compute | None:
    if not _fit(inputs, outputs):
        return None
    present = [node for node in outputs if node is not None]
    return one_pass.function_of(inputs, present, _listed(outputs) if places else [], slow)


def _fit(inputs: Sequence[Node], outputs: Sequence[Node | None]) -> bool:
    """Whether there is a native call of so many arrays."""
    few = 1 + len(inputs) + len(outputs) <= MOST_ARRAYS
    return few and available() and any(x is not None for x in outputs)


def _listed(outputs: Sequence[Node | None]) -> list[int]:
    """Which of the outputs that there are stands at each place."""
    numbers = count()
    return [-1 if node is None else next(numbers) for node in outputs]
