"""The steps of images read at places (`compiler/ops/sampling.py`), by the kernels of `planes.py`.

In flow and out as in `own.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from retrograd.compiler.ir.graph import Array, Op
from retrograd.compiler.ops.sampling import BORDERS, Plane, PlaneSampler, PlaneSamplerAdjoint, PlaneTurn
from retrograd.runtime.native.small.own_kernels import step
from retrograd.runtime.native.small.steps import YIELDING, Steps


def _plane(steps: Steps, op: PlaneSampler, out: Array, image: Array, grid: Array) -> None:
    _sampled("plane", steps, op, [out, image, grid], image, True)


def _plane_adjoint(steps: Steps, op: PlaneSamplerAdjoint, out: Array, ct: Array, grid: Array) -> None:
    _sampled("plane adjoint", steps, op, [out, ct, grid], out, False)


def _plane_turn(steps: Steps, op: PlaneTurn, out: Array, ct: Array, image: Array, grid: Array) -> None:
    _sampled("plane turn", steps, op, [out, ct, image, grid], image, True)


def _sampled(name: str, steps: Steps, op: Plane, arrays: list[Array], image: Array, reads: bool) -> None:
    """Pixels beyond are read where a zero lies."""
    out, *given = arrays
    zeros = [steps.constant(np.zeros(1, out.dtype))] if reads else []
    how = [op.mode == "nearest", [*BORDERS].index(op.border), op.aligned]
    sizes = [*image.shape, prod(arrays[-1].shape[1:-1]), *map(int, how)]
    step(name, steps, [out, *map(steps.in_order, given), *zeros], sizes)


WRITERS: dict[type[Op], Callable[..., None]] = {
    PlaneSampler: _plane,
    PlaneSamplerAdjoint: _plane_adjoint,
    PlaneTurn: _plane_turn,
}
YIELDING[PlaneSampler] = 0
