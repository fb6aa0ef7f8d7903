"""`autograd.forward_ad` against PyTorch's own forward mode: tangents of every function's cases, and programs.

A case of test_functions.py is evaluated on duals, in float64, with both libraries. Programs are functions of
the library, `program(t)`.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare
from test_functions import CASES, flat, operands

import retrograd
from retrograd.compiler.errors import GradientError

PYTORCH_HAS_NONE = (NotImplementedError, RuntimeError)
"""What PyTorch raises for a function without a forward rule."""

BACKWARD_IS_NO_TRANSPOSE = {
    "F.embedding(k, x, padding_idx=2)",
    "F.embedding(k, x, padding_idx=-3)",
    "F.embedding(j, x * 1, padding_idx=1, scale_grad_by_freq=True)",
}
"""Cases whose gradient is, by definition, not that of what they compute: the tangent follows it here."""


def tangents(case: str, t: Any) -> list[Any]:
    """The tangents of a case's floating results, with all floating operands as duals; None for none."""
    rng = np.random.default_rng(3)
    fw = t.autograd.forward_ad
    with fw.dual_level(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = operands(t, "float64", requires_grad=False)
        for name, x in names.items():
            if hasattr(x, "is_leaf") and x.is_floating_point() and name != "n":
                names[name] = fw.make_dual(x, t.tensor(np.asarray(rng.standard_normal(tuple(x.shape)))))
        names["n"] = names["c"].transpose(0, 2)
        t.manual_seed(0)
        steps, _, last = case.rpartition("; ")
        exec(steps, names)
        results = [y for y in flat(eval(last, names)) if hasattr(y, "detach") and y.is_floating_point()]
        slopes = [fw.unpack_dual(y).tangent for y in results]
        return [None if slope is None else slope.detach().numpy().copy() for slope in slopes]


@pytest.mark.parametrize("case", [case for case in CASES if case not in BACKWARD_IS_NO_TRANSPOSE])
def test_tangents_are_those_of_pytorch(torch: ModuleType, case: str) -> None:
    try:
        expected = tangents(case, torch)
    except PYTORCH_HAS_NONE:
        return
    found = tangents(case, retrograd)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        if ours is not None and theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)
        elif "scatter_reduce" not in case:  # where PyTorch has none, though there is one
            assert ours is None or not ours.any()
            assert theirs is None or not theirs.any()


# ---- programs ----------------------------------------------------------------------------------------------


def _operands(t: Any) -> tuple[Any, Any]:
    return t.tensor([0.5, -1.0, 2.0]), t.tensor([1.0, 3.0, -2.0])


def chain(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    with fw.dual_level():
        y = (fw.make_dual(x, v).exp() * 3).sum()
        return [*fw.unpack_dual(y), *fw.unpack_dual(y, level=0)]


def two_duals(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    with fw.dual_level():
        return fw.unpack_dual(fw.make_dual(x, v) * fw.make_dual(v, x) + x).tangent


def in_place(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    with fw.dual_level():
        d = fw.make_dual(x.clone(), v)
        before = d * 2
        d.mul_(3)
        d[0] = 7.0
        d[1:].add_(d[0])
        return [*fw.unpack_dual(d), *fw.unpack_dual(before)]


def entered_by_hand(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    level = fw.enter_dual_level()
    d = fw.make_dual(x, v, level=level)
    found = fw.unpack_dual(d * d).tangent
    fw.exit_dual_level(level=level)
    return [level, found, fw.unpack_dual(d).tangent]


def in_no_grad(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    w = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with t.no_grad(), fw.dual_level():
        primal, tangent = fw.unpack_dual(fw.make_dual(x, v) * w)
    return [primal, tangent, t.is_grad_enabled()]


def detached(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    with fw.dual_level():
        d = fw.make_dual(x, v)
        primal, tangent = fw.unpack_dual(d * d)
        return [fw.unpack_dual(y).tangent for y in (d.detach(), primal * 2, tangent * 2, x, d * 0)]


def reverse_over_forward(t: Any) -> Any:
    """The Hessian times a vector, and the gradient of the value."""
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    x.requires_grad_()
    with fw.dual_level():
        primal, tangent = fw.unpack_dual((fw.make_dual(x, v) ** 3).sum())
        hvp = t.autograd.grad(tangent, x, retain_graph=True)[0]
        slope = t.autograd.grad(primal, x)[0]
    return [hvp, slope, primal.requires_grad, tangent.requires_grad]


def by_the_tangent(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    v.requires_grad_()
    with fw.dual_level():
        tangent = fw.unpack_dual(fw.make_dual(x, v).sin()).tangent
    tangent.sum().backward()
    return v.grad


def decorated(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)

    @fw.dual_level()
    def slope(x: Any, v: Any) -> Any:
        return fw.unpack_dual(fw.make_dual(x, v).tanh()).tangent

    return [slope(x, v), slope(v, x)]


def of_a_layer(t: Any) -> Any:
    fw, (x, v) = t.autograd.forward_ad, _operands(t)
    t.manual_seed(3)
    layer = t.nn.Linear(3, 2)
    with fw.dual_level():
        duals = {name: fw.make_dual(p, t.ones_like(p)) for name, p in layer.named_parameters()}
        out = t.func.functional_call(layer, duals, (fw.make_dual(x, v),))
        return fw.unpack_dual(out).tangent.detach()


PROGRAMS = [
    chain, two_duals, in_place, entered_by_hand, in_no_grad, detached, reverse_over_forward, by_the_tangent,
    decorated, of_a_layer,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_does_what_it_does_with_pytorch(torch: ModuleType, program: Any) -> None:
    compare(program, torch)


ERRORS = [
    "fw.make_dual(x, v)",
    "fw.exit_dual_level()",
    "fw.exit_dual_level(level=2)",
    "fw.enter_dual_level(); fw.make_dual(x, v[:2])",
    "fw.enter_dual_level(); fw.make_dual(x.int(), v)",
    "fw.enter_dual_level(); fw.make_dual(x, v.int())",
    "fw.enter_dual_level(); fw.make_dual(fw.make_dual(x, v), v)",
    "fw.enter_dual_level(); fw.make_dual(fw.make_dual(x, v) * 2, v)",
    "fw.enter_dual_level(); fw.unpack_dual(2.0)",
    "fw.enter_dual_level(); fw.enter_dual_level()",
    "fw.enter_dual_level(); fw.make_dual(x, v, level=3)",
    "fw.enter_dual_level(); fw.unpack_dual(fw.make_dual(x, v), level=3)",
]


@pytest.mark.parametrize("case", ERRORS)
def test_misuse_is_told_in_pytorchs_words(torch: ModuleType, case: str) -> None:
    def program(t: Any) -> Any:
        fw, (x, v) = t.autograd.forward_ad, _operands(t)
        steps, _, last = case.rpartition("; ")
        try:
            exec(steps)
            return eval(last, {"fw": fw, "x": x, "v": v})
        finally:
            if steps:
                fw.exit_dual_level()

    compare(program, torch)


def test_a_dual_under_no_grad_is_refused() -> None:
    fw, x = retrograd.autograd.forward_ad, retrograd.ones(3)
    with fw.dual_level(), retrograd.no_grad(), pytest.raises(GradientError, match="open the level inside"):
        fw.make_dual(x, x)


@pytest.mark.parametrize(
    "program", ["(d * w).sin().sum()", "(d * w) @ w", "(d.softmax(0) * w).cumsum(0)", "(d[1:] * w[0]).exp()"]
)
def test_compiled_functions_do_what_eager_mode_does(program: str) -> None:
    fw = retrograd.autograd.forward_ad

    def slope(x: Any, v: Any, w: Any) -> Any:
        with fw.dual_level():
            return fw.unpack_dual(eval(program, {"d": fw.make_dual(x, v), "w": w}))

    results = []
    for function in (slope, retrograd.compile_grad(slope)):
        x, v = _operands(retrograd)
        w = retrograd.tensor([1.0, 2.0, 3.0], requires_grad=True)
        primal, tangent = function(x, v, w)
        (primal.sum() + tangent.sum()).backward()
        results.append([primal.detach().numpy(), tangent.detach().numpy(), w.grad])
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5)
