"""Threads of a grid, all at once: registers are arrays with an element for each thread.

A `Grid` is what the threads of one launch share; a `Frame` is what some of them hold while they run one
function. `frame.active` says which of them the current instruction is for. Reading and writing of operands
and of memory is here; what instructions do with them is in `ptx_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from ptx_memory import ALIGNMENT, FILL, Accesses, Allocation, Memory
from ptx_text import Address, Fault, Function, Instruction, Module, Name, Number, Operand
from ptx_traffic import Traffic
from ptx_types import FLOATS, NUMPY

from retrograd.compiler.ir.graph import Array

SHARED_WINDOW, LOCAL_WINDOW = 0x1_0000_0000, 0x2_0000_0000
"""Where the spaces of blocks and of threads begin among generic addresses."""
_WINDOW = 1 << 24
WARP = 32
Read = Callable[["Frame"], Array]
Write = Callable[["Frame", Array], None]


@dataclass(eq=False)
class Grid:
    """A launch, or as many whole blocks of it as run at once."""

    module: Module
    memory: Memory
    constants: dict[str, int]
    """Addresses of the module's variables."""
    blocks: int
    """Of the whole launch."""
    block: int
    """Threads of a block."""
    first: int
    """The first block that runs now."""
    count: int
    """How many run now."""
    shared: dict[str, int]
    """Where each shared variable begins in the memory of a block."""
    shared_bytes: int
    piece: int
    """Bytes of shared memory whose accesses are told apart."""
    touched: dict[Allocation, Accesses]
    """Who touched what of the global memory, in the whole launch."""
    traffic: Traffic | None
    """Where it is counted what memory is asked for, if anybody wants to know."""
    bytes: Array = field(init=False)
    defined: Array = field(init=False)
    accesses: Accesses = field(init=False)
    epochs: Array = field(init=False)

    def __post_init__(self) -> None:
        nbytes = self.count * self.shared_bytes
        self.bytes = np.full(nbytes, FILL, np.uint8)
        self.accesses = Accesses(self.piece, self.block)
        self.defined = np.zeros(nbytes // self.piece, bool)
        self.epochs = np.zeros(self.count, np.int64)


@dataclass(eq=False)
class Frame:
    """Threads in a function."""

    grid: Grid
    function: Function
    threads: Array
    """Their numbers among the threads that run now."""
    registers: dict[str, Array]
    parameters: dict[str, Array]
    local: Array
    """The functions' variables of each thread."""
    carry: Array
    active: slice | Array = field(default_factory=lambda: slice(None))

    @property
    def running(self) -> Array:
        """The numbers of the threads that the instruction is for."""
        return self.threads[self.active]

    def fault(self, instruction: Instruction, why: str, which: int = 0) -> Fault:
        """An error of one of the threads that the instruction is for."""
        block, thread = divmod(int(self.running[which]), self.grid.block)
        place = f"{self.function.name}, block {self.grid.first + block}, thread {thread}"
        return instruction.fault(f"{why} ({place})")


def frame_of(grid: Grid, function: Function, threads: Array) -> Frame:
    """A frame at the function's start: nothing is defined."""
    count = len(threads)
    held = {1: np.dtype(bool), **{n: np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)}}
    registers = {
        name: np.full(count, 0xA5A5A5A5A5A5A5A5 & (1 << bits) - 1, held[bits])
        for name, bits in function.registers.items()
    }
    parameters = {
        v.name: np.full((count, v.nbytes), 0xA5, np.uint8)
        for v in (*function.parameters, *function.returned, *function.variables.values())
        if v.space == "param"
    }
    local = sum(-(-v.nbytes // 16) * 16 for v in function.variables.values() if v.space == "local")
    return Frame(
        grid, function, threads, registers, parameters, np.full((count, local), 0xA5, np.uint8),
        np.zeros(count, bool),
    )  # fmt: skip


# ---- operands ----------------------------------------------------------------------------------------------


def special(name: str) -> Callable[[Frame], Array] | None:
    """A register that the machine sets."""
    base, _, axis = name.removeprefix("%").partition(".")
    one = axis in ("y", "z")
    values: dict[str, Callable[[Frame], Array]] = {
        "tid": lambda f: f.running % f.grid.block,
        "ctaid": lambda f: f.running // f.grid.block + f.grid.first,
        "laneid": lambda f: f.running % f.grid.block % WARP,
        "warpid": lambda f: f.running % f.grid.block // WARP,
        "ntid": lambda f: np.full(len(f.running), f.grid.block),
        "nctaid": lambda f: np.full(len(f.running), f.grid.blocks),
    }
    if base not in values:
        return None
    alone = {"tid": 0, "ctaid": 0, "ntid": 1, "nctaid": 1}
    return (lambda f: np.full(len(f.running), alone[base])) if one else values[base]


def reader(instruction: Instruction, function: Function, operand: Operand, kind: str) -> Read:
    """How an operand of a type is read."""
    held = NUMPY[kind]
    match operand:
        case Number(bits):
            value = np.uint64(bits & (1 << 8 * held.itemsize) - 1).astype(f"u{held.itemsize}")
            constant = bool(bits) if kind == "pred" else value.view(held)
            return lambda f: constant
        case Name(name) if name in function.registers:
            return _register(instruction, function.registers[name], name, kind)
        case Name(name):
            return _symbol(instruction, function, name, held)
    raise instruction.fault(f"an operand of the type {kind} was expected")


def _register(instruction: Instruction, bits: int, name: str, kind: str) -> Read:
    held = NUMPY[kind]
    if kind == "pred" or 8 * held.itemsize == bits:
        if (kind == "pred") != (bits == 1):
            raise instruction.fault(f"{name} is no {kind}")
        return lambda f: f.registers[name][f.active].view(held)
    if 8 * held.itemsize > bits or kind in FLOATS:
        raise instruction.fault(f"{name} has {bits} bits, not those of {kind}")
    return lambda f: f.registers[name][f.active].astype(held)


def _symbol(instruction: Instruction, function: Function, name: str, held: np.dtype) -> Read:
    """A register that the machine sets, or a variable's address in its space."""
    found = special(name)
    if found is not None:
        return lambda f: found(f).astype(held)
    variable = function.variables.get(name)
    if variable is not None and variable.space == "local":
        start = _local_start(function, name)
        return lambda f: np.uint64(start).astype(held)
    if name.startswith("%"):
        raise instruction.fault(f"{name} is not known")

    def address(f: Frame) -> Array:
        places = f.grid.shared if name in f.grid.shared else f.grid.constants
        if name not in places:
            raise instruction.fault(f"{name} is not known")
        return np.uint64(places[name]).astype(held)

    return address


def _local_start(function: Function, name: str) -> int:
    start = 0
    for variable in function.variables.values():
        if variable.name == name:
            break
        if variable.space == "local":
            start += -(-variable.nbytes // 16) * 16
    return start


def writer(instruction: Instruction, function: Function, operand: Operand, kind: str) -> Write:
    """How a result of a type is written."""
    if operand == Name("_"):
        return lambda f, value: None
    if not isinstance(operand, Name) or operand.text not in function.registers:
        raise instruction.fault("the result goes into no register")
    name, bits, held = operand.text, function.registers[operand.text], NUMPY[kind]
    if kind == "pred" or 8 * held.itemsize == bits:
        if (kind == "pred") != (bits == 1):
            raise instruction.fault(f"{name} is no {kind}")
        stored = np.dtype(bool) if bits == 1 else np.dtype(f"u{held.itemsize}")

        def write(f: Frame, value: Array) -> None:
            f.registers[name][f.active] = np.asarray(value, held).view(stored)

        return write
    if 8 * held.itemsize > bits or kind in FLOATS:
        raise instruction.fault(f"{name} has {bits} bits, not those of {kind}")
    wide = np.dtype(f"{'i' if kind[0] == 's' else 'u'}{bits // 8}")

    def widen(f: Frame, value: Array) -> None:
        f.registers[name][f.active] = np.asarray(value, held).astype(wide).view(f"u{bits // 8}")

    return widen


def addresses(instruction: Instruction, function: Function, operand: Operand) -> Read:
    """How the addresses of a memory access are read."""
    if not isinstance(operand, Address):
        raise instruction.fault("an address was expected")
    base, offset = (
        reader(instruction, function, operand.base, "u64"),
        np.int64(operand.offset).view(np.uint64),
    )
    return lambda f: np.broadcast_to(base(f) + offset, len(f.running))


# ---- memory ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Access:
    """What a load or a store says."""

    instruction: Instruction
    space: str
    """Empty for generic addresses."""
    width: int
    """Bytes of an element."""
    count: int
    constant: bool = False
    """Through the cache for what nobody writes."""

    def aligned(self, frame: Frame, at: Array) -> None:
        """Refuse an address that is no multiple of what is read there."""
        whole = self.width * self.count
        wrong = at & np.uint64(whole - 1)
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            raise frame.fault(self.instruction, f"{int(at[k]):#x} is no multiple of {whole}", k)

    def space_of(self, frame: Frame, at: Array) -> tuple[str, Array]:
        """The space, and addresses in it."""
        if self.space:
            return self.space, at
        for name, start in (("shared", SHARED_WINDOW), ("local", LOCAL_WINDOW)):
            inside = (at >= np.uint64(start)) & (at < np.uint64(start + _WINDOW))
            if inside.all():
                return name, at - np.uint64(start)
            if inside.any():
                raise frame.fault(self.instruction, "threads reach into different spaces at once")
        return "global", at


def load(access: Access, frame: Frame, at: Array) -> Array:
    """The elements at these addresses: threads × count."""
    access.aligned(frame, at)
    space, at = access.space_of(frame, at)
    _count(access, frame, space, at, False)
    match space:
        case "shared":
            places = _shared_places(access, frame, at)
            _look(access, frame, frame.grid.accesses, places, False)
            missing = ~frame.grid.defined[_pieces(access, frame.grid.piece, places)].all(axis=1)
            if missing.any():
                k = int(np.flatnonzero(missing)[0])
                raise frame.fault(access.instruction, "reads shared memory that nobody has written", k)
            return _elements(access, frame.grid.bytes, places)
        case "local":
            return _elements(access, frame.local.reshape(-1), _local_places(access, frame, at))
        case "global" | "const":
            result = np.empty((len(at), access.count), f"u{access.width}")
            for allocation, chosen in _allocations(access, frame, at):
                result[chosen] = _from_global(access, frame, allocation, at, chosen)
            return result
    raise access.instruction.fault(f"no loads from {space} are known here")


def store(access: Access, frame: Frame, at: Array, values: Array) -> None:
    """Writes elements: threads × count."""
    access.aligned(frame, at)
    space, at = access.space_of(frame, at)
    _count(access, frame, space, at, True)
    match space:
        case "shared":
            places = _shared_places(access, frame, at)
            _look(access, frame, frame.grid.accesses, places, True)
            frame.grid.defined[_pieces(access, frame.grid.piece, places)] = True
            _put(access, frame.grid.bytes, places, values)
        case "local":
            _put(access, frame.local.reshape(-1), _local_places(access, frame, at), values)
        case "global":
            for allocation, chosen in _allocations(access, frame, at):
                places = (at[chosen] - np.uint64(allocation.address)).astype(np.int64)
                _look(access, frame, _accesses(frame, allocation), places, True, chosen)
                _put(access, allocation.storage, places, values[chosen])
        case _:
            raise access.instruction.fault(f"no stores to {space} are known here")


def _count(access: Access, frame: Frame, space: str, at: Array, writes: bool) -> None:
    grid = frame.grid
    if grid.traffic is not None:
        block, thread = np.divmod(frame.running, grid.block)
        warps = block * -(-grid.block // WARP) + thread // WARP
        nbytes, places = access.width * access.count, at.astype(np.int64)
        if space == "global":  # a driver's memory begins at a multiple of 256, the machine's at one of 16
            places = places - ALIGNMENT
        grid.traffic.note(space, nbytes, warps, thread % WARP, places, writes)


def _elements(access: Access, storage: Array, places: Array) -> Array:
    first = (places // access.width).astype(np.int64)
    return storage.view(f"u{access.width}")[first[:, None] + np.arange(access.count)]


def _put(access: Access, storage: Array, places: Array, values: Array) -> None:
    first = (places // access.width).astype(np.int64)
    storage.view(f"u{access.width}")[first[:, None] + np.arange(access.count)] = values


def _shared_places(access: Access, frame: Frame, at: Array) -> Array:
    """Places in the memory of all blocks."""
    whole, size = access.width * access.count, frame.grid.shared_bytes
    outside = at + np.uint64(whole) > np.uint64(size)
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise frame.fault(access.instruction, f"byte {int(at[k])} of {size} bytes of shared memory", k)
    return frame.running // frame.grid.block * size + at.astype(np.int64)


def _local_places(access: Access, frame: Frame, at: Array) -> Array:
    size = frame.local.shape[1]
    if (at + np.uint64(access.width * access.count) > np.uint64(size)).any():
        raise frame.fault(access.instruction, f"beyond the {size} bytes of a thread's own memory")
    return np.arange(len(frame.threads))[frame.active] * size + at.astype(np.int64)


def _allocations(access: Access, frame: Frame, at: Array) -> list[tuple[Allocation, Array | slice]]:
    try:
        return list(frame.grid.memory.parts(at, access.width * access.count))
    except Fault as fault:
        starts = [(a.address, a.address + a.nbytes) for a in frame.grid.memory]
        inside = np.zeros(len(at), bool)
        for first, last in starts:
            inside |= (at >= np.uint64(first)) & (
                at + np.uint64(access.width * access.count) <= np.uint64(last)
            )
        raise frame.fault(access.instruction, str(fault), int(np.flatnonzero(~inside)[0])) from None


def _accesses(frame: Frame, allocation: Allocation) -> Accesses:
    grid = frame.grid
    if allocation not in grid.touched:
        grid.touched[allocation] = Accesses(grid.piece, grid.block)
    return grid.touched[allocation]


def _from_global(
    access: Access, frame: Frame, allocation: Allocation, at: Array, chosen: Array | slice
) -> Array:
    at, accesses = at[chosen], _accesses(frame, allocation)
    places = (at - np.uint64(allocation.address)).astype(np.int64)
    _look(access, frame, accesses, places, False, chosen)
    return _elements(access, allocation.storage, places)


def _who(frame: Frame, chosen: Array | slice, pieces: int) -> tuple[Array, Array]:
    """The threads, by number in the launch, and the epochs of their blocks, each for so many pieces."""
    running = frame.running[chosen]
    threads = running + frame.grid.first * frame.grid.block
    return np.repeat(threads, pieces), np.repeat(frame.grid.epochs[running // frame.grid.block], pieces)


def _pieces(access: Access, piece: int, places: Array) -> Array:
    """The pieces of memory that are touched: threads × pieces."""
    return places[:, None] // piece + np.arange(access.width * access.count // piece)


def _look(
    access: Access, frame: Frame, accesses: Accesses, places: Array, writes: bool,
    chosen: Array | slice = slice(None),
) -> None:  # fmt: skip
    """Has another thread touched this, with nothing between?"""
    pieces = _pieces(access, accesses.piece, places)
    if access.constant:
        accesses.note_constant(pieces)
        return
    note = accesses.note_write if writes else accesses.note_read
    wrong = note(pieces.reshape(-1), *_who(frame, chosen, pieces.shape[1]))
    if wrong is not None:
        k = wrong[0] // pieces.shape[1]
        raise frame.fault(access.instruction, wrong[1], int(np.arange(len(frame.running))[chosen][k]))
