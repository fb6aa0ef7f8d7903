"""Scans of float32 that are carried on in float64, as PyTorch's are on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler import dtypes
from retrograd.compiler.ir.graph import Value, apply, register
from retrograd.compiler.ops.composite import Composite
from retrograd.compiler.ops.scan import Cumprod, Cumsum, Logcumsumexp, Scan
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import record


@register
@record
class WideScan(Composite):
    """A scan of floats that is carried on in float64, and rounded at each place."""

    name = "wide_scan"
    kind: str
    """The name of the scan."""
    axis: int
    reverse: bool = False

    @property
    def title(self) -> str:
        return self.kind.capitalize()

    @property
    def scan(self) -> Scan:
        """The one of float64."""
        return KINDS[self.kind](self.axis, self.reverse)

    def formula(self, *values: Value) -> Value:
        (x,) = values
        return cast(apply(self.scan, cast(x, dtypes.float64)), dtypes.of(x))

    def adjoint(
        self, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> Sequence[Value | None]:
        if self.kind != "cumsum":
            return super().adjoint(cotangent, out, inputs, needed)
        return [apply(WideScan("cumsum", self.axis, not self.reverse), cotangent)]


KINDS: dict[str, type[Scan]] = {scan.name: scan for scan in (Cumsum, Cumprod, Logcumsumexp)}
"""The scans, by name."""


def scan(kind: str, x: Value, axis: int, reverse: bool = False) -> Value:
    """The scan of that name."""
    return apply(KINDS[kind](axis, reverse), x)


def wide_scan(kind: str, x: Value, axis: int, reverse: bool = False) -> Value:
    """The scan of that name, carried on in float64."""
    return apply(WideScan(kind, axis, reverse), x)
