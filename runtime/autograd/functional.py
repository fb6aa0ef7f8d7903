"""Products with Jacobians and Hessians of functions of Tensors, and the matrices themselves.

In flow a function and its operands (a Tensor, or a tuple of them), out flow Tensors in the same structure.
All is written with `grad`: a vjp is one backward pass, a jvp the vjp of the vjp (which is linear in its
cotangent). With `create_graph` the results can be differentiated again. Names and structures are those of
`torch.autograd.functional`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, GradientError, RequirementError, ShapeError, mirrored
from retrograd.compiler.ops.shape import concat, reshape
from retrograd.runtime.autograd.differentiation import grad
from retrograd.runtime.eager.copying import clone
from retrograd.runtime.modes import enable_grad
from retrograd.runtime.tensor import Tensor, new

Tensors = Tensor | tuple[Tensor, ...]
TensorFunction = Callable[..., Any]


def vjp(
    func: TensorFunction,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and the product of the cotangent `v` (of the outputs' shapes) with the Jacobian."""
    with enable_grad():
        operands, outputs, pack_in, pack_out = _called("vjp", func, inputs, create_graph, strict)
        vectors = _vectors("vjp", v, outputs, "the user-provided function returns")
        grads = _grads(outputs, operands, vectors, create_graph, strict)
    return pack_out(_finished(outputs, create_graph)), pack_in(_finished(grads, create_graph))


def jvp(
    func: TensorFunction,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and the product of the Jacobian with the tangent `v` (of the inputs' shapes)."""
    with enable_grad():
        operands, outputs, _, pack_out = _called("jvp", func, inputs, create_graph, strict)
        tangents = _vectors("jvp", v, operands, "the input to the user-provided function is")
        duals = tuple(_zeros(x).requires_grad_() for x in outputs)
        pulled = _grads(outputs, operands, duals, True, strict)
        pushed = _grads(pulled, duals, tangents, create_graph, strict)
    return pack_out(_finished(outputs, create_graph)), pack_out(_finished(pushed, create_graph))


def vhp(
    func: TensorFunction,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The output, a scalar, and the product of the vector `v` (of the inputs' shapes) with the Hessian."""
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def _hessian_product(
    name: str, func: TensorFunction, inputs: Tensors, v: Tensors | None, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    with enable_grad():
        operands, outputs, pack_in, pack_out = _called(name, func, inputs, create_graph, strict)
        _check_scalar(outputs, name)
        vectors = _vectors(name, v, operands, "the input to the user-provided function is")
        gradient = _grads(outputs, operands, (None,), True, strict)
        product = _grads(gradient, operands, vectors, create_graph, strict)
    return pack_out(_finished(outputs, create_graph)), pack_in(_finished(product, create_graph))


def hvp(
    func: TensorFunction,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The output and the product of the Hessian with `v`: that of `vhp`, since a Hessian is symmetric."""
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def jacobian(
    func: TensorFunction, inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Jacobian, of shape `output.shape + input.shape`; tuples of it where there are several of either.

    By rows, one backward pass for each element of the output, or ("forward-mode") by columns, one for each
    element of the inputs. `vectorize` changes nothing, but does not go with `strict`.
    """
    _check_strategy(strategy, strict, vectorize)
    with enable_grad():
        operands, outputs, pack_in, pack_out = _called("jacobian", func, inputs, create_graph, strict)
        blocks_of = _rows_of_jacobian if strategy == "reverse-mode" else _columns_of_jacobian
        blocks = [
            pack_in(_finished(blocks_of(output, operands, create_graph, strict), create_graph))
            for output in outputs
        ]
    return pack_out(tuple(blocks))


def hessian(
    func: TensorFunction, inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Hessian of a scalar function, of shape `input.shape + input.shape`; a tuple of tuples for several
    inputs. It is the Jacobian of the gradient, by the strategy that `jacobian` takes.
    """
    if outer_jacobian_strategy not in _STRATEGIES:
        raise RequirementError(mirrored('Expected strategy to be either "forward-mode" or "reverse-mode".'))
    _listed(inputs, "inputs", "hessian")

    def gradient(*operands: Tensor) -> Any:
        outputs, _ = _listed(func(*operands), _OUTPUTS, "hessian")
        _check_scalar(outputs, "hessian")
        grads = _grads(outputs, operands, (None,), True, strict)
        return grads if isinstance(inputs, tuple) else grads[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


_STRATEGIES = ("reverse-mode", "forward-mode")


def _check_strategy(strategy: str, strict: bool, vectorize: bool) -> None:
    if strategy not in _STRATEGIES:
        raise RequirementError(
            mirrored(
                'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has '
                'more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to '
                'use "reverse-mode".'
            )
        )
    if strict and vectorize:
        raise GradientError(
            mirrored(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported "
                "together. Please either set `strict=False` or `vectorize=False`."
            )
        )


def _rows_of_jacobian(
    output: Tensor, operands: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    """One backward pass for each element of the output."""
    count, shape = output.numel(), tuple(output.shape)
    rows = []
    for place in range(count):
        unit = np.zeros(count, output.dtype.numpy)
        unit[place] = 1
        rows.append(_grads((output,), operands, (new(unit.reshape(shape), output),), create_graph, strict))
    if not rows:
        return tuple(new(np.zeros((*shape, *x.shape), x.dtype.numpy), x) for x in operands)
    return tuple(
        reshape(concat([reshape(g, (1, *x.shape)) for g in column], 0), (*shape, *x.shape))
        for x, column in zip(operands, zip(*rows))
    )


def _columns_of_jacobian(
    output: Tensor, operands: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    """One pass for each element of the operands: the vjp is linear in its cotangent, and its vjp the jvp."""
    dual = _zeros(output).requires_grad_()
    pulled = _grads((output,), operands, (dual,), True, strict)
    blocks = []
    for x, gradient in zip(operands, pulled, strict=True):
        units = [new(unit.reshape(x.shape), x) for unit in np.eye(x.numel(), dtype=x.dtype.numpy)]
        columns = [_grads((gradient,), (dual,), (unit,), create_graph, strict)[0] for unit in units]
        blocks.append(_side_by_side(columns, output, x))
    return tuple(blocks)


def _side_by_side(columns: Sequence[Tensor], output: Tensor, x: Tensor) -> Tensor:
    """Columns of a Jacobian as the whole."""
    shape = (*output.shape, *x.shape)
    if not columns:
        return new(np.zeros(shape, output.dtype.numpy), output)
    whole: Tensor = reshape(concat([reshape(c, (output.numel(), 1)) for c in columns], 1), shape)
    return whole


# ---- what all have in common -------------------------------------------------------------------------------

Pack = Callable[[tuple[Any, ...]], Any]


_OUTPUTS = "outputs of the user-provided function"


def _called(
    name: str, func: TensorFunction, inputs: Tensors, create_graph: bool, strict: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Pack, Pack]:
    """The operands as they are differentiated, the outputs, and how each is handed back."""
    given, pack_in = _listed(inputs, "inputs", name)
    operands = tuple(
        clone(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in given
    )
    outputs, pack_out = _listed(func(*operands), _OUTPUTS, name)
    for place, output in enumerate(outputs):
        if strict and not output.requires_grad:
            raise GradientError(
                mirrored(
                    f"Output {place} of the user-provided function does not require gradients. The outputs "
                    "must be computed in a differentiable manner from the input when running in strict mode."
                )
            )
    return operands, outputs, pack_in, pack_out


def _listed(given: Any, what: str, name: str) -> tuple[tuple[Tensor, ...], Pack]:
    """The Tensors of what was given, and how as many are handed back."""
    wanted = f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the"
    if isinstance(given, Tensor):
        return (given,), lambda results: results[0]
    if not isinstance(given, tuple):
        raise ArgumentError(mirrored(f"{wanted} given {what} has type {type(given)}."))
    for place, x in enumerate(given):
        if not isinstance(x, Tensor):
            raise ArgumentError(mirrored(f"{wanted} value at index {place} has type {type(x)}."))
    return given, tuple


def _grads(
    outputs: Sequence[Tensor],
    operands: Sequence[Tensor],
    vectors: Sequence[Tensor | None],
    create_graph: bool,
    strict: bool,
) -> tuple[Tensor, ...]:
    """`grad` with the graph kept, where outputs may be constant; zeros for operands without influence."""
    live = [(y, v) for y, v in zip(outputs, vectors) if y.requires_grad]
    found: tuple[Tensor | None, ...] = (None,) * len(operands)
    if live:
        ys, vs = zip(*live)
        found = grad(ys, operands, vs, retain_graph=True, create_graph=create_graph, allow_unused=True)
    for place, g in enumerate(found):
        if g is None and strict:
            raise GradientError(f"The output of the user-provided function is independent of input {place}.")
    return tuple(g if g is not None else _zeros(x) for g, x in zip(found, operands))


def _vectors(name: str, v: Tensors | None, like: tuple[Tensor, ...], who: str) -> tuple[Tensor, ...]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise GradientError(
                mirrored(f"The vector v can only be None if {who} a single Tensor with a single element.")
            )
        return (new(np.ones(like[0].shape, like[0].dtype.numpy), like[0]),)
    vectors, _ = _listed(v, "v", name)
    if len(vectors) != len(like):
        raise ArgumentError(
            mirrored(
                "The given v should contain a single Tensor."
                if len(like) == 1
                else f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
            )
        )
    for place, (x, y) in enumerate(zip(vectors, like)):
        if x.shape != y.shape:
            entry = f"Entry {place} in v" if len(like) > 1 else "v"
            raise ShapeError(mirrored(f"{entry} has invalid size: should be {y.shape} but got {x.shape}."))
    return vectors


def _check_scalar(outputs: tuple[Tensor, ...], name: str) -> None:
    if len(outputs) != 1 or outputs[0].numel() != 1:
        raise ShapeError(
            mirrored(f"The Tensor returned by the function given to {name} should contain a single element")
        )


def _zeros(x: Tensor) -> Tensor:
    return new(np.zeros(x.shape, x.dtype.numpy), x)


def _finished(tensors: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    return tensors if create_graph else tuple(x.detach() for x in tensors)
