"""A function of one example, written down and applied to many; and its derivatives, likewise.

In flow a function and Tensors along whose first axis examples lie, out flow Tensors. The function is traced
at every call, for what it reads, and does besides, nobody else knows; what is done to all examples is its
graph's alone, and known by it (`_KEPT`). Its vjp and its jvp are functions of one example, too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler.errors import TraceError, mirrored
from retrograd.compiler.ir.graph import Array, Builder, Graph, Node, Type
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.passes.batch import Operand, batch
from retrograd.runtime import tracing
from retrograd.runtime.autograd import enable_grad, grad
from retrograd.runtime.autograd.forward import Pushed, pushed
from retrograd.runtime.eager.arrays import function_to_all
from retrograd.runtime.eager.opnodes import type_of
from retrograd.runtime.eager.otherwise import otherwise
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor, new
from retrograd.runtime.tracing import Trace

ForOne = Callable[[Sequence[Tensor]], list[Tensor]]
"""A function of one example: Tensors in, Tensors out."""

_RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
)


class _Program(NamedTuple):
    """A function of one example, written down."""

    function: ForOne
    graph: Graph
    captured: list[Tensor]
    """What the function uses of the world outside, input by input after the examples."""
    draws: dict[int, Any]
    """The random numbers that it draws, by the input that they are."""
    tracked: list[bool]
    """Which outputs have a derivative."""
    size: int
    randomness: str


def apply_to_all(
    function: ForOne, leaves: Sequence[Tensor], size: int, randomness: str
) -> list[tuple[Tensor, bool]]:
    """The outputs for all examples, which lie along the first axis of each leaf, and whether they differ from
    example to example.
    """
    program = _traced(function, leaves, size, randomness)
    operands = [*leaves, *program.captured]
    flags: list[bool] = []
    found = _Mapped.apply(program, flags, *operands)
    outputs = list(found) if isinstance(found, tuple) else [found]
    return list(zip(outputs, flags, strict=True))


@tracing.unbroken
def _traced(function: ForOne, leaves: Sequence[Tensor], size: int, randomness: str) -> _Program:
    examples = [moves.select(x.detach(), 0, 0).clone() for x in leaves]
    for example, leaf in zip(examples, leaves):
        if leaf.requires_grad:
            example.requires_grad_()
    with Trace() as trace:
        for k, example in enumerate(examples):
            trace.adopt(example, label=f"x{k}")
        outputs = function(examples)
        nodes = tuple(trace.lift(x) for x in outputs)
        tracked = [x.requires_grad for x in outputs]
        if trace.mutated or trace.grads:
            raise TraceError(
                "vmap of a function that changes a tensor in place, or calls backward()",
                "what it changes is there once, for all examples",
                "make new tensors, and use func.grad",
            )
    graph = Graph("vmap", tuple(trace.builder.inputs), nodes)
    captured = [trace.captured[node] for node in graph.inputs[len(examples) :]]
    draws = {k: d for d in trace.draws for k, x in enumerate(captured) if x is d.tensor}
    if draws and randomness == "error":
        raise TraceError(mirrored(_RANDOM))
    return _Program(function, graph, captured, draws, tracked, size, randomness)


def _drawn_anew() -> TraceError:
    what = "the derivative of a vmap over random numbers"
    return TraceError(what, "they would be drawn anew", "draw them outside")


class _Mapped(Pushed):
    """The function applied to all examples; its derivative is the pullback applied to all examples."""

    @staticmethod
    def forward(ctx: Any, program: _Program, flags: list[bool], *operands: Tensor) -> Any:
        count = len(operands) - len(program.captured)
        values: list[Any] = list(operands)
        batched = [k < count for k in range(len(operands))]
        for k, draw in program.draws.items():
            shape = draw.tensor._value.shape
            apart = program.randomness == "different"
            numbers = draw.law.draw((program.size, *shape) if apart else shape, draw.generator)
            values[count + k], batched[count + k] = new(numbers, draw.tensor), apart
        found = _applied(program, values, batched)
        flags[:] = [x.batched for x in found]
        outputs = [x.value if isinstance(x.value, Tensor) else new(x.value, operands[0]) for x in found]
        ctx.program, ctx.flags, ctx.count = program, tuple(flags), count
        ctx.drawn = {k: values[count + k] for k in program.draws}
        ctx.save_for_backward(*operands[:count])
        ctx.mark_non_differentiable(*(x for x, there in zip(outputs, program.tracked) if not there))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        program: _Program = ctx.program
        if program.draws:
            raise _drawn_anew()
        leaves = list(ctx.saved_tensors)
        wanted = ctx.needs_input_grad[2:]
        seeds = [
            everywhere(c, flag, program.size) * (1.0 if flag else 1.0 / program.size)
            for c, flag in zip(cotangents, ctx.flags)
        ]
        pulled = iter(_pulled(program, leaves, seeds, wanted))
        found: list[Tensor | None] = [next(pulled) if want else None for want in wanted]
        for k in range(ctx.count, len(wanted)):
            each = found[k]
            found[k] = None if each is None else sum_(each, (0,))
        return (None, None, *found)

    @staticmethod
    def push(ctx: Any, tangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The outputs' tangents, by those of the operands (`autograd.forward`)."""
        program: _Program = ctx.program
        if program.draws:
            raise _drawn_anew()
        leaves = list(ctx.saved_tensors)
        given = tangents[2:]
        pushed_on = _pushed(program, leaves, given)
        return [x if flag or x is None else moves.select(x, 0, 0) for x, flag in zip(pushed_on, ctx.flags)]


class _Straight(NamedTuple):
    """A graph applied to arrays of all examples, as a function."""

    compute: Callable[..., list[Any]] | None
    """None where a result may be a view of an operand, which only Tensors know to be one."""
    batched: list[bool]
    types: list[Type]


_KEPT: dict[Hashable, _Straight | None] = {}
"""By what is done to operands of which types; None for what has been done once, or cannot be kept."""
_MOST = 256


def _applied(program: _Program, values: Sequence[Tensor], batched: Sequence[bool]) -> list[Operand]:
    """The outputs, by steps that are known where the same was done before. The function is run at every call:
    what it reads, and does besides, nobody else knows; what is done to all examples is its graph's alone."""
    arrays: list[Any] = [x._value for x in values]
    straight = _known(program, arrays, batched)
    if straight is None or straight.compute is None:
        with tracing.one_line():
            return batch(program.graph, values, batched, program.size)
    try:
        found = quietly(straight.compute, *arrays)
    except Exception as error:
        return otherwise(error, batch, program.graph, values, batched, program.size)
    told = zip(found, straight.batched, straight.types)
    return [Operand(np.asarray(x), flag, type_) for x, flag, type_ in told]


def _known(program: _Program, arrays: Sequence[Any], batched: Sequence[bool]) -> _Straight | None:
    if not all(type(x) is np.ndarray for x in arrays):
        return None
    key = _key(program, arrays, batched)
    straight = _KEPT.get(key)
    if straight is None and key in _KEPT:
        straight = _KEPT[key] = _straight(program, arrays, batched)
    elif straight is None:
        if len(_KEPT) >= _MOST:
            _KEPT.clear()
        _KEPT[key] = None
    return straight


def _key(program: _Program, arrays: Sequence[Array], batched: Sequence[bool]) -> Hashable:
    graph = program.graph
    number = {node: k for k, node in enumerate(graph.inputs)}
    steps = []
    for node in graph.nodes:
        steps.append((node.op, *[number[x] for x in node.inputs]))
        number[node] = len(number)
    operands = [(x.shape, x.dtype, flag) for x, flag in zip(arrays, batched)]
    return program.size, tuple(operands), tuple(steps), tuple([number[x] for x in graph.outputs])


def _straight(program: _Program, arrays: Sequence[Array], batched: Sequence[bool]) -> _Straight:
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", type_of(x)) for k, x in enumerate(arrays)]
        found = batch(program.graph, inputs, batched, program.size)
        outputs = [x.value if isinstance(x.value, Node) else builder.constant(x.value) for x in found]
    compute = None if any(map(_is_seen, outputs)) else function_to_all(inputs, outputs)
    return _Straight(compute, [x.batched for x in found], [x.type for x in found])


def _is_seen(node: Node) -> bool:
    """Whether a value is an operand or a constant itself, seen in whatever way."""
    while isinstance(node.op, moves.Movement) and node.inputs:
        (node,) = node.inputs
    return not node.inputs


def _pulled(
    program: _Program, leaves: Sequence[Tensor], seeds: Sequence[Tensor], wanted: Sequence[bool]
) -> Iterator[Tensor]:
    """For each example the gradients by what is wanted, of what it is given and of what is captured."""
    count, further = len(leaves), STATE.grad

    def for_one(given: Sequence[Tensor]) -> list[Tensor]:
        with enable_grad():
            own, sources = _own(program, given[:count], wanted)
            outputs = program.function(own)
            pairs = [(y, seed) for y, seed in zip(outputs, given[count:], strict=True) if y.requires_grad]
            found = grad(
                [y for y, _ in pairs], sources, [seed for _, seed in pairs], create_graph=further,
                allow_unused=True,
            )  # fmt: skip
        return [x.detach() * 0 if g is None else g for g, x in zip(found, sources)]

    mapped = apply_to_all(for_one, [*leaves, *seeds], program.size, "error")
    return iter([everywhere(x, batched, program.size) for x, batched in mapped])


def _pushed(program: _Program, leaves: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> list[Tensor]:
    """For each example the outputs' tangents, by those of what it is given and of what is captured."""
    count, further = len(leaves), STATE.grad
    moved = [t is not None for t in tangents]
    along = [everywhere(t, k < count, program.size) for k, t in enumerate(tangents) if t is not None]

    def for_one(given: Sequence[Tensor]) -> list[Tensor]:
        with enable_grad():
            own, sources = _own(program, given[:count], moved)
            outputs = program.function(own)
        found = pushed(outputs, sources, given[count:], further)
        return [y.detach() * 0 if t is None else t for t, y in zip(found, outputs)]

    mapped = apply_to_all(for_one, [*leaves, *along], program.size, "error")
    return [everywhere(x, batched, program.size) for x, batched in mapped]


def _own(
    program: _Program, leaves: Sequence[Tensor], wanted: Sequence[bool]
) -> tuple[list[Tensor], list[Tensor]]:
    """What one example is given, as Tensors of its own where derivatives by them are wanted; and all by
    which they are."""
    own = [
        (x.clone() if x.requires_grad else x.detach().requires_grad_()) if want else x
        for x, want in zip(leaves, wanted)
    ]
    return own, [x for x, want in zip([*own, *program.captured], wanted, strict=True) if want]


def everywhere(x: Tensor, batched: bool, size: int) -> Tensor:
    return x if batched else moves.expand(moves.unsqueeze(x, [0]), (size, *x.shape))
