"""Derivatives of the elementwise rows, worked out by SymPy: written by `python -m retrograd.compiler.ops.derive`.

One line per row, one text per operand, in x, y, z and `out` (the value). Do not edit: change the row and derive again.
"""

DERIVED: dict[str, tuple[str | None, ...]] = {
    "exp": ("out",),
    "log": ("1/x",),
}
