"""Loops inside code of vectors: steps done again for as long as any lane needs one more."""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.backends.vector import Value, any_lane


def repeated(
    start: tuple[Value, ...], step: Callable[..., tuple[Value, ...]], going: Callable[..., Value]
) -> tuple[Value, ...]:
    """What `step` makes of the values, again and again for as long as `going` holds of its result in any
    lane."""
    block = start[0].block
    before, loop, after = block.here, block.fresh("again"), block.fresh("done")
    block.do(f"br label %{loop}")
    block.label(loop)
    place = len(block.lines)
    values = [block.emit("phi", v.kind, v.lanes) for v in start]
    later = step(*values)
    more = any_lane(going(*later))
    block.do(f"br i1 {more.ref}, label %{loop}, label %{after}")
    for k, (value, first, new) in enumerate(zip(values, start, later, strict=True), place):
        come = f"[ {first.ref}, %{before} ], [ {new.ref}, %{block.here} ]"
        block.lines[k] = f"  {value.ref} = phi {value.type} {come}"
    block.label(after)
    return later
