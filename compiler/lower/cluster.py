"""Which nodes are stored, and which of those share a loop nest.

A *root* is a node that gets memory: an output, an op with loops of its own, a reduction, or a pointwise
value that costs more to compute again than to keep. A *cluster* is a group of roots computed by one nest:
some outer axes in common (`rank` of them) and within them *stages*, one after the other, each a nest over
the remaining axes of its roots.

    sum(f(x)) with its gradient   one stage over x
    softmax over rows             outer axis: rows;  stages: maximum, sum of exp, quotient

A root may join a cluster if each cluster-mate that it reads is either at the very same place of the same
stage, or is complete within the same outer iteration: then an earlier stage suffices. Clusters run in
order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from retrograd.compiler.ir.graph import Constant, Graph, Input, Node
from retrograd.compiler.ir.index import Axis
from retrograd.compiler.lower.parts import Part, Stored, made_of
from retrograd.compiler.lower.reader import MultiIndex, Reader, domain_index
from retrograd.compiler.ops.contract import Dot
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.reduce import Reduction
from retrograd.compiler.ops.row import Elementwise, Types
from retrograd.compiler.ops.shape import Cast, Concat, Movement

_FUNCTION_COST, _PLAIN_COST = 10, 1
"""Weights of a transcendental and of any other pointwise op, in units of a load."""
_KEEP_ABOVE = 8
"""A pointwise value that is used in several places, or by more elements than it has, is kept above this
weight."""
_DEEPEST = 50
"""A pointwise value on which an expression of so many steps would rest is stored, so that no expression
is deeper. Where it is read at the same place, that costs nothing."""
_MOST_ROOTS = 512
"""A cluster takes no more: values would not stay in registers, and LLVM's time grows faster than its code."""
_ROWS_TO_SHARE, _SMALL = 8, 1 << 15
"""Rows are fused into one nest if there are so many of them, or if the whole is small: else threads would
starve."""


@dataclass(eq=False)
class Root:
    """A stored node with its iteration space."""

    node: Node
    domain: tuple[int, ...]
    reads: list[tuple[Node, MultiIndex]]
    axes: tuple[Axis, ...]
    """The axes in which `reads` are written."""
    leaves: frozenset[Node]
    """The inputs, and the nodes with loops of their own, on which it rests."""

    @property
    def reduced(self) -> tuple[int, ...]:
        """The axes over which the root reduces."""
        return self.node.op.axes if isinstance(self.node.op, Reduction) else ()


@dataclass(eq=False)
class Cluster:
    """Roots that share a nest; a solo cluster holds one node whose op writes its own loops."""

    stages: list[list[Root]]
    rank: int
    """How many leading axes all stages share."""
    solo: Node | None = None
    members: dict[Node, tuple[Root, int]] = field(default_factory=dict)
    """Each root by its node, with its stage."""
    after: set[Cluster] = field(default_factory=set)
    """The clusters that it reads, which run before it."""
    leaves: set[Node] = field(default_factory=set)
    """The inputs, and the nodes with loops of their own, on which its members rest."""

    @property
    def domain(self) -> tuple[int, ...]:
        return self.stages[0][0].domain

    def add(self, root: Root, stage: int) -> None:
        if stage == len(self.stages):
            self.stages.append([])
        self.stages[stage].append(root)
        self.keep(root, stage)
        self.leaves |= root.leaves

    def keep(self, root: Root, stage: int) -> None:
        """Say that this stage completes the root."""
        self.members[root.node] = (root, stage)


# ---- roots -------------------------------------------------------------------------------------------------


def is_expression(node: Node) -> bool:
    """Can the node be computed at any one index, without loops of its own?"""
    return isinstance(node.op, _AT_ANY_INDEX) or type(node.op) in INLINE


_AT_ANY_INDEX = (Elementwise, Movement, Cast, Iota, Constant, Input)
INLINE: set[type] = set()
"""Further ops with a value at every index: the gathers."""


def choose_roots(graph: Graph, parts: Mapping[Node, Part]) -> list[Node]:
    """The nodes to store, parts of others among them, each after those that it rests on."""
    nodes = graph.nodes
    consumers: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        for i in node.inputs:
            consumers[i].append(node)
    roots = {n for n in graph.outputs if not isinstance(n.op, Input | Constant)}
    roots.update(n for n in nodes if n in parts or not is_expression(n))
    for node in nodes:
        if not is_expression(node):
            roots.update(b for i in node.inputs if needs_memory(node) and (b := _base(i, roots)) is not None)
    weight: dict[Node, int] = {}
    depth: dict[Node, int] = {}
    for node in nodes:
        depth[node] = 1 + max((depth[i] for i in node.inputs if i in depth and i not in roots), default=0)
        if depth[node] > _DEEPEST:
            roots.add(node)
        weight[node] = _own_weight(node) + sum(1 if i in roots else weight.get(i, 1) for i in node.inputs)
        if node not in roots and isinstance(node.op, Elementwise | Cast) and weight[node] >= _KEEP_ABOVE:
            uses = _uses(node, consumers)
            if len(uses) > 1 or any(u.type.size > node.type.size for u in uses):
                roots.add(node)
    return [n for n in nodes if n in roots]


def needs_memory(node: Node) -> bool:
    """Does the op read its operands so often that they must be stored?"""
    return isinstance(node.op, Dot) or type(node.op) in REREADING


REREADING: set[type] = set()


def _base(node: Node, roots: set[Node]) -> Node | None:
    """The computed node below some movement; None if that is stored anyway."""
    while isinstance(node.op, Movement) and node not in roots:
        node = node.inputs[0]
    return None if isinstance(node.op, Input | Constant) or node in roots else node


def _own_weight(node: Node) -> int:
    if isinstance(node.op, Elementwise):
        return _FUNCTION_COST if node.op.types is Types.FLOAT else _PLAIN_COST
    return _PLAIN_COST if isinstance(node.op, Cast) or type(node.op) in INLINE else 0


def _uses(node: Node, consumers: dict[Node, list[Node]]) -> list[Node]:
    """The nodes that compute with a node, movement between them left out."""
    found: list[Node] = []
    for user in consumers[node]:
        if isinstance(user.op, Movement):
            moved = _uses(user, consumers)
            found += moved or [user]
            if user.type.size > node.type.size:
                found.append(user)
        else:
            found.append(user)
    return found


# ---- clusters ----------------------------------------------------------------------------------------------


def make_clusters(
    roots: Iterable[Node], stored: Mapping[Node, Stored], parts: Mapping[Node, Part]
) -> list[Cluster]:
    """The roots in groups, in an order in which they can run. `stored` also holds inputs and constants."""
    clusters: list[Cluster] = []
    wholes = made_of(parts)
    owner: dict[Node, Cluster] = {}
    analysis = _Analysis(stored)
    for node in roots:
        root = analysis.root(node)
        read: dict[Cluster, int] = defaultdict(int)
        for n, _ in root.reads:
            if n in owner:
                read[owner[n]] += n.type.size
        together = {owner[part] for part in wholes.get(node, ())}
        if len(together) == 1:
            (home,) = together
            home.keep(_whole(root, wholes[node]), max(home.members[p][1] for p in wholes[node]))
        elif not is_expression(node) and not isinstance(node.op, Reduction):
            home = Cluster([[root]], 0, solo=node, members={node: (root, 0)})
            clusters.append(home)
        else:
            home = _home(clusters, root, read)
        home.after.update(c for c in read if c is not home)
        owner[node] = home
    return clusters


def _whole(root: Root, parts: Sequence[Node]) -> Root:
    """A concatenation that is there once its parts are. Its axes are those that it has in common with each of
    them, before that along which they lie one after the other."""
    node = root.node
    assert isinstance(node.op, Concat)
    common = min(node.op.axis, *(_common(part.shape, node.shape) for part in parts))
    return replace(root, domain=node.shape[:common])


def _home(clusters: list[Cluster], root: Root, read: Mapping[Cluster, int]) -> Cluster:
    """The cluster that the root joined, or its own. Those of which it reads most come first; what else it
    reads is then moved before them. Then those that run late enough anyway."""
    for cluster in sorted(read, key=lambda c: -read[c]):
        k = clusters.index(cluster)
        earlier = _below((c for c in read if c is not cluster), set(clusters[k:]))
        if cluster not in earlier and _join(cluster, root):
            late = [c for c in clusters[k:] if c in earlier]
            clusters[k:] = [*late, *(c for c in clusters[k:] if c not in earlier)]
            return cluster
    last = max((clusters.index(c) for c in read), default=0)
    for cluster in clusters[last:]:
        if _join(cluster, root):
            return cluster
    cluster = Cluster([[]], _rank(root))
    cluster.add(root, 0)
    clusters.append(cluster)
    return cluster


def _below(clusters: Iterable[Cluster], among: set[Cluster]) -> set[Cluster]:
    """Those `among` them that are these clusters, or that these rest on."""
    found: set[Cluster] = set()
    stack = list(clusters)
    while stack:
        c = stack.pop()
        if c in among and c not in found:
            found.add(c)
            stack.extend(c.after)
    return found


class _Analysis:
    """Of roots, what each reads, and where, in terms of axes that all have who have its domain."""

    def __init__(self, stored: Mapping[Node, Stored]) -> None:
        self._stored = stored
        self._readers: dict[tuple[int, ...], tuple[tuple[Axis, ...], Reader]] = {}
        self._leaves: dict[Node, frozenset[Node]] = {}

    def root(self, node: Node) -> Root:
        domain = node.inputs[0].shape if isinstance(node.op, Reduction) else node.shape
        if domain not in self._readers:
            axes = tuple(Axis(f"i{k}", size) for k, size in enumerate(domain))
            self._readers[domain] = axes, Reader(self._stored)
        axes, reader = self._readers[domain]
        leaves = _leaves(node, self._leaves)
        if not (is_expression(node) or isinstance(node.op, Reduction)):
            return Root(node, domain, [(n, ()) for n in _stored_below(node, self._stored)], axes, leaves)
        index = domain_index(axes)
        reduced = isinstance(node.op, Reduction)
        value = reader.value(node.inputs[0], index) if reduced else reader.definition(node, index)
        reads = [reader.places[e] for e in value.whole if e in reader.places]
        return Root(node, domain, reads, axes, leaves)


def _stored_below(node: Node, stored: Mapping[Node, Stored]) -> list[Node]:
    found: list[Node] = []
    stack, seen = list(node.inputs), set[Node]()
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n in stored:
            found.append(n)
        else:
            stack.extend(n.inputs)
    return found


def _rank(root: Root) -> int:
    """How many leading axes a nest of this root alone may share with later stages."""
    return root.reduced[0] if root.reduced and root.reduced[0] > 0 else len(root.domain)


def _join(cluster: Cluster, root: Root) -> bool:
    """Put the root into the cluster, if it fits and gains by it."""
    if cluster.solo is not None or len(cluster.members) >= _MOST_ROOTS:
        return False
    mates = [(n, index) for n, index in root.reads if n in cluster.members]
    if not mates and not (root.domain == cluster.domain and cluster.leaves & root.leaves):
        return False
    rank = min(cluster.rank, _rank(root), _common(cluster.domain, root.domain))
    first = 0
    for node, index in mates:
        mate, made_in = cluster.members[node]
        if not mate.reduced and mate.domain == root.domain and index == domain_index(root.axes):
            first = max(first, made_in)
            continue
        rank = min(rank, _kept_together(mate, root, index))
        first = max(first, made_in + 1)
        if rank == 0:
            return False
    stage = next(
        (k for k in range(first, len(cluster.stages)) if cluster.stages[k][0].domain == root.domain), None
    )
    if (stage is None or len(cluster.stages) > 1) and not _worth_rows(cluster, root, rank):
        return False
    cluster.rank = rank
    cluster.add(root, len(cluster.stages) if stage is None else stage)
    return True


def _worth_rows(cluster: Cluster, root: Root, rank: int) -> bool:
    return rank > 0 and (prod(root.domain[:rank]) >= _ROWS_TO_SHARE or prod(cluster.domain) <= _SMALL)


def _kept_together(mate: Root, root: Root, index: MultiIndex) -> int:
    """How many leading axes of `root` lead to the same leading axes of what it reads from `mate`."""
    kept = [k for k in range(len(mate.domain)) if k not in mate.reduced]
    count = 0
    for place, i in enumerate(index[: len(kept)]):
        same = kept[place] == place and place < len(root.axes) and mate.domain[place] == root.domain[place]
        if not same or i != domain_index(root.axes)[place]:
            break
        count += 1
    return count


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _leaves(node: Node, known: dict[Node, frozenset[Node]]) -> frozenset[Node]:
    """What a node's operands rest on: inputs, and nodes with loops of their own."""
    waiting = [node]
    while waiting:
        n = waiting[-1]
        inner = [i for i in n.inputs if not _is_leaf(i)]
        missing = [i for i in inner if i not in known]
        if missing:
            waiting += missing
            continue
        own = frozenset(i for i in n.inputs if _is_leaf(i))
        known[n] = own.union(*(known[i] for i in inner))
        waiting.pop()
    return known[node]


def _is_leaf(node: Node) -> bool:
    return isinstance(node.op, Input) or not is_expression(node)
