"""The PyTorch-named functions against PyTorch itself: values, dtypes, shapes, gradients and errors.

A case is one line of text, evaluated once with `t` as PyTorch and once with `t` as Retrograd, on the same
operands (`operands`). To test a function, write a line into its table.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from function_cases import TABLES

import retrograd

TOLERANCE = {np.dtype("float64"): 1e-10, np.dtype("float32"): 2e-5, np.dtype("float16"): 2e-2}


def operands(t: Any, dtype: str, requires_grad: bool = True) -> dict[str, Any]:
    """The names that a case may use, made by the library `t`."""
    rng = np.random.default_rng(7)

    def made(array: Any, grad: bool = requires_grad) -> Any:
        tensor = t.tensor(np.asarray(array))
        return tensor.requires_grad_() if grad and tensor.is_floating_point() else tensor

    def random(*shape: int) -> Any:
        return made(rng.standard_normal(shape).astype(dtype))

    found = {
        "t": t,
        "x": random(3, 4),
        "y": random(3, 4),
        "c": random(2, 3, 4),
        "d": random(2, 4, 5),
        "a": random(4, 5),
        "q": random(4, 4),
        "v": random(4),
        "w": random(4),
        "u": random(3),
        "s": random(),
        "one": random(1, 4),
        "empty": random(0, 3),
        "zero": made(np.array([[0, 2, 0], [3, 0, 5], [1, 2, 3]]).astype(dtype)),
        "ties": made(np.array([[1, 2, 2], [3, 3, 1], [0, 0, 0]]).astype(dtype)),
        "bad": made(np.array([[np.nan, 2, 1], [np.inf, 0, -np.inf]]).astype(dtype)),
        "i": made(np.array([[5, 2, 7], [2, 0, 9]])),
        "j": made(np.array([2, 0, 1, 2])),
        "k": made(np.array([[0, 1, 2, 0], [2, 2, 1, 0]])),
        "b": made(np.array([[True, False, True, True], [False] * 4, [True] * 4])),
        "row": made(np.array([True, False, True])),
        "image": random(2, 4, 7, 6),
        "line": random(2, 4, 9),
        "kernel": random(6, 4, 3, 2),
        "kernel1": random(6, 4, 3),
        "labels": made(np.array([1, 0, 3])),
        "inf": float("inf"),
        "nan": float("nan"),
    }
    found["n"] = found["c"].transpose(0, 2)  # not contiguous
    return found


def flat(result: Any) -> Iterator[Any]:
    """The tensors and plain values of a result, however nested."""
    if isinstance(result, tuple | list):
        for each in result:
            yield from flat(each)
    else:
        yield result


def compare(ours: Any, theirs: Any) -> None:
    """Equal type, shape and dtype; values up to rounding."""
    if not hasattr(theirs, "detach"):
        assert str(ours) == str(theirs)
        return
    assert isinstance(ours, retrograd.Tensor)
    assert list(ours.shape) == list(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    expected = theirs.detach().resolve_neg().numpy()
    tolerance = TOLERANCE.get(expected.dtype, 0)
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


def run(case: str, names: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The value of a case and the gradients of a weighed sum of its floating results."""
    t = names["t"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if ";" in case:
            steps, _, last = case.rpartition("; ")
            exec(steps, names)
            result = eval(last, names)
        else:
            result = eval(case, names)
    loss = None
    for each in flat(result):
        if hasattr(each, "requires_grad") and each.requires_grad:
            weights = np.cos(np.arange(int(np.prod(each.shape)))).reshape(tuple(each.shape))
            term = (each * t.tensor(weights).to(each.dtype)).sum()
            loss = term if loss is None else loss + term
    if loss is None:
        return result, {}
    loss.backward()
    leaves = {name: x for name, x in names.items() if hasattr(x, "is_leaf") and x.is_leaf}
    return result, {name: x.grad for name, x in leaves.items() if x.grad is not None}


def check(case: str, torch: ModuleType, dtype: str) -> None:
    theirs, their_gradients = run(case, operands(torch, dtype))
    ours, our_gradients = run(case, operands(retrograd, dtype))
    results, expected = list(flat(ours)), list(flat(theirs))
    assert len(results) == len(expected)
    for one, other in zip(results, expected):
        compare(one, other)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        compare(our_gradients[name], gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [case for table in TABLES.values() for case in table])
def test_a_function_does_what_pytorch_does(torch: ModuleType, case: str, dtype: str) -> None:
    check(case.replace("np.", "__import__('numpy')."), torch, dtype)
