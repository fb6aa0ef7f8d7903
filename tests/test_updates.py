"""In-place functions called again: the plan that writes natively does what the function did, as PyTorch.

In flow updates as text, of a whole Tensor, of views of one, with history and without; each is run several
times on Tensors of both libraries. A new update is a line of `UPDATES`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import retrograd as rg

UPDATES = [
    "x.add_(y, alpha=-0.5)", "x.sub_(y, alpha=2)", "x.mul_(0.9)", "x.exp_()", "x.relu_()", "x.clamp_(min=0)",
    "x.clamp_(-0.5, 0.5)", "x.addcmul_(y, y, value=0.5)", "x.addcdiv_(y, x + 3)", "x.lerp_(y, 0.1)",
    "x.zero_()", "x.fill_(0.5)", "x.fill_(s)", "x.copy_(y)", "x.copy_(y[0])", "x.copy_(whole)", "x.sign_()",
    "x.masked_fill_(c, 2)", "x.index_add_(0, k, y)", "x.index_copy_(1, k, y)", "x.index_fill_(0, k[:1], 7)",
    "x.scatter_(1, g, 1.0)", "x.scatter_add_(1, g, y)", "x.tril_()", "x.cumsum_(0)", "x.round_(decimals=1)",
    "x.add_(y[0])", "x.add_(x)", "F.relu_(x)", "F.elu_(x)", "x.floor_()",
    "F.threshold_(x, 0.1, 0.0)", "x.t().add_(y)", "x[0].add_(1.0, alpha=3)", "x[:, 1].zero_()",
    "x[1:, :2].copy_(s)", "x.view(-1)[::2].fill_(3)", "x.diagonal().mul_(s)", "x[0].exp_()",
]  # fmt: skip


def names(t: Any, history: bool) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    x, y = (t.from_numpy(rng.standard_normal((3, 3)).astype(np.float32)) for _ in range(2))
    leaf = x.requires_grad_() if history else x
    return {
        "F": t.nn.functional, "x": leaf * 1 if history else x, "y": y, "s": t.tensor(1.5), "leaf": leaf,
        "c": y > 0, "k": t.tensor([2, 0, 1]), "g": t.tensor([[0], [2], [1]]),
        "whole": t.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
    }  # fmt: skip


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("update", UPDATES)
def test_an_update_again_and_again(update: str, history: bool) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = [names(t, history) for t in (rg, torch)]
    for _ in range(10):
        for known in (ours, theirs):
            eval(update, known)
        np.testing.assert_allclose(
            ours["x"].detach().numpy(), theirs["x"].detach().numpy(), rtol=2e-5, atol=1e-6, equal_nan=True
        )
        assert ours["x"]._version == theirs["x"]._version
        assert (ours["x"].grad_fn is None) == (theirs["x"].grad_fn is None)
    if history:
        done = backward(theirs["x"])
        assert backward(ours["x"]) or not done
        if done:
            found, expected = ours["leaf"].grad.numpy(), theirs["leaf"].grad.numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def backward(x: Any) -> bool:
    """Whether it can be done: some updates overwrite what the derivative of one before looks at."""
    try:
        x.sum().backward()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def planned() -> None:
    """The plans of the updates below are there."""
    for _ in range(4):
        rg.ones(3).zero_()
        rg.ones(3).add_(rg.ones(3), alpha=2)


@pytest.mark.usefixtures("planned")
def test_a_leaf_that_requires_grad_is_refused_still() -> None:
    w = rg.ones(3, requires_grad=True)
    for f in (lambda: w.zero_(), lambda: w.view(3).zero_(), lambda: w.add_(rg.ones(3), alpha=2)):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            f()
    with rg.no_grad():
        w.zero_()
        assert w.view(3).add_(rg.ones(3), alpha=2).tolist() == [2, 2, 2]
    assert w.tolist() == [2, 2, 2]
    assert w._version == 2


@pytest.mark.usefixtures("planned")
def test_memory_that_repeats_or_may_not_change_is_refused_still() -> None:
    with pytest.raises(RuntimeError, match="more than one element"):
        rg.ones(1).expand(3).add_(1)
    assert rg.ones(1).expand(3).zero_().tolist() == [0, 0, 0]
    fixed = np.ones(3, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        rg.Tensor(fixed).zero_()


@pytest.mark.usefixtures("planned")
def test_an_operand_with_history_is_recorded_still() -> None:
    x, w = rg.zeros(3), rg.ones(3, requires_grad=True)
    x.add_(w, alpha=2)
    assert x.requires_grad
    x.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [2, 2, 2]


@pytest.mark.usefixtures("planned")
def test_a_saved_value_that_was_changed_is_noticed() -> None:
    w, x = rg.ones(3, requires_grad=True), rg.ones(3)
    y = (w * x).sum()
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_views_that_were_written_to_show_the_base_and_it_them() -> None:
    base = rg.zeros(2, 3)
    row, column = base[0], base[:, 1]
    for k in range(1, 6):
        row += 1.0
        column.fill_(float(k * 10))
        assert row.tolist() == [k, k * 10, k]
        assert base.tolist() == [[k, k * 10, k], [0, k * 10, 0]]
        base[1, 2] = 5.0
        assert column.tolist() == [k * 10, k * 10]
        base[1, 2] = 0.0


def test_running_statistics_follow_each_batch() -> None:
    torch: ModuleType = pytest.importorskip("torch")
    seen = []
    for t in (rg, torch):
        layer, x = t.nn.BatchNorm1d(3), t.linspace(-1, 2, 12).reshape(4, 3)
        for k in range(6):
            layer(x * (k + 1)).sum().backward()
        seen.append([layer.running_mean.numpy(), layer.running_var.numpy(), layer.weight.grad.numpy()])
        assert layer.num_batches_tracked.item() == 6
    for ours, theirs in zip(*seen):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


WRITES = [
    ("x[0]", "y[1]"), ("x[:, 1]", "y[0]"), ("x[1:, :2]", "s"), ("x[..., 0]", "2"), ("x[0, 1]", "0.5"),
    ("x[-1]", "y[:1]"), ("x[None, 0]", "y[:1]"), ("x[0, ::2]", "1"), ("x[k]", "y"), ("x[k]", "0.5"),
    ("x[k, k]", "y[0]"), ("x[k[:1]]", "y[:1]"), ("x[c]", "0.0"), ("x[c]", "s"), ("x[c[0]]", "3.0"),
    ("x[c]", "x[c]"), ("x[c[0]]", "y[:1]"), ("x[g, k]", "y"), ("x[0][1:]", "y[0, 1:]"),
    ("x.t()[0]", "y[2]"), ("x[x > 0]", "-1.0"), ("x[1:]", "x[:-1] + 0"), ("whole[0]", "7"),
    ("whole[c]", "2.6"), ("x[0]", "whole[1]"), ("x[True]", "y"), ("x[0]", "True"), ("x[()]", "y"),
    # what is refused
    ("x[3]", "1.0"), ("x[k + 1]", "1.0"), ("x[0]", "y"), ("x[k]", "y[0, :2]"), ("x[::-1]", "y"),
    ("x[0, 0, 0]", "1.0"), ("x[c]", "y[0, :1].expand(2)"), ("whole[0]", "2.0 ** 80"),
    ("x[k, k + 1]", "0.0"),
]  # fmt: skip


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("write", WRITES, ids=" = ".join)
def test_writing_at_an_index(write: tuple[str, str], history: bool) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = [names(t, history) for t in (rg, torch)]
    for _ in range(3):
        outcomes = []
        for known in (ours, theirs):
            try:
                exec(" = ".join(write), known)
            except (IndexError, RuntimeError, ValueError) as error:
                outcomes.append(type(error).__mro__[-4:])
            else:
                outcomes.append([known[name].tolist() for name in ("x", "whole")])
        assert str(outcomes[0])[:400] == str(outcomes[1])[:400] or not isinstance(outcomes[1], list)
        assert isinstance(outcomes[0], list) == isinstance(outcomes[1], list)


READS = [
    "x[c]", "x[c[0]]", "x[k, k]", "x[k, g]", "x[k]", "x[:, k]", "x.t()[k, k]", "x.t()[c]", "x[k > 0]",
    "x[c, 0]",
]  # fmt: skip


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("read", READS)
def test_reading_by_tensors(read: str, history: bool) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = [names(t, history) for t in (rg, torch)]
    for _ in range(3):
        found = []
        for known in (ours, theirs):
            try:
                found.append(eval(read, known))
            except IndexError:
                found.append(None)
        assert (found[0] is None) == (found[1] is None)
        if found[1] is None:
            continue
        assert found[0].tolist() == found[1].tolist()
        assert found[0].stride() == found[1].stride()
        if history:
            assert [x.grad_fn.name() for x in found] == [found[1].grad_fn.name()] * 2
            steps = [[n and n.name() for n, _ in x.grad_fn.next_functions] for x in found]
            assert steps[0] == steps[1]
            for x in found:
                (x * x).sum().backward(retain_graph=True)
            np.testing.assert_allclose(ours["leaf"].grad.numpy(), theirs["leaf"].grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("index", ["x[3, 0]", "x[k + 1, k]", "x[k + 1]"])
def test_an_index_out_of_range_is_told_as_ever(index: str) -> None:
    known = names(rg, False)
    for _ in range(3):
        with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
            eval(index, known)


NORMS = {
    "batch_norm": "F.batch_norm(x, mean, var, weight, bias, True, 0.1)",
    "batch_norm without statistics": "F.batch_norm(x, None, None, weight, bias, True)",
    "batch_norm by a tensor": "F.batch_norm(x, mean, var, training=True, momentum=0.25)",
    "batch_norm, eval": "F.batch_norm(x, mean, var, weight, bias)",
    "instance_norm": "F.instance_norm(x, mean, var, weight, bias)",
}


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("call", NORMS.values(), ids=NORMS)
def test_statistics_move_while_results_are_recorded(call: str, history: bool) -> None:
    torch = pytest.importorskip("torch")
    seen = []
    for t in (rg, torch):
        rng = np.random.default_rng(6)
        x, *others = (
            t.from_numpy(rng.uniform(0.5, 2, shape).astype(np.float32)) for shape in ((4, 3, 5), *[(3,)] * 4)
        )
        known = dict(zip(("mean", "var", "weight", "bias"), others, strict=True))
        leaves = [x, known["weight"], known["bias"]] if history else []
        for leaf in leaves:
            leaf.requires_grad_()
        found = []
        for _ in range(12):
            out = eval(call, {"F": t.nn.functional, "x": x, **known})
            found += [out.detach().clone(), known["mean"].clone(), known["var"].clone()]
            if history:
                (out * out).sum().backward()
                found += [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]
            x = (x.detach() * 1.25 - 0.1).requires_grad_(history)
            leaves = [x, *leaves[1:]]
        seen.append(found)
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=3e-4, atol=3e-5)
