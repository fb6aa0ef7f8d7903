"""Element types, and how they promote. Ground floor: NumPy only.

A `DType` is a singleton: compare with `is`. In a graph it prints by its short name (`f32`); to the user it
prints as in PyTorch (`torch.float32`). Promotion follows PyTorch: a result has the highest *category* (bool <
integer < floating < complex) among its operands, and within that category dimensioned tensors outrank 0-d
tensors, which outrank Python numbers; a complex result is as wide as the floating operands ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from math import inf, isfinite
from typing import Any

import numpy as np

from retrograd.compiler.errors import ArgumentError, MissingPackageError, mirrored
from retrograd.compiler.record import record


@record(slots=True, eq=False)
class DType:
    """One element type."""

    name: str
    """Short name in printed graphs: `f32`, `i64`, `bool`."""
    torch_name: str
    category: int
    """0 bool, 1 integer, 2 floating, 3 complex."""
    bits: int
    aliases: tuple[str, ...] = ()
    numpy: np.dtype[np.generic] = field(init=False)
    """How NumPy calls it."""
    is_floating_point: bool = field(init=False)
    is_complex: bool = field(init=False)
    """Pairs of floating-point numbers, a real part and an imaginary one."""
    is_inexact: bool = field(init=False)
    """Floating or complex: what is rounded, and may have a gradient."""
    itemsize: int = field(init=False)
    """Bytes."""
    shown: str = field(init=False)
    """As PyTorch prints it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_floating_point", self.category == 2)
        object.__setattr__(self, "is_complex", self.category == 3)
        object.__setattr__(self, "is_inexact", self.category >= 2)
        object.__setattr__(self, "itemsize", self.bits // 8)
        object.__setattr__(self, "shown", f"torch.{self.torch_name}")

    def __getattr__(self, name: str) -> np.dtype[np.generic]:
        """`numpy` where NumPy has no such dtype: a package has it, which is imported when it is asked for."""
        if name != "numpy":
            raise AttributeError(name)
        return _enter(self, _bfloat16())

    @property
    def is_half(self) -> bool:
        """A floating type of 16 bits: what is computed from it is computed in float32 and rounded once."""
        return self.category == 2 and self.bits == 16

    @property
    def kind(self) -> str:
        """The letter that NumPy has for its category: `c`, `f`, `i`, `u`, `b`."""
        return self.numpy.kind

    @property
    def is_signed(self) -> bool:
        return self.is_inexact or self.numpy.kind == "i"

    def to_real(self) -> DType:
        """The dtype of the parts of a complex one; any other is itself."""
        return _PARTS.get(self, self)

    def to_complex(self) -> DType:
        """The complex dtype whose parts are of this floating one; any other is itself."""
        return _COMPLEX.get(self, self)

    @property
    def least(self) -> bool | int | float:
        """The least value: False, the most negative integer, -inf."""
        return (False, -(2 ** (self.bits - 1)) if self.is_signed else 0, -inf)[self.category]

    @property
    def greatest(self) -> bool | int | float:
        """The greatest value: True, the greatest integer, inf."""
        return (True, 2 ** (self.bits - self.is_signed) - 1, inf)[self.category]

    def holds(self, number: Any) -> bool:
        """Can the number be stored in it, if need be rounded? A whole one below zero wraps around where there
        is no sign; for bool any is true or false."""
        if self.category == 0:
            return True
        if isinstance(number, complex):
            parts = self.to_real()
            return self.is_complex and parts.holds(number.real) and parts.holds(number.imag)
        if self.is_complex:
            return self.to_real().holds(number)
        if self.category == 2:
            return not isfinite(number) or abs(number) <= float(limits(self).max)
        wraps = isinstance(number, int) and not self.is_signed
        return bool((-self.greatest if wraps else self.least) <= number <= self.greatest)

    def __repr__(self) -> str:
        return self.shown

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        return (dtype, (self.name,))


BY_NUMPY: dict[np.dtype[np.generic], DType] = {}
"""The dtypes by NumPy's; bfloat16 is there from its first use on."""


def _row(name: str, torch_name: str, category: int, *aliases: str) -> DType:
    numpy = np.dtype(torch_name)
    made = DType(name, torch_name, category, 8 * numpy.itemsize, aliases)
    _enter(made, numpy)
    return made


def _enter(d: DType, numpy: np.dtype[np.generic]) -> np.dtype[np.generic]:
    object.__setattr__(d, "numpy", numpy)
    BY_NUMPY[numpy] = d
    return numpy


def limits(d: DType) -> Any:
    """A floating dtype's `finfo`, from the package that has the dtype."""
    if d.numpy.kind == "f":
        return np.finfo(d.torch_name)
    return _ml_dtypes().finfo(d.numpy)


def _bfloat16() -> np.dtype[np.generic]:
    found: np.dtype[np.generic] = np.dtype(_ml_dtypes().bfloat16)
    return found


def _ml_dtypes() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        raise MissingPackageError(
            "a tensor of bfloat16",
            "NumPy has no such numbers, and the package ml_dtypes, which has them, is not installed",
            "pip install 'retrograd[bfloat16]'",
        ) from None
    return ml_dtypes


float32 = _row("f32", "float32", 2, "float")
float64 = _row("f64", "float64", 2, "double")
float16 = _row("f16", "float16", 2, "half")
bfloat16 = DType("bf16", "bfloat16", 2, 16)
int64 = _row("i64", "int64", 1, "long")
int32 = _row("i32", "int32", 1, "int")
int16 = _row("i16", "int16", 1, "short")
int8 = _row("i8", "int8", 1)
uint8 = _row("u8", "uint8", 1)
bool_ = _row("bool", "bool", 0)
complex64 = _row("c64", "complex64", 3, "cfloat")
complex128 = _row("c128", "complex128", 3, "cdouble")

tfloat32 = DType("tf32", "tfloat32", 2, 32)
"""A float32 of which tensor cores read 10 bits of fraction: only kernels keep such, no tensor is of it."""

_PARTS = {complex64: float32, complex128: float64}
_COMPLEX = {float16: complex64, float32: complex64, bfloat16: complex64, float64: complex128}

ALL = (float32, float64, float16, int64, int32, int16, int8, uint8, bool_, complex64, complex128)
"""Those that NumPy has by itself: all but bfloat16."""
FLOATING = tuple(d for d in ALL if d.is_floating_point)
COMPLEX = tuple(d for d in ALL if d.is_complex)

_BY_NAME = {n: d for d in (*ALL, bfloat16) for n in (d.name, d.torch_name, *d.aliases)}
_BY_PYTHON: dict[type, DType] = {bool: bool_, int: int64, float: float64, complex: complex128}

_default = float32


def default_dtype() -> DType:
    """What Python floats, and functions of integers such as `sin`, become: float32 unless set."""
    return _default


def default_complex() -> DType:
    """What Python's complex numbers become: pairs of the default dtype."""
    return _default.to_complex()


def set_default_dtype(d: object) -> None:
    global _default
    chosen = dtype(d)
    if not chosen.is_floating_point:
        raise ArgumentError(
            f"set_default_dtype({chosen})",
            mirrored("only floating-point types are supported as the default type"),
        )
    if chosen is _default:
        return
    _default = chosen
    for forget in DEPENDENT:
        forget()


DEPENDENT: list[Callable[[], None]] = []
"""Called when the default dtype changes: what rests on it is no longer true."""


def dtype(like: object) -> DType:
    """The DType that `like` names: a DType, a NumPy dtype or scalar type, a type of Python's numbers, or a
    name.

    Raises ArgumentError for anything else.
    """
    if isinstance(like, DType):
        return like
    if isinstance(like, np.dtype):
        found = _of_numpy(like)
    elif isinstance(like, str):
        found = _BY_NAME.get(like.removeprefix("torch."))
    elif isinstance(like, type):
        found = _BY_PYTHON.get(like) or (_of_numpy(np.dtype(like)) if issubclass(like, np.generic) else None)
    else:
        found = None
    if found is None:
        names = ", ".join(d.torch_name for d in (*ALL, bfloat16))
        given = f"dtype {like}" if isinstance(like, np.dtype) else f"dtype {like!r}"
        raise ArgumentError(given, "there is no such element type here", f"use one of {names}")
    return found


def _of_numpy(like: np.dtype[np.generic]) -> DType | None:
    found = BY_NUMPY.get(like) or BY_NUMPY.get(like.newbyteorder("="))
    if found is None and like.name == bfloat16.torch_name:
        return BY_NUMPY[bfloat16.numpy]
    return found


def of(value: object) -> DType:
    """The DType of an array, a graph node, a Tensor (by its `dtype`) or a Python number."""
    own = getattr(value, "dtype", None)
    if own is not None:
        return own if isinstance(own, DType) else dtype(own)
    return of_python(type(value))


def of_python(kind: type) -> DType:
    """The dtype of a Python number of this type, by itself."""
    if issubclass(kind, float):
        return _default
    return default_complex() if issubclass(kind, complex) else dtype(kind)


_ORDER = {
    d: k
    for k, d in enumerate(
        (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128)
    )
}


def promote_types(type1: Any, type2: Any) -> DType:
    """The smallest dtype that holds both, as `torch.promote_types`."""
    try:
        return type1 if type1 is type2 else _PROMOTED[type1, type2]
    except (KeyError, TypeError):
        place, wrong = next((k, x) for k, x in enumerate((type1, type2), 1) if not isinstance(x, DType))
        words = f"argument 'type{place}' (position {place}) must be torch.dtype, not {type(wrong).__name__}"
        raise ArgumentError(mirrored(f"promote_types(): {words}")) from None


def _promoted(a: DType, b: DType) -> DType:
    if {a, b} == {uint8, int8}:
        return int16
    if {a, b} == {float16, bfloat16}:
        return float32
    if {a, b} == {float64, complex64}:
        return complex128
    return a if _ORDER[a] > _ORDER[b] else b


_PROMOTED = {(a, b): _promoted(a, b) for a in _ORDER for b in _ORDER}


def result_type(
    dimensioned: Iterable[DType], zero_dim: Iterable[DType] = (), numbers: Iterable[type] = ()
) -> DType:
    """The common type of operands, as `torch.result_type`: tensors with axes, 0-d tensors, Python types."""
    result: DType | None = None
    for group in (dimensioned, zero_dim, map(of_python, numbers)):
        joined: DType | None = None
        for d in group:
            joined = d if joined is None else promote_types(joined, d)
        if joined is not None and (result is None or joined.category > result.category):
            complex_beside_floats = joined.is_complex and result is not None and result.is_floating_point
            result = result.to_complex() if complex_beside_floats and result is not None else joined
    if result is None:
        raise ArgumentError("result_type()", "there are no operands")
    return result
