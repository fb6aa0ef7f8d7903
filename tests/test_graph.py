"""Graph: nodes are interned, text and graph are the same thing, and what is not a graph is told so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from native import graph_of
from test_random_graphs import programs

from retrograd.compiler import dtypes
from retrograd.compiler.adjoint import joint
from retrograd.compiler.dtypes import float32, float64, int8, int64
from retrograd.compiler.errors import CompilerError, RetrogradError, TraceError
from retrograd.compiler.ir.graph import (
    OPS,
    Array,
    Builder,
    Constant,
    Graph,
    Input,
    Node,
    Op,
    Type,
    Value,
    apply,
    interpret,
)
from retrograd.compiler.ir.parsing import ParseError, parse
from retrograd.compiler.ir.printing import literal, parameters
from retrograd.compiler.ir.verify import verify_graph
from retrograd.compiler.ops.iota import Iota
from retrograd.compiler.ops.loop import Loop
from retrograd.compiler.ops.pool import Frame
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast, pad, reshape

X = np.zeros((3, 4), np.float32)

# ---- nodes -------------------------------------------------------------------------------------------------


def test_equal_nodes_are_one_node() -> None:
    graph = graph_of(lambda x: [rows.sin(rows.add(x, 1.0)), rows.sin(rows.add(x, 1.0))], X)
    assert graph.outputs[0] is graph.outputs[1]


def test_constants_are_equal_by_their_bits() -> None:
    builder = Builder()
    zeros = [builder.constant(0.0, float32), builder.constant(-0.0, float32), builder.constant(0.0, float64)]
    assert len({*zeros}) == 3
    assert builder.constant(np.nan) is builder.constant(np.nan)


def test_nodes_of_two_traces_do_not_mix() -> None:
    x, y = (Builder().input("x", Type((), float32)) for _ in range(2))
    with pytest.raises(TraceError, match="one operand is a traced value of a trace that has ended"):
        rows.add(x, y)


def test_a_number_takes_the_dtype_of_the_last_operand_that_has_one() -> None:
    graph = graph_of(lambda x: rows.where(rows.lt(x, 0.5), 1.0, np.float32(2)), X)
    assert graph.outputs[0].dtype is float32


def test_interpreting_a_graph_with_nodes_builds_it_anew() -> None:
    graph = graph_of(lambda x: rows.mul(rows.exp(x), 2.0), X)
    builder = Builder()
    with builder.at(None):
        x = builder.input("x0", Type(X.shape, float32))
        again = Graph("f", (x,), tuple(interpret(graph, [x])))
    assert str(again) == str(graph)


# ---- text --------------------------------------------------------------------------------------------------


def various(x: Node) -> list[Value]:
    """Every kind of constant and parameter."""
    b = x.builder
    return [
        rows.add(x, np.nan), rows.mul(x, -0.0), rows.mul(x, np.float32(0.1)), rows.div(-np.inf, x),
        b.constant(np.zeros((0, 3))), b.constant(np.array([np.inf, -np.inf, np.nan, -0.0])), b.constant(True),
        b.constant(np.array([[True], [False]])), b.constant(-7, int8), b.node(Iota(Type((5,), int64), 0)),
        reshape(b.constant(3.5, float32), (1, 1)),
        cast(x, int8), rows.add(b.constant(1.0), b.constant(2.0)), pad(x, (1, 0), (0, 2), (0, 0), -np.inf), x,
    ]  # fmt: skip


def test_a_graph_prints_as_people_read_it(golden: Callable[[str, str], None]) -> None:
    golden("graph.txt", f"{graph_of(various, X)}\n")


def test_what_is_printed_is_read_back() -> None:
    graph = graph_of(various, X)
    again = parse(str(graph))
    assert str(again) == str(graph)
    for ours, theirs in zip(interpret(again, [X]), interpret(graph, [X]), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


def test_lines_of_the_user_are_read_back() -> None:
    builder = Builder()
    x = builder.input("w['a, b']", Type((2,), float32))
    graph = Graph("<lambda>", (x,), (rows.add(x, rows.sin(x)),))
    assert "# test_graph.py:" in str(graph)
    assert str(parse(str(graph))) == str(graph)


@given(programs())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_random_graphs_and_their_gradients_are_read_back(case: tuple[Graph, list[Array]]) -> None:
    graph = joint(case[0], range(len(case[1])))
    again = parse(str(graph))
    verify_graph(again)
    assert str(again) == str(graph)
    assert [(n.op, n.type) for n in again.nodes] == [(n.op, n.type) for n in graph.nodes]


SAMPLES: dict[str, object] = {
    "int": -3, "bool": True, "float": np.inf, "str": "mean", "DType": int8, "Type": Type((2, 0), float64),
    "tuple[int, ...]": (4,), "tuple[int, int]": (1, 2), "Array": np.array([[1.5, -0.0]]), "Sizes": (),
    "float | None": 0.5, "Frame": Frame(*[(1,)] * len(Frame.__annotations__)),
}  # fmt: skip
"""A value of each type that a static parameter has."""


@pytest.mark.parametrize(
    "name", [name for name, op in OPS.items() if isinstance(op, type) and op not in (Input, Loop)]
)
def test_the_parameters_of_every_op_are_read_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a loop, a graph among them: `test_control_flow.py`."""
    class_ = OPS[name]
    assert isinstance(class_, type)
    op = class_(**{f.name: SAMPLES[str(f.type)] for f in fields(class_)})  # type: ignore[arg-type]  # a dataclass
    monkeypatch.setattr(class_, "infer", lambda self, *types: Type((), float32))
    text = ", ".join(f"{field}={literal(value)}" for field, value in parameters(op))
    graph = parse(f"graph f() -> f32[] {{\n  %0 = {name}({text}) : f32[]\n  return %0\n}}")
    assert graph.outputs[0].op == op


TEXT = """graph f(x: f32[2], y: f32[2]) -> f32[2] {
  %0 = add(x, y)               : f32[2]
  %1 = reshape(%0, shape=(2,)) : f32[2]
  return %1
}"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("graph f", "f", "line 1 .* begin with a header"),
        ("y: f32[2])", "y f32[2])", "line 1 .* is no input"),
        ("y: f32[2])", "x: f32[2])", "line 1 .* two inputs are called x"),
        ("-> f32[2]", "-> f64[2]", r"line 1 .* outputs are f32\[2\], not f64\[2\]"),
        ("x: f32[2]", "x: f33[2]", "line 1 .* no such element type"),
        ("add(x, y) ", "plus(x, y)", "line 2 .* no op called plus"),
        ("add(x, y)", "add(x, z)", "line 2 .* no value z"),
        ("add(x, y)", "add(x, %7)", "line 2 .* no value %7"),
        ("add(x, y)", "add(1, 2)", "line 2 .* numbers for operands only"),
        ("add(x, y)", "add(x, y", "line 2 .* cannot be read"),
        ("add(x, y)", "input(label='z')", "line 2 .* no op called input"),
        ("add(x, y)", "add(x, y, axis=1)", "line 2 .* add has no parameters"),
        ("add(x, y)", "add(x)", "line 2 .* it takes 2"),
        ("shape=(2,)", "sizes=(2,)", r"line 3 .* has the parameters \['shape'\], not \['sizes'\]"),
        ("shape=(2,)", "shape=(3,)", "line 3 .* invalid for input of size 2"),
        ("shape=(2,)", "shape=2 + 2", "line 3 .* is no literal"),
        (")) : f32[2]", ")) : f32[3]", r"line 3 .* has the type f32\[2\], not f32\[3\]"),
        ("%1 =", "%0 =", "line 3 .* %0 is defined already"),
        ("return %1", "return %2", "line 4 .* no value %2"),
        ("  return %1\n", "", "line 4 .* defines no value"),
        ("\n}", "\n}\n}", "line 5 .* follows the return"),
        ("\n}", "", "line 4 .* the end is missing"),
        (TEXT, "", "line 1 .* begin with a header"),
    ],
)
def test_text_that_is_no_graph_is_refused_with_its_line(old: str, new: str, told: str) -> None:
    assert str(parse(TEXT)) == TEXT
    with pytest.raises(ParseError, match=told) as error:
        parse(TEXT.replace(old, new, 1))
    assert isinstance(error.value, RetrogradError | ValueError)


# ---- validity ----------------------------------------------------------------------------------------------


def test_valid_graphs_are_verified() -> None:
    verify_graph(graph_of(various, X))
    verify_graph(parse(TEXT))


def broken(change: Callable[[Graph], Graph]) -> Graph:
    return change(parse(TEXT))


def wrong_type(graph: Graph) -> Graph:
    (out,) = graph.outputs
    return Graph("f", graph.inputs, (Node(out.builder, out.op, out.inputs, Type((3,), float32), None),))


def twins(graph: Graph) -> Graph:
    (out,) = graph.outputs
    return Graph("f", graph.inputs, (out, Node(out.builder, out.op, out.inputs, out.type, None)))


class Foreign(Op):
    name = "add"

    def infer(self, *types: Type) -> Type:
        return types[0]

    def evaluate(self, *arrays: Array) -> Array:
        return arrays[0]

    def adjoint(self, *_: object) -> list[None]:  # never called
        return []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (wrong_type, r"its op makes f32\[2\]"),
        (twins, "an equal node is there already"),
        (lambda g: Graph("f", g.inputs[:1], g.outputs), "reads the input y, which is not declared"),
        (lambda g: Graph("f", g.inputs[:1], g.inputs[1:]), "the input y .* is not declared"),
        (lambda g: Graph("f", (g.inputs[0],) * 2, g.outputs), "not inputs of different names"),
        (lambda g: Graph("f", (*g.inputs, g.outputs[0]), g.outputs), "not inputs of different names"),
        (
            lambda g: Graph("f", g.inputs, (*g.outputs, parse(TEXT.replace("x", "z")).outputs[0])),
            "not declared",
        ),
        (
            lambda g: Graph("f", g.inputs, (apply(Foreign(), g.inputs[0]),)),
            "no op called add, or another one",
        ),
        (lambda g: Graph("f", g.inputs, (*g.outputs, Builder().constant(1.0))), "of different builders"),
    ],
)
def test_invalid_graphs_are_refused(change: Callable[[Graph], Graph], told: str) -> None:
    with pytest.raises(CompilerError, match=told):
        verify_graph(broken(change))


def test_every_constant_knows_its_type() -> None:
    for dtype in dtypes.ALL:
        constant = Constant(np.ones((2, 1), dtype.numpy))
        assert constant.type == Type((2, 1), dtype)
