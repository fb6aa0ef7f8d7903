"""Tensors of data that a user writes down are PyTorch's: values, dtypes, extents, marks; and those that
native code makes are those of the Python function around which it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import retrograd as rg
from retrograd.compiler.errors import RetrogradError

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")

DATA: tuple[Any, ...] = (
    0.5, 1, True, -3, -0.0, float("nan"), [], [[]], [[], []], [0.1, 0.2], (0.1, 0.2), [1, 2], [True, False],
    [True, 2], [True, 0.5], [1, 0.5], [[1, 2], [3, 4.5]], [(0.1,), [0.2]], [float("inf"), -1],
    [2**53 + 1], [-(2**63), 2**63 - 1], [-1], [127, -128], [[[1.0]] * 2] * 3, [0.25] * 100,
    np.float32(1.5), np.arange(3), np.arange(6.0).reshape(2, 3).T, np.array([True]), np.array(2.5),
)  # fmt: skip
"""What becomes a Tensor."""

REFUSED: tuple[Any, ...] = ([[1, 2], [3]], ["a"], "a", None, [None], {}, [1.5, "a"])
"""What does not."""

FLOATS, WHOLES = ("float32", "float64", "float16"), ("int64", "int32", "int16", "int8", "uint8")
OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {"dtype": None}, *({"dtype": name} for name in (*FLOATS, "bfloat16")), {"device": "cpu"},
    {"device": None}, {"requires_grad": False}, {"requires_grad": True}, {"requires_grad": 1}, {"unknown": 1},
    {"device": "cpu", "dtype": "float64", "requires_grad": True},
)  # fmt: skip

MAKERS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "tensor": lambda t: t.tensor,
    "as_tensor": lambda t: t.as_tensor,
    "new_tensor": lambda t: t.ones(2).new_tensor,
    "new_tensor of ints": lambda t: t.ones(2, dtype=t.int64).new_tensor,
}


def made(t: Any, make: Callable[..., Any], data: Any, options: dict[str, Any]) -> Any:
    """A Tensor as text, or whether there is none."""
    named = {k: getattr(t, v) if k == "dtype" and v else v for k, v in options.items()}
    try:
        x = make(data, **named)
    except (RetrogradError, TypeError, ValueError, RuntimeError):
        return "refused"
    return str(x.dtype), tuple(x.shape), repr(x.detach().tolist()), x.requires_grad, x.is_leaf, str(x.device)


@pytest.mark.parametrize("maker", ["tensor", "as_tensor", "asarray"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_data_become_what_they_become_in_pytorch(maker: str, options: dict[str, Any]) -> None:
    for data in (*DATA, *REFUSED):
        ours, theirs = (made(t, getattr(t, maker), data, options) for t in (rg, torch))
        assert ours == theirs, data


@pytest.mark.parametrize("name", WHOLES)
def test_whole_numbers_become_what_they_become_in_pytorch(name: str) -> None:
    for data in ([1, 2], [[0], [100]], 7, [True, 5], [127], [128], [-1], [2**31], [2**40]):
        ours, theirs = (made(t, t.tensor, data, {"dtype": name}) for t in (rg, torch))
        assert ours == theirs, data


@pytest.mark.parametrize("maker", MAKERS)
def test_native_tensors_are_those_made_in_python(maker: str) -> None:
    every = (*OPTIONS, *({"dtype": name} for name in (*WHOLES, "bool")))
    for data in (*DATA, *REFUSED, [2**53 + 1, 0.5], [300], [1e300], [2**70]):
        for options in every:
            native = MAKERS[maker](rg)
            plain = getattr(native, "__func__", native).__wrapped__
            in_python = plain.__get__(native.__self__) if hasattr(native, "__self__") else plain
            wanted = "refused" if "unknown" in options else made(rg, in_python, data, options)
            assert made(rg, native, data, options) == wanted, (data, options)


def test_tensor_copies_and_the_others_share() -> None:
    array = np.zeros(3, np.float32)
    copy, shared, whole = rg.tensor(array), rg.as_tensor(array), rg.from_numpy(array)
    array[0] = 1.0
    assert (copy[0].item(), shared[0].item(), whole[0].item()) == (0.0, 1.0, 1.0)
    assert rg.as_tensor(copy) is copy
    assert rg.as_tensor(copy, dtype=rg.float64) is not copy


def test_points_become_the_default_dtype_of_now() -> None:
    rg.set_default_dtype(rg.float64)
    try:
        assert (rg.tensor([0.5]).dtype, rg.tensor([]).dtype, rg.tensor([1]).dtype) == (
            rg.float64,
            rg.float64,
            rg.int64,
        )
    finally:
        rg.set_default_dtype(rg.float32)
    assert rg.tensor([0.5]).dtype is rg.float32


def test_in_a_trace_they_are_constants() -> None:
    f = rg.compile_grad(lambda x: (x * rg.tensor([0.5, 2.0])).sum())
    x = rg.tensor([1.0, 3.0], requires_grad=True)
    f(x).backward()
    assert x.grad.tolist() == [0.5, 2.0]


@pytest.mark.parametrize("make", ["zeros", "ones", "empty", "rand", "randn"])
def test_what_is_made_of_nothing_is_recorded_if_asked(make: str) -> None:
    for _ in range(4):
        x = getattr(rg, make)(3, requires_grad=True)
        assert (x.requires_grad, x.is_leaf, x.shape) == (True, True, (3,))
        (x * 2).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0, 2.0]
    for _ in range(4):
        with pytest.raises(RetrogradError, match="floating"):
            rg.zeros(3, dtype=rg.int64, requires_grad=True)


def test_numbers_that_are_recorded_are_those_of_the_seed() -> None:
    for _ in range(4):
        rg.manual_seed(3), torch.manual_seed(3)
        assert rg.randn(4, requires_grad=True).tolist() == torch.randn(4).tolist()


def test_in_inference_mode_they_are_inference_tensors() -> None:
    with rg.inference_mode():
        assert rg.tensor([0.5]).is_inference()
        assert rg.tensor([0.5], requires_grad=True).requires_grad
