"""The PyTorch-named functions against PyTorch itself: values, dtypes, shapes, gradients and errors.

A case is one line of text, evaluated once with `t` as PyTorch and once with `t` as Retrograd, on the same
operands (`operands`). To test a function, write a line into its table.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from error_cases import AUTOGRAD_ERRORS, ERRORS, ERRORS_IN_OUR_WORDS
from function_cases import TABLES, lines
from functional_cases import FUNCTIONAL
from further_cases import EDGES
from further_cases import TABLES as FURTHER
from layout_cases import TABLES as LAYOUTS
from special_cases import SPECIAL

import retrograd
from retrograd.compiler.errors import RetrogradError, TraceError
from retrograd.compiler.ir.graph import Array, Constant, Graph, Input, Node, interpret
from retrograd.runtime.tracing import Trace

TOLERANCE = {np.dtype("float64"): 1e-10, np.dtype("float32"): 2e-5, np.dtype("float16"): 2e-2}


def operands(t: Any, dtype: str, requires_grad: bool = True) -> dict[str, Any]:
    """The names that a case may use, made by the library `t`."""
    rng = np.random.default_rng(7)

    def made(array: Any, grad: bool = requires_grad) -> Any:
        tensor = t.tensor(np.asarray(array))
        return tensor.requires_grad_() if grad and tensor.is_floating_point() else tensor

    def random(*shape: int) -> Any:
        return made(rng.standard_normal(shape).astype(dtype))

    found = {
        "t": t,
        "np": np,
        "F": t.nn.functional,
        "x": random(3, 4),
        "y": random(3, 4),
        "c": random(2, 3, 4),
        "d": random(2, 4, 5),
        "a": random(4, 5),
        "q": random(4, 4),
        "v": random(4),
        "w": random(4),
        "u": random(3),
        "s": random(),
        "one": random(1, 4),
        "empty": random(0, 3),
        "zero": made(np.array([[0, 2, 0], [3, 0, 5], [1, 2, 3]]).astype(dtype)),
        "ties": made(np.array([[1, 2, 2], [3, 3, 1], [0, 0, 0]]).astype(dtype)),
        "bad": made(np.array([[np.nan, 2, 1], [np.inf, 0, -np.inf]]).astype(dtype)),
        "i": made(np.array([[5, 2, 7], [2, 0, 9]])),
        "j": made(np.array([2, 0, 1, 2])),
        "k": made(np.array([[0, 1, 2, 0], [2, 2, 1, 0]])),
        "b": made(np.array([[True, False, True, True], [False] * 4, [True] * 4])),
        "row": made(np.array([True, False, True])),
        "image": random(2, 4, 7, 6),
        "line": random(2, 4, 9),
        "kernel": random(6, 4, 3, 2),
        "kernel1": random(6, 4, 3),
        "labels": made(np.array([1, 0, 3])),
        "inf": float("inf"),
        "nan": float("nan"),
    }
    found["n"] = found["c"].transpose(0, 2)  # not contiguous
    return found


def flat(result: Any) -> Iterator[Any]:
    """The tensors and plain values of a result, however nested."""
    if isinstance(result, tuple | list):
        for each in result:
            yield from flat(each)
    else:
        yield result


def compare(ours: Any, theirs: Any) -> None:
    """Equal type, shape and dtype, elements in order where PyTorch's are; values up to rounding."""
    if not hasattr(theirs, "detach"):
        assert str(ours) == str(theirs)
        return
    assert isinstance(ours, retrograd.Tensor)
    assert list(ours.shape) == list(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    assert ours.is_contiguous() or not theirs.is_contiguous()
    expected = theirs.detach().resolve_neg().numpy()
    tolerance = TOLERANCE.get(expected.dtype, 0)
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


def run(case: str, names: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The value of a case and the gradients of a weighed sum of its floating results."""
    t = names["t"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if ";" in case:
            steps, _, last = case.rpartition("; ")
            exec(steps, names)
            result = eval(last, names)
        else:
            result = eval(case, names)
    loss = None
    for each in flat(result):
        if hasattr(each, "requires_grad") and each.requires_grad:
            weights = np.cos(np.arange(int(np.prod(each.shape)))).reshape(tuple(each.shape))
            term = (each * t.tensor(weights).to(each.device, each.dtype)).sum()
            loss = term if loss is None else loss + term
    if loss is None:
        return result, {}
    loss.backward()
    leaves = {name: x for name, x in names.items() if hasattr(x, "is_leaf") and x.is_leaf}
    return result, {name: x.grad for name, x in leaves.items() if x.grad is not None}


def check(case: str, torch: ModuleType, dtype: str) -> None:
    """Three times, for that is when functions replay what they did (`runtime/eager/replay.py`)."""
    theirs, their_gradients = run(case, operands(torch, dtype))
    for _ in range(3):
        ours, our_gradients = run(case, operands(retrograd, dtype))
        compare_all(ours, our_gradients, theirs, their_gradients)


def compare_all(
    ours: Any, our_gradients: dict[str, Any], theirs: Any, their_gradients: dict[str, Any]
) -> None:
    results, expected = list(flat(ours)), list(flat(theirs))
    assert len(results) == len(expected)
    for one, other in zip(results, expected):
        compare(one, other)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        compare(our_gradients[name], gradient)


CASES = [
    case
    for table in (*TABLES.values(), *LAYOUTS.values(), FUNCTIONAL, *FURTHER.values(), SPECIAL)
    for case in table
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_a_function_does_what_pytorch_does(torch: ModuleType, case: str, dtype: str) -> None:
    check(case, torch, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", EDGES)
def test_at_the_edges_too(torch: ModuleType, case: str, dtype: str) -> None:
    check(case, torch, dtype)


HISTORIES = lines("""
    x + 1
    x - y
    x / 2
    x ** 2
    -x
    x.exp()
    x.sum()
    x.mean()
    x.t()
    x.T
    x.transpose(0, 1)
    x.permute(1, 0)
    x.reshape(12)
    x.view(-1)
    c.flatten(1)
    x.unsqueeze(0)
    x[None].squeeze()
    one.expand(3, 4)
    x[0]
    x[1:]
    x[:, 1]
    x[0, 1:]
    x[[0, 1]]
    x[x > 0]
    x.select(1, 2)
    x.narrow(0, 0, 1)
    q @ q
    q.mm(q)
    q.mv(v)
    v.dot(w)
    c.bmm(d)
    t.addmm(q, q, q)
    x.double()
    x.clone()
    t.cat([x, y])
    t.stack([x, y])
    t.where(x > 0, x, y)
    x.gather(0, t.zeros(1, 4, dtype=t.int64))
    x.index_select(0, t.tensor([1]))
    x.repeat(2, 1)
    x.roll(1)
    x.flip(0)
    q.tril()
    q.triu(1)
    x.softmax(1)
    x.log_softmax(1)
    x.norm()
    x.std()
    x.cumsum(0)
    x.sort()[1 - 1]
    x.topk(2)[0]
    x.split(2)[1]
    x.chunk(2)[0]
    x.unbind()[2]
    F.relu(x)
    F.gelu(x)
    F.linear(x, q, v)
    F.mse_loss(x, y)
    F.cross_entropy(x, labels)
    F.layer_norm(x, (4,))
    F.embedding(j, x)
    F.conv2d(image, kernel)
""")


@pytest.mark.parametrize("case", HISTORIES)
def test_a_history_bears_pytorchs_name(torch: ModuleType, case: str) -> None:
    """At the first call, at the one that is noted, and when it is replayed."""
    expected = eval(case, operands(torch, "float32")).grad_fn.name()
    names = operands(retrograd, "float32")
    assert [eval(case, names).grad_fn.name() for _ in range(3)] == [expected] * 3


# ---- inside a trace ----------------------------------------------------------------------------------------

NEED_VALUES = (
    ".nonzero", "argwhere", "unique", "bincount", "histc", "masked_select", " in i", "t.where(b)",
    "x[b]", "x[row", "c[:, b]", "x[x > 0]", "t.tensor(x", "one_hot(k)",
    "is_nonzero", "rng_state",
)  # fmt: skip
"""What marks a case that has to look at elements: inside a trace it is a TraceError."""


def value(case: str, names: dict[str, Any]) -> list[Any]:
    steps, _, last = case.rpartition("; ")
    exec(steps, names)
    return list(flat(eval(last, names)))


def _elements(node: Node, drawn: Array | None, given: dict[str, Any]) -> Array:
    """What an input of a case's graph is: numbers drawn for it, or an operand."""
    return given[node.op.label] if drawn is None and isinstance(node.op, Input) else drawn


@pytest.mark.filterwarnings("ignore::UserWarning")  # told in test_warnings
@pytest.mark.parametrize("case", CASES)
def test_a_trace_holds_what_eager_mode_computes(case: str) -> None:
    names = operands(retrograd, "float32")
    given = {name: x._value for name, x in names.items() if isinstance(x, retrograd.Tensor)}
    with Trace() as trace:
        for name in given:
            trace.adopt(names[name], label=name)
        if any(mark in case for mark in NEED_VALUES):
            with pytest.raises(TraceError):
                list(map(trace.lift, value(case, names)))
            return
        results = [x for x in value(case, names) if isinstance(x, retrograd.Tensor)]
        outputs = tuple(trace.lift(x) for x in results)
    graph = Graph("case", tuple(trace.builder.inputs), outputs)
    drawn = {draw.tensor: draw.sample() for draw in trace.draws}
    taken = {node: drawn.get(tensor) for node, tensor in trace.captured.items()}
    found = interpret(graph, [_elements(node, taken.get(node), given) for node in graph.inputs])

    expected = [x for x in value(case, operands(retrograd, "float32")) if isinstance(x, retrograd.Tensor)]
    assert len(found) == len(expected)
    for ours, eager in zip(found, expected):
        assert (ours.shape, ours.dtype) == (tuple(eager.shape), eager.dtype.numpy)
        np.testing.assert_allclose(ours, eager.detach().numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "case",
    lines("""
        F.rrelu(x, training=True)
    """),
)
def test_random_numbers_that_depend_on_elements_are_refused_in_a_trace(case: str) -> None:
    names = operands(retrograd, "float32")

    with Trace(), pytest.raises(TraceError, match="draw outside and pass the numbers in as an argument"):
        value(case, names)


def test_a_factory_in_a_trace_bakes_no_array() -> None:
    with Trace() as trace:
        made = (
            retrograd.zeros(1000, 1000)
            + retrograd.arange(1000)
            + retrograd.eye(1000)
            + retrograd.linspace(0, 1, 1000)
        )
        graph = Graph("made", (), (trace.lift(made),))

    constants = [node.op.value.size for node in graph.nodes if isinstance(node.op, Constant)]
    assert max(constants) == 1


# ---- errors ------------------------------------------------------------------------------------------------


def failure(case: str, t: Any) -> Exception:
    """How a case fails."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is what the tests ask
        run(case, operands(t, "float32"))
    return caught.value


def builtin(error: Exception) -> type[Exception]:
    """What a program catches."""
    kind = type(error)
    return RuntimeError if kind.__module__ != "builtins" or kind is NotImplementedError else kind


def refuse_alike(torch: ModuleType, case: str) -> None:
    theirs, ours = failure(case, torch), failure(case, retrograd)

    assert isinstance(ours, RetrogradError)
    assert isinstance(ours, builtin(theirs))
    assert str(ours) == str(theirs).splitlines()[0]


@pytest.mark.parametrize("case", ERRORS)
def test_a_failure_says_what_pytorch_says(torch: ModuleType, case: str) -> None:
    refuse_alike(torch, case)


@pytest.mark.parametrize("case", AUTOGRAD_ERRORS)
def test_autograd_refuses_in_pytorchs_words(torch: ModuleType, case: str) -> None:
    errors = []
    for t in (torch, retrograd):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is what the test asks
            exec(case, operands(t, "float32"))
        errors.append(caught.value)
    theirs, ours = errors

    assert isinstance(ours, RetrogradError)
    assert isinstance(ours, builtin(theirs))
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("line", ERRORS_IN_OUR_WORDS)
def test_a_failure_has_pytorchs_class_and_our_words(torch: ModuleType, line: str) -> None:
    case, _, words = line.partition("   ->   ")
    theirs, ours = failure(case, torch), failure(case, retrograd)

    assert isinstance(ours, RetrogradError)
    assert isinstance(ours, builtin(theirs))
    assert words in str(ours)


def test_an_error_names_the_users_line() -> None:
    x = retrograd.zeros(2, 3)

    with pytest.raises(RetrogradError, match=r"test_functions\.py:\d+: sum\(dim=2\)") as caught:
        x.sum(2)
    assert str(caught.value).startswith("Dimension out of range")
