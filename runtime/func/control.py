"""`cond`, `while_loop` and `scan`: branches and loops as functions of functions.

In flow predicates, functions and their operands; out flows what the chosen function, or the last turn, gives.
Eagerly they are what they say: `if`, `while` and `for`. In a compiled function a loop is one node of its
graph (`loops.py`), whatever the number of its turns, and so is its derivative. The predicate of `cond` is
looked at as `if` would: the path is that of the arguments at hand, and another is compiled when it is taken;
but in a turn of a loop both are compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, ShapeError
from retrograd.compiler.ir.graph import Type
from retrograd.runtime.func import loops
from retrograd.runtime.functions.joining import stack
from retrograd.runtime.modes import STATE
from retrograd.runtime.pytree import Structure, flatten, labels, unflatten
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace

NUMBERS = (bool, int, float)


def cond(
    pred: bool | int | float | Tensor,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """`true_fn(*operands)` if the predicate is true, else `false_fn(*operands)`.

    Where the predicate is another one in each turn of a compiled loop, both give Tensors of the same types.
    """
    trace = loops.written_down(operands)
    if trace is not None and isinstance(pred, Tensor) and trace.turns_change(pred):
        return _branch(trace, pred, true_fn, false_fn, operands)
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> tuple[Any, ...]:
    """`carried = body_fn(*carried)` as long as `cond_fn(*carried)`; the last of them, as a tuple.

    What is carried are Tensors, nested as one likes, or numbers. In a compiled function it keeps shapes and
    dtypes from turn to turn, and numbers come back as Tensors, unless `cond_fn` looks at numbers alone.
    """
    carried = tuple(carried_inputs)
    go = cond_fn(*carried)
    trace = loops.written_down(carried)
    if trace is not None and isinstance(go, Tensor):
        return _while(trace, cond_fn, body_fn, carried, go)
    while bool(go):
        carried = _as_tuple(body_fn(*carried))
        go = cond_fn(*carried)
    return carried


def _as_tuple(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def _while(
    trace: Trace,
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    carried: tuple[Any, ...],
    go: Tensor,
) -> tuple[Any, ...]:
    leaves: list[Any] = []
    structure = flatten(carried, leaves, (Tensor, *NUMBERS))
    inits = [_as_tensor(trace, x) for x in leaves]
    kinds = [trace.lift(x).type for x in inits]

    def turn(given: list[Tensor], _: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        found = _as_tuple(body_fn(*unflatten(structure, iter(given))))
        left = _carried_on(trace, "while_loop", found, structure, kinds)
        return left, [], _condition(trace, cond_fn(*unflatten(structure, iter(left))))

    names = _names(body_fn, structure)
    body = loops.traced(trace, "while_loop", list(zip(names, kinds)), [], turn)
    results = loops.repeat(trace, body, inits, [], "while", _condition(trace, go))
    return tuple(unflatten(structure, iter(results)))


def scan(
    combine_fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    *,
    dim: int = 0,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = combine_fn(carry, x)` for each `x` of `xs` along `dim`: the last carry, all `y` stacked.

    `init`, `xs` and what comes back are Tensors, nested as one likes; all of `xs` have the same size along
    `dim`. With `reverse` the last `x` comes first, and each `y` stands where its `x` does.
    Raises ArgumentError where there is nothing to go through, ShapeError where sizes differ.
    """
    rows: list[Tensor] = []
    shape = flatten(xs, rows, (Tensor,))
    dim, turns = _gone_through(rows, dim)
    trace = loops.written_down(rows)
    if trace is not None:
        return _scan(trace, combine_fn, init, rows, shape, dim, turns, reverse)
    carry, made = init, []
    for turn in reversed(range(turns)) if reverse else range(turns):
        carry, y = _pair(combine_fn(carry, unflatten(shape, iter([x.select(dim, turn) for x in rows]))))
        leaves: list[Any] = []
        structure = flatten(y, leaves, (Tensor,))
        made.append(leaves)
    stacked = [stack(each[::-1] if reverse else each, dim) for each in zip(*made, strict=True)]
    return carry, unflatten(structure, iter(stacked))


def _scan(
    trace: Trace,
    combine_fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    rows: list[Tensor],
    shape: Structure,
    dim: int,
    turns: int,
    reverse: bool,
) -> tuple[Any, Any]:
    leaves: list[Any] = []
    structure = flatten(init, leaves, (Tensor, *NUMBERS))
    inits = [_as_tensor(trace, x) for x in leaves]
    kinds = [trace.lift(x).type for x in inits]
    xs = [x.movedim(dim, 0) if dim else x for x in rows]
    of_rows = [Type(t.shape[1:], t.dtype) for t in (trace.lift(x).type for x in xs)]
    stacked: list[Structure] = []

    def turn(given: list[Tensor], x: list[Tensor]) -> tuple[list[Tensor], list[Tensor], None]:
        carry, y = _pair(combine_fn(unflatten(structure, iter(given)), unflatten(shape, iter(x))))
        each: list[Any] = []
        stacked.append(flatten(y, each, (Tensor,)))
        return _carried_on(trace, "scan", carry, structure, kinds), each, None

    names = _names(combine_fn, (tuple, (), (structure, shape)))
    carried = list(zip(names, kinds))
    body = loops.traced(trace, "scan", carried, list(zip(names[len(kinds) :], of_rows)), turn)
    results = loops.repeat(trace, body, inits, xs, turns, backwards=reverse)
    ys = [y.movedim(0, dim) if dim else y for y in results[len(kinds) :]]
    return unflatten(structure, iter(results)), unflatten(stacked[0], iter(ys))


def _branch(
    trace: Trace,
    pred: Tensor,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any],
) -> Any:
    """Two loops, of which one makes a turn and the other one none: so what is not chosen is not computed, and
    has no part in the derivative."""
    go = _condition(trace, pred)
    arms = [_arm(trace, function, operands) for function in (true_fn, false_fn)]
    (one, structure), (other, _) = arms
    kinds = [[trace.lift(x).type for x in body.left] for body, _ in arms]
    if arms[1][1] != structure or kinds[0] != kinds[1]:
        given = " and ".join(", ".join(map(str, each)) or "nothing" for each in kinds)
        raise ArgumentError(
            f"cond, whose functions give {given}",
            "in a loop's turn both give the same structure, shapes and dtypes",
        )
    held = [loops.zeros(trace, x) for x in one.left]
    for body, chosen in ((one, go), (other, go.logical_not())):
        held = loops.repeat(trace, body, held, [], "while", chosen)
    return unflatten(structure, iter(held))


def _arm(trace: Trace, function: Callable[..., Any], operands: Sequence[Any]) -> tuple[loops.Body, Structure]:
    """A function as the only turn of a loop, and the structure of what it gives."""
    found: list[Structure] = []

    def turn(*_: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        leaves: list[Any] = []
        found.append(flatten(function(*operands), leaves, (Tensor, *NUMBERS)))
        return [_as_tensor(trace, x) for x in leaves], [], _as_tensor(trace, False)

    body = loops.traced(trace, "cond", [], [], turn)
    held = [loops.placeholder(trace, "held", trace.lift(x).type, STATE.grad) for x in body.left]
    return replace(body, carried=held), found[0]


# ---- what functions are given, and give --------------------------------------------------------------------


def _gone_through(rows: Sequence[Tensor], dim: int) -> tuple[int, int]:
    """The dimension counted from the front, and its size."""
    if not rows:
        raise ArgumentError(
            "scan over no tensor", "the number of turns is not known", "pass xs, such as arange(n)"
        )
    if any((x.ndim != rows[0].ndim and dim < 0) or not -x.ndim <= dim < x.ndim for x in rows):
        shapes = ", ".join(str(list(x.shape)) for x in rows)
        raise ShapeError(f"scan along dim {dim} of tensors of shapes {shapes}", "not all have that dimension")
    dim %= rows[0].ndim
    sizes = list(dict.fromkeys(x.shape[dim] for x in rows))
    if len(sizes) > 1:
        raise ShapeError(
            f"scan along dim {dim} of tensors of sizes {' and '.join(map(str, sizes))}", "they differ there"
        )
    if not sizes[0]:
        raise ArgumentError(f"scan along dim {dim} of size 0", "there is no turn that says what it gives")
    return dim, sizes[0]


def _pair(found: Any) -> tuple[Any, Any]:
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ArgumentError(
            f"scan's function, which returns a {type(found).__name__}",
            "it gives the carry for the next turn, and what is kept of this one",
            "return (carry, y); y may be None",
        )
    return found[0], found[1]


def _as_tensor(trace: Trace, x: Any) -> Tensor:
    """A Tensor, or a number as one."""
    if isinstance(x, Tensor):
        return x
    kind = dtypes.default_dtype().numpy if isinstance(x, float) else None
    return Tensor(trace.builder.constant(np.asarray(x, kind)))


def _condition(trace: Trace, go: Any) -> Tensor:
    """What a predicate gives, as one bool."""
    found = _as_tensor(trace, go)
    if found.numel() != 1:
        raise ShapeError(f"a loop's condition of shape {list(found.shape)}", "it is one bool")
    one: Tensor = found.reshape(()).bool()
    return one


def _carried_on(
    trace: Trace, name: str, found: Any, structure: Structure, kinds: Sequence[Type]
) -> list[Tensor]:
    """What a turn leaves, as Tensors of the types that the next one takes."""
    leaves: list[Any] = []
    got = flatten(found, leaves, (Tensor, *NUMBERS))
    if got != structure:
        raise ArgumentError(
            f"{name}, whose body returns something of another structure than it is given",
            f"{len(leaves)} leaves for {len(kinds)}",
            "return what the next turn takes, nested alike",
        )
    left = [x if isinstance(x, Tensor) else _as_tensor(trace, x) for x in leaves]
    left = [x if isinstance(y, Tensor) else x.to(kind.dtype) for x, y, kind in zip(left, leaves, kinds)]
    for place, (x, kind) in enumerate(zip(left, kinds)):
        if trace.lift(x).type != kind:
            raise ArgumentError(
                f"{name}, whose body leaves {trace.lift(x).type} where it was given {kind} (number {place})",
                "what is carried has the same shape and dtype in all turns",
                "convert it before the loop, or at the end of the body",
            )
    return left


def _names(function: Callable[..., Any], structure: Structure) -> list[str]:
    """A name for each leaf that a function takes, after its parameters."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # builtins may not tell
        parameters = []
    parts = structure[2]
    own = parameters if len(parameters) == len(parts) else [f"carried{k}" for k in range(len(parts))]
    return [name for part, each in zip(parts, own) for name in labels(part, each)]
