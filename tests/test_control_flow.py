"""`scan`, `while_loop` and `cond`: eagerly, compiled as loops, and differentiated, once and twice."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import (
    ArgumentError,
    DimensionError,
    LinearAlgebraError,
    ShapeError,
    TraceError,
)
from retrograd.compiler.ir.graph import Graph, interpret
from retrograd.compiler.ir.parsing import parse
from retrograd.compiler.ops.loop import Loop
from retrograd.compiler.passes.fission import fission
from retrograd.compiler.passes.trim import trim

Function = Callable[..., Any]
SIZES = {"xs": (6, 2, 3), "h": (2, 4), "w": (4, 4), "u": (3, 4)}


def operands(dtype: rg.dtype = rg.float64, seed: int = 0) -> list[rg.Tensor]:
    generator = np.random.default_rng(seed)
    arrays = [generator.normal(size=size) * 0.5 for size in SIZES.values()]
    return [rg.tensor(array, dtype=dtype, requires_grad=True) for array in arrays]


# ---- what is looped ----------------------------------------------------------------------------------------


def recurrent(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """A recurrent layer, all of its states and the last."""

    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x @ u).tanh()
        return h, h * 2

    last, states = rg.scan(step, h, xs)
    return last.pow(2).sum() + states.cos().sum()


def from_behind(xs: Any, h: Any, w: Any, u: Any) -> Any:
    last, states = rg.scan(lambda h, x: ((h @ w).sin() + x @ u, h), h, xs, reverse=True)
    return (last * states[0]).sum()


def nested_carry(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """Two states that change places, a counter, and rows of two operands."""

    def step(carry: dict[str, Any], row: Any) -> Any:
        x, y = row
        a, (b, n) = carry["a"], carry["rest"]
        return {"a": b, "rest": (a * 0.5 + x @ u, n + 1)}, {"y": y * n, "x": x.exp()}

    (carry, ys) = rg.scan(step, {"a": h, "rest": (h * 2, 0)}, (xs, xs.sum((1, 2))))
    return (carry["a"] * carry["rest"][0]).sum() + (ys["y"] * ys["x"].sum((1, 2))).sum() + carry["rest"][1]


def mapped(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """Nothing goes from turn to turn that the rows need."""
    _, ys = rg.scan(lambda n, x: (n + 1, (x @ u).softmax(-1) @ w), rg.tensor(0), xs)
    return ys.square().sum()


def summed(xs: Any, h: Any, w: Any, u: Any) -> Any:
    total, _ = rg.scan(lambda total, x: (total + (h.T @ (x @ u)), None), w * 0, xs)
    return total.sin().sum()


def along_last(xs: Any, h: Any, w: Any, u: Any) -> Any:
    last, ys = rg.scan(lambda c, x: (c * 0.5 + x, c * x), xs[:, :, 0], xs, dim=-1)
    assert ys.shape == xs.shape
    return (last.sum() * ys).sum()


def until_large(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """As many turns as it takes; the number is a result, too."""
    found, turns = rg.while_loop(
        lambda y, n: y.square().sum() < 1e4,
        lambda y, n: (y @ (w + rg.eye(4) * 2).to(y.dtype) + h, n + 1),
        (h, 0),
    )
    return (found * turns).sum()


def root(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """Newton's square root of what is positive."""
    a = xs.square() + 1
    (found,) = rg.while_loop(lambda y: (y * y - a).abs().max() > 1e-4, lambda y: ((y + a / y) * 0.5,), (a,))
    return found.sum()


def no_turn(xs: Any, h: Any, w: Any, u: Any) -> Any:
    (found,) = rg.while_loop(lambda y: y.sum() > 1e9, lambda y: (y @ w,), (h,))
    return found.square().sum()


def branching(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """What is not chosen would be NaN, and so would be its derivative."""

    def step(h: Any, x: Any) -> Any:
        m = x.sum()
        y = rg.cond(m > 0, lambda h: h * m.sqrt(), lambda h: (h @ w) * (-m).sqrt(), (h,))
        return y, y.sum()

    last, sums = rg.scan(step, h, xs)
    return last.sum() + sums.sum()


def loops_in_loops(xs: Any, h: Any, w: Any, u: Any) -> Any:
    def outer(h: Any, x: Any) -> Any:
        g, _ = rg.scan(lambda g, row: ((g @ w).tanh() + row @ u, None), h, rg.stack([x, x * 2]))
        (n,) = rg.while_loop(lambda y: y.abs().sum() > 0.5, lambda y: (y * 0.5 + g * 0.01,), (g,))
        return n + g, n

    last, ys = rg.scan(outer, h, xs)
    return (last * ys.sum(0)).sum()


def solving(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """LAPACK in each turn."""
    a = w @ w.T + rg.eye(4, dtype=w.dtype)
    last, _ = rg.scan(lambda h, x: (rg.linalg.solve(a, (h + x @ u).T).T, None), h, xs)
    return last.sum()


def written(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """Elements at places that depend on the turn."""

    def step(table: Any, n: Any) -> Any:
        return table.index_copy(0, n[None], (table[n] + xs[n].sum())[None]), table[n].prod()

    table, products = rg.scan(step, w, rg.tensor([0, 2, 1, 3, 2]))
    return table.square().sum() + products.sum()


CASES = [
    recurrent, from_behind, nested_carry, mapped, summed, along_last, until_large, root, no_turn, branching,
    loops_in_loops, solving, written,
]  # fmt: skip


def tolerance(dtype: rg.dtype) -> dict[str, float]:
    return {"rtol": 1e-9, "atol": 1e-10} if dtype is rg.float64 else {"rtol": 2e-4, "atol": 2e-4}


@pytest.mark.parametrize("dtype", [rg.float64, rg.float32], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_compiled_loop_is_what_it_is_eagerly(case: Function, dtype: rg.dtype) -> None:
    given = operands(dtype)
    value = case(*given)
    wanted = rg.autograd.grad(value, given, allow_unused=True, materialize_grads=True)
    compiled = rg.compile_grad(case)
    got, gradients = compiled.value_and_grad(*given)
    rg.testing.assert_close(got, value.detach(), **tolerance(dtype))
    for found, right in zip(gradients, wanted, strict=True):
        rg.testing.assert_close(found, right, **tolerance(dtype))
    assert compiled.specialisations == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_loop_is_differentiated_twice(case: Function) -> None:
    given = operands()

    def slope(*given: Any) -> Any:
        found = rg.autograd.grad(case(*given), given, create_graph=True, allow_unused=True)
        return sum((x * x).sum() for x in found if x is not None)

    wanted = rg.autograd.grad(slope(*given), given, allow_unused=True, materialize_grads=True)
    compiled = rg.compile_grad(slope).value_and_grad(*given)[1]
    outside = rg.compile_grad(case)
    first = rg.autograd.grad(outside(*given), given, create_graph=True, allow_unused=True)
    total = sum((x * x).sum() for x in first if x is not None)
    again = rg.autograd.grad(total, given, allow_unused=True, materialize_grads=True)
    for right, inside, apart in zip(wanted, compiled, again, strict=True):
        rg.testing.assert_close(inside, right, rtol=1e-7, atol=1e-8)
        rg.testing.assert_close(apart, right, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    "case", [recurrent, until_large, branching, loops_in_loops], ids=lambda c: c.__name__
)
def test_the_two_halves_of_a_loop(case: Function) -> None:
    """A result that is no scalar: what the way back needs is kept, or computed again."""
    given = operands()

    def both(*given: Any) -> Any:
        return rg.stack([case(*given), case(*given[:1], *(x * 0.9 for x in given[1:]))])

    cotangent = rg.tensor([1.5, -0.5], dtype=rg.float64)
    wanted = rg.autograd.grad(both(*given), given, cotangent, allow_unused=True, materialize_grads=True)
    result = rg.compile_grad(both)(*given)
    found = rg.autograd.grad(result, given, cotangent, allow_unused=True, materialize_grads=True)
    for right, got in zip(wanted, found, strict=True):
        rg.testing.assert_close(got, right, rtol=1e-9, atol=1e-10)


def test_finite_differences_agree() -> None:
    given = operands()
    for case in (recurrent, until_large, loops_in_loops):
        assert rg.autograd.gradcheck(rg.compile_grad(case), given)


def test_scan_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    scan = pytest.importorskip("torch._higher_order_ops.scan").scan
    xs = np.arange(12.0).reshape(3, 4)
    for dim, reverse in ((0, False), (0, True), (1, False), (1, True)):
        init = np.zeros(xs.shape[1 - dim])
        right = scan(
            lambda c, x: (c * 0.5 + x, c * x), torch.tensor(init), torch.tensor(xs), dim=dim, reverse=reverse
        )
        got = rg.scan(
            lambda c, x: (c * 0.5 + x, c * x), rg.tensor(init), rg.tensor(xs), dim=dim, reverse=reverse
        )
        for one, other in zip(got, right, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


# ---- what becomes of them ----------------------------------------------------------------------------------


def graph_of(case: Function) -> Graph:
    graph: Graph = rg.compile_grad(case).trace(*operands()).joint
    return graph


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_text_of_a_loop_is_read_back(case: Function) -> None:
    text = str(graph_of(case))
    assert str(parse(text)) == text
    arrays = [x.detach().numpy() for x in operands()]
    program = rg.compile_grad(case).value_and_grad(*operands())
    value, *gradients = interpret(parse(text), arrays)
    np.testing.assert_allclose(value, program[0].item(), rtol=1e-9)
    for found, right in zip(gradients, program[1], strict=True):
        np.testing.assert_allclose(found, right.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_fission_and_trimming_keep_the_values(case: Function) -> None:
    graph = graph_of(case)
    arrays = [x.detach().numpy() for x in operands()]
    for changed in (trim(graph), fission(graph)):
        for found, right in zip(interpret(changed, arrays), interpret(graph, arrays), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-10)


def products_in(graph: Graph) -> list[int]:
    """How many products the bodies of its loops hold."""
    loops = [n.op for n in graph.nodes if isinstance(n.op, Loop)]
    return [sum(n.op.name == "dot" for n in op.body.nodes) for op in loops]


def test_products_that_no_turn_waits_for_leave_the_loop() -> None:
    graph = graph_of(recurrent)
    assert products_in(graph) == [2, 4]
    assert products_in(fission(graph)) == [1, 1]
    assert products_in(fission(graph_of(summed))) == []


def test_a_loop_keeps_what_the_way_back_reads_and_no_more() -> None:
    (forward, back) = [n.op for n in graph_of(recurrent).nodes if isinstance(n.op, Loop)]
    assert isinstance(forward, Loop)
    assert isinstance(back, Loop)
    assert [n.op.name for n in forward.body.outputs] == ["tanh", "mul", "tanh"]
    assert "tanh" not in {n.op.name for n in back.body.nodes}


def test_what_is_compared_for_equality_is_not_computed_again() -> None:
    """Another kernel may round otherwise, and then no element would be the greatest."""

    def below(x: Any) -> Any:
        z = (-x.square()).exp() * 1.1
        return z - z.amax(1, keepdim=True)

    halves = rg.compile_grad(below).trace(rg.randn(3, 5, requires_grad=True))._recording.halves
    assert "amax" in {n.op.name for n in halves.forward.nodes}
    assert "eq" not in {n.op.name for n in halves.backward.nodes}

    def looped(h: Any) -> Any:
        return rg.scan(lambda h, n: (below(h), None), h, rg.arange(5))[0].sum()

    graph = rg.compile_grad(looped).trace(rg.randn(3, 5, requires_grad=True)).joint
    (_, back) = [n.op for n in graph.nodes if isinstance(n.op, Loop)]
    assert isinstance(back, Loop)
    (equal,) = [n for n in back.body.nodes if n.op.name == "eq"]
    kept = set(back.body.inputs)
    assert all(n in kept or set(n.inputs) <= kept for n in equal.inputs)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_is_one_loop(kind: str) -> None:
    rg.manual_seed(0)
    layer = getattr(rg.nn, kind)(3, 5, num_layers=2, bidirectional=True).double()
    x = rg.randn(70, 2, 3, dtype=rg.float64, requires_grad=True)
    wanted = [x, *layer.parameters()]

    def loss(x: Any) -> Any:
        outputs, state = layer(x)
        parts = state if isinstance(state, tuple) else (state,)
        return outputs.sin().sum() + sum(part.square().sum() for part in parts)

    right = rg.autograd.grad(loss(x), wanted)
    compiled = rg.compile_grad(loss)
    for found, each in zip(rg.autograd.grad(compiled(x), wanted), right, strict=True):
        rg.testing.assert_close(found, each, rtol=1e-9, atol=1e-10)
    assert sum(isinstance(n.op, Loop) for n in compiled.trace(x).graph.nodes) == 4


def test_what_is_not_chosen_is_not_done() -> None:
    """Not even where it is the same in all turns, and could be done before."""
    singular, places = rg.zeros(3, 3), rg.tensor([0, 9, 1])

    @rg.compile_grad
    def guarded(xs: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = rg.cond(x.sum() > 100, lambda: rg.linalg.solve(singular, xs[0]), lambda: h + x)
            return rg.cond(x.sum() > 100, lambda: xs[0][places], lambda: h), None

        return rg.scan(step, rg.zeros(3), xs)[0].sum()

    @rg.compile_grad
    def never(xs: Any) -> Any:
        def turn(h: Any) -> Any:
            return (h + xs[0][places] + rg.linalg.solve(singular, xs[0]),)

        return rg.while_loop(lambda h: h.sum() > 1e9, turn, (xs[0],))[0].sum()

    assert guarded.grad(rg.ones(4, 3)).tolist() == np.ones((4, 3)).tolist()
    assert never.grad(rg.ones(4, 3)).sum().item() == 3
    with pytest.raises((LinearAlgebraError, DimensionError)):
        guarded(rg.ones(4, 3) * 100)


def test_one_program_serves_any_number_of_turns() -> None:
    @rg.compile_grad
    def doubled(x: Any) -> Any:
        return rg.while_loop(lambda y: y.norm() < 1000, lambda y: (y * 2,), (x,))[0].sum()

    for start in (1.0, 300.0, 1e-200, 2.0):
        turns = 0
        while start * 2**turns * 3**0.5 < 1000:
            turns += 1
        np.testing.assert_array_equal(doubled.grad(np.full(3, start)), np.full(3, 2.0**turns))
    assert doubled.specialisations == 1


def test_numbers_alone_are_looked_at_while_tracing() -> None:
    @rg.compile_grad
    def power(x: Any) -> Any:
        return rg.while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, y * x), (0, x))[1]

    assert power(rg.tensor(2.0)).item() == 16
    assert "loop" not in str(power.trace(rg.tensor(2.0)).graph)


def test_results_are_the_same_on_any_number_of_threads() -> None:
    given = [rg.randn(40, 64, 96), rg.randn(64, 128), rg.randn(128, 128) / 12, rg.randn(96, 128)]
    compiled = rg.compile_grad(recurrent, wrt=("xs", "h", "w", "u"))
    found = []
    before = rg.get_num_threads()
    try:
        for threads in (1, 2, 3):
            rg.set_num_threads(threads)
            found.append([x.numpy().tobytes() for x in compiled.value_and_grad(*given)[1]])
    finally:
        rg.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_threads_call_one_loop_at_the_same_time() -> None:
    compiled = rg.compile_grad(until_large)
    inputs = [operands(seed=seed) for seed in range(4)]
    right = [compiled.value_and_grad(*given)[1] for given in inputs]
    failures: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            got = compiled.value_and_grad(*inputs[k])[1]
            if any(not rg.equal(a, b) for a, b in zip(got, right[k], strict=True)):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_an_endless_loop_is_interrupted() -> None:
    endless = rg.compile_grad(lambda x: rg.while_loop(lambda y: y > 0, lambda y: (y * 0.5 + 1,), (x,))[0])
    endless(np.array(-1.0))  # compiled, so that nothing but the loop is interrupted
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        endless(np.array(1.0))
    timer.join()


def test_a_loop_in_a_training_step() -> None:
    def train(step: Callable[[rg.nn.Module, Any], Any]) -> list[float]:
        rg.manual_seed(0)
        layer = rg.nn.Linear(4, 4)
        xs = rg.randn(5, 2, 4)

        def loss() -> Any:
            return rg.scan(lambda h, x: (layer(h + x).tanh(), None), rg.zeros(2, 4), xs)[0].square().sum()

        optimiser = rg.optim.SGD(layer.parameters(), lr=0.1)
        return [step(loss, optimiser) for _ in range(3)]

    def eagerly(loss: Any, optimiser: Any) -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        return float(value.item())

    compiled: dict[Any, Any] = {}

    def natively(loss: Any, optimiser: Any) -> float:
        if loss not in compiled:
            compiled[loss] = rg.compile_step(loss, optimiser)
        return float(compiled[loss]().item())

    np.testing.assert_allclose(train(natively), train(eagerly), rtol=1e-5)


def test_vmap_goes_over_a_loop() -> None:
    xs = rg.randn(3, 5, 2)
    one = [rg.scan(lambda c, x: (c + x.sin(), c), rg.zeros(2), x)[0] for x in xs]
    rg.testing.assert_close(
        rg.vmap(lambda x: rg.scan(lambda c, y: (c + y.sin(), c), rg.zeros(2), x)[0])(xs), rg.stack(one)
    )


# ---- what is refused ---------------------------------------------------------------------------------------


def refused(function: Function, *given: Any) -> str:
    with pytest.raises((ArgumentError, ShapeError, TraceError, DimensionError, LinearAlgebraError)) as caught:
        rg.compile_grad(function)(*given)
    return " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_what_a_turn_has_computed_stays_in_it() -> None:
    kept: list[Any] = []

    def leaks(xs: Any) -> Any:
        rg.scan(lambda h, x: (kept.append(h + x) or h + x, None), rg.zeros(3), xs)
        return kept[-1].sum()

    def adds_outside(xs: Any) -> Any:
        total = xs[0] * 0

        def step(h: Any, x: Any) -> Any:
            total.add_(x)
            return h + x, None

        rg.scan(step, rg.zeros(3), xs)
        return total.sum()

    for function in (leaks, adds_outside):
        assert "return it from the body" in refused(function, rg.ones(4, 3))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda h, x: (h.add_(x), None), "changes a tensor in place that it has not made"),
        (lambda h, x: (h + x if x.sum() > 0 else h, None), "choose by cond(pred"),
        (lambda h, x: (h.sum(), None), "leaves f32[] where it was given f32[3]"),
        (lambda h, x: (h.double(), None), "leaves f64[3] where it was given f32[3]"),
        (lambda h, x: ((h, h), None), "another structure"),
        (lambda h, x: h + x, "return (carry, y); y may be None"),
        (lambda h, x: (h + rg.rand(3), None), "draws random numbers"),
        (lambda h, x: (h + x[rg.tensor([0, 9, 1])], None), "index 9 is out of bounds"),
        (lambda h, x: (rg.linalg.solve(rg.zeros(3, 3) * h.sum(), x), None), "singular"),
        (lambda h, x: (rg.cond(x.sum() > 9, lambda: h, lambda: h.sum()), None), "same structure, shapes and"),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(body: Function, said: str) -> None:
    assert said in refused(lambda xs: rg.scan(body, rg.zeros(3), xs)[0].sum(), rg.ones(4, 3))


@pytest.mark.parametrize("wrap", [lambda function: function, rg.compile_grad], ids=["eager", "compiled"])
def test_nothing_to_go_through_is_refused(wrap: Function) -> None:
    step = wrap(lambda xs: rg.scan(lambda h, x: (h, x), rg.zeros(3), xs)[0].sum())
    with pytest.raises(ArgumentError, match="dim 0 of size 0"):
        step(rg.ones(0, 3))
    both = wrap(lambda xs, ys: rg.scan(lambda h, x: (h, None), rg.zeros(3), (xs, ys))[0].sum())
    with pytest.raises(ShapeError, match="sizes 4 and 5"):
        both(rg.ones(4, 3), rg.ones(5))
    with pytest.raises(ArgumentError, match="scan over no tensor"):
        rg.scan(lambda h, x: (h, None), rg.zeros(3), ())
