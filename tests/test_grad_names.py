"""What steps of the tape are called: PyTorch's names, case by case (`runtime/grad_names.py`).

`tests/golden/grad_names.txt` holds PyTorch's answers, so that they are compared where it is not installed;
where it is, the answers themselves are checked, and all cases of the other tables beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from function_cases import lines
from grad_name_cases import GRAPHS, LEADS_OTHERWISE, NAMES, OTHERWISE
from test_functions import CASES, HISTORIES, flat, operands

import retrograd


def results(case: str, known: dict[str, Any]) -> list[Any]:
    """What a case gives, one by one."""
    steps, _, last = case.rpartition("; ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(steps, known)
        return list(flat(eval(last, known)))


def names(case: str, t: Any) -> list[str | None]:
    """Of the `grad_fn` of each result."""
    steps_of = [getattr(x, "grad_fn", None) for x in results(case, operands(t, "float32"))]
    return [None if step is None else step.name() for step in steps_of]


def table(t: Any) -> str:
    return "".join(f"{case} | {', '.join(map(str, names(case, t)))}\n" for case in NAMES)


def test_steps_bear_the_recorded_names(golden: Callable[[str, str], None]) -> None:
    for _ in range(3):  # the third time is a replay
        golden("grad_names.txt", table(retrograd))


def test_the_recorded_names_are_pytorchs(torch: ModuleType, golden: Callable[[str, str], None]) -> None:
    golden("grad_names.txt", table(torch))


@pytest.mark.parametrize("case", sorted({*CASES, *HISTORIES} - OTHERWISE))
def test_steps_bear_pytorchs_names(torch: ModuleType, case: str) -> None:
    expected = names(case, torch)
    for _ in range(3):
        assert names(case, retrograd) == expected


def leads(case: str, t: Any) -> list[Any]:
    """Where the step of each result leads: names, and which result of theirs it is."""
    return [
        [(f and f.name(), place) for f, place in x.grad_fn.next_functions]
        if getattr(x, "grad_fn", None)
        else None
        for x in results(case, operands(t, "float32"))
    ]


@pytest.mark.parametrize("case", sorted({*NAMES, *CASES, *HISTORIES} - OTHERWISE - LEADS_OTHERWISE))
def test_steps_lead_where_pytorchs_lead(torch: ModuleType, case: str) -> None:
    expected = leads(case, torch)
    for _ in range(3):
        assert leads(case, retrograd) == expected


@pytest.mark.parametrize("case", sorted(LEADS_OTHERWISE))
def test_steps_that_lead_elsewhere_are_known(torch: ModuleType, case: str) -> None:
    found = [leads(case, retrograd) for _ in range(3)]
    assert any(each != leads(case, torch) for each in found), "it is PyTorch's now: strike the line out"


def graph(step: Any) -> Any:
    """Everything that is reached from a step, as nested names."""
    return step and (step.name(), [(graph(f), place) for f, place in step.next_functions])


@pytest.mark.parametrize("case", GRAPHS)
def test_whole_graphs_are_pytorchs(torch: ModuleType, case: str) -> None:
    def seen(t: Any) -> Any:
        t.manual_seed(0)
        return [graph(x.grad_fn) for x in results(case, operands(t, "float32"))]

    expected = seen(torch)
    for _ in range(3):
        assert seen(retrograd) == expected


def large(t: ModuleType, case: str) -> Any:
    """Of operands so large that a step keeps of them no more than their types."""
    t.manual_seed(0)
    x = t.randn(8, 31, 64, requires_grad=True) * 2
    layers = {
        "linear": t.nn.Linear(64, 33), "plain": t.nn.Linear(64, 33, bias=False),
        "reshape": lambda x: x.reshape(-1, 8, 4), "flatten": lambda x: x.flatten(1),
        "view": lambda x: x.unflatten(2, (8, 8)).transpose(1, 2), "dot": lambda x: x @ x[0].mT,
    }  # fmt: skip
    return layers[case](x)


@pytest.mark.parametrize("case", ["linear", "plain", "reshape", "flatten", "view", "dot"])
def test_whole_graphs_of_large_operands_are_pytorchs(torch: ModuleType, case: str) -> None:
    expected = graph(large(torch, case).grad_fn)
    for _ in range(3):
        assert graph(large(retrograd, case).grad_fn) == expected


def test_leaves_are_found_at_the_ends() -> None:
    x, y = (retrograd.randn(3, 4, requires_grad=True) for _ in range(2))
    step = retrograd.nn.functional.softplus(x).addcmul(y, x).grad_fn
    (into, _), (at_y, _), (at_x, _) = step.next_functions
    assert at_y.variable is y
    assert at_x.variable is x
    assert into.next_functions[0][0].variable is x
    assert into.next_functions[0][0] is at_x


def gradients(case: str, walked: bool, twice: bool) -> list[Any]:
    """Of a sum of all results; `walked` after somebody has looked at the whole graph."""
    known = operands(retrograd, "float64")
    retrograd.manual_seed(0)
    made = [x for x in results(case, known) if getattr(x, "grad_fn", None)]
    if walked:
        for x in made:
            graph(x.grad_fn)
    total = sum((x.double() * retrograd.linspace(1, 2, x.numel()).double().view(x.shape)).sum() for x in made)
    leaves = [x for x in known.values() if isinstance(x, retrograd.Tensor) and x.requires_grad and x.is_leaf]
    found = retrograd.autograd.grad(total, leaves, create_graph=twice, allow_unused=True)
    again = [g for g in found if g is not None and g.requires_grad] if twice else []
    if again:
        further = sum((g * g).sum() for g in again)
        found += retrograd.autograd.grad(further, leaves, allow_unused=True)
    return list(found)


@pytest.mark.parametrize("case", sorted({*NAMES, *CASES, *HISTORIES, *GRAPHS}))
@pytest.mark.parametrize("twice", [False, True])
def test_looking_at_a_graph_changes_no_gradient(case: str, twice: bool) -> None:
    try:
        expected = gradients(case, False, twice)
    except RuntimeError as error:  # a step that has no second derivative
        with pytest.raises(type(error)):
            gradients(case, True, twice)
        return
    for _ in range(2):
        for a, b in zip(gradients(case, True, twice), expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert retrograd.allclose(a, b, 1e-9, 1e-12, equal_nan=True)


def test_every_call_of_hardsigmoid_has_a_gradient_with_a_history() -> None:
    for _ in range(3):  # the first is done in Python, later ones are replayed
        x = retrograd.tensor([0.5, 4.0], requires_grad=True)
        (slope,) = retrograd.autograd.grad(retrograd.nn.functional.hardsigmoid(x).sum(), x, create_graph=True)
        assert slope.requires_grad
        assert retrograd.autograd.grad(slope.sum(), x)[0].tolist() == [0.0, 0.0]


HOOKED = lines("""
    F.softplus(x)
    F.linear(x, y, u)
    F.l1_loss(x, y)
    t.addmm(q, q.detach(), q.exp())
    t.clamp(x, y, y + 1)
    F.cross_entropy(x, labels)
    x.std(0, keepdim=True)
    t.stack([x, y.exp()])
    F.hardswish(x)
    c @ d
""")


@pytest.mark.parametrize("case", HOOKED)
def test_hooks_of_steps_get_the_gradients_of_their_operands(torch: ModuleType, case: str) -> None:
    def seen(t: Any) -> list[Any]:
        (result,) = results(case, operands(t, "float32"))
        met: list[Any] = []

        def hook(inputs: Any, outputs: Any) -> None:
            met.append([None if g is None else g.tolist() for g in (*inputs, *outputs)])

        waiting = [result.grad_fn]
        while waiting:
            step = waiting.pop(0)
            step.register_hook(hook)
            waiting += [f for f, _ in step.next_functions if f and f.next_functions]
        result.sum().backward()
        return met

    expected = seen(torch)
    for _ in range(3):
        found = seen(retrograd)
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert len(a) == len(b)
            for g, h in zip(a, b):
                assert g == h if g is None or h is None else np.allclose(g, h, 1e-4, 1e-5)


def test_a_graph_that_was_looked_at_is_freed_and_checked_as_ever() -> None:
    x = retrograd.randn(3, 4, requires_grad=True)
    for loss in (
        lambda z: retrograd.nn.functional.hardswish(z).sum(),
        lambda z: z.std(0, keepdim=True).sum(),
    ):
        y = loss(x * 2)
        graph(y.grad_fn)
        y.backward()
        with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
            y.backward()
    z = x * 2
    y = retrograd.nn.functional.hardswish(z)
    graph(y.grad_fn)
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_step_shows_what_it_has_saved(torch: ModuleType) -> None:
    def shown(t: Any) -> list[str]:
        x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        y, z = x.exp(), x.pow(2)
        w = x * y
        said = [w.grad_fn._saved_self, w.grad_fn._saved_other, y.grad_fn._saved_result, z.grad_fn._saved_self]
        w.sum().backward()
        for name in ("_saved_self", "nothing"):
            with pytest.raises((RuntimeError, AttributeError)) as raised:
                getattr(w.grad_fn, name)
            said.append(raised.value)
        return list(map(str, said))

    assert shown(retrograd) == shown(torch)
