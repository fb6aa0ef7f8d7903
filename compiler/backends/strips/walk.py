"""The library's routine that goes through strips and the loops around them, in the native language.

retrograd_strips    a program of them, on its data pointers: a program's own ABI
"""

from __future__ import annotations

from retrograd.compiler.backends.lent import retrograd_part
from retrograd.compiler.backends.meeting import ALONE, meet
from retrograd.compiler.backends.strips.records import (
    CONSTANT,
    LOCAL,
    Bytes,
    Header,
    Job,
    Node,
    Operand,
    Task,
)
from retrograd.compiler.native.language import (
    Array,
    cast,
    exported,
    inlined,
    inside,
    native,
    stack,
    words,
)

_LINE = 64
"""Bytes of a line of the cache."""
_HEADER, _NODE, _OPERAND = 8 * words(Header), 8 * words(Node), 8 * words(Operand)


@exported
def retrograd_strips(args: Array[Bytes], script: Array[int]) -> None:
    """A header, and then nodes."""
    task, header = stack(Task), inside(Header, script, 0)
    task.args, task.words, task.part = args, inside(Bytes, script, 0), ALONE
    task.values = stack(Bytes, header.values, _LINE)
    run(task, inside(Node, script, _HEADER), cast(int, script) + header.constants)


@native
def run(task: Task, first: Node, end: int) -> None:
    """The nodes from one address to another."""
    node = first
    while cast(int, node) < end:
        strip, parallel = node.strip, node.parallel
        if strip is not None:
            locate(task, node)
            meet_others(task, node)
            strip(task.operands, trips(task, node))
        elif parallel is not None:
            job = stack(Job)
            job.node, job.args, job.words = node, task.args, task.words
            job.part = retrograd_part(inside(Header, task.words, 0).threads)
            parallel(do_task, job, node.extent)
        else:
            repeat(task, node)
        node = inside(Node, node, node.length)


@native
def repeat(task: Task, node: Node) -> None:
    """A loop. Of one strip alone the operands are only moved on from each iteration to the next."""
    first, depth = inside(Node, node, _NODE), node.depth
    strip = first.strip
    if strip is None or first.length + _NODE != node.length:
        for place in range(trips(task, node)):
            task.places[depth] = place
            run(task, first, cast(int, node) + node.length)
        return
    task.places[depth] = 0
    locate(task, first)
    for place in range(trips(task, node)):
        task.places[depth] = place
        meet_others(task, first)
        strip(task.operands, trips(task, first))
        for number in range(first.operands):
            on = inside(Operand, first, _NODE + _OPERAND * number).steps[depth]
            task.operands[number] = task.operands[number] + on


@native
def do_task(job: Job, number: int) -> None:
    """One iteration of a loop that threads share."""
    task, node = stack(Task), job.node
    task.args, task.words = job.args, job.words
    task.values = stack(Bytes, inside(Header, job.words, 0).values, _LINE)
    task.places[0], task.part, half = number, job.part, node.extent // 2
    task.away = half if number < half else -half
    run(task, inside(Node, node, _NODE), cast(int, node) + node.length)


@inlined
def meet_others(task: Task, node: Node) -> None:
    """A part of what another thread's strip reads meanwhile is fetched, if there is one."""
    if task.part != ALONE:
        for number in range(node.operands):
            operand = inside(Operand, node, _NODE + _OPERAND * number)
            away = task.away * operand.steps[0] + task.part * operand.met
            meet(task.operands[number] + away, operand.met)


@inlined
def trips(task: Task, node: Node) -> int:
    """Iterations of a loop, or elements of a strip."""
    left = node.left
    for depth in range(node.depth):
        left += node.left_steps[depth] * task.places[depth]
    return max(min(node.extent, left), 0)


@inlined
def locate(task: Task, node: Node) -> None:
    """Where the operands of a strip begin now."""
    for number in range(node.operands):
        operand = inside(Operand, node, _NODE + _OPERAND * number)
        address = operand.start
        for depth in range(node.depth):
            address += operand.steps[depth] * task.places[depth]
        task.operands[number] = base(task, operand.base) + address


@inlined
def base(task: Task, number: int) -> Bytes:
    if number == LOCAL:
        return task.values
    return task.words if number == CONSTANT else task.args[number]
