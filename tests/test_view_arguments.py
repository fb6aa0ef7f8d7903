"""Views as arguments of compiled functions: read where they lie, natively, forward and backward, and true to
what they are views of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from frames import python_frames

import retrograd as rg
from retrograd.runtime.native.placing import placing

Make = Callable[[], Any]


def array(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


VIEWS: dict[str, Make] = {
    "transposed": lambda: array(5, 4).T,
    "rows": lambda: array(9, 5)[2:6],
    "columns": lambda: array(4, 9)[:, 3:8],
    "a block": lambda: array(9, 11)[2:6, 3:8],
    "every other": lambda: array(8, 10)[::2, ::2],
    "backwards": lambda: array(4, 5)[::-1, ::-1],
    "transposed and backwards": lambda: array(5, 4).T[::-1],
    "one axis of three": lambda: array(4, 3, 5)[:, 1],
    "axes exchanged": lambda: array(5, 1, 4).transpose(2, 1, 0)[:, 0],
    "Fortran's order": lambda: np.asfortranarray(array(4, 5)),
    "broadcast rows": lambda: np.broadcast_to(array(5), (4, 5)),
    "broadcast columns": lambda: np.broadcast_to(array(4, 1), (4, 5)),
    "broadcast and transposed": lambda: np.broadcast_to(array(4), (5, 4)).T,
    "one element broadcast": lambda: np.broadcast_to(array(1, 1), (4, 5)),
    "float32": lambda: array(5, 4, dtype=np.float32).T,
    "half": lambda: array(5, 4, dtype=np.float16).T,
    "int32": lambda: np.arange(20, dtype=np.int32).reshape(5, 4).T,
    "bool": lambda: (array(5, 4) > 0).T,
    "windows that meet": lambda: np.lib.stride_tricks.sliding_window_view(array(8), 5),
}
MEETING = "windows that meet"


def product(x: Any, y: Any) -> Any:
    return (x * y).sin() + x


@pytest.mark.parametrize("name", VIEWS)
def test_arrays_are_read_where_they_lie(name: str) -> None:
    x, y = VIEWS[name](), array(4, 5, seed=1)
    f = rg.compile_grad(product)
    for _ in range(3):
        expected = product(rg.from_numpy(np.ascontiguousarray(x)), rg.from_numpy(y)).numpy()
        np.testing.assert_allclose(f(x, y), expected, rtol=1e-12)
    if name not in (MEETING, "rows"):
        assert placing(x) is not None
    if name != MEETING:
        assert python_frames(lambda: f(x, y)) == []


TENSORS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "t": ((5, 4), lambda x: x.t()),
    "rows": ((9, 5), lambda x: x[3:7]),
    "columns": ((4, 9), lambda x: x[:, 2:7]),
    "a view of a view": ((9, 8), lambda x: x[3:8].t()[2:6]),
    "a view that is in order": ((2, 10), lambda x: x.view(4, 5)),
    "expand": ((1, 5), lambda x: x.expand(4, 5)),
    "flip of a view": ((5, 4), lambda x: x.t().flip(0)),
    "permuted": ((5, 4, 1), lambda x: x.permute(1, 0, 2)[:, :, 0]),
    "an element of a batch": ((3, 4, 5), lambda x: x[1]),
}


@pytest.mark.parametrize("result", ["vector", "scalar"])
@pytest.mark.parametrize("name", TENSORS)
def test_gradients_pass_through_views(name: str, result: str) -> None:
    shape, view = TENSORS[name]

    def function(x: Any, y: Any) -> Any:
        return product(x, y) if result == "vector" else product(x, y).sum()

    f = rg.compile_grad(function)
    y = rg.from_numpy(array(4, 5, seed=1))
    for turn in range(3):
        ours, eager = (rg.from_numpy(array(*shape, seed=turn)).requires_grad_() for _ in range(2))
        for called, x in ((f, ours), (function, eager)):
            called(view(x), y).sum().backward()
        np.testing.assert_allclose(ours.grad.numpy(), eager.grad.numpy(), rtol=1e-12)
    seen = view(ours)
    assert python_frames(lambda: f(seen, y)) == []


@pytest.mark.parametrize("name", TENSORS)
def test_value_and_gradient_by_views(name: str) -> None:
    shape, view = TENSORS[name]
    f = rg.compile_grad(wrt=(0, 1))(lambda x, y: product(x, y).sum())
    x, y = view(rg.from_numpy(array(*shape))), rg.from_numpy(array(4, 5, seed=1))
    expected = f.value_and_grad(x.clone().contiguous(), y)
    for _ in range(3):
        value, gradients = f.value_and_grad(x, y)
        np.testing.assert_allclose(value.item(), expected[0].item(), rtol=1e-12)
        for ours, theirs in zip(gradients, expected[1]):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)
    assert python_frames(lambda: f.value_and_grad(x, y)) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(3, 4, 5), (17, 33, 9), (64, 64, 64), (130, 70, 90)])
def test_products_of_views(sizes: tuple[int, int, int], dtype: Any) -> None:
    m, k, n = sizes
    f = rg.compile_grad(lambda a, b: a @ b)
    wide = array(m + 2, 2 * k, seed=3, dtype=dtype)
    lefts = [array(m, k, dtype=dtype), array(k, m, dtype=dtype).T, wide[1:-1, k:], wide[1:-1, ::2][::-1]]
    rights = [array(k, n, seed=1, dtype=dtype), array(n, k, seed=1, dtype=dtype).T]
    for a in lefts:
        for b in rights:
            for _ in range(2):
                tolerance = 1e-5 if dtype is np.float32 else 1e-13
                np.testing.assert_allclose(f(a, b), a @ b, rtol=tolerance, atol=tolerance * k)


def test_one_specialisation_serves_all_offsets() -> None:
    f, x = rg.compile_grad(lambda x: x.sum()), array(20, 30)
    for k in range(10):
        np.testing.assert_allclose(f(x[k : k + 5, k : k + 7]), x[k : k + 5, k : k + 7].sum(), rtol=1e-12)
    assert f.specialisations == 1


def test_other_strides_and_order_are_other_kinds() -> None:
    f, x = rg.compile_grad(lambda x: x * 2), array(4, 4)
    for _ in range(2):
        for view in (x, x.T, x[::-1], array(4, 8)[:, ::2]):
            np.testing.assert_array_equal(f(view), view * 2)
    assert f.specialisations == 4


# ---- bases that change -------------------------------------------------------------------------------------


def test_a_view_shows_what_its_base_was_given() -> None:
    f, base = rg.compile_grad(lambda x: x.sum()), rg.zeros(4, 6)
    view = base[:, ::2].t()
    for turn in range(4):
        base.fill_(turn)
        assert f(view).item() == 12 * turn
        view.add_(1)
        assert f(view).item() == 12 * (turn + 1)


def test_a_view_takes_the_history_that_its_base_was_given() -> None:
    f, w = rg.compile_grad(lambda x: (x * x).sum()), rg.ones(3).requires_grad_()
    base = rg.zeros(3, 2)
    view = base.t()[0]
    assert not f(view).requires_grad
    base[:, 0] = w * 2
    for _ in range(3):
        loss = f(view)
        w.grad = None
        loss.backward(retain_graph=True)
        np.testing.assert_array_equal(w.grad.numpy(), [8, 8, 8])


def test_a_view_that_is_needed_backward_must_not_change() -> None:
    f, x = rg.compile_grad(lambda x: x * x), rg.ones(3, 2).requires_grad_()
    for _ in range(3):
        base = x * 1
        y = f(base.t())
        base.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_a_view_of_an_argument_that_is_updated_is_refused() -> None:
    def add(x: Any, y: Any) -> Any:
        x.add_(y)
        return x.sum()

    f, x = rg.compile_grad(add), rg.ones(3, 3)
    for _ in range(2):
        assert f(rg.ones(3, 3), rg.ones(3, 3).t()).item() == 18
        with pytest.raises(ValueError, match="shares its memory"):
            f(x, x.t())
    np.testing.assert_array_equal(x.numpy(), np.ones((3, 3)))


def test_views_may_be_updated() -> None:
    def add(x: Any, y: Any) -> Any:
        x.add_(y)
        return x.sum()

    f, base = rg.compile_grad(add), rg.zeros(4, 6)
    for turn in range(1, 4):
        assert f(base[:, ::2].t(), rg.ones(3, 4)).item() == 12 * turn
        np.testing.assert_array_equal(base[:, ::2].numpy(), np.full((4, 3), turn))
        np.testing.assert_array_equal(base[:, 1::2].numpy(), np.zeros((4, 3)))


# ---- captured, and in steps --------------------------------------------------------------------------------


def test_captured_views_are_read_where_they_lie() -> None:
    base = rg.from_numpy(array(5, 4)).requires_grad_()
    w = base.t()
    f = rg.compile_grad(lambda x: (x * w).sum())
    x = rg.from_numpy(array(4, 5, seed=1))
    for _ in range(3):
        base.grad = None
        f(x).backward()
        np.testing.assert_allclose(base.grad.numpy(), x.t().numpy(), rtol=1e-12)
    assert python_frames(lambda: f(x)) == []


def test_a_captured_tensor_that_lies_otherwise_is_noticed() -> None:
    w = rg.from_numpy(array(4, 4))
    f, x = rg.compile_grad(lambda x: x * w), array(4, 4, seed=1)
    for data in (array(4, 4, seed=2), array(4, 4, seed=3).T, array(4, 4, seed=4)):
        w.data = rg.from_numpy(data)
        for _ in range(2):
            np.testing.assert_allclose(np.asarray(f(x)), x * data, rtol=1e-12)


def test_batches_of_steps_may_be_views() -> None:
    data = rg.from_numpy(array(8, 12, dtype=np.float32))

    def trained(of: Callable[[Any], Any]) -> Any:
        w = rg.nn.Parameter(rg.ones(4))
        step = rg.compile_step(lambda x: ((x @ w) ** 2).mean(), rg.optim.SGD([w], lr=0.1))
        for k in range(4):
            step(of(data[:, k : k + 4] if k % 2 else data[4:, k : k + 8].t()))
        return w.detach().numpy()

    np.testing.assert_allclose(trained(lambda x: x), trained(lambda x: x.clone().contiguous()), rtol=1e-6)


def test_a_parameter_that_is_no_array_in_order_is_moved() -> None:
    w = rg.nn.Parameter(rg.from_numpy(array(3, 2).T))
    before = w.detach().numpy().copy()
    step = rg.compile_step(lambda x: (x * w).sum(), rg.optim.SGD([w], lr=0.5))
    for turn in range(1, 4):
        step(rg.ones(2, 3, dtype=rg.float64))
        np.testing.assert_allclose(w.detach().numpy(), before - 0.5 * turn, rtol=1e-12)


@pytest.mark.parametrize("make_alike", [lambda w: w, lambda w: w.t(), lambda w: w[:]], ids=["it", "t", "all"])
def test_a_batch_that_is_the_parameter_is_read_before_it_moves(make_alike: Callable[[Any], Any]) -> None:
    """Whatever came before: the plan is made for memory apart."""
    start = array(33, 33)
    w = rg.nn.Parameter(rg.from_numpy(start.copy()))
    step = rg.compile_step(lambda x: (x.t() * x.t() * w).sum(), rg.optim.SGD([w], lr=0.1))
    expected = start
    for alike in (False, False, True, True):
        batch = (
            make_alike(w.detach()) if alike else rg.from_numpy(np.ascontiguousarray(array(33, 33, seed=1)))
        )
        x = batch.numpy().copy()
        step(batch)
        expected = expected - 0.1 * (x * x).T
        np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-10)
