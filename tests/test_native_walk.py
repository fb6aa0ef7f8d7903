"""The backward pass that runs no Python gives what it gives node by node, bit for bit, and says the same.

Every program is done several times: plans are made from what Python does first. `counted` has the names of
nodes that were Python's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch as peer

import retrograd as rg
from retrograd.compiler.errors import GradientError
from retrograd.runtime.autograd import engine
from retrograd.runtime.eager import backwards
from retrograd.runtime.eager.instant.part import available

pytestmark = pytest.mark.skipif(not available(), reason="objects are laid out in another way")

T = rg.Tensor
Program = Callable[[Any, Any, Any], Any]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of nodes that Python has done."""
    names: list[str] = []
    plain = engine.Pass._go_on

    def go_on(self: engine.Pass, node: Any) -> None:
        names.append(node.name())
        plain(self, node)

    monkeypatch.setattr(engine.Pass, "_go_on", go_on)
    return names


def leaf(*shape: int, seed: int = 0) -> T:
    values = np.random.default_rng(seed).uniform(0.2, 0.9, shape).astype(np.float32)
    return rg.from_numpy(values).requires_grad_()


def wide(x: T, w: T, b: T) -> T:
    parts = [(x * k + b).tanh() for k in range(1, 30)]
    while len(parts) > 1:
        parts = [a * c for a, c in zip(parts[::2], parts[1::2])] + ([parts[-1]] if len(parts) % 2 else [])
    return (parts[0] @ w).sum()


PROGRAMS: dict[str, Program] = {
    "a chain": lambda x, w, b: (((x * w).sin() * x).exp() / b).sum(),
    "a leaf that is met again and again": lambda x, w, b: ((x * x + x) * x - x).sum(),
    "broadcast operands": lambda x, w, b: ((x + b[0]) * b * 2.0 - b.sum()).mean(),
    "a scalar all the way": lambda x, w, b: (b[0] * b[1]).exp() * 0.5 + b[2],
    "products and a softmax": lambda x, w, b: (x @ w).softmax(1).log().sum(),
    "views, slices and indices": lambda x, w, b: (x[1:] * x[:-1]).reshape(-1)[[0, 1, 1]].sum() + w.t()[0, 1],
    "a row and its norm": lambda x, w, b: (x[0] * b).tanh().sum() + (x * x).sum(0).sqrt().sum(),
    "many ways that join": wide,
    "a choice": lambda x, w, b: ((x > 0.5) * x).sum() + x.clamp(min=0.4).sum() + x.max(),
    "what is not differentiable beside": lambda x, w, b: (x * x.detach() + x.round()).sum(),
    "a function of several results": lambda x, w, b: sum(p.sum() * k for k, p in enumerate(x.unbind(0))),
}


def grads_of(program: Program, keep: bool) -> list[bytes]:
    operands = leaf(3, 3), leaf(3, 3, seed=1), leaf(3, seed=2)
    result = program(*operands)
    result.backward(retain_graph=keep)
    if keep:
        result.backward()
    return [x.grad.numpy().tobytes() if x.grad is not None else b"" for x in operands]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("label", PROGRAMS)
def test_the_same_gradients_as_node_by_node(label: str, keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    native = [grads_of(PROGRAMS[label], keep) for _ in range(4)]
    monkeypatch.setattr(engine, "next_strange", backwards.first)
    assert native == [grads_of(PROGRAMS[label], keep)] * 4


@pytest.mark.parametrize("label", PROGRAMS)
def test_the_same_gradients_as_pytorch(label: str) -> None:
    grads_of(PROGRAMS[label], False)
    mine = grads_of(PROGRAMS[label], False)
    operands = [peer.tensor(leaf(*s, seed=k).detach().numpy()).requires_grad_() for k, s in
                enumerate([(3, 3), (3, 3), (3,)])]  # fmt: skip
    PROGRAMS[label](*operands).backward()
    for ours, x in zip(mine, operands, strict=True):
        theirs = np.zeros(x.shape, np.float32) if x.grad is None else x.grad.numpy()
        found = np.frombuffer(ours, np.float32).reshape(x.shape) if ours else np.zeros(x.shape, np.float32)
        np.testing.assert_allclose(found, theirs, 2e-5, 1e-6)


@pytest.mark.parametrize("label", ["a chain", "many ways that join", "products and a softmax"])
def test_no_python_once_the_types_are_known(label: str, counted: list[str]) -> None:
    for _ in range(3):
        grads_of(PROGRAMS[label], False)
    counted.clear()
    grads_of(PROGRAMS[label], False)
    assert counted == []


def test_gradients_of_some_inputs_alone() -> None:
    for _ in range(4):
        x, w, b = leaf(3), leaf(3, seed=1), leaf(3, seed=2)
        middle = (x * w).exp()
        result = (middle * b).sum()
        of_middle, of_w = rg.autograd.grad(result, (middle, w))
        np.testing.assert_array_equal(of_middle.numpy(), b.detach().numpy())
        np.testing.assert_array_equal(of_w.numpy(), (b.detach() * middle.detach() * x.detach()).numpy())
        assert x.grad is None


def test_a_gradient_belongs_to_one_leaf_alone() -> None:
    for _ in range(4):
        x, y = leaf(3), leaf(3, seed=1)
        seed = rg.ones(3)
        (x + y).backward(seed)
        assert x.grad is not None
        assert y.grad is not None
        x.grad.mul_(5)
        np.testing.assert_array_equal(y.grad.numpy(), 1)
        np.testing.assert_array_equal(seed.numpy(), 1)


def test_hooks_on_the_way_see_what_they_saw(counted: list[str]) -> None:
    seen: list[str] = []
    for _ in range(4):
        x = leaf(3)
        y = x * 2.0
        z = y.exp()
        y.register_hook(lambda g: seen.append("tensor") or g * 3)  # type: ignore[func-returns-value]  # or g
        z.grad_fn.register_hook(lambda into, out: seen.append("node"))
        z.sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), 6 * np.exp(2 * x.detach().numpy()), 1e-6)
    assert seen == ["node", "tensor"] * 4
    assert counted[-1] == "ExpBackward0"  # the other has no hook but that before it


def test_a_hook_that_changes_what_the_node_has_kept_is_told() -> None:
    for _ in range(4):
        x = leaf(3)
        y = x * 2.0
        z = y * y
        z.register_hook(lambda g, y=y: (y.detach().add_(1.0), None)[1])  # type: ignore[misc]  # a default
        with pytest.raises(GradientError, match="modified by an inplace operation"):
            z.sum().backward()


def test_hooks_that_come_and_go_on_the_way() -> None:
    seen: list[str] = []
    for _ in range(4):
        x = leaf(3)
        y = x * 2.0
        z = y * 3.0
        later = y.grad_fn

        def hook(g: T, node: Any = later) -> None:
            seen.append("first")
            node.register_hook(lambda into, out: seen.append("later"))

        handle = z.register_hook(hook)
        z.register_hook(lambda g, handle=handle: handle.remove())  # type: ignore[misc]  # a default
        z.sum().backward(retain_graph=True)
        z.sum().backward()
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), 12)
    assert seen == ["first", "later", "later"] * 4


def test_a_pass_within_a_hook_of_a_pass() -> None:
    inner = leaf(3, seed=1)

    def hook(g: T) -> None:
        with rg.enable_grad():
            (inner * inner * 3.0).sum().backward()

    for _ in range(4):
        x, inner.grad = leaf(3), None
        y = x * 2.0
        y.register_hook(hook)
        (y * y).sum().backward()
        assert x.grad is not None
        assert inner.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), 8 * x.detach().numpy(), 1e-6)
        np.testing.assert_allclose(inner.grad.numpy(), 6 * inner.detach().numpy(), 1e-6)


def test_a_second_pass_and_a_change_in_place_are_refused() -> None:
    for _ in range(4):
        x = leaf(3)
        result = x.exp().sum()
        result.backward()
        with pytest.raises(GradientError, match="Trying to backward through the graph a second time"):
            result.backward()
        y = x * 2.0
        z = y * y
        y.add_(1.0)
        with pytest.raises(GradientError, match="modified by an inplace operation"):
            z.sum().backward()


def test_an_error_on_the_way_leaves_no_gradient_and_no_quiet() -> None:
    def refuse(g: T) -> None:
        raise ValueError("no")

    for _ in range(4):
        x = leaf(3)
        y = x * 2.0
        y.register_hook(refuse)
        with pytest.raises(ValueError, match="no"):
            (y.exp() * x).sum().backward()
        assert x.grad is None
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        np.float32(1) / np.float32(0)


@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:Error detected")
def test_anomaly_mode_looks_at_each_node() -> None:
    for _ in range(4):
        x = rg.zeros(3).requires_grad_()
        with rg.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="returned nan values"):
            (x.sqrt() * 0.0).sum().backward()


def test_what_a_walk_lets_go_is_freed() -> None:
    x = leaf(3)
    w = np.ones(3, np.float32)
    held = rg.from_numpy(w)
    before = sys.getrefcount(w)
    for _ in range(5):
        ((x * held).exp() * held).sum().backward()
    assert sys.getrefcount(w) == before


def test_threads_walk_beside_each_other() -> None:
    wanted = grads_of(PROGRAMS["many ways that join"], False)
    found: list[list[bytes]] = []

    def work() -> None:
        found.extend(grads_of(PROGRAMS["many ways that join"], False) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 80
