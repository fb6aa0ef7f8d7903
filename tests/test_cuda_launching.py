"""Calls on a GPU that come again run no Python; what they give, and what they notice, is the same.

The driver is simulated, and counts what native code starts. A new thing that a call must notice is a test
here.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulated_driver import SimulatedDriver

import retrograd as rg
from retrograd.compiler.errors import CudaError
from retrograd.runtime.compiled.compile_grad import CompiledFunction

scale = 2.0


@pytest.fixture(autouse=True)
def gpus(simulated_gpus: SimulatedDriver) -> SimulatedDriver:
    return simulated_gpus


def function(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
    return (x.sin() * y * scale).sum()


def numbers(*sizes: int, seed: int = 0) -> rg.Tensor:
    generator = np.random.default_rng(seed)
    return rg.tensor(generator.standard_normal(sizes or (5,)).astype(np.float32))


def native(gpus: SimulatedDriver, call: Callable[[], Any]) -> bool:
    """Whether a call runs without Python, once there is memory for what it makes."""
    for _ in range(3):
        call()
    before = gpus.natively
    call()
    return gpus.natively > before


CALLED: dict[str, Callable[[CompiledFunction[..., Any], rg.Tensor, rg.Tensor], Any]] = {
    "the value": lambda f, x, y: f(x, y),
    "value and gradients": lambda f, x, y: f.value_and_grad(x, y),
    "by name": lambda f, x, y: f(x, y=y),
    "with a history": lambda f, x, y: f(x.detach().requires_grad_(), y),
    "of parameters": lambda f, x, y: f(rg.nn.Parameter(x), y),
    "with both the same": lambda f, x, y: f.value_and_grad(x, x),
}


@pytest.mark.parametrize("name", CALLED)
def test_calls_that_come_again_run_no_python(name: str, gpus: SimulatedDriver) -> None:
    f, x, y = rg.compile_grad(function), numbers().cuda(), numbers(seed=1).cuda()
    assert native(gpus, lambda: CALLED[name](f, x, y))


NOT_NATIVE: dict[str, Callable[[rg.Tensor], Any]] = {
    "a number": lambda x: (rg.compile_grad(lambda x, k: (x * k).sum()), (x, 2.5)),
    "a view": lambda x: (rg.compile_grad(lambda x: x.sum()), (x[1:],)),
}


@pytest.mark.parametrize("name", NOT_NATIVE)
def test_what_only_python_can_do_is_done_by_python(name: str, gpus: SimulatedDriver) -> None:
    f, args = NOT_NATIVE[name](numbers().cuda())
    assert not native(gpus, lambda: f(*args))
    here = [x.cpu() if isinstance(x, rg.Tensor) else x for x in args]
    np.testing.assert_allclose(f(*args).cpu().numpy(), f(*here).numpy(), rtol=1e-5)


EAGER: dict[str, Callable[[rg.Tensor, rg.Tensor, rg.Tensor], Any]] = {
    "of two": lambda x, y, w: x + y,
    "of one": lambda x, y, w: x.sin(),
    "with a number": lambda x, y, w: x * 2.5,
    "with itself": lambda x, y, w: x * x,
    "a sum": lambda x, y, w: x.sum(0),
    "a product": lambda x, y, w: x @ y,
    "of several kernels": lambda x, y, w: (x @ y).softmax(1),
    "in place": lambda x, y, w: x.clone().mul_(0.5).add_(y),
    "in place, with itself": lambda x, y, w: x.clone().mul_(y).add_(y, alpha=0.5),
    "gradients": lambda x, y, w: rg.autograd.grad(((x @ w).tanh() * y).sum(), w)[0],
}


@pytest.mark.parametrize("name", EAGER)
def test_eager_ops_that_come_again_are_native(name: str, gpus: SimulatedDriver) -> None:
    here = [numbers(6, 6), numbers(6, 6, seed=1), numbers(6, 6, seed=2).requires_grad_()]
    there = [x.detach().cuda().requires_grad_(x.requires_grad) for x in here]
    assert native(gpus, lambda: EAGER[name](*there))
    for _ in range(3):
        found, expected = EAGER[name](*there).detach().cpu(), EAGER[name](*here).detach()
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert all(x.is_cuda for x in there)
    for x, y in zip(here[:2], there):
        np.testing.assert_array_equal(x.numpy(), y.cpu().numpy())


def test_eager_ops_notice_streams_devices_views_and_precision(gpus: SimulatedDriver) -> None:
    x, y = numbers(40, 40), numbers(40, 40, seed=1)
    a, b = x.cuda(), y.cuda()
    expected = (x + y).tolist()
    assert native(gpus, lambda: a + b)
    assert (x.cuda(1) + y.cuda(1)).device == rg.device("cuda:1")
    assert (a.t() + b).tolist() == (x.t() + y).tolist()
    assert (a[1:] + b[1:]).tolist() == (x[1:] + y[1:]).tolist()
    assert (a + b.double()).tolist() == (x + y.double()).tolist()
    side = rg.cuda.Stream()
    side.wait_stream(rg.cuda.current_stream())
    with rg.cuda.stream(side):
        assert (a + b).tolist() == expected
        c = a * 1
        assert native(gpus, lambda: c + c)
    assert native(gpus, lambda: a + b)
    exact = (a @ b).cpu().numpy()
    assert native(gpus, lambda: a @ b)
    rg.set_float32_matmul_precision("high")
    try:
        assert not np.array_equal((a @ b).cpu().numpy(), exact)
    finally:
        rg.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal((a @ b).cpu().numpy(), exact)


def test_an_update_of_what_it_reads_through_a_view_is_not_native() -> None:
    x = numbers(6)
    for _ in range(4):
        a, b = x.cuda(), x.clone()
        a[1:].add_(a[:-1])
        b[1:].add_(b[:-1].clone())
        a.add_(a)
        b.add_(b.clone())
        assert a.tolist() == b.tolist()


def test_an_index_is_checked_without_python(gpus: SimulatedDriver) -> None:
    f, x = rg.compile_grad(lambda x, i: x[i].sum()), numbers().cuda()
    good, bad = rg.tensor([1, 4]).cuda(), rg.tensor([1, 5]).cuda()
    assert native(gpus, lambda: f(x, good))
    assert f(x, good).item() == pytest.approx(x[1].item() + x[4].item())
    before = gpus.natively
    f(x, bad)
    f(x, good)
    assert gpus.natively == before + 2
    with pytest.raises(IndexError, match="out of range"):
        rg.cuda.synchronize()
    f(x, bad)
    gpus.synchronize()
    with pytest.raises(IndexError, match="out of range"):
        f(x, good)
    assert native(gpus, lambda: f(x, good))


def test_the_error_of_a_program_that_is_gone_is_told_all_the_same() -> None:
    x, bad = numbers().cuda(), rg.tensor([5]).cuda()
    rg.compile_grad(lambda x, i: x[i].sum())(x, bad)
    gc.collect()
    with pytest.raises(IndexError, match="out of range"):
        rg.cuda.synchronize()
    rg.cuda.synchronize()


def test_a_stream_that_is_chosen_is_noticed(gpus: SimulatedDriver) -> None:
    f, x, side = rg.compile_grad(function), numbers().cuda(), rg.cuda.Stream()
    expected = f(x, x).item()
    assert native(gpus, lambda: f(x, x))
    side.wait_stream(rg.cuda.current_stream())
    with rg.cuda.stream(side):
        y = x * 1
        assert native(gpus, lambda: f(y, y))
        found = [f(x, x), f(y, y)]
        side.synchronize()
    assert [z.item() for z in found] == [expected, expected]
    assert native(gpus, lambda: f(x, x))


def test_several_kernels_become_a_graph_that_native_code_launches(gpus: SimulatedDriver) -> None:
    w = numbers(6, 4).cuda()
    f = rg.compile_grad(lambda x: ((x @ w).relu().softmax(1) @ w.t()).pow(2).mean())
    x, graphs = numbers(600, 6).cuda(), 0
    expected = f.value_and_grad(x)[0].item()
    real = gpus.launch_graph

    def counted(executable: int, stream: int) -> None:
        nonlocal graphs
        graphs += 1
        real(executable, stream)

    gpus.launch_graph = counted  # type: ignore[method-assign]
    for _ in range(8):
        assert f.value_and_grad(x)[0].item() == pytest.approx(expected)
    before = gpus.natively
    f.value_and_grad(x)
    assert (gpus.natively - before, graphs > 3) == (1, True)


def test_a_launch_that_fails_is_an_error_of_python(gpus: SimulatedDriver) -> None:
    f, x = rg.compile_grad(function), numbers().cuda()
    assert native(gpus, lambda: f(x, x))
    real = gpus.launch

    def failing(*given: Any) -> None:
        raise CudaError("CUDA's driver says CUDA_ERROR_LAUNCH_FAILED")

    gpus.launch = failing  # type: ignore[method-assign]
    with pytest.raises(CudaError, match=r"test_cuda_launching.py:\d+: .*LAUNCH_FAILED"):
        f(x, x)
    gpus.launch = real  # type: ignore[method-assign]
    held = rg.cuda.memory_allocated()
    assert f(x, x).item() == f(x, x).item()
    assert rg.cuda.memory_allocated() == held


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_calls_that_come_again_give_the_same(turns: int) -> None:
    f = rg.compile_grad(function)
    for turn in range(turns):
        x, y = numbers(seed=turn), numbers(seed=turn + 10)
        value, (gx, gy) = f.value_and_grad(x.cuda(), y.cuda())
        expected, (wx, wy) = rg.compile_grad(function).value_and_grad(x, y)
        assert value.device == gx.device == rg.device("cuda:0")
        for mine, theirs in ((value, expected), (gx, wx), (gy, wy), (f(x.cuda(), y.cuda()), expected)):
            np.testing.assert_allclose(mine.cpu().numpy(), theirs.numpy(), rtol=1e-5)


def changed_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "scale", 3.0)


CALLS: dict[str, Callable[[], tuple[rg.Tensor, rg.Tensor]]] = {
    "another shape": lambda: (numbers(2, 3), numbers(2, 3)),
    "a view": lambda: (numbers(10).cuda()[::2], numbers()),
    "a matrix turned": lambda: (numbers(2, 3).cuda().T, numbers(3, 2)),
    "another dtype": lambda: (numbers().double(), numbers().double()),
    "a part that begins elsewhere": lambda: (numbers(9).cuda()[4:], numbers()),
}


@pytest.mark.parametrize("name", CALLS)
def test_other_arguments_take_the_long_way(name: str) -> None:
    f = rg.compile_grad(function)
    f.value_and_grad(numbers().cuda(), numbers().cuda())
    x, y = CALLS[name]()
    value, gradients = f.value_and_grad(x.cuda(), y.cuda())
    expected, others = rg.compile_grad(function).value_and_grad(x.cpu(), y.cpu())
    for mine, theirs in zip((value, *gradients), (expected, *others), strict=True):
        np.testing.assert_allclose(mine.cpu().numpy(), theirs.numpy(), rtol=1e-5)


def test_a_changed_constant_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    f, x = rg.compile_grad(function), numbers().cuda()
    before = f(x, x).item()
    assert f(x, x).item() == before
    changed_world(monkeypatch)
    assert f(x, x).item() == pytest.approx(1.5 * before)


def test_another_gpu_gets_its_own_program() -> None:
    f = rg.compile_grad(function)
    for place in ("cuda:0", "cuda:1", "cuda:0"):
        x = numbers().to(place)
        assert str(f(x, x).device) == place


def test_captured_tensors_are_read_anew() -> None:
    weight = numbers(seed=3).cuda()
    f, x = rg.compile_grad(lambda x: (x * weight).sum()), numbers().cuda()
    assert f(x).item() == f(x).item()
    weight.mul_(2)
    assert f(x).item() == pytest.approx(2 * (x.cpu() * numbers(seed=3)).sum().item(), rel=1e-5)


def test_what_requires_grad_keeps_its_history() -> None:
    f, x = rg.compile_grad(function), numbers().cuda()
    f(x, x)
    tracked = numbers().cuda().requires_grad_()
    f(tracked, x).backward()
    np.testing.assert_allclose(tracked.grad.cpu().numpy(), (x.cpu().cos() * x.cpu() * 2).numpy(), rtol=1e-5)
    with rg.no_grad():
        assert not f(tracked, x).requires_grad


def test_memory_goes_back_to_the_pool() -> None:
    f, x = rg.compile_grad(function), numbers().cuda()
    f.value_and_grad(x, x)
    held = rg.cuda.memory_allocated()
    for _ in range(3):
        f.value_and_grad(x, x)
    assert rg.cuda.memory_allocated() == held


def test_results_are_named_and_nested_as_the_function_returns_them() -> None:
    f = rg.compile_grad(lambda x, y: {"sum": x + y, "parts": (x * 2, [y])})
    x, y = numbers().cuda(), numbers(seed=1).cuda()
    for _ in range(3):
        found = f(x, y)
        np.testing.assert_allclose(found["sum"].cpu().numpy(), (x.cpu() + y.cpu()).numpy())
        np.testing.assert_allclose(found["parts"][0].cpu().numpy(), (x.cpu() * 2).numpy())
        assert (found["parts"][1][0].cpu() == y.cpu()).all()


# ---- updates where they lie --------------------------------------------------------------------------------


@pytest.fixture
def copies(gpus: SimulatedDriver, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were copied on the device, copy by copy."""
    found: list[int] = []
    real = gpus.copy_on_device

    def counted(to: int, from_: int, nbytes: int, stream: int) -> None:
        found.append(nbytes)
        real(to, from_, nbytes, stream)

    monkeypatch.setattr(gpus, "copy_on_device", counted)
    return found


def trained(device: str, make: Callable[[Any], Any], steps: int) -> tuple[list[float], list[rg.Tensor]]:
    """The losses and parameters of a small network after so many steps."""
    rg.manual_seed(0)
    net = rg.nn.Sequential(rg.nn.Linear(5, 8), rg.nn.ReLU(), rg.nn.Linear(8, 3)).to(device)
    x, y = numbers(16, 5).to(device), numbers(16, 3, seed=1).to(device)
    step = rg.compile_step(lambda x, y: (net(x) - y).pow(2).mean(), make(net.parameters()))
    return [step(x, y).item() for _ in range(steps)], [p.detach() for p in net.parameters()]


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda parameters: rg.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: rg.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: rg.optim.Adam(parameters, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_writes_parameters_where_they_lie(name: str, copies: list[int]) -> None:
    losses, parameters = trained("cuda", OPTIMIZERS[name], 4)
    expected, others = trained("cpu", OPTIMIZERS[name], 4)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for mine, theirs in zip(parameters, others, strict=True):
        np.testing.assert_allclose(mine.cpu().numpy(), theirs.numpy(), rtol=2e-4, atol=1e-5)
    assert copies == []


def test_an_argument_that_is_the_parameter_is_read_as_it_was(copies: list[int]) -> None:
    results = []
    for device in ("cpu", "cuda"):
        w = numbers(24).to(device).requires_grad_()
        step = rg.compile_step(lambda x, w=w: (w * x).sum() + x.sin().sum(), rg.optim.SGD([w], lr=0.1))
        step(numbers(24, seed=1).to(device))
        before = len(copies)
        step(w.detach())
        results.append(w.detach().cpu().numpy())
    assert len(copies) > before
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_what_is_read_after_it_is_written_is_copied(copies: list[int]) -> None:
    results = []
    for device in ("cpu", "cuda"):
        w = numbers(24, 24).to(device).requires_grad_()
        step = rg.compile_step(lambda w=w: (w @ w).sum(), rg.optim.SGD([w], lr=0.01))
        for _ in range(3):
            step()
        results.append(w.detach().cpu().numpy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)
