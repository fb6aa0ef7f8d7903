"""Functions of complex tensors, and of their parts.

The parts are views of the same memory: a change of `x.real` is one of `x`, with its history. A conjugate is
computed at once, so no Tensor is one that waits to be resolved. Of real tensors everything here is what it is
of complex numbers without an imaginary part. The ops and their derivatives are in
`compiler/ops/complexes.py`.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored
from retrograd.compiler.ops import complexes as ops
from retrograd.compiler.ops.rows import rows
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.replay import planned
from retrograd.runtime.functions.public import public
from retrograd.runtime.functions.shaping import broadcast_tensors
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor, new

_real_itself = partial(calls.itself, 1, real=True)

# ---- parts -------------------------------------------------------------------------------------------------


@public("is_complex")
def is_complex(input: Tensor) -> bool:
    """Whether its numbers are complex."""
    return input.dtype.is_complex


@public("isreal", method=True, replay=True)
def isreal(input: Tensor) -> Tensor:
    """Which elements have no imaginary part."""
    if not input.dtype.is_complex:
        return new(np.ones(tuple(input.shape), np.bool_))
    found: Tensor = rows.eq(ops.imag(input), 0)
    return found


@public("real", attribute=True, around=lambda slow: _real_itself(planned(slow)))
def real(input: Tensor) -> Tensor:
    """The real parts, a view; a real tensor itself."""
    found: Tensor = ops.real(input)
    return found


@public("imag", attribute=True, replay=True)
def imag(input: Tensor) -> Tensor:
    """The imaginary parts, a view. DtypeError for a real tensor."""
    if not input.dtype.is_complex:
        raise DtypeError(mirrored("imag is not implemented for tensors with non-complex dtypes."))
    found: Tensor = ops.imag(input)
    return found


def _part(index: int) -> property:
    """A part as a property that can be written to."""
    read = (real, imag)[index]

    def write(self: Tensor, value: object) -> None:
        part = self if index == 0 and not self.dtype.is_complex else read(self)
        part.copy_(value if isinstance(value, Tensor) else new(np.asarray(value)))

    return property(read, write)


for _index, _name in enumerate(("real", "imag")):
    setattr(Tensor, _name, _part(_index))


@public("view_as_real", replay=True)
def view_as_real(input: Tensor) -> Tensor:
    """The same memory as pairs of real numbers along a new last axis."""
    if not input.dtype.is_complex:
        raise DtypeError(mirrored("view_as_real is only supported for complex tensors"))
    found: Tensor = ops.as_real(input)
    return found


@public("view_as_real_copy")
def view_as_real_copy(input: Tensor) -> Tensor:
    """`view_as_real`, with memory of its own."""
    return view_as_real(input).clone()


@public("view_as_complex_copy")
def view_as_complex_copy(input: Tensor) -> Tensor:
    """`view_as_complex`, with memory of its own."""
    return view_as_complex(input).clone()


@public("view_as_complex")
def view_as_complex(input: Tensor) -> Tensor:
    """The same memory as complex numbers, for each pair along the last axis."""
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise DtypeError(
            mirrored(
                "view_as_complex is only supported for half, float and double tensors, but got a tensor of "
                f"scalar type: {bare_legacy_name(input.dtype)}"
            )
        )
    for holds, words in (
        (input.ndim > 0, "Input tensor must have one or more dimensions"),
        (input.shape[-1:] == (2,), "Tensor must have a last dimension of size 2"),
        (input.stride()[-1:] == (1,), "Tensor must have a last dimension with stride 1"),
        (all(s % 2 == 0 for s in input.stride()[:-1]), _UNEVEN),
        (input.storage_offset() % 2 == 0, "Tensor must have a storage_offset divisible by 2"),
    ):
        if not holds:
            raise ArgumentError(mirrored(words))
    found: Tensor = ops.as_complex(input)
    return found


_UNEVEN = "Tensor must have a stride divisible by 2 for all but last dimension"


# ---- from parts --------------------------------------------------------------------------------------------


@public("complex", replay=True)
def complex_(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers of their real and imaginary parts."""
    _check_parts(real, imag)
    found: Tensor = ops.from_parts(*_broadcast(real, imag))
    return found


@public("polar", replay=True)
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Complex numbers of their absolute values and angles."""
    _check_parts(abs, angle)
    found: Tensor = ops.from_parts(*_broadcast(abs * angle.cos(), abs * angle.sin()))
    return found


def _check_parts(first: Tensor, second: Tensor) -> None:
    kinds = [bare_legacy_name(x.dtype) for x in (first, second)]
    if not all(x.dtype.is_floating_point for x in (first, second)):
        words = "Expected both inputs to be Half, Float or Double tensors but got {} and {}"
        raise DtypeError(mirrored(words.format(*kinds)))
    if first.dtype is not second.dtype:
        words = "Expected object of scalar type {} but got scalar type {} for second argument"
        raise DtypeError(mirrored(words.format(*kinds)))
    if first.dtype.is_half:
        raise DtypeError(f"complex numbers of {first.dtype}", "there are none of half precision", "cast them")


def _broadcast(re: Tensor, im: Tensor) -> tuple[Tensor, Tensor]:
    if re.shape == im.shape:
        return re, im
    first, second = broadcast_tensors(re, im)
    return first, second


# ---- element by element ------------------------------------------------------------------------------------


def _conjugate(*names: str) -> None:
    @public(*names, method=True, around=lambda slow: _real_itself(planned(slow)))
    def conjugate(input: Tensor) -> Tensor:
        """The complex conjugate; a real tensor itself."""
        found: Tensor = ops.conj(input)
        return found


_conjugate("conj")
_conjugate("conj_physical")


@public("conj_physical_", method=True)
def conj_physical_(input: Tensor) -> Tensor:
    """Each element becomes its conjugate."""
    return assign(input, ops.conj(input)) if input.dtype.is_complex else input


def _itself(*names: str) -> None:
    @public(*names, method=True, around=_real_itself)
    def same(input: Tensor) -> Tensor:
        """The operand itself: conjugates and negatives are computed at once."""
        return input


_itself("resolve_conj", "resolve_neg")
