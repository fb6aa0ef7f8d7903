"""`compile`: PyTorch's name for compiled functions and modules, and `load(map_location=)`."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retrograd as rg


def test_a_function_is_compiled_and_can_be_differentiated() -> None:
    f = rg.compile(lambda x: x.sin().sum())
    x = rg.tensor([0.5, 1.0]).requires_grad_()
    f(x).backward()
    assert np.allclose(x.grad.numpy(), np.cos([0.5, 1.0]))


def test_as_a_decorator_with_options() -> None:
    @rg.compile(fullgraph=True, mode="max-autotune")
    def f(x: Any) -> Any:
        return x * 2

    assert f(rg.ones(3)).tolist() == [2, 2, 2]
    assert rg.compile(abs, disable=True) is abs


def test_a_module_shares_its_parameters_with_the_compiled_one() -> None:
    rg.manual_seed(0)  # a sum near zero would lose digits
    module = rg.nn.Sequential(rg.nn.Linear(3, 4), rg.nn.Tanh(), rg.nn.Linear(4, 1))
    compiled = rg.compile(module)
    x = rg.randn(5, 3)
    expected = module(x).sum()
    expected.backward()
    gradients = [p.grad.numpy().copy() for p in module.parameters()]
    module.zero_grad()
    found = compiled(x).sum()
    found.backward()
    assert np.allclose(found.item(), expected.item(), rtol=1e-6)
    for p, g in zip(module.parameters(), gradients, strict=True):
        assert np.allclose(p.grad.numpy(), g, rtol=1e-5, atol=1e-6)
    assert [*map(id, compiled.parameters())] == [*map(id, module.parameters())]
    assert [*compiled.state_dict()] == [f"_orig_mod.{key}" for key in module.state_dict()]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"]
)
def test_a_copy_of_a_compiled_module_computes_with_its_own_parameters(copied: Any) -> None:
    module, x = rg.compile(rg.nn.Linear(3, 2)), rg.ones(4, 3)
    before = module(x)
    other = copied(module)
    np.testing.assert_array_equal(other(x).detach().numpy(), before.detach().numpy())
    with rg.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other(x).any()
    other(x).sum().backward()
    assert other.weight.grad is not None
    assert module.weight.grad is None
    np.testing.assert_array_equal(module(x).detach().numpy(), before.detach().numpy())


@pytest.mark.parametrize("options", [{"backend": "nothing"}, {"mode": "nothing"}])
def test_what_is_not_known_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="nothing"):
        rg.compile(abs, **options)  # type: ignore[arg-type]  # checked as it runs
    with pytest.raises(TypeError, match="functions and modules"):
        rg.compile(3)


@pytest.mark.parametrize(
    "where",
    [
        "cpu",
        rg.device("cpu"),
        {"cuda:0": "cpu"},
        {"cpu": "cpu"},
        lambda tensor, place: tensor,
        lambda *given: None,
    ],
)
def test_tensors_are_loaded_where_they_are_wanted(where: Any, tmp_path: Path) -> None:
    rg.save({"a": rg.arange(3)}, tmp_path / "file")
    found = rg.load(tmp_path / "file", map_location=where)["a"]
    assert found.tolist() == [0, 1, 2]
    assert str(found.device) == "cpu"


def test_a_function_gives_the_tensor_to_load(tmp_path: Path) -> None:
    rg.save(rg.arange(3), tmp_path / "file")
    found = rg.load(tmp_path / "file", map_location=lambda tensor, place: tensor + len(place))
    assert found.tolist() == [3, 4, 5]
