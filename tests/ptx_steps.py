"""An instruction → a step: a function that does it for the active threads of a frame.

`decode` makes a `Step` of what each thread can do by itself, and a `Meeting` of what threads do together
(barriers, shuffles); branches are the machine's. Arithmetic comes from the table in `ptx_arithmetic`; an
instruction of another kind is a row of `_DECODERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import ptx_mma
from ptx_arithmetic import operation
from ptx_text import Address, Function, Instruction, Module, Name, Operand, Several
from ptx_threads import (
    LOCAL_WINDOW,
    SHARED_WINDOW,
    WARP,
    Access,
    Frame,
    addresses,
    frame_of,
    load,
    reader,
    store,
    writer,
)
from ptx_types import NUMPY, Unknown

from retrograd.compiler.ir.graph import Array

Step = Callable[[Frame], None]


@dataclass(frozen=True, slots=True)
class Meeting:
    """What threads do together, once all of them have come by."""

    instruction: Instruction
    whole_block: bool
    """All threads of a block, or those of a warp."""
    step: Step
    """For the threads that have met; the active ones are whole warps in order."""
    mask: Callable[[Frame], Array] | None = None
    """Which threads of a warp are to come, as bits; None for all."""


class Decoder:
    """What decoding needs to know."""

    def __init__(self, module: Module, function: Function, call: Callable[[Function, Frame], None]) -> None:
        self.module, self.function, self.call = module, function, call

    def decode(self, instruction: Instruction) -> Step | Meeting:
        """The step of an instruction."""
        try:
            row = _DECODERS.get(instruction.opcode, _arithmetic)
            found = row(self, instruction)
        except Unknown:
            raise instruction.fault("an instruction that is not known here") from None
        if instruction.guard is None:
            return found
        if isinstance(found, Meeting):
            raise instruction.fault("threads meet under a condition")
        return _guarded(found, *instruction.guard)

    def read(self, i: Instruction, operand: Operand, kind: str) -> Callable[[Frame], Array]:
        return reader(i, self.function, operand, kind)

    def write(self, i: Instruction, operand: Operand, kind: str) -> Callable[[Frame, Array], None]:
        return writer(i, self.function, operand, kind)


def _guarded(step: Step, predicate: str, wanted: bool) -> Step:
    def run(frame: Frame) -> None:
        before = frame.active
        chosen = np.arange(len(frame.threads))[before][frame.registers[predicate][before] == wanted]
        if len(chosen):
            frame.active = chosen
            step(frame)
            frame.active = before

    return run


# ---- arithmetic --------------------------------------------------------------------------------------------


def _arithmetic(d: Decoder, i: Instruction) -> Step:
    if i.opcode in ("addc", "subc") or "cc" in i.modifiers:
        return _with_carry(d, i)
    does = operation(i.opcode, i.modifiers)
    target, *sources = i.operands
    if i.opcode == "setp" and isinstance(target, Several):
        raise Unknown
    if len(sources) != len(does.operands):
        raise i.fault(f"{len(does.operands)} operands were expected")
    reads = [d.read(i, s, kind) for s, kind in zip(sources, does.operands)]
    write, compute = d.write(i, target, does.result), does.compute
    match reads:
        case [first]:
            return lambda f: write(f, compute(first(f)))
        case [first, second]:
            return lambda f: write(f, compute(first(f), second(f)))
        case [first, second, third]:
            return lambda f: write(f, compute(first(f), second(f), third(f)))
    return lambda f: write(f, compute(*(read(f) for read in reads)))


def _with_carry(d: Decoder, i: Instruction) -> Step:
    """Sums and differences of several words."""
    target, *sources = i.operands
    base, kind = i.opcode.removesuffix("c"), i.modifiers[-1]
    if base not in ("add", "sub") or len(sources) != 2 or i.modifiers[:-1] not in ((), ("cc",)):
        raise Unknown
    first, second = (d.read(i, s, f"u{kind[1:]}") for s in sources)
    write, takes, leaves, down = (
        d.write(i, target, kind),
        i.opcode != base,
        "cc" in i.modifiers,
        base == "sub",
    )

    def step(f: Frame) -> None:
        a, b = first(f), second(f)
        carry = f.carry[f.active].astype(a.dtype) if takes else a.dtype.type(0)
        part = a - b if down else a + b
        result = part - carry if down else part + carry
        if leaves:
            f.carry[f.active] = (a < b) | (part < carry) if down else (part < a) | (result < part)
        write(f, result.view(NUMPY[kind]))

    return step


# ---- moves -------------------------------------------------------------------------------------------------


def _mov(d: Decoder, i: Instruction) -> Step:
    target, source = i.operands
    (kind,) = i.modifiers
    if isinstance(source, Several):
        return _packed(d, i, target, source.parts, kind)
    if isinstance(target, Several):
        return _unpacked(d, i, target.parts, source, kind)
    read, write = d.read(i, source, kind), d.write(i, target, kind)
    return lambda f: write(f, read(f))


def _packed(d: Decoder, i: Instruction, target: Operand, parts: Sequence[Operand], kind: str) -> Step:
    bits = 8 * NUMPY[kind].itemsize
    each, held = bits // len(parts), NUMPY[f"u{bits}"].type
    reads, write = [d.read(i, p, f"b{each}") for p in parts], d.write(i, target, kind)

    def step(f: Frame) -> None:
        whole = sum((np.asarray(r(f)).astype(held) << held(k * each) for k, r in enumerate(reads)), held(0))
        write(f, np.asarray(whole, held).view(NUMPY[kind]))

    return step


def _unpacked(d: Decoder, i: Instruction, parts: Sequence[Operand], source: Operand, kind: str) -> Step:
    bits = 8 * NUMPY[kind].itemsize
    each, read = bits // len(parts), d.read(i, source, f"b{bits}")
    writes = [d.write(i, p, f"b{each}") for p in parts]

    def step(f: Frame) -> None:
        whole = np.asarray(read(f))
        for k, write in enumerate(writes):
            write(f, (whole >> whole.dtype.type(k * each)).astype(f"u{each // 8}"))

    return step


def _cvta(d: Decoder, i: Instruction) -> Step:
    """Between addresses of a space and generic ones; those of global memory are the same."""
    *to, space, kind = i.modifiers
    start = {"global": 0, "const": 0, "shared": SHARED_WINDOW, "local": LOCAL_WINDOW, "param": None}[space]
    if kind != "u64" or start is None:
        raise Unknown
    read, write = d.read(i, i.operands[1], "u64"), d.write(i, i.operands[0], "u64")
    window = np.uint64(start)
    return lambda f: write(f, read(f) - window if to else read(f) + window)


# ---- memory ------------------------------------------------------------------------------------------------

_CACHES = {"nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak", "volatile", "L1::no_allocate"}


def _access(i: Instruction) -> Access:
    *others, kind = i.modifiers
    names = [m for m in others if m not in _CACHES and not m.startswith("L2::")]
    count = next((int(m[1:]) for m in names if m in ("v2", "v4", "v8")), 1)
    spaces = [m for m in names if m in ("global", "shared", "local", "param", "const")]
    if len(names) != len(spaces) + (count > 1) or len(spaces) > 1:
        raise Unknown
    return Access(i, spaces[0] if spaces else "", NUMPY[kind].itemsize, count, "nc" in others)


def _values(operand: Operand, access: Access) -> tuple[Operand, ...]:
    found = operand.parts if isinstance(operand, Several) else (operand,)
    if len(found) != access.count:
        raise access.instruction.fault(f"{access.count} registers were expected")
    return found


def _ld(d: Decoder, i: Instruction) -> Step:
    access, kind = _access(i), i.modifiers[-1]
    writes = [d.write(i, one, kind) for one in _values(i.operands[0], access)]
    fetch = _parameter(access, i.operands[1]) if access.space == "param" else None
    places = None if fetch else addresses(i, d.function, i.operands[1])

    def step(f: Frame) -> None:
        found = fetch(f) if fetch else load(access, f, places(f))
        for k, write in enumerate(writes):
            write(f, found[:, k].view(NUMPY[kind]))

    return step


def _st(d: Decoder, i: Instruction) -> Step:
    access, kind = _access(i), i.modifiers[-1]
    reads = [d.read(i, one, kind) for one in _values(i.operands[1], access)]
    fetch = _parameter(access, i.operands[0]) if access.space == "param" else None
    places = None if fetch else addresses(i, d.function, i.operands[0])
    held = NUMPY[f"u{8 * access.width}"]

    def step(f: Frame) -> None:
        count = len(f.running)
        values = np.stack([np.broadcast_to(np.asarray(r(f)).view(held), count) for r in reads], 1)
        if fetch:
            fetch(f, values)
        else:
            store(access, f, places(f), values)

    return step


def _parameter(access: Access, operand: Operand) -> Callable[..., Array]:
    """Parameters are bytes of each thread: read, or written where values are given."""
    if not isinstance(operand, Address) or not isinstance(operand.base, Name):
        raise access.instruction.fault("a parameter was expected")
    name, start, nbytes = operand.base.text, operand.offset, access.width * access.count

    def fetch(f: Frame, values: Array | None = None) -> Array:
        held = f.parameters[name]
        if start + nbytes > held.shape[1]:
            raise f.fault(access.instruction, f"{name} has {held.shape[1]} bytes")
        if values is not None:
            held[f.active, start : start + nbytes] = np.ascontiguousarray(values).view(np.uint8)
        return np.ascontiguousarray(held[f.active, start : start + nbytes]).view(f"u{access.width}")

    return fetch


def _call(d: Decoder, i: Instruction) -> Step:
    """The callee runs to its end for the threads that call it."""
    several = [o.parts for o in i.operands if isinstance(o, Several)]
    (name,) = (o.text for o in i.operands if isinstance(o, Name))
    callee = d.module.functions.get(name)
    if callee is None:
        raise i.fault(f"{name} is defined nowhere")
    has_result = bool(callee.returned)
    returned, given = several[0] if has_result else (), several[-1] if callee.parameters else ()

    def step(f: Frame) -> None:
        inner = frame_of(f.grid, callee, f.running)
        for mine, theirs in zip(given, callee.parameters, strict=True):
            inner.parameters[theirs.name][:] = f.parameters[mine.text][f.active, : theirs.nbytes]
        d.call(callee, inner)
        for mine, theirs in zip(returned, callee.returned, strict=True):
            f.parameters[mine.text][f.active, : theirs.nbytes] = inner.parameters[theirs.name]

    return step


# ---- what threads do together ------------------------------------------------------------------------------


def _bar(d: Decoder, i: Instruction) -> Meeting:
    names = [m for m in i.modifiers if m not in ("cta", "aligned")]
    if i.opcode == "bar" and names == ["warp", "sync"]:
        return Meeting(i, False, lambda f: None, d.read(i, i.operands[0], "u32"))
    if names != ["sync"] or len(i.operands) != 1:
        raise Unknown
    return Meeting(i, True, lambda f: None)


_SOURCE_LANES: dict[str, Callable[[Array, Array, Array, Array], tuple[Array, Array]]] = {
    "up": lambda lane, b, low, high: (lane - b, lane - b >= high),
    "down": lambda lane, b, low, high: (lane + b, lane + b <= high),
    "bfly": lambda lane, b, low, high: (lane ^ b, (lane ^ b) <= high),
    "idx": lambda lane, b, low, high: (low | b, (low | b) <= high),
}


def _shfl(d: Decoder, i: Instruction) -> Meeting:
    """Each thread reads a register of another one of its warp."""
    sync, mode, kind = i.modifiers
    if sync != "sync" or kind != "b32":
        raise Unknown
    target, source, step_by, clamp, mask = i.operands
    into, inside = target.parts if isinstance(target, Several) else (target, Name("_"))
    read, by, limit = (d.read(i, o, "b32") for o in (source, step_by, clamp))
    write, tell = d.write(i, into, "b32"), d.write(i, inside, "pred")
    choose = _SOURCE_LANES[mode]

    def step(f: Frame) -> None:
        thread = f.running % f.grid.block
        lane, b = thread % WARP, np.asarray(by(f)).astype(np.int64) & 31
        c = np.asarray(limit(f)).astype(np.int64)
        segment = c >> 8 & 31
        low, high = lane & segment, (lane & segment) | (c & 31 & ~segment)
        other, valid = choose(lane, b & ~segment if mode == "idx" else b, low, high)
        other = np.where(valid, other, lane)
        held = np.zeros(f.grid.count * f.grid.block, "u4")
        here = np.zeros(len(held), bool)
        held[f.running], here[f.running] = read(f), True
        place = f.running - lane + other
        wrong = (thread - lane + other >= f.grid.block) | ~here[np.minimum(place, len(held) - 1)]
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            raise f.fault(i, f"reads from lane {int(other[k])}, which does not take part", k)
        write(f, held[place])
        tell(f, valid)

    return Meeting(i, False, step, d.read(i, mask, "b32"))


def _mma(d: Decoder, i: Instruction) -> Meeting:
    """A product of small matrices whose elements lie in the registers of a warp."""
    shape = ptx_mma.shape_of(i.modifiers)
    if shape is None:
        raise Unknown
    target, *sources = i.operands
    operands = [o.parts if isinstance(o, Several) else (o,) for o in sources]
    reads = [[d.read(i, part, kind) for part in parts] for parts, kind in zip(operands, shape.registers)]
    targets = target.parts if isinstance(target, Several) else (target,)
    writes = [d.write(i, part, shape.registers[2]) for part in targets]

    def step(f: Frame) -> None:
        if len(f.running) % WARP:
            raise f.fault(i, "not all threads of a warp take part")
        found = [np.stack([np.broadcast_to(r(f), len(f.running)) for r in row], 1) for row in reads]
        for write, value in zip(writes, ptx_mma.product(shape, *found).T, strict=True):
            write(f, np.ascontiguousarray(value))

    return Meeting(i, False, step)


def _trap(d: Decoder, i: Instruction) -> Step:
    def step(f: Frame) -> None:
        raise f.fault(i, "the kernel ends itself")

    return step


def _ldmatrix(d: Decoder, i: Instruction) -> Meeting:
    """8 × 8 elements of 16 bits: eight lanes give the addresses of their rows, every lane gets two neighbours
    of one row, or of one column."""
    *begin, count = i.modifiers[:4]
    turned = i.modifiers[4:-2] == ("trans",)
    if begin != ["sync", "aligned", "m8n8"] or i.modifiers[-2:] != ("shared", "b16"):
        raise Unknown
    access, pieces = Access(i, "shared", 2, 8), int(count[1:])
    into = i.operands[0].parts if isinstance(i.operands[0], Several) else (i.operands[0],)
    writes, places = [d.write(i, o, "b32") for o in into], addresses(i, d.function, i.operands[1])

    def step(f: Frame) -> None:
        before, lane = f.active, f.running % f.grid.block % WARP
        f.active = np.arange(len(f.threads))[before][lane < 8 * pieces]
        rows = load(access, f, places(f)).reshape(-1, pieces, 8, 8)
        f.active = before
        pairs = np.ascontiguousarray(rows.swapaxes(2, 3) if turned else rows).view("u4")
        for q, write in enumerate(writes):
            write(f, pairs[:, q].reshape(-1))

    return Meeting(i, False, step)


_DECODERS: dict[str, Callable[[Decoder, Instruction], Step | Meeting]] = {
    "mov": _mov,
    "cvta": _cvta,
    "ld": _ld,
    "st": _st,
    "call": _call,
    "bar": _bar,
    "barrier": _bar,
    "shfl": _shfl,
    "ldmatrix": _ldmatrix,
    "mma": _mma,
    "trap": _trap,
}
