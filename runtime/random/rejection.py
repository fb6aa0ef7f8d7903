"""Laws that draw until a number is accepted: gamma, Poisson and binomial numbers.

In flow a generator's state and for each element parameters of its own, in the dtype in which PyTorch works
out what depends on them alone; out flow numbers in order. The arithmetic is PyTorch's.

Sources: G. Marsaglia and W. Tsang, "A simple method for generating gamma variables" (2000), with the float32
constant 0.0331 that PyTorch's kernel has; W. Hörmann, "The transformed rejection method for generating
Poisson random variables" (1993) and "The generation of binomial random variates" (1993); of few expected
events the products of uniform numbers, or sums of geometric ones, of L. Devroye, "Non-uniform random variate
generation" (1986), X.3 and X.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from retrograd.compiler.native.language import (
    Array,
    Float32,
    Floating,
    Record,
    cast,
    ceil,
    constants,
    exported,
    floor,
    inlined,
    native,
    sqrt,
    stack,
)
from retrograd.runtime.native.mathematics import exp, lgamma, log, log1p, log1pf, pow
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


THIRD = float(np.float32(1) / np.float32(3))
SQUEEZE = float(np.float32(0.0331))


@exported
def gamma_f32(state: State, to: Array[Float32], count: int, concentrations: Array[Float32]) -> None:
    gammas(state, to, count, concentrations, 2.0**-126)


@exported
def gamma_f64(state: State, to: Array[float], count: int, concentrations: Array[float]) -> None:
    gammas(state, to, count, concentrations, 2.0**-1022)


@inlined
def gammas(
    state: State, to: Array[Floating], count: int, concentrations: Array[Floating], least: float
) -> None:
    """Gamma numbers of rate 1. What depends on the concentration alone is rounded as elements are, by being
    put where the result will be."""
    law = stack(Gamma)
    law.least = least
    for i in range(count):
        a = concentrations[i]
        to[i] = a + 1.0 if a < 1.0 else a
        to[i] = to[i] - THIRD
        law.d = to[i]
        law.c = 1.0 / sqrt(law.d * 9.0)
        to[i] = 1.0 / a if a > 0.0 else math.inf
        law.boost = to[i] if a < 1.0 else 0.0
        to[i] = one_gamma(state, law)


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
@exported
def poisson_f32(state: State, to: Array[Float32], count: int, operands: Array[Array[Float32]]) -> bool:
    return poissons(state, to, count, operands[0])


@exported
def poisson_f64(state: State, to: Array[float], count: int, operands: Array[Array[float]]) -> bool:
    return poissons(state, to, count, operands[0])


@inlined
def poissons(state: State, to: Array[Floating], count: int, rates: Array[Floating]) -> bool:
    """Poisson numbers; false, and nothing is drawn, where a rate is negative or none."""
    for i in range(count):
        if not rates[i] >= 0.0:
            return False
    for i in range(count):
        rate = rates[i]
        to[i] = poisson_of_many(state, rate) if rate >= 10.0 else poisson_of_few(state, rate)
    return True


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
    """What the rejection goes by, of at least 10 expected events."""

    count: float
    """Of trials."""
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
def binomial_f32(state: State, to: Array[Float32], count: int, operands: Array[Array[Float32]]) -> bool:
    return binomials(state, to, count, operands[0], operands[1], log1pf)


@exported
def binomial_f64(state: State, to: Array[float], count: int, operands: Array[Array[float]]) -> bool:
    return binomials(state, to, count, operands[0], operands[1], log1p)


@inlined
def binomials(
    state: State, to: Array[Floating], count: int, trials: Array[Floating], chances: Array[Floating],
    log_of_rest: Callable[[float], float],
) -> bool:  # fmt: skip
    """How many trials succeed, whatever the chances. More probable than not, failures are counted."""
    law = stack(Binomial)
    for i in range(count):
        n, chance = trials[i], chances[i]
        if not n > 0.0 or not chance > 0.0 or not chance < 1.0:
            to[i] = chance if chance != chance else n if n > 0.0 and chance >= 1.0 else 0.0
            continue
        to[i] = 1.0 - chance if chance > 0.5 else chance
        p = to[i]
        to[i] = n * p
        if to[i] >= 10.0:
            work_out(law, to + i, n, p)
            events = binomial_of_many(state, law)
        else:
            events = binomial_of_few(state, n, log_of_rest(-p))
        to[i] = n - events if chance > 0.5 else events
    return True


@inlined
def work_out(law: Binomial, place: Array[Floating], n: float, p: float) -> None:
    """The law, of numbers that are rounded as elements are by being put in a place, where their mean is."""
    law.count, law.c = n, place[0] + 0.5
    mean = place[0]
    place[0] = 1.0 - p
    rest = place[0]
    place[0] = p / rest
    law.r = place[0]
    place[0] = mean * rest
    place[0] = sqrt(place[0])
    deviation = place[0]
    law.b = 1.15 + 2.53 * deviation
    law.a = -0.0873 + 0.0248 * law.b + 0.01 * p
    law.v_quick = 0.92 - 4.2 / law.b
    law.alpha = (2.83 + 5.1 / law.b) * deviation
    place[0] = n + 1.0
    place[0] = place[0] * p
    law.m = floor(place[0])


@native
def binomial_of_few(state: State, count: float, log_failure: float) -> float:
    """So many geometric numbers fit into the trials."""
    events, trials = 0.0, 0.0
    while True:
        trials += ceil(log(unit(state)) / log_failure)
        if trials > count:
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
