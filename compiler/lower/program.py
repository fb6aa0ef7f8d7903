"""The loops of a whole graph: one kernel per cluster, in serial nests that a schedule then arranges for
its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.expressions import Buffer, Load, Number, Space
from retrograd.compiler.ir.graph import Constant, Graph, Input, Node
from retrograd.compiler.ir.index import Axis, flatten
from retrograd.compiler.ir.loops import Accumulate, For, Kernel, Program, Statement, Store, expressions, walk
from retrograd.compiler.lower.cluster import Cluster, Root, choose_roots, make_clusters
from retrograd.compiler.lower.parts import Part, Stored, find_parts
from retrograd.compiler.lower.reader import MultiIndex, Reader, domain_index
from retrograd.compiler.ops.reduce import Reduction

_LETTERS = "ijklmnpqrstuvw"


def axes_for(domain: Sequence[int], first: int = 0) -> tuple[Axis, ...]:
    """Fresh loop variables `i, j, k, …` over a domain, the names counted from `first`."""
    return tuple(Axis(_LETTERS[(first + k) % len(_LETTERS)], size) for k, size in enumerate(domain))


def nest(axes: Sequence[Axis], body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements within loops over the axes; an axis of one element needs no loop, and nothing is
    done no times."""
    if any(axis.extent == 0 for axis in axes):
        return ()
    inner = tuple(body)
    for axis in reversed(axes):
        if axis.extent != 1:
            inner = (For(axis, inner),)
    return inner


@dataclass(eq=False)
class Lowering:
    """The buffers of a graph, and what its kernels read them through."""

    graph: Graph
    stored: dict[Node, Stored] = field(default_factory=dict)
    inputs: list[Buffer] = field(default_factory=list)
    constants: list[tuple[Buffer, Constant]] = field(default_factory=list)
    outputs: list[Buffer] = field(default_factory=list)

    def buffer(self, node: Node) -> Buffer:
        return self.stored[node].buffer

    def store(self, node: Node, buffer: Buffer) -> None:
        """Say that the node has this buffer for itself."""
        self.stored[node] = Stored.whole(buffer, node.shape)

    def reader(self) -> Reader:
        return Reader(self.stored)


def lower(graph: Graph) -> tuple[Program, tuple[Constant, ...]]:
    """Serial loops for a graph of primitives, and the constants that the caller must supply."""
    lowering = Lowering(graph)
    parts = find_parts(graph)
    roots = choose_roots(graph, parts)
    copies = _assign_buffers(lowering, roots, parts)
    kernels: list[Kernel] = []
    for cluster in make_clusters(roots, lowering.stored, parts):
        if cluster.solo is not None:
            kernels += _nests_of(cluster.solo)(lowering, cluster.solo)
        else:
            kernels.append(_cluster_kernel(lowering, cluster))
    kernels += [_copy(lowering, node, buffer) for node, buffer in copies]
    program = Program(
        graph.name,
        tuple(kernels),
        tuple(lowering.inputs),
        tuple(buffer for buffer, _ in lowering.constants),
        tuple(lowering.outputs),
    )
    return _without_unread_stores(program), tuple(op for _, op in lowering.constants)


def _assign_buffers(
    lowering: Lowering, roots: Sequence[Node], parts: Mapping[Node, Part]
) -> list[tuple[Node, Buffer]]:
    """A place for each input, constant, root and output; the outputs that are copies of another value
    are returned."""
    graph = lowering.graph
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        lowering.inputs.append(Buffer(node.op.label, node.dtype, node.type.size, Space.INPUT))
        lowering.store(node, lowering.inputs[-1])
    for node in graph.nodes:
        if isinstance(node.op, Constant) and node.ndim:
            buffer = Buffer(f"c{len(lowering.constants)}", node.dtype, node.type.size, Space.CONSTANT)
            lowering.constants.append((buffer, node.op))
            lowering.store(node, buffer)
    for k, node in enumerate(roots):
        lowering.store(node, Buffer(f"t{k}", node.dtype, node.type.size, Space.ARENA))
    copies: list[tuple[Node, Buffer]] = []
    rooted = set(roots)
    for k, node in enumerate(graph.outputs):
        buffer = Buffer(f"out{k}", node.dtype, node.type.size, Space.OUTPUT)
        lowering.outputs.append(buffer)
        if node in rooted:
            rooted.discard(node)
            lowering.store(node, buffer)
        else:
            copies.append((node, buffer))
    for node, part in parts.items():
        lowering.stored[node] = part.stored(lowering.stored[part.whole].buffer)
    return copies


def _copy(lowering: Lowering, node: Node, buffer: Buffer) -> Kernel:
    axes = axes_for(node.shape)
    index = domain_index(axes)
    value = lowering.reader().value(node, index)
    return Kernel("copy", nest(axes, [Store(buffer, flatten(index, node.shape), value, node.where)]))


# ---- clusters ----------------------------------------------------------------------------------------------


def _cluster_kernel(lowering: Lowering, cluster: Cluster) -> Kernel:
    rank = cluster.rank if len(cluster.stages) > 1 or _has_row_reduction(cluster) else 0
    outer = axes_for(cluster.domain[:rank])
    before: list[Statement] = []
    inside: list[Statement] = []
    for stage in cluster.stages:
        for root in stage:
            if root.reduced:
                crosses = root.reduced[0] < rank
                (before if crosses else inside).extend(_initialise(lowering, root, () if crosses else outer))
        inner = axes_for(stage[0].domain[rank:], rank)
        reader = lowering.reader()
        inside += nest(inner, [_write(lowering, reader, root, outer + inner) for root in stage])
    return Kernel(_name(cluster), (*before, *nest(outer, inside)))


def _has_row_reduction(cluster: Cluster) -> bool:
    return any(root.reduced and root.reduced[0] > 0 for stage in cluster.stages for root in stage)


def _initialise(lowering: Lowering, root: Root, outer: tuple[Axis, ...]) -> tuple[Statement, ...]:
    """Stores of the identity to all that this root accumulates into, at these outer axes."""
    assert isinstance(root.node.op, Reduction)
    kept = [k for k in range(len(root.domain)) if k not in root.reduced]
    inner = axes_for([root.domain[k] for k in kept[len(outer) :]], len(outer))
    index = lowering.stored[root.node].place(domain_index(outer + inner))
    identity = Number(root.node.op.identity(root.node.dtype), root.node.dtype)
    return nest(inner, [Store(lowering.buffer(root.node), index, identity, root.node.where)])


def _write(lowering: Lowering, reader: Reader, root: Root, axes: tuple[Axis, ...]) -> Statement:
    """The statement that stores one element of a root, or adds one to it."""
    node, index = root.node, domain_index(axes)
    if not isinstance(node.op, Reduction):
        value = reader.define(node, index)
        return Store(lowering.buffer(node), lowering.stored[node].place(index), value, node.where)
    kept: MultiIndex = tuple(i for k, i in enumerate(index) if k not in root.reduced)
    value = reader.value(node.inputs[0], index)
    identity = node.op.identity(node.dtype)
    where = lowering.stored[node].place(kept)
    return Accumulate(lowering.buffer(node), where, value, node.op.combine, identity, node.where)


def _name(cluster: Cluster) -> str:
    """The ops of the roots, in order: `exp_sum_div`."""
    names = list(dict.fromkeys(root.node.op.name for stage in cluster.stages for root in stage))
    return "_".join(names[:4]) + ("_etc" if len(names) > 4 else "")


# ---- clean-up ----------------------------------------------------------------------------------------------


def _without_unread_stores(program: Program) -> Program:
    """Stores to intermediate buffers that nothing loads are dropped: their values were used where they
    were made."""
    written = [s for k in program.kernels for s in walk(k.body) if isinstance(s, Store | Accumulate)]
    unread = {s.buffer for s in written if s.buffer.space is Space.ARENA}
    unread -= {s.buffer for s in written if isinstance(s, Accumulate)}
    if unread:
        unread -= {e.buffer for k in program.kernels for e in expressions(k.body) if isinstance(e, Load)}
    if not unread and all(k.body for k in program.kernels):
        return program

    def keep(statements: Sequence[Statement]) -> tuple[Statement, ...]:
        result: list[Statement] = []
        for s in statements:
            if isinstance(s, For):
                body = keep(s.body)
                if body:
                    result.append(For(s.axis, body, s.kind, s.limit, s.lanes))
            elif not isinstance(s, Store) or s.buffer not in unread:
                result.append(s)
        return tuple(result)

    kernels = tuple(Kernel(k.name, keep(k.body), k.contraction) for k in program.kernels)
    return Program(
        program.name, tuple(k for k in kernels if k.body), program.inputs, program.constants, program.outputs
    )


def _nests_of(node: Node) -> Callable[[Lowering, Node], list[Kernel]]:
    found = NESTS.get(type(node.op))
    if found is None:
        raise TraceError(
            f"{node.op.name} of {node.inputs[0].type} in compiled code",
            "LAPACK does it, which compiled code does not call",
            "compute it outside the compiled function, on the CPU",
            where=node.where,
        )
    return found


NESTS: dict[type, Callable[[Lowering, Node], list[Kernel]]] = {}
"""The loops of ops that have loops of their own; see `nests`."""

__all__ = ["NESTS", "Lowering", "axes_for", "lower", "nest"]
