"""Networks: a step of training, and the digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from contenders import normal, training_step, value_and_gradient
from harness import Row


def two_layer_inputs() -> list[np.ndarray]:
    return normal((64, 1000), (64, 10), (1000, 100), (100, 10))


def two_layer_loss(lib: Any, x: Any, y: Any, w1: Any, w2: Any) -> Any:
    return ((x @ w1).clamp(min=0) @ w2 - y).pow(2).sum()


def two_layer_loss_jax(jnp: Any, x: Any, y: Any, w1: Any, w2: Any) -> Any:
    return ((jnp.maximum(x @ w1, 0) @ w2 - y) ** 2).sum()


def digits_inputs() -> list[np.ndarray]:
    """A batch as large as the set of digits, and the weights of a 64–64–10 network."""
    x, w1, b1, w2, b2 = normal((256, 64), (64, 64), (64,), (64, 10), (10,), scale=0.1)
    return [x, np.arange(256) % 10, w1, b1, w2, b2]


def digits_loss(lib: Any, x: Any, target: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return lib.nn.functional.cross_entropy((x @ w1 + b1).relu() @ w2 + b2, target)


def digits_loss_jax(jnp: Any, x: Any, target: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    import jax

    scores = jnp.maximum(x @ w1 + b1, 0) @ w2 + b2
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), target[:, None], 1))


def images(batch: int, channels: int) -> Any:
    """Images of 28 × 28, their classes, the weights of a convolution to 16 channels, and of an affine map."""

    def inputs() -> list[np.ndarray]:
        shapes = (batch, channels, 28, 28), (16, channels, 3, 3), (16,), (16 * 13 * 13, 10), (10,)
        x, kernel, shift, w, b = normal(*shapes, scale=0.1)
        return [x, np.arange(batch) % 10, kernel, shift, w, b]

    return inputs


def convolutional(lib: Any, x: Any, target: Any, kernel: Any, shift: Any, w: Any, b: Any) -> Any:
    functional = lib.nn.functional
    hidden = functional.max_pool2d(functional.relu(functional.conv2d(x, kernel, shift)), 2)
    return functional.cross_entropy(hidden.flatten(1) @ w + b, target)


def convolutional_jax(jnp: Any, x: Any, target: Any, kernel: Any, shift: Any, w: Any, b: Any) -> Any:
    from jax import lax, nn

    hidden = nn.relu(lax.conv(x, kernel, (1, 1), "VALID") + shift[:, None, None])
    hidden = lax.reduce_window(hidden, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    scores = hidden.reshape(len(x), -1) @ w + b
    return -jnp.mean(jnp.take_along_axis(nn.log_softmax(scores), target[:, None], 1))


ROWS = (
    Row(
        "two_layer_step",
        "training step of a two-layer network, 64 × 1000 → 100 → 10",
        training_step(two_layer_inputs, two_layer_loss, (2, 3), 1e-6, two_layer_loss_jax),
        goal=2,
    ),
    Row(
        "two_layer",
        "the same network, value and gradients",
        value_and_gradient(two_layer_inputs, two_layer_loss, (2, 3), two_layer_loss_jax),
    ),
    Row(
        "digits",
        "the digits' classifier, 256 × 64 → 64 → 10, value and gradients",
        value_and_gradient(digits_inputs, digits_loss, (2, 3, 4, 5), digits_loss_jax),
        goal=3,
        against="eager",
    ),
    *(
        Row(
            f"convolution_{name}",
            f"training step of a convolutional network, {batch} × {channels} × 28 × 28",
            training_step(images(batch, channels), convolutional, (2, 3, 4, 5), 1e-3, convolutional_jax),
            goal=1.5,
        )
        for name, batch, channels in (("small", 8, 1), ("large", 64, 16))
    ),
)
