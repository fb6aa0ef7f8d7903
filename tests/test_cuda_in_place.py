"""In-place updates on a GPU: what they write, where they write it, and what they take of memory.

The driver is simulated. An update is a function in `WRITTEN` if a kernel is to write it where the elements
lie, in `COPIED` if it reads what another thread writes, so that it must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulated_driver import SimulatedDriver

import retrograd as rg

Update = Callable[[rg.Tensor], Any]


@pytest.fixture(autouse=True)
def gpus(simulated_gpus: SimulatedDriver) -> SimulatedDriver:
    return simulated_gpus


@pytest.fixture
def copies(gpus: SimulatedDriver, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The copies on the device and to it, by name."""
    found: list[str] = []
    for name in ("copy_on_device", "copy_to_device"):
        real = getattr(gpus, name)

        def counted(*given: int, name: str = name, real: Callable[..., None] = real) -> None:
            found.append(name)
            real(*given)

        monkeypatch.setattr(gpus, name, counted)
    return found


def matrix(device: str) -> rg.Tensor:
    return rg.arange(12.0).reshape(3, 4).to(device)


WRITTEN: dict[str, Update] = {
    "a product": lambda x: x.mul_(2),
    "an operator": lambda x: x.__iadd__(1),
    "a row": lambda x: x.exp_(),
    "a tensor": lambda x: x.sub_(x.detach() * 0.5),
    "a tensor times a number": lambda x: x.add_(x.detach() * 0.5, alpha=3),
    "itself": lambda x: x.mul_(x),
    "a row of a matrix": lambda x: x[1].div_(2),
    "zeros": lambda x: x.zero_(),
    "a number": lambda x: x.fill_(2.5),
    "a column set to a number": lambda x: x.__setitem__((slice(None), 2), 7.0),
    "a column set to a tensor": lambda x: x.__setitem__((slice(None), 2), x.sum(1)),
    "a square set to a turned one": lambda x: x[:3, :3].copy_(x[:3, :3].t().clone()),
    "with numbers of the CPU": lambda x: x.mul_(rg.tensor(3.0)),
}
COPIED: dict[str, Update] = {
    "its own row": lambda x: x.mul_(x[0]),
    "its own columns, turned": lambda x: x[:3, :3].add_(x[:3, :3].t()),
    "a column": lambda x: x[:, 1].mul_(3),
}


def same(update: Update) -> None:
    x, y = matrix("cuda"), matrix("cpu")
    before = x.data_ptr()
    update(x)
    update(y)
    assert x.data_ptr() == before
    assert x._version == y._version
    np.testing.assert_allclose(x.cpu().numpy(), y.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_kernel_writes_where_the_elements_lie(name: str, copies: list[str]) -> None:
    same(WRITTEN[name])
    copies.clear()
    same(WRITTEN[name])
    assert "copy_on_device" not in copies


@pytest.mark.parametrize("name", COPIED)
def test_what_another_thread_reads_is_written_elsewhere_first(name: str, copies: list[str]) -> None:
    same(COPIED[name])
    assert "copy_on_device" in copies


def test_no_memory_is_taken_for_an_update() -> None:
    x = rg.ones(1000, device="cuda")
    x.mul_(3)
    held = rg.cuda.memory_allocated()
    rg.cuda.reset_peak_memory_stats()
    x.mul_(3).sub_(3).exp_().zero_()
    assert rg.cuda.max_memory_allocated() == held


def test_gradients_add_up_where_they_lie(copies: list[str]) -> None:
    x = rg.ones(5, device="cuda", requires_grad=True)
    for _ in range(3):
        (x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6] * 5
    assert "copy_on_device" not in copies


def test_what_is_recorded_keeps_what_it_needs() -> None:
    x = rg.ones(3, device="cuda", requires_grad=True)
    y = x * 3
    y.mul_(y.detach())
    y.add_(1)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [9] * 3


def test_what_does_not_fit_is_an_error_as_on_the_cpu() -> None:
    for device in ("cpu", "cuda"):
        i = rg.arange(3, device=device)
        with pytest.raises(RuntimeError, match="result type Float can't be cast"):
            i.div_(2)
        with pytest.raises(RuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape"):
            i.add_(rg.ones(2, 3, dtype=rg.int64, device=device))
        assert i.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: rg.zeros(1000, device="cuda"),
        lambda: rg.ones(3, 4, device="cuda:1", requires_grad=True),
        lambda: rg.full((5,), 2.5, device="cuda"),
        lambda: rg.empty(7, device="cuda").new_ones(2, 3),
        lambda: rg.zeros_like(rg.empty(7, device="cuda"), dtype=rg.int64),
    ],
)
def test_what_is_filled_is_filled_there(make: Callable[[], rg.Tensor], gpus: SimulatedDriver) -> None:
    sent: list[int] = []
    real = gpus.copy_to_device
    gpus.copy_to_device = lambda *given: (sent.append(given[2]), real(*given))[1]  # type: ignore[method-assign]
    made = make()
    assert max(sent, default=0) <= 8
    assert len(set(made.flatten().tolist())) == 1


def test_numbers_that_are_not_used_again_go() -> None:
    x = rg.ones(2, device="cuda")
    for k in range(1100):
        x.mul_(1 + k / 4096)
    x.fill_(1)
    assert rg.cuda.memory_allocated() <= 512 * 1030
