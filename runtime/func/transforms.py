"""Functions of functions: gradients, products with Jacobians, Jacobians and Hessians.

In flow a function of nested Tensors, out flows a function. All is written with `autograd.grad` and `vmap`: a
vjp is one backward pass, a jvp one forward pass, and a Jacobian either of them for all directions at once.
What a transformed function gives has a history where what it was given, or uses, has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import wraps
from itertools import count
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.rows import rows
from retrograd.compiler.ops.shape import cast
from retrograd.runtime.autograd import grad as gradients
from retrograd.runtime.autograd import inference_mode
from retrograd.runtime.autograd.forward import is_pushed, pushed
from retrograd.runtime.eager.opnodes import OpNode
from retrograd.runtime.eager.tape import Edge, Output
from retrograd.runtime.func.vmap import vmap
from retrograd.runtime.modes import STATE
from retrograd.runtime.pytree import Structure, flatten, unflatten
from retrograd.runtime.tensor import Tensor, new

Function = Callable[..., Any]
Places = int | tuple[int, ...]
Blocks = Iterable[Sequence[Tensor]]
"""Of a Jacobian: for each output, those of all arguments."""
_MADE, _counted = "_made_by_transform", count()
"""An attribute of a transform's own Tensors: their place in the order in which they are made."""


# ---- Tensors of one's own ----------------------------------------------------------------------------------


def _own(x: Tensor) -> Tensor:
    """The same elements as a Tensor whose gradient is that of this use alone."""
    if not x.dtype.is_inexact:
        raise DtypeError(mirrored("only Tensors of floating point dtype can require gradients"))
    if x.requires_grad and not _is_outside(x):
        return x.clone()
    return (x.clone() if x.is_inference() else _alone(x)).requires_grad_()


def _is_outside(x: Tensor) -> bool:
    """Whether it is of the world outside of a function under `vmap`, which keeps its own history of it."""
    trace = STATE.trace
    return trace is not None and trace.at_once and not trace.owns(x)


def _alone(x: Tensor) -> Tensor:
    """The same elements without a history, but for that which the world outside keeps."""
    trace = STATE.trace
    return Tensor(trace.lift(x)) if trace is not None and trace.at_once else x.detach()


def _owned(value: Any) -> tuple[Any, list[Tensor]]:
    """A nested value with Tensors of its own, and these."""
    leaves: list[Tensor] = []
    structure = flatten(value, leaves, (Tensor,))
    own = [_own(x) for x in leaves]
    for x in own:
        vars(x)[_MADE] = next(_counted)
    return unflatten(structure, iter(own)), own


def settled(found: Sequence[Tensor], own: Sequence[Tensor]) -> list[Tensor]:
    """Without a history, where it would lead to nothing but the Tensors that were made here, or later: in
    transforms of which this one is around."""
    if not STATE.grad:
        return [_alone(x) for x in found]
    led, first = dict[int, bool](), min((vars(x)[_MADE] for x in own), default=math.inf)
    return [x if x.requires_grad and _leads_on(x.grad_fn or x, led, first) else _alone(x) for x in found]


def _shown(value: Any, own: Sequence[Tensor]) -> Any:
    """A nested value, whose Tensors are settled."""
    leaves: list[Tensor] = []
    structure = flatten(value, leaves, (Tensor,))
    return unflatten(structure, iter(settled(leaves, own)))


def _leads_on(start: Edge, led: dict[int, bool], first: float) -> bool:
    """Whether an edge of the tape leads to a leaf that no transform made, or one before the first of this;
    `led` keeps which do."""
    stack: list[Edge] = [start]
    while stack:
        edge = stack[-1]
        below = [x for x in getattr(edge, "edges", ()) if x is not None]
        unknown = [x for x in below if id(x) not in led]
        if unknown and id(edge) not in led:
            stack += unknown
            continue
        stack.pop()
        if id(edge) not in led:
            older = isinstance(edge, Tensor) and vars(edge).get(_MADE, -1) < first
            led[id(edge)] = older or any(led[id(x)] for x in below)
    return led[id(start)]


def _is_of_more(outputs: Sequence[Tensor], sources: Sequence[Tensor]) -> bool:
    """Whether derivatives of the outputs may have a history that leads to more than these leaves: so do other
    leaves, and what only a user's Function or hook knows."""
    mine = {id(x) for x in sources if x.is_leaf and x._leaf is None}
    stack: list[Edge] = [y.grad_fn or y for y in outputs]
    seen: set[int] = set()
    while stack:
        edge = stack.pop()
        if edge is None or id(edge) in seen or id(edge) in mine:
            continue
        if not (isinstance(edge, OpNode | Output) or is_pushed(edge)) or edge.hooks is not None:
            return True
        seen.add(id(edge))
        stack += edge.edges
    return False


def _zeros(x: Tensor) -> Tensor:
    """Of its shape, whatever it holds."""
    alone = x.detach()
    zeros: Tensor = cast(rows.lt(alone, alone), x.dtype)
    return zeros


def gradients_of(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], seeds: Sequence[Tensor | None]
) -> list[Tensor]:
    """Those of the outputs by the sources; with a history, where one would lead to anything else."""
    pairs = [(y, seed) for y, seed in zip(outputs, seeds, strict=True) if y.requires_grad]
    if not pairs:
        return [_zeros(x) for x in sources]
    ys, given = [y for y, _ in pairs], [seed for _, seed in pairs]
    with _history(ys, sources, given) as history:
        found = gradients(ys, sources, given, retain_graph=True, create_graph=history, allow_unused=True)
    return [_zeros(x) if g is None else g for g, x in zip(found, sources)]


def tangents_of(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], directions: Sequence[Tensor]
) -> list[Tensor]:
    """Those of the outputs where those of the sources are the directions; with a history likewise."""
    with _history(outputs, sources, directions) as history:
        found = pushed(outputs, sources, directions, history)
    return [_zeros(y) if t is None else t for t, y in zip(found, outputs)]


@contextmanager
def _history(
    outputs: Sequence[Tensor], sources: Sequence[Tensor], given: Sequence[Tensor | None]
) -> Iterator[bool]:
    """Whether what a pass over the outputs' history gives is to have one itself. Under a `vmap` that has not
    made the outputs, the world outside has it, or else nobody."""
    seeds = [x for x in given if x is not None]
    more = STATE.grad and (_is_of_more(outputs, sources) or any(x.requires_grad for x in seeds))
    if not _is_outside(outputs[0]):
        yield more
        return
    whole = STATE.trace.whole
    goes_on = more or (STATE.grad and any(whole(x).tracked for x in seeds))
    with STATE.trace.recorded_outside() if goes_on else nullcontext():
        yield any(x.requires_grad for x in seeds)


def _at(args: tuple[Any, ...], argnums: Places) -> Any:
    """The arguments of these numbers: one alone, or a tuple."""
    for k in (argnums,) if isinstance(argnums, int) else argnums:
        if not -len(args) <= k < len(args):
            raise ArgumentError(mirrored(f"Got argnum={k}, but only {len(args)} positional inputs"))
    return args[argnums] if isinstance(argnums, int) else tuple(args[k] for k in argnums)


def _with(args: tuple[Any, ...], argnums: Places, values: Any) -> list[Any]:
    """The arguments with others in these places."""
    changed = list(args)
    for k, value in [(argnums, values)] if isinstance(argnums, int) else zip(argnums, values):
        changed[k] = value
    return changed


def _outputs(value: Any, lead: str) -> tuple[list[Tensor], Structure]:
    """The Tensors of a nested result; it must have nothing else."""
    leaves: list[Any] = []
    structure = flatten(value, leaves, (Tensor, float, int, str, np.ndarray))
    for x in leaves:
        if not isinstance(x, Tensor):
            raise ArgumentError(mirrored(f"{lead} to return only tensors, got unsupported type {type(x)}"))
    return leaves, structure


_PAIRED = {"jacrev": "vjp(f, *primals)", "jacfwd": "jvp(f, primals, tangents)"}
"""What PyTorch calls what is asked for a pair on behalf of these."""


def _parted(result: Any, has_aux: bool, name: str) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ArgumentError(
            mirrored(f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True")
        )
    return result


# ---- gradients ---------------------------------------------------------------------------------------------


def grad_and_value(func: Function, argnums: Places = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func` by some of its arguments, and its value."""

    @wraps(func)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        with inference_mode(False):
            chosen, own = _owned(_at(args, argnums))
            output, aux = _parted(
                func(*_with(args, argnums, chosen), **kwargs), has_aux, "grad_and_value(f)(*args)"
            )
            lead = "grad_and_value(f)(*args): Expected f(*args) to return a"
            if not isinstance(output, Tensor):
                raise ArgumentError(mirrored(f"{lead} Tensor, got {type(output)}"))
            if output.ndim:
                raise ShapeError(
                    mirrored(
                        f"{lead} scalar Tensor, got tensor with {output.ndim} dims. Maybe you wanted to use "
                        "the vjp or jacrev APIs instead?"
                    )
                )
            found = gradients_of([output], own, [None])
        shaped = flatten(chosen, [], (Tensor,))
        gradient = unflatten(shaped, iter(settled(found, own)))
        (value,) = settled([output], own)
        return (gradient, (value, _shown(aux, own))) if has_aux else (gradient, value)

    return transformed


def grad(func: Function, argnums: Places = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func`, whose value is one number, by some of its arguments."""
    both = grad_and_value(func, argnums, has_aux)

    @wraps(func)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return transformed


# ---- products with the Jacobian ----------------------------------------------------------------------------


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The outputs, and a function from cotangents, nested as they are, to the products with the Jacobian."""
    with inference_mode(False):
        arguments, own = _owned(primals)
        result, aux = _parted(func(*arguments), has_aux, "vjp(f, *primals)")
        outputs, structure = _outputs(result, "vjp(f, *primals): expected f(*primals)")
    shaped = flatten(primals, [], (Tensor,))

    def pullback(cotangents: Any) -> Any:
        seeds: list[Any] = []
        if flatten(cotangents, seeds, (Tensor,)) != structure:
            raise ArgumentError(
                "vjp: the cotangents",
                "they are not nested as the function's outputs are",
                "give one for each",
            )
        with inference_mode(False):
            found = gradients_of(outputs, own, seeds)
        return unflatten(shaped, iter(settled(found, own)))

    shown = unflatten(structure, iter(settled(outputs, own)))
    return (shown, pullback, _shown(aux, own)) if has_aux else (shown, pullback)


def jvp(func: Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """The outputs, and their derivatives in the direction of the tangents."""
    if not isinstance(primals, tuple):
        raise ArgumentError(
            mirrored(
                "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call "
                "f(*primals)."
            )
        )
    directions: list[Tensor] = []
    if flatten(tangents, directions, (Tensor,)) != flatten(primals, [], (Tensor,)):
        raise ArgumentError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure"
        )
    with inference_mode(False):
        arguments, own = _owned(primals)
        for x, direction in zip(own, directions, strict=True):
            if x.shape != direction.shape:
                raise ShapeError(
                    mirrored(
                        "Trying to set a forward gradient that has a different size than that of the "
                        f"original Tensor, this is not supported. Tensor is of size {list(x.shape)} while "
                        f"the given forward gradient is of size {list(direction.shape)}."
                    )
                )
        result, aux = _parted(func(*arguments), has_aux, "jvp(f, primals, tangents)")
        outputs, structure = _outputs(result, "jvp(f, primals, tangents): Expected f(*primals)")
        along = tangents_of(outputs, own, directions)
    shown, slopes = (unflatten(structure, iter(settled(x, own))) for x in (outputs, along))
    return (shown, slopes, _shown(aux, own)) if has_aux else (shown, slopes)


def linearize(func: Function, *primals: Any) -> Any:
    """The outputs, and the function from tangents to their derivatives."""

    def pushforward(*tangents: Any) -> Any:
        return jvp(func, primals, tangents)[1]

    return func(*primals), pushforward


# ---- Jacobians ---------------------------------------------------------------------------------------------


def _basis(shapes: Sequence[Tensor]) -> list[Tensor]:
    """All directions of several Tensors: of each `[total, *shape]`, one element 1 in each row."""
    total = sum(x.numel() for x in shapes)
    whole = np.eye(total)
    found, start = [], 0
    for x in shapes:
        part = whole[:, start : start + x.numel()].reshape(total, *x.shape)
        found.append(new(part.astype(x.dtype.numpy), x))
        start += x.numel()
    return found


def _cut(rows: Tensor, shapes: Sequence[Tensor]) -> list[Tensor]:
    """Rows for all directions, apart by the Tensor that they are directions of: `[*shape, …]`."""
    found, start = [], 0
    for x in shapes:
        part = moves.narrow(rows, 0, start, start + x.numel())
        found.append(moves.reshape(part, (*x.shape, *rows.shape[1:])))
        start += x.numel()
    return found


def jacrev(
    func: Function, argnums: Places = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Function:
    """The Jacobian by some arguments, by one vjp for all directions of the outputs: `output.shape +
    argument.shape`, nested as the outputs, then as the arguments.
    """

    def blocks(outputs: Sequence[Tensor], own: Sequence[Tensor]) -> Blocks:
        def pulled(*seeds: Tensor) -> list[Tensor]:
            return gradients_of(outputs, own, seeds)

        columns = settled(vmap(pulled, chunk_size=chunk_size)(*_basis(outputs)), own)
        return zip(*[_cut(column, outputs) for column in columns], strict=True)

    return in_blocks(func, argnums, has_aux, "jacrev", blocks)


def jacfwd(
    func: Function, argnums: Places = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Function:
    """`jacrev` by one jvp for all directions of the arguments."""

    def blocks(outputs: Sequence[Tensor], own: Sequence[Tensor]) -> Blocks:
        def pushed_on(*directions: Tensor) -> list[Tensor]:
            return tangents_of(outputs, own, directions)

        rows = settled(vmap(pushed_on, randomness=randomness)(*_basis(own)), own)
        return [[_turned(part, x.ndim) for part, x in zip(_cut(row, own), own)] for row in rows]

    return in_blocks(func, argnums, has_aux, "jacfwd", blocks)


def in_blocks(
    func: Function, argnums: Places, has_aux: bool, name: str,
    blocks: Callable[[Sequence[Tensor], Sequence[Tensor]], Blocks],
) -> Function:  # fmt: skip
    """What gives the blocks of outputs and of the Tensors that they are made of, nested."""

    @wraps(func)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        with inference_mode(False):
            chosen, own = _owned(_at(args, argnums))
            result, aux = _parted(
                func(*_with(args, argnums, chosen), **kwargs), has_aux, _PAIRED.get(name, name)
            )
            outputs, outer = _outputs(result, f"{name}: expected f(*args)")
            found = blocks(outputs, own)
        inner = flatten(chosen, [], (Tensor,))
        jacobian = unflatten(outer, iter([unflatten(inner, iter(row)) for row in found]))
        return (jacobian, _shown(aux, own)) if has_aux else jacobian

    return transformed


def _turned(block: Tensor, count: int) -> Tensor:
    """The first axes last."""
    turned: Tensor = moves.permute(block, (*range(count, block.ndim), *range(count)))
    return turned


def hessian(func: Function, argnums: Places = 0) -> Function:
    """The second derivatives of a function."""
    return jacfwd(jacrev(func, argnums), argnums)
