"""SymPy at the front door: a formula as something to call, and what was traced as a formula.

    f = from_sympy(expression, (x, y))   a function of Tensors, arrays, numbers: call or compile it
    to_sympy(f.trace(…).graph)           the formula of a graph: of a value, or of its gradients

The translation is the compiler's (`compiler/symbolic.py`); here operands are bound and promoted as users of
Tensors expect, and a formula's result is of the kind that its operands are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import symbolic
from retrograd.compiler.dtypes import default_dtype, float64
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.ir.graph import Graph
from retrograd.runtime.eager.promotion import as_operand, common_dtype, to_common
from retrograd.runtime.tensor import Tensor


def from_sympy(expression: Any, arguments: Sequence[Any], *, name: str = "formula") -> Callable[..., Any]:
    """A function that computes a SymPy expression: of Tensors, arrays or numbers, which broadcast.

    `expression` is what `sympy.sympify` takes: an expression, its text, a matrix (whose r rows and c columns
    become the first axes, `[r, c, …]`), or a list or tuple of these, which gives a tuple. `arguments` are the
    symbols, or their names, in the order of the function's parameters. Operands are promoted to one floating
    dtype. With a Tensor among them the result is a Tensor, with a history as ever; else it is an array, or a
    float. What the formula says twice is computed once.
    Raises ArgumentError for a symbol that is no argument, and for a function that has no derivative here.
    """
    compute = symbolic.function(expression, arguments)

    @functools.wraps(compute)
    def formula(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs).args
        operands = [as_operand(name, x) for x in bound]
        tensors = any(isinstance(x, Tensor) for x in bound)
        dtype = common_dtype(operands) if any(isinstance(x, Tensor) for x in operands) else float64
        if not dtype.is_floating_point:
            dtype = default_dtype() if tensors else float64
        give = functools.partial(_as_tensor, dtype.numpy) if tensors else _plain
        result = compute(*to_common(operands, dtype))
        return tuple(map(give, result)) if isinstance(result, tuple) else give(result)

    signature = inspect.signature(compute)
    formula.__name__ = formula.__qualname__ = name
    return formula


def _as_tensor(dtype: np.dtype[Any], result: Any) -> Tensor:
    """A formula without symbols is a number."""
    return result if isinstance(result, Tensor) else Tensor(np.asarray(result, dtype))


def _plain(result: Any) -> Any:
    """The result for somebody who works without Tensors."""
    array = np.asarray(result.numpy() if isinstance(result, Tensor) else result)
    return array if array.ndim else array.item()


def to_sympy(graph: Graph) -> Any:
    """The formula of a graph, as `f.trace(…).graph`, `.adjoint` or `.joint`: one expression for one output,
    else a tuple.

    The symbols bear the names of the graph's inputs; an input of shape [2, 3] called `w` is made of w_0_0 …
    w_1_2, and an output with axes is a SymPy array. Made for graphs whose elements a person can read.
    Raises ArgumentError for an op whose elements are no formulas of its operands, such as a sort.
    """
    if not isinstance(graph, Graph):
        raise ArgumentError(
            f"to_sympy of {type(graph).__name__}",
            "it reads a graph",
            "pass f.trace(…).graph, or its .adjoint",
        )
    found = symbolic.to_sympy(graph)
    return found[0] if len(found) == 1 else found
