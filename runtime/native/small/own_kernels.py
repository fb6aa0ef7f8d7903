"""The kernels of ops that have one of their own, by name.

In flow a name and the arrays and sizes of a step; out flows the step. A further kernel is an entry of
`_FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.native.small import kernels
from retrograd.runtime.native.small.cuts import Cut
from retrograd.runtime.native.small.steps import Steps

_FUNCTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bordered": ("bordering.surround", ()),
    "bordered adjoint": ("bordering.return_to", ()),
    "causal softmax": ("shares.causal", ("exp",)),
    "channel dot": ("channels.dot", ()),
    "cross entropy": ("shares.losses", ("exp", "log")),
    "mean of counted": ("shares.mean_of_counted", ()),
    "corners": ("sampler.weigh", ()),
    "corners adjoint": ("sampler.return_to", ()),
    "corner weights": ("sampler.weights", ()),
    "fold": ("spanning.lay_back", ()),
    "follow mean": ("normalising.follow_mean", ()),
    "follow var": ("normalising.follow_variance", ()),
    "norm": ("normalising.standardise", ()),
    "norm elements": ("normalising.through", ()),
    "norm weight": ("normalising.weigh", ()),
    "ctc": ("aligning.forward", ("exp", "log")),
    "ctc adjoint": ("aligning.backward", ("exp", "log")),
    "bag sum": ("bags.sum_up", ()),
    "bag sum adjoint": ("bags.return_sums", ()),
    "bag places": ("bags.places", ()),
    "logsumexp": ("shares.logarithms", ("exp", "log")),
    "softmax across": ("shares.across", ("exp",)),
    "log_softmax across": ("shares.logarithms_across", ("exp", "log")),
    "gamma slope": ("quantiles.gamma_slope", ("exp", "expm1")),
    "beta slope": ("quantiles.beta_slope", ("exp", "log1p")),
    "glu": ("gates.glu", ("exp",)),
    "glu adjoint": ("gates.glu_adjoint", ("exp",)),
    "plane": ("planes.sample", ("gather", "evens", "odds")),
    "plane adjoint": ("planes.return_to", ("evens", "odds")),
    "plane turn": ("planes.turn", ("gather", "evens", "odds", "first_pairs", "last_pairs")),
    "greatest": ("spanning.greatest", ("gather",)),
    "greatest adjoint": ("spanning.return_to_greatest", ("gather",)),
    "window places": ("spanning.places_of_greatest", ("gather",)),
    "span sums": ("spanning.sum_up", ()),
    "pair distances": ("pairing.distances", ()),
    "pairs adjoint": ("pairing.return_to", ()),
    "distances": ("pairing.distances_between", ()),
    "distances adjoint": ("pairing.return_between", ()),
    "substitute": ("triangles.substitute", ()),
    "unpool": ("pairing.put_down", ()),
    "prelu": ("channels.prelu", ()),
    "prelu adjoint": ("channels.prelu_adjoint", ()),
    "prelu slopes": ("channels.slopes", ()),
    "scale shift": ("channels.scale_shift", ()),
    "multilabel": ("margins.multilabel", ()),
    "multilabel adjoint": ("margins.multilabel_adjoint", ()),
}
"""The kernels, and the functions of vectors in them."""


@cache
def kernel(name: str, dtype: DType) -> int | None:
    """Where a kernel for such elements is, if there is one."""
    if dtype not in (dtypes.float32, dtypes.float64):
        return None
    function, inside = _FUNCTIONS[name]
    return kernels.of_function(name, function, dtype, inside)


def step(
    name: str,
    steps: Steps,
    arrays: list[Array],
    sizes: list[int],
    reduces: bool = False,
    cut: Cut | None = None,
) -> None:
    """A step by the kernel of this name for elements like the first array's."""
    steps.step(kernel(name, kernels.DTYPES[arrays[0].dtype]), arrays, sizes, reduces, cut)
