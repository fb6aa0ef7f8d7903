"""Laws that draw until a number is accepted, as LLVM text: gamma, Poisson and binomial numbers.

    void LAW(ptr state, ptr to, i64 count, ptr parameters)

writes `count` doubles in order. Each element has parameters of its own, doubles one after the other, which
`chances.py` works out: the functions here only draw, accept and reject, with PyTorch's arithmetic.

Sources: G. Marsaglia and W. Tsang, "A simple method for generating gamma variables" (2000), with the float32
constant 0.0331 that PyTorch's kernel has; W. Hörmann, "The transformed rejection method for generating
Poisson random variables" (1993) and "The generation of binomial random variates" (1993); of few expected
events the products of uniform numbers, or sums of geometric ones, of L. Devroye, "Non-uniform random variate
generation" (1986), X.3 and X.4.
"""

from __future__ import annotations

import struct
from string import Template

import numpy as np


def _double(x: float) -> str:
    return f"0x{struct.pack('>d', x).hex().upper()}"


_TAILS = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip
"""log(k!) less Stirling's formula, for k up to 9 (Hörmann, table 1)."""

_FRAME = """
define void @$name(ptr %state, ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %first = mul i64 %i, $many
  %own = getelementptr double, ptr %parameters, i64 %first
  %value = call double @one_$name(ptr %state, ptr %own)
  %at = getelementptr double, ptr %to, i64 %i
  store double %value, ptr %at
  %i_next = add i64 %i, 1
  br label %next
end:
  ret void
}
"""


def _loads(*names: str) -> str:
    return "".join(
        f"  %{name}_at = getelementptr double, ptr %own, i64 {place}\n"
        f"  %{name} = load double, ptr %{name}_at\n"
        for place, name in enumerate(names)
    )


_DRAWING = f"""
declare double @pow(double, double)
declare double @lgamma(double)
declare double @llvm.floor.f64(double)
declare double @llvm.fabs.f64(double)

define internal double @one_unit(ptr %state) nounwind {{
entry:
  %at = alloca double
  call void @unit_f64(ptr %state, ptr %at, i64 1, ptr null)
  %unit = load double, ptr %at
  ret double %unit
}}

@standard = private constant [4 x double] [double 0.0, double 0.0, double 0.0, double 1.0]
@tails = private constant [10 x double] [{", ".join(f"double {_double(x)}" for x in _TAILS)}]
"""

_GAMMA = """
; Parameters: 1 / a where a < 1, else 0; d = a - 1/3, of a + 1 where a < 1; 1 / sqrt(9 d); the least result.
define internal double @one_gamma(ptr %state, ptr %own) nounwind {
entry:
$loads  %small = fcmp ogt double %boost, 0.0
  %none = fcmp oeq double %boost, 0x7FF0000000000000
  br i1 %none, label %least_only, label %begin
least_only:
  ret double %least
begin:
  br i1 %small, label %raise, label %draw
raise:
  %share = call double @one_unit(ptr %state)
  %rest = fsub double 1.0, %share
  %power = call double @pow(double %rest, double %boost)
  br label %draw
draw:
  %scale = phi double [ 1.0, %begin ], [ %power, %raise ], [ %scale, %draw ], [ %scale, %refuse ]
  %x = call double @single(ptr %state, ptr @standard)
  %cx = fmul double %c, %x
  %y = fadd double %cx, 1.0
  %negative = fcmp ole double %y, 0.0
  br i1 %negative, label %draw, label %cube
cube:
  %square = fmul double %y, %y
  %v = fmul double %square, %y
  %unit = call double @one_unit(ptr %state)
  %u = fsub double 1.0, %unit
  %xx = fmul double %x, %x
  %squeezed = fmul double %xx, $squeeze
  %squeezed_twice = fmul double %squeezed, %xx
  %bound = fsub double 1.0, %squeezed_twice
  %quick = fcmp olt double %u, %bound
  br i1 %quick, label %accept, label %look
look:
  %log_u = call double @log(double %u)
  %log_v = call double @log(double %v)
  %one_less = fsub double 1.0, %v
  %inner = fadd double %one_less, %log_v
  %scaled = fmul double %d, %inner
  %half = fmul double %xx, 0.5
  %most = fadd double %half, %scaled
  %within = fcmp olt double %log_u, %most
  br i1 %within, label %accept, label %refuse
refuse:
  br label %draw
accept:
  %large = fmul double %scale, %d
  %value = fmul double %large, %v
  %more = fcmp ogt double %value, %least
  %given = select i1 %more, double %value, double %least
  ret double %given
}
"""

_POISSON = """
define internal double @one_poisson(ptr %state, ptr %own) nounwind {
entry:
$loads  %none = fcmp oeq double %rate, 0.0
  br i1 %none, label %zero, label %some
zero:
  ret double 0.0
some:
  %many = fcmp oge double %rate, 10.0
  br i1 %many, label %prepare, label %few
few:
  %minus = fneg double %rate
  %end = call double @exp(double %minus)
  br label %multiply
multiply:
  %events = phi double [ 0.0, %few ], [ %events_next, %another ]
  %product = phi double [ 1.0, %few ], [ %product_next, %another ]
  %factor = call double @one_unit(ptr %state)
  %product_next = fmul double %product, %factor
  %goes_on = fcmp ogt double %product_next, %end
  br i1 %goes_on, label %another, label %enough
another:
  %events_next = fadd double %events, 1.0
  br label %multiply
enough:
  ret double %events
prepare:
  %root = call double @llvm.sqrt.f64(double %rate)
  %log_rate = call double @log(double %rate)
  %b_part = fmul double %root, 2.53
  %b = fadd double %b_part, $b
  %a_part = fmul double %b, $a_slope
  %a = fadd double %a_part, $a
  %b_less = fsub double %b, $b_shift
  %alpha_part = fdiv double $alpha_over, %b_less
  %alpha = fadd double %alpha_part, $alpha
  %b_two = fsub double %b, 2.0
  %v_part = fdiv double $v_over, %b_two
  %v_quick = fsub double $v, %v_part
  %log_alpha = call double @log(double %alpha)
  br label %draw
draw:
  %first = call double @one_unit(ptr %state)
  %u = fsub double %first, 0.5
  %v_here = call double @one_unit(ptr %state)
  %size = call double @llvm.fabs.f64(double %u)
  %us = fsub double 0.5, %size
  %twice = fmul double %a, 2.0
  %slope = fdiv double %twice, %us
  %steep = fadd double %slope, %b
  %moved = fmul double %steep, %u
  %about = fadd double %moved, %rate
  %place = fadd double %about, 0.43
  %k = call double @llvm.floor.f64(double %place)
  %inside = fcmp oge double %us, 0.07
  %low = fcmp ole double %v_here, %v_quick
  %quick = and i1 %inside, %low
  br i1 %quick, label %accept, label %refuse
refuse:
  %below = fcmp olt double %k, 0.0
  %edge = fcmp olt double %us, $edge
  %high = fcmp ogt double %v_here, %us
  %corner = and i1 %edge, %high
  %no = or i1 %below, %corner
  br i1 %no, label %draw, label %look
look:
  %log_v = call double @log(double %v_here)
  %raised = fadd double %log_v, %log_alpha
  %us_square = fmul double %us, %us
  %over = fdiv double %a, %us_square
  %under = fadd double %over, %b
  %log_under = call double @log(double %under)
  %left = fsub double %raised, %log_under
  %gain = fmul double %k, %log_rate
  %net = fsub double %gain, %rate
  %k_one = fadd double %k, 1.0
  %factorial = call double @lgamma(double %k_one)
  %right = fsub double %net, %factorial
  %within = fcmp ole double %left, %right
  br i1 %within, label %accept, label %draw
accept:
  ret double %k
}
"""

_BINOMIAL = """
define internal double @tail(double %k) nounwind {
entry:
  %few = fcmp olt double %k, 10.0
  br i1 %few, label %known, label %far
known:
  %place = fptosi double %k to i64
  %at = getelementptr double, ptr @tails, i64 %place
  %told = load double, ptr %at
  ret double %told
far:
  %next = fadd double %k, 1.0
  %square = fmul double %next, %next
  %last = fdiv double $third, %square
  %rest = fsub double $second, %last
  %part = fdiv double %rest, %square
  %sum = fsub double $first, %part
  %tail = fdiv double %sum, %next
  ret double %tail
}

; Parameters: what is to be done (0 the value is known; 1 sums of geometric numbers; 2 rejection), whether the
; failures are counted, the number of trials, log(1 - p) or the known value, then b, a, c, v, r, alpha, m.
define internal double @one_binomial(ptr %state, ptr %own) nounwind {
entry:
$loads  %task = fptosi double %way to i64
  switch i64 %task, label %known [ i64 1, label %sum
                                   i64 2, label %draw ]
known:
  ret double %log_failure
sum:
  %events = phi double [ 0.0, %entry ], [ %events_next, %another ]
  %trials = phi double [ 0.0, %entry ], [ %trials_next, %another ]
  %unit = call double @one_unit(ptr %state)
  %log_unit = call double @log(double %unit)
  %ratio = fdiv double %log_unit, %log_failure
  %gap = call double @llvm.ceil.f64(double %ratio)
  %trials_next = fadd double %trials, %gap
  %past = fcmp ogt double %trials_next, %count
  br i1 %past, label %give, label %another
another:
  %events_next = fadd double %events, 1.0
  br label %sum
draw:
  %first = call double @one_unit(ptr %state)
  %u = fsub double %first, 0.5
  %v_here = call double @one_unit(ptr %state)
  %size = call double @llvm.fabs.f64(double %u)
  %us = fsub double 0.5, %size
  %twice = fmul double %a, 2.0
  %slope = fdiv double %twice, %us
  %steep = fadd double %slope, %b
  %moved = fmul double %steep, %u
  %place = fadd double %moved, %c
  %k = call double @llvm.floor.f64(double %place)
  %below = fcmp olt double %k, 0.0
  %above = fcmp ogt double %k, %count
  %outside = or i1 %below, %above
  br i1 %outside, label %draw, label %try
try:
  %inside = fcmp oge double %us, 0.07
  %low = fcmp ole double %v_here, %v_quick
  %quick = and i1 %inside, %low
  br i1 %quick, label %give, label %look
look:
  %v_alpha = fmul double %v_here, %alpha
  %us_square = fmul double %us, %us
  %over = fdiv double %a, %us_square
  %under = fadd double %over, %b
  %v_ratio = fdiv double %v_alpha, %under
  %log_v = call double @log(double %v_ratio)
  %m_half = fadd double %m, 0.5
  %m_one = fadd double %m, 1.0
  %count_m = fsub double %count, %m
  %count_m_one = fadd double %count_m, 1.0
  %odds_m = fmul double %r, %count_m_one
  %one_ratio = fdiv double %m_one, %odds_m
  %one_log = call double @log(double %one_ratio)
  %one_term = fmul double %m_half, %one_log
  %count_one = fadd double %count, 1.0
  %count_k = fsub double %count, %k
  %count_k_one = fadd double %count_k, 1.0
  %two_ratio = fdiv double %count_m_one, %count_k_one
  %two_log = call double @log(double %two_ratio)
  %two_term = fmul double %count_one, %two_log
  %k_half = fadd double %k, 0.5
  %k_one = fadd double %k, 1.0
  %odds_k = fmul double %r, %count_k_one
  %three_ratio = fdiv double %odds_k, %k_one
  %three_log = call double @log(double %three_ratio)
  %three_term = fmul double %k_half, %three_log
  %tail_m = call double @tail(double %m)
  %tail_count_m = call double @tail(double %count_m)
  %tail_k = call double @tail(double %k)
  %tail_count_k = call double @tail(double %count_k)
  %s_1 = fadd double %one_term, %two_term
  %s_2 = fadd double %s_1, %three_term
  %s_3 = fadd double %s_2, %tail_m
  %s_4 = fadd double %s_3, %tail_count_m
  %s_5 = fsub double %s_4, %tail_k
  %bound = fsub double %s_5, %tail_count_k
  %within = fcmp ole double %log_v, %bound
  br i1 %within, label %give, label %draw
give:
  %made = phi double [ %events, %sum ], [ %k, %try ], [ %k, %look ]
  %others = fsub double %count, %made
  %turned = fcmp one double %failures, 0.0
  %value = select i1 %turned, double %others, double %made
  ret double %value
}
"""

_CONSTANTS = {
    "squeeze": float(np.float32(0.0331)),
    "b": 0.931, "a": -0.059, "a_slope": 0.02483, "b_shift": 3.4, "alpha": 1.1239, "alpha_over": 1.1328,
    "v": 0.9277, "v_over": 3.6224, "edge": 0.013,
    "first": 1 / 12, "second": 1 / 360, "third": 1 / 1260,
}  # fmt: skip

PARAMETERS = {
    "gamma": ("boost", "d", "c", "least"),
    "poisson": ("rate",),
    "binomial": (
        "way", "failures", "count", "log_failure", "b", "a", "c", "v_quick", "r", "alpha", "m",
    ),
}  # fmt: skip
"""What each element of a law has, in order."""

REJECTION = _DRAWING + "".join(
    Template(text).substitute(
        {name: _double(x) for name, x in _CONSTANTS.items()}, loads=_loads(*PARAMETERS[law])
    )
    + Template(_FRAME).substitute(name=law, many=len(PARAMETERS[law]))
    for law, text in (("gamma", _GAMMA), ("poisson", _POISSON), ("binomial", _BINOMIAL))
)
