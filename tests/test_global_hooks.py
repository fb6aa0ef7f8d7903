"""Hooks of all Modules at once, beside PyTorch's: who is called, in which order, and what replaces what."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import retrograd as rg


def network(t: Any) -> Any:
    m = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.ReLU(), t.nn.Linear(3, 1))
    with t.no_grad():
        for p in m.parameters():
            p.copy_(t.arange(float(p.numel())).reshape(p.shape) / 4 - 0.25)
    return m


def told(t: Any) -> list[Any]:
    """What hooks of all modules and of one see, in the order in which they are called."""
    every, seen, m = t.nn.modules.module, list[Any](), network(t)

    def total(x: Any) -> float:
        return float(x.detach().sum())

    handles = [
        every.register_module_forward_pre_hook(
            lambda k, a: seen.append(("before", type(k).__name__, len(a)))
        ),
        every.register_module_forward_hook(
            lambda k, a, o: seen.append(("after", type(k).__name__, total(o)))
        ),
        every.register_module_full_backward_pre_hook(lambda k, g: seen.append(("down", total(g[0])))),
        every.register_module_full_backward_hook(
            lambda k, i, g: seen.append(("up", total(i[0]), total(g[0])))
        ),
    ]
    m[0].register_forward_hook(lambda k, a, o: seen.append("own") or o * 2)
    m[2].register_full_backward_hook(lambda k, i, g: seen.append("own, up"))
    replaced = every.register_module_forward_hook(
        lambda k, a, kw, o: o + 1 if isinstance(k, t.nn.ReLU) else None, with_kwargs=True
    )
    x = t.ones(2, 2, requires_grad=True)
    m(x).sum().backward()
    seen.append(x.grad.tolist())
    for handle in handles:
        handle.remove()
    seen.append(m(x).tolist())
    replaced.remove()
    seen.append(m(x).tolist())
    return seen


def test_hooks_of_all_modules_are_called_as_in_pytorch(torch: ModuleType) -> None:
    assert told(rg) == told(torch)


def test_without_hooks_of_all_modules_calls_are_as_before() -> None:
    plain, m = rg.nn.Module.__call__, network(rg)
    with rg.nn.modules.module.register_module_forward_hook(lambda k, a, o: o * 2):
        assert rg.nn.Module.__call__ is not plain
        doubled = m[0](rg.ones(1, 2))
    assert rg.nn.Module.__call__ is plain
    assert (m[0](rg.ones(1, 2)) * 2).tolist() == doubled.tolist()


def test_a_function_that_is_compiled_among_them_holds_what_they_do() -> None:
    m = network(rg)
    with rg.nn.modules.module.register_module_forward_hook(lambda k, a, o: o + 1):
        f = rg.compile_grad(lambda x: m(x).sum())
        assert f(rg.ones(3, 2)).item() == m(rg.ones(3, 2)).sum().item()
