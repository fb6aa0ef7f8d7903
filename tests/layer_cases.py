"""Layers to try beside PyTorch's: how each is made, and what it is given.

A row is a text `made` of `nn`, evaluated with either library, and the shapes of its inputs. `ints` are inputs
of whole numbers below this bound. A new layer is one row.
"""

from __future__ import annotations

from typing import NamedTuple

Shape = tuple[int, ...]


class Layer(NamedTuple):
    made: str
    shapes: tuple[Shape, ...]
    ints: int = 0
    positive: bool = False
    call: str = "layer(*inputs)"
    """How it is called, where it takes more than inputs."""


_X: tuple[Shape, ...] = ((4, 6),)
_IMAGE: tuple[Shape, ...] = ((2, 4, 6, 5),)
_SIGNAL: tuple[Shape, ...] = ((2, 4, 7),)
_VOLUME: tuple[Shape, ...] = ((2, 4, 3, 4, 5),)
_SEQUENCE: tuple[Shape, ...] = ((5, 3, 4),)

ACTIVATIONS = [
    Layer(f"nn.{made}", _X)
    for made in (
        "Sigmoid()", "Tanh()", "LogSigmoid()", "Softsign()", "Tanhshrink()", "ReLU()", "ReLU(inplace=True)",
        "ReLU6()", "LeakyReLU(0.2)", "LeakyReLU(0.1, True)", "Threshold(0.1, 20)", "Hardtanh()",
        "Hardtanh(-2, 0.5)", "Hardsigmoid()", "Hardswish()", "Hardshrink()", "Softshrink(0.3)", "PReLU()",
        "PReLU(6, 0.1)", "ELU()", "ELU(0.5, inplace=True)", "CELU(1.5)", "SELU()", "GELU()", "GELU('tanh')",
        "SiLU()", "Mish()", "Softplus()", "Softplus(2, 1.5)", "GLU()", "GLU(0)", "Softmax(1)",
        "Softmax(dim=0)",
        "Softmin(1)", "LogSoftmax(dim=-1)", "RReLU()", "RReLU(0.2, 0.4)",
    )
] + [Layer("nn.Softmax2d()", _IMAGE)]  # fmt: skip

DENSE = [
    Layer("nn.Linear(6, 3)", _X),
    Layer("nn.Linear(6, 3, bias=False)", ((2, 3, 6),)),
    Layer("nn.Linear(6, 1)", ((6,),)),
    Layer("nn.Linear(6, 3, dtype=t.float64)", ()),
    Layer("nn.Bilinear(3, 4, 5)", ((2, 3), (2, 4))),
    Layer("nn.Bilinear(3, 4, 5, bias=False)", ((2, 3), (2, 4))),
    Layer("nn.Identity(1, a=2)", _X),
    Layer("nn.Flatten()", _IMAGE),
    Layer("nn.Flatten(0, 2)", _IMAGE),
    Layer("nn.Unflatten(1, (2, 3))", _X),
    Layer("nn.Embedding(7, 3)", ((4, 5),), ints=7),
    Layer("nn.Embedding(7, 3, padding_idx=2)", ((4, 5),), ints=7),
    Layer("nn.Embedding(7, 3, padding_idx=-1)", ((9,),), ints=7),
    Layer("nn.EmbeddingBag(7, 3)", ((4, 5),), ints=7),
    Layer("nn.EmbeddingBag(7, 3, mode='max', padding_idx=2)", ((4, 5),), ints=7),
    Layer(
        "nn.EmbeddingBag(7, 3, mode='sum')",
        ((9,),),
        ints=7,
        call="layer(inputs[0], t.tensor([0, 2, 2, 5]))",
    ),
    Layer(
        "nn.EmbeddingBag(7, 3, max_norm=1.0, include_last_offset=True)",
        ((9,),),
        ints=7,
        call="layer(inputs[0], t.tensor([0, 2, 2, 9]))",
    ),
    Layer("nn.Embedding(7, 3, max_norm=0.8, norm_type=1.0)", ((4, 5),), ints=7),
    Layer("nn.Embedding(7, 3, scale_grad_by_freq=True)", ((4, 5),), ints=7),
    Layer(
        "nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], 2.0)",
        ((5, 8),),
        call="layer(inputs[0], t.tensor([0, 19, 5, 9, 3]))",
    ),
    Layer(
        "nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], head_bias=True)",
        ((5, 8),),
        call="layer.log_prob(inputs[0])",
    ),
    Layer("nn.CosineSimilarity(dim=1)", ((4, 6), (4, 6))),
    Layer("nn.PairwiseDistance()", ((4, 6), (4, 6))),
]

CONVOLUTIONS = [
    Layer("nn.Conv1d(4, 6, 3)", _SIGNAL),
    Layer("nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)", _SIGNAL),
    Layer("nn.Conv1d(4, 6, 3, padding='same')", _SIGNAL),
    Layer("nn.Conv1d(4, 6, 3, padding=2, padding_mode='circular')", _SIGNAL),
    Layer("nn.Conv2d(4, 8, 3)", _IMAGE),
    Layer("nn.Conv2d(4, 8, (3, 2), stride=(2, 1), padding=(1, 0))", _IMAGE),
    Layer("nn.Conv2d(4, 8, 3, padding='same', padding_mode='reflect')", _IMAGE),
    Layer("nn.Conv2d(4, 8, 3, padding=1, groups=4)", _IMAGE),
    Layer("nn.Conv2d(4, 8, 3, padding=1, padding_mode='replicate')", _IMAGE),
    Layer("nn.Conv3d(2, 3, 2, padding=1)", ((1, 2, 3, 4, 3),)),
    Layer("nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1)", _SIGNAL),
    Layer("nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)", _IMAGE),
    Layer("nn.ConvTranspose2d(4, 6, 3, 2, 1)", _IMAGE, call="layer(*inputs, output_size=(12, 10))"),
    Layer("nn.ConvTranspose2d(4, 6, (2, 3), dilation=2, bias=False)", _IMAGE),
    Layer("nn.ConvTranspose3d(4, 2, 2, stride=2, padding=1, output_padding=1, groups=2)", _VOLUME),
]

POOLS = [
    Layer(f"nn.{made}", _IMAGE)
    for made in (
        "MaxPool2d(2)", "MaxPool2d(3, stride=1, padding=1)", "MaxPool2d((3, 2), ceil_mode=True)",
        "Upsample(scale_factor=2)", "Upsample((9, 3), mode='bilinear')",
        "UpsamplingNearest2d(scale_factor=2)", "UpsamplingBilinear2d((8, 8))", "LPPool2d(2, 2)",
        "LocalResponseNorm(3)", "ChannelShuffle(2)",
        "AvgPool2d(2)",
        "AvgPool2d(3, 1, 1, count_include_pad=False)", "AvgPool2d(2, divisor_override=3)",
        "AdaptiveAvgPool2d(1)", "AdaptiveAvgPool2d((3, 2))", "AdaptiveMaxPool2d((2, None))", "ZeroPad2d(1)",
        "ConstantPad2d((1, 0, 2, 1), 0.5)", "ReflectionPad2d(2)", "ReplicationPad2d((1, 2, 3, 0))",
        "PixelShuffle(2)", "Unfold(2)", "Unfold((2, 3), 1, (1, 0), 2)", "Dropout2d()", "Dropout(0.3)",
    )
] + [
    Layer(f"nn.{made}", _SIGNAL)
    for made in (
        "MaxPool1d(2)", "MaxPool1d(3, 2, dilation=2)", "AvgPool1d(3)", "AvgPool1d(3, 1, 1)",
        "AdaptiveAvgPool1d(3)", "AdaptiveMaxPool1d(2)", "ConstantPad1d(2, 3.5)", "ReflectionPad1d(1)",
        "ReplicationPad1d((2, 1))", "CircularPad1d(2)", "ZeroPad1d((1, 0))", "LPPool1d(2, 3, 2)",
    )
] + [
    Layer(f"nn.{made}", _VOLUME)
    for made in (
        "AvgPool3d(2)", "AvgPool3d(3, 1, 1, count_include_pad=False)", "AdaptiveAvgPool3d((2, None, 3))",
        "AdaptiveMaxPool3d((2, 3, 2))", "ReflectionPad3d(1)", "ReplicationPad3d((1, 0, 2, 1, 0, 1))",
        "CircularPad3d(1)", "ConstantPad3d((1, 0, 2, 1, 0, 1), 0.5)", "ZeroPad3d(1)", "LPPool3d(2, 2)",
        "Dropout3d()",
    )
] + [
    Layer("nn.CircularPad2d((1, 2, 0, 1))", _IMAGE),
    Layer("nn.PixelUnshuffle(2)", ((2, 3, 4, 6),)),
]  # fmt: skip

POOLS += [
    Layer("nn.FractionalMaxPool2d(2, 3)", _IMAGE),
    Layer("nn.FractionalMaxPool2d((3, 2), output_ratio=(0.5, 0.7), return_indices=True)", _IMAGE),
    Layer("nn.FractionalMaxPool2d(2, (4, 1))", ((4, 6, 5),)),
    Layer("nn.FractionalMaxPool3d(2, (1, 2, 3))", _VOLUME),
    Layer("nn.FractionalMaxPool3d((1, 2, 2), output_ratio=0.5, return_indices=True)", _VOLUME),
]

_UNPOOLED = "layer(*t.nn.MaxPool{}(2, return_indices=True)(inputs[0]){})"
POOLS += [
    Layer("nn.Fold((4, 5), (2, 3))", ((2, 12, 9),)),
    Layer("nn.Fold((6, 5), 2, dilation=2, padding=1, stride=(2, 1))", ((8, 15),)),
    Layer("nn.MaxUnpool1d(2)", _SIGNAL, call=_UNPOOLED.format("1d", "")),
    Layer("nn.MaxUnpool1d(2)", _SIGNAL, call=_UNPOOLED.format("1d", ", output_size=(7,)")),
    Layer("nn.MaxUnpool2d(2)", _IMAGE, call=_UNPOOLED.format("2d", ", output_size=(6, 5)")),
    Layer("nn.MaxUnpool3d(2)", ((2, 4, 6, 4),), call=_UNPOOLED.format("3d", "")),
    Layer(
        "nn.MaxUnpool2d(3, stride=2)",
        ((2, 4, 7, 5),),
        call="layer(*t.nn.MaxPool2d(3, 2, return_indices=True)(inputs[0]))",
    ),
]

NORMS = [
    Layer("nn.BatchNorm1d(6)", _X),
    Layer("nn.BatchNorm1d(4, momentum=None)", _SIGNAL),
    Layer("nn.BatchNorm1d(4, affine=False, eps=0.1)", _SIGNAL),
    Layer("nn.BatchNorm2d(4, momentum=0.3)", _IMAGE),
    Layer("nn.BatchNorm2d(4, track_running_stats=False)", _IMAGE),
    Layer("nn.InstanceNorm1d(4)", _SIGNAL),
    Layer("nn.InstanceNorm2d(4, affine=True, track_running_stats=True)", _IMAGE),
    Layer("nn.LayerNorm(6)", _X),
    Layer("nn.LayerNorm((6, 5), eps=0.01)", _IMAGE),
    Layer("nn.LayerNorm([6, 5], elementwise_affine=False)", _IMAGE),
    Layer("nn.LayerNorm(6, bias=False)", _X),
    Layer("nn.RMSNorm(6)", _X),
    Layer("nn.RMSNorm(6, eps=0.1, elementwise_affine=False)", _X),
    Layer("nn.GroupNorm(2, 4)", _IMAGE),
    Layer("nn.GroupNorm(4, 4, affine=False)", _IMAGE),
    Layer("nn.BatchNorm3d(4)", _VOLUME),
    Layer("nn.InstanceNorm3d(4, affine=True)", _VOLUME),
]

RECURRENT = [
    Layer("nn.RNN(4, 6)", _SEQUENCE),
    Layer("nn.RNN(4, 6, nonlinearity='relu', bias=False)", _SEQUENCE),
    Layer("nn.RNN(4, 6, 2, batch_first=True, bidirectional=True)", _SEQUENCE),
    Layer("nn.RNN(4, 6)", ((5, 3, 4), (1, 3, 6))),
    Layer("nn.LSTM(4, 6)", _SEQUENCE),
    Layer("nn.LSTM(4, 6, num_layers=2, dropout=0.5)", _SEQUENCE),
    Layer("nn.LSTM(4, 6, 2, bidirectional=True, proj_size=3)", _SEQUENCE),
    Layer("nn.LSTM(4, 6)", ((5, 4),)),
    Layer("nn.LSTM(4, 6)", ((5, 3, 4), (1, 3, 6), (1, 3, 6)), call="layer(inputs[0], inputs[1:])"),
    Layer("nn.GRU(4, 6)", _SEQUENCE),
    Layer("nn.GRU(4, 6, 2, batch_first=True, bidirectional=True)", _SEQUENCE),
    Layer("nn.GRU(4, 6, bias=False)", ((5, 4), (1, 6))),
    Layer("nn.RNNCell(4, 6)", ((3, 4),)),
    Layer("nn.RNNCell(4, 6, nonlinearity='relu', bias=False)", ((3, 4), (3, 6))),
    Layer("nn.LSTMCell(4, 6)", ((3, 4),)),
    Layer("nn.LSTMCell(4, 6)", ((3, 4), (3, 6), (3, 6)), call="layer(inputs[0], inputs[1:])"),
    Layer("nn.GRUCell(4, 6)", ((4,), (6,))),
]

_CAUSAL = "t.ones(5, 5).triu(1).bool()"
_PADDED = "t.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])"
_ITSELF = "layer(inputs[0], inputs[0], inputs[0]"
ATTENTION = [
    Layer("nn.MultiheadAttention(4, 2)", _SEQUENCE, call=f"{_ITSELF})"),
    Layer("nn.MultiheadAttention(4, 2, dropout=0.5)", _SEQUENCE, call=f"{_ITSELF}, need_weights=False)"),
    Layer("nn.MultiheadAttention(4, 2, bias=False, batch_first=True)", ((3, 5, 4),),
          call=f"{_ITSELF}, attn_mask={_CAUSAL}, average_attn_weights=False)"),
    Layer("nn.MultiheadAttention(4, 2, batch_first=True)", ((3, 5, 4),),
          call=f"{_ITSELF}, key_padding_mask={_PADDED}, attn_mask={_CAUSAL}, need_weights=False)"),
    Layer("nn.MultiheadAttention(4, 1, add_bias_kv=True, add_zero_attn=True)", _SEQUENCE,
          call=f"{_ITSELF}, key_padding_mask={_PADDED})"),
    Layer("nn.MultiheadAttention(4, 2, kdim=3, vdim=5)", ((5, 3, 4), (6, 3, 3), (6, 3, 5))),
    Layer("nn.MultiheadAttention(4, 2)", ((5, 4),), call=f"{_ITSELF}, attn_mask=t.zeros(5, 5))"),
    Layer("nn.TransformerEncoderLayer(4, 2, 8)", _SEQUENCE),
    Layer("nn.TransformerEncoderLayer(4, 2, 8, 0.0, 'gelu', batch_first=True, norm_first=True)", ((3, 5, 4),),
          call=f"layer(inputs[0], {_CAUSAL}, {_PADDED})"),
    Layer("nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2, nn.LayerNorm(4))",
          ((3, 5, 4),)),
    Layer("nn.TransformerDecoderLayer(4, 2, 8)", ((5, 3, 4), (6, 3, 4))),
    Layer("nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2, nn.LayerNorm(4))",
          ((5, 3, 4), (6, 3, 4))),
    Layer("nn.Transformer(4, 2, 1, 2, 8, batch_first=True)", ((3, 5, 4), (3, 6, 4))),
]  # fmt: skip

LAYERS = [*ACTIVATIONS, *DENSE, *CONVOLUTIONS, *POOLS, *NORMS, *RECURRENT, *ATTENTION]

_SPOKEN = "layer(inputs[0].log_softmax(2), {}, t.tensor([6, 4, 3]), t.tensor([3, 2, 1]))"
_TWO: tuple[Shape, ...] = ((4, 3), (4, 3))
LOSSES = [
    *(Layer(f"nn.{name}(reduction='{how}')", _TWO)
      for name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss")
      for how in ("mean", "sum", "none")),
    *(Layer(f"nn.SoftMarginLoss(reduction='{how}')", _TWO, call="layer(inputs[0], inputs[1].detach())")
      for how in ("mean", "sum", "none")),
    *(Layer(f"nn.MultiLabelMarginLoss(reduction='{how}')", ((3, 4),),
            call="layer(inputs[0], t.tensor([[3, 0, -1, 1], [2, -1, 2, 3], [-1, 0, 0, 0]]))")
      for how in ("mean", "sum", "none")),
    *(Layer(f"nn.CTCLoss({given})", ((6, 3, 4),), call=call)
      for given in ("", "reduction='sum'", "3, 'none', True")
      for call in (_SPOKEN.format("t.tensor([[1, 2, 2], [2, 1, 0], [2, 2, 2]])"),
                   _SPOKEN.format("t.tensor([1, 2, 2, 2, 1, 1])"))),
    Layer("nn.CTCLoss()", ((6, 4),),
          call="layer(inputs[0].log_softmax(1), t.tensor([1, 2]), t.tensor(5), t.tensor(2))"),
    Layer("nn.SmoothL1Loss(beta=0.3)", _TWO),
    Layer("nn.HuberLoss(delta=0.4)", _TWO),
    Layer("nn.MSELoss(size_average=False)", _TWO),
    Layer("nn.BCELoss()", _TWO, positive=True),
    Layer("nn.BCELoss(weight=t.tensor([1.0, 2.0, 3.0]))", _TWO, positive=True),
    Layer("nn.BCEWithLogitsLoss(pos_weight=t.tensor([1.0, 2.0, 3.0]))", _TWO),
    Layer("nn.KLDivLoss(reduction='batchmean')", _TWO, positive=True),
    Layer("nn.KLDivLoss(reduction='sum', log_target=True)", _TWO),
    Layer("nn.PoissonNLLLoss()", _TWO, positive=True),
    Layer("nn.GaussianNLLLoss()", ((4, 3), (4, 3), (4, 3)), positive=True),
    Layer("nn.CrossEntropyLoss()", _TWO, positive=True),
    Layer("nn.CrossEntropyLoss()", ((4, 3),), call="layer(inputs[0], t.tensor([0, 2, 1, 1]))"),
    Layer("nn.CrossEntropyLoss(t.tensor([1.0, 2.0, 3.0]), ignore_index=1, label_smoothing=0.1)", ((4, 3),),
          call="layer(inputs[0], t.tensor([0, 2, 1, 1]))"),
    Layer("nn.NLLLoss(reduction='sum')", ((4, 3),), call="layer(inputs[0], t.tensor([0, 2, 1, 1]))"),
    Layer("nn.MultiLabelSoftMarginLoss()", _TWO, call="layer(inputs[0], (inputs[1] > 0).float())"),
    Layer("nn.MultiLabelSoftMarginLoss(t.tensor([1.0, 2.0, 3.0]), reduction='sum')", _TWO,
          call="layer(inputs[0], (inputs[1] > 0).float())"),
    Layer("nn.MultiMarginLoss()", ((4, 3),), call="layer(inputs[0], t.tensor([0, 2, 1, 1]))"),
    Layer("nn.MultiMarginLoss(2, 0.5, t.tensor([1.0, 2.0, 3.0]), reduction='none')", ((4, 3),),
          call="layer(inputs[0], t.tensor([0, 2, 1, 1]))"),
    Layer("nn.MarginRankingLoss(0.5)", ((4,), (4,), (4,))),
    Layer("nn.HingeEmbeddingLoss()", ((4, 3),), call="layer(inputs[0], t.ones(4, 3))"),
    Layer("nn.CosineEmbeddingLoss(0.2)", _TWO, call="layer(*inputs, t.tensor([1, -1, 1, -1]))"),
    Layer("nn.TripletMarginLoss()", ((4, 3), (4, 3), (4, 3))),
    *(Layer(f"nn.LinearCrossEntropyLoss(3, 5{more})", ((4, 3),),
            call="layer(inputs[0], t.tensor([0, 2, 4, 1]))")
      for more in ("", ", bias=True, reduction='none'", ", label_smoothing=0.1, ignore_index=2",
                   ", options=t.nn.LinearCrossEntropyOptions(batch_chunk_size=2)",
                   ", weight=t.tensor([1.0, 2.0, 3.0, 0.5, 1.5])")),
    Layer("nn.LinearCrossEntropyLoss(3, 5, out_features=(2,), bias=True)", ((4, 3),),
          call="layer(inputs[0], t.tensor([[0, 2], [4, 1], [1, 1], [3, 0]]))"),
    Layer("nn.LinearCrossEntropyLoss(3, 5)", ((4, 3), (4, 5)), call="layer(inputs[0], inputs[1].softmax(1))"),
    Layer("nn.TripletMarginWithDistanceLoss()", ((4, 3), (4, 3), (4, 3))),
    Layer("nn.TripletMarginWithDistanceLoss(margin=0.3, swap=True, reduction='none')",
          ((4, 3), (4, 3), (4, 3))),
]  # fmt: skip
