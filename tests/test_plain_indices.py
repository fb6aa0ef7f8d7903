"""Indices that hold masks among others, and NumPy's arrays and numbers: read as by PyTorch.

Each becomes places by number (`runtime/functions/indexing.py`), for which reading is planned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from function_cases import lines

import retrograd

READ = lines("""
    x[:, row]
    x[:, row, 1]
    x[0, row]
    x[row2, 1]
    x[pairs, 1]
    x[pairs, 1:3]
    x[:, :, column]
    x[..., column]
    x[:, row, [0, 3]]
    x[:, none]
    x[None, :, row]
    x[None, None, pairs]
    x[:, row, :2]
    x[[0, 1], row2]
    x[t.tensor([0, 1]), row, 2]
    x[np.array([0, 1])]
    x[np.array([True, False])]
    x[np.int64(1)]
    x[1, np.int32(2)]
    x[:, np.array([0, 2]), 1]
    x[:, :, np.array([0, 1], np.int32)]
    x[:, row[:2]]
    x[column]
    x[np.array([5])]
    x[np.array([0.5])]
""")


@pytest.mark.parametrize("line", READ)
def test_it_reads_as_in_pytorch(line: str, torch: Any) -> None:
    def found(t: Any) -> Any:
        x = t.arange(24.0).reshape(2, 3, 4).requires_grad_()
        masks = {"row": [1, 0, 1], "row2": [1, 1], "column": [1, 1, 0, 1], "pairs": [[1, 0, 1], [0, 0, 1]]}
        names = {name: t.tensor(mask) > 0 for name, mask in masks.items()}
        names |= {"t": t, "np": np, "x": x, "none": t.tensor([False] * 3)}
        for _ in range(4):
            x.grad = None
            try:
                read = eval(line, names)
            except IndexError as error:
                return str(error)
            (read * read).sum().backward()
        return read.tolist(), tuple(read.shape), read.grad_fn.name(), x.grad.tolist()

    assert found(retrograd) == found(torch)
