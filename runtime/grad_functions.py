"""What PyTorch calls the steps of the tape that public functions leave.

In flow the name of a function and its arguments, out flows that of its `grad_fn`. An entry of `FUNCTIONS` is
a name, or a rule that takes the function's arguments. A function that is missing here is called as its last
op (`grad_names.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.runtime.grad_names import Last, Name, Rule
from retrograd.runtime.names import ALIASES

# ---- rules -------------------------------------------------------------------------------------------------


def _argument(name: str, place: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return args[place] if place < len(args) else kwargs.get(name)


def with_(name: str, step: str, place: int = 1) -> Rule:
    """`SumBackward1` where the argument is given, else `SumBackward0`."""

    def rule(*args: Any, **kwargs: Any) -> str:
        return f"{step}Backward{int(_argument(name, place, args, kwargs) is not None)}"

    return rule


def tensor(name: str, step: str, place: int = 1) -> Rule:
    """`IndexFillBackward1` where the argument is a Tensor, else, for a number, `IndexFillBackward0`."""

    def rule(*args: Any, **kwargs: Any) -> str:
        return f"{step}Backward{int(hasattr(_argument(name, place, args, kwargs), 'ndim'))}"

    return rule


def _best(step: str) -> Rule:
    """The greatest of all elements, that along an axis, or the greater of two."""

    def rule(input: Any, dim: Any = None, *args: Any, **kwargs: Any) -> str:
        if hasattr(kwargs.get("other", dim), "ndim"):
            return f"{step}imumBackward0"
        return f"{step}Backward{int(dim is None)}"

    return rule


def _clamp(input: Any, min: Any = None, max: Any = None, **kwargs: Any) -> str:
    return f"ClampBackward{int(not hasattr(max if min is None else min, 'ndim'))}"


def _div(input: Any, other: Any, *, rounding_mode: str | None = None, **kwargs: Any) -> str:
    return "DivBackward2" if rounding_mode else "DivBackward0"


def _squeeze(input: Any, dim: Any = None) -> str:
    return "SqueezeBackward0" if dim is None else f"SqueezeBackward{2 if hasattr(dim, '__len__') else 1}"


def _squeeze_in_place(input: Any, dim: Any = None) -> str:
    return f"SqueezeBackward{3 if dim is None else 5 if hasattr(dim, '__len__') else 4}"


def _sort(input: Any, *args: Any, stable: bool = False, **kwargs: Any) -> str:
    return f"SortBackward{int(stable)}"


def _sum_to_size(input: Any, *size: Any) -> str:
    sizes = size[0] if size and not isinstance(size[0], int) else size
    return "SumBackward1" if len(sizes) == input.ndim else Last("ViewBackward0")


def _scatter(input: Any, dim: int, index: Any, src: Any = None, **kwargs: Any) -> str:
    return f"ScatterBackward{int(not hasattr(src, 'ndim'))}"


def _repeat_interleave(input: Any, repeats: Any = None, *args: Any, **kwargs: Any) -> str:
    return "IndexSelectBackward0" if hasattr(repeats, "ndim") else Last("ViewBackward0")


def _inner(input: Any, other: Any) -> str:
    return Last("ViewBackward0") if input.ndim and other.ndim else "MulBackward0"


def _einsum(equation: Any, *operands: Any) -> str:
    """Of one operand a sum or a movement; of several a product, seen as the letters of the result."""
    if not isinstance(equation, str):  # it is the first operand; lists of axes stand between them
        many, letters = (len(operands) + 1) // 2, operands[0]
        result = operands[1] if len(operands) == 2 else None
    else:
        listed = len(operands) == 1 and isinstance(operands[0], list | tuple)
        many = len(operands[0] if listed else operands)
        letters, arrow, right = equation.replace(" ", "").partition("->")
        result = right if arrow else None
    if many > 1:
        return Last("ViewBackward0")
    moved = result is not None and len(set(letters)) == len(result)
    return Last("PermuteBackward0" if moved else "SumBackward1")


def _split(input: Any, split_size_or_sections: Any, dim: int = 0) -> str:
    return "SplitBackward0" if isinstance(split_size_or_sections, int) else "SplitWithSizesBackward0"


def _reshape(input: Any, *shape: Any, **kwargs: Any) -> str:
    return "ViewBackward0" if input.is_contiguous() else Last("UnsafeViewBackward0")


def _ravel(input: Any) -> str:
    return "ViewBackward0" if input.is_contiguous() else Last("ViewBackward0")


def _matmul(input: Any, other: Any, **kwargs: Any) -> str:
    if not hasattr(other, "ndim"):
        return ""  # `@` with what is no Tensor, which is left to Python
    known = {(1, 1): "DotBackward0", (2, 2): "MmBackward0", (2, 1): "MvBackward0"}
    steps = Last("SqueezeBackward4" if (input.ndim, other.ndim) == (1, 2) else "UnsafeViewBackward0")
    return known.get((input.ndim, other.ndim), steps)


def _linear(input: Any, weight: Any, bias: Any = None) -> str:
    if bias is None:
        return Last(_matmul(input, weight))
    return Last("AddmmBackward0" if input.ndim == 2 else "ViewBackward0")


def _index(input: Any, index: Any) -> str:
    """PyTorch goes through an index from left to right; the last step that changes something is seen."""
    parts = index if isinstance(index, tuple) else (index,)
    steps = [
        "SelectBackward0" if getattr(part, "ndim", None) == 0 else _INDEXED.get(type(part), "IndexBackward0")
        for part in parts
    ]
    whole = (Ellipsis, slice(None))
    seen = [step for step, part in zip(steps, parts) if not (type(part) in _WHOLE and part in whole)]
    last = seen[-1] if seen else steps[-1] if steps else "AliasBackward0"
    if "IndexBackward0" in steps:
        indexed = not {*seen, "IndexBackward0"} - {"IndexBackward0"} and bool not in map(type, parts)
        return "IndexBackward0" if indexed else Last("IndexBackward0")
    return Last(last) if len(seen) > 1 else last


_WHOLE = (type(Ellipsis), slice)
_INDEXED = {
    int: "SelectBackward0", slice: "SliceBackward0", type(None): "UnsqueezeBackward0",
    type(Ellipsis): "AliasBackward0",
}  # fmt: skip


def _padding(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> str:
    step = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}.get(mode)
    if step is None:
        return "ConstantPadNdBackward0" if mode == "constant" else Last("torch::autograd::CopySlices")
    return f"{step}{len(pad) // 2}DBackward0"


def _conv(rank: int) -> Rule:
    def rule(input: Any, *args: Any, **kwargs: Any) -> str:
        if input.ndim != rank + 2:
            return Last("SqueezeBackward1")
        uneven = kwargs.get("padding") == "same" and any(size % 2 == 0 for size in args[0].shape[2:])
        return Last("ConvolutionBackward0") if uneven else "ConvolutionBackward0"

    return rule


def _adaptive_average(rank: int) -> Rule:
    def rule(input: Any, output_size: Any) -> str:
        sizes = output_size if isinstance(output_size, tuple | list) else [output_size]
        return "MeanBackward1" if all(size == 1 for size in sizes) else f"AdaptiveAvgPool{rank}DBackward0"

    return rule


_STRETCHED = {
    "nearest": "UpsampleNearest", "nearest-exact": "UpsampleNearestExact", "linear": "UpsampleLinear",
    "bilinear": "UpsampleBilinear", "bicubic": "UpsampleBicubic", "trilinear": "UpsampleTrilinear",
    "area": "AdaptiveAvgPool",
}  # fmt: skip


def _interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *args: Any, **kwargs: Any
) -> str:
    return f"{_STRETCHED.get(mode)}{input.ndim - 2}DBackward0"


def _grid_sample(input: Any, *args: Any, **kwargs: Any) -> str:
    return f"GridSampler{input.ndim - 2}DBackward0"


def _nll(input: Any, *args: Any, **kwargs: Any) -> str:
    return f"NllLoss{'2D' if input.ndim > 2 else ''}Backward0"


def _cross_entropy(input: Any, target: Any, *args: Any, label_smoothing: float = 0.0, **kwargs: Any) -> str:
    if target.dtype.is_floating_point:
        return Last("DivBackward1" if kwargs.get("reduction", "mean") == "mean" else "SumBackward1")
    return Last("AddBackward0" if label_smoothing else _nll(input))


def _reduced(none: str) -> Rule:
    """Losses that PyTorch puts together from elements, their weights and their mean or sum."""
    kinds = {"none": none, "mean": "MeanBackward0", "sum": "SumBackward0", "batchmean": "DivBackward0"}
    weighted = kinds | {"none": "MulBackward0", "mean": "DivBackward0"}

    def rule(
        input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
        weight: Any = None, **kwargs: Any,
    ) -> str:  # fmt: skip
        return Last((kinds if weight is None else weighted).get(reduction, "MeanBackward0"))

    return rule


def _softmax(step: str) -> Rule:
    def rule(input: Any, *args: Any, dtype: Any = None, **kwargs: Any) -> str:
        converted = dtype is not None and dtype is not input.dtype
        return Last(f"{step}Backward0") if converted else f"{step}Backward0"

    return rule


def _norm(input: Any, ord: Any = None, *args: Any, **kwargs: Any) -> str:
    return Last("AmaxBackward0") if ord in (1, -1) and input.ndim == 2 else "LinalgVectorNormBackward0"


def _trapezoid(y: Any, x: Any = None, **kwargs: Any) -> str:
    return Last("MulBackward1" if x is None else "DivBackward1")


def _round(input: Any, *, decimals: int = 0) -> str:
    return f"RoundBackward{int(decimals != 0)}"


def _rsub(input: Any, other: Any, **kwargs: Any) -> str:
    return f"RsubBackward{int(not hasattr(other, 'ndim'))}"


def _adjoint(of_real: str) -> Rule:
    def rule(input: Any) -> str:
        return "ConjBackward0" if input.dtype.is_complex else f"{of_real}Backward0"

    return rule


def _vecdot(x: Any, y: Any, **kwargs: Any) -> str:
    return Last("SumBackward1") if x.dtype.is_complex else "VdotBackward0"


def _float_power(input: Any, exponent: Any) -> str:
    return Last(f"PowBackward{int(hasattr(exponent, 'ndim'))}")


FUNCTIONS: dict[str, Name] = {
    # elementwise
    "clamp": _clamp, "div": _div, "round": _round, "rsub": _rsub, "lerp": tensor("weight", "Lerp", 2),
    "float_power": _float_power, "add": "AddBackward0", "sub": "SubBackward0", "addcmul": "AddcmulBackward0",
    "addcdiv": "AddcdivBackward0", "ldexp": "LdexpBackward0", "mvlgamma": "MvlgammaBackward0",
    "polygamma": "PolygammaBackward0", "logit": "LogitBackward0",
    "masked_fill": tensor("value", "MaskedFill", 2), "fill": tensor("value", "Fill"),
    # activations
    "softplus": "SoftplusBackward0", "hardtanh": "HardtanhBackward0", "hardsigmoid": "HardsigmoidBackward0",
    "hardswish": "HardswishBackward0", "hardshrink": "HardshrinkBackward0",
    "softshrink": "SoftshrinkBackward0", "threshold": "ThresholdBackward0", "prelu": "PreluKernelBackward0",
    "glu": "GluBackward0", "rrelu": "RreluWithNoiseBackward0", "rrelu_": "RreluWithNoiseBackward1",
    "celu_": "CeluBackward1", "elu_": "EluBackward1", "selu_": "EluBackward1",
    "leaky_relu_": "LeakyReluBackward1", "threshold_": "ThresholdBackward1",
    # reductions
    "sum": with_("dim", "Sum"), "mean": with_("dim", "Mean"), "prod": with_("dim", "Prod"),
    "nansum": "NansumBackward0", "max": _best("Max"), "min": _best("Min"), "amax": "AmaxBackward0",
    "amin": "AminBackward0", "aminmax": "AminmaxBackward0", "median": with_("dim", "Median"),
    "nanmedian": with_("dim", "Nanmedian"), "mode": "ModeBackward0", "kthvalue": "KthvalueBackward0",
    "var": "VarBackward0", "std": "StdBackward0", "var_mean": "VarMeanBackward0",
    "std_mean": "StdMeanBackward0", "logsumexp": "LogsumexpBackward0", "trace": "TraceBackward0",
    "dist": "DistBackward0", "renorm": "RenormBackward0", "cdist": "CdistBackward0",
    "norm": "LinalgVectorNormBackward0",
    "linalg_norm": _norm, "linalg_vector_norm": "LinalgVectorNormBackward0",
    "pairwise_distance": Last("NormBackward1"), "cosine_similarity": Last("SumBackward1"),
    "trapezoid": _trapezoid,
    "cov": Last("SqueezeBackward0"), "corrcoef": Last("ClampBackward1"), "quantile": Last("SqueezeBackward4"),
    "nanquantile": Last("SqueezeBackward4"), "cumsum": "CumsumBackward0", "cumprod": "CumprodBackward0",
    "cumulative_trapezoid": "CumsumBackward0",
    "logcumsumexp": "LogcumsumexpBackward0", "sort": _sort, "sgn": "SgnBackward0", "topk": "TopkBackward0",
    "angle": "AngleBackward0", "conj_physical": "ConjPhysicalBackward0", "complex": "ComplexBackward0",
    "polar": "PolarBackward0",
    "softmax": _softmax("Softmax"), "log_softmax": _softmax("LogSoftmax"),
    # products
    "matmul": _matmul, "__matmul__": _matmul, "mm": "MmBackward0", "bmm": "BmmBackward0",
    "mv": "MvBackward0", "dot": "DotBackward0", "vdot": "VdotBackward0", "linear": _linear,
    "addmm": "AddmmBackward0", "addmv": "AddmvBackward0", "addr": "AddrBackward0",
    "baddbmm": "BaddbmmBackward0", "addbmm": "AddbmmBackward0", "kron": Last("UnsafeViewBackward0"),
    "inner": _inner, "einsum": _einsum, "tensordot": Last("ViewBackward0"),
    "chain_matmul": Last("ViewBackward0"),
    "linalg_multi_dot": Last("ViewBackward0"), "cross": "LinalgCrossBackward0",
    "linalg_cross": "LinalgCrossBackward0", "linalg_vecdot": _vecdot,
    # shapes
    "reshape": _reshape, "flatten": _reshape, "ravel": _ravel, "view": "ViewBackward0",
    "reshape_as": "ViewBackward0", "view_as": "ViewBackward0", "unflatten": "ViewBackward0",
    "transpose": "TransposeBackward0", "mT": "TransposeBackward0", "adjoint": _adjoint("Transpose"),
    "mH": _adjoint("Transpose"), "H": _adjoint("Transpose"), "t": "TBackward0",
    "t_": "TBackward1", "transpose_": "TransposeBackward1", "unsqueeze_": "UnsqueezeBackward1",
    "squeeze_": _squeeze_in_place,
    "squeeze": _squeeze, "unsqueeze": "UnsqueezeBackward0", "repeat": "RepeatBackward0",
    "tile": "RepeatBackward0", "flip": "FlipBackward0", "roll": "RollBackward0", "rot90": "Rot90Backward0",
    "repeat_interleave": _repeat_interleave, "tril": "TrilBackward0", "triu": "TriuBackward0",
    "cat": "CatBackward0", "stack": "StackBackward0", "block_diag": "BlockDiagBackward0",
    "combinations": Last("StackBackward0"), "cartesian_prod": Last("StackBackward0"), "split": _split,
    "split_with_sizes": "SplitWithSizesBackward0", "chunk": "SplitBackward0", "unbind": "UnbindBackward0",
    "atleast_2d": "UnsqueezeBackward0", "atleast_3d": "UnsqueezeBackward0",
    "permute": "PermuteBackward0", "movedim": "PermuteBackward0", "T": "PermuteBackward0",
    "expand": "ExpandBackward0", "expand_as": "ExpandBackward0", "broadcast_to": "ExpandBackward0",
    "meshgrid": Last("ExpandBackward0"), "sum_to_size": _sum_to_size,
    # places
    "__getitem__": _index, "gather": "GatherBackward0", "index_select": "IndexSelectBackward0",
    "take": "TakeBackward0", "take_along_dim": "GatherBackward0", "masked_select": "MaskedSelectBackward0",
    "index_add": "IndexAddBackward0", "index_copy": "IndexCopyBackward0",
    "index_fill": tensor("value", "IndexFill", 3), "scatter": _scatter,
    "scatter_add": "ScatterAddBackward0", "scatter_reduce": "ScatterReduceBackward0",
    "index_reduce": "IndexReduceBackward0", "segment_reduce": "SegmentReduceBackward0",
    "masked_scatter": "MaskedScatterBackward0", "put": "PutBackward0", "index_put": "IndexPutBackward0",
    "as_strided": "AsStridedBackward0", "as_strided_scatter": "AsStridedScatterBackward0",
    "diagonal_scatter": "DiagonalScatterBackward0",
    "select_scatter": "SelectScatterBackward0", "slice_scatter": "SliceScatterBackward0",
    # layers
    "embedding": "EmbeddingBackward0", "batch_norm": "NativeBatchNormBackward0",
    "layer_norm": "NativeLayerNormBackward0", "instance_norm": Last("ViewBackward0"), "pad": _padding,
    "conv1d": _conv(1), "conv2d": _conv(2), "conv3d": _conv(3), "conv_transpose1d": _conv(1),
    "conv_transpose2d": _conv(2), "conv_transpose3d": _conv(3),
    "max_pool1d": Last("SqueezeBackward1"), "max_pool2d": "MaxPool2DWithIndicesBackward0",
    "avg_pool1d": Last("SqueezeBackward1"), "avg_pool2d": "AvgPool2DBackward0",
    "adaptive_avg_pool1d": Last("SqueezeBackward1"), "adaptive_max_pool1d": Last("SqueezeBackward1"),
    "adaptive_avg_pool2d": _adaptive_average(2),
    "adaptive_avg_pool3d": _adaptive_average(3), "adaptive_max_pool2d": "AdaptiveMaxPool2DBackward0",
    "adaptive_max_pool2d_with_indices": "AdaptiveMaxPool2DBackward0",
    "adaptive_max_pool3d": "AdaptiveMaxPool3DBackward0",
    "adaptive_max_pool3d_with_indices": "AdaptiveMaxPool3DBackward0",
    "max_pool3d": "MaxPool3DWithIndicesBackward0", "pixel_shuffle": "PixelShuffleBackward0",
    "pixel_unshuffle": "PixelUnshuffleBackward0", "scaled_dot_product_attention": Last("UnsafeViewBackward0"),
    "interpolate": _interpolate, "grid_sample": _grid_sample, "channel_shuffle": "ChannelShuffleBackward0",
    "upsample_nearest": "UpsampleNearest2DBackward0", "upsample_bilinear": "UpsampleBilinear2DBackward0",
    "local_response_norm": Last("DivBackward0"), "pdist": "PdistBackward0",
    # losses
    "l1_loss": _reduced("AbsBackward0"), "kl_div": _reduced("MulBackward0"), "nll_loss": _nll,
    "cross_entropy": _cross_entropy, "soft_margin_loss": "SoftMarginLossBackward0",
    "multi_margin_loss": "MultiMarginLossBackward0",
    # factorisations
    "linalg_householder_product": "LinalgHouseholderProductBackward0", "geqrf": "GeqrfBackward0",
    "ormqr": "OrmqrBackward0",
    "linalg_qr": "LinalgQrBackward0", "qr": "LinalgQrBackward0", "linalg_eigh": "LinalgEighBackward0",
    "linalg_eigvalsh": "LinalgEighBackward0", "linalg_svd": "LinalgSvdBackward0",
    "linalg_svdvals": "LinalgSvdBackward0", "linalg_slogdet": "LinalgSlogdetBackward0",
    "linalg_solve_triangular": "LinalgSolveTriangularBackward0",
    "cholesky_solve": "CholeskySolveBackward0", "cholesky_inverse": "CholeskyInverseBackward0",
    "linalg_lstsq": "LinalgLstsqBackward0",
    "linalg_tensorinv": Last("ViewBackward0"), "linalg_tensorsolve": Last("ViewBackward0"),
    "linalg_inv": "LinalgInvExBackward0", "linalg_solve": "LinalgSolveExBackward0",
    "linalg_inv_ex": "LinalgInvExBackward0", "linalg_solve_ex": "LinalgSolveExBackward0",
    "linalg_cholesky_ex": "LinalgCholeskyExBackward0", "linalg_lu": "LinalgLuBackward0",
    "linalg_lu_factor": "LinalgLuFactorExBackward0", "linalg_lu_factor_ex": "LinalgLuFactorExBackward0",
    "lu": "LinalgLuFactorExBackward0", "lu_unpack": "LuUnpackBackward0",
    "linalg_lu_solve": "LinalgLuSolveBackward0", "lu_solve": "LinalgLuSolveBackward0",
    "linalg_matrix_exp": "LinalgMatrixExpBackward0",
    "igamma": "IgammaBackward0", "igammac": "IgammacBackward0",
    "linalg_cholesky": "LinalgCholeskyExBackward0", "cholesky": "CholeskyBackward0",
}  # fmt: skip


def name_of(name: Name, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """What a call with these arguments is called on the tape."""
    if isinstance(name, str):
        return name
    return name(*args, **{ALIASES.get(key, key): value for key, value in kwargs.items()})
