"""Handwritten digits: a network learns 1,347 of scikit-learn's 8 × 8 images and is tested on the other 450.

python examples/digits.py [--eager]; scikit-learn and tqdm come with pip install '.[examples]'
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import retrograd as rg
from retrograd import nn, optim


class Outcome(NamedTuple):
    losses: list[float]
    step_time: float
    """Seconds that half of the steps take at most: loss, gradients and update."""
    accuracy: float
    """The share of the held-out digits that is recognised."""


def train(compiled: bool, epochs: int = 40) -> Outcome:
    images, names = load_digits(return_X_y=True)
    parts = train_test_split(images.astype("f4") / 16, names, test_size=450, random_state=0, stratify=names)
    x, x_held_out, y, y_held_out = map(rg.tensor, parts)
    rg.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)

    def loss(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(model(x), y)

    step_loss = rg.compile_grad(loss) if compiled else loss
    losses, times = [], []
    bar = tqdm(range(epochs), desc="compiled" if compiled else "eager   ", unit=" epochs", ncols=90)
    for _ in bar:
        for chosen in rg.randperm(len(x))[: 21 * 64].reshape(21, 64):
            inputs, targets, start = x[chosen], y[chosen], perf_counter()
            optimizer.zero_grad()
            value = step_loss(inputs, targets)
            value.backward()
            optimizer.step()
            times.append(perf_counter() - start)
            losses.append(value.item())
        bar.set_postfix(loss=f"{losses[-1]:.4f}")
    with rg.no_grad():
        recognised = model(x_held_out).argmax(1) == y_held_out
    return Outcome(losses, median(times), recognised.float().mean().item())


if __name__ == "__main__":
    outcome = train(compiled="--eager" not in sys.argv)
    print(f"{outcome.accuracy:.1%} of the held-out digits, {1e6 * outcome.step_time:.0f} µs a step")
