"""`special`'s functions without derivatives: Bessel's, Airy's, orthogonal polynomials, rows of the table.

Tensors in, tensors out, of float32 or float64; whole numbers become the default dtype. The results have no
history, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, NotWrittenError, mirrored
from retrograd.compiler.ir.graph import apply
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.bessel import FORMULAS
from retrograd.compiler.ops.orthogonal import FAMILIES
from retrograd.runtime.eager.promotion import common_dtype
from retrograd.runtime.functions.creation import full_like
from retrograd.runtime.functions.public import public
from retrograd.runtime.functions.rows import ROWS
from retrograd.runtime.functions.shaping import broadcast_tensors
from retrograd.runtime.functions.updating import write_out
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor


def _operand(name: str, x: Tensor, dtype: dtypes.DType) -> Tensor:
    kind = dtype if dtype.is_floating_point else dtypes.default_dtype()
    if kind.itemsize < 4:
        raise NotWrittenError(mirrored(f"\"{name}_cpu\" not implemented for '{bare_legacy_name(kind)}'"))
    found: Tensor = moves.cast(x.detach(), kind)
    return found


def _of_one(name: str) -> Callable[..., Tensor]:
    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        found = apply(ROWS[name], _operand(name, input, input.dtype))
        return found if out is None else write_out(out, found)

    return function


def _of_degrees(name: str) -> Callable[..., Tensor]:
    def function(x: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        given = [v for v in (x, n) if isinstance(v, Tensor)]
        if not given:
            raise ArgumentError(f"{name}({x!r}, {n!r})", "one of x and n must be a Tensor")
        kind = common_dtype((x, n))
        whole = [v if isinstance(v, Tensor) else full_like(given[0].detach(), v, dtype=kind) for v in (x, n)]
        left, right = broadcast_tensors(*(_operand(name, v, kind) for v in whole))
        found = apply(ROWS[name], left, right)
        return found if out is None else write_out(out, found)

    return function


def _entered(name: str) -> Callable[..., Tensor]:
    function = _of_degrees(name) if name in FAMILIES else _of_one(name)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` of each element; without a derivative."
    return public(name, function=False, replay=True)(function)


PHYSICS = {name: _entered(name) for name in (*FORMULAS, *FAMILIES)}
"""Under their public names."""
