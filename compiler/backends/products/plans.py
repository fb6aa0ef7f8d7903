"""What a program tells the library's routine: the plan of each product, and a script where it is nothing but
products.

A plan is a list of words (`records.Plan`): numbers, and names of functions whose addresses they become.
A program of products alone needs no machine code of its own: its `Script` is what `retrograd_script` runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter

from retrograd.compiler.backends.products.records import DEEP, PLAN, STEP, WINDOWS
from retrograd.compiler.backends.script import Script, Word
from retrograd.compiler.ir.expressions import Buffer, Space
from retrograd.compiler.ir.index import Axis, Index
from retrograd.compiler.ir.loops import Program, Routine, WindowPlan
from retrograd.compiler.record import NamedTuple

_PLANNED = itemgetter(*PLAN[:-1])
_COPIED_TOGETHER = 1024
"""Elements side by side of several blocks of the left operand that are copied together."""
_PARALLEL_COPY = 1 << 16
"""Elements from which on threads share the copying, and of a task that there is then, or a little more."""
_QUICK = 1 << 19
"""Multiplications of a product that takes no longer than to wake a worker, at most."""
_NEAR = 24 << 10
"""Bytes of a panel of the right operand that stays in the first-level cache, at most, beside what else comes
by. To fetch it ahead all the same takes up to a tenth more time; so it does where a tile has few rows, which
load as often as they multiply."""
_NEW, _BRIEF = 1 << 20, 32
"""Bytes of a result that is not in the second-level cache when it is written; and inner positions of one that
takes as long to write as to compute, at most."""
_LINE = 64
"""Bytes that sums begin at a multiple of, behind the copies."""
_SLACK = 1024
"""Bytes after the sums that the last vector of a loop may read, and ignores. A flip reads as many rows as a
vector has lanes."""


class Step(NamedTuple):
    """One product of a script, and which of the program's pointers its operands belong to, so many bytes on:
    left, right, out, panels."""

    plan: tuple[Word, ...]
    operands: tuple[tuple[int, int], ...]


def script(program: Program) -> Script | None:
    """The program's products, if it is nothing else."""
    routines = [s for kernel in program.kernels for s in kernel.body]
    steps = []
    for s in routines:
        if not isinstance(s, Routine) or s.out is None:
            return None
        places = ((s.left.buffer, s.left.index), (s.right.buffer, s.right.index), (s.out.buffer, s.out.index))
        found = [_operand(program, buffer, first(s, index)) for buffer, index in places]
        found.append(_operand(program, s.panels, 0) if s.panels else (0, 0))
        steps.append(Step(tuple(words(s)), tuple(found)))
    return _script(steps) if steps else None


def _script(steps: Sequence[Step]) -> Script:
    """How many steps there are, these, and their plans."""
    at, told = 1 + len(steps) * len(STEP), list[Word]([len(steps)])
    for step in steps:
        told += [8 * at, *chain.from_iterable(step.operands)]
        at += len(step.plan)
    return Script("retrograd_script", (*told, *chain.from_iterable([step.plan for step in steps])))


def first(s: Routine, index: Index) -> int:
    """The element where an operand begins."""
    if all(isinstance(atom, Axis) for atom, _ in index.terms):
        return index.offset
    return index.substitute(dict.fromkeys((s.batch, s.row, s.column, s.inner), Index())).offset


def _operand(program: Program, buffer: Buffer, element: int) -> tuple[int, int]:
    """A pointer of the program, and the bytes from there."""
    buffers = (*program.inputs, *program.constants, *program.outputs)
    start = element * buffer.dtype.itemsize
    if buffer.space is Space.ARENA:
        return len(buffers), program.arena[buffer] + start
    return buffers.index(buffer), start


def words(s: Routine, epilogue: Word = 0) -> list[Word]:
    """The plan."""
    plan, out, itemsize = s.plan, s.out, s.left.dtype.itemsize
    known = _sizes(s) | _copies(s)
    columns = min(s.column.extent, plan.width)
    known |= {"turned": 0, "turned_mask": _bits(plan.rows)}
    if out is not None and s.column.extent != 1 and out.index.stride(s.column) != 1:
        flips = plan.rows <= plan.lanes <= columns
        known["turned"] = f"retrograd_{'flip' if flips else 'pick'}_{_kind(s)}"
    known |= _split(s, known)
    waits = epilogue or known["turned"] or plan.depth < s.inner.extent
    sums = (plan.size * plan.beside * plan.rows + plan.lanes) * s.line * itemsize + _SLACK
    edge = columns - (plan.vectors - 1) * plan.lanes
    marks = "_far" * _is_far(s) + "_new" * _is_new(s) + "_edge" * (edge < plan.lanes)
    tile = f"retrograd_tile_{_kind(s)}_{plan.rows}x{plan.vectors}{marks}"
    known["meets"] = _meets(s)
    if plan.along:
        tile = f"retrograd_dots_{_kind(s)}_{plan.rows}{'_met' * (known['meets'] != 0)}"
    if known["meets"]:
        known["threads"] = "retrograd_threads"
    known |= {"tile": tile, "epilogue": epilogue, "itemsize": itemsize, "mask": _bits(edge)}
    known |= {"line": s.line * itemsize, "first_row": s.first[0], "first_column": s.first[1]}
    known["sums_bytes"] = sums if waits else 0
    for name, axis in (("out_row", s.row), ("out_column", s.column), ("out_batch", s.batch)):
        known[name] = _step(out.index, axis, itemsize) if out else 0
    alone = known["chunks"] == 1 and plan.beside == 1 and not known["copy_left"] and not known["copy_right"]
    known["simple"] = int(alone and not waits)
    return [*_PLANNED(known), *_told(s, known)]


def window_words(plan: WindowPlan, epilogue: Word = 0) -> list[Word]:
    """That of a product with windows."""
    known: dict[str, Word] = dict(plan.words)
    known |= {"parallel": "retrograd_parallel" if plan.is_shared else 0, "epilogue": epilogue}
    return [*(known[name] for name in WINDOWS[:-1]), *plan.table]


def _is_far(s: Routine) -> bool:
    """Should tiles fetch panels of the right operand, which are not in the first-level cache?"""
    plan, inner = s.plan, s.inner.extent
    swept = plan.depth < inner and not plan.copies_right
    large = min(plan.depth, inner) * plan.width * s.left.dtype.itemsize > _NEAR
    return (swept or large) and plan.rows >= plan.vectors


def _meets(s: Routine) -> int:
    """From rows of the left operand to those that are read half of all tasks later, if threads meet there."""
    plan, row = s.plan, _step(s.left.index, s.row, s.left.dtype.itemsize)
    if not plan.met:
        return 0
    return plan.chunks(s.row.extent) // (2 * plan.share) * plan.share * plan.size * plan.rows * row


def _is_new(s: Routine) -> bool:
    """Should tiles fetch where their sums go: does it take longer to write these than to compute them?"""
    result = s.batch.extent * s.row.extent * s.column.extent * s.left.dtype.itemsize
    return result > _NEW and s.inner.extent <= _BRIEF


def _sizes(s: Routine) -> dict[str, Word]:
    """How far the axes reach, and how they are cut."""
    plan, rows, columns = s.plan, s.row.extent, s.column.extent
    chunks, groups = plan.chunks(rows), plan.groups(columns)
    items = s.batch.extent * chunks * groups
    tasks = -(-items // plan.share) if plan.share else 1
    brief = s.batch.extent * rows * columns * s.inner.extent < _QUICK
    return {
        "parallel": f"retrograd_parallel{'_brief' * brief}" if tasks > 1 else 0,
        "tasks": tasks, "share": plan.share or items, "items": items,
        "chunks": chunks, "groups": groups, "rowwise": int(plan.rowwise),
        "blocks": -(-rows // plan.rows), "size": plan.size, "rows": plan.rows, "row_extent": rows,
        "column_panels": -(-columns // plan.width), "beside": plan.beside, "width": plan.width,
        "column_extent": columns, "inner_extent": s.inner.extent, "depth": plan.depth,
    }  # fmt: skip


def _copies(s: Routine) -> dict[str, Word]:
    """How the operands lie, and what is copied of them."""
    plan, itemsize, rows, inner = s.plan, s.left.dtype.itemsize, s.row.extent, s.inner.extent
    blocks, columns = -(-rows // plan.rows), min(s.column.extent, plan.width)
    groups = max(1, rows // _COPIED_TOGETHER)
    beside = -(-blocks // groups)
    shared = rows * inner * s.batch.extent >= _PARALLEL_COPY
    deep = inner if not shared else -(-_PARALLEL_COPY // (beside * plan.rows * DEEP)) * DEEP
    groups, pieces = -(-blocks // beside), -(-inner // deep)
    tasks = 0 if s.panels is None or s.copied else s.batch.extent * groups * pieces
    left = [_step(s.left.index, axis, itemsize) for axis in (s.row, s.inner, s.batch)]
    right = [_step(s.right.index, axis, itemsize) for axis in (s.column, s.inner, s.batch)]
    least = inner % plan.depth or plan.depth
    copied = plan.beside * plan.depth * plan.width * itemsize if plan.copies_right else 0
    return {
        "copy_left": _copy(s, left, plan.rows, inner % DEEP or DEEP) if s.panels else 0,
        "copy_right": _copy(s, right, columns, least) if plan.copies_right else 0,
        "left_row": left[0], "left_inner": left[1], "left_batch": left[2],
        "right_inner": right[1], "right_column": right[0], "right_batch": right[2],
        "panel_bytes": -(-copied // _LINE) * _LINE,
        "left_tasks": tasks, "left_parallel": "retrograd_parallel" if shared and tasks > 1 else 0,
        "left_groups": groups, "left_beside": beside, "left_pieces": pieces, "left_deep": deep,
        "left_mask": _bits(plan.rows % plan.lanes),
        "right_mask": _bits(columns % plan.lanes),
        "right_kept": _bits(plan.lanes if columns % plan.lanes else 0),
    }  # fmt: skip


def _split(s: Routine, known: Mapping[str, Word]) -> dict[str, Word]:
    """What does it by parts of operands, and turns them, where one does not lie as tiles want it."""
    split, kind, itemsize = s.plan.split, _kind(s), s.left.dtype.itemsize
    lie = ("right_inner", "left_row") if known["turned"] else ("left_inner", "right_column")
    turned = split and any(known[step] != itemsize for step in lie)
    return {
        "split": "retrograd_amx" if split else 0,
        "threads": "retrograd_threads" if split and known["parallel"] else 0,
        "squares": f"retrograd_turn_{kind}" if turned else 0,
        "singles": f"retrograd_pick_{kind}" if turned else 0,
    }


def _told(s: Routine, known: Mapping[str, Word]) -> list[Word]:
    """What tiles are told of a simple product."""
    rows, itemsize = s.plan.rows, s.left.dtype.itemsize
    blocks = -(-s.row.extent // rows)
    back = blocks * rows - s.row.extent
    row = _step(s.left.index, s.row, itemsize)
    after = _step(s.out.index, s.row, itemsize) if s.out else 0
    # of a batch, the left operand of the next product comes into the cache, if it lies row after row
    next_, near = _step(s.left.index, s.batch, itemsize), known["left_inner"] == itemsize
    ahead = (next_, rows * itemsize) if s.batch.extent > 1 and near else (0, 0)
    return [
        row, known["left_inner"], known["right_inner"], 0, after, s.inner.extent, known["mask"],
        blocks, row * rows, row * back, 0, after * rows, after * back, *ahead, row * rows,
    ]  # fmt: skip


def _kind(s: Routine) -> str:
    """Elements and lanes, in a routine's name."""
    return f"f{8 * s.left.dtype.itemsize}x{s.plan.lanes}"


def _step(index: Index, axis: Axis, itemsize: int) -> int:
    """Bytes from a place to the next."""
    return (index.stride(axis) or 0) * itemsize


def _bits(lanes: int) -> int:
    """So many bits set, from the lowest on."""
    return (1 << lanes) - 1


def _copy(s: Routine, steps: Sequence[int], side: int, least: int) -> str:
    """The routine that copies blocks of so many places along the side, and no fewer inner positions than the
    least, given the bytes from a place to the next along both."""
    lanes, itemsize = s.plan.lanes, s.left.dtype.itemsize
    along_side, along_inner, _ = steps
    if along_side == itemsize:
        return f"retrograd_copy_{_kind(s)}_{side // lanes}"
    squares = along_inner == itemsize and along_side != 0 and min(side, least) >= lanes
    return f"retrograd_{'turn' if squares else 'pick'}_{_kind(s)}"
