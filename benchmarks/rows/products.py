"""Matrix products: squares of several sizes. `benchmarks/gemm.py`, where it is, looks closer."""

from __future__ import annotations

from typing import Any

import numpy as np
from contenders import normal, value
from harness import Row


def product(lib: Any, a: Any, b: Any) -> Any:
    return a @ b


ROWS = tuple(
    Row(
        f"gemm_{size}_{short}",
        f"matrix product, {size}³ {short}",
        value(
            lambda size=size, dtype=dtype: normal((size, size), (size, size), dtype=dtype),
            product,
            np.matmul,
            torch_too=False,
        ),
        goal=2 if size <= 64 else 1,
    )
    for dtype, short in (("float32", "f32"), ("float64", "f64"))
    for size in (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
)
