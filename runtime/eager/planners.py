"""Plans of functions that write into their operands, and the table of all plans.

In flow and out as in `plans.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Builder, Node, order
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.axes import bits, origins, probe, rearranged
from retrograd.runtime.eager.numbers import alone, draws, judging, places_by_weights, trials
from retrograd.runtime.eager.plans import (
    answer,
    choice,
    conversion,
    copy,
    picks,
    places,
    selection,
    truth,
    values,
    view,
)
from retrograd.runtime.eager.retaking import again
from retrograd.runtime.eager.steps import Plan, arrays_of, stand_ins, steps, taking
from retrograd.runtime.eager.tallies import tallies
from retrograd.runtime.eager.wholes import of_graph
from retrograd.runtime.modes import no_grad
from retrograd.runtime.native.small import one_pass
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace


def updates(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """The elements that the function writes into its operands, where nothing is recorded; else the function
    itself. It gives back one of them, or nothing.
    """
    found = _writing(f, args, kwargs)
    if found is None or not found[3]:
        return None
    out, given, trace, written = found
    inputs = trace.builder.inputs
    if out is not None and given is None:
        return None
    nodes = [*written.values()]
    compute = arrays_of(inputs, nodes)
    if len(nodes) == 1:
        compute = one_pass.overwriting(inputs, nodes[0], compute) or compute
    return calls.update(compute, len(inputs), [*written], given, again(f, args, kwargs))


def results_and_updates(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str
) -> Plan | None:
    """As `steps`, and as `updates` of what the function writes into its operands without a history, if any.
    The result is made of what is written, not of what was there."""
    found = _writing(f, args, kwargs)
    if found is None or not found[3]:
        return None if found is None else steps(f, args, kwargs, shown)
    out, given, trace, written = found
    if given is not None or not isinstance(out, Tensor) or not isinstance(out._value, Node) or trace.detached:
        return None
    changed, node = _after(trace.builder.inputs, out._value, written)
    if node is None or node in changed:
        return None
    result = taking(changed, out, [node], of_graph(shown, args, kwargs, changed, [node]))
    whole, inputs = again(f, args, kwargs), trace.builder.inputs
    update = calls.update(
        arrays_of(inputs, [*written.values()]), len(inputs), [*written], 0, lambda *_: None, apart=True
    )

    def both(*operands: Tensor) -> Any:
        return whole(*operands) if update(*operands) is None else result(*operands)

    return both


def _after(
    inputs: Sequence[Node], output: Node, written: Mapping[int, Node]
) -> tuple[list[Node], Node | None]:
    """The operands as they are when they have been written into, and the output as a node of these; None
    where it needs what was there before."""
    builder = Builder()
    changed = [builder.input(f"x{k}", x.type) for k, x in enumerate(inputs)]
    known = {x: new for k, (x, new) in enumerate(zip(inputs, changed)) if k not in written}
    known |= {node: changed[k] for k, node in written.items()}
    with builder.at(None):
        for node in order([output]):
            if node not in known and all(x in known for x in node.inputs):
                known[node] = builder.node(node.op, *[known[x] for x in node.inputs])
    return changed, known.get(output)


def steps_or_updates(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str
) -> Plan | None:
    """As `updates` where the function writes into its operands, else as `steps`."""
    found = _writing(f, args, kwargs)
    return None if found is None else (updates if found[3] else steps)(f, args, kwargs, shown)


def draws_or_itself(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str
) -> Plan | None:
    """As `draws`; where no number is drawn as `steps`, and if the first operand is the result, that."""
    plan = draws(f, args, kwargs, shown) or steps(f, args, kwargs, shown)
    found = _writing(f, args, kwargs) if plan is None else None
    if found is None or found[1] != 0 or found[3]:
        return plan
    return calls.itself(len(found[2].builder.inputs), again(f, args, kwargs))


def _writing(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Any, int | None, Trace, dict[int, Node]] | None:
    """What the function gives in a trace, which operand that is if it is one, the trace, and what it writes
    into which operands; None where it fails, or looks at more than its operands."""
    with Trace(planned=True) as trace, no_grad():
        inputs = trace.builder.inputs
        standing, own, named = stand_ins(trace, args, kwargs)
        try:
            out = f(*own, **named)
        except RetrogradError:
            return None
        written = {k: x._value for k, x in enumerate(standing) if x._value is not inputs[k]}
    nodes = {k: node for k, node in written.items() if isinstance(node, Node)}
    if trace.captured or trace.mutated or trace.unchecked or len(nodes) < len(written):
        return None
    if any(node.type != inputs[k].type for k, node in nodes.items()):
        return None
    given = next((k for k, x in enumerate(standing) if x is out), None)
    return out, given, trace, nodes


def axes(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """The axes of the only Tensor, changed in place."""
    (x, *others) = args
    before = probe(x._value)
    try:
        after = f(Tensor(before), *others, **kwargs)._value
    except RetrogradError:
        return None
    found = origins(before, after)
    return None if found is None else rearranged(found, again(f, args, kwargs))


def puts(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str) -> Plan | None:
    """`x[indices] = values`, of Tensors alone, which no more than those elements are touched for; else as
    `updates`."""
    if len(args) != 3 or kwargs:
        return updates(f, args, kwargs, shown)
    x, indices, values = args
    if not all(isinstance(each, Tensor) for each in (*indices, values)) or values.dtype is not x.dtype:
        return None

    def write(x: Tensor, index: Tensor, values: Tensor) -> Tensor:
        x[index] = values
        return x

    def write_by_several(x: Tensor, *others: Tensor) -> Tensor:
        x[others[:-1]] = others[-1]
        return x

    return write if len(indices) == 1 else write_by_several


def values_or_tallies(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str
) -> Plan | None:
    """As `values`; where the function looks at elements, as `tallies`."""
    return values(f, args, kwargs, shown) or tallies(f, args, kwargs, shown)


def view_or_bits(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shown: str
) -> Plan | None:
    """As `view`; given a dtype, the same memory as elements of that."""
    if len(args) != 2 or not isinstance(args[1], DType):
        return view(f, args, kwargs, shown)
    return bits(args[1].numpy, again(f, args, kwargs)) if args[1].itemsize == args[0].itemsize else None


PLANNERS = {
    "answer": answer,
    "places": places,
    "steps": steps,
    "truth": truth,
    "values": values,
    "tallies": tallies,
    "values or tallies": values_or_tallies,
    "axes": axes,
    "steps or updates": steps_or_updates,
    "updates": updates,
    "results and updates": results_and_updates,
    "puts": puts,
    "view": view_or_bits,
    "choice": choice,
    "picks": picks,
    "selection": selection,
    "conversion": conversion,
    "copy": copy,
    "draws": draws_or_itself,
    "chances": judging(alone("below")),
    "rates": judging(alone("poisson")),
    "trials": judging(trials),
    "weights": judging(places_by_weights),
}
"""What a function may be planned by, as `replay=` of `public` names it."""
