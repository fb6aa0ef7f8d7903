"""The arguments of a compiled function: by name, as a structure with leaves, and which of them gradients are
taken by.

In flow what the user passes and what he told `compile_grad` (`wrt`, `static`); out flow names, structures and
flags.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, GradientError
from retrograd.runtime.compiled.specialise import LEAVES, Argument
from retrograd.runtime.pytree import LEAF, Structure, flatten
from retrograd.runtime.tensor import Tensor

Wrt = str | int | Sequence[str | int] | None

_ANY = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
_NOTHING: Structure = (type(None), None)
_NO_KEYWORDS: Structure = (dict, (), ())


class Parameters:
    """What a compiled function takes."""

    def __init__(self, function: Callable[..., Any], wrt: Wrt, static: Sequence[str]) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        self.name: str = name if name.isidentifier() else "function"
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters.values()
        self._names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._rest = rest or "args"
        asked = [p for p in parameters if p.default is p.empty and p.kind not in _ANY]
        named = any(p.kind is p.KEYWORD_ONLY for p in asked)
        most = sys.maxsize if rest else len(self._names) + 1
        self._alone = range(0) if named else range(len(asked), most)
        """How many positional arguments fit, without others."""
        self.wrt = wrt
        self._static = frozenset(static)
        for name in [*static, *([] if wrt is None else [wrt] if isinstance(wrt, str | int) else wrt)]:
            self._check(name)

    def _check(self, which: str | int) -> None:
        """What the decorator is given must name a parameter."""
        parameters = self.signature.parameters
        kinds = {p.kind for p in parameters.values()}
        if isinstance(which, str):
            known = which in parameters or inspect.Parameter.VAR_KEYWORD in kinds
        else:
            count = len(parameters)
            known = inspect.Parameter.VAR_POSITIONAL in kinds or -count <= which < count
        if not known:
            raise ArgumentError(
                f"compile_grad of {self.name}",
                f"it has no parameter {which!r}",
                f"its signature is {self.signature}",
            )

    def structure(self, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> Structure:
        """The structure of `(args, kwargs)`; the leaves are appended to `leaves`."""
        if not (kwargs or self._static):
            parts = []
            for value in args:
                if type(value) in LEAVES:
                    leaves.append(value)
                    parts.append(LEAF)
                else:
                    parts.append(flatten(value, leaves, LEAVES, weak=True))
            return tuple, (), ((tuple, (), tuple(parts)), _NO_KEYWORDS)
        names = [*self._positions(len(args)), *kwargs]
        parts = [
            flatten(value, leaves, (Tensor, np.ndarray) if name in self._static else LEAVES, weak=True)
            for name, value in zip(names, (*args, *kwargs.values()), strict=True)
        ]
        positional, named = tuple(parts[: len(args)]), tuple(parts[len(args) :])
        return tuple, (), ((tuple, (), positional), (dict, tuple(kwargs), named))

    def named(self, structure: Structure) -> list[Argument]:
        """The arguments by name. Raises ArgumentError where they do not fit the signature."""
        (_, _, positional), (_, names, named) = structure[2]
        if names or len(positional) not in self._alone:
            self._check_fitting(len(positional), names)
        arguments, start = [], 0
        for name, part in zip(
            [*self._positions(len(positional)), *names], [*positional, *named], strict=True
        ):
            stop = start + _leaf_count(part)
            arguments.append(Argument(name, part, range(start, stop)))
            start = stop
        return arguments

    def _check_fitting(self, positional: int, names: Sequence[str]) -> None:
        """Raise ArgumentError if so many positional arguments, and these, do not fit the signature."""
        try:
            self.signature.bind(*range(positional), **dict.fromkeys(names))
        except TypeError as error:
            raise ArgumentError(
                f"{self.name}() {error}", advice=f"its signature is {self.name}{self.signature}"
            ) from None

    def _positions(self, count: int) -> list[str]:
        """The parameters' names for so many positional arguments."""
        further = range(count - len(self._names))
        return [*self._names[:count], *(f"{self._rest}_{k}" for k in further)]

    # ---- what gradients are taken by -----------------------------------------------------------------------

    def wanted(self, arguments: Sequence[Argument], leaves: Sequence[Any], bound: int) -> list[bool]:
        """For each leaf, whether `wrt` names it; without `wrt`, whether it is a Tensor that requires grad.

        `bound` is how many arguments come before those that the user passes.
        """
        if self.wrt is None:
            return requiring(leaves)
        chosen = self._chosen([a.name for a in arguments][bound:])
        flags: list[bool] = []
        for a in arguments:
            own = floating([leaves[k] for k in a.leaves]) if a.name in chosen else [False] * len(a.leaves)
            if a.name in chosen and not any(own):
                raise GradientError(
                    f"the gradient of {self.name} by {a.name}", "there is no floating-point value in it"
                )
            flags += own
        return flags

    def _chosen(self, passed: list[str]) -> list[str]:
        """The names of the arguments that `wrt` names."""
        given = [self.wrt] if isinstance(self.wrt, str | int) else self.wrt or ()
        chosen = []
        for which in given:
            if isinstance(which, int):
                name = passed[which] if -len(passed) <= which < len(passed) else None
            else:
                name = which if which in passed else None
            if name is None:
                raise ArgumentError(
                    f"the gradient of {self.name} by wrt={which!r}",
                    f"the call passes only {', '.join(passed) or 'nothing'}",
                    "pass that argument, too",
                )
            chosen.append(name)
        return chosen

    def gradients(self, arguments: Sequence[Argument], wanted: Sequence[bool], captured: int) -> Structure:
        """The structure of the gradients: arguments with None where none is taken, then captured Tensors."""
        parts = [
            _only(a.structure, iter([wanted[k] for k in a.leaves]))
            for a in arguments
            if any(wanted[k] for k in a.leaves)
        ]
        parts += [LEAF] * captured
        bare = len(parts) == 1 and (self.wrt is None or isinstance(self.wrt, str | int))
        return parts[0] if bare else (tuple, (), tuple(parts))


def requiring(leaves: Sequence[Any]) -> list[bool]:
    """The Tensors that require grad."""
    return [isinstance(x, Tensor) and x.requires_grad for x in leaves]


def floating(leaves: Sequence[Any]) -> list[bool]:
    """All floating arrays and Tensors; where there are none, the Python floats."""
    arrays = [isinstance(x, Tensor | np.ndarray) and is_floating(x) for x in leaves]
    return arrays if any(arrays) else [is_floating(x) for x in leaves]


def is_floating(leaf: Any) -> bool:
    if isinstance(leaf, Tensor):
        return leaf.dtype.is_inexact
    return not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "fcV"


def _leaf_count(structure: Structure) -> int:
    if structure is LEAF:
        return 1
    nested = isinstance(structure, tuple) and len(structure) == 3
    return sum(map(_leaf_count, structure[2])) if nested else 0


def _only(structure: Structure, wanted: Iterator[bool]) -> Structure:
    """The structure with None for each leaf that is not wanted."""
    if structure is LEAF:
        return LEAF if next(wanted) else _NOTHING
    if not (isinstance(structure, tuple) and len(structure) == 3):
        return structure
    kind, names, parts = structure
    return kind, names, tuple([_only(part, wanted) for part in parts])
