"""Tensors that share memory, and go on sharing it when one of them changes its sizes or takes other memory:
random programs of views, `resize_`, `set_` and updates, against PyTorch; and what histories come to.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retrograd as rg
from retrograd.compiler.errors import GradientError

Step = tuple[str, int, int, int]
"""What is done, and three numbers that say to which Tensor and how."""

_SHAPES = [(0,), (), (1,), (2,), (3,), (5,), (2, 2), (2, 3), (3, 1), (4, 2), (1, 2, 2), (9,), (3, 5)]


def _resized(t: Any, x: Any, a: int, grows: bool) -> None:
    """Other sizes; what memory there is more of is undefined in PyTorch, and so written at once."""
    shape = _SHAPES[a % len(_SHAPES)]
    held = x.untyped_storage().nbytes() // x.element_size()
    grown = x.storage_offset() + prod(shape) > held
    if grown and not grows:
        return
    x.resize_(shape)
    if grown:
        x.copy_(t.arange(prod(shape)).view(shape))


def _reshaped(x: Any, a: int) -> Any:
    return x.view(-1) if x.is_contiguous() else x.t() if x.dim() < 3 else x.transpose(0, a % 2 + 1)


def _unrecorded(t: Any, x: Any) -> Any:
    with t.no_grad():
        return x[:2] if x.dim() else x.view(1)


def _step(t: Any, pool: list[Any], step: Step, grows: bool) -> None:
    name, which, a, b = step
    x = pool[which % len(pool)]
    match name:
        case "slice" if x.dim() and x.shape[0] > a % 3:
            pool.append(x[a % 3 :: b % 2 + 1])
        case "select" if x.dim() and x.shape[0]:
            pool.append(x[a % x.shape[0]])
        case "reshape":
            pool.append(_reshaped(x, a))
        case "unrecorded":
            pool.append(_unrecorded(t, x))
        case "resize":
            _resized(t, x, a, grows)
        case "axes" if x.dim() < 3:
            (x.t_() if a % 2 else x.unsqueeze_(0)).add_(0)
        case "leave":
            x.set_(t.arange(100.0, 106.0).view(2, 3).t() if a % 2 else t.arange(50.0, 53.0))
        case "data":
            x.data = t.arange(20.0, 24.0).view(2, 2)
        case "join" if not grows:
            y = pool[b % len(pool)]
            x.set_(y) if a % 2 else x.set_(y.untyped_storage(), 0, (2,), (1,))
        case "add":
            x.add_(a + 1)
        case "write" if x.dim() and x.shape[0]:
            x[a % x.shape[0]] = b
        case "fill":
            x.fill_(a)


def _run(t: Any, base: Callable[[Any], Any], steps: list[Step], grows: bool, reads: bool) -> list[Any]:
    """What all Tensors show at the end, and on the way if somebody `reads`."""
    pool, seen = [base(t)], []
    for step in steps:
        try:
            _step(t, pool, step, grows)
        except RuntimeError:
            seen.append("refused")
        if reads:
            seen += [(x.tolist(), x.numel() and x.storage_offset()) for x in pool]
    return seen + [(x.tolist(), tuple(x.shape), _steps(x)) for x in pool]


def _steps(x: Any) -> list[int]:
    """Between elements along axes that have several."""
    return [step for size, step in zip(x.shape, x.stride()) if size > 1 and x.numel()]


_BASES: dict[str, Callable[[Any], Any]] = {
    "in order": lambda t: t.arange(6.0),
    "rows": lambda t: t.arange(6.0).view(2, 3).clone(),
    "turned": lambda t: t.arange(6.0).view(2, 3).t(),
    "every other": lambda t: t.arange(12.0)[1::2],
    "whole numbers": lambda t: t.arange(8),
}
_NAMES = [
    "slice", "select", "reshape", "unrecorded", "resize", "resize", "axes", "leave", "data", "join", "add",
    "write", "fill",
]  # fmt: skip
_STEPS = st.lists(
    st.tuples(st.sampled_from(_NAMES), st.integers(0, 5), st.integers(0, 30), st.integers(0, 5)), max_size=14
)


@pytest.mark.parametrize("base", list(_BASES))
@settings(max_examples=150, deadline=None)
@given(steps=_STEPS, grows=st.booleans(), reads=st.booleans())
def test_all_show_the_memory_that_pytorch_shows(
    base: str, steps: list[Step], grows: bool, reads: bool, torch: Any
) -> None:
    own, expected = (_run(t, _BASES[base], steps, grows, reads) for t in (rg, torch))

    assert own == expected


# ---- histories ---------------------------------------------------------------------------------------------


def _base_updated_after_resize(t: Any, k: Any) -> Any:
    x = t.arange(6.0)
    view = x[:4]
    x.resize_(2, 3).mul_(k)
    view.sum().backward()
    return view, k.grad


def _view_updated_after_resize(t: Any, k: Any) -> Any:
    x = t.arange(6.0)
    view = x.view(2, 3)
    x.resize_(4)
    x.resize_(3, 2)
    view.mul_(k)
    (x * x).sum().backward()
    return x, k.grad


def _resized_view_updated(t: Any, k: Any) -> Any:
    x = t.arange(6.0)
    view = x[1:3]
    view.resize_(2, 2).mul_(k[:, :2])
    (x * x).sum().backward()
    return x, k.grad


def _view_updated_after_set(t: Any, k: Any) -> Any:
    x = t.arange(6.0)
    view, other = x[2:], x.view(2, 3)
    x.set_(t.ones(3))
    view.mul_(k.flatten()[:4])
    other.sum().backward()
    return x, view, other, k.grad


def _moved_and_updated(t: Any, k: Any) -> Any:
    x = t.arange(6.0)
    view = x[1:4]
    x.resize_(3, 4).copy_(t.arange(12.0).view(3, 4))
    view.mul_(k[0])
    (x * x).sum().backward()
    return x, view, k.grad


def _rearranged_by_strides(t: Any, k: Any) -> Any:
    x = k * 2
    view = x[0, :2]
    x.as_strided_((3, 2), (1, 3))
    x.mul_(3)
    (view * view).sum().backward()
    return x, view, k.grad


@pytest.mark.parametrize(
    "program",
    [
        _base_updated_after_resize, _view_updated_after_resize, _resized_view_updated, _moved_and_updated,
        _rearranged_by_strides,
    ],
)  # fmt: skip
def test_histories_go_along_as_in_pytorch(program: Callable[[Any, Any], Any], torch: Any) -> None:
    own, expected = (
        [x.tolist() for x in program(t, t.arange(1.0, 7.0).view(2, 3).requires_grad_())] for t in (rg, torch)
    )

    assert own == expected


def test_views_of_memory_that_was_left_learn_of_each_other() -> None:
    k = rg.arange(1.0, 7.0).view(2, 3).requires_grad_()

    base, view, other, grad = _view_updated_after_set(rg, k)

    assert (base.tolist(), base.requires_grad) == ([1, 1, 1], False)
    assert (view.tolist(), other.tolist()) == ([2, 6, 12, 20], [[0, 1, 2], [6, 12, 20]])
    assert grad.tolist() == [[2, 3, 4], [5, 0, 0]]


def test_what_is_not_the_bases_any_more_has_no_history() -> None:
    x, k = rg.arange(6.0), rg.ones(2, requires_grad=True)
    view = x[3:]
    x.resize_(2)
    assert view.tolist() == [3, 4, 5]

    with pytest.raises(GradientError, match="the view's base would not learn of the history"):
        view.mul_(k[0])


# ---- axes of a view ----------------------------------------------------------------------------------------

_TURNS = {
    "t_": lambda x: x.t_(),
    "transpose_": lambda x: x.transpose_(0, 1),
    "there and back": lambda x: x.unsqueeze_(0).squeeze_(0),
    "through another axis": lambda x: x.unsqueeze_(0).transpose_(0, 1).squeeze_(1).t_(),
    "swapaxes_": lambda x: x.unsqueeze_(1).swapaxes_(0, 2).squeeze_(1),
}


@pytest.mark.parametrize("turn", list(_TURNS))
@pytest.mark.parametrize("of_a_view", [False, True])
def test_the_way_to_a_view_does_not_grow_with_changes_of_axes(turn: str, of_a_view: bool, torch: Any) -> None:
    def seen(t: Any) -> Any:
        k = t.arange(1.0, 7.0).view(2, 3).requires_grad_()
        base = t.arange(12.0).view(3, 4).clone()
        view = base[1:, :3]
        for _ in range(7):
            _TURNS[turn](view if of_a_view else base)
        view.mul_(k if view.shape == k.shape else k.t())
        for _ in range(7):
            _TURNS[turn](view if of_a_view else base)
        assert t is torch or len(view._view.path) <= 4
        (base * base).sum().backward()
        return [x.tolist() for x in (base, view, k.grad)]

    assert seen(rg) == seen(torch)


# ---- Tensors that nobody else looks at ---------------------------------------------------------------------

_ALONE: dict[str, Callable[[Any, Any], Any]] = {
    "fewer": lambda t, x: x.resize_(2, 2),
    "fewer, by a tuple": lambda t, x: x.resize_((3,)),
    "fewer, by a size": lambda t, x: x.resize_(t.Size([1, 5])),
    "none": lambda t, x: x.resize_(0, 3),
    "as they are": lambda t, x: x.resize_(*x.shape),
    "one, without axes": lambda t, x: x.resize_(()),
    "there and back": lambda t, x: x.resize_(2).resize_(3, 2),
    "more, then all": lambda t, x: x.resize_(2).resize_(1, 1, 6),
    "a negative size": lambda t, x: x.resize_(2, -1),
    "a size that is no number": lambda t, x: x.resize_(2, "a"),
    "of another": lambda t, x: x.resize_as_(t.ones(2, 1)),
    "of another without axes": lambda t, x: x.resize_as_(t.ones(())),
    "of one that is turned": lambda t, x: x.resize_as_(t.ones(3, 1).t()),
    "of a number": lambda t, x: x.resize_as_(3),
    "steps": lambda t, x: x.as_strided_((2, 2), (1, 3)),
    "steps from an offset": lambda t, x: x.as_strided_((2, 2), (1, 2), 2),
    "steps that repeat": lambda t, x: x.as_strided_((3, 2), (0, 1), 1),
    "steps in turn": lambda t, x: x.as_strided_((2,), (2,), 1).as_strided_((3, 2), (2, 1)),
    "steps in turn, all of it": lambda t, x: x.as_strided_((2,), (2,)).as_strided_((6,), (1,), 0),
    "no steps": lambda t, x: x.as_strided_((), (), 5),
    "steps to nothing": lambda t, x: x.as_strided_((0, 2), (2, 1)),
    "steps beyond": lambda t, x: x.as_strided_((4, 2), (2, 1)),
    "steps backwards": lambda t, x: x.as_strided_((2, 2), (-1, 1), 3),
    "steps of other axes": lambda t, x: x.as_strided_((2, 2), (1,)),
    "steps far beyond": lambda t, x: x.as_strided_((2**20, 2**20), (2**20, 1)),
    "memory": lambda t, x: x.set_(t.arange(4.0)),
    "memory that is turned": lambda t, x: x.set_(t.arange(4.0).view(2, 2).t()),
    "a part of memory": lambda t, x: x.set_(t.arange(9.0), 2, (2, 2)),
    "a part of a part": lambda t, x: x.set_(t.arange(9.0)[3:], 1, (2,), (3,)),
    "memory in steps": lambda t, x: x.set_(t.arange(9.0), 1, (2, 2), (1, 4)),
    "another dtype": lambda t, x: x.set_(t.arange(9)),
    "no memory": lambda t, x: x.set_(),
}  # fmt: skip
_STARTS: dict[str, Callable[[Any], Any]] = {
    "a vector": lambda t: t.arange(6.0) + 1,
    "rows": lambda t: (t.arange(6.0) + 1).reshape(2, 3).clone(),
    "recorded": lambda t: (t.arange(6.0) + 1).requires_grad_(),
    "known to another": lambda t: (t.arange(6.0) + 1)[:],
}


def _told(t: Any, change: Callable[[Any, Any], Any], start: Callable[[Any], Any]) -> Any:
    """What becomes of a Tensor, or what is said. By native calls from the first on."""
    x = start(t)
    try:
        found = change(t, x)
        x.mul_(2) if found is x and found.dim() and 0 not in found.stride() else None
    except (RuntimeError, TypeError) as error:
        return str(error).split(" (function ")[0]
    return x.tolist(), x.stride() if x.numel() else None, x.numel() and x.storage_offset(), x._version


@pytest.mark.parametrize("start", list(_STARTS))
@pytest.mark.parametrize("change", list(_ALONE))
def test_tensors_are_laid_otherwise_as_in_pytorch(change: str, start: str, torch: Any) -> None:
    own, expected = (_told(t, _ALONE[change], _STARTS[start]) for t in (rg, torch))

    assert own == expected
