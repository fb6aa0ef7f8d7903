"""THE table of elementwise ops: one line each, and every part of the system reads its line.

To add an op, add a row, then run `python -m retrograd.compiler.ops.derive` to write its derivative to
`derived.py` (SymPy works it out; a test derives every row again and compares). The tests loop over the table.
The columns:

    name       how it is called in printed graphs, as a Tensor method and as a function
    formula    its value, in the language told in `row.py`. A row without a `numpy` column is run as it says,
               so it must hold on all numbers, NaN and infinities included; of the others it is what SymPy
               differentiates. A row that is its own formula is a primitive: `derive.py` knows its SymPy name
    types      which dtypes it takes and gives: see `Types`
    numpy      the function that evaluates it on arrays. Such a row is *native*: the back ends have code for
               it (`backends/rows.py`, `backends/math`), unless `native_on` says for which dtypes only
    partials   the derivative by each operand where SymPy's form is numerically poor, or another choice is
               made at a tie. `out` is the value, so that it is reused. A text that mentions `ct` is the whole
               cotangent (so that 0 * inf need not arise), else it is multiplied by the cotangent. None: there
               is no derivative by that operand; "nan": there is one, but it is not known
    domain     where the row is smooth and the tests sample: a condition on the operands

At the end stand the rows that take complex numbers, too. Operands broadcast as in NumPy. All operands of one
application have one dtype (but a condition is bool): promotion is done by the Tensor API, once, from `types`.
Values and gradients at ±0, ±inf, NaN and ties are those of PyTorch, except where the tests list why not. A
whole number divided by 0 gives 0.
"""

from __future__ import annotations

import numpy as np

from retrograd.compiler.ops import bessel, formulas, incomplete, orthogonal, special
from retrograd.compiler.ops.row import Elementwise, Types, broadcast_shapes, on_complex, row

__all__ = ["Elementwise", "Types", "broadcast_shapes", "row"]

NUMERIC, NUMBER, FLOAT, ROUND = Types.NUMERIC, Types.NUMBER, Types.FLOAT, Types.ROUND
INTEGER, WHOLE, COMPARE, LOGICAL = Types.INTEGER, Types.WHOLE, Types.COMPARE, Types.LOGICAL
CLASSIFY, SELECT = Types.CLASSIFY, Types.SELECT

# Below 1/2 the gamma functions are reflected; elsewhere the phase is a harmless number, that none be NaN.
PHASE = "pi * where(x < 0.5, x - round(x), 0.5)"
REFLECTED = f"(pi / sin({PHASE}))"
TRIGAMMA = formulas.trigamma("where(x < 0.5, 1 - x, x)")
GELU_GATE = "sigmoid(sqrt(8 / pi) * (x + 0.044715 * x**3))"  # (1 + tanh(u)) / 2 is sigmoid(2u)
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al., arXiv 1706.02515

# fmt: off
# ---- arithmetic --------------------------------------------------------------------------------------------
row("add",        "x + y",          NUMERIC, np.add)
row("sub",        "x - y",          NUMBER,  np.subtract)
row("mul",        "x * y",          NUMERIC, np.multiply)
row("div",        "x / y",          FLOAT,   np.divide, ["1 / y", "-ct * (x / y / y)"], domain="y != 0")
row("neg",        "-x",             NUMBER,  np.negative)
row("abs",        "abs(x)",         NUMBER,  np.abs, domain="x != 0")
row("sign",       "sign(x)",        NUMERIC, special.sign, ["0"], domain="x != 0")
row("reciprocal", "1 / x",          FLOAT,   domain="x != 0")
row("square",     "x * x",          NUMBER)
row("sqrt",       "sqrt(x)",        FLOAT,   np.sqrt, domain="x > 0")
row("rsqrt",      "1 / sqrt(x)",    FLOAT,   special.rsqrt, ["-0.5 * out**3"], domain="x > 0")
row("cbrt",       "sign(x) * abs(x)**(1/3)", FLOAT, np.cbrt, ["1 / (3 * out**2)"], domain="x != 0")
row("pow",        "x**y",           NUMBER,  special.power, domain="x > 0", partials=[
    "where(y == 0 and not abs(ct / x) < inf, 0, ct * (y * x**(y - 1)))",
    "where(x == 0 and y >= 0, 0, ct * (out * log(x)))"])
row("hypot",      "sqrt(x**2 + y**2)", FLOAT, np.hypot, domain="x != 0 and y != 0")
row("lerp",       "where(abs(z) < 0.5, x + z * (y - x), y - (y - x) * (1 - z))", FLOAT,
    partials=["1 - z", "z", "y - x"])

# ---- division with a whole quotient ------------------------------------------------------------------------
row("fmod",       "x - y * trunc(x / y)", NUMBER, np.fmod, ["1", "-trunc(x / y)"],
    domain="y != 0 and frac(x / y) != 0")
row("remainder",  "x - y * floor(x / y)", NUMBER, np.remainder, ["1", "-floor_divide(x, y)"],
    domain="y != 0 and frac(x / y) != 0")
row("floor_divide",
    "where(y == 0, x / y, "
    "copysign(abs(round((x - fmod(x, y)) / y) - where(remainder(x, y) != fmod(x, y), 1, 0)), x / y))",
    NUMBER, np.floor_divide, ["0", "0"], native_on=(1,), domain="y != 0 and frac(x / y) != 0")

# ---- rounding ----------------------------------------------------------------------------------------------
row("floor",      "floor(x)",       ROUND,   np.floor, ["0"], domain="frac(x) != 0")
row("ceil",       "ceil(x)",        ROUND,   np.ceil,  ["0"], domain="frac(x) != 0")
row("round",      "round(x)",       ROUND,   np.rint,  ["0"], domain="frac(x + 0.5) != 0")
row("trunc",      "trunc(x)",       ROUND,   np.trunc, ["0"], domain="frac(x) != 0")
row("frac",       "x - trunc(x)",   FLOAT,   partials=["1"], domain="frac(x) != 0")

# ---- the greater and the lesser: equals share the cotangent, but fmax, fmin and the clamps give it to x ----
row("maximum",    "maximum(x, y)",  NUMERIC, np.maximum, domain="x != y", partials=[
    "where(x == y, ct * 0.5, where(x < y, 0, ct))", "where(x == y, ct * 0.5, where(x > y, 0, ct))"])
row("minimum",    "minimum(x, y)",  NUMERIC, np.minimum, domain="x != y", partials=[
    "where(x == y, ct * 0.5, where(x > y, 0, ct))", "where(x == y, ct * 0.5, where(x < y, 0, ct))"])
row("fmax",       "where(x >= y or y != y, x, y)", NUMERIC, domain="x != y", partials=[
    "where(x >= y or y != y, ct, 0)", "where(x >= y or y != y, 0, ct)"])
row("fmin",       "where(x <= y or y != y, x, y)", NUMERIC, domain="x != y", partials=[
    "where(x <= y or y != y, ct, 0)", "where(x <= y or y != y, 0, ct)"])
row("clamp_min",  "maximum(x, y)",  NUMERIC, domain="x != y", partials=[
    "where(x >= y, ct, 0)", "where(x < y, ct, 0)"])
row("clamp_max",  "minimum(x, y)",  NUMERIC, domain="x != y", partials=[
    "where(x <= y, ct, 0)", "where(x > y, ct, 0)"])

# ---- comparison and choice ---------------------------------------------------------------------------------
row("lt",         "x < y",          COMPARE, np.less)
row("le",         "x <= y",         COMPARE, np.less_equal)
row("gt",         "x > y",          COMPARE, np.greater)
row("ge",         "x >= y",         COMPARE, np.greater_equal)
row("eq",         "x == y",         COMPARE, np.equal)
row("ne",         "x != y",         COMPARE, np.not_equal)
row("where",      "where(x, y, z)", SELECT,  np.where, [None, "where(x, ct, 0)", "where(x, 0, ct)"])
row("heaviside",  "where(x > 0, 1, where(x == 0, y, 0))", NUMERIC,
    partials=["0", "where(x == 0, ct, 0)"], domain="x != 0")

# ---- truth and bits ----------------------------------------------------------------------------------------
row("logical_and", "x and y",           LOGICAL, np.logical_and)
row("logical_or",  "x or y",            LOGICAL, np.logical_or)
row("logical_xor", "logical_xor(x, y)", LOGICAL, np.logical_xor)
row("logical_not", "not x",             LOGICAL, np.logical_not)
row("bitwise_and", "bitwise_and(x, y)", INTEGER, np.bitwise_and)
row("bitwise_or",  "bitwise_or(x, y)",  INTEGER, np.bitwise_or)
row("bitwise_xor", "bitwise_xor(x, y)", INTEGER, np.bitwise_xor)
row("bitwise_not", "bitwise_not(x)",    INTEGER, np.bitwise_not)
row("bitwise_left_shift",  "bitwise_left_shift(x, y)",  WHOLE, np.left_shift)
row("bitwise_right_shift", "bitwise_right_shift(x, y)", WHOLE, np.right_shift)

# ---- divisors ----------------------------------------------------------------------------------------------
row("gcd",        "gcd(x, y)",                       WHOLE, np.gcd)
row("lcm",        "floor_divide(abs(x), gcd(x, y)) * abs(y)", WHOLE)

# ---- the kind of a number ----------------------------------------------------------------------------------
row("isnan",      "x != x",               CLASSIFY, np.isnan)
row("isinf",      "abs(x) == inf",        CLASSIFY)
row("isfinite",   "abs(x) < inf",         CLASSIFY)
row("signbit",    "copysign(1, x) < 0",   CLASSIFY)
row("copysign",   "copysign(x, y)",       FLOAT, np.copysign,
    ["ct * sign(x) * copysign(1, y)", "0"], domain="x != 0 and y != 0")
row("nan_to_num", "where(x != x, y, where(x == inf, z, where(x == -inf, w, x)))", FLOAT, partials=[
    "where(abs(x) < inf, ct, 0)", "where(x != x, ct, 0)",
    "where(x == inf, ct, 0)", "where(x == -inf, ct, 0)"])

# ---- exponentials and logarithms ---------------------------------------------------------------------------
row("exp",        "exp(x)",               FLOAT, np.exp)
row("exp2",       "exp(x * log(2))",      FLOAT, np.exp2)
row("expm1",      "exp(x) - 1",           FLOAT, np.expm1)
row("log",        "log(x)",               FLOAT, np.log,   domain="x > 0")
row("log2",       "log(x) / log(2)",      FLOAT, np.log2,  domain="x > 0")
row("log10",      "log(x) / log(10)",     FLOAT, np.log10, domain="x > 0")
row("log1p",      "log(1 + x)",           FLOAT, np.log1p, domain="x > -1")
row("xlogy",      "where(x == 0 and y == y, 0, x * log(y))", FLOAT, domain="x != 0 and y > 0", partials=[
    "where(x == 0 and y <= 0, 0, ct * log(y))", "ct * x / y"])
row("xlog1py",    "where(x == 0 and y == y, 0, x * log1p(y))", FLOAT, domain="x != 0 and y > -1", partials=[
    "where(x == 0 and y <= -1, 0, ct * log1p(y))", "ct * x / (y + 1)"])
row("entr",       "where(x > 0, -x * log(x), where(x == 0, 0, where(x < 0, -inf, x)))", FLOAT,
    partials=["-1 - log(x)"], domain="x > 0")
row("logaddexp",  "where(abs(x - y) >= 0, maximum(x, y) + log1p(exp(-abs(x - y))), x + y)", FLOAT,
    partials=["sigmoid(x - y)", "sigmoid(y - x)"], domain="x != y")
row("logaddexp2", "where(abs(x - y) >= 0, maximum(x, y) + log1p(exp2(-abs(x - y))) * (1 / log(2)), x + y)",
    FLOAT, partials=["sigmoid((x - y) * log(2))", "sigmoid((y - x) * log(2))"], domain="x != y")
row("logit",      "where(x < 0.25, log(x / (1 - x)), log1p((2 * x - 1) / (1 - x)))", FLOAT,
    partials=["where(x >= 0 and x <= 1, ct / (x * (1 - x)), nan)"], domain="x > 0 and x < 1")

# ---- trigonometry ------------------------------------------------------------------------------------------
row("sin",        "sin(x)",               FLOAT, np.sin)
row("cos",        "cos(x)",               FLOAT, np.cos)
row("tan",        "tan(x)",               FLOAT, np.tan)
row("asin",       "asin(x)",              FLOAT, np.arcsin,
    ["1 / sqrt((1 - x) * (1 + x))"], domain="abs(x) < 1")
row("acos",       "acos(x)",              FLOAT, np.arccos,
    ["-1 / sqrt((1 - x) * (1 + x))"], domain="abs(x) < 1")
row("atan",       "atan(x)",              FLOAT, np.arctan)
row("atan2",      "atan2(x, y)",          FLOAT, np.arctan2, domain="x != 0 and y != 0", partials=[
    "where(x == 0 and y == 0, 0, ct * (y / hypot(x, y) / hypot(x, y)))",
    "where(x == 0 and y == 0, 0, ct * (-x / hypot(x, y) / hypot(x, y)))"])
row("sinc",       "where(x == 0, 1, sin(pi * x) / (pi * x))", FLOAT, partials=[
    f"where(abs(x) < 0.3, x * {formulas.sinc_slope()}, (cos(pi * x) - out) / where(abs(x) < 0.3, 1, x))"])
row("deg2rad",    "x * (pi / 180)",       FLOAT)
row("rad2deg",    "x * (180 / pi)",       FLOAT)

# ---- hyperbolic functions ----------------------------------------------------------------------------------
row("sinh",       "sinh(x)",              FLOAT, np.sinh)
row("cosh",       "cosh(x)",              FLOAT, np.cosh)
row("tanh",       "tanh(x)",              FLOAT, np.tanh)
row("asinh",      "asinh(x)",             FLOAT, np.arcsinh)
row("acosh",      "acosh(x)",             FLOAT, np.arccosh, ["1 / sqrt((x - 1) * (x + 1))"], domain="x > 1")
row("atanh",      "atanh(x)",             FLOAT, np.arctanh, ["1 / ((1 - x) * (1 + x))"], domain="abs(x) < 1")

# ---- the error function and the gamma function -------------------------------------------------------------
row("erf",        "erf(x)",               FLOAT, special.erf)
row("erfc",       "1 - erf(x)",           FLOAT, special.erfc)
row("erfinv",     "erfinv(x)",            FLOAT, special.erfinv, ["sqrt(pi) / 2 * exp(erfinv(x)**2)"],
    domain="abs(x) < 1")
row("erfcx",      formulas.erfcx(),       FLOAT, partials=[formulas.erfcx_slope()])
row("ndtr",       "0.5 * erfc(x * -sqrt(0.5))", FLOAT)
row("ndtri",      formulas.normal_quantile(), FLOAT, partials=["sqrt(2 * pi) * exp(0.5 * square(out))"],
    domain="x > 0 and x < 1")
row("log_ndtr",
    "where(x < -1, log(0.5 * erfcx(x * -sqrt(0.5))) - 0.5 * square(x), log1p(-0.5 * erfc(x * sqrt(0.5))))",
    FLOAT, partials=["sqrt(2 / pi) / erfcx(x * -sqrt(0.5))"], domain="abs(x) < 30")
row("lgamma",     "lgamma(x)",            FLOAT, special.lgamma, domain="x > 0 or frac(x) != 0")
row("digamma",    "digamma(x)",           FLOAT, special.digamma, domain="x > 0 or frac(x) != 0")
row("trigamma",
    f"where(x < 0.5, {REFLECTED}**2, 0) + where(x < 0.5, -1, 1) * {TRIGAMMA}",
    FLOAT, partials=[
    f"-2 * (where(x < 0.5, {REFLECTED}**3 * cos({PHASE}), 0) + zeta(3, where(x < 0.5, 1 - x, x)))"],
    domain="x > 0 or frac(x) != 0")
row("zeta",       "zeta(x, y)",           FLOAT, special.zeta, ["nan", "-x * zeta(x + 1, y)"],
    domain="x > 1 and x < 8 and y > 0")

row("gamma_p",    "gamma_p(x, y)",        FLOAT, incomplete.lower, [None, None], native_on=(2,))
row("gamma_q",    "gamma_q(x, y)",        FLOAT, incomplete.upper, [None, None], native_on=(2,))

# ---- Bessel's functions of imaginary argument, and these times exp(-|x|) -----------------------------------
row("i0e",        formulas.bessel_i(0),   FLOAT, partials=["i1e(x) - sign(x) * out"], domain="x != 0")
row("i1e",        formulas.bessel_i(1),   FLOAT, domain="x != 0", partials=[
    "where(abs(x) > 0, i0e(x) - out * sign(x) - out / x, 0.5)"])
row("i0",         "exp(abs(x)) * i0e(x)", FLOAT, partials=["i1(x)"])
row("i1",         "exp(abs(x)) * i1e(x)", FLOAT, partials=["where(abs(x) > 0, i0(x) - out / x, 0.5)"])

# ---- functions of physics: Bessel's and Airy's, and orthogonal polynomials of a place and a degree ---------
for _name, _formula in bessel.FORMULAS.items():
    row(_name, _formula, FLOAT, partials=[None])
for _name, _family in orthogonal.FAMILIES.items():
    row(_name, f"{_name}(x, y)", FLOAT, _family.evaluate, [None, None], native_on=(2,))

# ---- activations -------------------------------------------------------------------------------------------
row("sigmoid",    "1 / (1 + exp(-x))",    FLOAT, special.sigmoid, ["out * (1 - out)"])
row("softplus",   "log(1 + exp(x))",      FLOAT, special.softplus, ["sigmoid(x)"])
row("logsigmoid", "-softplus(-x)",        FLOAT)
row("relu",       "maximum(x, 0)",        NUMBER, partials=["where(out <= 0, 0, ct)"], domain="x != 0")
row("relu6",      "minimum(maximum(x, 0), 6)", FLOAT,
    partials=["where(x > 0 and x < 6, ct, 0)"], domain="x != 0 and x != 6")
row("leaky_relu", "where(x > 0, x, x * y)", FLOAT, domain="x != 0")
row("elu",        "where(x < 0, y * expm1(x), x)", FLOAT, domain="x != 0", partials=[
    "where(x > 0, ct, ct * (y * exp(minimum(x, 0))))", "where(x > 0, 0, ct * expm1(minimum(x, 0)))"])
row("celu",       "where(x < 0, y * expm1(x / y), x)", FLOAT, domain="x != 0 and y > 0", partials=[
    "where(x > 0, ct, ct * exp(minimum(x, 0) / y))",
    "where(x > 0, 0, ct * (expm1(minimum(x, 0) / y) - minimum(x, 0) / y * exp(minimum(x, 0) / y)))"])
row("selu",       f"{SELU_SCALE} * elu(x, {SELU_ALPHA})", FLOAT, domain="x != 0")
row("gelu",       "x * 0.5 * erfc(x * -sqrt(0.5))", FLOAT,  # erfc and the exponential have exp(-t²) in common
    partials=["x * sqrt(0.5 / pi) * exp(-square(x * -sqrt(0.5))) + 0.5 * erfc(x * -sqrt(0.5))"])
row("gelu_tanh",  f"x * {GELU_GATE}", FLOAT,
    partials=[f"{GELU_GATE} + out * (1 - {GELU_GATE}) * (sqrt(8 / pi) * (1 + 0.134145 * x**2))"])
row("silu",       "x * sigmoid(x)",       FLOAT, partials=["x * sigmoid(x) * (1 - sigmoid(x)) + sigmoid(x)"])
row("mish",       "x * tanh(softplus(x))", FLOAT)
row("hardswish",  "x * minimum(maximum(x + 3, 0), 6) / 6", FLOAT, domain="x != -3 and x != 3", partials=[
    "where(x <= -3, 0, where(x >= 3, ct, ct * (x / 3 + 0.5)))"])
row("softsign",   "x / (1 + abs(x))",     FLOAT, partials=["1 / (1 + abs(x))**2"], domain="x != 0")

# ---- what of this is there of complex numbers --------------------------------------------------------------
on_complex("add", "sub", "mul", "div", "neg", "reciprocal", "square", "sqrt", "rsqrt", "eq", "ne", "where")
on_complex("exp", "exp2", "expm1", "log", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan")
on_complex("sinh", "cosh", "tanh", "asinh", "atanh", "silu")
on_complex("log1p", numpy=special.complex_log1p)
on_complex("sigmoid", formula="1 / (1 + exp(-x))")
on_complex("acosh", partials=["1 / (sqrt(x - 1) * sqrt(x + 1))"])
on_complex("lerp", formula="where(modulus(z) < 0.5, x + z * (y - x), y - (y - x) * (1 - z))")
on_complex("pow", partials=[
    "where(y == 0, 0, y * x**(y - 1))", "where(x == 0 and real(y) >= 0, 0, out * log(x))"])
on_complex("sinc", partials=[
    f"where(modulus(x) < 0.3, x * {formulas.sinc_slope()}, "
    "(cos(pi * x) - out) / where(modulus(x) < 0.3, 1, x))"])
on_complex("logaddexp",
    formula="where(real(x) >= real(y), x + log1p(exp(y - x)), y + log1p(exp(x - y)))")
# fmt: on
