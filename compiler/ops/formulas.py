"""Formulas that are too long for a line of the table: they are written here, by functions, as text.

In flow series and fitted polynomials, out flow texts in the language of `row.py`. Polynomials were fitted by
`chebyfit` of mpmath at 60 digits, each to a relative error below 2**-55. To add a formula, add its text here,
and its row to `elementwise.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from retrograd.compiler.ops import special


def _polynomial(t: str, coefficients: Sequence[float]) -> str:
    return f"polynomial({t}, {', '.join(map(repr, coefficients))})"


# ---- trigamma, sinc ----------------------------------------------------------------------------------------


def trigamma(y: str, terms: int = 10) -> str:
    """The derivative of digamma for positive numbers: terms of its sum, then a series (DLMF 5.15.8)."""
    inverse = f"(1 / ({y} + {terms}))"
    bernoulli = _polynomial(f"square{inverse}", [over / under for over, under in special.BERNOULLI[:9]])
    head = " + ".join(f"square(1 / ({y} + {k}))" for k in range(terms))
    return f"({head} + {inverse} + square{inverse} * (0.5 + {inverse} * {bernoulli}))"


def sinc_slope(terms: int = 10) -> str:
    """sinc'(x) / x about 0."""
    coefficients = (f"{(-1) ** k * 2 * k}/{math.factorial(2 * k + 1)}" for k in range(1, terms + 1))
    return f"pi**2 * polynomial((pi * x)**2, {', '.join(coefficients)})"


# ---- Bessel's functions of imaginary argument --------------------------------------------------------------

_FAR_0 = (  # sqrt(x) exp(-x) I0(x) for x >= 8, in 16 / x - 1
    0.4021765094450081, 0.0033605519836677235, 0.00013621607439187193, 1.1143033802583682e-05,
    1.4838475863096976e-06, 2.9735956581528157e-07, 8.872154618944625e-08, 3.932926571091252e-08,
    2.155681110989874e-08, 7.532386417555123e-09, -6.805980075129678e-09, -1.331979859201994e-08,
    -5.162517880939013e-09, 7.323310735122893e-09, 6.789790403895736e-09, -3.11851456121224e-09,
    -4.8482509221176966e-09, 1.0924527246468664e-09, 2.3981927228949238e-09, -2.748111637276033e-10,
    -7.473844621887592e-10, 3.525321019700796e-11, 1.0881994785468934e-10,
)  # fmt: skip
_FAR_1 = (  # the same of I1
    0.38939845902587233, -0.009749577193235609, -0.000219235763833829, -1.503854721127423e-05,
    -1.8349101539664522e-06, -3.483853071371078e-07, -1.0001220638799958e-07, -4.31323156237458e-08,
    -2.3382691353601083e-08, -8.407326839577817e-09, 6.795073490187386e-09, 1.3952625102162603e-08,
    5.722677527454156e-09, -7.432535335623792e-09, -7.222524178953976e-09, 3.0717395650769477e-09,
    5.094016301574338e-09, -1.0476127785270019e-09, -2.5062162405593894e-09, 2.582169443152386e-10,
    7.79067217908059e-10, -3.2677656089803323e-11, -1.13288885034257e-10,
)  # fmt: skip


def bessel_i(order: int) -> str:
    """exp(-|x|) I0(x) or exp(-|x|) I1(x): the series of DLMF 10.25.2, which does not cancel, then a fit.

    The series is in (x/8)², for its terms in x² would be subnormal in float32, and slow."""
    terms = [16.0**k / (math.factorial(k) * math.factorial(k + order)) for k in range(27)]
    series = _polynomial("square(minimum(abs(x), 8) * 0.125)", terms)
    near = f"{'x * 0.5 * ' * order}exp(-abs(x)) * {series}"
    shape = _polynomial("16 / maximum(abs(x), 8) - 1", (_FAR_0, _FAR_1)[order])
    far = f"{'sign(x) * ' * order}{shape} / sqrt(maximum(abs(x), 8))"
    return f"where(abs(x) <= 8, {near}, where(x == x, {far}, x))"


# ---- the normal distribution -------------------------------------------------------------------------------

_ERFCX = (  # exp(x²) erfc(x) (x + 2) for x >= 0, in (x - 2) / (x + 2)
    1.021582705242023, -0.6871606844138102, 0.2794720925560547, -0.036442231506922836,
    -0.021510661889486426, 0.006479185069310028, 0.003090612059312434, -0.0008372960886356153,
    -0.000663073509073882, 3.4371680319347264e-05, 0.00014447079620046643, 3.414748054725252e-05,
    -2.1696532340109436e-05, -1.611548837469618e-05, -1.1244034778588728e-06, 3.629500461679375e-06,
    1.999362119581824e-06, 2.8346296513609118e-08, -5.676806673916438e-07, -3.581655803025121e-07,
    -6.5759272455207115e-09, 1.3983198251622205e-07, 5.99915938182997e-08, -2.661965682341084e-08,
    -2.0155627393974865e-08, 2.1479412981215555e-09, 2.5131744537192395e-09,
)  # fmt: skip


def erfcx() -> str:
    """exp(x²) erfc(x): a fit for positive numbers, the rest of 2 exp(x²) for negative ones."""
    size = "where(x == x, abs(x), 0)"
    upper = f"{_polynomial(f'1 - 4 / ({size} + 2)', _ERFCX)} / ({size} + 2)"
    return f"where(x >= 0, {upper}, 2 * exp(square(x)) - {upper})"


def erfcx_slope() -> str:
    """2 x erfcx(x) - 2 / sqrt(pi), whose parts cancel; for large numbers by the series of DLMF 7.12.1."""
    terms = [(-1.0) ** n * math.prod(range(1, 2 * n, 2)) / 2**n for n in range(1, 24)]
    series = _polynomial("1 / square(maximum(x, 8))", terms)
    return f"where(x < 8, 2 * x * out - 2 / sqrt(pi), {series} / square(maximum(x, 8)) * (2 / sqrt(pi)))"


_QUANTILE = (
    (  # |p - 1/2| <= 0.425, in 0.180625 - (p - 1/2)²
        (3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946,
         45921.95393154987, 67265.7709270087, 33430.57558358813, 2509.0809287301227),
        (1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751,
         21213.794301586597, 39307.89580009271, 28729.085735721943, 5226.495278852854),
    ),
    (  # sqrt(-log p) <= 5, in that less 1.6
        (1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045,
         1.2704582524523684, 0.2417807251774506, 0.022723844989269184, 0.0007745450142783414),
        (1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851,
         0.14810397642748008, 0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09),
    ),
    (  # beyond, in that less 5
        (6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487,
         0.026532189526576124, 0.0012426609473880784, 2.7115555687434876e-05, 2.0103343992922881e-07),
        (1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615,
         0.0007868691311456133, 1.8463183175100548e-05, 1.421511758316446e-07, 2.0442631033899397e-15),
    ),
)  # fmt: skip
"""Numerators and denominators of Wichura, "Algorithm AS 241: the percentage points of the normal
distribution" (Applied Statistics 37, 1988).
"""


def normal_quantile() -> str:
    """The inverse of `ndtr`: a quotient of polynomials about the middle, two of sqrt(-log) in the tails."""
    middle, near, far = (
        f"{_polynomial(t, above)} / {_polynomial(t, below)}"
        for t, (above, below) in zip(
            ("(0.180625 - square(x - 0.5))", f"({_DEPTH} - 1.6)", f"({_DEPTH} - 5)"), _QUANTILE, strict=True
        )
    )
    tail = f"where({_DEPTH} <= 5, {near}, where({_DEPTH} < inf, {far}, inf))"
    inner = f"where(abs(x - 0.5) <= 0.425, (x - 0.5) * {middle}, where(x < 0.5, -1, 1) * {tail})"
    return f"where(x >= 0 and x <= 1, {inner}, nan)"


_DEPTH = "sqrt(-log(minimum(x, 1 - x)))"
