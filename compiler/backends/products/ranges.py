"""Ranges of the elements of operands: whether their parts, and sums of products of these, are exact enough on
tiles (`amx.py`), in the native language.

A range is two words: the least element but 0 and the greatest, as the bits of their sizes, doubled; from the
least, 1 is taken, so that it is the greatest word where there is no element but 0. In flow ranges of parts of
two operands; out flows whether what is multiplied by what fits.

The arithmetic of tiles takes numbers below the least normal one, 2⁻¹²⁶, for 0. So the last part of an
element, which is no less than 2⁻²³ of it, must not be that small: an element is 2⁻¹⁰³ or more. And what is
lost where a product, or a sum on its way, is that small must not be noticed: products of elements are 2⁻⁹⁸ or
more, of each of which six products of parts lose less than 2⁻²⁵ together. Nothing may overflow, neither a
part nor a sum.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, Unsigned32, inlined, native

_FRACTION = 24
"""Bits below the exponent."""
_LEAST, _LEAST_PRODUCT = 24, 156
"""Exponents, as float32 has them, of the least element, and of two together, that are not too small."""
_MOST = 253
"""That of the greatest element."""
_MOST_PRODUCT = 378
"""That of the two together, and of the number of terms."""


@native
def fits(ranges: Array[Unsigned32], inner: int) -> bool:
    """Are the parts of all elements numbers, too, and the products of two, and sums of so many of them?"""
    least, other_least = exponent(ranges[0] + 1), exponent(ranges[2] + 1)
    most, other_most, terms = exponent(ranges[1]), exponent(ranges[3]), 0
    while inner >> terms != 0:
        terms += 1
    if min(least, other_least) < _LEAST or least + other_least < _LEAST_PRODUCT:
        return False
    return max(most, other_most) <= _MOST and most + other_most + terms <= _MOST_PRODUCT


@inlined
def exponent(size: int) -> int:
    """As float32 has it, of doubled bits; large, if they are those of no element."""
    return size >> _FRACTION
