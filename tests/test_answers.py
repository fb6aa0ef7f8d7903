"""What a Tensor says of itself is what PyTorch says, whichever way its elements lie and wherever it came
from; and native code says what the Python function says around which it is made.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import retrograd as rg
from retrograd.compiler.errors import RetrogradError
from retrograd.runtime.eager.instant.part import available
from retrograd.runtime.tensor import Tensor

TENSORS: dict[str, Callable[[Any], Any]] = {
    "vector": lambda t: t.tensor([0.5, 2.0, -1.5]),
    "number": lambda t: t.tensor(2.5),
    "whole": lambda t: t.tensor(-3),
    "truth": lambda t: t.tensor(True),
    "one of one": lambda t: t.tensor([[0.25]]),
    "nan": lambda t: t.tensor(float("nan")),
    "infinite": lambda t: t.tensor(float("inf")),
    "empty": lambda t: t.ones(0, 3),
    **{f"of {name}": lambda t, name=name: t.ones(2, 3, dtype=getattr(t, name)) for name in (
        "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")},
    "transposed": lambda t: t.ones(2, 3).t(),
    "part": lambda t: t.ones(4, 5)[1:3, ::2],
    "expanded": lambda t: t.ones(3).expand(2, 3),
    "another's memory": lambda t: t.from_numpy(np.arange(6.0).reshape(2, 3).T),
    "leaf": lambda t: t.ones(3, requires_grad=True),
    "with gradient": lambda t: with_gradient(t),
    "recorded": lambda t: t.ones(3, requires_grad=True) * 2,
    "one of several": lambda t: t.ones(2, 3, requires_grad=True).unbind(0)[1],
    "view of what changed": lambda t: view_of_what_changed(t),
    "parameter": lambda t: t.nn.Parameter(t.ones(2)),
    "of inference": lambda t: in_inference(t),
}  # fmt: skip

QUESTIONS: dict[str, Callable[[Any, Any], Any]] = {
    **{name: lambda t, x, name=name: getattr(x, name) for name in (
        "ndim", "nbytes", "itemsize", "is_leaf", "requires_grad", "is_cuda", "is_cpu", "is_sparse",
        "is_quantized", "is_mkldnn", "is_nested", "is_meta")},
    **{name: lambda t, x, name=name: str(getattr(x, name)) for name in (
        "dtype", "device", "layout", "shape")},
    **{name: lambda t, x, name=name: getattr(x, name)() for name in (
        "numel", "nelement", "dim", "ndimension", "size", "stride", "is_contiguous", "storage_offset", "type",
        "element_size", "is_floating_point", "is_complex", "is_signed", "is_inference", "get_device",
        "is_conj", "is_neg", "is_shared", "tolist", "item", "is_nonzero", "__bool__", "__int__",
        "__float__")},
    **{f"{name}({dim})": lambda t, x, name=name, dim=dim: getattr(x, name)(dim)
       for name in ("size", "stride") for dim in (0, -1, 1, 2, -3, None, "0")},
    **{f"shape[{place}]": lambda t, x, place=place: x.shape[place] for place in (0, -1, 1, slice(1), 9)},
    "grad": lambda t, x: x.grad if x.grad is None else x.grad.tolist(),
    "grad_fn": lambda t, x: x.grad_fn and x.grad_fn.name(),
    "data": lambda t, x: (x.data.requires_grad, x.data.is_leaf, x.data.tolist()),
    "address": lambda t, x: (x.data.data_ptr() == x.data_ptr(), x.data_ptr() == address_of(t, x)),
    **{f"function {name}": lambda t, x, name=name: getattr(t, name)(x) for name in (
        "is_tensor", "numel", "is_floating_point", "is_complex", "is_nonzero", "is_conj", "is_neg")},
}  # fmt: skip


def address_of(t: Any, x: Any) -> Any:
    """Where NumPy says that the elements are, if it has such numbers."""
    known = x.numel() and x.dtype is not t.bfloat16
    return x.detach().numpy().ctypes.data if known else x.data_ptr()


def with_gradient(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    return x


def view_of_what_changed(t: Any) -> Any:
    x = t.ones(3, requires_grad=True) * 1
    view = x[1:]
    x.mul_(2)
    return view


def in_inference(t: Any) -> Any:
    with t.inference_mode():
        return t.ones(3) * 2


def outcome(question: Callable[[Any, Any], Any], t: Any, x: Any) -> Any:
    """The answer, as text, for a NaN equals none; or the error's words."""
    try:
        return repr(question(t, x))
    except Exception as error:
        return str(error).partition("\n")[0]


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_pytorchs(question: str) -> None:
    ask = QUESTIONS[question]
    for name, make in TENSORS.items():
        assert outcome(ask, rg, make(rg)) == outcome(ask, torch, make(torch)), name


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.skipif(not available(), reason="objects are laid out in another way")
def test_native_answers_are_those_in_python() -> None:
    for name in (
        "numel",
        "stride",
        "data_ptr",
        "is_contiguous",
        "dtype",
        "grad_fn",
        "grad",
        "device",
        "tolist",
    ):
        member = vars(Tensor)[name]
        native = member.fget if isinstance(member, property) else member
        for make in TENSORS.values():
            x = make(rg)
            assert repr(native(x)) == repr(native.__wrapped__(x))


def test_steps_backwards_are_known() -> None:
    x = rg.from_numpy(np.arange(6.0)[::-1])
    assert (x.stride(), x.stride(0), x.is_contiguous(), x.storage_offset()) == ((-1,), -1, False, 5)


@pytest.mark.filterwarnings("ignore:f changes the size of asked")
def test_in_a_trace_the_compiled_function_answers() -> None:
    asked: list[Any] = []

    @rg.compile_grad
    def f(x: rg.Tensor) -> rg.Tensor:
        y = (x * 2).t()
        asked.append(
            (y.shape, y.size(0), y.stride(), y.numel(), y.is_contiguous(), y.dtype, y.device, y.ndim)
        )
        asked.append((y.grad, y.is_leaf, bool(y.sum() > 0), y.shape[-1]))
        return y.sum()

    f(rg.ones(2, 3, requires_grad=True))
    assert asked[0] == (rg.Size([3, 2]), 3, (1, 3), 6, False, rg.float32, rg.device("cpu"), 2)
    assert asked[1] == (None, False, True, 2)


@pytest.mark.filterwarnings("ignore:f changes the size of asked")
def test_a_closed_over_tensor_answers_in_a_trace_as_outside() -> None:
    outside, asked = rg.ones(2, 3), list[Any]()

    @rg.compile_grad
    def f(x: rg.Tensor) -> rg.Tensor:
        asked.append((outside.numel(), outside.stride(), outside.dtype, outside.requires_grad))
        return (x * outside).sum()

    f(rg.ones(2, 3, requires_grad=True))
    assert asked[0] == (6, (3, 1), rg.float32, False)


def test_arguments_that_do_not_fit_are_refused_as_ever() -> None:
    for wrong in (
        lambda: Tensor.numel(3),
        lambda: rg.ones(2).numel(1),
        lambda: rg.ones(2).dim(x=1),
        rg.is_tensor,
    ):
        with pytest.raises((TypeError, AttributeError, RetrogradError)):
            wrong()


def test_equal_devices_are_one_object_that_nobody_changes() -> None:
    cpu, gpu = rg.device("cpu"), rg.device("cuda:1")
    again = (rg.device("cuda", 1), copy.deepcopy(gpu), pickle.loads(pickle.dumps(gpu)))
    assert all(each is gpu for each in again)
    assert cpu is rg.ones(1).device
    assert gpu != rg.device("cuda")
    for name in ("type", "index"):
        with pytest.raises(
            AttributeError, match=f"attribute '{name}' of 'torch.device' objects is not writable"
        ):
            setattr(cpu, name, "cuda")


NAMED = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def test_what_is_known_of_dtypes_stays() -> None:
    for _ in range(3):
        for one in NAMED:
            for other in NAMED:
                ours, theirs = ((getattr(t, one), getattr(t, other)) for t in (rg, torch))
                assert rg.can_cast(*ours) == torch.can_cast(*theirs)
                x, y = (rg.ones(2, dtype=d) for d in ours)
                a, b = (torch.ones(2, dtype=d) for d in theirs)
                assert str(rg.result_type(x, y)) == str(torch.result_type(a, b))
                assert str(rg.result_type(x[0], y)) == str(torch.result_type(a[0], b))
                assert str(rg.result_type(x, 1.5)) == str(torch.result_type(a, 1.5))
        for name in NAMED[:4]:
            assert rg.finfo(getattr(rg, name)).eps == torch.finfo(getattr(torch, name)).eps
        for name in NAMED[4:9]:
            assert rg.iinfo(getattr(rg, name)).max == torch.iinfo(getattr(torch, name)).max
        for wrong in (
            lambda: rg.finfo(rg.int64),
            lambda: rg.iinfo(rg.float32),
            lambda: rg.can_cast(rg.int8, 3),
        ):
            with pytest.raises(RetrogradError):
                wrong()


def test_the_result_of_numbers_is_the_default_dtype_of_now() -> None:
    k, found = rg.ones(2, dtype=rg.int64), []
    for default in (rg.float32, rg.float64, rg.float32):
        rg.set_default_dtype(default)
        found += [rg.result_type(k, 0.5) for _ in range(12)]
    assert found == [rg.float32] * 12 + [rg.float64] * 12 + [rg.float32] * 12


def test_leaves_are_recorded_from_then_on() -> None:
    for _ in range(3):
        x = rg.ones(3)
        assert x.requires_grad_() is x
        assert (x.requires_grad, x.requires_grad_().requires_grad) == (True, True)
        assert x.requires_grad_(False).requires_grad is False
        view = rg.ones(3)[1:].requires_grad_()
        (view * 2).sum().backward()
        assert view.grad.tolist() == [2.0, 2.0]
        for wrong in (rg.ones(2, dtype=rg.int64), in_inference(rg)):
            with pytest.raises(RetrogradError):
                wrong.requires_grad_()


def test_sizes_and_types_are_compared_anew() -> None:
    x, y, z = rg.ones(2, 3), rg.ones(2, 3), rg.ones(3, 2)
    for _ in range(4):
        assert (x.is_same_size(y), x.is_same_size(z)) == (True, False)
        assert x.type(rg.float32) is x
        assert x.type(rg.float64).dtype is rg.float64
        assert (x.type("torch.LongTensor").dtype, x.type()) == (rg.int64, "torch.FloatTensor")
