"""Functions so small that what counts is the call: one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from contenders import retrograd, torch, torch_compile, value_and_gradient
from harness import Call, Row


def start() -> list[np.ndarray]:
    return [np.array([-1.2, 1.0])]


def rosenbrock(lib: Any, x: Any) -> Any:
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def rosenbrock_by_hand(x: np.ndarray) -> Any:
    a, b = float(x[0]), float(x[1])
    slope = b - a * a
    return (1.0 - a) ** 2 + 100.0 * slope**2, np.array([2.0 * (a - 1.0) - 400.0 * a * slope, 200.0 * slope])


def ours_with_arrays() -> Call:
    rg, (x,) = retrograd(), start()

    @rg.compile_grad
    def function(x: Any) -> Any:
        return rosenbrock(rg, x)

    native = function.value_and_grad
    return lambda: native(x)


def taped_with_arrays(lib: Any, make: Any, function: Any) -> Call:
    (x,) = start()

    def call() -> Any:
        point = make(x).requires_grad_()
        value = function(lib, point)
        value.backward()
        return value.item(), point.grad.numpy()

    return call


def eager_with_arrays() -> Call:
    rg = retrograd()
    return taped_with_arrays(rg, rg.tensor, rosenbrock)


def torch_with_arrays() -> Call:
    lib = torch()
    return taped_with_arrays(lib, lib.from_numpy, rosenbrock)


def torch_compile_with_arrays() -> Call:
    lib, compiler = torch_compile()
    return taped_with_arrays(lib, lib.from_numpy, compiler(rosenbrock))


def jax_with_arrays() -> Call:
    import jax

    (x,) = start()
    function = jax.jit(jax.value_and_grad(lambda x: rosenbrock(None, x)))

    def call() -> Any:
        value, gradient = function(x)
        return float(value), np.asarray(gradient)

    return call


def ours_then_backward() -> Call:
    """The function is compiled, the rest is the tape's."""
    rg, (x,) = retrograd(), start()
    point = rg.tensor(x).requires_grad_()
    function = rg.compile_grad(lambda x: rosenbrock(rg, x))

    def call() -> Any:
        point.grad = None
        value = function(point)
        value.backward()
        return value, [point.grad]

    return call


def entropy_inputs() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    w, b = generator.standard_normal((5, 3)), generator.standard_normal(3)
    return [np.float32(each) for each in (np.ones(5), np.zeros(3), w, b)]


def binary_cross_entropy(lib: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
    return lib.nn.functional.binary_cross_entropy_with_logits(x @ w + b, y)


def binary_cross_entropy_jax(jnp: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
    z = x @ w + b
    return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))


def binary_cross_entropy_by_hand(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> Any:
    z = x @ w + b
    slope = (1 / (1 + np.exp(-z)) - y) / z.size
    return np.mean(np.logaddexp(0, z) - z * y), [np.outer(x, slope), slope]


ROWS = (
    Row(
        "rosenbrock",
        "Rosenbrock f64, value and gradient, NumPy in and out",
        {
            "compiled": ours_with_arrays,
            "eager": eager_with_arrays,
            "numpy by hand": lambda: lambda: rosenbrock_by_hand(np.array([-1.2, 1.0])),
            "torch": torch_with_arrays,
            "torch.compile": torch_compile_with_arrays,
            "jax": jax_with_arrays,
        },
        threads=1,
        goal=20,
    ),
    Row(
        "rosenbrock_tensors",
        "Rosenbrock f64 through Tensors: f(x), then backward()",
        value_and_gradient(start, rosenbrock, (0,)) | {"compiled": ours_then_backward},
        threads=1,
        goal=10,
        against="torch.compile",
    ),
    Row(
        "binary_cross_entropy",
        "binary cross-entropy of a 5→3 model, value and gradients",
        value_and_gradient(
            entropy_inputs,
            binary_cross_entropy,
            (2, 3),
            binary_cross_entropy_jax,
            by_hand=binary_cross_entropy_by_hand,
        ),
        threads=1,
        goal=10,
    ),
)
