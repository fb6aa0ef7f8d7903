"""The C library's functions of numbers, as native code calls them. A further one is a line here."""

from __future__ import annotations

from retrograd.compiler.native.language import Float32, extern


@extern
def cos(x: float) -> float: ...


@extern
def exp(x: float) -> float: ...


@extern
def lgamma(x: float) -> float: ...


@extern
def log(x: float) -> float: ...


@extern
def log1p(x: float) -> float: ...


@extern
def log1pf(x: Float32) -> Float32: ...


@extern
def pow(x: float, power: float) -> float: ...


@extern
def sin(x: float) -> float: ...


@extern
def tan(x: float) -> float: ...
