"""`program.ptx()`: kernels to be read, without a GPU and without a driver."""

from __future__ import annotations

import re

import pytest

import retrograd as t
from retrograd.compiler.errors import ArgumentError


@t.compile_grad
def network(x: t.Tensor, w1: t.Tensor, w2: t.Tensor, y: t.Tensor) -> t.Tensor:
    hidden = (x @ w1).clamp(min=0)
    return (hidden @ w2 - y).pow(2).sum()


SIZES = (8, 20), (20, 12), (12, 4), (8, 4)
KERNEL = re.compile(r"((?:^//.*\n)+)^\.visible \.entry (\w+)\(", re.MULTILINE)


def kernels(of: str, arch: str = "sm_90") -> dict[str, list[str]]:
    """The comments above each kernel, by its name."""
    program = network.trace(*(t.ones(*size, requires_grad=True) for size in SIZES))
    text = program.ptx(arch, of)
    assert f".target {arch}" in text
    assert "demoted" not in text
    return {name: above.splitlines() for above, name in KERNEL.findall(text)}


@pytest.mark.parametrize("of", ["", "graph", "adjoint", "joint"])
def test_each_kernel_stands_below_what_it_computes(of: str) -> None:
    lines = [network.__wrapped__.__code__.co_firstlineno + k for k in (2, 3)]
    found = kernels(of)
    assert found
    for name, (computes, parameters, *where) in found.items():
        op, size = re.fullmatch(r"// (\w+): (\d+ blocks? of \d+ threads.*)", computes).groups()  # type: ignore[union-attr]  # it matches
        assert op in name
        assert size
        assert re.fullmatch(r"// \((\w+: \w+\[\d+\](, )?)+\)", parameters)
        assert {f"// test_program_ptx.py:{line}" for line in lines} >= set(where) != set()


def test_value_and_gradients_of_a_scalar_are_what_is_run() -> None:
    assert kernels("") == kernels("joint") != kernels("graph")
    assert all(name.startswith("network_vjp_") for name in kernels("adjoint"))


def test_any_gpu_that_is_known_can_be_named() -> None:
    assert kernels("", "sm_75") == kernels("", "sm_100")
    with pytest.raises(ArgumentError, match="code for the GPU 'sm_1'; it is not known; choose one of sm_75"):
        kernels("", "sm_1")
    with pytest.raises(ArgumentError, match="no such graph; name one of 'graph', 'adjoint', 'joint'"):
        kernels("both")
