"""Derivatives of recorded operations: `backward`, `grad`, the modes, hooks, and Functions of the user's own.

In flow Tensors with a history, out flow gradients. `engine` walks the tape, `differentiation` asks it to;
`function` records a user's own operation; `functional` and `gradcheck` are built on `grad`. Names are
PyTorch's (`torch.autograd`).
"""

from __future__ import annotations

from retrograd.runtime.autograd import differentiation, engine, forward_ad, function, functional, graph
from retrograd.runtime.autograd.asking import (
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
)
from retrograd.runtime.autograd.differentiation import Variable, backward, grad, variable
from retrograd.runtime.autograd.function import Function, once_differentiable
from retrograd.runtime.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from retrograd.runtime.modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_multithreading_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
    set_multithreading_enabled,
)

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "backward",
    "detect_anomaly",
    "differentiation",
    "enable_grad",
    "engine",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_multithreading_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "variable",
]
