"""Elements overwritten in place, often enough that plans and native calls do it, against PyTorch's.

In flow small programs `program(t)` that run with either library several times over; out flow equal outcomes
(`side_by_side`). A new behaviour is a row of `WRITES`, or a function with `@program`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from side_by_side import Program, compare, leaf

TIMES = 4
"""The first call, the one that is planned, and those by the plan."""

PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


Write = Callable[[Any, Any, Any], Any]
"""Of the library, a vector of three, and another."""

WRITES: dict[str, Write] = {
    "zero": lambda t, z, y: z.zero_(),
    "fill by a number": lambda t, z, y: z.fill_(2.5),
    "fill by a tensor": lambda t, z, y: z.fill_(y.sum()),
    "copy": lambda t, z, y: z.copy_(y),
    "copy of doubles": lambda t, z, y: z.copy_(y.double()),
    "copy of one": lambda t, z, y: z.copy_(y[1]),
    "copy of a number": lambda t, z, y: z.copy_(3),
    "copy of too many": lambda t, z, y: z.copy_(y.expand(2, 3)),
    "index_put_": lambda t, z, y: z.index_put_((t.tensor([2, -3]),), y[:2]),
    "index_put_ by a mask": lambda t, z, y: z.index_put_((t.tensor([True, False, True]),), y[:2]),
    "index_put_ of a number": lambda t, z, y: z.index_put_((t.tensor([2, 0]),), t.tensor(4.0)),
    "index_put_ of sums": lambda t, z, y: z.index_put_((t.tensor([0, 2, 0]),), y, accumulate=True),
    "index_put_ of a sum": lambda t, z, y: z.index_put_((t.tensor(1),), y[0], accumulate=True),
    "index_put_ out of range": lambda t, z, y: z.index_put_((t.tensor([0, 3]),), y[:2]),
    "index_put_ far out of range": lambda t, z, y: z.index_put_((t.tensor([0, -4]),), y[:2]),
    "index_put_ of too many": lambda t, z, y: z.index_put_((t.tensor([True, False, True]),), y),
    "masked_scatter_": lambda t, z, y: z.masked_scatter_(t.tensor([True, False, True]), y),
    "a list of places": lambda t, z, y: z.__setitem__([2, 0], y[:2]),
    "part of it": lambda t, z, y: z[1:].mul_(y[1:]),
    "one of it": lambda t, z, y: z.__setitem__(0, z[0] + y[0]),
    "a view of a view": lambda t, z, y: z.view(3, 1)[1:].squeeze(1).zero_(),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("recorded", [(False, False), (True, False), (False, True), (True, True)])
def test_writing_does_what_pytorch_does(torch: Any, name: str, recorded: tuple[bool, bool]) -> None:
    """Values, versions, names on the tape, gradients, and derivatives of those."""
    of_target, of_source = recorded

    def run(t: Any) -> list[Any]:
        found: list[Any] = []
        for _ in range(TIMES):
            w, y = t.tensor([1.0, 2.0, 3.0]), t.tensor([4.0, 5.0, 6.0], requires_grad=of_source)
            w.requires_grad_(of_target)
            z = w * 1
            WRITES[name](t, z, y)
            found += [z, z._version, z.grad_fn and z.grad_fn.name()]
            if z.requires_grad:
                leaves = [x for x in (w, y) if x.requires_grad]
                first = t.autograd.grad((z * z).sum(), leaves, create_graph=True, allow_unused=True)
                found += [(z.grad_fn.next_functions[k][0] is None) for k in range(1)]
                found += [None if g is None else [g.tolist(), g.requires_grad] for g in first]
        return found

    compare(run, torch)


@program
def diagonals_are_filled(t: Any) -> Any:
    outcomes = []
    for shape in ((3, 3), (5, 2), (2, 4), (2, 2, 2)):
        for value in (7, 0.5):
            for wrap in (False, True):
                for _ in range(3 * TIMES):
                    w = t.ones(*shape).requires_grad_()
                    plain, z = t.zeros(*shape), w * 2
                    plain.fill_diagonal_(value, wrap)
                    z.fill_diagonal_(value, wrap).sum().backward()
                outcomes += [plain, plain._version > 0, z, w.grad]
    return outcomes


@program
def dropout_in_place_keeps_the_tensor(t: Any) -> Any:
    outcomes = []
    for p in (0.0, 1.0):
        for _ in range(TIMES):
            w = leaf(t)
            z = w * 1
            same = t.nn.functional.dropout(z, p, inplace=True)
            z.sum().backward()
            outcomes += [same is z, z, z._version, z.grad_fn.name(), w.grad]
    t.nn.functional.dropout(leaf(t), 0.5, inplace=True)
    return outcomes


@program
def too_few_elements_are_refused_at_every_call(t: Any) -> Any:
    outcomes = []
    for count in (3, 3, 3, 2, 2, 3):
        for method in ("masked_scatter", "masked_scatter_"):
            x, mask, source = t.zeros(3), t.tensor([True, True, True]), t.ones(count)
            try:
                outcomes.append(getattr(x, method)(mask, source).tolist())
            except RuntimeError:
                outcomes.append("refused")
    return outcomes


@program
def the_source_of_masked_scatter_has_gradients(t: Any) -> Any:
    x, source = leaf(t), t.arange(8.0).requires_grad_()
    outcomes = []
    for _ in range(TIMES):
        mask = t.tensor([[True], [False]]) if x.ndim == 2 else t.tensor([True, False, True])
        out = x.masked_scatter(mask, source)
        first = t.autograd.grad((out * out * out).sum(), [x, source], create_graph=True)
        second = t.autograd.grad(first[0].sum() + first[1].pow(2).sum(), [x, source])
        outcomes += [out, out.grad_fn.name(), *first, *second]
    return outcomes


@program
def a_list_among_arguments_may_change_between_calls(t: Any) -> Any:
    outcomes, places = [], [0, 1]
    for _ in range(TIMES):
        x = t.zeros(2, 2)
        places[:] = [0, 1]
        x.index_put_([t.tensor(places)], t.ones(2, 2))
        places[:] = [1, 0]
        outcomes += [x.tolist(), t.arange(6.0).reshape(2, 3).permute(*places).tolist()]
    return outcomes


@program
def a_view_shows_what_its_base_was_given(t: Any) -> Any:
    outcomes = []
    for _ in range(TIMES):
        w = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        base = w * 1
        view = base[1:]
        base.fill_(2.0)
        view.add_(w[:2])
        base[0] += 1
        (view * base[:2]).sum().backward()
        outcomes += [base, view, view.grad_fn.name(), base.grad_fn.name(), w.grad]
    return outcomes


@program
def bases_learn_of_views_however_they_lie(t: Any) -> Any:
    looks = (
        lambda z: z[1], lambda z: z[:, 1], lambda z: z.t(), lambda z: z.t()[0], lambda z: z[::2, 1:],
        lambda z: z.diagonal(), lambda z: z.view(-1)[2:7], lambda z: z[0][1], lambda z: z.flip(0),
        lambda z: z.as_strided((2, 2), (3, 1), 1), lambda z: z.unfold(0, 1, 2), lambda z: z[:0],
    )  # fmt: skip
    outcomes = []
    for look in looks:
        for _ in range(TIMES):
            w = t.arange(9.0).reshape(3, 3).requires_grad_()
            z = w * 1
            part = look(z)
            part.mul_(3.0).exp_()
            part.add_(w.sum())
            (z * z).sum().backward()
            outcomes += [z, z._version, z.grad_fn.name(), part, part.grad_fn and part.grad_fn.name(), w.grad]
    return outcomes


@program
def tensors_of_integers_beside_slices_pick(t: Any) -> Any:
    k, j = t.tensor([2, 0, -1]), t.tensor([[1], [0]])
    indices = (
        (k, k), (slice(None), k), (k, slice(0, 2)), (j, k), (k, slice(None), k), (slice(1), j, k), (k, 0),
        (0, k), (k, None), (..., k), (k.bool(), slice(None)), (slice(None, None, 2), k), (k, k, k),
    )  # fmt: skip
    outcomes = []
    for index in indices:
        for value in (0.5, 7, t.tensor(2.0), t.tensor([4.0, 5.0, 6.0])):
            for _ in range(TIMES):
                x = t.zeros(3, 3, 3)
                try:
                    x[index] = value
                except (IndexError, RuntimeError) as error:
                    outcomes.append(isinstance(error, IndexError))
                outcomes += [x.tolist(), x._version]
    return outcomes


@program
def picks_out_of_range_write_nothing(t: Any) -> Any:
    x = t.zeros(3, 3)
    for _ in range(TIMES):
        try:
            x[t.tensor([0, 3]), t.tensor([0, 1])] = 1.0
        except IndexError as error:
            x[0, 0] = -1.0
            words = str(error)
    return [x.tolist(), words]


@program
def hooks_and_kept_gradients_of_a_base_stay_with_it(t: Any) -> Any:
    outcomes: list[Any] = []
    seen: list[Any] = []
    for _ in range(TIMES):
        w = leaf(t)
        z = w * 1
        z.retain_grad()
        z[1:].mul_(2.0)
        z[0].add_(1.0)
        z.register_hook(lambda g: seen.append(g.tolist()))
        z[:2].zero_()
        (z * w).sum().backward()
        outcomes += [z, z.grad, w.grad]
    return outcomes + seen


@pytest.mark.parametrize(
    "change",
    [
        lambda t, z: z.chunk(3)[0].mul_(2),
        lambda t, z: z.expand(2, 3).mul_(2),
        lambda t, z: t.no_grad()(lambda: z[0])().mul_(2),
        lambda t, z: (lambda loss: (z.detach()[0].mul_(2), loss.backward()))((z * z).sum()),
    ],
)
def test_what_may_not_be_changed_stays_refused(torch: Any, change: Callable[[Any, Any], Any]) -> None:
    """Also when the same method has changed other Tensors before, natively."""

    def run(t: Any) -> None:
        w = leaf(t)
        for _ in range(TIMES):
            (w * 1)[0].mul_(2)
        change(t, w * 1)

    compare(run, torch)


@program
def what_a_view_overwrites_is_seen_by_versions(t: Any) -> Any:
    outcomes = []
    for _ in range(TIMES):
        w = leaf(t)
        z = w * 1
        kept = z.exp()
        loss = (kept * z).sum()
        z[0].mul_(2.0)
        try:
            loss.backward()
        except RuntimeError as error:
            outcomes.append(str(error).partition(";")[0])
    return outcomes


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_do_the_same(torch: Any, run: Program) -> None:
    compare(run, torch)
