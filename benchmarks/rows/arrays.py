"""Large arrays: elementwise functions, sums, rows of scores, many small problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from contenders import normal, value, value_and_gradient
from harness import Row


def elementwise(xp: Any, z: Any) -> Any:
    square = z * z
    return (xp.sin(z) * xp.exp(-square) + xp.tanh(z) * xp.log1p(square)).sum()


def elementwise_by_hand(z: np.ndarray) -> Any:
    square = z * z
    sine, bell, tanh, log = np.sin(z), np.exp(-square), np.tanh(z), np.log1p(square)
    gradient = np.cos(z) * bell - 2 * z * sine * bell + (1 - tanh * tanh) * log + tanh * 2 * z / (1 + square)
    return np.sum(sine * bell + tanh * log), gradient


def scores() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal((1024, 1000)).astype("float32"), generator.integers(0, 1000, 1024)]


def cross_entropy(lib: Any, x: Any, target: Any) -> Any:
    return lib.nn.functional.cross_entropy(x, target)


def cross_entropy_jax(jnp: Any, x: Any, target: Any) -> Any:
    import jax

    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), target[:, None], 1))


def cross_entropy_by_hand(x: np.ndarray, target: np.ndarray) -> Any:
    exponentials = np.exp(x - x.max(1, keepdims=True))
    sums = exponentials.sum(1, keepdims=True)
    rows = np.arange(len(x))
    loss = np.mean(np.log(sums[:, 0]) + x.max(1) - x[rows, target])
    gradient = exponentials / sums
    gradient[rows, target] -= 1
    return loss, gradient / np.float32(len(x))


def normalised() -> list[np.ndarray]:
    x, out = normal((4096, 768), (4096, 768))
    return [x, np.ones(768, np.float32), np.zeros(768, np.float32), out]


def layer_norm_gelu(lib: Any, x: Any, weight: Any, bias: Any, out: Any) -> Any:
    functional = lib.nn.functional
    return (functional.gelu(functional.layer_norm(x, (768,), weight, bias)) * out).sum()


def layer_norm_gelu_jax(jnp: Any, x: Any, weight: Any, bias: Any, out: Any) -> Any:
    import jax

    mean = x.mean(1, keepdims=True)
    variance = ((x - mean) ** 2).mean(1, keepdims=True)
    y = (x - mean) / jnp.sqrt(variance + 1e-5) * weight + bias
    return (jax.nn.gelu(y, approximate=False) * out).sum()


def cameras() -> list[np.ndarray]:
    """10⁵ cameras (rotation vector, translation, focal length, two distortions), a point seen by each, and
    where."""
    generator = np.random.default_rng(0)
    count = 100_000
    camera = 0.1 * generator.standard_normal((9, count))
    camera[5] -= 5.0
    camera[6] += 1.0
    point, seen = generator.standard_normal((3, count)), 0.1 * generator.standard_normal((2, count))
    return [np.float32(each) for each in (camera, point, seen)]


def projection(xp: Any, camera: Any, point: Any, seen: Any) -> Any:
    """The squared error of points rotated (Rodrigues), moved, divided by depth, and distorted radially."""
    rx, ry, rz = camera[0], camera[1], camera[2]
    x, y, z = point[0], point[1], point[2]
    angle = xp.sqrt(rx * rx + ry * ry + rz * rz)
    ax, ay, az = rx / angle, ry / angle, rz / angle
    cosine, sine = xp.cos(angle), xp.sin(angle)
    along = (ax * x + ay * y + az * z) * (1.0 - cosine)
    px = x * cosine + (ay * z - az * y) * sine + ax * along + camera[3]
    py = y * cosine + (az * x - ax * z) * sine + ay * along + camera[4]
    pz = z * cosine + (ax * y - ay * x) * sine + az * along + camera[5]
    u, v = -px / pz, -py / pz
    radius = u * u + v * v
    stretch = camera[6] * (1.0 + radius * (camera[7] + radius * camera[8]))
    du, dv = stretch * u - seen[0], stretch * v - seen[1]
    return (du * du + dv * dv).sum()


def square() -> list[np.ndarray]:
    return normal((4096, 4096))


def of_axis(axis: int | None) -> Callable[..., Any]:
    def total(lib: Any, x: Any) -> Any:
        return x.sum() if axis is None else x.sum(axis)

    return total


def sum_with_numpy(axis: int | None) -> Callable[..., Any]:
    return lambda x: x.sum(axis)


def mean_and_variance(lib: Any, x: Any) -> Any:
    return x.mean(1), x.var(1)


def mean_and_variance_with_numpy(x: np.ndarray) -> Any:
    return x.mean(1), x.var(1, ddof=1)


def mean_and_variance_jax(jnp: Any, x: Any) -> Any:
    return x.mean(1), x.var(1, ddof=1)


ROWS = (
    *(
        Row(
            f"elementwise_{dtype}",
            f"Σ sin z·exp(−z²) + tanh z·log1p(z²), 10⁶ {short}, value and gradient",
            value_and_gradient(
                lambda dtype=dtype: normal((10**6,), dtype=dtype),
                elementwise,
                (0,),
                by_hand=elementwise_by_hand,
            ),
            goal=goal,
        )
        for dtype, short, goal in (("float32", "f32", 5), ("float64", "f64", 3))
    ),
    Row(
        "cross_entropy",
        "softmax cross-entropy, 1024 × 1000, value and gradient",
        value_and_gradient(scores, cross_entropy, (0,), cross_entropy_jax, by_hand=cross_entropy_by_hand),
        goal=3,
    ),
    Row(
        "layer_norm_gelu",
        "layer norm and GELU, 4096 × 768, value and gradients",
        value_and_gradient(normalised, layer_norm_gelu, (0, 1, 2), layer_norm_gelu_jax),
        goal=3,
    ),
    Row(
        "camera_projections",
        "10⁵ camera projections, value and gradients",
        value_and_gradient(cameras, projection, (0, 1)),
        goal=5,
    ),
    *(
        Row(
            f"sum_{axis}",
            f"sum {over}, 4096 × 4096 f32",
            value(
                square,
                of_axis(None if axis == "all" else axis),
                sum_with_numpy(None if axis == "all" else axis),
            ),
            goal=1,
        )
        for axis, over in ((0, "over axis 0"), (1, "over axis 1"), ("all", "of all"))
    ),
    Row(
        "mean_var",
        "mean and variance over axis 1, 4096 × 4096 f32",
        value(square, mean_and_variance, mean_and_variance_with_numpy, mean_and_variance_jax),
        goal=1,
    ),
)
