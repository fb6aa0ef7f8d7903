"""Cotangents as PyTorch's functions of them, where derivatives of derivatives are wanted.

In flow what an op's rule gave and the Tensors that it looked at; out flow cotangents with the history that
PyTorch shows. To the rule of what is linear in pieces an operand is a condition, of which nothing has a
derivative; in PyTorch the rule is an op of the operand, with a derivative of zeros. The names of these
functions are in `grad_names.IN_PIECES`; where the rule's last step is called otherwise, in `TWICE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.grad_names import IN_PIECES
from retrograd.runtime.tensor import Tensor

_ALWAYS = np.asarray(True)

TWICE = {
    **{f"{name}Backward0": f"{name}BackwardBackward0" for name in (
        "Sigmoid", "Tanh", "Softplus", "MseLoss", "HuberLoss", "SmoothL1Loss", "Gelu", "Elu", "LeakyRelu",
        "Hardswish", "Hardtanh", "LogSigmoid", "Hardshrink", "Softshrink", "Threshold", "SoftMarginLoss",
    )},
    "ReluBackward0": "ThresholdBackwardBackward0", "CeluBackward0": "EluBackwardBackward0",
    "PowBackward0": "MulBackward0",
    "PowBackward2": "MulBackward0", "AsinhBackward0": "MulBackward0", "MishBackward0": "MulBackward0",
    "SoftmaxBackward0": "SoftmaxBackwardDataBackward0",
    "LogSoftmaxBackward0": "LogSoftmaxBackwardDataBackward0",
    "NllLossBackward0": "LogSoftmaxBackwardDataBackward0",
}  # fmt: skip
"""What a cotangent's node is called that a node of this name gave."""


def as_steps_of(
    name: str, op: str, found: Sequence[Value | None], looked_at: Sequence[Value]
) -> Sequence[Value | None]:
    """The cotangents that the node of this name and op gave."""
    if not IN_PIECES.isdisjoint((name, op)):
        found = depending(found, looked_at)
    shown = TWICE.get(name)
    for g in found if shown else ():
        edge: Any = g._edge if isinstance(g, Tensor) else None
        if hasattr(edge, "shown"):
            edge.shown = shown
    return found


def depending(found: Sequence[Value | None], looked_at: Sequence[Value]) -> list[Value | None]:
    """The cotangents; one without a history has that of an operand of its shape."""
    kept = [x for x in looked_at if isinstance(x, Tensor) and x._requires_grad]
    return [_beside(g, kept) if isinstance(g, Tensor) and not g._requires_grad else g for g in found]


def _beside(g: Tensor, kept: Sequence[Tensor]) -> Value:
    like = next((x for x in kept if (x.shape, x.dtype) == (g.shape, g.dtype)), None)
    return g if like is None else rows.where(_ALWAYS, g, like)
