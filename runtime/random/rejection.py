"""Laws that draw until a number is accepted: gamma, Poisson and binomial numbers.

In flow a generator's state and for each element parameters of its own, one record after the other, which
`chances.py` works out; out flow doubles in order. The functions here only draw, accept and reject, with
PyTorch's arithmetic.

Sources: G. Marsaglia and W. Tsang, "A simple method for generating gamma variables" (2000), with the float32
constant 0.0331 that PyTorch's kernel has; W. Hörmann, "The transformed rejection method for generating
Poisson random variables" (1993) and "The generation of binomial random variates" (1993); of few expected
events the products of uniform numbers, or sums of geometric ones, of L. Devroye, "Non-uniform random variate
generation" (1986), X.3 and X.4.
"""

from __future__ import annotations

import math

import numpy as np

from retrograd.compiler.native.language import (
    Array,
    Record,
    cast,
    ceil,
    constants,
    exported,
    floor,
    native,
    sqrt,
)
from retrograd.runtime.native.mathematics import exp, lgamma, log, pow
from retrograd.runtime.random.normal import standard
from retrograd.runtime.random.twister import State
from retrograd.runtime.random.uniform import unit


# --- gamma --------------------------------------------------------------------------------------------------
class Gamma(Record):
    boost: float
    """1 / a where a < 1, else 0."""
    d: float
    """a - 1/3, of a + 1 where a < 1."""
    c: float
    """1 / sqrt(9 d)."""
    least: float
    """The least result."""


SQUEEZE = float(np.float32(0.0331))


@exported
def gamma(state: State, to: Array[float], count: int, laws: Array[float]) -> None:
    for i in range(count):
        to[i] = one_gamma(state, cast(Gamma, laws + 4 * i))


@native
def one_gamma(state: State, law: Gamma) -> float:
    if law.boost == math.inf:
        return law.least
    scale = pow(1.0 - unit(state), law.boost) if law.boost > 0.0 else 1.0
    while True:
        x = standard(state)
        y = law.c * x + 1.0
        if y <= 0.0:
            continue
        v = y * y * y
        u = 1.0 - unit(state)
        square = x * x
        if u < 1.0 - square * SQUEEZE * square:
            break
        if log(u) < square * 0.5 + law.d * (1.0 - v + log(v)):
            break
    value = scale * law.d * v
    return value if value > law.least else law.least


# --- Poisson ------------------------------------------------------------------------------------------------
class Poisson(Record):
    rate: float


@exported
def poisson(state: State, to: Array[float], count: int, laws: Array[float]) -> None:
    for i in range(count):
        rate = laws[i]
        to[i] = poisson_of_many(state, rate) if rate >= 10.0 else poisson_of_few(state, rate)


@native
def poisson_of_few(state: State, rate: float) -> float:
    """So many numbers whose product is still above exp(-rate)."""
    if rate == 0.0:
        return 0.0
    events, product, end = 0.0, 1.0, exp(-rate)
    while True:
        product *= unit(state)
        if not product > end:
            return events
        events += 1.0


@native
def poisson_of_many(state: State, rate: float) -> float:
    log_rate = log(rate)
    b = sqrt(rate) * 2.53 + 0.931
    a = b * 0.02483 - 0.059
    log_alpha = log(1.1328 / (b - 3.4) + 1.1239)
    v_quick = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = unit(state) - 0.5
        v = unit(state)
        us = 0.5 - abs(u)
        k = floor((a * 2.0 / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_quick:
            return k
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        if log(v) + log_alpha - log(a / (us * us) + b) <= k * log_rate - rate - lgamma(k + 1.0):
            return k


# --- binomial -----------------------------------------------------------------------------------------------
class Binomial(Record):
    way: float
    """What is to be done: 0, the value is known; 1, sums of geometric numbers; 2, rejection."""
    failures: float
    """Whether failures are counted."""
    count: float
    """Of trials."""
    log_failure: float
    """log(1 - p), or the value that is known."""
    b: float
    a: float
    c: float
    v_quick: float
    r: float
    alpha: float
    m: float


TAILS = constants(
    Array[float], "tails",
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip
"""log(k!) less Stirling's formula, for k up to 9 (Hörmann, table 1)."""


@exported
def binomial(state: State, to: Array[float], count: int, laws: Array[float]) -> None:
    for i in range(count):
        law = cast(Binomial, laws + 11 * i)
        if law.way == 0.0:
            to[i] = law.log_failure
            continue
        events = binomial_of_few(state, law) if law.way == 1.0 else binomial_of_many(state, law)
        to[i] = law.count - events if law.failures != 0.0 else events


@native
def binomial_of_few(state: State, law: Binomial) -> float:
    """So many geometric numbers fit into the trials."""
    events, trials = 0.0, 0.0
    while True:
        trials += ceil(log(unit(state)) / law.log_failure)
        if trials > law.count:
            return events
        events += 1.0


@native
def binomial_of_many(state: State, law: Binomial) -> float:
    n, m, r = law.count, law.m, law.r
    while True:
        u = unit(state) - 0.5
        v = unit(state)
        us = 0.5 - abs(u)
        k = floor((law.a * 2.0 / us + law.b) * u + law.c)
        if k < 0.0 or k > n:
            continue
        if us >= 0.07 and v <= law.v_quick:
            return k
        log_v = log(v * law.alpha / (law.a / (us * us) + law.b))
        bound = (m + 0.5) * log((m + 1.0) / (r * (n - m + 1.0)))
        bound += (n + 1.0) * log((n - m + 1.0) / (n - k + 1.0))
        bound += (k + 0.5) * log(r * (n - k + 1.0) / (k + 1.0))
        if log_v <= bound + tail(m) + tail(n - m) - tail(k) - tail(n - k):
            return k


@native
def tail(k: float) -> float:
    """log(k!) less Stirling's formula."""
    if k < 10.0:
        return TAILS[cast(int, k)]
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)
