"""NumPy, loaded so that the threads of its OpenBLAS soon sleep when they have nothing to do.

That library starts its threads when it is loaded, and each of them spins for 2^26 cycles before it sleeps:
here 26 ms, on processors that importing and the first program need. It reads how long from the environment
when it is loaded, and not again (`openblas_read_env` and `blas_thread_init`, in OpenBLAS 0.3's
`driver/others`).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

_VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
_EXPONENT = "24"
"""Of the cycles: 6 ms. Where NumPy's products are further apart, waking a thread for the next takes 80 µs."""


def load_numpy() -> None:
    """Import NumPy, if nobody has yet, and leave the environment as it was. Where that says how long threads
    spin, so they do."""
    if "numpy" in sys.modules or _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = _EXPONENT
    try:
        import_module("numpy")
    finally:
        del os.environ[_VARIABLE]
