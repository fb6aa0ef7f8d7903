"""What eager operations cost on tensors so small that only the overhead counts, here and in PyTorch.

    python benchmarks/eager_overhead.py [part of a label …]

In flow the snippets of `ROWS`, which are the same program for both libraries; out flows a table, microseconds
per operation and the ratio, and how many rows are within 1.5. A new measurement is a row here, of
`eager_rows.MORE`, of `eager_questions.QUESTIONS` or of `eager_arrays.ARRAYS`; a name that it needs is an
entry of `setting`, or of `more_names`.
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Sequence
from math import exp, log
from typing import Any

import numpy as np
import torch
from eager_arrays import ARRAYS
from eager_questions import QUESTIONS
from eager_rows import MORE, more_names

import retrograd

Row = tuple[str, str, int]
"""What, how, and how many operations it is."""

ROWS: tuple[Row, ...] = (
    # one operation, not recorded
    ("add", "x + y", 1),
    ("mul by a number", "x * 2.0", 1),
    ("exp", "x.exp()", 1),
    ("function add", "T.add(x, y)", 1),
    ("comparison", "x > 0", 1),
    ("where", "T.where(c, x, y)", 1),
    ("masked_fill", "x.masked_fill(c, 0.0)", 1),
    ("clamp", "x.clamp(min=0)", 1),
    ("pow", "x ** 2", 1),
    ("sub from a number", "1 - x", 1),
    ("sigmoid", "x.sigmoid()", 1),
    ("maximum", "T.maximum(x, y)", 1),
    ("in place add", "x.add_(y)", 1),
    ("sum", "x.sum()", 1),
    ("sum over an axis", "m.sum(1)", 1),
    ("mean", "x.mean()", 1),
    ("max over an axis", "m.max(1)", 1),
    ("argmax", "m.argmax(1)", 1),
    ("matmul", "m @ m", 1),
    ("mm", "m.mm(m)", 1),
    ("matrix times vector", "m @ x", 1),
    ("x[0]", "x[0]", 1),
    ("x[1:]", "x[1:]", 1),
    ("x[:, 1]", "m[:, 1]", 1),
    ("x[indices]", "x[k]", 1),
    ("x[mask]", "x[c]", 1),
    ("gather", "m.gather(1, g)", 1),
    ("x[0] = number", "x[0] = 0.5", 1),
    ("reshape", "m.reshape(9)", 1),
    ("view", "m.view(-1)", 1),
    ("transpose", "m.t()", 1),
    ("permute", "m.permute(1, 0)", 1),
    ("expand", "x.expand(3, 3)", 1),
    ("unsqueeze", "x.unsqueeze(0)", 1),
    ("squeeze", "o.squeeze(0)", 1),
    ("flatten", "m.flatten()", 1),
    ("chunk", "m.chunk(3)", 1),
    ("cat", "T.cat([x, y])", 1),
    ("stack", "T.stack([x, y])", 1),
    ("item", "s.item()", 1),
    ("detach", "w.detach()", 1),
    ("clone", "x.clone()", 1),
    ("to another dtype", "x.to(T.float64)", 1),
    ("to its own dtype", "x.to(T.float32)", 1),
    ("contiguous", "m.contiguous()", 1),
    ("shape", "m.shape", 1),
    ("no_grad block", "nothing_recorded(T)", 1),
    ("zeros", "T.zeros(3)", 1),
    ("ones_like", "T.ones_like(x)", 1),
    ("full", "T.full((3,), 0.5)", 1),
    ("arange", "T.arange(3)", 1),
    ("tensor", "T.tensor([0.1, 0.2])", 1),
    ("from_numpy", "T.from_numpy(a)", 1),
    ("relu", "F.relu(x)", 1),
    ("softmax", "F.softmax(m, dim=1)", 1),
    ("linear", "F.linear(m, m, x)", 1),
    ("gelu", "F.gelu(m)", 1),
    ("silu", "F.silu(m)", 1),
    ("std", "m.std(0)", 1),
    ("norm", "m.norm()", 1),
    ("logsumexp", "m.logsumexp(1)", 1),
    ("nll_loss", "F.nll_loss(m, k)", 1),
    ("batch_norm", "F.batch_norm(m, x, x * x, training=True)", 1),
    ("group_norm", "F.group_norm(m, 3)", 1),
    ("binary cross-entropy", "F.binary_cross_entropy_with_logits(x, y)", 1),
    ("var", "m.var(1)", 1),
    ("mean over axes", "m.mean((0, 1))", 1),
    ("smooth_l1_loss", "F.smooth_l1_loss(m, v2)", 1),
    ("huber_loss", "F.huber_loss(m, v2)", 1),
    ("kl_div", "F.kl_div(m, v2, reduction='batchmean')", 1),
    ("binary_cross_entropy", "F.binary_cross_entropy(h, y)", 1),
    ("cross_entropy, smoothed", "F.cross_entropy(m, k, label_smoothing=0.1)", 1),
    ("cross_entropy, weighted", "F.cross_entropy(m, k, weight=x)", 1),
    ("instance_norm", "F.instance_norm(m3)", 1),
    ("rms_norm", "F.rms_norm(m, (3,))", 1),
    ("normalize", "F.normalize(m)", 1),
    ("cosine_similarity", "F.cosine_similarity(m, v2)", 1),
    ("softmin", "F.softmin(m, dim=1)", 1),
    ("log_softmax", "F.log_softmax(m, dim=1)", 1),
    ("cumsum", "m.cumsum(0)", 1),
    ("cumsum over the last axis", "m.cumsum(1)", 1),
    ("cumprod", "m.cumprod(0)", 1),
    ("logcumsumexp", "m.logcumsumexp(0)", 1),
    ("cummax", "m.cummax(0)", 1),
    ("randn", "T.randn(3)", 1),
    ("rand", "T.rand(3)", 1),
    ("randint", "T.randint(0, 10, (3,))", 1),
    ("randperm", "T.randperm(3)", 1),
    ("bernoulli", "T.bernoulli(h)", 1),
    ("dropout", "F.dropout(m)", 1),
    ("normal_", "z.normal_()", 1),
    ("uniform_", "z.uniform_(-1, 1)", 1),
    # one operation, recorded
    ("add, recorded", "w + y", 1),
    ("exp, recorded", "w.exp()", 1),
    ("sum, recorded", "w.sum()", 1),
    ("mean, recorded", "w.mean()", 1),
    ("x[0], recorded", "w[0]", 1),
    ("matmul, recorded", "v @ m", 1),
    ("x[:, 1], recorded", "v[:, 1]", 1),
    ("reshape, recorded", "v.reshape(9)", 1),
    ("transpose, recorded", "v.t()", 1),
    ("cat, recorded", "T.cat([w, y])", 1),
    ("stack, recorded", "T.stack([w, y])", 1),
    ("where, recorded", "T.where(c, w, y)", 1),
    ("relu, recorded", "F.relu(w)", 1),
    ("dropout, recorded", "F.dropout(v)", 1),
    ("softmax, recorded", "F.softmax(v, dim=1)", 1),
    ("linear, recorded", "F.linear(m, v, w)", 1),
    ("layer_norm, recorded", "F.layer_norm(v, (3,), w, w)", 1),
    ("mse_loss, recorded", "F.mse_loss(v, m)", 1),
    ("cross_entropy, recorded", "F.cross_entropy(v, k)", 1),
    ("nn.Linear", "layer(m)", 1),
    ("nn.Sequential of three", "network(m)", 1),
    # forward and backward
    ("(w * y).sum() and backward", "(w * y).sum().backward()", 1),
    ("w.exp().mean() and backward", "w.exp().mean().backward()", 1),
    ("(v @ m).sum() and backward", "(v @ m).sum().backward()", 1),
    ("w[0] ** 2 and backward", "(w[0] ** 2).backward()", 1),
    ("cross_entropy and backward", "F.cross_entropy(v, k).backward()", 1),
    ("gelu and backward", "F.gelu(v).sum().backward()", 1),
    ("silu and backward", "F.silu(v).sum().backward()", 1),
    ("norm and backward", "v.norm().backward()", 1),
    ("logsumexp and backward", "v.logsumexp(1).sum().backward()", 1),
    ("layer_norm and backward", "F.layer_norm(v, (3,)).sum().backward()", 1),
    ("log_softmax and backward", "F.log_softmax(v, dim=1).sum().backward()", 1),
    ("std and backward", "v.std().backward()", 1),
    ("batch_norm and backward", "F.batch_norm(v, x, x * x, training=True).sum().backward()", 1),
    ("smooth_l1_loss and backward", "F.smooth_l1_loss(v, m).backward()", 1),
    ("cumsum and backward", "v.cumsum(0).sum().backward()", 1),
    ("cumprod and backward", "v.cumprod(0).sum().backward()", 1),
    ("mish and backward", "F.mish(v).sum().backward()", 1),
    ("autograd.grad", "T.autograd.grad((w * w).sum(), w)", 1),
    ("network, loss and backward", "F.mse_loss(network(m), m).backward()", 1),
    ("chain of 30 and backward", "chain(w, y).backward(y)", 30),
    # whole programs
    ("SGD step", "sgd.step()", 1),
    ("Adam step", "adam.step()", 1),
    ("training step, SGD", "training_step(sgd)", 1),
    ("training step, Adam", "training_step(adam)", 1),
    ("first document's loop", "two_layer_net(T, m, m, v, u)", 1),
    *MORE,
    *QUESTIONS,
    *ARRAYS,
)

WITHIN = 1.5
"""How many times PyTorch's time an operation may take."""


def chain(x: Any, y: Any) -> Any:
    for _ in range(10):
        x = (x * y + 0.5).tanh()
    return x


def nothing_recorded(T: Any) -> None:
    with T.no_grad():
        pass


def two_layer_net(T: Any, x: Any, y: Any, w1: Any, w2: Any) -> None:
    """One step of the first document's program, updates by hand and all."""
    loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
    loss.backward()
    with T.no_grad():
        w1 -= 1e-6 * w1.grad
        w2 -= 1e-6 * w2.grad
        w1.grad.zero_()
        w2.grad.zero_()


def setting(T: Any) -> dict[str, Any]:
    """The names that the snippets use, made with one library or the other."""
    T.manual_seed(0)
    x, y, w = (T.from_numpy(np.array([0.1, 0.2, 0.3], np.float32)) for _ in range(3))
    m, v, u = (T.from_numpy(np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)) for _ in range(3))
    layer = T.nn.Linear(3, 3)
    network = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.ReLU(), T.nn.Linear(4, 3))
    sgd, adam = T.optim.SGD(network.parameters(), lr=1e-3), T.optim.Adam(network.parameters(), lr=1e-3)

    def training_step(optimizer: Any) -> None:
        optimizer.zero_grad()
        loss = T.nn.functional.mse_loss(network(m), m)
        loss.backward()
        optimizer.step()

    training_step(adam)
    return {
        "T": T, "F": T.nn.functional, "x": x, "y": y, "m": m, "c": x > 0.15, "k": T.tensor([0, 2, 1]),
        "s": x.sum(), "w": w.requires_grad_(), "v": v.requires_grad_(), "u": u.requires_grad_(),
        "layer": layer, "network": network, "sgd": sgd, "adam": adam, "training_step": training_step,
        "v2": T.full((3, 3), 0.25), "m3": m.detach().reshape(1, 3, 3),
        "h": T.full((3,), 0.5), "z": T.zeros(3),
        "g": T.tensor([[0], [2], [1]]), "o": x.unsqueeze(0), "a": np.zeros(3, np.float32),
        "np": np, "r": w * 2,
        "nothing_recorded": nothing_recorded, "chain": chain, "two_layer_net": two_layer_net,
        **more_names(T, m),
    }  # fmt: skip


def microseconds(snippet: str, *settings: dict[str, Any]) -> list[float]:
    """The best of many short runs, by turns: the machine may be busy with other things."""
    timers = [timeit.Timer(snippet, globals=names) for names in settings]
    for timer in timers:
        timer.timeit(20)
    number = max(1, int(3e-3 / (sum(timer.timeit(20) for timer in timers) / 20)))
    rounds = [[timer.timeit(number) for timer in timers] for _ in range(60)]
    return [min(column) / number * 1e6 for column in zip(*rounds)]


def table(rows: Sequence[Row], *settings: dict[str, Any]) -> None:
    """Measure the rows, or those with one of the words of the command line in their labels."""
    parts, ratios = sys.argv[1:], []
    rows = [row for row in rows if not parts or any(part in row[0] for part in parts)]
    if not rows:
        sys.exit(f"no label has {' or '.join(map(repr, parts))} in it; without words all rows are measured")
    print(f"{'per operation, in µs':36}{'retrograd':>10}{'PyTorch':>10}{'ratio':>8}")
    for label, snippet, operations in rows:
        ours, theirs = (time / operations for time in microseconds(snippet, *settings))
        ratios.append(ours / theirs)
        print(f"{label:36}{ours:10.2f}{theirs:10.2f}{ratios[-1]:8.2f}", flush=True)
    mean = exp(sum(map(log, ratios)) / len(ratios))
    within = sum(ratio <= WITHIN for ratio in ratios)
    print(f"{within} of {len(ratios)} within {WITHIN}; geometric mean {mean:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    table(ROWS, setting(retrograd), setting(torch))
