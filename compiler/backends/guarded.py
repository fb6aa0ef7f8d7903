"""Loads under a condition, for GPUs: where it does not hold no memory is read, and the value is 0.

    %x = guarded(%inside, %p, …)   →   mov.b32 x, 0;  @inside ld.global.nc.b32 x, [p];

LLVM's back end for GPUs selects no masked load, so these are instructions written out (PTX ISA, sections
"Predicated execution" and "ld"). A load of what the kernel never writes may move as arithmetic does; any
other stays where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from retrograd.compiler.backends.kinds import FLOATS, INTEGERS, LLVM_TYPES
from retrograd.compiler.backends.vector import Value
from retrograd.compiler.ir.expressions import Space

_REGISTERS = {1: ("h", "i16", "u8"), 2: ("h", "i16", "b16"), 4: ("r", "i32", "b32")}
"""By bytes of a word: the constraint of its register, the register's type in LLVM, the load's in PTX."""
_SPACES = {Space.SHARED: ("shared.", 3), Space.LOCAL: ("", 0)}
_GLOBAL = ("global.", 1)
"""The name of a space in instructions, and LLVM's number for it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a guarded load reads."""

    address: str
    """LLVM's name of the pointer."""
    space: Space
    lasting: bool
    """Does nothing in the kernel write there?"""
    align: int
    """The address is a multiple of so many bytes."""


def guarded(inside: Value, source: Source, kind: str, lanes: int) -> Value:
    """`lanes` elements side by side, or zeros where `inside` does not hold."""
    block = inside.block
    element = (FLOATS | INTEGERS)[kind] // 8
    whole = element * lanes
    piece = min(source.align, whole)
    word = min(piece, 4)
    words = [w for start in range(0, whole, piece) for w in _loaded(inside, source, start, piece, word)]
    if word == 1:
        words = [block.pure(f"trunc i16 {w.ref} to i8", "i8") for w in words]
    packed = words[0]
    if len(words) > 1:
        type_ = f"<{len(words)} x i{8 * word}>"
        for k, one in enumerate(words):
            before = "poison" if k == 0 else packed.ref
            packed = block.pure(f"insertelement {type_} {before}, {one.type} {one.ref}, i64 {k}", one.kind)
    else:
        type_ = f"i{8 * word}"
    target = LLVM_TYPES[kind] if lanes == 1 else f"<{lanes} x {LLVM_TYPES[kind]}>"
    if type_ == target:
        return Value(block, packed.ref, kind, lanes)
    return block.pure(f"bitcast {type_} {packed.ref} to {target}", kind, lanes)


def _loaded(inside: Value, source: Source, start: int, nbytes: int, word: int) -> list[Value]:
    """One instruction's words, `start` bytes on."""
    block, count = inside.block, nbytes // word
    constraint, register, type_ = _REGISTERS[word]
    name, number = _SPACES.get(source.space, _GLOBAL)
    address = source.address
    if number:
        near = f"addrspacecast ptr {address} to ptr addrspace({number})"
        address = block.pure(near, "ptr").ref
    pointer = f"ptr addrspace({number})" if number else "ptr"
    cached = "nc." if source.lasting and name == "global." else ""
    vector = f"v{count}." if count > 1 else ""
    into = ", ".join(f"${k}" for k in range(count))
    place = f"${count + 1}" + (f"+{start}" if start else "")
    lines = [f"mov.b{max(16, 8 * word)} ${k}, 0;" for k in range(count)]
    target = f"{{{into}}}" if count > 1 else into
    lines.append(f"@${count} ld.{name}{cached}{vector}{type_} {target}, [{place}];")
    text = r"\0A\09".join(lines)
    effects = "" if source.lasting else " sideeffect"
    clobbers = "" if source.lasting else ",~{memory}"
    constraints = ",".join([f"=&{constraint}"] * count + ["b", "l"]) + clobbers
    result = register if count == 1 else f"{{ {', '.join([register] * count)} }}"
    call = f'call {result} asm{effects} "{text}", "{constraints}"(i1 {inside.ref}, {pointer} {address})'
    found = block.emit(call, register)
    if count == 1:
        return [found]
    return [block.pure(f"extractvalue {result} {found.ref}, {k}", register) for k in range(count)]
