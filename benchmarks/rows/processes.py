"""What a whole process needs: time from its start to the first gradient, time to import, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

from harness import Call, Row, Setup

DATA = """
import numpy as np
r = np.random.default_rng(0)
x, y, w1, w2 = (r.standard_normal(s).astype("f") for s in [(64, 1000), (64, 10), (1000, 100), (100, 10)])
def loss(x, y, w1, w2):
    return ((x @ w1).clip(0) @ w2 - y).__pow__(2).sum()
"""
TAPE = """
x, y, w1, w2 = map(lib.as_tensor, (x, y, w1, w2))
w1.requires_grad_(), w2.requires_grad_()
loss(x, y, w1, w2).backward()
"""
FIRST_GRADIENT = {
    "compiled": DATA
    + "import retrograd as rg\nrg.compile_grad(wrt=(2, 3))(loss).value_and_grad(x, y, w1, w2)",
    "eager": DATA + "import retrograd as lib" + TAPE,
    "torch": DATA + "import torch as lib" + TAPE,
    "torch.compile": DATA + "import torch as lib\nloss = lib.compile(loss)" + TAPE,
    "jax": DATA
    + "import jax\njax.block_until_ready(jax.jit(jax.value_and_grad(loss, (2, 3)))(x, y, w1, w2))",
}

IMPORT = "import time\nbegin = time.perf_counter()\nimport {}\nprint(time.perf_counter() - begin)"
IMPORTS = {
    name: IMPORT.format(library)
    for name, library in (("compiled", "retrograd"), ("numpy", "numpy"), ("torch", "torch"), ("jax", "jax"))
}

COUNT = 10**8
ELEMENTWISE = f"""
import numpy, pathlib, re
def status(key):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(key + r":\\s+(\\d+)", text)[1]) / 1024
def loss(z):
    square = z * z
    return (lib.sin(z) * lib.exp(-square) + lib.tanh(z) * lib.log1p(square)).sum()
def tape(z):
    loss(z).backward()
    gradient, z.grad = z.grad, None
    return gradient
def measure(run, z):
    result = run(z)
    del result
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    result = run(z)
    float(result[0])  # JAX may still be at work
    print(status("VmHWM") - before + {COUNT} * 4 / 2**20)
"""
"""A call's peak above what was there before, and the input itself; of the second call, as the first
compiles."""
POINT = f"lib.full(({COUNT},), 0.5)"
MEMORY = {
    name: f"{ELEMENTWISE}import {library} as lib\n{line}"
    for name, library, line in (
        ("compiled", "retrograd", f"measure(lib.compile_grad(wrt=(0,))(loss).value_and_grad, {POINT})"),
        ("eager", "retrograd", f"measure(tape, {POINT}.requires_grad_())"),
        ("torch", "torch", f"measure(tape, {POINT}.requires_grad_())"),
        ("torch.compile", "torch", f"loss = lib.compile(loss)\nmeasure(tape, {POINT}.requires_grad_())"),
        ("jax", "jax.numpy", f"import jax\nmeasure(jax.jit(jax.value_and_grad(loss)), {POINT})"),
    )
}


def warm_caches(folder: str) -> dict[str, str]:
    """An environment in which each library keeps what it compiles in this folder, and Python its bytecode."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "RETROGRAD_CACHE": "1",
        "RETROGRAD_CACHE_DIR": folder,
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "0",
        "TORCHINDUCTOR_CACHE_DIR": folder,
        "JAX_ENABLE_X64": "0",
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def process(program: str, read: Callable[[str], float | None]) -> Setup:
    """A new Python process with this program, where caches on disk are warm from the second run on."""

    def setup() -> Call:
        folder = tempfile.TemporaryDirectory()

        def call() -> float | None:
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, env=warm_caches(folder.name), capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(
                    done.stderr.strip().splitlines()[-1] if done.stderr else f"{done.returncode}"
                )
            return read(done.stdout)

        return call

    return setup


def contenders(programs: Mapping[str, str], read: Callable[[str], float | None]) -> dict[str, Setup]:
    return {name: process(program, read) for name, program in programs.items()}


ROWS = (
    Row(
        "first_gradient",
        "a new process to its first gradient, disk cache warm, imports included",
        contenders(FIRST_GRADIENT, lambda _: None),
        goal=3,
        rounds=5,
        compiles=False,
    ),
    Row(
        "import",
        "import of the library (NumPy's own is part of ours)",
        contenders(IMPORTS, float),
        against="jax",
        timed=False,
        compiles=False,
        limit=0.2,
        rounds=7,
        tolerance=float("inf"),
    ),
    Row(
        "memory",
        "peak memory of the elementwise row, 10⁸ f32",
        contenders(MEMORY, float),
        limit=1.05 * 2 * COUNT * 4 / 2**20,
        unit="MiB",
        timed=False,
        compiles=False,
        rounds=1,
        tolerance=float("inf"),
    ),
)
