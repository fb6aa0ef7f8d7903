"""Models that people train, each the same code for both libraries: `benchmarks/models.py` measures them.

A model is a function of the library, entered by `@model`: it returns a module, its loss as a function of a
batch, and the batch. Data are random; what is measured does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

Task = tuple[Any, Callable[..., Any], tuple[Any, ...]]
"""The module, its loss, the batch."""
MODELS: dict[str, Callable[[Any], Task]] = {}


def model(label: str) -> Callable[[Callable[[Any], Task]], Callable[[Any], Task]]:
    def enter(make: Callable[[Any], Task]) -> Callable[[Any], Task]:
        MODELS[label] = make
        return make

    return enter


def classified(T: Any, module: Any, x: Any, classes: int) -> Task:
    """A module that gives scores of so many classes, the last axis."""
    cross_entropy = T.nn.functional.cross_entropy

    def loss(x: Any, y: Any) -> Any:
        return cross_entropy(module(x).reshape(-1, classes), y)

    count = module(x).reshape(-1, classes).shape[0]
    return module, loss, (x, T.randint(0, classes, (count,)))


# ---- dense -------------------------------------------------------------------------------------------------


@model("MLP 784-512-512-10 with dropout, 64")
def mlp(T: Any) -> Task:
    nn, sizes = T.nn, (784, 512, 512)
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.2))]
    return classified(T, nn.Sequential(*hidden, nn.Linear(512, 10)), T.randn(64, 784), 10)


@model("variational autoencoder 784-400-20, 128")
def vae(T: Any) -> Task:
    nn, F = T.nn, T.nn.functional

    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU())
            self.mean, self.spread = nn.Linear(400, 20), nn.Linear(400, 20)
            self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

        def forward(self, x: Any) -> Any:
            hidden = self.encoder(x)
            mean, spread = self.mean(hidden), self.spread(hidden)
            return self.decoder(mean + T.randn_like(mean) * T.exp(spread / 2)), mean, spread

    module = Autoencoder()

    def loss(x: Any) -> Any:
        scores, mean, spread = module(x)
        divergence = -0.5 * T.sum(1 + spread - mean**2 - spread.exp())
        return (F.binary_cross_entropy_with_logits(scores, x, reduction="sum") + divergence) / x.shape[0]

    return module, loss, (T.rand(128, 784),)


@model("recommender of 8 embeddings and 13 numbers, 512")
def recommender(T: Any) -> Task:
    nn = T.nn

    class Recommender(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(1000, 16) for _ in range(8)])
            self.dense = nn.Sequential(
                nn.Linear(8 * 16 + 13, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
            )

        def forward(self, numbers: Any, ids: Any) -> Any:
            found = [table(ids[:, k]) for k, table in enumerate(self.tables)]
            return self.dense(T.cat([numbers, *found], 1))[:, 0]

    module = Recommender()

    def loss(numbers: Any, ids: Any, clicked: Any) -> Any:
        return nn.functional.binary_cross_entropy_with_logits(module(numbers, ids), clicked)

    return module, loss, (T.randn(512, 13), T.randint(0, 1000, (512, 8)), T.rand(512))


# ---- attention and sequences -------------------------------------------------------------------------------


@model("GPT of 4 layers, 8 heads of 32, 8 x 128 tokens")
def gpt(T: Any) -> Task:
    nn = T.nn

    class Attention(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads, self.into, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            n, length, width = x.shape
            split = self.into(x).reshape(n, length, 3, self.heads, width // self.heads)
            q, k, v = split.permute(2, 0, 3, 1, 4)
            heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(heads.transpose(1, 2).reshape(n, length, width))

    class Layer(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
            wide = 4 * width
            self.dense = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width)
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attention(x)
            return x + self.dense(x)

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(1000, 256), nn.Parameter(T.zeros(128, 256))
            self.layers = nn.Sequential(*(Layer(256, 8) for _ in range(4)))
            self.out = nn.Sequential(nn.LayerNorm(256), nn.Linear(256, 1000, bias=False))

        def forward(self, ids: Any) -> Any:
            return self.out(self.layers(self.words(ids) + self.places))

    return classified(T, Gpt(), T.randint(0, 1000, (8, 128)), 1000)


@model("encoder of 4 layers, nn.TransformerEncoder, 8 x 32 tokens")
def encoder(T: Any) -> Task:
    nn = T.nn
    layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.0, batch_first=True)
    layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    module = nn.Sequential(nn.Embedding(1000, 128), layers, nn.Linear(128, 1000))
    return classified(T, module, T.randint(0, 1000, (8, 32)), 1000)


@model("mixer of 4 layers, 64 patches of 128, 16 images")
def mixer(T: Any) -> Task:
    nn = T.nn

    class Layer(nn.Module):
        def __init__(self, patches: int, width: int) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.down, self.across = (
                nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n)) for n in (patches, width)
            )

        def forward(self, x: Any) -> Any:
            x = x + self.down(self.first(x).transpose(1, 2)).transpose(1, 2)
            return x + self.across(self.second(x))

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.out = nn.Conv2d(3, 128, 4, 4), nn.Linear(128, 10)
            self.layers = nn.Sequential(*(Layer(64, 128) for _ in range(4)))

        def forward(self, x: Any) -> Any:
            return self.out(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

    return classified(T, Mixer(), T.randn(16, 3, 32, 32), 10)


def recurrent(T: Any, kind: str) -> Task:
    class Recurrent(T.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = getattr(T.nn, kind)(64, 128, 2, batch_first=True)
            self.out = T.nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.out(self.layers(x)[0][:, -1])

    return classified(T, Recurrent(), T.randn(32, 40, 64), 10)


@model("LSTM of 2 layers of 128, 32 x 40 steps")
def lstm(T: Any) -> Task:
    return recurrent(T, "LSTM")


@model("GRU of 2 layers of 128, 32 x 40 steps")
def gru(T: Any) -> Task:
    return recurrent(T, "GRU")


# ---- convolutions ------------------------------------------------------------------------------------------


@model("LeNet-like, 64 x 1 x 28 x 28")
def lenet(T: Any) -> Task:
    nn = T.nn
    images = nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    dense = nn.Dropout(0.25), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)
    return classified(T, nn.Sequential(*images, *dense), T.randn(64, 1, 28, 28), 10)


@model("residual network of 32 to 256 channels, 16 x 3 x 32 x 32")
def residual(T: Any) -> Task:
    nn = T.nn

    def convolved(before: int, after: int, size: int, stride: int) -> Any:
        padding = size // 2
        return nn.Sequential(
            nn.Conv2d(before, after, size, stride, padding, bias=False), nn.BatchNorm2d(after)
        )

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.first, self.second = convolved(before, after, 3, stride), convolved(after, after, 3, 1)
            self.past = nn.Identity() if before == after else convolved(before, after, 1, stride)

        def forward(self, x: Any) -> Any:
            return T.relu(self.past(x) + self.second(T.relu(self.first(x))))

    blocks = Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2), Block(128, 256, 2)
    ends = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)
    module = nn.Sequential(convolved(3, 32, 3, 1), nn.ReLU(), *blocks, *ends)
    return classified(T, module, T.randn(16, 3, 32, 32), 10)


@model("separable convolutions of 32 to 256 channels, 16 x 3 x 32 x 32")
def separable(T: Any) -> Task:
    nn = T.nn

    def block(before: int, after: int, stride: int) -> Any:
        each = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False), nn.BatchNorm2d(before)
        across = nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
        return nn.Sequential(*each, nn.ReLU6(), *across, nn.ReLU6())

    stem = nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()
    blocks = block(32, 64, 1), block(64, 128, 2), block(128, 128, 1), block(128, 256, 2)
    ends = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10)
    return classified(T, nn.Sequential(*stem, *blocks, *ends), T.randn(16, 3, 32, 32), 10)


@model("U-Net of 16 to 64 channels, 8 x 1 x 64 x 64")
def unet(T: Any) -> Task:
    nn = T.nn

    def block(before: int, after: int) -> Any:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU())

    class Unet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.middle, self.coarse = block(1, 16), block(32, 32), block(64, 64)
            self.down, self.lower = nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)
            self.up, self.higher = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)
            self.joined, self.last, self.out = block(64, 32), block(32, 16), nn.Conv2d(16, 1, 1)

        def forward(self, x: Any) -> Any:
            fine = self.fine(x)
            middle = self.middle(self.down(fine))
            coarse = self.coarse(self.lower(middle))
            joined = self.joined(T.cat([self.up(coarse), middle], 1))
            return self.out(self.last(T.cat([self.higher(joined), fine], 1)))

    module = Unet()

    def loss(x: Any, y: Any) -> Any:
        return nn.functional.mse_loss(module(x), y)

    return module, loss, (T.randn(8, 1, 64, 64), T.randn(8, 1, 64, 64))


@model("dilated convolutions with gates, 8 x 1 x 512")
def wavenet(T: Any) -> Task:
    nn, F = T.nn, T.nn.functional

    class Wavenet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Conv1d(1, 32, 1), nn.Conv1d(32, 1, 1)
            self.gated = nn.ModuleList([nn.Conv1d(32, 64, 2, dilation=2**k) for k in range(6)])
            self.past = nn.ModuleList([nn.Conv1d(32, 32, 1) for _ in range(6)])

        def forward(self, x: Any) -> Any:
            x, skipped = self.into(x), 0
            for k, (gated, past) in enumerate(zip(self.gated, self.past, strict=True)):
                value, gate = gated(F.pad(x, (2**k, 0))).chunk(2, 1)
                y = T.tanh(value) * T.sigmoid(gate)
                x, skipped = x + past(y), skipped + y
            return self.out(T.relu(skipped))

    module = Wavenet()

    def loss(x: Any, y: Any) -> Any:
        return F.mse_loss(module(x), y)

    return module, loss, (T.randn(8, 1, 512), T.randn(8, 1, 512))


@model("autoencoder of convolutions and interpolation, 32 x 1 x 28 x 28")
def autoencoder(T: Any) -> Task:
    nn = T.nn

    def block(before: int, after: int, then: Any) -> tuple[Any, ...]:
        return nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), then

    down = *block(1, 16, nn.MaxPool2d(2)), *block(16, 8, nn.MaxPool2d(2))
    up = (
        *block(8, 8, nn.Upsample(scale_factor=2)),
        *block(8, 16, nn.Upsample(scale_factor=2, mode="bilinear")),
    )
    module = nn.Sequential(*down, *up, nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid())

    def loss(x: Any) -> Any:
        return nn.functional.binary_cross_entropy(module(x), x)

    return module, loss, (T.rand(32, 1, 28, 28),)


# ---- science -----------------------------------------------------------------------------------------------


@model("graph network of 3 layers, 2,000 nodes, 10,000 edges")
def graph(T: Any) -> Task:
    nn, nodes = T.nn, 2000
    source, target = T.randint(0, nodes, (10_000,)), T.randint(0, nodes, (10_000,))

    class Layer(nn.Module):
        def __init__(self, before: int, after: int) -> None:
            super().__init__()
            self.message, self.own = nn.Linear(before, after), nn.Linear(before, after)

        def forward(self, x: Any) -> Any:
            messages = T.relu(self.message(x))[source]
            return T.relu(self.own(x) + T.zeros(nodes, messages.shape[1]).index_add(0, target, messages))

    module = nn.Sequential(Layer(32, 64), Layer(64, 64), Layer(64, 10))
    return classified(T, module, T.randn(nodes, 32), 10)


@model("network with second derivatives by its inputs, 1,024 points")
def physics(T: Any) -> Task:
    nn, grad = T.nn, T.autograd.grad
    hidden = [layer for a in (2, 64, 64) for layer in (nn.Linear(a, 64), nn.Tanh())]
    module = nn.Sequential(*hidden, nn.Linear(64, 1))

    def loss(x: Any, y: Any) -> Any:
        x = x.clone().requires_grad_()
        u = module(x)
        (first,) = grad(u.sum(), x, create_graph=True)
        (second,) = grad(first[:, 1].sum(), x, create_graph=True)
        residue = first[:, 0] + u[:, 0] * first[:, 1] - 0.01 * second[:, 1]
        return residue.square().mean() + (u - y).square().mean()

    return module, loss, (T.rand(1024, 2), T.rand(1024, 1))


@model("neural differential equation, 20 steps of Runge and Kutta, 128")
def equation(T: Any) -> Task:
    nn = T.nn
    module = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))

    def loss(x: Any, y: Any) -> Any:
        step = 0.05
        for _ in range(20):
            a = module(x**3)
            b = module((x + step / 2 * a) ** 3)
            c = module((x + step / 2 * b) ** 3)
            d = module((x + step * c) ** 3)
            x = x + step / 6 * (a + 2 * b + 2 * c + d)
        return (x - y).abs().mean()

    return module, loss, (T.randn(128, 2), T.randn(128, 2))


@model("Gaussian process, likelihood of 256 points")
def process(T: Any) -> Task:
    class Kernel(T.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lengths = T.nn.Parameter(T.zeros(8))
            self.noise, self.scale = T.nn.Parameter(T.tensor(-2.0)), T.nn.Parameter(T.tensor(0.0))

        def forward(self, x: Any) -> Any:
            x = x * T.exp(-self.lengths)
            norms = x.square().sum(1)
            apart = norms[:, None] + norms - 2 * x @ x.T
            return T.exp(self.scale - apart / 2) + T.exp(self.noise) * T.eye(x.shape[0])

    module = Kernel()

    def loss(x: Any, y: Any) -> Any:
        factor = T.linalg.cholesky(module(x))
        solved = T.cholesky_solve(y[:, None], factor)
        return (y[:, None] * solved).sum() / 2 + factor.diagonal().log().sum()

    return module, loss, (T.randn(256, 8), T.randn(256))
