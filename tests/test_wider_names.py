"""PyTorch's less common names beside PyTorch, case by case: values, dtypes, shapes, gradients, errors; and
computations compiled.

The cases are lines of `wider_cases`; what is no line is a program that runs with either library.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import mpmath as mp
import numpy as np
import pytest
from test_compiled_functions import check_compiled
from test_functions import check, refuse_alike
from wider_cases import COMPUTED, OTHERS, PHYSICS, REFUSED

import retrograd
from retrograd.compiler.ir.graph import OPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [*COMPUTED, *OTHERS])
@pytest.mark.filterwarnings("ignore")
def test_a_function_does_what_pytorch_does(torch: ModuleType, case: str, dtype: str) -> None:
    check(case, torch, dtype)


@pytest.mark.parametrize("case", PHYSICS)
def test_a_function_of_physics_does_what_pytorch_does(torch: ModuleType, case: str) -> None:
    check(case, torch, "float32")


EXACT: dict[str, Any] = {
    "airy_ai": mp.airyai,
    "bessel_j0": lambda x: mp.besselj(0, x),
    "bessel_j1": lambda x: mp.besselj(1, x),
    "bessel_y0": lambda x: mp.bessely(0, x),
    "bessel_y1": lambda x: mp.bessely(1, x),
    "modified_bessel_k0": lambda x: mp.besselk(0, x),
    "modified_bessel_k1": lambda x: mp.besselk(1, x),
    "scaled_modified_bessel_k0": lambda x: mp.besselk(0, x) * mp.exp(x),
    "scaled_modified_bessel_k1": lambda x: mp.besselk(1, x) * mp.exp(x),
    "spherical_bessel_j0": lambda x: mp.sin(x) / x,
}


@pytest.mark.parametrize("name", EXACT)
def test_functions_of_physics_are_exact(name: str) -> None:
    rng = np.random.default_rng(4)
    x = np.concatenate([10 ** rng.uniform(-4, 2, 60), rng.uniform(0, 12, 60), [2, 5, 0.5]])
    if name in ("airy_ai", "bessel_j0", "bessel_j1", "spherical_bessel_j0"):
        x = np.concatenate([x, -x])
    found = getattr(retrograd.special, name)(retrograd.tensor(x)).numpy()
    with mp.workdps(40):
        expected = np.array([float(EXACT[name](mp.mpf(float(value)))) for value in x])
    zeros = 2.0**-50 * (1 + np.abs(x) ** 1.5) if name in WITH_ZEROS else np.zeros_like(x)
    assert (np.abs(found - expected) <= zeros + 8e-15 * np.abs(expected)).all()


POLYNOMIALS: dict[str, Any] = {
    "chebyshev_polynomial_t": mp.chebyt,
    "chebyshev_polynomial_u": mp.chebyu,
    "hermite_polynomial_h": mp.hermite,
    "laguerre_polynomial_l": lambda n, x: mp.laguerre(n, 0, x),
    "legendre_polynomial_p": mp.legendre,
    "shifted_chebyshev_polynomial_t": lambda n, x: mp.chebyt(n, 2 * x - 1),
    "shifted_chebyshev_polynomial_u": lambda n, x: mp.chebyu(n, 2 * x - 1),
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials_of_high_degrees_are_exact_in_native_code_and_in_numpys(name: str) -> None:
    """Few elements and many, on the circle and beyond, in lanes that end at different times."""
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.uniform(-1, 1, 50), rng.uniform(-1.5, 1.5, 25), [1, -1, 0, 0.5]])
    n = np.concatenate([rng.integers(0, 60, 75), [41, 41, 32, 31]]).astype(float)
    with mp.workdps(60):
        expected = np.array([float(POLYNOMIALS[name](int(k), mp.mpf(float(v)))) for k, v in zip(n, x)])
    function, row = getattr(retrograd.special, name), OPS[name]
    found = [function(retrograd.tensor(x), retrograd.tensor(n)).numpy() for _ in range(3)]
    for each in (*found, row.evaluate(x, n)):
        assert (np.abs(each - expected) <= 1e-11 * np.maximum(np.abs(expected), 1)).all()


def _places_of_gamma(rng: np.random.Generator) -> tuple[Any, Any]:
    """Concentrations and places: small, usual, far apart, near each other where both are large, and tiny."""
    large = 10 ** rng.uniform(1, 4, 40)
    a = np.concatenate([10 ** rng.uniform(-4, 2, 80), rng.uniform(0.1, 10, 40), large])
    near = large * (1 + rng.normal(size=40) * 2 / np.sqrt(large))
    tiny = [(30, 1e-8), (1e-8, 1), (1e-8, 0.5), (1e-8, 1e-8), (1e-8, 3e-309), (3e-309, 0.5), (3e-309, 2)]
    usual = 10 ** rng.uniform(-3, 2, 80), rng.uniform(0.1, 10, 40)
    return tuple(map(np.append, (a, np.concatenate([*usual, near])), zip(*tiny)))


@pytest.mark.parametrize(("name", "bound"), [("gammainc", "x"), ("gammaincc", "inf")])
def test_incomplete_gamma_functions_are_exact_in_native_code_and_in_numpys(name: str, bound: str) -> None:
    a, x = _places_of_gamma(np.random.default_rng(7))
    with mp.workdps(40):
        ends = [(0, mp.mpf(float(v))) if bound == "x" else (mp.mpf(float(v)), mp.inf) for v in x]
        exact = [mp.gammainc(mp.mpf(float(s)), *end, regularized=True) for s, end in zip(a, ends)]
    expected = np.array(list(map(float, exact)))
    function, row = getattr(retrograd.special, name), OPS["gamma_p" if bound == "x" else "gamma_q"]
    found = [function(retrograd.tensor(a), retrograd.tensor(x)).numpy() for _ in range(3)]
    for each in (*found, row.evaluate(a, x)):
        assert (np.abs(each - expected) <= 2e-13 * expected + 5e-324).all()
    huge = 10 ** np.linspace(6, 300, 25)
    near = huge + np.sqrt(huge) * np.linspace(-3, 3, 25)
    found = [function(retrograd.tensor(huge), retrograd.tensor(near)).numpy() for _ in range(3)]
    assert np.abs(found[-1] - row.evaluate(huge, near)).max() <= 1e-13


@pytest.mark.parametrize("order", [1, 2, 3, 6, 11])
def test_zeta_and_polygamma_are_exact_on_both_sides_of_zero(order: int) -> None:
    """To the digits of what cancels: the terms nearest to a pole, on its two sides."""
    rng = np.random.default_rng(order)
    near = -np.array([1.0, 1, 2, 5, 9, 40]) + np.array([1e-9, -1e-7, 1e-3, -1e-2, 0.5, 0.49])
    y = np.concatenate([rng.uniform(-12, 0, 40), rng.uniform(-400, -12, 8), near, rng.uniform(0, 30, 20)])
    with mp.workdps(50):
        places = [mp.mpf(float(v)) for v in y]
        derivatives = [[mp.polygamma(order + k, v) for v in places] for k in (0, 1)]
        sizes = [max(abs(v - mp.floor(v)), mp.mpf(10) ** -20) for v in places]
        least = [min(v, 1 - v) for v in sizes]
    x = retrograd.tensor(y, requires_grad=True)
    eager = lambda x: retrograd.polygamma(order, x)  # noqa: E731  # with its derivative below
    for function in (eager, retrograd.compile_grad(eager)):
        value = function(x)
        (slope,) = retrograd.autograd.grad(value.sum(), x)
        for k, found in enumerate((value.detach(), slope)):
            scale = [
                float(abs(d) + mp.factorial(order + k) / v ** (order + k + 1))
                for d, v in zip(derivatives[k], least)
            ]
            off = np.abs(found.numpy() - np.array(derivatives[k], float))
            assert (off <= 4e-15 * (order + 2) * np.array(scale)).all(), (k, y[np.argmax(off / scale)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeta_at_edges_is_pytorchs(torch: ModuleType, dtype: str) -> None:
    s = [2.0, 3.0, 2.5, 1.0, 0.5, -1.0, 40.0, 7.0]
    y = [0.0, -0.0, -1.0, -7.0, -0.5, -2.25, -30.125, 1e-3, -1e-3, 0.5, 12.0, float("nan"), -float("inf")]
    pairs = np.array([(a, b) for a in s for b in y if b == b or a != 1]).T
    ours, theirs = (
        [t.special.zeta(*(t.tensor(v, dtype=getattr(t, dtype)) for v in pairs)).numpy()]
        for t in (retrograd, torch)
    )
    np.testing.assert_allclose(ours, theirs, rtol=3e-6 if dtype == "float32" else 1e-13)
    great = [
        t.polygamma(n, t.tensor([0.5, -1.25])).tolist() for t in (retrograd, torch) for n in (34, 170, 400)
    ]
    np.testing.assert_allclose(great[:3], great[3:], rtol=1e-5)


WITH_ZEROS = ("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "spherical_bessel_j0")
"""Near these an error is measured by the wave's height, and grows with its phase."""


@pytest.mark.parametrize("case", [case for case in COMPUTED if "; " not in case])
def test_a_compiled_function_is_the_eager_one(case: str) -> None:
    check_compiled(case)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_a_failure_says_what_pytorch_says(torch: ModuleType, case: str) -> None:
    refuse_alike(torch, case)


# ---- programs that both libraries run ----------------------------------------------------------------------


def switches(t: Any) -> Any:
    found: list[Any] = []
    for mode in (1, "error", "default"):
        t.set_deterministic_debug_mode(mode)
        found.append(t.get_deterministic_debug_mode())
        found += [t.are_deterministic_algorithms_enabled(), t.is_deterministic_algorithms_warn_only_enabled()]
    t.use_deterministic_algorithms(True, warn_only=True)
    found.append(t.get_deterministic_debug_mode())
    t.use_deterministic_algorithms(False)
    for kind in (t.DoubleTensor, "torch.FloatTensor"):
        t.set_default_tensor_type(kind)
        found.append(str(t.zeros(1).dtype))
    t.set_anomaly_enabled(True)
    found += [t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()]
    t.set_anomaly_enabled(True, False)
    found.append(t.is_anomaly_check_nan_enabled())
    t.set_anomaly_enabled(False, True)
    with t.inference_mode():
        found.append(t.is_inference_mode_enabled())
    return found, t.is_inference_mode_enabled(), t.is_anomaly_enabled()


def threads_and_precision(t: Any) -> Any:
    before = t.get_num_threads()
    t.set_num_threads(1)
    alone = t.get_num_threads()
    t.set_num_threads(before)
    t.set_float32_matmul_precision("high")
    found = t.get_float32_matmul_precision()
    t.set_float32_matmul_precision("highest")
    return alone, found, t.get_float32_matmul_precision(), t.get_num_threads() == before


def seeds(t: Any) -> Any:
    chosen = t.seed()
    drawn = t.rand(3)
    t.manual_seed(chosen)
    return bool((drawn == t.rand(3)).all()), chosen == t.initial_seed(), type(chosen)


def anomalies(t: Any) -> Any:
    x = t.tensor([-1.0, 4.0], requires_grad=True)
    with t.autograd.detect_anomaly(check_nan=False):
        x.sqrt().sum().backward()
    try:
        with t.autograd.detect_anomaly():
            (x.sqrt() * t.tensor([0.0, 1.0])).sum().backward()
    except RuntimeError as error:
        return x.grad.isnan().tolist(), str(error).splitlines()[0]
    return None


def saved_hooks_disabled(t: Any) -> Any:
    x = t.ones(2, requires_grad=True)
    try:
        with (
            t.autograd.graph.disable_saved_tensors_hooks("not here"),
            t.autograd.graph.saved_tensors_hooks(lambda r: r, lambda r: r),
        ):
            x.exp()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None


def dual_tensors(t: Any) -> Any:
    fw = t.autograd.forward_ad
    with fw.dual_level():
        found = fw.unpack_dual(fw.make_dual(t.ones(2), t.arange(2.0)).exp())
    return isinstance(found, fw.UnpackedDualTensor), found.primal.tolist(), found.tangent.tolist()


def parametrized(t: Any) -> Any:
    parametrize = t.nn.utils.parametrize
    layer = t.nn.Linear(2, 2)
    before = t.nn.utils.parametrize.is_parametrized(layer)
    t.nn.utils.parametrizations.weight_norm(layer)
    inner = layer.parametrizations.weight
    return (
        before,
        t.nn.utils.parametrize.is_parametrized(layer),
        t.nn.utils.parametrize.is_parametrized(layer, "bias"),
        parametrize.is_parametrized(layer, "weight"),
        isinstance(inner, t.nn.utils.parametrize.ParametrizationList),
        t.nn.utils.parametrize.type_before_parametrizations(layer).__name__,
    )


def packed(t: Any) -> Any:
    found = t.nn.utils.rnn.pack_sequence([t.arange(3.0), t.arange(2.0)])
    again = t.nn.utils.rnn.PackedSequence(found.data * 2, found.batch_sizes)
    return again.data.tolist(), again.batch_sizes.tolist(), isinstance(found, t.nn.utils.rnn.PackedSequence)


def bases(t: Any) -> Any:
    layer = t.nn.GRU(2, 3)
    optimizer = t.optim.SGD(layer.parameters(), 0.1)
    scheduler = t.optim.lr_scheduler.StepLR(optimizer, 2)
    average = t.optim.swa_utils.get_swa_avg_fn()
    return (
        isinstance(layer, t.nn.RNNBase),
        isinstance(scheduler, t.optim.lr_scheduler.LRScheduler),
        average(t.ones(2), t.full((2,), 4.0), t.tensor(2)).tolist(),
        issubclass(t.distributions.Normal, t.distributions.Distribution),
        isinstance(t.distributions.Beta(1.0, 2.0), t.distributions.ExponentialFamily),
        isinstance(t.distributions.Cauchy(1.0, 2.0), t.distributions.ExponentialFamily),
    )


def divergences(t: Any) -> Any:
    class Own(t.distributions.Normal):  # type: ignore[misc]  # of either library
        pass

    @t.distributions.register_kl(Own, Own)
    def _(p: Any, q: Any) -> Any:
        return p.loc - q.loc

    return t.distributions.kl_divergence(Own(2.0, 1.0), Own(0.5, 1.0)).item()


def checkpointed(t: Any) -> Any:
    x = t.arange(3.0, requires_grad=True)
    found = []
    for early in (True, False):
        with t.utils.checkpoint.set_checkpoint_early_stop(early):
            y = t.utils.checkpoint.checkpoint(lambda r: r.sin().exp(), x, use_reentrant=False)
        found += [g.tolist() for g in t.autograd.grad(y.sum(), x)]
    t.utils.checkpoint.CheckpointFunction.apply(lambda r: r.sin(), True, x).sum().backward()
    return found, x.grad.tolist()


_INITIAL = (
    "uniform(x)", "normal(x)", "constant(x, 0.3)", "eye(x)", "orthogonal(x)", "sparse(x, 0.3)",
    "xavier_uniform(x)", "xavier_normal(x)", "kaiming_uniform(x)", "kaiming_normal(x)",
)  # fmt: skip


def older_names(t: Any) -> Any:
    found = []
    for call in _INITIAL:
        t.manual_seed(3)
        found.append(eval(f"t.nn.init.{call}", {"t": t, "x": t.empty(4, 5)}).abs().sum().item())
    found.append(t.nn.init.dirac(t.empty(2, 2, 3)).tolist())
    x = t.ones(3, requires_grad=True)
    (x * 4).sum().backward()
    return found, t.nn.utils.clip_grad_norm([x], 1.0).item(), x.grad.tolist()


def formats(t: Any) -> Any:
    nn = t.nn
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Linear(2, 2), nn.ConvTranspose2d(3, 2, 2))
    nn.utils.convert_conv2d_weight_memory_format(model, t.channels_last)
    deep = nn.utils.convert_conv3d_weight_memory_format(nn.Conv3d(2, 3, 2), t.channels_last_3d)
    made = nn.utils.skip_init(nn.Linear, 3, 2, bias=False)
    return (
        [tuple(p.stride()) for p in model.parameters()],
        tuple(deep.weight.stride()),
        tuple(made.weight.shape),
        isinstance(nn.LSTMCell(2, 3), nn.RNNCellBase),
        isinstance(nn.NLLLoss2d(), nn.NLLLoss),
        nn.NLLLoss2d()(t.tensor([[0.1, 0.7], [2.0, 1.0]]), t.tensor([1, 0])).item(),
    )


def shares(t: Any) -> Any:
    found = []
    for rank, options in ((0, {}), (2, {"seed": 3}), (1, {"drop_last": True}), (1, {"shuffle": False})):
        for count in (10, 2):
            sampler = t.utils.data.DistributedSampler(range(count), 3, rank, **options)
            sampler.set_epoch(2)
            found += [list(sampler), len(sampler), sampler.num_samples, sampler.total_size]
    try:
        t.utils.data.DistributedSampler(range(3), 2, 2)
    except ValueError as error:
        found.append(str(error))
    return found


def checkpoint_helps(t: Any) -> Any:
    x, k = t.ones(2, requires_grad=True) * 2, t.arange(2)
    y, other, number = t.utils.checkpoint.detach_variable((x, k, 3))
    t.utils.checkpoint.check_backward_validity([x])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        t.utils.checkpoint.check_backward_validity([k, 3])
    first, second = t.utils.checkpoint.noop_context_fn()
    with first, second:
        pass
    return y.is_leaf, y.requires_grad, other.requires_grad, number, [str(w.message) for w in caught]


def without_running_statistics(t: Any) -> Any:
    model = t.nn.Sequential(t.nn.BatchNorm1d(2), t.nn.Sequential(t.nn.BatchNorm1d(2, affine=False)))
    found = t.func.replace_all_batch_norm_modules_(model)
    result = found.eval()(t.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]]))
    return found is model, list(model.state_dict()), result.tolist()


def older_comparisons(t: Any) -> Any:
    found = []
    for actual, expected in ((t.ones(2), t.ones(2) + 5e-5), ([1.0, 2.0], [1, 2]), (t.ones(2), t.zeros(2))):
        try:
            t.testing.assert_allclose(actual, expected)
            found.append("")
        except AssertionError as error:
            found.append(str(error))
    return found


PROGRAMS = [
    shares,
    checkpoint_helps,
    without_running_statistics,
    older_comparisons,
    older_names,
    formats,
    switches, threads_and_precision, seeds, anomalies, saved_hooks_disabled, dual_tensors, parametrized,
    packed, bases, divergences, checkpointed,
]  # fmt: skip


def alike(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            alike(one, other)
    else:
        assert ours == (pytest.approx(theirs, rel=1e-5, abs=1e-6) if isinstance(theirs, float) else theirs)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_program_does_what_it_does_with_pytorch(torch: ModuleType, program: Any) -> None:
    alike(program(retrograd), program(torch))


def written_file(t: Any, path: str, shared: bool) -> Any:
    found = t.from_file(path, shared=shared, size=4, dtype=t.float32)
    before = found.tolist()
    found += 1
    return before, found.tolist()


@pytest.mark.parametrize("shared", [True, False])
def test_a_tensor_on_a_file(torch: ModuleType, tmp_path: Path, shared: bool) -> None:
    left = []
    for t in (retrograd, torch):
        path = tmp_path / t.__name__
        np.arange(6, dtype=np.float32).tofile(path)
        found = written_file(t, os.fspath(path), shared)
        left.append((found, np.fromfile(path, np.float32).tolist()))
    assert left[0] == left[1]


def test_a_shared_file_is_made_long_enough(tmp_path: Path) -> None:
    found = retrograd.from_file(os.fspath(tmp_path / "new"), shared=True, size=3)
    assert found.tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="the file is too small"):
        retrograd.from_file(os.fspath(tmp_path / "new"), size=4)


def test_what_changes_memory_is_refused_in_a_trace() -> None:
    with pytest.raises(RuntimeError, match=r"resize_\(\) in a compiled function"):
        retrograd.compile_grad(lambda x: (x * 1).resize_(2).sum())(retrograd.ones(3))


def subclasses(t: Any) -> Any:
    class Named(t.Tensor):  # type: ignore[misc]  # of either library
        pass

    x = t.ones(2, requires_grad=True)
    found = (x * 2).as_subclass(Named)
    found.sum().backward()
    plain = t.zeros(2).as_subclass(Named)
    return type(found).__name__, found.tolist(), x.grad.tolist(), plain.requires_grad


def test_a_tensor_as_one_of_a_subclass(torch: ModuleType) -> None:
    assert subclasses(retrograd) == subclasses(torch)
    with pytest.raises(TypeError, match="does not inherit from Tensor"):
        retrograd.ones(2).as_subclass(int)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_convolutions_are_functions_as_in_pytorch(
    torch: ModuleType, rank: int, groups: int
) -> None:
    import torch.nn.grad as theirs

    import retrograd.nn.grad as ours

    def of(t: ModuleType, *shape: int) -> Any:
        return t.linspace(-1, 1, int(np.prod(shape)), dtype=t.float64).reshape(shape).cos()

    how = ([2, 1, 3][:rank], [1, 0, 2][:rank], [1, 2, 1][:rank], groups)
    x, w = (2, 2 * groups, *[7, 8, 6][:rank]), (3 * groups, 2, *[3, 2, 1][:rank])
    conv = getattr(torch.nn.functional, f"conv{rank}d")
    out = conv(of(torch, *x), of(torch, *w), None, *how).shape
    for kind, take in (("input", lambda t: (x, of(t, *w))), ("weight", lambda t: (of(t, *x), w))):
        name = f"conv{rank}d_{kind}"
        expected = getattr(theirs, name)(*take(torch), of(torch, *out), *how)
        found = getattr(ours, name)(*take(retrograd), of(retrograd, *out), *how)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("diag", [-2, -1, 0, 1])
def test_triangles_as_vectors(torch: ModuleType, diag: int) -> None:
    from torch.distributions import utils as theirs

    from retrograd.distributions import utils as ours

    square = torch.arange(32.0).reshape(2, 4, 4)
    expected = theirs.tril_matrix_to_vec(square, diag)
    found = ours.tril_matrix_to_vec(retrograd.arange(32.0).reshape(2, 4, 4), diag)
    assert found.tolist() == expected.tolist()
    again = ours.vec_to_tril_matrix(found, diag)
    assert again.tolist() == theirs.vec_to_tril_matrix(expected, diag).tolist()
    with pytest.raises(ValueError, match="cannot be expressed as the lower triangular part"):
        ours.vec_to_tril_matrix(retrograd.ones(4))


def test_a_distribution_of_ones_own_as_in_pytorch(torch: ModuleType) -> None:
    from torch.distributions import utils as theirs

    from retrograd.distributions import utils as ours

    def told(t: ModuleType, utils: Any) -> list[Any]:
        limits = t.distributions.constraints

        class Own(t.distributions.Distribution):  # type: ignore[misc,name-defined]  # of either library
            arg_constraints: ClassVar[Any] = {"low": limits.dependent(event_dim=1), "high": limits.dependent}

            def __init__(self, low: Any, high: Any) -> None:
                self.low, self.high = utils.broadcast_all(low, high)
                super().__init__(self.low.shape)

            @limits.dependent_property(is_discrete=False, event_dim=1)
            def support(self) -> Any:
                return limits.interval(self.low, self.high)

            @utils.lazy_property
            def odds(self) -> Any:
                return utils.probs_to_logits(self.high / 4, is_binary=True)

        it = Own(0.0, t.tensor([1.0, 2.0]))
        with pytest.raises(ValueError, match="to be within the support"):
            it._validate_sample(t.tensor([3.0, 1.0]))
        logits = utils.logits_to_probs(t.tensor([0.0, 1.0]))
        return [it.support, it.odds, Own.support.event_dim, limits.is_dependent(Own.support), logits]

    assert str(told(retrograd, ours)) == str(told(torch, theirs))


def test_rooms_that_programs_import_from() -> None:
    import retrograd.multiprocessing as processes
    from retrograd.serialization import get_safe_globals, load, safe_globals

    processes.set_sharing_strategy("file_system")
    assert processes.get_sharing_strategy() == "file_system"
    assert processes.get_context("fork").Process is not None
    with pytest.raises(RuntimeError, match="file_descriptor"):
        processes.set_sharing_strategy("other")
    with safe_globals([dict]):
        assert get_safe_globals() == [dict]
    assert (get_safe_globals(), load) == ([], retrograd.load)
    assert retrograd.GradScaler is retrograd.amp.GradScaler
    assert retrograd.is_storage(retrograd.ones(1).untyped_storage())
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        getattr(retrograd.backends.cuda, f"enable_{name}_sdp")(False)
        assert not getattr(retrograd.backends.cuda, f"{name}_sdp_enabled")()
        getattr(retrograd.backends.cuda, f"enable_{name}_sdp")(True)


def test_bits_are_seen_as_elements_of_another_size(torch: ModuleType) -> None:
    def told(t: ModuleType) -> Any:
        x = t.arange(6, dtype=t.float64).reshape(2, 3)
        bits = x.view(t.int32)
        bits[0, 3] = 0
        small = t.arange(24, dtype=t.int16).reshape(2, 3, 4).transpose(0, 1).view(t.int64)
        return [x.tolist(), bits.stride(), x._version, small.tolist(), small.stride(), bits.tolist()]

    assert told(retrograd) == told(torch)
