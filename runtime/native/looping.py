"""Loops natively: programs one after another, again and again, with no Python between them.

In flow `Step`s and where all values lie: a table of addresses, in which a value has a place, its slot. A step
calls a program with the addresses in its slots, or is a loop with steps of its own. In each turn a loop moves
the addresses of what it goes through, and exchanges those of what it carries, so that programs read and write
where things lie. Nothing else is allocated here than the histories of loops whose turns nobody can count
before. `looped.py` writes all of it down.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Record,
    cast,
    extern,
    inside,
    native,
)
from retrograd.runtime.native.objects import Memory

NOWHERE = -1
"""In place of a slot."""
EXHAUSTED, INTERRUPTED = -1, -2
"""Instead of a flag: a history had no memory; somebody wanted no more turns."""


class Step(Record):
    """A program, or a loop."""

    loop: Loop | None
    code: Callable[[Array[Memory], Memory], None]
    context: Memory
    count: int
    """How many addresses it takes."""
    slots: Array[int]
    given: Array[Memory]
    """Room for what it is given."""
    flags: int
    """How many bools at the end, before its arena, say that something is wrong."""
    first: int
    """How many flags of other steps come before."""


class Carry(Record):
    """A value that goes from turn to turn."""

    first: int
    """The slot of what it is before the first turn."""
    given: int
    """The slot in which a turn finds it."""
    left: int
    """The slot in which a turn leaves it."""
    room: int
    """A slot of memory for it."""
    other: int
    """Another, where it is exchanged; else NOWHERE, and it is copied."""
    bytes: int


class Moving(Record):
    """A row for each turn."""

    slot: int
    base: int
    bytes: int


class Kept(Record):
    """A value that is copied in each turn, to a row of its own."""

    slot: int
    base: int
    bytes: int
    room: int
    """How many rows there is room for, where that grows; NOWHERE where all have room."""


class Loop(Record):
    steps: Array[Step]
    length: int
    turns: int
    """NOWHERE where another value says how many."""
    counted: int
    """The slot of their number, or NOWHERE."""
    asked: int
    """The slot of the bool that says whether there is another turn, or NOWHERE."""
    made: int
    """The slot that is told how many there were."""
    backwards: int
    carried: Array[Carry]
    carries: int
    moving: Array[Moving]
    moves: int
    histories: Array[Kept]
    remembers: int
    """How many histories: of what a turn begins with."""
    kept: Array[Kept]
    keeps: int
    """How many are kept of what a turn leaves."""


class State(Record):
    steps: Array[Step]
    length: int
    addresses: Array[Memory]
    left: int
    """Turns until somebody is asked whether to go on."""
    interval: int
    """Turns from one time that it is asked to the next."""
    asked: int
    """When it was."""
    failed: Step | None
    """What has raised a flag."""
    code: int
    """What `run` gives."""


class Plan(Record):
    """All of a program: records as they are before a call, whose addresses are counted from the first one."""

    records: Array[int]
    length: int
    """Words of records, with the table of addresses and the state among them."""
    place: int
    """Where in the arena a call has its own, in bytes."""
    table: int
    """Where the table is, in words, and the state."""
    state: int
    inner: Array[int]
    """Words that are addresses of other records."""
    inners: int
    roomy: Array[int]
    """Words that are places in the arena."""
    rooms: int
    inputs: Array[int]
    """The slots of what the program is given."""
    takes: int
    outputs: Array[int]
    """Of each result its slot, its bytes, and whether it is written there from the start; else it is copied
    at the end."""
    gives: int
    grown: Array[int]
    """The slots of histories of unknown length."""
    histories: int


@extern
def retrograd_goes_on(state: State) -> bool: ...  # asked when no turns are left; it says when to ask again


@extern
def memcpy(to: Memory, source: Memory, size: int) -> Memory: ...


@extern
def realloc(held: Memory, size: int) -> Memory | None: ...


@extern
def free(held: Memory) -> None: ...


@native
def run(args: Array[Memory], arena: Memory, plan: Plan) -> int:
    """A program of these inputs and outputs: 0 if all was done, else the number of the flag that was raised,
    counted through all steps from 1, or one of the codes below 0."""
    image = inside(Memory, arena, plan.place)
    words = cast(Array[int], image)
    memcpy(image, cast(Memory, plan.records), plan.length * 8)
    for k in range(plan.inners):
        words[plan.inner[k]] += cast(int, image)
    for k in range(plan.rooms):
        words[plan.roomy[k]] += cast(int, arena)
    addresses = cast(Array[Memory], words + plan.table)
    for k in range(plan.takes):
        addresses[plan.inputs[k]] = args[k]
    for k in range(plan.gives):
        if plan.outputs[3 * k + 2] != 0:
            addresses[plan.outputs[3 * k]] = args[plan.takes + k]
    state = cast(State, words + plan.state)
    if done(state.steps, state.length, state):
        for k in range(plan.gives):
            if plan.outputs[3 * k + 2] == 0:
                memcpy(args[plan.takes + k], addresses[plan.outputs[3 * k]], plan.outputs[3 * k + 1])
    for k in range(plan.histories):
        free(addresses[plan.grown[k]])
    return state.code


@native
def done(steps: Array[Step], length: int, state: State) -> bool:
    for k in range(length):
        step = steps[k]
        loop = step.loop
        if loop is None:
            if not called(step, state):
                return False
        elif not went_through(loop, state):
            return False
    return True


@native
def called(step: Step, state: State) -> bool:
    addresses, given, slots = state.addresses, step.given, step.slots
    for k in range(step.count):
        given[k] = addresses[slots[k]]
    step.code(given, step.context)
    for k in range(step.flags):
        if cast(Array[Byte], given[step.count - 1 - step.flags + k])[0] != 0:
            state.failed, state.code = step, step.first + k + 1
            return False
    return True


@native
def went_through(loop: Loop, state: State) -> bool:
    addresses = state.addresses
    turns, turn = loop.turns, 0
    if loop.counted != NOWHERE:
        turns = cast(Array[int], addresses[loop.counted])[0]
    begin(loop, addresses, turns)
    while turn != turns and wanted(loop, addresses):
        row = turns - 1 - turn if loop.backwards != 0 else turn
        for k in range(loop.remembers):
            if not keep(loop.histories[k], addresses, row):
                state.code = EXHAUSTED
                return False
        if not done(loop.steps, loop.length, state):
            return False
        for k in range(loop.keeps):
            keep(loop.kept[k], addresses, row)
        go_on(loop, addresses)
        turn += 1
        state.left -= 1
        if state.left <= 0 and not retrograd_goes_on(state):
            state.code = INTERRUPTED
            return False
    cast(Array[int], addresses[loop.made])[0] = turn
    return True


@native
def wanted(loop: Loop, addresses: Array[Memory]) -> bool:
    """Whether another turn is asked for."""
    if loop.asked == NOWHERE:
        return True
    return cast(Array[Byte], addresses[loop.asked])[0] != 0


@native
def begin(loop: Loop, addresses: Array[Memory], turns: int) -> None:
    for k in range(loop.carries):
        carry = loop.carried[k]
        memcpy(addresses[carry.room], addresses[carry.first], carry.bytes)
        addresses[carry.given] = addresses[carry.room]
        if carry.other != NOWHERE:
            addresses[carry.left] = addresses[carry.other]
    for k in range(loop.moves):
        each = loop.moving[k]
        start = (turns - 1) * each.bytes if loop.backwards != 0 else 0
        addresses[each.slot] = inside(Memory, addresses[each.base], start)


@native
def go_on(loop: Loop, addresses: Array[Memory]) -> None:
    """From one turn to the next."""
    for k in range(loop.carries):
        carry = loop.carried[k]
        if carry.other == NOWHERE:
            memcpy(addresses[carry.given], addresses[carry.left], carry.bytes)
    for k in range(loop.carries):
        carry = loop.carried[k]
        if carry.other != NOWHERE:
            left = addresses[carry.left]
            addresses[carry.left] = addresses[carry.given]
            addresses[carry.given] = left
    for k in range(loop.moves):
        each = loop.moving[k]
        step = -each.bytes if loop.backwards != 0 else each.bytes
        addresses[each.slot] = inside(Memory, addresses[each.slot], step)


@native
def keep(each: Kept, addresses: Array[Memory], row: int) -> bool:
    """Copy a value to its row; whether there was memory for it."""
    if each.room != NOWHERE and row >= each.room:
        room = max(max(2 * each.room, row + 1), 16)
        grown = realloc(addresses[each.base], room * each.bytes)
        if grown is None:
            return False
        addresses[each.base] = grown
        each.room = room
    memcpy(inside(Memory, addresses[each.base], row * each.bytes), addresses[each.slot], each.bytes)
    return True
