"""Whole networks, trained through `nn` and `optim`: PyTorch's losses step by step, from the same seed.

Each row of NETWORKS is trained on the digits of scikit-learn, eagerly and with the loss compiled. There is no
tolerance beyond what float32 sums in another order make in this many steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retrograd

STEPS = 8


def digits() -> tuple[Any, Any]:
    datasets = pytest.importorskip("sklearn.datasets")
    loaded = datasets.load_digits()
    return (loaded.images[:64] / 16).astype(np.float32), loaded.target[:64].astype(np.int64)


def perceptron(t: Any) -> Any:
    nn = t.nn
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 10)
    )


def residual(t: Any) -> Any:
    """Convolutions with a shortcut around two of them."""
    nn = t.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]  # a base that is an argument
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(channels)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return (x + self.second(self.norm(self.first(x)).relu())).relu()

    return nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Block(8),
        nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 10),
    )  # fmt: skip


def _reads_rows(t: Any, kind: str) -> Any:
    class Reader(t.nn.Module):  # type: ignore[misc, name-defined]  # a base that is an argument
        """An image as a sequence of its rows."""

        def __init__(self) -> None:
            super().__init__()
            self.network = getattr(t.nn, kind)(8, 12, num_layers=2, batch_first=True, bidirectional=True)
            self.head = t.nn.Linear(24, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.network(x)[0][:, -1])

    return Reader()


def recurrent(t: Any) -> Any:
    return _reads_rows(t, "GRU")


def long_memory(t: Any) -> Any:
    return _reads_rows(t, "LSTM")


def transformer(t: Any) -> Any:
    nn = t.nn

    class Reader(nn.Module):  # type: ignore[misc, name-defined]  # a base that is an argument
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(8, 16)
            self.places = nn.Parameter(t.randn(8, 16) * 0.02)
            layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, activation="gelu")
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 10))

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(self.embed(x) + self.places).mean(1))

    return Reader()


NETWORKS: list[tuple[Callable[[Any], Any], str]] = [
    (perceptron, "SGD(p, lr=0.1, momentum=0.9, nesterov=True)"),
    (perceptron, "Adam(p, lr=0.01)"),
    (residual, "SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3)"),
    (residual, "AdamW(p, lr=0.005)"),
    (recurrent, "RMSprop(p, lr=0.002)"),
    (long_memory, "Adam(p, lr=0.01)"),
    (transformer, "AdamW(p, lr=0.003)"),
]


@functools.cache
def losses(t: Any, network: Callable[[Any], Any], made: str, compiled: bool) -> list[float]:
    images, targets = digits()
    t.manual_seed(7)
    model = network(t)
    optimizer = eval(f"optim.{made}", {"optim": t.optim, "p": model.parameters()})
    scheduler = t.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    def loss_of(x: Any, y: Any) -> Any:
        return t.nn.functional.cross_entropy(model(x), y)

    evaluate = t.compile_grad(loss_of) if compiled else loss_of
    seen = []
    for step in range(STEPS):
        rows = slice(16 * (step % 4), 16 * (step % 4) + 16)
        optimizer.zero_grad()
        loss = evaluate(t.from_numpy(images[rows]), t.from_numpy(targets[rows]))
        loss.backward()
        t.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        seen.append(loss.item())
    return seen


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("network", "made"), NETWORKS, ids=lambda x: x if isinstance(x, str) else x.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_networks_train_with_pytorchs_losses(torch: Any, network: Any, made: str, compiled: bool) -> None:
    ours = losses(retrograd, network, made, compiled)
    theirs = losses(torch, network, made, compiled=False)
    assert min(ours) < ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=5e-5)
