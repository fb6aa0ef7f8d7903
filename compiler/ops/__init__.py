"""The ops: what each yields, its value, its derivative. Importing this package fills `ir.graph.OPS`."""

from retrograd.compiler.ops import contract, elementwise, reduce, shape

__all__ = ["contract", "elementwise", "reduce", "shape"]
