"""`mma.sync`: which thread of a warp holds which element of which matrix, and their product.

The fragments are those of NVIDIA's PTX ISA document, "Warp Level Matrix Instructions". With g = lane // 4
and t = lane % 4, pair after pair of 16-bit elements of A lie at rows g, g + 8 and columns 2t, 2t + 1 of each
8 × 8 block, those of B at rows 2t, 2t + 1 and column g, those of C and D at rows g, g + 8 and columns 2t, 2t
+ 1; elements of 32 bits lie one at a column (row, for B) t. A shape is a row of `_SHAPES`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ptx_floats import from_bf16, rounded

from retrograd.compiler.ir.graph import Array

_WARP = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """An instruction: D = A · B + C, of m × k and k × n matrices."""

    m: int
    n: int
    k: int
    element: str
    """Of A and B: f16, bf16, tf32 or f64."""
    result: str
    """Of C and D: f16, f32 or f64."""

    @property
    def registers(self) -> tuple[str, str, str]:
        """The types of the registers that hold A, B and C."""
        inner = "b64" if self.element == "f64" else "b32"
        return inner, inner, {"f16": "b32", "f32": "b32", "f64": "b64"}[self.result]


_SHAPES = {
    (m, n, k, element, result)
    for m, n, k, element, results in (
        (16, 8, 8, "f16", ("f16", "f32")), (16, 8, 16, "f16", ("f16", "f32")),
        (16, 8, 8, "bf16", ("f32",)), (16, 8, 16, "bf16", ("f32",)),
        (16, 8, 4, "tf32", ("f32",)), (16, 8, 8, "tf32", ("f32",)),
        (8, 8, 4, "f64", ("f64",)),
    )
    for result in results
}  # fmt: skip


def shape_of(modifiers: tuple[str, ...]) -> Shape | None:
    """`sync.aligned.m16n8k16.row.col.f32.f16.f16.f32` as a shape; None for what is not known."""
    if len(modifiers) != 9 or modifiers[:2] != ("sync", "aligned") or modifiers[3:5] != ("row", "col"):
        return None
    size, d, a, b, c = modifiers[2], *modifiers[5:]
    m, rest = size.removeprefix("m").split("n")
    n, k = rest.split("k")
    found = (int(m), int(n), int(k), a, d)
    return Shape(*found) if found in _SHAPES and a == b and c == d else None


def _places(rows: int, columns: int, bits: int) -> tuple[Array, Array]:
    """The row and column of each element of a thread, lane × element, of a matrix that is read by rows: a
    register holds neighbours of one row, and registers go down the rows of 8 × (some) blocks first, then to
    the right."""
    lane = np.arange(_WARP)
    group, place = lane // 4, lane % 4
    together = max(32 // bits, 1)
    found = [
        (group + down, place * together + across + one)
        for across in range(0, columns, 4 * together)
        for down in range(0, rows, 8)
        for one in range(together)
    ]
    return np.stack([r for r, _ in found], 1), np.stack([c for _, c in found], 1)


def _accumulator(rows: int, columns: int) -> tuple[Array, Array]:
    """The same of C and D: always two neighbours of one row, one row after the other."""
    lane = np.arange(_WARP)
    found = [
        (lane // 4 + down, lane % 4 * 2 + one + across)
        for across in range(0, columns, 8)
        for down in range(0, rows, 8)
        for one in range(2)
    ]
    return np.stack([r for r, _ in found], 1), np.stack([c for _, c in found], 1)


def _values(registers: Array, element: str) -> Array:
    """The elements of a thread's registers, as f64."""
    held = np.ascontiguousarray(registers)
    match element:
        case "f16":
            return held.view("f2").astype("f8")
        case "bf16":
            return from_bf16(held.view("u2")).astype("f8")
        case "tf32":
            return (held & np.uint32(0xFFFFE000)).view("f4").astype("f8")
        case "f32":
            return held.view("f4").astype("f8")
    return held.view("f8")


def product(shape: Shape, a: Array, b: Array, c: Array) -> Array:
    """The registers of D: threads × registers, of whole warps. Terms are summed in f64 and rounded once:
    hardware may sum in another order."""
    warps = len(a) // _WARP
    bits = {"f16": 16, "bf16": 16, "tf32": 32, "f64": 64}[shape.element]
    left = _matrix(_values(a, shape.element), warps, shape.m, shape.k, _places(shape.m, shape.k, bits))
    right = _matrix(_values(b, shape.element), warps, shape.n, shape.k, _places(shape.n, shape.k, bits))
    places = _accumulator(shape.m, shape.n)
    total = _matrix(_values(c, shape.result), warps, shape.m, shape.n, places) + left @ right.swapaxes(1, 2)
    held = total[:, places[0], places[1]].reshape(len(a), -1)
    narrow = np.ascontiguousarray(rounded(held, shape.result, "rn"))
    return narrow.view("u8" if shape.result == "f64" else "u4")


def _matrix(values: Array, warps: int, rows: int, columns: int, places: tuple[Array, Array]) -> Array:
    whole = np.zeros((warps, rows, columns))
    whole[:, places[0], places[1]] = values.reshape(warps, _WARP, -1)
    return whole
