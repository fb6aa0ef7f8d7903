"""`testing.assert_close`: the same verdicts as PyTorch's, in its words.

A pair is a line of `PAIRS`: the arguments of `assert_close`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from function_cases import lines

import retrograd as rg

PAIRS = lines("""
    T([1., 2, 3]), T([1., 2, 4])
    T([1., 2, 3]), T([1., 2, 3.000001])
    T([1., 2, 3]), T([1., 2])
    T([1., 2, 3]), T([1, 2, 3])
    T(1.), T(2.)
    T(1), T(2)
    1., 2.
    1, 2
    1, 1.
    True, False
    True, True
    None, 1
    None, None
    [T(1.), T(2.)], [T(1.), T(3.)]
    {"a": T([1., 2.])}, {"a": T([1., 3.])}
    {"a": 1}, {"b": 1}
    {"b": 1, "a": [2]}, {"a": [2], "b": 1}
    [1, 2], [1]
    (1,), [1]
    "a", "b"
    1., T(1.)
    T([1, 2]), T([1, 3])
    T([1, 2]), T([1, 3]), dict(rtol=0, atol=1)
    T([1, 2]), T([1, 3]), dict(rtol=1)
    T([1, 2]), T([1, 3]), dict(atol=1)
    T([True]), T([False])
    T([nan]), T([nan])
    T([nan]), T([nan]), dict(equal_nan=True)
    T([1., inf]), T([1., 2])
    T([inf]), T([inf])
    T([0., 1]), T([1e-3, 0])
    T([1.]), T([2.]), dict(msg="hi")
    T([1.]), T([2.]), dict(msg=lambda m: "so: " + m)
    T([[1., 2]]), T([[1., 2.3]]), dict(rtol=.1, atol=.0)
    [T(1.), [T(2.), 3]], [T(1.), [T(2.), 4]]
    np.ones(3), np.ones(3) * 2
    np.ones(3), T(np.ones(3))
    np.float32(1), np.float32(2)
    T([1], dtype=t.int8), T([1], dtype=t.int16), dict(check_dtype=False)
    T([1], dtype=t.int8), T([3], dtype=t.uint8), dict(check_dtype=False)
    T([1.]).double(), T([2.]), dict(check_dtype=False)
    T([[1., 2], [3, 4]]), T([[1., 3], [2, 4]]).t(), dict(check_stride=True)
    T([[1., 2], [3, 4]]), T([[1., 3], [2, 4]]).t()
    1., nan
    0., 1.
    1., 0.
    T([1.]), T([0.])
    T([1., 2]).half(), T([1., 2.1]).half()
    T([1., 2]).half(), T([1., 2.001]).half()
    T([]), T([])
    T([1.]), "a"
    [T([1., 2]), T([1., 2])], [T([1., 3]), T([1., 3])]
    T([[1., 2], [3, 4]]).requires_grad_(), T([[1., 2], [3, 5]])
""")


def verdict(t: Any, line: str) -> Exception | None:
    names = {"t": t, "T": t.tensor, "np": np, "nan": float("nan"), "inf": float("inf")}
    first, second, *options = eval(line, names)
    try:
        t.testing.assert_close(first, second, **(options[0] if options else {}))
    except (AssertionError, TypeError, ValueError) as error:
        return error
    return None


def words(error: Exception | None) -> str:
    """The text, with PyTorch's name of the class of Tensors."""
    return str(error).replace("retrograd.Tensor", "torch.Tensor")


@pytest.mark.parametrize("line", PAIRS)
def test_verdicts_are_pytorchs(line: str, torch: ModuleType) -> None:
    expected, found = verdict(torch, line), verdict(rg, line)
    assert isinstance(found, type(expected))
    assert words(found) == words(expected)
