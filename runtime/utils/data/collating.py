"""Samples made one: a batch of tensors is their stack, of tuples the batches of their parts, and so on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one: tensors, arrays and numbers with an axis for the samples in front (Python's
    floats in float64), strings as they are, containers with what they hold collated.

    Raises ShapeError where lists differ in length, DtypeError for what none of these is.
    """
    first = batch[0]
    match first:
        case Tensor():
            return FUNCTIONS["stack"](list(batch))
        case np.ndarray() if first.dtype.kind not in "SUO":
            return FUNCTIONS["stack"]([FUNCTIONS["as_tensor"](array) for array in batch])
        case np.bool_() | np.number():
            return FUNCTIONS["as_tensor"](np.asarray(batch))
        case float():
            return FUNCTIONS["tensor"](batch, dtype=dtypes.float64)
        case int():
            return FUNCTIONS["tensor"](batch)
        case str() | bytes():
            return batch
        case Mapping():
            return _mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
        case tuple() if hasattr(first, "_fields"):
            return type(first)(*map(default_collate, zip(*batch, strict=True)))
        case Sequence():
            return _sequence(batch)
    found = first.dtype if isinstance(first, np.ndarray) else type(first)
    raise DtypeError(
        mirrored(
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
            f"{found}"
        ),
        "",
        "give DataLoader a collate_fn of your own",
    )


def default_convert(data: Any) -> Any:
    """One sample, with tensors for its arrays: what a loader makes of it that makes no batches."""
    match data:
        case Tensor() | str() | bytes():
            return data
        case np.ndarray() if data.dtype.kind in "SUO":
            return data
        case np.ndarray() | np.bool_() | np.number():
            return FUNCTIONS["as_tensor"](data)
        case Mapping():
            return _mapping(data, {key: default_convert(value) for key, value in data.items()})
        case tuple() if hasattr(data, "_fields"):
            return type(data)(*map(default_convert, data))
        case tuple():
            return [default_convert(value) for value in data]
        case Sequence():
            return _like(data, map(default_convert, data))
    return data


def _sequence(batch: Sequence[Sequence[Any]]) -> Any:
    first = batch[0]
    if any(len(sample) != len(first) for sample in batch):
        raise ShapeError(mirrored("each element in list of batch should be of equal size"))
    parts = map(default_collate, zip(*batch, strict=True))
    return list(parts) if isinstance(first, tuple) else _like(first, parts)


def _like(first: Sequence[Any], parts: Iterable[Any]) -> Any:
    """A sequence of the kind of `first`; a list where its class takes none."""
    made: Callable[..., Any] = type(first)
    parts = list(parts)
    try:
        return made(parts)
    except TypeError:
        return parts


def _mapping(first: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the kind of `first`, with all that a copy of it keeps; a dict where there is no copy."""
    try:
        made: Any = copy.copy(first)
        made.update(values)
    except (TypeError, AttributeError):
        return values
    return made
