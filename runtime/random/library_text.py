"""Laws by which each element is a function of one double, by the C library, as LLVM text.

A law is a row of `_LAWS`: its parameters, doubles, and what it makes of `%unit`, a number in [0, 1) of 53
bits, or of `%number`, a single normal number. Elements of float32 are rounded from that, as in PyTorch.
"""

from __future__ import annotations

from string import Template
from typing import NamedTuple

CHUNK = 512
"""Elements worked on at a time."""


class _Law(NamedTuple):
    draw: str
    """What is drawn before a chunk."""
    take: str
    """How the number of one element is had."""
    parameters: tuple[str, ...]
    code: str


_UNIT = (
    "\n  call void @unit_f64(ptr %state, ptr %buffer, i64 %n, ptr null)",
    """
  %from = getelementptr double, ptr %buffer, i64 %i
  %unit = load double, ptr %from""",
)
_NUMBER = ("", "\n  %number = call double @single(ptr %state, ptr %parameters)")

_LAWS = {
    "exponential": _Law(  # the parameter is -1 / rate
        *_UNIT,
        ("scale",),
        """
  %back = fneg double %unit
  %log = call double @log1p(double %back)
  %value = fmul double %scale, %log""",
    ),
    "cauchy": _Law(
        *_UNIT,
        ("median", "sigma"),
        """
  %off = fsub double %unit, 0.5
  %angle = fmul double %off, 0x400921FB54442D18
  %tangent = call double @tan(double %angle)
  %scaled = fmul double %sigma, %tangent
  %value = fadd double %median, %scaled""",
    ),
    "geometric": _Law(  # the parameter is log(1 - p)
        *_UNIT,
        ("failure",),
        """
  %log = call double @log(double %unit)
  %trials = fdiv double %log, %failure
  %value = call double @llvm.ceil.f64(double %trials)""",
    ),
    "log_normal": _Law(*_NUMBER, (), "\n  %value = call double @exp(double %number)"),
}

_TEXT = """
define void @${name}_$kind(ptr %state, ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  %buffer = alloca [$chunk x double], align 64$parameters
  br label %next
next:
  %done = phi i64 [ 0, %entry ], [ %done_next, %made ]
  %left = sub i64 %count, %done
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %draw, label %end
draw:
  %n = call i64 @llvm.umin.i64(i64 %left, i64 $chunk)$draw
  br label %one
one:
  %i = phi i64 [ 0, %draw ], [ %i_next, %one ]$take$code
  %rounded = $rounded
  %place = add i64 %done, %i
  %at = getelementptr $element, ptr %to, i64 %place
  store $element %rounded, ptr %at
  %i_next = add i64 %i, 1
  %again = icmp ult i64 %i_next, %n
  br i1 %again, label %one, label %made
made:
  %done_next = add i64 %done, %n
  br label %next
end:
  ret void
}
"""

_KINDS = (
    ("f32", "float", "fptrunc double %value to float"),
    ("f64", "double", "fadd double %value, -0.0"),
)


def _parameters(names: tuple[str, ...]) -> str:
    return "".join(
        f"\n  %{name}_at = getelementptr double, ptr %parameters, i64 {place}"
        f"\n  %{name} = load double, ptr %{name}_at"
        for place, name in enumerate(names)
    )


LIBRARY = """
declare double @tan(double)
declare double @exp(double)
declare double @llvm.ceil.f64(double)
""" + "".join(
    Template(_TEXT).substitute(
        name=name,
        kind=kind,
        element=element,
        rounded=rounded,
        chunk=CHUNK,
        draw=law.draw,
        take=law.take,
        code=law.code,
        parameters=_parameters(law.parameters),
    )
    for name, law in _LAWS.items()
    for kind, element, rounded in _KINDS
)
