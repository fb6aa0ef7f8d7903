"""What whole training steps of small programs take in eager mode, here and in PyTorch.

    OMP_NUM_THREADS=1 python benchmarks/eager_programs.py [part of a label …]

In flow `PROGRAMS`, each the same code for both libraries: it makes a model and data, and returns a function
that takes one step of training (forward, backward, the optimiser's step). Out flows a table: milliseconds per
step and the ratio. A new program is a function with `@program`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from math import exp, log
from time import perf_counter
from typing import Any

import numpy as np
import torch

import retrograd

Step = Callable[[], None]
PROGRAMS: dict[str, Callable[[Any], Step]] = {}


def program(label: str) -> Callable[[Callable[[Any], Step]], Callable[[Any], Step]]:
    def enter(make: Callable[[Any], Step]) -> Callable[[Any], Step]:
        PROGRAMS[label] = make
        return make

    return enter


# ---- data --------------------------------------------------------------------------------------------------


def normal(T: Any, *shape: int) -> Any:
    """Numbers that are the same in both libraries."""
    return T.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def classes(T: Any, count: int, *shape: int) -> Any:
    return T.from_numpy(np.random.default_rng(1).integers(0, count, shape))


def trained(T: Any, model: Any, optimizer: Any, loss_of: Callable[[], Any]) -> Step:
    """The usual step."""

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()

    return step


# ---- programs ----------------------------------------------------------------------------------------------


@program("MLP 784-128-64-10, batch 32, SGD")
def mlp(T: Any) -> Step:
    nn = T.nn
    model = nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )  # fmt: skip
    x, y = normal(T, 32, 784), classes(T, 10, 32)
    optimizer = T.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return trained(T, model, optimizer, lambda: nn.functional.cross_entropy(model(x), y))


@program("regression 8-32-1 with dropout, batch 16, Adam")
def regression(T: Any) -> Step:
    nn = T.nn
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1))
    x, y = normal(T, 16, 8), normal(T, 16, 1)
    return trained(T, model, T.optim.Adam(model.parameters()), lambda: nn.functional.mse_loss(model(x), y))


@program("CNN on 28x28, batch 32, Adam")
def cnn(T: Any) -> Step:
    nn = T.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    x, y = normal(T, 32, 1, 28, 28), classes(T, 10, 32)
    optimizer = T.optim.Adam(model.parameters())
    return trained(T, model, optimizer, lambda: nn.functional.cross_entropy(model(x), y))


@program("DCGAN on 28x28, batch 16, two Adams")
def dcgan(T: Any) -> Step:
    nn, bce = T.nn, T.nn.functional.binary_cross_entropy_with_logits
    generator = nn.Sequential(
        nn.ConvTranspose2d(32, 32, 7), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32),
        nn.LeakyReLU(0.2), nn.Conv2d(32, 1, 7), nn.Flatten(0),
    )  # fmt: skip
    real, noise = normal(T, 16, 1, 28, 28), normal(T, 16, 32, 1, 1)
    ones, zeros = T.ones(16), T.zeros(16)
    first = T.optim.Adam(critic.parameters(), 2e-4, (0.5, 0.999))
    second = T.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))

    def step() -> None:
        first.zero_grad()
        fake = generator(noise)
        loss = bce(critic(real), ones) + bce(critic(fake.detach()), zeros)
        loss.backward()
        first.step()
        second.zero_grad()
        bce(critic(fake), ones).backward()
        second.step()

    return step


@program("transformer d 64, sequence 32, batch 16, AdamW")
def transformer(T: Any) -> Step:
    nn = T.nn

    class Model(nn.Module):  # type: ignore[name-defined,misc]  # of whichever library
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(100, 64), nn.Embedding(32, 64)
            layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(64, 100)

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(self.tokens(x) + self.places.weight))

    model, x, y = Model(), classes(T, 100, 16, 32), classes(T, 100, 16, 32)
    optimizer = T.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_of() -> Any:
        return nn.functional.cross_entropy(model(x).reshape(-1, 100), y.reshape(-1))

    return trained(T, model, optimizer, loss_of)


@program("attention by hand d 64, sequence 32, batch 16, Adam")
def attention(T: Any) -> Step:
    nn = T.nn

    class Block(nn.Module):  # type: ignore[name-defined,misc]  # of whichever library
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.norm2 = nn.LayerNorm(64), nn.LayerNorm(64)
            self.qkv, self.out = nn.Linear(64, 192), nn.Linear(64, 64)
            self.wide, self.narrow = nn.Linear(64, 256), nn.Linear(256, 64)
            self.register_buffer("mask", T.tril(T.ones(32, 32)) == 0)

        def forward(self, x: Any) -> Any:
            n, t, d = x.shape
            q, k, v = self.qkv(self.norm(x)).split(d, dim=2)
            q, k, v = (a.view(n, t, 4, d // 4).transpose(1, 2) for a in (q, k, v))
            scores = (q @ k.transpose(-2, -1)) * (d // 4) ** -0.5
            weights = nn.functional.softmax(scores.masked_fill(self.mask, float("-inf")), dim=-1)
            x = x + self.out((weights @ v).transpose(1, 2).contiguous().view(n, t, d))
            return x + self.narrow(nn.functional.gelu(self.wide(self.norm2(x))))

    model = nn.Sequential(nn.Embedding(80, 64), Block(), Block(), nn.LayerNorm(64), nn.Linear(64, 80))
    x, y = classes(T, 80, 16, 32), classes(T, 80, 16, 32)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        loss = nn.functional.cross_entropy(model(x).view(-1, 80), y.view(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


@program("embedding classifier, 20 words, batch 32, Adam")
def words(T: Any) -> Step:
    nn = T.nn

    class Model(nn.Module):  # type: ignore[name-defined,misc]  # of whichever library
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(1000, 32)
            self.hidden, self.out = nn.Linear(32, 32), nn.Linear(32, 4)

        def forward(self, x: Any) -> Any:
            return self.out(nn.functional.relu(self.hidden(self.embedding(x).mean(dim=1))))

    model, x, y = Model(), classes(T, 1000, 32, 20), classes(T, 4, 32)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)
    return trained(T, model, optimizer, lambda: nn.functional.cross_entropy(model(x), y))


@program("VAE 784-128-16, batch 64, Adam")
def vae(T: Any) -> Step:
    nn = T.nn

    class Model(nn.Module):  # type: ignore[name-defined,misc]  # of whichever library
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.mean, self.log_variance = (
                nn.Linear(784, 128),
                nn.Linear(128, 16),
                nn.Linear(128, 16),
            )
            self.back, self.out = nn.Linear(16, 128), nn.Linear(128, 784)

        def forward(self, x: Any) -> tuple[Any, Any, Any]:
            h = T.relu(self.hidden(x))
            mean, log_variance = self.mean(h), self.log_variance(h)
            z = mean + T.exp(0.5 * log_variance) * T.randn_like(mean)
            return T.sigmoid(self.out(T.relu(self.back(z)))), mean, log_variance

    model, x = Model(), normal(T, 64, 784).sigmoid()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)

    def loss_of() -> Any:
        found, mean, log_variance = model(x)
        loss = nn.functional.binary_cross_entropy(found, x, reduction="sum")
        return loss - 0.5 * T.sum(1 + log_variance - mean.pow(2) - log_variance.exp())

    return trained(T, model, optimizer, loss_of)


@program("char-RNN, LSTM of 64, sequence 32, batch 16, Adam")
def char_rnn(T: Any) -> Step:
    nn = T.nn

    class Model(nn.Module):  # type: ignore[name-defined,misc]  # of whichever library
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.out = nn.Embedding(60, 32), nn.Linear(64, 60)
            self.lstm = nn.LSTM(32, 64, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(self.embedding(x))[0])

    model, x, y = Model(), classes(T, 60, 16, 32), classes(T, 60, 16, 32)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).reshape(-1, 60), y.reshape(-1)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


@program("deep Q-network 4-64-2, batch 64, a soft target, Adam")
def dqn(T: Any) -> Step:
    nn = T.nn
    network, target = (
        nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        for _ in range(2)
    )
    target.load_state_dict(network.state_dict())
    state, after, reward = normal(T, 64, 4), normal(T, 64, 4) + 0.1, normal(T, 64)
    action, over = classes(T, 2, 64, 1), classes(T, 2, 64).float()
    optimizer = T.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        value = network(state).gather(1, action).squeeze(1)
        with T.no_grad():
            wanted = reward + 0.99 * target(after).max(1).values * (1 - over)
        loss = nn.functional.smooth_l1_loss(value, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with T.no_grad():
            for mine, other in zip(target.parameters(), network.parameters()):
                mine.mul_(0.995).add_(other, alpha=0.005)

    return step


# ---- measuring ---------------------------------------------------------------------------------------------


def milliseconds(*steps: Step) -> list[float]:
    """The least of many short runs of each, by turns: the machine may be busy with other things."""
    for step in steps:
        for _ in range(5):
            step()
    count = max(1, int(0.02 / max(map(seconds, steps))))
    rounds = [[seconds(step, count) for step in steps] for _ in range(30)]
    return [min(column) / count * 1e3 for column in zip(*rounds)]


def seconds(step: Step, count: int = 1) -> float:
    start = perf_counter()
    for _ in range(count):
        step()
    return perf_counter() - start


def main() -> None:
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))  # NumPy reads it, too
    ratios = []
    print(f"{f'ms per step, threads: {threads}':56}{'retrograd':>10}{'PyTorch':>10}{'ratio':>8}")
    for label, make in PROGRAMS.items():
        if sys.argv[1:] and not any(part in label for part in sys.argv[1:]):
            continue
        steps = []
        for T in (retrograd, torch):
            T.set_num_threads(threads)
            T.manual_seed(0)
            steps.append(make(T))
        ours, theirs = milliseconds(*steps)
        ratios.append(ours / theirs)
        print(f"{label:56}{ours:10.3f}{theirs:10.3f}{ratios[-1]:8.2f}", flush=True)
    print(f"geometric mean {exp(sum(map(log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
