"""Functions that replay their steps: the same for the same key, and never what another key asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.compiler.errors import ArgumentError, DimensionError, GradientError, RetrogradError


def again(f: Callable[[], Any], times: int = 4) -> Any:
    """The last of several calls: of the first, the one that is traced, and those that replay."""
    for _ in range(times):
        result = f()
    return result


def test_numbers_that_are_equal_but_of_other_types_are_other_arguments() -> None:
    x = rg.arange(6.0).reshape(2, 3)
    assert again(lambda: x.unsqueeze(1)).shape == (2, 1, 3)
    for wrong in (True, 1.0):
        with pytest.raises(RetrogradError):
            x.unsqueeze(wrong)
    assert again(lambda: x.reshape((3, 2))).shape == (3, 2)
    with pytest.raises(ArgumentError):
        x.reshape((3.0, 2))


def test_a_dtype_or_shape_never_seen_is_no_replay() -> None:
    whole, real = rg.arange(6), rg.arange(6.0)
    assert again(lambda: whole.sum()).dtype is rg.int64
    assert again(lambda: real.sum()).dtype is rg.float32
    with pytest.raises(DimensionError):
        again(lambda: real.reshape(2, 3)).sum(2)


def test_results_follow_the_default_dtype() -> None:
    condition = rg.tensor([True, False])
    assert again(lambda: rg.where(condition, 1.0, 2.0)).dtype is rg.float32
    rg.set_default_dtype(rg.float64)
    try:
        assert rg.where(condition, 1.0, 2.0).dtype is rg.float64
    finally:
        rg.set_default_dtype(rg.float32)
    assert rg.where(condition, 1.0, 2.0).dtype is rg.float32


def test_replayed_views_share_memory_and_history() -> None:
    x = rg.arange(6.0)
    part = again(lambda: x.reshape(2, 3)[1:])
    part.zero_()
    assert x.tolist() == [0, 1, 2, 0, 0, 0]
    leaf = rg.ones(2, 3, requires_grad=True)
    doubled = leaf * 2
    view = again(lambda: doubled[0])
    view.mul_(3)
    doubled.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[6, 6, 6], [2, 2, 2]]


def test_a_copy_stays_a_copy() -> None:
    scalar = rg.tensor(2.0)
    values, _ = again(lambda: scalar.max(0))
    values.add_(1)
    assert scalar.item() == 2


def test_an_operand_that_requires_grad_records_the_steps() -> None:
    x = rg.ones(3)
    again(lambda: rg.stack([x, x]))
    w = rg.ones(3, requires_grad=True)
    rg.stack([w, x]).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1, 1, 1]
    with rg.no_grad():
        assert not rg.stack([w, x]).requires_grad


def test_operands_by_name_keep_their_places() -> None:
    x, target = rg.randn(3, 4), rg.tensor([1, 0, 3])
    weight = rg.tensor([1.0, 2.0, 3.0, 4.0])
    by_place = rg.nn.functional.nll_loss(x, target, weight)
    by_name = again(lambda: rg.nn.functional.nll_loss(weight=weight, target=target, input=x))
    assert by_name.item() == by_place.item()


def test_elements_are_looked_at_each_time() -> None:
    x, place = rg.arange(3.0), rg.tensor([0, 2])
    assert again(lambda: x[place]).tolist() == [0, 2]
    place[0] = 1
    assert x[place].tolist() == [1, 2]
    place[0] = 3
    with pytest.raises(DimensionError, match="index 3 is out of bounds for dimension 0 with size 3"):
        x[place]
    scores, target = rg.zeros(2, 3), rg.tensor([0, 1])
    again(lambda: rg.nn.functional.cross_entropy(scores, target))
    target[0] = 3
    with pytest.raises(DimensionError, match="Target 3 is out of bounds"):
        rg.nn.functional.cross_entropy(scores, target)


def test_no_warning_of_numpy_comes_through() -> None:
    x = rg.tensor([[float("inf"), -float("inf")], [float("nan"), 0.0]], requires_grad=True)
    with np.errstate(all="raise"):
        again(lambda: rg.softmax(x * 0.0 / 0.0, 1).sum().backward())


def test_indices_select_and_slice_as_written() -> None:
    x = rg.arange(24.0).reshape(2, 3, 4).requires_grad_()
    names = {
        "x[0]": "Select",
        "x[1:]": "Slice",
        "x[:, 1]": "Select",
        "x[0, 1:]": "Slice",
        "x[1:, 0]": "Select",
    }
    for index, name in names.items():
        for _ in range(3):
            assert eval(index, {"x": x}).grad_fn.name() == f"{name}Backward0"


def test_what_fails_is_told_by_the_function() -> None:
    x, place = rg.arange(6.0).reshape(2, 3), rg.tensor([1, 0])
    errors = []
    for _ in range(3):
        again(lambda: x.index_select(0, place))
        with pytest.raises(DimensionError) as told:
            x.index_select(0, place + 1)
        errors.append(str(told.value).splitlines()[0])
        again(lambda: rg.take(x, place))
        with pytest.raises(DimensionError, match="tried to access index 6 on a tensor of 6 elements"):
            rg.take(x, place + 5)
    assert len(set(errors)) == 1


def test_results_lie_in_order_as_ever() -> None:
    x = rg.arange(24.0).reshape(4, 6).t()
    w = rg.ones(6, 4, requires_grad=True)
    place, filled = rg.tensor([3, 1]), rg.zeros(6, 2)
    for f in (
        lambda x: x.topk(2, 0).indices,
        lambda x: x.index_copy(1, place, filled),
        lambda x: rg.nn.functional.pad(x, (-1, 2)),
        lambda x: x.contiguous().view(-1),
    ):
        for given in (x, w, w.t().contiguous().t()):
            for _ in range(3):
                assert f(given).is_contiguous()


def test_a_copy_of_an_operand_is_no_operand() -> None:
    x = rg.ones(2, 3)
    for f in (lambda: x.repeat(1, 1), lambda: rg.nn.functional.interpolate(x.view(1, 2, 3), size=3)):
        for _ in range(4):
            f().fill_(7)
    assert x.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_numbers_that_differ_at_each_call() -> None:
    x, y = rg.ones(3), rg.ones(3, requires_grad=True)
    for k in range(40):
        scale = 0.5 if k % 2 else 0.1 * k
        assert rg.add(x, y, alpha=scale).tolist() == pytest.approx([1 + scale] * 3)
        assert x.clamp(max=scale).tolist() == pytest.approx([min(1, scale)] * 3)


def test_steps_in_place_of_a_function_without_a_name_show_its_own() -> None:
    x = rg.randn(3, 4, requires_grad=True)
    shown = [[x.msort().grad_fn.name(), x.fliplr().grad_fn.name()] for _ in range(4)]
    assert shown == [["SortBackward0", "FlipBackward0"]] * 4
    with rg.no_grad():
        assert again(lambda: x.msort()).tolist() == x.sort(0).values.tolist()


def test_second_derivatives_after_a_look_at_the_graph() -> None:
    for _ in range(3):
        x = rg.randn(3, 4, dtype=rg.float64, requires_grad=True)
        y = rg.nn.functional.normalize(x)
        assert y.grad_fn is not None
        assert y.grad_fn.next_functions[1][0].next_functions[0][0].next_functions
        (g,) = rg.autograd.grad((y**3).sum(), [x], create_graph=True)
        (h,) = rg.autograd.grad((g * g).sum(), [x])
        assert h.isfinite().all()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "hardtanh", "silu", "dropout"])
def test_in_place_on_request_is_in_place_each_time(name: str) -> None:
    f = getattr(rg.nn.functional, name)
    for _ in range(5):
        x = rg.tensor([-2.0, 0.5, 3.0])
        kept = x.clone()
        assert f(x, inplace=True) is x
        assert x.tolist() != kept.tolist()
        f(kept)
        assert kept.tolist() == [-2.0, 0.5, 3.0]


def test_what_is_written_elsewhere_is_written_each_time() -> None:
    x, y = rg.tensor([1.0, 2.0]), rg.tensor([3.0, 4.0])
    batch = rg.arange(12.0).reshape(2, 2, 3)
    for k in range(5):
        out, running = rg.zeros(2), rg.zeros(2)
        assert rg.add(x, y, out=out) is out
        assert rg.add(x, y, alpha=2, out=out) is out
        assert out.tolist() == [7, 10], k
        rg.nn.functional.instance_norm(batch, running, rg.ones(2))
        assert running.tolist() == pytest.approx([0.4, 0.7]), k


def test_a_row_without_gradient_stays_one() -> None:
    weight, place = rg.randn(3, 2, requires_grad=True), rg.tensor([0, 2, 0])
    for _ in range(4):
        weight.grad = None
        rg.nn.functional.embedding(place, weight, padding_idx=2).sum().backward()
        assert weight.grad is not None
        assert weight.grad.tolist() == [[2, 2], [0, 0], [0, 0]]
        assert rg.nn.functional.embedding(place, weight).tolist() == weight[place].tolist()
        with pytest.raises(IndexError, match="index out of range in self"):
            rg.nn.functional.embedding(place + 1, weight)


@pytest.mark.parametrize(
    "f",
    [
        rg.nn.functional.softplus,
        rg.nn.functional.glu,
        rg.tril,
        lambda x: rg.roll(x, 1, 1),
        lambda x: rg.nn.functional.pad(x, (1, 2)),
        lambda x: rg.index_add(x, 0, rg.tensor([1, 1, 0]), x * x),
    ],
)
def test_a_function_of_small_operands_is_one_step(f: Callable[[Any], Any]) -> None:
    leaf = rg.linspace(-2, 2, 12).reshape(3, 4).requires_grad_()
    found = []
    for _ in range(4):
        x = leaf * 1.0
        y = f(x)
        (first,) = rg.autograd.grad((y * y).sum(), leaf, create_graph=True)
        (second,) = rg.autograd.grad(first.sum(), leaf)
        found.append((y.detach().numpy(), first.detach().numpy(), second.numpy()))
    assert y.grad_fn.edges[0] is x.grad_fn
    for value, *gradients in found[1:]:
        np.testing.assert_array_equal(value, found[0][0])
        for gradient, expected in zip(gradients, found[0][1:], strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


def test_an_operand_of_which_only_the_shape_counts_may_change() -> None:
    leaf = rg.ones(3, 3, requires_grad=True)
    for _ in range(4):
        x = leaf * 2.0
        lower = rg.tril(x)
        x.add_(1.0)
        (gradient,) = rg.autograd.grad(lower.sum(), leaf)
        assert gradient.tolist() == [[2, 0, 0], [2, 2, 0], [2, 2, 2]]


def test_factors_side_by_side_are_tensors_of_their_own() -> None:
    a = rg.tensor([[2.0, 0.5], [0.5, 3.0], [0.1, 0.2]])
    for _ in range(4):
        q, r = rg.linalg.qr(a)
        kept = r.clone()
        rg.testing.assert_close(q @ r, a)
        q.zero_()
        assert r.equal(kept)


def test_einsum_records_the_steps_of_its_first_call() -> None:
    x = rg.arange(9.0).reshape(3, 3).requires_grad_()
    for equation in ("ij,jk->ik", "ij,jk->ki", "ij,kl->ijkl", "ij,ij->j", "ii,ij->j"):
        seen = []
        for _ in range(4):
            y = rg.einsum(equation, x, x)
            (gradient,) = rg.autograd.grad(y.sum(), x, retain_graph=True)
            names, node = [], y.grad_fn
            while node is not None:
                names.append(node.name())
                node = node.next_functions[0][0] if node.next_functions else None
            seen.append((names, gradient.tolist(), y.stride()))
        assert all(each == seen[0] for each in seen), equation


def test_derivatives_of_derivatives_by_steps() -> None:
    x = rg.tensor([0.5, -1.5], requires_grad=True)
    for _ in range(5):
        found = [(x**2 * x.exp() / (1 + x * x)).sum()]
        for _ in range(3):
            found += rg.autograd.grad(found[-1].sum(), x, create_graph=True)
        third = rg.autograd.functional.hessian(
            lambda x: rg.autograd.grad((x**2 * x.exp() / (1 + x * x)).sum(), x, create_graph=True)[0].sum(), x
        )
        rg.testing.assert_close(found[-1], third.diagonal())


def test_a_mask_reads_a_view_whose_base_was_changed() -> None:
    leaf, mask = rg.arange(6.0).requires_grad_(), rg.tensor([True, False, True, True, False])
    for _ in range(3):
        base = leaf * 1.0
        view = base[1:]
        base.mul_(2.0)
        picked = view[mask]
        assert picked.tolist() == [2, 6, 8]
        (gradient,) = rg.autograd.grad(picked.sum(), leaf)
        assert gradient.tolist() == [0, 2, 0, 2, 2, 0]


def test_what_is_checked_of_elements_is_checked_in_each_call() -> None:
    x, bags, weight = rg.rand(5), rg.tensor([0, 2]), rg.rand(4, 3)
    for _ in range(10):
        assert 0 <= rg.quantile(x, rg.tensor(0.5)) <= 1
        rg.nn.functional.embedding_bag(rg.tensor([1, 2, 3]), weight, bags)
    with pytest.raises(RuntimeError, match="in the range"):
        rg.quantile(x, rg.tensor(1.5))
    with pytest.raises(RuntimeError, match="offsets"):
        rg.nn.functional.embedding_bag(rg.tensor([1, 2, 3]), weight, rg.tensor([1, 2]))


def test_a_diagonal_is_scattered_whatever_its_elements() -> None:
    x, source = rg.zeros(3, 3), rg.tensor([float("inf"), float("nan"), 0.0])
    for _ in range(4):
        found = rg.diagonal_scatter(x, source)
        assert found[0, 0] == float("inf")
        assert bool(found[1, 1].isnan())
        assert found.isfinite().sum() == 7


def test_what_a_step_without_axes_gave_is_kept_as_an_array() -> None:
    """NumPy makes scalars of such steps; a derivative with a history is made of what is kept."""
    numbers = np.arange(12.0).reshape(3, 4)
    found = []
    for history in [False, True] * 6:
        x = rg.tensor(numbers, requires_grad=True)
        (slope,) = rg.autograd.grad(x.quantile(0.3), x, create_graph=history)
        found.append(slope.detach().numpy())
    assert np.isclose(found[0].sum(), 1)
    for each in found:
        np.testing.assert_array_equal(each, found[0])


def test_what_detaches_is_replayed_without_histories_and_ends_those_that_there_are(torch: Any) -> None:
    values, degrees = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), 3
    x = rg.tensor(values)
    expected = torch.special.chebyshev_polynomial_t(torch.tensor(values), degrees).numpy()
    plain = again(lambda: rg.special.chebyshev_polynomial_t(x, degrees))
    ended = again(lambda: rg.special.chebyshev_polynomial_t(x.clone().requires_grad_(), degrees))
    np.testing.assert_allclose(plain.numpy(), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ended.numpy(), plain.numpy())
    assert not plain.requires_grad
    assert not ended.requires_grad


F = rg.nn.functional
ALIKE: dict[str, tuple[Callable[..., Any], tuple[int, ...], ...]] = {
    "expand": (lambda x: x.expand(33, 17, 5), (17, 1)),
    "repeat_interleave": (lambda x: x.repeat_interleave(33, 0), (17, 3)),
    "unfold": (lambda x: x.unfold(0, 9, 1), (40, 3)),
    "as_strided": (lambda x: x.as_strided((5, 5), (1, 1)), (40,)),
    "bilinear": (F.bilinear, (5, 3), (5, 4), (6, 3, 4)),
    "addcmul": (rg.addcmul, (9, 5), (5,), (9, 1)),
    "transpose": (lambda x, w, b: F.linear(x, w, b).mT, (31, 8, 64), (64, 64), (64,)),
    "linear": (F.linear, (8, 31, 64), (33, 64), (33,)),
    "attention": (F.scaled_dot_product_attention, (2, 3, 9, 8), (2, 3, 9, 8), (2, 3, 9, 8)),
}


@pytest.mark.parametrize("case", ALIKE)
def test_the_first_gradients_have_the_bits_of_all_others(case: str) -> None:
    """A program that runs twice from one seed finds the same numbers."""
    function, *shapes = ALIKE[case]

    def found() -> list[bytes]:
        rg.manual_seed(0)
        leaves = [rg.randn(shape, requires_grad=True) for shape in shapes]
        out = function(*leaves)
        (out * rg.randn(out.shape)).sum().backward()
        return [x.numpy().tobytes() for x in (out.detach(), *[leaf.grad for leaf in leaves])]

    first = found()
    for _ in range(3):
        assert found() == first


KEEPING = (
    "F.scaled_dot_product_attention(x, z, x)", "F.scaled_dot_product_attention(x[None], z[None], x[None])",
    "F.scaled_dot_product_attention(z, x, x, is_causal=True)", "F.bilinear(x, z, t.ones(2, 3, 3))",
    "t.tensordot(x, z, 1)", "t.inner(x, z)", "t.einsum('ab,cb->ac', x, z)", "t.einsum('ab,ab->b', x, z)",
    "F.linear(x, z)", "t.outer(x[0], z[1])", "t.kron(x, z)", "x.T @ z", "(x.mT @ z.mT).mT", "x[None] @ z",
    "F.cosine_similarity(x, z, 0)", "t.linalg.vecdot(x, z, dim=0)", "t.linalg.multi_dot([x, z, x])",
    "x.t().mv(z[0])", "t.addmm(x, z.t(), x)", "t.addr(x, z[0], z[1])", "t.trapezoid(x, z)",
    "t.linalg.cross(x, z)", "t.cdist(x, z)",
    "t.vander(x[0])", "x.cov()", "F.embedding_bag(t.tensor([[0, 1]]), x)", "F.gumbel_softmax(x.t(), dim=0)",
)  # fmt: skip
"""Functions of several steps, of which one may keep a part of an operand."""


@pytest.mark.parametrize("function", KEEPING)
@pytest.mark.parametrize("which", ["x", "z"])
def test_what_a_step_keeps_of_an_operand_is_not_read_when_it_has_changed(function: str, which: str) -> None:
    """A backward pass after the change is refused, or has the gradients that it would have had."""

    def gradients(changed: bool) -> list[Any] | None:
        rg.manual_seed(0)
        leaves = [rg.rand(3, 3, requires_grad=True) for _ in "xz"]
        names: dict[str, Any] = {"t": rg, "F": rg.nn.functional}
        names["x"], names["z"] = (leaf * 1 for leaf in leaves)
        result = eval(function, names)
        if changed:
            names[which].mul_(2)
        try:
            result.sum().backward()
        except GradientError:
            return None
        return [None if leaf.grad is None else leaf.grad.tolist() for leaf in leaves]

    expected = gradients(changed=False)
    for _ in range(4):
        assert gradients(changed=True) in (None, expected)
