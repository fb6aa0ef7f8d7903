"""Random programs of lines of code: eager mode and compiled functions against PyTorch.

In flow programs drawn by Hypothesis: leaves of any dtype, shape and order in memory, and then lines, each of
which names values before it. Out flow the same values, dtypes, shapes and gradients, or errors of the same
class at the same line. A new kind of line is a line of `LINES`: `o` is what it makes, `a` and `b` are any two
values before it.
"""

from __future__ import annotations

import re
import warnings
from math import prod
from types import ModuleType
from typing import Any

from agreeing import Shown, is_told, same, told
from agreeing import shown as all_shown
from function_cases import lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import retrograd
from retrograd.compiler.errors import TraceError

LINES = lines("""
    o = a + b
    o = a - b
    o = a * b
    o = a / b
    o = a % 3
    o = 2 - a
    o = 1.5 * a
    o = a ** 2
    o = -a
    o = a > b
    o = a == b
    o = a & b
    o = a.exp()
    o = a.tanh()
    o = a.abs()
    o = a.sqrt()
    o = a.sigmoid()
    o = a.relu()
    o = a.floor()
    o = a.double()
    o = a.float()
    o = a.half()
    o = a.bfloat16()
    o = a.long()
    o = a.bool()
    o = a.to(b.dtype)
    o = a.clone()
    o = a.detach()
    o = a.contiguous()
    o = t.maximum(a, b)
    o = t.atan2(a, b)
    o = t.where(a > 0, a, b)
    o = t.where(a > 0, a, 1.5)
    o = a.clamp(-1, 1)
    o = t.cat([a, b])
    o = t.stack([a, b])
    o = a @ b
    o = a @ a.t()
    o = a.sum()
    o = a.sum(0)
    o = a.sum(-1, keepdim=True)
    o = a.mean()
    o = a.mean(0)
    o = a.std()
    o = a.prod()
    o = a.amax(-1)
    o = a.max(0)[0]
    o = a.min(-1)[1]
    o = a.argmax()
    o = a.any()
    o = a.all(0)
    o = a.norm()
    o = a.cumsum(0)
    o = a.softmax(-1)
    o = a.log_softmax(0)
    o = a.logsumexp(0)
    o = a.argsort()
    o = a.reshape(-1)
    o = a.view(-1)
    o = a.t()
    o = a.transpose(0, -1)
    o = a.unsqueeze(-1)
    o = a.squeeze()
    o = a.expand(2, *a.shape)
    o = a.repeat(2, 1)
    o = a.expand(2, *a.shape).clone().view(-1)
    o = a.diagonal()
    o = a.tril()
    o = a.unbind()[0]
    o = a.chunk(2)[-1]
    o = a[0]
    o = a[-1]
    o = a[1:]
    o = a[..., ::2]
    o = a[None]
    o = a[:, 0]
    o = a[[0]]
    o = a[a > 0]
    o = a[t.tensor([0, -1])]
    o = a[t.tensor([1, 0]), t.tensor([0, 1])]
    o = a[5]
    o = a.gather(0, t.zeros_like(a, dtype=t.long))
    o = a.take(t.tensor([0, -1]))
    o = F.softplus(a)
    o = F.gelu(a)
    o = F.mse_loss(a, b)
    o = F.layer_norm(a, a.shape[-1:])
    o = F.normalize(a)
    o = F.linear(a, b)
    o = F.pad(a, (1, 2))
    o = Double.apply(a) + b
    o = a.detach() * b
    o = a.add_(b)
    o = a.mul_(2)
    o = a.mul_(b)
    o = a.copy_(b)
    o = a.zero_()
    o = a.fill_(1.5)
    o = a.relu_()
    o = a.clamp_(min=-1, max=1)
    o = a.masked_fill_(a > 0, 2)
    a[0] = b; o = a
    a[0] = 1.5; o = a
    a[a > 0] = 2; o = a
    a[1:] = b; o = a
    o = a * 1; o += b
    o = a.clone(); o.view(-1)[0] = 3
    o, = t.autograd.grad((a * a).sum(), a, create_graph=True)
""")

SHAPES = [(), (1,), (3,), (2, 3), (3, 3), (3, 1), (1, 3), (0, 3), (2, 3, 4)]
FLOATING = ["float32", "float32", "float32", "float64", "float64", "float16", "bfloat16"]
DTYPES = [*FLOATING, *FLOATING, "bool", "uint8", "int8", "int16", "int32", "int64"]
LYING = ["", "", ".t().contiguous().t()", ".flip(0)"]
NUMBERS = [0.5, -1.25, 2.0, 0.0, 1.75, -0.5, 3.0, -2.0, 1.0, 0.25, -3.5]

leaves = st.tuples(
    *map(st.sampled_from, (SHAPES, DTYPES, LYING)),
    st.integers(0, 10),
    st.booleans(),
    st.sampled_from(["", "", "", "", "nan", "inf", "-inf"]),
)
steps = st.tuples(st.sampled_from(LINES), st.integers(0, 9), st.integers(0, 9))
programs = st.tuples(st.lists(leaves, min_size=1, max_size=3), st.lists(steps, min_size=1, max_size=7))


def shown(value: Any) -> Shown:
    """Of a Tensor all but its strides, which follow the first operand in PyTorch, where orders differ."""
    found = all_shown(value)
    return found[:3] + found[4:] if hasattr(value, "stride") else found


def written(program: Any) -> tuple[list[str], list[str]]:
    """The lines that make the leaves, and those that follow."""
    first = [f"v{k} = {_leaf(*leaf)}" for k, leaf in enumerate(program[0])]
    rest, count = [], len(first)
    for line, i, j in program[1]:
        names = {"a": f"v{i % count}", "b": f"v{j % count}", "o": f"v{count}"}
        rest.append(_named(line, names))
        count += 1
    return first, rest


def _leaf(shape: tuple[int, ...], dtype: str, lying: str, start: int, grad: bool, special: str) -> str:
    numbers = [str(NUMBERS[(start + i) % len(NUMBERS)]) for i in range(prod(shape))]
    if special and numbers and dtype in FLOATING:
        numbers[start % len(numbers)] = f"float('{special}')"
    way = lying if len(shape) == 2 else ""
    tracked = ".requires_grad_()" if grad and dtype in FLOATING else ""
    return f"t.tensor([{', '.join(numbers)}]).to(t.{dtype}).reshape({shape}){way}.detach(){tracked}"


def _named(line: str, names: dict[str, str]) -> str:
    return re.sub(r"(?<![\w.'])[abo](?![\w'(])", lambda m: names[m.group()], line)


def names_for(t: ModuleType) -> dict[str, Any]:
    class Double(t.autograd.Function):  # type: ignore[name-defined,misc]  # of either library
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            return cotangent * 2

    return {"t": t, "F": t.nn.functional, "Double": Double}


def gradients(names: dict[str, Any], leaves: int) -> Shown:
    """Of all that has a history, weighed, by the leaves; or the error."""
    values = [(k, names[f"v{k}"]) for k in range(len(names)) if f"v{k}" in names]
    summed = [(x.double() * (k + 1)).sum() for k, x in values if hasattr(x, "grad_fn") and x.requires_grad]
    if not summed:
        return None
    try:
        sum(summed[1:], summed[0]).backward()
    except RuntimeError as error:
        return told(error)
    return [shown(names[f"v{k}"].grad) if names[f"v{k}"].is_leaf else None for k in range(leaves)]


def outcome(first: list[str], rest: list[str], t: ModuleType) -> tuple[list[Shown], Shown, Shown]:
    """What each line makes, up to the first error; if there is none, what that is at the end, and the
    gradients."""
    names = names_for(t)
    for line in first:
        exec(line, names)
    found: list[Shown] = []
    for k, line in enumerate(rest, len(first)):
        try:
            exec(line, names)
        except Exception as error:
            return [*found, told(error)], None, None
        found.append(shown(names[f"v{k}"]))
    at_the_end = [shown(names[f"v{k}"]) for k in range(len(first), len(first) + len(rest))]
    return found, at_the_end, gradients(names, len(first))


def compiled_outcome(first: list[str], rest: list[str]) -> tuple[Shown, Shown]:
    names = names_for(retrograd)
    for line in first:
        exec(line, names)
    given = [f"v{k}" for k in range(len(first))]
    made = [f"v{k}" for k in range(len(first), len(first) + len(rest))]

    @retrograd.compile_grad
    def function(*leaves: Any) -> Any:
        inner = {**names, **dict(zip(given, leaves, strict=True))}
        for line in rest:
            exec(line, inner)
        return [inner[name] for name in made]

    try:
        names.update(zip(made, function(*[names[name] for name in given]), strict=True))
    except Exception as error:
        return told(error), None
    return [shown(names[name]) for name in made], gradients(names, len(first))


def agree(found: Shown, expected: Shown, where: str) -> None:
    if is_told(expected) and is_told(found):
        assert issubclass(found[1], expected[1]), f"{where}\nPyTorch: {expected}\nhere:    {found}"
    else:
        assert same(found, expected), f"{where}\nPyTorch: {expected}\nhere:    {found}"


@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
def test_eager_mode_does_what_pytorch_does(torch: ModuleType, program: Any) -> None:
    first, rest = written(program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = outcome(first, rest, torch), outcome(first, rest, retrograd)
    for k, (found, expected) in enumerate(zip(ours[0], theirs[0])):
        agree(found, expected, "\n".join([*first, *rest[: k + 1]]))
    agree(ours[2], theirs[2], "\n".join([*first, *rest, "gradients"]))


@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
def test_compiled_functions_do_so_too(torch: ModuleType, program: Any) -> None:
    first, rest = written(program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = outcome(first, rest, torch)
        ours = compiled_outcome(first, rest)
    where = "\n".join([*first, *rest])
    if is_told(ours[0]) and issubclass(ours[0][1], TraceError):
        return  # elements decide what is done
    if is_told(theirs[0][-1]):
        assert is_told(ours[0]), where  # of two errors another may come first
        return
    agree(ours[0], theirs[1], where)
    if not is_told(theirs[2]):  # traced values are kept, and no later change is one of them
        agree(ours[1], theirs[2], where)
