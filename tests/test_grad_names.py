"""What steps of the tape are called: PyTorch's names, case by case (`runtime/grad_names.py`).

`tests/golden/grad_names.txt` holds PyTorch's answers, so that they are compared where it is not installed;
where it is, the answers themselves are checked, and all cases of the other tables beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from function_cases import lines
from grad_name_cases import NAMES, OTHERWISE
from test_functions import CASES, HISTORIES, flat, operands

import retrograd


def names(case: str, t: Any) -> list[str | None]:
    """Of the `grad_fn` of each result."""
    known = operands(t, "float32")
    steps, _, last = case.rpartition("; ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(steps, known)
        made = eval(last, known)
    steps_of = [getattr(x, "grad_fn", None) for x in flat(made)]
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


NEXT = lines("""
    x + y
    x + 1
    x * 2
    x ** 2
    2 - x
    x.clamp(min=0)
    x.relu()
    x.exp().sum()
    (x * y).mean()
    x.mm(a.detach()[:4])
    x.t()
    F.leaky_relu(x)
    x.tril()
    x.masked_fill(b, 0)
    F.mse_loss(x, y)
    F.nll_loss(x, labels.clamp(max=2))
    F.linear(x, x * 1, u)[0]
    t.where(b, x, y)
    x.split(2)
    x[0]
""")


@pytest.mark.parametrize("case", NEXT)
def test_steps_lead_where_pytorchs_lead(torch: ModuleType, case: str) -> None:
    def next_names(t: Any) -> list[Any]:
        made = list(flat(eval(case, operands(t, "float32"))))
        return [[(f and f.name(), place) for f, place in x.grad_fn.next_functions] for x in made]

    assert next_names(retrograd) == next_names(torch)


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
