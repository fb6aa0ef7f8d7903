"""What PyTorch asks of operands together: dtypes that agree, ranks that fit, numbers in range.

In flow the arguments of a call, by name; out flows the error that PyTorch raises, or None. `CONDITIONS` has a
row for each function, under the name that it was entered by, and `public.checked` asks it before the function
runs: what is asked of shapes besides stands in the functions themselves. A new row is most often `same`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import (
    ArgumentError,
    DtypeError,
    RetrogradError,
    ShapeError,
    mirrored,
)  # fmt: skip
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor

Condition = Callable[..., RetrogradError | None]


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


PUT = (
    "Index put requires the source and destination dtypes match, got {} for the destination and {} for the "
    "source."
)
EXPECTED = "expected scalar type {} but found {}"
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


def _bounded(min_val: float = -1.0, max_val: float = 1.0, **_: Any) -> RetrogradError | None:
    if min_val > max_val:
        return ArgumentError(mirrored("min_val cannot be greater than max_val"))
    return None


def _rising(lower: Any = 1 / 8, upper: Any = 1 / 3, **given: Any) -> RetrogradError | None:
    """Bounds in order."""
    numbers = isinstance(lower, int | float) and isinstance(upper, int | float)
    if not numbers or lower <= upper:
        return None
    return ArgumentError(mirrored("Lower bound should be less than or equal to the upper bound"))


def _gridded(tensors: Sequence[Any], **_: Any) -> RetrogradError | None:
    listed = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    kinds = {x.dtype for x in listed if isinstance(x, Tensor)}
    if len(kinds) > 1:
        return DtypeError(mirrored("meshgrid expects all tensors to have the same dtype"))
    return None


def _triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, **_: Any
) -> RetrogradError | None:
    if margin <= 0:
        return ArgumentError(mirrored(f"margin must be greater than 0, got {margin}"))
    ranks = anchor.ndim, positive.ndim, negative.ndim
    if len({*ranks}) > 1:
        words = (
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
            "but got: anchor {}D, positive {}D, and negative {}D inputs"
        )
        return ShapeError(mirrored(words.format(*ranks)))
    return None


def _cosine(input1: Tensor, input2: Tensor, target: Tensor, **_: Any) -> RetrogradError | None:
    if target.ndim > 1:
        return ShapeError(mirrored("0D or 1D target tensor expected, multi-target not supported"))
    wanted = target.ndim + 1
    if (input1.ndim, input2.ndim) != (wanted, wanted):
        return ShapeError(
            mirrored(
                f"{target.ndim}D target tensor expects {wanted}D input tensors, but found inputs with sizes "
                f"{list(input1.shape)} and {list(input2.shape)}."
            )
        )
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


def _convolved(rank: int) -> Condition:
    def condition(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, padding: Any = 0, **_: Any
    ) -> RetrogradError | None:
        if bias is not None and bias.dtype is not input.dtype:
            kinds = C_NAMES[input.dtype], C_NAMES[bias.dtype]
            words = "Input type ({}) and bias type ({}) should be the same".format(*kinds)
            return DtypeError(mirrored(words))
        if isinstance(padding, str):
            return same("input", "weight", EXPECTED)(input=input, weight=weight)
        if weight.ndim < 3 and input.ndim in (rank + 1, rank + 2):
            return ShapeError(mirrored("weight should have at least three dimensions"))
        return None

    return condition


def _steps(padding: Any = 0, stride: Any = 1, dilation: Any = 1, **_: Any) -> RetrogradError | None:
    """How a convolution goes through its input: never backwards, and never staying."""
    for given, least, words in (
        (padding, 0, "negative padding is not supported"),
        (stride, 1, "non-positive stride is not supported"),
        (dilation, 1, "non-positive dilation is not supported"),
    ):
        if any(isinstance(n, int) and n < least for n in _each(given)):
            return ShapeError(mirrored(words))
    return None


def _each(given: Any) -> Sequence[Any]:
    return given if isinstance(given, tuple | list) else (given,)


def _windows(rank: int) -> Condition:
    """Windows of a pool have elements, which lie apart, and go on."""
    axes = "THW"[-rank:]

    def condition(kernel_size: Any, stride: Any = None, dilation: Any = 1, **_: Any) -> RetrogradError | None:
        steps = kernel_size if stride is None or stride == [] else stride
        if 0 in _each(steps):
            return ShapeError(mirrored("stride should not be zero"))
        for what, given, sign in (
            ("kernel size", kernel_size, "k"), ("stride", steps, "d"), ("dilation", dilation, "dilation")
        ):  # fmt: skip
            sizes = [*_each(given)] * (rank if len(_each(given)) == 1 else 1)
            if any(isinstance(n, int) and n < 1 for n in sizes):
                shown = " ".join(f"{sign}{axis}: {n}" for axis, n in zip(axes, sizes))
                return ShapeError(mirrored(f"{what} should be greater than zero, but got {shown}"))
        return None

    return condition


def _lines(kernel_size: Any, stride: Any = None, dilation: Any = 1, **_: Any) -> RetrogradError | None:
    """The same of `max_pool1d`."""
    steps = kernel_size if stride is None or stride == [] else stride
    for what, given in ("kernel_size", kernel_size), ("stride", steps), ("dilation", dilation):
        for n in _each(given):
            if isinstance(n, int) and n < 1:
                return ShapeError(mirrored(f"max_pool1d() {what} must be greater than zero, but got {n}"))
    return None


def _counted(input: Tensor, **given: Any) -> RetrogradError | None:
    """What is known of channels is known of each."""
    channels = input.shape[1] if input.ndim > 1 else 0
    for name in ("running_mean", "running_var", "weight", "bias"):
        x = given.get(name)
        if x is not None and x.numel() != channels:
            return ShapeError(mirrored(f"{name} should contain {channels} elements not {x.numel()}"))
    return None


def _shaped(
    normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, **_: Any
) -> RetrogradError | None:
    """A weight and a bias of the shape over which a layer is normalised."""
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and [*x.shape] != [*normalized_shape]:
            words = f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
            return ShapeError(
                mirrored(f"{words}{list(x.shape)} and normalized_shape = {list(normalized_shape)}")
            )
    return None


def _grouped(
    input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, **_: Any
) -> RetrogradError | None:
    """A vector of weights and of biases, one for each channel."""
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and input.ndim > 1 and [*x.shape] != [input.shape[1]]:
            words = f"Expected {name} to be a vector of size equal to the number of channels in input, but"
            return ShapeError(
                mirrored(
                    f"{words} got {name} of shape {list(x.shape)} and input of shape {list(input.shape)}"
                )
            )
    return None


def _over_classes(name: str) -> Condition:
    """Shares of whole numbers have no kernel, unless another dtype is asked for."""

    def ask(input: Any, dim: Any = None, dtype: object = None, **_: Any) -> RetrogradError | None:
        if not isinstance(input, Tensor) or input.dtype.is_floating_point or dtype is not None:
            return None
        last = "lastdim_" if not input.ndim or dim in (-1, input.ndim - 1) else ""
        words = f"\"{name}_{last}kernel_impl\" not implemented for '{bare_legacy_name(input.dtype)}'"
        return DtypeError(mirrored(words), advice="cast the tensor with .to(dtype)")

    return ask


def _attended(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> RetrogradError | None:
    given = {"query": query, "key": key, "value": value}
    lead = "Expected query, key, and value to"
    if len({x.dtype for x in given.values()}) > 1:
        told = [f"{name}.dtype: {C_NAMES[x.dtype]}" for name, x in given.items()]
        return DtypeError(
            mirrored(f"{lead} have the same dtype, but got {told[0]} {told[1]} and {told[2]} instead.")
        )
    if min(x.ndim for x in given.values()) < 2:
        told = [f"{name}.dim: {x.ndim}" for name, x in given.items()]
        return ShapeError(
            mirrored(
                f"{lead} all be  at least 2 dimensional, but got {told[0]} {told[1]} and {told[2]} instead."
            )
        )
    return None


def of_channels(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, **_: Any,
) -> RetrogradError | None:  # fmt: skip
    """What is known of each channel is a vector, and of the input's dtype; or of float32 beside halves."""
    given = [x for x in (weight, bias, running_mean, running_var) if x is not None]
    if not given:
        return None
    if given[0].dtype is not input.dtype:
        if any(x.dtype is not dtypes.float32 for x in given):
            return DtypeError(mirrored("mixed dtype (CPU): expect parameter to have scalar type of Float"))
        if input.dtype not in (dtypes.float16, dtypes.bfloat16):
            return DtypeError(mirrored("mixed dtype (CPU): all inputs must share same datatype."))
        return None
    for x in given:
        if x.dtype is not input.dtype:
            kinds = bare_legacy_name(input.dtype), bare_legacy_name(x.dtype)
            return DtypeError(mirrored(EXPECTED.format(*kinds)))
    for running in (running_mean, running_var):
        if running is not None and running.ndim != 1:
            words = f"TensorAccessor expected 1 dims but tensor has {running.ndim}"
            return ShapeError(mirrored(words))
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


def without_bools(words: str, *operands: str) -> Condition:
    """No operand, a Tensor or a number, is of bools."""

    def ask(**given: Any) -> RetrogradError | None:
        for x in map(given.get, operands):
            if isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype is dtypes.bool_):
                return DtypeError(mirrored(words))
        return None

    return ask


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


def _shuffled(input: Tensor, **_: Any) -> RetrogradError | None:
    if input.ndim > 2:
        return None
    words = f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
    return ShapeError(mirrored(words))


def _paired(input1: Tensor, input2: Tensor, **_: Any) -> RetrogradError | None:
    for k, (one, other) in enumerate(zip(input1.shape[:-1], input2.shape[:-1])):
        if one != other:
            words = f"input batch dimensions do not match at dim {k}: got {one} and {other}"
            return ShapeError(mirrored(f"bilinear(): {words}"))
    return None


CONDITIONS: dict[str, Condition] = {
    "linalg_solve": same("A", "B", SOLVED),
    "linalg_solve_ex": same("A", "B", SOLVED),
    "linalg_tensorsolve": same("A", "B", SOLVED),
    "linalg_vecdot": same("x", "y", "linalg.vecdot: Expected x and y to have the same dtype, but found x of "
                          "type {} and y of type {} instead"),
    "cholesky_solve": same("input", "L", "Expected b and A to have the same dtype, but found b of type {} and"
                           " A of type {} instead."),
    "linalg_cross": each(_crossed, same("input", "other", EXPECTED)),
    "cross": each(_crossed, same("input", "other", EXPECTED)),
    "prelu": each(
        rank("weight", (0, 1), "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {}"),
        same("input", "weight", "prelu: Type promoting not supported. Got {} and {}"),
    ),
    "put": same("input", "source", "put_(): self and source expected to have the same dtype, but got "
                "self.dtype = {} and source.dtype = {}"),
    "dot": same("input", "tensor", "dot : expected both vectors to have same dtype, but found {} and {}"),
    "vdot": same("input", "tensor", "dot : expected both vectors to have same dtype, but found {} and {}"),
    "bmm": same("input", "mat2", EXPECTED),
    "cov": _weighed,
    **{f"conv{rank}d": each(_convolved(rank), _steps) for rank in (1, 2, 3)},
    **{f"conv_transpose{k}d": _steps for k in (1, 2, 3)},
    **{f"{name}_pool{k}d": _windows(k) for name in ("max", "avg") for k in (2, 3)},
    "max_pool1d": _lines,
    "avg_pool1d": _windows(1),
    "batch_norm": each(of_channels, _counted),
    "layer_norm": each(of_channels, _shaped),
    "group_norm": each(of_channels, _grouped),
    "scaled_dot_product_attention": _attended,
    "softmax": _over_classes("softmax"),
    "log_softmax": _over_classes("log_softmax"),
    "inner": same("input", "other", "both inputs should have same dtype"),
    "masked_scatter": same("input", "source", "masked_scatter: expected self and source to have same dtypes "
                           "but got{} and {}"),
    "grid_sample": same("input", "grid", EXPECTED),
    "cdist": each(_distances, at_least("p", 0, "cdist only supports non-negative p values"),
                  same("x1", "x2", EXPECTED)),
    "pdist": each(rank("input", (2,), "pdist only supports 2D tensors, got: {}D"),
                  at_least("p", 0, "pdist only supports non-negative p values")),
    "meshgrid": _gridded,
    "cartesian_prod": _gridded,
    "hardtanh": _bounded,
    "triplet_margin_loss": _triplet,
    "triplet_margin_with_distance_loss": _triplet,
    "cosine_embedding_loss": _cosine,
    "huber_loss": stored_as("input", "target"),
    "soft_margin_loss": stored_as("input", "target"),
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
    **{name: rank("input", (*range(3, 65),), f"{name} expects input to have at least 3 dimensions, but got "
                  "input with {} dimension(s)") for name in ("pixel_shuffle", "pixel_unshuffle")},
    "dropout1d": rank("input", (2, 3), "dropout1d: Expected 2D or 3D input, but received a {}D input. Note "
                      "that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial "
                      "dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D "
                      "inputs)."),
    **dict.fromkeys(("rrelu", "rrelu_"), _rising),
    "searchsorted": _sought,
    "isin": without_bools("Unsupported input type encountered for isin(): Bool", "elements", "test_elements"),
    "repeat_interleave": _counts("repeat_interleave", "repeats"),
    "bincount": each(rank("input", (1,), "bincount only supports 1-d non-negative integral inputs."),
                     _counts("bincount", "input")),
    "block_diag": _flat,
    "channel_shuffle": _shuffled,
    "bilinear": _paired,
    "vander": rank("x", (1,), "x must be a one-dimensional tensor."),
    "bucketize": rank("boundaries", (1,), "boundaries tensor must be 1 dimension, but got dim({})"),
}  # fmt: skip
"""What is asked of the arguments of each function."""


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
