"""The tape against PyTorch's: the same programs, the same gradients, hooks, in-place rules and error texts.

In flow small programs `program(t)` that run with either library, out flow equal outcomes
(`side_by_side.compare`). A new behaviour is a function with `@program`; what PyTorch does not have is tested
below them.
"""

from __future__ import annotations

import copy
import gc
import linecache
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import Program, compare, leaf, ones

import retrograd
from retrograd.compiler.errors import GradientError
from retrograd.runtime.tensor import Tensor

PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


# ---- backward and grad -------------------------------------------------------------------------------------


@program
def gradients_of_no_tensors_are_not_looked_at(t: Any) -> Any:
    x = leaf(t)
    return t.autograd.backward([], [t.ones(2)], inputs=[x]), x.grad


@program
def gradients_add_up(t: Any) -> Any:
    x = leaf(t)
    (x * x).sum().backward()
    first = x.grad.clone()
    (x * 2).sum().backward()
    return first, x.grad


@program
def one_array_never_becomes_two_gradients(t: Any) -> Any:
    x, y, seed = leaf(t), leaf(t), ones(t)
    (x + y).backward(seed)
    x.grad.mul_(5)
    return x.grad, y.grad, seed


@program
def a_broadcast_is_summed(t: Any) -> Any:
    x, y = leaf(t), t.tensor([[1.0], [2.0]]).requires_grad_()
    (x * y).sum().backward()
    return x.grad, y.grad


@program
def an_operand_used_twice(t: Any) -> Any:
    x = leaf(t)
    y = x * x
    (y * y + y).sum().backward()
    return x.grad


@program
def second_and_third_derivatives(t: Any) -> Any:
    x, one = leaf(t), ones(t)
    (g,) = t.autograd.grad((x.exp() * x.sin()), x, one, create_graph=True)
    (h,) = t.autograd.grad(g, x, one, create_graph=True)
    return g, h, t.autograd.grad(h, x, one)


@program
def backward_of_a_gradient(t: Any) -> Any:
    x = leaf(t)
    (g,) = t.autograd.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    return x.grad


@program
def grad_touches_no_leaf(t: Any) -> Any:
    x, y = leaf(t), leaf(t)
    return t.autograd.grad((x * y).sum(), x), x.grad, y.grad


@program
def grad_by_what_is_no_leaf(t: Any) -> Any:
    x = leaf(t)
    a = x * 2
    b = a * a
    return t.autograd.grad(b.sum(), [a, b, x]), x.grad


@program
def unused_inputs(t: Any) -> Any:
    x, y = leaf(t), leaf(t)
    z = (x * 2).sum()
    return (
        t.autograd.grad(z, [x, y], allow_unused=True, retain_graph=True),
        t.autograd.grad(z, [x, y], materialize_grads=True),
    )


@program
def an_unused_input_is_refused(t: Any) -> Any:
    return t.autograd.grad((leaf(t) * 2).sum(), [leaf(t)])


@program
def an_input_without_requires_grad_is_refused(t: Any) -> Any:
    return t.autograd.grad((leaf(t) * 2).sum(), [ones(t)])


@program
def a_graph_is_walked_twice_only_if_kept(t: Any) -> Any:
    x = leaf(t)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    y.backward()


@program
def a_graph_that_kept_nothing_is_walked_twice(t: Any) -> Any:
    x = leaf(t)
    y = x + 2
    y.backward(ones(t))
    y.backward(ones(t))
    return x.grad


@program
def only_scalars_need_no_gradient(t: Any) -> Any:
    (leaf(t) * 2).backward()


@program
def no_graph_no_backward(t: Any) -> Any:
    ones(t).sum().backward()


@program
def the_gradient_has_the_shape_of_the_output(t: Any) -> Any:
    (leaf(t) * 2).backward(ones(t, 2))


@program
def backward_into_some_inputs(t: Any) -> Any:
    x, y = leaf(t), leaf(t)
    z = x * 2
    (z * y).backward(ones(t), inputs=[z, x])
    return x.grad, y.grad


@program
def backward_into_no_inputs(t: Any) -> Any:
    leaf(t).sum().backward(inputs=[])


@program
def a_leaf_is_its_own_output(t: Any) -> Any:
    x = leaf(t)
    x.backward(ones(t))
    return x.grad


@program
def several_roots(t: Any) -> Any:
    x = leaf(t)
    a, b = (x * 2).sum(), x * 3
    t.autograd.backward([a, b], [None, ones(t)])
    return x.grad


@program
def zero_d_stays_zero_d(t: Any) -> Any:
    x = t.tensor(2.0).requires_grad_()
    y = (x * x + 1).exp() / x
    y.backward()
    return y, x.grad


# ---- modes -------------------------------------------------------------------------------------------------


@program
def modes_nest(t: Any) -> Any:
    x, seen = leaf(t), []
    with t.no_grad():
        seen.append((x * 2).requires_grad)
        with t.enable_grad():
            seen.append((x * 2).requires_grad)
        seen.append(t.is_grad_enabled())
    with t.inference_mode():
        seen.append((x * 2).requires_grad)
    with t.set_grad_enabled(False):
        seen.append(t.is_grad_enabled())
    seen.append(t.is_grad_enabled())
    t.set_grad_enabled(False)
    seen.append(t.is_grad_enabled())
    t.set_grad_enabled(True)
    return seen


@program
def modes_decorate(t: Any) -> Any:
    x = leaf(t)

    @t.no_grad()
    def called(depth: int) -> list[bool]:
        return [(x * 2).requires_grad] + (called(depth - 1) if depth else [])

    @t.no_grad
    def bare() -> bool:
        return (x * 2).requires_grad

    @t.no_grad()
    def steps() -> Any:
        yield (x * 2).requires_grad
        yield (x * 2).requires_grad

    return called(2), bare(), [(inner, (x * 2).requires_grad) for inner in steps()], t.is_grad_enabled()


# ---- hooks -------------------------------------------------------------------------------------------------


@program
def hooks_in_their_order(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g.clone()) or g * 10)  # type: ignore[func-returns-value]  # for its effect
    x.register_hook(lambda g: g + 1)
    y.retain_grad()
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs, outputs)))
    y.grad_fn.register_prehook(lambda outputs: seen.append(outputs))
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    y.backward(ones(t))
    return x.grad, y.grad, seen


@program
def a_removed_hook_is_silent(t: Any) -> Any:
    x = leaf(t)
    handle = x.register_hook(lambda g: g * 100)
    handle.remove()
    (x * 2).sum().backward()
    return x.grad


@program
def hooks_of_a_node_replace_gradients(t: Any) -> Any:
    x, y = leaf(t), leaf(t)
    z = x * y
    z.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    z.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 3, inputs[1]))
    z.sum().backward()
    return x.grad, y.grad


@program
def a_hook_needs_a_gradient(t: Any) -> Any:
    ones(t).register_hook(print)


@program
def nothing_to_retain(t: Any) -> Any:
    ones(t).retain_grad()


@program
def the_gradient_of_an_updated_tensor_is_retained(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * y).sum().backward()
    return y.grad, x.grad, y.retains_grad


@program
def the_graph_can_be_walked_by_hand(t: Any) -> Any:
    x = leaf(t)
    y = (x * 2 + 1).exp()
    names, node = [], y.grad_fn
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    first = y.grad_fn
    first.metadata["note"] = 1
    return names, y.grad_fn.metadata, y.grad_fn is first


@program
def a_leaf_in_the_graph_is_its_accumulator(t: Any) -> Any:
    x = leaf(t)
    node = (x * 2).grad_fn.next_functions[0][0]
    return node.variable is x, node is (x + 1).grad_fn.next_functions[0][0]


# ---- leaves ------------------------------------------------------------------------------------------------


@program
def requires_grad_belongs_to_leaves(t: Any) -> Any:
    y = leaf(t) * 2
    y.requires_grad = False


@program
def whole_numbers_have_no_gradient(t: Any) -> Any:
    t.tensor([1, 2]).requires_grad_()


@program
def a_gradient_has_its_tensors_shape(t: Any) -> Any:
    leaf(t).grad = ones(t, 2)


@program
def a_gradient_is_a_tensor(t: Any) -> Any:
    leaf(t).grad = 3


@program
def comparisons_have_no_gradient(t: Any) -> Any:
    x = leaf(t)
    return x > 1, (x > 1).requires_grad, x.long().requires_grad, (x * 2).argmax().requires_grad


@program
def a_variable_is_a_tensor(t: Any) -> Any:
    x = t.autograd.Variable(ones(t), requires_grad=True)
    (x * 2).sum().backward()
    return x, x.grad


@program
def only_leaves_are_deeply_copied(t: Any) -> Any:
    x = leaf(t)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    y.grad.zero_()
    return y, x.grad, y.grad


# ---- anomalies ---------------------------------------------------------------------------------------------


@program
def views_know_their_base(t: Any) -> Any:
    x, leaf_ = t.ones(4), leaf(t)
    views = [x, x.view(2, 2), x.view(2, 2)[0], x.detach(), leaf_.data, leaf_[1:], (leaf_ * 1)[0], x[[0]]]
    return [[y._is_view(), y._base is x, y._base is leaf_, y._base is None] for y in views]


@program
def a_history_that_was_overwritten_is_printed(t: Any) -> Any:
    x = leaf(t) * 1
    x[0] = 2
    return str(x), x.grad_fn.name()


@program
def every_tensor_is_a_variable(t: Any) -> Any:
    variable = t.autograd.Variable
    made = variable(t.ones(2), requires_grad=True)
    return [made, isinstance(made, variable), isinstance(t.ones(2), variable), isinstance(2, variable)]


@program
def a_nan_is_told(t: Any) -> Any:
    x = leaf(t, 0, 2)
    with t.autograd.set_detect_anomaly(True):
        y = (x * 0).sqrt() * 0
        y.sum().backward()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, torch: ModuleType) -> None:
    compare(program, torch)


# ---- without a peer ----------------------------------------------------------------------------------------


def tensor(*elements: float) -> Tensor:
    return Tensor(np.array(elements, np.float32))


def test_a_long_chain_is_walked_and_dropped() -> None:
    x = tensor(1, 2).requires_grad_()
    y = x
    for _ in range(100_000):
        y = y * 1.0
    y.backward(tensor(1, 1))
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1]
    unused = x
    for _ in range(100_000):
        unused = unused + 1
    del unused, y


class Twice(retrograd.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2


def test_a_graph_goes_with_its_last_tensor() -> None:
    """No cycle of references keeps values alive until the collector comes."""
    gc.disable()
    try:
        x = tensor(1, 2).requires_grad_()
        y = x.exp()
        z = (y * y).sum()
        watched = weakref.ref(y)
        del y, z
        assert watched() is None
        kept = x * 3
        own = Twice.apply(kept)
        watched = weakref.ref(kept)
        del kept, own
        assert watched() is None
    finally:
        gc.enable()


def test_a_failed_pass_writes_no_gradient() -> None:
    x, y = tensor(1, 2).requires_grad_(), tensor(1, 2).requires_grad_()
    late = x * 1
    late.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (late + y * 2).backward(tensor(1, 1))
    assert x.grad is None
    assert y.grad is None


@pytest.mark.filterwarnings("ignore:Error detected")
def test_a_nan_is_told_with_the_line_of_its_operation() -> None:
    x = tensor(0, 1).requires_grad_()
    with retrograd.autograd.set_detect_anomaly(True):
        root = (x * 0).sqrt()
        product = root * 0
    with (
        retrograd.autograd.set_detect_anomaly(True),
        pytest.raises(GradientError, match="SqrtBackward0") as caught,
    ):
        product.backward(tensor(1, 1))
    assert caught.value.where is not None
    assert caught.value.where.function == test_a_nan_is_told_with_the_line_of_its_operation.__name__
    assert "root = (x * 0).sqrt()" in linecache.getline(caught.value.where.file, caught.value.where.line)


def test_batched_gradients_need_batched_cotangents() -> None:
    x = tensor(1, 2).requires_grad_()
    with pytest.raises(ValueError, match="it needs cotangents of one length for all outputs"):
        retrograd.autograd.grad(x.sum(), x, is_grads_batched=True)


@pytest.mark.parametrize(
    "operation", [lambda x: x + 1, lambda x: x.sum(), lambda x: x[:5], lambda x: x.reshape(40, 50)]
)
def test_operands_that_the_derivative_does_not_read_are_dropped(
    operation: Callable[[Tensor], Tensor],
) -> None:
    x = Tensor(np.ones(2000, np.float32)).requires_grad_()
    middle = x * 1
    array = weakref.ref(middle)
    result = operation(middle)
    view = result._view is not None
    del middle
    assert (array() is None) != view, "only a view keeps its base"


def test_a_kept_operand_must_not_change() -> None:
    y = tensor(1, 2) * tensor(1, 2).requires_grad_()
    z = y * y
    y.add_(1)
    with pytest.raises(GradientError) as caught:
        z.backward(tensor(1, 1))
    assert (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[torch.FloatTensor [2]], which is output 0 of Add, is at version 1; expected version 0 instead."
    ) in str(caught.value)


def test_modes_belong_to_their_thread() -> None:
    seen: list[bool] = []
    with retrograd.no_grad():
        thread = threading.Thread(target=lambda: seen.append(retrograd.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]
