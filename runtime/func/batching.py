"""The trace of a `vmap`: ops are applied to all examples at once, as they come.

In flow a function's operations on Tensors of one example, out flow Tensors of all. A Tensor inside is a node,
as in any trace, so it has the shape of one example; what it is for all examples is `Known` of its node, and a
Tensor of the world outside. So that world keeps its own history, of what is done to all examples, and what is
differentiated inside is recorded inside, beside it. What an op does to operands of certain types is found out
once (`planning`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import Location, TraceError, mirrored
from retrograd.compiler.ir.graph import Array, Builder, Constant, Input, Node, Op, Type, Value, interpret
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import expand
from retrograd.compiler.passes.batch import OfAll, Operand, applied, is_by_formula
from retrograd.runtime.autograd.engine import as_tensor
from retrograd.runtime.eager.opnodes import OpNode, as_operand
from retrograd.runtime.eager.otherwise import otherwise
from retrograd.runtime.eager.record import RECORD
from retrograd.runtime.eager.record import recorded as with_history
from retrograd.runtime.eager.replay import NoKey, keyed, often
from retrograd.runtime.eager.tape import Edge, GradNode, orders
from retrograd.runtime.func.known import Known, known_of, stacked
from retrograd.runtime.func.mapped import recorded
from retrograd.runtime.func.planning import Plan, Rule, as_one_op, planned, ruled
from retrograd.runtime.modes import STATE
from retrograd.runtime.noted import Words
from retrograd.runtime.strided import DeviceArray, steps_of
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Open, Recording, Trace

_RANDOM = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
)

_PLANS: dict[Hashable, Plan | None] = {}
"""By op and sorts of operands; None for what has been done once."""
_RULES: dict[Hashable, Rule | Literal[False] | None] = {}
"""By function and sorts of values; likewise, and False for what cannot be done in one step."""
_FUNCTIONS: dict[Hashable, Op | int] = {}
"""The op that does what a function does, by it and its arguments' types; how often it was met where there is
none yet, and -1 where there is none."""
_MOST = 4096
dtypes.DEPENDENT.extend((_PLANS.clear, _RULES.clear, _FUNCTIONS.clear))


# ---- the builder -------------------------------------------------------------------------------------------


class Batching(Builder):
    """Applies an op to all examples where it is asked for its node."""

    def __init__(self, trace: BatchTrace) -> None:
        super().__init__()
        self.trace = trace
        self.known: dict[Node, Known] = {}

    def enter(self, known: Known) -> Node:
        """The node of what is there already."""
        node = Node(self, _EXAMPLE, (), known.type, None)
        self.known[node] = known
        return node

    def constant(self, value: Any, dtype: Any = None) -> Node:
        array = np.asarray(value, dtype=dtype.numpy if dtype else None)
        known = known_of(array, False, True)
        node = Node(self, Constant(array), (), known.type, None)
        self.known[node] = known
        return node

    def line(self, op: Op, inputs: Sequence[Node]) -> Location | None:
        return None

    def node(self, op: Op, *inputs: Node) -> Node:
        known = self.known
        try:
            operands = [known[x] for x in inputs]
        except KeyError:
            raise TraceError(
                f"{op.name}({', '.join(str(i.type) for i in inputs)})",
                "one operand is a traced value of a trace that has ended or encloses this one",
                "return it from the function that made it, or pass it in as an argument",
            ) from None
        plan = self._plan(op, operands)
        found = self._by_rules(op, operands) if plan is None else self._by_plan(plan, op, operands)
        node = Node(self, op, inputs, found.type, None)
        known[node] = found
        return node

    def _is_tracked(self, operands: Sequence[Known]) -> bool:
        """Whether what is done to them has a history outside."""
        return True in [x.tracked for x in operands] and (STATE.grad or self.trace.recording)

    def _plan(self, op: Op, operands: Sequence[Known]) -> Plan | None:
        """The plan for operands that are plain, made when it is asked for again."""
        key = (op, *[x.sort for x in operands])
        plan = _PLANS.get(key)
        if plan is not None or not operands or None in key[1:]:
            return plan
        if key in _PLANS:
            out = op.infer(*[x.type for x in operands])
            plan = planned(op, operands, out, self.trace.size)
        elif len(_PLANS) >= _MOST:
            _PLANS.clear()
        _PLANS[key] = plan
        return plan

    def _by_plan(self, plan: Plan, op: Op, operands: Sequence[Known]) -> Known:
        arrays = [x.array for x in operands]
        tracked = self._is_tracked(operands)
        if self.trace.outer is not None and (tracked or Node in map(type, arrays)):
            return self._by_rules(op, operands) if plan.shows else self._by_op(plan, operands)
        if tracked:
            with self.trace.outside():
                tensor = plan.steps(*[x.tensor for x in operands])
            return Known(tensor, tensor._value, *plan.told)
        try:
            array = np.asarray(quietly(plan.compute, *arrays))
        except Exception as error:
            return otherwise(error, self._by_rules, op, operands)
        return Known(None, array, *plan.told, (plan.steps, operands) if plan.shows else None)

    def _by_op(self, plan: Plan, operands: Sequence[Known]) -> Known:
        """By one op of the trace around."""
        with self.trace.outside():
            tensor = RECORD.apply(plan.op, [x.value for x in operands])
        return Known(tensor, tensor._value, *plan.told)

    def _by_rules(self, op: Op, operands: Sequence[Known]) -> Known:
        if not operands:
            return known_of(op.evaluate(), False, True)
        out, tracked = op.infer(*[x.type for x in operands]), self._is_tracked(operands)
        with self.trace.outside():
            given = [Operand(x.value, x.batched, x.type) for x in operands]
            found = applied(op, given, out, self.trace.size)
            if tracked and found.batched and is_by_formula(op):
                types, flags = tuple([x.type for x in operands]), tuple([x.batched for x in operands])
                whole = OfAll(op, types, flags, self.trace.size)
                alone = Tensor(found.value._value)
                found = found._replace(value=with_history(whole, [x.value for x in given], alone))
        return known_of(found.value, found.batched, self.trace.planned)

    # ---- several ops in one step ---------------------------------------------------------------------------

    def fused(
        self, key: Hashable, function: Callable[..., Sequence[Value | None]], values: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """What a function, which `key` tells from others, gives for these values."""
        given = [self._given(x) for x in values]
        known = [x for x in given if isinstance(x, Known)]
        tracked, outer = self._is_tracked(known), self.trace.outer
        rule = None if (tracked and outer is not None) else self._rule(key, function, given)
        if not rule:
            return function(*values)
        arrays = [x.array for x in known]
        if tracked:
            with self.trace.outside():
                tensors = [x for x in map(as_tensor, rule.steps(*[x.tensor for x in known])) if x is not None]
            found = _told(tensors, rule)
        elif isinstance(outer, BatchTrace) and Node in map(type, arrays):
            found = self._by_graph(outer, rule, known)
        else:
            try:
                made = quietly(rule.compute, *arrays)
            except Exception as error:
                return otherwise(error, function, *values)
            found = iter([Known(None, np.asarray(x), *told) for x, told in zip(made, rule.there)])
        return [None if told is None else self.enter(next(found)) for told in rule.told]

    def _by_graph(self, outer: BatchTrace, rule: Rule, known: Sequence[Known]) -> Iterator[Known]:
        """In one step of the trace around."""
        with self.trace.outside():
            nodes = [outer.lift(x.tensor) for x in known]
            found = outer.builder.fused(rule.graph, lambda *values: interpret(rule.graph, values), nodes)
        return _told([Tensor(x) for x in found], rule)

    def _given(self, x: Value | None) -> Any:
        if type(x) is Node:
            return self.known[x]
        return known_of(np.asarray(x), False, True) if isinstance(x, np.ndarray | np.generic) else x

    def _rule(self, name: Hashable, function: Callable[..., Any], given: Sequence[Any]) -> Any:
        """The function in one step, where it has been asked for before."""
        key = (name, *[x.sort if isinstance(x, Known) else x for x in given])
        rule = _RULES.get(key)
        if rule is None and not any(isinstance(x, Known) and x.sort is None for x in given):
            if len(_RULES) >= _MOST:
                _RULES.clear()
            rule = _RULES[key] = (ruled(function, given, self.trace.size) or False) if key in _RULES else None
        return rule


def _told(tensors: Sequence[Tensor], rule: Rule) -> Iterator[Known]:
    return iter([Known(x, x._value, *told) for x, told in zip(tensors, rule.there, strict=True)])


_EXAMPLE = Input("example", Type((), dtypes.float32))


# ---- the trace ---------------------------------------------------------------------------------------------


class _Outside:
    """A trace that is not open for a while."""

    __slots__ = ("_grad", "_opened", "_recording")

    def __init__(self, opened: Open, recording: bool) -> None:
        self._opened, self._recording = opened, recording

    def __enter__(self) -> None:
        self._opened.pause()
        self._grad = STATE.grad
        STATE.grad = self._grad or self._recording

    def __exit__(self, *_: object) -> None:
        STATE.grad = self._grad
        self._opened.resume()


class BatchTrace(Trace):
    """A function of one example, under way for all."""

    at_once = True
    words = Words(
        "a vmapped tensor",
        "it stands for all examples, each with elements of its own, so that vmap supports neither .item() "
        "nor data-dependent control flow",
        "each example has a number of its own",
        "choose between values with where(), bound them with clamp(), or loop over the examples",
    )
    builder: Batching

    def __init__(self, size: int, randomness: str) -> None:
        super().__init__()
        self.builder = Batching(self)
        self.size = size
        self.randomness = randomness
        self.outer: Trace | None = STATE.trace
        self.planned = self.outer is None or (self.outer.planned and self.outer.at_once)
        self.born = next(orders)

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self.builder.known = {}  # what has left the function is of no use

    def entered(self, tensor: Tensor, batched: bool = True) -> Tensor:
        """A Tensor of one example, of one along whose first axis all lie."""
        example, array = Tensor(self.builder.enter(known_of(tensor, batched, self.planned))), tensor._value
        if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
            self.lay(example, steps_of(array)[batched:])
        return example

    def whole(self, tensor: Tensor) -> Known:
        """What a Tensor is for all examples."""
        return self.builder.known[self.lift(tensor)]

    def outside(self) -> _Outside:
        """Within, operations are those of the world outside, which are recorded where this trace's are."""
        return _Outside(self._opened[-1], self.recording)

    def adopt(self, tensor: Tensor, label: str) -> Node:
        if tensor._view is not None:
            with self.outside():
                tensor._view.refresh(tensor)
        array = tensor._value
        if isinstance(array, DeviceArray):
            self.device = array.device
        elif isinstance(array, np.ndarray) and not array.flags.c_contiguous:
            self.lay(tensor, steps_of(array))
        node = self.builder.enter(known_of(tensor, False, self.planned))
        self.values[tensor] = node
        self.captured[node] = tensor
        return node

    def updates(self, examples: Sequence[Tensor], wholes: Sequence[Tensor]) -> list[tuple[Tensor, Known]]:
        """The Tensors outside that the function has changed in place, and what they are to become; it was
        given examples of `wholes`."""
        pairs = zip(wholes, map(self.whole, examples), strict=True)
        found = [(whole, known) for whole, known in pairs if known.value is not whole]
        others = [(x, self.builder.known[node]) for x, node in self.mutated.items()]
        if self.grads or any(each.batched for _, each in others):
            raise TraceError(
                "vmap of a function that changes a tensor in place, or calls backward()",
                "what it changes is there once, for all examples",
                "make new tensors, and use func.grad",
            )
        return found + others

    # ---- elements and random numbers -----------------------------------------------------------------------

    def read(self, tensor: Tensor) -> Array | None:
        known = self.whole(tensor)
        if known.batched:
            return None
        with self.outside():
            return known.tensor.read("a value")

    def ask(self, tensor: Tensor, kind: Any) -> Any:
        array = self.read(tensor)
        return None if array is None else kind(array.item())

    def draw(self, draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor | None) -> Tensor:
        """Random numbers of a shape, the same for all examples or for each its own."""
        if self.randomness == "error":
            raise TraceError(mirrored(_RANDOM))
        apart = self.randomness == "different"
        beside = None if like is None else self.whole(like)
        with self.outside():
            there = None if beside is None else beside.tensor
            numbers = draw((self.size, *shape) if apart else tuple(shape), like=there)
        return self.entered(numbers, apart)

    # ---- several ops in one step ---------------------------------------------------------------------------

    def replayed(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What a function of Tensors gives, by one op where there is one that does the same."""
        if not self.planned:
            return function(*args, **kwargs)
        try:
            key, operands = keyed(args, kwargs, self._sort)
        except NoKey:
            return function(*args, **kwargs)
        op = _FUNCTIONS.get((function, key), 0)
        if isinstance(op, int) and op >= 0:
            op = self._one_op((function, key), op, args, kwargs)
        if isinstance(op, int):
            return function(*args, **kwargs)
        if self.lying or (STATE.grad and True in [x._requires_grad for x in operands]):
            return RECORD.apply(op, operands)
        return Tensor(self.builder.node(op, *map(self.lift, operands)))

    def _sort(self, tensor: Tensor) -> Hashable:
        known = self.whole(tensor)
        return known.sort or known.type

    def _one_op(self, key: tuple[Any, tuple[Any, ...]], times: int, args: Any, kwargs: Any) -> Op | int:
        """The op for a function, where it has come as often as pays."""
        if len(_FUNCTIONS) >= _MOST:
            _FUNCTIONS.clear()
        found: Op | int = times + 1
        if times >= often(key[1]):
            found = as_one_op(key[0], args, kwargs) or -1
        _FUNCTIONS[key] = found
        return found

    def cotangents(self, node: OpNode, cotangent: Node, needed: Sequence[bool]) -> Sequence[Value | None]:
        """Those of the operands of an op, by that of its result."""
        op = node.op

        def rule(cotangent: Value, out: Value, *inputs: Value) -> Sequence[Value | None]:
            return cotangents(op, cotangent, out, inputs, needed)

        inputs, out = self._kept(node)
        return self.builder.fused((op, *needed), rule, (cotangent, out, *inputs))

    def tangent(self, node: OpNode, rule: Any, along: Sequence[Value | None], of: Type) -> Value:
        """That of an op's result, of this type, by those of its operands (`autograd.forward`)."""
        op, count = node.op, len(along)

        def pushed(*values: Value) -> Sequence[Value | None]:
            found = rule(op, values[:count], values[-1], values[count:-1])
            return [expand(found, of.shape)]

        inputs, out = self._kept(node)
        (found,) = self.builder.fused((op, "tangent"), pushed, (*inputs, *along, out))
        return found

    def _kept(self, node: OpNode) -> tuple[Sequence[Value], Value]:
        """What an op's node keeps; of the world outside as that has it, with its history where it goes on."""

        def entered(x: Value, edge: Edge) -> Value:
            foreign = type(x) is Node and x.builder is not self.builder
            goes_on = self.recording and edge is not None and isinstance(x, np.ndarray | DeviceArray)
            return self.lift(as_operand(x, edge)) if foreign or goes_on else x

        inputs = node.inputs or ()
        return [entered(x, edge) for x, edge in zip(inputs, node.edges)], entered(node.out, node)

    def one_by_one(
        self, node: GradNode, cotangent: Any, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        """The operands' cotangents at a step that knows arrays alone, for one example after the other."""
        if self.outer is not None:
            raise TraceError(f"vmap of a vmap over {node.name()}", "it knows arrays alone", "use loops")
        several = isinstance(cotangent, list)
        tensors = map(as_tensor, cotangent if several else [cotangent])
        given = [None if c is None else self.whole(c) for c in tensors]
        with self.outside():
            history = STATE.grad

            def backward(k: int) -> list[Tensor | None]:
                each = [None if c is None else c.of_example(k) for c in given]
                values = [x if x is None or history else x._value for x in each]
                return [*map(as_tensor, node.backward(values if several else values[0], needed, history))]

            columns = zip(*[backward(k) for k in range(self.size)])
            parts = [[x for x in column if x is not None] for column in columns]
            found = [stacked(part) if part else None for part in parts]
        entered = [None if x is None else self.entered(x) for x in found]
        return entered if create_graph else [None if x is None else x._value for x in entered]

    # ---- histories -----------------------------------------------------------------------------------------

    def recorded_outside(self) -> AbstractContextManager[None]:
        """Within, passes over histories of the world outside are recorded there."""
        return Recording(self)

    def makers(self, edges: Iterable[Any]) -> list[Trace]:
        last = max([edge.order for edge in edges if isinstance(edge, GradNode)], default=0)
        around = [] if self.outer is None else self.outer.makers(edges)
        return [self, *around] if last > self.born else around

    def cut(self, tensor: Tensor) -> Node:
        node = self.lift(tensor)
        known = self.builder.known[node]
        if not known.tracked:
            return node
        with self.outside():
            alone = known.tensor.detach()
        return self.builder.enter(known_of(alone, known.batched, self.planned))

    def applied(self, function: Any, ctx: Any, operands: Sequence[Any], output: Any) -> Any:
        wholes = [self.whole(x) if isinstance(x, Tensor) else None for x in operands]
        if not self.builder._is_tracked([x for x in wholes if x is not None]):
            return output
        single = not isinstance(output, tuple)
        outputs = recorded(self, function, ctx, wholes, [output] if single else output)
        return outputs[0] if single else tuple(outputs)
