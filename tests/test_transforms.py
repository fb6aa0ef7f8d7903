"""Maps of `distributions.transforms` beside PyTorch's: values, stretches, ways back, shapes, gradients.

A map is a line of text, evaluated with `D` as the library's `distributions`; to test another, write it into
`MAPS`, with values of its domain.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare
from test_distributions import known

import retrograd

REAL = "v([-3.0, -0.5, 0.0, 0.7, 2.5])"
ABOVE = "v([0.1, 0.5, 1.0, 2.5, 7.0])"
SQUARE = "v([[0.3, 0.5, 0.1], [0.3, -0.5, 0.1], [1.0, 0.7, -0.2]])"

MAPS = [
    ("D.ExpTransform()", REAL),
    ("D.ExpTransform(cache_size=1)", REAL),
    ("D.SigmoidTransform()", "v([-200.0, -0.5, 0.0, 0.7, 200.0])"),
    ("D.SoftplusTransform()", REAL),
    ("D.TanhTransform()", REAL),
    ("D.TanhTransform(1)", "v([30.0, -0.5])"),
    ("D.AbsTransform()", REAL),
    ("D.PowerTransform(v(2.5))", ABOVE),
    ("D.PowerTransform(-0.5)", ABOVE),
    (f"D.AffineTransform({REAL}, v(-2.0))", REAL),
    ("D.AffineTransform(1.0, 2)", REAL),
    (f"D.AffineTransform(0.0, {ABOVE}, event_dim=1)", REAL),
    ("D.AffineTransform(0.0, -2.0, event_dim=1)", REAL),
    ("D.ExpTransform().inv", ABOVE),
    ("D.ComposeTransform([D.ExpTransform(), D.AffineTransform(1.0, -2.0), D.ExpTransform()])", REAL),
    ("D.ComposeTransform([D.StickBreakingTransform(), D.ExpTransform()])", REAL),
    ("D.ComposeTransform([D.ExpTransform(), D.StickBreakingTransform()], cache_size=1)", REAL),
    ("D.ComposeTransform([D.ExpTransform(), D.TanhTransform()]).inv", "v([0.9, 0.95])"),
    ("D.ComposeTransform([])", REAL),
    ("D.identity_transform", REAL),
    ("D.IndependentTransform(D.ExpTransform(), 1)", REAL),
    ("D.IndependentTransform(D.SigmoidTransform(), 1, cache_size=1)", REAL),
    ("D.ReshapeTransform((5,), (5, 1))", REAL),
    ("D.ReshapeTransform((3, 3), (9,))", SQUARE),
    ("D.SoftmaxTransform()", SQUARE),
    ("D.StickBreakingTransform()", SQUARE),
    ("D.LowerCholeskyTransform()", SQUARE),
    ("D.PositiveDefiniteTransform()", SQUARE),
    ("D.CorrCholeskyTransform()", SQUARE),
    ("D.CorrCholeskyTransform()", "v([0.3, -0.5, 0.1, 2.0, -1.0, 0.6])"),
    ("D.CatTransform([D.ExpTransform(), D.TanhTransform()], dim=0, lengths=[2, 3])", REAL),
    ("D.CatTransform([D.ExpTransform(), D.TanhTransform(), D.ExpTransform()], dim=-1)", SQUARE),
    ("D.CatTransform([D.ExpTransform(), D.StickBreakingTransform()], dim=0, lengths=[1, 2])", SQUARE),
    ("D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.ExpTransform()], dim=1)", SQUARE),
    ("D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.ExpTransform()], 0, 1)", SQUARE),
    ("D.CumulativeDistributionTransform(D.Normal(v(0.3), 1.0))", REAL),
    *((f"D.{registry}(D.constraints.{constraint})", values) for registry in ("biject_to", "transform_to")
      for constraint, values in (
        ("real", REAL), ("positive", REAL), ("nonnegative", REAL), ("unit_interval", REAL), ("simplex", REAL),
        ("greater_than(2.0)", REAL), ("greater_than_eq(v(1.0))", REAL), ("less_than(2.0)", REAL),
        ("interval(-1.0, v(3.0))", REAL), ("half_open_interval(0.0, 1.0)", REAL), ("corr_cholesky", SQUARE),
        ("real_vector", REAL), ("independent(D.constraints.positive, 1)", REAL),
        ("cat([D.constraints.positive, D.constraints.real], 0, [2, 3])", REAL),
        ("stack([D.constraints.positive, D.constraints.real, D.constraints.positive])", SQUARE))),
    *((f"D.transform_to(D.constraints.{constraint})", SQUARE) for constraint in (
        "lower_cholesky", "positive_definite", "positive_semidefinite")),
]  # fmt: skip

WHAT = (
    "m(x)", "m.inv(m(x))", "m.inv.inv(x)", "m.log_abs_det_jacobian(x, m(x))",
    "m.inv.log_abs_det_jacobian(m(x), x)", "m.forward_shape(x.shape)", "m.inverse_shape(m(x).shape)",
    "m.event_dim", "m.domain", "m.codomain", "m.domain.event_dim, m.codomain.event_dim", "m.sign",
    "m.bijective", "m", "m == m", "m.inv", "m.with_cache(1)(x)", "m.with_cache(0).inv(m(x))",
    "m.domain.check(x)", "m.codomain.check(m(x))", "m.inv.sign", "m == D.ExpTransform()",
)  # fmt: skip


def outcome(case: tuple[str, str], what: str, t: Any) -> Any:
    names, leaves = known(t, "float64")
    names["m"], names["x"] = eval(case[0], names), eval(case[1], names)
    result = eval(what, names)
    if not hasattr(result, "detach"):
        return str(result)
    if result.requires_grad:
        weights = np.cos(np.arange(result.numel())).reshape(tuple(result.shape))
        (result * t.tensor(weights)).sum().backward()
    return (
        str(result.dtype),
        result.detach().numpy(),
        [None if x.grad is None else x.grad.numpy() for x in leaves],
    )


@pytest.mark.parametrize("case", MAPS, ids=lambda c: c[0])
def test_a_map_does_what_pytorch_does(torch: ModuleType, case: tuple[str, str]) -> None:
    for what in WHAT:
        try:
            expected = outcome(case, what, torch)
        except (NotImplementedError, ValueError, RuntimeError) as error:
            with pytest.raises(type(error)):
                outcome(case, what, retrograd)
            continue
        found = outcome(case, what, retrograd)
        if isinstance(expected, str):
            assert found == expected, what
            continue
        assert found[0] == expected[0], what
        np.testing.assert_allclose(found[1], expected[1], 1e-9, 1e-10, err_msg=what)
        for ours, theirs in zip(found[2], expected[2], strict=True):
            assert (ours is None) == (theirs is None), what
            if ours is not None:
                np.testing.assert_allclose(ours, theirs, 1e-8, 1e-9, err_msg=what)


CONSTRAINTS = [
    ("lower_triangular", "t.ones(2, 3, 3).tril()"), ("lower_triangular", "t.ones(2, 3, 3)"),
    ("lower_cholesky", "t.ones(3, 3).tril()"), ("corr_cholesky", "t.eye(3)"),
    ("corr_cholesky", "t.ones(3, 3).tril()"), ("square", "t.ones(2, 3, 3)"), ("square", "t.ones(2, 3)"),
    ("symmetric", "t.arange(9.0).reshape(3, 3)"), ("positive_semidefinite", "t.ones(3, 3)"),
    ("positive_definite", "t.eye(3)"), ("positive_definite", "-t.eye(3)"),
    ("positive_definite", "t.ones(2, 3)"),
    ("multinomial(3)", "t.tensor([[1.0, 2.0], [2.0, 2.0], [-1.0, 1.0]])"),
    ("cat([D.constraints.positive, D.constraints.unit_interval], 0, [2, 1])", "t.tensor([-1.0, 2.0, 2.0])"),
    ("stack([D.constraints.positive, D.constraints.unit_interval], -1)",
     "t.tensor([[-1.0, 2.0], [1.0, 0.5]])"),
    ("cat([D.constraints.positive, 1])", "t.ones(2)"), ("stack([1])", "t.ones(2)"),
    ("cat([D.constraints.positive], 0, [1, 2])", "t.ones(2)"), ("cat([D.constraints.real], 3)", "t.ones(2)"),
    ("MixtureSameFamilyConstraint(D.constraints.interval(t.zeros(2), t.tensor([1.0, 3.0])))",
     "t.tensor([0.5, 2.0])"),
]  # fmt: skip


@pytest.mark.parametrize("case", CONSTRAINTS, ids=lambda c: c[0])
def test_a_constraint_says_what_pytorchs_says(torch: ModuleType, case: tuple[str, str]) -> None:
    def program(t: Any) -> Any:
        names = {"t": t, "D": t.distributions}
        constraint = eval(f"D.constraints.{case[0]}", names)
        return [constraint.check(eval(case[1], names)), constraint.event_dim, constraint.is_discrete]

    compare(program, torch)


def own(t: Any) -> Any:
    """A map of one's own, which says what PyTorch asks for."""

    class Cube(t.distributions.Transform):  # type: ignore[misc]  # of either library
        domain = codomain = t.distributions.constraints.real
        bijective = True
        sign = +1

        def _call(self, x: Any) -> Any:
            return x**3

        def _inverse(self, y: Any) -> Any:
            return y.sign() * y.abs() ** (1 / 3)

        def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
            return (3 * x * x).log()

    d = t.distributions.TransformedDistribution(t.distributions.Normal(0.0, 1.0), [Cube()])
    x = t.tensor([0.5, -2.0], dtype=t.float64, requires_grad=True)
    found = d.log_prob(x)
    found.sum().backward()
    return [found, x.grad, d.cdf(x), d.icdf(x.sigmoid()), str(d.support), Cube()(x), Cube().inv(x)]


def entered(t: Any) -> Any:
    """A constraint of one's own, with a map to what it allows."""
    D = t.distributions

    class Even(D.constraints.Constraint):  # type: ignore[misc]  # of either library
        pass

    D.biject_to.register(Even, lambda c: D.AffineTransform(0.0, 2.0))
    return [str(D.biject_to(Even())(t.ones(2))), str(D.biject_to(D.constraints.boolean))]


PROGRAMS: list[Callable[[Any], Any]] = [
    own, entered,
    lambda t: t.distributions.ExpTransform(2),
    lambda t: t.distributions.biject_to.register(3, lambda c: None),
    lambda t: t.distributions.transform_to(t.distributions.constraints.one_hot),
    lambda t: t.distributions.ReshapeTransform((2,), (3,)),
    lambda t: t.distributions.ReshapeTransform((2,), (2, 1)).forward_shape((3,)),
    lambda t: t.distributions.ReshapeTransform((2,), (2, 1)).inverse_shape((3,)),
    lambda t: t.distributions.CorrCholeskyTransform().forward_shape((2,)),
    lambda t: t.distributions.CorrCholeskyTransform().inverse_shape((2, 3)),
    lambda t: t.distributions.StickBreakingTransform().forward_shape(()),
    lambda t: t.distributions.IndependentTransform(t.distributions.ExpTransform(), 2)(t.ones(2)),
    lambda t: t.distributions.CatTransform([1]),
    lambda t: t.distributions.CatTransform([t.distributions.ExpTransform()], 0, [1, 2]),
    lambda t: t.distributions.CatTransform([t.distributions.ExpTransform()])(t.ones(2)),
    lambda t: t.distributions.CatTransform([t.distributions.ExpTransform()], 3)(t.ones(2)),
    lambda t: t.distributions.StackTransform([t.distributions.ExpTransform()])(t.ones(2)),
    lambda t: t.distributions.Transform().with_cache(1)(t.ones(2)),
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)


def test_a_cache_gives_back_the_very_tensor() -> None:
    m = retrograd.distributions.TanhTransform(cache_size=1)
    x = retrograd.tensor([40.0, -2.0])
    y = m(x)
    assert m(x) is y
    assert m.inv(y) is x
    assert m.inv(y.clone()) is not x
