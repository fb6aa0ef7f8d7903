"""What is seen of views and histories that carry no derivative, as PyTorch shows it.

In flow programs as functions of the library; each says what it saw. Out flow equal answers of both.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import retrograd

Program = Callable[[Any], Any]


def views_without_grad(t: Any) -> Any:
    x = t.arange(6.0, requires_grad=True)
    y = x * 2
    with t.no_grad():
        views = [x.view(2, 3), x[0], x[1:3], x.expand(2, 6), y.view(6), *x.unbind(), x.reshape(3, 2)]
        copies = [x + 1, x.clone(), x.detach(), x.data]
        whole = t.arange(3).view(3, 1)
    return [(each.requires_grad, each.is_leaf, each.grad_fn) for each in [*views, *copies, whole]]


def views_for_inference(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    with t.inference_mode():
        return x.view(3).requires_grad, x[0].requires_grad


def a_view_without_grad_is_not_changed_with_it(t: Any) -> Any:
    y = t.ones(3, requires_grad=True) * 2
    with t.no_grad():
        view = y.view(3)
        view.mul_(2)
    try:
        view.mul_(2)
    except RuntimeError as error:
        return str(error), y
    return None


def drawn_numbers(t: Any) -> Any:
    t.manual_seed(3)
    p = t.full((4,), 0.5, requires_grad=True)
    for _ in range(3):
        drawn = [t.bernoulli(p), p.bernoulli(), t.normal(p, 1.0), t.normal(0.0, p), t.normal(p, p)]
    sum(x.sum() for x in drawn).backward()
    return [x.tolist() for x in drawn], [x.grad_fn.name() for x in drawn], p.grad.tolist()


def distinct_elements(t: Any) -> Any:
    x = t.tensor([[2.0, 1.0, 1.0]], requires_grad=True)
    told = []
    for found in (x.unique(), x.unique(dim=1), x.unique_consecutive(), t.unique(x, return_counts=True)[0]):
        try:
            found.sum().backward()
        except NotImplementedError as error:
            told.append((found.grad_fn.name(), str(error)))
    return told


def parts_of_expanded_tensors(t: Any) -> Any:
    x = t.zeros(1, 3)
    wide = x.expand(2, 3)
    wide[0] = 1.0
    wide[1, 0] = 5.0
    wide[0].add_(1)
    wide[0, t.tensor([1, 2])] = 7.0
    filled = t.zeros(1).expand(3)
    filled.fill_(2)
    return x.tolist(), wide.tolist(), filled.tolist(), filled.zero_().tolist(), wide.stride()


def expanded_tensors_filled_in_part(t: Any) -> Any:
    """What one element becomes, all become that are one with it in memory."""
    some, one = t.tensor([[True, False, True], [False, False, False]]), t.tensor([0])
    rows = t.tensor([True, False])

    def write(x: Any, index: Any, value: Any) -> None:
        x[index] = value

    changes: list[Program] = [
        lambda x: x.masked_fill_(some, 1), lambda x: x.masked_fill_(some[0], t.tensor(-0.0)),
        lambda x: x.index_fill_(1, one, 2), lambda x: x.index_fill_(0, one, 2),
        lambda x: write(x, some, 3), lambda x: write(x, rows, 4), lambda x: write(x, one, 5),
        lambda x: write(x, rows, t.arange(3.0)), lambda x: write(x, some, t.tensor([6.0, 7.0])),
        lambda x: write(x, (one, one + 1), t.tensor(8.0)), lambda x: x.index_put_((one,), t.tensor(9.0)),
    ]  # fmt: skip
    told = []
    for change in changes:
        x = t.tensor([[0.0, float("nan"), 0.0]])
        wide = x.expand(2, 3)
        change(wide)
        told.append((str(x.tolist()), str(wide.tolist()), wide._version, x._version))
    return told


def results_into_tensors_of_other_shapes(t: Any) -> Any:
    x = t.tensor([[3.0, 1.0], [2.0, 4.0]])
    pair = t.empty(0), t.empty(0, dtype=t.int64)
    best = t.max(x, 1, out=pair)
    made = [t.empty(0) for _ in range(8)]
    same = [
        t.add(x, x, out=made[0]), t.mm(x, x, out=made[1]), t.sum(x, 0, out=made[2]),
        t.stack([x, x], out=made[3]), t.arange(3, out=made[4]), t.eye(2, out=made[5]),
        t.special.gammainc(x, x, out=made[6]), t.linalg.det(x, out=made[7]),
    ]  # fmt: skip
    part = t.zeros(3, 3)
    t.exp(x, out=part[:2, 1:])
    parted = t.linalg.slogdet(x, out=(t.empty(()), t.empty(())))
    named = [type(best).__name__, str(best), type(parted).__name__, [*parted]]
    return [a is b for a, b in zip(same, made)], made, best[0] is pair[0], pair, part, named


def names_of_second_derivatives(t: Any) -> Any:
    rows: list[Program] = [
        lambda x: x**3, lambda x: 2**x, t.sigmoid, t.tanh, t.relu, t.exp, lambda x: x.softmax(0) + x, t.asinh,
        lambda x: x.log_softmax(0) + x, t.nn.functional.gelu, t.nn.functional.leaky_relu,
    ]  # fmt: skip
    told = []
    for row in rows:
        x = t.tensor([0.5, 2.0], requires_grad=True)
        (g,) = t.autograd.grad((row(x) ** 2).sum(), x, create_graph=True)
        (row(x) ** 2).sum().backward(create_graph=True)
        told.append((g.grad_fn.name(), x.grad.grad_fn.name(), t.autograd.grad(g.sum(), x)[0]))
    return told


def shown(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return [shown(value.tolist()), value.requires_grad]
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return type(value)(map(shown, value)) if isinstance(value, list | tuple) else value


@pytest.mark.filterwarnings("ignore:Using backward", "ignore:Use of .* on expanded tensors")
@pytest.mark.parametrize(
    "program",
    [
        views_without_grad, views_for_inference, drawn_numbers,
        a_view_without_grad_is_not_changed_with_it, distinct_elements, parts_of_expanded_tensors,
        expanded_tensors_filled_in_part, names_of_second_derivatives, results_into_tensors_of_other_shapes,
    ],
)  # fmt: skip
def test_a_program_sees_what_it_sees_with_pytorch(torch: ModuleType, program: Program) -> None:
    expected = shown(program(torch))
    for _ in range(3):
        assert shown(program(retrograd)) == expected
