"""Inside a trace: operations write nodes, the outside is left as it was, data is not known.

In flow functions of small Tensors run under a `Trace`; out flow graphs, whose values are compared with those
of eager mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler.errors import RetrogradError, TraceError
from retrograd.compiler.ir.graph import Graph, Node, interpret
from retrograd.runtime.autograd import Function, grad
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace


def traced(*shapes: tuple[int, ...]) -> tuple[Trace, list[Tensor]]:
    return Trace(), [Tensor(np.arange(1, 1 + int(np.prod(s)), dtype=np.float32).reshape(s)) for s in shapes]


def written(trace: Trace, *outputs: Tensor) -> str:
    with trace:
        return str(Graph("f", tuple(trace.builder.inputs), tuple(trace.lift(y) for y in outputs)))


def evaluated(trace: Trace, *outputs: Tensor) -> list[Any]:
    """What the graph yields for the inputs as they were."""
    from_outside = {node: tensor._value for node, tensor in trace.captured.items()}
    nodes = [y._value if isinstance(y._value, Node) else trace.values[y] for y in outputs]
    graph = Graph("f", tuple(trace.builder.inputs), tuple(nodes))
    return [a.tolist() for a in interpret(graph, [from_outside[n] for n in graph.inputs])]


def test_a_derivative_carries_the_lines_of_what_it_is_the_derivative_of() -> None:
    trace, (x,) = traced((2,))
    x.requires_grad_()
    with trace:
        y = x.sin()
        z = y.exp().sum()
        (g,) = grad(z, x)
        lines = {n.op.name: n.where.line for n in Graph("f", (), (trace.lift(g),)).nodes if n.where}
    first = test_a_derivative_carries_the_lines_of_what_it_is_the_derivative_of.__code__.co_firstlineno
    assert lines["cos"] == first + 4
    assert lines["expand"] == first + 5


def test_operations_write_nodes_and_outside_tensors_are_inputs() -> None:
    trace, (x, w) = traced((2,), (2,))
    with trace:
        trace.adopt(x, "x")
        y = (x * w + 1.0).tanh() * w
    assert isinstance(y._value, Node)
    assert list(trace.captured.values()) == [x, w]
    text = written(trace, y)
    assert "graph f(x: f32[2], captured1: f32[2]) -> f32[2]" in text
    assert "tanh" in text
    assert isinstance(x._value, np.ndarray), "the outside stays as it was"


@pytest.mark.parametrize(
    ("read", "instead"),
    [
        *((read, "choose between values with where()") for read in (bool, float, int, "{:.2f}".format)),
        *((read, "choose between values with where()") for read in (Tensor.item, Tensor.tolist)),
        *((read, "compute with Tensors and their functions") for read in (Tensor.numpy, np.asarray)),
    ],
)
def test_data_is_not_known_inside(read: Any, instead: str) -> None:
    trace, (x,) = traced(())
    with trace:
        trace.adopt(x, "x")
        y = x * 2
        with pytest.raises(TraceError) as caught:
            read(y)
    message = str(caught.value)
    assert message.startswith("test_tracing.py:")
    assert f"its elements are known only when the compiled function runs; {instead}" in message
    with Trace(), pytest.raises(TraceError):
        read(x)


def test_a_value_does_not_outlive_its_trace() -> None:
    trace, (x,) = traced((2,))
    with trace:
        y = x * 2
    with pytest.raises(TraceError, match="the trace has ended"):
        y + 1


def test_a_gradient_inside_is_part_of_the_graph() -> None:
    trace, (x,) = traced((3,))
    x.requires_grad_()
    with trace:
        (g,) = grad((x.exp() * x).sum(), x, create_graph=True)
        assert g is not None
        (h,) = grad((g * g).sum(), x)
        assert h is not None
    arrays = evaluated(trace, g, h)
    (expected,) = grad((x.exp() * x).sum(), x, create_graph=True)
    assert expected is not None
    (second,) = grad((expected * expected).sum(), x)
    assert second is not None
    np.testing.assert_allclose(arrays[0], expected.tolist(), rtol=1e-6)
    np.testing.assert_allclose(arrays[1], second.tolist(), rtol=1e-6)


def test_backward_inside_sets_gradients_for_the_owner() -> None:
    trace, (x,) = traced((2,))
    x.requires_grad_()
    with trace:
        (x * x).sum().backward()
        (x * 3).sum().backward()
        assert x.grad is not None
        assert isinstance(x.grad._value, Node)
    assert x.grad is None, "nothing has happened outside yet"
    (g,) = trace.grads.values()
    assert evaluated(trace, g) == [[5, 7]]


def test_updates_inside_are_noted_for_the_owner() -> None:
    trace, (x, y) = traced((4,), (4,))
    with trace:
        x += y
        x[1:3].mul_(10)
        z = x * 1
    assert x.tolist() == [1, 2, 3, 4]
    assert x._version == 0
    assert list(trace.mutated) == [x]
    assert evaluated(trace, x, z) == [[2, 40, 60, 8]] * 2


def test_views_inside_see_each_others_updates() -> None:
    trace, (x,) = traced((2, 2))
    with trace:
        a = x * 1
        row, flat, alias = a[0], a.view(4), a.detach()
        row.mul_(10)
        flat[3] = 7.0
        alias.add_(1)
    assert evaluated(trace, a * 1 if trace is None else a) == [[[11, 21], [4, 8]]]
    with trace:
        outputs = [row * 1, flat * 1, alias * 1]
    assert evaluated(trace, *outputs) == [[11, 21], [11, 21, 4, 8], [[11, 21], [4, 8]]]


def test_gradients_go_through_updates_inside() -> None:
    trace, (x,) = traced((3,))
    x.requires_grad_()
    with trace:
        a = x * x
        a[:2].mul_(x[1:].detach())
        (g,) = grad(a.sum(), x)
        assert g is not None
    arrays = evaluated(trace, g)
    b = x * x
    b[:2].mul_(x[1:].detach())
    (expected,) = grad(b.sum(), x)
    assert expected is not None
    assert arrays == [expected.tolist()]


def test_a_failed_trace_leaves_the_outside_alone() -> None:
    trace, (x, w) = traced((2,), (2,))
    w.requires_grad_()
    with pytest.raises(ZeroDivisionError), trace:  # noqa: PT012  # the updates come before the error
        x += 1
        (w * x).sum().backward()
        w.requires_grad_(False)
        1 / 0  # noqa: B018  # the error
    assert x.tolist() == [1, 2]
    assert w.grad is None
    assert w.requires_grad
    assert x + 1 is not None


def test_functions_of_the_user_work_inside() -> None:
    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            result: Tensor = g * x * x * 3
            return result

    trace, (x,) = traced((2,))
    x.requires_grad_()
    with trace:
        (g,) = grad(Cube.apply(x).sum(), x)
        assert g is not None
    assert evaluated(trace, g) == [[3, 12]]


def test_memory_that_two_inputs_share_cannot_be_updated() -> None:
    trace, (x,) = traced((4,))
    part = x[:2]
    with trace:
        assert isinstance((part * 1)._value, Node)
        with pytest.raises(TraceError, match="shares its memory"):
            x += 1


def test_a_history_from_before_is_not_baked_in() -> None:
    trace, (x,) = traced((2,))
    x.requires_grad_()
    y = x * x
    with trace, pytest.raises(RetrogradError):
        grad(y.sum(), x)


def test_constants_made_inside_are_known() -> None:
    with Trace():
        assert retrograd.tensor(3.5).item() == 3.5
