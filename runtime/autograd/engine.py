"""The backward pass: cotangents of some Tensors in, cotangents of the Tensors they came from out.

Nodes wait in a heap, the youngest first; since each is younger than those it feeds, its cotangent is complete
when its turn comes. Leaves come last, so nothing is written to any `.grad` when a step of the pass fails.
Without `create_graph` cotangents are bare arrays (graph nodes inside a trace), with it they are Tensors, and
so the pass is recorded itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappush
from operator import add, attrgetter

import numpy as np

from retrograd.compiler.errors import ArgumentError, GradientError, TraceError, mirrored, warn
from retrograd.compiler.ir.graph import Node, Value
from retrograd.compiler.ir.quiet import quietly
from retrograd.runtime import tracing
from retrograd.runtime.autograd.blame import line_of, nan_error
from retrograd.runtime.eager.backwards import first, next_strange
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.eager.inplace import add_to
from retrograd.runtime.eager.instant.calls import box
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.eager.tape import Edge, GradNode, Hook, Hooks, Output
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import legacy_name
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor


class Pass:
    """One backward pass. With `wanted` edges, only their cotangents are worked out and kept in `found`."""

    def __init__(self, create_graph: bool, keep: bool, wanted: frozenset[Edge] | None = None) -> None:
        self.create_graph = create_graph
        self.keep = keep
        self.wanted = wanted
        self.found: dict[Edge, Value] = {}
        self.useful: set[Edge] | None = None
        """Nodes on the way to a wanted edge, and the wanted edges; None if all are."""
        self._roots: list[Edge] = []
        self._pending: dict[Edge, Value] = {}
        self._heap: list[GradNode] = []
        self._leaves: list[Tensor] = []
        self._owned: set[Tensor] = set()
        """Leaves whose cotangent is an array that nobody else holds, so that it may become their `.grad`."""

    def run(self, roots: Sequence[tuple[Edge, Value]]) -> None:
        """Work through everything; afterwards `leaf_cotangents` and `found` are complete."""
        self._roots = [edge for edge, _ in roots]
        if self.wanted is not None:
            self.useful = leading_to(self.wanted, self._roots)
        for edge, cotangent in roots:
            self._send(edge, cotangent)
        grad, STATE.grad = STATE.grad, self.create_graph
        before, partial = STATE.partial, self.wanted is not None
        if before is not partial:
            STATE.partial = partial
        try:
            with tracing.recording_outside(grad, self._roots):
                self._walk()
                self._finish()
        finally:
            STATE.grad = grad
            if before is not partial:
                STATE.partial = before

    def _walk(self) -> None:
        """Take all nodes' cotangents to their operands: what is plain natively."""
        known = (
            self._heap, self._pending, self._leaves, self._owned, self.useful, self.wanted, self.found,
            bool(self.keep),
        )  # fmt: skip
        on_arrays = not self.create_graph and STATE.trace is None
        seen: GradNode | None = None
        while True:
            following = next_strange if on_arrays and not STATE.anomaly else first
            node = following(*known, seen)
            if node is None:
                return
            if node is not seen and on_arrays and node.hooks is not None:
                self._pending[node] = passing(node.hooks, self._pending[node], self)
                seen = node
                if not node.hooks.after:
                    continue
            with line_of(node):
                (self._go_on if node is seen else self._step)(node)
            seen = None

    def comes_to(self) -> set[Edge]:
        """The nodes and leaves that the pass works out cotangents of."""
        return _reached(self._roots) if self.useful is None else self.useful

    def _send(self, edge: Edge, cotangent: Value) -> bool:
        """Add to what waits for a node or a leaf; say whether it is the first that comes to a leaf."""
        pending = self._pending
        held = pending.get(edge)
        if held is None:
            pending[edge] = cotangent
            if isinstance(edge, Tensor):
                self._leaves.append(edge)
                return True
            heappush(self._heap, edge)
            return False
        pending[edge] = quietly(add, held, cotangent)
        if isinstance(edge, Tensor):
            self._owned.add(edge)
        return False

    def _step(self, node: GradNode) -> None:
        """Take a node's cotangent to its operands."""
        if node.hooks is not None:
            self._pending[node] = passing(node.hooks, self._pending[node], self)
        self._go_on(node)

    def _go_on(self, node: GradNode) -> None:
        """The same from where the hooks have seen it."""
        cotangent, hooks = self._pending.pop(node), node.hooks
        edges, useful, wanted = node.edges, self.useful, self.wanted
        if useful is not None and wanted is not None:
            if node in wanted:
                self.found[node] = cotangent
            if useful.isdisjoint(edges):
                return
        if type(node) is Output:
            self._deliver(node, cotangent)
            return
        if type(cotangent) is Node and not STATE.trace.at_once:
            _refuse_outside(node)
        if useful is None:
            needed = [edge is not None for edge in edges]
        else:
            needed = [edge in useful for edge in edges]
        take = _watched if STATE.anomaly else type(node).backward
        if tracing.depth and node.of_arrays and STATE.trace is not None and STATE.trace.at_once:
            take = STATE.trace.one_by_one
        grads = take(node, cotangent, needed, self.create_graph)
        if hooks is not None and hooks.after:
            grads = _after(hooks, grads, cotangent, self.create_graph)
        for edge, g, need in zip(edges, grads, needed):
            if need and g is not None:
                first = self._send(edge, g)
                if first and wanted is None and _is_fresh(g, cotangent, grads, node):
                    self._owned.add(edge)
        if not self.keep:
            node.free()

    def _deliver(self, node: Output, cotangent: Value) -> None:
        """The node of several outputs gets the list of their cotangents."""
        parent = node.edges[0]
        held = self._pending.get(parent)
        if held is None:
            held = [None] * parent.outputs
            self._send(parent, held)
        held[node.place] = cotangent

    def _finish(self) -> None:
        """Leaves: hooks first, all of them, then `.grad`."""
        arrived = []
        for leaf in self._leaves:
            cotangent = self._pending[leaf]
            if leaf._leaf is not None:
                cotangent = passing(leaf._leaf, cotangent, self)
                self._owned.discard(leaf)
            if self.wanted is not None:
                self.found[leaf] = cotangent
            else:
                arrived.append((leaf, cotangent))
        for leaf, cotangent in arrived:
            accumulate(leaf, cotangent, leaf in self._owned)


# ---- what arrives ------------------------------------------------------------------------------------------


def _copied(cotangent: Tensor) -> Tensor:
    """A copy with a history, under the name that PyTorch has for it."""
    copy = clone(cotangent)
    if isinstance(copy._edge, OpNode):
        copy._edge.shown = "torch::autograd::CopyBackwards"
    return copy


def accumulate(tensor: Tensor, cotangent: Value, owned: bool = False) -> None:
    """Add to `.grad`. Without `owned`, what becomes `.grad` is a copy."""
    held = tensor._grad
    if isinstance(cotangent, Tensor):
        tensor._set_grad(_copied(cotangent) if held is None else held + cotangent)
    elif held is None:
        tensor._set_grad(Tensor(_kept(cotangent, owned, tensor._value)))
    else:
        add_to(held, cotangent)
    hooks = tensor._leaf
    if hooks is not None:
        for hook in list(hooks.accumulated.values()):
            hook(tensor)


def _kept(cotangent: Value, owned: bool, leaf: Value) -> Value:
    """What becomes `.grad`: itself, if nobody else has it; its elements lie as those of the leaf do."""
    if type(cotangent) is Node:
        return cotangent
    if isinstance(cotangent, DeviceArray):
        return cotangent if owned else cotangent.copy()
    if type(leaf) is not np.ndarray:
        return np.array(cotangent)
    if owned and type(cotangent) is np.ndarray:  # sums to no dimension are none
        alike = cotangent.flags.c_contiguous and leaf.flags.c_contiguous
        if alike or cotangent.strides == leaf.strides:
            return cotangent
    kept = np.empty_like(leaf, cotangent.dtype)
    kept[...] = cotangent
    return kept


def _is_fresh(g: Value, cotangent: Value, grads: Sequence[Value | None], node: GradNode) -> bool:
    """Whether a node has just made this array, and nobody but the engine has it."""
    if g is cotangent or node.holds(g):
        return False
    if type(g) is np.ndarray:
        return g.base is None and (len(grads) == 1 or sum([g is other for other in grads]) == 1)
    if isinstance(g, DeviceArray):
        others = [x for x in (cotangent, *grads) if isinstance(x, DeviceArray)]
        return sum(g.memory is x.memory for x in others) == 1
    return False


# ---- hooks -------------------------------------------------------------------------------------------------


def as_tensor(cotangent: Value) -> Tensor | None:
    """A cotangent as hooks and Functions get it."""
    if type(cotangent) is np.ndarray:
        return box(cotangent)
    if cotangent is None or isinstance(cotangent, Tensor):
        return cotangent
    return Tensor(cotangent if isinstance(cotangent, Node | DeviceArray) else np.asarray(cotangent))


def as_cotangent(given: object, create_graph: bool) -> Value | None:
    """What a hook or a Function returned, as the engine passes it on."""
    if given is None:
        return None
    if not isinstance(given, Tensor):
        raise ArgumentError(mirrored(f"expected Variable, but hook returned '{type(given).__name__}'"))
    if create_graph:
        return given
    return STATE.trace.lift(given) if STATE.trace is not None else given._value


def passing(hooks: Hooks, cotangent: Value, current: Pass) -> Value:
    """Call the hooks that see a cotangent before it goes on; keep it for a Tensor that asked by
    `retain_grad`.
    """
    if hooks.tensor or hooks.before:
        outer, STATE.backward = STATE.backward, current
        try:
            cotangent = _hooked(hooks, cotangent, current.create_graph)
        finally:
            STATE.backward = outer
    keeper = hooks.retained() if hooks.retained is not None else None
    if keeper is not None:
        accumulate(keeper, cotangent)
    return cotangent


def _hooked(hooks: Hooks, cotangent: Value, create_graph: bool) -> Value:
    many = isinstance(cotangent, list)
    for hook in [] if many else list(hooks.tensor.values()):
        before = as_tensor(cotangent)
        changed = hook(before)
        if changed is not None:
            _check_hook(hook, before, changed)
            cotangent = as_cotangent(changed, create_graph)
    for hook in list(hooks.before.values()):
        changed = hook(tuple(map(as_tensor, cotangent if many else [cotangent])))
        if changed is not None:
            values = [
                as_cotangent(c, create_graph) for c in (changed if isinstance(changed, tuple) else (changed,))
            ]
            cotangent = values if many else values[0]
    return cotangent


def _check_hook(hook: Hook, before: Tensor | None, changed: object) -> None:
    """A hook may give other elements, but none of another type."""
    if before is None or not isinstance(changed, Tensor):
        return
    title = getattr(hook, "__name__", "<unknown>")
    if changed.dtype is not before.dtype:
        raise GradientError(
            mirrored(
                f"hook '{title}' has changed the type of value (was {_legacy(before)} got {_legacy(changed)})"
            )
        )
    if changed.shape != before.shape:
        raise GradientError(mirrored(f"hook '{title}' has changed the size of value"))


def _legacy(x: Tensor) -> str:
    return legacy_name(x.dtype, x.device.type)


def _after(
    hooks: Hooks, grads: Sequence[Value | None], cotangent: Value, create_graph: bool
) -> Sequence[Value | None]:
    above = tuple(map(as_tensor, cotangent if isinstance(cotangent, list) else [cotangent]))
    for hook in list(hooks.after.values()):
        changed = hook(tuple(map(as_tensor, grads)), above)
        if changed is not None:
            changed = changed if isinstance(changed, tuple) else (changed,)
            grads = [as_cotangent(c, create_graph) for c in changed]
    return grads


# ---- care --------------------------------------------------------------------------------------------------


def leading_to(wanted: Iterable[Edge], roots: Iterable[Edge]) -> set[Edge]:
    """The nodes from which a wanted edge is reached, and those edges."""
    nodes = [edge for edge in _reached(roots) if isinstance(edge, GradNode)]
    nodes.sort(key=AGE)
    useful = set(wanted)
    for node in nodes:
        if not useful.isdisjoint(node.edges):
            useful.add(node)
    return useful


AGE = attrgetter("order")


def _reached(roots: Iterable[Edge]) -> set[Edge]:
    """All that a pass from these roots could come to."""
    seen: set[Edge] = {None}
    waiting = list(roots)
    while waiting:
        edge = waiting.pop()
        if edge not in seen:
            seen.add(edge)
            if isinstance(edge, GradNode):
                waiting += edge.edges
    seen.discard(None)
    return seen


def _refuse_outside(node: GradNode) -> None:
    """Inside a trace, the values that an operation before it kept would become constants of the graph."""
    if any(isinstance(x, np.ndarray | DeviceArray) for x in node.saved_values()):
        raise TraceError(
            f"backward through {node.name()}, which was recorded before the compiled function was called",
            "its values are not part of the function",
            "pass detach()ed tensors in, or compute this part inside the function",
        )


def _watched(
    node: GradNode, cotangent: Value, needed: Sequence[bool], create_graph: bool
) -> Sequence[Value | None]:
    """The step, in anomaly mode: a NaN is an error, and of errors it is told where the forward step was."""
    try:
        grads = node.backward(cotangent, needed, create_graph)
        if STATE.check_nan:
            _look_for_nan(node, cotangent, grads)
    except Exception:
        stack = node.extras.stack
        told = (
            f"Traceback of forward call that caused the error:\n{stack}"
            if stack
            else "No forward pass information available. Enable detect anomaly during forward pass for more "
            "information."
        )
        warn(f"Error detected in {node.name().rpartition('::')[2]}. {told}")
        raise
    return grads


def _look_for_nan(node: GradNode, cotangent: Value, grads: Sequence[Value | None]) -> None:
    for place, g in enumerate(grads):
        value = g._value if isinstance(g, Tensor) else g
        value = value.host() if isinstance(value, DeviceArray) else value
        if isinstance(value, np.ndarray | np.generic) and np.isnan(value).any():
            name, where = node.blamed(cotangent)
            raise nan_error(name, place, where)
