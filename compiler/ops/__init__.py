"""The ops: what each yields, its value, its derivative. Importing this package fills `ir.graph.OPS`."""

from retrograd.compiler.ops import (
    composite,
    contract,
    cross_entropy,
    elementwise,
    index,
    losses,
    normal,
    reduce,
    scan,
    shape,
    softmax,
    sort,
    statistics,
    window,
)

__all__ = [
    "composite",
    "contract",
    "cross_entropy",
    "elementwise",
    "index",
    "losses",
    "normal",
    "reduce",
    "scan",
    "shape",
    "softmax",
    "sort",
    "statistics",
    "window",
]
