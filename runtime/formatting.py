"""How a tensor is printed: an array and what its Tensor knows about it in, PyTorch's text out, to the letter.

    tensor([[1., 1.],
            [1., 1.]], requires_grad=True)

`tensor_repr` gathers the suffixes (device, size, dtype, grad_fn), `format_tensor` lays out the elements and
wraps the suffixes, `_Style` decides how one number looks. A new suffix is a line of `tensor_repr`; a new
option is a field of `PrintOptions`. Dtypes read `torch.float64`, as programs `import retrograd as torch`.

The rules are those of PyTorch's printing (torch.set_printoptions), observed on version 2.13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError
from retrograd.compiler.record import record

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Scalar = bool | int | float | complex


@record(slots=True)
class PrintOptions:
    """What `set_printoptions` sets."""

    precision: int = 4
    """Digits after the point."""
    threshold: float = 1000
    """With more elements than this, only the edges of each axis are printed."""
    edgeitems: int = 3
    """Elements printed at each end of a summarised axis."""
    linewidth: int = 80
    sci_mode: bool | None = None
    """Scientific notation always (True), never (False) or where the magnitudes call for it (None)."""

    def __post_init__(self) -> None:
        for name, smallest in (("precision", 0), ("threshold", 0), ("edgeitems", 0), ("linewidth", 1)):
            value = getattr(self, name)
            if value < smallest:
                raise ArgumentError(f"print option {name}={value}", f"{name} must be at least {smallest}")


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=float("inf")),
}

_current = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed from now on.

    A `profile` ("default", "short" or "full") sets everything, the other arguments override it, and what is
    left out keeps its value; `sci_mode` alone falls back to None in every call, as in PyTorch.
    Raises ArgumentError for an unknown profile or a negative number; the options then stay as they were.
    """
    global _current
    if profile is not None and profile not in _PROFILES:
        raise ArgumentError(f"print profile {profile!r}", f"known profiles are {', '.join(_PROFILES)}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    base = _current if profile is None else _PROFILES[profile]
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _current = replace(base, sci_mode=sci_mode, **chosen)


def get_printoptions() -> dict[str, Any]:
    """The options in force, as keyword arguments of `set_printoptions`."""
    return asdict(_current)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Print differently inside a `with` block; takes the arguments of `set_printoptions`."""
    global _current
    before = _current
    set_printoptions(**options)
    try:
        yield
    finally:
        _current = before


def tensor_repr(
    array: NDArray[Any],
    *,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str = "cpu",
    default_dtype: DTypeLike = "float32",
    prefix: str = "tensor(",
) -> str:
    """The whole `repr` of a tensor holding `array`.

    Integers are int64, complex numbers pairs of the default dtype and an empty tensor of that unless the text
    says otherwise; a `grad_fn` hides `requires_grad`. Raises DtypeError for a dtype that tensors do not have.
    """
    empty = array.size == 0
    implied = (np.int64, np.bool_, dtypes.dtype(np.dtype(default_dtype)).to_complex().numpy)
    dtype_is_implied = array.dtype == default_dtype or (not empty and array.dtype in implied)
    shape_is_implied = array.ndim == 1 if empty else _current.edgeitems > 0
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    if not shape_is_implied:
        suffixes.append(f"size={tuple(array.shape)}")
    if not dtype_is_implied:
        suffixes.append(f"dtype=torch.{array.dtype.name}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    return format_tensor(array, suffixes=suffixes, prefix=prefix)


def format_tensor(array: NDArray[Any], *, suffixes: Sequence[str] = (), prefix: str = "tensor(") -> str:
    """The elements of `array` between `prefix` and `suffixes`; one past the line width starts a new line."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fciub":
        raise DtypeError(f"printing an array of dtype {array.dtype}", "tensors hold numbers and booleans")
    indent = len(prefix)
    pieces = [prefix + _body(array, indent)]
    # PyTorch counts the last line as two columns longer than it is.
    column = len(pieces[0]) - pieces[0].rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > _current.linewidth:
            pieces.append(",\n" + " " * indent + suffix)
            column = indent + len(suffix)
        else:
            pieces.append(", " + suffix)
            column += len(suffix) + 2
    return "".join(pieces) + ")"


def _body(array: NDArray[Any], indent: int) -> str:
    """The nested brackets, without prefix and suffixes."""
    if array.size == 0:
        return "[]"
    summarize = array.size > _current.threshold
    shown = _edges(array) if summarize else array
    style = (
        _Style.of(shown) if shown.dtype.kind != "c" else _Pair(_Style.of(shown.real), _Style.of(shown.imag))
    )
    return _brackets(array, indent, style, summarize)


def _edges(array: NDArray[Any]) -> NDArray[Any]:
    """The elements that a summary shows: `edgeitems` from both ends of every axis."""
    count = _current.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * count:
            shown = [*range(count), *range(size - count, size)]
            array = np.take(array, shown, axis=axis)
    return array


def _brackets(array: NDArray[Any], indent: int, style: _Style | _Pair, summarize: bool) -> str:
    if array.ndim == 0:
        return style.text(array.item())
    count = _current.edgeitems
    cut = summarize and len(array) > 2 * count
    head, tail = (array[:count], array[len(array) - count :]) if cut else (array, array[:0])
    if array.ndim == 1:
        parts = [style.text(value) for value in (*head.tolist(), *tail.tolist())]
    else:
        parts = [_brackets(row, indent + 1, style, summarize) for row in (*head, *tail)]
    if cut:
        parts.insert(count, " ..." if array.ndim == 1 and count else "...")
    if array.ndim == 1:
        return _wrapped(parts, indent, style.width)
    separator = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + separator.join(parts) + "]"


def _wrapped(cells: list[str], indent: int, width: int) -> str:
    """One innermost axis, broken into lines of equally many elements."""
    per_line = max(1, (_current.linewidth - indent) // (width + len(", ")))
    lines = [", ".join(cells[start : start + per_line]) for start in range(0, len(cells), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


@record(slots=True)
class _Style:
    """How every number of one tensor is written: a format, a mark for whole floats, and a common width."""

    spec: str = ""
    """The format specification of a number."""
    point: str = ""
    """Stands after a finite number: whole floats are written `1.`."""
    width: int = 1

    @staticmethod
    def of(shown: NDArray[Any]) -> _Style:
        """The style that fits the numbers shown; zeros, infinities and NaN do not widen it."""
        if shown.dtype.kind != "f":
            return _Style().fitted(shown.ravel().tolist())
        numbers = shown[np.isfinite(shown) & (shown != 0)]
        if numbers.size == 0:
            return _Style(".0f", ".")
        if _scientific(numbers):
            style = _Style(f".{_current.precision}e")
        elif (numbers == np.ceil(numbers)).all():
            style = _Style(".0f", ".")
        else:
            style = _Style(f".{_current.precision}f")
        return style.fitted(numbers.tolist())

    def fitted(self, values: list[Scalar]) -> _Style:
        """The same style, as wide as the widest of `values`."""
        return replace(self, width=max([self.width, *(len(self.text(value)) for value in values)]))

    def text(self, value: Scalar) -> str:
        finite = value - value == 0
        text = f"{value:{self.spec}}" + (self.point if finite else "")
        return text.rjust(self.width)


@record(slots=True)
class _Pair:
    """How complex numbers are written: the real part, then the imaginary one with its sign."""

    real: _Style
    imag: _Style

    @property
    def width(self) -> int:
        return self.real.width + self.imag.width + 1

    def text(self, value: complex) -> str:
        imag = self.imag.text(value.imag).lstrip()
        return f"{self.real.text(value.real)}{'' if imag[0] == '-' else '+'}{imag}j"


def _scientific(numbers: NDArray[np.floating[Any]]) -> bool:
    """Whether finite, nonzero `numbers` spread too widely, or lie too far from one, for plain decimals."""
    if _current.sci_mode is not None:
        return _current.sci_mode
    magnitudes = np.abs(numbers.astype(np.float64))
    largest, smallest = float(magnitudes.max()), float(magnitudes.min())
    return largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
