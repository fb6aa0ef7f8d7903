"""What PyTorch asks of operands together, in kinds: dtypes that agree, ranks that fit, numbers in range.

In flow the arguments of a call, by name; out flows the error that PyTorch raises, or None. A condition is
a function of them. `layer_conditions.py` lists those of layers, `operand_conditions.py` all; `public` asks
a function's condition before it runs: what is asked of shapes besides stands in the functions themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, RetrogradError, ShapeError, mirrored
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

Condition = Callable[..., RetrogradError | None]

EXPECTED = "expected scalar type {} but found {}"
"""The words for dtypes that should be one."""


def same(first: str, second: str, words: str) -> Condition:
    """Two operands are of one dtype; the words have a place for each, and may say which comes where."""

    def ask(**given: Any) -> RetrogradError | None:
        x, y = given.get(first), given.get(second)
        if not isinstance(x, Tensor) or not isinstance(y, Tensor) or x.dtype is y.dtype:
            return None
        return DtypeError(mirrored(words.format(bare_legacy_name(x.dtype), bare_legacy_name(y.dtype))))

    return ask


def each(*conditions: Condition) -> Condition:
    """The first of several that is not met."""
    return lambda **given: next(filter(None, (ask(**given) for ask in conditions)), None)


def at_least(name: str, least: float, words: str) -> Condition:
    """A number is not below this one."""

    def ask(**given: Any) -> RetrogradError | None:
        value = given.get(name)
        wrong = isinstance(value, int | float) and value < least
        return ArgumentError(mirrored(words.format(value))) if wrong else None

    return ask


def rank(name: str, axes: tuple[int, ...], words: str) -> Condition:
    """An operand has so many axes."""

    def ask(**given: Any) -> RetrogradError | None:
        x = given.get(name)
        wrong = isinstance(x, Tensor) and x.ndim not in axes
        return ShapeError(mirrored(words.format(x.ndim))) if isinstance(x, Tensor) and wrong else None

    return ask


def stored_as(*operands: str) -> Condition:
    """What is computed of the operands may be stored in the first one's dtype: PyTorch makes such a result
    before it looks at the others."""

    def ask(**given: Any) -> RetrogradError | None:
        first, *others = (given.get(name) for name in operands)
        if not isinstance(first, Tensor):
            return None
        for x in others:
            if isinstance(x, Tensor) and x.dtype.category > first.dtype.category:
                found, into = bare_legacy_name(x.dtype), bare_legacy_name(first.dtype)
                words = f"result type {found} can't be cast to the desired output type {into}"
                return DtypeError(mirrored(words))
        return None

    return ask


def without_bools(words: str, *operands: str) -> Condition:
    """No operand, a Tensor or a number, is of bools."""

    def ask(**given: Any) -> RetrogradError | None:
        for x in map(given.get, operands):
            if isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype is dtypes.bool_):
                return DtypeError(mirrored(words))
        return None

    return ask


def unmet(
    condition: Condition, parameters: Sequence[str], spread: str | None, args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> RetrogradError | None:  # fmt: skip
    """What a condition says of a call's arguments; nothing where they are none that it could look at, of
    which the function itself will complain."""
    given = {**dict(zip(parameters, args)), **kwargs}
    if spread is not None:
        given[spread] = args[parameters.index(spread) :]
    try:
        return condition(**given)
    except (TypeError, AttributeError):
        return None
