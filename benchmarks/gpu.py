"""Retrograd on an NVIDIA GPU beside its peers: `make bench-gpu`, or `python benchmarks/gpu.py [ROW …]`; with
`--alone` (`make gpu`) without the peers, in a minute.

First what the GPU can do is measured: bytes copied and multiply-adds in a second. Each row then gives the
time of a call, the share of one of the two that it reaches, and the same of PyTorch, torch.compile and
jax.jit. With no row named, date, hardware and figures are written below results/. Without a GPU it says so
and measures nothing. A row is a line of `ROWS`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Missing

RESULTS = Path(__file__).parent / "results"
ROUNDS, BURST = 9, 0.1
"""Turns of each contender, of which the median is told, and the seconds that one takes at least."""
COPIED, TINY_COPIED = 1 << 30, 1 << 12
Call = Callable[[], Any]
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    about: str
    inputs: Callable[[int], Arrays]
    """Arrays, from the row's size."""
    function: Callable[..., Any]
    """Of a library and tensors."""
    size: int
    tiny: int
    wrt: tuple[int, ...] = ()
    """The inputs by which it is differentiated; with none, the value alone."""
    eager: bool = False
    """Is each operation a call of its own here and in PyTorch's eager mode?"""
    rate: float = 0.0
    """Of a step of gradient descent on those inputs; 0 for none."""
    nbytes: Callable[[int], float] | None = None
    """The least that must be read and written."""
    flops: Callable[[int], float] | None = None
    jax_function: Callable[..., Any] | None = None


# ---- rows --------------------------------------------------------------------------------------------------


def normal(*shapes: tuple[int, ...]) -> Arrays:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, np.float32) for shape in shapes]


def pointwise(lib: Any, x: Any) -> Any:
    return (lib.sin(x) * lib.exp(-x * x) + lib.tanh(x)).sum()


def cross_entropy(lib: Any, x: Any, labels: Any) -> Any:
    return lib.nn.functional.cross_entropy(x, labels)


def jax_cross_entropy(numpy: Any, x: Any, labels: Any) -> Any:
    import jax

    return -numpy.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()


def layer_norm(lib: Any, x: Any) -> Any:
    return (lib.nn.functional.layer_norm(x, x.shape[1:]) ** 3).mean()


def jax_layer_norm(numpy: Any, x: Any) -> Any:
    centred = x - x.mean(1, keepdims=True)
    return ((centred / numpy.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)) ** 3).mean()


def network(lib: Any, x: Any, w1: Any, w2: Any, y: Any) -> Any:
    return ((lib.tanh(x @ w1) @ w2 - y) ** 2).mean()


def chain(lib: Any, x: Any) -> Any:
    y = x
    for _ in range(5):
        y = lib.tanh(y + x)
    return y


def labelled(n: int) -> Arrays:
    return [*normal((n, 4096)), np.random.default_rng(1).integers(0, 4096, n)]


def layers(n: int) -> Arrays:
    return normal((n, n // 4), (n // 4, n // 4), (n // 4, 16), (n, 16))


ROWS = (
    Row("pointwise", "value and gradient of sin·exp + tanh", lambda n: normal((n,)), pointwise,
        1 << 26, 300, (0,), nbytes=lambda n: 8.0 * n),
    Row("sum", "sum of all", lambda n: normal((n,)), lambda lib, x: x.sum(), 1 << 27, 300,
        nbytes=lambda n: 4.0 * n),
    Row("sum-rows", "sums of 4096 columns", lambda n: normal((n, 4096)), lambda lib, x: x.sum(0), 1 << 14, 3,
        nbytes=lambda n: 4.0 * 4096 * n),
    Row("sum-columns", "sums of rows of 4096", lambda n: normal((n, 4096)), lambda lib, x: x.sum(1),
        1 << 14, 3, nbytes=lambda n: 4.0 * 4096 * n),
    Row("cross-entropy", "value and gradient, 4096 classes", labelled, cross_entropy, 1 << 14, 3, (0,),
        nbytes=lambda n: 8.0 * 4096 * n, jax_function=jax_cross_entropy),
    Row("layer-norm", "value and gradient, rows of 4096", lambda n: normal((n, 4096)), layer_norm, 1 << 14, 3,
        (0,), nbytes=lambda n: 8.0 * 4096 * n, jax_function=jax_layer_norm),
    *(
        Row(f"gemm-{n}", f"product of float32, {n} × {n} × {n}", lambda n: normal((n, n), (n, n)),
            lambda lib, a, b: a @ b, n, 16, flops=lambda n: 2.0 * n**3)
        for n in (512, 1024, 2048, 4096, 8192)
    ),
    Row("training-step", "two layers, 4096 × 1024 × 1024 × 16, gradient descent", layers, network, 4096, 8,
        (1, 2), rate=1e-3),
    Row("small", "value and gradient of a function of three numbers", lambda n: normal((n,)), pointwise,
        3, 3, (0,)),
    Row("eager", "ten operations on 64 × 64, one by one", lambda n: normal((n, n)), chain, 64, 3, eager=True),
)  # fmt: skip


# ---- contenders: each gives a call, and what waits for the GPU ---------------------------------------------


def retrograd(row: Row, arrays: Arrays) -> tuple[Call, Call]:
    import retrograd as rg

    tensors = [rg.tensor(a, device="cuda") for a in arrays]
    if row.rate:
        return _step(rg, row, tensors), rg.cuda.synchronize
    if row.eager:
        return lambda: row.function(rg, *tensors), rg.cuda.synchronize
    if not row.wrt:
        function = rg.compile_grad(lambda *x: row.function(rg, *x))
        return lambda: function(*tensors), rg.cuda.synchronize
    derived = rg.compile_grad(wrt=row.wrt)(lambda *x: row.function(rg, *x))
    return lambda: derived.value_and_grad(*tensors), rg.cuda.synchronize


def _step(rg: Any, row: Row, tensors: list[Any]) -> Call:
    """The update is part of what is compiled, as in JAX's."""
    given = [x for k, x in enumerate(tensors) if k not in row.wrt]
    chosen = [tensors[k].requires_grad_() for k in row.wrt]

    def loss(*given: Any) -> Any:
        rest = iter(given)
        return row.function(rg, *(x if k in row.wrt else next(rest) for k, x in enumerate(tensors)))

    step = rg.compile_step(loss, rg.optim.SGD(chosen, lr=row.rate))
    return lambda: step(*given)


def torch_eager(row: Row, arrays: Arrays, compiled: bool = False) -> tuple[Call, Call]:
    import torch

    if not torch.cuda.is_available():
        raise Missing("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    tensors = [torch.from_numpy(a).cuda() for a in arrays]
    chosen = [tensors[k].requires_grad_() for k in row.wrt]

    def function(*x: Any) -> Any:
        return row.function(torch, *x)

    torch.compiler.reset()  # a row does not pay for the compiling of those before it
    run = torch.compile(function) if compiled else function

    def call() -> Any:
        value = run(*tensors)
        if chosen:
            gradients = torch.autograd.grad(value, chosen)
        if row.rate:
            with torch.no_grad():
                for x, gradient in zip(chosen, gradients):
                    x.sub_(gradient, alpha=row.rate)
        return value

    return call, torch.cuda.synchronize


def torch_compile(row: Row, arrays: Arrays) -> tuple[Call, Call]:
    return torch_eager(row, arrays, compiled=True)


def jax_jit(row: Row, arrays: Arrays) -> tuple[Call, Call]:
    import jax

    if jax.default_backend() != "gpu":
        raise Missing("JAX finds no GPU")
    jax.config.update("jax_default_matmul_precision", "highest")  # float32, as the others
    held: list[Any] = [jax.numpy.asarray(a) for a in arrays]
    last: list[Any] = []

    def function(*x: Any) -> Any:
        return (row.jax_function or row.function)(jax.numpy, *x)

    def step(*x: Any) -> Any:
        value, gradients = jax.value_and_grad(function, argnums=row.wrt)(*x)
        new = [x[k] - row.rate * g for k, g in zip(row.wrt, gradients)] if row.rate else gradients
        return value, new

    run = jax.jit(step if row.wrt else function)

    def call() -> Any:
        last[:] = [run(*held)]
        if row.rate:
            for k, new in zip(row.wrt, last[0][1]):
                held[k] = new
        return last[0][0] if row.wrt else last[0]

    return call, lambda: jax.block_until_ready(last)


CONTENDERS: dict[str, Callable[[Row, Arrays], tuple[Call, Call]]] = {
    "retrograd": retrograd,
    "torch": torch_eager,
    "torch.compile": torch_compile,
    "jax": jax_jit,
}


# ---- measuring ---------------------------------------------------------------------------------------------


def seconds(call: Call, wait: Call, burst: float = BURST) -> float:
    """The median time of a call among many that follow each other, after which the GPU is waited for."""

    def once(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            call()
        wait()
        return (time.perf_counter() - begin) / count

    once(1)
    count = max(1, int(burst / max(once(2), 1e-9)))
    return statistics.median(once(count) for _ in range(ROUNDS if burst else 1))


def copy_bandwidth(driver: Any, nbytes: int, burst: float) -> float:
    """Bytes read and written in a second by the driver's copy."""
    here, there = (driver.allocate(nbytes, 0) for _ in range(2))
    time_ = seconds(lambda: driver.copy_on_device(there, here, nbytes, 0), driver.synchronize, burst)
    for pointer in (here, there):
        driver.free(pointer, 0)
    return 2 * nbytes / time_


_CHAINS, _THREADS = 16, 256
_PEAK = """.version 6.3
.target sm_75
.address_size 64
.visible .entry peak(.param .u64 out)
{{
.reg .pred %p;
.reg .b32 %r<3>;
.reg .f32 %f<{registers}>;
.reg .b64 %rd<4>;
ld.param.u64 %rd1, [out];
mov.u32 %r1, %tid.x;
cvt.rn.f32.u32 %f{chains}, %r1;
{begin}
mov.u32 %r2, {turns};
$again:
{body}
sub.s32 %r2, %r2, 1;
setp.ne.s32 %p, %r2, 0;
@%p bra $again;
{total}
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
st.global.f32 [%rd3], %f0;
ret;
}}
"""


def fma_peak(driver: Any, turns: int, burst: float) -> float:
    """Operations in a second of independent multiply-adds in registers, two each."""
    chain = "\n".join(f"fma.rn.f32 %f{k}, %f{k}, %f{_CHAINS}, %f{k};" for k in range(_CHAINS))
    text = _PEAK.format(
        registers=_CHAINS + 1,
        chains=_CHAINS,
        turns=turns,
        begin="\n".join(f"add.f32 %f{k}, %f{_CHAINS}, 0f3F800000;" for k in range(_CHAINS)),
        body="\n".join([chain] * 8),
        total="\n".join(f"add.f32 %f0, %f0, %f{k};" for k in range(1, _CHAINS)),
    )
    module = driver.load_module(text.encode())
    kernel, out = driver.function(module, "peak"), driver.allocate(4 * _THREADS, 0)
    blocks = 1 if turns == 1 else 8 * driver.attribute(0, "MULTIPROCESSOR_COUNT")
    time_ = seconds(
        lambda: driver.launch(kernel, (blocks, 1, 1), (_THREADS, 1, 1), 0, [out]),
        driver.synchronize,
        burst,
    )
    driver.free(out, 0)
    driver.unload_module(module)
    return 2 * 8 * _CHAINS * turns * _THREADS * blocks / time_


def measured(row: Row, contenders: Sequence[str], tiny: bool) -> dict[str, Any]:
    """Seconds of a call of each contender, or why there is none."""
    arrays, found = row.inputs(row.tiny if tiny else row.size), {}
    for name in contenders:
        contender = CONTENDERS[name]
        try:
            found[name] = seconds(*contender(row, arrays), 0.0 if tiny else BURST)
        except (Missing, ImportError) as error:
            found[name] = str(error)
        except Exception as error:  # a peer that fails leaves a note
            if name == "retrograd":
                raise
            found[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return found


# ---- telling -----------------------------------------------------------------------------------------------


def line(row: Row, times: dict[str, Any], size: int, bandwidth: float, peak: float) -> str:
    """A row of the table: microseconds, and our share of what the GPU can do."""
    cells = [f"{1e6 * t:.1f}" if isinstance(t, float) else "–" for t in times.values()]
    ours, share = times["retrograd"], ""
    if row.nbytes:
        share = f"{100 * row.nbytes(size) / ours / bandwidth:.0f} % of bandwidth"
    elif row.flops:
        share = f"{100 * row.flops(size) / ours / peak:.0f} % of peak"
    return f"| {row.name} | {row.about} | {' | '.join(cells)} | {share} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to run, by how their names begin")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, once: does it run?")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--into", type=Path, help="where results are written")
    options = parser.parse_args(arguments)
    from retrograd.compiler.errors import DeviceError
    from retrograd.runtime.cuda import driver as drivers

    try:
        driver = drivers.current()
    except DeviceError as error:
        sys.exit(f"no GPU, so nothing is measured: {error}")
    driver.set_context(driver.retain_context(0))
    machine = {
        "date": datetime.date.today().isoformat(),
        "gpu": driver.device_name(0),
        "driver": driver.version(),
    }
    bandwidth = copy_bandwidth(driver, TINY_COPIED if options.tiny else COPIED, 0 if options.tiny else BURST)
    peak = fma_peak(driver, 1 if options.tiny else 4096, 0 if options.tiny else BURST)
    machine |= {"copy bytes/s": bandwidth, "fma flop/s": peak}
    title = (
        f"{machine['gpu']}, {machine['date']}: copies {bandwidth / 1e9:.0f} GB/s, {peak / 1e12:.2f} TFLOP/s"
    )
    contenders = ["retrograd"] if options.alone else [*CONTENDERS]
    table = [
        f"| row | | {' | '.join(f'{name} µs' for name in contenders)} | |",
        "|" + "---|" * (len(contenders) + 3),
    ]
    print(title, *table, sep="\n", flush=True)
    results = {}
    for row in ROWS:
        if not options.rows or row.name.startswith(tuple(options.rows)):
            results[row.name] = measured(row, contenders, options.tiny)
            size = row.tiny if options.tiny else row.size
            table.append(line(row, results[row.name], size, bandwidth, peak))
            print(table[-1], flush=True)
    partial = options.tiny or options.rows or options.alone
    into = options.into or (None if partial else RESULTS)
    if into:
        stem = "-".join([machine["date"], *re.findall(r"[a-z0-9]+", machine["gpu"].lower())])
        into.mkdir(exist_ok=True)
        (into / f"{stem}.json").write_text(json.dumps(machine | {"rows": results}, indent=1) + "\n")
        (into / f"{stem}.md").write_text("\n".join([title, "", *table]) + "\n")


if __name__ == "__main__":
    main()
