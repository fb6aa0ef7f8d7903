"""`nn.grad`: the gradients of convolutions, as functions of their own.

In flow the cotangent of a convolution's output, its input or weight, and the other's shape alone; out flows
the other's gradient, which can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from retrograd.compiler.ops import convolution
from retrograd.compiler.ops.convolution import Convolution
from retrograd.runtime.functions.windowing import each
from retrograd.runtime.tensor import Tensor

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]

Sizes = int | Sequence[int]


def _shaped(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of which nothing but its shape is read."""
    empty: Tensor = like.new_empty(1).expand(*shape)
    return empty


def _gradients(rank: int) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    def read(name: str, *sizes: Sizes) -> list[list[int]]:
        return [each(size, rank, name, "size") for size in sizes]

    def of_input(
        input_size: Sequence[int], weight: Tensor, grad_output: Tensor, stride: Sizes = 1, padding: Sizes = 0,
        dilation: Sizes = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        steps, margins, gaps = read(of_input.__name__, stride, padding, dilation)
        spans = (size + 2 * margin for size, margin in zip(input_size[2:], margins, strict=True))
        whole = _shaped(grad_output, (*input_size[:2], *spans))
        op = Convolution(tuple(steps), tuple(gaps), groups)
        found, _ = op.adjoint(grad_output, grad_output, (whole, weight), (True, False))
        cropped = [-margin for margin in margins]
        return cast("Tensor", convolution.padded(cast("Tensor", found), cropped, cropped))

    def of_weight(
        input: Tensor, weight_size: Sequence[int], grad_output: Tensor, stride: Sizes = 1, padding: Sizes = 0,
        dilation: Sizes = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        steps, margins, gaps = read(of_weight.__name__, stride, padding, dilation)
        weight = _shaped(grad_output, weight_size)
        op = Convolution(tuple(steps), tuple(gaps), groups)
        whole = convolution.padded(input, margins, margins)
        _, found = op.adjoint(grad_output, grad_output, (whole, weight), (False, True))
        return cast("Tensor", found)

    for function, kind in ((of_input, "input"), (of_weight, "weight")):
        function.__name__ = function.__qualname__ = f"conv{rank}d_{kind}"
        function.__doc__ = f"The gradient of `conv{rank}d` by its {kind}, of which the shape is given."
    return of_input, of_weight


conv1d_input, conv1d_weight = _gradients(1)
conv2d_input, conv2d_weight = _gradients(2)
conv3d_input, conv3d_weight = _gradients(3)
