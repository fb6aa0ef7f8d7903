"""Complex tensors in eager mode: values, dtypes, gradients of two orders, printing and errors: PyTorch's."""

from __future__ import annotations

import io
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from complex_cases import CASES, ONE, arrays, called, weights

import retrograd
from retrograd import Tensor

DTYPES = ("complex64", "complex128")
Program = Callable[[Any], list[Any]]


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    return pytest.importorskip("torch")


def leaves(library: Any, given: list[Any]) -> list[Any]:
    return [library.tensor(a.copy(), requires_grad=True) for a in given]


def array_of(x: Any) -> Any:
    x = x.detach()
    return x.numpy() if isinstance(x, Tensor) else x.resolve_conj().resolve_neg().numpy()


def close(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(array_of(ours), array_of(theirs), rtol=tolerance, atol=tolerance)


def derived(library: Any, case: str, given: list[Any]) -> tuple[Any, list[Any], list[Any]]:
    """The value, its gradients, and the gradients of the sum of their squared absolute values."""
    operands = leaves(library, given)
    out = called(case, library, operands)
    if not isinstance(out, library.Tensor) or not out.requires_grad:
        return out, [], []
    seed = library.tensor(weights(tuple(out.shape), str(out.dtype).rpartition(".")[2]))
    first = library.autograd.grad(out, operands, seed, create_graph=True, allow_unused=True)
    live = [g for g in first if g is not None and g.requires_grad]
    if not live:
        return out, list(first), []
    total = sum((g * g.conj()).real.sum() for g in live)
    return out, list(first), list(library.autograd.grad(total, operands, allow_unused=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_pytorchs(case: str, dtype: str, torch: ModuleType) -> None:
    given = arrays(dtype)
    tolerance = 1e-9 if dtype == "complex128" else 2e-3
    value, *gradients = derived(torch, case, given)
    for _ in range(3):  # by itself, and by the plan that is made of it
        own, *found = derived(retrograd, case, given)
        close(own, value, tolerance)
        for ours, theirs in zip(found, gradients, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    close(a, b, tolerance)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case", [*(f"t.{name}(x)" for name in ONE if name not in ("nonzero", "trace")), "x * y", "x / y"]
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (7, 33), (40_000,)], ids=str)
def test_every_shape(case: str, shape: tuple[int, ...], torch: ModuleType) -> None:
    given = arrays("complex128", shape)
    if case in ("t.prod(x)",) and np.prod(shape) > 100:
        given = [a * 0 + 1j for a in given]
    value, gradients, _ = derived(torch, case, given)
    own, found, _ = derived(retrograd, case, given)
    close(own, value, 1e-8)
    for a, b in zip(found, gradients, strict=True):
        assert a is None or close(a, b, 1e-8) is None


@pytest.mark.parametrize("name", ["exp", "sqrt", "tanh", "abs", "conj", "sgn", "log1p"])
def test_operands_that_lie_otherwise(name: str, torch: ModuleType) -> None:
    (z, w, _) = arrays("complex128", (6, 8))

    def results(library: Any) -> list[Any]:
        x = library.tensor(z)
        function = getattr(library, name)
        parts = [x.T, x[:, ::2], x[1:, 3:], x.flip(0), x[:1].expand(4, 8), x.real.T, x.imag[::2]]
        return [*map(function, parts), x[::2].T * library.tensor(w)[1::2].T]

    for ours, theirs in zip(results(retrograd), results(torch), strict=True):
        close(ours, theirs, 1e-12)


# ---- promotion, numbers, printing --------------------------------------------------------------------------


def test_numbers_and_tensors_promote_as_in_pytorch(torch: ModuleType) -> None:
    names = ("bool", "int64", "bfloat16", "float32", "float64", "complex64", "complex128")

    def operands(library: Any) -> list[Any]:
        return [
            *(library.ones(shape, dtype=getattr(library, name)) for name in names for shape in ((), (2,))),
            *(1, 1.0, 1j),
        ]

    for function in (operator.add, operator.mul, operator.truediv, operator.eq):
        for a, c in zip(operands(retrograd), operands(torch), strict=True):
            for b, d in zip(operands(retrograd), operands(torch), strict=True):
                if isinstance(a, Tensor) or isinstance(b, Tensor):
                    assert str(function(a, b).dtype) == str(function(c, d).dtype)
                    assert str(retrograd.result_type(a, b)) == str(torch.result_type(c, d))


def test_the_default_dtype_decides_what_numbers_become() -> None:
    retrograd.set_default_dtype(retrograd.float64)
    try:
        assert retrograd.tensor([1j]).dtype is retrograd.complex128
        assert (retrograd.ones(1, dtype=retrograd.int64) * 1j).dtype is retrograd.complex128
        assert repr(retrograd.tensor([1j])) == "tensor([0.+1.j])"
    finally:
        retrograd.set_default_dtype(retrograd.float32)
    assert retrograd.tensor([1j]).dtype is retrograd.complex64
    assert (retrograd.ones(1, dtype=retrograd.float64) * 1j).dtype is retrograd.complex128


def test_what_a_dtype_says_of_itself() -> None:
    assert retrograd.complex64 is retrograd.cfloat
    assert retrograd.complex128 is retrograd.cdouble
    assert retrograd.complex64.is_complex
    assert not retrograd.complex64.is_floating_point
    assert retrograd.complex64.to_real() is retrograd.float32
    assert retrograd.float64.to_complex() is retrograd.complex128
    assert retrograd.finfo(retrograd.complex64).eps == retrograd.finfo(retrograd.float32).eps
    assert str(retrograd.complex64) == "torch.complex64"


SHOWN = [
    [1 + 2j, 3], 1.5 - 2j, [[1.5 + 2j, 3], [complex("nan"), complex("inf-1e5j")]], [1e-5 + 2j, 3e6 - 1j],
    [100 + 2j, 0.001 - 1j], [-0.0 - 0.0j, 1 - 0.0j, complex(float("nan"), float("-inf"))], [1j] * 1200, [],
    [[[1j, 2.25], [3, 4 - 1e-3j]]] * 2,
]  # fmt: skip


@pytest.mark.parametrize("data", SHOWN, ids=range(len(SHOWN)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_they_are_printed_as_in_pytorch(data: Any, dtype: str, torch: ModuleType) -> None:
    ours = retrograd.tensor(data, dtype=getattr(retrograd, dtype))
    theirs = torch.tensor(data, dtype=getattr(torch, dtype))
    assert repr(ours) == repr(theirs)
    assert repr(ours.requires_grad_() * 1) == repr(theirs.requires_grad_() * 1)


# ---- programs that run in both libraries -------------------------------------------------------------------


def in_place(t: Any) -> list[Any]:
    x = t.tensor([1 + 2j, 3 - 1j])
    y = x.clone()
    y += 1j
    y *= 2
    y /= x
    y -= x
    changed = [y.clone().add_(x, alpha=2j), y.clone().mul_(t.tensor([1.0, 2.0])), x.clone().conj_physical_()]
    fresh = [x.clone().fill_(1j), x.clone().zero_(), x.clone().neg_(), x.clone().pow_(2), x.clone().exp_()]
    return [y, *changed, *fresh]


def assigned(t: Any) -> list[Any]:
    x = t.zeros(3, 2, dtype=t.complex64)
    x[0] = 1j
    x[1, 1] = 2.0
    x[2] = t.tensor([1.0, 2.0])
    x[t.tensor([0]), 0] = t.tensor([5 + 1j])
    x[x == 0] = 7 - 1j
    x.real[0] = 9
    x.imag[1] *= 2
    x[:, 1].real.add_(1)
    x.imag = t.tensor([[1.0, 2.0]] * 3)
    return [x, x.real, x.imag, 9 + 1j in x, 4j in x]


def parts_with_a_history(t: Any) -> list[Any]:
    x = t.tensor([[1 + 2j, 3 - 1j], [0.5j, 2]], requires_grad=True)
    y = x * 1
    y.real[0] = y.imag[1] * 2
    y.imag.mul_(3)
    pairs = t.view_as_real(y)
    pairs[..., 0] += 1
    (y * y).abs().sum().backward()
    return [y.detach(), x.grad]


def pairs_with_a_history(t: Any) -> list[Any]:
    r = t.tensor([[1.0, 2.0], [-3.0, 0.5]], requires_grad=True)
    z = t.view_as_complex(r * 1)
    z *= 1j
    z[0] = 2
    z.abs().sum().backward()
    return [r.grad, z.detach()]


def memory(t: Any) -> list[Any]:
    x = t.tensor([[1 + 2j, 3 - 1j]])
    lying = [x.imag.storage_offset(), x.imag.stride(), t.view_as_real(x).stride(), x.T.imag.stride()]
    asked = [x.element_size(), x.nbytes, x.is_complex(), x.is_floating_point(), t.is_complex(x), x.type()]
    return [x.view(t.float32), t.ones(2, 4).view(t.complex64), *lying, *asked]


def numbers(t: Any) -> list[Any]:
    x = t.tensor(1 + 2j)
    words = [str(x), f"{x}", f"{x:.1f}", t.tensor([1j, 2]).tolist(), [v.item() for v in t.tensor([1j, 2])]]
    return [x.item(), complex(x), bool(x), abs(x), float(t.tensor(2 + 0j)), int(t.tensor(2 + 0j)), *words]


def from_arrays(t: Any) -> list[Any]:
    a = np.array([1 + 2j, 3], np.complex64)
    x = t.from_numpy(a)
    x[0] = 5j
    made = [
        t.as_tensor(a),
        t.tensor(a),
        t.tensor(np.complex64(1j)),
        t.tensor(a.tolist()),
        t.tensor([[1j], [2.0]]),
    ]
    return [a.copy(), np.asarray(x), *made, t.from_dlpack(t.tensor([1j, 2]))]


def random(t: Any) -> list[Any]:
    found = []
    for dtype in (t.complex64, t.complex128):
        for n in (1, 3, 15, 16, 17, 40):
            t.manual_seed(n)
            like = t.ones(n, dtype=dtype)
            found += [t.randn(n, dtype=dtype), t.rand(n, dtype=dtype), t.randn_like(like), t.rand_like(like)]
            found += [
                t.empty(n, dtype=dtype).normal_(1, 2),
                t.empty(n, dtype=dtype).uniform_(2, 3),
                t.rand(1),
            ]
            found.append(t.normal(1.0, 2.0, (n,), dtype=dtype))
    return found


def optimised(t: Any) -> list[Any]:
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("Adam", {"lr": 0.1}), ("AdamW", {"lr": 0.1, "amsgrad": True}), ("Adadelta", {}),
        ("Adamax", {"lr": 0.1}), ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.1}),
        ("NAdam", {"lr": 0.1}), ("RAdam", {"lr": 0.1}),
        ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True}), ("Rprop", {}), ("ASGD", {"lr": 0.1}),
        ("LBFGS", {"lr": 0.5}),
    ]  # fmt: skip
    found = []
    for name, options in kinds:
        p = t.tensor([1 + 2j, -0.5j, 3.0], requires_grad=True)
        optimizer = getattr(t.optim, name)([p], **options)

        def closure(p: Any = p, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = ((p - 1) * (2 + 1j)).abs().pow(2).sum() + p.real.sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
        found.append(p.detach())
    return found


def layers(t: Any) -> list[Any]:
    t.manual_seed(0)
    made, cast = t.nn.Linear(2, 3, dtype=t.complex64), t.nn.Linear(2, 3).to(t.complex64)
    p = t.tensor([1 + 2j, -0.5j], requires_grad=True)
    p.grad = t.tensor([3 + 4j, 1j])
    norm = t.nn.utils.clip_grad_norm_([p], 1.0)
    return [
        made.weight.detach(),
        cast.bias.detach(),
        made(t.ones(1, 2, dtype=t.complex64)).detach(),
        norm,
        p.grad,
    ]


def functional(t: Any) -> list[Any]:
    x = t.tensor([1 + 0.2j, 0.3], dtype=t.complex128)
    pulled = t.autograd.functional.vjp(lambda z: z * z, x, t.ones(2, dtype=t.complex128))[1]
    apart = t.func.grad(lambda z: (z * z.conj()).real.sum())(x)
    return [
        pulled,
        apart,
        t.func.vmap(lambda z: (z * 2j).abs())(x),
        t.func.jvp(lambda z: z * z, (x,), (x,))[1],
    ]


PROGRAMS: list[Program] = [
    in_place, assigned, parts_with_a_history, pairs_with_a_history, memory, numbers, from_arrays, random,
    optimised, layers, functional,
]  # fmt: skip


def same(ours: Any, theirs: Any) -> None:
    if hasattr(theirs, "resolve_conj"):
        close(ours, theirs, 2e-5)
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_programs_give_what_they_give_in_pytorch(program: Program, torch: ModuleType) -> None:
    for ours, theirs in zip(program(retrograd), program(torch), strict=True):
        same(ours, theirs)


# ---- derivatives -------------------------------------------------------------------------------------------


def test_gradcheck_takes_real_and_imaginary_parts() -> None:
    t = retrograd
    x = t.tensor([1 + 0.2j, 0.3], dtype=t.complex128, requires_grad=True)
    y = t.tensor([0.5, 2j], dtype=t.complex128, requires_grad=True)
    r = t.tensor([0.3, 0.4], dtype=t.float64, requires_grad=True)
    assert t.autograd.gradcheck(lambda a, b: (a * b).exp() / b, (x, y))
    assert t.autograd.gradcheck(lambda a, b: (a * b).exp() / b, (x, y), fast_mode=True)
    assert t.autograd.gradcheck(lambda a, b: (a * b).angle(), (x, r))
    assert t.autograd.gradcheck(lambda b: b * (1 + 2j), (r,))
    assert t.autograd.gradgradcheck(lambda a, b: a * b * b.conj(), (x, y))


def test_gradcheck_finds_a_derivative_that_is_not_conjugated() -> None:
    class Square(retrograd.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            (x,) = ctx.saved_tensors
            return cotangent * 2 * x

    x = retrograd.tensor([1 + 0.2j], dtype=retrograd.complex128, requires_grad=True)
    assert not retrograd.autograd.gradcheck(Square.apply, (x,), raise_exception=False)


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_borders(mode: str, torch: ModuleType) -> None:
    case = f"F.pad(x[None], (1, 2), mode='{mode}')"
    (value, gradients, _), (own, found, _) = (
        derived(library, case, arrays("complex128")) for library in (torch, retrograd)
    )
    close(own, value)
    close(found[0], gradients[0])


@pytest.mark.parametrize("name", ["abs", "angle", "sgn"])
def test_derivatives_at_zero_are_pytorchs(name: str, torch: ModuleType) -> None:
    def slope(library: Any) -> Any:
        x = library.tensor([0j, 1j], requires_grad=True)
        out = getattr(library, name)(x)
        out.backward(library.ones_like(out))
        return x.grad

    close(slope(retrograd), slope(torch), 1e-7)


# ---- errors ------------------------------------------------------------------------------------------------

REFUSED = """
x < 1; x >= x; x.max(); x.max(0); x.min(); x.argmax(); x.sort(); x.argsort(); x.topk(1); x.floor(); x.ceil()
x.round(); x.trunc(); x.frac(); x // 1; x % 2; t.relu(x); t.nn.functional.gelu(x); t.nn.functional.softplus(x)
t.erf(x); x.clamp(0); x.sign(); t.maximum(x, x); t.minimum(x, x); t.atan2(x, x); t.hypot(x, x); x.softmax(0)
x.amax(); x.amin(); x.mode(); x.cummax(0); x.fmod(2); x & x; ~x; x.lgamma(); t.signbit(x); t.heaviside(x, x)
t.bucketize(x, x); x.backward(); (x.requires_grad_() * 1).backward(); x.requires_grad_().sum().backward()
float(t.tensor(1j)); int(t.tensor(1j)); t.tensor([1j], dtype=t.float32); t.tensor([1.0]).add_(1j)
t.tensor([1.0]).fill_(1j); t.arange(3, dtype=t.complex64); t.ones(2).imag; x.nansum()
t.view_as_real(t.ones(2)); x.quantile(0.5); t.deg2rad(x); t.xlogy(x, x); x.unique(); t.isin(x, x)
t.searchsorted(x, x); x.logit(); x.gcd(x); t.nn.functional.mse_loss(x, x)
t.nn.functional.layer_norm(x, (2,)); x.isposinf()
x.aminmax(); t.kthvalue(x, 1); t.cosine_similarity(x, x, dim=0); x[x]
t.autograd.grad((x.requires_grad_() * 1).sum(), x, t.ones(())); t.nn.functional.leaky_relu(x)
t.nn.functional.elu(x); t.complex(t.ones(2), t.ones(2, dtype=t.float64))
t.complex(t.ones(2, dtype=t.int64), t.ones(2, dtype=t.int64)); t.set_default_dtype(t.complex64); x.abs_()
t.view_as_complex(t.ones(3)); t.view_as_complex(t.ones(2, 2).t()); t.view_as_complex(t.ones(2, 4)[:, 1:3])
t.view_as_complex(t.ones(3, 2)[1:].view(4)[1:3]); t.view_as_complex(t.ones(2, 2, dtype=t.int64))
t.polar(t.ones(2), t.ones(2, dtype=t.float64)); x.requires_grad_().abs().backward()
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case", [c.strip() for line in REFUSED.strip().splitlines() for c in line.split("; ")]
)
def test_what_pytorch_refuses_is_refused_in_its_words(case: str, torch: ModuleType) -> None:
    def words(library: Any) -> str:
        with pytest.raises((RuntimeError, TypeError, IndexError, ValueError, NotImplementedError)) as raised:
            eval(case, {"t": library, "x": library.tensor([1 + 2j, 3])})
        return str(raised.value).partition("\n")[0].partition(" (Triggered")[0]

    assert words(retrograd) == words(torch)


def test_what_is_not_there_yet_says_so() -> None:
    x = retrograd.tensor([[1j, 2], [3, 4]])
    with pytest.raises(TypeError, match="convolution takes integer or floating-point values"):
        retrograd.nn.functional.conv1d(x[None], x[None])


def test_what_a_file_keeps() -> None:
    file = io.BytesIO()
    retrograd.save({"a": retrograd.tensor([1 + 2j]), "n": 1j}, file)
    file.seek(0)
    found = retrograd.load(file)
    assert found["a"].tolist() == [1 + 2j]
    assert found["n"] == 1j
    retrograd.testing.assert_close(found["a"], retrograd.tensor([1 + 2j + 1e-9]))


def test_random_numbers_are_no_views() -> None:
    ones = retrograd.ones(2, dtype=retrograd.complex128)
    for made in (retrograd.randn(3, dtype=retrograd.complex64), retrograd.rand_like(ones)):
        assert made._base is None
