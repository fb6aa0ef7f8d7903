"""Loops → Loops: an intermediate lies in the order of axes in which products read it.

    t[n, h, i, d] = …;  o[(n, i), j] add= t[n, h, i, d] · w[(h, d), j]      the heads of an attention, joined
    →   t lies as [n, i, h, d]: the product's rows and its inner axis are one axis of t each

So tiles read in place what would else be copied, or be read along short lines. In flows a program whose
kernels are not yet scheduled, out flows one with other places of intermediates' elements. It takes a buffer
that all kernels touch at affine places then, and whose elements still lie side by side as far as a vector
reaches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from math import prod

from retrograd.compiler.ir.expressions import Buffer, Load, Space
from retrograd.compiler.ir.index import (
    Atom,
    Axis,
    Divided,
    Index,
    Loaded,
    Remainder,
    combined,
    strides,
    unflatten,
)
from retrograd.compiler.ir.loops import Accumulate, Contraction, Kernel, Program, Store, expressions, walk
from retrograd.compiler.ir.rewriting import Rewriter
from retrograd.compiler.record import replace

_SIDE_BY_SIDE = 64
"""Bytes that must stay so: those of a vector."""

_Access = tuple[Buffer, Index, bool]
"""A buffer and a place in it, and whether that is certainly one of its elements."""
Moving = Callable[[Index], Index]
"""From the place of an element to its new one."""


def lay_out(program: Program) -> Program:
    """The program with its intermediates as their readers want them."""
    wanted = dict.fromkeys(load.buffer for kernel in program.kernels for load in _apart(kernel))
    if not wanted:
        return program
    accesses = [_accesses(kernel) for kernel in program.kernels]
    places = _places(chain(*accesses), wanted)
    moving = {buffer: moved for buffer in wanted if (moved := _moving(buffer, places[buffer])) is not None}
    touched = [not moving.keys().isdisjoint(buffer for buffer, _, _ in each) for each in accesses]
    kernels = [_moved(k, moving) if moves else k for k, moves in zip(program.kernels, touched, strict=True)]
    return replace(program, kernels=tuple(kernels))


def _apart(kernel: Kernel) -> Iterator[Load]:
    """The operands of a product that are intermediates, read by digits of its axes."""
    c = kernel.contraction
    for e in (c.left, c.right) if c is not None else ():
        if isinstance(e, Load) and e.buffer.space is Space.ARENA and not _is_affine(e.index):
            yield e


def _is_affine(index: Index) -> bool:
    return not any(isinstance(atom, Divided | Remainder) for atom, _ in index.terms)


def _accesses(kernel: Kernel) -> list[_Access]:
    """All that a kernel writes and reads."""
    writes = [s for s in walk(kernel.body) if isinstance(s, Store | Accumulate)]
    reads = [e for e in expressions(kernel.body) if isinstance(e, Load)]
    return [*((s.buffer, s.index, True) for s in writes), *((e.buffer, e.index, not e.bounds) for e in reads)]


def _places(accesses: Iterable[_Access], buffers: dict[Buffer, None]) -> dict[Buffer, list[Index] | None]:
    """Where these buffers are touched; None for one that is read where it may not be, or as read numbers
    say."""
    found: dict[Buffer, list[Index] | None] = {buffer: [] for buffer in buffers}
    for buffer, index, certain in accesses:
        places = found.get(buffer)
        if places is None:
            continue
        if certain and not any(isinstance(atom, Loaded) for atom, _ in index.terms):
            places.append(index)
        else:
            found[buffer] = None
    return found


def _moving(buffer: Buffer, places: Sequence[Index] | None) -> Moving | None:
    """How the elements of a buffer move; None if they should stay."""
    sizes = _digits(buffer, places or ())
    if places is None or sizes is None:
        return None
    for reader in places:
        order = None if _is_affine(reader) else _order(reader, sizes)
        if order is None or _side_by_side(order, sizes) * buffer.dtype.itemsize < _SIDE_BY_SIDE:
            continue
        moved = _permuted(sizes, order)
        if all(_is_affine(moved(index)) for index in places):
            return moved
    return None


def _digits(buffer: Buffer, places: Sequence[Index]) -> list[int] | None:
    """The extents of the axes that a buffer's elements have for all that touches it, outer ones first."""
    bounds = {1, buffer.size}
    for index in places:
        for atom, step in index.terms:
            bounds |= {step, step * _extent(atom)}
    ordered = sorted(bounds)
    if ordered[0] < 1 or ordered[-1] != buffer.size or any(b % a for a, b in pairwise(ordered)):
        return None
    return [b // a for a, b in pairwise(ordered)][::-1]


def _extent(atom: Atom) -> int:
    return Index(((atom, 1),)).bounds()[1] + 1


def _order(reader: Index, sizes: Sequence[int]) -> list[int] | None:
    """The axes of a buffer in an order in which each axis of a reader goes straight through some of them;
    those with what lies side by side are the last."""
    steps = strides(sizes)
    parts: dict[Axis, list[tuple[int, list[int]]]] = defaultdict(list)
    for atom, step in reader.terms:
        found = _part(atom)
        if found is None:
            return None
        axis, weight = found
        end = step * _extent(atom)
        parts[axis].append((weight, [k for k, each in enumerate(steps) if step <= each < end]))
    groups = [[k for _, digits in sorted(each, reverse=True) for k in digits] for each in parts.values()]
    taken = [k for group in groups for k in group]
    if len(set(taken)) != len(taken):
        return None
    groups += [[k] for k in range(len(sizes)) if k not in taken]
    last = len(sizes) - 1
    return [k for group in sorted(groups, key=lambda group: (last in group, min(group))) for k in group]


def _part(atom: Atom) -> tuple[Axis, int] | None:
    """The axis of which an atom is a digit, and after how many steps along it the digit changes."""
    match atom:
        case Axis():
            return atom, 1
        case Divided(Index(terms=((value, 1),), offset=0), divisor):
            found = _part(value)
            return found and (found[0], found[1] * divisor)
        case Remainder(Index(terms=((value, 1),), offset=0), _):
            return _part(value)
    return None


def _side_by_side(order: Sequence[int], sizes: Sequence[int]) -> int:
    """How many elements stay side by side."""
    k = len(order)
    while k and order[k - 1] == k - 1:
        k -= 1
    return prod(sizes[k:])


def _permuted(sizes: Sequence[int], order: Sequence[int]) -> Moving:
    steps = dict(zip(order, strides([sizes[k] for k in order]), strict=True))

    def moved(index: Index) -> Index:
        digits = unflatten(index, sizes)
        return combined(digits, [steps[k] for k in range(len(sizes))]).joined()

    return moved


# ---- the kernels -------------------------------------------------------------------------------------------


def _moved(kernel: Kernel, moving: dict[Buffer, Moving]) -> Kernel:
    """A kernel that finds elements where they are now."""

    def place(buffer: Buffer, index: Index) -> tuple[Buffer, Index]:
        return buffer, moving[buffer](index) if buffer in moving else index

    rewriter, c = Rewriter(place=place), kernel.contraction
    body = rewriter.statements(kernel.body)
    return replace(kernel, body=body, contraction=c and _product(c, rewriter, place))


def _product(
    c: Contraction, rewriter: Rewriter, place: Callable[[Buffer, Index], tuple[Buffer, Index]]
) -> Contraction:
    stores = tuple(s for s in rewriter.statements(c.stores) if isinstance(s, Store))
    left, right = rewriter.expression(c.left), rewriter.expression(c.right)
    return replace(c, place=place(c.out, c.place)[1], left=left, right=right, stores=stores)
