"""Layers, losses and optimisers on a GPU: values, gradients, state and losses are those of the CPU.

The rows are those of `layer_cases` and `test_optim`. Each runs on the simulated driver anywhere, and on
NVIDIA's where there is a GPU.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import on_gpu
import pytest
from layer_cases import LAYERS, LOSSES, Layer
from test_optim import FACTORED, OPTIMISERS, data, make, network

import retrograd as t

pytestmark = pytest.mark.usefixtures("memory_goes_back")


def leaves(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    return [] if value is None else [value]


def close(found: Any, expected: Any) -> None:
    for ours, theirs in zip(leaves(found), leaves(expected), strict=True):
        assert ours.dtype is theirs.dtype
        a, b = ours.detach().cpu().numpy(), theirs.detach().cpu().numpy()
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def run(case: Layer, device: str, train: bool) -> list[Any]:
    """Outputs, gradients and state of a layer, made and called after the same seed."""
    t.manual_seed(11)
    layer = eval(case.made, {"nn": t.nn, "t": t}).to(device).train(train)
    inputs = [
        t.randint(0, case.ints, s) if case.ints else t.rand(*s) * 0.8 + 0.1 if case.positive else t.randn(*s)
        for s in case.shapes
    ]
    inputs = [x.to(device).requires_grad_(x.is_floating_point()) for x in inputs]
    places = {"t": t if device == "cpu" else on_gpu, "layer": layer, "inputs": [x * 1 for x in inputs]}
    output = eval(case.call, places) if inputs else None
    found = [x for x in leaves(output) if x.requires_grad]
    if found:
        sum((x * (x.detach() + 1).cos()).sum() for x in found).backward()
    gradients = [x.grad for x in (*inputs, *layer.parameters())]
    state = list(layer.state_dict().values())
    assert {str(x.device) for x in leaves([output, gradients, state])} <= {device}
    return [output, gradients, state]


@pytest.mark.parametrize("case", LAYERS + LOSSES, ids=lambda case: case.made)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_layer_does_what_it_does_on_the_cpu(case: Layer, device: str) -> None:
    close(run(case, device, train=True), run(case, "cpu", train=True))


TWO_WAYS = [case for case in LAYERS if any(kind in case.made for kind in ("Norm", "Drop", "RReLU", "Trans"))]
"""Layers that do one thing while training and another after it."""


@pytest.mark.parametrize("case", TWO_WAYS, ids=lambda case: case.made)
def test_a_layer_in_use_does_what_it_does_on_the_cpu(case: Layer, device: str) -> None:
    close(run(case, device, train=False), run(case, "cpu", train=False))


def trained(made: str, device: str, compiled: bool) -> tuple[list[float], list[t.Tensor]]:
    """The losses of a few steps, and the parameters after them."""
    model, (x, y) = network(t).to(device), (z.to(device) for z in data(t))
    optimizer = make(t, made, model.parameters())

    def loss_of(x: t.Tensor, y: t.Tensor) -> t.Tensor:
        return t.nn.functional.mse_loss(model(x), y)

    def step(x: t.Tensor, y: t.Tensor) -> t.Tensor:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    once = t.compile_step(loss_of, optimizer) if compiled else step
    return [once(x, y).item() for _ in range(4)], [p.detach() for p in model.parameters()]


@pytest.mark.parametrize(
    ("made", "compiled"), [*product(OPTIMISERS, [False, True]), *((made, False) for made in FACTORED)]
)
def test_an_optimiser_goes_the_way_it_goes_on_the_cpu(made: str, compiled: bool, device: str) -> None:
    losses, parameters = trained(made, device, compiled)
    expected, others = trained(made, "cpu", compiled=False)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for mine, theirs in zip(parameters, others, strict=True):
        np.testing.assert_allclose(mine.cpu().numpy(), theirs.numpy(), rtol=2e-3, atol=2e-5)
