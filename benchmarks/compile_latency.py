"""What compiling costs: processor milliseconds from a Graph to object code, the median of several cold
runs, by stage.

    python benchmarks/compile_latency.py [ROW …]

Processor time, not wall time, so that a busy machine does not blur it; nothing is kept between the runs.
What the library's routines cost that a program calls is told beside it: they are compiled once on a machine.
A program of products or of strips alone has no code of its own. A new program is a function of nodes and a
row of `PROGRAMS`.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from retrograd.compiler.adjoint import joint
from retrograd.compiler.backends.cpu import CAREFUL, Target, assemble
from retrograd.compiler.backends.routines import is_routine, routine
from retrograd.compiler.dtypes import float32
from retrograd.compiler.ir.graph import OPS, Builder, Graph, Node, Op, Type, apply
from retrograd.compiler.ops.contract import dot
from retrograd.compiler.ops.reduce import sum_
from retrograd.compiler.pipeline import Compiled, compile_graph

RUNS = 9
Shape = tuple[int, ...]


def row(name: str, *operands: Node | float) -> Node:
    """One elementwise row."""
    op = OPS[name]
    assert isinstance(op, Op)
    value: Node = apply(op, *operands)
    return value


def total(x: Node) -> Node:
    value: Node = sum_(x, range(x.ndim))
    return value


def two_layers(x: Node, w1: Node, w2: Node, y: Node) -> Node:
    """The squared error of a network with one hidden layer."""
    error = dot(row("maximum", dot(x, w1), 0.0), w2) - y
    return total(error * error)


def rosenbrock(x: Node, y: Node) -> Node:
    return (1.0 - x) * (1.0 - x) + 100.0 * ((y - x * x) * (y - x * x))


def chain(z: Node) -> Node:
    """Elementwise functions of several kinds."""
    a = row("sin", z) * row("exp", -(z * z))
    return total(a + row("tanh", z) * row("log1p", z * z))


def row_sums(x: Node) -> Node:
    value: Node = sum_(x, [1])
    return value


def column_sums(x: Node) -> Node:
    value: Node = sum_(x, [0])
    return value


def product(a: Node, b: Node) -> Node:
    value: Node = dot(a, b)
    return value


PROGRAMS: dict[str, tuple[Callable[..., Node], tuple[Shape, ...], tuple[int, ...]]] = {
    "two layers": (two_layers, ((64, 1000), (1000, 100), (100, 10), (64, 10)), (1, 2)),
    "rosenbrock": (rosenbrock, ((), ()), (0, 1)),
    "elementwise chain": (chain, ((1000000,),), (0,)),
    "sum of all": (total, ((4096, 4096),), ()),
    "sums of rows": (row_sums, ((4096, 4096),), ()),
    "sums of columns": (column_sums, ((4096, 4096),), ()),
    "product 8": (product, ((8, 8), (8, 8)), ()),
    "product 64": (product, ((64, 64), (64, 64)), ()),
    "product 127": (product, ((127, 127), (127, 127)), ()),
    "product 1024": (product, ((1024, 1024), (1024, 1024)), ()),
}
"""A function of nodes, the shapes of its operands, and the operands by which gradients are taken."""


def graph(name: str) -> Graph:
    """The program, with its gradients."""
    function, shapes, wrt = PROGRAMS[name]
    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(f"x{k}", Type(shape, float32)) for k, shape in enumerate(shapes)]
        value = Graph("f", tuple(inputs), (function(*inputs),))
        return joint(value, wrt) if wrt else value


class Cost(NamedTuple):
    """Milliseconds from graph to text, from text to code, and for the routines of the library that the
    program calls; lines of text, bytes of code, and how many routines."""

    front: float
    back: float
    shared: float
    lines: int
    size: int
    routines: int


def measure(name: str) -> Cost:
    target = Target.host()
    front, back, lines, size = [], [], 0, 0
    for _ in range(RUNS):
        whole = graph(name)
        begin = time.process_time()
        compiled = compile_graph(whole, target)
        text = "" if compiled.script else compiled.llvm
        middle = time.process_time()
        code = assemble(text, target) if text else b""
        front.append(1e3 * (middle - begin))
        back.append(1e3 * (time.process_time() - middle))
        lines, size = text.count("\n"), len(code)
    names = called(compiled, text)
    begin = time.process_time()
    for each in names:
        assemble(routine(each, target.vector_bits), target, level=CAREFUL)
    shared = 1e3 * (time.process_time() - begin)
    return Cost(statistics.median(front), statistics.median(back), shared, lines, size, len(names))


def called(compiled: Compiled, text: str) -> list[str]:
    """The routines of the library that a program needs; they are compiled once on a machine."""
    script = compiled.script
    told = {script.routine, *(word for word in script.words if isinstance(word, str))} if script else set()
    found = told | set(re.findall(r"@(retrograd_\w+)", text))
    modules = {"retrograd_product" if name == "retrograd_script" else name for name in found}
    return sorted(name for name in modules if is_routine(name))


def main() -> None:
    print(
        f"{'program':20}{'to text':>9}{'to code':>9}{'in all':>9} ms{'lines':>7}{'bytes':>8}   once a machine"
    )
    for name in sys.argv[1:] or PROGRAMS:
        c = measure(name)
        once = f"{c.shared:.1f} ms for {c.routines} routines" if c.routines else "-"
        print(f"{name:20}{c.front:9.1f}{c.back:9.1f}{c.front + c.back:9.1f}   {c.lines:7}{c.size:8}   {once}")


if __name__ == "__main__":
    main()
