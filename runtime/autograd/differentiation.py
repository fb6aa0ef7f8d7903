"""`backward` and `grad`: what is asked of the tape.

In flow Tensors with a history and their cotangents, out flow gradients, into `.grad` or as a tuple. The walk
itself is `engine.Pass`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from retrograd.compiler.errors import ArgumentError, GradientError, RequirementError, mirrored, warn
from retrograd.compiler.ops.shape import concat, unsqueeze
from retrograd.runtime import tracing
from retrograd.runtime.autograd.edges import GradientEdge, stand_in
from retrograd.runtime.autograd.engine import Pass, accumulate, as_tensor
from retrograd.runtime.autograd.roots import roots_of
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.tape import Edge
from retrograd.runtime.modes import STATE
from retrograd.runtime.tensor import Tensor, method

Place = Tensor | GradientEdge
_PLACES = (Tensor, GradientEdge)
Tensors = Place | Sequence[Place] | dict[Any, Place]
Gradients = Tensor | Sequence[Tensor | None] | None


def backward(
    tensors: Tensors,
    grad_tensors: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Gradients = None,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they came from, or of `inputs` only.

    `grad_tensors` are the cotangents, with the tensors' shapes; a scalar needs none. Raises GradientError
    where there is no graph, or a freed one. `grad_variables` is an older name of `grad_tensors`.
    """
    if grad_variables is not None:
        warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning)
        if grad_tensors is not None:
            raise GradientError(
                mirrored(
                    "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. "
                    "Please only use `grad_tensors`."
                )
            )
        grad_tensors = grad_variables
    if create_graph and not tracing.depth:
        warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and "
            "its gradient which can cause a memory leak. We recommend using autograd.grad when creating the "
            "graph to avoid this. If you have to use this function, make sure to reset the .grad fields of "
            "your parameters to None after use to break the cycle and avoid the leak."
        )
    outputs = _several(tensors)
    seeds = _seeds(grad_tensors, len(outputs))
    keep = create_graph if retain_graph is None else retain_graph
    chosen = None if inputs is None else _several(inputs)
    if chosen is not None and not chosen:
        raise GradientError(mirrored("`inputs` argument to `backward()` cannot be empty."))
    wanted = None if chosen is None else frozenset(map(_edge, chosen))
    work = Pass(create_graph, keep, wanted)
    work.run(roots_of(outputs, seeds, create_graph))
    for x in chosen or ():
        if _edge(x) in work.found:
            accumulate(x, work.found.pop(_edge(x)))


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of `outputs` by `inputs`, one for each input; no `.grad` is touched.

    A dict of inputs gives a dict, all else a tuple. With `create_graph` they can be differentiated again. An
    input that the outputs do not depend on is an error, unless `allow_unused` (then its gradient is None) or
    `materialize_grads` (then zeros). `only_inputs` has no effect.
    """
    if not only_inputs:
        warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate "
            "gradient for other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
        )
    chosen = _listed(inputs)
    if not chosen:
        raise GradientError(mirrored("`inputs` argument to `grad()` cannot be empty."))
    _check_flags(create_graph if retain_graph is None else retain_graph, create_graph, allow_unused,
                 materialize_grads)  # fmt: skip
    results = _several(outputs)
    _check_ends(results, chosen)
    if is_grads_batched:
        found = _of_batch(
            results, chosen, grad_outputs, bool(retain_graph), create_graph, allow_unused, materialize_grads
        )
    else:
        found = _of_one(
            results, chosen, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads
        )
    return dict(zip(inputs, found, strict=True)) if isinstance(inputs, dict) else found


def _check_flags(keep: Any, create_graph: Any, allow_unused: Any, materialize_grads: Any) -> None:
    """What are no bools must at least be bytes, for which PyTorch's engine takes them."""
    flags = keep, create_graph, materialize_grads if allow_unused is None else allow_unused
    if {*map(type, flags)} != {bool}:
        array("B", flags)


def _check_ends(outputs: Sequence[Any], inputs: Sequence[Any]) -> None:
    for x in outputs:
        if not isinstance(x, Tensor):
            raise RequirementError(mirrored("Expected output to be a torch.Tensor"))
    for x in inputs:
        if not isinstance(x, _PLACES):
            kind = type(x).__name__
            raise GradientError(mirrored(f"all inputs have to be Tensors or GradientEdges, but got {kind}"))


def _of_one(
    results: tuple[Tensor, ...],
    inputs: tuple[Place, ...],
    grad_outputs: Gradients,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Tensor | None, ...]:
    if materialize_grads and allow_unused is False:
        raise ArgumentError(
            mirrored(
                "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                "allow_unused=False."
            )
        )
    roots = roots_of(results, _seeds(grad_outputs, len(results)), create_graph)
    ends = [_edge(x) for x in _several(inputs)]
    work = Pass(create_graph, create_graph if retain_graph is None else retain_graph, frozenset(ends))
    work.run(roots)
    found = [as_tensor(work.found.get(end)) for end in ends]
    if materialize_grads:
        return tuple(_zeros(x) if g is None else g for g, x in zip(found, inputs))
    if not allow_unused and None in [g if g is None else 0 for g in found]:
        place = next(k for k, g in enumerate(found) if g is None)
        raise GradientError(
            mirrored(
                f"The differentiated Tensor at index {place} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
        )
    return tuple(found)


def _of_batch(
    results: tuple[Tensor, ...],
    sources: tuple[Place, ...],
    grad_outputs: Gradients,
    keep: bool,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Tensor | None, ...]:
    """Those for each of several cotangents, which lie along a new first axis, and so do the gradients."""
    seeds = _seeds(grad_outputs, len(results))
    sizes = {len(seed) for seed in seeds if seed is not None}
    if len(sizes) != 1 or None in [seed if seed is None else 0 for seed in seeds]:
        raise ArgumentError(
            "grad(is_grads_batched=True)",
            "it needs cotangents of one length for all outputs",
            "give grad_outputs",
        )
    (count,) = sizes
    rows = [
        _of_one(
            results,
            sources,
            [seed[k] for seed in seeds if seed is not None],
            keep or k + 1 < count or create_graph,
            create_graph,
            allow_unused,
            materialize_grads,
        )
        for k in range(count)
    ]
    return tuple(
        None
        if None in [x if x is None else 0 for x in column]
        else concat([unsqueeze(x, [0]) for x in column], 0)
        for column in zip(*rows)
    )


@method("backward")
def _backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """`autograd.backward` of this Tensor."""
    if inputs is None and not (retain_graph or create_graph or tracing.depth or STATE.anomaly):
        node = self._edge
        if node is not None and self._view is None and node.at_once(gradient):
            return
    backward(self, gradient, retain_graph, create_graph, inputs=inputs)


_backward.__qualname__ = "Tensor.backward"  # which Python names where an argument is unknown


def variable(*args: Any, **kwargs: Any) -> Any:
    """What made Variables of numbers once: an error that says what does so now."""
    raise GradientError(mirrored("torch.autograd.variable(...) is deprecated, use torch.tensor(...) instead"))


class _Variables(type):
    """Every Tensor is an instance, and a call gives one."""

    def __call__(
        cls, data: Tensor | None = None, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        if volatile:
            warn("volatile was removed and now has no effect. Use `with torch.no_grad():` instead.")
            if requires_grad:
                raise ArgumentError(mirrored("Variable can't be volatile and require_grad at the same time!"))
        if data is None:
            return Tensor(()).requires_grad_(requires_grad)
        if not isinstance(data, Tensor):
            raise ArgumentError(
                mirrored(f"Variable data has to be a tensor, but got {type(data).__name__}"),
                "",
                "make one of it with tensor(data)",
            )
        return data.detach().requires_grad_(requires_grad)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Variables):
    """What Variables were before they became Tensors: `Variable(data, requires_grad)` is a leaf of the same
    elements, as `torch.autograd.Variable`.
    """


def _zeros(x: Place) -> Tensor:
    """The gradient of what is not used."""
    if isinstance(x, GradientEdge):
        raise GradientError(
            mirrored("materialize_grads cannot be used when the given input is a GradientEdge")
        )
    found: Tensor = (x.detach() * 0).zero_()
    return found


def _several(given: Any) -> tuple[Tensor, ...]:
    """The Tensors of what was given, or what stands for them."""
    if isinstance(given, Tensor):
        return (given,)
    return tuple([stand_in(x) if isinstance(x, GradientEdge) else x for x in _listed(given)])


def _listed(given: Any) -> tuple[Any, ...]:
    if isinstance(given, _PLACES):
        return (given,)
    if type(given) is tuple:
        return given
    if isinstance(given, dict):
        return tuple(given.values())
    if not isinstance(given, Iterable):
        raise ArgumentError(
            mirrored(f"'{type(given).__name__}' object is not iterable"),
            "",
            "give a Tensor, or a list of them",
        )
    return tuple(given)


def _seeds(given: Gradients, count: int) -> tuple[Tensor | None, ...]:
    if given is None or not count:  # nobody looks at gradients of nothing
        return (None,) * count
    seeds: tuple[Tensor | None, ...] = _several(given)
    for seed in seeds:
        if seed is not None and not isinstance(seed, Tensor):
            raise ArgumentError(
                mirrored(f"gradients can be either Tensors or None, but got {type(seed).__name__}")
            )
    if len(seeds) != count:
        raise GradientError(mirrored(f"got {count} tensors and {len(seeds)} gradients"))
    return seeds


def _edge(x: Tensor) -> Edge:
    if not x.requires_grad:
        raise GradientError(mirrored("One of the differentiated Tensors does not require grad"))
    return edge_of(x)
