"""What a compiled function keeps of the calls that it has met: for each kind of call its specialisations.

In flow the leaves and the structure of a call's arguments, out flow the `Entry` that fits, and `Read`s, by
which native code makes sure that the world is still the one that it was made for. What else of a call, or of
the world, shall decide the code goes into `kind_of`, `kind_of_call` and `modes_read`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import getitem
from types import CellType
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import warn
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple
from retrograd.runtime import device as devices
from retrograd.runtime import precision, tracing
from retrograd.runtime.compiled.specialise import Specialisation, followed
from retrograd.runtime.modes import INFERENCE, STATE, casting, inferring
from retrograd.runtime.native.placing import placing
from retrograd.runtime.native.watching import Read
from retrograd.runtime.paths import Answers
from retrograd.runtime.pytree import Identity, Structure
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor

VARIANTS = 8
"""Specialisations kept for one kind of call, for different worlds outside."""
_PATHS = 64
"""The same of a function that goes different ways for different elements."""
_MANY = 32
"""Specialisations of one function from which on the user is told that there are so many."""


class Entry(NamedTuple):
    """A specialisation, and how what it computes is given back."""

    specialisation: Specialisation
    gradients: Structure
    """Of the gradients, each leaf one of the recording's wanted inputs."""
    box: Callable[[Array], Any]
    held: list[Identity]
    """The objects among the arguments."""
    native: dict[Hashable, Callable[..., Any] | None]
    """Native callables that have been made, by `dispatch.variant`; None if there can be none."""


class Entries:
    """Those of one function, by the kind of call."""

    __slots__ = "_table", "_told"

    def __init__(self) -> None:
        self._table: dict[object, list[Entry]] = {}
        self._told = set[str]()

    def __len__(self) -> int:
        return sum(map(len, self._table.values()))

    def find(self, key: object, leaves: Sequence[Any]) -> tuple[Entry | None, Answers]:
        """The entry for these leaves, if there is one; else what is known of the path that they take."""
        entries = self._table.get(key, ())
        return followed(((e, e.specialisation) for e in entries if e.specialisation.guards.hold()), leaves)

    def enter(self, key: object, entry: Entry) -> list[Entry]:
        """Keep the entry, the newest first; returns those that are dropped: too many of a kind, or of objects
        that are no more."""
        table = self._table
        gone = [k for k, entries in table.items() if any(i.gone for e in entries for i in e.held)]
        dropped = [each for old in gone for each in table.pop(old)]
        variants = [entry, *(each for each in table.get(key, ()) if not _same_path(each, entry))]
        most = VARIANTS if entry.specialisation.path is None else _PATHS
        table[key] = variants[:most]
        if most == VARIANTS < len(variants):
            warn_of_changes(variants[1].specialisation, self._told)
        return [*dropped, *variants[most:]]

    def warn_of_many(self, name: str) -> None:
        """Tell the user that the function of that name was compiled rather often."""
        if len(self) == _MANY:
            warn(
                f"{name} was compiled {_MANY} times, for different shapes, constants "
                "or paths: pass numbers that change as floats or Tensors, choose between values with where()",
                RuntimeWarning,
            )


def warn_of_changes(before: Specialisation, told: set[str]) -> None:
    """Tell the user, once for each, of what is read from outside and found changed time and again."""
    changed = {read.name for read in before.guards.broken()} - told
    if changed:
        told |= changed
        name, shown = before.recording.name, ", ".join(sorted(changed))
        warn(
            f"{name} has been compiled anew more than {VARIANTS} times because {shown}, read from outside, "
            "had changed: pass it as an argument (a number that changes as a float or a Tensor), "
            "or let one Tensor stay and change its elements",
            RuntimeWarning,
        )


def _same_path(old: Entry, new: Entry) -> bool:
    """Whether both go the same way in the same world: they differ in the last bit of what they ask for."""
    one, other = old.specialisation, new.specialisation
    paths = one.path is not None and other.path is not None and one.path.answers == other.path.answers
    return paths and one.guards.hold()


def kind_of_call(structure: Structure, leaves: Sequence[Any]) -> object:
    """What of the arguments, and of the modes in force, decides the code: part of a key."""
    state = dtypes.default_dtype(), devices.chosen(None), precision.tf32, STATE.inference, STATE.autocast
    return state, structure, tuple(map(kind_of, leaves))


def kind_of(leaf: Any) -> object:
    """What of a leaf decides the code: part of a key."""
    if isinstance(leaf, Tensor):
        value = leaf._value
        tracked = leaf._requires_grad if leaf._view is None else leaf.requires_grad
        where = value.device if isinstance(value, DeviceArray) else None
        return value.dtype, value.shape, tracked, where, placing(value), leaf._counter is INFERENCE
    return (leaf.dtype, leaf.shape, placing(leaf)) if isinstance(leaf, np.ndarray) else type(leaf)


def modes_read() -> list[Read]:
    """What native calls are made for: nobody is tracing, this is the default type, and in inference mode
    or not, in autocast or not; which only a thread has to tell while there are others in it.
    """
    return [
        _shared("inference", inferring),
        _shared("autocast", casting),
        Read(getitem, vars(tracing), "depth", 0, "depth"),
        Read(getitem, vars(dtypes), "_default", dtypes.default_dtype(), "default dtype"),
        Read(getitem, vars(devices), "_default", devices.chosen(None), "default device"),
    ]


def _shared(field: str, threads: CellType) -> Read:
    """A field of STATE, which is as ever in all threads but so many."""
    if threads.cell_contents:
        return Read(getattr, STATE, field, getattr(STATE, field), field)
    return Read(getattr, threads, "cell_contents", 0, field)


def modes_of_values(history: bool) -> list[Read]:
    """The same for values: whether operations are recorded decides the code. A history that native code
    writes knows no lines."""
    found = [*modes_read(), Read(getattr, STATE, "grad", STATE.grad, "grad")]
    return [*found, NO_ANOMALY] if history else found


NO_ANOMALY = Read(getattr, STATE, "anomaly", False, "anomaly")
