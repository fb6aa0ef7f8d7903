"""What the tape keeps, in the user's hands: hooks of saved tensors, and checkpoints, beside PyTorch's.

A program takes the library as `t`; a new one is a function of `PROGRAMS`.
"""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare

import retrograd as rg

FUNCTIONS: list[Callable[[Any, Any, Any], Any]] = [
    lambda t, a, b: (a * b).exp().sum(),
    lambda t, a, b: (a @ b).relu().pow(3).sum(),
    lambda t, a, b: t.nn.functional.layer_norm(a * b, (4,)).tanh().sum(),
    lambda t, a, b: (a * 1).mul_(b).sum(),
    lambda t, a, b: (a.t() * b[:1]).sigmoid().cumsum(0).max(1).values.sum(),
    lambda t, a, b: t.cat([a, b / 2]).std(0).sum() + (a * 2).sum(),
    lambda t, a, b: t.nn.functional.cross_entropy(a * b, t.tensor([1, 0, 2, 1])),
    lambda t, a, b: (a / b).sqrt().log1p().mean(),
]


def operands(t: Any) -> tuple[Any, Any]:
    a, b = np.arange(16.0).reshape(4, 4) / 16 + 0.05, np.arange(16.0)[::-1].reshape(4, 4) / 20 + 0.1
    return t.tensor(a).requires_grad_(), t.tensor(b).requires_grad_()


def derivatives(t: Any, y: Any, *leaves: Any) -> list[Any]:
    """The value, the gradients twice, and the gradients of their sum."""
    first = t.autograd.grad(y, leaves, create_graph=True)
    again = t.autograd.grad(y, leaves, create_graph=True)
    second = t.autograd.grad(sum((g * g).sum() for g in first), leaves, retain_graph=True)
    y.backward()
    return [y, *first, *again, *second, *[x.grad for x in leaves]]


def packing(t: Any, seen: list[Any]) -> Any:
    def pack(x: Any) -> Any:
        seen.append(tuple(x.shape))
        return x.detach().numpy().copy()

    return t.autograd.graph.saved_tensors_hooks(pack, t.from_numpy)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_go_through_hooks(function: Callable[..., Any], torch: ModuleType) -> None:
    def program(t: Any) -> Any:
        a, b = operands(t)
        seen: list[Any] = []
        with packing(t, seen):
            y = function(t, a, b)
        return [*derivatives(t, y, a, b), bool(seen)]

    compare(program, torch)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_go_through_checkpoints(
    function: Callable[..., Any], use_reentrant: bool, torch: ModuleType
) -> None:
    def program(t: Any) -> Any:
        a, b = operands(t)
        checkpoint = t.utils.checkpoint.checkpoint
        y = checkpoint(lambda a, b: function(t, a, b), a, b, use_reentrant=use_reentrant)
        if not use_reentrant:
            return derivatives(t, y, a, b)
        y.backward(retain_graph=True)
        y.backward()
        return [y, a.grad, b.grad]

    compare(program, torch)


def doubled(t: Any) -> Any:
    """The backward pass gets what `unpack` gives."""
    a = t.ones(3, requires_grad=True)
    with t.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x * 2):
        y = (a * a).sum()
    y.backward()
    return a.grad


def innermost(t: Any) -> Any:
    """Of nested hooks the innermost are asked."""
    seen: list[str] = []
    a = t.ones(3, requires_grad=True)
    hooks = t.autograd.graph.saved_tensors_hooks
    with hooks(lambda x: seen.append("outer") or x, lambda x: x):
        y = a.sin()
        with hooks(lambda x: seen.append("inner") or x, lambda x: x):
            z = a.cos()
        w = a.exp()
    (y + z + w).sum().backward()
    return [seen, a.grad]


def written_in_place(t: Any) -> Any:
    a = t.ones(3, requires_grad=True)
    with t.autograd.graph.saved_tensors_hooks(lambda x: x.detach().add_(1), lambda x: x):
        return (a * a).sum()


def no_tensor(t: Any) -> Any:
    a = t.ones(3, requires_grad=True)
    with t.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: 3):
        y = (a * a).sum()
    y.backward()


def forbidden(t: Any) -> Any:
    graph = t.autograd.graph
    with graph.disable_saved_tensors_hooks("no hooks here"), graph.save_on_cpu():
        return 1


def of_a_function(t: Any) -> Any:
    """What a Function saves goes through hooks, too, and comes with its history."""

    class Exp(t.autograd.Function):  # type: ignore[misc]  # of either library
        @staticmethod
        def forward(ctx: Any, x: Any, z: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y, x, z, None)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            y, x, z, nothing = ctx.saved_tensors
            assert nothing is None
            return g * y * z * x, None

    x, z = t.tensor([1.0, 2.0]).requires_grad_(), t.tensor([3.0, 4.0])
    with packing(t, []):
        y = Exp.apply(x * 1, z).sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    return [g, *t.autograd.grad(g.sum(), x)]


def kept_names(t: Any) -> Any:
    a = t.ones(3, requires_grad=True)
    with t.autograd.graph.save_on_cpu():
        y = a.exp()
    node = y.grad_fn
    return [type(node).__name__, node._saved_result.detach(), isinstance(node, t.autograd.graph.Node)]


def told_of_a_write(t: Any) -> Any:
    a = t.ones(3, requires_grad=True)
    b = a * 1
    y = b.exp()
    t.autograd.graph.increment_version(y)
    t.autograd.graph.increment_version([y, b])
    assert y._version == 2
    y.sum().backward()


def network(t: Any, use_reentrant: bool) -> Any:
    """The same random numbers are drawn in the second run, and the stream goes on as if there were none."""
    t.manual_seed(0)
    m = t.nn.Sequential(
        t.nn.Linear(4, 5), t.nn.Tanh(), t.nn.Dropout(0.5), t.nn.Linear(5, 4), t.nn.GELU(), t.nn.Linear(4, 4)
    )
    x = t.randn(3, 4, requires_grad=True)
    found = []
    for run in (
        lambda: t.utils.checkpoint.checkpoint(m, x, use_reentrant=use_reentrant),
        lambda: t.utils.checkpoint.checkpoint_sequential(m, 3, x, use_reentrant=use_reentrant),
    ):
        run().pow(2).sum().backward()
        found += [round(x.grad.sum().item(), 4), round(m[0].weight.grad.sum().item(), 4), t.rand(2)]
    return found


def nested(t: Any, use_reentrant: bool) -> Any:
    runs = []

    def inner(x: Any) -> Any:
        runs.append("inner")
        return (x.sin() * x).exp()

    def outer(x: Any) -> Any:
        runs.append("outer")
        return t.utils.checkpoint.checkpoint(inner, x.cos() * 2, use_reentrant=use_reentrant).tanh() * x

    x = t.ones(3, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing requires grad within the first run of the outer one
        y = t.utils.checkpoint.checkpoint(outer, x, use_reentrant=use_reentrant)
    y.sum().backward()
    return [runs, x.grad]


def changing(t: Any, then: Callable[[Any], Any], now: Callable[[Any], Any]) -> Any:
    """A function that does something else the second time."""
    runs: list[int] = []

    def f(x: Any) -> Any:
        runs.append(1)
        return (then if len(runs) == 1 else now)(x).sum()

    x = t.ones(2, requires_grad=True)
    t.utils.checkpoint.checkpoint(f, x, use_reentrant=False).backward()
    return x.grad


def operand_changed(t: Any) -> Any:
    x = t.ones(2, requires_grad=True)
    z = x * 1
    y = t.utils.checkpoint.checkpoint(lambda z: z.sin(), z, use_reentrant=False)
    z.add_(1)
    y.sum().backward()


def named_operands(t: Any) -> Any:
    m = t.ones(2, requires_grad=True)
    f = lambda x, k=None: (x * k, x.exp())  # noqa: E731  # short
    a, b = t.utils.checkpoint.checkpoint(f, m, k=m * 3, use_reentrant=False)
    (a * b).sum().backward()
    return m.grad


def two_contexts(t: Any) -> Any:
    """`context_fn` gives a context for each run."""
    entered: list[str] = []

    @contextmanager
    def noting(run: str) -> Iterator[None]:
        entered.append(run)
        yield

    x = t.ones(2, requires_grad=True)
    y = t.utils.checkpoint.checkpoint(
        lambda x: x.sin(), x, use_reentrant=False, context_fn=lambda: (noting("first"), noting("second"))
    )
    y.sum().backward()
    return [entered, x.grad]


def partial_pass(t: Any) -> Any:
    x = t.ones(2, requires_grad=True)
    y = t.utils.checkpoint.checkpoint(lambda x: x * 2, x, use_reentrant=True)
    return t.autograd.grad(y.sum(), x)


PROGRAMS: list[Callable[[Any], Any]] = [
    doubled, innermost, written_in_place, no_tensor, forbidden, of_a_function, kept_names, told_of_a_write,
    operand_changed, named_operands, two_contexts,
    lambda t: network(t, False), lambda t: network(t, True),
    lambda t: nested(t, False), lambda t: nested(t, True),
    lambda t: changing(t, lambda x: x.sin(), lambda x: x.sin().cos()),
    lambda t: t.utils.checkpoint.checkpoint(lambda x, y: x, t.ones(2), use_reentrant=True, y=3),
    partial_pass,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)


@pytest.mark.parametrize(
    ("then", "now"),
    [(lambda x: x.sin().cos(), lambda x: x.sin()), (lambda x: x.sin(), lambda x: x[:1].sin())],
)
def test_a_second_run_that_differs_is_an_error_in_pytorchs_words(
    then: Callable[[Any], Any], now: Callable[[Any], Any], torch: ModuleType
) -> None:
    with pytest.raises(torch.utils.checkpoint.CheckpointError) as expected:
        changing(torch, then, now)
    with pytest.raises(rg.utils.checkpoint.CheckpointError) as found:
        changing(rg, then, now)
    assert str(expected.value).startswith(str(found.value))


def test_debug_says_where_each_run_kept_what(torch: ModuleType) -> None:
    def f(t: Any, x: Any, runs: list[int]) -> Any:
        runs.append(1)
        return (x.sin() if len(runs) == 1 else x).exp().sum()

    for t in (torch, rg):
        x = t.ones(2, requires_grad=True)
        for around, given in ((True, False), (None, True)):
            runs: list[int] = []
            with t.utils.checkpoint.set_checkpoint_debug_enabled(around):
                y = t.utils.checkpoint.checkpoint(f, t, x, runs, use_reentrant=False, debug=given)
            with pytest.raises(t.utils.checkpoint.CheckpointError) as told:
                y.backward()
    first, second = told.value.__notes__[-2:]
    assert first.count("test_checkpoint.py") == 2
    assert second.count("test_checkpoint.py") == 1
    with rg.utils.checkpoint.set_checkpoint_debug_enabled(False):
        y = rg.utils.checkpoint.checkpoint(f, rg, x, [], use_reentrant=False, debug=True)
    with pytest.raises(rg.utils.checkpoint.CheckpointError) as silent:
        y.backward()
    assert not any("the first run kept" in note for note in silent.value.__notes__)


def test_what_a_checkpoint_does_not_keep_is_let_go() -> None:
    x = rg.ones(2000, requires_grad=True)
    held: list[Any] = []

    def f(x: Any) -> Any:
        y = x.exp()
        held.append(weakref.ref(y))
        return y.sin()

    y = rg.utils.checkpoint.checkpoint(f, x, use_reentrant=False)
    gc.collect()
    assert held[0]() is None
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), np.exp(1) * np.cos(np.exp(1)))


def test_a_checkpoint_without_saying_which_kind_warns() -> None:
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        rg.utils.checkpoint.checkpoint(lambda x: x * 2, rg.ones(2, requires_grad=True))


def test_in_a_compiled_function_a_checkpoint_is_the_function() -> None:
    @rg.compile_grad
    def f(x: Any) -> Any:
        return rg.utils.checkpoint.checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False).sum()

    x = rg.tensor([0.5, 1.0]).requires_grad_()
    f(x).backward()
    assert np.allclose(x.grad.numpy(), np.exp(np.sin([0.5, 1.0])) * np.cos([0.5, 1.0]))


@pytest.mark.filterwarnings("ignore:Error detected")
def test_anomaly_mode_and_hooks_go_together() -> None:
    x = rg.tensor([-1.0]).requires_grad_()
    with rg.autograd.set_detect_anomaly(True), rg.autograd.graph.save_on_cpu():
        y = x.sqrt()
        with pytest.raises(RuntimeError, match="SqrtBackward0"):
            y.backward()
    assert x.sqrt().grad_fn._saved_result.shape == (1,)


def test_on_a_gpu_what_is_kept_waits_on_the_cpu(simulated_gpus: Any) -> None:
    x = rg.tensor([0.5, 1.0], device="cuda").requires_grad_()
    with rg.autograd.graph.save_on_cpu():
        y = (x.exp() * x).sum()
    y.backward()
    again = rg.tensor([0.5, 1.0], device="cuda").requires_grad_()
    rg.utils.checkpoint.checkpoint(lambda x: (x.exp() * x).sum(), again, use_reentrant=False).backward()
    expected = np.exp([0.5, 1.0]) * [1.5, 2.0]
    assert np.allclose(x.grad.cpu().numpy(), expected, rtol=1e-6)
    assert np.allclose(again.grad.cpu().numpy(), expected, rtol=1e-6)
