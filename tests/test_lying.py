"""Where the elements of results lie, by calls that meet operands of many layouts by turns: PyTorch's strides.

The plans of a function are kept by its operands' strides, and lay its results natively from the second on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import retrograd

LAYOUTS = [
    "a.reshape(2, 3, 4, 5)",
    "a.reshape(5, 4, 3, 2).permute(3, 2, 1, 0)",
    "a.reshape(2, 4, 5, 3).permute(0, 3, 1, 2)",
    "a.reshape(2, 3, 5, 4).mT",
    "a.reshape(3, 2, 4, 5).transpose(0, 1)[:, :, ::2].repeat_interleave(2, 2)",
    "a.repeat(2).reshape(4, 3, 4, 5)[::2]",
    "a.repeat(2).reshape(8, 3, 2, 5).permute(2, 1, 0, 3)[:, :, ::2]",
]
"""Of operands of one shape."""

CALLS = [
    "t.zeros_like(x)",
    "t.ones_like(x, dtype=t.float64)",
    "t.full_like(x, 2.5)",
    "x.flip(1)",
    "x.flip(0, 2, 3)",
    "x.sort(1)",
    "x.argsort(-1)",
    "x.diff(dim=2)",
    "t.where(x > 9, x, y)",
    "t.lerp(x, y, 0.5)",
    "t.addcmul(y, x, x)",
    "x.clamp(y, y + 3)",
    "x.masked_fill(x > 7, 0.5)",
    "x.index_fill(1, t.tensor([0, 2]), 1.5)",
    "F.avg_pool2d(x, 2)",
    "F.max_pool2d(x, 2, return_indices=True)",
    "F.interpolate(x, scale_factor=2)",
    "F.group_norm(x, 3)",
    "F.channel_shuffle(x, 3)",
    "x.put(t.tensor([0, 7]), t.tensor([1.5, 2.5]))",
    "x.index_put((t.tensor([0, 1]), t.tensor([2, 1])), y[0, 0])",
    "F.adaptive_max_pool1d(x[0], 2, return_indices=True)",
    "x.rot90()",
    "x.rot90(2, (1, 2))",
    "x.rot90(-1, (3, 1))",
    "x.quantile(t.tensor([0.25, 0.5]), dim=1)",
    "x.quantile(t.tensor([0.25, 0.5]), 2, True)",
    "x.quantile(0.25, dim=3)",
    "t.einsum('abij,abjk->abik', x, y.mT)",
    "t.einsum('abij,acij->abc', x, y)",
    "t.einsum('abij,abij->jiba', x, y)",
    "t.einsum('abij->jbi', x)",
    "F.pad(x, (1, 0, 2, 1), mode='replicate')",
    "x.tril()",
    "x.triu(1)",
    "x.mean()",
    "x.norm()",
]


@pytest.mark.parametrize("call", CALLS)
def test_results_lie_as_pytorchs_whatever_layout_comes_next(torch: Any, call: str) -> None:
    def seen(t: Any, turn: int) -> list[Any]:
        x, y = (eval(LAYOUTS[k % len(LAYOUTS)], {"a": t.arange(120.0)}) for k in (turn, turn // 3))
        made = eval(call, {"t": t, "F": t.nn.functional, "x": x, "y": y})
        return [(np.asarray(r), r.stride()) for r in (made if isinstance(made, tuple) else (made,))]

    for turn in [*range(len(LAYOUTS)), *range(len(LAYOUTS))] * 3:
        for (ours, strides), (theirs, expected) in zip(seen(retrograd, turn), seen(torch, turn), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
            assert strides == expected, LAYOUTS[turn % len(LAYOUTS)]


@pytest.mark.parametrize(
    "call", ["x.exp()", "x.relu()", "x.tanh()", "t.nn.functional.gelu(x)", "x.sigmoid()"]
)
@pytest.mark.parametrize("layout", [
    "a[:8].reshape(4, 2).expand(3, 4, 2)", "a[:12].reshape(4, 3).t().expand(2, 3, 4)",
    "a[:6].reshape(2, 1, 3).expand(2, 4, 3).transpose(0, 2)", "a[:4].reshape(4, 1).expand(4, 3)[:, None]",
    "a.reshape(5, 24)[:1]", "a.reshape(10, 12)[:, :1]", "a[:3].reshape(1, 3).t()", "a[:1].expand(3, 4)",
])  # fmt: skip
def test_elements_that_are_repeated_lie_as_pytorchs(torch: Any, layout: str, call: str) -> None:
    """`TensorIterator::reorder_dimensions`: axes along which elements are repeated stay where they are."""

    def seen(t: Any) -> Any:
        return eval(call, {"t": t, "x": eval(layout, {"a": t.arange(120.0) / 60})})

    expected = seen(torch)
    for _ in range(3):
        np.testing.assert_allclose(seen(retrograd), expected, rtol=1e-5)
        assert seen(retrograd).stride() == expected.stride()


@pytest.mark.parametrize("call", ["x.flip(0)", "x.sort(0)[0]", "x.tril()", "t.where(x > 4, x, 0)"])
def test_cotangents_of_results_that_are_laid(torch: Any, call: str) -> None:
    def slopes(t: Any) -> list[Any]:
        found = []
        for layout in ["a.reshape(3, 4)", "a.reshape(4, 3).t()"] * 4:
            leaf = t.arange(12.0).requires_grad_()
            (
                eval(call, {"t": t, "x": eval(layout, {"a": leaf})}) * t.arange(12.0).reshape(3, 4)
            ).sum().backward()
            found.append(leaf.grad.tolist())
        return found

    assert slopes(retrograd) == slopes(torch)


@pytest.mark.parametrize(
    "call",
    [
        "t.empty_strided((2, 3), (1, 2))",
        "t.empty_permuted((2, 3, 4), (2, 0, 1))",
        "t.empty_strided((2, 3), (4, 1))",
        "t.ones(2).new_empty_strided((2, 3), (1, 2))",
    ],
)
def test_what_is_made_with_strides_has_them_every_time(torch: Any, call: str) -> None:
    for _ in range(4):
        made = eval(call, {"t": retrograd})
        assert made.stride() == eval(call, {"t": torch}).stride()
        assert made.fill_(1).sum() == made.numel()


@pytest.mark.parametrize(
    "index", ["np.int64(1)", "(slice(None), np.int64(-1))", "(np.int64(0), np.int64(2))"]
)
def test_integers_of_numpy_are_indices(torch: Any, index: str) -> None:
    def seen(t: Any) -> list[Any]:
        x = t.arange(12.0).reshape(3, 4)
        found = [x[eval(index, {"np": np})].tolist() for _ in range(4)]
        with pytest.raises(IndexError):
            _ = x[np.int64(7)]
        return found

    assert seen(retrograd) == seen(torch)


def test_as_tensor_converts_and_keeps_the_history(torch: Any) -> None:
    def seen(t: Any) -> list[Any]:
        found = []
        for dtype in [t.float64, t.float32, t.int32, t.float64, t.bfloat16] * 3:
            x = t.ones(3, requires_grad=True)
            made = t.as_tensor(x, dtype=dtype)
            found += [made.tolist(), str(made.dtype).partition(".")[2], made is x]
            found.append(made.grad_fn and made.grad_fn.name())
        return found

    assert seen(retrograd) == seen(torch)


def test_what_a_call_names_is_looked_up_once() -> None:
    class Holder:
        asked = 0

        @property
        def x(self) -> retrograd.Tensor:
            self.asked += 1
            return retrograd.ones(2, 3)

    holder = Holder()
    for turn in range(6):
        assert holder.x.flip(1).shape == (2, 3)
        assert holder.asked == turn + 1


def test_a_view_that_has_been_written_to_is_written_to_natively_next(torch: Any) -> None:
    def seen(t: Any) -> list[Any]:
        base = t.arange(6.0).reshape(2, 3)
        view = base.t()
        for _ in range(5):
            view.zero_().add_(1).mul_(2).clamp_(min=0)
        counted = base._version
        base.mul_(3)
        return [base.tolist(), view.tolist(), counted, view._version]

    assert seen(retrograd) == seen(torch)
