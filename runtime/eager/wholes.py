"""A function's step as one node: `grad_fn.next_functions` shows the function's operands, as in PyTorch.

A function may take several ops, and so several nodes of the tape, for what is one node in PyTorch. Its last
node bears the function's name, as a `Whole`: text that also says where the operands' cotangents go. Nothing
is done about it until somebody looks (`next_functions`) or listens (`register_hook`). Then `settle` makes
the last node a `Composed` one, whose edges are the operands' and whose backward pass goes through copies of
the nodes between.

In flow a function's name and the arguments of a call, out flows the name for the result's node: `of_call`
after a call, `of_graph` for the steps of a plan. Which arguments PyTorch's node leads to says
`grad_names.ARGUMENTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from retrograd.compiler.ir.graph import Node, Value
from retrograd.compiler.ir.quiet import quietly
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.eager.tape import Edge, GradNode, Shown
from retrograd.runtime.grad_names import ARGUMENTS, Last
from retrograd.runtime.tensor import Tensor

Path = tuple[int, ...]
"""Which edge to take at each node, from the last one to an operand."""


class Whole(Shown):
    """The name of the last of the nodes that stand for one."""

    __slots__ = ()

    def settle(self, node: GradNode) -> None:
        if type(node) is Composed or not isinstance(node, OpNode):
            return
        edges = self.operands(node)
        if all(edge is None for edge in edges):
            return
        if len(edges) == len(node.edges) and all(a is b for a, b in zip(edges, node.edges)):
            return
        between = _between(node, edges)
        if between is not None:
            node.__class__ = Composed
            node.edges, node.inputs, node.out, node.guards = edges, between, None, []


class OfCall(Whole):
    """After a call: the operands' edges as they are."""

    __slots__ = ("edges",)

    edges: tuple[Edge, ...]

    def operands(self, node: GradNode) -> tuple[Edge, ...]:
        return self.edges


class OfGraph(Whole):
    """In a plan: the ways to the operands, None for those that the result does not depend on."""

    __slots__ = ("paths",)

    paths: tuple[Path | None, ...]

    def operands(self, node: GradNode) -> tuple[Edge, ...]:
        return tuple(None if path is None else _followed(node, path) for path in self.paths)


def _followed(node: Edge, path: Path) -> Edge:
    for k in path:
        if node is None:
            return None
        node = node.edges[k]
    return node


# ---- names -------------------------------------------------------------------------------------------------


def of_call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], place: int = 0) -> str:
    """The name of a node that a call has made, for its result in that place."""
    if isinstance(name, Last):
        return name
    whole = OfCall(name)
    edges: list[Edge] = []
    if (chosen := ARGUMENTS.get(name)) is not None:
        for at, key in chosen:
            x = args[at] if at < len(args) else kwargs.get(key)
            edges += map(edge_of, _flat(x)) if isinstance(x, tuple | list) else (edge_of(x),)
    else:
        _add_edges(args, edges)
        if kwargs:
            _add_edges(kwargs.values(), edges)
    whole.edges, whole.place = tuple(edges), place
    return whole


def _add_edges(arguments: Iterable[Any], edges: list[Edge]) -> None:
    """Those of all Tensors of floating point. Every call of a function without a plan comes through here."""
    for x in arguments:
        if isinstance(x, Tensor):
            if x._requires_grad:
                edges.append(edge_of(x))
            elif x.dtype.is_inexact:
                edges.append(None)
        elif type(x) is list or type(x) is tuple:
            _add_edges(x, edges)


def of_graph(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    inputs: Sequence[Node],
    nodes: Sequence[Node],
) -> Callable[[Node], str]:
    """The names of the nodes that a graph's results will have, where each input stands for a Tensor among
    the arguments, in their order.
    """
    if not name or isinstance(name, Last):
        return lambda node: name
    standing = iter(inputs)

    def stand_in(x: Any) -> Any:
        if isinstance(x, Tensor):
            return next(standing)
        return [stand_in(each) for each in x] if isinstance(x, tuple | list) else x

    own = [stand_in(x) for x in args]
    listed = _listed(name, own, {key: stand_in(x) for key, x in kwargs.items()})
    names = {}
    for place, node in enumerate(nodes):
        whole = OfGraph(name)
        whole.paths, whole.place = tuple(None if x is None else _path(node, x) for x in listed), place
        names[node] = whole
    return names.__getitem__


def _listed(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments that PyTorch's node has edges for, None where one is not given."""
    chosen = ARGUMENTS.get(name)
    if chosen is None:
        return [x for x in _flat((*args, *kwargs.values())) if x.dtype.is_inexact]
    found: list[Any] = []
    for place, key in chosen:
        x = args[place] if place < len(args) else kwargs.get(key)
        found += list(_flat((x,))) or [None]
    return found


def _flat(arguments: Sequence[Any]) -> list[Any]:
    """The Tensors among arguments, or the graph nodes that stand for them."""
    found: list[Any] = []
    for x in arguments:
        if isinstance(x, Tensor | Node):
            found.append(x)
        elif isinstance(x, tuple | list):
            found += _flat(x)
    return found


def _path(node: Node, goal: Node) -> Path | None:
    """A way from a node of a graph to one of its inputs."""
    waiting: list[tuple[Node, Path]] = [(node, ())]
    seen = {node}
    for at, path in waiting:
        for k, operand in enumerate(at.inputs):
            if operand is goal:
                return (*path, k)
            if operand not in seen and operand.dtype.is_inexact:
                seen.add(operand)
                waiting.append((operand, (*path, k)))
    return None


# ---- nodes -------------------------------------------------------------------------------------------------


def _between(last: OpNode, edges: Sequence[Edge]) -> tuple[OpNode, ...] | None:
    """Copies of the nodes from the last to the operands, youngest first; None if a way leads elsewhere."""
    ends = {id(edge) for edge in edges}
    copies: dict[int, OpNode] = {}
    waiting = [last]
    while waiting:
        node = waiting.pop()
        copies[id(node)] = _copied(node)
        for edge in node.edges:
            if edge is None or id(edge) in ends or id(edge) in copies:
                continue
            if not isinstance(edge, OpNode):
                return None
            waiting.append(edge)
    _lead_to_each_other(copies, ends)
    return tuple(sorted(copies.values(), key=lambda node: -node.order))


def _lead_to_each_other(copies: Mapping[int, OpNode], ends: Container[int]) -> None:
    """Copies, by what they are copies of, whose edges led to those: or, at the ends, out."""
    for copy in copies.values():
        copy.edges = tuple(edge if id(edge) in ends else copies.get(id(edge)) for edge in copy.edges)


def _copied(node: OpNode) -> OpNode:
    copy: OpNode = object.__new__(type(node))
    for name in ("order", "edges", "op", "inputs", "out", "guards", "shown"):
        setattr(copy, name, getattr(node, name))
    copy.hooks = None
    return copy


class Composed(OpNode):
    """Several steps as one; `inputs` holds their nodes, youngest first."""

    __slots__ = ()

    def settle(self) -> None:
        """It leads where it shall."""

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        wanted = {id(edge) for edge, need in zip(self.edges, needed) if need}
        steps: Sequence[OpNode] = self.inputs or ()
        if create_graph:  # the derivative's history leads to the steps themselves, which `free` would empty
            copies = {id(node): _copied(node) for node in steps}
            _lead_to_each_other(copies, {id(edge) for edge in self.edges})
            steps = tuple(copies.values())
        useful = set(wanted)
        for node in reversed(steps):
            if any(id(edge) in useful for edge in node.edges):
                useful.add(id(node))
        pending: dict[int, Value] = {id(steps[0]): cotangent}
        for node in steps:
            arrived = pending.pop(id(node), None)
            if arrived is None:
                continue
            ways = [id(edge) in useful for edge in node.edges]
            for edge, g, way in zip(node.edges, node.backward(arrived, ways, create_graph), ways):
                if way and g is not None:
                    held = pending.get(id(edge))
                    pending[id(edge)] = g if held is None else quietly(lambda a, b: a + b, held, g)
        return [pending.pop(id(edge), None) if need else None for edge, need in zip(self.edges, needed)]

    def __getattr__(self, name: str) -> Tensor:
        found: Tensor = getattr((self.inputs or (None,))[0], name)
        return found

    def saved_values(self) -> Sequence[Value]:
        return [x for node in self.inputs or () for x in node.saved_values()]

    def holds(self, array: Value) -> bool:
        return any(node.holds(array) for node in self.inputs or ())

    def keep_copy(self, tensor: Tensor) -> None:
        for node in self.inputs or ():
            node.keep_copy(tensor)

    def free(self) -> None:
        for node in self.inputs or ():
            node.free()

    def check_versions(self) -> None:
        for node in self.inputs or ():
            node.check_versions()
