"""The native functions that draw: made when one is first asked for, and kept in the cache as object code.

In flows the name of a function of `_DRAWN`, out flows a function of `(state, to, count, parameters)`, three
addresses and a number. It runs under the interpreter's lock.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from retrograd.runtime.native import cpu
from retrograd.runtime.random import normal, orders, rejection, twister, uniform

_Drawing = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)

_DRAWN: list[Callable[..., object]] = [
    *(twister.words, twister.ready, twister.temper),
    *(uniform.unit_f32, uniform.unit_f64, uniform.uniform_f32, uniform.uniform_f64),
    *(uniform.whole_i64, uniform.whole_wide_i64, uniform.pairs_i64),
    *(uniform.whether_i8, uniform.whether_i16, uniform.whether_i32, uniform.whether_i64),
    *(uniform.below_f32, uniform.below_f64),
    *(uniform.exponential_f32, uniform.exponential_f64, uniform.cauchy_f32, uniform.cauchy_f64),
    *(uniform.geometric_f32, uniform.geometric_f64),
    *(orders.order_i64, orders.order_wide_i64),
    *(normal.normal_f32, normal.normal_f64, normal.log_normal_f32, normal.log_normal_f64),
    *(rejection.gamma, rejection.poisson, rejection.binomial),
]


@cache
def _library() -> cpu.Library:
    return cpu.load_native("random", lambda: _DRAWN, {}, {})


@cache
def address(name: str) -> int:
    """Where the function begins. It stays there."""
    return _library().address(name)


@cache
def native(name: str) -> Callable[[int, int, int, int], None]:
    """The function, called from Python."""
    return _Drawing(address(name))
