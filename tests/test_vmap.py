"""What a function under `vmap` does besides computing: histories, updates, random numbers, side effects.

Each `case` is run by both libraries, and gives the same.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd
from retrograd.compiler.errors import TraceError

CASES = []


def case(function: Any) -> Any:
    CASES.append(function)
    return function


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [x for each in value for x in flat(each)] if isinstance(value, tuple | list) else [value]


def told(x: Any) -> Any:
    """What is compared of a result."""
    if not hasattr(x, "detach"):
        return x
    return x.requires_grad, tuple(x.shape), str(x.dtype).removeprefix("torch."), x.detach().numpy()


def check(t: ModuleType, function: Any) -> None:
    found, expected = ([told(x) for x in flat(function(each))] for each in (retrograd, t))
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(theirs, tuple):
            assert ours[:2] == theirs[:2]
            assert str(ours[2]).rpartition(".")[2] == theirs[2]
            np.testing.assert_allclose(ours[3], theirs[3], rtol=2e-5, atol=1e-6)
        else:
            assert ours == theirs


def numbers(t: Any) -> Any:
    return t.arange(12.0).reshape(4, 3) / 10


def square(t: Any) -> Any:
    class Square(t.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any) -> Any:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 3 * g * ctx.saved_tensors[0]

    return Square


# ---- nested ------------------------------------------------------------------------------------------------


@case
def three_deep(t: Any) -> Any:
    x = t.arange(24.0).reshape(2, 3, 4) / 10
    return t.vmap(lambda a: t.vmap(lambda b: t.vmap(lambda c: c * b.sum() + a.sum())(b))(a))(x)


@case
def gradients_of_gradients(t: Any) -> Any:
    return t.vmap(t.func.grad(t.func.grad(lambda a: a.sin() * a)))(numbers(t)[0])


@case
def axes_from_the_end(t: Any) -> Any:
    return t.vmap(lambda a, b: a + b, in_dims=(-1, 0), out_dims=-1)(numbers(t), t.ones(3, 4))


@case
def products_with_jacobians(t: Any) -> Any:
    x = numbers(t)
    along = t.vmap(lambda a, b: t.func.jvp(lambda z: z.sin() * z, (a,), (b,)))(x, x + 1)
    return along, t.vmap(lambda a, b: t.func.vjp(lambda z: z.sin() * z, a)[1](b))(x, x + 1)


@case
def jacobians_and_hessians_of_examples(t: Any) -> Any:
    x = numbers(t).requires_grad_()
    first = t.vmap(t.func.jacrev(lambda a: a.sin() * a.sum()))(x)
    second = t.vmap(t.func.hessian(lambda a: (a**3).sum() * a.sum()))(x)
    return first, second, t.autograd.grad(first.sum() + (second**2).sum(), x)


# ---- histories ---------------------------------------------------------------------------------------------


@case
def a_detached_factor(t: Any) -> Any:
    x = numbers(t).requires_grad_()
    y = t.vmap(lambda a: (a.detach() * a).sum())(x)
    y.sum().backward()
    return y, x.grad


@case
def an_unrecorded_factor(t: Any) -> Any:
    x = numbers(t).requires_grad_()

    def f(a: Any) -> Any:
        with t.no_grad():
            b = a * 2
        return (b * a).sum()

    y = t.vmap(f)(x)
    y.sum().backward()
    return y, x.grad


@case
def no_history_is_seen_inside(t: Any) -> Any:
    seen: list[bool] = []
    t.vmap(lambda a: (seen.append(a.requires_grad), a)[1])(numbers(t).requires_grad_())
    return seen


@case
def gradients_with_a_history(t: Any) -> Any:
    x, w = numbers(t).requires_grad_(), t.ones(3).requires_grad_()
    y = t.vmap(t.func.grad(lambda a: (a.sin() * w * a).sum()))(x)
    return y, t.autograd.grad(y.sum(), (x, w))


@case
def distances_of_nothing(t: Any) -> Any:
    x = numbers(t).reshape(2, 2, 3).requires_grad_()
    y = t.vmap(lambda a: t.cdist(a, a))(x)
    return y, t.autograd.grad((y**2).sum() + y.sum(), x)


@case
def a_hook_outside(t: Any) -> Any:
    x = numbers(t).requires_grad_()
    y = t.vmap(lambda a: (a * a).sum())(x)
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    return x.grad


@case
def a_users_function(t: Any) -> Any:
    x, apply = numbers(t).requires_grad_(), square(t).apply
    y = t.vmap(lambda a: apply(a).sum())(x)
    (first,) = t.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = t.autograd.grad((first * first).sum(), x)
    return y, first, second, t.vmap(t.func.grad(lambda a: apply(a).sum()))(x.detach())


@case
def a_users_function_of_what_is_outside(t: Any) -> Any:
    class Product(t.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any, w: Any) -> Any:
            return x * w

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, w = ctx.saved_tensors
            return g * w, 2 * g * x

    x, w = numbers(t).requires_grad_(), t.ones(3).requires_grad_()
    y = t.vmap(lambda a: Product.apply(a, w))(x)
    y.sum().backward()
    return y, x.grad, w.grad


@case
def jacobians_by_what_is_outside(t: Any) -> Any:
    w, found = t.ones(3).requires_grad_(), []
    for transform in (t.func.jacrev, t.func.jacfwd, t.func.hessian):
        j = transform(lambda a: (a * w).sin().sum())(numbers(t)[0])
        found += [j, t.autograd.grad(j.sum(), w)]
    return found


@case
def cotangents_of_a_history_outside(t: Any) -> Any:
    x = numbers(t)[0].requires_grad_()
    y = x.sin() * x
    return t.vmap(lambda v: t.autograd.grad(y, x, v, retain_graph=True)[0])(t.eye(3))


@case
def a_pullback_for_many(t: Any) -> Any:
    _, pull = t.func.vjp(lambda a: a.sin() * a, numbers(t)[0])
    return t.vmap(pull)(t.eye(3))[0], t.vmap(pull)(t.eye(3).requires_grad_())[0]


# ---- the function itself -----------------------------------------------------------------------------------


@case
def the_function_is_run_once_a_call(t: Any) -> Any:
    x, calls, found = numbers(t), [], []

    def f(a: Any) -> Any:
        calls.append(1)
        return (a * a).sum()

    for transform in (lambda g: t.vmap(t.func.grad(g)), t.vmap):
        for _ in range(3):
            transform(f)(x)
            found.append(len(calls))
    for transform in (t.func.jacrev, t.func.jacfwd, t.func.hessian):
        transform(f)(x[0])
        found.append(len(calls))
    y = t.vmap(f)(x.requires_grad_())
    y.sum().backward()
    return [*found, len(calls)]


@case
def a_closure_that_changes(t: Any) -> Any:
    found, step, scale, w = [], 0, 1.0, t.ones(3)
    each = t.vmap(lambda a: (a * w).sum() * scale if step % 2 else (a + w).prod())
    for _ in range(6):
        found.append(each(numbers(t)))
        step, scale, w = step + 1, scale + 0.5, w + step
    return found


@case
def branches_on_what_is_the_same_for_all(t: Any) -> Any:
    w = t.ones(3)
    y = t.vmap(lambda a: a * w if w.sum() > 2 else a)(numbers(t))
    return y, t.vmap(lambda a: a * w.sum().item())(numbers(t))


@case
def updates_of_what_is_made_inside(t: Any) -> Any:
    def f(a: Any) -> Any:
        y = a * 2
        y.add_(a)
        y[0] = 7
        y[1:].mul_(3)
        return y

    x = numbers(t).requires_grad_()
    y = t.vmap(f)(x)
    return y, t.autograd.grad(y.sum(), x)


@case
def updates_of_what_is_outside(t: Any) -> Any:
    x, w = numbers(t), t.zeros(3)

    def f(a: Any) -> Any:
        w.add_(1)
        a[0] = 5
        return a.mul_(2).sum() + w.sum()

    turned = t.vmap(f, in_dims=1, chunk_size=2)(x)
    return [t.vmap(f)(x), turned, x, w]


@case
def memory_that_is_shared(t: Any) -> Any:
    x, w = numbers(t), t.ones(3)
    t.vmap(lambda a: a)(x).add_(1)
    t.vmap(lambda a: a.clone())(x).add_(1)
    t.vmap(lambda a: (a, w), out_dims=(0, None))(x)[1].add_(1)
    return x, w


@case
def tensors_made_inside(t: Any) -> Any:
    return t.vmap(lambda a: a * t.arange(3.0) + t.ones_like(a) + a.new_zeros(3) + t.tensor([1.0, 2.0, 3.0]))(
        numbers(t)
    )


@case
def several_dtypes(t: Any) -> Any:
    k = t.arange(3)
    return (
        t.vmap(lambda a, b: a + b)(k, numbers(t)[0].double()),
        t.vmap(lambda a: a + 1.5)(k),
        t.vmap(lambda a: a.double() * t.ones(3))(k * 1.0),
        t.vmap(lambda a: a * t.tensor(2.0, dtype=t.float64))(k * 1.0),
        t.vmap(lambda a, b: a * b)(k.double(), numbers(t)[:3]),
        t.vmap(lambda a: a.argmax())(numbers(t)),
        t.vmap(lambda a: (a > 0.4).any())(numbers(t)),
    )


@case
def no_examples(t: Any) -> Any:
    return t.vmap(lambda a: (a * 2).sum())(t.zeros(0, 3))


@case
def a_few_at_a_time(t: Any) -> Any:
    x = numbers(t)
    jacobian = t.func.jacrev(lambda a: a.sin(), chunk_size=2)(x[0])
    return jacobian, t.vmap(lambda a: a.sin().sum(), chunk_size=3)(x)


@case
def in_threads(t: Any) -> Any:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(t.vmap(lambda a: (a * a).sum())(numbers(t))))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


# ---- modules -----------------------------------------------------------------------------------------------


@case
def networks_side_by_side(t: Any) -> Any:
    t.manual_seed(0)
    nets = [t.nn.Sequential(t.nn.Linear(3, 4), t.nn.ReLU(), t.nn.Linear(4, 2)) for _ in range(3)]
    parameters, buffers = t.func.stack_module_state(nets)
    call = lambda p, b, x: t.func.functional_call(nets[0], (p, b), (x,))  # noqa: E731
    y = t.vmap(call, in_dims=(0, 0, None))(parameters, buffers, numbers(t))
    y.sum().backward()
    return y, [p.grad for p in parameters.values()]


@case
def gradients_of_samples_by_a_convolution(t: Any) -> Any:
    t.manual_seed(0)
    module, x = t.nn.Conv2d(1, 2, 3), t.arange(50.0).reshape(2, 1, 5, 5) / 100
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def loss(parameters: Any, sample: Any) -> Any:
        return (t.func.functional_call(module, parameters, (sample[None],)) ** 2).sum()

    return [t.vmap(t.func.grad(loss), in_dims=(None, 0))(parameters, x) for _ in range(3)]


@case
def a_recurrent_layer(t: Any) -> Any:
    t.manual_seed(0)
    layer = t.nn.LSTM(3, 2)
    x = numbers(t).reshape(2, 2, 3)
    return [t.func.jacrev(lambda a: layer(a)[0])(x).detach() for _ in range(2)]


# ---- places ------------------------------------------------------------------------------------------------


@case
def rows_are_put_in(t: Any) -> Any:
    x = t.arange(24.0).reshape(2, 3, 4)
    row, places = t.arange(8.0).reshape(2, 4), t.tensor([1])
    put = lambda a, b: a.index_put((places,), b) ** 2  # noqa: E731
    scattered = lambda a, b: (a.scatter(0, t.tensor([[0, 1, 2, 0]]), b[None]) ** 3).sum()  # noqa: E731
    return [
        t.vmap(put)(x, row),
        t.vmap(put, in_dims=(None, 0))(x[0], row),
        t.vmap(put, in_dims=(0, None))(x, row[0]),
        t.vmap(put, in_dims=(0, None))(x, t.tensor(7.0)),
        t.func.jacrev(put, argnums=(0, 1))(x[0], row[0]),
        t.func.jacfwd(put, argnums=(0, 1))(x[0], row[0]),
        t.vmap(t.func.grad(scattered, argnums=(0, 1)))(x, row),
    ]


@case
def memory_is_seen_by_strides(t: Any) -> Any:
    x = t.arange(24.0).reshape(2, 3, 4)
    apart = lambda a: a.as_strided((2, 3), (5, 1), 1) ** 2  # noqa: E731
    meeting = lambda a: a.as_strided((2, 3), (1, 2)) ** 2  # noqa: E731
    return [
        found
        for see in (apart, meeting)
        for found in (t.vmap(see)(x), t.func.jacrev(see)(x[0]), t.func.jacfwd(see)(x[0]))
    ]


# ---- random numbers ----------------------------------------------------------------------------------------


@case
def random_numbers(t: Any) -> Any:
    x, found = numbers(t), []
    for randomness in ("same", "different"):
        t.manual_seed(0)
        found.append(t.vmap(lambda a: a + t.rand(3), randomness=randomness)(x))
        nested = t.vmap(lambda b: b + t.rand(()), randomness=randomness)
        found.append(t.vmap(nested, randomness="different")(x))
    found.append(t.vmap(lambda a: a + t.rand_like(a), randomness="different")(x))
    found.append(t.vmap(lambda a: (a * 1).normal_(), randomness="different")(x))
    return [*found, t.vmap(lambda a: t.randperm(5), randomness="same")(x)]


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_function_of_examples_is_pytorchs(torch: ModuleType, function: Any) -> None:
    check(torch, function)


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore")
def test_it_stays_so_when_its_steps_are_known(torch: ModuleType, function: Any) -> None:
    for _ in range(2):
        function(retrograd)
    check(torch, function)


# ---- errors ------------------------------------------------------------------------------------------------


def test_random_numbers_are_refused_where_they_are_drawn() -> None:
    inner = lambda a: retrograd.vmap(lambda b: b + retrograd.rand(()), randomness="different")(a)  # noqa: E731
    drop = retrograd.nn.functional.dropout
    for function in (lambda a: a + retrograd.rand(3), lambda a: drop(a), inner):
        with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
            retrograd.vmap(function)(numbers(retrograd))


def test_errors_speak_of_one_example() -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
            retrograd.vmap(lambda a: a @ retrograd.ones(5, 2))(retrograd.ones(4, 2, 3))
        with pytest.raises(RuntimeError, match="size of tensor a"):
            retrograd.vmap(lambda a: a + retrograd.ones(5))(numbers(retrograd))
    retrograd.vmap(lambda a: a + 1)(numbers(retrograd))  # nothing has stayed open


def test_what_differs_from_example_to_example_is_written_to_nothing_outside() -> None:
    w = retrograd.zeros(3)
    with pytest.raises(TraceError, match="changes a tensor in place"):
        retrograd.vmap(lambda a: w.add_(a))(numbers(retrograd))
    assert w.tolist() == [0, 0, 0]


def test_what_leaves_the_function_otherwise_stands_for_nothing() -> None:
    kept = []
    retrograd.vmap(lambda a: (kept.append(a * 2), a)[1])(numbers(retrograd))
    with pytest.raises(TraceError, match="the trace has ended"):
        kept[0] + 1
    with pytest.raises(TraceError, match="has ended"):
        retrograd.vmap(lambda a: a + kept[0])(numbers(retrograd))


def test_a_compiled_function_is_differentiated_example_by_example() -> None:
    f = retrograd.compile_grad(lambda x: (x.sin() * x).cumsum(0))
    x = numbers(retrograd)[0]
    expected = retrograd.func.jacrev(lambda x: (x.sin() * x).cumsum(0))(x)
    np.testing.assert_allclose(retrograd.func.jacrev(f)(x).numpy(), expected.numpy(), rtol=1e-5)
