"""Two networks learn handwritten digits, eagerly and compiled, and in PyTorch, where that is installed.

From the same text and the same seed come the same losses: python examples/beside_pytorch.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from sklearn.datasets import load_digits


def residual(t: Any) -> Any:
    class Block(t.nn.Module):  # type: ignore[misc, name-defined]  # a base that is an argument
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = t.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm = t.nn.BatchNorm2d(channels)
            self.second = t.nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return (x + self.second(self.norm(self.first(x)).relu())).relu()

    layers = t.nn.Unflatten(1, (1, 8)), t.nn.Conv2d(1, 8, 3, padding=1), Block(8), t.nn.MaxPool2d(2), Block(8)
    return t.nn.Sequential(*layers, t.nn.Flatten(), t.nn.Linear(128, 10))


def transformer(t: Any) -> Any:
    layer = t.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, activation="gelu", batch_first=True)
    rows = t.nn.Linear(8, 32), t.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return t.nn.Sequential(*rows, t.nn.Flatten(), t.nn.Linear(256, 10))


def losses(t: Any, make: Callable[[Any], Any], compiled: bool = False) -> Iterator[float]:
    images, names = load_digits(return_X_y=True)
    x, y = t.tensor(images.astype("f4") / 16).reshape(-1, 8, 8), t.tensor(names)
    t.manual_seed(0)
    model, loss = make(t), t.nn.CrossEntropyLoss()
    optimizer = t.optim.AdamW(model.parameters(), lr=3e-3)
    step = t.compile_step(lambda x, y: loss(model(x), y), optimizer) if compiled else None
    for inputs, targets in zip(x.split(128)[:12], y.split(128)[:12]):
        if step is None:
            optimizer.zero_grad()
            value = loss(model(inputs), targets)
            value.backward()
            optimizer.step()
        yield (value if step is None else step(inputs, targets)).item()


rg, torch = import_module("retrograd"), import_module("torch") if find_spec("torch") else None
for make in (residual, transformer):
    columns = [losses(rg, make), losses(rg, make, compiled=True), *([losses(torch, make)] if torch else [])]
    rows = list(zip(*columns, strict=True))
    print(f"{make.__name__}: eager, compiled" + ", PyTorch" * bool(torch))
    print(*("   ".join(f"{value:.6f}" for value in row) for row in rows), sep="\n")
    print(f"they differ by at most {max(max(row) - min(row) for row in rows):.0e}\n")
