"""The ops: what each yields, its value, its derivative. Importing this package fills `ir.graph.OPS`."""

from retrograd.compiler.ops import contract, elementwise, index, reduce, scan, shape, sort, window

__all__ = ["contract", "elementwise", "index", "reduce", "scan", "shape", "sort", "window"]
