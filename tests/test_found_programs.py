"""Programs that random search found to differ, shrunk: eager mode and compiled functions against PyTorch.

In flow lines of code on `t`, which is PyTorch or Retrograd, and on `F`, its `nn.functional`; out flow equal
values, dtypes, orders in memory and gradients of the leaves. Each runs three times, as the third call is a
replay, and compiled. A program that was found is a line of `PROGRAMS`.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from function_cases import lines

import retrograd

PROGRAMS = lines("""
    x = t.arange(48).reshape(1, 3, 4, 4).to(t.uint8); x.unfold(2, 2, 2)
    x = t.tensor([[0.081], [-1.445]], dtype=t.float16); F.rms_norm(x, (1,))
    x = t.tensor([[0.081], [-1.445]], dtype=t.bfloat16, requires_grad=True); F.rms_norm(x, (1,))
    x = t.tensor([[0.1], [0.0]], dtype=t.bfloat16); x.count_nonzero()
    x = t.tensor([0.1, 0.0, float("nan")], dtype=t.bfloat16); x.bool()
    x = t.tensor([0.0, -0.0], dtype=t.bfloat16); x.any()
    x = t.tensor([0.1, 1e-7], dtype=t.float16); x.all()
    x = t.tensor([float("nan"), 2.0, 0.0, 1.0]); t.bucketize(x, t.tensor([-1.0, 0.0, 1.0]))
    x = t.tensor([float("nan"), 2.0, 0.0, 1.0]); t.bucketize(x, t.tensor([-1.0, 0.0, 1.0]), right=True)
    x = t.tensor([[float("nan")], [3.0]]); t.searchsorted(t.tensor([[1.0, 2.0], [3.0, 4.0]]), x)
    x = t.arange(6, dtype=t.int16).reshape(2, 3); t.einsum("ab->a", x)
    x = t.arange(6).reshape(2, 3) > 2; t.einsum("ab->b", x)
    x = t.arange(6, dtype=t.int16).reshape(2, 3); t.einsum("ab,ab->a", x, x)
    x = t.ones(3, requires_grad=True); t.einsum("a->a", x)
    x = t.arange(24.0).reshape(2, 3, 4); t.einsum("abc->cb", x)
    x = t.ones(2, 3, 3, requires_grad=True); y = t.ones(2, 0, 3, requires_grad=True); \
t.tensordot(y, x, dims=([-1], [-1]))
    x = t.linspace(-3, 3, 1632, dtype=t.float64).reshape(3, 17, 32).requires_grad_(); \
x.logsumexp(1).mul(0.2).tanh()
    x = t.linspace(-3, 3, 2400).reshape(2, 3, 20, 20).requires_grad_(); F.max_pool2d(x, 1)
    x = t.arange(84.0).reshape(3, 4, 7).requires_grad_(); w = t.linspace(-1, 1, 12).reshape(1, 4, 3); \
F.conv1d(x.flip([-1]), w, padding=1)
    x = t.arange(60.0).reshape(2, 3, 10).requires_grad_(); w = t.linspace(-1, 1, 12).reshape(2, 3, 2); \
F.conv1d(x.flip([2]), w, stride=2)
    x = t.tensor([0.5, -2.0], dtype=t.float16, requires_grad=True); t.ldexp(x, t.tensor([3, 14]))
    x = t.tensor(2.0); x.mT
    x = t.ones(3, requires_grad=True); y = x * 2; t.asarray(y)
    x = t.ones(3); y = t.asarray(x, copy=True); y.add_(1); x + y
    x = t.ones(3); t.asarray([1, 2], copy=True)
    x = t.ones(2, 3); t.inner(x, t.tensor(2))
    x = t.tensor(2.0); x.adjoint()
    x = t.tensor([0.0, 1.0, -2.0, float("inf"), float("nan")], requires_grad=True); x**0 * float("inf")
    x = t.tensor([0.0, 1.0, -2.0, float("inf")], requires_grad=True); x**t.zeros(4) * float("nan")
""")

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 4e-2}


def begun(program: str, t: ModuleType) -> tuple[dict[str, Any], str]:
    """What the program's names stand for before its last step, and that step."""
    names: dict[str, Any] = {"t": t, "F": t.nn.functional, "np": np}
    steps, _, last = program.rpartition("; ")
    exec(steps, names)
    return names, last


def finished(result: Any, names: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The result, and the gradients of its sum."""
    if result.requires_grad:
        result.double().sum().backward()
    leaves = {name: x for name, x in names.items() if hasattr(x, "is_leaf") and x.is_leaf}
    return result, {name: x.grad for name, x in leaves.items()}


def agree(ours: Any, theirs: Any) -> None:
    assert list(ours.shape) == list(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    assert (ours.requires_grad, ours.is_leaf) == (theirs.requires_grad, theirs.is_leaf)
    assert steps(ours) == steps(theirs)
    bound = TOLERANCE.get(str(theirs.dtype).removeprefix("torch."), 0.0)
    found, expected = (np.array(x.detach().tolist(), dtype=np.float64) for x in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)


def steps(x: Any) -> list[int]:
    """From one element to the next along each axis that has several."""
    return [step for step, size in zip(x.stride(), x.shape) if size > 1 and x.numel()]


def all_agree(ours: tuple[Any, dict[str, Any]], theirs: tuple[Any, dict[str, Any]]) -> None:
    agree(ours[0], theirs[0])
    for name, gradient in theirs[1].items():
        assert (ours[1][name] is None) == (gradient is None)
        if gradient is not None:
            agree(ours[1][name], gradient)


@pytest.mark.parametrize("program", PROGRAMS)
def test_found_programs_do_what_pytorch_does(torch: ModuleType, program: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names, last = begun(program, torch)
        theirs = finished(eval(last, names), names)
        for _ in range(3):
            names, last = begun(program, retrograd)
            all_agree(finished(eval(last, names), names), theirs)


@pytest.mark.parametrize("program", PROGRAMS)
def test_compiled_they_do_what_eager_mode_does(program: str) -> None:
    names, last = begun(program, retrograd)
    eager = finished(eval(last, names), names)
    names, last = begun(program, retrograd)
    compiled = retrograd.compile_grad(lambda: eval(last, names))
    all_agree(finished(compiled(), names), eager)


TWICE = lines("""
    x.relu()
    F.relu6(x)
    F.hardtanh(x)
    F.leaky_relu(x)
    F.softshrink(x)
    F.hardshrink(x)
    F.threshold(x, 0.1, 0.2)
    F.prelu(x, t.tensor([0.2]))
    F.max_pool2d(x[None], 2)
    x.clamp(-0.5, 0.5)
    x.max(0)[0]
""")


def twice(function: str, t: ModuleType) -> tuple[bool, list[Any] | None]:
    """Whether the gradient has a history, and its own gradient."""
    x = t.tensor([[0.5, -0.3, 0.8, 0.1], [-0.7, 0.2, -0.9, 0.35]], requires_grad=True)
    y = eval(function, {"t": t, "F": t.nn.functional, "x": x})
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    if not g.requires_grad:
        return False, None
    (again,) = t.autograd.grad(g.sum(), x)
    return True, again.tolist()


@pytest.mark.parametrize("function", TWICE)
def test_gradients_of_what_is_linear_in_pieces_depend_on_the_same(torch: ModuleType, function: str) -> None:
    expected = twice(function, torch)
    for _ in range(3):
        assert twice(function, retrograd) == expected
