"""Forward mode, as `torch.autograd.forward_ad`: Tensors that carry a tangent, for the length of a level.

    with dual_level():
        y = f(make_dual(x, t))
        value, slope = unpack_dual(y)      # the slope is the Jacobian of f at x, times t

In flow primals and tangents, out flow values and theirs. Nothing is computed on the way: the tape records
what is done with a dual, and `unpack_dual` has a forward pass go along it (`forward.py`), so every op with a
derivative has a tangent, views and in-place operations too. A dual is what `_Dual` gives of its primal.
Primals and tangents that were unpacked come by `_Plain`, which lets the reverse mode pass, and no tangent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, GradientError, ShapeError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.autograd.forward import Pushed, pushed
from retrograd.runtime.autograd.function import Function
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.tape import Edge, GradNode
from retrograd.runtime.modes import STATE, Decorator
from retrograd.runtime.tensor import Tensor, new

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]


class UnpackedDualTensor(NamedTuple):
    """A dual's two parts; the tangent is None where it has none."""

    primal: Tensor
    tangent: Tensor | None


class _Seat(NamedTuple):
    """A dual as it was made, whatever is done to it in place since."""

    dual: Tensor
    tangent: Tensor


class _Level:
    """One per thread: the duals of the level that is open."""

    def __init__(self) -> None:
        self.inference = STATE.inference
        self.recording = STATE.grad
        """Whether what is unpacked has a history where the primals or tangents have one."""
        self.seats: dict[Edge, _Seat] = {}


class _Current(threading.local):
    level: _Level | None = None
    pushing: bool = False
    """A tangent is being worked out, of which `_Plain` knows nothing."""


_CURRENT = _Current()
_ANCHOR = Tensor(np.zeros(())).requires_grad_()
"""An operand of every dual, so that what is done with it is recorded; no cotangent arrives here."""


# ---- levels ------------------------------------------------------------------------------------------------


def enter_dual_level() -> int:
    """Open a level, which is number 0. Raises GradientError where one is open in this thread."""
    if _CURRENT.level is not None:
        raise GradientError(
            mirrored("Nested forward mode AD is not supported at the moment"),
            advice="nest func.jvp for derivatives of derivatives",
        )
    _CURRENT.level = _Level()
    STATE.grad, STATE.inference = True, False
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the level: Tensors lose the tangents that they have in it."""
    current = _CURRENT.level
    if level not in (None, 0 if current is not None else -1):
        raise GradientError(
            mirrored(
                "Trying to exit a forward AD level that was not the last one that was created. This is not "
                "supported."
            )
        )
    if current is None:
        raise GradientError(mirrored("Dual level must be a positive number."))
    STATE.grad, STATE.inference = current.recording, current.inference
    _CURRENT.level = None


class dual_level(Decorator):
    """A level for the length of a `with` block, or of each call of a function."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *error: object) -> None:
        exit_dual_level()


# ---- duals -------------------------------------------------------------------------------------------------


class _Dual(Function):
    """The primal, recorded also where it requires no gradient."""

    @staticmethod
    def forward(ctx: Any, *operands: Tensor) -> Tensor:
        return operands[0]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        return cotangents[0], None


class _Plain(Pushed):
    """What is given, without its tangent."""

    @staticmethod
    def push(ctx: Any, tangents: Sequence[Tensor | None]) -> list[None]:
        return [None]

    @staticmethod
    def forward(ctx: Any, *operands: Tensor) -> Tensor:
        return operands[0]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor | None:
        return None if _CURRENT.pushing else cotangents[0]


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """The tensor, sharing its memory, with a tangent of the same shape.

    Raises ArgumentError for dtypes that are not floating, ShapeError for another shape, GradientError where
    no level is open or the tensor has a tangent already.
    """
    current = _CURRENT.level
    if current is None:
        raise GradientError(
            mirrored(
                "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
                "enter_dual_level() first."
            )
        )
    if level not in (None, 0):
        raise GradientError(mirrored("Invalid level given to _make_dual"))
    for name, x in (("primal", tensor), ("tangent", tangent)):
        if not x.dtype.is_inexact:
            raise ArgumentError(
                mirrored(f"Expected {name} to be floating point or complex, but got: {x.dtype}")
            )
    if tensor.shape != tangent.shape:
        raise ShapeError(
            mirrored(
                "Trying to set a forward gradient that has a different size than that of the original "
                f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the given "
                f"forward gradient is of size {list(tangent.shape)}."
            )
        )
    if next(_seats(tensor, current), None) is not None:
        raise GradientError(
            mirrored(
                "Making a dual Tensor based on a Tensor that already has a forward gradient at the same "
                "level 0 is not supported."
            )
        )
    if not STATE.grad:
        raise GradientError(
            "make_dual() under no_grad()",
            "tangents are found by what the tape records, and it records nothing there",
            "open the level inside no_grad(): what is unpacked has no history then",
        )
    dual: Tensor = _Dual.apply(tensor, _ANCHOR)
    seat = Tensor(dual._value)
    seat._edge, seat._requires_grad = dual._edge, True
    current.seats[edge_of(dual)] = _Seat(seat, tangent.clone())  # it may share what is changed in place
    return dual


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """A Tensor without its tangent, and this, or None where it depends on no dual of the open level."""
    if not isinstance(tensor, Tensor):
        kind = type(tensor).__name__
        raise ArgumentError(
            mirrored(f"_unpack_dual(): argument 'dual' (position 1) must be Tensor, not {kind}")
        )
    current = _CURRENT.level
    if current is None:
        return UnpackedDualTensor(tensor, None)
    if level not in (None, 0):
        raise GradientError(mirrored("Invalid level given to _fw_primal"))
    seats = list(_seats(tensor, current))
    primal = _settled(tensor, current, [tensor])
    if not seats:
        return UnpackedDualTensor(primal, None)
    own = [tensor, *(seat.tangent for seat in seats)]
    return UnpackedDualTensor(primal, _settled(_pushed(tensor, seats), current, own))


def _pushed(tensor: Tensor, seats: list[_Seat]) -> Tensor:
    """The Jacobian by the duals times their tangents."""
    _CURRENT.pushing = True
    try:
        duals, tangents = [seat.dual for seat in seats], [seat.tangent for seat in seats]
        (slope,) = pushed([tensor], duals, tangents, create_graph=True)
    finally:
        _CURRENT.pushing = False
    return new(np.zeros(tensor.shape, tensor.dtype.numpy), tensor) if slope is None else slope


def _settled(found: Tensor, level: _Level, sources: list[Tensor]) -> Tensor:
    """The same elements with no tangent, and with a history if it leads to a Tensor that requires grad."""
    if not level.recording or not any(_requires(x) for x in sources):
        return found.detach()
    plain: Tensor = _Plain.apply(found)
    return plain


# ---- what the tape says ------------------------------------------------------------------------------------


def _seats(tensor: Tensor, level: _Level) -> Iterator[_Seat]:
    """The duals of the level that a Tensor depends on."""
    for edge in _history(tensor, through_plain=False):
        if edge in level.seats:
            yield level.seats[edge]


def _requires(tensor: Tensor) -> bool:
    """Whether the reverse mode would reach a leaf of the user's."""
    leaves = (edge for edge in _history(tensor, through_plain=True) if isinstance(edge, Tensor))
    return any(leaf is not _ANCHOR for leaf in leaves)


def _history(tensor: Tensor, through_plain: bool) -> Iterator[Edge]:
    if not tensor.requires_grad:
        return
    seen: set[Edge] = set()
    waiting = [edge_of(tensor)]
    while waiting:
        edge = waiting.pop()
        if edge is None or edge in seen:
            continue
        seen.add(edge)
        yield edge
        plain = getattr(edge, "function", None) is _Plain
        if isinstance(edge, GradNode) and (through_plain or not plain):
            waiting.extend(edge.edges)
