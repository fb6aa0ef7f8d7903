"""Views of memory by sizes and strides are PyTorch's: elements, strides, histories, and what is written.

Every call is made several times: the first ones are Python's, the others native.
"""

from __future__ import annotations

from typing import Any

import pytest

import retrograd
from retrograd.compiler.errors import ShapeError

TIMES = 4

OPERANDS = ["b", "b[1]", "b.t()", "b[:, 1:3]", "b[1:].t()", "b.detach()", "b.sin().t()", "b[1].detach()"]
LAYOUTS: list[tuple[Any, ...]] = [
    ((2, 2), (1, 2)),
    ((2, 2), (1, 2), 1),
    ((2, 2), (1, 1)),
    ((3, 2), (0, 1)),
    ([2], [1], 2),
    ((), ()),
    ((0, 2), (2, 1)),
]


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("grad", [True, False])
def test_a_view_by_strides_is_pytorchs(torch: Any, operand: str, layout: tuple[Any, ...], grad: bool) -> None:
    def seen(t: Any) -> list[Any]:
        found = []
        for turn in range(TIMES):
            b = (t.arange(12.0).reshape(3, 4).requires_grad_() * 2).clone()
            x = eval(operand, {"b": b})
            with t.set_grad_enabled(grad):
                view = x.as_strided(*layout)
            found += [view.tolist(), view.stride(), view.requires_grad, view.is_leaf]
            found.append(view.storage_offset() if view.numel() else None)
            if "detach" not in operand and "sin" not in operand and turn % 2:
                with t.no_grad():
                    b.mul_(3)
                found.append(view.tolist())
        return found

    assert seen(retrograd) == seen(torch)


@pytest.mark.parametrize("operand", ["b", "b.t()", "b.view(2, 6).t()"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cotangents_go_to_their_places(torch: Any, operand: str, layout: tuple[Any, ...]) -> None:
    def seen(t: Any) -> list[Any]:
        found = []
        for _ in range(TIMES):
            leaf = t.arange(12.0).reshape(3, 4).requires_grad_()
            view = eval(operand, {"b": leaf * 2}).as_strided(*layout)
            (view * t.arange(1.0, view.numel() + 1).reshape(view.shape)).sum().backward()
            found += [leaf.grad.tolist(), view.grad_fn.name()]
        return found

    assert seen(retrograd) == seen(torch)


@pytest.mark.parametrize(
    ("sizes", "steps"), [((40, 30), (1, 1)), ((50, 40, 3), (40, 1, 0)), ((30, 40), (1, 30))]
)
def test_many_cotangents_go_to_their_places(
    torch: Any, sizes: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    def seen(t: Any, copies: int) -> Any:
        x = t.zeros(2000 * copies, dtype=t.float64).requires_grad_()
        view = x.as_strided((copies, *sizes), (2000, *steps))
        view.backward(t.arange(float(view.numel()), dtype=t.float64).reshape(view.shape))
        return x.grad.tolist()

    for copies in (1, 12):
        assert seen(retrograd, copies) == seen(torch, copies)


@pytest.mark.parametrize("operand", ["b", "b[1]", "b.t()", "b[:, 1:3]"])
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout[1] not in ((1, 1), (0, 1))])
def test_a_tensor_becomes_a_view_of_its_memory(torch: Any, operand: str, layout: tuple[Any, ...]) -> None:
    def seen(t: Any) -> list[Any]:
        leaf = t.arange(12.0).reshape(3, 4).requires_grad_()
        base = (leaf * 2).clone()
        x = eval(operand, {"b": base})
        x.as_strided_(*layout)
        x.mul_(3)
        (base * base).sum().backward()
        return [x.tolist(), x.stride(), base.tolist(), leaf.grad.tolist()]

    assert seen(retrograd) == seen(torch)


def test_what_reaches_beyond_the_memory_is_refused_every_time() -> None:
    x = retrograd.ones(2, 3)
    for _ in range(TIMES):
        with pytest.raises(ShapeError, match="out of bounds for storage of size 24"):
            x.as_strided((2, 3), (3, 1), 1)


def test_a_view_of_other_memory_is_no_old_one() -> None:
    for size in (6, 8, 6, 8, 6, 8):
        x = retrograd.arange(float(size)).reshape(2, -1)
        assert x[1].as_strided((2,), (1,)).tolist() == [size / 2, size / 2 + 1]
        assert x.t()[1].as_strided((2,), (size // 2,)).tolist() == [1, size / 2 + 1]


@pytest.mark.parametrize("operand", [each.replace("sin", "square") for each in OPERANDS])
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_a_copy_with_other_elements_by_strides_is_pytorchs(
    torch: Any, operand: str, layout: tuple[Any, ...]
) -> None:
    """And so is the derivative by these elements, where PyTorch has one."""

    def seen(t: Any) -> list[Any]:
        found = []
        for turn in range(TIMES):
            b = t.arange(12.0).reshape(3, 4).clone()
            x = eval(operand, {"b": b})
            source = t.full(layout[0], -1.0 - turn).requires_grad_()
            copy = x.as_strided_scatter(source, *layout)
            found += [copy.tolist(), copy.stride(), b.tolist()]
            if operand == "b":
                (slope,) = t.autograd.grad((copy * copy).sum(), source)
                found += [slope.tolist(), copy.grad_fn.name(), copy._version]
        return found

    assert seen(retrograd) == seen(torch)


def test_a_copy_with_elements_of_another_shape_is_refused_each_time() -> None:
    for _ in range(TIMES):
        with pytest.raises(ShapeError, match="expected src to have a size equal to the slice of self"):
            retrograd.ones(6).as_strided_scatter(retrograd.ones(3), (2,), (2,))
