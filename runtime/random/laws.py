"""Laws: what random numbers are like, as records that native code can follow.

In flow a distribution's parameters and a dtype, out flows a `Law`, which fills arrays from a generator. What
native code cannot write (halves, mostly) it writes in a wider dtype, which is then rounded: PyTorch, too,
reaches halves by way of float32. Other laws can be drawn without Python (`is_direct`). A new distribution is
a function here, and its code in `uniform.py` or a file beside it.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored
from retrograd.compiler.ir.graph import Array
from retrograd.runtime.names import bare_legacy_name
from retrograd.runtime.native.buffers import empty
from retrograd.runtime.random.generator import Generator
from retrograd.runtime.random.native import address, native

DType = np.dtype[Any]

_KINDS = {"f": "f32", "d": "f64"}
_F32, _F64, _I64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


class Law:
    """A distribution of numbers of one dtype."""

    __slots__ = ("_wrap", "_words", "dtype", "name", "parameters", "written")

    def __init__(
        self,
        name: str,
        words: Sequence[int],
        written: DType,
        dtype: DType,
        wrap: tuple[float, float] | None = None,
    ) -> None:
        self.name = name
        self.written = written
        """The dtype in which native code writes."""
        self.dtype = dtype
        self._wrap = wrap
        """A number that is excluded, which rounding reaches, and what stands for it."""
        self._words = (ctypes.c_int64 * max(len(words), 1))(*words)
        self.parameters = ctypes.addressof(self._words)
        """Where native code finds the parameters."""

    @property
    def is_direct(self) -> bool:
        """Whether native code writes just these numbers."""
        return self.written == self.dtype

    @property
    def address(self) -> int:
        """The native function."""
        return address(self.name)

    def draw(self, shape: Sequence[int], generator: Generator) -> Array:
        """An array of such numbers."""
        array: Array = empty(shape, self.written)
        native(self.name)(generator.address, array.ctypes.data, prod(shape), self.parameters)
        if self.is_direct:
            return array
        found = array.astype(self.dtype)
        if self._wrap is not None:
            end, begin = self._wrap
            found[found == self.dtype.type(end)] = begin
        return found


class _OfPairs(Law):
    """Complex numbers whose real and imaginary parts are of one law, drawn one after the other."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Law, dtype: DType) -> None:
        super().__init__(parts.name, (), parts.dtype, dtype)
        self._parts = parts

    def draw(self, shape: Sequence[int], generator: Generator) -> Array:
        """An array of such numbers."""
        pairs = self._parts.draw((*shape, 2), generator)
        return pairs.view(self.dtype).reshape(tuple(shape))


def _single(x: float) -> int:
    return int.from_bytes(struct.pack("<f", np.float32(x)), "little")


def _double(x: float) -> int:
    return int.from_bytes(struct.pack("<d", x), "little", signed=True)


def _floating(dtype: DType) -> DType:
    """The dtype in which numbers of this one are drawn."""
    return _F64 if dtype == _F64 else _F32


def _real(dtype: DType) -> DType:
    """That of the parts of complex numbers."""
    return _F64 if dtype.itemsize == 16 else _F32


@lru_cache
def saved() -> Law:
    """The bytes of the generator's own state: no number is drawn."""
    return Law("saved", (), np.dtype(np.uint8), np.dtype(np.uint8))


@lru_cache
def unit(dtype: DType) -> Law:
    """Numbers in [0, 1): multiples of 2⁻⁵³ in float64, of 2⁻²⁴ in float32, for any other dtype."""
    wide = _floating(dtype)
    return Law(f"unit_{_KINDS[wide.char]}", (), wide, wide)


@lru_cache
def judged(name: str, dtype: DType) -> Law:
    """Numbers whose parameters are operands of this dtype, float32 or float64, by functions of this name."""
    return Law(f"{name}_{_KINDS[dtype.char]}", (), dtype, dtype)


@lru_cache
def weighted(columns: int, samples: int, replacement: bool, dtype: DType) -> Law:
    """So many places in each row of weights of this dtype, in proportion to these."""
    return Law(f"weighted_{_KINDS[dtype.char]}", (columns, samples, int(replacement)), _I64, _I64)


@lru_cache
def uniform(low: float, high: float, dtype: DType) -> Law:
    """Numbers in [low, high): multiples of 2⁻²⁴ (2⁻⁵³ in float64) of the range. One that is rounded up to
    `high` becomes `low`. Both parts of complex numbers. Raises ArgumentError where low > high or the range
    is past the largest number.
    """
    if dtype.kind == "c":
        return _OfPairs(uniform(low, high, _real(dtype)), dtype)
    check_floating("uniform", dtype)
    largest = float(np.finfo(dtype if dtype.kind == "f" else np.float32).max)
    if not (-largest <= low <= high <= largest and high - low <= largest):
        raise ArgumentError(
            f"uniform numbers from {low} to {high} in {dtype}",
            f"low must not be greater than high, and the range must stay within ±{largest}",
        )
    wide = _floating(dtype)
    if (low, high) == (0, 1) and dtype == wide:
        return unit(dtype)
    if wide == _F64:
        words = [_double(float(x)) for x in (low, float(high) - float(low), high)]
    else:
        first, last = np.float32(low), np.float32(high)
        words = [_single(float(x)) for x in (first, last - first, last)]
    return Law(f"uniform_{_KINDS[wide.char]}", words, wide, dtype, (high, low))


@lru_cache
def normal(mean: float, std: float, dtype: DType, singly: bool = False) -> Law:
    """Normal numbers, by Box and Muller (`normal.py`): in blocks, or all one by one. Of complex ones each
    part has half the variance. Raises ArgumentError where std < 0.
    """
    if dtype.kind == "c":
        return _OfPairs(normal(mean, std * math.sqrt(0.5), _real(dtype), singly), dtype)
    check_floating("normal", dtype)
    if not std >= 0:
        raise ArgumentError(f"normal numbers with std={std}", "a standard deviation is not negative")
    wide = _floating(dtype)
    words = [_single(mean), _single(std), _double(mean), _double(std), int(dtype == wide), int(singly)]
    return Law(f"normal_{_KINDS[wide.char]}", words, wide, dtype)


@lru_cache
def exponential(rate: float, dtype: DType) -> Law:
    """Exponential numbers of mean 1/rate. Raises ArgumentError where rate ≤ 0."""
    check_floating("exponential", dtype)
    if not rate > 0:
        raise ArgumentError(mirrored(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}"))
    wide = _floating(dtype)
    return Law(f"exponential_{_KINDS[wide.char]}", [_double(-1.0 / rate)], wide, dtype)


@lru_cache
def cauchy(median: float, sigma: float, dtype: DType) -> Law:
    """Cauchy numbers. Raises ArgumentError where sigma ≤ 0."""
    if not sigma > 0:
        raise ArgumentError(mirrored(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}"))
    wide = _floating(dtype)
    return Law(f"cauchy_{_KINDS[wide.char]}", [_double(median), _double(sigma)], wide, dtype)


@lru_cache
def log_normal(mean: float, std: float, dtype: DType) -> Law:
    """Exponentials of normal numbers, drawn one by one. Raises ArgumentError where std ≤ 0."""
    if not std > 0:
        raise ArgumentError(mirrored(f"log_normal_ expects std > 0.0, but found std={std:g}"))
    wide = _floating(dtype)
    return Law(f"log_normal_{_KINDS[wide.char]}", [0, 0, _double(mean), _double(std)], wide, dtype)


@lru_cache
def geometric(p: float, dtype: DType) -> Law:
    """How many trials it takes to succeed, with probability `p` each. Raises ArgumentError unless
    0 < p < 1."""
    if not 0 < p < 1:
        raise ArgumentError(mirrored(f"geometric_ expects p to be in (0, 1), but got p={p:g}"))
    wide = _F32 if dtype == _F32 else _F64
    return Law(f"geometric_{_KINDS[wide.char]}", [_double(math.log1p(-p))], wide, dtype)


@lru_cache
def bernoulli(chance: float, dtype: DType, one: float = 1.0) -> Law:
    """`one` with this probability, else zero, by 53 bits. Raises ArgumentError where it is none."""
    if not 0 <= chance <= 1:
        raise ArgumentError(f"bernoulli with p={chance!r}", "a probability lies between 0 and 1")
    bits = int.from_bytes(np.array(one).astype(dtype).tobytes(), "little", signed=True)
    return Law(f"whether_i{8 * dtype.itemsize}", [_double(chance), bits], dtype, dtype)


@lru_cache
def dropout(p: float, dtype: DType) -> Law:
    """What dropout multiplies its input by: 0 with probability `p`, between 0 and 1, else 1 / (1 − p)."""
    wide = np.promote_types(dtype, np.float32).type
    return bernoulli(1 - p, dtype, float(dtype.type(wide(1) / wide(1 - p))))


@lru_cache
def integers(low: int, high: int, dtype: DType) -> Law:
    """Whole numbers in [low, high), from one word each, or a pair where the range is 2²⁸ or more.

    Raises ArgumentError where the range is empty or holds numbers that `dtype` does not.
    """
    smallest, largest = _whole_numbers(dtype)
    if not smallest <= low < high <= largest + 1:
        raise ArgumentError(
            f"whole numbers from {low} to below {high} in {dtype}",
            f"low must be less than high, and {dtype} holds whole numbers from {smallest} to {largest}",
        )
    return _remainders(low, high - low, dtype, high - low >= 2**28)


@lru_cache
def all_integers(dtype: DType) -> Law:
    """Whole numbers from 0 to the greatest up to which `dtype` holds all: from a pair of words for dtypes of
    64 bits, else from one word."""
    return _remainders(0, _whole_numbers(dtype)[1] + 1, dtype, dtype.itemsize == 8)


def _remainders(low: int, many: int, dtype: DType, wide: bool) -> Law:
    if many == 2**64:
        return Law("pairs_i64", (), _I64, dtype)
    signed = many if many < 2**63 else many - 2**64
    written = dtype if dtype.char in _KINDS else _I64
    kind = _KINDS.get(written.char, "i64")
    return Law(f"whole_{'wide_' if wide else ''}{kind}", (low, signed), written, dtype)


def order(n: int, dtype: DType) -> Law:
    """The numbers 0 … n − 1 in random order. Raises ArgumentError where n is negative or past `dtype`."""
    if not 0 <= n <= _whole_numbers(dtype)[1] + 1:
        raise ArgumentError(f"randperm({n}) in {dtype}", "n must not be negative, and dtype must hold n - 1")
    return _order("order_wide_i64" if n >= LONG_ORDER else "order_i64", dtype)


@lru_cache
def _order(name: str, dtype: DType) -> Law:
    return Law(name, (), _I64, dtype)


LONG_ORDER = (2**32 - 1) // 20
"""From here on, PyTorch draws pairs of words and swaps each place with an earlier one."""


# ---- dtypes ------------------------------------------------------------------------------------------------


_FLOATING = {
    "uniform": "\"check_uniform_bounds\" not implemented for '{}'",
    "normal": "\"normal_kernel_cpu\" not implemented for '{}'",
    "log_normal": "\"log_normal_cpu\" not implemented for '{}'",
    "poisson": "\"poisson_cpu\" not implemented for '{}'",
    "probabilities": "\"bernoulli_tensor_cpu_p_\" not implemented for '{}'",
    "multinomial": "multinomial only supports floating-point dtypes for input, got: {}",
    "dropout_mask": "result type Float can't be cast to the desired output type {}",
    "exponential": "Exponential distribution is a continuous probability distribution. dtype must be a "
    "floating point but you specified {}",
}
"""PyTorch's words for dtypes in which a law has no numbers."""


def check_floating(what: str, dtype: DType) -> None:
    """Raise DtypeError for a dtype that is not floating."""
    if dtype.kind != "f" and dtype.name != "bfloat16":
        words = _FLOATING[what].format(bare_legacy_name(dtypes.dtype(dtype)))
        raise DtypeError(mirrored(words), "these are floating-point numbers", "pass a floating dtype")


def _whole_numbers(dtype: DType) -> tuple[int, int]:
    """The range in which `dtype` holds every whole number, within the 64 bits that are drawn."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f" or dtype.name == "bfloat16":
        reach = 2 ** (int(dtypes.limits(dtypes.dtype(dtype)).nmant) + 1)
        return -reach, reach
    if dtype.kind not in "iu":
        raise DtypeError(f"whole numbers in {dtype}", "the dtype does not hold any")
    info = np.iinfo(dtype)
    return int(info.min), min(int(info.max), 2**63 - 1)
