"""`rearrange`: axes by their names in a pattern, `"b (h w) c -> b c h w"`, as in `torch.func`.

In flow a Tensor, or several that are stacked, and a pattern; out flows a view of it where there can be one:
axes in brackets are one axis, `...` stands for any number of axes, `1` and `()` for one of size 1. The
notation is that of Rogozhnikov, "Einops: clear and reliable tensor manipulations with einstein-like notation"
(2022).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.tensor import Tensor

Group = tuple[str, ...]
"""The names of the axes that are one axis of a Tensor; none for an axis of size 1."""

_ITEM = re.compile(r"\(([^()]*)\)|(\.\.\.)|([^\s().]+)|(\S)")
_DOTS, _BRACKETED = "...", "(...)"


class _Side(NamedTuple):
    """One side of a pattern."""

    groups: list[Group]
    names: set[str]


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """The Tensor with its axes as the right side of the pattern has them; Tensors in a list are stacked.

    Raises ArgumentError for a malformed pattern, ShapeError where axes do not fit; of the axes in a bracket
    on the left at most one may have a size that `axes_lengths` does not say.
    """
    x: Tensor = tensor if isinstance(tensor, Tensor) else FUNCTIONS["stack"](tensor)
    left, right = _sides(pattern, axes_lengths)
    groups, rest = _spread(left.groups, x.ndim)
    sizes: dict[str, int] = {}
    for group, size in zip(groups, x.shape):
        sizes |= _sizes(group, size, axes_lengths)
    order = [name for group in groups for name in group]
    target = [name for group in right.groups for name in (rest if group == (_DOTS,) else _open(group, rest))]
    unfolded = x.reshape([sizes[name] for name in order])
    moved = unfolded.permute([order.index(name) for name in target])
    shape: list[int] = []
    for group in right.groups:
        if group == (_DOTS,):
            shape += [sizes[name] for name in rest]
        else:
            shape.append(prod(sizes[name] for name in _open(group, rest)))
    found: Tensor = moved.reshape(shape)
    return found


def _open(group: Group, rest: Sequence[str]) -> list[str]:
    """The names of a group, with those that its ellipsis stands for."""
    return [name for each in group for name in (rest if each == _BRACKETED else (each,))]


# ---- patterns ----------------------------------------------------------------------------------------------


def _sides(pattern: str, lengths: Mapping[str, Any]) -> tuple[_Side, _Side]:
    """Both sides, which have the same names."""
    parts = pattern.split("->")
    if len(parts) != 2:
        raise _refused("Pattern must contain a single '->' separator")
    left, right = map(_side, parts)
    if any(_BRACKETED in group for group in left.groups):
        raise _refused(f"Ellipsis is parenthesis in the left side is not allowed: {pattern}")
    if _DOTS in right.names - left.names:
        raise _refused(f"Ellipsis found in right side, but not left side of a pattern {pattern}")
    for _name, size in lengths.items():
        if not isinstance(size, int):
            raise _refused(f"rearrange axis lengths must be integers, got: {type(size)}")
    odd = left.names ^ right.names
    if odd:
        raise _refused(
            f"Identifiers only on one side of rearrange expression (should be on both): {_set(odd)}"
        )
    unknown = lengths.keys() - left.names
    if unknown:
        raise _refused(f"Identifiers not found in rearrange expression: {_set(unknown)}")
    return left, right


def _side(text: str) -> _Side:
    groups: list[Group] = []
    names: set[str] = set()
    for bracket, dots, word, stray in _ITEM.findall(text):
        if stray:
            if stray in "()" and text.count("(") == text.count(")"):
                raise _refused("Axis composition is one-level (brackets inside brackets not allowed)")
            raise _refused(f"Brackets are not balanced or {stray!r} is no axis: {text.strip()}")
        listed = [name for name in (bracket.split() or [dots or word]) if name not in ("", "1")]
        for name in listed:
            _check(name)
            if name in names:
                raise _refused(f"Indexing expression contains duplicate dimension {name!r}")
            names.add(name)
        groups.append(tuple(_BRACKETED if name == _DOTS and bracket else name for name in listed))
    return _Side(groups, names)


def _check(name: str) -> None:
    if name == _DOTS:
        return
    if name.isdecimal():
        raise _refused("rearrange only supports unnamed axes of size 1")
    if not name.isidentifier() or name[0] == "_" or name[-1] == "_":
        why = (
            "\naxis name should should not start or end with underscore" if "_" in (name[0], name[-1]) else ""
        )
        raise _refused(f"Invalid axis identifier: {name}{why}")


def _set(names: Iterable[str]) -> str:
    return f"{{{', '.join(map(repr, sorted(names)))}}}"


def _refused(text: str) -> ArgumentError:
    return ArgumentError(mirrored(text))


# ---- sizes -------------------------------------------------------------------------------------------------


def _spread(groups: Sequence[Group], ndim: int) -> tuple[list[Group], list[str]]:
    """A group for each axis of a Tensor, and the names of those that the ellipsis stands for."""
    dots = (_DOTS,) in groups
    spare = ndim - (len(groups) - dots)
    if spare < 0 or (spare and not dots):
        raise _refused(
            f"Number of dimensions in pattern ({len(groups) - dots}) must be "
            f"{'less than or equal to' if dots else 'equal to'} the number of dimensions in the tensor "
            f"({ndim})"
        )
    rest = [f"{_DOTS}{k}" for k in range(spare)]
    found: list[Group] = []
    for group in groups:
        found += [(name,) for name in rest] if group == (_DOTS,) else [group]
    return found, rest


def _sizes(group: Group, size: int, lengths: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the axes that one axis of this size is made of."""
    unknown = [name for name in group if name not in lengths]
    known = prod(lengths[name] for name in group if name in lengths)
    if len(unknown) > 1:
        raise ShapeError(
            f"rearrange of an axis of size {size}", f"the sizes of {' and '.join(unknown)} are not known",
            f"say the size of all but one: {unknown[0]}=…",
        )  # fmt: skip
    if size % known if unknown else size != known:
        shown = "one of size 1" if not group else f"({' '.join(group)}) with {known} elements"
        raise ShapeError(f"rearrange of an axis of size {size}", f"it cannot be {shown}")
    return {name: lengths.get(name, size // max(known, 1)) for name in group}
