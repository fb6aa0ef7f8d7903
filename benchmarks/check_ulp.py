"""The largest error of f32 functions over all 2**32 inputs, in units in the last place.

    python benchmarks/check_ulp.py [--stride N] [NAME ...]

The references are NumPy's and SciPy's functions in f64. Without names: every function of one argument. A
stride takes every N-th bit pattern; at stride 1 a function takes minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from vector_functions import REFERENCES, arity, errors, native

from retrograd.compiler.backends.math import BOUNDS

CHUNK = 1 << 22


def worst(name: str, stride: int) -> tuple[float, float]:
    """The largest error, and an input that makes it."""
    function, largest, where = native(name, "f32"), -1.0, 0.0
    for start in range(0, 1 << 32, CHUNK * stride):
        patterns = np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, dtype=np.uint64)
        x = patterns.astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            off = errors(function(x), REFERENCES[name](x.astype(np.float64)))
        k = int(np.argmax(off))
        if off[k] > largest:
            largest, where = float(off[k]), float(x[k])
    return largest, where


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[name for name in BOUNDS if arity(name) == 1])
    parser.add_argument("--stride", type=int, default=1)
    chosen = parser.parse_args()
    for name in chosen.names:
        before = time.perf_counter()
        error, x = worst(name, chosen.stride)
        verdict = "" if error <= BOUNDS[name]["f32"] else f"  ABOVE the bound of {BOUNDS[name]['f32']}"
        took = time.perf_counter() - before
        print(f"{name:10} {error:8.3f} ulp at {x!r:24} {took:6.1f} s{verdict}", flush=True)


if __name__ == "__main__":
    main()
