"""Whole networks, trained through `nn` and `optim`: PyTorch's losses step by step, from the same seed.

Each row of NETWORKS is trained on the digits of scikit-learn for some steps, each row of COURSES for several
epochs, with dropout, a schedule and clipped gradients, and asked about digits it has not seen after each; all
eagerly and compiled. There is no tolerance beyond what float32 sums in another order make in this many steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import retrograd

STEPS = 8


def digits(count: int) -> tuple[Any, Any]:
    datasets = pytest.importorskip("sklearn.datasets")
    loaded = datasets.load_digits()
    return (loaded.images[:count] / 16).astype(np.float32), loaded.target[:count].astype(np.int64)


def perceptron(t: Any) -> Any:
    nn = t.nn
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 10)
    )


def residual(t: Any, dropout: float = 0.0) -> Any:
    """Convolutions with a shortcut around two of them. None has a bias before a norm: its slope would be
    nothing but rounding, which Adam makes as large as any."""
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
        nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        Block(8), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(16, 10),
    )  # fmt: skip


def _reads_rows(t: Any, kind: str) -> Any:
    class Reader(t.nn.Module):  # type: ignore[misc]  # a base that is an argument
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


def transformer(t: Any, dropout: float = 0.0) -> Any:
    nn = t.nn

    class Reader(nn.Module):  # type: ignore[misc, name-defined]  # a base that is an argument
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(8, 16)
            self.places = nn.Parameter(t.randn(8, 16) * 0.02)
            layer = nn.TransformerEncoderLayer(16, 4, 32, dropout, "gelu", batch_first=True)
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
    images, targets = digits(64)
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


# ---- several epochs ----------------------------------------------------------------------------------------

EPOCHS, LEARNT, BATCH, UNSEEN = 3, 160, 32, 100

COURSES: list[tuple[Callable[[Any, float], Any], str, str]] = [
    (residual, "SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3)", "OneCycleLR(o, 0.1, total_steps=15)"),
    (residual, "Adam(p, lr=0.005)", "StepLR(o, 4, 0.5)"),
    (transformer, "AdamW(p, lr=0.003)", "LambdaLR(o, lambda k: min(1, (k + 1) / 5))"),
    (transformer, "Adam(p, lr=0.003)", "ExponentialLR(o, 0.95)"),
]


class Course(NamedTuple):
    losses: list[float]
    """Of each step."""
    answers: list[Any]
    """To the digits that are not learnt, after each epoch."""
    buffers: dict[str, Any]
    """Running statistics and how many batches they are of, in the end."""
    drawn: float
    """The next random number."""


@functools.cache
def course(t: Any, network: Callable[[Any, float], Any], made: str, schedule: str, compiled: bool) -> Course:
    images, targets = digits(LEARNT + UNSEEN)
    t.manual_seed(7)
    model = network(t, 0.2)
    optimizer = eval(f"optim.{made}", {"optim": t.optim, "p": model.parameters()})
    scheduler = eval(f"rates.{schedule}", {"rates": t.optim.lr_scheduler, "o": optimizer})

    def loss_of(x: Any, y: Any) -> Any:
        return t.nn.functional.cross_entropy(model(x), y)

    evaluate, ask = (t.compile_grad(loss_of), t.compile_grad(model)) if compiled else (loss_of, model)
    seen, answers = [], []
    for _ in range(EPOCHS):
        model.train()
        for rows in t.randperm(LEARNT).reshape(-1, BATCH).numpy():
            optimizer.zero_grad()
            loss = evaluate(t.from_numpy(images[rows]), t.from_numpy(targets[rows]))
            loss.backward()
            t.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            seen.append(loss.item())
        model.eval()
        with t.no_grad():
            answers.append(ask(t.from_numpy(images[LEARNT:])).numpy())
    buffers = {name: buffer.numpy() for name, buffer in model.named_buffers()}
    return Course(seen, answers, buffers, t.rand(()).item())


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    ("network", "made", "schedule"), COURSES, ids=lambda x: x if isinstance(x, str) else x.__name__
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_epochs_are_pytorchs(torch: Any, network: Any, made: str, schedule: str, compiled: bool) -> None:
    ours = course(retrograd, network, made, schedule, compiled)
    theirs = course(torch, network, made, schedule, compiled=False)
    assert min(ours.losses) < ours.losses[0]
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=2e-6)
    np.testing.assert_allclose(ours.answers, theirs.answers, rtol=1e-5, atol=1e-5)
    assert ours.buffers.keys() == theirs.buffers.keys()
    for name, buffer in theirs.buffers.items():
        np.testing.assert_allclose(ours.buffers[name], buffer, rtol=1e-5, atol=1e-6, err_msg=name)
    assert ours.drawn == theirs.drawn
