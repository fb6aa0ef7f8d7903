"""Attention with several heads (Vaswani et al., 2017) as a function, as PyTorch's
`nn.functional.multi_head_attention_forward`; the layer of `nn/attention.py` is made of the same steps.

Inside, everything is `[N, heads, length, size of a head]`. A mask says with True what takes no part, or is
added to the scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError, GradientError, RequirementError, ShapeError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS, functional
from retrograd.runtime.tensor import Tensor


class Heads(NamedTuple):
    """What makes queries, keys and values of each head."""

    number: int
    size: int
    weights: Sequence[Any]
    """Of queries, keys and values."""
    biases: Sequence[Any]
    further: tuple[Any, Any] = (None, None)
    """One more key and value, `[1, 1, embedding]`."""
    zeros: bool = False
    """Whether there is one more key and value of zeros."""
    fixed: tuple[Any, Any] = (None, None)
    """Keys and values of all heads, `[N · heads, length, size]`, in place of those that are made."""

    @property
    def added(self) -> int:
        """How many keys there are beyond those that are given."""
        return int(self.further[0] is not None) + int(self.zeros)


class Masks(NamedTuple):
    """What takes no part: for each query and key, and for each example and key."""

    scores: Any
    padding: Any


def projected(heads: Heads, given: Sequence[Any]) -> list[Any]:
    """Queries, keys and values of each head, of those given, `[N, length, …]`."""
    linear, cat = FUNCTIONAL["linear"], FUNCTIONS["cat"]
    found: list[Any] = [linear(x, w, b) for x, w, b in zip(given, heads.weights, heads.biases)]
    for place, extra in enumerate(heads.further, 1):
        if extra is not None:
            found[place] = cat([found[place], extra.expand(len(found[place]), 1, -1)], 1)
    made = [x.unflatten(-1, (heads.number, heads.size)).transpose(1, 2) for x in found]
    for place, fixed in enumerate(heads.fixed, 1):
        if fixed is not None:
            made[place] = fixed.unflatten(0, (len(given[0]), heads.number))
    if heads.zeros:
        row = made[1].new_zeros((*made[1].shape[:2], 1, heads.size))
        made[1:] = [cat([x, row], 2) for x in made[1:]]
    return made


def joined_mask(heads: Heads, masks: Masks, q: Any, k: Any) -> Any:
    """What is added to the scores, `[N or 1, heads or 1, length or 1, keys]`, or None."""
    added, keys = None, k.shape[2] - heads.added
    if masks.scores is not None:
        _check_mask(masks.scores, q, keys)
        shape = (1, 1) if masks.scores.ndim == 2 else (len(q), heads.number)
        added = additive(masks.scores, q.dtype, "attn_mask").reshape(*shape, *masks.scores.shape[-2:])
    if masks.padding is not None:
        expected = (len(q), keys)
        if masks.padding.shape != expected:
            raise ShapeError(
                f"key_padding_mask of shape {list(masks.padding.shape)}", f"expected {list(expected)}"
            )
        padding = additive(masks.padding, q.dtype, "key_padding_mask").reshape(len(q), 1, 1, keys)
        added = padding if added is None else added + padding
    return FUNCTIONAL["pad"](added, (0, heads.added)) if added is not None and heads.added else added


def _check_mask(mask: Tensor, q: Tensor, keys: int) -> None:
    if mask.ndim not in (2, 3):
        raise ShapeError(mirrored(f"attn_mask's dimension {mask.ndim} is not supported"))
    expected = (q.shape[2], keys) if mask.ndim == 2 else (len(q) * q.shape[1], q.shape[2], keys)
    if mask.shape != expected:
        raise ShapeError(
            mirrored(f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {expected}.")
        )


def additive(mask: Any, dtype: DType, name: str) -> Any:
    """A mask as numbers to add: -inf where a bool one is True."""
    if mask.dtype is dtypes.bool_:
        return mask.new_zeros(mask.shape, dtype=dtype).masked_fill(mask, -math.inf)
    if not mask.is_floating_point():
        raise DtypeError(mirrored(f"only bool and floating types of {name} are supported"))
    return mask.to(dtype)


def attended(
    heads: Heads, given: Sequence[Any], masks: Masks, dropout: float, weighed: bool
) -> tuple[Any, Any]:
    """Values mixed by the weights, `[length, N, embedding]`, and the weights of each head if `weighed`."""
    q, k, v = projected(heads, given)
    mask = joined_mask(heads, masks, q, k)
    if not weighed:
        mixed, weights = FUNCTIONAL["scaled_dot_product_attention"](q, k, v, mask, dropout), None
    else:
        scores = (q * math.sqrt(1.0 / heads.size)) @ k.transpose(-2, -1)
        weights = FUNCTIONAL["softmax"](scores if mask is None else scores + mask, -1)
        if dropout > 0.0:
            weights = FUNCTIONAL["dropout"](weights, dropout)
        mixed = weights @ v
    return mixed.permute(2, 0, 1, 3).flatten(2), weights


# ---- the function ------------------------------------------------------------------------------------------


@functional("multi_head_attention_forward")
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes, of sequences `[length, N, embedding]` or `[length, embedding]`
    and the layer's parameters: the outputs, and the weights `[N, length, keys]` if `need_weights`.

    `static_k` and `static_v`, `[N · heads, length, size of a head]`, stand in the place of keys and values
    that would be made. Raises RequirementError, an AssertionError as PyTorch's, where sizes do not fit.
    """
    if is_causal and attn_mask is None:
        raise GradientError(
            mirrored(
                "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                "`generate_square_subsequent_mask` to create this mask."
            )
        )
    batched = is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    given: list[Any] = [x.transpose(0, 1) if batched else x.unsqueeze(0) for x in (query, key, value)]
    if not batched and key_padding_mask is not None:
        key_padding_mask = key_padding_mask.unsqueeze(0)
    check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    weights = _weights(
        in_proj_weight, (q_proj_weight, k_proj_weight, v_proj_weight), use_separate_proj_weight
    )
    size = embed_dim_to_check // num_heads
    fixed = (static_k, static_v)
    _check_further((bias_k, bias_v), fixed, len(given[0]) * num_heads, size)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    heads = Heads(num_heads, size, weights, biases, (bias_k, bias_v), add_zero_attn, fixed)
    masks = Masks(attn_mask, key_padding_mask)
    mixed, shares = attended(heads, given, masks, dropout_p if training else 0.0, need_weights)
    return answered(
        FUNCTIONAL["linear"](mixed, out_proj_weight, out_proj_bias), shares, average_attn_weights, batched
    )


def answered(
    output: Any, shares: Tensor | None, average: bool, batched: bool
) -> tuple[Tensor, Tensor | None]:
    """The output and the weights as the caller asked: averaged over the heads, of one example alone."""
    if shares is not None and average:
        shares = shares.mean(1)
    if batched:
        return output, shares
    return output.squeeze(1), None if shares is None else shares.squeeze(0)


def is_batched(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, heads: int
) -> bool:
    """Whether there are several examples; the number of axes must be right."""
    if query.ndim not in (2, 3):
        raise RequirementError(
            mirrored(
                f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
            )
        )
    batched = query.ndim == 3
    lead = f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected"
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise RequirementError(
            mirrored(
                f"{lead} `key` and `value` to be {query.ndim}-D but found {key.ndim}-D and {value.ndim}-D "
                "tensors respectively"
            )
        )
    if padding is not None and padding.ndim != query.ndim - 1:
        raise RequirementError(
            mirrored(
                f"{lead} `key_padding_mask` to be `None` or {query.ndim - 1}-D but found {padding.ndim}-D "
                "tensor instead"
            )
        )
    if mask is not None and mask.ndim not in (2, 3):
        raise RequirementError(
            mirrored(f"{lead} `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor instead")
        )
    expected = (heads, query.shape[0], key.shape[0])
    if mask is not None and not batched and mask.ndim == 3 and mask.shape != expected:
        raise RequirementError(mirrored(f"Expected `attn_mask` shape to be {expected} but got {mask.shape}"))
    return batched


def check_sizes(query: Tensor, key: Tensor, value: Tensor, expected: int, heads: int, separate: bool) -> None:
    """The embedding must be of the expected size, and keys and values must go together, which have weights of
    their own if `separate`."""
    found = query.shape[-1]
    if found != expected:
        raise RequirementError(mirrored(f"was expecting embedding dimension of {expected}, but got {found}"))
    if found % heads:
        raise RequirementError(mirrored(f"embed_dim {found} not divisible by num_heads {heads}"))
    if separate and key.shape[:2] != value.shape[:2]:
        raise RequirementError(
            mirrored(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
        )
    if not separate and key.shape != value.shape:
        raise RequirementError(mirrored(f"key shape {key.shape} does not match value shape {value.shape}"))


def _weights(packed: Any, apart: Sequence[Any], separate: bool) -> Sequence[Any]:
    """Those of queries, keys and values."""
    wanted = zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), apart)
    for name, weight in wanted if separate else [("in_proj_weight", packed)]:
        if weight is None:
            raise RequirementError(mirrored(f"use_separate_proj_weight is {separate} but {name} is None"))
    return apart if separate else packed.chunk(3)


def _check_further(further: tuple[Any, Any], fixed: tuple[Any, Any], rows: int, size: int) -> None:
    """One more key and one more value go together, and not with fixed ones, whose sizes must be right."""
    names = ("key", "value")
    for own, other in ((0, 1), (1, 0)):
        if further[own] is not None and further[other] is None:
            short = "kv"
            raise RequirementError(mirrored(f"bias_{short[own]} is set but bias_{short[other]} is None"))
    for name, extra, static in zip(names, further, fixed):
        if static is None:
            continue
        if extra is not None:
            raise RequirementError(mirrored(f"bias cannot be added to static {name}."))
        for axis, expected in ((0, rows), (2, size)):
            if static.shape[axis] != expected:
                raise RequirementError(
                    mirrored(
                        f"expecting static_{name[0]}.size({axis}) of {expected}, but got {static.shape[axis]}"
                    )
                )
