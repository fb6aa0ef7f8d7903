"""Parameters that a module computes from others, beside PyTorch's.

A program takes the library as `t`; a new one is a function of `PROGRAMS`.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare

import retrograd as rg


def symmetric(t: Any) -> Any:
    class Symmetric(t.nn.Module):  # type: ignore[misc]  # of either library
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).mT

    return Symmetric()


def scaled(t: Any) -> Any:
    class Scaled(t.nn.Module):  # type: ignore[misc]  # of either library
        def forward(self, x: Any) -> Any:
            return x * 2

        def right_inverse(self, x: Any) -> Any:
            return x / 2

    return Scaled()


def flat(t: Any) -> Any:
    class Flat(t.nn.Module):  # type: ignore[misc]  # of either library
        def forward(self, x: Any) -> Any:
            return x.flatten()

    return Flat()


def linear(t: Any) -> Any:
    t.manual_seed(0)
    return t.nn.Linear(3, 3)


def trained(t: Any, m: Any) -> list[Any]:
    """What the module gives, its parameters and their gradients."""
    x = next(p for p in m.parameters())
    y = m(t.ones(2, getattr(m, "in_features", 3), dtype=x.dtype))
    (y * y).sum().backward()
    named = [*m.named_parameters()]
    return [y, [name for name, _ in named], [p for _, p in named], [p.grad for _, p in named]]


def symmetry(t: Any) -> Any:
    m = linear(t)
    t.nn.utils.parametrize.register_parametrization(m, "weight", symmetric(t))
    return [str(m), m.weight, *trained(t, m), [*m.state_dict()]]


def two_in_a_row(t: Any) -> Any:
    m = linear(t)
    parametrize = t.nn.utils.parametrize
    parametrize.register_parametrization(m, "weight", scaled(t))
    parametrize.register_parametrization(m, "weight", symmetric(t))
    kind = parametrize.type_before_parametrizations(m).__name__
    return [str(m), m.weight, *trained(t, m), kind, parametrize.is_parametrized(m, "bias")]


def assigned(t: Any) -> Any:
    m = linear(t)
    t.nn.utils.parametrize.register_parametrization(m, "weight", scaled(t))
    m.weight = t.ones(3, 3)
    return [m.weight, m.parametrizations.weight.original]


def assigned_without_inverse(t: Any) -> Any:
    m = linear(t)
    t.nn.utils.parametrize.register_parametrization(m, "weight", symmetric(t))
    m.weight = t.ones(3, 3)


def taken_away(t: Any, leave_parametrized: bool) -> Any:
    m = linear(t)
    parametrize = t.nn.utils.parametrize
    parametrize.register_parametrization(m, "weight", symmetric(t))
    parametrize.remove_parametrizations(m, "weight", leave_parametrized)
    return [str(m), type(m).__name__, *trained(t, m), parametrize.is_parametrized(m)]


def not_there(t: Any) -> Any:
    t.nn.utils.parametrize.register_parametrization(linear(t), "nothing", symmetric(t))


def nothing_to_take_away(t: Any) -> Any:
    t.nn.utils.parametrize.remove_parametrizations(linear(t), "weight")


def another_shape(t: Any) -> Any:
    t.nn.utils.parametrize.register_parametrization(linear(t), "weight", flat(t))


def lengths(t: Any, dim: int | None) -> Any:
    m = t.nn.utils.parametrizations.weight_norm(linear(t), dim=dim)
    found = [str(m), *trained(t, m), [*m.state_dict()]]
    t.nn.utils.parametrize.remove_parametrizations(m, "weight")
    return [*found, m.weight, [*m.state_dict()]]


def of_a_convolution(t: Any) -> Any:
    t.manual_seed(0)
    m = t.nn.utils.parametrizations.weight_norm(t.nn.Conv2d(2, 3, 2))
    y = m(t.arange(32.0).reshape(1, 2, 4, 4) / 32)
    (y * y).mean().backward()
    return [y, [p.grad for p in m.parameters()]]


def spectral(t: Any, dim: int | None, steps: int = 1) -> Any:
    """Each training step goes on with the power method; an evaluation does not."""
    parametrizations = t.nn.utils.parametrizations
    m = parametrizations.spectral_norm(linear(t), dim=dim, n_power_iterations=steps)
    found = [str(m), m.weight, *trained(t, m), [*m.state_dict()], t.rand(1)]
    m.eval()
    return [*found, m.weight, t.linalg.svdvals(m.weight.detach())[0].item() < 1.001]


def spectral_of_a_convolution(t: Any) -> Any:
    t.manual_seed(0)
    m = t.nn.utils.parametrizations.spectral_norm(t.nn.ConvTranspose2d(2, 3, 2))
    b = t.nn.utils.parametrizations.spectral_norm(t.nn.Conv1d(2, 3, 2), "bias")
    return [m.weight, b.bias, [*m.state_dict()], [*b.state_dict()]]


def kept_orthogonal(t: Any, n: int, k: int, how: str | None = None, base: bool = True) -> Any:
    """What a weight is computed to be, trained once, and assigned to."""
    t.manual_seed(0)
    m = t.nn.Linear(n, k).double()
    t.nn.utils.parametrizations.orthogonal(m, orthogonal_map=how, use_trivialization=base)
    found = [str(m), m.weight, *trained(t, m), [*m.state_dict()], t.rand(1)]
    with t.no_grad():
        original = m.parametrizations.weight.original
        original.copy_(t.sin(t.arange(float(n * k)).double() ** 2).reshape(original.shape))
        found.append(m.weight)
    m.weight = (t.arange(float(n * k)).double() ** 2 * 0.7).cos().reshape(k, n)
    return [*found, m.weight, m.parametrizations.weight.original]


def orthogonal_stack(t: Any) -> Any:
    class Stack(t.nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self) -> None:
            super().__init__()
            numbers = (t.arange(24.0).double() ** 2 * 0.3).sin().reshape(2, 4, 3)
            self.weight = t.nn.Parameter(numbers)

    t.manual_seed(0)
    m = t.nn.utils.parametrizations.orthogonal(Stack())
    m.weight.mean().backward()
    return [m.weight, m.parametrizations.weight.original.grad]


def not_orthogonal(t: Any, name: str, how: str | None = None) -> Any:
    t.nn.utils.parametrizations.orthogonal(linear(t), name, how)


def of_another_shape(t: Any) -> Any:
    m = t.nn.utils.parametrizations.orthogonal(linear(t))
    m.weight = t.ones(2, 3)


PROGRAMS: list[Callable[[Any], Any]] = [
    symmetry, two_in_a_row, assigned, assigned_without_inverse, not_there, nothing_to_take_away,
    another_shape, lambda t: taken_away(t, True), lambda t: taken_away(t, False), of_a_convolution,
    lambda t: spectral(t, None), lambda t: spectral(t, 1, 3), lambda t: spectral(t, -2),
    lambda t: spectral(t, 5), lambda t: spectral(t, 0, 0), spectral_of_a_convolution,
    lambda t: kept_orthogonal(t, 3, 3), lambda t: kept_orthogonal(t, 3, 5),
    lambda t: kept_orthogonal(t, 5, 3), lambda t: kept_orthogonal(t, 3, 3, "cayley"),
    lambda t: kept_orthogonal(t, 3, 4, "cayley"), lambda t: kept_orthogonal(t, 4, 3, "matrix_exp"),
    lambda t: kept_orthogonal(t, 4, 4, "householder"),
    lambda t: kept_orthogonal(t, 4, 3, "householder", False),
    lambda t: kept_orthogonal(t, 3, 4, "householder", False),
    lambda t: kept_orthogonal(t, 3, 3, "cayley", False), orthogonal_stack, of_another_shape,
    lambda t: not_orthogonal(t, "nothing"), lambda t: not_orthogonal(t, "bias"),
    lambda t: not_orthogonal(t, "weight", "best"),
    lambda t: lengths(t, 0), lambda t: lengths(t, 1), lambda t: lengths(t, -1), lambda t: lengths(t, None),
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)


def test_a_copy_and_a_compiled_function_train_the_originals() -> None:
    m = rg.nn.utils.parametrizations.weight_norm(linear(rg))
    again = copy.deepcopy(m)
    expected = trained(rg, m)

    @rg.compile_grad
    def loss(x: Any) -> Any:
        y = again(x)
        return (y * y).sum()

    loss(rg.ones(2, 3)).backward()
    for p, g in zip(again.parameters(), expected[3], strict=True):
        assert np.allclose(p.grad.numpy(), g.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.copy, pickle.dumps])
def test_only_deep_copies_are_made_of_what_is_parametrized(copied: Any, torch: ModuleType) -> None:
    """In PyTorch's words; each copy has a class of its own, so that it stays parametrized when another ends
    to be."""
    said = []
    for t in (rg, torch):
        m = t.nn.Linear(2, 2)
        t.nn.utils.parametrizations.weight_norm(m)
        with pytest.raises(RuntimeError) as caught:
            copied(m)
        said.append(str(caught.value))
    assert said[0] == said[1]
    m = rg.nn.utils.parametrizations.weight_norm(rg.nn.Linear(2, 2))
    kept = copy.deepcopy(m)
    value = m.weight.tolist()
    rg.nn.utils.parametrize.remove_parametrizations(m, "weight")
    assert kept.weight.tolist() == value
    assert rg.nn.utils.parametrize.is_parametrized(kept, "weight")
