"""Cotangents of functions that are linear in pieces, where derivatives of derivatives are wanted.

In flow what an op's rule gave and the Tensors that it looked at; out flow cotangents with a history. To the
rule such an operand is a condition, of which nothing has a derivative; in PyTorch the rule is an op of the
operand, with a derivative of zeros. The names of the functions are in `grad_names.IN_PIECES`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.tensor import Tensor

_ALWAYS = np.asarray(True)


def depending(found: Sequence[Value | None], looked_at: Sequence[Value]) -> list[Value | None]:
    """The cotangents; one without a history has that of an operand of its shape."""
    kept = [x for x in looked_at if isinstance(x, Tensor) and x._requires_grad]
    return [_beside(g, kept) if isinstance(g, Tensor) and not g._requires_grad else g for g in found]


def _beside(g: Tensor, kept: Sequence[Tensor]) -> Value:
    like = next((x for x in kept if (x.shape, x.dtype) == (g.shape, g.dtype)), None)
    return g if like is None else rows.where(_ALWAYS, g, like)
