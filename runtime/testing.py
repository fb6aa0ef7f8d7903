"""`testing`: `assert_close`, which says in PyTorch's words how far two results are apart.

In flow two Tensors, arrays or numbers, or nested sequences and mappings of them; out flows nothing, or an
AssertionError for the first pair that differs, with its place. A new kind of pair is a guard in `_compare`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.compiler.ir.quiet import QUIET
from retrograd.compiler.record import record
from retrograd.runtime.functions.arbitrary import make_tensor
from retrograd.runtime.functions.from_data import as_tensor, tensor
from retrograd.runtime.tensor import Tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

Message = str | Callable[[str], str] | None
Item = tuple[Any, ...]
"""The keys and places that lead to a pair."""

_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}
"""Relative and absolute; none for other dtypes."""
_NUMBERS: dict[type, DType] = {int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}


@record
class _Rules:
    """What counts as close."""

    rtol: float | None
    atol: float | None
    equal_nan: bool
    allow_subclasses: bool
    attributes: tuple[str, ...]
    """What two Tensors must have in common besides their shape."""
    msg: Message

    def tolerances(self, *kinds: DType) -> tuple[float, float]:
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        found = [_TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds]
        return max(r for r, _ in found), max(a for _, a in found)

    def failed(self, text: str, item: Item) -> AssertionError:
        if item:
            text += f"\n\nThe failure occurred for item {''.join(f'[{key!r}]' for key in item)}"
        return AssertionError(
            self.msg(text) if callable(self.msg) else text if self.msg is None else self.msg
        )


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Raise an AssertionError unless `|actual − expected| ≤ atol + rtol·|expected|` everywhere, and shapes,
    dtypes and devices are the same. The tolerances go by the dtype unless both are given.

    `msg` replaces the text, or is a function of it. Raises ArgumentError for what cannot be compared.
    """
    if (rtol is None) is not (atol is None):
        missing = "rtol" if rtol is None else "atol"
        raise ArgumentError(
            mirrored(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
        )
    checks = (
        ("layout", check_layout),
        ("device", check_device),
        ("dtype", check_dtype),
        ("stride()", check_stride),
    )
    attributes = tuple(name for name, check in checks if check)
    _compare(actual, expected, (), _Rules(rtol, atol, equal_nan, allow_subclasses, attributes, msg))


def _compare(actual: Any, expected: Any, item: Item, rules: _Rules) -> None:
    """One pair, or the pairs in it."""
    if all(isinstance(x, Sequence) and not isinstance(x, str) for x in (actual, expected)):
        if len(actual) != len(expected):
            raise rules.failed(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", item
            )
        for place, (one, other) in enumerate(zip(actual, expected)):
            _compare(one, other, (*item, place), rules)
    elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
        _compare_keys(actual, expected, item, rules)
        for key in _sorted(expected):
            _compare(actual[key], expected[key], (*item, key), rules)
    elif actual is None or expected is None:
        if actual is not expected:
            raise rules.failed(f"None mismatch: {actual} is not {expected}", item)
    elif all(isinstance(x, bool | np.bool_) for x in (actual, expected)):
        if bool(actual) is not bool(expected):
            raise rules.failed(f"Booleans mismatch: {bool(actual)} is not {bool(expected)}", item)
    elif all(isinstance(x, int | float | np.number) and not isinstance(x, bool) for x in (actual, expected)):
        one, other = (x.item() if isinstance(x, np.number) else x for x in (actual, expected))
        _compare_numbers(one, other, item, rules)
    else:
        one, other = _tensors(actual, expected, rules.allow_subclasses)
        _compare_tensors(one, other, item, rules)


def _compare_keys(actual: Mapping[Any, Any], expected: Mapping[Any, Any], item: Item, rules: _Rules) -> None:
    missing, additional = expected.keys() - actual.keys(), actual.keys() - expected.keys()
    if missing or additional:
        raise rules.failed(
            "The keys of the mappings do not match:\n"
            f"Missing keys in the actual mapping: {_sorted(missing)}\n"
            f"Additional keys in the actual mapping: {_sorted(additional)}",
            item,
        )


def _sorted(keys: Any) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError:  # keys of several kinds have no order
        return list(keys)


def _tensors(actual: Any, expected: Any, allow_subclasses: bool) -> list[Tensor]:
    """Both as Tensors; ArgumentError where one is nothing like it, or something else than the other."""
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    alike = related if allow_subclasses else type(actual) is type(expected)
    if alike and isinstance(actual, Tensor | np.ndarray):
        return [as_tensor(actual).detach(), as_tensor(expected).detach()]
    raise ArgumentError(
        mirrored(f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.")
    )


# ---- pairs -------------------------------------------------------------------------------------------------


def _compare_numbers(actual: Any, expected: Any, item: Item, rules: _Rules) -> None:
    if "dtype" in rules.attributes and type(actual) is not type(expected):
        raise rules.failed(f"The (d)types do not match: {type(actual)} != {type(expected)}.", item)
    rtol, atol = rules.tolerances(_NUMBERS[type(actual)], _NUMBERS[type(expected)])
    both_nan = math.isnan(actual) and math.isnan(expected)
    apart = abs(actual - expected)
    close = math.isfinite(apart) and apart <= atol + rtol * abs(expected)
    if not (actual == expected or (rules.equal_nan and both_nan) or close):
        raise rules.failed(_scalars(actual, expected, rtol, atol), item)


def _scalars(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    """How far two numbers are apart."""
    apart = abs(actual - expected)
    relative = math.inf if expected == 0 else apart / abs(expected)
    return (
        f"Scalars are not {_close(rtol, atol)}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {apart}{_allowed(atol, rtol)}\n"
        f"Relative difference: {relative}{_allowed(rtol, atol)}"
    )


def _compare_tensors(actual: Tensor, expected: Tensor, item: Item, rules: _Rules) -> None:
    for name in ("shape", *rules.attributes):
        one, other = (x.stride() if name == "stride()" else getattr(x, name) for x in (actual, expected))
        if one != other:
            raise rules.failed(f"The values for attribute '{name}' do not match: {one} != {other}.", item)
    rtol, atol = rules.tolerances(actual.dtype, expected.dtype)
    kind = dtypes.promote_types(actual.dtype, expected.dtype)
    kind = kind if kind.is_inexact else dtypes.int64
    a, b = (x.cpu().to(kind) for x in (actual, expected))
    close = a.isclose(b, rtol=rtol, atol=atol, equal_nan=rules.equal_nan).numpy()
    if close.all():
        return
    if not close.ndim:
        raise rules.failed(_scalars(a.item(), b.item(), rtol, atol), item)
    raise rules.failed(QUIET.run(_elements, a, b, close, rtol, atol), item)


def _elements(actual: Tensor, expected: Tensor, close: Any, rtol: float, atol: float) -> str:
    """How many elements are apart, and how far the worst."""
    apart = (actual - expected).abs()
    relative = apart / expected.abs()
    count, total = int((~close).sum()), close.size
    return (
        f"Tensor-likes are not {_close(rtol, atol)}!\n\nMismatched elements: {count} / {total} "
        f"({count / total:.1%})\n"
        f"Greatest absolute difference: {_worst(apart, close)}{_allowed(atol, rtol)}\n"
        f"Greatest relative difference: {_worst(relative, close)}{_allowed(rtol, atol)}"
    )


def _worst(apart: Tensor, close: Any) -> str:
    """The greatest of the differences that count, NaN before all, and where it is."""
    array = apart.numpy().copy()
    array[close] = 0
    place = np.unravel_index(array.argmax(), array.shape)
    return f"{array[place].item()} at index {tuple(int(k) for k in place)}"


def _close(rtol: float, atol: float) -> str:
    return "close" if rtol or atol else "equal"


def _allowed(own: float, other: float) -> str:
    return f" (up to {own} allowed)" if own or other else ""


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True,
    msg: str = "",
) -> None:  # fmt: skip
    """`assert_close` of Tensors or numbers of any dtypes, by its older name and with its older tolerances."""
    warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future release. "
        "Please use `torch.testing.assert_close()` instead. You can find detailed upgrade instructions in "
        "https://github.com/pytorch/pytorch/issues/61844.",
        FutureWarning,
    )
    own = actual if isinstance(actual, Tensor) else tensor(actual)
    other = expected if isinstance(expected, Tensor) else tensor(expected, dtype=own.dtype)
    if rtol is None and atol is None:
        found = [_OLDER.get(x.dtype, (0.0, 0.0)) for x in (own, other)]
        rtol, atol = (max(pair) for pair in zip(*found))
    assert_close(
        own, other, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, check_stride=False,
        msg=msg or None,
    )  # fmt: skip


_OLDER = {
    dtypes.float16: (1e-3, 1e-3), dtypes.float32: (1e-4, 1e-5), dtypes.float64: (1e-5, 1e-8),
}  # fmt: skip
"""Relative and absolute tolerances."""
