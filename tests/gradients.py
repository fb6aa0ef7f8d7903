"""How tests check derivatives: reverse mode over a small graph, against finite differences and against
PyTorch.

In flow a function of values and arrays for it; `check` fails where value, first or second derivative are
wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import retrograd.compiler.ops  # noqa: F401  # fills OPS
from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Array, Builder, Graph, Node, Type, Value, interpret
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.ops.reverse import backpropagate
from retrograd.compiler.ops.rows import rows

Function = Callable[..., Value]


def type_of(value: Array) -> Type:
    return Type(value.shape, dtypes.of(value))


def graph_of(function: Function, arrays: Sequence[Array]) -> Graph:
    """The function's value as a graph."""
    builder = Builder()
    inputs = [builder.input(f"x{k}", type_of(a)) for k, a in enumerate(arrays)]
    return Graph("value", tuple(inputs), (function(*inputs),))


def gradient(function: Function, arrays: Sequence[Array]) -> Function:
    """Arrays and a cotangent in, the cotangents of the floating arrays out; at any level."""
    graph = graph_of(function, arrays)
    (out,) = graph.outputs
    cotangent = out.builder.input("cotangent", out.type)
    wanted = [i for i in graph.inputs if i.dtype.is_floating_point]
    total: dict[Node, Value] = backpropagate({out: cotangent}, wanted)
    present = [i for i in wanted if i in total]
    reverse = Graph("gradient", (*graph.inputs, cotangent), tuple(total[i] for i in present))

    def run(*values: Value) -> list[Value | None]:
        found = dict(zip(present, interpret(reverse, values), strict=True))
        return [found.get(i) for i in wanted]

    return run


def floating(arrays: Sequence[Array]) -> list[int]:
    return [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]


def like(arrays: Sequence[Array], seed: int) -> list[Array]:
    """Random arrays of the same shapes."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(a.shape) for a in arrays]


def differences(
    function: Function, arrays: Sequence[Array], seed: int, step: float = 1e-6
) -> tuple[float, float]:
    """The slope of Σ function·u in a random direction: by central differences, and by reverse mode."""
    chosen = floating(arrays)
    directions = like([arrays[k] for k in chosen], seed)

    def moved(by: float) -> list[Array]:
        result = list(arrays)
        for k, direction in zip(chosen, directions, strict=True):
            result[k] = arrays[k] + by * direction
        return result

    (weights,) = like([np.asarray(function(*arrays))], seed + 1)
    up, down = (float(np.sum(function(*moved(by)) * weights)) for by in (step, -step))
    found = gradient(function, arrays)(*arrays, weights)
    slope = sum(float(np.sum(g * d)) for g, d in zip(found, directions, strict=True) if g is not None)
    return (up - down) / (2 * step), slope


def contracted(function: Function, arrays: Sequence[Array], seed: int) -> Function:
    """Σ gradient·u as a function of the arrays and the cotangent: its slope is the second derivative."""
    run = gradient(function, arrays)
    weights = like([arrays[k] for k in floating(arrays)], seed)

    def total(*values: Value) -> Value:
        parts = [
            sum_(g * w, range(len(g.shape)))
            for g, w in zip(run(*values), weights, strict=True)
            if g is not None
        ]
        result = parts[0]
        for part in parts[1:]:
            result = rows.add(result, part)
        return result

    return total


def check_slopes(function: Function, *arrays: Array, second: bool = True, tolerance: float = 1e-6) -> None:
    """First and second derivatives against finite differences."""
    with np.errstate(all="ignore"):
        expected, found = differences(function, arrays, seed=1)
        np.testing.assert_allclose(
            found, expected, rtol=tolerance, atol=tolerance, err_msg="first derivative"
        )
        if second:
            (cotangent,) = like([np.asarray(function(*arrays))], seed=2)
            again = contracted(function, arrays, seed=3)
            expected, found = differences(again, [*arrays, cotangent], seed=4)
            np.testing.assert_allclose(
                found, expected, rtol=tolerance, atol=tolerance, err_msg="second derivative"
            )


def check_peer(
    function: Function, theirs: Callable[..., Any], *arrays: Array, tolerance: float = 1e-10
) -> None:
    """Value and gradients against PyTorch, at the level of arrays and of a graph."""
    import torch

    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    expected = theirs(*tensors)
    close = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
    with np.errstate(all="ignore"):
        value = np.asarray(function(*arrays))
        assert dtypes.of(value) is dtypes.of(expected.detach().numpy())
        np.testing.assert_allclose(value, expected.detach().numpy(), **close, err_msg="value")
        graph = graph_of(function, arrays)
        assert graph.outputs[0].type == type_of(value)
        np.testing.assert_allclose(interpret(graph, arrays)[0], value, **close, err_msg="value of the graph")
        if not expected.requires_grad:
            return
        (cotangent,) = like([value], seed=5)
        cotangent = cotangent.astype(value.dtype)
        found = gradient(function, arrays)(*arrays, cotangent)
    wanted = [t for t in tensors if t.requires_grad]
    slopes = torch.autograd.grad(expected, wanted, torch.tensor(cotangent), allow_unused=True)
    for ours, slope in zip(found, slopes, strict=True):
        if slope is None:
            assert ours is None or not np.any(ours)
        else:
            ours = np.zeros(slope.shape) if ours is None else ours
            assert ours.shape == tuple(slope.shape)
            np.testing.assert_allclose(ours, slope.numpy(), **close, err_msg="gradient")


def check(function: Function, theirs: Callable[..., Any], *arrays: Array, second: bool = True) -> None:
    """Value and gradients against PyTorch, then both derivatives against finite differences."""
    check_peer(function, theirs, *arrays)
    check_slopes(function, *arrays, second=second)
