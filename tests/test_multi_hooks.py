"""Hooks of several gradients of one backward pass, beside PyTorch's.

A program takes the library as `t`; a new one is a function of `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from side_by_side import compare, leaf

import retrograd as rg


def four(t: Any) -> tuple[Any, Any, Any, Any]:
    a, b = leaf(t), leaf(t, 4.0, 5.0, 6.0)
    return a, b, a * b, a / b


def all_of(t: Any) -> Any:
    """The pass may come to some of the tensors only."""
    tensors = a, b, c, d = four(t)
    seen: list[Any] = []
    handle = t.autograd.graph.register_multi_grad_hook(tensors, lambda grads: seen.append(list(grads)))
    c.sum().backward(retain_graph=True)
    c.sum().backward(inputs=(a,), retain_graph=True)
    d.sum().backward(retain_graph=True)
    (c * d).sum().backward(retain_graph=True)
    handle.remove()
    (c * d).sum().backward()
    return [seen, a.grad, b.grad]


def any_of(t: Any) -> Any:
    a, b, c, d = four(t)
    seen: list[Any] = []
    hooked = (a, b, c, d, t.ones(3))
    with t.autograd.graph.register_multi_grad_hook(hooked, lambda grad: seen.append(grad), mode="any"):
        c.sum().backward(retain_graph=True)
        (c * 2).sum().backward(retain_graph=True)
        d.sum().backward(retain_graph=True)
    d.sum().backward()
    return seen


def pass_within_a_pass(t: Any) -> Any:
    """A hook starts a backward pass through some of the tensors."""
    a, b, c, d = four(t)
    seen: list[Any] = []

    def look(grads: Any) -> None:
        seen.append([g is not None for g in grads])
        if len(seen) == 1:
            (d * 2).sum().backward(retain_graph=True)
            seen.append("after")

    t.autograd.graph.register_multi_grad_hook((a, b, d), look)
    c.sum().backward(retain_graph=True)
    (c * d).sum().backward()
    return [seen, a.grad, b.grad]


def with_a_history(t: Any) -> Any:
    a, b, c, _ = four(t)
    seen: list[Any] = []
    t.autograd.graph.register_multi_grad_hook([a, b, c], lambda grads: seen.append(list(grads)))
    (c * c).sum().backward(create_graph=True)
    return seen


def in_place(t: Any) -> Any:
    a, _, c, d = four(t)
    c.mul_(d)
    seen: list[Any] = []
    t.autograd.graph.register_multi_grad_hook([a, c, d], lambda grads: seen.append(list(grads)))
    c.exp().sum().backward()
    return seen


def none_given(t: Any) -> Any:
    t.autograd.graph.register_multi_grad_hook([], lambda grads: None)
    return leaf(t).sum()


PROGRAMS: list[Callable[[Any], Any]] = [
    all_of, any_of, pass_within_a_pass, with_a_history, in_place, none_given,
    lambda t: t.autograd.graph.register_multi_grad_hook([t.ones(3)], print),
    lambda t: t.autograd.graph.register_multi_grad_hook([leaf(t)], print, mode="some"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)


def test_grad_of_leaves_comes_to_these_only() -> None:
    a, b, c, d = four(rg)
    seen: list[Any] = []
    rg.autograd.graph.register_multi_grad_hook([a, b, c, d], lambda grads: seen.append(list(grads)))
    (found,) = rg.autograd.grad(c.sum(), [a])
    ((first, *others),) = seen
    assert first.tolist() == found.tolist() == b.tolist()
    assert [g is None for g in others] == [True, False, True]
