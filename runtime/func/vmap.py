"""`vmap`: a function of one example as a function of many.

The function is traced for one example, and its graph applied to all at once (`compiler/passes/batch.py`). The
derivative is batched likewise, and comes from the function's own tape, so that `detach`, `no_grad` and custom
Functions mean what they mean outside: the pullback of one example is a function of one example, too. So
derivatives of derivatives, vmaps of vmaps and compiled functions need nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from retrograd.compiler.errors import ArgumentError, ShapeError, TraceError, mirrored
from retrograd.compiler.ir.graph import Array, Builder, Graph, Node, Type
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.passes.batch import Operand, batch
from retrograd.runtime import tracing
from retrograd.runtime.autograd import Function, enable_grad, grad
from retrograd.runtime.eager.arrays import function_to_all
from retrograd.runtime.eager.opnodes import type_of
from retrograd.runtime.eager.otherwise import otherwise
from retrograd.runtime.functions.public import axis_of
from retrograd.runtime.modes import STATE
from retrograd.runtime.pytree import LEAF, Structure, flatten, unflatten
from retrograd.runtime.tensor import Tensor, new
from retrograd.runtime.tracing import Trace

ForOne = Callable[[Sequence[Tensor]], list[Tensor]]
"""A function of one example: Tensors in, Tensors out."""

_RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
)


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """The function that applies `func` along the axes `in_dims` of its arguments (None: the same for all) and
    stacks the results along `out_dims`.

    `in_dims` and `out_dims` are a number for all, or nest as arguments and results do. Random numbers are an
    error, the "same" for all examples or "different". At most `chunk_size` examples are worked on at a time.
    """
    if randomness not in ("error", "different", "same"):
        raise ArgumentError(
            mirrored(
                f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
            )
        )
    if chunk_size is not None and chunk_size < 1:
        raise ArgumentError(
            mirrored(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
        )

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, in_dims, out_dims, randomness, kwargs)
        leaves, dims, structure, size = call.taken(args)
        step = chunk_size or max(size, 1)
        parts = []
        for start in range(0, max(size, 1), step):
            stop = min(start + step, size)
            chunk = leaves
            if stop - start < size:
                chunk = [x if d is None else moves.narrow(x, d, start, stop) for x, d in zip(leaves, dims)]
            parts.append(call.run(chunk, dims, structure, stop - start))
        return call.joined(parts)

    return mapped


class _Call(NamedTuple):
    """One call of a mapped function."""

    func: Callable[..., Any]
    in_dims: Any
    out_dims: Any
    randomness: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return getattr(self.func, "__name__", repr(self.func))

    def taken(self, args: tuple[Any, ...]) -> tuple[list[Any], list[int | None], Structure, int]:
        """The arguments' leaves, the axis of each that is mapped, their structure, and how many examples."""
        lead = f"vmap({self.name}, in_dims={self.in_dims}, ...)(<inputs>): "
        if not isinstance(self.in_dims, int | tuple | list):
            raise ArgumentError(
                mirrored(
                    f"{lead}expected `in_dims` to be int or a (potentially nested) tuple matching the "
                    f"structure of inputs, got: {type(self.in_dims)}."
                )
            )
        if not args:
            raise ArgumentError(
                mirrored(
                    f"vmap({self.name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are "
                    "trying to vmap over a function with no inputs. The latter is unsupported."
                )
            )
        leaves: list[Any] = []
        structure = flatten(args, leaves, (Tensor, float, int))
        dims = _spread(self.in_dims, structure)
        if dims is None or len(dims) != len(leaves):
            raise ArgumentError(f"{lead}in_dims is not compatible with the structure of `inputs`")
        places = [self._place(x, d, lead) for x, d in zip(leaves, dims)]
        sizes = [x.shape[d] for x, d in zip(leaves, places) if d is not None]
        if not sizes:
            raise ArgumentError(
                f"{lead}at least one input must be mapped", "", "give an axis for one of them in in_dims"
            )
        if len(set(sizes)) > 1:
            raise ShapeError(
                mirrored(
                    "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                    f"{sizes} for the mapped dimension"
                )
            )
        return leaves, places, structure, sizes[0]

    def _place(self, x: Any, dim: Any, lead: str) -> int | None:
        if dim is None:
            return None
        if not isinstance(x, Tensor):
            raise ArgumentError(
                mirrored(
                    f"{lead}Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap "
                    "over non-Tensor arguments, please use None as the respective in_dim"
                )
            )
        if not -x.ndim <= dim < x.ndim:
            raise ArgumentError(
                mirrored(
                    f"{lead}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
                    f"{x.ndim} so expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}."
                )
            )
        return int(dim) % x.ndim

    def run(
        self, leaves: Sequence[Any], dims: Sequence[int | None], structure: Structure, size: int
    ) -> tuple[list[Tensor], list[int], Structure]:
        """The outputs for these examples, batched along the axes that `out_dims` says; their structure."""
        shaped: list[Structure] = []
        chosen = [k for k, d in enumerate(dims) if d is not None]

        def for_one(examples: Sequence[Tensor]) -> list[Tensor]:
            whole = list(leaves)
            for k, x in zip(chosen, examples, strict=True):
                whole[k] = x
            result = self.func(*unflatten(structure, iter(whole)), **self.options)
            outputs: list[Any] = []
            shaped[:] = [flatten(result, outputs, (Tensor, float, int))]
            for x in outputs:
                if not isinstance(x, Tensor):
                    raise ArgumentError(
                        mirrored(
                            f"vmap({self.name}, ...): `{self.name}` must only return Tensors, got type "
                            f"{type(x)}. Did you mean to set out_dims= to None for output?"
                        )
                    )
            return outputs

        first = [_moved(leaves[k], dims[k] or 0, 0) for k in chosen]
        found = apply_to_all(for_one, first, size, self.randomness)
        places = _spread(self.out_dims, shaped[0])
        if places is None or len(places) != len(found):
            raise ArgumentError(
                f"vmap({self.name}, ..., out_dims={self.out_dims})(<inputs>): out_dims is not compatible "
                "with the structure of `outputs`"
            )
        outputs, axes = [], []
        for (x, batched), place in zip(found, places):
            if place is None and batched:
                raise ArgumentError(
                    mirrored(
                        f"vmap({self.name}, ...): `{self.name}` can not return a BatchedTensor when out_dim "
                        "is None"
                    )
                )
            axis = -1 if place is None else axis_of(place, x.ndim + (not batched), "vmap")
            outputs.append(x if place is None else _moved(_everywhere(x, batched, size), 0, axis))
            axes.append(axis)
        return outputs, axes, shaped[0]

    def joined(self, parts: Sequence[tuple[list[Tensor], list[int], Structure]]) -> Any:
        """The results of all chunks as one."""
        outputs, axes, structure = parts[0]
        if len(parts) > 1:
            columns = zip(*(part[0] for part in parts))
            outputs = [moves.concat(list(c), a) if a >= 0 else c[0] for c, a in zip(columns, axes)]
        return unflatten(structure, iter(outputs))


def _spread(dims: Any, structure: Structure) -> list[Any] | None:
    """A number for each leaf, from one for all, or one for each part; None where they do not nest alike."""
    if structure is LEAF:
        return [dims] if dims is None or isinstance(dims, int) else None
    if not isinstance(structure, tuple) or len(structure) != 3:
        return []
    _, names, parts = structure
    if isinstance(dims, dict):
        dims = [dims.get(name) for name in names]
    each = dims if isinstance(dims, tuple | list) else [dims] * len(parts)
    found = [_spread(d, part) for d, part in zip(each, parts)]
    if len(each) != len(parts) or any(x is None for x in found):
        return None
    return [d for x in found if x is not None for d in x]


def _moved(x: Tensor, source: int, target: int) -> Tensor:
    """One axis at another place."""
    if source == target:
        return x
    order = [k for k in range(x.ndim) if k != source]
    order.insert(target, source)
    turned: Tensor = moves.permute(x, order)
    return turned


def _everywhere(x: Tensor, batched: bool, size: int) -> Tensor:
    return x if batched else moves.expand(moves.unsqueeze(x, [0]), (size, *x.shape))


# ---- one function of one example ---------------------------------------------------------------------------


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


class _Mapped(Function):
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
            raise TraceError(
                "the derivative of a vmap over random numbers",
                "they would be drawn anew",
                "draw them outside",
            )
        leaves = list(ctx.saved_tensors)
        wanted = ctx.needs_input_grad[2:]
        seeds = [
            _everywhere(c, flag, program.size) * (1.0 if flag else 1.0 / program.size)
            for c, flag in zip(cotangents, ctx.flags)
        ]
        pulled = iter(_pulled(program, leaves, seeds, wanted))
        found: list[Tensor | None] = [next(pulled) if want else None for want in wanted]
        for k in range(ctx.count, len(wanted)):
            each = found[k]
            found[k] = None if each is None else sum_(each, (0,))
        return (None, None, *found)


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
            own = [
                (x.clone() if x.requires_grad else x.detach().requires_grad_()) if want else x
                for x, want in zip(given[:count], wanted)
            ]
            sources = [x for x, want in zip([*own, *program.captured], wanted, strict=True) if want]
            outputs = program.function(own)
            pairs = [(y, seed) for y, seed in zip(outputs, given[count:], strict=True) if y.requires_grad]
            found = grad(
                [y for y, _ in pairs], sources, [seed for _, seed in pairs], create_graph=further,
                allow_unused=True,
            )  # fmt: skip
        return [x.detach() * 0 if g is None else g for g, x in zip(found, sources)]

    mapped = apply_to_all(for_one, [*leaves, *seeds], program.size, "error")
    return iter([_everywhere(x, batched, program.size) for x, batched in mapped])
