"""Processors by name, as targets of code that is to run elsewhere, alone.

    elsewhere("x86-64-v3")    elsewhere(triple="aarch64-linux-gnu")    elsewhere("native")

A name here says the same on every machine, and so does code that is made for it. A processor more is a row of
`_PROCESSORS`.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.backends.cpu import Target
from retrograd.compiler.errors import ArgumentError
from retrograd.compiler.record import NamedTuple, replace

NATIVE = "native"
"""The processor that this process runs on."""
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Other names that triples have for them."""
_V2 = "+cmov,+cx16,+cx8,+fxsr,+mmx,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3"
_V3 = f"{_V2},+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
_V4 = f"{_V3},+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl"


class Processor(NamedTuple):
    """What an architecture's processors of a kind have in common."""

    architecture: str
    features: str
    """LLVM's text."""
    words: str
    """Which they are, for people."""
    wants: str = ""
    """What must be linked with code for them."""


_PROCESSORS = {
    "x86-64-v3": Processor("x86_64", _V3, "AVX2 and FMA: Intel's since Haswell (2013), AMD's since Zen"),
    "x86-64-v4": Processor("x86_64", _V4, "AVX-512: Intel's Xeons since Skylake (2017), AMD's since Zen 4"),
    "x86-64-v2": Processor("x86_64", _V2, "SSE4.2: since 2009; without FMA it is slow", "-lm"),
    "generic": Processor("aarch64", "", "every 64-bit ARM (Advanced SIMD)"),
}
"""By LLVM's names; the first of an architecture is what is meant where none is named. Levels of x86-64 are
those of its System V ABI. Below the third there is no fused multiply-add: C's function does it."""


def elsewhere(cpu: str | None, triple: str | None, host: Callable[[], Target]) -> tuple[Target, Processor]:
    """The target, and which processors those are. Without a triple it is this machine's system.

    Raises ArgumentError where a name is not known, or belongs to another architecture.
    """
    system = triple or host().triple
    architecture = _ARCHITECTURES.get(first := system.partition("-")[0], first)
    fitting = [name for name, found in _PROCESSORS.items() if found.architecture == architecture]
    if not fitting:
        known = " and ".join(dict.fromkeys(found.architecture for found in _PROCESSORS.values()))
        raise ArgumentError(f"code for target={system!r}", f"there is code for {known} alone")
    if cpu == NATIVE and host().triple.partition("-")[0] == first:
        here = host()
        alone = replace(here.without("amx-tile", "amx-bf16", "amx-int8"), triple=system, alone=True)
        words = f"this machine's processor ({here.cpu}) and those that have all that it has"
        return alone, Processor(
            architecture, here.features, words, "-lm" if "-fma" in here.features.split(",") else ""
        )
    name = cpu or fitting[0]
    if name not in fitting:
        names = ", ".join(map(repr, [*fitting, NATIVE]))
        what = f"code for cpu={cpu!r} of {system}"
        raise ArgumentError(what, "no such processor is known", f"name one of {names}")
    found = _PROCESSORS[name]
    return replace(Target.of(system, name, found.features), alone=True), found
