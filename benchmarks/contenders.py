"""Contenders made from one loss: the same function of tensors, given to each library.

In flow arrays and a function `loss(lib, *tensors)`, where `lib` is `retrograd`, `torch` or `jax.numpy`; out
flow the contenders of a row. JAX gets a loss of its own where the names differ. A new kind of measurement is
a function that gives a dict from a contender's name to its set-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from harness import Call, Jitted, Missing, Setup

Arrays = Sequence[np.ndarray]
Inputs = Callable[[], Arrays]
Loss = Callable[..., Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def normal(*shapes: tuple[int, ...], dtype: str = "float32", scale: float = 1.0) -> list[np.ndarray]:
    """Arrays of normal numbers, the same in each process."""
    generator = rng()
    return [(scale * generator.standard_normal(shape)).astype(dtype) for shape in shapes]


# ---- the libraries -----------------------------------------------------------------------------------------


def retrograd() -> Any:
    """The library, with nothing compiled before."""
    import retrograd as rg
    from retrograd.runtime.native import cache

    cache.clear()
    return rg


def torch() -> Any:
    """PyTorch, with nothing compiled before."""
    import os

    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch


def torch_compile() -> tuple[Any, Callable[[Loss], Loss]]:
    """PyTorch and its compiler, which needs one for C++."""
    import shutil

    library = torch()
    if not (shutil.which("g++") or shutil.which("clang++")):
        raise Missing("torch.compile needs a C++ compiler")
    library._dynamo.reset()
    return library, library.compile


def of_torch(library: Any, arrays: Arrays) -> list[Any]:
    return [library.from_numpy(array.copy()) for array in arrays]


def of_ours(library: Any, arrays: Arrays) -> list[Any]:
    return [library.tensor(array) for array in arrays]


def of_tensors(
    inputs: Inputs, loss: Loss, calling: Callable[[Any, list[Any], Loss], Call]
) -> dict[str, Setup]:
    """Those with PyTorch's API: eager mode, here and there, and PyTorch's compiler. `calling` makes a call of
    a library, Tensors of it and a function of them."""

    def eager() -> Call:
        rg = retrograd()
        return calling(rg, of_ours(rg, inputs()), _bound(loss, rg))

    def torch_eager() -> Call:
        lib = torch()
        return calling(lib, of_torch(lib, inputs()), _bound(loss, lib))

    def torch_compiled() -> Call:
        lib, compiler = torch_compile()
        return calling(lib, of_torch(lib, inputs()), compiler(_bound(loss, lib)))

    return {"eager": eager, "torch": torch_eager, "torch.compile": torch_compiled}


# ---- value and gradient ------------------------------------------------------------------------------------


def value_and_gradient(
    inputs: Inputs, loss: Loss, wrt: Sequence[int], jax_loss: Loss | None = None, by_hand: Loss | None = None
) -> dict[str, Setup]:
    """Tensors in, the value and the gradients by the inputs `wrt` out."""

    def compiled() -> Call:
        rg = retrograd()
        tensors = of_ours(rg, inputs())
        function = rg.compile_grad(wrt=tuple(wrt))(_bound(loss, rg))
        return Jitted(lambda: function.value_and_grad(*tensors), lambda: function.trace(*tensors))

    def taped(lib: Any, tensors: list[Any], function: Loss) -> Call:
        chosen = [tensors[k].requires_grad_() for k in wrt]

        def call() -> Any:
            for tensor in chosen:
                tensor.grad = None
            value = function(*tensors)
            value.backward()
            return value, [tensor.grad for tensor in chosen]

        return call

    def jax_jit() -> Call:
        import jax

        arrays = [jax.numpy.asarray(array) for array in inputs()]
        bound = _bound(jax_loss or loss, jax.numpy)
        return _jitted(jax.value_and_grad(bound, argnums=tuple(wrt)), arrays)

    contenders = {"compiled": compiled, "jax": jax_jit} | of_tensors(inputs, loss, taped)
    if by_hand is not None:
        contenders["numpy by hand"] = lambda: _called(by_hand, inputs())
    return contenders


def training_step(
    inputs: Inputs, loss: Loss, weights: Sequence[int], rate: float, jax_loss: Loss | None = None
) -> dict[str, Setup]:
    """The loss, its gradients by the inputs `weights`, and a step of gradient descent; gives the loss. Ours
    and JAX's step is one function, which writes over its weights."""

    def compiled() -> Call:
        rg = retrograd()
        tensors = of_ours(rg, inputs())
        chosen = [tensors[k].requires_grad_() for k in weights]
        batch = [tensor for k, tensor in enumerate(tensors) if k not in weights]
        bound = _bound(loss, rg)

        def whole(*given: Any) -> Any:
            each, own = iter(given), iter(chosen)
            return bound(*(next(own if k in weights else each) for k in range(len(tensors))))

        return _called(rg.compile_step(whole, rg.optim.SGD(chosen, rate)), batch)

    def taped(lib: Any, tensors: list[Any], function: Loss) -> Call:
        chosen = [tensors[k].requires_grad_() for k in weights]

        def call() -> Any:
            value = function(*tensors)
            value.backward()
            with lib.no_grad():
                for tensor in chosen:
                    tensor.sub_(tensor.grad, alpha=rate)
                    tensor.grad = None
            return value

        return call

    def jax_jit() -> Call:
        import jax

        arrays = [jax.numpy.asarray(array) for array in inputs()]
        differentiated = jax.value_and_grad(_bound(jax_loss or loss, jax.numpy), argnums=tuple(weights))

        def step(*arrays: Any) -> Any:
            value, gradients = differentiated(*arrays)
            return value, [arrays[k] - rate * gradient for k, gradient in zip(weights, gradients)]

        function = jax.jit(step, donate_argnums=tuple(weights))

        def call() -> Any:
            value, new = jax.block_until_ready(function(*arrays))
            for k, weight in zip(weights, new):
                arrays[k] = weight
            return value

        return call

    return {"compiled": compiled, "jax": jax_jit} | of_tensors(inputs, loss, taped)


# ---- values alone ------------------------------------------------------------------------------------------


def value(
    inputs: Inputs, function: Loss, numpy: Loss, jax_function: Loss | None = None, torch_too: bool = True
) -> dict[str, Setup]:
    """Tensors in, Tensors out, nothing differentiated; `numpy` is given arrays.

    Without `torch_too`, torch.compile is left out: where it would only call the library that eager mode
    calls.
    """

    def ours() -> Call:
        rg = retrograd()
        tensors = of_ours(rg, inputs())
        compiled = rg.compile_grad(_bound(function, rg))
        return Jitted(_called(compiled, tensors), lambda: rg.no_grad()(compiled.trace)(*tensors))

    def jax_jit() -> Call:
        import jax

        arrays = [jax.numpy.asarray(array) for array in inputs()]
        return _jitted(_bound(jax_function or function, jax.numpy), arrays)

    contenders = of_tensors(inputs, function, lambda _, tensors, bound: _called(bound, tensors))
    if not torch_too:
        del contenders["torch.compile"]
    return contenders | {"compiled": ours, "numpy": lambda: _called(numpy, inputs()), "jax": jax_jit}


def _jitted(function: Callable[..., Any], arrays: Arrays) -> Jitted:
    """JAX's compiled function of arrays."""
    import jax

    jitted = jax.jit(function)
    return Jitted(
        lambda: jax.block_until_ready(jitted(*arrays)), lambda: jax.jit(function).lower(*arrays).compile()
    )


def _called(function: Callable[..., Any], arguments: Sequence[Any]) -> Call:
    """The call without arguments."""
    fixed = tuple(arguments)
    return lambda: function(*fixed)


def _bound(loss: Loss, lib: Any) -> Loss:
    """The loss with its library filled in."""

    def bound(*arguments: Any) -> Any:
        return loss(lib, *arguments)

    bound.__name__ = loss.__name__
    return bound


# ---- so that nobody's first row pays for what is done once -------------------------------------------------


def warm_up(name: str) -> None:
    """One small value and gradient by this contender."""
    contenders: Mapping[str, Setup] = value_and_gradient(
        lambda: normal((3, 5), (5, 2)), lambda lib, x, w: (x @ w).sum(), (0, 1)
    )
    if name in contenders:
        contenders[name]()()
