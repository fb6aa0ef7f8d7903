"""Random numbers in compiled functions: drawn before each call, as eager mode draws them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from frames import python_frames

import retrograd as rg
from retrograd import nn
from retrograd.compiler.errors import ArgumentError, TraceError

F = nn.functional

DRAWN: dict[str, Callable[[Any], Any]] = {
    "dropout": lambda x: F.dropout(x, 0.4) * x,
    "dropout2d": lambda x: F.dropout2d(x.reshape(1, 3, 2, 2), 0.5),
    "rand": lambda x: x + rg.rand(3, 4),
    "randn": lambda x: x * rg.randn(3, 4, dtype=rg.float64),
    "rand_like": lambda x: x - rg.rand_like(x),
    "randint": lambda x: x + rg.randint(0, 9, (3, 4)),
    "randperm": lambda x: x[rg.randperm(3)],
    "normal": lambda x: x + rg.normal(1.0, 2.0, (4,)),
    "bernoulli": lambda x: x * rg.empty(3, 4).bernoulli_(0.3),
    "bernoulli of chances": lambda x: x * rg.bernoulli((x + 1) / 2),
    "bernoulli in double": lambda x: rg.bernoulli((x.double() + 1) / 2),
    "bernoulli_ of chances": lambda x: x * rg.empty(3, 4).bernoulli_(x.sigmoid()),
    "normal of means": lambda x: rg.normal(x, 0.5),
    "normal of deviations": lambda x: x + rg.normal(0.0, x.abs()),
    "normal of both": lambda x: rg.normal(x, x.exp()),
    "uniform_": lambda x: x * rg.empty(4).uniform_(1, 2),
    "exponential_": lambda x: x + rg.zeros(4).exponential_(),
    "cauchy_": lambda x: x + rg.zeros(4).cauchy_(),
    "log_normal_": lambda x: x + rg.zeros(4).log_normal_(0.1, 0.5),
    "geometric_": lambda x: x + rg.zeros(4).geometric_(0.3),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x, hard=True),
    "two in order": lambda x: rg.rand(4) - F.dropout(x) + rg.randn(1),
    "unused": lambda x: (rg.rand(7), x * rg.rand(4))[1],
}


@pytest.mark.parametrize("name", DRAWN)
def test_compiled_functions_draw_what_eager_ones_draw(name: str) -> None:
    function = DRAWN[name]
    x = rg.linspace(-1, 1, 12).reshape(3, 4)
    compiled = rg.compile_grad(function)
    rg.manual_seed(5)
    expected = [function(x) for _ in range(3)]
    rg.manual_seed(5)
    for each in expected:
        assert rg.allclose(compiled(x), each, rtol=1e-6, atol=1e-6)
    assert compiled.specialisations == 1


def network() -> tuple[nn.Module, rg.Tensor, rg.Tensor]:
    rg.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1), nn.Dropout(0.1))
    return net, rg.randn(5, 4), rg.randn(5, 1)


def losses(how: str, steps: int = 5) -> list[float]:
    """Of a few training steps, and of the network in evaluation."""
    net, x, y = network()
    optimizer = rg.optim.SGD(net.parameters(), lr=0.1)

    def loss(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        return F.mse_loss(net(x), y)

    compiled, step = rg.compile_grad(loss), rg.compile_step(loss, optimizer)
    rg.manual_seed(11)
    found = []
    for _ in range(steps):
        if how == "step":
            found.append(step(x, y).item())
            continue
        optimizer.zero_grad()
        value = (compiled if how == "compiled" else loss)(x, y)
        value.backward()
        optimizer.step()
        found.append(value.item())
    net.eval()
    return [*found, (loss if how == "eager" else compiled)(x, y).item()]


@pytest.mark.parametrize("how", ["compiled", "step"])
def test_a_network_with_dropout_trains(how: str) -> None:
    assert losses(how) == pytest.approx(losses("eager"), rel=1e-5)


def test_each_call_keeps_its_own_noise_for_the_backward_pass() -> None:
    def scaled(w: rg.Tensor) -> rg.Tensor:
        return F.dropout(w, 0.5) * w * w  # n · w³, with the noise n

    w = rg.full((64,), 2.0, requires_grad=True)
    compiled = rg.compile_grad(scaled)
    first, second = compiled(w), compiled(w)
    assert not rg.equal(first, second)
    for value in (first, second):
        noise = value.detach() / 8
        (slope,) = rg.autograd.grad(value.sum(), w, create_graph=True)
        assert rg.allclose(slope.detach(), noise * 12)
        assert rg.allclose(rg.autograd.grad(slope.sum(), w)[0], noise * 12)


def test_value_and_grad_and_vjp_draw_once_a_call() -> None:
    def loss(x: rg.Tensor) -> rg.Tensor:
        return (F.dropout(x, 0.5) * x).sum()

    x = rg.ones(16, requires_grad=True)
    compiled = rg.compile_grad(loss)
    rg.manual_seed(1)
    values = [loss(x).item() for _ in range(3)]
    rg.manual_seed(1)
    value, gradient = compiled.value_and_grad(x)
    assert value.item() == values[0]
    assert gradient.sum().item() == pytest.approx(2 * values[0])
    assert compiled.vjp(x)[0].item() == values[1]
    assert compiled(x).item() == values[2]


def test_a_compiled_function_within_another_draws_too() -> None:
    inner = rg.compile_grad(lambda x: F.dropout(x, 0.5))
    outer = rg.compile_grad(lambda x: inner(x) + rg.rand(8))
    x = rg.ones(8)
    rg.manual_seed(2)
    expected = F.dropout(x, 0.5) + rg.rand(8)
    rg.manual_seed(2)
    assert rg.allclose(outer(x), expected)


def test_numbers_that_depend_on_elements_are_refused() -> None:
    with pytest.raises(TraceError, match=r"rrelu\(\) inside a compiled function"):
        rg.compile_grad(lambda x: F.rrelu(x, training=True))(rg.rand(3))


# ---- without Python ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("grad", [False, True], ids=["value", "history"])
@pytest.mark.parametrize("name", DRAWN)
def test_a_call_that_comes_again_draws_without_python(name: str, grad: bool) -> None:
    x = rg.linspace(-1, 1, 12).reshape(3, 4).requires_grad_(grad)
    function = DRAWN[name]
    compiled = rg.compile_grad(function)
    rg.manual_seed(5)
    expected = [function(x) for _ in range(4)]
    state = rg.get_rng_state()
    rg.manual_seed(5)
    for each in expected[:2]:
        assert rg.allclose(compiled(x), each, rtol=1e-6, atol=1e-6)

    assert python_frames(lambda: compiled(x)) == []
    assert rg.allclose(compiled(x), expected[3], rtol=1e-6, atol=1e-6)
    assert rg.equal(rg.get_rng_state(), state)


def test_value_and_grad_and_a_step_draw_without_python() -> None:
    net, x, y = network()
    optimizer = rg.optim.SGD(net.parameters(), lr=0.1)

    def loss(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        return F.mse_loss(net(x), y)

    compiled, step = rg.compile_grad(loss), rg.compile_step(loss, optimizer)
    for _ in range(2):
        compiled.value_and_grad(x, y), step(x, y)

    assert python_frames(lambda: compiled.value_and_grad(x, y)) == []
    assert "Law.draw" not in python_frames(lambda: step(x, y))


def test_a_call_that_fails_has_drawn_as_often_as_one_that_does_not() -> None:
    """An index out of range is found when the numbers are drawn: then Python tells, and draws them again."""
    table = rg.rand(5, 3)

    def function(k: rg.Tensor) -> rg.Tensor:
        return F.dropout(table[k]) + rg.randn(2, 3) * rg.rand(3)

    compiled, right, wrong = rg.compile_grad(function), rg.tensor([0, 4]), rg.tensor([0, 5])
    rg.manual_seed(8)
    expected = [function(right) for _ in range(3)]
    for k in (right, right):
        compiled(k)
    rg.manual_seed(8)
    compiled(right)
    with pytest.raises(IndexError):
        compiled(wrong)
    assert rg.allclose(compiled(right), expected[2])


def test_generators_of_the_program_are_drawn_from() -> None:
    mine = rg.Generator().manual_seed(3)
    compiled = rg.compile_grad(lambda x: x + rg.rand(4, generator=mine) * rg.rand(4))
    x = rg.zeros(4)
    twin = rg.Generator().manual_seed(3)
    rg.manual_seed(4)
    expected = [rg.rand(4, generator=twin) * rg.rand(4) for _ in range(3)]
    rg.manual_seed(4)

    for each in expected:
        assert rg.equal(compiled(x), each)


def test_numbers_that_only_the_program_sees_may_be_many() -> None:
    """They lie in the program's arena, of which one is kept between calls."""
    n = 100_003
    compiled = rg.compile_grad(lambda x: (F.dropout(x, 0.25) * rg.randn(n)).sum())
    x = rg.ones(n)
    rg.manual_seed(1)
    expected = [(F.dropout(x, 0.25) * rg.randn(n)).sum().item() for _ in range(3)]
    rg.manual_seed(1)

    assert [compiled(x).item() for _ in range(3)] == pytest.approx(expected, rel=1e-4)


def test_threads_that_call_one_function_share_out_the_stream() -> None:
    n = 1 << 16  # so long that other threads run meanwhile
    compiled = rg.compile_grad(lambda x: x + rg.rand(n))
    x = rg.zeros(n)
    compiled(x), compiled(x)
    rg.manual_seed(6)
    found: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: found.extend(compiled(x).tolist() for _ in range(5)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    rg.manual_seed(6)
    assert sorted(found) == sorted(rg.rand(n).tolist() for _ in range(15))


@pytest.mark.parametrize(("count", "replacement"), [(1, False), (3, False), (6, True), (1, True)])
def test_samples_in_proportion_to_weights(count: int, replacement: bool) -> None:
    rows = rg.tensor([[0.1, 0.5, 0.2, 0.2], [0.3, 0.3, 0.0, 0.4]])
    for weights in (rows, rows[0], rows.double()):
        compiled = rg.compile_grad(lambda x: rg.multinomial(x, count, replacement))
        rg.manual_seed(0)
        expected = [rg.multinomial(weights, count, replacement).tolist() for _ in range(20)]
        rg.manual_seed(0)

        assert [compiled(weights).tolist() for _ in range(20)] == expected
    with pytest.raises(ArgumentError, match="cannot sample n_sample <= 0 samples"):
        rg.compile_grad(lambda x: rg.multinomial(x, 0))(rows)
