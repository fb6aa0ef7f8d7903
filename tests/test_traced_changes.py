"""Views, changes in place and masks: PyTorch, eager mode and a compiled function do the same with a program.

In flow `program(t, x)`; compared are results, their types and strides, and the gradient by x. To test more,
write a program into `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler.errors import GradientError, TraceError

Program = Callable[[Any, Any], Any]
PROGRAMS: list[Program] = []
ELEMENTS = [[1.0, -2, 3, 0.5], [-1, 2, 0.25, -3], [5, -0.5, -4, 2]]


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


# ---- axes that change, and views from before ---------------------------------------------------------------


@program
def transposed_under_a_view(t: Any, x: Any) -> Any:
    y = x * 1
    v = y[0]
    y.t_()
    y.mul_(2)
    return v, y


@program
def written_through_a_view_from_before(t: Any, x: Any) -> Any:
    y = x * 1
    v, w = y[0], y.t()[1:]
    y.transpose_(0, 1)
    v.mul_(3)
    w.add_(1)
    return v, w, y


@program
def unsqueezed_and_squeezed_again(t: Any, x: Any) -> Any:
    y = x * 1
    v = y[1:]
    y.unsqueeze_(0)
    w = y[0, :, ::2]
    y.squeeze_(0)
    v.mul_(2)
    w.sub_(1)
    return v, w, y


@program
def updated_under_a_view(t: Any, x: Any) -> Any:
    y = x * 1
    v = y[0]
    y.mul_(2)
    return v, y


@program
def an_argument_updated_under_a_view(t: Any, x: Any) -> Any:
    z = x * 1
    v = z.view(-1)[1::3]
    z[1:][0][::2] += 1
    z.detach()[0] = 7
    z.data.mul_(2)
    return v, z * 1


@program
def assigned_in_a_chain(t: Any, x: Any) -> Any:
    y, z = x * 1, x * 2
    y[0] = z[1] = x[2] * 5
    y[0], y[1] = y[1].clone(), y[0].clone()
    return y, z


@program
def given_other_memory_under_views(t: Any, x: Any) -> Any:
    y = x * 1
    v, d = y[0], y.detach()
    z = x.detach() * 3
    d.data = z
    z.add_(1)
    y.data = y.data * 2
    v.mul_(5)
    return v, d * 1, y.detach()


@program
def written_to_out(t: Any, x: Any) -> Any:
    y = t.zeros(6, 4)
    t.mul(x.detach(), 2, out=y[::2])
    return y


# ---- what is a copy and what is not ------------------------------------------------------------------------


@program
def a_reshape_of_what_lies_transposed_is_a_copy(t: Any, x: Any) -> Any:
    y = x.t() + 1
    y.reshape(-1).mul_(2)
    return y * 1


@program
def contiguous_of_what_lies_transposed_is_a_copy(t: Any, x: Any) -> Any:
    y = x.t().exp()
    z = y.contiguous()
    z.mul_(2)
    return y * 1, z


@program
def contiguous_of_what_lies_in_order_is_itself(t: Any, x: Any) -> Any:
    y = x + 1
    y.contiguous().mul_(2)
    return y * 1


@program
def a_clone_lies_as_its_operand(t: Any, x: Any) -> Any:
    y = x.t().clone()
    y.reshape(-1).mul_(2)
    y.t().reshape(-1).add_(1)
    return y * 1


@program
def broadcast_operands_decide_the_order(t: Any, x: Any) -> Any:
    y = x.t()[None] + t.ones(2, 1, 1)
    y.reshape(2, -1).mul_(2)
    return y * 1


@program
def channels_last_is_an_order(t: Any, x: Any) -> Any:
    y = (x.reshape(1, 3, 2, 2) * 2).contiguous(memory_format=t.channels_last)
    z = y.reshape(3, 4)
    z.mul_(3)
    y.permute(0, 2, 3, 1).reshape(4, 3).add_(1)
    return y.contiguous(), z


# ---- masks -------------------------------------------------------------------------------------------------


@program
def scaled_under_a_mask(t: Any, x: Any) -> Any:
    y = x * 1
    y[y > 0] *= 2
    y[y < -1] = 0.5
    return y


@program
def changed_by_others_under_the_same_mask(t: Any, x: Any) -> Any:
    y, mask = x * 1, x > 0
    y[mask] -= 0.5 * x[mask].log() * x.sum()
    y[~mask] = -y[~mask]
    return y


@program
def rows_under_a_mask(t: Any, x: Any) -> Any:
    y, mask = x * 1, x[:, 0] > 0
    y[mask] = x[mask] * x[0] + 1
    y[mask, 1:] /= 3
    return y


@program
def columns_under_a_mask(t: Any, x: Any) -> Any:
    y, mask = x * 1, x[0] > 0.7
    picked = y[:, mask]
    picked = picked * picked.sum(0) + t.tensor([[1.0], [2.0], [3.0]])
    y[:, mask] = picked
    return y


@program
def sums_and_means_of_what_is_picked(t: Any, x: Any) -> Any:
    mask = x > 0
    return x[mask].sum(), x[mask].log().sum(), x[mask].mean(), (x[mask] ** 2).mean(), x[x > 9].sum()


@program
def a_picked_part_of_a_view(t: Any, x: Any) -> Any:
    y = x * 1
    v = y[:, 1:].t()
    v[v < 0] **= 2
    return y, (y.masked_select(y > 4) * 2).sum()


def flat(result: Any) -> Iterator[Any]:
    if isinstance(result, tuple):
        for each in result:
            yield from flat(each)
    else:
        yield result


def strides(y: Any) -> tuple[int, ...] | None:
    """Those of a tensor that has its memory for itself, as a result of a compiled function always does."""
    copy = y.detach().clone()
    return tuple(y.stride()) if y.stride() == copy.stride() else None


def outcome(t: Any, program: Program, compiled: bool) -> list[Any]:
    """What there is to compare."""
    x = t.tensor(ELEMENTS, requires_grad=True)

    def function(x: Any) -> Any:
        return program(t, x)

    results = list(flat((t.compile_grad(function) if compiled else function)(x)))
    total = sum((y * (k + 1)).sum() for k, y in enumerate(results) if y.requires_grad)
    if not isinstance(total, int):
        total.backward()
    kinds: list[Any] = [(str(y.dtype), tuple(y.shape), y.requires_grad) for y in results]
    values = [y.detach().numpy() for y in results]
    return [kinds, [strides(y) for y in results], *values, *([x.grad.numpy()] if x.grad is not None else [])]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, compiled: bool, torch: ModuleType) -> None:
    expected = outcome(torch, program, False)

    found = outcome(retrograd, program, compiled)

    assert found[0] == expected[0]
    assert [a if b is not None else None for a, b in zip(found[1], expected[1])] == expected[1]
    assert len(found) == len(expected)
    for one, other in zip(found[2:], expected[2:]):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


# ---- results lie as in eager mode --------------------------------------------------------------------------


@pytest.mark.parametrize("grad", [False, True], ids=["value", "history"])
def test_results_lie_in_memory_as_in_eager_mode(grad: bool) -> None:
    def function(x: Any) -> Any:
        y = x.t().exp()
        return y, y * x.t(), {"three": x.reshape(3, 2, 2).permute(2, 0, 1) + 1.0}, y.contiguous(), x.sum(0)

    x = retrograd.tensor(ELEMENTS, requires_grad=grad)
    compiled = retrograd.compile_grad(function)
    one, two, *others = function(x)
    for _ in range(3):
        first, second, *rest = compiled(x)
        pairs = zip(
            [first, second, rest[0].pop("three"), *rest[1:]], [one, two, others[0]["three"], *others[1:]]
        )
        for found, eager in pairs:
            assert found.stride() == eager.stride()
            assert retrograd.allclose(found, eager)
    if grad:
        pairs = ((first, second), (one, two))
        gradients = [retrograd.autograd.grad((a * b).sum(), x)[0] for a, b in pairs]
        assert retrograd.allclose(*gradients)


def test_inputs_without_influence_get_no_gradient() -> None:
    def function(a: Any, b: Any, c: Any) -> Any:
        return a * 2, b.exp() * c.detach()

    compiled = retrograd.compile_grad(function)
    for _ in range(3):
        a, b, c = (retrograd.ones(3, requires_grad=True) for _ in range(3))
        compiled(a, b, c)[0].sum().backward()
        assert a.grad.tolist() == [2.0] * 3
        assert b.grad is None
        assert c.grad is None
        (compiled(a, b, c)[1].sum() + b.sum()).backward()
        assert c.grad is None
        assert b.grad is not None
        assert compiled(a, b, c)[0].sum().grad_fn.next_functions[0][0].next_functions[2] == (None, 0)


def test_several_outputs_give_their_gradients_together_at_each_call() -> None:
    compiled = retrograd.compile_grad(lambda x: (x.exp(), x.exp() * x, x * 3))
    x = retrograd.tensor([1.0, -2.0], requires_grad=True)
    found = []
    for _ in range(3):
        first, second, third = compiled(x)
        found.append(retrograd.autograd.grad((first * second * third).sum(), x)[0])
    y = x.detach().requires_grad_()
    (expected,) = retrograd.autograd.grad((y.exp() * y.exp() * y * y * 3).sum(), y)
    for each in found:
        assert retrograd.allclose(each, expected)


def test_an_output_without_a_cotangent_is_not_one_with_a_cotangent_of_zeros() -> None:
    compiled = retrograd.compile_grad(lambda x: (x * 2, x.log()))
    for _ in range(2):
        x = retrograd.tensor([0.0, 1.0], requires_grad=True)
        (slope,) = retrograd.autograd.grad((compiled(x)[0] ** 2).sum(), x, create_graph=True)
        assert slope.tolist() == [0.0, 8.0]
        assert retrograd.autograd.grad(slope.sum(), x)[0].tolist() == [8.0, 8.0]
        compiled(x)[0].sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0],
        lambda x: x[x > 0].shape,
        lambda x: x[x > 0].numel() * x,
        lambda x: x[x > 0] + x[x > 1],
        lambda x: x[x > 0] + x[0],
        lambda x: x[x > 0].cumsum(0).sum(),
        lambda x: x.clone().copy_(x[x > 0]),
        lambda x: x[x > 0].add_(x[x > 1]).sum(),
    ],
)
def test_how_many_are_picked_is_not_known(function: Callable[[Any], Any]) -> None:
    with pytest.raises(TraceError, match="how many there are is known only when the compiled function runs"):
        retrograd.compile_grad(function)(retrograd.tensor(ELEMENTS))


def test_a_result_may_be_updated_in_place_and_a_leaf_may_not() -> None:
    def function(x: Any) -> Any:
        v = x[0]
        x.mul_(2)
        return v.sum()

    compiled = retrograd.compile_grad(function)
    for _ in range(2):
        leaf = retrograd.tensor(ELEMENTS, requires_grad=True)
        x = leaf.clone()
        (compiled(x) + x.sum()).backward()
        assert leaf.grad.tolist() == [[4.0] * 4, [2.0] * 4, [2.0] * 4]
    before = leaf.tolist()

    with pytest.raises(GradientError, match="a leaf Variable that requires grad is being used"):
        compiled(leaf)
    assert leaf.tolist() == before
