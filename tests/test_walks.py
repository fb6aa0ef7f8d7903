"""Recurrent layers over whole sequences: native walks beside PyTorch, and beside steps one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import retrograd as rg
from retrograd.runtime.native import walks

LAYERS = {
    "LSTM": lambda t, i, h, **kw: t.nn.LSTM(i, h, **kw),
    "GRU": lambda t, i, h, **kw: t.nn.GRU(i, h, **kw),
    "tanh": lambda t, i, h, **kw: t.nn.RNN(i, h, **kw),
    "relu": lambda t, i, h, **kw: t.nn.RNN(i, h, nonlinearity="relu", **kw),
}
"""By library, sizes of inputs and states, and options."""
SIZES = ((1, 1, 1, 1), (2, 3, 2, 5), (7, 2, 3, 16), (5, 4, 6, 33))
"""Steps, sequences, and sizes of inputs and states."""


def _both(name: str, size: int, hidden: int, dtype: str, **options: Any) -> tuple[Any, Any]:
    """The same layer of both libraries."""
    theirs = LAYERS[name](torch, size, hidden, dtype=getattr(torch, dtype), **options)
    ours = LAYERS[name](rg, size, hidden, dtype=getattr(rg, dtype), **options)
    ours.load_state_dict({k: rg.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def _run(t: Any, layer: Any, x: Any, states: list[Any], shares: list[Any]) -> list[Any]:
    """Outputs, last states, and the gradients of a weighed sum of them by inputs, states and weights."""
    own = [t.from_numpy(a.copy()).requires_grad_() for a in (x, *states)]
    hx = None if not states else own[1] if len(states) == 1 else tuple(own[1:])
    outputs, last = layer(own[0], hx)
    found = [outputs, *(last if isinstance(last, tuple) else (last,))]
    total = sum((part * t.from_numpy(share)).sum() for part, share in zip(found, shares))
    wanted = [*own, *layer.parameters()]
    return [*found, *t.autograd.grad(total, wanted)]


def _arrays(name: str, sizes: tuple[int, ...], dtype: str, directions: int, given: bool) -> tuple[Any, ...]:
    steps, rows, size, hidden = sizes
    random, count = np.random.default_rng(0), 2 if name == "LSTM" else 1

    def some(*shape: int) -> Any:
        return random.standard_normal(shape).astype(dtype)

    states = [some(directions, rows, hidden) for _ in range(count if given else 0)]
    shares = [some(steps, rows, directions * hidden), *[some(directions, rows, hidden)] * count]
    return some(steps, rows, size), states, shares


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"bidirectional": True}], ids=["plain", "without bias", "both ways"]
)
def test_values_and_gradients_are_pytorchs(
    name: str, sizes: tuple[int, ...], dtype: str, options: dict[str, Any]
) -> None:
    ours, theirs = _both(name, *sizes[2:], dtype, **options)
    x, states, shares = _arrays(name, sizes, dtype, 1 + ("bidirectional" in options), bool(options))
    mine, wanted = _run(rg, ours, x, states, shares), _run(torch, theirs, x, states, shares)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for found, expected in zip(mine, wanted, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(
            found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("name", LAYERS)
def test_walks_and_steps_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = _both(name, 3, 17, "float64")
    arrays = _arrays(name, (6, 4, 3, 17), "float64", 1, True)
    walked = _run(rg, ours, *arrays)
    monkeypatch.setattr(walks, "available", lambda dtype: False)
    for found, expected in zip(walked, _run(rg, ours, *arrays), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_are_pytorchs(name: str) -> None:
    ours, theirs = _both(name, 2, 3, "float64")
    x, _, shares = _arrays(name, (4, 2, 2, 3), "float64", 1, False)

    def slope_of_slopes(t: Any, layer: Any) -> list[Any]:
        own = t.from_numpy(x.copy()).requires_grad_()
        outputs, _ = layer(own)
        weight = layer.weight_hh_l0
        slopes = t.autograd.grad((outputs * t.from_numpy(shares[0])).sum(), (own, weight), create_graph=True)
        total = sum(slope.square().sum() for slope in slopes)
        return [*slopes, *t.autograd.grad(total, (own, weight, layer.weight_ih_l0))]

    for found, expected in zip(slope_of_slopes(rg, ours), slope_of_slopes(torch, theirs), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-11)


def test_a_state_that_depends_on_the_weight_has_both_derivatives() -> None:
    ours, theirs = _both("GRU", 2, 3, "float64")
    x, _, _ = _arrays("GRU", (4, 2, 2, 3), "float64", 1, False)

    def slopes(t: Any, layer: Any) -> list[Any]:
        weight = layer.weight_hh_l0
        first = weight[:2].unsqueeze(0) * 0.5
        (slope,) = t.autograd.grad(layer(t.from_numpy(x), first)[0].sum(), weight, create_graph=True)
        return [slope, *t.autograd.grad(slope.square().sum(), weight)]

    for found, expected in zip(slopes(rg, ours), slopes(torch, theirs), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9)


def test_only_the_gradients_that_are_wanted_are_worked_out() -> None:
    layer = rg.nn.GRU(3, 4)
    layer.requires_grad_(False)
    x = rg.randn(5, 2, 3, requires_grad=True)
    layer(x)[0].sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in layer.parameters())


def test_a_layer_is_gone_back_through_twice_if_its_graph_is_retained() -> None:
    layer, x = rg.nn.LSTM(3, 4), rg.randn(5, 2, 3)
    total = layer(x)[0].sum()
    total.backward(retain_graph=True)
    once = layer.weight_hh_l0.grad.clone()
    total.backward()
    assert rg.equal(layer.weight_hh_l0.grad, once * 2)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        total.backward()


def test_outputs_that_change_in_place_are_told() -> None:
    layer = rg.nn.GRU(3, 4)
    outputs, _ = layer(rg.randn(5, 2, 3))
    outputs.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@pytest.mark.parametrize("name", LAYERS)
def test_weights_that_change_in_place_are_told(name: str) -> None:
    layer = LAYERS[name](rg, 3, 4)
    outputs, _ = layer(rg.randn(5, 2, 3))
    with rg.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("twice", [False, True], ids=["once", "to be differentiated again"])
def test_what_a_layer_keeps_is_packed_and_unpacked(name: str, twice: bool) -> None:
    layer, x = LAYERS[name](rg, 3, 4, dtype=rg.float64), rg.randn(5, 2, 3, dtype=rg.float64)
    wanted = [*layer.parameters()]
    plain = rg.autograd.grad(layer(x)[0].pow(2).sum(), wanted)
    counted: list[int] = []

    def pack(tensor: Any) -> Any:
        counted.append(1)
        return tensor.detach().numpy().copy()

    with rg.autograd.graph.saved_tensors_hooks(pack, rg.from_numpy):
        total = layer(x)[0].pow(2).sum()
    found = rg.autograd.grad(total, wanted, create_graph=twice)
    assert counted
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.numpy(), rtol=1e-12)


def test_what_is_kept_is_let_go_of() -> None:
    layer, x = rg.nn.LSTM(3, 4), rg.randn(5, 2, 3)
    outputs, _ = layer(x)
    node = outputs.grad_fn
    outputs.sum().backward()
    assert node.saved_values() == []


def test_what_lies_in_another_order_is_read_in_its_own() -> None:
    ours, theirs = _both("LSTM", 3, 4, "float64", batch_first=True)
    x = np.random.default_rng(0).standard_normal((3, 5, 2)).transpose(2, 1, 0)  # read along other axes
    found, expected = ours(rg.from_numpy(x))[0], theirs(torch.from_numpy(x))[0]
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12)


def test_not_a_number_is_not_hidden_by_relu() -> None:
    layer = rg.nn.RNN(1, 1, nonlinearity="relu")
    outputs, _ = layer(rg.full((2, 1, 1), float("nan")))
    assert bool(outputs.isnan().all())


def test_forward_mode_goes_through_a_walk() -> None:
    ours, theirs = _both("LSTM", 2, 3, "float64")
    x, t = (np.random.default_rng(k).standard_normal((4, 2, 2)) for k in (0, 1))

    def slope(lib: Any, layer: Any) -> Any:
        return lib.autograd.functional.jvp(
            lambda z: layer(z)[0], lib.from_numpy(x.copy()), lib.from_numpy(t.copy())
        )[1]

    np.testing.assert_allclose(slope(rg, ours).numpy(), slope(torch, theirs).numpy(), rtol=1e-9)


def test_there_are_walks_here() -> None:
    assert all(walks.available(np.dtype(kind)) for kind in ("float32", "float64"))
    assert not walks.available(np.dtype("float16"))
