"""Updates in place against PyTorch's: what may be updated, what views and bases see, what the gradients are.

In flow small programs `program(t)` that run with either library, out flow equal outcomes (`side_by_side`).
A new behaviour is a function with `@program`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from conftest import peer
from side_by_side import Program, compare, leaf, ones

import retrograd as rg
from retrograd.compiler.errors import GradientError, TraceError

PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


@program
def a_leaf_is_not_changed_in_place(t: Any) -> Any:
    leaf(t).add_(1)


@program
def nor_is_a_view_of_it(t: Any) -> Any:
    leaf(t)[0].add_(1)


@program
def but_without_grad_it_is(t: Any) -> Any:
    x = leaf(t)
    with t.no_grad():
        x -= 0.5
        x[0] = 7.0
    return x


@program
def a_tensor_in_the_graph_is(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.add_(1).mul_(3)
    y *= y.detach().clone()
    y *= y.mean()
    (y * y).sum().backward()
    return y, x.grad


@program
def a_kept_result_must_not_change(t: Any) -> Any:
    y = leaf(t).exp()
    y.add_(1)
    y.sum().backward()


@program
def nor_must_one_that_was_made_in_place(t: Any) -> Any:
    y = leaf(t) * 1
    for _ in range(3):
        y.exp_()
        y.add_(1)
    y.sum().backward()


@program
def a_part_that_was_made_in_place_must_not_change(t: Any) -> Any:
    y = leaf(t) * 1
    y[1:].sigmoid_()
    y.mul_(2)
    y.sum().backward()


@program
def nor_a_factor_that_the_product_replaced(t: Any) -> Any:
    y = leaf(t) * 1
    y.mul_(y)
    y.sum().backward()


@program
def the_last_result_is_kept_where_it_is(t: Any) -> Any:
    x = leaf(t)
    y = x * 0.5
    y.mul_(y.detach().clone()).tanh_()
    kept = y.grad_fn._saved_result
    y.sum().backward()
    return kept, y, y._version, x.grad


@program
def old_elements_are_kept_where_the_derivative_reads_them(t: Any) -> Any:
    x, u = leaf(t), leaf(t, 0.5, 0.25, 2.0)
    y, z = x * 1, t.tensor([1.0, 2.0, 3.0])
    for _ in range(4):
        y.mul_(u).sin_().pow_(2)
        z *= u
        z += x
        y.clamp_(-0.9, 0.8).addcmul_(u, x, value=0.1).lerp_(u, 0.25)
    (y * z).sum().backward()
    return y, z, x.grad, u.grad, y._version, z._version


@program
def a_tensor_without_history_gets_one(t: Any) -> Any:
    x, y = leaf(t), t.zeros(2, 3)
    y.add_(x, alpha=2)
    y.div_(x[0])
    (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
    return y, y.is_leaf, g, t.autograd.grad(g, x, ones(t))


@program
def functions_of_several_steps_are_recorded_in_place(t: Any) -> Any:
    x, c = leaf(t, 0.1, 0.2, 0.3), t.tensor([True, False, True])
    y = x * 1
    for _ in range(3):
        y.logit_(0.05).masked_fill_(c, 0.3)
        y.index_add_(0, t.tensor([0, 0]), x[:2])
        y.scatter_(0, t.tensor([1]), 0.4)
        y.cumsum_(0).nan_to_num_()
    y.sum().backward()
    return y, x.grad, y._version, y.grad_fn.name()


@program
def hooks_stay_with_the_value_that_was(t: Any) -> Any:
    x, seen = leaf(t), []
    y = x * 2
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.mul_(3)
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.sum().backward()
    return seen, x.grad


@program
def a_kept_gradient_is_that_of_the_last_value(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.add_(x)
    (y * y).sum().backward()
    return y.grad, x.grad


@program
def an_alias_shows_the_change_and_has_its_version(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    alias = y.detach()
    y.mul_(x)
    z = y * y
    alias.add_(1)
    return alias, y, y._version, z.sum().backward()


@program
def nothing_is_recorded_under_no_grad(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    with t.no_grad():
        y.mul_(3)
        y += 1
        y[:2].mul_(2)
    y.sum().backward()
    return y, y._version, y.grad_fn.name(), x.grad


@program
def a_recorded_change_never_grows(t: Any) -> Any:
    (leaf(t) * 1).add_(t.zeros(2, 3))


@program
def nor_does_it_raise_the_category(t: Any) -> Any:
    t.tensor([1, 2, 3]).add_(leaf(t))


@program
def its_gradient_is_as_wide_as_it(t: Any) -> Any:
    x, u = leaf(t), t.tensor([1.0, 2.0, 3.0], dtype=t.float64).requires_grad_()
    y = x * 1
    y.mul_(u)
    y.add_(u[0])
    y.sum().backward()
    return y, x.grad, u.grad


@program
def whole_numbers_are_written_over(t: Any) -> Any:
    k = t.tensor([7, -7, 5])
    k += 2
    k *= t.tensor([2, 2, -2])
    k //= 3
    k %= 4
    k -= k
    return k, k._version


@program
def whole_quotients_have_a_point(t: Any) -> Any:
    t.tensor([1, 2]).div_(2)


@program
def what_is_next_is_what_pytorch_shows(t: Any) -> Any:
    x, y = leaf(t), leaf(t)
    z = x * 1
    found = []
    for step in ("add_", "mul_", "sub_", "div_", "atan2_"):
        getattr(z, step)(y)
        found.append((z.grad_fn.name(), [f.name() for f, _ in z.grad_fn.next_functions]))
    for step in ("exp_", "relu_", "neg_", "sqrt_", "sigmoid_"):
        getattr(z, step)()
        found.append((z.grad_fn.name(), [f.name() for f, _ in z.grad_fn.next_functions]))
    z /= 2.0
    z -= 1
    return str(found), z.grad_fn.name(), z.grad_fn.next_functions[0][0].name()


@program
def what_is_not_kept_may_change(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    z = y + 1
    y.mul_(5)
    z.sum().backward()
    return x.grad, y._version


@program
def a_view_updates_its_base(t: Any) -> Any:
    x = leaf(t, 1, 2, 3, 4)
    y = x * 1
    v = y[1:3]
    v.mul_(10)
    (y * y).sum().backward()
    return y, v, x.grad


@program
def a_view_is_given_a_history(t: Any) -> Any:
    x, y = leaf(t, 1, 2, 3, 4), t.tensor([0.0] * 4)
    v, u = y[1:3], y.view(2, 2)
    v.copy_(x[1:3] * 3)
    (u * u).sum().backward()
    return y, u, v, x.grad


@program
def a_base_updates_its_views(t: Any) -> Any:
    x = leaf(t, 1, 2, 3, 4)
    y = x * 1
    v = y.view(2, 2)[1]
    y.mul_(3)
    (v * v).sum().backward()
    return v, x.grad


@program
def second_derivatives_through_a_view(t: Any) -> Any:
    x, one = leaf(t), ones(t)
    y = x * x
    y[:2].mul_(y[1:].detach().clone())
    (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
    return g, t.autograd.grad(g, x, one)


@program
def assignment_by_index(t: Any) -> Any:
    x = leaf(t)
    y = t.tensor([[0.0] * 3] * 2)
    y[0] = x * 2
    y[1, 1:] = x[:2] ** 2
    (y * y).sum().backward()
    return y, x.grad


@program
def all_kinds_of_plain_indices_are_recorded(t: Any) -> Any:
    x, v = leaf(t, *range(1, 13)), leaf(t, *range(1, 5))
    y, c, k = (x * 1).view(3, 4), t.tensor([True, False, True]), t.tensor([2, 0])
    y[0] = v
    y[-1, 1:] = 2.0
    y[:, 3] = v[:3]
    y[None, 1, ..., :2] = v[2:] * 3
    y[c] = v
    y[k] = t.stack([v, v * v])
    y[:, k] = v[1:2]
    y[y.detach() > 3] = v[0]
    y[k, k] = v[:2]
    y[c] = t.ones(2, 4)
    y[1:][0] = 7
    (g,) = t.autograd.grad((y * y * y).sum(), v, create_graph=True)
    (y.sum() + (g * g).sum()).backward()
    return y, g, x.grad, v.grad, y.grad_fn.name(), y._version


@program
def a_tensor_without_history_takes_elements_with_one(t: Any) -> Any:
    v, out = leaf(t), t.zeros(3, 3)
    for row in range(3):
        out[row] = v * row
    out[:, 0] = v[0]
    (out * out).sum().backward()
    return out, out.requires_grad, v.grad


@program
def a_part_of_a_part_is_written(t: Any) -> Any:
    x = leaf(t, 1, 2, 3, 4, 5, 6)
    y = (x * x).view(2, 3).t()
    part = y[1:]
    part[0, 1] = x[0]
    part[1] *= x[1]
    part[:, 0] += 1
    (y * y).sum().backward()
    return y, part, x.grad


@program
def a_view_of_a_base_in_another_order_is_changed(t: Any) -> Any:
    x = leaf(t, 1, 2, 3, 4, 5, 6)
    y = x.view(2, 3).t() * 1
    y.t().view(-1)[1:4].mul_(x[:3])
    y[1:, ::1].exp_()
    y.t()[0].add_(1).sub_(y[:, 1].detach() * 0.5)
    y.sum().backward()
    return y, y._version, x.grad


@program
def places_are_freed_with_the_graph(t: Any) -> Any:
    y = leaf(t) * 1
    y[t.tensor([0, 1])] = 0.0
    y.sum().backward()
    y.sum().backward()


@program
def a_leaf_is_not_written_to(t: Any) -> Any:
    leaf(t)[0] = 1.0


@program
def what_does_not_fit_is_not_written(t: Any) -> Any:
    y = (leaf(t, 1, 2, 3, 4) * 1).view(2, 2)
    y[0] = t.ones(3)


@program
def superfluous_axes_are_dropped(t: Any) -> Any:
    x, v = leaf(t), leaf(t, 5)
    y = x * 1
    y[1:] = v.view(1, 1, 1)
    y.sum().backward()
    return y, x.grad, v.grad


@program
def hooks_see_what_is_left_of_the_cotangent(t: Any) -> Any:
    x, seen = leaf(t), []
    y = x * 2
    y.register_hook(lambda g: seen.append(g.tolist()))
    y[1] = x[0]
    y.retain_grad()
    (y * y).sum().backward()
    return seen, y.grad, x.grad


def test_of_writes_to_one_place_each_has_the_gradient_of_it_as_in_pytorch(torch: ModuleType) -> None:
    def written(t: Any) -> Any:
        v = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y = t.zeros(2)
        y[t.tensor([0, 1, 0])] = v
        (y * t.tensor([10.0, 20.0])).sum().backward()
        return y.tolist(), v.grad.tolist()

    assert written(rg) == written(torch) == ([3.0, 2.0], [10.0, 20.0, 10.0])


def test_a_mask_that_changes_is_noticed() -> None:
    y, c = leaf(rg) * 1, rg.tensor([True, False, True])
    y[c] = 0.0
    c[0] = False
    with pytest.raises(GradientError, match="is at version 1; expected version 0 instead"):
        y.sum().backward()


def test_one_of_several_views_is_not_written_to() -> None:
    with pytest.raises(GradientError, match="the output of a function that returns multiple views"):
        (leaf(rg) * 1).split(1)[0][0] = 1.0


def test_a_compiled_function_goes_back_through_a_write_outside() -> None:
    x = rg.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def loss(v: Any) -> Any:
        y = v * 1
        y[0] = v[1] * v[2]
        y[y > 2.5] = 0.0
        return (y * y).sum()

    value, grad = rg.compile_grad(loss).value_and_grad(x)
    loss(x).backward()
    assert value.item() == loss(x).item()
    assert grad.tolist() == x.grad.tolist()


@program
def zeroing_cuts_the_gradient(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.zero_()
    y.sum().backward()
    return y, x.grad


@program
def a_copy_takes_the_history_over(t: Any) -> Any:
    x, y = leaf(t), leaf(t)
    z = x * 2
    z.copy_(y)
    z.sum().backward()
    return z, x.grad, y.grad


@program
def repeated_elements_cannot_be_written(t: Any) -> Any:
    ones(t).expand(2, 3).add_(1)


@program
def in_place_never_grows(t: Any) -> Any:
    ones(t).add_(t.tensor([[1.0] * 3] * 2))


@program
def in_place_never_raises_the_category(t: Any) -> Any:
    x = ones(t)
    x += 1.5
    y = t.tensor([1, 2])
    y += 2
    return x, y


@program
def a_view_cannot_be_detached_in_place(t: Any) -> Any:
    x = (leaf(t) * 2).detach_()
    assert x.is_leaf
    assert not x.requires_grad
    try:
        (leaf(t) * 2)[0].detach_()
    except RuntimeError as error:
        return "Can't detach views in-place. Use detach() instead." in str(error)


@program
def detach_shares_memory_and_version(t: Any) -> Any:
    x = ones(t)
    y, z = x.detach(), x.data
    y.add_(1)
    z.add_(1)
    return x, x._version, y._version, z._version


@program
def a_change_through_detach_is_noticed(t: Any) -> Any:
    y = leaf(t) * 2
    z = y * y
    y.detach().add_(1)
    z.sum().backward()


@program
def axes_of_a_leaf_are_not_changed_in_place(t: Any) -> Any:
    leaf(t).unsqueeze_(0)


@program
def axes_of_a_leaf_may_be_changed_where_nothing_is_recorded(t: Any) -> Any:
    x = leaf(t)
    with t.no_grad():
        x.unsqueeze_(0)
    (x * x).sum().backward()
    return x, x.is_leaf, x._version, x.grad


@program
def a_view_changes_its_axes_and_still_shows_its_base(t: Any) -> Any:
    x = leaf(t)
    base = x * 2
    view = base[:1]
    view.unsqueeze_(0).mul_(3)
    (base * base).sum().backward()
    return base, view, x.grad


@program
def a_view_from_before_the_change_shares_memory(t: Any) -> Any:
    base = t.zeros(2, 3)
    view = base[0]
    base.t_()
    view.fill_(1)
    base.add_(1)
    return base, view, view._version


@program
def a_view_by_strides_is_written_through(t: Any) -> Any:
    x = leaf(t)
    y = (x * 2).clone()
    y.as_strided((2,), (1,), 1).mul_(5)
    (y * y).sum().backward()
    return y, x.grad


@program
def a_recorded_view_from_before_the_change_keeps_its_history(t: Any) -> Any:
    x = leaf(t)
    base = (x * 2).unsqueeze(0)
    view = base[:, 1:]
    base.t_()
    base.squeeze_(1)
    base.mul_(3)
    view.add_(1)
    (view * view).sum().backward()
    return base, view, x.grad


def test_a_recorded_view_from_before_as_strided_says_that_it_is_lost() -> None:
    base = rg.ones(2, 3, requires_grad=True) * 2
    view = base[0]
    base.as_strided_((2, 2), (1, 1))

    with pytest.raises(GradientError, match=r"a tensor that as_strided_\(\) or resize_\(\) has rearranged"):
        view.sum()


_HELD = {3: "x[0]", 5: "x.detach()", 7: "x.requires_grad_() * x"}
"""What also knows a Tensor, at some turns."""


@pytest.mark.parametrize(
    "step", ["x.t_()", "x.transpose_(0, 1)", "x.unsqueeze_(1)", "x.squeeze_()", "x.unsqueeze_(0).squeeze_(0)"]
)
def test_axes_are_changed_many_times(step: str, torch: Any) -> None:
    """By native calls from the third on, whatever a view, a twin or the tape saw before."""

    def seen(t: Any) -> list[Any]:
        x, found = t.arange(6.0).reshape(2, 3) * 1, []
        for turn in range(12):
            other = eval(_HELD.get(turn, "None"), {"x": x})
            x.requires_grad_(False)
            x = eval(step, {"x": x})
            x.add_(1)
            found.append((x.tolist(), tuple(x.shape), x.stride(), x._version))
            found.append(other.tolist() if turn in (3, 5) else None)
            if x.ndim > 4:
                x.squeeze_()
        return found

    assert seen(rg) == seen(torch)


@pytest.mark.parametrize(
    "step", ["x.t_()", "x.transpose_(0, 1)", "x.unsqueeze_(1)", "x.squeeze_()", "x.unsqueeze_(0).squeeze_(0)"]
)
@pytest.mark.parametrize("made", ["leaf * 2", "leaf.square()", "leaf.neg()"])
def test_recorded_axes_are_changed_many_times(made: str, step: str, torch: Any) -> None:
    """With hooks, and beside others that look at the Tensor, at some turns."""

    def seen(t: Any) -> list[Any]:
        found: list[Any] = []
        for turn in range(8):
            leaf = t.arange(6.0).reshape(2, 3).requires_grad_()
            x = eval(made, {"leaf": leaf})
            twin = x.detach() if turn == 4 else None
            if turn == 5:
                x.register_hook(lambda gradient: gradient * 2)
            if turn == 6:
                x.retain_grad()
            x = eval(step, {"x": x})
            (x * t.arange(float(x.numel())).reshape(x.shape)).sum().backward()
            found += [x.tolist(), x.stride(), x._version, x.grad_fn.name(), leaf.grad.tolist()]
            found += [x.grad_fn.next_functions[0][0].name(), x.is_leaf]
            found.append(None if twin is None else twin._version)
        return found

    assert seen(rg) == seen(torch)


def test_changed_axes_count_as_a_change() -> None:
    y = (rg.ones(3, requires_grad=True) * 2).unsqueeze(0)
    z = y * y
    y.squeeze_()

    with pytest.raises(GradientError, match="modified by an inplace operation"):
        z.sum().backward()


def test_axes_of_an_argument_are_not_changed_in_a_compiled_function() -> None:
    with pytest.raises(TraceError, match="axes changed in place of a tensor from outside"):
        rg.compile_grad(lambda x: x.t_() * 2)(rg.ones(2, 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, torch: ModuleType) -> None:
    compare(program, torch)


@pytest.mark.parametrize(
    "step", ["x / y", "2 / (x + 1) / y", "t.nn.functional.silu(x)", "t.nn.functional.normalize(x)"]
)
def test_results_may_be_changed_that_pytorch_does_not_keep(step: str, torch: Any) -> None:
    def slopes(t: Any) -> list[Any]:
        leaves = [t.tensor([[0.5, -0.75], [2.0, 3.0]], requires_grad=True) for _ in range(2)]
        names = {"t": t, "x": leaves[0] * 1, "y": leaves[1] * 2}
        result = eval(step, names)
        result[0] = 0.25
        result.mul_(3)
        return [g.flatten().tolist() for g in t.autograd.grad(result.sum(), leaves, materialize_grads=True)]

    for found, expected in zip(slopes(rg), slopes(torch), strict=True):
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["gt_", "lt_", "ge_", "le_", "eq_", "ne_", "greater_"])
@pytest.mark.parametrize("number", [False, True])
def test_a_comparison_in_place_ends_histories_as_in_pytorch(name: str, number: bool) -> None:
    def found(t: Any, run: Any) -> Any:
        def compared(x: Any, y: Any) -> Any:
            z = x * 2
            part, whole = z * 1, z * 3
            getattr(part[1:], name)(1.0 if number else y[1:])
            getattr(whole, name)(1.0 if number else y)
            return (part * part + whole + z).sum()

        answers = []
        for _ in range(3):
            x, y = (t.tensor(v, requires_grad=True) for v in ([1.0, 2.0, -3.0], [2.0, 0.0, -6.0]))
            loss = run(compared)(x, y)
            loss.backward()
            answers.append((loss.item(), x.grad.tolist(), None if y.grad is None else y.grad.tolist()))
        z = x * 2
        answers.append(getattr(z, name)(1.0 if number else y).grad_fn.name())
        return answers

    expected = found(peer("torch", "torch"), lambda f: f)
    assert found(rg, lambda f: f) == expected
    assert found(rg, rg.compile) == expected


@pytest.mark.parametrize("name", ["logical_and_", "logical_or_", "logical_xor_", "logical_not_"])
def test_a_logical_function_in_place_leaves_histories_as_they_were_as_in_pytorch(name: str) -> None:
    def found(t: Any) -> Any:
        answers: list[Any] = []
        for take in (lambda z: z, lambda z: z[1:]):
            for _ in range(3):
                leaf = t.tensor([1.0, 0.0, -3.0], requires_grad=True)
                z = leaf * 2
                getattr(take(z), name)(*() if name == "logical_not_" else (t.tensor([True]),))
                (z * z).sum().backward()
                answers.append((z.tolist(), z.grad_fn.name(), leaf.grad.tolist()))
            getattr(take(leaf), name)(*() if name == "logical_not_" else (t.tensor([True]),))
            answers.append((leaf.tolist(), leaf.is_leaf, leaf._version))
        return answers

    assert found(rg) == found(peer("torch", "torch"))


def test_float_power_in_place_is_of_doubles() -> None:
    for t in (rg, peer("torch", "torch")):
        assert t.tensor([2.0], dtype=t.float64).float_power_(2).tolist() == [4.0]
        with pytest.raises(RuntimeError) as raised:
            t.ones(2).float_power_(2)
        assert "the base given to float_power_ has dtype Float" in str(raised.value)


_WINDOWED = {
    "filled": lambda t, u: u.fill_(2),
    "zeroed": lambda t, u: u.zero_(),
    "all": lambda t, u: u.__setitem__(slice(None), 4.0),
    "a column": lambda t, u: u.__setitem__((slice(None), 1), 3.0),
    "a window": lambda t, u: u.__setitem__(1, t.tensor([5.0, 6.0, 7.0])),
    "a scaled window": lambda t, u: u[1].mul_(3),
    "sums in a column": lambda t, u: u[:, 2].add_(t.arange(6.0)),
    "under a mask": lambda t, u: u[:, 0].masked_fill_(u[:, 0] > 3, 9.0),
}


@pytest.mark.parametrize("write", _WINDOWED)
@pytest.mark.parametrize("look", ["unfold", "as_strided"])
def test_sliding_windows_are_written_to_as_in_pytorch(write: str, look: str) -> None:
    """All of them by one value, and parts in which no element comes twice."""

    def found(t: Any, compiled: bool) -> Any:
        def windows(x: Any) -> Any:
            return x.unfold(0, 3, 1) if look == "unfold" else x.as_strided((6, 3), (1, 1))

        def loss(x: Any) -> Any:
            whole = x * 1
            shown = windows(whole)
            _WINDOWED[write](t, shown)
            return (whole * t.arange(1.0, 9.0)).sum() + (shown * 2).sum()

        run = rg.compile(loss) if compiled else loss
        answers = []
        for _ in range(1 if compiled else 3):
            x = t.arange(8.0, requires_grad=True)
            value = run(x)
            value.backward()
            bare = t.arange(8.0)
            _WINDOWED[write](t, windows(bare))
            answers.append((value.item(), x.grad.tolist(), bare.tolist()))
        return answers

    expected = found(peer("torch", "torch"), False)
    assert found(rg, False) == expected
    assert found(rg, True) == expected[:1]
