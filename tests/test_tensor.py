"""Tensors against PyTorch's: what they are, how they promote, how they meet Python and NumPy; and inside a
trace.

In flow small programs `program(t)` that run with either library (`side_by_side`), and sweeps over dtypes,
rows and operators; out flow equal outcomes. A new behaviour is a function with `@program`.
"""

from __future__ import annotations

import copy
import gc
import operator
import pickle
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import Program, compare

import retrograd
from retrograd.compiler import dtypes
from retrograd.runtime.functions import rows
from retrograd.runtime.tensor import Tensor

PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


def matrix(t: Any) -> Any:
    return t.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])


# ---- what it is --------------------------------------------------------------------------------------------


@program
def shapes(t: Any) -> Any:
    x = matrix(t)
    return (
        repr(x.shape), repr(x.shape[1:]), x.shape.numel(), x.size(-1), x.ndim, x.dim(), x.numel(),
        x.nelement(), len(x), x.stride(), x.t().stride(), x.element_size(), x.nbytes, x.is_contiguous(),
        x.t().is_contiguous(), str(x.device), repr(x.device), x.is_floating_point(), x.type(),
        x.T.shape == (3, 2), x.shape == x.size(),
    )  # fmt: skip


@program
def printed(t: Any) -> Any:
    x = matrix(t).requires_grad_()
    y, z = x * 2, t.tensor([1, 2])
    return repr(x), str(y), repr(z / 2), repr(x.sum()), f"{t.tensor(1.25):.1f}", f"{x}", repr(x > 0)


@program
def python_numbers(t: Any) -> Any:
    x, n = t.tensor(2.5), t.tensor([3])
    return (
        x.item(), float(x), int(x), bool(x), complex(x), n.item(), int(n), [10, 20, 30, 40][n],
        matrix(t).tolist(), [v.item() for v in t.tensor([1.0, 2.0])], list(range(n)),
        5.0 in matrix(t), 7.0 in matrix(t),
        bool(t.tensor([0.0])),
    )  # fmt: skip


@program
def an_ambiguous_truth(t: Any) -> Any:
    return bool(t.tensor([1.0, 2.0]))


@program
def the_truth_of_nothing(t: Any) -> Any:
    return bool(t.tensor([]))


@program
def several_are_no_scalar(t: Any) -> Any:
    return matrix(t).item()


@program
def a_float_is_no_index(t: Any) -> Any:
    return [1, 2][t.tensor(1.0)]


@program
def a_scalar_has_no_length(t: Any) -> Any:
    return len(t.tensor(1.0))


@program
def a_scalar_is_not_iterated(t: Any) -> Any:
    return list(t.tensor(1.0))


@program
def an_axis_out_of_range(t: Any) -> Any:
    return matrix(t).size(2)


@program
def an_unknown_attribute(t: Any) -> Any:
    try:
        return matrix(t).colour
    except AttributeError as error:
        return str(error)


@program
def numpy_of_a_leaf(t: Any) -> Any:
    return matrix(t).requires_grad_().numpy()


@program
def numpy_shares_memory(t: Any) -> Any:
    x = matrix(t)
    x.numpy()[0, 0] = 7
    y = x.detach()
    y += 1
    return x, np.asarray(x, dtype=np.float64).dtype.name, np.array(x).tolist()


@program
def numpy_operands(t: Any) -> Any:
    x = matrix(t)
    array = np.ones(3, np.float32)
    return x * t.tensor(array.tolist()), np.float32(2) * x, x + np.int64(1), np.exp(x)


# ---- operators ---------------------------------------------------------------------------------------------


@program
def arithmetic(t: Any) -> Any:
    x, y = matrix(t), matrix(t) * 0.5 + 1
    return (
        x + y, x - y, x * y, x / y, x // y, x % y, abs(x) ** y, -x, +x, abs(x), 2 + x, 2 - x, 2 * x, 2 / x,
        7 // x, 7 % x, 2**x, x + 1, x - 1.5, x / 2, x // 2, x % 2, x**2, x**-1, x > 1, x >= 1, x < y, x <= y,
        x == y, x != 3, x < 3,
    )  # fmt: skip


@program
def arithmetic_of_integers(t: Any) -> Any:
    x, y = t.tensor([7, -7, 3]), t.tensor([2, 2, -2])
    return (
        x + y, x / y, x // y, x % y, x & y, x | y, x ^ y, ~x, x << 1, x >> 1, x**2, x + 1.5, x * True, 1 / x,
        x == 7, x.div(y, rounding_mode="trunc"), x.div(y, rounding_mode="floor"), x.float() / y, 5 & x,
        x.sin(), x.floor(),
    )  # fmt: skip


@program
def arithmetic_of_bools(t: Any) -> Any:
    x, y = t.tensor([True, False, True]), t.tensor([True, True, False])
    return x + y, x * y, x & y, x | y, x ^ y, ~x, x + 1, x * 2.5, x / y, x == y, x.logical_not(), x < y


@program
def bools_are_not_subtracted(t: Any) -> Any:
    return t.tensor([True]) - t.tensor([True])


@program
def bools_are_not_negated(t: Any) -> Any:
    return -t.tensor([True])


@program
def shapes_that_do_not_fit(t: Any) -> Any:
    return matrix(t) + t.tensor([1.0, 2.0])


@program
def text_is_no_operand(t: Any) -> Any:
    return matrix(t) == "text", matrix(t) != None, hash(t.tensor(1.0)) is not None  # noqa: E711  # what is tested


@program
def in_place_operators(t: Any) -> Any:
    x = matrix(t)
    same = x
    x += 1
    x -= t.tensor([1.0, 2.0, 3.0])
    x *= x
    x /= 2
    x **= 2
    x //= 3
    x %= 4
    n = t.tensor([5, 6])
    n &= 4
    n |= 1
    n <<= 2
    return x, x is same, n, x._version


@program
def a_float_does_not_fit_an_integer(t: Any) -> Any:
    x = t.tensor([1, 2])
    try:
        x += 1.5
    except RuntimeError as error:
        return "can't be cast to the desired output type" in str(error), x


# ---- functions with options --------------------------------------------------------------------------------


@program
def options(t: Any) -> Any:
    x, y = matrix(t), matrix(t) * 0.5
    bad = t.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    return (
        t.add(x, y, alpha=2), x.sub(y, alpha=3), t.rsub(x, y, alpha=2), t.div(x, y + 3,
        rounding_mode="floor"), x.clamp(min=0), x.clamp(-1, 2), x.clamp(max=y), t.clamp(x, y - 1, y + 1),
        x.clip(0, 1), t.where(x > 0, x, y), t.where(x > 0, x, 0.0), t.where(x > 0, 1, 0), x.where(x > 0, y),
        t.pow(2, x), x.pow(2), t.float_power(x, 2), x.lerp(y, 0.25), t.lerp(x, y, y), bad.nan_to_num(),
        bad.nan_to_num(1, 2, 3), (x / 7).round(decimals=2), (x * 100).round(decimals=-2),
        x.sigmoid().logit(eps=0.1), x.addcmul(x, y, value=2), x.addcdiv(x, y + 10, value=2), t.isclose(x,
        x + 1e-6), t.allclose(x, x + 1e-9), t.equal(x, x), bad.isposinf(), bad.isneginf(), t.maximum(x, y),
        x.fmod(2), x.remainder(-2), t.atan2(x, y), x.copysign(-1), x.sign(), x.heaviside(y), x.hypot(y),
    )  # fmt: skip


@program
def where_alone(t: Any) -> Any:
    return t.where(matrix(t) > 0)


@program
def a_wrong_rounding(t: Any) -> Any:
    try:
        return t.div(matrix(t), 2, rounding_mode="up")
    except Exception as error:
        return "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found 'up'" in str(
            error
        )


@program
def a_clamp_without_bounds(t: Any) -> Any:
    try:
        return matrix(t).clamp()
    except Exception as error:
        return "At least one of 'min' or 'max' must not be None" in str(error)


@program
def results_written_elsewhere(t: Any) -> Any:
    x, out = matrix(t), t.zeros(2, 3)
    same = t.add(x, 1, out=out)
    return out, same is out, t.exp(x, out=t.zeros(2, 3, dtype=t.float64))


@program
def filled(t: Any) -> Any:
    x = matrix(t)
    y = x.clone()
    return x.fill_(2.5), y.zero_(), y.copy_(t.tensor([1, 2, 3])), y[0].fill_(9), y


# ---- conversions -------------------------------------------------------------------------------------------


@program
def conversions(t: Any) -> Any:
    x = matrix(t) + 0.5
    return (
        x.double(), x.half(), x.long(), x.int(), x.short(), x.char(), x.bool(), x.abs().byte(),
        x.float() is x, x.to(t.float64), x.to("cpu") is x, x.to(x.double()), x.to(dtype=t.int32),
        x.type(t.float64), x.type_as(x.long()), x.to(t.float32, copy=True) is x, x.cpu() is x,
        x.to(t.device("cpu"), t.float64), x.type("torch.DoubleTensor"),
    )  # fmt: skip


@program
def a_cast_is_recorded(t: Any) -> Any:
    x = matrix(t).requires_grad_()
    y = x.double() * 2
    y.sum().backward()
    return y, x.grad


@program
def copies(t: Any) -> Any:
    x = matrix(t)
    y, z, s = x.clone(), x.t().contiguous(), x.contiguous()
    y[0, 0] = 9
    return x, y, z.is_contiguous(), s is x


@program
def pickled(t: Any) -> Any:
    x = matrix(t).requires_grad_()
    y = pickle.loads(pickle.dumps(x))
    z = pickle.loads(pickle.dumps(matrix(t).t()))
    return y, z, copy.copy(matrix(t)), copy.deepcopy([x, x])


@program
def the_old_constructor(t: Any) -> Any:
    return t.Tensor([1, 2]), t.Tensor(2, 3).shape == (2, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_in_pytorch(program: Program, torch: ModuleType) -> None:
    compare(program, torch)


# ---- sweeps ------------------------------------------------------------------------------------------------

NAMES = [d.torch_name for d in dtypes.ALL]
BINARY = [operator.add, operator.mul, operator.truediv, operator.lt, operator.eq, operator.pow, operator.mod]


def _dtype_of(library: Any, function: Any, *operands: Any) -> str | None:
    try:
        return str(function(*operands).dtype)
    except (RuntimeError, TypeError, ValueError):
        return None


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_every_pair_of_dtypes_promotes_as_in_pytorch(function: Any, torch: ModuleType) -> None:
    def operands(library: Any) -> list[Any]:
        made = [library.tensor(v, dtype=getattr(library, n)) for n in NAMES for v in ([1, 1], 1)]
        return [*made, True, 2, 2.5, 1j]

    def made_half(x: object, y: object) -> bool:
        """Whether PyTorch makes a complex number of halves, of which there are none here."""
        kinds = {str(v.dtype).rpartition(".")[2] if hasattr(v, "dtype") else type(v).__name__ for v in (x, y)}
        return "float16" in kinds and any("complex" in kind for kind in kinds)

    ours, theirs = operands(retrograd), operands(torch)
    for a, c in zip(ours, theirs):
        for b, d in zip(ours, theirs):
            both_bool = function is operator.pow and all(dtypes.of(v) is dtypes.bool_ for v in (a, b))
            skipped = both_bool or made_half(a, b)
            if (isinstance(a, Tensor) or isinstance(b, Tensor)) and not skipped:
                expected = _dtype_of(torch, function, c, d)
                assert _dtype_of(retrograd, function, a, b) == expected, (
                    f"{function.__name__} of {c!r} and {d!r}"
                )


@pytest.mark.parametrize("name", sorted(n for n in rows.ROWS if hasattr(Tensor, f"{n}_")))
def test_in_place_is_out_of_place_written_back(name: str) -> None:
    row = rows.ROWS[name]
    kind = np.int64 if row.types.name in ("INTEGER", "WHOLE") else np.float64
    operands = [
        Tensor((np.arange(1, 5) * 0.2 + 0.1 * k + (kind is np.int64)).astype(kind)) for k in range(row.arity)
    ]
    if name == "acosh":
        operands[0] = operands[0] + 1
    if name == "nan_to_num":
        operands[1:] = [x.sum().item() for x in operands[1:]]
    expected = getattr(operands[0], name)(*operands[1:])
    x = operands[0].clone()
    array = x.numpy()
    assert getattr(x, f"{name}_")(*operands[1:]) is x
    assert x.numpy() is array
    np.testing.assert_array_equal(array, expected.numpy().astype(kind))
    assert x._version == 1


@pytest.mark.parametrize("name", sorted(n for n, row in rows.ROWS.items() if row.arity < 3))
def test_the_quick_way_gives_what_the_interpreter_gives(name: str) -> None:
    row = rows.ROWS[name]
    taken = [d for d in dtypes.ALL if d.numpy in rows.taken_dtypes(row)]
    for d in taken:
        operands = [Tensor(np.array([1, 2, 1]).astype(d.numpy)) for _ in range(row.arity)]
        quick, slow = rows.APPLY[name](*operands), rows.general(row, operands)
        assert quick.dtype is slow.dtype
        np.testing.assert_array_equal(quick.numpy(), slow.numpy())
        zero_d = [Tensor(np.array(1).astype(d.numpy)) for _ in range(row.arity)]
        assert isinstance(rows.APPLY[name](*zero_d)._value, np.ndarray)


def test_bools_have_no_powers() -> None:
    """In PyTorch they do, as bools; here a power is a number."""
    with pytest.raises(TypeError, match="\"pow\" not implemented for 'Bool'"):
        Tensor(np.array([True])) ** True


def test_numpy_arrays_are_operands() -> None:
    x, array = Tensor(np.array([1.0, 2.0])).requires_grad_(), np.array([3.0, 4.0])
    for y in (x * array, array * x):
        assert isinstance(y, Tensor)
        assert y.requires_grad
        assert y.tolist() == [3, 8]
    assert np.maximum(x.detach(), 1.5).tolist() == [1.5, 2]


def test_numbers_keep_their_sign_and_kind() -> None:
    x = Tensor(np.array([1.0, -1.0]))
    assert np.signbit((x * 0.0).numpy()).tolist() == [False, True]
    assert np.signbit((x * -0.0).numpy()).tolist() == [True, False]
    assert (Tensor(np.array([1, 2])) * True).dtype is dtypes.int64
    assert (Tensor(np.array([1, 2])) * 1.0).dtype is dtypes.float32


def test_no_operation_warns() -> None:
    x = Tensor(np.array([0.0, -1.0, 1e38], np.float32))
    assert np.isnan((x / x).numpy()[0])
    assert np.isinf((x * x * x).numpy()[2])
    assert np.isnan(x.log().numpy()[1])


def test_a_tensor_is_wrapped_not_copied() -> None:
    array = np.ones(3)
    assert Tensor(array).numpy() is array


def test_tensors_are_weakly_referenced_and_hashed_by_identity() -> None:
    x, y = Tensor(np.ones(2)), Tensor(np.ones(2))
    assert len({x, y, x}) == 2
    watched = weakref.ref(x)
    del x
    gc.collect()
    assert watched() is None


def test_a_subclass_takes_part() -> None:
    class Weight(Tensor):
        pass

    w = Weight(np.ones(2, np.float32)).requires_grad_()
    y = (w * 2 + Tensor(np.ones(2, np.float32))).sum()
    y.backward()
    assert type(y) is Tensor
    assert w.grad is not None
    assert type(w.grad) is Tensor
    assert type(copy.deepcopy(w)) is Weight
    assert type(pickle.loads(pickle.dumps(Tensor(np.ones(2))))) is Tensor


@pytest.mark.parametrize(
    "take",
    [
        memoryview, bytes, bytearray, np.frombuffer, int.from_bytes, lambda x: b"".join([x]),
        lambda x: np.asarray(x).tolist(), lambda x: np.array([x, x]).tolist(), lambda x: bytes(x.half()),
    ],
)  # fmt: skip
def test_elements_go_to_what_reads_memory_as_in_pytorch(take: Any, torch: ModuleType) -> None:
    """A Tensor has no buffer protocol, which classes written in Python may have from 3.12 on."""
    found = []
    for t in (torch, retrograd):
        try:
            found.append(take(t.tensor([1, 2])))
        except TypeError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_dlpack_goes_both_ways(torch: ModuleType) -> None:
    x = Tensor(np.arange(3.0))
    theirs = torch.from_dlpack(x)
    theirs[0] = 5
    assert x.tolist() == [5, 1, 2]
    assert np.from_dlpack(x).tolist() == [5, 1, 2]


def test_old_tensor_types_know_their_tensors(torch: ModuleType) -> None:
    def known(t: Any) -> list[bool]:
        values = (t.ones(1), t.ones(1).double(), t.tensor([1]), 3)
        return [isinstance(x, kind) for x in values for kind in (t.FloatTensor, t.DoubleTensor, t.LongTensor)]

    assert known(retrograd) == known(torch)


def test_tensors_have_attributes_of_the_users() -> None:
    """On the Tensor itself, and on copies of it by `copy` and pickle; results of functions have none."""
    x: Any = retrograd.ones(2, requires_grad=True)
    x.origin, x.itself = ["sensor 3"], x
    deep: Any = copy.deepcopy(x)
    assert deep.itself is deep
    assert deep.origin == x.origin
    assert deep.origin is not x.origin
    assert copy.copy(x).origin is x.origin
    for result in (x.clone(), x.detach(), x + 1, x[:]):
        assert not hasattr(result, "origin")
    del deep.origin, x.itself
    assert not hasattr(deep, "origin")
    assert pickle.loads(pickle.dumps(x)).origin == x.origin
    x.itself, gone = x, weakref.ref(x)
    del x, result
    gc.collect()
    assert gone() is None
