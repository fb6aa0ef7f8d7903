"""Embeddings: a vector for each whole number, learned; one by one, or several together."""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, RequirementError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn import init
from retrograd.runtime.nn.arguments import unusual
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor


class Embedding(Module):
    """Rows of `weight` by index. The row `padding_idx` starts as zeros, and has no gradient."""

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise RequirementError(mirrored("Padding_idx must be within num_embeddings"))
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is not None and _weight.shape != shape:
            raise ArgumentError(mirrored("Shape of weight does not match num_embeddings and embedding_dim"))
        start = FUNCTIONS["empty"](shape, device=device, dtype=dtype) if _weight is None else _weight
        self.weight = Parameter(start, requires_grad=not _freeze)
        if _weight is None:
            self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """With these vectors; not trained, if `freeze`."""
        if embeddings.ndim != 2:
            raise ArgumentError(mirrored("Embeddings parameter is expected to be 2-dimensional"))
        rows, columns = embeddings.shape
        return cls(
            rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze
        )

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        usual = {
            "padding_idx": None,
            "max_norm": None,
            "norm_type": 2,
            "scale_grad_by_freq": False,
            "sparse": False,
        }
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *unusual(self, usual)])


class EmbeddingBag(Module):
    """Sums, means or maxima of rows of `weight`. The row `padding_idx` does not count."""

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(mirrored("padding_idx must be within num_embeddings"))
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        shape = (num_embeddings, embedding_dim)
        if _weight is not None and _weight.shape != shape:
            raise ArgumentError(mirrored("Shape of weight does not match num_embeddings and embedding_dim"))
        start = FUNCTIONS["empty"](shape, device=device, dtype=dtype) if _weight is None else _weight
        self.weight = Parameter(start)
        if _weight is None:
            self.reset_parameters()
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, **options: Any) -> EmbeddingBag:
        """With these vectors; not trained, if `freeze`."""
        if embeddings.ndim != 2:
            raise ArgumentError(mirrored("Embeddings parameter is expected to be 2-dimensional"))
        count, size = embeddings.shape
        found = cls(count, size, _weight=embeddings, **options)
        found.weight.requires_grad = not freeze
        return found

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        usual = {"max_norm": None, "norm_type": 2, "scale_grad_by_freq": False}
        padding = unusual(self, {"padding_idx": None})
        size = f"{self.num_embeddings}, {self.embedding_dim}"
        return ", ".join([size, *unusual(self, usual), f"mode={self.mode!r}", *padding])
