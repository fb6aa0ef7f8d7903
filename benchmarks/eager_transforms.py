"""What transforms of functions cost on small tensors, here and in PyTorch: as `eager_overhead.py`.

    python benchmarks/eager_transforms.py [part of a label …]

In flow the snippets of `ROWS`; out flows its table, microseconds a call. A new measurement is a row here, and
what it names an entry of `setting`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from eager_overhead import Row, table

import retrograd

ROWS: tuple[Row, ...] = (
    ("vmap of a product and a sum", "vmap(squares)(m)", 1),
    ("vmap of a matrix and relu", "vmap(layer)(m)", 1),
    ("vmap of ten operations", "vmap(chain)(m)", 1),
    ("vmap of softmax", "vmap(F.softmax, in_dims=(0, None))(m, 0)", 1),
    ("vmap of vmap", "vmap(lambda a: vmap(lambda b: a.sum() * b)(a))(m)", 1),
    ("vmap, recorded, and backward", "vmap(layer)(v).sum().backward()", 1),
    ("func.grad", "func.grad(loss)(x)", 1),
    ("func.vjp", "func.vjp(curve, x)[1](x)", 1),
    ("func.jvp", "func.jvp(curve, (x,), (x,))", 1),
    ("vmap of grad", "vmap(func.grad(loss))(m)", 1),
    ("vmap of grad of grad", "vmap(func.grad(func.grad(lambda a: a.sin() * a)))(x)", 1),
    ("jacrev", "func.jacrev(curve)(x)", 1),
    ("jacfwd", "func.jacfwd(curve)(x)", 1),
    ("hessian", "func.hessian(loss)(x)", 1),
    ("vmap of jacrev", "vmap(func.jacrev(curve))(m)", 1),
    ("vmap of hessian", "vmap(func.hessian(loss))(m)", 1),
    ("gradients of samples", "vmap(func.grad(of_sample), in_dims=(None, 0, 0))(own, data, labels)", 1),
    ("networks side by side", "vmap(called, in_dims=(0, 0, None))(stacked, buffers, data)", 1),
    ("functional_call", "func.functional_call(network, own, (data,))", 1),
    ("functional.jacobian", "functional.jacobian(curve, x)", 1),
    ("functional.hessian", "functional.hessian(loss, x)", 1),
    ("functional.vjp", "functional.vjp(curve, x, x)", 1),
    ("functional.jvp", "functional.jvp(curve, x, x)", 1),
    ("functional.hvp", "functional.hvp(loss, x, x)", 1),
    ("functional.vhp", "functional.vhp(loss, x, x)", 1),
)


def setting(T: Any) -> dict[str, Any]:
    """The names that the snippets use, made with one library or the other."""
    T.manual_seed(0)
    m, w = (T.from_numpy(np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)) for _ in range(2))
    networks = [T.nn.Sequential(T.nn.Linear(4, 8), T.nn.Tanh(), T.nn.Linear(8, 3)) for _ in range(4)]
    stacked, buffers = T.func.stack_module_state(networks)

    def called(parameters: Any, buffers: Any, sample: Any) -> Any:
        return T.func.functional_call(networks[0], (parameters, buffers), (sample,))

    def of_sample(parameters: Any, sample: Any, label: Any) -> Any:
        return T.nn.functional.cross_entropy(called(parameters, {}, sample[None]), label[None])

    def chain(a: Any) -> Any:
        for _ in range(2):
            a = (a.sin() * a.exp()).tanh() + 1.0
        return a

    return {
        "vmap": T.vmap, "func": T.func, "functional": T.autograd.functional, "F": T.nn.functional,
        "x": T.tensor([0.1, 0.2, 0.3]), "m": m, "v": m.clone().requires_grad_(), "chain": chain,
        "squares": lambda a: (a * a).sum(), "layer": lambda a: (w @ a).relu(),
        "curve": lambda a: (w @ a).sin() * a, "loss": lambda a: ((w @ a).sin() * a).sum(),
        "network": networks[0], "own": {name: p.detach() for name, p in networks[0].named_parameters()},
        "data": T.randn(8, 4), "labels": T.arange(8) % 3, "stacked": stacked, "buffers": buffers,
        "called": called, "of_sample": of_sample,
    }  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table(ROWS, setting(retrograd), setting(torch))
