"""Matrix products: squares, the first document's shapes with their adjoints, every transposition, vectors and
thin sides, batches; one and two threads. `benchmarks/gemm.py`, where it is, looks closer."""

from __future__ import annotations

from typing import Any

import numpy as np
from contenders import normal, value
from harness import Row

ROUNDS, PLACEMENTS = 5, 5
SQUARES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
TRANSPOSED = (64, 256, 1024)
DOCUMENT = {
    "forward": (64, 1000, 100, "NN"),
    "scores": (64, 100, 10, "NN"),
    "hidden_adjoint": (64, 10, 100, "NT"),
    "w1_adjoint": (1000, 64, 100, "TN"),
    "w2_adjoint": (100, 64, 10, "TN"),
}
"""What the two-layer network multiplies, forwards and backwards: rows, inner positions, columns, layout."""

THIN = {
    "matvec_1000": (1000, 1000, 1, "NN"),
    "matvec_4000": (4000, 4000, 1, "NN"),
    "vecmat_1000": (1, 1000, 1000, "NN"),
    "vecmat_4000": (1, 4000, 4000, "NN"),
    "few_rows": (10, 1000, 1000, "NN"),
    "short_inner": (1000, 10, 1000, "NN"),
}
"""A matrix and a vector, and sides of ten."""
BATCHES = {16: 1000, 32: 1000, 64: 100}
"""Squares of a batch, and how many there are."""


def products(layout: str) -> Any:
    """The product of two operands that lie so in memory: T is transposed."""

    def product(lib: Any, a: Any, b: Any) -> Any:
        left, right = (x.T if side == "T" else x for x, side in zip((a, b), layout))
        return left @ right

    return product


def row(name: str, shape: tuple[int, int, int], layout: str, short: str, threads: int) -> Row:
    m, k, n = shape
    a, b = (m, k) if layout[0] == "N" else (k, m), (k, n) if layout[1] == "N" else (n, k)
    product, dtype = products(layout), {"f32": "float32", "f64": "float64"}[short]
    size = f"{m}³" if m == k == n else f"{m} × {k} by {k} × {n}"
    marks = {"N": "", "T": "ᵀ"}
    lies = "" if layout == "NN" else f" A{marks[layout[0]]}·B{marks[layout[1]]}"
    about = f"matrix product{lies}, {size} {short}"
    return Row(
        f"gemm_{name}_{short}" + ("_alone" if threads == 1 else ""),
        about + (", 1 thread" if threads == 1 else ""),
        value(
            lambda: normal(a, b, dtype=dtype),
            product,
            lambda a, b: product(np, a, b),
            torch_too=False,
        ),
        threads=threads,
        goal=2 if m == k == n and m <= 64 else 1,
        rounds=ROUNDS,
        placements=PLACEMENTS if 1 in (m, n) else 1,
    )


def batch(n: int, count: int, threads: int) -> Row:
    """So many products of squares at once."""
    return Row(
        f"gemm_batch_{n}_f32" + ("_alone" if threads == 1 else ""),
        f"{count} matrix products at once, {n}³ f32" + (", 1 thread" if threads == 1 else ""),
        value(
            lambda: normal((count, n, n), (count, n, n), dtype="float32"),
            lambda lib, a, b: a @ b,
            lambda a, b: a @ b,
            torch_too=False,
        ),
        threads=threads,
        goal=1,
        rounds=ROUNDS,
    )


ROWS = (
    *(row(f"{n}", (n, n, n), "NN", short, t) for t in (2, 1) for short in ("f32", "f64") for n in SQUARES),
    *(row(f"{n}_{lies}", (n, n, n), lies, "f32", 1) for n in TRANSPOSED for lies in ("NT", "TN", "TT")),
    *(row(name, shape, lies, "f32", t) for t in (2, 1) for name, (*shape, lies) in (DOCUMENT | THIN).items()),
    *(batch(n, count, t) for t in (2, 1) for n, count in BATCHES.items()),
)
