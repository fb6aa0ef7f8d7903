"""Functions of sliding windows, as `nn.functional` has them: convolution and pooling, in one to three
dimensions; padding is in `padding`.

Images `[N, C, *S]` in, or `[C, *S]` without a batch. The ops take any number of axes; here are PyTorch's
names and arguments, made for each number of axes by one loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from retrograd.compiler.errors import (
    ArgumentError,
    DimensionError,
    DtypeError,
    RetrogradError,
    ShapeError,
    mirrored,
)
from retrograd.compiler.ops import adaptive, convolution, pool
from retrograd.compiler.ops import fold as folding
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.window import window
from retrograd.runtime.functions.public import (
    functional,
    integer,
    public,
    unshared,
    whole_numbers,
)
from retrograd.runtime.names import legacy_name
from retrograd.runtime.tensor import Tensor

Sizes = int | Sequence[int]


def each(value: Any, rank: int, name: str, parameter: str) -> list[int]:
    """A size for each axis: one for all, or one for each."""
    if not isinstance(value, Sequence):
        return [integer(value, name, parameter)] * rank
    sizes = [integer(v, name, parameter) for v in value]
    if len(sizes) == 1:
        return sizes * rank
    if len(sizes) != rank:
        raise ShapeError(
            f"{name}({parameter}={sizes})",
            f"expected {parameter} to be a single integer value or a list of {rank} values",
        )
    return sizes


_GOT = "Expected {low} to {high} dimensions, but got {ndim}-dimensional tensor"
_FIRST_ARGUMENT = f"{_GOT} for argument #1 'self' (while checking arguments for {{name}})"
_BATCH = "{low}D or {high}D (batch mode)"
_NOT_EMPTY = f"non-empty {_BATCH} tensor expected for input"
_OPTIONAL = f"Expected {_BATCH} tensor with optional 0 dim batch size for input, but got:{{shape}}"
_EITHER = "{{name}}(): Expected {{low}}D or {{high}}D tensor, but got{} {{shape}}"
_RANKS = {
    "avg_pool1d": _FIRST_ARGUMENT, "avg_pool2d": _OPTIONAL, "avg_pool3d": _NOT_EMPTY,
    "max_pool1d": f"max_pool1d: {_OPTIONAL}", "max_pool2d": _NOT_EMPTY, "max_pool3d": _NOT_EMPTY,
    "adaptive_avg_pool1d": _FIRST_ARGUMENT, "adaptive_max_pool1d": _FIRST_ARGUMENT,
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_avg_pool3d"), _EITHER.format("")),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), _EITHER.format(":")),
}  # fmt: skip
"""What PyTorch's functions say of an input with too few axes or too many; others name both kinds."""
_OTHER = "Expected {low}D (unbatched) or {high}D (batched) input to {name}, but got input of size: {shape}"


def _of_rank(input: Tensor, rank: int, name: str) -> RetrogradError:
    """What is said of an input that has neither `rank` axes beside its channels nor another for a batch."""
    n, shape = input.ndim, list(input.shape)
    if name == "avg_pool2d" and n < 3:
        bounds = f"[-{n}, {n - 1}]"
        words = f"Dimension out of range (expected to be in range of {bounds}, but got -3)"
        return DimensionError(mirrored(words))
    words = _RANKS.get(name, _OTHER).format(low=rank + 1, high=rank + 2, ndim=n, shape=shape, name=name)
    return ShapeError(f"{name} of a tensor of shape {shape}", mirrored(words))


def batched(input: Tensor, rank: int, name: str) -> Tensor:
    """The input with an axis for the batch."""
    if input.ndim not in (rank + 1, rank + 2):
        raise _of_rank(input, rank, name)
    return input if input.ndim == rank + 2 else moves.unsqueeze(input, [0])


def unbatched(result: Tensor, input: Tensor, rank: int) -> Tensor:
    return result if input.ndim == rank + 2 else moves.squeeze(result, [0])


# ---- convolution -------------------------------------------------------------------------------------------


def _check_dtypes(name: str, input: Tensor, weight: Tensor) -> None:
    if input.dtype is not weight.dtype:
        raise DtypeError(
            f"{name} of {input.dtype} by {weight.dtype}",
            mirrored(
                f"Input type ({legacy_name(input.dtype)}) and weight type ({legacy_name(weight.dtype)}) "
                "should be the same or input should be a MKLDNN tensor and weight is a dense tensor"
            ),
        )


def _margins(
    padding: Any, weight: Tensor, stride: list[int], dilation: list[int], name: str
) -> list[tuple[int, int]]:
    """(before, after) for each axis."""
    rank = weight.ndim - 2
    if padding == "valid":
        return [(0, 0)] * rank
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ShapeError(
                f"{name}(padding='same')", "padding='same' is not supported for strided convolutions"
            )
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        return [(t // 2, t - t // 2) for t in total]
    if isinstance(padding, str):
        raise ArgumentError(
            f"{name}(padding={padding!r})", "Invalid padding string, should be one of 'valid', 'same'"
        )
    return [(p, p) for p in each(padding, rank, name, "padding")]


def _convolutions(rank: int) -> None:
    name, transposed = f"conv{rank}d", f"conv_transpose{rank}d"

    @functional(name, top=True, replay=True)
    def conv(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
        padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        _check_dtypes(name, input, weight)
        steps, gaps = each(stride, rank, name, "stride"), each(dilation, rank, name, "dilation")
        margins = _margins(padding, weight, steps, gaps, name)
        x = batched(input, rank, name)
        return unbatched(convolution.convolution(x, weight, bias, steps, margins, gaps, groups), input, rank)

    @functional(transposed, top=True, replay=True)
    def conv_transpose(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
    ) -> Tensor:  # fmt: skip
        _check_dtypes(transposed, input, weight)
        steps, margins = each(stride, rank, transposed, "stride"), each(padding, rank, transposed, "padding")
        more = each(output_padding, rank, transposed, "output_padding")
        gaps = each(dilation, rank, transposed, "dilation")
        x = batched(input, rank, transposed)
        found = convolution.transposed_convolution(x, weight, bias, steps, margins, more, gaps, groups)
        return unbatched(found, input, rank)

    conv.__doc__ = "Windows of the input `[N, C, …]` times the kernels `[O, C, …]`, summed, and `bias`."
    conv_transpose.__doc__ = (
        "The adjoint of a convolution by the same weight, `[C, O, …]`, as a map of its own."
    )


# ---- pooling -----------------------------------------------------------------------------------------------


def _max_pool(rank: int) -> None:
    name = f"max_pool{rank}d"

    @functional(name, top=True, replay=True)
    def max_pool(
        input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        sizes = each(kernel_size, rank, name, "kernel_size")
        rest = (
            each(stride if stride is not None and stride != () else kernel_size, rank, name, "stride"),
            each(padding, rank, name, "padding"),
            each(dilation, rank, name, "dilation"),
        )
        x = batched(input, rank, name)
        found = unbatched(pool.max_pool(x, sizes, *rest, ceil_mode), input, rank)
        if not return_indices:
            return found
        return found, unbatched(pool.max_pool_indices(x, sizes, *rest, ceil_mode), input, rank)

    max_pool.__doc__ = "The greatest element of each window; with `return_indices`, and where it stands."


def _avg_pool(rank: int) -> None:
    name = f"avg_pool{rank}d"

    @functional(name, top=rank == 1, replay=True)
    def avg_pool(
        input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Tensor:  # fmt: skip
        sizes = each(kernel_size, rank, name, "kernel_size")
        steps = each(stride if stride is not None and stride != () else kernel_size, rank, name, "stride")
        margins = each(padding, rank, name, "padding")
        if divisor_override == 0:
            raise ShapeError(f"{name}(divisor_override=0)", "divisor must be not zero")
        x = batched(input, rank, name)
        divisor = divisor_override or 0
        return unbatched(
            pool.avg_pool(x, sizes, steps, margins, ceil_mode, count_include_pad, divisor), input, rank
        )

    avg_pool.__doc__ = "The mean of each window, or its sum over `divisor_override`."


def _adaptive_pools(rank: int) -> None:
    average, greatest = f"adaptive_avg_pool{rank}d", f"adaptive_max_pool{rank}d"

    def places(input: Tensor, output_size: Any, name: str) -> list[int]:
        if 0 in input.shape[-rank:]:
            empty = input.ndim - rank + list(input.shape[-rank:]).index(0)
            why = "Expected input to have non-zero size for non-batch dimensions"
            found = f"input has sizes {list(input.shape)} with dimension {empty} being empty"
            raise ShapeError(mirrored(f"{name}(): {why}, but {found}"))
        if not isinstance(output_size, Sequence | int | None) or isinstance(output_size, bool):
            kind = type(output_size).__name__
            words = f"argument 'output_size' (position 2) must be tuple of ints, not {kind}"
            raise ArgumentError(mirrored(f"{name}(): {words}"))
        wanted = output_size if isinstance(output_size, Sequence) else [output_size] * rank
        given = whole_numbers([n for n in wanted if n is not None], name, "output_size")
        sizes = iter(given)
        return [own if n is None else next(sizes) for own, n in zip(input.shape[-rank:], wanted)]

    @functional(average, top=rank == 1, replay=True)
    def adaptive_avg_pool(input: Tensor, output_size: Any) -> Tensor:
        x = batched(input, rank, average)
        return unbatched(adaptive.adaptive_avg_pool(x, places(input, output_size, average)), input, rank)

    @functional(greatest, replay=True)
    def adaptive_max_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        x, wanted = batched(input, rank, greatest), places(input, output_size, greatest)
        found = unbatched(adaptive.adaptive_max_pool(x, wanted), input, rank)
        if not return_indices:
            return found
        return found, unbatched(adaptive.adaptive_max_pool_indices(x, wanted), input, rank)

    def with_indices(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        """The same, and where it stands, whatever is asked."""
        return adaptive_max_pool(input, output_size, True)

    functional(f"{greatest}_with_indices", replay=True)(with_indices)
    if rank == 1:
        public(greatest, replay=True)(with_indices)

    adaptive_avg_pool.__doc__ = "The last axes divided into as many parts as `output_size` says; their means."
    adaptive_max_pool.__doc__ = "The same with the greatest element of each, and where it stands, if asked."


for _rank in (1, 2, 3):
    _convolutions(_rank)
    _max_pool(_rank)
    _avg_pool(_rank)
    _adaptive_pools(_rank)


# ---- windows and channels ----------------------------------------------------------------------------------


@functional("unfold", shown="Im2ColBackward0", replay=True)
def unfold(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """The windows of images as columns: `[N, C, H, W]` to `[N, C · kernel, places]`."""
    sizes, gaps, margins, steps = (
        each(v, 2, "unfold", "size") for v in (kernel_size, dilation, padding, stride)
    )
    x = batched(input, 2, "unfold")
    shown = window(convolution.padded(x, margins, margins), (2, 3), sizes, steps, gaps)
    n, c, h, w, a, b = shown.shape
    return unbatched(moves.reshape(moves.permute(shown, (0, 1, 4, 5, 2, 3)), (n, c * a * b, h * w)), input, 2)


@functional("fold", shown="Col2ImBackward0", replay=True)
def fold(
    input: Tensor, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The adjoint of `unfold`: columns `[N, C · kernel, places]` laid back and summed, `[N, C, H, W]`."""
    given = (output_size, kernel_size, dilation, padding, stride)
    names = ("output_size", "kernel_size", "dilation", "padding", "stride")
    size, kernel, gaps, margins, steps = (each(v, 2, "fold", name) for v, name in zip(given, names))
    if input.ndim not in (2, 3):
        raise ShapeError(
            mirrored(
                "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                f"dimensions for input, but got: {list(input.shape)}"
            )
        )
    x = input if input.ndim == 3 else moves.unsqueeze(input, [0])
    outer = [n + 2 * margin for n, margin in zip(size, margins)]
    counts = [(n - g * (k - 1) - 1) // s + 1 for n, k, g, s in zip(outer, kernel, gaps, steps)]
    _check_columns(input, size, kernel, gaps, margins, steps, counts)
    found = folding.fold(x, size, kernel, gaps, margins, steps)
    return found if input.ndim == 3 else moves.squeeze(found, [0])


def _check_columns(
    input: Tensor, size: list[int], kernel: list[int], gaps: list[int], margins: list[int], steps: list[int],
    counts: list[int],
) -> None:  # fmt: skip
    columns, places = input.shape[-2:]
    if columns % prod(kernel):
        raise ShapeError(
            mirrored(
                "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
                f"got input.size(1)={columns} and kernel_size=({kernel[0]}, {kernel[1]})."
            )
        )
    given = {
        "output_size": size,
        "kernel_size": kernel,
        "dilation": gaps,
        "padding": margins,
        "stride": steps,
    }
    shown = ", ".join(f"{name}=({a}, {b})" for name, (a, b) in given.items())
    if min(counts) < 1:
        raise ShapeError(
            mirrored(
                f"Given {shown}, calculated shape of the array of sliding blocks as ({counts[0]}, "
                f"{counts[1]}), which is too small (non-positive)"
            )
        )
    if places != prod(counts):
        raise ShapeError(
            mirrored(
                f"Given {shown}, expected size of input's dimension 2 to match the calculated number of "
                f"sliding blocks {counts[0]} * {counts[1]} = {prod(counts)}, but got input.size(2)={places}."
            )
        )


@functional("pixel_shuffle", top=True, replay=True)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels laid out as pixels: `[…, C · r², H, W]` to `[…, C, H · r, W · r]`."""
    *lead, c, h, w = input.shape
    r = integer(upscale_factor, "pixel_shuffle", "upscale_factor")
    if r < 1 or c % (r * r):
        raise ShapeError(
            f"pixel_shuffle({r}) of a tensor of shape {list(input.shape)}",
            mirrored(
                "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                "upscale_factor, but "
                f"input.size(-3)={c} is not divisible by {r * r}"
            ),
        )
    n = len(lead)
    apart = moves.reshape(input, (*lead, c // (r * r), r, r, h, w))
    woven = moves.permute(apart, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return unshared(moves.reshape(woven, (*lead, c // (r * r), h * r, w * r)), input)


@functional("pixel_unshuffle", top=True, replay=True)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """`pixel_shuffle` backwards: `[…, C, H · r, W · r]` to `[…, C · r², H, W]`."""
    *lead, c, h, w = input.shape
    r = integer(downscale_factor, "pixel_unshuffle", "downscale_factor")
    if r < 1 or h % r or w % r:
        raise ShapeError(
            f"pixel_unshuffle({r}) of a tensor of shape {list(input.shape)}",
            "pixel_unshuffle expects height and width to be divisible by downscale_factor",
        )
    n = len(lead)
    apart = moves.reshape(input, (*lead, c, h // r, r, w // r, r))
    gathered = moves.permute(apart, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return unshared(moves.reshape(gathered, (*lead, c * r * r, h // r, w // r)), input)
