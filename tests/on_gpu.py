"""Retrograd for programs that name no device, and are to run on a GPU: what makes tensors makes them there.

The module stands in the place of `retrograd`; `source_for_gpu` has a document's program import it. A factory
that a program uses is a name in `FACTORIES`.
"""

from __future__ import annotations

import functools
from typing import Any

import retrograd

FACTORIES = frozenset(
    {
        "arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn",
        "randperm", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros",
    }
)  # fmt: skip
OLD_TYPES = {"FloatTensor": retrograd.float32, "LongTensor": retrograd.int64}


def __getattr__(name: str) -> Any:
    if name in OLD_TYPES:
        return functools.partial(retrograd.tensor, dtype=OLD_TYPES[name], device="cuda:0")
    found = getattr(retrograd, name)
    return functools.partial(found, device="cuda:0") if name in FACTORIES else found


def source_for_gpu(source: str) -> str:
    """A document's program, with the CPU that it may name replaced and its library this module."""
    return source.replace("import {torch} as torch", "import on_gpu as torch").replace(
        'torch.device("cpu")', 'torch.device("cuda:0")'
    )
