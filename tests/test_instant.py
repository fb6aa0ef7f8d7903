"""Native eager calls do what the Python functions do around which they are made: values, histories, errors.

A native function's `__wrapped__` is that Python function, so the two can be compared. Every call is made
several times: the first ones are Python's in any case, for from them the native side learns.
"""

from __future__ import annotations

import copy
import functools
import gc
import itertools
import operator
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import GradientError, RetrogradError
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.eager.instant import calls, doors
from retrograd.runtime.eager.instant.part import available
from retrograd.runtime.eager.instant.records import DTYPES
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.otherwise import UNCONFIRMED
from retrograd.runtime.eager.replay import planned
from retrograd.runtime.functions.rows import APPLY, ROWS, taken_dtypes
from retrograd.runtime.native.small import one_pass

pytestmark = pytest.mark.skipif(not available(), reason="objects are laid out in another way")

SHAPES = [((), ()), ((3,), (3,)), ((0,), (0,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((1,), (2000,))]
NUMBERS = (2, 0.5, 0, 0.0, -0.0, float("nan"), float("inf"), True)


def again(f: Callable[[], Any], times: int = 4) -> Any:
    """The last of several calls."""
    for _ in range(times):
        result = f()
    return result


def elements(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> rg.Tensor:
    values = np.random.default_rng(seed).uniform(0.1, 0.9, shape) * (1 if dtype.kind == "f" else 5)
    return rg.from_numpy(np.asarray(values).astype(dtype))


def outcome(f: Callable[..., Any], *operands: Any) -> Any:
    """What a call gives, in bits (but that of a NaN, which has no sign), or how it fails."""
    try:
        result = f(*operands)
    except RetrogradError as error:
        return type(error), str(error).rpartition(": ")[2]
    if result is NotImplemented:
        return result
    array = result.detach().numpy()
    if array.dtype.kind in "fV":
        array = np.where(array != array, np.full_like(array, np.nan), array)
    return array.dtype, array.shape, array.tobytes(), result.grad_fn and result.grad_fn.name()


# ---- late functions ----------------------------------------------------------------------------------------


def test_a_late_function_is_made_once_and_stays_itself() -> None:
    def like(x: int) -> int:
        """Doubles."""
        return 2 * x

    made: list[Callable[..., Any]] = []

    def make() -> Callable[..., Any]:
        made.append(calls.itself(1, lambda x: 2 * x))
        return made[0]

    late = doors.late(like, make)
    assert (late.__name__, late.__doc__, made) == ("like", "Doubles.", [])
    x = rg.ones(3)
    assert [late(4), late(5), len(made)] == [8, 10, 1]
    assert late(x) is x
    assert late.__wrapped__ is made[0].__wrapped__


def test_a_late_function_that_cannot_be_made_says_so_at_every_call() -> None:
    def make() -> Callable[..., Any]:
        raise RetrogradError("not today")

    late = doors.late(make, make)
    for _ in range(3):
        with pytest.raises(RetrogradError, match="not today"):
            late(1)


def test_threads_that_come_first_make_a_late_function_once() -> None:
    made: list[int] = []

    def make() -> Callable[..., Any]:
        made.append(1)
        return calls.itself(1, lambda x: -x)

    late, results = doors.late(make, make), list[int]()
    threads = [threading.Thread(target=lambda: results.append(late(7))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results, made) == ([-7] * 8, [1])


# ---- rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.arity < 3])
def test_rows_give_the_same_bits(name: str) -> None:
    native, arity = APPLY[name], ROWS[name].arity
    for dtype in [d for d in DTYPES if d in taken_dtypes(ROWS[name])]:
        for seed, shapes in enumerate(SHAPES):
            operands = [elements(shape, dtype, seed + k) for k, shape in enumerate(shapes[:arity])]
            expected = outcome(native.__wrapped__, *operands)
            assert again(lambda: outcome(native, *operands)) == expected  # noqa: B023  # called at once


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.arity == 2])
def test_rows_take_numbers_on_either_side(name: str) -> None:
    native = APPLY[name]
    for dtype in (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)):
        x = elements((3,), dtype, 0)
        x = x.requires_grad_() if dtype.kind == "f" else x
        for number in NUMBERS:
            for pair in ((x, number), (number, x)):
                expected = outcome(native.__wrapped__, *pair)
                assert again(lambda: outcome(native, *pair)) == expected  # noqa: B023  # called at once


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.arity == 2])
def test_rows_of_operands_of_two_dtypes(name: str) -> None:
    native = APPLY[name]
    for one, other in itertools.permutations(map(np.dtype, ("f4", "f8", "i8", "u1", "?")), 2):
        for shapes in SHAPES[1:5:3]:
            x, y = elements(shapes[0], one, 0), elements(shapes[1], other, 1)
            x = x.requires_grad_() if one.kind == "f" else x
            expected = outcome(native.__wrapped__, x, y)
            assert again(lambda: outcome(native, x, y)) == expected  # noqa: B023  # called at once


def test_a_cast_operand_has_its_gradient() -> None:
    for whole in (
        rg.tensor([2, 3]),
        rg.tensor(2.0, dtype=rg.float64),
        rg.tensor([1.5, 3.0], dtype=rg.float64),
    ):
        w = rg.ones(2, requires_grad=True)
        (gradient,) = rg.autograd.grad(again(lambda: whole * w * w).sum(), w)  # noqa: B023  # called at once
        assert gradient.dtype is rg.float32
        assert gradient.tolist() == (2 * whole * rg.ones(2)).tolist()


@pytest.mark.parametrize("name", ["mul", "div", "exp", "tanh", "maximum"])
def test_a_recorded_row_keeps_what_its_adjoint_looks_at(name: str) -> None:
    def gradients(f: Callable[..., Any]) -> Any:
        operands = [elements((3,), np.dtype(np.float32), k).requires_grad_() for k in range(ROWS[name].arity)]
        again(lambda: f(*operands)).sum().backward()
        return [x.grad.numpy().tobytes() for x in operands if x.grad is not None]

    assert gradients(APPLY[name]) == gradients(APPLY[name].__wrapped__)


def test_operands_that_do_not_go_together_are_told_so_at_every_call() -> None:
    x, y = rg.ones(3), rg.ones(4)
    for _ in range(4):
        with pytest.raises(RetrogradError, match="must match the size"):
            x + y


def test_a_kept_operand_that_changes_is_noticed() -> None:
    w, x = rg.ones(3, requires_grad=True), rg.ones(3)
    product = again(lambda: w * x)
    x.add_(1)
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        product.sum().backward()


@pytest.mark.parametrize(("apply", "curvature"), [
    (lambda w, x: w + x, 2.0), (lambda w, x: w.reshape(50, 100), 2.0), (lambda w, x: w.sum(), 10000.0),
    (lambda w, x: x - w, 2.0), (lambda w, x: rg.where(x > 2, w, x), 2.0),
])  # fmt: skip
def test_large_operands_that_no_adjoint_looks_at_are_let_go(
    apply: Callable[[Any, Any], Any], curvature: float
) -> None:
    """An array in their place has their shape, and the memory of one element."""
    w, x = rg.ones(5000, requires_grad=True), rg.arange(5000.0)
    out = again(lambda: apply(w, x))
    looked_at = {place for *_, place in out.grad_fn.guards}
    let_go = [kept for place, kept in enumerate(out.grad_fn.inputs) if place not in looked_at]
    arrays = [kept for kept in let_go if isinstance(kept, np.ndarray)]
    assert let_go
    assert not any(any(kept.strides) for kept in arrays)
    (slope,) = rg.autograd.grad((out * out).sum(), w, create_graph=True)
    (found,) = rg.autograd.grad(slope.sum(), w)
    np.testing.assert_allclose(found.numpy()[-1], curvature)


# ---- steps and views ---------------------------------------------------------------------------------------

MOVES: list[Callable[[Any], Any]] = [
    lambda x: x.t(),
    lambda x: x[1],
    lambda x: x[:, 1],
    lambda x: x[::2, 1:],
    lambda x: x.reshape(-1),
    lambda x: x.unsqueeze(1),
    lambda x: x.expand(2, 3, 4),
    lambda x: x.permute(1, 0)[1:].t(),
    lambda x: x[None, ..., 0],
]


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("grad", [True, False])
def test_views_lie_where_numpy_puts_them(move: Callable[[Any], Any], grad: bool) -> None:
    bases = [
        np.arange(12.0).reshape(3, 4),
        np.arange(12.0).reshape(4, 3).T,
        np.arange(24.0).reshape(3, 8)[:, ::2],
    ]
    for array in bases * 3:
        x = rg.from_numpy(array)
        view = move(x.requires_grad_() if grad else x)
        expected = move(_Plain(array)).array
        assert view.detach().numpy().ctypes.data == expected.ctypes.data
        assert _steps(view.detach().numpy()) == _steps(expected)
        assert view.numpy(force=True).flags.writeable == expected.flags.writeable
        assert view._view.base is x
        assert view.requires_grad is grad


def _steps(array: Any) -> tuple[tuple[int, ...], list[int]]:
    """The shape, and the strides that lead anywhere."""
    return array.shape, [step for step, size in zip(array.strides, array.shape, strict=True) if size > 1]


class _Plain:
    """An array that takes the moves, in NumPy alone."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def t(self) -> _Plain:
        return _Plain(self.array.T)

    def __getitem__(self, index: Any) -> _Plain:
        return _Plain(self.array[index])

    def reshape(self, size: int) -> _Plain:
        flat = self.array.reshape(size)
        if not np.shares_memory(flat, self.array):
            pytest.skip("a copy")
        return _Plain(flat)

    def unsqueeze(self, axis: int) -> _Plain:
        return _Plain(np.expand_dims(self.array, axis))

    def expand(self, *shape: int) -> _Plain:
        return _Plain(np.broadcast_to(self.array, shape))

    def permute(self, *axes: int) -> _Plain:
        return _Plain(self.array.transpose(axes))


def test_a_view_sees_what_happened_to_its_base() -> None:
    w = rg.ones(2, 3, requires_grad=True)
    for _ in range(4):
        base = w * 1.0
        row = base[0]
        base.mul_(3)
        assert row.grad_fn.name() == "AsStridedBackward0"
        doubled = row * 2
        assert doubled.tolist() == [6.0, 6.0, 6.0]
        (gradient,) = rg.autograd.grad(doubled.sum(), w)
        assert gradient.tolist() == [[6.0] * 3, [0.0] * 3]


def test_a_copy_made_by_reshape_is_no_view() -> None:
    flat = again(lambda: rg.ones(2, 3).t().reshape(6))
    assert flat._view is None


def test_modes_are_asked_at_every_call() -> None:
    w = rg.ones(3, requires_grad=True)
    for _ in range(3):
        assert (w * 2.0).sum().requires_grad
        with rg.no_grad():
            assert not (w * 2.0).sum().requires_grad
    with rg.autograd.set_detect_anomaly(True):
        assert (w * 2.0).grad_fn.extras.where is not None


def test_many_operands_are_recorded_as_few_are() -> None:
    parts = [rg.full((2,), float(k), requires_grad=True) for k in range(10)]
    for count in (2, 3, 4, 10):
        joined = again(lambda: rg.cat(parts[:count]))  # noqa: B023  # called at once
        assert joined.tolist() == [float(k) for k in range(count) for _ in range(2)]
        (gradient,) = rg.autograd.grad((joined * joined).sum(), parts[count - 1])
        assert gradient.tolist() == [2.0 * (count - 1)] * 2


# ---- keys --------------------------------------------------------------------------------------------------


def test_an_index_out_of_bounds_is_told_at_every_call() -> None:
    x = rg.arange(9.0).reshape(3, 3)
    for index in ([0, 3], ([0], [4]), (rg.tensor([0]), rg.tensor([4])), rg.tensor([3])):
        for _ in range(4):
            with pytest.raises(IndexError, match=r"out of bounds for dimension \d with size 3"):
                x[index]


def test_a_new_default_dtype_is_heeded() -> None:
    assert again(lambda: rg.zeros(2)).dtype is rg.float32
    rg.set_default_dtype(rg.float64)
    try:
        assert again(lambda: rg.zeros(2)).dtype is rg.float64
    finally:
        rg.set_default_dtype(rg.float32)


def test_new_tensors_have_memory_of_their_own() -> None:
    made = [rg.ones(3) for _ in range(6)]
    made[-1].add_(1)
    assert [x.tolist() for x in made[:-1]] == [[1.0] * 3] * 5
    assert rg.ones(3).tolist() == [1.0] * 3


def test_a_size_given_as_a_tensor_is_looked_at() -> None:
    assert [rg.zeros(rg.tensor(n)).numel() for n in (2, 3, 4, 5)] == [2, 3, 4, 5]
    assert [rg.arange(rg.tensor(n)).numel() for n in (2, 3, 4, 5)] == [2, 3, 4, 5]


@pytest.mark.parametrize("size", [1 << 70, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)])
def test_arguments_that_are_no_key_are_taken_all_the_same(size: Any) -> None:
    x = rg.ones(3)
    for _ in range(4):
        with pytest.raises(RetrogradError):
            x.reshape(size)


def test_long_keys_are_taken_all_the_same() -> None:
    parts = [rg.full((1,) * 7, float(k)) for k in range(20)]
    assert again(lambda: rg.cat(parts, dim=3)).flatten().tolist() == [float(k) for k in range(20)]


# ---- what is asked of a Tensor -----------------------------------------------------------------------------


def test_a_conversion_that_changes_nothing_gives_the_tensor_itself() -> None:
    x = rg.ones(3)
    for same in (
        lambda: x.cpu(),
        lambda: x.to("cpu"),
        lambda: x.to(rg.device("cpu")),
        lambda: x.to(rg.float32),
        lambda: x.to(rg.zeros(2)),
        lambda: x.float(),
    ):
        assert again(same) is x
    assert again(lambda: x.to("cpu", copy=True)) is not x
    assert again(lambda: x.to("cpu", rg.float64)).dtype is rg.float64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "uint8", "bool"])
def test_the_only_element_as_a_number(dtype: str) -> None:
    for value in (1, 0, float("nan"), float("-inf"), -0.0, 1e-40):
        if value == 1 or (dtype.startswith("float") and dtype != "float16"):
            array = np.array(value, dtype)
            for x in (rg.from_numpy(array), rg.from_numpy(array.reshape(1, 1))):
                assert repr(x.item()) == repr(array.item())
                assert repr(float(x)) == repr(float(array.item()))


def test_the_only_element_of_a_view_is_that_of_now() -> None:
    base = rg.zeros(2, requires_grad=True) * 1.0
    view = base[1]
    base.add_(2.5)
    assert (view.item(), float(view)) == (2.5, 2.5)


def test_a_plan_tells_truths() -> None:
    run: list[int] = []

    def same(x: rg.Tensor, y: rg.Tensor) -> bool:
        run.append(1)
        return x.shape == y.shape and bool((x == y).all())

    told, x = planned(same, planner="truth"), rg.ones(3)
    answers = [told(x, x.clone()) for _ in range(4)]
    before = len(run)
    answers += [told(x, x.clone()), told(x, 2 * x)]
    assert (answers, len(run)) == ([True] * 5 + [False], before)


def test_a_truth_about_two_tensors() -> None:
    x, other = rg.tensor([1.0, float("nan"), 3.0]), rg.tensor([1.0, float("nan"), 3.5])
    whole = rg.tensor([1, 2, 3])
    for _ in range(4):
        assert rg.equal(whole, whole.clone()) is True
        assert rg.equal(whole, whole + whole) is False
        assert (rg.equal(x, x.clone()), rg.equal(x[::2], x[::2].clone())) == (False, True)
        assert (rg.equal(whole, rg.zeros(2)), rg.equal(rg.zeros(0), rg.zeros(0))) == (False, True)
        assert (rg.allclose(x, other), rg.allclose(x, other, atol=0.5, equal_nan=True)) == (False, True)
        with pytest.raises(RetrogradError, match="must match the size"):
            rg.allclose(rg.zeros(2), rg.zeros(3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
def test_places_are_those_of_numpy(dtype: str) -> None:
    for shape in ((4,), (2, 3), (3, 1, 2), (0,), (2, 0), (1,)):
        array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
        if array.dtype.kind == "f" and array.size:
            array.flat[0], array.flat[-1] = np.nan, -0.0
        for laid in (array, array.T, array[::-1], np.stack([array, array], -1)[..., 0]):
            x, expected = rg.from_numpy(laid), laid.nonzero()
            for found in (again(lambda: rg.where(x)), again(lambda: x.nonzero(as_tuple=True))):  # noqa: B023
                assert [each.tolist() for each in found] == [each.tolist() for each in expected]
            found = again(lambda: rg.nonzero(x))  # noqa: B023  # called at once
            assert (found.dtype, found.shape) == (rg.int64, (len(expected[0]), laid.ndim))
            assert found.tolist() == np.argwhere(laid).tolist()
    assert again(lambda: rg.tensor(2).nonzero()).shape == (1, 0)


def test_places_of_a_view_are_those_of_now() -> None:
    w = rg.zeros(3, requires_grad=True)
    for _ in range(4):
        base = w * 1.0
        view = base[1:]
        base.add_(rg.tensor([0.0, 0.0, 1.0]))
        assert view.nonzero().tolist() == [[1]]
        assert view.nonzero().requires_grad is False


def test_a_choice_by_bytes_is_warned_about_at_every_call() -> None:
    x = rg.ones(2)
    for _ in range(4):
        with pytest.warns(UserWarning, match="uint8 condition"):
            rg.where(rg.tensor([0, 1], dtype=rg.uint8), x, 0.0)


def test_several_elements_are_no_number() -> None:
    for x in (rg.ones(2), rg.ones(0)):
        with pytest.raises(RetrogradError, match="cannot be converted to Scalar"):
            x.item()
        with pytest.raises(RetrogradError, match="only one element tensors"):
            float(x)


# ---- as objects --------------------------------------------------------------------------------------------


def test_native_functions_are_copied_by_name() -> None:
    assert copy.deepcopy([rg.exp])[0] is rg.exp
    assert rg.matmul.__name__ == "matmul"
    assert "matrix product" in rg.matmul.__doc__
    assert repr(rg.Tensor.matmul) == repr(rg.matmul)


def test_a_method_is_bound() -> None:
    x = rg.ones(3)
    exp = x.exp
    assert exp().tolist() == again(lambda: x.exp()).tolist()
    assert rg.Tensor.exp(x).tolist() == exp().tolist()


def test_parameters_are_tensors_too() -> None:
    weight = rg.nn.Parameter(rg.ones(2, 2))
    product = again(lambda: weight @ weight)
    assert type(product) is rg.Tensor
    product.sum().backward()
    assert weight.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]


CALLS: list[Callable[[Any, Any], Any]] = [
    lambda x, w: x + w,
    lambda x, w: x * 2.0,
    lambda x, w: w.exp(),
    lambda x, w: w @ x,
    lambda x, w: w.t(),
    lambda x, w: w[0, 1:],
    lambda x, w: x.sum(),
    lambda x, w: rg.cat([x, x]),
    lambda x, w: rg.zeros(3),
    lambda x, w: x > 0,
    lambda x, w: w.t()[1],
    lambda x, w: x.max(),
    lambda x, w: x * x.double(),
    lambda x, w: x.to("cpu"),
    lambda x, w: rg.equal(x, w),
    lambda x, w: (x.nonzero(), rg.where(x)),
    lambda x, w: w.trace(),
    lambda x, w: float(x.cpu()[0, 0].item()),
    lambda x, w: rg.nn.functional.binary_cross_entropy(x, w),
    lambda x, w: x.mul_(1.0),
    lambda x, w: (x[x > 2], w[w > 0], w[w[0] > 0]),
    lambda x, w: operator.setitem(x, (0, slice(1)), 1.0),
    lambda x, w: operator.setitem(x, x > 2, x[0, 0]),
    lambda x, w: operator.setitem(w * 2, 0, w[1]),
    lambda x, w: (w * x).mul_(w).add_(x).tanh_(),
    lambda x, w: rg.zeros(3, 3).addcmul_(w, w, value=2.0).masked_fill_(x > 2, 0.0),
]


@pytest.mark.usefixtures("collects_its_own")
@pytest.mark.parametrize("call", CALLS)
def test_nothing_leaks(call: Callable[[Any, Any], Any]) -> None:
    x, w = rg.ones(3, 3), rg.ones(3, 3, requires_grad=True)
    shared = (None, True, False, x, w, x._value, w._value, x._value.dtype)

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(thing) for thing in shared]

    again(lambda: call(x, w))
    before = counts()
    for _ in range(500):
        call(x, w)
    assert all(after - was < 100 for was, after in zip(before, counts(), strict=True))


def test_threads_do_not_meet() -> None:
    x = rg.linspace(0, 1, 300_000)
    expected = (x.exp() * x).numpy().tobytes()
    found: list[bytes] = []

    def work() -> None:
        for _ in range(10):
            found.append((x.exp() * x).numpy().tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 40


def test_an_interrupt_is_passed_on() -> None:
    def compute(*arrays: Any) -> Any:
        raise KeyboardInterrupt

    op: Any = ROWS["exp"]
    native = calls.step(op, kind_of(op), 1, compute, lambda x: pytest.fail("asked again"), "", True)
    with pytest.raises(KeyboardInterrupt):
        native(rg.ones(3))


# ---- single functions --------------------------------------------------------------------------------------


def test_a_view_that_memory_does_not_allow_is_refused_at_every_call() -> None:
    for _ in range(4):
        whole = rg.ones(2, 3).view(6)
        assert whole.tolist() == [1.0] * 6
        with pytest.raises(RetrogradError, match="view size is not compatible"):
            rg.ones(3, 2).t().view(6)


def test_a_clone_has_memory_of_its_own_and_keeps_the_order() -> None:
    x = rg.arange(6.0).reshape(2, 3).t()
    copied = again(lambda: x.clone())
    copied[0, 0] = 9
    assert copied.stride() == x.stride()
    assert x[0, 0].item() == 0


def test_contiguous_is_the_tensor_itself_where_it_can_be() -> None:
    x = rg.arange(6.0).reshape(2, 3)
    assert again(lambda: x.contiguous()) is x
    assert again(lambda: x.t().contiguous()).stride() == (2, 1)


def test_a_mask_picks_what_it_shows() -> None:
    x = rg.arange(6.0).reshape(2, 3)
    for limit in (0, 2, 5, 9):
        assert again(lambda: x[x > limit]).tolist() == [k for k in range(6) if k > limit]  # noqa: B023
    w = rg.ones(3, requires_grad=True)
    again(lambda: w[rg.tensor([True, False, True])]).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 0.0, 1.0]


def test_conversions_give_the_dtype_that_is_asked_for() -> None:
    x = rg.ones(3, requires_grad=True)
    for dtype in (rg.float64, rg.float32, rg.int64, rg.float16):
        assert again(lambda: x.to(dtype)).dtype is dtype  # noqa: B023
    assert again(lambda: x.to(rg.float32)) is x
    assert again(lambda: x.to(rg.float32, copy=True)) is not x
    assert again(lambda: x.double()).requires_grad


def test_a_shape_is_a_size() -> None:
    for shape in ((), (0,), (2, 3), (1,) * 6):
        assert type(rg.ones(shape).shape) is rg.Size
        assert rg.ones(shape).shape == shape


def test_gather_and_masked_fill_look_at_each_call() -> None:
    x = rg.arange(6.0).reshape(2, 3)
    for column in (0, 2, 1):
        index = rg.full((2, 1), column, dtype=rg.int64)
        assert again(lambda: x.gather(1, index)).tolist() == [[column], [3 + column]]  # noqa: B023
        assert again(lambda: x.masked_fill(x > column, -1.0)).max().item() == column  # noqa: B023
    for _ in range(4):
        with pytest.raises(RetrogradError, match="out of bounds"):
            x.gather(1, rg.tensor([[3], [0]]))


INDICES = [
    0, -1, slice(1), slice(1, None), (0, 1), (slice(None), 1), None, ..., (..., 0), (None, 1),
    rg.tensor([2, 0]), rg.tensor([True, False, True]), rg.eye(3) > 0, slice(None, None, 2),
    (rg.tensor([0, 1]), rg.tensor([2, 1])),
]  # fmt: skip
VALUES = [1, 0.5, -3, 60000.0, float("nan"), True, rg.tensor(2.0), rg.ones(3), rg.ones(1, 3), rg.tensor(4)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_elements_are_set_as_in_pytorch(index: Any, dtype: str, torch: Any) -> None:
    at = _theirs(index, torch)
    for value in VALUES:
        x, y = rg.zeros(3, 3, dtype=getattr(rg, dtype)), torch.zeros(3, 3, dtype=getattr(torch, dtype))
        given = _theirs(value, torch)
        try:
            y[at] = given
        except (RuntimeError, TypeError):
            continue  # most of these are told of in test_error_texts.py
        x[index] = value
        np.testing.assert_array_equal(x.numpy(), y.numpy())
        assert x._version == y._version


def _theirs(x: Any, torch: Any) -> Any:
    if isinstance(x, rg.Tensor):
        return torch.from_numpy(x.numpy())
    return tuple(_theirs(each, torch) for each in x) if isinstance(x, tuple) else x


@pytest.mark.parametrize("mask", [0, 1, 2, 3])
def test_what_a_mask_picks_is_recorded(mask: int) -> None:
    x = (rg.arange(24.0).reshape(2, 3, 4) * 1).requires_grad_()
    masks = [rg.tensor([True, False]), x[..., 0] > 5, (x > 7).mT.contiguous().mT, rg.zeros(2, dtype=rg.bool)]
    for view in (x, (x * 1).mT.contiguous().mT):
        picked = again(functools.partial(operator.getitem, view, masks[mask]))
        assert picked.tolist() == x.detach().numpy()[masks[mask].numpy()].tolist()
        assert picked.is_contiguous()
        assert picked.grad_fn.name() == "IndexBackward0"
        (g,) = rg.autograd.grad((picked * picked).sum(), x)
        expected = np.zeros((2, 3, 4))
        expected[masks[mask].numpy()] = 2 * x.detach().numpy()[masks[mask].numpy()]
        assert g.tolist() == expected.tolist()


def test_a_row_that_gives_bools_is_no_loop_of_numbers() -> None:
    row = rows.isfinite.args[0]

    def slow(x: Any) -> Any:
        return x

    assert one_pass.of_row(row, np.dtype(np.float32), slow, one_pass.ALL) is slow


def test_an_error_of_a_quick_way_alone_is_noted() -> None:
    def compute(x: Any) -> Any:
        raise ValueError("a defect")

    def slow(x: Any) -> Any:
        if x.numel() > 3:
            raise RuntimeError("too many")
        return x

    quick = calls.unrecorded(compute, 1, slow)
    few, many = rg.ones(3), rg.ones(4)
    with pytest.raises(RuntimeError, match="too many"):
        quick(many)
    assert not UNCONFIRMED
    assert quick(few) is few
    noted = UNCONFIRMED.pop()
    assert noted.startswith("Traceback")
    assert "ValueError: a defect" in noted


LAYOUTS = (
    "c", "c.transpose(0, 2)", "c.permute(1, 2, 0)", "c[:, :, ::2]", "c[:, :, 1:]", "c.flip(1)", "c[:1].mT",
    "c[0].t()", "c[:, 1]", "c[0, ::2, ::3]", "c[0, :, :1].expand(3, 4)", "c[:0]",
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "formula",
    [
        "x.exp()",
        "F.gelu(x)",
        "F.softmax(x, -1)",
        "F.log_softmax(x, 0)",
        "F.elu(x)",
        "F.silu(x)",
        "x.sigmoid()",
        "F.leaky_relu(x)",
        "F.softplus(x)",
        "F.hardtanh(x)",
        "x.clamp(0, 1)",
        "F.threshold(x, 0.1, 2.0)",
        "x.lerp(x.contiguous() * 2, 0.5)",
        "x.contiguous().addcmul(x, x)",
    ],
)
def test_values_and_slopes_lie_as_in_pytorch(formula: str, layout: str, torch: Any) -> None:
    """However the operand lies: loops go through memory, not through the axes."""

    def found(t: Any) -> list[Any]:
        base = t.linspace(-2, 2, 24).reshape(2, 3, 4)
        x = eval(layout, {"c": base}).detach().requires_grad_()
        for _ in range(3):
            x.grad = None
            result = eval(formula, {"x": x, "F": t.nn.functional})
            result.backward(t.full_like(result, 0.5))
        return [result.detach(), x.grad]

    for ours, theirs in zip(found(rg), found(torch), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-6, atol=1e-7)
        steps = zip(ours.stride(), theirs.stride(), theirs.shape)
        assert all(mine == other for mine, other, size in steps if size > 1 and theirs.numel())
