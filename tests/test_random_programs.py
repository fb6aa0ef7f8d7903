"""Random programs of views, updates in place and arithmetic: eager mode against PyTorch, traces against that.

In flow programs drawn by Hypothesis: lists of steps on a growing pool of tensors. Out flow equal values and
gradients, or errors on both sides. A new kind of step is a line in `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import retrograd
from retrograd.compiler.errors import RetrogradError
from retrograd.compiler.ir.graph import Graph, interpret
from retrograd.runtime.tracing import Trace

Step = tuple[str, int, int]
Outcome = tuple[list[Any], list[Any]] | None
"""The values of the pool and the gradients of its leaves; None for an error."""

STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y * 0.5,
    "tanh": lambda x, y: x.tanh(),
    "row": lambda x, y: x[1],
    "half": lambda x, y: x[..., :2],
    "transposed": lambda x, y: x.t(),
    "flat": lambda x, y: x.reshape(-1),
    "detached": lambda x, y: x.detach(),
    "clone": lambda x, y: x.clone(),
    "added to": lambda x, y: x.add_(y.sum()),
    "scaled": lambda x, y: x.mul_(0.5),
    "scaled by another": lambda x, y: x.mul_(y.mean()),
    "overwritten": lambda x, y: x.copy_(y.sum()),
    "zeroed": lambda x, y: x.zero_(),
    "changed under a mask": lambda x, y: x.__setitem__(x > 0, x[x > 0] * 2) or x,
    "scaled under a mask": lambda x, y: x.__setitem__(x < 0.2, 0.5) or x,
    "transposed in place": lambda x, y: x.t_(),
    "in order": lambda x, y: x.contiguous(),
    "with a new axis": lambda x, y: x.unsqueeze_(0),
    "data": lambda x, y: x.data,
    "assigned": lambda x, y: x.__setitem__(0, y.sum()) or x,
}

programs = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=9
)


def pool_of(t: Any, leaves: Sequence[Any], steps: Sequence[Step]) -> list[Any]:
    pool = [x * 1 for x in leaves]
    for name, i, j in steps:
        pool.append(STEPS[name](pool[i % len(pool)], pool[j % len(pool)]))
    return pool


def leaves_of(t: Any, device: str = "cpu") -> list[Any]:
    values = [(np.arange(9.0).reshape(3, 3) / 9 - k).tolist() for k in range(2)]
    return [t.tensor(x, device=device).requires_grad_() for x in values]


def gradients(t: Any, pool: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
    total = sum((y * (k + 1)).sum() for k, y in enumerate(pool))
    return list(t.autograd.grad(total, leaves, allow_unused=True))


def run(t: Any, steps: Sequence[Step], device: str = "cpu") -> Outcome:
    leaves = leaves_of(t, device)
    try:
        pool = pool_of(t, leaves, steps)
        grads = gradients(t, pool, leaves)
    except (RuntimeError, IndexError):
        return None
    return [y.detach().tolist() for y in pool], [g.tolist() if g is not None else None for g in grads]


def reads_what_changed(steps: Sequence[Step]) -> bool:
    """Whether a derivative reads what changed through `.data` since. PyTorch calls that unsafe; eager mode
    gives what PyTorch gives, a trace has what there was. Through `detach()` it is an error, which tells."""
    return run(retrograd, [("detached" if name == "data" else name, i, j) for name, i, j in steps]) is None


def agree(found: Sequence[Any], expected: Sequence[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.array(a or 0.0), np.array(b or 0.0), rtol=1e-4, atol=1e-5)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=programs)
def test_eager_mode_is_pytorchs(torch: ModuleType, steps: list[Step]) -> None:
    expected, found = run(torch, steps), run(retrograd, steps)
    if expected is not None:
        assert found is not None
        agree(found[0], expected[0])
        agree(found[1], expected[1])


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(steps=programs)
def test_a_compiled_function_does_what_eager_mode_does(steps: list[Step]) -> None:
    """At its second call, which is native."""
    expected = run(retrograd, steps)

    def function(leaves: list[Any]) -> list[Any]:
        return [y * 1 for y in pool_of(retrograd, leaves, steps)]

    compiled = retrograd.compile_grad(function)
    for _ in range(2):
        leaves = leaves_of(retrograd)
        try:
            pool = compiled(leaves)
            grads = gradients(retrograd, pool, leaves)
        except (RetrogradError, IndexError):
            assert expected is None
            return
    if expected is not None:
        agree([y.detach().tolist() for y in pool], expected[0])
        if not reads_what_changed(steps):
            agree([g.tolist() if g is not None else None for g in grads], expected[1])


@settings(max_examples=80)
@given(steps=programs)
def test_a_trace_says_what_eager_mode_does(steps: list[Step]) -> None:
    expected = run(retrograd, steps)
    leaves = leaves_of(retrograd)
    trace = Trace()
    try:
        with trace:
            pool = pool_of(retrograd, leaves, steps)
            nodes = [trace.lift(y * 1) for y in pool]
            grads = gradients(retrograd, pool, leaves)
            nodes += [trace.lift(g) for g in grads if g is not None]
    except (RetrogradError, IndexError):
        assert expected is None
        return
    inputs = tuple(trace.builder.inputs)
    arrays = interpret(Graph("f", inputs, tuple(nodes)), [trace.captured[n].detach().numpy() for n in inputs])
    if expected is not None:
        values, slopes = arrays[: len(pool)], arrays[len(pool) :]
        agree([a.tolist() for a in values], expected[0])
        if not reads_what_changed(steps):
            agree([a.tolist() for a in slopes], [g for g in expected[1] if g is not None])
