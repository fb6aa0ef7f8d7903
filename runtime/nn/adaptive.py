"""The softmax over very many classes in clusters: frequent classes by themselves, rare ones behind a gate."""

from __future__ import annotations

from collections.abc import Sequence

from retrograd.compiler.errors import ArgumentError, ShapeError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.functions.public import known
from retrograd.runtime.nn import functional as F
from retrograd.runtime.nn.containers import ModuleList, Sequential
from retrograd.runtime.nn.linear import Linear
from retrograd.runtime.nn.module import Module
from retrograd.runtime.tensor import Tensor


class ASMoutput(NamedTuple):
    """Each sample's log-probability of its target, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Classes in order of frequency, cut at `cutoffs`; the clusters after the first share one score each with
    the first cluster's classes, and have weights that are smaller by `div_value` each (Grave et al.,
    "Efficient softmax approximation for GPUs", 2017).
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: object = None,
        dtype: object = None,
    ) -> None:
        super().__init__()
        cuts = list(cutoffs)
        if not cuts:
            raise ArgumentError(mirrored("cutoffs should be a sequence of length larger than 0"))
        if (
            cuts != sorted(set(cuts))
            or min(cuts) <= 0
            or max(cuts) > n_classes - 1
            or any(int(c) != c for c in cuts)
        ):
            raise ArgumentError(
                mirrored(
                    "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                    "order, where each value is between 1 and n_classes-1"
                )
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cuts, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cuts[0]
        self.n_clusters = len(cuts)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            inner = int(in_features // (div_value ** (k + 1)))
            outer = self.cutoffs[k + 1] - self.cutoffs[k]
            self.tail.append(
                Sequential(
                    Linear(in_features, inner, bias=False, device=device, dtype=dtype),
                    Linear(inner, outer, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster.children():
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> ASMoutput:
        alone = target_.ndim == 0
        self._check(input_, target_)
        x = input_.unsqueeze(0) if alone else input_
        target = target_.unsqueeze(0) if alone else target_
        array = known(target)
        if array is not None and array.size and not 0 <= array.min() <= array.max() < self.n_classes:
            raise ShapeError(
                mirrored(
                    f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                    f"[{array.min()}, {array.max()}] were found. "
                )
            )
        output = self.log_prob(x).gather(1, target.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return ASMoutput(output.squeeze(0) if alone else output, loss)

    def _check(self, x: Tensor, target: Tensor) -> None:
        if target.ndim == 1:
            if x.shape[0] != target.shape[0]:
                raise ShapeError(
                    mirrored("Input and target should have the same size in the batch dimension.")
                )
            if x.ndim != 2:
                raise ShapeError(
                    mirrored(
                        f"1D target tensor expects 2D input tensors, but found inputs with size {x.shape}"
                    )
                )
        elif target.ndim == 0:
            if x.ndim != 1:
                raise ShapeError(
                    mirrored(
                        f"0D target tensor expects 1D input tensors, but found inputs with size {x.shape}"
                    )
                )
        else:
            raise ShapeError(mirrored("0D or 1D target tensor expected, multi-target not supported"))

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: `[N, n_classes]`."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for k, cluster in enumerate(self.tail):
            gate = head[:, self.shortlist_size + k].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), dim=1) + gate)
        found: Tensor = FUNCTIONS["cat"](parts, 1).to(input.dtype)
        return found

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each sample."""
        found: Tensor = self.log_prob(input).argmax(1)
        return found
