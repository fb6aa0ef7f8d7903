"""Attention with several heads (Vaswani et al., 2017).

Inside, everything is `[N, heads, length, size of a head]`; at the borders, sequences come first unless
`batch_first`. A mask says with True what takes no part, or is added to the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from retrograd.compiler.errors import ArgumentError, RequirementError, mirrored
from retrograd.runtime.functions.attention import Heads, Masks, answered, attended, check_sizes, is_batched
from retrograd.runtime.nn import init
from retrograd.runtime.nn.linear import Linear, empty_parameter
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear by the name under which PyTorch shows the output of attention."""


class MultiheadAttention(Module):
    """Heads that look at keys with queries, and mix values; `(output, weights)`."""

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ArgumentError(
                mirrored(
                    f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                    f"num_heads={num_heads} instead"
                )
            )
        if embed_dim % num_heads:
            raise RequirementError(mirrored("embed_dim must be divisible by num_heads"))
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        self._add_projections(bias, add_bias_kv, {"device": device, "dtype": dtype})
        self._reset_parameters()

    def _add_projections(self, bias: bool, add_bias_kv: bool, options: dict[str, Any]) -> None:
        size, together = self.embed_dim, self.kdim == self.vdim == self.embed_dim
        sizes = {"q": size, "k": self.kdim, "v": self.vdim}
        for name, inner in sizes.items():
            apart = None if together else empty_parameter(size, inner, **options)
            self.register_parameter(f"{name}_proj_weight", apart)
        packed = empty_parameter(3 * size, size, **options) if together else None
        self.register_parameter("in_proj_weight", packed)
        self.register_parameter("in_proj_bias", empty_parameter(3 * size, **options) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(size, size, bias=bias, **options)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, empty_parameter(1, 1, size, **options) if add_bias_kv else None)

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The outputs, shaped like `query`, and the weights `[N, length, keys]` if `need_weights`."""
        if is_causal and attn_mask is None:
            raise ArgumentError(mirrored("Need attn_mask if specifying the is_causal hint."))
        batched = is_batched(query, key, value, key_padding_mask, attn_mask, self.num_heads)
        given: list[Any] = [query, key, value]
        turned = [x.transpose(0, 1) for x in given] if batched and self.batch_first else given
        q, k, v = turned
        check_sizes(q, k, v, self.embed_dim, self.num_heads, self.in_proj_weight is None)
        if not batched:
            given = [x.unsqueeze(0) for x in given]
        elif not self.batch_first:
            given = [x.transpose(0, 1) for x in given]
        if key_padding_mask is not None and not batched:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        masks = Masks(attn_mask, key_padding_mask)
        dropout = self.dropout if self.training else 0.0
        mixed, weights = attended(self._heads(), given, masks, dropout, need_weights)
        output, weights = answered(self.out_proj(mixed), weights, average_attn_weights, batched)
        return (output.transpose(0, 1) if batched and self.batch_first else output), weights

    def _heads(self) -> Heads:
        if self.in_proj_weight is not None:
            weights: Any = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases: Any = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        further = self.bias_k, self.bias_v
        return Heads(self.num_heads, self.head_dim, weights, biases, further, self.add_zero_attn)


# ---- which algorithm ---------------------------------------------------------------------------------------


class SDPBackend(IntEnum):
    """PyTorch's algorithms of `scaled_dot_product_attention`; here one serves for all."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[None]:
    """Within, PyTorch uses these algorithms alone; here it changes nothing."""
    if not isinstance(backends, list | SDPBackend):
        kind = type(backends).__name__
        words = "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got"
        raise RequirementError(mirrored(f"{words} {kind}"))
    yield
