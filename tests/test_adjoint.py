"""The adjoint pass: what it builds, to the letter; that it is the derivative; that it saves as little as can
be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations

import numpy as np
import pytest

from retrograd.compiler.adjoint import CHEAP, Pair, joint, pair, vjp
from retrograd.compiler.dtypes import DType, float32, float64, int64
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.graph import (
    OPS,
    Array,
    Builder,
    Graph,
    Input,
    Node,
    Type,
    Value,
    apply,
    interpret,
    order,
)
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import sum_

Golden = Callable[[str, str], None]


def op(name: str, *operands: Value) -> Value:
    return apply(OPS[name], *operands)  # type: ignore[arg-type]  # rows are instances


def graph_of(
    function: Callable[..., Sequence[Node]], *shapes: tuple[int, ...], dtype: DType = float64
) -> Graph:
    """The graph of a function of nodes; its lines are not shown, so that goldens do not depend on this
    file."""
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input("abcdefgh"[k], Type(shape, dtype)) for k, shape in enumerate(shapes)]
        return Graph("f", tuple(inputs), tuple(function(*inputs)))


def net(x: Node, w1: Node, w2: Node, unused: Node) -> Sequence[Node]:
    return [op("exp", dot(op("tanh", dot(x, w1)), w2))]


def loss(*inputs: Node) -> Sequence[Node]:
    (y,) = net(*inputs)
    return [sum_(y, (0, 1)), y]


NET = ((4, 3), (3, 5), (5, 2), (2,))


def samples(graph: Graph, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(n.shape).astype(n.dtype.numpy) for n in graph.inputs]


def run(
    halves: Pair, primals: Sequence[Array], cotangents: Sequence[Array]
) -> tuple[list[Array], list[Array]]:
    """All of forward's outputs, and the gradients."""
    outputs = interpret(halves.forward, primals)
    held = [*primals, *outputs]
    return outputs, interpret(halves.backward, [*(held[k] for k in halves.saved), *cotangents])


def test_value_and_gradients_are_one_graph(golden: Golden) -> None:
    golden("adjoint_joint.txt", str(joint(graph_of(loss, *NET, dtype=float32), [1, 2, 3])) + "\n")


def test_cotangents_of_a_tensor_are_inputs(golden: Golden) -> None:
    golden("adjoint_vjp.txt", str(vjp(graph_of(net, *NET, dtype=float32), [1])) + "\n")


def test_forward_and_backward_share_saved_values(golden: Golden) -> None:
    halves = pair(graph_of(net, *NET, dtype=float32), [1, 2, 3])
    golden("adjoint_pair.txt", f"{halves.forward}\n\n{halves.backward}\n\nsaved: {halves.saved}\n")


def test_the_gradient_is_the_limit_of_differences() -> None:
    graph = graph_of(loss, *NET)
    primals = samples(graph)
    _, _, *gradients = interpret(joint(graph, [0, 1, 2]), primals)
    for k, gradient in enumerate(gradients):
        direction = np.random.default_rng(9).standard_normal(primals[k].shape)

        def value(step: float, k: int = k, direction: Array = direction) -> float:
            moved = [p + step * direction if i == k else p for i, p in enumerate(primals)]
            return float(interpret(graph, moved)[0])

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        np.testing.assert_allclose(np.vdot(gradient, direction), slope, rtol=1e-7)


def test_the_two_halves_give_what_the_whole_gives() -> None:
    graph = graph_of(net, *NET)
    primals, cotangent = samples(graph), np.random.default_rng(1).standard_normal((4, 2))
    whole = interpret(joint(graph, [0, 1, 2, 3], "given"), [*primals, cotangent])
    outputs, gradients = run(pair(graph, [0, 1, 2, 3]), primals, [cotangent])
    for ours, theirs in zip([outputs[0], *gradients], whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(
        interpret(vjp(graph, [0, 1, 2, 3]), [*primals, cotangent]), gradients, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_an_input_without_influence_has_zeros_of_its_own_type() -> None:
    graph = graph_of(lambda a, b: [sum_(a, (0,))], (3,), (2, 2), dtype=float32)
    _, _, zeros = interpret(joint(graph, [0, 1]), samples(graph))
    np.testing.assert_array_equal(zeros, np.zeros((2, 2), np.float32))
    assert zeros.dtype == np.float32


def test_an_output_twice_adds_its_cotangents() -> None:
    graph = graph_of(lambda a: [a, a], (3,))
    (gradient,) = interpret(vjp(graph, [0]), [np.zeros(3), np.full(3, 2.0), np.full(3, 5.0)])
    np.testing.assert_array_equal(gradient, np.full(3, 7.0))


def test_an_integer_output_takes_no_cotangent() -> None:
    cast_to_int = next(o for o in OPS.values() if isinstance(o, type) and o.name == "cast")
    graph = graph_of(lambda a: [a * a, apply(cast_to_int(int64), a)], (3,))  # type: ignore[call-arg]
    assert [n.op.label for n in vjp(graph, [0]).inputs if isinstance(n.op, Input)] == ["a", "ct0"]


def test_labels_of_cotangents_avoid_those_of_inputs() -> None:
    builder = Builder()
    x = builder.input("ct0", Type((3,), float64))
    graph = vjp(Graph("f", (x,), (x * x,)), [0])
    (gradient,) = interpret(graph, [np.full(3, 2.0), np.full(3, 5.0)])
    np.testing.assert_array_equal(gradient, np.full(3, 20.0))


def test_a_tensor_has_no_derivative_without_cotangent() -> None:
    with pytest.raises(CompilerError, match=r"the derivative of f64\[3\]; only a floating scalar has one"):
        joint(graph_of(lambda a: [a], (3,)), [0])


# ---- what is saved -----------------------------------------------------------------------------------------


def saved_bytes(graph: Graph, halves: Pair) -> int:
    """Bytes moved for saved values: read once, and written once unless they are there anyway."""
    there = len(graph.inputs) + len(graph.outputs)
    return sum(n.type.nbytes * (1 if k < there else 2) for n, k in zip(halves.backward.inputs, halves.saved))


def least_bytes(graph: Graph, wrt: Sequence[int]) -> float:
    """The same by trying all sets of values that could be saved."""
    whole = joint(graph, wrt, "given")
    after = set(whole.inputs[len(graph.inputs) :])
    ordered = order(whole.outputs[len(graph.outputs) :])
    for node in ordered:
        if any(i in after for i in node.inputs):
            after.add(node)
    before = [*graph.inputs, *(n for n in ordered if n not in after and n.inputs)]
    read = {i for n in ordered if n in after for i in n.inputs} & set(before)
    there = {*graph.inputs, *graph.outputs}

    def suffices(kept: Sequence[Node]) -> bool:
        known = {*kept, *(n for n in ordered if not n.inputs)}
        for n in before:
            if n.inputs and isinstance(n.op, CHEAP) and known.issuperset(n.inputs):
                known.add(n)
        return read <= known

    sets = chain.from_iterable(combinations(before, k) for k in range(len(before) + 1))
    return min(sum(n.type.nbytes * (1 if n in there else 2) for n in kept) for kept in sets if suffices(kept))


def gelu_like(a: Node, b: Node) -> Sequence[Node]:
    return [a * op("tanh", (a + b) * 0.8) * op("exp", -(a * a))]


def through_products(a: Node, b: Node) -> Sequence[Node]:
    product = dot(a, b)
    return [op("tanh", op("exp", product) * 2.0) * product]


def scaled_by_its_sum(a: Node, b: Node) -> Sequence[Node]:
    e = op("exp", a)
    return [e / sum_(e, (0, 1)) + b * b]


@pytest.mark.parametrize("function", [gelu_like, through_products, scaled_by_its_sum])
def test_as_little_as_possible_is_saved(function: Callable[..., Sequence[Node]]) -> None:
    graph = graph_of(function, (4, 4), (4, 4))
    halves = pair(graph, [0, 1])
    assert saved_bytes(graph, halves) == least_bytes(graph, [0, 1])
    primals, cotangent = samples(graph), np.random.default_rng(1).standard_normal((4, 4))
    _, gradients = run(halves, primals, [cotangent])
    for ours, theirs in zip(gradients, interpret(vjp(graph, [0, 1]), [*primals, cotangent]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_pointwise_chains_are_computed_again_from_the_input() -> None:
    def deep(a: Node) -> Sequence[Node]:
        for _ in range(2000):
            a = op("tanh", a)
        return [a * a]

    graph = graph_of(deep, (8,))
    halves = pair(graph, [0])
    assert halves.saved == (0,)
    assert len(halves.forward.outputs) == 1


def test_a_product_is_not_computed_twice() -> None:
    halves = pair(graph_of(through_products, (4, 4), (4, 4)), [0, 1])
    recomputed = [n for n in halves.backward.nodes if n.op.name == "dot"]
    assert len(recomputed) == 2  # the two products of the derivative; the forward one was saved
