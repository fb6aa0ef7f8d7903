"""Derivatives of elementwise rows, worked out by SymPy: written by `python -m retrograd.compiler.ops.derive`.

One line per row, one text per operand, in x, y, z and `out`, the value. Do not edit: change the row, derive
again.
"""

DERIVED: dict[str, tuple[str | None, ...]] = {
    "add": ("1", "1"),
    "sub": ("1", "-1"),
    "mul": ("y", "x"),
    "neg": ("-1",),
    "abs": ("sign(x)",),
    "reciprocal": ("-out**2",),
    "square": ("2*x",),
    "sqrt": ("1/(2*out)",),
    "hypot": ("x/out", "y/out"),
    "exp": ("out",),
    "exp2": ("log(2)*out",),
    "expm1": ("out + 1",),
    "log": ("1/x",),
    "log2": ("1/(x*log(2))",),
    "log10": ("1/(x*log(10))",),
    "log1p": ("1/(x + 1)",),
    "sin": ("cos(x)",),
    "cos": ("-sin(x)",),
    "tan": ("out**2 + 1",),
    "atan": ("1/(x**2 + 1)",),
    "deg2rad": ("pi/180",),
    "rad2deg": ("180/pi",),
    "sinh": ("cosh(x)",),
    "cosh": ("sinh(x)",),
    "tanh": ("1 - out**2",),
    "asinh": ("1/sqrt(x**2 + 1)",),
    "erf": ("2/sqrt(pi)*exp(-x**2)",),
    "erfc": ("(-2/sqrt(pi))*exp(-x**2)",),
    "ndtr": ("sqrt(2)/(2*sqrt(pi))*exp(-x**2/2)",),
    "lgamma": ("digamma(x)",),
    "digamma": ("trigamma(x)",),
    "logsigmoid": ("sigmoid(-x)",),
    "leaky_relu": ("where(x > 0, 1, y)", "where(x > 0, 0, x)"),
    "selu": ("1.0507009873554805*where(x > 0, 1, 1.6732632423543772*exp(minimum(0, x)))",),
    "mish": ("x*(1 - tanh(softplus(x))**2)*sigmoid(x) + tanh(softplus(x))",),
}
