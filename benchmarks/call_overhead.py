"""What a call costs before any arithmetic: nanoseconds, the best of several runs, beside the alternatives.

    python benchmarks/call_overhead.py

In flows nothing; out flows a table. A new way to call is a row of `rows`.
"""

from __future__ import annotations

import ctypes
import sys
import timeit
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from retrograd.compiler.backends.cpu import Target, assemble
from retrograd.runtime.native import cpu
from retrograd.runtime.native.fastcall import make
from retrograd.runtime.native.ports import ArrayPort, FloatPort, OutputPort, Port, TensorPort
from retrograd.runtime.tensor import Tensor

NOTHING = "define void @nothing(ptr %args) nounwind {\n  ret void\n}\n"
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
VECTOR, SCALAR = ArrayPort(F32, (8,)), FloatPort(F64)
TENSOR = TensorPort(
    Tensor,
    "_value",
    F32,
    (8,),
    dict.fromkeys(("_edge", "_grad", "_counter", "_view", "_leaf")) | {"_requires_grad": False},
)


def nanoseconds(statement: str, **names: Any) -> float:
    """The time of one execution; the loop around it is not counted."""
    number = 100_000

    def best(text: str) -> float:
        return min(timeit.repeat(text, globals=names, number=number, repeat=9)) / number * 1e9

    return best(statement) - best("pass")


def rows() -> Iterator[tuple[str, float]]:
    """(what is called, ns)."""
    library = cpu.load(assemble(NOTHING, Target.host()))
    entry = library.address("nothing")
    x, tensor = np.zeros(8, np.float32), Tensor(np.zeros(8, np.float32))

    def native(
        arguments: list[Port], outputs: list[OutputPort], returns: Any, **more: Any
    ) -> Callable[..., Any]:
        return make("nothing", entry, arguments, outputs, 0, lambda *_: None, returns, keep=library, **more)

    def plain(x: object) -> object:
        return x

    def foreign(x: Any) -> Any:
        out = np.empty(8, np.float32)
        bare((ctypes.c_void_p * 2)(x.ctypes.data, out.ctypes.data))
        return out

    bare = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)
    five: list[OutputPort] = [SCALAR, *[VECTOR] * 4]
    yield "Python function, x → x", nanoseconds("f(x)", f=plain, x=x)
    yield "np.empty(8), which each array given back costs too", nanoseconds("f(8)", f=np.empty)
    yield "ctypes, a ready pointer → nothing", nanoseconds("f(0)", f=bare)
    yield "ctypes, array → array", nanoseconds("f(x)", f=foreign, x=x)
    yield "native, float → float", nanoseconds("f(1.5)", f=native([SCALAR], [SCALAR], 0))
    yield "native, array → float", nanoseconds("f(x)", f=native([VECTOR], [SCALAR], 0), x=x)
    yield "native, array → array", nanoseconds("f(x)", f=native([VECTOR], [VECTOR], 0), x=x)
    yield (
        "native, array → (float, array)",
        nanoseconds("f(x)", f=native([VECTOR], [SCALAR, VECTOR], (0, 1)), x=x),
    )
    yield "native, Tensor → Tensor", nanoseconds("f(x)", f=native([TENSOR], [TENSOR], 0), x=tensor)
    yield (
        "native, 4 arrays → (float, (4 arrays))",
        nanoseconds("f(x, x, x, x)", f=native([VECTOR] * 4, five, (0, (1, 2, 3, 4))), x=x),
    )
    yield (
        "native, array → float, interpreter's lock released",
        nanoseconds("f(x)", f=native([VECTOR], [SCALAR], 0, long_running=True), x=x),
    )
    yield "native, a miss that is a Python function", nanoseconds("f(1)", f=native([VECTOR], [SCALAR], 0))


def main() -> None:
    """Print the table."""
    print(f"CPython {sys.version.split()[0]}, NumPy {np.__version__}, {Target.host().cpu}")
    for what, time in rows():
        print(f"{time:7.0f} ns  {what}")


if __name__ == "__main__":
    main()
