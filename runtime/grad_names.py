"""What PyTorch calls the steps of the tape: `print(y)` and `y.grad_fn` show these names.

In flow the name of an op, out flows that of its `grad_fn`. A step is called as its op, written together:
`ExpBackward0` (`title`). Where PyTorch says otherwise, there is an entry:

    OPS        by op
    BESIDE     by row of two operands, of which one may be a number

`grad_functions.py` has those of public functions. `tests/test_grad_names.py` compares all of them with
PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.ir.graph import Op

Rule = Callable[..., str]
Name = str | Rule


class Last(str):
    """The name of a step whose edges lead where they lead: PyTorch has the steps before it, too."""

    __slots__ = ()


def title(op: Op) -> str:
    return OPS.get(op.name) or f"{op.title}Backward0"


OPS = {
    "gelu_tanh": "GeluBackward0", "logsigmoid": "LogSigmoidBackward0", "relu6": "HardtanhBackward0",
    "selu": "EluBackward0", "softsign": "DivBackward0", "log1p": "Log1PBackward0",
    "undiagonal": "DiagEmbedBackward0", "window": "UnfoldBackward0", "l1_loss": "MeanBackward0",
    "kl_div": "MeanBackward0", "rms_norm": "MulBackward0", "soft_cross_entropy": "DivBackward1",
    "trigamma": "PolygammaBackward0", "reshape": "ViewBackward0", "take_along": "GatherBackward0",
    "square": "PowBackward0", "lstm_cell": "AddBackward0", "lstm_hidden": "MulBackward0",
    "gru_hidden": "AddBackward0",
    "dirichlet": "_DirichletBackward",
    "fft_c2c": "FftC2CBackward0", "fft_r2c": "FftR2CBackward0", "fft_c2r": "FftC2RBackward0",
    "deg2rad": "Deg2RadBackward0", "rad2deg": "Rad2DegBackward0", "concat": "CatBackward0",
    "pad": "ConstantPadNdBackward0", "i0e": "SpecialI0EBackward0", "i1": "SpecialI1Backward0",
    "i1e": "SpecialI1EBackward0", "erfcx": "SpecialErfcxBackward0", "ndtr": "MulBackward1",
    "strided": "AsStridedBackward0", "restrided": "AsStridedBackward0",
    "ndtri": "SpecialNdtriBackward0", "log_ndtr": "SpecialLogNdtrBackward0", "entr": "SpecialEntrBackward0",
}  # fmt: skip

REFUSED = "torch::autograd::NotImplemented"
"""Of calls of rows whose derivative PyTorch refuses."""
BESIDE = {
    "sub": ("SubBackward0", "SubBackward0", "RsubBackward1"),
    "div": ("DivBackward0", "DivBackward0", "MulBackward0"),
    "pow": ("PowBackward1", "PowBackward0", "PowBackward2"),
    "fmod": ("FmodBackward1", "FmodBackward0", "FmodBackward1"),
    "remainder": ("RemainderBackward1", "RemainderBackward0", REFUSED),
    "floor_divide": (REFUSED,) * 3,
    "heaviside": (REFUSED,) * 3,
    "xlogy": ("XlogyBackward0", "XlogyBackward2", "XlogyBackward1"),
    "xlog1py": ("SpecialXlog1PyBackward0", "SpecialXlog1PyBackward2", "SpecialXlog1PyBackward1"),
    "zeta": ("SpecialZetaBackward0", "SpecialZetaBackward2", "SpecialZetaBackward1"),
    "copysign": ("CopysignBackward0", "CopysignBackward1", "CopysignBackward0"),
    "clamp_min": ("ClampMinBackward1", "ClampMinBackward0", "ClampMinBackward0"),
    "clamp_max": ("ClampMaxBackward1", "ClampMaxBackward0", "ClampMaxBackward0"),
}
"""Of two Tensors, of a Tensor and a number, of a number and a Tensor."""


IN_PIECES = {
    "ReluBackward0", "LeakyReluBackward0", "LeakyReluBackward1", "HardtanhBackward0", "HardtanhBackward1",
    "HardsigmoidBackward0",
    "HardshrinkBackward0", "SoftshrinkBackward0", "ThresholdBackward0", "ThresholdBackward1",
    "RreluWithNoiseBackward0", "RreluWithNoiseBackward1", "PreluKernelBackward0",
    "MaxPool2DWithIndicesBackward0", "MaxPool3DWithIndicesBackward0", "AdaptiveMaxPool2DBackward0",
    "AdaptiveMaxPool3DBackward0", "max_pool",
}  # fmt: skip
"""Steps, and ops, that are linear in pieces: PyTorch makes their cotangents by an op of the operand (see
`eager/linear.py`)."""


OPERANDS = {
    **dict.fromkeys((
        "PowBackward0", "RemainderBackward0", "FmodBackward0", "XlogyBackward2", "CopysignBackward1",
        "ClampBackward1", "ClampMinBackward0", "ClampMaxBackward0", "NanToNumBackward0", "LeakyReluBackward0",
        "EluBackward0", "CeluBackward0", "LeakyReluBackward1", "EluBackward1", "CeluBackward1",
        "NllLossBackward0", "NllLoss2DBackward0", "IndexSelectBackward0", "GatherBackward0",
        "TakeBackward0", "IndexBackward0", "EmbeddingBackward0", "MaskedSelectBackward0",
        "IndexFillBackward0", "FillBackward2", "ZeroBackward0", "NormalBackward0", "UniformBackward0",
        "BernoulliBackward2", "ExponentialBackward0", "CtcLossBackward0", "SpecialXlog1PyBackward2",
        "SpecialZetaBackward2", "FillBackward0", "AddBackward1", "MulBackward1", "DivBackward1",
    ), (0,)),
    **dict.fromkeys(("BinaryCrossEntropyBackward0", "BinaryCrossEntropyWithLogitsBackward0"), (0, 1)),
    **dict.fromkeys(("SpecialXlog1PyBackward1", "SpecialZetaBackward1"), (1,)),
    "PowBackward2": (1,), "RsubBackward1": (1,), "XlogyBackward1": (1,),
    "LerpBackward0": (0, 1), "WhereBackward0": (1, 2), "MaskedFillBackward0": (2,),
    **dict.fromkeys(("ThresholdBackwardBackward0", "EluBackwardBackward0"), (1, 2)),
    "HardshrinkBackward0": (2,), "ThresholdBackward0": (2,), "ThresholdBackward1": (2,),
    "AddmmBackward0": (2, 0, 1), "ConvolutionBackward0": (0, 1, 2), "NativeLayerNormBackward0": (0, 1, 2),
    "NativeBatchNormBackward0": (0, 1, 2), "NativeGroupNormBackward0": (0, 1, 2),
}  # fmt: skip
"""Which operands PyTorch has at steps whose op here has others beside them (numbers, indices), or none for a
bias.
"""


ARGUMENTS = {
    **dict.fromkeys((
        "NllLossBackward0", "NllLoss2DBackward0", "MultiMarginLossBackward0", "RreluWithNoiseBackward0",
        "RreluWithNoiseBackward1", "SoftMarginLossBackward0", "ExpandBackward0", "ViewBackward0",
    ), ((0, "input"),)),
    **dict.fromkeys((
        "AddBackward0", "SubBackward0", "DivBackward0", "DivBackward2", "LdexpBackward0",
    ), ((0, "input"), (1, "other"))),
    "CatBackward0": ((0, "tensors"),),
    "torch::autograd::CopyBackwards": ((0, "self"), (1, "src")),
    "BinaryCrossEntropyBackward0": ((0, "input"), (1, "target")),
    "BinaryCrossEntropyWithLogitsBackward0": ((0, "input"), (1, "target")),
    "ClampBackward0": ((0, "input"), (1, "min"), (2, "max")),
    "ConvolutionBackward0": ((0, "input"), (1, "weight"), (2, "bias")),
    "EmbeddingBagBackward0": ((1, "weight"), (8, "per_sample_weights")),
    "NativeBatchNormBackward0": ((0, "input"), (3, "weight"), (4, "bias")),
    "NativeLayerNormBackward0": ((0, "input"), (2, "weight"), (3, "bias")),
}  # fmt: skip
"""The arguments of functions to which PyTorch's steps lead, by position and name, where it is not all Tensors
of floating point.
"""
