"""What eager operations cost on tensors of middle and large sizes, where kernels count, here and in PyTorch.

    OMP_NUM_THREADS=1 python benchmarks/eager_middle.py [part of a label …]

In flow the snippets of `MIDDLE`, on one thread; out flows the table of `eager_overhead.py`. An array is named
where a snippet needs it, a letter and its shape: `x_4_16_32_32`; with a capital letter it requires grad.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np
import torch
from eager_overhead import Row, table

import retrograd

_NORM = "F.batch_norm({0}, m_{1}, v_{1}, {2}_{1}, {3}_{1}, training=True)"

MIDDLE: tuple[Row, ...] = (
    ("batch_norm 32x64", _NORM.format("x_32_64", 64, "g", "b"), 1),
    ("batch_norm 8x16x16x16", _NORM.format("x_8_16_16_16", 16, "g", "b"), 1),
    ("batch_norm 8x64x28x28", _NORM.format("x_8_64_28_28", 64, "g", "b"), 1),
    ("batch_norm 256x128, backward", _NORM.format("X_256_128", 128, "G", "B") + ".sum().backward()", 1),
    ("batch_norm 8x16x16x16, backward", _NORM.format("X_8_16_16_16", 16, "G", "B") + ".sum().backward()", 1),
    ("group_norm 4x8x8x8", "F.group_norm(x_4_8_8_8, 4, g_8, b_8)", 1),
    ("group_norm 8x32x16x16", "F.group_norm(x_8_32_16_16, 8, g_32, b_32)", 1),
    ("group_norm 8x32x16x16, backward", "F.group_norm(X_8_32_16_16, 8, G_32, B_32).sum().backward()", 1),
)
"""What, how, and how many operations it is."""


def names(T: Any) -> dict[str, Any]:
    """What the snippets name, made with one library or the other."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"T": T, "F": T.nn.functional}
    code = " ".join(snippet for _, snippet, _ in MIDDLE)
    for name in sorted(set(re.findall(r"\b[a-zA-Z](?:_\d+)+\b", code))):
        shape = [int(size) for size in name.split("_")[1:]]
        values = rng.uniform(0.1 if name[0] == "v" else -1, 1, prod(shape)).astype(np.float32)
        found[name] = T.from_numpy(values.reshape(shape)).requires_grad_(name[0].isupper())
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    table(MIDDLE, names(retrograd), names(torch))
