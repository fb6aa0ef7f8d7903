"""The cases of test_functions.py for `special`."""

from __future__ import annotations

from function_cases import lines

SPECIAL = lines("""
    t.special.i0(x * 9), t.i0(x), x.i0(), t.special.i0e(x * 9)
    t.special.modified_bessel_i0(x.detach() * 9), t.special.modified_bessel_i1(x.detach() * 9)
    t.special.i1(x * 9), t.special.i1e(x * 9), t.special.i1e(zero)
    t.special.ndtr(x), t.special.ndtri(x.sigmoid()), t.special.log_ndtr(x * 5)
    t.special.ndtri(bad.detach()), t.special.log_ndtr(bad.detach()), t.special.ndtr(bad.detach())
    t.special.erfcx(x * 3), t.special.erfcx(x.abs() * 20), t.special.erfcx(bad.detach())
    t.special.entr(x.abs()), t.special.entr(zero.detach() - 1), t.special.entr(bad.detach())
    t.special.xlogy(x, y.abs()), t.special.xlogy(2, y.abs()), t.special.xlogy(x, 3)
    t.special.xlog1py(x, y.abs()), t.special.xlog1py(2, y.abs()), t.special.xlog1py(x, 3.0)
    t.special.xlog1py(zero.detach(), -1)
    t.special.zeta(x.detach().abs() + 1.5, y.detach().abs()), t.special.zeta(2, y.abs() + 1)
    t.special.polygamma(0, x.detach()), t.special.polygamma(2, x.abs()), t.special.polygamma(3, x.abs())
    t.special.multigammaln(x.abs() + 3, 3)
    t.special.digamma(x.detach()), t.special.psi(y.detach()), t.special.gammaln(x)
    t.igamma(x.detach().abs() + 0.1, y.abs() * 3), t.igammac(x.detach().abs() + 0.1, y.abs() * 3)
    t.special.gammainc(x.detach().abs() * 9, y.abs() * 9), t.special.gammaincc(zero.detach(), v[:3].abs())
    x.detach().abs().igamma(y.detach().abs()), x.detach().abs().igammac(2 * one.detach().abs())
    z = x.detach().abs(); z.igamma_(y.detach().abs()); z
    z = x.detach().abs(); z.igammac_(y.detach().abs()); z
    t.special.erf(x), t.special.erfc(x), t.special.erfinv(x.tanh())
    t.special.exp2(x), t.special.expm1(x), t.special.log1p(x.abs()), t.special.sinc(x)
    t.special.expit(x), t.special.logit(x.sigmoid()), t.special.logit(x, 0.1)
    t.special.round(x.detach()), t.special.round(x.detach(), decimals=1)
    t.special.softmax(x, 1), t.special.log_softmax(x, 0), t.special.logsumexp(x, (0, 1))
    t.special.softmax(i, 0, dtype=t.float64)
    t.special.i0(i), t.special.entr(i), t.special.ndtr(i), t.special.xlog1py(i, 2)
    t.special.i0(t.zeros(0, 3)), t.special.erfcx(n)
    z = t.zeros(3, 4); t.special.i1(x.detach(), out=z); z
    z = x.detach().clone(); z.i0_(); z
""")
