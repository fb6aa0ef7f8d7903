"""Matrix products: GFLOP/s of ours, NumPy and torch, each the median of turns that they take, and our
share of the peak.

    python benchmarks/gemm.py [--threads N] [ROW …]

A row is `MxKxN`, with the layout (`NT`: the right operand lies transposed in memory), f64 or a batch
(`b100`) after it: `64x64x64:TN:f64`. Compiled products are called without the runtime's guards. The peak is
what independent multiply-adds in registers reach, measured on the spot. One thread is measured in processor
time, which a busy machine blurs less; with more, a turn begins when the threads of the one before have come
to rest.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from harness import come_to_rest

_SQUARES = (8, 16, 32, 64, 100, 127, 128, 256, 512, 1024)
ROWS = [
    *(f"{n}x{n}x{n}" for n in _SQUARES),
    *(f"{n}x{n}x{n}:{layout}" for n in (16, 64, 256, 1024) for layout in ("NT", "TN", "TT")),
    *(f"{n}x{n}x{n}:f64" for n in (8, 64, 256, 1024)),
    "64x1000x100", "64x100x10", "64x10x100:NT", "100x64x10:TN", "1000x64x100:TN",
    "1x1000x1000", "1x1000x1000:NT", "1000x1000x1", "1000x1000x1:TN", "1000x1000x10", "10x1000x1000:NT",
    "16x16x16:b1000", "64x64x64:b100:NT",
]  # fmt: skip
"""What is measured if no rows are named."""
_LINE = 64
"""Bytes of a line of the cache."""
TURNS, BURST = 9, 0.01
"""Turns of each contender, and the seconds that one takes at least."""


def parse(row: str) -> tuple[int, int, int, str, str, int]:
    """m, k, n, layout, dtype, size of the batch."""
    sizes, *more = row.split(":")
    m, k, n = map(int, sizes.split("x"))
    layout = next((x for x in more if x in ("NN", "NT", "TN", "TT")), "NN")
    batch = next((int(x[1:]) for x in more if x[0] == "b"), 1)
    return m, k, n, layout, "f8" if "f64" in more else "f4", batch


def lined(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array that begins with a line of the cache, as the runtime's do: threads share no line."""
    import numpy as np

    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def ours(a: Any, b: Any, layout: str) -> tuple[Any, Callable[[], None]]:
    """Our result's array, and a call that fills it. Both hold what they need."""
    from retrograd.compiler import dtypes
    from retrograd.compiler.backends.cpu import Target, assemble
    from retrograd.compiler.ir.graph import Builder, Graph, Type
    from retrograd.compiler.ops.contract import dot, transpose
    from retrograd.compiler.pipeline import compile_graph
    from retrograd.runtime.native import cpu

    builder = Builder()
    with builder.at(None):
        inputs = [builder.input(name, Type(x.shape, dtypes.of(x))) for name, x in (("a", a), ("b", b))]
        out = dot(*(transpose(x) if side == "T" else x for x, side in zip(inputs, layout)))
    compiled = compile_graph(Graph("product", tuple(inputs), (out,)), Target.host())
    library = cpu.load(assemble(compiled.llvm, Target.host()))
    result, arena = lined(out.shape, a.dtype), lined((compiled.loops.arena_bytes,), "u1")
    arguments = (ctypes.c_void_p * 4)(*(x.ctypes.data for x in (a, b, result, arena)))
    entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("product"))
    return result, lambda keep=(library, arena, a, b, result): entry(arguments)  # type: ignore[misc]


def contenders(row: str) -> tuple[float, dict[str, Callable[[], Any]]]:
    """Floating-point operations of the row, and each contender's call."""
    import numpy as np
    import torch

    m, k, n, layout, dtype, batch = parse(row)
    random, lead = np.random.default_rng(0), (batch,) if batch > 1 else ()
    a, b = (
        lined((*lead, *(size if side == "N" else size[::-1])), dtype)
        for size, side in zip(((m, k), (k, n)), layout)
    )
    for operand in (a, b):
        operand[...] = random.standard_normal(operand.shape)
    result, call = ours(a, b, layout)
    left, right = (x.swapaxes(-1, -2) if side == "T" else x for x, side in zip((a, b), layout))
    out, tensors = lined(result.shape, dtype), (torch.from_numpy(left), torch.from_numpy(right))
    torch_out = torch.from_numpy(lined(result.shape, dtype))
    call()
    np.testing.assert_allclose(result, left @ right, rtol=1e-3, atol=1e-3 * k**0.5)
    calls = {
        "ours": call,
        "numpy": lambda: np.matmul(left, right, out=out),
        "torch": lambda: torch.matmul(*tensors, out=torch_out),
    }
    return 2.0 * m * k * n * batch, calls


def medians(calls: dict[str, Callable[[], Any]], clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of a call of each."""
    counts, times = {}, {name: list[float]() for name in calls}
    for name, call in calls.items():
        call()
        begin = clock()
        call()
        counts[name] = max(1, int(BURST / max(clock() - begin, 1e-7)))
    for _ in range(TURNS):
        for name, call in calls.items():
            come_to_rest()
            call()
            begin = clock()
            for _ in range(counts[name]):
                call()
            times[name].append((clock() - begin) / counts[name])
    return {name: statistics.median(found) for name, found in times.items()}


def peak(kind: str, chains: int = 24, rounds: int = 1_000_000) -> float:
    """GFLOP/s of one thread that does nothing but multiply-adds in registers."""
    from retrograd.compiler.backends.cpu import Target, assemble
    from retrograd.compiler.backends.module import Module, quoted
    from retrograd.compiler.backends.vector import Block, Value, fma
    from retrograd.runtime.native import cpu

    target = Target.host()
    lanes = target.lanes(4 if kind == "f32" else 8)
    chains = min(chains, target.registers - 4)
    block, module = Block(), Module("nounwind", target.vector_bits)
    one = block.constant(kind, lanes, 1.0).type
    x = block.emit(f"load {one}, ptr %args, align 4", kind, lanes)
    block.do("br label %loop")
    block.label("loop")
    count = block.emit("phi i64 [ 0, %entry ], [ %next, %loop ]", "i64")
    names = [f"%after{c}" for c in range(chains)]
    before = [block.emit(f"phi {one} [ {x.ref}, %entry ], [ {name}, %loop ]", kind, lanes) for name in names]
    after = [fma(x, x, value) for value in before]
    block.lines = [_renamed(line, after, names) for line in block.lines]
    block.do(f"%next = add i64 {count.ref}, 1")
    more = block.emit(f"icmp slt i64 %next, {rounds}", "i1")
    block.do(f"br i1 {more.ref}, label %loop, label %done")
    block.label("done")
    total = Value(block, names[0], kind, lanes)
    for name in names[1:]:
        total = total + Value(block, name, kind, lanes)
    block.do(f"store {one} {total.ref}, ptr %args, align 4")
    module.add(f"{quoted('peak')}(ptr %args)", (), block, internal=False)
    library = cpu.load(assemble(str(module), target))
    entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("peak"))
    memory = (ctypes.c_char * 256)()
    seconds = medians({"peak": lambda: entry(memory)}, time.process_time)["peak"]
    return 2 * lanes * chains * rounds / seconds / 1e9


def _renamed(line: str, values: list[Any], names: list[str]) -> str:
    """A line that defines one of the values defines the name instead."""
    for value, name in zip(values, names):
        if line.startswith(f"  {value.ref} = "):
            return line.replace(value.ref, name, 1)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("rows", nargs="*", default=ROWS)
    options = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    import torch

    from retrograd.runtime.native import cpu

    clock = time.process_time if options.threads == 1 else time.perf_counter
    torch.set_num_threads(options.threads)
    cpu.set_num_threads(options.threads)
    most = {kind: peak(kind) * options.threads for kind in ("f32", "f64")}
    print(f"threads {options.threads}; peak f32 {most['f32']:.0f}, f64 {most['f64']:.0f} GFLOP/s")
    print(f"{'row':24}{'ours':>8}{'numpy':>8}{'torch':>8}{'ratio':>8}{'of peak':>9}")
    for row in options.rows:
        work, calls = contenders(row)
        figures = {name: work / seconds / 1e9 for name, seconds in medians(calls, clock).items()}
        ratio = figures["ours"] / max(figures["numpy"], figures["torch"])
        share = figures["ours"] / most["f64" if ":f64" in row else "f32"]
        print(
            f"{row:24}" + "".join(f"{f:8.1f}" for f in figures.values()) + f"{ratio:8.2f}{share:9.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
