"""What PyTorch asks of operands together, function by function: `CONDITIONS`.

A row stands under the name that the function was entered by, and is a condition (`conditions.py`); a new
one is most often `same`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, RetrogradError, ShapeError, mirrored
from retrograd.runtime.functions.conditions import (
    EXPECTED,
    Condition,
    at_least,
    each,
    rank,
    same,
    without_bools,
)
from retrograd.runtime.functions.layer_conditions import LAYERS
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.tensor import Tensor

PUT = (
    "Index put requires the source and destination dtypes match, got {} for the destination and {} for the "
    "source."
)
SOLVED = (
    "linalg.solve: Expected A and B to have the same dtype, but found A of type {} and B of type {} instead"
)


def _crossed(input: Tensor, other: Tensor, dim: int | None = -1, **_: Any) -> RetrogradError | None:
    if input.ndim != other.ndim:
        return ShapeError(mirrored("linalg.cross: inputs must have the same number of dimensions."))
    if isinstance(dim, int) and -input.ndim <= dim < input.ndim:
        sizes = input.shape[dim], other.shape[dim]
        if sizes != (3, 3):
            words = "linalg.cross: inputs dimension {} must have length 3. Got {} and {}"
            return ShapeError(mirrored(words.format(dim, *sizes)))
    return None


_same = same("input", "other", "both inputs should have same dtype")


def _alike_unless_numbers(input: Tensor, other: Tensor, **_: Any) -> RetrogradError | None:
    """Of the inner product, which is that of numbers where one operand is 0-d."""
    return _same(input=input, other=other) if input.ndim and other.ndim else None


def _gridded(tensors: Sequence[Any], **_: Any) -> RetrogradError | None:
    listed = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    kinds = {x.dtype for x in listed if isinstance(x, Tensor)}
    if len(kinds) > 1:
        return DtypeError(mirrored("meshgrid expects all tensors to have the same dtype"))
    return None


def _quantiles(input: Tensor, q: Any, **_: Any) -> RetrogradError | None:
    if input.dtype not in (dtypes.float32, dtypes.float64):
        return DtypeError(mirrored("quantile() input tensor must be either float or double dtype"))
    if isinstance(q, Tensor):
        if q.dtype is not input.dtype:
            return DtypeError(mirrored("quantile() q tensor must be same dtype as the input tensor"))
    elif isinstance(q, int | float) and not 0 <= q <= 1:
        return ArgumentError(mirrored(f"quantile() q must be in the range [0, 1] but got {q:g}"))
    return None


def _spaced(y: Tensor, x: Tensor | None = None, **_: Any) -> RetrogradError | None:
    if y.dtype is dtypes.bool_ or (x is not None and x.dtype is dtypes.bool_):
        which = "`x` or `y`" if x is not None else "`y`"
        return DtypeError(
            mirrored(f"trapezoid: received a bool input for {which}, but bool is not supported")
        )
    return None


def _distances(x1: Tensor, x2: Tensor, p: float = 2.0, **_: Any) -> RetrogradError | None:
    for place, x in enumerate((x1, x2), 1):
        if not x.dtype.is_floating_point:
            kind = bare_legacy_name(x.dtype)
            return DtypeError(mirrored(f"cdist only supports floating-point dtypes, X{place} got: {kind}"))
    return None


def _weighed(
    input: Tensor, fweights: Tensor | None = None, aweights: Tensor | None = None, **_: Any
) -> RetrogradError | None:
    if aweights is not None and not aweights.dtype.is_floating_point:
        kind = bare_legacy_name(aweights.dtype)
        words = "cov(): expected aweights to have floating point dtype but got aweights with {} dtype"
        return DtypeError(mirrored(words.format(kind)))
    if fweights is None:
        return None
    if fweights.dtype.is_floating_point or fweights.dtype is dtypes.bool_:
        kind = bare_legacy_name(fweights.dtype)
        return DtypeError(
            mirrored(f"cov(): expected fweights to have integral dtype but got fweights with {kind} dtype")
        )
    columns = input.shape[-1] if input.ndim else 1
    if fweights.ndim < 2 and fweights.numel() != columns:
        return ShapeError(
            mirrored(
                "cov(): expected fweights to have the same numel as there are observations in the input but "
                f"got {fweights.numel()} != {columns}"
            )
        )
    return None


def _points(y: Tensor, x: Tensor | None = None, dim: int = -1, **_: Any) -> RetrogradError | None:
    if x is not None and x.ndim == 1 and -y.ndim <= dim < y.ndim and x.shape[0] != y.shape[dim]:
        return ShapeError(mirrored("trapezoid: There must be one `x` value for each sample point"))
    return None


def _sought(sorted_sequence: Tensor, input: Any, **_: Any) -> RetrogradError | None:
    if sorted_sequence.ndim:
        return None
    name = "torch.searchsorted()"
    if not isinstance(input, Tensor):
        words = (
            "input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries"
        )
        return ShapeError(mirrored(f"{name}: {words} tensor dim(0) and input value's dim(0) numel(1)"))
    words = "boundaries tensor should have positive dimension, but got 0 dimension"
    return ShapeError(mirrored(f"{name}: {words}"))


def _counts(name: str, which: str) -> Condition:
    """What says how often is of whole numbers."""

    def ask(**given: Any) -> RetrogradError | None:
        x = given.get(which)
        if x is None and which == "repeats":
            x = given["input"]
        if isinstance(x, Tensor) and x.dtype.is_floating_point:
            return DtypeError(mirrored(f"\"{name}_cpu\" not implemented for '{bare_legacy_name(x.dtype)}'"))
        return None

    return ask


def _flat(tensors: Sequence[Any], **_: Any) -> RetrogradError | None:
    for k, x in enumerate(tensors):
        if isinstance(x, Tensor) and x.ndim > 2:
            words = f"Input tensors must have 2 or fewer dimensions. Input {k} has {x.ndim} dimensions"
            return ShapeError(mirrored(f"torch.block_diag: {words}"))
    return None


CONDITIONS: dict[str, Condition] = {
    **LAYERS,
    "linalg_solve": same("A", "B", SOLVED),
    "linalg_solve_ex": same("A", "B", SOLVED),
    "linalg_tensorsolve": same("A", "B", SOLVED),
    "linalg_vecdot": same("x", "y", "linalg.vecdot: Expected x and y to have the same dtype, but found x of "
                          "type {} and y of type {} instead"),
    "cholesky_solve": same("input", "L", "Expected b and A to have the same dtype, but found b of type {} and"
                           " A of type {} instead."),
    "linalg_cross": each(_crossed, same("input", "other", EXPECTED)),
    "cross": each(_crossed, same("input", "other", EXPECTED)),
    "put": same("input", "source", "put_(): self and source expected to have the same dtype, but got "
                "self.dtype = {} and source.dtype = {}"),
    "dot": same("input", "tensor", "dot : expected both vectors to have same dtype, but found {} and {}"),
    "vdot": same("input", "tensor", "dot : expected both vectors to have same dtype, but found {} and {}"),
    "bmm": same("input", "mat2", EXPECTED),
    "cov": _weighed,
    "inner": _alike_unless_numbers,
    "masked_scatter": same("input", "source", "masked_scatter: expected self and source to have same dtypes "
                           "but got{} and {}"),
    "cdist": each(_distances, at_least("p", 0, "cdist only supports non-negative p values"),
                  same("x1", "x2", EXPECTED)),
    "pdist": each(rank("input", (2,), "pdist only supports 2D tensors, got: {}D"),
                  at_least("p", 0, "pdist only supports non-negative p values")),
    "meshgrid": _gridded,
    "cartesian_prod": _gridded,
    "quantile": _quantiles,
    "nanquantile": _quantiles,
    "trapezoid": each(_spaced, _points),
    "cumulative_trapezoid": each(_spaced, _points),
    "tril_indices": each(at_least("row", 0, "row must be non-negative, got{}"),
                         at_least("col", 0, "col must be non-negative, got{}")),
    "triu_indices": each(at_least("row", 0, "row must be non-negative, got{}"),
                         at_least("col", 0, "col must be non-negative, got{}")),
    "renorm": each(rank("input", (*range(2, 65),), "renorm: input needs at least 2 dimensions, got {} "
                        "dimensions"),
                   at_least("p", 5e-324, "renorm: non-positive-norm not supported"),
                   at_least("maxnorm", 0, "renorm: expected maxnorm to be >= 0 but got {:g}")),
    "diff": at_least("n", 0, "order must be non-negative but got {}"),
    "searchsorted": _sought,
    "isin": without_bools("Unsupported input type encountered for isin(): Bool", "elements", "test_elements"),
    "repeat_interleave": _counts("repeat_interleave", "repeats"),
    "bincount": each(rank("input", (1,), "bincount only supports 1-d non-negative integral inputs."),
                     _counts("bincount", "input")),
    "block_diag": _flat,
    "vander": rank("x", (1,), "x must be a one-dimensional tensor."),
    "bucketize": rank("boundaries", (1,), "boundaries tensor must be 1 dimension, but got dim({})"),
}  # fmt: skip
"""What is asked of the arguments of each function."""
