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
_ATTEND = "F.scaled_dot_product_attention(q_2_8_128_64, k_2_8_128_64, x_2_8_128_64"
_SAMPLE = "F.grid_sample(X_{0}_{1}_{1}, X_{2}_{1}_{1}_2, align_corners=False)"
_FRACTIONAL_3D = "F.fractional_max_pool3d(X_2_8_12_16_16, 2, output_ratio=(0.6, 0.6, 0.6))"
_FRACTIONAL = "F.fractional_max_pool2d(X_4_16_32_32, 2, output_ratio=(0.6, 0.6))"

_SIZES = "64x256", "256x512", "1024x1024"
_BASIC = (
    ("x + y", "x_{0} + y_{0}"),
    ("x * 2", "x_{0} * 2.0"),
    ("x + row", "x_{0} + x_{0}[0]"),
    ("x * column", "x_{0} * x_{0}[:, :1]"),
    ("x - column of a part", "x_{0}[:, 1:] - x_{0}[:, :1]"),
    ("x ** 3", "x_{0} ** 3"),
    ("x ** 3, backward", "(X_{0} ** 3).backward(x_{0})"),
    ("x ** 0.5", "v_{0} ** 0.5"),
    ("addcmul", "T.addcmul(x_{0}, y_{0}, v_{0})"),
    ("diff", "T.diff(x_{0})"),
    ("smooth_l1_loss", "F.smooth_l1_loss(x_{0}, y_{0})"),
    ("smooth_l1_loss, backward", "F.smooth_l1_loss(X_{0}, y_{0}).backward()"),
    ("where", "T.where(x_{0} > 0, x_{0}, y_{0})"),
    ("tanh", "x_{0}.tanh()"),
    ("sum", "x_{0}.sum()"),
    ("sum of rows", "x_{0}.sum(-1)"),
    ("sum of columns", "x_{0}.sum(0)"),
    ("sum of a transposed one", "x_{0}.t().sum(0)"),
    ("max of a transposed one", "x_{0}.t().amax(-1)"),
    ("var of rows", "x_{0}.var(-1)"),
    ("prod of rows", "v_{0}.prod(-1)"),
    ("max of rows", "x_{0}.max(-1)"),
    ("argmax of columns", "x_{0}.argmax(0)"),
    ("logsumexp of rows", "x_{0}.logsumexp(-1)"),
    ("cumsum along rows", "x_{0}.cumsum(-1)"),
    ("softmax, backward", "F.softmax(X_{0}, -1).sum().backward()"),
    ("cross_entropy", "F.cross_entropy(x_{0}, x_{0}.argmax(-1))"),
    ("cross_entropy, backward", "F.cross_entropy(X_{0}, x_{0}.argmax(-1)).backward()"),
    ("layer_norm", "F.layer_norm(x_{0}, x_{0}.shape[1:], x_{0}[0], y_{0}[0])"),
    ("transposed copy", "x_{0}.t().contiguous()"),
    ("cat", "T.cat([x_{0}, y_{0}], 1)"),
    ("tril", "x_{0}.tril()"),
    ("flip", "x_{0}.flip(-1)"),
    ("gather", "x_{0}.gather(1, x_{0}.argsort(1))"),
    ("outer", "T.outer(x_{0}[:, 0], x_{0}[0])"),
    ("cdist of 64 rows", "T.cdist(x_{0}[:64], y_{0}[:64])"),
)
"""What every program does, by the sizes of an operand."""

MIDDLE: tuple[Row, ...] = (
    ("batch_norm 32x64", _NORM.format("x_32_64", 64, "g", "b"), 1),
    ("batch_norm 8x16x16x16", _NORM.format("x_8_16_16_16", 16, "g", "b"), 1),
    ("batch_norm 8x64x28x28", _NORM.format("x_8_64_28_28", 64, "g", "b"), 1),
    ("batch_norm 256x128, backward", _NORM.format("X_256_128", 128, "G", "B") + ".sum().backward()", 1),
    ("batch_norm 8x16x16x16, backward", _NORM.format("X_8_16_16_16", 16, "G", "B") + ".sum().backward()", 1),
    ("group_norm 4x8x8x8", "F.group_norm(x_4_8_8_8, 4, g_8, b_8)", 1),
    ("group_norm 8x32x16x16", "F.group_norm(x_8_32_16_16, 8, g_32, b_32)", 1),
    ("group_norm 8x32x16x16, backward", "F.group_norm(X_8_32_16_16, 8, G_32, B_32).sum().backward()", 1),
    ("conv3d 2x8x12x16x16", "F.conv3d(x_2_8_12_16_16, w_16_8_3_3_3, padding=1)", 1),
    ("conv3d 2x8x8x16x16, backward", "F.conv3d(X_2_8_8_16_16, W_9_8_3_3_3, padding=1).sum().backward()", 1),
    ("gelu 256x256", "F.gelu(x_256_256)", 1),
    ("gelu 1024x1024", "F.gelu(x_1024_1024)", 1),
    ("attention 2x8x128x64", f"{_ATTEND})", 1),
    ("attention 1x12x512x64", f"{_ATTEND.replace('2_8_128', '1_12_512')})", 1),
    ("scores 2x8x128x64", "q_2_8_128_64 @ k_2_8_128_64.transpose(-1, -2)", 1),
    ("attention 2x4x64x32, causal", f"{_ATTEND.replace('8_128_64', '4_64_32')}, is_causal=True)", 1),
    ("attention 2x8x128x64, causal", f"{_ATTEND}, is_causal=True)", 1),
    ("max_pool2d 4x32x56x56 by 3, backward", "F.max_pool2d(X_4_32_56_56, 3, 2, 1).sum().backward()", 1),
    ("max_pool3d 2x8x16x16x16, backward", "F.max_pool3d(X_2_8_16_16_16, 2).sum().backward()", 1),
    ("nearest 4x16x32x32, backward", "F.interpolate(X_4_16_32_32, scale_factor=2).sum().backward()", 1),
    ("grid_sample 2x3x32x32", "F.grid_sample(x_2_3_32_32, x_2_32_32_2, align_corners=False)", 1),
    ("grid_sample 2x3x32x32, backward", f"{_SAMPLE.format('2_3', '32', 2)}.sum().backward()", 1),
    (
        "grid_sample 2x3x32x32, nearest",
        f"{_SAMPLE.format('2_3', '32', 2)[:-1]}, mode='nearest')",
        1,
    ),
    ("grid_sample 4x8x64x64, backward", f"{_SAMPLE.format('4_8', '64', 4)}.sum().backward()", 1),
    ("grid_sample 4x8x64x64", "F.grid_sample(x_4_8_64_64, x_4_64_64_2, align_corners=False)", 1),
    ("adaptive_avg_pool2d 8x32x65x65", "F.adaptive_avg_pool2d(x_8_32_65_65, 7)", 1),
    ("adaptive_avg_pool2d, backward", "F.adaptive_avg_pool2d(X_8_32_65_65, 7).sum().backward()", 1),
    ("adaptive_max_pool2d, backward", "F.adaptive_max_pool2d(X_8_32_65_65, 7).sum().backward()", 1),
    ("fractional_max_pool3d, backward", f"{_FRACTIONAL_3D}.sum().backward()", 1),
    ("fractional_max_pool2d, backward", f"{_FRACTIONAL}.sum().backward()", 1),
    ("fold 4x72x900", "F.fold(x_4_72_900, (32, 32), 3)", 1),
    ("fold 2x64x256", "F.fold(x_2_64_256, (32, 32), 2, stride=2)", 1),
    ("rrelu 256x256", "F.rrelu(x_256_256, training=True)", 1),
    ("erfinv 1000", "T.special.erfinv(x_1000)", 1),
    ("erfinv 100000", "T.special.erfinv(x_100000)", 1),
    ("gammaln 1024x1024", "T.special.gammaln(v_1024_1024)", 1),
    *[(f"{name} {size}", code.format(size.replace("x", "_")), 1) for name, code in _BASIC for size in _SIZES],
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
    retrograd.set_num_threads(1)
    table(MIDDLE, names(retrograd), names(torch))
