"""Weights that hooks compute before each call, and batch norms taken into the layer before, beside PyTorch's.

A program takes the library as `t`; a new one is a function of `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from side_by_side import compare

import retrograd as rg


def layer(t: Any, kind: str = "Linear") -> Any:
    t.manual_seed(0)
    return t.nn.Linear(4, 3).double() if kind == "Linear" else getattr(t.nn, kind)(2, 3, 2).double()


def operand(t: Any, m: Any) -> Any:
    shape = {"Linear": (2, 4), "Conv1d": (1, 2, 5)}.get(type(m).__name__, (1, 2, 3, 3))
    return t.sin(t.arange(float(np.prod(shape))).double()).reshape(shape)


def trained(t: Any, m: Any) -> list[Any]:
    """Two steps: what the module gives, its weight, parameters and their gradients."""
    found = []
    optimizer = t.optim.SGD(m.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        y = m(operand(t, m))
        (y * y).sum().backward()
        found += [y, m.weight, [name for name, _ in m.named_parameters()], [p.grad for p in m.parameters()]]
        optimizer.step()
    return [*found, *m.state_dict().values()]


def lengths(t: Any, kind: str, dim: int | None, name: str = "weight") -> Any:
    m = t.nn.utils.weight_norm(layer(t, kind), name, dim)
    found = [str(m), m.weight, [*m.state_dict()], *trained(t, m)]
    t.nn.utils.remove_weight_norm(m, name)
    return [*found, m.weight, [*m.state_dict()], m(operand(t, m))]


def spectral(t: Any, kind: str, **options: Any) -> Any:
    m = t.nn.utils.spectral_norm(layer(t, kind), **options)
    found = [str(m), m.weight, [*m.state_dict()], *trained(t, m), t.rand(1)]
    m.eval()
    found += [m(operand(t, m)), m.weight_u, m.weight_v]
    t.nn.utils.remove_spectral_norm(m)
    return [*found, m.weight, [*m.state_dict()], m(operand(t, m))]


def twice(t: Any, what: str) -> Any:
    attach = getattr(t.nn.utils, what)
    attach(attach(layer(t)))


def not_there(t: Any, what: str) -> Any:
    getattr(t.nn.utils, what)(layer(t))


def nothing_to_norm(t: Any) -> Any:
    t.nn.utils.spectral_norm(t.nn.Linear(3, 3, bias=False), "bias")


def normed(t: Any, norm: str, m: Any, features: int, affine: bool = True) -> tuple[Any, Any]:
    """A layer and a batch norm that has seen data, in evaluation."""
    bn = getattr(t.nn, norm)(features, affine=affine).double()
    for k in range(3):
        bn(m(operand(t, m) + k).detach())
    return m.eval(), bn.eval()


def fused(t: Any, kind: str, affine: bool = True, **options: Any) -> Any:
    m, bn = normed(t, "BatchNorm1d" if kind == "Conv1d" else "BatchNorm2d", layer(t, kind), 3, affine)
    one = t.nn.utils.fuse_conv_bn_eval(m, bn, **options)
    x = operand(t, m)
    return [one.weight, one.bias, one(x), t.allclose(one(x), bn(m(x)))]


def fused_linear(t: Any, features: int = 3) -> Any:
    m, bn = normed(t, "BatchNorm1d", layer(t), 3) if features == 3 else (layer(t).eval(), None)
    bn = bn or t.nn.BatchNorm1d(features).double().eval()
    one = t.nn.utils.fuse_linear_bn_eval(m, bn)
    return [one.weight, one.bias, one(operand(t, m))]


def fused_without_bias(t: Any) -> Any:
    w, b = t.nn.utils.fuse_conv_bn_weights(t.ones(2, 3, 1), None, t.ones(2), t.ones(2), 0.1, None, None)
    one = t.ones(2)
    v, c = t.nn.utils.fuse_linear_bn_weights(t.ones(2, 3), None, one, one, 0.1, one, one)
    return [w, b, v, c]


def clipped(t: Any) -> Any:
    x, y = t.ones(3).requires_grad_(), t.ones(2, 2).requires_grad_()
    (x * 3).sum().backward()
    (y * y).sum().backward()
    total = t.nn.utils.get_total_norm([x.grad, y.grad], 1.0)
    t.nn.utils.clip_grads_with_norm_([x, y], 2.0, total)
    before = [x.grad.clone(), y.grad.clone()]
    t.nn.utils.clip_grad_value_([x, y], 0.2)
    vector = t.nn.utils.parameters_to_vector([x, y])
    t.nn.utils.vector_to_parameters(vector * 2, [x, y])
    return [total, before, x.grad, y.grad, vector, x, y]


PROGRAMS: list[Callable[[Any], Any]] = [
    *(lambda t, d=dim: lengths(t, "Linear", d) for dim in (0, 1, -1, None)),
    lambda t: lengths(t, "Conv2d", 0), lambda t: lengths(t, "ConvTranspose2d", 1),
    lambda t: spectral(t, "Linear"), lambda t: spectral(t, "Linear", n_power_iterations=3, eps=1e-3),
    lambda t: spectral(t, "Linear", dim=1), lambda t: spectral(t, "Conv2d"),
    lambda t: spectral(t, "ConvTranspose2d"), lambda t: spectral(t, "Linear", n_power_iterations=0),
    lambda t: twice(t, "weight_norm"), lambda t: twice(t, "spectral_norm"), nothing_to_norm,
    lambda t: not_there(t, "remove_weight_norm"), lambda t: not_there(t, "remove_spectral_norm"),
    lambda t: fused(t, "Conv2d"), lambda t: fused(t, "Conv1d"), lambda t: fused(t, "Conv2d", affine=False),
    lambda t: fused(t, "ConvTranspose2d", transpose=True), fused_linear, lambda t: fused_linear(t, 1),
    lambda t: fused_linear(t, 2), fused_without_bias, clipped,
    lambda t: t.nn.utils.fuse_conv_bn_eval(layer(t, "Conv2d"), t.nn.BatchNorm2d(3)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)


def test_the_older_weight_norm_warns() -> None:
    with pytest.warns(FutureWarning, match="in favor of `torch.nn.utils.parametrizations.weight_norm`"):
        rg.nn.utils.weight_norm(layer(rg))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_a_compiled_function_trains_what_the_weight_is_made_of(kind: str) -> None:
    eager, traced = (getattr(rg.nn.utils, kind)(layer(rg)) for _ in range(2))

    @rg.compile_grad
    def loss(x: Any) -> Any:
        y = traced(x)
        return (y * y).sum()

    x = operand(rg, eager)
    for _ in range(2):
        y = eager(x)
        (y * y).sum().backward()
        loss(x).backward()
    for p, q in zip(eager.parameters(), traced.parameters(), strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-12)
    for p, q in zip(eager.buffers(), traced.buffers(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-12)
    assert traced.weight.shape == (3, 4)
    assert np.isfinite(traced.weight.detach().numpy()).all()
