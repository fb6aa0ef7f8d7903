"""`distributions` against PyTorch's: samples, densities, moments, divergences, gradients.

A distribution is a line of text, evaluated with `D` as the library's `distributions` and `v` as its tensor
of numbers that require grad. To test another, write it into `CASES`, with values of its support.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import mpmath as mp
import numpy as np
import pytest
from side_by_side import compare

import retrograd
from retrograd.compiler.errors import TraceError
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import incomplete
from retrograd.compiler.ops.incomplete_ops import GammaSlope

REAL = "v([-3.0, -0.5, 0.0, 0.7, 2.5])"
ABOVE = "v([0.1, 0.5, 1.0, 2.5, 7.0])"
SHARE = "v([0.01, 0.3, 0.5, 0.8, 0.99])"
COUNT = "v([0.0, 1.0, 2.0, 3.0, 5.0])"
BIT = "v([0.0, 1.0, 1.0, 0.0, 1.0])"
MATRIX = "v([[2.0, 0.5, 0.1], [0.5, 1.5, -0.3], [0.1, -0.3, 1.0]])"
CORRELATION = "v([[1.0, 0.2, -0.3], [0.2, 1.0, 0.4], [-0.3, 0.4, 1.0]])"
LOWER = "v([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.2, 0.7]])"

CASES = [
    (f"D.Normal({REAL}, {ABOVE})", REAL),
    ("D.Normal(0.5, 2.0)", REAL),
    (f"D.Normal(v([[0.5], [1.0]]), {ABOVE})", REAL),
    (f"D.LogNormal({REAL}, v([0.5, 0.2, 0.3, 1.0, 0.7]))", ABOVE),
    (f"D.HalfNormal({ABOVE})", ABOVE),
    (f"D.Laplace({REAL}, {ABOVE})", REAL),
    (f"D.Cauchy({REAL}, {ABOVE})", REAL),
    (f"D.Gumbel({REAL}, {ABOVE})", REAL),
    (f"D.Exponential({ABOVE})", ABOVE),
    ("D.Uniform(v([-4.0, -1.0, -1.0, 0.0, 2.0]), v([4.0, 1.0, 2.0, 1.0, 9.0]))", REAL[:-5] + "3.0])"),
    (f"D.Gamma({ABOVE}, v([2.0, 1.0, 0.5, 3.0, 1.0]))", ABOVE),
    ("D.Gamma(v(0.4), v(2.0))", ABOVE),
    (f"D.Chi2({ABOVE})", ABOVE),
    (f"D.Beta({ABOVE}, v([2.0, 1.5, 0.5, 3.0, 1.2]))", SHARE),
    (f"D.Dirichlet({ABOVE})", "v([0.1, 0.2, 0.3, 0.15, 0.25])"),
    ("D.Dirichlet(v([[1.5, 2.0], [0.5, 0.7]]))", "v([0.3, 0.7])"),
    (f"D.StudentT(v([0.5, 1.5, 2.5, 4.0, 30.0]), {REAL}, {ABOVE})", REAL),
    (f"D.Bernoulli({SHARE})", BIT),
    (f"D.Bernoulli(logits={REAL})", BIT),
    ("D.Bernoulli(v(0.3))", BIT),
    (f"D.Geometric({SHARE})", COUNT),
    (f"D.Geometric(logits={REAL})", COUNT),
    (f"D.Binomial(9, {SHARE})", COUNT),
    (f"D.Binomial(60, logits={REAL})", COUNT),
    ("D.Poisson(v([0.3, 1.0, 4.0, 20.0, 100.0]))", COUNT),
    ("D.Categorical(v([[1.0, 2.0, 3.0], [0.2, 0.5, 0.3]]))", "t.tensor([[0], [2]])"),
    (f"D.Categorical(logits={REAL})", "t.tensor([0, 4, 2])"),
    ("D.OneHotCategorical(v([0.2, 0.5, 0.3]))", "v([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])"),
    (f"D.MultivariateNormal(v([1.0, -1.0, 0.0]), {MATRIX})", "v([[0.5, 0.0, 1.0], [1.0, 2.0, -1.0]])"),
    (f"D.MultivariateNormal(v([1.0, -1.0, 0.0]), precision_matrix={MATRIX})", "v([0.5, 0.0, 1.0])"),
    (f"D.MultivariateNormal(v([[1.0, -1, 0], [0, 0, 0]]), scale_tril={LOWER}.tril())", "v([0.5, 0.0, 1.0])"),
    (f"D.Independent(D.Normal({REAL}, {ABOVE}), 1)", REAL),
    ("D.Independent(D.Gamma(v([[0.5, 2.0], [1.0, 3.0]]), 1.0), 1)", "v([[0.5, 2.0], [1.0, 3.0]])"),
    (f"D.Pareto({ABOVE}, v([0.7, 1.5, 2.0, 2.5, 4.0]))", "v([0.2, 0.7, 1.5, 3.0, 9.0])"),
    ("D.Pareto(1.0, 3.0)", "v([1.5, 2.0])"),
    (f"D.Weibull({ABOVE}, v([0.7, 1.0, 1.5, 2.5, 4.0]))", ABOVE),
    (f"D.Kumaraswamy({ABOVE}, v([0.7, 1.0, 1.5, 2.5, 4.0]))", SHARE),
    (f"D.InverseGamma({ABOVE}, v([0.7, 1.0, 1.5, 2.5, 4.0]))", ABOVE),
    (f"D.HalfCauchy({ABOVE})", ABOVE),
    ("D.LogisticNormal(v([0.3, -0.5]), v([1.0, 0.4]))", "v([0.3, 0.5, 0.2])"),
    ("D.LogisticNormal(0.3, 1.0)", "v([0.3, 0.7])"),
    (f"D.FisherSnedecor({ABOVE}, v([1.0, 2.5, 4.5, 6.0, 9.0]))", ABOVE),
    (f"D.NegativeBinomial({ABOVE}, {SHARE})", COUNT),
    ("D.NegativeBinomial(3, logits=v([-3.0, -0.5, 0.0, 0.7, 1.5]))", COUNT),
    ("D.Multinomial(4, v([0.2, 0.5, 0.3]))", "v([1.0, 2.0, 1.0])"),
    ("D.Multinomial(5, logits=v([[0.2, 0.5, 0.3], [1.0, 0.0, -1.0]]))", "v([1.0, 2.0, 2.0])"),
    ("D.RelaxedBernoulli(v(0.7), v([0.2, 0.9]))", "v([0.3, 0.6])"),
    (f"D.RelaxedBernoulli(v([0.7]), logits={REAL})", SHARE),
    ("D.RelaxedOneHotCategorical(v(0.7), v([0.2, 0.5, 0.3]))", "v([0.2, 0.3, 0.5])"),
    ("D.RelaxedOneHotCategorical(v(0.7), logits=v([[0.2, 0.5], [0.3, -1.0]]))", "v([0.2, 0.8])"),
    ("D.OneHotCategoricalStraightThrough(v([0.2, 0.5, 0.3]))", "v([[0.0, 1.0, 0.0]])"),
    (f"D.MixtureSameFamily(D.Categorical(v([0.2] * 5)), D.Normal({REAL}, {ABOVE}))", "v([0.3, -1.0])"),
    ("D.MixtureSameFamily(D.Categorical(v([0.2, 0.8])), D.Poisson(v([0.7, 4.0])))", COUNT),
    ("D.MixtureSameFamily(D.Categorical(v([[0.2, 0.8], [0.5, 0.5]])), "
     "D.Independent(D.Normal(v([[[0.7, 4.0], [1.0, 2.0]], [[0.0, 1.0], [3.0, 2.0]]]), 1.0), 1))",
     "v([0.7, 4.0])"),
    ("D.LowRankMultivariateNormal(v([1.0, -1.0, 0.0]), v([[0.5], [1.0], [-0.3]]), v([1.0, 0.5, 2.0]))",
     "v([[0.5, 0.0, 1.0], [1.0, 2.0, -1.0]])"),
    ("D.LowRankMultivariateNormal(v([[1.0, -1.0], [0.0, 0.0]]), v([[0.5, 0.1], [1.0, 0.3]]), v([1.0, 0.5]))",
     "v([0.5, 0.0])"),
    (f"D.TransformedDistribution(D.Normal({REAL}, {ABOVE}), [D.ExpTransform(), D.PowerTransform(0.5)])",
     ABOVE),
    ("D.TransformedDistribution(D.Uniform(v(0.0), v(1.0)), [D.SigmoidTransform().inv, "
     f"D.AffineTransform({REAL}, v(-2.0))])", REAL),
    ("D.TransformedDistribution(D.Normal(v([0.1, 0.7]), 1.0), D.StickBreakingTransform())",
     "v([0.3, 0.5, 0.2])"),
    ("D.TransformedDistribution(D.Normal(v([0.1, 0.7]), 1.0), [])", "v([0.3, 0.5])"),
    ("D.TransformedDistribution(D.Normal(v([0.1] * 6), 1.0), D.ReshapeTransform((6,), (2, 3)))",
     "v([[0.3, 0.5, 0.1], [0.3, 0.5, 0.1]])"),
    ("D.TransformedDistribution(D.Normal(v([0.1] * 3), 1.0), D.CorrCholeskyTransform())",
     "D.CorrCholeskyTransform()(v([0.3, -0.5, 0.1]))"),
    ("D.Weibull(v(1.0), v(2.0)).expand([5])", ABOVE),
    ("D.TransformedDistribution(D.Normal(v(0.3), 1.0), [D.TanhTransform()]).expand([2, 1])",
     "v([0.3, -0.6])"),
    ("D.MixtureSameFamily(D.Categorical(v([0.2, 0.8])), D.Normal(v([0.7, 4.0]), 1.0)).expand([3])",
     "v([1.0, 2.0, 0.0])"),
    ("D.RelaxedBernoulli(v(0.7), v(0.2)).expand([2])", "v([0.3, 0.6])"),
    ("D.Normal(0.0, 1.0).expand([5])", REAL),
    ("D.Categorical(v([0.2, 0.5, 0.3])).expand([2])", "t.tensor([0, 2])"),
    (f"D.ContinuousBernoulli({SHARE})", SHARE),
    (f"D.ContinuousBernoulli(logits={REAL})", SHARE),
    ("D.ContinuousBernoulli(v(0.3)).expand([5])", SHARE),
    ("D.LKJCholesky(3, v([0.5, 2.0]))", f"t.linalg.cholesky({CORRELATION})"),
    ("D.LKJCholesky(3, 1.5)", f"t.linalg.cholesky({CORRELATION})"),
    ("D.LKJCholesky(2, v(0.7)).expand([2])", "v([[1.0, 0.0], [0.6, 0.8]])"),
    (f"D.Wishart(v([3.5, 4.0]), {MATRIX})", MATRIX),
    (f"D.Wishart(5.0, scale_tril={LOWER}.tril())", MATRIX),
    (f"D.Wishart(v(4.0), precision_matrix={MATRIX})", MATRIX),
]  # fmt: skip

WHAT = (
    "d.log_prob(x)", "d.cdf(x)", "d.icdf(p)", "d.entropy()", "d.perplexity()", "d.mean", "d.mode",
    "d.variance", "d.stddev", "d.enumerate_support()", "d.enumerate_support(expand=False)", "d.probs",
    "d.logits",
    "d.precision_matrix", "d.covariance_matrix", "d.scale_tril", "d.df", "d.param_shape", "d.batch_shape",
    "d.event_shape", "d.has_rsample", "d.has_enumerate_support", "d.rsample((3, 2))", "d.rsample()",
    "d.sample((4,))", "d.sample()", "d.sample((40, 3))", "d.support", "d",
)  # fmt: skip
SMOOTHED = ("Gamma", "Chi2", "Beta", "Dirichlet", "StudentT", "FisherSnedecor", "Wishart")
"""Kinds by whose parameters PyTorch differentiates samples to three digits or so."""


def known(t: Any, dtype: str) -> tuple[dict[str, Any], list[Any]]:
    """The names that a case uses, and the leaves that it makes."""
    leaves: list[Any] = []

    def v(numbers: Any) -> Any:
        leaves.append(t.tensor(np.array(numbers, dtype)).requires_grad_())
        return leaves[-1]

    return {"t": t, "v": v, "D": t.distributions}, leaves


def outcome(case: tuple[str, str], what: str, t: Any, dtype: str) -> Any:
    """A result, and the gradients of a weighed sum of it; or the class of an error."""
    names, leaves = known(t, dtype)
    names["d"] = eval(case[0], names)
    names["x"], names["p"] = eval(case[1], names), names["v"]([0.1, 0.3, 0.5, 0.8, 0.95])
    if "d.icdf" in what and names["d"].batch_shape not in ((), (5,)):
        return None
    t.manual_seed(5)
    try:
        result = eval(what, names)
    except (NotImplementedError, AttributeError) as error:
        return type(error)
    if not hasattr(result, "detach"):
        return str(result).replace("torch.Size", "Size")
    t_next = t.rand(1).item()
    grads: list[Any] = []
    if result.requires_grad:
        weights = np.cos(np.arange(result.numel())).reshape(tuple(result.shape))
        try:
            (result * t.tensor(weights).to(result.dtype)).sum().backward()
            grads = [None if x.grad is None else x.grad.numpy() for x in leaves]
        except (
            RuntimeError
        ):  # PyTorch has no derivative of gammainc by its first operand, and none of Wishart's
            if t is retrograd:
                raise
            grads = []
    return str(result.dtype), result.requires_grad, result.detach().numpy(), t_next, grads


IN_SINGLE = [
    (
        f"D.GeneralizedPareto(v([0.1] * 5), {ABOVE}, v([-0.2, 0.0, 0.3, 0.7, 1.5]))",
        "v([0.1, 0.3, 1.5, 3, 9])",
    ),
    ("D.GeneralizedPareto(0.5, 1.0, 0.25)", "v([1.5, 2.0])"),
    ("D.VonMises(v([-3.0, -0.5, 0.0, 0.7, 2.5]), v([0.1, 0.5, 1.0, 2.5, 70.0]))", REAL),
    ("D.VonMises(v(0.3), v(0.2)).expand([5])", REAL),
]
"""What PyTorch has, or has exactly enough, in float32 alone."""


@pytest.mark.parametrize(
    ("case", "dtype"),
    [*itertools.product(CASES, ["float32", "float64"]), *((c, "float32") for c in IN_SINGLE)],
)
@pytest.mark.filterwarnings("ignore:Singular sample detected")
def test_a_distribution_does_what_pytorch_does(torch: ModuleType, case: tuple[str, str], dtype: str) -> None:
    for what in WHAT:
        expected, found = (outcome(case, what, t, dtype) for t in (torch, retrograd))
        if not isinstance(expected, tuple):
            assert found == expected, what
            continue
        assert isinstance(found, tuple), f"{what}: {found}"
        assert found[:2] == expected[:2], what
        assert found[3] == expected[3], what
        rounded = "float32" in found[0] or (
            what in ("d.entropy()", "d.perplexity()") and "Multinomial" in case[0]
        )
        tolerance = 5e-5 if rounded else 1e-9  # PyTorch's entropy of a Multinomial is right to float32
        np.testing.assert_allclose(found[2], expected[2], tolerance, tolerance, err_msg=what)
        slack = 3e-3 if "rsample" in what and any(kind in case[0] for kind in SMOOTHED) else tolerance
        for ours, theirs in zip(found[4], expected[4]):
            assert (ours is None) == (theirs is None), what
            if ours is not None:
                scale = float(np.max(np.abs(theirs), initial=1.0, where=np.isfinite(theirs)))
                np.testing.assert_allclose(ours, theirs, slack, slack * scale, err_msg=what)


def test_von_mises_is_exact_where_pytorchs_has_seven_digits() -> None:
    for k in (1e-3, 0.7, 4.0, 300.0):
        d = retrograd.distributions.VonMises(
            *(retrograd.tensor(x, dtype=retrograd.float64) for x in (0.5, k))
        )
        density = mp.exp(k * mp.cos(0.7)) / (2 * mp.pi * mp.besseli(0, k))
        assert d.log_prob(retrograd.tensor(1.2, dtype=retrograd.float64)).item() == pytest.approx(
            float(mp.log(density)), rel=1e-13
        )
        expected = float(1 - mp.besseli(1, k) / mp.besseli(0, k))
        assert d.variance.item() == pytest.approx(expected, rel=1e-10)


def test_the_divergence_of_wishart_matrices_is_the_formula() -> None:
    D, t = retrograd.distributions, retrograd
    scales = [t.tensor([[2.0, 0.5], [0.5, 1.0]]).double(), t.tensor([[1.0, -0.2], [-0.2, 0.7]]).double()]
    p, q = (D.Wishart(t.tensor(df).double(), scale) for df, scale in zip((4.0, 5.5), scales))
    half, other = p.df / 2, q.df / 2
    slope = (half - t.tensor([0.0, 0.5]).double()).digamma().sum()
    turned = t.linalg.solve(scales[1], scales[0])
    expected = (
        other * (t.logdet(scales[1]) - t.logdet(scales[0]))
        + half * (t.trace(turned) - 2)
        + t.mvlgamma(other, 2)
        - t.mvlgamma(half, 2)
        + (half - other) * slope
    )
    assert D.kl_divergence(p, q).item() == pytest.approx(expected.item(), rel=1e-12)
    assert D.kl_divergence(p, p).item() == pytest.approx(0, abs=1e-12)


# ---- divergences -------------------------------------------------------------------------------------------

PAIRS = [
    (f"D.Normal({REAL}, {ABOVE})", "D.Normal(0.3, 2.0)"),
    ("D.LogNormal(0.2, v([0.5, 1.0]))", "D.LogNormal(v([0.5, 1.0]), 0.4)"),
    ("D.HalfNormal(v([0.5, 1.0]))", "D.HalfNormal(v([2.0, 0.4]))"),
    (f"D.Laplace({REAL}, {ABOVE})", "D.Laplace(0.3, 2.0)"),
    (f"D.Cauchy({REAL}, {ABOVE})", "D.Cauchy(0.3, 2.0)"),
    (f"D.Gumbel({REAL}, v([0.5, 1.0, 1.5, 2.0, 2.5]))", "D.Gumbel(v([0.3]), v([2.0]))"),
    (f"D.Exponential({ABOVE})", "D.Exponential(v([0.7]))"),
    (f"D.ContinuousBernoulli({SHARE})", "D.ContinuousBernoulli(v([0.3]))"),
    *((f"D.ContinuousBernoulli({SHARE})", q) for q in (
        "D.Pareto(v([1.0]), v([2.0]))", "D.Exponential(v([0.7]))", "D.Normal(v([0.7]), v([2.0]))",
        "D.Uniform(v([-1.0]), v([2.0]))", "D.Uniform(v([0.0]), v([2.0]))")),
    *((p, "D.ContinuousBernoulli(v([0.3]))") for p in (
        "D.Beta(v([0.7]), v([2.0]))", "D.Exponential(v([0.7]))", "D.Gamma(v([0.7]), v([2.0]))",
        "D.Gumbel(v([0.7]), v([2.0]))", "D.Laplace(v([0.7]), v([2.0]))", "D.Normal(v([0.7]), v([2.0]))",
        "D.Pareto(v([0.7]), v([2.0]))", "D.Uniform(v([0.2]), v([0.7]))", "D.Uniform(v([-0.2]), v([0.7]))")),
    ("D.Uniform(v([0.0, 1.0]), v([2.0, 3.0]))", "D.Uniform(v([-1.0, 1.5]), v([2.5, 4.0]))"),
    ("D.Uniform(v([0.0, 1.0]), v([2.0, 3.0]))", "D.Normal(v([0.3]), v([2.0]))"),
    (f"D.Laplace({REAL}, {ABOVE})", "D.Normal(v([0.3]), v([2.0]))"),
    (f"D.Gamma({ABOVE}, 1.5)", "D.Gamma(v([0.7]), v([2.0]))"),
    ("D.Exponential(v([0.7, 2.0]))", "D.Gamma(v([0.7]), v([2.0]))"),
    ("D.Gamma(v([0.7]), v([2.0]))", "D.Exponential(v([0.7, 2.0]))"),
    ("D.Dirichlet(v([0.5, 2.0, 1.0]))", "D.Dirichlet(v([1.5, 1.0, 0.4]))"),
    (f"D.Beta({ABOVE}, 2.0)", "D.Beta(v([0.5]), v([1.5]))"),
    (f"D.Bernoulli({SHARE})", "D.Bernoulli(v([0.4] * 5))"),
    (f"D.Bernoulli(logits={REAL})", "D.Bernoulli(v([0.4] * 5))"),
    ("D.Bernoulli(v([0.0, 1.0, 0.5]))", "D.Bernoulli(v([0.2, 0.3, 1.0]))"),
    ("D.Binomial(5, v([0.3, 0.6]))", "D.Binomial(5, v([0.4]))"),
    ("D.Categorical(v([0.2, 0.5, 0.3]))", "D.Categorical(logits=v([0.2, 0.5, 0.3]))"),
    ("D.Categorical(v([0.0, 0.5, 0.5]))", "D.Categorical(v([0.5, 0.5, 0.0]))"),
    ("D.OneHotCategorical(v([0.2, 0.5, 0.3]))", "D.OneHotCategorical(logits=v([0.2, 0.5, 0.3]))"),
    ("D.Geometric(v([0.2, 0.5]))", "D.Geometric(v([0.4]))"),
    ("D.Poisson(v([0.2, 5.0]))", "D.Poisson(v([0.4]))"),
    (f"D.MultivariateNormal(v([1.0, 0.0, 2.0]), {MATRIX})",
     f"D.MultivariateNormal(v([0.0, 0.0, 1.0]), scale_tril={LOWER})"),
    (f"D.Independent(D.Normal({REAL}, {ABOVE}), 1)", "D.Independent(D.Normal(v([0.0] * 5), 1.0), 1)"),
    (f"D.Chi2({ABOVE})", "D.Gamma(v([0.7]), v([2.0]))"),
    ("D.Bernoulli(v([0.3, 0.6]))", "D.Poisson(v([0.7]))"),
    *(("D.Beta(v([0.7, 2.0]), v([1.5, 0.4]))", q) for q in (
        "D.Exponential(v([0.7]))", "D.Gamma(v([0.7]), v([2.0]))", "D.Normal(v([0.7]), v([2.0]))",
        "D.Uniform(v([-0.3, 0.1]), v([2.0]))", "D.Pareto(v([0.3]), v([2.0]))")),
    *(("D.Exponential(v([0.7, 2.0]))", q) for q in (
        "D.Gumbel(v([0.3]), v([2.0]))", "D.Normal(v([0.3]), v([2.0]))", "D.Uniform(v([0.3]), v([2.0]))")),
    *(("D.Gamma(v([0.7, 2.0]), v([1.5, 0.4]))", q) for q in (
        "D.Gumbel(v([0.3]), v([2.0]))", "D.Normal(v([0.3]), v([2.0]))", "D.Beta(v([0.3]), v([2.0]))")),
    *(("D.Pareto(v([0.7, 2.0]), v([1.5, 3.0]))", q) for q in (
        "D.Exponential(v([0.7]))", "D.Gamma(v([0.7]), v([2.0]))", "D.Normal(v([0.7]), v([2.0]))",
        "D.Pareto(v([0.7]), v([2.0]))", "D.Pareto(v([0.9]), v([2.0]))", "D.Beta(v([0.9]), v([2.0]))")),
    ("D.Pareto(v([0.7, 2.0]), v([2.5, 3.0]))", "D.Normal(v([0.7]), v([2.0]))"),
    ("D.Pareto(v([0.7]), v([0.5]))", "D.Exponential(v([0.7]))"),
    *((f"D.Gumbel({REAL}, {ABOVE})", q) for q in (
        "D.Normal(v([0.7]), v([2.0]))", "D.Exponential(v([0.7]))")),
    *((f"D.Normal({REAL}, {ABOVE})", q) for q in (
        "D.Gumbel(v([0.7]), v([2.0]))", "D.Laplace(v([0.6]), v([2.0]))", "D.Gamma(v([0.7]), v([2.0]))")),
    (f"D.Laplace({REAL}, {ABOVE})", "D.Uniform(v([0.7]), v([2.0]))"),
    ("D.Poisson(v([0.7, 2.0]))", "D.Binomial(3, v([0.7]))"),
    *(("D.Uniform(v([0.1, 0.3]), v([0.5, 0.9]))", q) for q in (
        "D.Beta(v([0.7]), v([2.0]))", "D.Exponential(v([0.7]))", "D.Gamma(v([0.7]), v([2.0]))",
        "D.Gumbel(v([0.7]), v([2.0]))", "D.Pareto(v([0.05]), v([2.0]))", "D.Pareto(v([0.2]), v([2.0]))")),
    ("D.Uniform(v([0.1, 0.3]), v([0.5, 1.9]))", "D.Beta(v([0.7]), v([2.0]))"),
    ("D.Uniform(v([-0.1, 0.3]), v([0.5, 1.9]))", "D.Exponential(v([0.7]))"),
    ("D.LowRankMultivariateNormal(v([0.0, 1.0]), v([[0.5], [1.0]]), v([1.0, 0.5]))",
     "D.LowRankMultivariateNormal(v([0.5, 1.0]), v([[0.1], [1.0]]), v([1.5, 0.5]))"),
    ("D.LowRankMultivariateNormal(v([0.0, 1.0]), v([[0.5], [1.0]]), v([1.0, 0.5]))",
     "D.MultivariateNormal(v([[0.5, 1.0], [0.0, 0.0]]), v([[1.0, 0.2], [0.2, 2.0]]))"),
    ("D.MultivariateNormal(v([[0.5, 1.0], [0.0, 0.0]]), v([[1.0, 0.2], [0.2, 2.0]]))",
     "D.LowRankMultivariateNormal(v([0.0, 1.0]), v([[0.5], [1.0]]), v([1.0, 0.5]))"),
    ("D.TransformedDistribution(D.Normal(v([0.3]), 1.0), D.SigmoidTransform())",
     "D.TransformedDistribution(D.Normal(v([0.5]), 2.0), D.SigmoidTransform())"),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_a_divergence_is_that_of_pytorch(torch: ModuleType, pair: tuple[str, str]) -> None:
    results = []
    for t in (torch, retrograd):
        names, leaves = known(t, "float64")
        found = t.distributions.kl_divergence(*(eval(text, names) for text in pair))
        if found.isfinite().all():
            found.sum().backward()
        results.append((found.detach().numpy(), [x.grad.numpy() for x in leaves if x.grad is not None]))
    (expected, slopes), (ours, our_slopes) = results
    np.testing.assert_allclose(ours, expected, 1e-9, 1e-10)
    for one, other in zip(our_slopes, slopes, strict=True):
        np.testing.assert_allclose(one, other, 1e-8, 1e-9)


def test_a_divergence_of_kinds_of_ones_own() -> None:
    D = retrograd.distributions

    class Odd(D.Normal):
        pass

    normal = D.Normal(0.0, 1.0)
    assert D.kl_divergence(Odd(0.0, 1.0), normal).item() == 0
    D.register_kl(Odd, D.Normal)(lambda p, q: retrograd.tensor(7.0))
    assert D.kl_divergence(Odd(0.0, 1.0), normal).item() == 7
    with pytest.raises(NotImplementedError, match=r"No KL\(p \|\| q\) is implemented for p type Normal"):
        D.kl_divergence(normal, D.Poisson(1.0))


# ---- misuse ------------------------------------------------------------------------------------------------

ERRORS = [
    "D.Uniform(1.0, 0.0)",
    "D.Normal(0.0, -1.0)",
    "D.Normal(t.zeros(2), t.tensor([1.0, -1.0]))",
    "D.Normal(0.0, 1.0).log_prob(1.0)",
    "D.Normal(t.zeros(3), 1.0).log_prob(t.zeros(2))",
    "D.Categorical(t.tensor([0.5, 0.5])).log_prob(t.tensor(3))",
    "D.Categorical(t.tensor([-1.0, 2.0]))",
    "D.Categorical(t.tensor(1.0))",
    "D.Geometric(0.0)",
    "D.Dirichlet(t.tensor(1.0))",
    "D.Independent(D.Normal(0.0, 1.0), 1)",
    "D.MultivariateNormal(t.zeros(2))",
    "D.MultivariateNormal(t.tensor(1.0), t.eye(2))",
    "D.MultivariateNormal(t.zeros(2), t.ones(2))",
    "D.MultivariateNormal(t.zeros(2), -t.eye(2))",
    "D.Binomial(3, 0.5).log_prob(t.tensor(5.0))",
    "D.Binomial(t.tensor([1, 2]), t.tensor([0.5])).enumerate_support()",
    "D.Bernoulli()",
    "D.Bernoulli(0.5, 0.5)",
    "D.Poisson(-1.0)",
    "D.Pareto(-1.0, 1.0)",
    "D.Weibull(1.0, 1.0).log_prob(t.tensor(-1.0))",
    "D.Multinomial(t.tensor(2), t.ones(3) / 3)",
    "D.Multinomial(2, t.ones(3) / 3).log_prob(t.tensor([1.0, 1.0, 1.0]))",
    "D.NegativeBinomial(2, t.tensor(1.0))",
    "D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(t.zeros(2), 1.0))",
    "D.MixtureSameFamily(D.Categorical(t.ones(2)), t.ones(2))",
    "D.MixtureSameFamily(D.Categorical(t.ones(2)), D.Normal(t.zeros(3), 1.0))",
    "D.MixtureSameFamily(D.Categorical(t.ones(4, 2)), D.Normal(t.zeros(3, 2), 1.0))",
    "D.LowRankMultivariateNormal(t.zeros(3), t.ones(2, 1), t.ones(3))",
    "D.LowRankMultivariateNormal(t.zeros(3), t.ones(3), t.ones(3))",
    "D.LowRankMultivariateNormal(t.zeros(3), t.ones(3, 1), t.ones(2))",
    "D.LowRankMultivariateNormal(t.zeros(2, 3), t.ones(3, 3, 1), t.ones(3))",
    "D.LowRankMultivariateNormal(t.tensor(0.0), t.ones(3, 1), t.ones(3))",
    "D.kl_divergence(D.LowRankMultivariateNormal(t.zeros(2), t.ones(2, 1), t.ones(2)), "
    "D.MultivariateNormal(t.zeros(3), t.eye(3)))",
    "D.TransformedDistribution(D.Normal(0.0, 1.0), [1])",
    "D.TransformedDistribution(D.Normal(0.0, 1.0), 1)",
    "D.TransformedDistribution(D.Normal(0.0, 1.0), D.StickBreakingTransform())",
    "D.TransformedDistribution(D.Normal(0.0, 1.0), D.ExpTransform()).log_prob(t.tensor(-1.0))",
    "D.kl_divergence(D.Weibull(1.0, 2.0), D.Weibull(1.0, 3.0))",
    "D.RelaxedBernoulli(t.tensor(1.0))",
    "D.Dirichlet(t.ones(3)).log_prob(t.ones(3))",
    "D.Dirichlet(t.ones(3)).log_prob(t.ones(2))",
    "t.poisson(t.tensor([-1.0]))",
    "t.binomial(t.tensor([1]), t.tensor([0.5]))",
    "t.empty(2).cauchy_(0, -1)",
    "t.empty(2).log_normal_(0, -1)",
    "t.empty(2).geometric_(0)",
    "t.empty(2, dtype=t.int64).cauchy_()",
]


@pytest.mark.parametrize("case", ERRORS)
def test_misuse_is_told_in_pytorchs_words(torch: ModuleType, case: str) -> None:
    torch.distributions.Distribution.set_default_validate_args(True)  # its compiler, once at work, ends that
    compare(lambda t: eval(case, {"t": t, "D": t.distributions}), torch)


def test_unchecked_arguments_are_taken_as_they_are() -> None:
    D = retrograd.distributions
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Normal(0.0, -1.0).scale.item() == -1
    finally:
        D.Distribution.set_default_validate_args(True)


# ---- compiled ----------------------------------------------------------------------------------------------

TRACED = [
    "D.Normal(x, x.exp()).log_prob(x * 2).sum()",
    "D.Normal(x, x.exp()).rsample((3,)).sum()",
    "D.Laplace(x, x.exp()).rsample().sin().sum()",
    "D.Exponential(x.exp()).rsample((2,)).sum()",
    "D.Gumbel(x, 1.0).rsample().sum()",
    "D.Cauchy(x, 1.0).rsample().sin().sum()",
    "D.Uniform(x, x + 2).rsample().cos().sum()",
    "D.Gamma(x.exp(), 2.0).log_prob(x.exp()).sum()",
    "D.Beta(x.exp(), 2.0).entropy().sum()",
    "D.Dirichlet(x.exp()).entropy()",
    "D.Bernoulli(logits=x).entropy().sum()",
    "D.Categorical(logits=x).log_prob(t.tensor([0, 2])).sum()",
    "D.kl_divergence(D.Normal(x, 1.0), D.Normal(0.0, 2.0)).sum()",
    "D.kl_divergence(D.Categorical(logits=x), D.Categorical(t.ones(3)))",
    "D.Independent(D.Normal(x, 1.0), 1).log_prob(x * 2)",
    "D.Gamma(x.exp(), 2.0).cdf(x.exp()).sum()",
    "(t.igammac(x.exp(), x.exp() * 2) * x).sum()",
    "D.MultivariateNormal(x, t.eye(3) + x.exp().diag()).log_prob(x * 2)",
    "D.TransformedDistribution(D.Normal(x, 1.0), D.StickBreakingTransform()).rsample().cos().sum()",
    "D.TransformedDistribution(D.Normal(x, 1.0), D.SigmoidTransform()).log_prob(x.sigmoid()).sum()",
    "D.MixtureSameFamily(D.Categorical(logits=x), D.Normal(x, x.exp())).log_prob(x * 2).sum()",
    "D.RelaxedOneHotCategorical(x[0].exp(), logits=x).rsample().square().sum()",
    "D.RelaxedBernoulli(x[0].exp(), logits=x).rsample().square().sum()",
    "D.LowRankMultivariateNormal(x, x.unsqueeze(-1), x.exp()).log_prob(x * 2)",
    "D.CorrCholeskyTransform()(x).square().log1p().sum()",
    "D.kl_divergence(D.Gamma(x.exp(), 2.0), D.Normal(x, 1.0)).sum()",
]


@pytest.mark.parametrize("case", TRACED)
def test_compiled_functions_do_what_eager_mode_does(case: str) -> None:
    def loss(x: Any) -> Any:
        return eval(case, {"x": x, "t": retrograd, "D": retrograd.distributions})

    results = []
    for function in (loss, retrograd.compile_grad(loss)):
        x = retrograd.tensor([0.3, -0.5, 1.1], requires_grad=True)
        retrograd.manual_seed(3)
        value = function(x)
        value.backward()
        results.append((value.item(), x.grad.numpy()))
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, 1e-5, 1e-6)


def test_what_depends_on_elements_is_not_drawn_inside_a_compiled_function() -> None:
    D = retrograd.distributions
    for draw in (lambda x: D.Gamma(x, 1.0).rsample(), lambda x: D.Poisson(x).sample()):
        with pytest.raises(TraceError, match="what it draws depends on the elements"):
            retrograd.compile_grad(draw)(retrograd.ones(3))


# ---- the derivatives of samples ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "x"),
    [(0.01, 1e-30), (0.3, 0.5), (1.0, 1e-5), (2.5, 7.0), (30.0, 20.0), (30.0, 45.0), (1000.0, 1020.0)],
)
def test_gamma_numbers_move_along_their_quantiles(a: float, x: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        slope = mpmath.diff(lambda s: mpmath.gammainc(s, 0, x, regularized=True), a)
        density = mpmath.mpf(x) ** (a - 1) * mpmath.exp(-x) / mpmath.gamma(a)
        expected = float(-slope / density)
    np.testing.assert_allclose(incomplete.gamma_slope(np.array([a]), np.array([x])), [expected], 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3000,), (60, 50), (1,), ()])
def test_the_kernel_of_gamma_slopes_does_what_numpy_does(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    a = np.asarray(10 ** rng.uniform(-1, 4, shape), dtype)
    x = np.asarray(rng.gamma(a) * rng.uniform(0.1, 3, shape) + 1e-3, dtype)
    expected = incomplete.gamma_slope(a, x).astype(dtype)
    for turned in (False, True):
        given = (retrograd.from_numpy(y.T.copy().T if turned else y) for y in (a, x))
        found = apply(GammaSlope(), *given).numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, 2e-12 if dtype == "float64" else 2e-7)


@pytest.mark.parametrize(
    ("a", "b", "x"),
    [(0.3, 0.5, 0.9), (2.0, 3.0, 0.1), (2.0, 3.0, 0.8), (0.05, 0.05, 0.999), (30.0, 50.0, 0.4)],
)  # fmt: skip
def test_beta_numbers_move_along_their_quantiles(a: float, b: float, x: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        slope = mpmath.diff(lambda s: mpmath.betainc(s, b, 0, x, regularized=True), a)
        density = mpmath.mpf(x) ** (a - 1) * (1 - mpmath.mpf(x)) ** (b - 1) / mpmath.beta(a, b)
        expected = float(-slope / density)
    given = (np.array([each]) for each in (a, b, x))
    np.testing.assert_allclose(incomplete.beta_slope(*given), [expected], 1e-9)


def test_the_incomplete_gamma_functions_hold_where_pytorchs_lose_digits() -> None:
    """Of large concentrations PyTorch's are right to nine digits in float64."""
    special = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(0)
    a = 10 ** rng.uniform(-3, 6, 4000)
    x = a * np.where(
        rng.random(4000) < 0.5, 10 ** rng.uniform(-1.5, 1.5, 4000), 1 + rng.normal(size=4000) / (2 + a**0.5)
    )
    for upper, function in ((False, special.gammainc), (True, special.gammaincc)):
        found = incomplete.incomplete(a, np.abs(x), upper)
        np.testing.assert_allclose(found, function(a, np.abs(x)), 1e-10, 1e-13)


def test_the_incomplete_gamma_function_is_differentiable_by_its_concentration() -> None:
    a = retrograd.tensor([0.01, 0.5, 1.0, 3.0, 40.0], dtype=retrograd.float64, requires_grad=True)
    x = retrograd.tensor([0.02, 0.1, 2.0, 2.5, 45.0], dtype=retrograd.float64, requires_grad=True)
    for function in (retrograd.igamma, retrograd.igammac):  # the first pass is replayed by other kernels
        assert retrograd.autograd.gradcheck(function, (a, x), nondet_tol=1e-14)


# ---- the streams of counts ---------------------------------------------------------------------------------

RNG = np.random.default_rng(2)
RATES = np.concatenate([RNG.uniform(0, 3, 500), RNG.uniform(8, 60, 500), [0, 1e4, 1e6]])
TRIALS = np.concatenate([RNG.integers(0, 12, 500), RNG.integers(20, 400, 500), [-1, 0, 1e5]])
CHANCES = np.concatenate([RNG.uniform(0, 1, 1000), [0.5, 0.3, 1.0]])
DRAWN = {
    "poisson": lambda t, d: t.poisson(t.tensor(RATES).to(d)),
    "binomial": lambda t, d: t.binomial(t.tensor(TRIALS).to(d), t.tensor(CHANCES).to(d)),
    "poisson, again": lambda t, d: again(t.poisson, t.tensor(RATES).to(d)),
    "poisson, turned": lambda t, d: again(t.poisson, t.tensor(RATES).to(d).reshape(17, 59).t()),
    "binomial, turned": lambda t, d: t.binomial(
        t.tensor(TRIALS).to(d).reshape(17, 59).t(), t.tensor(CHANCES).to(d).reshape(17, 59).t()
    ),
    "binomial, one": lambda t, d: again(t.binomial, t.tensor(TRIALS).to(d), t.tensor(0.3).to(d)),
    "no trials": lambda t, d: t.binomial(t.tensor([3.0, 0.0]).to(d), t.tensor([1.0, 0.5]).to(d)),
    "few of many": lambda t, d: t.multinomial(t.tensor(RATES + 1e-3).to(d).repeat(4, 1), 5),
    "one of many": lambda t, d: t.multinomial(t.tensor(RATES + 1e-3).to(d), 1),
    "cauchy_": lambda t, d: t.empty(1003, dtype=d).cauchy_(1.0, 2.0),
    "log_normal_": lambda t, d: t.empty(1003, dtype=d).log_normal_(0.5, 0.7),
    "geometric_": lambda t, d: t.empty(1003, dtype=d).geometric_(0.2),
    "transposed": lambda t, d: t.empty(17, 59, dtype=d).t().cauchy_(),
    "gamma": lambda t, d: t.distributions.Gamma(t.tensor(RATES + 1e-3).to(d), 1.0).sample(),
    "beta": lambda t, d: t.distributions.Beta(
        t.tensor(RATES[:1000] + 1e-3).to(d), t.tensor(2.0).to(d)
    ).sample(),
    "dirichlet": lambda t, d: t.distributions.Dirichlet(t.tensor(RATES[:1000] + 1e-3).to(d)).sample(),
}


def again(sample: Callable[..., Any], *parameters: Any) -> Any:
    """What the fifth call gives: by then what it does is known."""
    return [sample(*parameters) for _ in range(5)][-1]


@pytest.mark.parametrize(("name", "dtype"), [*itertools.product(DRAWN, ["float32", "float64"])])
def test_streams_are_those_of_pytorch_bit_for_bit(torch: ModuleType, name: str, dtype: str) -> None:
    results = []
    for t in (torch, retrograd):
        t.manual_seed(11)
        numbers = DRAWN[name](t, getattr(t, dtype)).numpy()
        results.append((numbers, t.rand(3).numpy()))
    np.testing.assert_array_equal(results[1][0], results[0][0])
    np.testing.assert_array_equal(results[1][1], results[0][1])


def test_counts_have_no_slope(torch: ModuleType) -> None:
    def program(t: Any) -> Any:
        rate = t.tensor([1.0, 20.0], requires_grad=True)
        t.manual_seed(0)
        (t.poisson(rate) * 3).sum().backward()
        return [rate.grad, t.poisson(rate).grad_fn.name()]

    compare(program, torch)


def triangular(t: Any) -> Any:
    """A distribution of the user's own, as it is written for PyTorch."""

    class Triangular(t.distributions.Distribution):  # type: ignore[misc]  # the library is an argument
        arg_constraints: ClassVar[Any] = {"height": t.distributions.constraints.positive}
        support = t.distributions.constraints.unit_interval

        def __init__(self, height: Any, validate_args: bool | None = None) -> None:
            self.height = height
            super().__init__(height.shape, t.Size([]), validate_args)

        def rsample(self, sample_shape: Any = ()) -> Any:
            return t.rand(self._extended_shape(sample_shape)).sqrt() * self.height

        def log_prob(self, value: Any) -> Any:
            if self._validate_args:
                self._validate_sample(value)
            return (2 * value / self.height).log()

    return Triangular


def test_a_distribution_of_ones_own(torch: ModuleType) -> None:
    found = []
    for t in (torch, retrograd):
        t.manual_seed(3)
        d = triangular(t)(t.tensor([0.5, 1.0]))
        told = []
        for wrong in (
            lambda d=d, t=t: d.log_prob(t.tensor([2.0, 0.1])),
            lambda t=t: triangular(t)(t.tensor(-1.0)),
        ):
            with pytest.raises(ValueError, match="Expected") as met:
                wrong()
            told.append(str(met.value).partition("of distribution")[0])
        x = d.sample((3,))
        found.append([repr(d), tuple(d.batch_shape), x.tolist(), d.log_prob(x).tolist(), told])
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-6)
    np.testing.assert_allclose(found[0][3], found[1][3], rtol=1e-6)
    assert found[0][:2] + found[0][4:] == found[1][:2] + found[1][4:]
