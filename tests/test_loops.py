"""Loops: what lowering and scheduling make computes what the graph says, without LLVM, within bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import loops_interpreter
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from native import assert_close, graph_of
from test_pipeline import column_sums_of_rows, layer_norm, log_sum_exp_and_more, movements, sample, softmax
from test_random_graphs import TOLERANCE, is_close, is_stable, programs

from retrograd.compiler.adjoint import joint
from retrograd.compiler.dtypes import bool_, float32, float64, int64
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.ir.expressions import (
    Buffer,
    Call,
    Convert,
    Expression,
    Load,
    Number,
    Position,
    Space,
    Within,
    operands_first,
)
from retrograd.compiler.ir.graph import Array, Graph, Value, interpret
from retrograd.compiler.ir.index import Axis, Bound, Index, Loaded, as_index
from retrograd.compiler.ir.intervals import Fact, bounds
from retrograd.compiler.ir.loops import (
    Accumulate,
    For,
    Kernel,
    Kind,
    Local,
    Program,
    Statement,
    Store,
    expressions,
)
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.ir.verify import verify_graph, verify_loops
from retrograd.compiler.lower import lower
from retrograd.compiler.ops.contract import dot, transpose
from retrograd.compiler.ops.index import put, put_add, take
from retrograd.compiler.ops.reduce import amax, spread, sum_
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.scan import cumsum
from retrograd.compiler.ops.shape import concat, narrow, squeeze, unsqueeze
from retrograd.compiler.passes.localise import localise
from retrograd.compiler.passes.parts import join_parts
from retrograd.compiler.passes.plan import lifetimes, plan
from retrograd.compiler.passes.rebuild import Expanding, rebuild
from retrograd.compiler.passes.simplify import Simplifying
from retrograd.compiler.schedule import cpu, gpu
from retrograd.compiler.schedule.cpu import schedule
from retrograd.compiler.schedule.machine import Gpu, Machine

MACHINES = (Machine(512, 32), Machine(128, 16))


def stages(graph: Graph, machine: Machine) -> tuple[list[Program], list[Array]]:
    """The loops after each step from lowering on, all valid, and the constants."""
    primitive = join_parts(rebuild(rebuild(graph, Expanding()), Simplifying()))
    verify_graph(primitive)
    serial, constants = lower(primitive)
    found = [serial]
    for step in (localise, lambda p: schedule(p, machine), plan):
        found.append(step(found[-1]))
    for program in found:
        verify_loops(program)
    return found, [c.value for c in constants]


def assert_same(function: Callable[..., Any], *arrays: Array, ulps: float = 64.0) -> None:
    """Every stage computes what the graph says."""
    graph = graph_of(function, *arrays)
    for machine in MACHINES:
        programs_, constants = stages(graph, machine)
        for program in programs_:
            found = loops_interpreter.run(program, [*arrays, *constants])
            for ours, theirs in zip(found, interpret(graph, arrays), strict=True):
                assert_close(ours.reshape(np.shape(theirs)), theirs, ulps, scale=10.0)


@pytest.fixture
def eager_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are shared among threads however small they are."""
    monkeypatch.setattr(cpu, "_PARALLEL_COST", 50)
    monkeypatch.setattr(cpu, "_BLOCK_COST", 20)


# ---- meaning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(), (7,), (3, 5), (2, 3, 4), (0, 3)], ids=str)
def test_movements(sizes: tuple[int, ...]) -> None:
    x = sample(sizes, float64)
    for _, move in movements(sizes):
        assert_same(lambda x, move=move: [move(x), move(rows.add(x, 1.0))], x)


KERNELS = (softmax, layer_norm, log_sum_exp_and_more, column_sums_of_rows)


@pytest.mark.parametrize("function", KERNELS, ids=lambda f: f.__name__)
def test_kernels_of_several_loops(function: Callable[[Value], Any]) -> None:
    for sizes in ((5,), (3, 7), (9, 1), (10, 6), (2, 3, 4)):
        assert_same(function, sample(sizes, float64))


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("function", KERNELS, ids=lambda f: f.__name__)
def test_kernels_in_many_blocks(function: Callable[[Value], Any]) -> None:
    for sizes in ((40,), (13, 7), (3, 50)):
        assert_same(function, sample(sizes, float64))


def test_products() -> None:
    for m, k, n in ((1, 1, 1), (3, 5, 7), (13, 4, 17), (5, 3, 1), (1, 9, 20)):
        a, b = sample((m, k), float64), sample((k, n), float64, 1)
        assert_same(lambda a, b: [dot(a, b), rows.exp(rows.mul(dot(a, b), 0.01))], a, b)


def test_scans_and_indices() -> None:
    x, index = sample((4, 5), float64), np.array([3, -1, 0])
    assert_same(lambda x: [cumsum(x, 0), cumsum(x, 1, True)], x)
    assert_same(lambda x, i: [take(x, i, 0), put_add(take(x, i, 0), i, 0, 4)], x, index)
    assert_same(lambda x, i: put(x, i, np.float64(2.5)), x, index)


@pytest.mark.usefixtures("eager_threads")
@given(programs())
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_random_programs(case: tuple[Graph, list[Array]]) -> None:
    graph, arrays = case
    assume(sum(n.type.size for n in graph.nodes) < 2000)
    whole = joint(graph, range(len(arrays)))
    dtype = graph.inputs[0].dtype
    expected = [np.asarray(value) for value in interpret(whole, arrays)]
    assume(is_stable(whole, arrays, expected, dtype))
    programs_, constants = stages(whole, MACHINES[0])
    for program in programs_:
        for ours, theirs in zip(loops_interpreter.run(program, [*arrays, *constants]), expected, strict=True):
            assert is_close(ours.reshape(theirs.shape), theirs, TOLERANCE[dtype])


@given(programs())
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_launches_of_random_programs_stay_within_their_buffers(case: tuple[Graph, list[Array]]) -> None:
    whole = joint(case[0], range(len(case[1])))
    serial, _ = lower(rebuild(rebuild(whole, Expanding()), Simplifying()))
    verify_loops(plan(gpu.schedule(serial, Gpu("sm_90"))))


# ---- memory ------------------------------------------------------------------------------------------------


def test_intermediate_buffers_share_memory_only_where_their_lives_do_not_meet() -> None:
    def function(x: Value) -> Value:
        for _ in range(6):
            x = rows.tanh(dot(x, x))
        return sum_(x, (0, 1))

    program = stages(graph_of(function, sample((9, 9), float64)), MACHINES[0])[0][-1]
    lives = lifetimes(program)
    spans = {b: (at, at + b.size * b.dtype.itemsize) for b, at in program.arena.items()}
    for a in lives:
        for b in lives:
            if a is not b and lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]:
                assert spans[a][1] <= spans[b][0] or spans[b][1] <= spans[a][0]
    assert program.arena_bytes < sum(b.size * b.dtype.itemsize for b in lives)


# ---- text --------------------------------------------------------------------------------------------------


def test_loops_print_as_people_read_them(golden: Callable[[str, str], None]) -> None:
    def function(x: Value, w: Value) -> list[Value]:
        return [softmax(dot(x, w)), sum_(rows.mul(x, x), (0, 1))]

    graph = graph_of(function, sample((6, 5), float32), sample((5, 33), float32))
    programs_, _ = stages(graph, MACHINES[0])
    names = ("lowered", "localised", "scheduled")
    text = "\n".join(f"==== {name} ====\n\n{p}" for name, p in zip(names, programs_, strict=False))
    golden("loops.txt", text)


def test_a_deep_expression_with_much_in_common_prints_short() -> None:
    def function(x: Value) -> Value:
        for _ in range(200):
            x = rows.sin(rows.add(x, x))
        return x

    program = stages(graph_of(function, sample((3,), float64)), MACHINES[0])[0][0]
    assert len(str(program)) < 100_000


# ---- validity ----------------------------------------------------------------------------------------------

X = Buffer("x", float32, 12, Space.INPUT)
OUT = Buffer("out", float32, 12, Space.OUTPUT)
TEMPORARY = Buffer("t", float32, 12, Space.ARENA)
LOCAL = Buffer("scratch", float32, 4, Space.LOCAL)
I0, I1 = Axis("i", 3), Axis("j", 4)
PLACE = as_index(I0) * 4 + as_index(I1)
ZERO = Number(0, float32)


def program(*body: Statement) -> Program:
    return Program("f", (Kernel("k", body),), (X,), (), (OUT,))


def nest(*body: Statement, kind: Kind = Kind.SERIAL) -> For:
    return For(I0, (For(I1, body, kind),))


def store(value: Expression, place: Index = PLACE) -> Store:
    return Store(OUT, place, value)


def test_a_copy_is_valid() -> None:
    verify_loops(program(nest(store(Load(X, PLACE)))))


def test_a_guarded_shift_is_valid() -> None:
    for shift in (-5, 5):
        place = PLACE + shift
        verify_loops(program(nest(store(Load(X, place, (Bound(place, 0, 12),))))))


def test_a_limited_loop_is_valid() -> None:
    b, i = Axis("b", 2), Axis("i", 8)
    place = as_index(b) * 8 + as_index(i)
    verify_loops(
        program(For(b, (For(i, (store(Load(X, place), place),), limit=(place, 12)),), Kind.PARALLEL))
    )


READ = Call("maximum", (Number(0, int64), Convert(Load(X, PLACE), int64)), int64)
UNKNOWN = as_index(Loaded(READ, 12, frozenset((I0, I1))))
FOREIGN = Buffer("y", float32, 12, Space.INPUT)
INVALID: Sequence[tuple[Program, str]] = (
    (program(nest(store(Load(X, PLACE + 1)))), "runs from 1 to 12, but x has 12 elements"),
    (program(nest(store(ZERO, PLACE - 1))), "runs from -1 to 10, but out has 12"),
    (program(nest(store(ZERO, PLACE * 2))), "to 22, but out has 12"),
    (program(For(I0, (store(Load(X, PLACE)),))), "no loop around it is over j"),
    (program(For(I0, (For(I0, (store(ZERO, as_index(I0)),)),))), "belongs to an outer loop"),
    (program(nest(store(ZERO), kind=Kind.PARALLEL)), "within a loop of kind serial"),
    (program(nest(store(ZERO), kind=Kind.BLOCK)), "within a loop of kind serial"),
    (program(For(I0, (For(I1, (store(ZERO),), Kind.UNROLL),), Kind.VECTOR)), "only serial loops"),
    (program(nest(store(Load(TEMPORARY, PLACE)))), "reads what nobody has written"),
    (program(nest(Accumulate(OUT, PLACE, ZERO, "add", 0))), "accumulates into what nobody has written"),
    (program(nest(store(ZERO), Accumulate(OUT, PLACE, ZERO, "plus", 0))), "no row called plus"),
    (program(nest(store(Call("plus", (ZERO, ZERO), float32)))), "no row called plus"),
    (program(nest(Store(X, PLACE, ZERO))), "it writes an input"),
    (program(nest(store(Number(0, float64)))), "a value of dtype torch.float64"),
    (program(nest(store(ZERO), Store(LOCAL, as_index(I1), ZERO))), "scratch is local to braces elsewhere"),
    (program(Local(LOCAL, (Local(LOCAL, (nest(store(ZERO)),)),))), "no local buffer, or is there already"),
    (program(nest(store(ZERO, UNKNOWN))), "is not known to lie in 0 … 11"),
    (program(nest(store(Load(FOREIGN, PLACE)))), "y is no buffer of the program"),
    (program(nest(Store(TEMPORARY, PLACE, ZERO))), "nothing writes it"),
    (program(For(I0, (For(I1, (store(ZERO),), limit=(as_index(I1) * 2, 5)),))), "does not grow by one"),
    (replace(program(nest(store(ZERO))), arena={TEMPORARY: 8}, arena_bytes=48), "bytes 8 to 56"),
    (replace(program(nest(store(ZERO))), outputs=(X, OUT)), "it is no output buffer"),
)  # fmt: skip


@pytest.mark.parametrize(("wrong", "told"), INVALID, ids=[told for _, told in INVALID])
def test_invalid_loops_are_refused(wrong: Program, told: str) -> None:
    with pytest.raises(CompilerError, match=told):
        verify_loops(wrong)


def test_intervals_hold_for_every_iteration() -> None:
    """Against counting: random indices with divisions, under random facts."""
    random = np.random.default_rng(0)
    i, j = Axis("i", 7), Axis("j", 5)
    for _ in range(300):
        a, b, c, d, e = (int(v) for v in random.integers(-6, 7, 5))
        inner = as_index(i) * a + as_index(j) * b + c
        divisor = int(random.integers(2, 5))
        index = (inner // divisor) * d + (inner % divisor) * e + as_index(j)
        fact = Fact(
            as_index(i) * 2 - as_index(j) + c, int(random.integers(-4, 3)), int(random.integers(3, 9))
        )
        low, high = bounds(index, [fact])
        for x in range(7):
            for y in range(5):
                if fact.low <= 2 * x - y + c <= fact.high:
                    v = a * x + b * y + c
                    assert low <= v // divisor * d + v % divisor * e + y <= high


def test_a_fact_about_a_quotient_tells_about_what_is_divided_further() -> None:
    """Windows of two rows, read by threads of four columns each: row u·16 + t // 8, and the one after it."""
    u, t = Axis("u", 3), Axis("t", 128)
    index = as_index(u) * 48 + as_index(t) // 8 * 3 + as_index(t) // 4 % 2 * 3 + as_index(t) % 4
    facts = [Fact(as_index(t) % 4, 0, 2), Fact(as_index(u) * 32 + as_index(t) // 4, 0, 77)]
    assert bounds(index, facts) == (0, 119)


def test_a_fact_about_a_remainder_tells_about_its_digits() -> None:
    """Row 4 - q of 5 rows of 2, where 2·q + r is 4·k + t % 4: the last k has half a turn only."""
    k, t = Axis("k", 3), Axis("t", 32)
    index = as_index(k) * -4 - ((as_index(t) // 2) % 2) * 2 + as_index(t) % 2 + 8
    assert bounds(index, [Fact(as_index(k) * 4 + as_index(t) % 4, 0, 9)]) == (0, 9)
    pairs = as_index(k) * 32 + (as_index(t) // 2) * 2
    assert bounds(pairs, [Fact(as_index(k) * 32 + t, 0, 33)]) == (0, 32)
    start = as_index(t) + 24  # the first elements of a row, read by threads that begin within one
    assert bounds((start % 40) // 2, [Fact(start % 40, 0, 2)]) == (0, 1)
    random = np.random.default_rng(1)
    for _ in range(100):
        a, b, c, high = (int(v) for v in random.integers(-5, 6, 4))
        fact = Fact(as_index(k) * a + (as_index(t) % 4) * b, -4, high)
        low, most = bounds(as_index(k) * c - ((as_index(t) // 2) % 2) * 3, [fact])
        for x in range(3):
            for y in range(32):
                if -4 <= a * x + b * (y % 4) <= high:
                    assert low <= c * x - y // 2 % 2 * 3 <= most


# ---- expressions -------------------------------------------------------------------------------------------


def test_rewriting_keeps_what_is_shared() -> None:
    load = Load(X, PLACE)
    twice = Call("add", (load, load), float32)
    found = Rewriter(lambda index: index + 1).expression(Call("mul", (twice, twice), float32))
    assert isinstance(found, Call)
    assert found.arguments[0] is found.arguments[1]
    assert len(list(operands_first((found,)))) == 3


def test_an_expression_of_any_depth_is_walked() -> None:
    e: Expression = Position(as_index(I0), float32)
    for _ in range(5000):
        e = Call("neg", (e,), float32)
    assert len(list(operands_first((e,)))) == 5001
    assert Rewriter(lambda index: index).expression(e) is not e
    assert isinstance(Within((Bound(PLACE, 0, 3),), bool_).dtype, type(bool_))


def test_softmax_cross_entropy_reads_its_scores_in_one_nest_and_takes_each_exponential_once() -> None:
    """Also where the weights of the rows depend on a sum over all of them."""

    def loss(x: Value, counts: Value) -> list[Value]:
        share = rows.exp(x - spread(amax(x, [1]), [1], x.shape))
        total = sum_(share, [1])
        weight = spread(counts / sum_(counts, [0]), [1], x.shape)
        return [sum_(rows.log(total), [0]), share * spread(1.0 / total, [1], x.shape) * weight]

    graph = graph_of(loss, sample((64, 40), float64), sample((64,), float64))
    serial, *_ = stages(graph, MACHINES[0])[0]
    readers = [k for k in serial.kernels if serial.inputs[0] in {e.buffer for e in loads(k)}]
    assert len(readers) == 1
    calls = [e.row for e in expressions(readers[0].body) if isinstance(e, Call)]
    assert calls.count("exp") == 1
    assert_same(loss, sample((64, 40), float64), sample((64,), float64))


def test_equal_products_with_exchanged_operands_are_one() -> None:
    graph = graph_of(
        lambda x, y: rows.exp(x * y) - rows.exp(y * x), sample((5,), float64), sample((5,), float64, 1)
    )
    simple = rebuild(graph, Simplifying())
    assert [node.op.name for node in simple.nodes] == ["mul", "exp", "sub"]


def test_negations_leave_products_and_sums_of_equals_are_products() -> None:
    x, y = sample((5,), float64), sample((3, 5), float64, 1)
    for function, names in (
        (lambda x, y: -x * rows.exp(x), ["exp", "mul", "neg"]),
        (lambda x, y: -x * y, ["neg", "mul"]),
        (lambda x, y: x * -y, ["mul", "neg"]),
        (lambda x, y: -x * x + x * -x, ["mul", "constant", "mul", "neg"]),
        (lambda x, y: -x * -x, ["mul"]),
        (lambda x, y: -x * -1.0 * x, ["mul"]),
        (lambda x, y: -1.0 * -x * 2.0, ["constant", "mul"]),
    ):
        graph = graph_of(function, x, y)
        simple = rebuild(graph, Simplifying())
        assert [node.op.name for node in simple.nodes] == names
        assert_close(interpret(simple, [x, y])[0], interpret(graph, [x, y])[0], ulps=0)


def test_powers_of_nought_and_one_are_none() -> None:
    x = np.array([0.0, -2.0, np.nan, np.inf])
    graph = graph_of(lambda x: rows.pow(x, 0.0) * rows.pow(x, 1.0), x)
    simple = rebuild(graph, Simplifying())
    assert not any(node.op.name == "pow" for node in simple.nodes)
    np.testing.assert_array_equal(interpret(simple, [x])[0], interpret(graph, [x])[0])


def loads(kernel: Kernel) -> list[Load]:
    return [e for e in expressions(kernel.body) if isinstance(e, Load)]


def test_gradients_by_rows_read_apart_are_stored_in_their_places() -> None:
    """In the one nest that computes them, whatever the axis; what nobody read is 0."""

    def loss(x: Value) -> Value:
        a, b, c = (squeeze(narrow(x, 0, k, k + 1), [0]) for k in (0, 2, 3))
        return sum_(rows.exp(a * b) * rows.sin(c), [0])

    graph = joint(graph_of(loss, sample((5, 40), float64)), [0])
    serial, *_ = stages(graph, MACHINES[0])[0]
    assert [k.name for k in serial.kernels if loads(k)] == [serial.kernels[0].name]
    assert sum(isinstance(e, Within) for k in serial.kernels for e in expressions(k.body)) == 0
    for axis, sizes in ((0, (5, 40)), (1, (4, 6))):
        assert_same(lambda x, axis=axis: halves_joined(x, axis), sample(sizes, float64))


def test_a_sum_of_short_products_is_one_product() -> None:
    """What else is added is added to it; few, long ones and what others read are computed as they were."""
    for count, inner, read, products in ((5, 2, 0, 1), (5, 2, 1, 2), (3, 2, 0, 3), (5, 20, 0, 5)):

        def total(x: Value, y: Value, z: Value, read: int = read) -> list[Value]:
            rows_of = [[squeeze(narrow(v, 0, k, k + 1), [0]) for k in range(v.shape[0])] for v in (x, y)]
            each = [dot(transpose(a), b) for a, b in zip(*rows_of)]
            return [sum(each, start=z), *(rows.exp(value) for value in each[:read])]

        x, y = sample((count, inner, 9), float64), sample((count, inner, 8), float64, 1)
        z = sample((9, 8), float64, 2)
        joined = join_parts(rebuild(rebuild(graph_of(total, x, y, z), Expanding()), Simplifying()))
        assert [node.op.name for node in joined.nodes].count("dot") == products
        assert_same(total, x, y, z)


def halves_joined(x: Value, axis: int) -> list[Value]:
    """Parts in all roles: computed, read again, an output too, twice the same, and moved."""
    half = x.shape[axis] // 2
    first, rest = narrow(x, axis, 0, half), narrow(x, axis, half, x.shape[axis])
    a, b = rows.exp(first), rows.sin(rest)
    total = sum_(a, [axis])
    return [concat([a, b, a, first], axis), b, concat([unsqueeze(total, [axis]), a], axis), a * 2.0]
