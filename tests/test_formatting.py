"""The printed text of tensors: fixed texts that need no PyTorch, then equality with PyTorch's own."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from retrograd.compiler.errors import ArgumentError, DtypeError, RetrogradError
from retrograd.runtime import formatting
from retrograd.runtime.formatting import (
    format_tensor,
    get_printoptions,
    printoptions,
    set_printoptions,
    tensor_repr,
)

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SHAPES = (
    (), (0,), (1,), (2,), (7,), (13,), (40,), (0, 3), (3, 0), (2, 0, 4), (1, 1), (2, 2), (3, 9), (2, 3, 4),
    (1, 2, 1, 3), (1001,), (1000,), (7, 200), (200, 7), (6, 6, 40), (11, 12, 13), (1, 2, 3, 300), (5, 1200),
)  # fmt: skip
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"precision": 0},
    {"precision": 8},
    {"linewidth": 20},
    {"linewidth": 200},
    {"threshold": 5},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 0},
    {"sci_mode": True},
    {"sci_mode": False},
    {"profile": "short"},
    {"profile": "full"},
    {"profile": "short", "precision": 3},
)


@pytest.fixture(autouse=True)
def _default_options() -> Iterator[None]:
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


def repr_of(values: object, dtype: str = "float32", **about: Any) -> str:
    return tensor_repr(np.array(values, dtype=dtype), **about)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            repr_of([[1, 1], [1, 1]], requires_grad=True),
            "tensor([[1., 1.],\n        [1., 1.]], requires_grad=True)",
        ),
        (repr_of([0.1, 2.25, -3]), "tensor([ 0.1000,  2.2500, -3.0000])"),
        (repr_of(3.0), "tensor(3.)"),
        (
            repr_of(2.5, grad_fn_name="MeanBackward0", requires_grad=True),
            "tensor(2.5000, grad_fn=<MeanBackward0>)",
        ),
        (repr_of([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
        (repr_of([1e9, 2e9]), "tensor([1.0000e+09, 2.0000e+09])"),
        (repr_of([1, np.nan, -np.inf]), "tensor([1., nan, -inf])"),
        (repr_of([0.5, np.nan, -np.inf]), "tensor([0.5000,    nan,   -inf])"),
        (repr_of([np.nan]), "tensor([nan])"),
        (repr_of([0.0, -0.0]), "tensor([0., -0.])"),
        (repr_of([True, False], "bool"), "tensor([ True, False])"),
        (repr_of([1, -20], "int64"), "tensor([  1, -20])"),
        (repr_of([1, -20], "int32"), "tensor([  1, -20], dtype=torch.int32)"),
        (repr_of([1.5], "float64"), "tensor([1.5000], dtype=torch.float64)"),
        (repr_of([1.5], "float64", default_dtype="float64"), "tensor([1.5000])"),
        (repr_of([]), "tensor([])"),
        (repr_of(np.empty((0, 3))), "tensor([], size=(0, 3))"),
        (repr_of([], "int64"), "tensor([], dtype=torch.int64)"),
        (repr_of([1.0], device="cuda:0"), "tensor([1.], device='cuda:0')"),
        (repr_of(np.arange(1001), "int64"), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
        (repr_of([1.0], prefix="Parameter("), "Parameter([1.])"),
    ],
)
def test_fixed_text(text: str, expected: str) -> None:
    assert text == expected


def test_a_suffix_past_the_line_width_starts_a_new_line() -> None:
    text = repr_of([0.5] * 8, grad_fn_name="SigmoidBackward0")

    assert text == (
        "tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000],\n"
        "       grad_fn=<SigmoidBackward0>)"
    )


def test_a_long_row_is_broken_and_indented() -> None:
    assert repr_of(np.arange(30), "int64") == (
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    )


def test_a_blank_line_stands_between_matrices() -> None:
    assert repr_of(np.zeros((2, 1, 2))) == "tensor([[[0., 0.]],\n\n        [[0., 0.]]])"


def test_a_summary_shows_the_edges_of_every_axis() -> None:
    assert repr_of(np.arange(10000).reshape(100, 100), "int64") == (
        "tensor([[   0,    1,    2,  ...,   97,   98,   99],\n"
        "        [ 100,  101,  102,  ...,  197,  198,  199],\n"
        "        [ 200,  201,  202,  ...,  297,  298,  299],\n"
        "        ...,\n"
        "        [9700, 9701, 9702,  ..., 9797, 9798, 9799],\n"
        "        [9800, 9801, 9802,  ..., 9897, 9898, 9899],\n"
        "        [9900, 9901, 9902,  ..., 9997, 9998, 9999]])"
    )


def test_format_tensor_appends_the_suffixes_given() -> None:
    text = format_tensor(np.ones(2, dtype=np.float32), suffixes=["a=1", "b=2"])

    assert text == "tensor([1., 1.], a=1, b=2)"


def test_options_hold_inside_the_block_only() -> None:
    with printoptions(precision=1, sci_mode=True):
        assert get_printoptions()["precision"] == 1
        assert repr_of([2.5]) == "tensor([2.5e+00])"

    assert repr_of([2.5]) == "tensor([2.5000])"


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ArgumentError, match="known profiles are default, short, full"):
        set_printoptions(profile="tiny")


@pytest.mark.parametrize("option", ["precision", "threshold", "edgeitems", "linewidth"])
def test_a_negative_option_is_refused_and_changes_nothing(option: str) -> None:
    before = get_printoptions()

    options: dict[str, Any] = {option: -1}
    with pytest.raises(ArgumentError, match=f"{option}=-1; {option} must be at least"):
        set_printoptions(**options)

    assert get_printoptions() == before


@pytest.mark.parametrize("dtype", ["S3", "object", "U3"])
def test_a_dtype_without_a_tensor_is_refused(dtype: str) -> None:
    with pytest.raises(DtypeError, match="tensors hold numbers and booleans") as raised:
        tensor_repr(np.ones(2).astype(dtype))
    assert isinstance(raised.value, RetrogradError)


def generated(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
    """Arrays of every look: whole, fractional, wide-ranging, tiny, huge, with zeros, infinities and NaN."""
    if dtype == "bool":
        yield rng.integers(0, 2, shape).astype(dtype)
        return
    if dtype in INTEGERS:
        info = np.iinfo(dtype)
        yield np.array(rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True))
        yield np.array(rng.integers(0, 10, shape)).astype(dtype)
        return
    normal = np.asarray(rng.standard_normal(shape))
    looks = [
        normal,
        np.round(normal * 10),
        normal * 1e-5,
        normal * 2e4,
        np.round(normal * 3e8),
        np.exp(normal * 6),
    ]
    for look in looks:
        with np.errstate(over="ignore"):
            plain = np.asarray(look.astype(dtype))
        yield plain
        special = rng.choice(np.array([0.0, -0.0, np.nan, np.inf, -np.inf]), shape)
        yield np.where(rng.random(shape) < 0.3, special, plain).astype(dtype)
    yield np.asarray(special).astype(dtype)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
def test_the_text_is_pytorchs(torch: ModuleType, dtype: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(sum(map(ord, dtype)))
    plain = options in ({}, {"threshold": 5, "edgeitems": 1})
    shapes = SHAPES if plain else SHAPES[::2]
    torch.set_printoptions(profile="default")
    try:
        torch.set_printoptions(**options)
        set_printoptions(**options)
        for shape in shapes:
            for array in generated(dtype, shape, rng):
                if array.size > 2000 and options.get("profile") == "full":
                    continue
                assert tensor_repr(array) == repr(torch.from_numpy(array.copy()))
    finally:
        torch.set_printoptions(profile="default")


@pytest.mark.parametrize("length", range(1, 30))
def test_suffixes_wrap_where_pytorch_wraps_them(torch: ModuleType, length: int) -> None:
    for dtype in ("float32", "float64"):
        for shape in ((length,), (2, length)):
            array = np.full(shape, 0.5, dtype=dtype)
            leaf = torch.from_numpy(array.copy()).requires_grad_()

            assert tensor_repr(array, requires_grad=True) == repr(leaf)
            assert tensor_repr(array / 2, requires_grad=True, grad_fn_name="DivBackward0") == repr(leaf / 2)


@pytest.mark.parametrize("default", FLOATS)
def test_the_default_dtype_is_not_shown(torch: ModuleType, default: str) -> None:
    torch.set_default_dtype(getattr(torch, default))
    try:
        for dtype in (*FLOATS, "int64", "bool"):
            for shape in ((), (2,), (0,), (0, 2)):
                array = np.ones(shape, dtype=dtype)
                assert tensor_repr(array, default_dtype=default) == repr(torch.from_numpy(array))
    finally:
        torch.set_default_dtype(torch.float32)


def test_options_are_set_as_pytorch_sets_them(torch: ModuleType) -> None:
    try:
        for options in OPTIONS:
            torch.set_printoptions(**options)
            set_printoptions(**options)
            assert get_printoptions() == torch._tensor_str.get_printoptions()
    finally:
        torch.set_printoptions(profile="default")


def test_strided_arrays_print_like_their_copies() -> None:
    array = np.arange(24.0, dtype=np.float32).reshape(4, 6).T[::2]

    assert tensor_repr(array) == tensor_repr(array.copy())
    assert formatting.format_tensor(array).count("\n") == 2
