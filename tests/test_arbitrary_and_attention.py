"""`testing.make_tensor` and `nn.functional.multi_head_attention_forward` beside PyTorch: elements, gradients,
words of errors.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from side_by_side import compare

import retrograd

# ---- arbitrary elements ------------------------------------------------------------------------------------

MADE = [
    "4, 3, dtype=t.float32, device='cpu'",
    "(4, 3), dtype=t.float64, device='cpu', low=-1, high=1",
    "[5], dtype=t.float16, device='cpu'",
    "(2, 3), dtype=t.bfloat16, device='cpu', low=0.5",
    "(7,), dtype=t.int64, device='cpu'",
    "(7,), dtype=t.int32, device='cpu', low=-3.5, high=2.5",
    "(7,), dtype=t.uint8, device='cpu'",
    "(7,), dtype=t.int8, device='cpu', low=-1000, high=1000",
    "(7,), dtype=t.bool, device='cpu'",
    "(7,), dtype=t.bool, device='cpu', low=1",
    "(0, 3), dtype=t.float32, device='cpu'",
    "(), dtype=t.float32, device='cpu'",
    "dtype=t.int64, device='cpu'",
    "3, 4, dtype=t.float32, device='cpu', noncontiguous=True",
    "1, dtype=t.float32, device='cpu', noncontiguous=True",
    "9, dtype=t.int64, device='cpu', low=-1, high=2, exclude_zero=True",
    "9, dtype=t.bool, device='cpu', exclude_zero=True",
    "3, dtype=t.float32, device='cpu', requires_grad=True",
    "3, dtype=t.float32, device='cpu', noncontiguous=True, requires_grad=True, exclude_zero=True",
    "(2, 3, 2, 2), dtype=t.float32, device='cpu', memory_format=t.channels_last",
    "4, dtype=t.float32, device='cpu', low=-float('inf'), high=float('inf')",
    "4, dtype=t.float64, device='cpu', low=2, high=2",
    "4, dtype=t.float32, device='cpu', low=float('nan')",
    "4, dtype=t.float32, device='cpu', low=2, high=1",
    "4, dtype=t.int64, device='cpu', low=2, high=2",
    "4, dtype=t.uint8, device='cpu', low=-9, high=-3",
    "4, dtype=t.int8, device='cpu', low=300, high=400",
    "4, dtype=t.int64, device='cpu', requires_grad=True",
    "2, 2, dtype=t.float32, device='cpu', noncontiguous=True, memory_format=t.contiguous_format",
]


@pytest.mark.parametrize("arguments", MADE)
def test_arbitrary_elements_are_pytorchs(torch: Any, arguments: str) -> None:
    def program(t: Any) -> Any:
        t.manual_seed(5)
        made = eval(f"t.testing.make_tensor({arguments})", {"t": t})
        shown = made.float() if made.dtype is t.bfloat16 else made  # NumPy has no such numbers
        return shown, str(made.dtype), tuple(made.stride()) if made.numel() else (), made.is_contiguous()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(program, torch)


def test_an_empty_interval_of_floats_is_warned_of(torch: Any) -> None:
    told = []
    for t in (retrograd, torch):
        with pytest.warns(FutureWarning) as caught:
            t.testing.make_tensor(2, dtype=t.float32, device="cpu", low=1, high=1)
        told.append([str(w.message) for w in caught])
    assert told[0] == told[1]


# ---- attention ---------------------------------------------------------------------------------------------

NAMES = ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v")


def attended(
    t: Any, *, changes: dict[str, Any], extra: bool = False, zeros: bool = False, batch: int = 2
) -> Any:
    """The function of a layer's parameters, with these changes to its arguments: outputs and gradients."""
    before = t.get_default_dtype()
    t.set_default_dtype(t.float64)
    try:
        return [None if x is None else (x * 1e6).round() for x in results(t, changes, extra, zeros, batch)]
    finally:
        t.set_default_dtype(before)


def results(t: Any, changes: dict[str, Any], extra: bool, zeros: bool, batch: int) -> list[Any]:
    t.manual_seed(2)
    layer = t.nn.MultiheadAttention(6, 2, add_bias_kv=extra, add_zero_attn=zeros)
    t.nn.init.uniform_(layer.in_proj_bias)
    shapes = [(4, batch, 6), (3, batch, 6), (3, batch, 6)] if batch else [(4, 6), (3, 6), (3, 6)]
    given = [t.randn(*shape).requires_grad_() for shape in shapes]
    arguments: dict[str, Any] = dict(zip(("query", "key", "value"), given))
    arguments |= {name: getattr(layer, name) for name in NAMES}
    arguments |= {"embed_dim_to_check": 6, "num_heads": 2, "add_zero_attn": zeros, "dropout_p": 0.0}
    arguments |= {"out_proj_weight": layer.out_proj.weight, "out_proj_bias": layer.out_proj.bias}
    arguments |= {name: value(t) for name, value in changes.items()}
    output, weights = t.nn.functional.multi_head_attention_forward(**arguments)
    (output * t.arange(24.0 * max(batch, 1)).reshape(output.shape)).sum().backward()
    found = [output.detach(), None if weights is None else weights.detach()]
    leaves = [*given, *layer.parameters(), *arguments.values()]
    return found + [x.grad for x in leaves if isinstance(x, t.Tensor) and x.is_leaf]


def causal(t: Any) -> Any:
    return t.ones(4, 3, dtype=t.bool).triu(1)


CHANGED: dict[str, dict[str, Any]] = {
    "plain": {},
    "without weights": {"need_weights": lambda t: False},
    "weights of each head": {"average_attn_weights": lambda t: False},
    "a mask": {"attn_mask": causal},
    "a mask of numbers": {"attn_mask": lambda t: t.arange(12.0).reshape(4, 3) / 10},
    "a mask of each head": {"attn_mask": lambda t: t.arange(48.0).reshape(4, 4, 3) % 5},
    "padding": {"key_padding_mask": lambda t: t.tensor([[False, True, False], [False, False, True]])},
    "both": {
        "attn_mask": causal,
        "key_padding_mask": lambda t: t.tensor([[False, True, False], [False, False, True]]),
        "need_weights": lambda t: False,
    },
    "separate": {
        "use_separate_proj_weight": lambda t: True,
        **{f"{n}_proj_weight": lambda t: t.ones(6, 6, requires_grad=True) for n in "qkv"},
    },
    "no biases": {"in_proj_bias": lambda t: None, "out_proj_bias": lambda t: None},
    "fixed keys": {"static_k": lambda t: t.arange(36.0).reshape(4, 3, 3).sin().requires_grad_()},
    "fixed values": {"static_v": lambda t: t.arange(36.0).reshape(4, 3, 3).sin().requires_grad_()},
}
WRONG: dict[str, dict[str, Any]] = {
    "another size": {"embed_dim_to_check": lambda t: 8},
    "heads that do not divide": {"num_heads": lambda t: 4},
    "no weight": {"in_proj_weight": lambda t: None},
    "no separate weight": {"use_separate_proj_weight": lambda t: True},
    "values of another length": {"value": lambda t: t.ones(2, 2, 6)},
    "a key of two axes": {"key": lambda t: t.ones(3, 6)},
    "a query of one axis": {"query": lambda t: t.ones(6)},
    "padding of one axis": {"key_padding_mask": lambda t: t.zeros(3, dtype=t.bool)},
    "a mask of one axis": {"attn_mask": lambda t: t.zeros(3)},
    "a mask of another shape": {"attn_mask": lambda t: t.zeros(3, 3)},
    "a mask of other heads": {"attn_mask": lambda t: t.zeros(3, 4, 3)},
    "no mask": {"is_causal": lambda t: True},
    "one more key": {"bias_k": lambda t: t.ones(1, 1, 6)},
    "one more value": {"bias_v": lambda t: t.ones(1, 1, 6)},
    "fixed keys of other heads": {"static_k": lambda t: t.ones(3, 3, 3)},
    "fixed values of another size": {"static_v": lambda t: t.ones(4, 3, 2)},
}


@pytest.mark.parametrize("name", [*CHANGED, *WRONG])
def test_attention_as_a_function(torch: Any, name: str) -> None:
    compare(lambda t: attended(t, changes={**CHANGED, **WRONG}[name]), torch)


@pytest.mark.parametrize("name", ["plain", "a mask", "padding", "both", "without weights"])
def test_attention_with_further_keys(torch: Any, name: str) -> None:
    compare(lambda t: attended(t, changes=CHANGED[name], extra=True, zeros=True), torch)


@pytest.mark.parametrize("name", ["plain", "a mask", "weights of each head"])
def test_attention_of_one_example(torch: Any, name: str) -> None:
    compare(lambda t: attended(t, changes=CHANGED[name], batch=0), torch)


def test_fixed_keys_and_one_more_do_not_go_together(torch: Any) -> None:
    compare(lambda t: attended(t, changes={"static_k": lambda t: t.ones(4, 3, 3)}, extra=True), torch)


def test_attention_is_dropped_in_training_alone(torch: Any) -> None:
    dropped = {"dropout_p": lambda t: 0.9, "training": lambda t: False}
    compare(lambda t: attended(t, changes=dropped), torch)


def test_attention_as_a_function_compiled() -> None:
    layer = retrograd.nn.MultiheadAttention(6, 2)
    x = retrograd.randn(4, 2, 6)

    def loss(x: Any) -> Any:
        own = layer.in_proj_weight, layer.in_proj_bias, None, None, False, 0.0, layer.out_proj.weight
        out, _ = retrograd.nn.functional.multi_head_attention_forward(
            x, x, x, 6, 2, *own, layer.out_proj.bias
        )
        return (out * out).sum()

    eager, compiled = loss(x), retrograd.compile_grad(loss)(x)
    retrograd.testing.assert_close(compiled, eager)
